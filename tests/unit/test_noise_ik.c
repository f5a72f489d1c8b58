#include "tests/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/wipe.h"
#include "common/wire/noise_ik.h"

enum {
    KEY = TRIB_NOISE_KEY_SIZE,
    TAG = TRIB_NOISE_TAG_SIZE,
    TEXT_MAX = 128, // bytes of a prologue or payload in the vectors
    MESSAGES_MAX = 8,
    FIELDS_MAX = 11 + 2 * MESSAGES_MAX,
    SEALED_MAX = TEXT_MAX + TRIB_NOISE_MESSAGE_1_SIZE,
};

// ---- Published vectors

struct bytes {
    uint8_t data[SEALED_MAX];
    size_t size;
};

// Columns of a line, in the order of the file.
enum column {
    COLUMN_PATTERN,
    COLUMN_INIT_PROLOGUE,
    COLUMN_INIT_STATIC,
    COLUMN_INIT_EPHEMERAL,
    COLUMN_INIT_REMOTE,
    COLUMN_RESP_PROLOGUE,
    COLUMN_RESP_STATIC,
    COLUMN_RESP_EPHEMERAL,
    COLUMN_RESP_REMOTE,
    COLUMN_HASH,
    COLUMN_COUNT,
    COLUMN_MESSAGES, // payload, ciphertext, payload, ...
};

struct vector {
    struct bytes columns[FIELDS_MAX];
    size_t message_count;
};

static struct bytes parse_hex(const char *text)
{
    struct bytes bytes = {.size = 0};
    if (strcmp(text, "-") == 0)
        return bytes;
    bytes.size = strlen(text) / 2;
    assert_true(bytes.size <= sizeof(bytes.data));
    assert_true(trib_hex_decode(text, bytes.data, bytes.size));
    return bytes;
}

// False: the line is of another pattern.
static bool parse_line(char *line, struct vector *vector)
{
    char *rest = line;
    char *field;
    size_t column = 0;

    line[strcspn(line, "\r\n")] = '\0';
    while ((field = strsep(&rest, " "))) {
        assert_true(column < FIELDS_MAX);
        if (column == COLUMN_PATTERN) {
            if (strcmp(field, "IK") != 0)
                return false;
        } else if (column == COLUMN_COUNT) {
            char *end;
            vector->message_count = strtoul(field, &end, 10);
            assert_true(*end == '\0' && vector->message_count <= MESSAGES_MAX);
        } else {
            vector->columns[column] = parse_hex(field);
        }
        column++;
    }
    assert_int_equal(column, COLUMN_MESSAGES + 2 * vector->message_count);
    return true;
}

static void check_handshake(const struct vector *v, struct trib_noise_handshake *initiator,
                            struct trib_noise_handshake *responder)
{
    const struct bytes *messages = &v->columns[COLUMN_MESSAGES];
    uint8_t out[SEALED_MAX];
    uint8_t payload[SEALED_MAX];
    uint8_t public[KEY];

    assert_int_equal(messages[1].size, TRIB_NOISE_MESSAGE_1_SIZE + messages[0].size);
    assert_int_equal(trib_noise_write_1(initiator, messages[0].data, messages[0].size, out),
                     TRIB_OK);
    assert_memory_equal(out, messages[1].data, messages[1].size);
    assert_int_equal(trib_noise_read_1(responder, messages[1].data, messages[1].size, payload),
                     TRIB_OK);
    assert_memory_equal(payload, messages[0].data, messages[0].size);
    trib_noise_public(v->columns[COLUMN_INIT_STATIC].data, public);
    assert_memory_equal(responder->remote_static, public, KEY);

    assert_int_equal(messages[3].size, TRIB_NOISE_MESSAGE_2_SIZE + messages[2].size);
    assert_int_equal(trib_noise_write_2(responder, messages[2].data, messages[2].size, out),
                     TRIB_OK);
    assert_memory_equal(out, messages[3].data, messages[3].size);
    assert_int_equal(trib_noise_read_2(initiator, messages[3].data, messages[3].size, payload),
                     TRIB_OK);
    assert_memory_equal(payload, messages[2].data, messages[2].size);
}

