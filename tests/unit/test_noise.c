#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/privacy/noise.h"
#include "tests/unit/law.h"

static void start(struct trib_noise *noise, uint8_t seed)
{
    uint8_t bytes[TRIB_NOISE_SEED_SIZE];
    for (int i = 0; i < TRIB_NOISE_SEED_SIZE; i++)
        bytes[i] = (uint8_t)(seed + i);
    trib_noise_init_seed(noise, bytes);
}

static void a_seed_gives_the_same_noise_on_every_machine(void **state)
{
    (void)state;
    // Computed from the definitions with an independent ChaCha20 in another language.
    static const int64_t first[64] = {
        -4501, -6329, 7649, 2430,   -714,  2216,  -10092, -859,  959,   17,    2540,
        733,   854,   1754, -1736,  1038,  -418,  9522,   957,   -1458, -6527, -242,
        -9170, 1187,  -294, -10518, 1323,  -1512, 18942,  2380,  -4240, -1366, -208,
        -280,  453,   1495, -10957, -3179, 5440,  -3049,  298,   932,   -9666, -841,
        3752,  3737,  7333, -9306,  -1855, 1355,  -972,   -6808, -8349, 1804,  -2743,
        7442,  -206,  1657, 1670,   -938,  821,   -76,    -2402, 2698};
    struct trib_noise noise;
    int64_t sum = 0;
    uint64_t mixed = 0;

    start(&noise, 0);
    for (int i = 0; i < 5000; i++) { // about twelve blocks of the stream
        int64_t x = trib_noise_dlap(&noise, 12);
        if (i < 64)
            assert_true(x == first[i]);
        sum += x;
        mixed = mixed * 31 + (uint64_t)x;
    }
    assert_true(sum == 148111);
    assert_true(mixed == 0xe35fd6fb26efc83b);
    trib_noise_fini(&noise);
}

static void what_was_used_is_erased(void **state)
{
    (void)state;
    static const struct trib_noise nothing;
    struct trib_noise noise;
    uint8_t key[TRIB_NOISE_SEED_SIZE];

    start(&noise, 3);
    assert_int_not_equal(noise.key[0], 3); // the seed is gone: it would give all of it again
    memcpy(key, noise.key, sizeof(key));
    for (int i = 0; i < 5000; i++) {
        (void)trib_noise_below(&noise, 1000);
        for (size_t b = 0; b < noise.used; b++)
            assert_int_equal(noise.block[b], 0);
        if (memcmp(key, noise.key, sizeof(key)) != 0)
            break;
    }
    assert_memory_not_equal(key, noise.key, sizeof(key)); // a second block has another key
    trib_noise_fini(&noise);
    assert_memory_equal(&noise, &nothing, sizeof(noise));
    trib_noise_fini(NULL);
}

static void nothing_handed_out_is_left_in_memory(void **state)
{
    (void)state;
    enum {
        WORDS = 3000 // nearly three blocks
    };
    struct trib_noise noise, other;
    uint64_t handed[WORDS];
    size_t found = 0;

    start(&noise, 4);
    start(&other, 4);
    for (int i = 0; i < WORDS; i++) {
        handed[i] = trib_noise_bits(&noise, 32);
        handed[i] |= (uint64_t)trib_noise_bits(&noise, 32) << 32;
        if (i % 97 && i != WORDS - 1)
            continue;
        for (size_t at = 0; at + 4 <= sizeof(noise); at++) { // halves of words too
            uint32_t here;
            memcpy(&here, (const uint8_t *)&noise + at, sizeof(here));
            for (int w = i; w >= 0 && w > i - 64; w--)
                found += here && (here == (uint32_t)handed[w] || here == handed[w] >> 32);
        }
    }
    assert_int_equal(found, 0);
    // The search does find what is still to come: the next word of an untouched generator.
    for (size_t at = 0; at + 8 <= sizeof(other); at++)
        found += memcmp((const uint8_t *)&other + at, &handed[0], 8) == 0;
    assert_int_equal(found, 1);
    trib_noise_fini(&noise);
    trib_noise_fini(&other);
}

static void two_generators_share_nothing(void **state)
{
    (void)state;
    struct trib_noise one, other;
    int equal = 0;
    trib_noise_init(&one);
    trib_noise_init(&other);
    for (int i = 0; i < 64; i++)
        equal += trib_noise_bits(&one, 32) == trib_noise_bits(&other, 32);
    assert_true(equal < 4);
    trib_noise_fini(&one);
    trib_noise_fini(&other);
}

