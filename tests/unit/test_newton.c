#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/math/ask.h"
#include "common/math/newton.h"
#include "tests/unit/models.h"

enum {
    ROWS = 400,
    INPUTS = 4,
    P = INPUTS + 1,
    SHARDS = 10,
};

static float x[ROWS][INPUTS], y[ROWS], weights[ROWS];

// Features of unlike sizes that hang together; labels 0 and 1, or numbers.
static void fill(uint64_t seed, bool classifies)
{
    for (size_t i = 0; i < ROWS; i++) {
        const double common = draw(&seed);
        for (size_t j = 0; j < INPUTS; j++)
            x[i][j] = (float)((common + 0.3 * draw(&seed)) * pow(10, (double)j - 1));
        const double score = 0.5 + 9 * (double)x[i][0] - 0.02 * (double)x[i][3] + draw(&seed);
        y[i] = (float)(classifies ? score + 2 * draw(&seed) > 0 : score);
        weights[i] = 1;
    }
}

static struct trib_samples rows(size_t first, size_t count)
{
    return (struct trib_samples){
        .x = x[first], .y = y + first, .rows = count, .inputs = INPUTS, .weights = weights + first};
}

// What a fleet does: each shard counts and packs; the sums are added, and read.
static void gather(const struct trib_model *model, const float *params, double *values)
{
    const struct trib_ask ask = {.kind = TRIB_TALLY_NEWTON, .model = model};
    const size_t count = trib_ask_values(&ask);
    const size_t words = trib_tally_words(count);
    int64_t *sums = calloc(words, sizeof(*sums));
    int32_t *packed = calloc(words, sizeof(*packed));
    struct trib_tally tally;
    size_t index;
    assert_non_null(sums);
    assert_non_null(packed);
    assert_int_equal(trib_tally_init(&tally, count), TRIB_OK);
    for (size_t s = 0; s < SHARDS; s++) {
        const size_t first = s * s * ROWS / (SHARDS * SHARDS); // shards of unlike sizes
        const size_t last = (s + 1) * (s + 1) * ROWS / (SHARDS * SHARDS);
        const struct trib_samples samples = rows(first, last - first);
        trib_tally_reset(&tally);
        assert_int_equal(trib_ask_count(&ask, params, &samples, &tally), TRIB_OK);
        assert_int_equal(trib_tally_pack(&tally, packed, &index), TRIB_OK);
        for (size_t w = 0; w < words; w++)
            sums[w] += packed[w];
    }
    trib_tally_take(&tally, sums);
    for (size_t v = 0; v < count; v++)
        values[v] = trib_tally_value(&tally, v);
    trib_tally_fini(&tally);
    free(sums);
    free(packed);
}

// ---- An independent way: the pooled rows in long double, QR by Householder reflections

static long double feature(size_t row, size_t j)
{
    return j < INPUTS ? (long double)x[row][j] : 1;
}

// Minimise sum v (z - x b)^2 over the rows, and penalty * b^2.
static void least_squares(const long double *v, const long double *z, long double penalty,
                          long double *b)
{
    static long double a[ROWS + P][P + 1];
    const size_t n = ROWS + P;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < P; j++)
            a[i][j] = i < ROWS ? sqrtl(v[i]) * feature(i, j) : (i - ROWS == j) * sqrtl(penalty);
        a[i][P] = i < ROWS ? sqrtl(v[i]) * z[i] : 0;
    }
    for (size_t c = 0; c < P; c++) {
        long double norm = 0, h[ROWS + P], square = 0;
        for (size_t i = c; i < n; i++)
            norm += a[i][c] * a[i][c];
        norm = a[c][c] > 0 ? -sqrtl(norm) : sqrtl(norm);
        for (size_t i = c; i < n; i++) {
            h[i] = a[i][c] - (i == c ? norm : 0);
            square += h[i] * h[i];
        }
        for (size_t j = c; j <= P; j++) {
            long double dot = 0;
            for (size_t i = c; i < n; i++)
                dot += h[i] * a[i][j];
            for (size_t i = c; i < n; i++)
                a[i][j] -= 2 * dot / square * h[i];
        }
    }
    for (size_t i = P; i-- > 0;) {
        b[i] = a[i][P];
        for (size_t j = i + 1; j < P; j++)
            b[i] -= a[i][j] * b[j];
        b[i] /= a[i][i];
    }
}

static void assert_close(const double *got, const long double *expected, double tolerance)
{
    for (size_t j = 0; j < P; j++)
        assert_true(fabsl((long double)got[j] - expected[j]) <=
                    (long double)tolerance * fabsl(expected[j]));
}

