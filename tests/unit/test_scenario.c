#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "simulations/scenario.h"

// A folder of its own for each test, with the files it writes.
static char dir[TEST_FOLDER_SIZE];

static int make_dir(void **state)
{
    (void)state;
    trib_log_set_level(TRIB_LOG_ERROR);
    return test_folder(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"s.ini", "rows.csv", "test.csv", "a.csv", "b.csv", "c.csv"};
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

static const char *put_file(const char *name, const char *text)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

#define BASE                                   \
    "[model]\nspec = 2 - dense 1 sigmoid\n"    \
    "[data]\ntrain = rows.csv\nheader = yes\n" \
    "test_fraction = 0.5\n"                    \
    "[partition]\nclients = 2\nmin_rows = 0\n" \
    "[round]\ncohort = 2\n[privacy]\nmode = off\n"

static enum trib_err load(const char *text, const char *const *sets, size_t count,
                          struct trib_scenario **ret_scenario)
{
    const char *path = put_file("s.ini", text);
    assert_int_equal(trib_scenario_create(ret_scenario), TRIB_OK);
    return trib_scenario_load(*ret_scenario, path, sets, count);
}

static void assert_refused(const char *text, const char *want)
{
    struct trib_scenario *s;
    assert_int_equal(load(text, NULL, 0, &s), TRIB_ERR_INVAL);
    if (!strstr(s->conf.error, want))
        fail_msg("'%s' is not in '%s'", want, s->conf.error);
    trib_scenario_destroy(s);
}

static void mistakes_name_file_line_and_key(void **state)
{
    (void)state;
    assert_refused(BASE "[faults]\nliars = 3\n", "s.ini:15: faults.liars");
    assert_refused(BASE "cohort = 2\n", "s.ini:14: privacy.cohort");
    assert_refused(BASE "[faults]\ndropout = 1.5\n", "s.ini:15: faults.dropout must be");
    assert_refused(BASE "[partition]\nkind = column\n", "s.ini:8: partition.clients");
    assert_refused("[data]\ntrain = x\n", "data.test");
    assert_refused("[model]\nspec = 2 - dense 1 sigmoid\n", "data.train");
    assert_refused("[data]\ntrain = x\ntest = y\ntest_fraction = 0.1\n",
                   "s.ini:4: data.test_fraction");
    assert_refused("[data]\nformat = idx\ntrain = x\ntest = y\n", "data.train_labels");
    assert_refused(BASE "[client.policy]\nallowed_modes = loca\n", "'loca' is not a privacy mode");
    assert_refused("[model]\nspec = 2 - dense 1 sigmoid\n[data]\ntrain = x\ntest = y\n[round]\n"
                   "cohort = 3\n[partition]\nclients = 2\n",
                   "s.ini:7: round.cohort: is more than the 2 devices");
}

static void overrides_win_and_are_checked_like_the_file(void **state)
{
    (void)state;
    struct trib_scenario *s;
    assert_int_equal(trib_scenario_create(&s), TRIB_OK);
    assert_int_equal(trib_scenario_load(s, "/nowhere/s.ini", NULL, 0), TRIB_ERR_INVAL);
    assert_non_null(strstr(s->conf.error, "/nowhere/s.ini"));
    trib_scenario_destroy(s);

    const char *good[] = {"round.cohort=1", "data.train=elsewhere.csv"};
    assert_int_equal(load(BASE, good, 2, &s), TRIB_OK);
    assert_int_equal(s->job.goal, 1);
    assert_string_equal(s->name, "s");
    char cwd[256];
    char want[320];
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    (void)snprintf(want, sizeof(want), "%s/elsewhere.csv", cwd); // --set: the working directory
    assert_string_equal(s->data.train, want);
    trib_scenario_destroy(s);

    const char *bad[] = {"round.cohort=7"};
    assert_int_equal(load(BASE, bad, 1, &s), TRIB_ERR_INVAL);
    assert_non_null(strstr(s->conf.error, "--set: round.cohort"));
    trib_scenario_destroy(s);
}

static void put_rows(const char *name, int first, int count)
{
    char text[8192] = "a,b,y\n";
    size_t used = strlen(text);
    for (int i = first; i < first + count; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%d,%d,%d\n", i, i % 3, i % 2);
    (void)put_file(name, text);
}

// Which of rows 0 .. 199 are held out; a row's first feature is its number.
static void held_out(int rows, bool *ret_held_out)
{
    struct trib_scenario *s;
    put_rows("rows.csv", 0, rows);
    assert_int_equal(load(BASE, NULL, 0, &s), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, false), TRIB_OK);
    assert_int_equal(s->train->rows + s->test->rows, (size_t)rows);
    memset(ret_held_out, 0, 200 * sizeof(*ret_held_out));
    for (size_t r = 0; r < s->test->rows; r++)
        ret_held_out[(size_t)s->test->x[2 * r]] = true;
    for (size_t r = 0; r < s->train->rows; r++)
        assert_false(ret_held_out[(size_t)s->train->x[2 * r]]);
    trib_scenario_destroy(s);
}

static void a_row_keeps_its_side_of_the_split_when_others_are_added(void **state)
{
    (void)state;
    bool few[200], many[200];
    size_t count = 0;
    held_out(120, few);
    held_out(200, many);
    for (size_t r = 0; r < 120; r++)
        assert_int_equal(few[r], many[r]);
    for (size_t r = 0; r < 200; r++)
        count += many[r];
    assert_in_range(count, 70, 130); // a fair coin: 4 standard deviations
}

static void devices_hold_their_rows_one_after_the_other(void **state)
{
    (void)state;
    struct trib_scenario *s;
    const char *sets[] = {"data.scale=2"};
    put_rows("rows.csv", 0, 60);
    assert_int_equal(load(BASE, sets, 1, &s), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, true), TRIB_OK);
    size_t rows = 0;
    for (size_t d = 0; d < 2; d++) {
        struct trib_samples samples = trib_scenario_samples(s, d);
        for (size_t r = 0; r < samples.rows; r++, rows++) {
            uint32_t row = s->partition.rows[s->partition.starts[d] + r];
            assert_true(samples.x[2 * r] == (float)row / 2); // scaled
            assert_true(samples.y[r] == (float)(row % 2));
        }
    }
    assert_int_equal(rows, s->train->rows);
    trib_scenario_destroy(s);
}

