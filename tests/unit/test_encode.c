#include "tests/test.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/limits.h"
#include "common/base/wipe.h"
#include "common/privacy/encode.h"
#include "common/privacy/plan.h"
#include "common/privacy/polya.h"
#include "tests/unit/encode_rig.h"

__extension__ typedef unsigned __int128 uint128;

static double normal(uint64_t *seed) // Box & Muller
{
    double radius = sqrt(-2 * log(uniform(seed)));
    return radius * cos(2 * 3.141592653589793 * uniform(seed));
}

static struct trib_encoding local_encoding(uint32_t grid_bits, uint64_t s1, uint64_t s2)
{
    return (struct trib_encoding){.mode = TRIB_PRIVACY_LOCAL,
                                  .grid = 1,
                                  .grid_bits = grid_bits,
                                  .s1 = s1,
                                  .s2 = s2,
                                  .sinf = s1 < s2 ? s1 : s2,
                                  .word_bits = 32};
}

static void assert_bounds(const struct trib_encoding *e, const int32_t *q, size_t count)
{
    uint64_t l1 = 0;
    uint128 squares = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t size = (uint64_t)llabs(q[i]);
        assert_true(size <= e->sinf);
        l1 += size;
        squares += (uint128)size * size;
    }
    assert_true(l1 <= e->s1);
    assert_true(squares <= (uint128)e->s2 * e->s2);
}

// ---- privacy on: the bounds

static float hostile_float(uint64_t *seed)
{
    static const float special[] = {NAN,     INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 1e38f,
                                    FLT_MIN, 1e-45f,   -1e-45f,   0.0f,    -0.0f,    1.0f};
    uint32_t bits = (uint32_t)(test_rand(seed) >> 32);
    float any;
    if (bits % 3 == 0)
        return special[bits / 3 % (sizeof(special) / sizeof(special[0]))];
    memcpy(&any, &bits, sizeof(any)); // every float there is, with its signalling NaNs
    return any;
}

static void fill_hostile(float *x, size_t count, uint64_t *seed)
{
    const uint64_t kind = test_rand(seed) % 6;
    const float one = hostile_float(seed);
    for (size_t i = 0; i < count; i++) {
        switch (kind) {
        case 0: x[i] = hostile_float(seed); break;
        case 1: x[i] = one; break;                            // all equal
        case 2: x[i] = 0; break;                              // a single spike, below
        case 3: x[i] = (float)(1e3 * normal(seed)); break;    // an update of some size
        case 4: x[i] = (float)exp(20 * normal(seed)); break;  // over 50 orders of magnitude
        default: x[i] = (float)(1e-3 * uniform(seed)); break; // nothing but remainders
        }
    }
    if (kind == 2)
        x[test_rand(seed) % count] = one;
}

static uint64_t up_to_bits(uint64_t *seed, unsigned bits) // 1 .. 2^bits - 1, all sizes
{
    uint64_t limit = (UINT64_C(2) << test_rand(seed) % bits) - 1;
    return 1 + test_rand(seed) % limit;
}

static void fill_encoding(struct trib_encoding *e, uint64_t *seed)
{
    static const uint32_t words[] = {16, 24, 32};
    *e = (struct trib_encoding){
        .mode = (enum trib_privacy_mode)(1 + test_rand(seed) % 3),
        .grid = exp(30 * (2 * uniform(seed) - 1)),
        .grid_bits = (uint32_t)(test_rand(seed) % 25),
        .s1 = up_to_bits(seed, TRIB_ENCODING_S1_BITS),
        .s2 = up_to_bits(seed, TRIB_ENCODING_S2_BITS),
        .word_bits = words[test_rand(seed) % 3],
    };
    if (e->mode == TRIB_PRIVACY_DISTRIBUTED)
        e->shares = (uint32_t)up_to_bits(seed, 14);
    const uint64_t word_max = (UINT64_C(1) << (e->word_bits - 1)) - 1;
    e->sinf = e->s1 < e->s2 ? e->s1 : e->s2;
    e->sinf = e->sinf < word_max ? e->sinf : word_max;
    if (test_rand(seed) % 4 == 0)
        e->sinf = 1 + test_rand(seed) % e->sinf;
}