static void bits_are_fair_and_stay_in_range(void **state)
{
    (void)state;
    enum {
        DRAWS = 20000
    };
    struct trib_noise noise;
    start(&noise, 5);
    assert_int_equal(trib_noise_bits(&noise, 0), 0);
    for (unsigned count = 1; count <= 32; count++) {
        int ones[32] = {0};
        for (int i = 0; i < DRAWS; i++) {
            uint32_t bits = trib_noise_bits(&noise, count);
            assert_true((uint64_t)bits >> count == 0);
            for (unsigned b = 0; b < count; b++)
                ones[b] += bits >> b & 1;
        }
        for (unsigned b = 0; b < count; b++) // five standard deviations, each sqrt(n)/2
            assert_true(fabs(ones[b] - DRAWS / 2.0) < 5 * sqrt(DRAWS) / 2);
    }
    trib_noise_fini(&noise);
}

static void below_is_uniform(void **state)
{
    (void)state;
    // At the last two bounds, multiplying without rejection gives one residue in three, or in two,
    // twice the chance of the others.
    static const uint32_t bounds[] = {1, 2, 3, 5, 7, 10, 100, 3u << 30, 2863311531};
    enum {
        DRAWS = 200000,
        CELLS = 100
    };
    struct trib_noise noise;
    start(&noise, 6);
    for (size_t b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
        uint64_t counts[CELLS] = {0};
        const uint32_t cells = bounds[b] <= CELLS ? bounds[b] : 6; // by x modulo this
        struct chi_square chi = {0};
        for (int i = 0; i < DRAWS; i++) {
            uint32_t x = trib_noise_below(&noise, bounds[b]);
            assert_true(x < bounds[b]);
            counts[x % cells]++;
        }
        for (uint32_t c = 0; c < cells; c++) {
            uint32_t members = (bounds[b] - c + cells - 1) / cells; // c, c + cells, ... below it
            chi_square_add(&chi, DRAWS * (double)members / bounds[b], counts[c]);
        }
        if (chi.cells > 1)
            assert_true(chi_square_deviate(&chi) < CHI_SQUARE_MAX);
    }
    trib_noise_fini(&noise);
}

static void bern_exp_has_its_probability(void **state)
{
    (void)state;
    static const struct {
        uint32_t u;
        unsigned grid_bits;
    } cases[] = {{0, 0},  {1, 0},  {0, 4},     {1, 4},     {8, 4},
                 {15, 4}, {16, 4}, {3000, 12}, {4096, 12}, {1u << 23, 24}};
    enum {
        DRAWS = 200000
    };
    struct trib_noise noise;
    start(&noise, 7);
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        double p = exp(-ldexp(cases[c].u, -(int)cases[c].grid_bits));
        int hits = 0;
        for (int i = 0; i < DRAWS; i++)
            hits += trib_noise_bern_exp(&noise, cases[c].u, cases[c].grid_bits);
        assert_true(fabs(hits - DRAWS * p) <= 5 * sqrt(DRAWS * p * (1 - p)));
    }
    trib_noise_fini(&noise);
}

// Cells of `width` values; the outermost take the tails.
static void assert_dlap(unsigned grid_bits, int64_t width, uint8_t seed)
{
    enum {
        DRAWS = 400000,
        CELLS = 401
    };
    const double t = ldexp(1, (int)grid_bits);
    const int64_t low = -(CELLS / 2) * width - width / 2;
    uint64_t counts[CELLS] = {0};
    struct chi_square chi = {0};
    struct trib_noise noise;

    start(&noise, seed);
    for (int i = 0; i < DRAWS; i++) {
        int64_t x = trib_noise_dlap(&noise, grid_bits);
        int64_t cell = x < low ? 0 : (x - low) / width;
        counts[cell < CELLS ? cell : CELLS - 1]++;
    }
    double before = 0;
    for (int c = 0; c < CELLS; c++) {
        double upto = c == CELLS - 1 ? 1 : law_dlap_cdf(low + (c + 1) * width - 1, t);
        chi_square_add(&chi, DRAWS * (upto - before), counts[c]);
        before = upto;
    }
    assert_true(chi.cells > 8);
    assert_true(chi_square_deviate(&chi) < CHI_SQUARE_MAX);
    trib_noise_fini(&noise);
}

static void dlap_follows_the_exact_law(void **state)
{
    (void)state;
    assert_dlap(0, 1, 10);
    assert_dlap(1, 1, 11);
    assert_dlap(3, 1, 12);
    assert_dlap(6, 1, 13);
    assert_dlap(6, 8, 14);
    assert_dlap(12, 257, 15);
    assert_dlap(24, 1048573, 16);
}