static void a_column_says_the_device_and_is_no_feature(void **state)
{
    (void)state;
    struct trib_scenario *s;
    const char *sets[] = {"partition.clients=0", "partition.kind=column", "partition.column=b",
                          "model.spec=1 - dense 1 sigmoid"};
    put_rows("rows.csv", 0, 90);
    assert_int_equal(load(BASE, sets, 4, &s), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, true), TRIB_OK);
    assert_int_equal(s->partition.clients, 3);
    assert_int_equal(s->train->inputs, 1);
    assert_int_equal(s->test->inputs, 1);
    for (size_t d = 0; d < 3; d++) {
        struct trib_samples samples = trib_scenario_samples(s, d);
        for (size_t r = 0; r < samples.rows; r++)
            assert_int_equal((size_t)samples.x[r] % 3, d);
    }
    trib_scenario_destroy(s);

    sets[2] = "partition.column=y"; // the label
    assert_int_equal(load(BASE, sets, 4, &s), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, true), TRIB_ERR_INVAL);
    trib_scenario_destroy(s);
}

static void each_file_is_a_device_in_order_of_names(void **state)
{
    (void)state;
    struct trib_scenario *s;
    const char *sets[] = {"partition.clients=0", "partition.kind=files", "data.test_fraction=0",
                          "data.train=", "data.test="};
    char train[128], test[128];
    put_rows("b.csv", 100, 5);
    put_rows("a.csv", 0, 3);
    put_rows("c.csv", 200, 4);
    put_rows("test.csv", 300, 6);
    (void)snprintf(train, sizeof(train), "data.train=%s/[abc].csv", dir);
    (void)snprintf(test, sizeof(test), "data.test=%s/test.csv", dir);
    sets[3] = train;
    sets[4] = test;
    assert_int_equal(load(BASE, sets, 5, &s), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, true), TRIB_OK);
    assert_int_equal(s->partition.clients, 3);
    assert_int_equal(trib_scenario_samples(s, 0).rows, 3);
    assert_int_equal(trib_scenario_samples(s, 1).rows, 5);
    assert_int_equal(trib_scenario_samples(s, 2).rows, 4);
    assert_true(trib_scenario_samples(s, 1).x[0] == 100);
    assert_int_equal(s->test->rows, 6);
    trib_scenario_destroy(s);
}