static void no_input_gets_past_the_integer_bounds(void **state)
{
    (void)state;
    enum {
        VECTORS = 100000,
        COUNT_MAX = 48
    };
    uint64_t seed = 1;
    size_t tight = 0;
    start_noise(1);
    for (int v = 0; v < VECTORS; v++) {
        float x[COUNT_MAX];
        int32_t q[COUNT_MAX];
        struct trib_encoding e;
        struct trib_encode_report report;
        size_t count = v % 5 == 0 ? 1 : 1 + test_rand(&seed) % COUNT_MAX;
        uint64_t nonfinite = 0;

        fill_encoding(&e, &seed);
        fill_hostile(x, count, &seed);
        assert_int_equal(trib_encoding_check(&e), TRIB_OK);
        assert_int_equal(trib_encode_clip(&e, &noise, x, count, q, &report), TRIB_OK);
        assert_bounds(&e, q, count);
        for (size_t i = 0; i < count; i++) {
            nonfinite += !isfinite(x[i]);
            assert_true(q[i] == 0 || (isfinite(x[i]) && (x[i] < 0) == (q[i] < 0)));
        }
        assert_true(report.nonfinite == nonfinite);
        assert_true(report.scale >= 0 && report.scale <= 1);
        assert_true((double)report.l1 >= report.l2 && report.l2 <= (double)e.s2);
        tight += report.l1 == e.s1 || report.l2 > 0.99 * (double)e.s2;
    }
    assert_true(tight > VECTORS / 20); // the vectors did push against the bounds
}

static void a_norm_that_floats_lose_is_bounded_all_the_same(void **state)
{
    (void)state;
    // Behind 8192 ones, every small coordinate is below half the last bit of the running sum of
    // magnitudes: in doubles the vector just fits S1, in integers it is about three too long.
    enum {
        LARGE = 8192,
        COUNT = LARGE + 100000
    };
    struct trib_encoding e = local_encoding(12, UINT64_C(1) << 38, UINT32_MAX);
    struct trib_encode_report report;
    float *x = trib_alloc_array(COUNT, sizeof(*x));
    int32_t *q = trib_alloc_array(COUNT, sizeof(*q));
    assert_true(x && q);
    e.grid = 0x1p-25;
    e.sinf = INT32_MAX;
    for (int i = 0; i < COUNT; i++)
        x[i] = i < LARGE ? 1.0f : 0.99f * 0x1p-40f;
    start_noise(14);
    assert_int_equal(trib_encode_clip(&e, &noise, x, COUNT, q, &report), TRIB_OK);
    assert_bounds(&e, q, COUNT);
    assert_true(report.scale < 1 && report.scale > 0.999);
    free(x);
    free(q);
}

static void the_report_tells_the_norms_of_the_integers(void **state)
{
    (void)state;
    const float x[6] = {3, -4, NAN, 0, INFINITY, -0.0f};
    const int32_t expected[6] = {3, -4, 0, 0, 0, 0};
    struct trib_encoding e = local_encoding(4, 100, 100);
    struct trib_encode_report report;
    int32_t q[6];
    start_noise(2);
    assert_int_equal(trib_encode_clip(&e, &noise, x, 6, q, &report), TRIB_OK);
    assert_memory_equal(q, expected, sizeof(q)); // whole grid steps need no rounding
    assert_true(report.nonfinite == 2 && report.l1 == 7);
    assert_true(report.l2 == 5 && report.scale == 1);

    e = local_encoding(4, 100, 2); // and now they must shrink to an L2 norm of 2
    assert_int_equal(trib_encode_clip(&e, &noise, x, 6, q, &report), TRIB_OK);
    assert_true(report.scale > 0 && report.scale <= 0.4);
}