static void one_round_of_a_line_is_pooled_least_squares(void **state)
{
    (void)state;
    const struct trib_model model = parsed("4 - dense 1 linear");
    const double ridges[] = {0, 0.01};
    for (size_t r = 0; r < 2; r++) {
        double values[P * (P + 1) / 2 + P + 2];
        float params[P] = {1, -2, 3, 4, 5}; // wherever one begins
        long double v[ROWS], z[ROWS], expected[P];
        struct trib_newton_report report;
        fill(3 + r, false);
        for (size_t i = 0; i < ROWS; i++) {
            v[i] = 1;
            z[i] = (long double)y[i];
        }
        least_squares(v, z, (long double)ridges[r] * ROWS, expected);
        gather(&model, params, values);
        assert_int_equal(trib_newton_step(&model, values, params, ridges[r], params, &report),
                         TRIB_OK);
        assert_int_equal(report.outcome, TRIB_NEWTON_STEP);
        assert_true(report.rows == ROWS);
        assert_close(report.coefficients, expected, 1e-9);
        for (size_t j = 0; j < P; j++)
            assert_true(params[j] == (float)report.coefficients[j]);
        trib_newton_report_fini(&report);
    }
}

static void eight_rounds_of_a_logistic_regression_are_pooled_reweighted_least_squares(void **state)
{
    (void)state;
    const struct trib_model model = parsed("4 - dense 1 sigmoid");
    const double ridges[] = {0, 0.001};
    for (size_t r = 0; r < 2; r++) {
        double values[P * (P + 1) / 2 + P + 2];
        float params[P] = {0};
        long double v[ROWS], z[ROWS], expected[P] = {0};
        double last = (double)INFINITY;
        fill(5 + r, true);
        for (int iteration = 0; iteration < 40; iteration++) {
            for (size_t i = 0; i < ROWS; i++) {
                long double score = 0;
                for (size_t j = 0; j < P; j++)
                    score += expected[j] * feature(i, j);
                const long double p = 1 / (1 + expl(-score));
                v[i] = p * (1 - p);
                z[i] = score + ((long double)y[i] - p) / v[i];
            }
            least_squares(v, z, (long double)ridges[r] * ROWS, expected);
        }
        for (int round = 1; round <= 8; round++) {
            struct trib_newton_report report;
            gather(&model, params, values);
            assert_int_equal(trib_newton_step(&model, values, params, ridges[r], params, &report),
                             TRIB_OK);
            assert_int_equal(report.outcome, TRIB_NEWTON_STEP);
            assert_true(report.decrement >= 0 && report.decrement < last);
            last = fmax(report.decrement, 1e-9); // below it float32 speaks
            if (round == 8)
                assert_close(report.coefficients, expected, 1e-8);
            trib_newton_report_fini(&report);
        }
    }
}

static void what_is_counted_is_what_the_layout_says(void **state)
{
    (void)state;
    const struct trib_model model = parsed("2 - dense 1 linear");
    const float two[2][2] = {{2, 3}, {0, -1}}, target[] = {5, 1}, weight[] = {1, 2};
    const float params[] = {1, 1, 0.5f}; // outputs 5.5 and -0.5
    const struct trib_samples samples = {
        .x = two[0], .y = target, .rows = 2, .inputs = 2, .weights = weight};
    static const double expected[] = {4,     6,           2,
                                      9 + 2, 3 - 2,       1 + 2,    // the triangle
                                      -1,    -1.5 - 3,    -0.5 + 3, // residuals -0.5 and 1.5
                                      2,     0.125 + 2.25};
    const uint32_t order[] = {1, 0};
    struct trib_tally tally;
    assert_int_equal(trib_newton_values(&model), 11);
    assert_int_equal(trib_tally_init(&tally, 11), TRIB_OK);
    assert_int_equal(trib_newton_count(&model, params, &samples, order, 2, &tally), TRIB_OK);
    for (size_t i = 0; i < 11; i++)
        assert_true(trib_tally_value(&tally, i) == expected[i]);
    trib_tally_fini(&tally);
}

