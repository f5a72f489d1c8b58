// What passes find when there is noise on their sums.
#include "common/data/prepare.h"
#include "tests/test.h"
#include "tests/unit/prepare_rig.h"

#include <math.h>

#include "common/base/rand.h"

#define COLUMNS "[column a]\nmin = 0\nmax = 100\n[column b]\nmin = 1\nmax = 2\n"

enum {
    ROWS = 20000,
    COUNT = 3 // columns, the label with them
};

static double values[ROWS * COUNT];

// Laplace noise of that standard deviation.
static double laplace(struct trib_rng *rng, double deviation)
{
    const double u = trib_rng_real(rng) - 0.5;
    return -copysign(log1p(-2 * fabs(u)), u) * deviation / sqrt(2);
}

// Column a: the mean of four draws between 0 and 80, and in one row of a thousand 100. b: 1.5.
static void deal(void)
{
    struct trib_rng rng;
    trib_rng_init(&rng, 1, "rows", 0, NULL);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0;
        for (int i = 0; i < 4; i++)
            sum += 20 * trib_rng_real(&rng);
        values[r * COUNT] = r % 1000 == 999 ? 100 : sum;
        values[r * COUNT + 1] = 1.5;
        values[r * COUNT + 2] = (double)(r % 2);
    }
}

// Every pass over `rows` rows, with noise of that size, in multiples of a coordinate's bound.
static void fit_mixed(struct trib_prepare *prepare, size_t rows, const double noises[2],
                      uint64_t seed)
{
    struct trib_rng rng;
    trib_rng_init(&rng, seed, "noise", 0, NULL);
    for (size_t pass = 0; !trib_prepare_is_fitted(prepare); pass++) {
        const double noise = noises[pass % 2];
        struct trib_prepare_sums sums;
        struct trib_prepare_run *run;
        const size_t count = trib_prepare_sum_count(prepare);
        double *totals = calloc(count, sizeof(*totals));
        double *bounds = calloc(count, sizeof(*bounds));
        assert_int_equal(trib_prepare_sums_init(&sums, prepare), TRIB_OK);
        assert_int_equal(trib_prepare_run_create(prepare, 0, &run), TRIB_OK);
        for (size_t r = 0; r < rows; r++)
            trib_prepare_gather(run, values + r * COUNT, &sums);
        trib_prepare_sums_total(&sums, totals);
        assert_int_equal(trib_prepare_bounds(prepare, bounds, rig_why, sizeof(rig_why)), TRIB_OK);
        for (size_t i = 0; i < count; i++)
            totals[i] += bounds[i] * laplace(&rng, noise);
        assert_int_equal(trib_prepare_advance(prepare, totals, noise), TRIB_OK);
        trib_prepare_run_destroy(run);
        trib_prepare_sums_fini(&sums);
        free(totals);
        free(bounds);
    }
}

static void fit(struct trib_prepare *prepare, size_t rows, double noise, uint64_t seed)
{
    const double noises[2] = {noise, noise};
    fit_mixed(prepare, rows, noises, seed);
}

// What a value of column a becomes, as feature `feature`.
static double made_of(const struct trib_prepare *prepare, double a, size_t feature)
{
    float x[8];
    const double row[COUNT] = {a, 1.5, 0};
    assert_true(trib_prepare_features(prepare) <= 8);
    assert_int_equal(rig_apply(prepare, row, 1, COUNT, x), 1);
    return (double)x[feature];
}

static void moments_are_near_the_true_ones(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(COLUMNS);
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct trib_prepare *prepare = rig_parse(schema, "[step standardise]\ncolumns = a\n");
        fit(prepare, ROWS, 20, seed);
        const double at_0 = made_of(prepare, 0, 0), at_100 = made_of(prepare, 100, 0);
        const double deviation = 100 / (at_100 - at_0);
        // Mean 40.06, deviation 11.69; a sum's noise of 2,000 is a tenth of a unit of the mean.
        assert_in_range((uint64_t)(-at_0 * deviation * 100), 3930, 4080);
        assert_in_range((uint64_t)(deviation * 100), 980, 1340);
        trib_prepare_destroy(prepare);
    }
    trib_schema_destroy(schema);
}

