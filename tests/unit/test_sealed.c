// Bytes that are sealed once for many: they open where they belong, and nowhere else.
#include "tests/test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/wipe.h"
#include "common/wire/message.h"
#include "common/wire/sealed.h"

enum {
    TYPE = 8,
    STREAM = 77,
    PREFIX = TRIB_FRAME_PREFIX_SIZE,
    FRAME = PREFIX + TRIB_CHUNK_SIZE + TRIB_NOISE_TAG_SIZE,
};

static struct trib_blob *make_blob(size_t size)
{
    uint64_t seed = size;
    uint8_t *data = malloc(size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)test_rand(&seed);
    struct trib_blob *blob = trib_blob_take(data, size);
    assert_non_null(blob);
    return blob;
}

// A run of `count` chunks from `first` on; `ret_frames` are a copy of its frames.
static void begin(struct trib_sealed *sealed, size_t first, size_t count, struct trib_run *ret_run,
                  uint8_t **ret_frames, size_t *ret_size)
{
    uint8_t payload[TRIB_SEALED_RUN_PAYLOAD];
    struct trib_record record;
    const uint8_t *frames = trib_sealed_frames(sealed, first, count, ret_size);
    assert_non_null(frames);
    *ret_frames = malloc(*ret_size);
    assert_non_null(*ret_frames);
    memcpy(*ret_frames, frames, *ret_size);
    trib_sealed_announce(sealed, TYPE, STREAM, first, count, payload, &record);
    memset(ret_run, 0, sizeof(*ret_run));
    assert_int_equal(trib_run_begin(ret_run, &record), TRIB_OK);
}

// Opens a run of all chunks from `first` on, and compares.
static void opens_from(struct trib_sealed *sealed, const struct trib_blob *blob, size_t first)
{
    struct trib_run run;
    uint8_t *frames;
    size_t size, at = 0, offset = first * TRIB_CHUNK_SIZE;
    begin(sealed, first, trib_sealed_chunks(sealed) - first, &run, &frames, &size);
    while (run.left > 0) {
        struct trib_record record;
        const size_t body = trib_load_be16(frames + at);
        assert_true(at + PREFIX + body <= size);
        assert_int_equal(trib_run_open(&run, frames + at + PREFIX, body, &record), TRIB_OK);
        assert_int_equal(record.type, TYPE);
        assert_int_equal(record.stream, STREAM);
        assert_int_equal(record.offset, offset);
        assert_true(offset + record.payload_size <= blob->size);
        assert_memory_equal(record.payload, blob->data + offset, record.payload_size);
        offset += record.payload_size;
        at += PREFIX + body;
    }
    assert_int_equal(offset, blob->size);
    assert_int_equal(at, size);
    free(frames);
}

static void everybody_opens_all_of_it_from_every_chunk_on(void **state)
{
    static const size_t sizes[] = {1, TRIB_CHUNK_SIZE - 1, TRIB_CHUNK_SIZE, TRIB_CHUNK_SIZE + 1,
                                   5 * TRIB_CHUNK_SIZE + 4};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct trib_blob *blob = make_blob(sizes[i]);
        struct trib_sealed *sealed;
        assert_int_equal(trib_sealed_create(blob, &sealed), TRIB_OK);
        assert_int_equal(trib_sealed_chunks(sealed),
                         (sizes[i] + TRIB_CHUNK_SIZE - 1) / TRIB_CHUNK_SIZE);
        for (size_t first = 0; first < trib_sealed_chunks(sealed); first++)
            opens_from(sealed, blob, first);
        assert_int_equal(blob->refs, 1); // all is sealed: what it was made of is not held
        trib_sealed_unref(sealed);
        trib_blob_unref(blob);
    }
}

static void it_is_sealed_once_and_only_as_far_as_it_is_sent(void **state)
{
    struct trib_blob *blob = make_blob(3 * TRIB_CHUNK_SIZE);
    struct trib_sealed *sealed, *other;
    size_t size;
    (void)state;
    assert_int_equal(trib_sealed_create(blob, &sealed), TRIB_OK);
    assert_int_equal(trib_sealed_create(blob, &other), TRIB_OK);
    const uint8_t *frames = trib_sealed_frames(sealed, 0, 1, &size);
    assert_int_equal(size, FRAME);
    uint8_t *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, frames, size);
    blob->data[0] ^= 1; // sealed already: shows nowhere
    assert_ptr_equal(trib_sealed_frames(sealed, 0, 3, &size), frames);
    assert_int_equal(size, 3 * FRAME);
    assert_memory_equal(frames, copy, FRAME);
    blob->data[0] ^= 1;
    assert_memory_not_equal(trib_sealed_frames(other, 0, 3, &size), frames, FRAME); // its own key
    assert_int_equal(blob->refs, 1);
    assert_false(trib_sealed_is_shared(sealed));
    assert_true(trib_sealed_is_shared(trib_sealed_ref(sealed)));
    trib_sealed_unref(sealed);
    trib_sealed_unref(sealed);
    trib_sealed_unref(other);
    trib_blob_unref(blob);
    free(copy);
}

