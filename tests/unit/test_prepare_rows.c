// Steps that look at more than one row, or at the time of a row.
#include "tests/unit/prepare_rig.h"

#include "common/base/rand.h"
#include "common/data/prepare_dataset.h"

static enum trib_prepare_fate row_of(struct trib_prepare_run *run, const double *values, float *x,
                                     float *weight)
{
    *weight = -1;
    return trib_prepare_row(run, values, x, weight);
}

static struct trib_prepare_run *run_of(const struct trib_prepare *prepare, double today)
{
    struct trib_prepare_run *run;
    assert_int_equal(trib_prepare_run_create(prepare, today, &run), TRIB_OK);
    return run;
}

// ---- smooth

static void smoothing_is_what_its_formula_says(void **state)
{
    (void)state;
    static const double rows[][2] = {{1, 0}, {2, 0}, {RIG_NAN, 0}, {9, 0}, {4, 0}, {5, 0}};
    static const struct {
        const char *by;
        float wanted[5]; // without the row that has no value
    } cases[] = {
        {"by = mean\nwindow = 3", {1, 1.5f, 4, 5, 6}},
        {"by = median\nwindow = 3", {1, 1.5f, 2, 4, 5}},
        {"by = ewma\nalpha = 0.5", {1, 1.5f, 5.25f, 4.625f, 4.8125f}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];
        float x[6];
        (void)snprintf(text, sizeof(text), "[step smooth]\ncolumns = a\n%s\n", cases[i].by);
        struct trib_schema *schema = rig_schema("[column a]\n");
        struct trib_prepare *prepare = rig_parse(schema, text);
        assert_int_equal(rig_apply(prepare, &rows[0][0], 6, 2, x), 5);
        assert_memory_equal(x, cases[i].wanted, sizeof(cases[i].wanted));
        assert_int_equal(rig_apply(prepare, &rows[4][0], 1, 2, x), 1); // another run forgets
        assert_true(x[0] == 4);
        trib_prepare_destroy(prepare);
        trib_schema_destroy(schema);
    }
}

// The weights of five points are those of the tables: (3, -5, -3, 9, 31) / 35. A parabola stays as
// it is, also when the window has gone round, and a missing value leaves no trace.
static void savgol_is_the_end_of_a_parabola(void **state)
{
    (void)state;
    static const double rows[][2] = {{4, 0}, {-2, 0}, {RIG_NAN, 0}, {7, 0}, {1, 0}, {6, 0}, {0, 0}};
    const double wanted[] = {4,
                             -2,
                             7,
                             1 - (-4 + 3 * -2 - 3 * 7 + 1) / 20.0,
                             (3 * 4 - 5 * -2 - 3 * 7 + 9 * 1 + 31 * 6) / 35.0,
                             (3 * -2 - 5 * 7 - 3 * 1 + 9 * 6 + 31 * 0) / 35.0};
    struct trib_schema *schema = rig_schema("[column a]\n");
    struct trib_prepare *prepare =
        rig_parse(schema, "[step smooth]\ncolumns = a\nby = savgol\nwindow = 5\n");
    double parabola[40][2];
    float x[40];
    assert_int_equal(rig_apply(prepare, &rows[0][0], 7, 2, x), 6);
    for (size_t i = 0; i < 6; i++)
        assert_float_equal(x[i], wanted[i], 1e-5);
    for (size_t i = 0; i < 40; i++) {
        parabola[i][0] = 3 - 0.5 * (double)i + 0.25 * (double)(i * i);
        parabola[i][1] = 0;
    }
    assert_int_equal(rig_apply(prepare, &parabola[0][0], 40, 2, x), 40);
    for (size_t i = 0; i < 40; i++)
        assert_float_equal(x[i], parabola[i][0], 1e-4);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

enum {
    SINE_ROWS = 4000
};

static void smoothing_a_noisy_sine_gains_signal(void **state)
{
    (void)state;
    static const char *const ways[] = {"by = mean\nwindow = 7", "by = median\nwindow = 7",
                                       "by = ewma\nalpha = 0.3", "by = savgol\nwindow = 31"};
    static double rows[SINE_ROWS][2];
    static double sine[SINE_ROWS];
    struct trib_rng rng;
    double noise = 0;
    trib_rng_init(&rng, 2, "sine", 0, NULL);
    for (size_t r = 0; r < SINE_ROWS; r++) {
        sine[r] = sin(2 * M_PI * (double)r / 200);
        rows[r][0] = sine[r] + 0.5 * trib_rng_normal(&rng);
        noise += (rows[r][0] - sine[r]) * (rows[r][0] - sine[r]);
    }
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        static float x[SINE_ROWS];
        char text[128];
        double left = 0;
        (void)snprintf(text, sizeof(text), "[step smooth]\ncolumns = a\n%s\n", ways[i]);
        struct trib_schema *schema = rig_schema("[column a]\n");
        struct trib_prepare *prepare = rig_parse(schema, text);
        assert_int_equal(rig_apply(prepare, &rows[0][0], SINE_ROWS, 2, x), SINE_ROWS);
        for (size_t r = 0; r < SINE_ROWS; r++)
            left += ((double)x[r] - sine[r]) * ((double)x[r] - sine[r]);
        const double gain_db = 10 * log10(noise / left);
        if (gain_db < 3)
            fail_msg("%s: gains %.2f dB only", ways[i], gain_db);
        trib_prepare_destroy(prepare);
        trib_schema_destroy(schema);
    }
}

