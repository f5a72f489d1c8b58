#include "coordinator/gate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/math/metrics.h"
#include "common/math/yardstick.h"
#include "coordinator/result.h"

#define TRIB_LOG_MODULE "gate"

const char trib_gate_reason[] = "the version is not better than the baseline";
const char trib_gate_advice[] =
    "devices have what was there before the job: let it learn longer or otherwise (rounds, "
    "local_epochs, learning_rate; with privacy a larger cohort), judge it by what matters "
    "(primary_metric), or take it as it is with round.beat_baseline = no";

static bool ranks(const struct trib_job_config *config)
{
    return config->primary_metric != TRIB_JOB_METRIC_NONE &&
           trib_metric_is_ranking(
               trib_job_metric_name((enum trib_job_metric)config->primary_metric));
}

// The job has said what is good enough, by another metric than the primary one.
static bool has_other_target(const struct trib_job_config *config)
{
    const int target = config->target_metric;
    if (target == TRIB_JOB_METRIC_NONE || target == config->primary_metric)
        return false;
    return config->primary_metric != TRIB_JOB_METRIC_NONE ||
           (target != TRIB_JOB_METRIC_ACCURACY && target != TRIB_JOB_METRIC_MSE); // the usual ones
}

// Classes are weighed, or the threshold lies where something else than the accuracy is good. An
// accuracy that nobody named would punish it.
static bool gives_up_accuracy(const struct trib_job_config *config)
{
    const char *goal = config->threshold_goal;
    const bool is_moved = goal[0] && strcmp(goal, "none") != 0 && strcmp(goal, "accuracy") != 0;
    return config->primary_metric == TRIB_JOB_METRIC_NONE && (config->class_weights || is_moved);
}

bool trib_gate_is_on(const struct trib_job_config *config)
{
    if (config->beat_baseline != TRIB_JOB_BEAT_AUTO)
        return config->beat_baseline == TRIB_JOB_BEAT_YES;
    return config->eval_every > 0 && config->baseline != TRIB_JOB_BASELINE_NONE && !ranks(config) &&
           !has_other_target(config) && !gives_up_accuracy(config);
}

static enum trib_err check_linear(struct trib_conf *conf, const struct trib_job_config *config,
                                  const struct trib_model *model)
{
    if (config->privacy_mode != TRIB_PRIVACY_OFF)
        return trib_conf_reject(conf, "round", "baseline",
                                "linear wants exact sums of all rows, which privacy does not let "
                                "devices send: use prior, which costs nothing");
    if (config->learning_mode != TRIB_JOB_MODE_BATCH)
        return trib_conf_reject(conf, "round", "baseline",
                                "linear goes with mode = batch: it is counted over all rows");
    if (model->local_count > 0 || trib_yardstick_values(model) == 0)
        return trib_conf_reject(conf, "round", "baseline",
                                "linear is for at most %d features and %d classes, and for models "
                                "without a local part: use prior",
                                TRIB_YARDSTICK_INPUTS_MAX, TRIB_YARDSTICK_CLASSES_MAX);
    return TRIB_OK;
}

enum trib_err trib_job_check_gate(struct trib_conf *conf, const struct trib_job_config *config,
                                  const struct trib_model *model)
{
    const bool is_evaluated = config->eval_every > 0;
    if (config->equal_shares && !config->stratify_by)
        return trib_conf_reject(conf, "round", "equal_shares", "wants stratify_by = group");
    if (config->keep == TRIB_JOB_KEEP_BEST && !is_evaluated)
        return trib_conf_reject(conf, "round", "eval_every", "must not be 0 with keep = best");
    if (config->beat_baseline == TRIB_JOB_BEAT_YES && !is_evaluated)
        return trib_conf_reject(conf, "round", "eval_every",
                                "must not be 0 with beat_baseline = yes");
    if (config->beat_baseline == TRIB_JOB_BEAT_YES && ranks(config))
        return trib_conf_reject(conf, "round", "beat_baseline",
                                "wants a primary_metric that a constant has too, not a ranking of "
                                "users");
    if (config->beat_baseline == TRIB_JOB_BEAT_YES && config->baseline == TRIB_JOB_BASELINE_NONE)
        return trib_conf_reject(conf, "round", "baseline",
                                "must not be none with beat_baseline = yes");
    if (config->baseline_margin > 0 && !trib_gate_is_on(config))
        return trib_conf_reject(conf, "round", "baseline_margin", "wants beat_baseline = yes");
    if (config->baseline != TRIB_JOB_BASELINE_LINEAR)
        return TRIB_OK;
    if (!is_evaluated)
        return trib_conf_reject(conf, "round", "eval_every",
                                "must not be 0 with baseline = linear");
    return check_linear(conf, config, model);
}