static void unusable_data_is_an_error_at_open(void **state)
{
    (void)state;
    struct trib_scenario *s;
    (void)put_file("rows.csv", "a,b,y\n1,2,0\n1,2,7\n1,2,0\n"); // no class 7
    assert_int_equal(load(BASE, NULL, 0, &s), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, true), TRIB_ERR_DATA);
    trib_scenario_destroy(s);

    const char *absent[] = {"data.train=/nowhere/rows.csv"};
    assert_int_equal(load(BASE, absent, 1, &s), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, true), TRIB_ERR_DATA);
    trib_scenario_destroy(s);

    const char *sets[] = {"data.split_seed=4", "data.test_fraction=0.0001"}; // nothing held out
    put_rows("rows.csv", 0, 20);
    assert_int_equal(load(BASE, sets, 2, &s), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, true), TRIB_ERR_DATA);
    trib_scenario_destroy(s);
}

static void devices_refuse_a_mode_their_policy_does_not_allow(void **state)
{
    (void)state;
    struct trib_scenario *s;
    put_rows("rows.csv", 0, 20);
    const char *sets[] = {"client.policy.allowed_modes=local"};
    assert_int_equal(load(BASE, sets, 1, &s), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, true), TRIB_ERR_PRIVACY);
    trib_scenario_destroy(s);
    assert_int_equal(load(BASE, NULL, 0, &s), TRIB_OK);
    assert_string_equal(s->policy.allowed_modes, "off"); // its own mode when it says nothing
    trib_scenario_destroy(s);
}

static void the_resolved_scenario_loads_to_the_same(void **state)
{
    (void)state;
    struct trib_scenario *s, *again;
    char *first = NULL, *second = NULL;
    size_t size;
    const char *sets[] = {"partition.seed=9", "faults.dropout=0.25"};

    assert_int_equal(load(BASE, sets, 2, &s), TRIB_OK);
    FILE *file = open_memstream(&first, &size);
    trib_conf_write(&s->conf, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(load(first, NULL, 0, &again), TRIB_OK);
    file = open_memstream(&second, &size);
    trib_conf_write(&again->conf, file);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(first, second);
    assert_non_null(strstr(second, "dropout = 0.25"));
    free(first);
    free(second);
    trib_scenario_destroy(s);
    trib_scenario_destroy(again);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mistakes_name_file_line_and_key),
        TEST(overrides_win_and_are_checked_like_the_file),
        TEST(a_row_keeps_its_side_of_the_split_when_others_are_added),
        TEST(devices_hold_their_rows_one_after_the_other),
        TEST(a_column_says_the_device_and_is_no_feature),
        TEST(each_file_is_a_device_in_order_of_names),
        TEST(unusable_data_is_an_error_at_open),
        TEST(devices_refuse_a_mode_their_policy_does_not_allow),
        TEST(the_resolved_scenario_loads_to_the_same),
    };
    return RUN_TESTS(tests);
}
