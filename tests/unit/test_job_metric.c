// What a job measures, aims at and stops by.
#include "coordinator/job.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/math/metrics.h"
#include "tests/unit/job_rig.h"

static void a_target_of_another_kind_of_model_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        enum trib_problem problem;
    } models[] = {
        {"[model]\nspec = 4 - dense 1 linear\n", TRIB_PROBLEM_REGRESSION},
        {"[model]\nspec = 4 - dense 1 sigmoid\n", TRIB_PROBLEM_BINARY},
        {"[model]\nspec = 4 - dense 2 softmax\n", TRIB_PROBLEM_BINARY},
        {MODEL, TRIB_PROBLEM_MULTICLASS},
    };
    for (int metric = TRIB_JOB_METRIC_NONE + 1; metric < TRIB_JOB_METRIC_COUNT; metric++) {
        const char *name = trib_job_metric_name((enum trib_job_metric)metric);
        for (size_t i = 0; i < 4; i++) {
            char text[512];
            struct trib_job job;
            (void)snprintf(text, sizeof(text), "%s" OFF "[round]\ntarget_metric = %s\n",
                           models[i].model, name);
            const bool fits = // none of these is a recommender
                trib_metric_fits(name, models[i].problem) && !trib_metric_is_ranking(name);
            assert_int_equal(parse(text, 0, &job), fits ? TRIB_OK : TRIB_ERR_INVAL);
            if (fits)
                assert_int_equal(job.config.target_metric, metric);
            else
                assert_non_null(strstr(says, trib_problem_text(models[i].problem)));
        }
    }
    struct trib_job job = good(MODEL OFF "[round]\nprimary_metric = auc\n");
    assert_string_equal(job.held_out.primary, "auc");
    assert_true(trib_job_higher_is_better(&job));
    job = good(MODEL OFF "[round]\nprimary_metric = brier\n");
    assert_false(trib_job_higher_is_better(&job));
    assert_null(good(MODEL OFF).held_out.primary);
    assert_int_equal(parse(MODEL OFF "[round]\nprimary_metric = mse\n", 0, &job), TRIB_ERR_INVAL);
    assert_non_null(strstr(says, "job.ini:6: round.primary_metric: mse does not exist"));
    // every row is among the top five of five
    assert_int_equal(parse("[model]\nspec = 4 - dense 5 softmax\n" OFF
                           "[round]\ntarget_metric = top5_accuracy\n",
                           0, &job),
                     TRIB_ERR_INVAL);
}

// A target is looked for in the manifest of the last version after a restart.
static void every_target_is_in_the_manifest(void **state)
{
    (void)state;
    static const uint32_t classes[] = {0, 2, 10};
    for (size_t i = 0; i < 3; i++) {
        const struct trib_evaluation e = {.classes = classes[i]};
        struct trib_evaluation_value values[TRIB_EVALUATION_VALUES];
        const size_t count = trib_evaluation_values(&e, values);
        for (int metric = TRIB_JOB_METRIC_NONE + 1; metric < TRIB_JOB_METRIC_COUNT; metric++) {
            const char *name = trib_job_metric_name((enum trib_job_metric)metric);
            for (size_t v = 0; v < count; v++)
                assert_true(strcmp(values[v].name, name) != 0 || values[v].is_headline);
        }
    }
}

#define RATINGS "[model]\nspec = 1 - factors 20x2 linear\n"

static void users_are_ranked_by_recommenders_only(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {MODEL OFF "[round]\nranking_k = 10\n", "job.ini:6: round.ranking_k: is for a recommender"},
        {RATINGS OFF "[round]\nprimary_metric = ndcg_at_k\n",
         "job.ini:6: round.primary_metric: ndcg_at_k wants a round.ranking_k"},
        {RATINGS OFF "[round]\nranking_relevant = 4\n",
         "job.ini:6: round.ranking_relevant: wants a ranking_k"},
        {MODEL OFF "[round]\ntarget_metric = recall_at_k\n", "job.ini:6: round.target_metric: "},
    };
    struct trib_job job = good(RATINGS OFF "[round]\nranking_k = 10\nranking_relevant = 4\n"
                                           "primary_metric = hit_rate_at_k\nseed = 9\n");
    assert_int_equal(job.held_out.ranking.k, 10);
    assert_int_equal(job.held_out.ranking.seed, 9);
    assert_true(job.held_out.ranking.relevant == 4);
    assert_string_equal(job.held_out.primary, "hit_rate_at_k");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(parse(cases[i][0], 0, &job), TRIB_ERR_INVAL);
        if (!strstr(says, cases[i][1]))
            fail_msg("%s: %s", cases[i][1], says);
    }
}