// After the handshake, initiator and responder speak by turns.
static void check_transport(const struct vector *v, struct trib_noise_cipher send[static 2],
                            struct trib_noise_cipher receive[static 2])
{
    uint8_t out[SEALED_MAX];
    uint8_t opened[SEALED_MAX];
    for (size_t i = 2; i < v->message_count; i++) {
        const struct bytes *payload = &v->columns[COLUMN_MESSAGES + 2 * i];
        const struct bytes *sealed = payload + 1;
        size_t sender = i % 2;
        assert_int_equal(sealed->size, payload->size + TAG);
        assert_int_equal(trib_noise_encrypt(&send[sender], payload->data, payload->size, out),
                         TRIB_OK);
        assert_memory_equal(out, sealed->data, sealed->size);
        assert_int_equal(
            trib_noise_decrypt(&receive[1 - sender], sealed->data, sealed->size, opened), TRIB_OK);
        assert_memory_equal(opened, payload->data, payload->size);
    }
}

static void check_vector(const struct vector *v)
{
    const struct bytes *c = v->columns;
    struct trib_noise_handshake initiator, responder;
    struct trib_noise_cipher send[2], receive[2]; // 0: the initiator's, 1: the responder's

    trib_noise_handshake_init(&initiator, true, c[COLUMN_INIT_STATIC].data,
                              c[COLUMN_INIT_REMOTE].data, c[COLUMN_INIT_PROLOGUE].data,
                              c[COLUMN_INIT_PROLOGUE].size);
    trib_noise_handshake_init(&responder, false, c[COLUMN_RESP_STATIC].data, NULL,
                              c[COLUMN_RESP_PROLOGUE].data, c[COLUMN_RESP_PROLOGUE].size);
    trib_noise_handshake_set_ephemeral(&initiator, c[COLUMN_INIT_EPHEMERAL].data);
    trib_noise_handshake_set_ephemeral(&responder, c[COLUMN_RESP_EPHEMERAL].data);
    check_handshake(v, &initiator, &responder);
    trib_noise_split(&initiator, &send[0], &receive[0]);
    trib_noise_split(&responder, &send[1], &receive[1]);
    assert_memory_equal(initiator.hash, responder.hash, TRIB_NOISE_HASH_SIZE);
    if (c[COLUMN_HASH].size > 0) // one of the sources does not publish it
        assert_memory_equal(initiator.hash, c[COLUMN_HASH].data, TRIB_NOISE_HASH_SIZE);
    check_transport(v, send, receive);
}

static void every_byte_of_the_published_vectors_is_ours_on_both_sides(void **state)
{
    static const char *const names[] = {"noise_cacophony.txt", "noise_snow.txt"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char path[4096];
        char *line = NULL;
        size_t capacity = 0;
        size_t checked = 0;
        (void)snprintf(path, sizeof(path), "%s/%s", TEST_VECTORS, names[i]);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        while (getline(&line, &capacity, file) > 0) {
            struct vector vector = {.message_count = 0};
            if (!parse_line(line, &vector))
                continue;
            check_vector(&vector);
            checked++;
        }
        free(line);
        (void)fclose(file);
        assert_int_equal(checked, 1); // of the five patterns in a file one is IK
    }
}

// ---- Our own

// The first 32 bytes of ChaCha20's block 1 under key 00 01 .. 1f and nonce 2^64 - 1, and the same
// again under that key: computed with another implementation, written from RFC 8439 2.3.
static void rekey_gives_the_computed_keys_and_keeps_the_nonce(void **state)
{
    static const char *const expected[] = {
        "50835543a205b22c9323f2022bc4f67d838f90e61d5ccf33c4513e01f85b5042",
        "30fe3726fa0f864af01d15663c77f95e490e30143788af57e90d56fb9aa71609",
    };
    struct trib_noise_cipher cipher = {.nonce = 77};
    (void)state;
    for (uint8_t i = 0; i < KEY; i++)
        cipher.key[i] = i;
    for (size_t i = 0; i < 2; i++) {
        uint8_t key[KEY];
        assert_true(trib_hex_decode(expected[i], key, sizeof(key)));
        trib_noise_rekey(&cipher);
        assert_memory_equal(cipher.key, key, KEY);
        assert_int_equal(cipher.nonce, 77);
    }
}

// ---- Refusals

struct pair {
    struct trib_noise_handshake initiator, responder;
    uint8_t message_1[TRIB_NOISE_MESSAGE_1_SIZE + 5];
    uint8_t message_2[TRIB_NOISE_MESSAGE_2_SIZE + 5];
};

static const uint8_t payload_1[5] = "hello";
static const uint8_t payload_2[5] = "salut";

