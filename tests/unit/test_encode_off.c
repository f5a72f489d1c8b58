// Encoding with privacy off: nothing but rounding.
#include "tests/test.h"

#include <math.h>

#include "common/base/wipe.h"
#include "common/privacy/encode.h"
#include "tests/unit/encode_rig.h"

static void off_rounds_to_nearest_ties_to_even(void **state)
{
    (void)state;
    static const double steps[] = {0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.4999, -3.51, 8388607};
    static const int32_t expected[] = {0, 0, 2, 2, 0, -2, -2, 0, -4, 8388607};
    enum {
        COUNT = sizeof(steps) / sizeof(steps[0])
    };
    float x[COUNT];
    int32_t words[COUNT];
    struct trib_encode_report report;
    for (int i = 0; i < COUNT; i++)
        x[i] = (float)(steps[i] * off24.grid);
    assert_int_equal(trib_encode(&off24, NULL, x, COUNT, words, &report), TRIB_OK);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(words[i], expected[i]);
    assert_true(report.l1 == 8388607 + 4 + 4 * 2 && report.scale == 1);
}

static void off_is_within_half_a_step(void **state)
{
    (void)state;
    static const struct trib_encoding off32 = {
        .mode = TRIB_PRIVACY_OFF, .grid = 0x1p-28, .word_bits = 32};
    const struct trib_encoding *const encodings[] = {&off24, &off32};
    uint64_t seed = 11;
    for (int e = 0; e < 2; e++) {
        for (int i = 0; i < 20000; i++) {
            float x = (float)(15.9999 * (uniform(&seed) - 0.5));
            int32_t word;
            struct trib_encode_report report;
            assert_int_equal(trib_encode(encodings[e], NULL, &x, 1, &word, &report), TRIB_OK);
            assert_true(fabs(word * encodings[e]->grid - (double)x) <= encodings[e]->grid / 2);
        }
    }
}

// Words of 16 and 24 bits are made in floats, those of 32 in doubles.
static void off_gives_the_same_words_in_floats_and_doubles(void **state)
{
    (void)state;
    enum {
        COUNT = 4099
    };
    static const double grids[] = {0x1p-90, 0x1p-20, 1, 0x1p10};
    static float x[COUNT];
    static int32_t narrow[COUNT], wide[COUNT];
    uint64_t seed = 12;
    for (int g = 0; g < 4; g++) {
        for (unsigned bits = 16; bits <= 24; bits += 8) {
            struct trib_encoding e = {
                .mode = TRIB_PRIVACY_OFF, .grid = grids[g], .word_bits = bits};
            struct trib_encode_report report, again;
            const double limit = ldexp(1, (int)bits - 1) - 1;
            for (int i = 0; i < COUNT; i++)
                x[i] = (float)(grids[g] * limit * (2 * uniform(&seed) - 1) *
                               pow(2, -30 * uniform(&seed)));
            x[0] = (float)(grids[g] * limit); // the ends, ties, and next to nothing
            x[1] = -x[0];
            x[2] = (float)(grids[g] * 0.5);
            x[3] = (float)(grids[g] * -1.5);
            x[4] = (float)(grids[g] * 2.5);
            x[5] = 0x1p-149F;
            x[6] = -0.0F;
            assert_int_equal(trib_encode(&e, NULL, x, COUNT, narrow, &report), TRIB_OK);
            e.word_bits = 32;
            assert_int_equal(trib_encode(&e, NULL, x, COUNT, wide, &again), TRIB_OK);
            assert_memory_equal(narrow, wide, sizeof(narrow));
            assert_int_equal(report.l1, again.l1);
            assert_true(report.l2 == again.l2);
            e.word_bits = bits;
            const float bad[] = {(float)(grids[g] * (limit + 1)), INFINITY, NAN};
            for (int i = 0; i < 3; i++) {
                x[7] = bad[i];
                assert_int_equal(trib_encode(&e, NULL, x, COUNT, narrow, &report), TRIB_ERR_DATA);
                assert_int_equal(report.nonfinite, i > 0);
                assert_int_equal(narrow[7], 0);
            }
        }
    }
}

static void off_encodes_where_the_floats_lie(void **state)
{
    enum {
        COUNT = 2500 // more than two of the encoder's blocks, and a rest
    };
    float x[COUNT];
    int32_t words[COUNT];
    struct trib_encoding e = off24;
    struct trib_encode_report report;
    uint64_t seed = 12;
    (void)state;
    for (int i = 0; i < COUNT; i++)
        x[i] = (float)(15.9 * (uniform(&seed) - 0.5));
    for (int clips = 0; clips < 2; clips++) {
        e.clip_l2 = clips;
        assert_int_equal(trib_encode(&e, NULL, x, COUNT, words, &report), TRIB_OK);
        assert_same_in_place(&e, x, COUNT, 12, words);
    }
}

static void off_refuses_what_does_not_fit(void **state)
{
    (void)state;
    static const float bad[] = {8, -8, 1e38f, NAN, INFINITY, -INFINITY, 7.9999997f};
    struct trib_encode_report report;
    int32_t words[3];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const float x[3] = {0, bad[i], 1};
        assert_int_equal(trib_encode(&off24, NULL, x, 3, words, &report), TRIB_ERR_DATA);
    }
    const float edge = 8388607 * 0x1p-20f; // the last one that does
    assert_int_equal(trib_encode(&off24, NULL, &edge, 1, words, &report), TRIB_OK);
}

static void off_clips_only_when_told_to(void **state)
{
    (void)state;
    const float x[2] = {3, -4};
    struct trib_encoding e = off24;
    struct trib_encode_report report;
    int32_t words[2];

    e.clip_l2 = 5;
    assert_int_equal(trib_encode(&e, NULL, x, 2, words, &report), TRIB_OK);
    assert_true(report.scale == 1);
    assert_int_equal(words[1], -(4 << 20));
    e.clip_l2 = 2.5;
    assert_int_equal(trib_encode(&e, NULL, x, 2, words, &report), TRIB_OK);
    assert_true(report.scale == 0.5);
    assert_int_equal(words[0], 3 << 19);
    e.clip_l1 = 1.75; // the tighter of the two
    assert_int_equal(trib_encode(&e, NULL, x, 2, words, &report), TRIB_OK);
    assert_true(report.scale == 0.25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(off_rounds_to_nearest_ties_to_even),
        cmocka_unit_test(off_is_within_half_a_step),
        cmocka_unit_test(off_gives_the_same_words_in_floats_and_doubles),
        cmocka_unit_test(off_encodes_where_the_floats_lie),
        cmocka_unit_test(off_refuses_what_does_not_fit),
        cmocka_unit_test(off_clips_only_when_told_to),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
