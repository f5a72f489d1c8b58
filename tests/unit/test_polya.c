#include "tests/test.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/wipe.h"
#include "common/privacy/polya.h"
#include "tests/unit/law.h"

static struct trib_noise noise;

static void start(uint8_t seed)
{
    uint8_t bytes[TRIB_NOISE_SEED_SIZE];
    for (int i = 0; i < TRIB_NOISE_SEED_SIZE; i++)
        bytes[i] = (uint8_t)(seed + i);
    trib_noise_init_seed(&noise, bytes);
}

static int32_t *zeros(size_t count)
{
    int32_t *words = trib_alloc_array(count, sizeof(*words));
    assert_non_null(words);
    memset(words, 0, count * sizeof(*words));
    return words;
}

// ---- its parts

static void poisson_one_follows_its_law(void **state)
{
    (void)state;
    enum {
        DRAWS = 4000000,
        CELLS = 12
    };
    uint64_t counts[CELLS + 1] = {0};
    struct chi_square chi = {0};
    double p = exp(-1), rest = 1;

    start(1);
    for (int i = 0; i < DRAWS; i++) {
        uint32_t n = trib_polya_poisson_one(&noise);
        counts[n < CELLS ? n : CELLS]++;
    }
    for (int n = 0; n < CELLS; n++) {
        chi_square_add(&chi, DRAWS * p, counts[n]);
        rest -= p;
        p /= n + 1;
    }
    chi_square_add(&chi, DRAWS * fmax(rest, 0), counts[CELLS]);
    assert_true(chi.cells >= 9); // 0 to 8 are told apart: the long runs are looked at too
    assert_true(chi_square_deviate(&chi) < CHI_SQUARE_MAX);
}

static void bern_2e_has_its_probability(void **state)
{
    (void)state;
    enum {
        DRAWS = 2000000
    };
    const double p = 2 * exp(-1);
    struct chi_square chi = {0};
    uint64_t hits = 0;

    start(2);
    for (int i = 0; i < DRAWS; i++)
        hits += trib_polya_bern_2e(&noise);
    chi_square_add(&chi, DRAWS * p, hits);
    chi_square_add(&chi, DRAWS * (1 - p), DRAWS - hits);
    assert_true(chi_square_deviate(&chi) < CHI_SQUARE_MAX);
}

static void below_is_uniform_beyond_32_bits(void **state)
{
    (void)state;
    // The last two bounds need rejection: without it one value in three has twice the chance.
    static const uint64_t bounds[] = {1,
                                      3,
                                      100,
                                      UINT64_C(1) << 32,
                                      (UINT64_C(1) << 40) + 15,
                                      UINT64_C(3) << 62,
                                      UINT64_C(12297829382473034411)};
    enum {
        DRAWS = 200000,
        CELLS = 6
    };
    start(3);
    for (size_t b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
        const uint64_t bound = bounds[b];
        uint64_t residues[CELLS] = {0}, places[CELLS] = {0};
        struct chi_square by_residue = {0}, by_place = {0};
        for (int i = 0; i < DRAWS; i++) {
            uint64_t x = trib_polya_below(&noise, bound);
            assert_true(x < bound);
            residues[x % CELLS]++;
            if (bound > 1000) // cells of equal size, but for the last
                places[x / (bound / CELLS + 1)]++;
        }
        for (uint64_t c = 0; c < CELLS; c++) {
            uint64_t members = c < bound ? (bound - c - 1) / CELLS + 1 : 0;
            chi_square_add(&by_residue, DRAWS * ((double)members / (double)bound), residues[c]);
            chi_square_add(&by_place, DRAWS / (double)CELLS, places[c]);
        }
        if (by_residue.cells > 1)
            assert_true(chi_square_deviate(&by_residue) < CHI_SQUARE_MAX);
        if (bound > 1000)
            assert_true(chi_square_deviate(&by_place) < CHI_SQUARE_MAX);
    }
}

// ---- a share

