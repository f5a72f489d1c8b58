#include "tests/test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/wipe.h"
#include "common/wire/session.h"

enum {
    KEY = TRIB_NOISE_KEY_SIZE,
    PREFIX = TRIB_FRAME_PREFIX_SIZE,
    HEAD_SIZE = 2 + TRIB_SESSION_MAC_SIZE, // of a hello, before the Noise message
    WELCOME_BODY_SIZE = TRIB_NOISE_MESSAGE_2_SIZE + TRIB_WELCOME_SIZE,
    SEALED_MAX = PREFIX + TRIB_FRAME_MAX,
};

static const uint8_t device_secret[KEY] = "the secret half of a device key";
static const uint8_t server_secret[KEY] = "the secret half of our own key";

static const struct trib_hello known = {.kind = TRIB_HELLO_KNOWN};
static const struct trib_hello token = {.kind = TRIB_HELLO_TOKEN,
                                        .token_id = {1, 2, 3, 4, 5, 6, 7, 8},
                                        .token_secret = "thirty-one letters of a secret."};
static const struct trib_welcome welcome = {.version = TRIB_SESSION_VERSION,
                                            .status = 3,
                                            .record_max = 65511,
                                            .time_ms = 0x0102030405060708u,
                                            .retry_min_ms = 1000,
                                            .retry_max_ms = 60000};

struct pair {
    uint8_t server_key[KEY];
    struct trib_session client, server;
    uint8_t hello[TRIB_HANDSHAKE_MAX]; // frames, with their length
    size_t hello_size;
    uint8_t welcome[TRIB_HANDSHAKE_MAX];
    size_t welcome_size;
};

static void pair_init(struct pair *pair, const struct trib_hello *hello)
{
    trib_noise_public(server_secret, pair->server_key);
    trib_session_init_client(&pair->client, device_secret, pair->server_key);
    trib_session_init_server(&pair->server, server_secret, pair->server_key);
    assert_int_equal(trib_session_write_hello(&pair->client, hello, pair->hello, &pair->hello_size),
                     TRIB_OK);
    assert_int_equal(trib_load_be16(pair->hello), pair->hello_size - PREFIX);
}

static void pair_answer(struct pair *pair, struct trib_hello *ret_hello)
{
    assert_int_equal(trib_session_read_hello(&pair->server, pair->hello + PREFIX,
                                             pair->hello_size - PREFIX, ret_hello),
                     TRIB_OK);
    assert_int_equal(
        trib_session_write_welcome(&pair->server, &welcome, pair->welcome, &pair->welcome_size),
        TRIB_OK);
    assert_int_equal(pair->welcome_size, PREFIX + WELCOME_BODY_SIZE);
    assert_int_equal(trib_load_be16(pair->welcome), WELCOME_BODY_SIZE);
}

static void pair_open(struct pair *pair)
{
    struct trib_hello hello;
    struct trib_welcome got;
    pair_init(pair, &known);
    pair_answer(pair, &hello);
    assert_int_equal(
        trib_session_read_welcome(&pair->client, pair->welcome + PREFIX, WELCOME_BODY_SIZE, &got),
        TRIB_OK);
}

static void assert_is_dead(const struct trib_session *session)
{
    static const struct trib_session dead = {.state = TRIB_SESSION_DEAD};
    assert_memory_equal(session, &dead, sizeof(dead)); // no key is left in it either
}

// ---- Handshake

static void both_kinds_of_hello_and_the_welcome_arrive_as_they_were_sent(void **state)
{
    const struct trib_hello *const hellos[] = {&known, &token};
    uint8_t device_key[KEY];
    (void)state;
    trib_noise_public(device_secret, device_key);
    for (size_t i = 0; i < 2; i++) {
        struct pair pair;
        struct trib_hello hello;
        struct trib_welcome got;
        pair_init(&pair, hellos[i]);
        pair_answer(&pair, &hello);
        assert_int_equal(hello.kind, hellos[i]->kind);
        assert_memory_equal(hello.token_id, hellos[i]->token_id, TRIB_TOKEN_ID_SIZE);
        assert_memory_equal(hello.token_secret, hellos[i]->token_secret, TRIB_TOKEN_SECRET_SIZE);
        assert_memory_equal(hello.static_key, device_key, KEY);
        assert_memory_equal(hello.ephemeral, pair.hello + PREFIX + HEAD_SIZE, KEY);
        assert_int_equal(
            trib_session_read_welcome(&pair.client, pair.welcome + PREFIX, WELCOME_BODY_SIZE, &got),
            TRIB_OK);
        assert_int_equal(got.version, welcome.version);
        assert_int_equal(got.status, welcome.status);
        assert_int_equal(got.record_max, welcome.record_max);
        assert_true(got.time_ms == welcome.time_ms);
        assert_int_equal(got.retry_min_ms, welcome.retry_min_ms);
        assert_int_equal(got.retry_max_ms, welcome.retry_max_ms);
        assert_memory_equal(pair.client.handshake.hash, pair.server.handshake.hash,
                            TRIB_NOISE_HASH_SIZE); // the session's id
    }
}