static void a_silent_device_and_a_zero_update_look_alike(void **state)
{
    (void)state;
    const float x[5] = {0, -0.0f, NAN, 1e-45f, 0};
    struct trib_encoding e = local_encoding(4, 16, 16);
    struct trib_encode_report report;
    start_noise(3);
    for (int dither = 0; dither < 2000; dither++) {
        int32_t q[5] = {1, 1, 1, 1, 1};
        assert_int_equal(trib_encode_clip(&e, &noise, x, 5, q, &report), TRIB_OK);
        for (int i = 0; i < 5; i++)
            assert_int_equal(q[i], 0);
    }
}

static void rounding_is_unbiased(void **state)
{
    (void)state;
    enum {
        COUNT = 50,
        DITHERS = 20000
    };
    static const double first_steps[] = {0.001, 0.5, 0.999, 1.25, 7.3};
    struct trib_encoding e = local_encoding(12, 1000000, 100000);
    struct trib_encode_report report;
    uint64_t seed = 4;
    float x[COUNT];
    int64_t sums[COUNT] = {0};

    for (int i = 0; i < COUNT; i++)
        x[i] = (float)(i < 5 ? first_steps[i] : 3 * normal(&seed));
    start_noise(4);
    for (int d = 0; d < DITHERS; d++) {
        int32_t q[COUNT];
        assert_int_equal(trib_encode_clip(&e, &noise, x, COUNT, q, &report), TRIB_OK);
        assert_true(report.scale == 1);
        for (int i = 0; i < COUNT; i++) {
            assert_true(fabs(q[i] - (double)x[i]) < 1); // one of the two neighbours
            sums[i] += q[i];
        }
    }
    for (int i = 0; i < COUNT; i++) {
        double fraction = fabs((double)x[i]) - floor(fabs((double)x[i]));
        double error = sqrt(fraction * (1 - fraction) / DITHERS);
        // 2^-20 for the digits below the fixed point, which are cut
        assert_true(fabs((double)sums[i] / DITHERS - (double)x[i]) <= 5 * error + 0x1p-20);
    }
}

// ---- privacy on: what is kept

enum shape {
    SHAPE_FLAT,
    SHAPE_GAUSSIAN,
    SHAPE_HEAVY, // Cauchy: a few coordinates are most of the norm
    SHAPES,
};

static double fill_shape(enum shape shape, float *x, size_t count, uint64_t *seed)
{
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        double sign = test_rand(seed) >> 63 ? 1 : -1;
        if (shape == SHAPE_FLAT)
            x[i] = (float)(0.01 * sign);
        else if (shape == SHAPE_GAUSSIAN)
            x[i] = (float)(0.01 * sign * sqrt(-2 * log(uniform(seed))));
        else
            x[i] = (float)(0.01 * tan(3.141592653589793 * (uniform(seed) - 0.5)));
        squares += (double)x[i] * (double)x[i];
    }
    return sqrt(squares);
}

// The share of the clip norm that the longest vectors keep, direction included: the shrinking
// factor times the norm, in units of the bound.
static double kept_share(const struct trib_privacy_plan *plan, const float *x, size_t count,
                         double norm, int32_t *words)
{
    const double clip = (double)plan->encoding.s2 * plan->encoding.grid;
    struct trib_encode_report report;
    assert_int_equal(trib_encode_clip(&plan->encoding, &noise, x, count, words, &report), TRIB_OK);
    assert_bounds(&plan->encoding, words, count);
    return report.scale * norm / clip;
}