static void a_seed_gives_the_same_share_on_every_machine(void **state)
{
    (void)state;
    // Computed from the definitions with an independent ChaCha20 in another language.
    static const int32_t first[64] = {
        33,   2729, 0,     -131, 95,  -3187, 0,   0,   200,   0,    0,    5,    660,
        992,  0,    2,     -381, -1,  587,   40,  0,   -2422, -80,  -17,  818,  -4,
        -113, 7,    0,     -14,  0,   192,   824, 0,   -9,    260,  -251, 0,    3369,
        5,    188,  -1183, 0,    0,   -2,    0,   -11, -273,  0,    679,  3543, 151,
        23,   -183, 0,     -440, -35, -862,  4,   0,   0,     -150, 1790, -193};
    static const struct {
        uint32_t shares;
        unsigned grid_bits;
        int64_t sum;
        uint64_t mixed;
    } expected[] = {{10, 12, -253268, 0x9c17fb4beafd17e2},
                    {3, 4, -982, 0xeafffa4cb1c10af2},
                    {60, 16, -769016, 0x7692683e4b0cff44}};
    enum {
        COUNT = 5000
    };
    for (size_t e = 0; e < sizeof(expected) / sizeof(expected[0]); e++) {
        int32_t *words = zeros(COUNT);
        int64_t sum = 0;
        uint64_t mixed = 0;
        start(0);
        trib_polya_add(&noise, words, COUNT, expected[e].grid_bits, expected[e].shares);
        for (int i = 0; i < COUNT; i++) {
            sum += words[i];
            mixed = mixed * 31 + (uint64_t)words[i];
        }
        if (e == 0)
            assert_memory_equal(words, first, sizeof(first));
        assert_true(sum == expected[e].sum);
        assert_true(mixed == expected[e].mixed);
        free(words);
    }
}

// The law of one share in cells from -reach to reach, and tails, against what was drawn.
static struct chi_square chi_of_share(const int32_t *words, size_t count, unsigned grid_bits,
                                      double shares)
{
    enum {
        REACH_MAX = 400
    };
    const double t = ldexp(1, (int)grid_bits);
    const int reach = grid_bits < 4 ? (int)(20 * t) : REACH_MAX;
    const size_t terms = (size_t)(50 * t) + REACH_MAX;
    uint64_t counts[2 * REACH_MAX + 3] = {0};
    struct chi_square chi = {0};
    double inside = 0;
    double *pmf = trib_alloc_array(terms, sizeof(*pmf));
    assert_non_null(pmf);

    law_nb_pmf(1 / shares, t, pmf, terms);
    for (size_t i = 0; i < count; i++) {
        int32_t x = words[i] < -reach ? -reach - 1 : words[i] > reach ? reach + 1 : words[i];
        counts[x + reach + 1]++;
    }
    for (int x = -reach; x <= reach; x++) {
        double p = law_difference(pmf, terms, (size_t)abs(x));
        chi_square_add(&chi, (double)count * p, counts[x + reach + 1]);
        inside += p;
    }
    chi_square_add(&chi, (double)count * (1 - inside), counts[0] + counts[2 * reach + 2]);
    free(pmf);
    return chi;
}

static void a_share_follows_its_law(void **state)
{
    (void)state;
    static const uint32_t shares[] = {1, 2, 3, 7, 10, 60, 600};
    static const unsigned grid_bits[] = {0, 1, 3, 6};
    enum {
        COUNT = 400001
    };
    int32_t *words = zeros(COUNT);
    start(4);
    for (size_t s = 0; s < sizeof(shares) / sizeof(shares[0]); s++) {
        for (size_t b = 0; b < sizeof(grid_bits) / sizeof(grid_bits[0]); b++) {
            memset(words, 0, COUNT * sizeof(*words));
            trib_polya_add(&noise, words, COUNT, grid_bits[b], shares[s]);
            struct chi_square chi = chi_of_share(words, COUNT, grid_bits[b], shares[s]);
            assert_true(chi.cells >= 3);
            assert_true(chi_square_deviate(&chi) < CHI_SQUARE_MAX);
        }
    }
    free(words);
}