static void hash_of(const char *label, const uint8_t key[static KEY], uint8_t *out, size_t size)
{
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, size);
    trib_hash_update(&hash, label, strlen(label));
    trib_hash_update(&hash, key, KEY);
    trib_hash_final(&hash, out, size);
}

// mac1 as the protocol words it, by another way than the module's.
static void write_mac(const uint8_t server_key[static KEY], uint8_t *body, size_t size)
{
    struct trib_hash hash;
    uint8_t key[KEY];
    hash_of("trib mac1", server_key, key, sizeof(key));
    trib_hash_init(&hash, key, sizeof(key), TRIB_SESSION_MAC_SIZE);
    trib_hash_update(&hash, body, 2);
    trib_hash_update(&hash, body + HEAD_SIZE, size - HEAD_SIZE);
    trib_hash_final(&hash, body + 2, TRIB_SESSION_MAC_SIZE);
}

static void hello_has_the_documented_bytes(void **state)
{
    struct pair pair;
    struct trib_noise_handshake responder;
    uint8_t prologue[9 + 2 + 16] = "tributary\x01\x01";
    uint8_t body[TRIB_HANDSHAKE_MAX];
    uint8_t payload[64];
    (void)state;
    pair_init(&pair, &token);
    size_t size = pair.hello_size - PREFIX;
    assert_int_equal(size, HEAD_SIZE + TRIB_NOISE_MESSAGE_1_SIZE + 1 + 8 + 32);
    memcpy(body, pair.hello + PREFIX, size);
    assert_int_equal(body[0], 1);
    assert_int_equal(body[1], 1);
    write_mac(pair.server_key, body, size);
    assert_memory_equal(body, pair.hello + PREFIX, size);

    hash_of("trib id", pair.server_key, prologue + 11, 16);
    trib_noise_handshake_init(&responder, false, server_secret, NULL, prologue, sizeof(prologue));
    assert_int_equal(trib_noise_read_1(&responder, body + HEAD_SIZE, size - HEAD_SIZE, payload),
                     TRIB_OK);
    assert_int_equal(payload[0], 1);
    assert_memory_equal(payload + 1, token.token_id, 8);
    assert_memory_equal(payload + 9, token.token_secret, 32);
}

static void read_hello_refuses(const struct pair *pair, const uint8_t *body, size_t size,
                               enum trib_err expected)
{
    struct trib_session server = pair->server;
    struct trib_hello hello;
    struct trib_hello before;
    memset(&hello, 0xa5, sizeof(hello));
    before = hello;
    assert_int_equal(trib_session_read_hello(&server, body, size, &hello), expected);
    assert_memory_equal(&hello, &before, sizeof(hello));
    assert_is_dead(&server);
}

// Bytes 0 and 1 are version and type: another protocol, not a forgery.
static enum trib_err error_of_bit(size_t bit)
{
    return bit < 16 ? TRIB_ERR_PROTO : TRIB_ERR_AUTH;
}

