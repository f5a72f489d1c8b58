#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/math/tally.h"

enum {
    DEVICES = 1000,
    VALUES = 7,
    WORDS = VALUES * TRIB_TALLY_LIMBS,
    TERMS = 3, // of a device and value
};

// ---- An independent way: expansions of non-overlapping doubles (Shewchuk 1997, figure 6).

struct expansion {
    double parts[64];
    size_t count;
};

static void expansion_add(struct expansion *e, double x)
{
    size_t kept = 0;
    for (size_t i = 0; i < e->count; i++) {
        double y = e->parts[i];
        if (fabs(x) < fabs(y)) {
            const double swap = x;
            x = y;
            y = swap;
        }
        const double high = x + y;
        const double low = y - (high - x);
        if (low != 0)
            e->parts[kept++] = low;
        x = high;
    }
    e->parts[kept++] = x;
    e->count = kept;
    assert_true(kept < 64);
}

// Rounded once: the parts from the largest on; a tie between two doubles is broken by the next
// part.
static double expansion_value(const struct expansion *e)
{
    size_t n = e->count;
    double high = 0, low = 0;
    while (n > 0) {
        const double x = high;
        const double y = e->parts[--n];
        high = x + y;
        low = y - (high - x);
        if (low != 0)
            break;
    }
    if (n > 0 && ((low < 0 && e->parts[n - 1] < 0) || (low > 0 && e->parts[n - 1] > 0))) {
        const double y = low * 2;
        const double x = high + y;
        if (y == x - high)
            high = x;
    }
    return high;
}

// Any sign, 1e-30 to 1e30.
static double draw(uint64_t *seed)
{
    const double unit = (double)(test_rand(seed) >> 11) * 0x1p-53;
    const double power = (double)(test_rand(seed) >> 11) * 0x1p-53 * 60 - 30;
    return (test_rand(seed) & 1 ? -1 : 1) * (1 + unit) * pow(10, power);
}

static void sums_are_exact_and_rounded_once(void **state)
{
    (void)state;
    uint64_t seed = 20261128;
    for (int run = 0; run < 200; run++) {
        struct expansion e = {.count = 0};
        struct trib_tally tally;
        assert_int_equal(trib_tally_init(&tally, 2), TRIB_OK);
        const size_t terms = 1 + test_rand(&seed) % 200;
        double last = 0;
        for (size_t i = 0; i < terms; i++) {
            // Now and then what was added is taken away again, so that only small parts are left
            last = i % 3 == 2 ? -last : draw(&seed);
            expansion_add(&e, last);
            assert_int_equal(trib_tally_add(&tally, 1, last), TRIB_OK);
        }
        const double expected = expansion_value(&e);
        const double got = trib_tally_value(&tally, 1);
        assert_memory_equal(&got, &expected, sizeof(got));
        assert_true(trib_tally_value(&tally, 0) == 0);
        trib_tally_fini(&tally);
    }
}

static void ties_go_to_even(void **state)
{
    (void)state;
    static const double cases[][3] = {
        {0x1p53, 1, 0x1p53},          // halfway, down to even
        {0x1p53, 3, 0x1p53 + 4},      // halfway, up to even
        {-0x1p53, -1, -0x1p53},       //
        {0x1p100, 0x1p-100, 0x1p100}, // far below
        {0x1p60, -0x1p-107, 0x1p60},  // just below a power of two
        {1, 0x1p-53 + 0x1p-105, 1 + 0x1p-52},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_tally tally;
        assert_int_equal(trib_tally_init(&tally, 1), TRIB_OK);
        assert_int_equal(trib_tally_add(&tally, 0, cases[i][0]), TRIB_OK);
        assert_int_equal(trib_tally_add(&tally, 0, cases[i][1]), TRIB_OK);
        assert_true(trib_tally_value(&tally, 0) == cases[i][2]);
        trib_tally_fini(&tally);
    }
}