// ---- dedup

enum {
    MILLION = 1000000,
    DUPLICATES = 100000,
};

// Row k of a million, of which every tenth repeats the row 5,000 places before, or further away.
static void make_row(size_t k, double *row)
{
    if (k % 10 == 9)
        k = k < 500000 ? k / 2 / 10 * 10 + 3 : k - 5000 - 2;
    row[0] = (double)k * 0.37;
    row[1] = (double)(k % 7);
    row[2] = (double)(k % 2);
}

static void a_million_rows_lose_their_duplicates_and_no_others(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema("[column a]\n[column b]\n");
    struct trib_prepare *prepare =
        rig_parse(schema, "[step dedup]\nwindow = 1000000\n[step log1p]\ncolumns = a\n");
    struct trib_prepare_run *run = run_of(prepare, 0);
    size_t missed = 0;
    size_t wrong = 0;
    for (size_t k = 0; k < MILLION; k++) {
        double row[3];
        float x[2];
        float weight;
        make_row(k, row);
        const bool is_dropped = row_of(run, row, x, &weight) == TRIB_PREPARE_DROPPED;
        missed += !is_dropped && k % 10 == 9;
        wrong += is_dropped && k % 10 != 9;
    }
    assert_int_equal(missed, 0);
    if ((double)wrong > 1e-4 * (MILLION - DUPLICATES))
        fail_msg("%zu rows are dropped that were no duplicates", wrong);
    trib_prepare_run_destroy(run);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void a_duplicate_has_the_same_label_and_all_columns(void **state)
{
    (void)state;
    static const double rows[][3] = {{1, RIG_NAN, 0}, {1, RIG_NAN, 1}, {1, 2, 0},
                                     {1, RIG_NAN, 0}, {-0.0, 3, 0},    {0, 3, 0}};
    static const bool is_kept[] = {true, true, true, false, true, false};
    struct trib_schema *schema =
        rig_schema("[column a]\n[column home]\ntype = int\nrole = local-only\n");
    struct trib_prepare *prepare = rig_parse(schema, "[step dedup]\ncolumns = a | home\n");
    struct trib_prepare_run *run = run_of(prepare, 0);
    assert_int_equal(trib_prepare_features(prepare), 1); // looking at a column makes no feature
    for (size_t r = 0; r < 6; r++) {
        float x;
        float weight;
        assert_int_equal(row_of(run, rows[r], &x, &weight),
                         is_kept[r] ? TRIB_PREPARE_KEPT : TRIB_PREPARE_DROPPED);
    }
    trib_prepare_run_destroy(run);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void a_window_forgets_after_twice_its_rows(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema("[column a]\n");
    struct trib_prepare *prepare = rig_parse(schema, "[step dedup]\nwindow = 100\n");
    struct trib_prepare_run *run = run_of(prepare, 0);
    float x;
    float weight;
    for (size_t k = 0; k < 1000; k++) {
        const double row[] = {(double)k, 0};
        assert_int_equal(row_of(run, row, &x, &weight), TRIB_PREPARE_KEPT);
        const double before[] = {(double)(k > 99 ? k - 99 : 0),
                                 0}; // 100 rows ago, this one included
        assert_int_equal(row_of(run, before, &x, &weight), TRIB_PREPARE_DROPPED);
    }
    const double first[] = {0, 0};
    assert_int_equal(row_of(run, first, &x, &weight), TRIB_PREPARE_KEPT);
    trib_prepare_run_destroy(run);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

// ---- time

static void times_are_points_on_circles(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double hour, weekday, month, yearday; // turns
    } cases[] = {
        {"1970-01-01T06:00", 0.25, 3.0 / 7, 0, 0},
        {"2024-02-29T18:00", 0.75, 3.0 / 7, 1.0 / 12, 59.0 / 366}, // a Thursday
        {"2023-03-01", 0, 2.0 / 7, 2.0 / 12, 59.0 / 365},          // a Wednesday
        {"2024-12-31", 0, 1.0 / 7, 11.0 / 12, 365.0 / 366},        // a Tuesday
        {"1999-12-31", 0, 4.0 / 7, 11.0 / 12, 364.0 / 365},        // a Friday
        {"1900-03-01", 0, 3.0 / 7, 2.0 / 12, 59.0 / 365},          // a Thursday; no leap year
        {"1969-07-20", 0, 6.0 / 7, 6.0 / 12, 200.0 / 365},         // a Sunday
    };
    struct trib_schema *schema = rig_schema("[column at]\ntype = time\nrole = time\n[column a]\n");
    struct trib_prepare *prepare = rig_parse(
        schema,
        "[step time]\ncolumns = at\nhour = yes\nweekday = yes\nmonth = yes\nyearday = yes\n");
    assert_int_equal(trib_prepare_features(prepare), 9);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const double turns[] = {cases[i].hour, cases[i].weekday, cases[i].month, cases[i].yearday};
        double row[] = {0, 5, 0};
        float x[9];
        assert_true(trib_schema_time(cases[i].text, &row[0]));
        assert_int_equal(rig_apply(prepare, row, 1, 3, x), 1);
        assert_true(x[0] == 5);
        for (size_t k = 0; k < 4; k++) {
            if (fabs((double)x[1 + 2 * k] - sin(2 * M_PI * turns[k])) > 1e-6 ||
                fabs((double)x[2 + 2 * k] - cos(2 * M_PI * turns[k])) > 1e-6)
                fail_msg("%s, part %zu: %.7f %.7f, wanted the turn %.7f", cases[i].text, k,
                         (double)x[1 + 2 * k], (double)x[2 + 2 * k], turns[k]);
        }
    }
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

// ---- recency

static void weights_halve_and_rows_expire(void **state)
{
    (void)state;
    static const char columns[] = "[column at]\ntype = time\nrole = time\n[column a]\n";
    static const struct {
        double days;
        double weight; // 0: dropped
    } cases[] = {
        {100, 1},    {107, 1},                                            // the future is now
        {93, 0.5},   {86, 0.25}, {72, 0.0625}, {70, 0.05127095975047737}, // 30 days: 2^(-30/7)
        {69.999, 0}, {0, 0},     {RIG_NAN, 0}, {96.5, 0.70710678118654752}};
    struct trib_schema *schema = rig_schema(columns);
    for (int way = 0; way < 2; way++) { // today's date from the text, or from the device
        struct trib_prepare *prepare = rig_parse(
            schema,
            way ? "[step recency]\ncolumns = at\nhalf_life = 7\nttl = 30\n"
                : "[step recency]\ncolumns = at\nhalf_life = 7\nttl = 30\nnow = 1970-04-11\n");
        struct trib_prepare_run *run = run_of(prepare, way ? 100 : 5000);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            const double row[] = {cases[i].days, 1, 0};
            float x;
            float weight;
            const enum trib_prepare_fate fate = row_of(run, row, &x, &weight);
            assert_int_equal(fate, cases[i].weight > 0 ? TRIB_PREPARE_KEPT : TRIB_PREPARE_DROPPED);
            if (cases[i].weight > 0)
                assert_true(weight == (float)cases[i].weight);
        }
        trib_prepare_run_destroy(run);
        trib_prepare_destroy(prepare);
    }
    trib_schema_destroy(schema);
}

static void a_device_of_stale_rows_sits_out(void **state)
{
    (void)state;
    static const double days[] = {90, 93, RIG_NAN};
    struct trib_schema *schema = rig_schema("[column at]\ntype = time\nrole = time\n[column a]\n");
    struct trib_prepare *prepare = rig_parse(
        schema, "[step recency]\ncolumns = at\nhalf_life = 7\nttl = 10\nnow = 1970-04-11\n");
    for (size_t first = 0; first < 3; first++) { // from all three rows to the last alone
        struct trib_prepare_report report = {.rows = 0};
        struct trib_dataset *values;
        struct trib_dataset *features;
        assert_int_equal(trib_dataset_create(3 - first, 0, true, "rows", &values), TRIB_OK);
        assert_int_equal(trib_dataset_add_values(values, schema->count), TRIB_OK);
        assert_int_equal(trib_dataset_add_weights(values), TRIB_OK);
        for (size_t r = 0; r < values->rows; r++) {
            values->values[r * 3] = days[first + r];
            values->values[r * 3 + 1] = (double)r;
            values->weights[r] = 3;
            values->lines[r] = (uint32_t)(first + r + 1);
        }
        assert_int_equal(trib_prepare_dataset(prepare, values, 0, &report, &features), TRIB_OK);
        assert_int_equal(features->rows, 2 - first);
        assert_int_equal(report.kept, 2 - first);
        assert_int_equal(report.dropped, 1);
        assert_int_equal(report.tallies[0].dropped, 1);
        assert_int_equal(report.one_class, first < 2);
        if (features->rows > 0) { // ages of 10 and 7 days
            const size_t last = features->rows - 1;
            assert_true(features->weights[last] == 1.5F && features->lines[last] == 2);
            assert_true(features->unfit[0] == '\0');
        } else {
            assert_non_null(strstr(features->unfit, "the pipeline leaves none of 1 rows"));
        }
        trib_dataset_free(features);
        trib_dataset_free(values);
        trib_prepare_report_fini(&report);
    }
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void what_these_steps_do_not_take_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"[step recency]\ncolumns = at\n", "p.ini:1: recency wants half_life or ttl"},
        {"[step recency]\ncolumns = a\nttl = 1\n", "p.ini:1: column 'a' is no time"},
        {"[step recency]\ncolumns = at | a\nttl = 1\n", "p.ini:1: recency wants one column"},
        {"[step recency]\ncolumns = at\nttl = 1\nnow = soon\n", "p.ini:1: now wants a date"},
        {"[step time]\ncolumns = at\n", "p.ini:1: time wants hour, weekday"},
        {"[step time]\ncolumns = a\nhour = yes\n", "p.ini:1: column 'a' is no time"},
        {"[step smooth]\ncolumns = at\n", "p.ini:2: column 'at' is not a feature"},
        {"[step smooth]\ncolumns = a\nwindow = 0\n", "p.ini:3: window must be from 1"},
        {"[step smooth]\ncolumns = a\nby = savgol\nwindow = 3\n",
         "by = savgol wants a window of 4 or more"},
        {"[step hash]\ncolumns = home\n", "p.ini:2: column 'home' is local-only: hash would"},
    };
    struct trib_schema *schema = rig_schema("[column at]\ntype = time\nrole = time\n[column a]\n"
                                            "[column home]\ntype = text\nrole = local-only\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_prepare *prepare;
        assert_int_equal(trib_prepare_parse(cases[i].text, strlen(cases[i].text), "p.ini", schema,
                                            &prepare, rig_why, sizeof(rig_why)),
                         TRIB_ERR_INVAL);
        if (!strstr(rig_why, cases[i].reason))
            fail_msg("case %zu says '%s', wanted '%s'", i, rig_why, cases[i].reason);
    }
    trib_schema_destroy(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smoothing_is_what_its_formula_says),
        cmocka_unit_test(savgol_is_the_end_of_a_parabola),
        cmocka_unit_test(smoothing_a_noisy_sine_gains_signal),
        cmocka_unit_test(a_million_rows_lose_their_duplicates_and_no_others),
        cmocka_unit_test(a_duplicate_has_the_same_label_and_all_columns),
        cmocka_unit_test(a_window_forgets_after_twice_its_rows),
        cmocka_unit_test(times_are_points_on_circles),
        cmocka_unit_test(weights_halve_and_rows_expire),
        cmocka_unit_test(a_device_of_stale_rows_sits_out),
        cmocka_unit_test(what_these_steps_do_not_take_is_refused),
    };
    return RUN_TESTS(tests);
}