static void pair_init(struct pair *pair)
{
    static const uint8_t secret[KEY] = "initiator";
    static const uint8_t other_secret[KEY] = "responder";
    uint8_t public[KEY];
    trib_noise_public(other_secret, public);
    trib_noise_handshake_init(&pair->initiator, true, secret, public, "x", 1);
    trib_noise_handshake_init(&pair->responder, false, other_secret, NULL, "x", 1);
    assert_int_equal(
        trib_noise_write_1(&pair->initiator, payload_1, sizeof(payload_1), pair->message_1),
        TRIB_OK);
}

static void pair_answer(struct pair *pair)
{
    uint8_t payload[sizeof(payload_1)];
    assert_int_equal(
        trib_noise_read_1(&pair->responder, pair->message_1, sizeof(pair->message_1), payload),
        TRIB_OK);
    assert_memory_equal(payload, payload_1, sizeof(payload));
    assert_int_equal(
        trib_noise_write_2(&pair->responder, payload_2, sizeof(payload_2), pair->message_2),
        TRIB_OK);
}

typedef enum trib_err (*read_fn)(struct trib_noise_handshake *handshake, const uint8_t *data,
                                 size_t size, uint8_t *ret_payload);

static void refuses_and_keeps_its_state(read_fn read, struct trib_noise_handshake *handshake,
                                        const uint8_t *data, size_t size)
{
    const struct trib_noise_handshake before = *handshake;
    uint8_t payload[64];
    assert_true(size < sizeof(payload) + TRIB_NOISE_MESSAGE_2_SIZE);
    assert_int_equal(read(handshake, data, size, payload), TRIB_ERR_AUTH);
    assert_memory_equal(handshake, &before, sizeof(before));
}

// Every truncation, one byte too many, and every bit turned over: also the top bit of the ephemeral
// key, which is not part of its number (RFC 7748 5) but of the transcript.
static void every_change_is_refused(read_fn read, struct trib_noise_handshake *handshake,
                                    const uint8_t *data, size_t size)
{
    uint8_t copy[128];
    assert_true(size < sizeof(copy));
    memcpy(copy, data, size);
    copy[size] = 0;
    for (size_t cut = 0; cut < size; cut++)
        refuses_and_keeps_its_state(read, handshake, copy, cut);
    refuses_and_keeps_its_state(read, handshake, copy, size + 1);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refuses_and_keeps_its_state(read, handshake, copy, size);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_changed_message_1_leaves_no_trace_and_the_true_one_still_works(void **state)
{
    struct pair pair;
    (void)state;
    pair_init(&pair);
    every_change_is_refused(trib_noise_read_1, &pair.responder, pair.message_1,
                            sizeof(pair.message_1));
    pair_answer(&pair);
}

static void a_changed_message_2_leaves_no_trace_and_the_true_one_still_works(void **state)
{
    struct pair pair;
    uint8_t payload[sizeof(payload_2)];
    (void)state;
    pair_init(&pair);
    pair_answer(&pair);
    every_change_is_refused(trib_noise_read_2, &pair.initiator, pair.message_2,
                            sizeof(pair.message_2));
    assert_int_equal(
        trib_noise_read_2(&pair.initiator, pair.message_2, sizeof(pair.message_2), payload),
        TRIB_OK);
    assert_memory_equal(payload, payload_2, sizeof(payload));
}

// Points whose product with any secret is zero (RFC 7748 6.1): 0, 1, one of order 8, p - 1, p.
static void points_of_low_order_are_refused_everywhere(void **state)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct trib_noise_handshake handshake;
        struct pair pair;
        uint8_t point[KEY];
        static const uint8_t secret[KEY] = "initiator";
        uint8_t out[TRIB_NOISE_MESSAGE_1_SIZE];

        assert_true(trib_hex_decode(points[i], point, sizeof(point)));
        trib_noise_handshake_init(&handshake, true, secret, point, "x", 1);
        assert_int_equal(trib_noise_write_1(&handshake, NULL, 0, out), TRIB_ERR_AUTH);

        pair_init(&pair);
        memcpy(out, pair.message_1, sizeof(out));
        memcpy(out, point, KEY);
        refuses_and_keeps_its_state(trib_noise_read_1, &pair.responder, out, sizeof(out));
        pair_answer(&pair);
        memcpy(pair.message_2, point, KEY);
        refuses_and_keeps_its_state(trib_noise_read_2, &pair.initiator, pair.message_2,
                                    sizeof(pair.message_2));
    }
}