static void clipping_keeps_almost_the_whole_norm(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 650, 10000, 100000, 1000000};
    static const double multipliers[] = {0.5, 2, 7};
    float *x = trib_alloc_array(1000000, sizeof(*x));
    int32_t *words = trib_alloc_array(1000000, sizeof(*words));
    uint64_t seed = 5;
    assert_true(x && words);
    start_noise(5);
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        for (int shape = 0; shape < SHAPES; shape++) {
            double norm = fill_shape((enum shape)shape, x, counts[c], &seed);
            for (int m = 0; m < 3; m++) {
                char why[256];
                struct trib_privacy_plan plan;
                const struct trib_privacy_config config = {.mode = TRIB_PRIVACY_LOCAL,
                                                           .clip_l2 = norm / 2,
                                                           .noise_multiplier = multipliers[m],
                                                           .params = counts[c],
                                                           .cohort = 100,
                                                           .rounds = 1,
                                                           .population = 100};
                assert_int_equal(trib_privacy_plan_make(&config, &plan, why, sizeof(why)), TRIB_OK);
                assert_true(kept_share(&plan, x, counts[c], norm, words) >= 0.99);
            }
        }
    }
    free(x);
    free(words);
}

// ---- privacy on: the noise

static void local_words_stay_in_their_width(void **state)
{
    (void)state;
    float x[1000];
    int32_t words[1000];
    struct trib_encode_report report;
    struct trib_encoding e = local_encoding(14, 20000, 20000);
    int clamped = 0;

    for (int i = 0; i < 1000; i++)
        x[i] = i % 2 ? 1e9f : -1e9f;
    e.word_bits = 16; // half of the noise is beyond 2^15: it must not wrap
    start_noise(6);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(trib_encode(&e, &noise, x, 1000, words, &report), TRIB_OK);
        for (int i = 0; i < 1000; i++) {
            assert_true(words[i] >= -32767 && words[i] <= 32767);
            clamped += words[i] == 32767 || words[i] == -32767;
        }
    }
    assert_true(clamped > 100);
}

static void the_noise_is_dlap_and_nothing_else(void **state)
{
    (void)state;
    // The same seed by hand: dither, then one draw a coordinate in order.
    enum {
        COUNT = 300
    };
    float x[COUNT];
    int32_t words[COUNT], q[COUNT];
    struct trib_encoding e = local_encoding(12, 1000, 300);
    struct trib_encode_report report;
    uint64_t seed = 7;

    for (int i = 0; i < COUNT; i++)
        x[i] = (float)(10 * normal(&seed));
    start_noise(7);
    assert_int_equal(trib_encode(&e, &noise, x, COUNT, words, &report), TRIB_OK);
    start_noise(7);
    assert_int_equal(trib_encode_clip(&e, &noise, x, COUNT, q, &report), TRIB_OK);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(words[i], q[i] + trib_noise_dlap(&noise, 12));
}

static void assert_same_bounds_in_every_mode(const struct trib_encoding *e, const float *x,
                                             size_t count, uint8_t seed)
{
    enum {
        COUNT_MAX = 48
    };
    int32_t words[COUNT_MAX], q[COUNT_MAX];
    struct trib_encode_report report, clipped;

    start_noise(seed);
    assert_int_equal(trib_encode(e, &noise, x, count, words, &report), TRIB_OK);
    assert_same_in_place(e, x, count, seed, words);
    start_noise(seed);
    assert_int_equal(trib_encode_clip(e, &noise, x, count, q, &clipped), TRIB_OK);
    assert_bounds(e, q, count);
    assert_true(report.l1 == clipped.l1 && report.nonfinite == clipped.nonfinite);
    if (e->mode == TRIB_PRIVACY_DISTRIBUTED) // what is sent is within the bounds, and a share
        trib_polya_add(&noise, q, count, e->grid_bits, e->shares);
    if (e->mode != TRIB_PRIVACY_LOCAL)
        assert_memory_equal(words, q, count * sizeof(*q));
    for (size_t i = 0; i < count && e->mode == TRIB_PRIVACY_LOCAL; i++)
        assert_true(llabs(words[i]) < INT64_C(1) << (e->word_bits - 1));
}

