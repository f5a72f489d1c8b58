// What the fleet adds up for a pipeline: its bounds, and that it does not matter who has which rows.
#include "tests/unit/prepare_rig.h"

#include "common/base/rand.h"

static void totals_that_are_not_finite_change_nothing(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(RIG_NUMBER);
    struct trib_prepare *prepare = rig_parse(schema, "[step standardise]\ncolumns = a\n");
    const double totals[] = {1, (double)INFINITY};
    rig_listen();
    assert_int_equal(trib_prepare_advance(prepare, totals, 0), TRIB_ERR_DATA);
    trib_log_set_sink(NULL, NULL);
    assert_non_null(strstr(rig_log, "the statistics of the fleet are not finite"));
    assert_int_equal(trib_prepare_passes_left(prepare), 2);
    // A mean is found; what varies about it is too large.
    const double first[] = {2, 10};
    const double second[] = {1e-300, 1e300, 1e300};
    rig_listen();
    assert_int_equal(trib_prepare_advance(prepare, first, 0), TRIB_OK);
    assert_int_equal(trib_prepare_advance(prepare, second, 0), TRIB_ERR_DATA);
    trib_log_set_sink(NULL, NULL);
    assert_non_null(strstr(rig_log, "are too large for step standardise"));
    assert_int_equal(trib_prepare_passes_left(prepare), 1);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

// ---- Bounds

static void no_row_adds_more_than_its_bound(void **state)
{
    (void)state;
    static const char columns[] =
        "[column a]\nmin = -3\nmax = 10\n[column b]\ntype = int\nmin = 0\nmax = 5\n"
        "[column c]\ntype = category\nvalues = red | blue\n";
    struct trib_schema *schema = rig_schema(columns);
    struct trib_prepare *prepare = rig_parse(
        schema, "[step impute]\ncolumns = a\n[step impute]\ncolumns = b | c\nwith = mode\n"
                "[step outlier]\ncolumns = a\n[step log1p]\ncolumns = b\n"
                "[step minmax]\ncolumns = b\n[step interact]\ncolumns = a | b\n"
                "[step standardise]\ncolumns = a | a * b\n");
    struct trib_rng rng;
    trib_rng_init(&rng, 9, "bounds", 0, NULL);
    while (!trib_prepare_is_fitted(prepare)) {
        const size_t count = trib_prepare_sum_count(prepare);
        double *bounds = calloc(count, sizeof(double));
        double *totals = calloc(count, sizeof(double));
        assert_int_equal(trib_prepare_bounds(prepare, bounds, rig_why, sizeof(rig_why)), TRIB_OK);
        for (size_t r = 0; r < 200; r++) {
            struct trib_prepare_run *run;
            struct trib_prepare_sums one;
            double row[] = {-3 + 13 * trib_rng_real(&rng), floor(6 * trib_rng_real(&rng)),
                            floor(3 * trib_rng_real(&rng)), 0};
            if (r < 2)
                row[0] = r ? -3 : 10; // the ends themselves
            if (r % 7 == 3)
                row[r % 3] = RIG_NAN;
            assert_int_equal(trib_prepare_run_create(prepare, 0, &run), TRIB_OK);
            assert_int_equal(trib_prepare_sums_init(&one, prepare), TRIB_OK);
            trib_prepare_gather(run, row, &one);
            for (size_t i = 0; i < count; i++) {
                assert_true(fabs(one.sums[i]) <= bounds[i] * (1 + 1e-12));
                totals[i] += one.sums[i];
            }
            trib_prepare_run_destroy(run);
            trib_prepare_sums_fini(&one);
        }
        assert_int_equal(trib_prepare_advance(prepare, totals, 0), TRIB_OK);
        free(bounds);
        free(totals);
    }
    trib_prepare_destroy(prepare);
    prepare = rig_parse(schema, "[step log1p]\ncolumns = a\n[step standardise]\ncolumns = a\n");
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
    schema = rig_schema(RIG_THREE);
    prepare = rig_parse(schema, "[step standardise]\ncolumns = a\n");
    double bounds[2];
    assert_int_equal(trib_prepare_bounds(prepare, bounds, rig_why, sizeof(rig_why)),
                     TRIB_ERR_INVAL);
    assert_non_null(strstr(rig_why, "step 1 (standardise) adds up values that have no bound"));
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

// ---- Shards

enum {
    SHARD_ROWS = 20000
};

// Every number of a fitted text, in order.
static size_t numbers_of(const struct trib_prepare *prepare, double *numbers, size_t max)
{
    struct trib_buf text = {0};
    size_t count = 0;
    trib_prepare_write(prepare, &text);
    for (char *at = (char *)text.data; (at = strstr(at, "\nfitted = "));) {
        char *end = strchr(at + 1, '\n');
        for (at += strlen("\nfitted = "); at < end && count < max;)
            numbers[count++] = strtod(at, &at);
    }
    trib_buf_fini(&text);
    return count;
}

static void merged_over_a_thousand_shards_equals_the_pooled(void **state)
{
    (void)state;
    static double rows[SHARD_ROWS][4];
    static const char pipeline[] =
        "[step outlier]\ncolumns = a\nby = mad\n"
        "[step impute]\ncolumns = a\n[step impute]\ncolumns = b\nwith = median\n"
        "[step impute]\ncolumns = c\nwith = mode\n[step bin]\ncolumns = b\nby = quantiles\nbins = 5\n"
        "[step standardise]\ncolumns = a\n";
    struct trib_schema *schema = rig_schema(RIG_THREE);
    struct trib_rng rng;
    double numbers[2][256];
    trib_rng_init(&rng, 3, "shards", 0, NULL);
    for (size_t r = 0; r < SHARD_ROWS; r++) {
        // Far from 0, of many sizes, and in an order that makes shards unlike each other.
        rows[r][0] = 1e5 + exp(3 * trib_rng_normal(&rng)) + (double)r * 1e-3;
        rows[r][1] = trib_rng_normal(&rng) - (double)(r / 1000);
        rows[r][2] = floor(3 * trib_rng_real(&rng));
        if (r % 11 == 0)
            rows[r][r % 3] = RIG_NAN;
    }
    size_t counts[2];
    for (size_t i = 0; i < 2; i++) {
        struct trib_prepare *prepare = rig_parse(schema, pipeline);
        rig_fit(prepare, &rows[0][0], SHARD_ROWS, 4, i ? 1000 : 1);
        counts[i] = numbers_of(prepare, numbers[i], 256);
        trib_prepare_destroy(prepare);
    }
    assert_int_equal(counts[0], counts[1]);
    assert_true(counts[0] > 20);
    for (size_t k = 0; k < counts[0]; k++) {
        if (!(fabs(numbers[1][k] - numbers[0][k]) <= 1e-12 * fabs(numbers[0][k])))
            fail_msg("number %zu: merged %.17g, pooled %.17g", k, numbers[1][k], numbers[0][k]);
    }
    trib_schema_destroy(schema);
}

// Against plain arithmetic in long double, so that pooled and merged are not merely wrong alike.
static void moments_are_those_of_long_double(void **state)
{
    (void)state;
    static double rows[SHARD_ROWS][2];
    struct trib_schema *schema = rig_schema(RIG_NUMBER);
    struct trib_prepare *prepare = rig_parse(schema, "[step standardise]\ncolumns = a\n");
    struct trib_rng rng;
    double found[3];
    long double sum = 0;
    long double square = 0;
    trib_rng_init(&rng, 4, "shards", 0, NULL);
    for (size_t r = 0; r < SHARD_ROWS; r++) {
        rows[r][0] = 1e6 + trib_rng_normal(&rng);
        sum += (long double)rows[r][0];
    }
    for (size_t r = 0; r < SHARD_ROWS; r++) {
        const long double d = (long double)rows[r][0] - sum / SHARD_ROWS;
        square += d * d;
    }
    rig_fit(prepare, &rows[0][0], SHARD_ROWS, 2, 1000);
    assert_int_equal(numbers_of(prepare, found, 3), 3);
    const double mean = (double)(sum / SHARD_ROWS);
    const double deviation = (double)sqrtl(square / SHARD_ROWS);
    assert_true(found[0] == SHARD_ROWS);
    assert_true(fabs(found[1] - mean) <= 1e-12 * mean);
    assert_true(fabs(found[2] - deviation) <= 1e-12 * deviation);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_that_are_not_finite_change_nothing),
        cmocka_unit_test(no_row_adds_more_than_its_bound),
        cmocka_unit_test(merged_over_a_thousand_shards_equals_the_pooled),
        cmocka_unit_test(moments_are_those_of_long_double),
    };
    return RUN_TESTS(tests);
}
