#include "coordinator/job.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/math/metrics.h"
#include "common/math/model_file.h"
#include "coordinator/job_ways.h"
#include "coordinator/moments.h"
#include "coordinator/strategy.h"
#include "coordinator/tally_round.h"

const char *trib_job_state_text(enum trib_job_state state)
{
    switch (state) {
    case TRIB_JOB_ACTIVE: return "active";
    case TRIB_JOB_PAUSED: return "paused";
    case TRIB_JOB_DONE: return "done";
    case TRIB_JOB_FAILED: return "failed";
    case TRIB_JOB_CANCELLED: return "cancelled";
    case TRIB_JOB_MISSED: return "missed";
    case TRIB_JOB_REFUSED: return "refused";
    }
    return "unknown";
}

bool trib_job_state_is_final(enum trib_job_state state)
{
    return state != TRIB_JOB_ACTIVE && state != TRIB_JOB_PAUSED;
}

static const char *const metric_names[TRIB_JOB_METRIC_COUNT] = {
    [TRIB_JOB_METRIC_NONE] = "none",
    [TRIB_JOB_METRIC_ACCURACY] = "accuracy",
    [TRIB_JOB_METRIC_F1] = "f1",
    [TRIB_JOB_METRIC_LOSS] = "loss",
    [TRIB_JOB_METRIC_MSE] = "mse",
    [TRIB_JOB_METRIC_R2] = "r2",
    [TRIB_JOB_METRIC_BALANCED_ACCURACY] = "balanced_accuracy",
    [TRIB_JOB_METRIC_MCC] = "mcc",
    [TRIB_JOB_METRIC_MAE] = "mae",
    [TRIB_JOB_METRIC_RMSE] = "rmse",
    [TRIB_JOB_METRIC_MAPE] = "mape",
    [TRIB_JOB_METRIC_AUC] = "auc",
    [TRIB_JOB_METRIC_AVERAGE_PRECISION] = "average_precision",
    [TRIB_JOB_METRIC_LOG_LOSS] = "log_loss",
    [TRIB_JOB_METRIC_BRIER] = "brier",
    [TRIB_JOB_METRIC_ECE] = "ece",
    [TRIB_JOB_METRIC_KAPPA] = "kappa",
    [TRIB_JOB_METRIC_TOP5_ACCURACY] = "top5_accuracy",
    [TRIB_JOB_METRIC_POSITIVE_PRECISION] = "positive_precision",
    [TRIB_JOB_METRIC_POSITIVE_RECALL] = "positive_recall",
    [TRIB_JOB_METRIC_POSITIVE_F1] = "positive_f1",
    [TRIB_JOB_METRIC_HIT_RATE_AT_K] = "hit_rate_at_k",
    [TRIB_JOB_METRIC_RECALL_AT_K] = "recall_at_k",
    [TRIB_JOB_METRIC_NDCG_AT_K] = "ndcg_at_k",
};

const char *trib_job_metric_name(enum trib_job_metric metric)
{
    return metric_names[metric];
}

struct trib_kept_rows trib_job_kept(const struct trib_job_config *config)
{
    return (struct trib_kept_rows){.fraction = config->validation_fraction,
                                   .folds = (uint32_t)config->folds,
                                   .fold = (uint32_t)config->fold};
}

enum trib_err trib_job_initial(const struct trib_job *job, float *ret_params, char *why,
                               size_t why_size)
{
    if (job->config.model_init[0] && !job->config.model_init_map[0])
        return trib_model_file_load(job->config.model_init, &job->model, ret_params, why, why_size);
    if (job->config.strategy == TRIB_JOB_NEWTON &&
        !job->config.model_init[0]) { // the way from 0 is that of least squares
        memset(ret_params, 0, job->model.param_count * sizeof(*ret_params));
        return TRIB_OK;
    }
    trib_model_init(&job->model, job->config.model_seed, ret_params);
    if (!job->config.model_init_map[0])
        return TRIB_OK;
    return trib_model_file_map(job->config.model_init, &job->model, job->config.model_init_map,
                               ret_params, why, why_size);
}