static void the_law_of_another_share_is_noticed(void **state)
{
    (void)state;
    // The negative control: noise of 1/62 for a device that owes 1/60, and of half the scale.
    enum {
        COUNT = 2000000
    };
    int32_t *words = zeros(COUNT);
    struct chi_square chi;
    start(5);
    trib_polya_add(&noise, words, COUNT, 3, 62);
    chi = chi_of_share(words, COUNT, 3, 60);
    assert_true(chi_square_deviate(&chi) > CHI_SQUARE_MAX);
    memset(words, 0, COUNT * sizeof(*words));
    trib_polya_add(&noise, words, COUNT, 2, 60);
    chi = chi_of_share(words, COUNT, 3, 60);
    assert_true(chi_square_deviate(&chi) > CHI_SQUARE_MAX);
    free(words);
}

// Rows gdl_pmf,<shares>,<t>,<x>,,<probability> of the reference values with `shares` and `t`:
// each is a cell (both signs), all else is one more.
static void assert_reference_cells(const int32_t *words, size_t count, uint32_t shares, uint32_t t)
{
    struct chi_square chi = {0};
    double rest = 1;
    uint64_t others = count;
    char line[256];
    FILE *file = fopen(TEST_VECTORS "/privacy_extra.csv", "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        uint32_t row_shares, row_t;
        int32_t x;
        double p;
        uint64_t seen = 0;
        if (sscanf(line, "gdl_pmf,%" SCNu32 ",%" SCNu32 ",%" SCNd32 ",,%lf", &row_shares, &row_t,
                   &x, &p) != 4 ||
            row_shares != shares || row_t != t)
            continue;
        for (size_t i = 0; i < count; i++)
            seen += words[i] == x || words[i] == -x;
        p *= x == 0 ? 1 : 2;
        chi_square_add(&chi, (double)count * p, seen);
        rest -= p;
        others -= seen;
    }
    (void)fclose(file);
    chi_square_add(&chi, (double)count * rest, others);
    assert_int_equal(chi.cells, 5); // four rows, and the rest
    assert_true(chi_square_deviate(&chi) < CHI_SQUARE_MAX);
}

static void a_share_at_a_working_scale_meets_the_reference_values(void **state)
{
    (void)state;
    static const uint32_t shares[] = {2, 10, 60};
    enum {
        COUNT = 500000
    };
    int32_t *words = zeros(COUNT);
    start(6);
    for (size_t s = 0; s < sizeof(shares) / sizeof(shares[0]); s++) {
        memset(words, 0, COUNT * sizeof(*words));
        trib_polya_add(&noise, words, COUNT, 12, shares[s]);
        assert_reference_cells(words, COUNT, shares[s], 4096);
    }
    free(words);
}

// Means of cos(a z) at frequencies below, at and above 1/t, within five standard errors.
static void assert_cosines(const int32_t *words, size_t count, unsigned grid_bits, double shares_in,
                           double shares)
{
    static const double in_scales[] = {0.3, 1, 5, 100, 1e4};
    const double t = ldexp(1, (int)grid_bits);
    for (size_t f = 0; f < sizeof(in_scales) / sizeof(in_scales[0]); f++) {
        const double a = fmin(in_scales[f] / t, 3);
        double sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += cos(a * words[i]);
        double expected = law_share_cosine(a, t, shares_in, shares);
        // Var cos(a z) = (1 + E cos(2 a z))/2 - (E cos(a z))^2
        double variance =
            (1 + law_share_cosine(2 * a, t, shares_in, shares)) / 2 - expected * expected;
        assert_true(fabs(sum / (double)count - expected) <= 5 * sqrt(variance / (double)count));
    }
}

