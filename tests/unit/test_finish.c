#include "coordinator/finish.h"
#include "tests/unit/files.h"

enum {
    PARAMS = 1000,
    HEAD = 32,
};

static const struct trib_encoding encoding = {
    .mode = TRIB_PRIVACY_CENTRAL, .grid = 0x1p-12, .grid_bits = 8, .word_bits = 24};

// ---- Lifting

static void words_are_lifted_to_both_ends_of_their_range(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {16, 24, 32};
    for (int i = 0; i < 3; i++) {
        const uint32_t bits = sizes[i];
        const int64_t half = INT64_C(1) << (bits - 1);
        const int64_t values[] = {0, 1, -1, half - 1, -half, half - 2, 1 - half};
        for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)
            assert_int_equal(trib_word_lift((uint32_t)(uint64_t)values[v], bits), values[v]);
        assert_int_equal(trib_word_lift((uint32_t)(uint64_t)half, bits), -half);
    }
    // Whatever stands above the word is not part of it.
    assert_int_equal(trib_word_lift(0xABCD7FFF, 16), 32767);
    assert_int_equal(trib_word_lift(0xABCD8000, 16), -32768);
    assert_int_equal(trib_word_lift(0xAB7FFFFF, 24), 8388607);
    assert_int_equal(trib_word_lift(0xAB800000, 24), -8388608);
}

static void sums_without_masks_wrap_around_the_word(void **state)
{
    (void)state;
    static int64_t sums[10000]; // more than one piece of the cache
    for (int i = 0; i < 10000; i++)
        sums[i] = (int64_t)(i - 5000) * 7919 + (INT64_C(1) << 24) * (i % 7 - 3);
    struct trib_unmask unmask = {.hub = NULL, .word_bits = 24};
    trib_unmask_finish(&unmask, 0, 10000, sums);
    for (int i = 0; i < 10000; i++) {
        int64_t expected = (int64_t)(i - 5000) * 7919;
        expected = ((expected % (1 << 24)) + (1 << 24)) % (1 << 24);
        assert_int_equal(sums[i], expected >= 1 << 23 ? expected - (1 << 24) : expected);
    }
}

// ---- Noise

static void noise(uint64_t seed, uint64_t round, const size_t *cuts, int pieces, int64_t *ret_sums)
{
    struct trib_central central;
    assert_int_equal(trib_central_init(&central, &encoding, PARAMS, seed, round), TRIB_OK);
    for (size_t i = 0; i < PARAMS; i++)
        ret_sums[i] = (int64_t)i;
    for (int i = 0; i < pieces; i++)
        trib_central_finish(&central, cuts[2 * i], cuts[2 * i + 1], ret_sums + cuts[2 * i]);
    assert_memory_equal(central.sums, ret_sums, PARAMS * sizeof(*ret_sums));
    trib_central_fini(&central);
}

static void noise_of_a_block_does_not_depend_on_the_order_of_blocks(void **state)
{
    (void)state;
    static int64_t forward[PARAMS], backward[PARAMS], other[PARAMS];
    static const size_t up[] = {0, 400, 400, 400, 800, 200};
    static const size_t down[] = {800, 200, 0, 400, 400, 400};
    noise(5, 1, up, 3, forward);
    noise(5, 1, down, 3, backward);
    assert_memory_equal(forward, backward, sizeof(forward));
    noise(5, 2, up, 3, other); // each round has its own
    assert_memory_not_equal(forward, other, sizeof(forward));
    noise(6, 1, up, 3, other);
    assert_memory_not_equal(forward, other, sizeof(forward));
    // and each block: the second is not the first again
    int same = 0;
    for (int i = 0; i < 400; i++)
        same += forward[i] - i == forward[400 + i] - (400 + i);
    assert_in_range(same, 0, 40);
}

static void real_noise_is_never_the_same_and_has_the_scale_asked_for(void **state)
{
    (void)state;
    static int64_t one[PARAMS], two[PARAMS];
    static const size_t whole[] = {0, PARAMS};
    noise(0, 1, whole, 1, one);
    noise(0, 1, whole, 1, two);
    assert_memory_not_equal(one, two, sizeof(one));
    // The mean of |z| is about t = 256, with a deviation of t / sqrt(P) = 8.1: eight of them here.
    int64_t total = 0;
    for (int i = 0; i < PARAMS; i++)
        total += one[i] > i ? one[i] - i : i - one[i];
    assert_in_range(total / PARAMS, 256 - 65, 256 + 65);
}

// ---- The file

static const size_t block[] = {0, PARAMS};
static int64_t written[PARAMS];