static void a_number_of_rows_that_noise_could_make_up_is_none(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(COLUMNS);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct trib_prepare *prepare =
            rig_parse(schema, "[step outlier]\ncolumns = a\n[step standardise]\ncolumns = a | b\n");
        rig_listen();
        fit(prepare, 50, 1000, seed);
        trib_log_set_sink(NULL, NULL);
        assert_non_null(strstr(rig_log, "column=b has nothing that stands out of the noise"));
        // Whatever it is, it is between the ends: the mean of b at 1 or above, its scale at most 1/2.
        const double b = made_of(prepare, 50, 1);
        assert_true(b >= -0.5 && b <= 0.5);
        trib_prepare_destroy(prepare);
    }
    trib_schema_destroy(schema);
}

static void quantiles_stand_out_of_the_noise(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(COLUMNS);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct trib_prepare *prepare = rig_parse(
            schema, "[step minmax]\ncolumns = a\n[step bin]\ncolumns = b\nby = quantiles\n"
                    "bins = 2\n");
        struct trib_prepare *middle =
            rig_parse(schema, "[step impute]\ncolumns = a\nwith = median\n");
        fit(prepare, ROWS, 3, seed);
        fit(middle, ROWS, 3, seed);
        // The median is 40, and 2,400 rows for each unit are a few for a bin of the second pass.
        const double median = made_of(middle, RIG_NAN, 0);
        assert_true(median > 38 && median < 42);
        // 20 rows of 100 do not stand out of noise with a deviation of 3; thousands do, and what
        // is beside them at the ends of a bin of 4 units at most.
        const double low = made_of(prepare, 20, 0), high = made_of(prepare, 60, 0);
        assert_true(low >= 0 && low < 0.35 && high > 0.5 && high <= 1);
        trib_prepare_destroy(prepare);
        trib_prepare_destroy(middle);
    }
    trib_schema_destroy(schema);
}

static void where_nothing_stands_out_the_range_is_not_left(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(COLUMNS);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct trib_prepare *prepare =
            rig_parse(schema, "[step impute]\ncolumns = a | b\nwith = median\n");
        rig_listen();
        fit(prepare, 50, 500, seed);
        trib_log_set_sink(NULL, NULL);
        assert_non_null(strstr(rig_log, "column=a has nothing that stands out of the noise"));
        const double a = made_of(prepare, RIG_NAN, 0), b = made_of(prepare, 0, 1);
        assert_true(a >= 0 && a <= 100 && b == 1.5);
        trib_prepare_destroy(prepare);
    }
    trib_schema_destroy(schema);
}

static void directions_are_near_the_true_ones(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(COLUMNS);
    struct trib_prepare *prepare =
        rig_parse(schema, "[step pca]\ncolumns = a | b\ncomponents = 1\n");
    fit(prepare, ROWS, 20, 1);
    // b has no spread, so that the direction is a itself, either way round.
    const double difference = made_of(prepare, 60, 0) - made_of(prepare, 50, 0);
    assert_true(fabs(fabs(difference) - 10) < 0.05);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void passes_with_noise_and_without_may_follow_each_other(void **state)
{
    (void)state;
    static const double mixes[2][2] = {{0, 3}, {3, 0}};
    struct trib_schema *schema = rig_schema(COLUMNS);
    for (int mix = 0; mix < 2; mix++) {
        struct trib_prepare *prepare =
            rig_parse(schema, "[step impute]\ncolumns = a\nwith = median\n");
        fit_mixed(prepare, ROWS, mixes[mix], 1);
        const double median = made_of(prepare, RIG_NAN, 0);
        assert_true(median > 38 && median < 42);
        trib_prepare_destroy(prepare);
    }
    trib_schema_destroy(schema);
}

// Noise as large as most bins: what is found is nothing, or in the range that the schema declares.
static void half_drowned_is_not_found_outside_of_the_range(void **state)
{
    (void)state;
    struct trib_schema *schema =
        rig_schema("[column a]\nmin = 0\nmax = 100\n[column b]\nmin = 1\nmax = 2\n");
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct trib_prepare *prepare = rig_parse(schema, "[step outlier]\ncolumns = a\nby = iqr\n");
        fit(prepare, ROWS, 250, seed);
        assert_true(fabs(made_of(prepare, 40, 0) - 40) < 1e-6); // ordinary values are no outliers
        trib_prepare_destroy(prepare);
    }
    trib_schema_destroy(schema);
}

