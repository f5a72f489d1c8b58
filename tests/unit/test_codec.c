#include "tests/test.h"

#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/wire/codec.h"

enum {
    COUNT_MAX = 2100, // more than two of the codec's blocks, and a rest
};

static const unsigned widths[] = {16, 24, 32};
static const size_t counts[] = {0, 1, 2, 3, 7, 8, 31, 1023, 1024, 1025, COUNT_MAX};
#define EACH(list) (sizeof(list) / sizeof((list)[0]))

static int32_t limit_of(unsigned word_bits)
{
    return (int32_t)(INT32_MAX >> (32 - word_bits));
}

// Random words of the width, the extremes among them. Buffers are exact, so that a sanitizer sees
// a read or write beyond them.
struct sample {
    size_t count;
    unsigned word_bits;
    int32_t *words;
    uint8_t *packed;
};

static void *exact(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);
    assert_non_null(memory);
    return memory;
}

static void sample_init(struct sample *sample, size_t count, unsigned word_bits, uint64_t *seed)
{
    const int32_t limit = limit_of(word_bits);
    const int32_t extremes[] = {0, 1, -1, limit, -limit, -limit - 1};
    *sample = (struct sample){.count = count,
                              .word_bits = word_bits,
                              .words = exact(count * sizeof(int32_t)),
                              .packed = exact(trib_codec_size(count, word_bits))};
    for (size_t i = 0; i < count; i++) {
        uint64_t number = test_rand(seed);
        sample->words[i] = number % 4 ? (int32_t)((uint32_t)(number >> 32)) >> (32 - word_bits)
                                      : extremes[(number >> 8) % EACH(extremes)];
    }
    trib_codec_pack(sample->words, count, word_bits, sample->packed);
}

static void sample_fini(struct sample *sample)
{
    free(sample->words);
    free(sample->packed);
}

typedef void (*check_fn)(const struct sample *sample, uint64_t *seed);

static void for_every_shape(check_fn check)
{
    uint64_t seed = 20240601;
    for (size_t w = 0; w < EACH(widths); w++) {
        for (size_t c = 0; c < EACH(counts); c++) {
            struct sample sample;
            sample_init(&sample, counts[c], widths[w], &seed);
            check(&sample, &seed);
            sample_fini(&sample);
        }
    }
}

static void words_are_little_endian_twos_complement(void **state)
{
    static const int32_t words[] = {1, -2, 0x1234, -0x8000};
    static const uint8_t in_16[] = {0x01, 0x00, 0xfe, 0xff, 0x34, 0x12, 0x00, 0x80};
    static const uint8_t in_24[] = {1, 0, 0, 0xfe, 0xff, 0xff, 0x34, 0x12, 0, 0, 0x80, 0xff};
    static const uint8_t in_32[] = {1,    0,    0, 0, 0xfe, 0xff, 0xff, 0xff,
                                    0x34, 0x12, 0, 0, 0,    0x80, 0xff, 0xff};
    const uint8_t *const expected[] = {in_16, in_24, in_32};
    (void)state;
    for (size_t i = 0; i < EACH(widths); i++) {
        uint8_t out[16];
        trib_codec_pack(words, 4, widths[i], out);
        assert_int_equal(trib_codec_size(4, widths[i]), widths[i] / 2);
        assert_memory_equal(out, expected[i], widths[i] / 2);
    }
}

static void check_round_trip(const struct sample *s, uint64_t *seed)
{
    int32_t *back = exact(s->count * sizeof(int32_t));
    (void)seed;
    trib_codec_unpack(s->packed, s->count, s->word_bits, back);
    if (s->count > 0)
        assert_memory_equal(back, s->words, s->count * sizeof(int32_t));
    free(back);
}

static void unpacking_undoes_packing(void **state)
{
    (void)state;
    for_every_shape(check_round_trip);
}

static void check_in_place(const struct sample *s, uint64_t *seed)
{
    const size_t size = trib_codec_size(s->count, s->word_bits);
    int32_t *words = exact(s->count * sizeof(int32_t));
    (void)seed;
    memcpy(words, s->words, s->count * sizeof(int32_t));
    uint8_t *packed = trib_codec_pack_in_place(words, s->count, s->word_bits);
    if (size > 0)
        assert_memory_equal(packed, s->packed, size);
    free(packed);
}

static void packing_in_place_gives_the_same_bytes(void **state)
{
    (void)state;
    for_every_shape(check_in_place);
}