static void every_change_of_a_hello_is_refused_by_its_mac_alone(void **state)
{
    const struct trib_hello *const hellos[] = {&known, &token};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct pair pair;
        pair_init(&pair, hellos[i]);
        uint8_t *body = pair.hello + PREFIX;
        size_t size = pair.hello_size - PREFIX;
        assert_true(trib_session_mac_is_good(&pair.server, body, size));
        for (size_t cut = 0; cut < size; cut++) {
            assert_false(trib_session_mac_is_good(&pair.server, body, cut));
            read_hello_refuses(&pair, body, cut, cut < 2 ? TRIB_ERR_PROTO : TRIB_ERR_AUTH);
        }
        assert_false(trib_session_mac_is_good(&pair.server, body, size + 1));
        for (size_t bit = 0; bit < 8 * size; bit++) {
            body[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(trib_session_mac_is_good(&pair.server, body, size));
            read_hello_refuses(&pair, body, size, error_of_bit(bit));
            body[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        struct trib_hello hello;
        pair_answer(&pair, &hello); // the copies died, the session itself did not
    }
}

// Who knows the coordinator's public key can make a good mac1, and still not a good message.
static void every_change_of_a_hello_under_a_good_mac_is_refused_by_noise(void **state)
{
    const struct trib_hello *const hellos[] = {&known, &token};
    uint8_t body[TRIB_HANDSHAKE_MAX];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct pair pair;
        pair_init(&pair, hellos[i]);
        size_t size = pair.hello_size - PREFIX;
        for (size_t bit = 8 * HEAD_SIZE; bit < 8 * size; bit++) {
            memcpy(body, pair.hello + PREFIX, size);
            body[bit / 8] ^= (uint8_t)(1u << bit % 8);
            write_mac(pair.server_key, body, size);
            assert_true(trib_session_mac_is_good(&pair.server, body, size));
            read_hello_refuses(&pair, body, size, TRIB_ERR_AUTH);
        }
        for (size_t cut = HEAD_SIZE; cut < size; cut++) {
            memcpy(body, pair.hello + PREFIX, size);
            write_mac(pair.server_key, body, cut);
            bool has_room = cut > HEAD_SIZE + TRIB_NOISE_MESSAGE_1_SIZE; // for a kind at least
            assert_int_equal(trib_session_mac_is_good(&pair.server, body, cut), has_room);
            read_hello_refuses(&pair, body, cut, TRIB_ERR_AUTH);
        }
    }
}

static void a_hello_for_another_coordinator_is_refused(void **state)
{
    static const uint8_t other_secret[KEY] = "some other coordinator's secret";
    struct pair pair;
    struct trib_session client;
    uint8_t other_key[KEY];
    uint8_t frame[TRIB_HANDSHAKE_MAX];
    size_t size;
    (void)state;
    pair_init(&pair, &known);
    trib_noise_public(other_secret, other_key);
    trib_session_init_client(&client, device_secret, other_key);
    assert_int_equal(trib_session_write_hello(&client, &known, frame, &size), TRIB_OK);
    read_hello_refuses(&pair, frame + PREFIX, size - PREFIX, TRIB_ERR_AUTH);
    write_mac(pair.server_key, frame + PREFIX, size - PREFIX);
    read_hello_refuses(&pair, frame + PREFIX, size - PREFIX, TRIB_ERR_AUTH);
}

// Until it is void; and with its own key all is as it was.
static void a_hello_for_a_former_key_is_answered(void **state)
{
    static const uint8_t secrets[2][KEY] = {"a secret of one of years ago...", "and one of today."};
    struct trib_session_keys former = {.count = 0};
    uint8_t key[KEY];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        trib_noise_public(secrets[i], key);
        trib_session_key_add(&former, secrets[i], key);
    }
    for (size_t i = 0; i < 3; i++) {
        struct pair pair;
        struct trib_hello hello;
        struct trib_welcome got;
        pair_init(&pair, &known);
        trib_session_set_former(&pair.server, &former);
        if (i > 0) {
            trib_session_init_client(&pair.client, device_secret, former.keys[i - 1].public);
            assert_int_equal(
                trib_session_write_hello(&pair.client, &known, pair.hello, &pair.hello_size),
                TRIB_OK);
        }
        const uint8_t *called = i > 0 ? former.keys[i - 1].public : pair.server_key;
        assert_true(
            trib_session_mac_is_good(&pair.server, pair.hello + PREFIX, pair.hello_size - PREFIX));
        pair_answer(&pair, &hello);
        assert_memory_equal(pair.server.public, called, KEY);
        assert_int_equal(
            trib_session_read_welcome(&pair.client, pair.welcome + PREFIX, WELCOME_BODY_SIZE, &got),
            TRIB_OK);
    }
    trib_session_key_void(&former.keys[0]);
    struct pair pair;
    pair_init(&pair, &known);
    trib_session_set_former(&pair.server, &former);
    trib_session_init_client(&pair.client, device_secret, former.keys[0].public);
    assert_int_equal(trib_session_write_hello(&pair.client, &known, pair.hello, &pair.hello_size),
                     TRIB_OK);
    assert_false(
        trib_session_mac_is_good(&pair.server, pair.hello + PREFIX, pair.hello_size - PREFIX));
    read_hello_refuses(&pair, pair.hello + PREFIX, pair.hello_size - PREFIX, TRIB_ERR_AUTH);
}