static void the_law_of_another_scale_is_noticed(void **state)
{
    (void)state;
    // The same test must fail when the noise is too small by one part in sixty.
    enum {
        DRAWS = 400000,
        CELLS = 64
    };
    const double t = 64.0 * 61 / 60;
    uint64_t counts[CELLS + 1] = {0};
    struct chi_square chi = {0};
    struct trib_noise noise;

    start(&noise, 17);
    for (int i = 0; i < DRAWS; i++) {
        int64_t x = trib_noise_dlap(&noise, 6);
        uint64_t cell = (uint64_t)(x < 0 ? -x : x) / 8;
        counts[cell < CELLS ? cell : CELLS]++;
    }
    for (int c = 1; c <= CELLS; c++) { // cell 0 is narrower, by the two signs of 0
        double upto = c == CELLS ? 1 : law_dlap_cdf(8 * c + 7, t);
        chi_square_add(&chi, DRAWS * 2 * (upto - law_dlap_cdf(8 * c - 1, t)), counts[c]);
    }
    assert_true(chi_square_deviate(&chi) > CHI_SQUARE_MAX);
    trib_noise_fini(&noise);
}

static void dlap_has_its_moments_at_a_working_scale(void **state)
{
    (void)state;
    enum {
        DRAWS = 400000
    };
    const double l = exp(-1.0 / 4096);
    const double variance = 2 * l / ((1 - l) * (1 - l));
    double sum = 0, squares = 0, cubes = 0;
    struct trib_noise noise;

    start(&noise, 18);
    for (int i = 0; i < DRAWS; i++) {
        double x = (double)trib_noise_dlap(&noise, 12);
        sum += x;
        squares += x * x;
        cubes += x * x * x;
    }
    // Five standard errors; the moments of a Laplace law are E x^4 = 6 s^4, E x^6 = 90 s^6.
    assert_true(fabs(sum / DRAWS) < 5 * sqrt(variance / DRAWS));
    assert_true(fabs(squares / DRAWS / variance - 1) < 5 * sqrt(5.0 / DRAWS));
    assert_true(fabs(cubes / DRAWS) < 5 * sqrt(90 * variance * variance * variance / DRAWS));
    trib_noise_fini(&noise);
}

static void dlap_follows_the_exact_law_at_large_scales(void **state)
{
    (void)state;
    static const unsigned grid_bits[] = {10, 12, 16, 20, 24};
    enum {
        DRAWS = 200000
    };
    static int32_t sample[DRAWS];
    struct trib_noise noise;
    start(&noise, 19);
    for (size_t b = 0; b < sizeof(grid_bits) / sizeof(grid_bits[0]); b++) {
        const double t = ldexp(1, (int)grid_bits[b]);
        for (int i = 0; i < DRAWS; i++)
            sample[i] = (int32_t)trib_noise_dlap(&noise, grid_bits[b]);
        assert_true(law_dlap_distance(sample, DRAWS, t) < LAW_DISTANCE_MAX);
        assert_true(law_dlap_distance(sample, DRAWS, t * 1.06) > LAW_DISTANCE_MAX);
    }
    trib_noise_fini(&noise);
}

static void central_noise_is_one_dlap_on_each_sum(void **state)
{
    (void)state;
    static const int64_t before[] = {0, 1, -1, INT64_C(1) << 61, -(INT64_C(1) << 61), 77};
    enum {
        COUNT = sizeof(before) / sizeof(before[0])
    };
    int64_t sums[COUNT];
    struct trib_noise noise;
    start(&noise, 20);
    memcpy(sums, before, sizeof(sums));
    trib_noise_central_add(&noise, sums, COUNT, 24);
    start(&noise, 20);
    for (int i = 0; i < COUNT; i++)
        assert_true(sums[i] - before[i] == trib_noise_dlap(&noise, 24));
    trib_noise_central_add(&noise, NULL, 0, 24);
    trib_noise_fini(&noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_the_same_noise_on_every_machine),
        cmocka_unit_test(what_was_used_is_erased),
        cmocka_unit_test(nothing_handed_out_is_left_in_memory),
        cmocka_unit_test(two_generators_share_nothing),
        cmocka_unit_test(bits_are_fair_and_stay_in_range),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(bern_exp_has_its_probability),
        cmocka_unit_test(dlap_follows_the_exact_law),
        cmocka_unit_test(the_law_of_another_scale_is_noticed),
        cmocka_unit_test(dlap_follows_the_exact_law_at_large_scales),
        cmocka_unit_test(dlap_has_its_moments_at_a_working_scale),
        cmocka_unit_test(central_noise_is_one_dlap_on_each_sum),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