// Column b has one value everywhere. Its variance is nothing but noise, often below zero:
// the scale is as large as what that may hide, and no row becomes a giant.
static void a_deviation_that_drowned_is_what_the_noise_may_hide(void **state)
{
    (void)state;
    static const double noise = 20;
    struct trib_schema *schema = rig_schema(COLUMNS);
    const double ends[2][COUNT] = {{50, 1, 0}, {50, 2, 0}};
    const double hidden = sqrt(noise / ROWS); // with ROWS not known exactly either
    int drowned = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct trib_prepare *prepare = rig_parse(schema, "[step standardise]\ncolumns = b\n");
        float x[2 * 2];
        rig_listen();
        fit(prepare, ROWS, noise, seed);
        trib_log_set_sink(NULL, NULL);
        assert_null(strstr(rig_log, "has one value on all devices")); // it would be told exactly
        assert_int_equal(rig_apply(prepare, ends[0], 2, COUNT, x), 2);
        const double scale = 1 / ((double)x[3] - (double)x[1]);
        assert_true(scale > hidden * 0.995 && scale < 5 * hidden);
        drowned += scale < hidden * 1.005;
        trib_prepare_destroy(prepare);
    }
    assert_in_range(drowned, 10, 20);
    trib_schema_destroy(schema);
}

static size_t text_size(const struct trib_prepare *prepare)
{
    struct trib_buf text = {0};
    trib_prepare_write(prepare, &text);
    assert_false(text.failed);
    const size_t size = text.size;
    trib_buf_fini(&text);
    return size;
}

static void the_text_has_room_for_what_steps_of_every_kind_find(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[step impute]\ncolumns = a | b\nindicator = yes\n[step standardise]\ncolumns = a | b\n",
        "[step impute]\ncolumns = a | b\nwith = median\n[step minmax]\ncolumns = a | b\n",
        "[step outlier]\ncolumns = a\nby = mad\n[step outlier]\ncolumns = b\nby = iqr\n",
        "[step bin]\ncolumns = a | b\nby = quantiles\nbins = 16\n",
        "[step pca]\ncolumns = a | b\ncomponents = 2\n", // the schema has bounds
    };
    struct trib_schema *schema = rig_schema(COLUMNS);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct trib_prepare *prepare = rig_parse(schema, texts[i]);
        size_t most;
        assert_int_equal(trib_prepare_text_most(prepare, &most), TRIB_OK);
        const size_t before = text_size(prepare);
        fit(prepare, 2000, 3, i);
        assert_true(text_size(prepare) > before && text_size(prepare) <= most);
        assert_int_equal(trib_prepare_text_most(prepare, &most), TRIB_OK);
        assert_int_equal(most, text_size(prepare)); // nothing is to come
        trib_prepare_destroy(prepare);
    }
    trib_schema_destroy(schema);
}