static void rows_kept_aside_are_not_counted(void **state)
{
    (void)state;
    const struct trib_model model = parsed("4 - dense 1 linear");
    const struct trib_ask ask = {.kind = TRIB_TALLY_NEWTON, .model = &model, .kept.fraction = 0.25};
    const float params[P] = {0};
    const struct trib_samples samples = rows(0, ROWS), none = rows(0, 0);
    struct trib_tally tally;
    fill(9, false);
    assert_int_equal(trib_tally_init(&tally, trib_ask_values(&ask)), TRIB_OK);
    assert_int_equal(trib_ask_count(&ask, params, &samples, &tally), TRIB_OK);
    const double counted = trib_tally_value(&tally, tally.count - 2);
    assert_true(counted > 0.65 * ROWS && counted < 0.85 * ROWS);
    assert_int_equal(trib_ask_count(&ask, params, &none, &tally), TRIB_ERR_REFUSED);
    x[0][0] = 3e38f; // its square does not fit
    assert_int_equal(trib_ask_count(&ask, params, &samples, &tally), TRIB_ERR_LIMIT);
    trib_tally_fini(&tally);
}

static void what_cannot_be_solved_is_refused_by_name(void **state)
{
    (void)state;
    const struct trib_model model = parsed("4 - dense 1 linear");
    double values[P * (P + 1) / 2 + P + 2];
    float params[P] = {1, 2, 3, 4, 5};
    const float before[P] = {1, 2, 3, 4, 5};
    struct trib_newton_report report;
    const double nearly[] = {0, 1e-7};
    for (size_t k = 0; k < 2; k++) { // a column that is another one, or nearly
        uint64_t seed = 5;
        fill(11, false);
        for (size_t i = 0; i < ROWS; i++)
            x[i][1] = (float)((double)x[i][0] * (1 + nearly[k] * draw(&seed)));
        gather(&model, params, values);
        assert_int_equal(trib_newton_step(&model, values, params, 0, params, &report), TRIB_OK);
        assert_int_equal(report.outcome, TRIB_NEWTON_ILL_CONDITIONED);
        assert_true(report.condition > 1e12);
        assert_memory_equal(params, before, sizeof(params));
        assert_string_equal(trib_newton_outcome_text(report.outcome), "ill_conditioned");
        trib_newton_report_fini(&report);
    }
    assert_int_equal(trib_newton_step(&model, values, params, 0.1, params, &report), TRIB_OK);
    assert_int_equal(report.outcome, TRIB_NEWTON_STEP); // a ridge helps
    trib_newton_report_fini(&report);
    memset(values, 0, sizeof(values));
    assert_int_equal(trib_newton_step(&model, values, params, 0.1, params, &report), TRIB_OK);
    assert_int_equal(report.outcome, TRIB_NEWTON_NO_ROWS);
    trib_newton_report_fini(&report);
    for (size_t j = 0, at = 0; j < P; at += P - j, j++) { // H = 1e-30 I, g = 1e20
        values[at] = 1e-30;
        values[P * (P + 1) / 2 + j] = 1e20;
    }
    values[P * (P + 1) / 2 + P] = ROWS;
    memcpy(params, before, sizeof(params));
    assert_int_equal(trib_newton_step(&model, values, params, 0, params, &report), TRIB_OK);
    assert_int_equal(report.outcome, TRIB_NEWTON_NOT_FINITE);
    assert_memory_equal(params, before, sizeof(params));
    trib_newton_report_fini(&report);
}

static void only_models_of_one_output_and_no_hidden_layer_fit(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        bool fits;
    } cases[] = {
        {"511 - dense 1 linear", true},
        {"3 - dense 1 sigmoid", true},
        {"512 - dense 1 linear", false},
        {"3 - dense 2 softmax", false},
        {"3 - dense 4 relu - dense 1 linear", false},
        {"3 - dropout 0.5 - dense 1 linear", false},
        {"3 - dense 2 linear", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_model model;
        char why[256];
        if (trib_model_parse(cases[i].spec, &model, why, sizeof(why)))
            continue; // not a model at all
        const struct trib_ask ask = {.kind = TRIB_TALLY_NEWTON, .model = &model};
        assert_int_equal(trib_newton_fits(&model), cases[i].fits);
        assert_int_equal(trib_ask_values(&ask) > 0, cases[i].fits);
        const struct trib_ask other = {.kind = (enum trib_tally_kind)TRIB_TALLY_KINDS,
                                       .model = &model};
        assert_int_equal(trib_ask_values(&other), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_round_of_a_line_is_pooled_least_squares),
        cmocka_unit_test(eight_rounds_of_a_logistic_regression_are_pooled_reweighted_least_squares),
        cmocka_unit_test(what_is_counted_is_what_the_layout_says),
        cmocka_unit_test(rows_kept_aside_are_not_counted),
        cmocka_unit_test(what_cannot_be_solved_is_refused_by_name),
        cmocka_unit_test(only_models_of_one_output_and_no_hidden_layer_fit),
    };
    return RUN_TESTS(tests);
}