// A genuine handshake message whose payload is not one of the two kinds.
static void payloads_of_unknown_kind_or_size_are_refused(void **state)
{
    static const struct {
        uint8_t kind;
        size_t size;
    } cases[] = {{2, 1}, {0, 41}, {1, 1}, {1, 40}, {1, 42}, {0, 2}, {0xff, 41}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair pair;
        uint8_t payload[64] = {cases[i].kind};
        uint8_t body[TRIB_HANDSHAKE_MAX] = {1, 1};
        size_t size = HEAD_SIZE + TRIB_NOISE_MESSAGE_1_SIZE + cases[i].size;
        pair_init(&pair, &known);
        trib_session_init_client(&pair.client, device_secret, pair.server_key);
        assert_int_equal(
            trib_noise_write_1(&pair.client.handshake, payload, cases[i].size, body + HEAD_SIZE),
            TRIB_OK);
        write_mac(pair.server_key, body, size);
        read_hello_refuses(&pair, body, size, TRIB_ERR_PROTO);
    }
}

static void read_welcome_refuses(const struct pair *pair, const uint8_t *body, size_t size,
                                 enum trib_err expected)
{
    struct trib_session client = pair->client;
    struct trib_welcome got;
    struct trib_welcome before;
    memset(&got, 0xa5, sizeof(got));
    before = got;
    assert_int_equal(trib_session_read_welcome(&client, body, size, &got), expected);
    assert_memory_equal(&got, &before, sizeof(got));
    assert_is_dead(&client);
}

