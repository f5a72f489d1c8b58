#include "coordinator/pipeline.h"
#include "tests/test.h"
#include "tests/unit/files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/log.h"

static struct trib_data_config config = {.scale = 1};
static char why[8192];

static void put(const char *name, const char *text, trib_conf_text path)
{
    (void)snprintf(path, TRIB_CONF_TEXT_MAX, "%s/%s", files_dir, name);
    assert_int_equal(trib_file_write(path, text, strlen(text), 0600), TRIB_OK);
}

static struct trib_pipeline *opened(const char *text)
{
    struct trib_pipeline *pipeline;
    put("s.ini", "[column a]\n[column y]\ntype = bool\nrole = label\n", config.schema);
    put("p.ini", text, config.prepare);
    put("t.csv", "1,0\n3,1\n", config.test);
    if (trib_pipeline_open(&config, true, &pipeline, why, sizeof(why)))
        fail_msg("refused: %s", why);
    assert_non_null(pipeline);
    return pipeline;
}

static void what_passes_find_is_in_reports_and_comes_back(void **state)
{
    (void)state;
    static const double first[] = {4, 10};     // n, sum
    static const double second[] = {4, 0, 16}; // n, sum of d, of d^2: mean 2.5, deviation 2
    struct trib_pipeline *pipeline = opened("[step standardise]\ncolumns = a\n");
    struct trib_pipeline *restarted = opened("[step standardise]\ncolumns = a\n");
    const double *const passes[] = {first, second};
    struct trib_dataset *held_out = NULL;
    assert_int_equal(pipeline->passes, 2);
    for (size_t i = 0; i < 2; i++) {
        struct trib_pipeline_step step;
        struct trib_pipeline_step again;
        struct trib_buf json = {0};
        assert_int_equal(trib_pipeline_count(pipeline, passes[i], 0, &step), TRIB_OK);
        assert_int_equal(trib_prepare_passes_left(pipeline->prepare), 2 - i); // as it was
        trib_pipeline_report(&step, &json);
        assert_int_equal(trib_pipeline_recall(restarted, (const char *)json.data, &again), TRIB_OK);
        assert_string_equal(again.text, step.text);
        trib_pipeline_take(pipeline, &step, &held_out);
        assert_int_equal(held_out != NULL, i == 1); // when it is fitted
        if (i == 1)
            assert_true(held_out->rows == 2 && held_out->x[0] == -0.75F && held_out->x[1] == 0.25F);
        assert_int_equal(trib_prepare_passes_left(pipeline->prepare), 1 - i);
        trib_dataset_free(held_out);
        trib_pipeline_step_fini(&again);
        trib_buf_fini(&json);
    }
    assert_true(trib_prepare_is_fitted(pipeline->prepare));
    trib_pipeline_close(pipeline);
    trib_pipeline_close(restarted);
}

static void drop_line(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

static void a_report_that_tells_of_no_pipeline_is_refused(void **state)
{
    (void)state;
    static const char *const reports[] = {"",
                                          "{}",
                                          "{\"pipeline\":3}",
                                          "{\"pipeline\":\"[x]\"}",
                                          "{\"pipeline\":\"[step log1p]",
                                          "[\"pipeline\"]"};
    struct trib_pipeline *pipeline = opened("[step standardise]\ncolumns = a\n");
    trib_log_set_sink(drop_line, NULL);
    for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++) {
        struct trib_pipeline_step step;
        if (!trib_pipeline_recall(pipeline, reports[i], &step))
            fail_msg("'%s' is taken", reports[i]);
    }
    trib_log_set_sink(NULL, NULL);
    trib_pipeline_close(pipeline);
}

static void values_that_cannot_be_used_change_nothing(void **state)
{
    (void)state;
    static const double wild[] = {4, (double)INFINITY};
    struct trib_pipeline *pipeline = opened("[step standardise]\ncolumns = a\n");
    struct trib_pipeline_step step;
    trib_log_set_sink(drop_line, NULL);
    assert_int_equal(trib_pipeline_count(pipeline, wild, 0, &step), TRIB_ERR_DATA);
    trib_log_set_sink(NULL, NULL);
    assert_int_equal(trib_prepare_passes_left(pipeline->prepare), 2);
    trib_pipeline_close(pipeline);
}

static void a_text_that_no_task_holds_is_refused(void **state)
{
    (void)state;
    static char text[20000] = "[step bin]\ncolumns = a\n";
    struct trib_pipeline *pipeline;
    for (int i = 0; i < 800; i++) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof(text) - used, "edges = %d.12345\n", i);
    }
    put("s.ini", "[column a]\n[column y]\ntype = bool\nrole = label\n", config.schema);
    put("p.ini", text, config.prepare);
    trib_log_set_sink(drop_line, NULL);
    assert_int_equal(trib_pipeline_open(&config, false, &pipeline, why, sizeof(why)),
                     TRIB_OK); // edges are written eight to a line: it just fits
    trib_pipeline_close(pipeline);
    (void)snprintf(text, sizeof(text), "[step bin]\ncolumns = a\n");
    for (int i = 0; i < 900; i++) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof(text) - used, "edges = %d.123456789012\n", i);
    }
    put("p.ini", text, config.prepare);
    assert_int_equal(trib_pipeline_open(&config, false, &pipeline, why, sizeof(why)),
                     TRIB_ERR_INVAL);
    trib_log_set_sink(NULL, NULL);
    assert_non_null(strstr(why, "has more text than a task holds"));
}

static int tear_down(void **state)
{
    static const char *const names[] = {"s.ini", "p.ini", "t.csv", NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_passes_find_is_in_reports_and_comes_back),
        cmocka_unit_test(a_report_that_tells_of_no_pipeline_is_refused),
        cmocka_unit_test(values_that_cannot_be_used_change_nothing),
        cmocka_unit_test(a_text_that_no_task_holds_is_refused),
    };
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