static void a_share_follows_its_law_at_every_scale_and_cohort(void **state)
{
    (void)state;
    static const uint32_t shares[] = {1, 2, 3, 100, 1000, 9999, TRIB_POLYA_SHARES_MAX};
    static const unsigned grid_bits[] = {0, 5, 12, 17, 23, 24};
    enum {
        COUNT = 80000
    };
    int32_t *words = zeros(COUNT);
    start(7);
    for (size_t s = 0; s < sizeof(shares) / sizeof(shares[0]); s++) {
        for (size_t b = 0; b < sizeof(grid_bits) / sizeof(grid_bits[0]); b++) {
            memset(words, 0, COUNT * sizeof(*words));
            trib_polya_add(&noise, words, COUNT, grid_bits[b], shares[s]);
            assert_cosines(words, COUNT, grid_bits[b], 1, shares[s]);
        }
    }
    free(words);
}

static void every_coordinate_of_a_short_vector_gets_a_share(void **state)
{
    (void)state;
    // Vectors shorter than a segment, and with a short one at the end: each place by itself.
    static const struct {
        size_t count;
        uint32_t shares;
    } cases[] = {{1, 60}, {3, 10}, {7, 3}, {5, 5}};
    enum {
        VECTORS = 100000,
        COUNT_MAX = 7
    };
    start(8);
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        const size_t count = cases[c].count;
        int32_t *places[COUNT_MAX] = {0};
        for (size_t i = 0; i < count; i++)
            places[i] = zeros(VECTORS);
        for (int v = 0; v < VECTORS; v++) {
            int32_t words[COUNT_MAX + 1] = {0};
            words[count] = 77; // not ours
            trib_polya_add(&noise, words, count, 2, cases[c].shares);
            assert_int_equal(words[count], 77);
            for (size_t i = 0; i < count; i++)
                places[i][v] = words[i];
        }
        for (size_t i = 0; i < count; i++) {
            struct chi_square chi = chi_of_share(places[i], VECTORS, 2, cases[c].shares);
            assert_true(chi_square_deviate(&chi) < CHI_SQUARE_MAX);
            free(places[i]);
        }
    }
}

static void coordinates_are_independent(void **state)
{
    (void)state;
    // Within a segment jumps are drawn together: neighbours must still not know of each other.
    enum {
        COUNT = 1000000
    };
    int32_t *words = zeros(COUNT);
    double squares = 0, products[3] = {0}, magnitudes[3] = {0}, mean = 0;
    start(9);
    trib_polya_add(&noise, words, COUNT, 3, 4);
    for (int i = 0; i < COUNT - 3; i++) {
        squares += (double)words[i] * words[i];
        mean += abs(words[i]) / (double)(COUNT - 3);
        for (int lag = 1; lag <= 3; lag++) {
            products[lag - 1] += (double)words[i] * words[i + lag];
            magnitudes[lag - 1] += (double)abs(words[i]) * abs(words[i + lag]);
        }
    }
    for (int lag = 0; lag < 3; lag++) { // products of independents: their deviation is E z^2
        assert_true(fabs(products[lag]) < 5 * squares / sqrt(COUNT));
        assert_true(fabs(magnitudes[lag] - COUNT * mean * mean) < 5 * squares / sqrt(COUNT) * 2);
    }
    free(words);
}

static void words_count_modulo_two_to_the_32(void **state)
{
    (void)state;
    enum {
        COUNT = 3000
    };
    static const uint32_t shares[] = {1, 5};
    int32_t *share = zeros(COUNT);
    int32_t *words = zeros(COUNT);
    for (int s = 0; s < 2; s++) {
        int wrapped = 0;
        memset(share, 0, COUNT * sizeof(*share));
        start(10);
        trib_polya_add(&noise, share, COUNT, 20, shares[s]);
        for (int i = 0; i < COUNT; i++)
            words[i] = i % 2 ? INT32_MAX - i : INT32_MIN + i;
        start(10);
        trib_polya_add(&noise, words, COUNT, 20, shares[s]);
        for (int i = 0; i < COUNT; i++) {
            int64_t whole = (i % 2 ? INT32_MAX - (int64_t)i : INT32_MIN + (int64_t)i) + share[i];
            wrapped += whole != words[i];
            assert_true((uint32_t)whole == (uint32_t)words[i]);
        }
        assert_true(wrapped > COUNT / 10);
    }
    trib_polya_add(&noise, NULL, 0, 12, 60); // nothing to do is not an error
    free(share);
    free(words);
}