enum trib_err trib_job_check_initial(const struct trib_job *job, char *why, size_t why_size)
{
    if (!job->config.model_init[0])
        return TRIB_OK;
    float *params = trib_alloc_aligned(job->model.param_count, sizeof(*params));
    if (!params) {
        (void)snprintf(why, why_size, "out of memory");
        return TRIB_ERR_NOMEM;
    }
    enum trib_err err = trib_job_initial(job, params, why, why_size);
    free(params);
    return err;
}

bool trib_job_warning(const struct trib_job *job, char *text, size_t size)
{
    const double snr_min = 0.05; // docs/privacy-math.md 1.4: below it the model learns nothing
    if (job->config.privacy_mode == TRIB_PRIVACY_OFF || job->privacy.snr >= snr_min)
        return false;
    (void)snprintf(text, size,
                   "predicted signal-to-noise ratio per coordinate and round is %.4f, below %.2f: "
                   "the noise will drown the model; more devices per round, a smaller model or a "
                   "larger epsilon would help (--accept-drowned-signal starts it all the same)",
                   job->privacy.snr, snr_min);
    return true;
}

void trib_job_adversary(const struct trib_job *job, enum trib_roster_kind roster, char *text,
                        size_t size)
{
    const struct trib_privacy_cohort cohort = {
        .members = job->privacy.secagg.members,
        .colluders = job->privacy.secagg.colluders,
        .is_vouched_apart = roster == TRIB_ROSTER_OFFLINE,
    };
    trib_privacy_against(job->privacy.encoding.mode, &cohort, text, size);
}

static const char unit[] = "one device (zero-out)";

void trib_job_promise(const struct trib_job *job, enum trib_roster_kind roster, char *text,
                      size_t size)
{
    const struct trib_privacy_plan *plan = &job->privacy;
    char adversary[160];
    if (plan->encoding.mode == TRIB_PRIVACY_OFF) {
        (void)snprintf(text, size,
                       "privacy mode off: no formal privacy; updates are encrypted on the wire and "
                       "seen by the coordinator");
        return;
    }
    trib_job_adversary(job, roster, adversary, sizeof(adversary));
    (void)snprintf(text, size,
                   "privacy mode %s, unit %s, against %s: epsilon %.4g at delta %.2g over the job "
                   "(%s ledger), pure epsilon %.4g a round; predicted SNR %.3f",
                   trib_privacy_mode_text(plan->encoding.mode), unit, adversary,
                   plan->epsilon_total, plan->delta,
                   strcmp(plan->ledger, "zcdp") == 0 ? "zCDP" : plan->ledger,
                   plan->epsilon_pure_round, plan->snr);
}

void trib_job_privacy_json(const struct trib_job *job, const struct trib_privacy_plan *plan,
                           enum trib_roster_kind roster, const struct trib_privacy_spent *spent,
                           uint64_t counted, double rms, struct trib_buf *json)
{
    const struct trib_secagg_plan *secagg = &plan->secagg;
    char adversary[160];
    if (plan->encoding.mode == TRIB_PRIVACY_OFF)
        return;
    trib_job_adversary(job, roster, adversary, sizeof(adversary));
    trib_json_open(json, NULL, '{');
    trib_json_text(json, "mode", trib_privacy_mode_text(plan->encoding.mode));
    trib_json_text(json, "unit", unit);
    trib_json_text(json, "adversary", adversary);
    trib_json_text(json, "ledger", trib_privacy_ledger(spent, plan->delta));
    trib_json_real(json, "epsilon_pure_round", plan->epsilon_pure_round);
    trib_json_real(json, "rho_round", plan->rho_round);
    if (plan->encoding.mode == TRIB_PRIVACY_DISTRIBUTED) {
        trib_json_uint(json, "members", secagg->members);
        trib_json_uint(json, "threshold", secagg->threshold);
        trib_json_uint(json, "colluders", secagg->colluders);
        trib_json_uint(json, "shares", secagg->shares);
        trib_json_uint(json, "survivors", counted);
        trib_json_real(json, "noise_excess", (double)counted / secagg->shares);
    }
    trib_json_real(json, "noise_std",
                   counted ? trib_privacy_noise_std(&plan->encoding, counted) : (double)NAN);
    trib_json_real(json, "snr",
                   isnan(rms) ? rms : trib_privacy_snr_seen(&plan->encoding, counted, rms));
    trib_json_close(json, '}');
}