// Each device packs its own sums; the words are added in any order.
static void any_order_of_devices_gives_the_same_bits(void **state)
{
    (void)state;
    uint64_t seed = 20261128;
    static int32_t words[DEVICES][WORDS];
    struct expansion exact[VALUES] = {{.count = 0}};
    struct trib_tally tally;
    size_t index;
    assert_int_equal(trib_tally_init(&tally, VALUES), TRIB_OK);
    assert_int_equal(trib_tally_words(VALUES), WORDS);
    for (size_t d = 0; d < DEVICES; d++) {
        memset(tally.limbs, 0, WORDS * sizeof(*tally.limbs));
        for (size_t i = 0; i < VALUES * TERMS; i++) {
            const double x = draw(&seed);
            assert_int_equal(trib_tally_add(&tally, i % VALUES, x), TRIB_OK);
            expansion_add(&exact[i % VALUES], x);
        }
        assert_int_equal(trib_tally_pack(&tally, words[d], &index), TRIB_OK);
        for (size_t w = 0; w < WORDS; w++)
            assert_true(abs(words[d][w]) < 1 << 30);
    }
    for (int order = 0; order < 5; order++) {
        int64_t sums[WORDS] = {0};
        uint32_t picks[DEVICES];
        for (uint32_t d = 0; d < DEVICES; d++)
            picks[d] = d;
        for (uint32_t d = DEVICES - 1; d > 0; d--) {
            const uint32_t other = (uint32_t)(test_rand(&seed) % (d + 1));
            const uint32_t swap = picks[d];
            picks[d] = picks[other];
            picks[other] = swap;
        }
        for (size_t d = 0; d < DEVICES; d++) {
            for (size_t w = 0; w < WORDS; w++)
                sums[w] += words[picks[d]][w];
        }
        trib_tally_take(&tally, sums);
        for (size_t v = 0; v < VALUES; v++) {
            const double expected = expansion_value(&exact[v]);
            const double got = trib_tally_value(&tally, v);
            assert_memory_equal(&got, &expected, sizeof(got));
        }
    }
    trib_tally_fini(&tally);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct trib_tally tally;
    int32_t words[3 * TRIB_TALLY_LIMBS];
    size_t index = 99;
    assert_int_equal(trib_tally_init(&tally, 3), TRIB_OK);
    assert_int_equal(trib_tally_add(&tally, 1, (double)NAN), TRIB_ERR_DATA);
    assert_int_equal(trib_tally_add(&tally, 1, -(double)INFINITY), TRIB_ERR_DATA);
    assert_int_equal(trib_tally_add(&tally, 1, 0x1p109), TRIB_ERR_LIMIT);
    assert_int_equal(trib_tally_add(&tally, 1, -0x1p109), TRIB_ERR_LIMIT);
    assert_true(trib_tally_value(&tally, 1) == 0); // unchanged
    const double largest = nextafter(0x1p109, 0);
    assert_int_equal(trib_tally_add(&tally, 1, largest), TRIB_OK);
    assert_int_equal(trib_tally_pack(&tally, words, &index), TRIB_OK);
    assert_true(trib_tally_value(&tally, 1) == largest);
    assert_int_equal(trib_tally_add(&tally, 1, 0x1p80), TRIB_OK); // together too large
    assert_int_equal(trib_tally_pack(&tally, words, &index), TRIB_ERR_LIMIT);
    assert_int_equal(index, 1);
    trib_tally_fini(&tally);
}

// Counts, and what is kept in units of 2^-40, want three words; what has no room there is refused.
static void cells_take_a_third_of_the_words(void **state)
{
    (void)state;
    enum {
        CELLS = 4
    };
    static const double cells[CELLS] = {0, 0x1.fffffffffffffp49, 0x1p-40, 67108863.25};
    static const double others[] = {0x1p50, 0x1p-41, -1, 0x1p-160, 0x1p80};
    struct trib_tally tally;
    int32_t words[CELLS * 3];
    int64_t sums[CELLS * 3] = {0};
    size_t index = 99;
    assert_int_equal(trib_tally_packed(TRIB_TALLY_WHOLE, 7), 7 * TRIB_TALLY_LIMBS);
    assert_int_equal(trib_tally_packed(TRIB_TALLY_CELLS, CELLS), CELLS * 3);
    assert_int_equal(trib_tally_init(&tally, CELLS), TRIB_OK);
    tally.layout = TRIB_TALLY_CELLS;
    for (size_t i = 0; i < CELLS; i++) { // a part of the bits is below what a cell has
        const double cell = ldexp(floor(ldexp(cells[i], 40)), -40);
        assert_int_equal(trib_tally_add(&tally, i, cell), TRIB_OK);
    }
    assert_int_equal(trib_tally_pack(&tally, words, &index), TRIB_OK);
    for (size_t w = 0; w < CELLS * 3; w++) {
        assert_in_range(words[w], 0, (1 << 30) - 1);
        sums[w] = words[w] * INT64_C(1000003); // of so many devices
    }
    trib_tally_take(&tally, sums);
    for (size_t i = 0; i < CELLS; i++)
        assert_true(trib_tally_value(&tally, i) ==
                    (double)((long double)ldexp(floor(ldexp(cells[i], 40)), -40) * 1000003));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        trib_tally_reset(&tally);
        assert_int_equal(trib_tally_add(&tally, 2, others[i]), TRIB_OK);
        assert_int_equal(trib_tally_pack(&tally, words, &index), TRIB_ERR_LIMIT);
        assert_int_equal(index, 2);
    }
    trib_tally_fini(&tally);
}

// Resolution: 2^-107 is the smallest that keeps all its bits; below, multiples of 2^-160.
static void small_values_are_rounded_to_the_resolution(void **state)
{
    (void)state;
    static const double cases[][2] = {
        {0x1.fffffffffffffp-108, 0x1.fffffffffffffp-108},
        {0x1p-160, 0x1p-160},
        {-0x1.8p-160, -0x1p-159}, // a tie, to even
        {0x1p-161, 0},
        {0x1.8p-161, 0x1p-160},
        {0x1p-1074, 0},
        {-0x1.fffffffffffffp-109, -0x1p-108},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_tally tally;
        assert_int_equal(trib_tally_init(&tally, 1), TRIB_OK);
        assert_int_equal(trib_tally_add(&tally, 0, cases[i][0]), TRIB_OK);
        assert_true(trib_tally_value(&tally, 0) == cases[i][1]);
        trib_tally_fini(&tally);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_exact_and_rounded_once),
        cmocka_unit_test(ties_go_to_even),
        cmocka_unit_test(any_order_of_devices_gives_the_same_bits),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(cells_take_a_third_of_the_words),
        cmocka_unit_test(small_values_are_rounded_to_the_resolution),
    };
    return RUN_TESTS(tests);
}