// Any bytes are words, and packing them again gives the same bytes: nothing is lost or invented.
static void check_bytes(const struct sample *s, uint64_t *seed)
{
    size_t size = trib_codec_size(s->count, s->word_bits);
    uint8_t *again = exact(size);
    int32_t *words = exact(s->count * sizeof(int32_t));
    for (size_t i = 0; i < size; i++)
        s->packed[i] = (uint8_t)test_rand(seed);
    trib_codec_unpack(s->packed, s->count, s->word_bits, words);
    trib_codec_pack(words, s->count, s->word_bits, again);
    if (size > 0)
        assert_memory_equal(again, s->packed, size);
    free(words);
    free(again);
}

static void packing_undoes_unpacking_of_any_bytes(void **state)
{
    (void)state;
    for_every_shape(check_bytes);
}

static void check_add(const struct sample *s, uint64_t *seed)
{
    static const uint32_t weights[] = {0, 1, 2, 1000, UINT32_MAX};
    int64_t *sums = exact(s->count * sizeof(int64_t));
    int64_t *expected = exact(s->count * sizeof(int64_t));
    for (size_t i = 0; i < s->count; i++) {
        sums[i] = (int64_t)(test_rand(seed) >> 20) - ((int64_t)1 << 43);
        expected[i] = sums[i];
    }
    for (size_t w = 0; w < EACH(weights); w++) {
        // |word| <= 2^31 and the weight below 2^32: the largest product is -2^63 + 2^31, so undo
        // the largest before the next one.
        for (size_t i = 0; i < s->count; i++) {
            bool is_near_the_end = weights[w] == UINT32_MAX;
            sums[i] = is_near_the_end ? 0 : sums[i];
            expected[i] = is_near_the_end ? 0 : expected[i];
            expected[i] += (int64_t)weights[w] * s->words[i];
        }
        trib_codec_add(s->packed, s->count, s->word_bits, weights[w], sums);
        if (s->count > 0)
            assert_memory_equal(sums, expected, s->count * sizeof(int64_t));
    }
    free(expected);
    free(sums);
}

static void add_is_the_weighted_sum_of_the_words(void **state)
{
    (void)state;
    for_every_shape(check_add);
}

static void check_norms(const struct sample *s, uint64_t *seed)
{
    struct trib_codec_norms whole = {.max_abs = 0};
    struct trib_codec_norms pieces = {.max_abs = 0};
    uint64_t max = 0;
    uint64_t sum = 0;
    long double squares = 0;
    size_t cut = s->count > 0 ? test_rand(seed) % s->count : 0;
    for (size_t i = 0; i < s->count; i++) {
        uint64_t magnitude = (uint64_t)llabs((long long)s->words[i]);
        max = magnitude > max ? magnitude : max;
        sum += magnitude;
        squares += (long double)magnitude * (long double)magnitude;
    }
    trib_codec_norms_add(s->packed, s->count, s->word_bits, &whole);
    trib_codec_norms_add(s->packed, cut, s->word_bits, &pieces);
    trib_codec_norms_add(s->packed + trib_codec_size(cut, s->word_bits), s->count - cut,
                         s->word_bits, &pieces);
    assert_true(whole.max_abs == max && pieces.max_abs == max);
    assert_true(whole.sum_abs == sum && pieces.sum_abs == sum);
    struct trib_codec_norms plain = {.max_abs = 0};
    trib_codec_norms_add_words(s->words, s->count, &plain);
    assert_memory_equal(&plain, &whole, sizeof(plain));
    uint64_t exact = squares < 0x1p64L ? (uint64_t)squares : UINT64_MAX; // 64 digits: exact below
    assert_true(whole.sum_squares == exact && pieces.sum_squares == exact);
}

static void norms_are_those_of_the_words_in_one_piece_or_two(void **state)
{
    (void)state;
    for_every_shape(check_norms);
}

// A word that does not fit is our own bug: the program must stop, not send another number.
static void a_word_out_of_range_is_never_packed(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) { // every int32 fits 32 bits
        const int32_t limit = limit_of(widths[w]);
        const int32_t bad[] = {limit + 1, -limit - 2, INT32_MAX, INT32_MIN};
        for (size_t i = 0; i < EACH(bad); i++) {
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                uint8_t out[4];
                (void)close(STDERR_FILENO);
                (void)signal(SIGABRT, SIG_DFL);
                trib_codec_pack(&bad[i], 1, widths[w], out);
                _exit(EXIT_SUCCESS);
            }
            int status = 0;
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_little_endian_twos_complement),
        cmocka_unit_test(unpacking_undoes_packing),
        cmocka_unit_test(packing_in_place_gives_the_same_bytes),
        cmocka_unit_test(packing_undoes_unpacking_of_any_bytes),
        cmocka_unit_test(add_is_the_weighted_sum_of_the_words),
        cmocka_unit_test(norms_are_those_of_the_words_in_one_piece_or_two),
        cmocka_unit_test(a_word_out_of_range_is_never_packed),
    };
    return RUN_TESTS(tests);
}