bool trib_job_target_is_reached(const struct trib_job *job,
                                const struct trib_evaluation *evaluation)
{
    const enum trib_job_metric metric = (enum trib_job_metric)job->config.target_metric;
    const double target = job->config.target_value;
    if (metric == TRIB_JOB_METRIC_NONE)
        return false;
    const double value = trib_evaluation_find(evaluation, metric_names[metric]);
    return trib_metric_higher_is_better(metric_names[metric]) ? value >= target : value <= target;
}

bool trib_job_evaluates(const struct trib_job *job, uint64_t number)
{
    uint64_t every = job->config.eval_every;
    return every > 0 && (number % every == 0 || number == job->config.rounds);
}

bool trib_job_evaluates_on_devices(const struct trib_job *job, uint64_t number)
{
    const uint64_t every = job->config.evaluate_on_devices;
    return every > 0 && number > 0 && (number % every == 0 || number == job->config.rounds);
}

bool trib_job_counts(const struct trib_job *job, uint64_t number)
{
    const uint64_t every = job->config.count_every;
    return every > 0 && number > 0 && (number % every == 0 || number == job->config.rounds);
}

static uint64_t times(const struct trib_job_config *config, uint64_t every)
{
    return every > 0 ? (config->rounds + every - 1) / every : 0;
}

uint64_t trib_job_device_evaluations(const struct trib_job_config *config)
{
    return times(config, config->evaluate_on_devices) + times(config, config->count_every);
}

double trib_job_rate(const struct trib_job *job, uint64_t number,
                     const struct trib_plateau *plateau)
{
    if (job->config.lr_over == TRIB_JOB_LR_OVER_STEPS)
        return job->config.learning_rate;
    return trib_schedule_rate(&job->schedule, job->config.learning_rate, number - 1,
                              job->config.rounds, plateau);
}

void trib_job_observe(const struct trib_job *job, double value, struct trib_plateau *plateau)
{
    const bool higher_is_better = trib_job_higher_is_better(job);
    trib_plateau_observe(plateau, &job->schedule, value, higher_is_better);
}

bool trib_job_higher_is_better(const struct trib_job *job)
{
    return job->held_out.primary ? trib_metric_higher_is_better(job->held_out.primary)
                                 : job->model.classes > 0; // accuracy, or mse
}

enum trib_err trib_job_moments(const struct trib_job *job, struct trib_moments **ret_moments)
{
    const struct trib_job_config *config = &job->config;
    const struct trib_moments_options options = {
        .kind = config->strategy == TRIB_JOB_FEDADAM ? TRIB_MOMENTS_FEDADAM : TRIB_MOMENTS_FEDAVGM,
        .beta1 = config->beta1,
        .beta2 = config->beta2,
        .tau = config->tau,
    };
    *ret_moments = NULL;
    if (config->strategy != TRIB_JOB_FEDADAM && config->strategy != TRIB_JOB_FEDAVGM)
        return TRIB_OK;
    return trib_moments_create(&options, job->model.param_count, ret_moments);
}

enum trib_err trib_job_step(const struct trib_job *job, struct trib_moments *moments,
                            const float *base, const float *mean, float *ret_next)
{
    const double rate = job->config.server_learning_rate;
    if (moments)
        return trib_moments_step(moments, base, mean, rate, ret_next);
    return trib_strategy_fedavg(base, mean, job->model.param_count, rate, ret_next);
}

uint64_t trib_job_tail(const struct trib_job *job)
{
    if (job->config.privacy_mode == TRIB_PRIVACY_OFF)
        return 0;
    uint64_t count = (uint64_t)ceil(job->config.tail_average * (double)job->config.rounds);
    return count >= 2 ? count : 0; // the average of one version is that version
}