// ---- the sum of shares

static void add_shares(int32_t *words, size_t count, unsigned grid_bits, uint32_t shares)
{
    memset(words, 0, count * sizeof(*words));
    for (uint32_t s = 0; s < shares; s++)
        trib_polya_add(&noise, words, count, grid_bits, shares);
}

static void all_shares_together_are_discrete_laplace(void **state)
{
    (void)state;
    static const uint32_t shares[] = {2, 3, 10, 60};
    static const unsigned grid_bits[] = {0, 4, 12, 16, 24};
    enum {
        COUNT = 40000
    };
    int32_t *words = zeros(COUNT);
    start(11);
    for (size_t s = 0; s < sizeof(shares) / sizeof(shares[0]); s++) {
        for (size_t b = 0; b < sizeof(grid_bits) / sizeof(grid_bits[0]); b++) {
            const double t = ldexp(1, (int)grid_bits[b]);
            add_shares(words, COUNT, grid_bits[b], shares[s]);
            if (grid_bits[b] <= 4) { // NB(1, l) is geometric: m = 1 in the law of a share
                struct chi_square chi = chi_of_share(words, COUNT, grid_bits[b], 1);
                assert_true(chi_square_deviate(&chi) < CHI_SQUARE_MAX);
            }
            assert_cosines(words, COUNT, grid_bits[b], 1, 1);
            assert_true(law_dlap_distance(words, COUNT, t) < LAW_DISTANCE_MAX);
        }
    }
    free(words);
}

static void one_share_too_few_is_noticed(void **state)
{
    (void)state;
    enum {
        COUNT = 100000
    };
    int32_t *words = zeros(COUNT);
    start(12);
    for (int s = 0; s < 9; s++)
        trib_polya_add(&noise, words, COUNT, 12, 10);
    assert_cosines(words, COUNT, 12, 9, 10);
    assert_true(law_dlap_distance(words, COUNT, 4096) > LAW_DISTANCE_MAX);
    free(words);
}

static void shares_have_their_moments_at_a_working_scale(void **state)
{
    (void)state;
    enum {
        COUNT = 1000000,
        SHARES = 60
    };
    const double l = exp(-1.0 / 4096);
    const double variance = 2 * l / ((1 - l) * (1 - l)) / SHARES;
    const double excess = 3.0 * SHARES; // of the kurtosis: that of Laplace, times the shares
    double sum = 0, squares = 0;
    int32_t *words = zeros(COUNT);
    start(13);
    trib_polya_add(&noise, words, COUNT, 12, SHARES);
    for (int i = 0; i < COUNT; i++) {
        sum += words[i];
        squares += (double)words[i] * words[i];
    }
    assert_true(fabs(sum / COUNT) < 5 * sqrt(variance / COUNT));
    assert_true(fabs(squares / COUNT / variance - 1) < 5 * sqrt((excess + 2) / COUNT));
    free(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poisson_one_follows_its_law),
        cmocka_unit_test(bern_2e_has_its_probability),
        cmocka_unit_test(below_is_uniform_beyond_32_bits),
        cmocka_unit_test(a_seed_gives_the_same_share_on_every_machine),
        cmocka_unit_test(a_share_follows_its_law),
        cmocka_unit_test(the_law_of_another_share_is_noticed),
        cmocka_unit_test(a_share_at_a_working_scale_meets_the_reference_values),
        cmocka_unit_test(a_share_follows_its_law_at_every_scale_and_cohort),
        cmocka_unit_test(every_coordinate_of_a_short_vector_gets_a_share),
        cmocka_unit_test(coordinates_are_independent),
        cmocka_unit_test(words_count_modulo_two_to_the_32),
        cmocka_unit_test(all_shares_together_are_discrete_laplace),
        cmocka_unit_test(one_share_too_few_is_noticed),
        cmocka_unit_test(shares_have_their_moments_at_a_working_scale),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