// Numbers as long as they can be, of which there are many: for each of the columns n, a mean and a
// deviation.
static void the_text_has_room_for_the_longest_numbers(void **state)
{
    (void)state;
    enum {
        WIDE = 24
    };
    char columns[WIDE * 40 + 1] = "";
    for (int c = 0; c < WIDE; c++)
        (void)snprintf(columns + strlen(columns), sizeof(columns) - strlen(columns),
                       "[column c%d]\nmin = -1\nmax = 1\n", c);
    struct trib_schema *schema = rig_schema(columns);
    struct trib_prepare *prepare = rig_parse(schema, "[step standardise]\ncolumns = c*\n");
    double totals[WIDE * 3];
    size_t most;
    const double n = 1234567.1234567891;
    assert_int_equal(trib_prepare_text_most(prepare, &most), TRIB_OK);
    assert_int_equal(trib_prepare_sum_count(prepare), WIDE * 2);
    for (size_t c = 0; c < WIDE; c++) {
        totals[2 * c] = n;
        totals[2 * c + 1] = -n * 1.2345678901234567e-300;
    }
    assert_int_equal(trib_prepare_advance(prepare, totals, 0), TRIB_OK);
    assert_int_equal(trib_prepare_sum_count(prepare), WIDE * 3);
    for (size_t c = 0; c < WIDE; c++) {
        totals[3 * c] = n;
        totals[3 * c + 1] = 0;
        totals[3 * c + 2] = n * 1.5241578753238836e-290;
    }
    assert_int_equal(trib_prepare_advance(prepare, totals, 0), TRIB_OK);
    assert_true(trib_prepare_is_fitted(prepare));
    const size_t size = text_size(prepare);
    assert_true(size <= most && size > most - most / 4); // there is room, but no more than it takes
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void a_value_that_a_text_moves_is_counted_nowhere_else(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema("[column a]\ntype = int\nmin = 50\nmax = 100\n");
    struct trib_prepare *prepare =
        rig_parse(schema, "[step outlier]\ncolumns = a\npasses = 2\nfitted = 1 1000000 1\n"
                          "[step impute]\ncolumns = a\nwith = mode\n");
    struct trib_prepare_sums sums;
    struct trib_prepare_run *run;
    const double row[2] = {60, 0};
    double all = 0;
    assert_int_equal(trib_prepare_sums_init(&sums, prepare), TRIB_OK);
    assert_int_equal(trib_prepare_run_create(prepare, 0, &run), TRIB_OK);
    trib_prepare_gather(run, row, &sums);
    for (size_t i = 0; i < sums.count; i++)
        all += sums.sums[i];
    assert_int_equal(sums.count, 51);
    assert_true(all == 1);
    trib_prepare_run_destroy(run);
    trib_prepare_sums_fini(&sums);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void too_many_passes_and_too_large_ones_are_refused_at_once(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(COLUMNS "[column c]\n");
    struct trib_prepare *prepare;
    char text[1024] = "";
    for (int i = 0; i < 12; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
                       "[step outlier]\ncolumns = a\nby = mad\n");
    assert_int_equal(
        trib_prepare_parse(text, strlen(text), "p.ini", schema, &prepare, rig_why, sizeof(rig_why)),
        TRIB_ERR_INVAL);
    assert_non_null(strstr(rig_why, "the steps want 72 passes one after the other; 64 are"));
    static const char large[] = "[step bin]\ncolumns = a | b | c\nby = quantiles\nbins = 256\n";
    assert_int_equal(trib_prepare_parse(large, sizeof(large) - 1, "p.ini", schema, &prepare,
                                        rig_why, sizeof(rig_why)),
                     TRIB_ERR_INVAL);
    assert_non_null(strstr(rig_why, "a pass would add up 1566720 numbers"));
    trib_schema_destroy(schema);
}

static void passes_to_come_are_told_with_what_they_count(void **state)
{
    (void)state;
    static const char text[] = "[step impute]\ncolumns = a\nwith = median\n"
                               "[step standardise]\ncolumns = a | b\n";
    struct trib_schema *schema = rig_schema(COLUMNS);
    struct trib_prepare *prepare = rig_parse(schema, text);
    size_t counts[TRIB_PREPARE_PASSES_MAX], pass = 0;
    assert_int_equal(trib_prepare_check_bounds(prepare, counts, rig_why, sizeof(rig_why)), TRIB_OK);
    while (!trib_prepare_is_fitted(prepare)) {
        double *totals = calloc(trib_prepare_sum_count(prepare), sizeof(*totals));
        assert_int_equal(counts[pass++], trib_prepare_sum_count(prepare));
        assert_int_equal(trib_prepare_advance(prepare, totals, 0), TRIB_OK);
        free(totals);
    }
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
    // A bound that is missing is missed in the first pass already, in whichever it is wanted.
    schema = rig_schema("[column a]\nmin = 0\nmax = 100\n[column b]\n");
    prepare = rig_parse(schema, text);
    assert_int_equal(trib_prepare_check_bounds(prepare, counts, rig_why, sizeof(rig_why)),
                     TRIB_ERR_INVAL);
    assert_non_null(strstr(rig_why, "step 2 (standardise) adds up values that have no bound"));
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_near_the_true_ones),
        cmocka_unit_test(a_number_of_rows_that_noise_could_make_up_is_none),
        cmocka_unit_test(quantiles_stand_out_of_the_noise),
        cmocka_unit_test(where_nothing_stands_out_the_range_is_not_left),
        cmocka_unit_test(directions_are_near_the_true_ones),
        cmocka_unit_test(passes_with_noise_and_without_may_follow_each_other),
        cmocka_unit_test(half_drowned_is_not_found_outside_of_the_range),
        cmocka_unit_test(a_deviation_that_drowned_is_what_the_noise_may_hide),
        cmocka_unit_test(the_text_has_room_for_what_steps_of_every_kind_find),
        cmocka_unit_test(the_text_has_room_for_the_longest_numbers),
        cmocka_unit_test(a_value_that_a_text_moves_is_counted_nowhere_else),
        cmocka_unit_test(too_many_passes_and_too_large_ones_are_refused_at_once),
        cmocka_unit_test(passes_to_come_are_told_with_what_they_count),
    };
    deal();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