static void write_sum(void)
{
    struct trib_central central;
    assert_int_equal(trib_central_init(&central, &encoding, PARAMS, 5, 1), TRIB_OK);
    noise(5, 1, block, 1, written);
    memcpy(central.sums, written, sizeof(written));
    assert_int_equal(trib_central_write(&central, files_dir, 12), TRIB_OK);
    trib_central_fini(&central);
}

static enum trib_err read_sum(size_t params, uint64_t round_id, int64_t *ret_sums)
{
    struct trib_central central;
    assert_int_equal(trib_central_init(&central, &encoding, params, 0, 1), TRIB_OK);
    enum trib_err err = trib_central_read(&central, files_dir, round_id);
    if (ret_sums)
        memcpy(ret_sums, central.sums, params * sizeof(*ret_sums));
    trib_central_fini(&central);
    return err;
}

static void a_sum_that_was_written_is_read_and_removed(void **state)
{
    (void)state;
    static int64_t back[PARAMS];
    assert_int_equal(read_sum(PARAMS, 12, NULL), TRIB_ERR_STATE);
    write_sum();
    assert_int_equal(read_sum(PARAMS, 12, back), TRIB_OK);
    assert_memory_equal(back, written, sizeof(back));
    assert_int_equal(read_sum(PARAMS, 13, NULL), TRIB_ERR_STATE);
    assert_int_equal(trib_central_remove(files_dir, 12), TRIB_OK);
    assert_int_equal(read_sum(PARAMS, 12, NULL), TRIB_ERR_STATE);
    assert_int_equal(trib_central_remove(files_dir, 12), TRIB_OK); // it is gone already
}

static void a_sum_of_another_size_or_round_is_refused(void **state)
{
    (void)state;
    struct trib_buf buf = {0};
    write_sum();
    assert_int_equal(read_sum(PARAMS - 1, 12, NULL), TRIB_ERR_CORRUPT);
    assert_int_equal(read_sum(PARAMS + 1, 12, NULL), TRIB_ERR_CORRUPT);
    assert_int_equal(trib_file_read(files_put(0, "12.sum", NULL, 0), 100000, &buf), TRIB_OK);
    (void)files_put(1, "13.sum", buf.data, buf.size);
    assert_int_equal(read_sum(PARAMS, 13, NULL), TRIB_ERR_CORRUPT);
    trib_buf_fini(&buf);
}

// As it would lie there after a bad disk, and without waiting for one.
static void put_damaged(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void every_truncation_and_every_flipped_bit_is_refused(void **state)
{
    (void)state;
    enum {
        FEW = 20, // numbers: all bits of the file are tried
        SIZE = HEAD + 8 * FEW,
    };
    struct trib_central central;
    struct trib_buf buf = {0};
    assert_int_equal(trib_central_init(&central, &encoding, FEW, 5, 1), TRIB_OK);
    for (int i = 0; i < FEW; i++)
        central.sums[i] = i - 10;
    assert_int_equal(trib_central_write(&central, files_dir, 14), TRIB_OK);
    trib_central_fini(&central);
    const char *path = files_put(0, "14.sum", NULL, 0);
    assert_int_equal(trib_file_read(path, SIZE, &buf), TRIB_OK);
    assert_int_equal(buf.size, SIZE);
    for (size_t size = 0; size < SIZE; size++) {
        put_damaged(path, buf.data, size);
        assert_int_equal(read_sum(FEW, 14, NULL), TRIB_ERR_CORRUPT);
    }
    for (size_t bit = 0; bit < 8 * SIZE; bit++) {
        buf.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        put_damaged(path, buf.data, SIZE);
        assert_int_equal(read_sum(FEW, 14, NULL), TRIB_ERR_CORRUPT);
        buf.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    put_damaged(path, buf.data, SIZE);
    assert_int_equal(read_sum(FEW, 14, NULL), TRIB_OK);
    trib_buf_fini(&buf);
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"12.sum", "13.sum", "14.sum", NULL};
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_lifted_to_both_ends_of_their_range),
        cmocka_unit_test(sums_without_masks_wrap_around_the_word),
        cmocka_unit_test(noise_of_a_block_does_not_depend_on_the_order_of_blocks),
        cmocka_unit_test(real_noise_is_never_the_same_and_has_the_scale_asked_for),
        cmocka_unit_test(a_sum_that_was_written_is_read_and_removed),
        cmocka_unit_test(a_sum_of_another_size_or_round_is_refused),
        cmocka_unit_test(every_truncation_and_every_flipped_bit_is_refused),
    };
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