static void hostile_vectors_are_bounded_under_the_noise_of_every_mode(void **state)
{
    (void)state;
    enum {
        VECTORS = 10000,
        COUNT_MAX = 48
    };
    uint64_t seed = 15;
    int modes[TRIB_PRIVACY_CENTRAL + 1] = {0};
    for (int v = 0; v < VECTORS; v++) {
        float x[COUNT_MAX];
        struct trib_encoding e;
        size_t count = v % 5 == 0 ? 1 : 1 + test_rand(&seed) % COUNT_MAX;
        fill_encoding(&e, &seed);
        fill_hostile(x, count, &seed);
        assert_same_bounds_in_every_mode(&e, x, count, (uint8_t)v);
        modes[e.mode]++;
    }
    for (int mode = TRIB_PRIVACY_LOCAL; mode <= TRIB_PRIVACY_CENTRAL; mode++)
        assert_true(modes[mode] > VECTORS / 5);
}

static void shares_are_not_clamped(void **state)
{
    (void)state;
    // Noise far beyond a 16-bit word: what is cut off stays a sum modulo 2^16 (the mask does that),
    // so the words themselves must go past the word's ends.
    enum {
        COUNT = 1000
    };
    static const float x[COUNT] = {0};
    struct trib_encoding e = local_encoding(20, 1000, 1000);
    struct trib_encode_report report;
    int32_t words[COUNT];
    int beyond = 0;

    e.mode = TRIB_PRIVACY_DISTRIBUTED;
    e.shares = 2;
    e.word_bits = 16;
    start_noise(16);
    assert_int_equal(trib_encode(&e, &noise, x, COUNT, words, &report), TRIB_OK);
    for (int i = 0; i < COUNT; i++)
        beyond += words[i] < -32768 || words[i] > 32767;
    assert_true(beyond > COUNT / 2);
}

// ---- encodings

static void an_encoding_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    const struct trib_encoding good = local_encoding(12, 1000, 300);
    assert_int_equal(trib_encoding_check(&good), TRIB_OK);
    assert_int_equal(trib_encoding_check(&off24), TRIB_OK);

#define REFUSED(from, field, bad)                                  \
    do {                                                           \
        struct trib_encoding e = from;                             \
        e.field = bad;                                             \
        assert_int_equal(trib_encoding_check(&e), TRIB_ERR_INVAL); \
    } while (0)
    REFUSED(good, mode, (enum trib_privacy_mode)4);
    REFUSED(good, mode, (enum trib_privacy_mode) - 1);
    REFUSED(good, grid, 0);
    REFUSED(good, grid, -1);
    REFUSED(good, grid, (double)NAN);
    REFUSED(good, grid, (double)INFINITY);
    REFUSED(good, grid, DBL_MIN);
    REFUSED(good, grid, DBL_MAX);
    REFUSED(good, grid_bits, 25);
    REFUSED(good, grid_bits, UINT32_MAX);
    REFUSED(good, s1, 0);
    REFUSED(good, s1, UINT64_MAX);
    REFUSED(good, s1, 299); // below sinf
    REFUSED(good, s2, 0);
    REFUSED(good, s2, UINT64_MAX);
    REFUSED(good, s2, 299);
    REFUSED(good, sinf, 0);
    REFUSED(good, sinf, 301);
    REFUSED(good, word_bits, 0);
    REFUSED(good, word_bits, 17);
    REFUSED(good, word_bits, 64);
    REFUSED(off24, grid, (double)NAN);
    REFUSED(off24, word_bits, 8);
    REFUSED(off24, clip_l1, (double)NAN);
    REFUSED(off24, clip_l1, -1);
    REFUSED(off24, clip_l2, (double)INFINITY);
    REFUSED(good, shares, 1);
    REFUSED(off24, shares, 1);
    struct trib_encoding shared = good;
    shared.mode = TRIB_PRIVACY_DISTRIBUTED;
    shared.shares = TRIB_COHORT_MAX;
    assert_int_equal(trib_encoding_check(&shared), TRIB_OK);
    REFUSED(shared, shares, 0);
    REFUSED(shared, shares, TRIB_COHORT_MAX + 1);
#undef REFUSED
    struct trib_encoding narrow = local_encoding(4, 40000, 40000);
    narrow.word_bits = 16; // sinf does not fit the word
    assert_int_equal(trib_encoding_check(&narrow), TRIB_ERR_INVAL);
}