static void another_prologue_or_responder_is_refused(void **state)
{
    struct pair pair;
    struct trib_noise_handshake other;
    (void)state;
    pair_init(&pair);
    trib_noise_handshake_init(&other, false, (const uint8_t[KEY]){"responder"}, NULL, "y", 1);
    refuses_and_keeps_its_state(trib_noise_read_1, &other, pair.message_1, sizeof(pair.message_1));
    trib_noise_handshake_init(&other, false, (const uint8_t[KEY]){"somebody"}, NULL, "x", 1);
    refuses_and_keeps_its_state(trib_noise_read_1, &other, pair.message_1, sizeof(pair.message_1));
}

static void a_fresh_handshake_has_a_fresh_ephemeral_key(void **state)
{
    struct pair first, second;
    (void)state;
    pair_init(&first);
    pair_init(&second);
    assert_memory_not_equal(first.message_1, second.message_1, KEY);
}

static void split_wipes_everything_but_the_hash(void **state)
{
    static const struct trib_noise_handshake wiped = {.is_initiator = false};
    struct pair pair;
    struct trib_noise_cipher send, receive;
    (void)state;
    pair_init(&pair);
    pair_answer(&pair);
    trib_noise_split(&pair.responder, &send, &receive);
    assert_memory_not_equal(pair.responder.hash, wiped.hash, TRIB_NOISE_HASH_SIZE);
    memset(pair.responder.hash, 0, TRIB_NOISE_HASH_SIZE);
    assert_memory_equal(&pair.responder, &wiped, sizeof(wiped));
    assert_memory_not_equal(send.key, receive.key, KEY);
    trib_noise_handshake_fini(&pair.initiator);
    assert_memory_equal(&pair.initiator, &wiped, sizeof(wiped));
}

static void nonces_never_wrap(void **state)
{
    struct trib_noise_cipher cipher = {.nonce = UINT64_MAX - 1};
    struct trib_noise_cipher receiver = cipher;
    uint8_t out[4 + TAG] = {0};
    (void)state;
    assert_int_equal(trib_noise_encrypt(&cipher, (const uint8_t *)"abcd", 4, out), TRIB_OK);
    assert_int_equal(trib_noise_decrypt(&receiver, out, sizeof(out), out), TRIB_OK);
    assert_memory_equal(out, "abcd", 4);
    assert_int_equal(trib_noise_encrypt(&cipher, (const uint8_t *)"abcd", 4, out), TRIB_ERR_LIMIT);
    assert_true(cipher.nonce == UINT64_MAX);
    assert_int_equal(trib_noise_decrypt(&receiver, out, sizeof(out), out), TRIB_ERR_AUTH);
    assert_true(receiver.nonce == UINT64_MAX);
}

static void a_cipher_opens_in_place_in_order_and_only_once(void **state)
{
    struct trib_noise_cipher send = {.key = {9}};
    struct trib_noise_cipher receive = send;
    uint8_t sealed[2][8 + TAG] = {"message0", "message1"};
    uint8_t copy[8 + TAG];
    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(trib_noise_encrypt(&send, sealed[i], 8, sealed[i]), TRIB_OK);
    assert_int_equal(trib_noise_decrypt(&receive, sealed[1], sizeof(copy), copy), TRIB_ERR_AUTH);
    assert_int_equal(receive.nonce, 0);
    memcpy(copy, sealed[0], sizeof(copy));
    assert_int_equal(trib_noise_decrypt(&receive, copy, sizeof(copy), copy), TRIB_OK);
    assert_memory_equal(copy, "message0", 8);
    assert_int_equal(trib_noise_decrypt(&receive, sealed[0], sizeof(copy), copy), TRIB_ERR_AUTH);
    assert_int_equal(trib_noise_decrypt(&receive, sealed[1], sizeof(copy), copy), TRIB_OK);
    assert_memory_equal(copy, "message1", 8);
    assert_int_equal(trib_noise_decrypt(&receive, copy, TAG - 1, copy), TRIB_ERR_AUTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_of_the_published_vectors_is_ours_on_both_sides),
        cmocka_unit_test(rekey_gives_the_computed_keys_and_keeps_the_nonce),
        cmocka_unit_test(a_changed_message_1_leaves_no_trace_and_the_true_one_still_works),
        cmocka_unit_test(a_changed_message_2_leaves_no_trace_and_the_true_one_still_works),
        cmocka_unit_test(points_of_low_order_are_refused_everywhere),
        cmocka_unit_test(another_prologue_or_responder_is_refused),
        cmocka_unit_test(a_fresh_handshake_has_a_fresh_ephemeral_key),
        cmocka_unit_test(split_wipes_everything_but_the_hash),
        cmocka_unit_test(nonces_never_wrap),
        cmocka_unit_test(a_cipher_opens_in_place_in_order_and_only_once),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