bool trib_job_wants_linear(const struct trib_job *job)
{
    return job->config.baseline == TRIB_JOB_BASELINE_LINEAR;
}

enum trib_err trib_gate_begin(const struct trib_job *job, struct trib_evaluator *evaluator)
{
    if (!evaluator || job->config.baseline == TRIB_JOB_BASELINE_NONE)
        return TRIB_OK;
    return trib_evaluator_add_prior(evaluator);
}

enum trib_err trib_gate_use_linear(const struct trib_job *job, const double *values,
                                   struct trib_evaluator *evaluator, struct trib_buf *json)
{
    struct trib_yardstick measured = {.name = NULL};
    struct trib_model linear;
    float *params = NULL;
    double rows = 0;
    enum trib_err err = trib_yardstick_model(&job->model, &linear);
    if (err)
        return err;
    params = trib_alloc_aligned(linear.param_count, sizeof(*params));
    err = params ? trib_yardstick_fit(&job->model, values, params, &rows) : TRIB_ERR_NOMEM;
    if (!err)
        err = trib_evaluator_add_linear(evaluator, params, &measured);
    free(params);
    if (err && err != TRIB_ERR_DATA)
        return err;
    if (err)
        TRIB_WARN("id=no-linear-baseline no linear model can be made of the %.0f rows that were "
                  "counted: the baseline is the prior",
                  rows);
    trib_json_open(json, NULL, '{');
    trib_json_text(json, "baseline", measured.name);
    trib_json_real(json, "rows", rows);
    trib_json_real(json, "value", measured.name ? measured.value : (double)NAN);
    trib_json_real(json, "loss", measured.name ? measured.loss : (double)NAN);
    trib_json_close(json, '}');
    return json->failed ? TRIB_ERR_NOMEM : TRIB_OK;
}

void trib_gate_recall_linear(struct trib_evaluator *evaluator, const char *report)
{
    const struct trib_yardstick measured = {.name = "linear",
                                            .loss = trib_result_member(report, NULL, "loss"),
                                            .value = trib_result_member(report, NULL, "value")};
    if (isfinite(measured.value))
        trib_evaluator_take_baseline(evaluator, &measured);
}

// Equal values, which an accuracy has where one class is rare, are told apart by the loss.
static bool is_better_by_loss(const struct trib_held_out *held_out)
{
    return held_out->validation.loss < held_out->baseline.loss;
}

bool trib_gate_passes(const struct trib_job *job, const struct trib_held_out *held_out)
{
    const struct trib_job_config *config = &job->config;
    const double lift = trib_held_out_lift(held_out);
    if (!trib_gate_is_on(config))
        return true;
    if (config->beat_baseline == TRIB_JOB_BEAT_AUTO) {
        if (!held_out->baseline.name || !isfinite(held_out->baseline.value))
            return true; // there is nothing to compare with
        if (lift >= 0 && lift <= 0 && config->baseline_margin <= 0)
            return is_better_by_loss(held_out);
    }
    return lift > 0 && lift >= config->baseline_margin;
}

bool trib_gate_is_better(const struct trib_job *job, double value, double other)
{
    return trib_job_higher_is_better(job) ? value > other : value < other;
}