static void every_change_of_a_welcome_is_refused(void **state)
{
    struct pair pair;
    struct trib_hello hello;
    (void)state;
    pair_init(&pair, &known);
    pair_answer(&pair, &hello);
    uint8_t *body = pair.welcome + PREFIX;
    for (size_t cut = 0; cut < WELCOME_BODY_SIZE; cut++)
        read_welcome_refuses(&pair, body, cut, TRIB_ERR_PROTO);
    read_welcome_refuses(&pair, body, WELCOME_BODY_SIZE + 1, TRIB_ERR_PROTO);
    for (size_t bit = 0; bit < 8 * WELCOME_BODY_SIZE; bit++) {
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
        read_welcome_refuses(&pair, body, WELCOME_BODY_SIZE, TRIB_ERR_AUTH);
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_genuine_welcome_that_makes_no_sense_is_refused(void **state)
{
    const struct trib_welcome cases[] = {
        {.version = 0},
        {.version = 1, .retry_min_ms = 2, .retry_max_ms = 1},
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct pair pair;
        struct trib_hello hello;
        size_t size;
        pair_init(&pair, &known);
        assert_int_equal(trib_session_read_hello(&pair.server, pair.hello + PREFIX,
                                                 pair.hello_size - PREFIX, &hello),
                         TRIB_OK);
        assert_int_equal(trib_session_write_welcome(&pair.server, &cases[i], pair.welcome, &size),
                         TRIB_OK);
        read_welcome_refuses(&pair, pair.welcome + PREFIX, size - PREFIX, TRIB_ERR_PROTO);
    }
}

static void a_handshake_message_at_the_wrong_moment_ends_the_session(void **state)
{
    struct pair pair;
    struct trib_hello hello;
    struct trib_welcome got;
    (void)state;
    pair_open(&pair);
    assert_int_equal(trib_session_read_hello(&pair.server, pair.hello + PREFIX,
                                             pair.hello_size - PREFIX, &hello),
                     TRIB_ERR_STATE);
    assert_is_dead(&pair.server);
    assert_int_equal(trib_session_read_welcome(&pair.client, pair.welcome + PREFIX,
                                               pair.welcome_size - PREFIX, &got),
                     TRIB_ERR_STATE);
    assert_is_dead(&pair.client);
    pair_init(&pair, &known);
    assert_int_equal(trib_session_read_hello(&pair.client, pair.hello + PREFIX,
                                             pair.hello_size - PREFIX, &hello),
                     TRIB_ERR_STATE); // a hello sent back to its sender
    assert_is_dead(&pair.client);
}

// ---- Records

static void records_of_every_interesting_size_arrive_in_both_directions(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 500, TRIB_CHUNK_SIZE, TRIB_RECORD_PAYLOAD_MAX};
    uint8_t *payload = calloc(1, TRIB_RECORD_PAYLOAD_MAX);
    uint8_t *frame = malloc(SEALED_MAX);
    struct pair pair;
    uint64_t seed = 5;
    (void)state;
    assert_non_null(payload);
    assert_non_null(frame);
    pair_open(&pair);
    for (size_t i = 0; i < TRIB_RECORD_PAYLOAD_MAX; i++)
        payload[i] = (uint8_t)test_rand(&seed);
    for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct trib_session *from = i % 2 ? &pair.server : &pair.client;
        struct trib_session *to = i % 2 ? &pair.client : &pair.server;
        struct trib_record record = {.type = (uint8_t)(200 + i),
                                     .flags = 7,
                                     .stream = 0xabcd,
                                     .offset = 0xfedcba98,
                                     .payload = payload,
                                     .payload_size = sizes[i / 2]};
        struct trib_record got;
        size_t size;
        assert_int_equal(trib_session_seal(from, &record, frame, &size), TRIB_OK);
        assert_int_equal(size, sizes[i / 2] + TRIB_SEALED_OVERHEAD);
        assert_int_equal(trib_load_be16(frame), size - PREFIX);
        assert_int_equal(trib_session_open(to, frame + PREFIX, size - PREFIX, &got), TRIB_OK);
        assert_int_equal(got.type, record.type);
        assert_int_equal(got.flags, record.flags);
        assert_int_equal(got.stream, record.stream);
        assert_int_equal(got.offset, record.offset);
        assert_int_equal(got.payload_size, record.payload_size);
        assert_memory_equal(got.payload, payload, got.payload_size);
    }
    free(frame);
    free(payload);
}

static void seal_text(struct trib_session *session, const char *text, uint8_t *out,
                      size_t *ret_size)
{
    struct trib_record record = {
        .type = 1, .payload = (const uint8_t *)text, .payload_size = strlen(text)};
    assert_int_equal(trib_session_seal(session, &record, out, ret_size), TRIB_OK);
}

static void open_refuses(const struct trib_session *session, const uint8_t *body, size_t size,
                         enum trib_err expected)
{
    struct trib_session copy = *session;
    struct trib_record record;
    struct trib_record before;
    uint8_t buf[64] = {0};
    assert_true(size <= sizeof(buf));
    memcpy(buf, body, size);
    memset(&record, 0xa5, sizeof(record));
    before = record;
    assert_int_equal(trib_session_open(&copy, buf, size, &record), expected);
    assert_memory_equal(&record, &before, sizeof(record));
    assert_is_dead(&copy);
    assert_int_equal(trib_session_open(&copy, buf, size, &record), TRIB_ERR_STATE);
    assert_int_equal(trib_session_seal(&copy, &(struct trib_record){.type = 1}, buf, &size),
                     TRIB_ERR_STATE);
}

static void every_change_of_a_record_is_refused(void **state)
{
    struct pair pair;
    uint8_t frame[64];
    size_t size;
    struct trib_record record;
    (void)state;
    pair_open(&pair);
    seal_text(&pair.client, "0123456789abcdef", frame, &size);
    uint8_t *body = frame + PREFIX;
    size -= PREFIX;
    for (size_t cut = 0; cut < size; cut++) {
        bool has_room = cut >= TRIB_RECORD_HEADER_SIZE + TRIB_AEAD_TAG_SIZE;
        open_refuses(&pair.server, body, cut, has_room ? TRIB_ERR_AUTH : TRIB_ERR_PROTO);
    }
    open_refuses(&pair.server, body, size + 1, TRIB_ERR_AUTH);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
        open_refuses(&pair.server, body, size, TRIB_ERR_AUTH);
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(trib_session_open(&pair.server, body, size, &record), TRIB_OK);
}

