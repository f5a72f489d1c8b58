#include "coordinator/gate.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/math/yardstick.h"
#include "coordinator/result.h"
#include "tests/unit/models.h"

enum {
    ROWS = 200
};

// One feature that says which class it is: three of four rows are of class 0.
static struct trib_dataset *drawn(void)
{
    struct trib_dataset *dataset;
    uint64_t seed = 4;
    assert_int_equal(trib_dataset_create(ROWS, 1, false, "rows.csv", &dataset), TRIB_OK);
    for (size_t r = 0; r < ROWS; r++) {
        dataset->y[r] = r % 4 == 0;
        dataset->x[r] = dataset->y[r] + small(&seed) / 4;
    }
    return dataset;
}

static struct trib_job job;
static struct trib_evaluator *evaluator;

static int begin(void **state)
{
    (void)state;
    const struct trib_evaluator_plan plan = {.primary = NULL};
    char why[256];
    job = (struct trib_job){.config = {.baseline = TRIB_JOB_BASELINE_PRIOR, .eval_every = 1},
                            .model = parsed("1 - dense 1 sigmoid")};
    assert_int_equal(trib_evaluator_take(drawn(), &job.model, &plan, &evaluator, why, sizeof(why)),
                     TRIB_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    trib_evaluator_destroy(evaluator);
    return 0;
}

static struct trib_held_out measured(float weight, float bias)
{
    const float params[2] = {weight, bias};
    struct trib_held_out held_out;
    assert_int_equal(trib_evaluator_run(evaluator, params, &held_out), TRIB_OK);
    return held_out;
}

static void a_model_stands_beside_the_best_constant(void **state)
{
    (void)state;
    struct trib_buf json = {0};
    struct trib_held_out good = measured(20, -10);
    assert_true(isnan(trib_held_out_lift(&good))); // nothing to compare with yet
    assert_int_equal(trib_gate_begin(&job, evaluator), TRIB_OK);
    good = measured(20, -10);
    assert_true(good.validation.accuracy == 1 && fabs(trib_held_out_lift(&good) - 0.25) < 1e-12);
    trib_held_out_json(&good, &json);
    const char *text = (const char *)json.data;
    char name[16];
    trib_result_text(text, "baseline", "name", name, sizeof(name));
    assert_string_equal(name, "prior");
    assert_true(fabs(trib_result_member(text, "baseline", "value") - 0.75) < 1e-12);
    assert_true(fabs(trib_result_member(text, "baseline", "lift") - 0.25) < 1e-12);
    assert_true(fabs(trib_result_member(text, "baseline", "loss") - 0.562335) < 1e-5);
    assert_true(trib_result_member(text, NULL, "accuracy") == 1);
    assert_true(isnan(trib_result_member(text, NULL, "lift")));
    assert_true(isnan(trib_result_member(text, "intervals", "lift")));
    trib_buf_fini(&json);
}

// A planted candidate that is worse is stopped, an equal one too, a better one goes through.
static void the_gate_lets_through_what_is_better(void **state)
{
    (void)state;
    assert_int_equal(trib_gate_begin(&job, evaluator), TRIB_OK);
    const struct trib_held_out good = measured(20, -10), equal = measured(0, -1),
                               bad = measured(-20, 10);
    assert_true(trib_gate_passes(&job, &bad)); // without a gate
    job.config.beat_baseline = TRIB_JOB_BEAT_YES;
    assert_true(trib_gate_passes(&job, &good));
    assert_false(trib_gate_passes(&job, &equal));
    assert_false(trib_gate_passes(&job, &bad));
    job.config.baseline_margin = 0.25;
    assert_true(trib_gate_passes(&job, &good)); // by just that
    job.config.baseline_margin = 0.26;
    assert_false(trib_gate_passes(&job, &good));
}

// Unless somebody says otherwise a candidate must be better where that can be told.
static void by_default_there_is_a_gate_where_it_is_fair(void **state)
{
    (void)state;
    const struct trib_held_out blind = measured(-20, 10);
    struct trib_job_config *config = &job.config;
    config->beat_baseline = TRIB_JOB_BEAT_AUTO;
    assert_true(trib_gate_is_on(config));
    assert_true(trib_gate_passes(&job, &blind)); // no baseline was measured
    assert_int_equal(trib_gate_begin(&job, evaluator), TRIB_OK);
    // Nobody is called class 1 by the last three, as the prior has it: what they are sure of counts.
    const struct trib_held_out good = measured(20, -10), bad = measured(-20, 10),
                               surer = measured(1, -1.6F), unsure = measured(0, -0.1F),
                               same = measured(0, -1.0986123F);
    assert_true(trib_held_out_lift(&surer) == 0 && trib_held_out_lift(&unsure) == 0);
    assert_true(trib_gate_passes(&job, &good));
    assert_false(trib_gate_passes(&job, &bad));
    assert_true(trib_gate_passes(&job, &surer));
    assert_false(trib_gate_passes(&job, &unsure));
    assert_true(fabs(same.validation.loss - same.baseline.loss) < 1e-6);
    config->baseline_margin = 0.1;
    assert_true(trib_gate_passes(&job, &good));
    assert_false(trib_gate_passes(&job, &surer));
    // A candidate whose value does not exist is not better than what has one.
    struct trib_held_out broken = good;
    broken.validation.accuracy = (double)NAN;
    assert_false(trib_gate_passes(&job, &broken));
    // Where nothing is compared, or not fairly, there is none.
    const struct trib_job_config usual = *config;
    config->eval_every = 0;
    assert_false(trib_gate_is_on(config));
    *config = usual;
    config->baseline = TRIB_JOB_BASELINE_NONE;
    assert_false(trib_gate_is_on(config));
    *config = usual;
    config->primary_metric = TRIB_JOB_METRIC_NDCG_AT_K;
    assert_false(trib_gate_is_on(config));
    *config = usual;
    config->target_metric = TRIB_JOB_METRIC_AUC; // what is good enough is said
    assert_false(trib_gate_is_on(config));
    config->primary_metric = TRIB_JOB_METRIC_AUC;
    assert_true(trib_gate_is_on(config));
    *config = usual;
    config->target_metric = TRIB_JOB_METRIC_ACCURACY; // by which it is measured anyhow
    assert_true(trib_gate_is_on(config));
    config->primary_metric = TRIB_JOB_METRIC_AUC;
    assert_false(trib_gate_is_on(config));
    *config = usual;
    config->class_weights = 1; // an accuracy pays for them
    assert_false(trib_gate_is_on(config));
    assert_true(trib_gate_passes(&job, &bad));
    config->primary_metric = TRIB_JOB_METRIC_F1;
    assert_true(trib_gate_is_on(config));
    *config = usual;
    (void)snprintf(config->threshold_goal, sizeof(config->threshold_goal), "recall:0.9");
    assert_false(trib_gate_is_on(config));
    (void)snprintf(config->threshold_goal, sizeof(config->threshold_goal), "accuracy");
    assert_true(trib_gate_is_on(config));
    *config = usual;
    config->beat_baseline = TRIB_JOB_BEAT_NO;
    assert_false(trib_gate_is_on(config));
    assert_true(trib_gate_passes(&job, &bad));
}

// A linear baseline that is harder takes the prior's place, and comes back from its report.
static void the_harder_baseline_counts(void **state)
{
    (void)state;
    struct trib_dataset *rows = drawn();
    const struct trib_samples samples = trib_dataset_samples(rows);
    uint32_t order[ROWS];
    double values[7];
    struct trib_tally tally;
    struct trib_buf json = {0};
    for (uint32_t r = 0; r < ROWS; r++)
        order[r] = r;
    assert_int_equal(trib_yardstick_values(&job.model), 7);
    assert_int_equal(trib_tally_init(&tally, 7), TRIB_OK);
    assert_int_equal(trib_yardstick_count(&job.model, &samples, order, ROWS, &tally), TRIB_OK);
    for (size_t i = 0; i < 7; i++)
        values[i] = trib_tally_value(&tally, i);
    trib_tally_fini(&tally);
    trib_dataset_free(rows);
    assert_int_equal(trib_gate_begin(&job, evaluator), TRIB_OK);
    assert_int_equal(trib_gate_use_linear(&job, values, evaluator, &json), TRIB_OK);
    const struct trib_held_out with = measured(20, -10);
    assert_string_equal(with.baseline.name, "linear");
    assert_true(with.baseline.value == 1);
    job.config.beat_baseline = TRIB_JOB_BEAT_YES;
    assert_false(trib_gate_passes(&job, &with)); // as good as the linear one is not better

    (void)end(NULL);
    (void)begin(NULL);
    assert_int_equal(trib_gate_begin(&job, evaluator), TRIB_OK);
    trib_gate_recall_linear(evaluator, (const char *)json.data);
    const struct trib_held_out again = measured(20, -10);
    assert_string_equal(again.baseline.name, "linear");
    assert_memory_equal(&again.baseline.value, &with.baseline.value, sizeof(double));
    trib_buf_fini(&json);

    // No rows: nothing can be solved, and the prior stays.
    (void)end(NULL);
    (void)begin(NULL);
    memset(values, 0, sizeof(values));
    assert_int_equal(trib_gate_begin(&job, evaluator), TRIB_OK);
    assert_int_equal(trib_gate_use_linear(&job, values, evaluator, &json), TRIB_OK);
    trib_gate_recall_linear(evaluator, (const char *)json.data);
    assert_string_equal(measured(20, -10).baseline.name, "prior");
    trib_buf_fini(&json);
}

static void members_are_found_in_what_they_are_of(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":[{\"x\":1}],\"b\":{\"c\":{\"x\":2},\"x\":3},\"x\":4,\"t\":\"u\"}";
    char found[2];
    assert_true(trib_result_member(text, NULL, "x") == 4);
    assert_true(trib_result_member(text, "b", "x") == 3);
    assert_true(isnan(trib_result_member(text, "c", "x")));
    assert_true(isnan(trib_result_member("{\"x\":", NULL, "x")));
    assert_true(isnan(trib_result_member("", NULL, "x")));
    trib_result_text(text, NULL, "t", found, sizeof(found));
    assert_string_equal(found, "u");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_model_stands_beside_the_best_constant, begin, end),
        cmocka_unit_test_setup_teardown(the_gate_lets_through_what_is_better, begin, end),
        cmocka_unit_test_setup_teardown(by_default_there_is_a_gate_where_it_is_fair, begin, end),
        cmocka_unit_test_setup_teardown(the_harder_baseline_counts, begin, end),
        cmocka_unit_test(members_are_found_in_what_they_are_of),
    };
    return RUN_TESTS(tests);
}