static void a_threshold_goal_is_for_two_classes(void **state)
{
    (void)state;
#define TWO "[model]\nspec = 4 - dense 1 sigmoid\n"
    static const struct refusal bad[] = {
        {TWO OFF "[round]\nthreshold_goal = f2\n", "job.ini:6: round.threshold_goal: is none, f1"},
        {TWO OFF "[round]\nthreshold_goal = recall:1.5\n", "job.ini:6: round.threshold_goal: "},
        {MODEL OFF "[round]\nthreshold_goal = f1\n",
         "job.ini:6: round.threshold_goal: is for a model of two classes, not for classification"},
        {TWO OFF "[round]\nthreshold_goal = f1\neval_every = 0\n", "job.ini:7: round.eval_every"},
        {TWO OFF "[round]\ntest_share = 0.95\n", "job.ini:6: round.test_share"},
        {TWO OFF "[round]\ntest_share = -0.1\n", "job.ini:6: round.test_share"},
    };
    assert_refused(bad, sizeof(bad) / sizeof(bad[0]));
    struct trib_job job = good(TWO OFF "[round]\nthreshold_goal = recall:0.9\ntest_share = 0.25\n");
    assert_int_equal(job.held_out.goal.goal, TRIB_GOAL_RECALL);
    assert_true(job.held_out.goal.level == 0.9 && job.held_out.test_share == 0.25);
    job = good(MODEL OFF);
    assert_int_equal(job.held_out.goal.goal, TRIB_GOAL_NONE);
    assert_true(job.held_out.test_share == 0);
#undef TWO
}

static void a_target_is_reached_from_its_good_side(void **state)
{
    (void)state;
    const struct trib_evaluation evaluation = {.loss = 0.5,
                                               .accuracy = 0.75,
                                               .f1 = 0.5,
                                               .mse = 0.5,
                                               .r2 = 0.75,
                                               .mae = 0.5,
                                               .rmse = 0.5,
                                               .mape = 0.5,
                                               .mcc = 0.5,
                                               .auc = 0.5,
                                               .brier = 0.5,
                                               .balanced_accuracy = 0.5};
    const struct {
        enum trib_job_metric metric;
        double value;
        bool is_reached;
    } cases[] = {
        {TRIB_JOB_METRIC_NONE, 0, false},
        {TRIB_JOB_METRIC_ACCURACY, 0.75, true},
        {TRIB_JOB_METRIC_ACCURACY, 0.751, false},
        {TRIB_JOB_METRIC_F1, 0.5, true},
        {TRIB_JOB_METRIC_F1, 0.6, false},
        {TRIB_JOB_METRIC_LOSS, 0.5, true},
        {TRIB_JOB_METRIC_LOSS, 0.49, false},
        {TRIB_JOB_METRIC_MSE, 0.5, true},
        {TRIB_JOB_METRIC_MSE, 0.49, false},
        {TRIB_JOB_METRIC_R2, 0.75, true},
        {TRIB_JOB_METRIC_R2, 0.8, false},
        {TRIB_JOB_METRIC_MAE, 0.5, true},
        {TRIB_JOB_METRIC_MAE, 0.49, false},
        {TRIB_JOB_METRIC_RMSE, 0.5, true},
        {TRIB_JOB_METRIC_RMSE, 0.49, false},
        {TRIB_JOB_METRIC_MAPE, 0.5, true},
        {TRIB_JOB_METRIC_MAPE, 0.49, false},
        {TRIB_JOB_METRIC_AUC, 0.5, true},
        {TRIB_JOB_METRIC_AUC, 0.51, false},
        {TRIB_JOB_METRIC_BRIER, 0.5, true},
        {TRIB_JOB_METRIC_BRIER, 0.49, false},
        {TRIB_JOB_METRIC_MCC, 0.5, true},
        {TRIB_JOB_METRIC_MCC, 0.51, false},
        {TRIB_JOB_METRIC_BALANCED_ACCURACY, 0.5, true},
        {TRIB_JOB_METRIC_BALANCED_ACCURACY, 0.51, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_job job = good(MODEL OFF);
        job.config.target_metric = (int)cases[i].metric;
        job.config.target_value = cases[i].value;
        assert_int_equal(trib_job_target_is_reached(&job, &evaluation), cases[i].is_reached);
    }
    const struct trib_evaluation broken = {.accuracy = (double)NAN, .loss = (double)NAN};
    const struct trib_job job = good(MODEL OFF "[round]\ntarget_metric = loss\ntarget_value = 1\n");
    assert_false(trib_job_target_is_reached(&job, &broken));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_of_another_kind_of_model_is_refused),
        cmocka_unit_test(every_target_is_in_the_manifest),
        cmocka_unit_test(users_are_ranked_by_recommenders_only),
        cmocka_unit_test(a_threshold_goal_is_for_two_classes),
        cmocka_unit_test(a_target_is_reached_from_its_good_side),
    };
    return RUN_TESTS(tests);
}