static void replayed_reordered_skipped_and_reflected_records_are_refused(void **state)
{
    struct pair pair;
    uint8_t first[64], second[64], copy[64];
    size_t size;
    struct trib_record record;
    (void)state;
    pair_open(&pair);
    seal_text(&pair.client, "first", first, &size);
    seal_text(&pair.client, "later", second, &size);
    open_refuses(&pair.server, second + PREFIX, size - PREFIX, TRIB_ERR_AUTH); // first was skipped
    open_refuses(&pair.client, first + PREFIX, size - PREFIX, TRIB_ERR_AUTH);  // to its sender
    memcpy(copy, first, size);
    assert_int_equal(trib_session_open(&pair.server, copy + PREFIX, size - PREFIX, &record),
                     TRIB_OK);
    open_refuses(&pair.server, first + PREFIX, size - PREFIX, TRIB_ERR_AUTH); // again
    assert_int_equal(trib_session_open(&pair.server, second + PREFIX, size - PREFIX, &record),
                     TRIB_OK);
}

// The key of a direction changes with record 2^16, on both sides alike and in no other direction.
static void both_sides_rekey_by_position(void **state)
{
    struct pair pair;
    uint8_t frame[64];
    size_t size;
    struct trib_record record;
    (void)state;
    pair_open(&pair);
    struct trib_noise_cipher expected = pair.client.send;
    const struct trib_noise_cipher back = pair.server.send;
    for (uint32_t i = 1; i <= 2 * TRIB_REKEY_RECORDS + 3; i++) {
        seal_text(&pair.client, "x", frame, &size);
        assert_int_equal(trib_session_open(&pair.server, frame + PREFIX, size - PREFIX, &record),
                         TRIB_OK);
        if (i % TRIB_REKEY_RECORDS == 0)
            trib_noise_rekey(&expected);
        if (memcmp(pair.client.send.key, expected.key, KEY) != 0 ||
            memcmp(pair.server.receive.key, expected.key, KEY) != 0)
            fail_msg("another key after record %u", i);
    }
    assert_true(pair.client.sent == 2 * TRIB_REKEY_RECORDS + 3);
    assert_true(pair.server.received == pair.client.sent);
    assert_true(pair.client.send.nonce == pair.client.sent); // REKEY does not turn it back
    assert_memory_equal(&pair.server.send, &back, sizeof(back));
}

static void a_used_up_nonce_ends_the_session(void **state)
{
    struct pair pair;
    uint8_t frame[64];
    size_t size;
    (void)state;
    pair_open(&pair);
    pair.client.send.nonce = UINT64_MAX;
    assert_int_equal(
        trib_session_seal(&pair.client, &(struct trib_record){.type = 1}, frame, &size),
        TRIB_ERR_LIMIT);
    assert_is_dead(&pair.client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_kinds_of_hello_and_the_welcome_arrive_as_they_were_sent),
        cmocka_unit_test(hello_has_the_documented_bytes),
        cmocka_unit_test(every_change_of_a_hello_is_refused_by_its_mac_alone),
        cmocka_unit_test(every_change_of_a_hello_under_a_good_mac_is_refused_by_noise),
        cmocka_unit_test(a_hello_for_another_coordinator_is_refused),
        cmocka_unit_test(a_hello_for_a_former_key_is_answered),
        cmocka_unit_test(payloads_of_unknown_kind_or_size_are_refused),
        cmocka_unit_test(every_change_of_a_welcome_is_refused),
        cmocka_unit_test(a_genuine_welcome_that_makes_no_sense_is_refused),
        cmocka_unit_test(a_handshake_message_at_the_wrong_moment_ends_the_session),
        cmocka_unit_test(records_of_every_interesting_size_arrive_in_both_directions),
        cmocka_unit_test(every_change_of_a_record_is_refused),
        cmocka_unit_test(replayed_reordered_skipped_and_reflected_records_are_refused),
        cmocka_unit_test(both_sides_rekey_by_position),
        cmocka_unit_test(a_used_up_nonce_ends_the_session),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