static void shares_go_with_mode_distributed_and_with_no_other(void **state)
{
    (void)state;
    struct trib_encoding e = local_encoding(12, 1000, 300);
    for (int mode = TRIB_PRIVACY_LOCAL; mode <= TRIB_PRIVACY_CENTRAL; mode++) {
        const bool splits = mode == TRIB_PRIVACY_DISTRIBUTED;
        e.mode = (enum trib_privacy_mode)mode;
        e.shares = 0;
        assert_int_equal(trib_encoding_check(&e), splits ? TRIB_ERR_INVAL : TRIB_OK);
        e.shares = 1;
        assert_int_equal(trib_encoding_check(&e), splits ? TRIB_OK : TRIB_ERR_INVAL);
        e.shares = TRIB_POLYA_SHARES_MAX;
        assert_int_equal(trib_encoding_check(&e), splits ? TRIB_OK : TRIB_ERR_INVAL);
        e.shares = TRIB_POLYA_SHARES_MAX + 1;
        assert_int_equal(trib_encoding_check(&e), TRIB_ERR_INVAL);
    }
    e = off24;
    e.shares = 1;
    assert_int_equal(trib_encoding_check(&e), TRIB_ERR_INVAL);
}

static void admission_takes_every_honest_word(void **state)
{
    (void)state;
    enum {
        COUNT = 1000
    };
    struct trib_encoding e = local_encoding(8, 100000, 1000);
    struct trib_encode_report report;
    float x[COUNT];
    int32_t words[COUNT];
    // sinf + t ln(2 * count * 2^40), rounded up
    const uint64_t max = trib_encoding_word_max(&e, COUNT);
    assert_true(max == 1000 + (uint64_t)ceil(256 * (log(2000) + 40 * log(2))));

    for (int i = 0; i < COUNT; i++)
        x[i] = 1000;
    start_noise(13);
    for (int round = 0; round < 500; round++) {
        assert_int_equal(trib_encode(&e, &noise, x, COUNT, words, &report), TRIB_OK);
        for (int i = 0; i < COUNT; i++)
            assert_true((uint64_t)labs(words[i]) <= max);
    }
    e.mode = TRIB_PRIVACY_CENTRAL; // no noise travels
    assert_true(trib_encoding_word_max(&e, COUNT) == e.sinf);
    e.mode = TRIB_PRIVACY_LOCAL;
    e.word_bits = 16; // never above what the word can hold
    e.grid_bits = 24;
    assert_true(trib_encoding_word_max(&e, COUNT) == 32767);
    assert_true(trib_encoding_word_max(&off24, COUNT) == 8388607);
    e.mode = TRIB_PRIVACY_CENTRAL; // no noise on the device
    assert_true(trib_encoding_word_max(&e, COUNT) == 1000);
    e.mode = TRIB_PRIVACY_DISTRIBUTED; // under a mask any word may come
    assert_true(trib_encoding_word_max(&e, COUNT) == 32767);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_input_gets_past_the_integer_bounds),
        cmocka_unit_test(a_norm_that_floats_lose_is_bounded_all_the_same),
        cmocka_unit_test(the_report_tells_the_norms_of_the_integers),
        cmocka_unit_test(a_silent_device_and_a_zero_update_look_alike),
        cmocka_unit_test(rounding_is_unbiased),
        cmocka_unit_test(clipping_keeps_almost_the_whole_norm),
        cmocka_unit_test(local_words_stay_in_their_width),
        cmocka_unit_test(the_noise_is_dlap_and_nothing_else),
        cmocka_unit_test(hostile_vectors_are_bounded_under_the_noise_of_every_mode),
        cmocka_unit_test(shares_are_not_clamped),
        cmocka_unit_test(an_encoding_that_contradicts_itself_is_refused),
        cmocka_unit_test(shares_go_with_mode_distributed_and_with_no_other),
        cmocka_unit_test(admission_takes_every_honest_word),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
