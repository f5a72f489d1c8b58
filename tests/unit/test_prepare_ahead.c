// Steps that look at the rows behind one: interpolation.
#include "common/data/prepare.h"
#include "tests/test.h"
#include "tests/unit/prepare_rig.h"

#include <math.h>

#include "common/base/rand.h"

#define NONE RIG_NAN

enum {
    ROWS_MAX = 12
};

// What column a, of `columns` columns with the label behind them, becomes.
static void assert_made(const char *columns, const char *text, size_t count, const double *values,
                        size_t rows, const double *expected, size_t kept)
{
    float x[ROWS_MAX * 4];
    struct trib_schema *schema = rig_schema(columns);
    struct trib_prepare *prepare = rig_parse(schema, text);
    const size_t features = trib_prepare_features(prepare);
    rig_fit(prepare, values, rows, count, 1);
    assert_int_equal(rig_apply(prepare, values, rows, count, x), kept);
    for (size_t r = 0; r < kept; r++) {
        if (!(fabs((double)x[r * features] - expected[r]) < 1e-6))
            fail_msg("row %zu is %g, not %g", r, (double)x[r * features], expected[r]);
    }
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void a_spike_becomes_what_is_between_its_neighbours(void **state)
{
    (void)state;
    const double values[] = {1, 0, 2, 1, 1000, 0, 4, 1, 5, 0, 6, 1, -900, 0, -900, 1, 9, 0};
    const double expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    assert_made("[column a]\n",
                "[step outlier]\ncolumns = a\nby = mad\nact = missing\n"
                "[step impute]\ncolumns = a\nwith = interpolate\n",
                2, values, 9, expected, 9);
}

static void rows_are_apart_as_their_times_are(void **state)
{
    (void)state;
    // One that is not there, and one whose time is not known, is where the row before it is.
    const double rows[][3] = {{100, 10, 0}, {101, NONE, 0},  {105, NONE, 0},
                              {110, 20, 0}, {NONE, NONE, 0}, {110, 30, 0}};
    const double expected[] = {10, 11, 15, 20, 25, 30};
    assert_made("[column t]\ntype = time\nrole = time\n[column a]\n",
                "[step impute]\ncolumns = a\nwith = interpolate\n", 3, rows[0], 6, expected, 6);
}

static void first_rows_without_a_time_are_where_the_first_known_one_is(void **state)
{
    (void)state;
    const double rows[][3] = {
        {NONE, 10, 0}, {NONE, NONE, 0}, {104, NONE, 0}, {106, NONE, 0}, {108, 18, 0}};
    const double expected[] = {10, 10, 10, 14, 18};
    assert_made("[column t]\ntype = time\nrole = time\n[column a]\n",
                "[step impute]\ncolumns = a\nwith = interpolate\n", 3, rows[0], 5, expected, 5);
    // No row has one: they are all at one place, and as far apart as their numbers.
    const double timeless[][3] = {{NONE, 10, 0}, {NONE, NONE, 0}, {NONE, NONE, 0}, {NONE, 13, 0}};
    const double even[] = {10, 11, 12, 13};
    assert_made("[column t]\ntype = time\nrole = time\n[column a]\n",
                "[step impute]\ncolumns = a\nwith = interpolate\n", 3, timeless[0], 4, even, 4);
}

static void rows_that_were_dropped_before_are_no_neighbours(void **state)
{
    (void)state;
    // The row with b missing is dropped, and its 50 with it.
    const double rows[][3] = {{1, 1, 0}, {NONE, 1, 0}, {50, NONE, 0}, {NONE, 1, 0}, {7, 1, 0}};
    const double expected[] = {1, 2.5, 5.5, 7};
    assert_made("[column a]\n[column b]\n",
                "[step impute]\ncolumns = b\nwith = drop\n"
                "[step impute]\ncolumns = a\nwith = interpolate\n",
                3, rows[0], 5, expected, 4);
}

static void a_step_behind_another_one_sees_what_that_one_made(void **state)
{
    (void)state;
    // 2, 3 and 4 come of the first step; without it the 100 would not be far from the rest.
    const double rows[][2] = {{1, 0}, {NONE, 0}, {NONE, 0}, {NONE, 0}, {5, 0},
                              {6, 0}, {100, 0},  {8, 0},    {NONE, 0}, {10, 0}};
    const double expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    assert_made("[column a]\n",
                "[step impute]\ncolumns = a\nwith = interpolate\n"
                "[step outlier]\ncolumns = a\nby = mad\nact = missing\n"
                "[step impute]\ncolumns = a\nwith = interpolate\n",
                2, rows[0], 10, expected, 10);
}

static void statistics_behind_it_are_those_of_what_it_makes(void **state)
{
    (void)state;
    // Mean 3 and deviation 2 of 0 ... 6, not of 0 and 6 alone.
    const double rows[][2] = {{0, 0},    {NONE, 0}, {NONE, 0}, {NONE, 0},
                              {NONE, 0}, {NONE, 0}, {6, 0}};
    const double expected[] = {-1.5, -1, -0.5, 0, 0.5, 1, 1.5};
    assert_made("[column a]\n",
                "[step impute]\ncolumns = a\nwith = interpolate\n"
                "[step standardise]\ncolumns = a\n",
                2, rows[0], 7, expected, 7);
}

static void at_the_ends_it_is_the_nearest_and_without_any_the_mean(void **state)
{
    (void)state;
    static const char text[] = "[step impute]\ncolumns = a\nwith = interpolate\n";
    const double ends[][2] = {{NONE, 0}, {NONE, 0}, {4, 0}, {NONE, 0}};
    const double four[] = {4, 4, 4, 4};
    assert_made("[column a]\n", text, 2, ends[0], 4, four, 4);

    // Fitted where there are values, used where there are none.
    const double some[][2] = {{1, 0}, {5, 0}};
    const double none[][2] = {{NONE, 0}, {NONE, 0}};
    float x[2];
    struct trib_schema *schema = rig_schema("[column a]\n");
    struct trib_prepare *prepare = rig_parse(schema, text);
    rig_fit(prepare, some[0], 2, 2, 1);
    assert_int_equal(rig_apply(prepare, none[0], 2, 2, x), 2);
    assert_true(x[0] == 3 && x[1] == 3);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void who_does_not_know_what_comes_takes_the_last_value(void **state)
{
    (void)state;
    const double rows[][2] = {{1, 0}, {NONE, 0}, {5, 0}};
    struct trib_schema *schema = rig_schema("[column a]\n");
    struct trib_prepare *prepare =
        rig_parse(schema, "[step impute]\ncolumns = a\nwith = interpolate\n");
    struct trib_prepare_run *run;
    float x, weight;
    rig_fit(prepare, rows[0], 3, 2, 1);
    assert_int_equal(trib_prepare_run_create(prepare, 0, &run), TRIB_OK);
    const float expected[] = {1, 1, 5};
    for (size_t r = 0; r < 3; r++) {
        assert_int_equal(trib_prepare_row(run, rows[r], &x, &weight), TRIB_PREPARE_KEPT);
        assert_true(x == expected[r]);
    }
    trib_prepare_run_destroy(run);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void a_category_has_nothing_between_its_values(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema("[column c]\ntype = category\nvalues = red | blue\n");
    struct trib_prepare *prepare;
    static const char text[] = "[step impute]\ncolumns = c\nwith = interpolate\n";
    assert_int_equal(trib_prepare_parse(text, sizeof(text) - 1, "p.ini", schema, &prepare, rig_why,
                                        sizeof(rig_why)),
                     TRIB_ERR_INVAL);
    assert_non_null(strstr(rig_why, "p.ini:1: column 'c' is a category"));
    trib_schema_destroy(schema);
}

// A smooth curve with spikes in one row of a hundred comes back nearly as it was.
static void planted_spikes_are_gone(void **state)
{
    (void)state;
    enum {
        MANY = 2000
    };
    static double rows[MANY][2];
    static float x[MANY];
    struct trib_rng rng;
    trib_rng_init(&rng, 5, "spikes", 0, NULL);
    size_t spikes = 0, left = 0, wrong = 0;
    for (size_t r = 0; r < MANY; r++) {
        const bool is_spike = r % 100 == 50;
        rows[r][0] = sin((double)r / 40) + 0.05 * trib_rng_real(&rng) + (is_spike ? 30 : 0);
        spikes += is_spike;
    }
    struct trib_schema *schema = rig_schema("[column a]\n");
    struct trib_prepare *prepare =
        rig_parse(schema, "[step outlier]\ncolumns = a\nby = mad\nlimit = 5\nact = missing\n"
                          "[step impute]\ncolumns = a\nwith = interpolate\n");
    rig_fit(prepare, rows[0], MANY, 2, 1);
    assert_int_equal(rig_apply(prepare, rows[0], MANY, 2, x), MANY);
    for (size_t r = 0; r < MANY; r++) {
        left += fabs((double)x[r]) > 2;
        wrong += fabs((double)x[r] - sin((double)r / 40)) > 0.1;
    }
    assert_int_equal(spikes, 20);
    assert_int_equal(left, 0);
    assert_int_equal(wrong, 0);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spike_becomes_what_is_between_its_neighbours),
        cmocka_unit_test(rows_are_apart_as_their_times_are),
        cmocka_unit_test(first_rows_without_a_time_are_where_the_first_known_one_is),
        cmocka_unit_test(rows_that_were_dropped_before_are_no_neighbours),
        cmocka_unit_test(a_step_behind_another_one_sees_what_that_one_made),
        cmocka_unit_test(statistics_behind_it_are_those_of_what_it_makes),
        cmocka_unit_test(at_the_ends_it_is_the_nearest_and_without_any_the_mean),
        cmocka_unit_test(who_does_not_know_what_comes_takes_the_last_value),
        cmocka_unit_test(a_category_has_nothing_between_its_values),
        cmocka_unit_test(planted_spikes_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