enum change {
    CHANGE_BYTE,
    CHANGE_TAG,
    CHANGE_SKIP,
    CHANGE_SWAP,
    CHANGE_OF_ANOTHER,
    CHANGE_KEY,
    CHANGES,
};

static void what_was_changed_moved_or_left_out_does_not_open(void **state)
{
    struct trib_blob *blob = make_blob(4 * TRIB_CHUNK_SIZE);
    (void)state;
    for (enum change change = 0; change < CHANGES; change++) {
        struct trib_sealed *sealed, *other;
        struct trib_run run;
        struct trib_record record = {.type = 99};
        uint8_t *frames;
        size_t size, from = 0;
        assert_int_equal(trib_sealed_create(blob, &sealed), TRIB_OK);
        assert_int_equal(trib_sealed_create(blob, &other), TRIB_OK);
        begin(sealed, 0, 4, &run, &frames, &size);
        if (change == CHANGE_BYTE)
            frames[PREFIX + 1000] ^= 1;
        if (change == CHANGE_TAG)
            frames[FRAME - 1] ^= 0x80;
        if (change == CHANGE_SKIP)
            from = FRAME;
        if (change == CHANGE_SWAP)
            memmove(frames, frames + 2 * (size_t)FRAME, FRAME);
        if (change == CHANGE_OF_ANOTHER)
            memcpy(frames, trib_sealed_frames(other, 0, 1, &size), FRAME);
        if (change == CHANGE_KEY)
            run.cipher.key[0] ^= 1;
        assert_int_equal(trib_run_open(&run, frames + from + PREFIX, FRAME - PREFIX, &record),
                         TRIB_ERR_AUTH);
        assert_int_equal(record.type, 99); // nothing was given
        trib_sealed_unref(sealed);
        trib_sealed_unref(other);
        free(frames);
    }
    trib_blob_unref(blob);
}

static void announcements_and_frames_that_make_no_sense_are_refused(void **state)
{
    uint8_t payload[TRIB_SEALED_RUN_PAYLOAD + 1] = {TYPE, 1};
    const struct trib_record good = {
        .type = TRIB_RECORD_RUN, .payload = payload, .payload_size = TRIB_SEALED_RUN_PAYLOAD};
    uint8_t *body = calloc(1, TRIB_FRAME_MAX);
    struct trib_run run = {.left = 0};
    struct trib_record record;
    (void)state;
    assert_non_null(body);
    for (int i = 0; i < 5; i++) {
        struct trib_record bad = good;
        payload[0] = i == 0 ? TRIB_RECORD_RUN : TYPE;
        payload[1] = i != 1;
        bad.offset = i == 2 ? TRIB_CHUNK_SIZE - 1 : 0;
        bad.payload_size = i == 3 ? sizeof(payload) : i == 4 ? 0 : bad.payload_size;
        assert_int_equal(trib_run_begin(&run, &bad), TRIB_ERR_PROTO);
        assert_int_equal(run.left, 0);
    }
    payload[1] = 1;
    assert_int_equal(trib_run_begin(&run, &good), TRIB_OK);
    assert_int_equal(trib_run_open(&run, body, TRIB_NOISE_TAG_SIZE, &record), TRIB_ERR_PROTO);
    assert_int_equal(trib_run_open(&run, body, TRIB_CHUNK_SIZE + TRIB_NOISE_TAG_SIZE + 1, &record),
                     TRIB_ERR_PROTO);
    trib_run_fini(&run);

    struct trib_record far = good; // its bytes would be past what an offset can say
    far.offset = UINT32_MAX / TRIB_CHUNK_SIZE * TRIB_CHUNK_SIZE;
    assert_int_equal(trib_run_begin(&run, &far), TRIB_OK);
    assert_int_equal(trib_run_open(&run, body, TRIB_CHUNK_SIZE + TRIB_NOISE_TAG_SIZE, &record),
                     TRIB_ERR_PROTO);
    trib_run_fini(&run);
    free(body);
}

// Genuine, but a short chunk that others follow: their places would not be known.
static void only_the_last_chunk_is_a_short_one(void **state)
{
    struct trib_blob *blob = make_blob(100);
    struct trib_sealed *sealed;
    struct trib_run run;
    struct trib_record record;
    uint8_t *frames;
    size_t size;
    (void)state;
    assert_int_equal(trib_sealed_create(blob, &sealed), TRIB_OK);
    begin(sealed, 0, 1, &run, &frames, &size);
    run.left = 2;
    assert_int_equal(trib_run_open(&run, frames + PREFIX, size - PREFIX, &record), TRIB_ERR_PROTO);
    trib_run_fini(&run);
    trib_sealed_unref(sealed);
    trib_blob_unref(blob);
    free(frames);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_opens_all_of_it_from_every_chunk_on),
        cmocka_unit_test(it_is_sealed_once_and_only_as_far_as_it_is_sent),
        cmocka_unit_test(what_was_changed_moved_or_left_out_does_not_open),
        cmocka_unit_test(announcements_and_frames_that_make_no_sense_are_refused),
        cmocka_unit_test(only_the_last_chunk_is_a_short_one),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
