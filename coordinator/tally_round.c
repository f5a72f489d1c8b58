#include "coordinator/tally_round.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/math/aside.h"
#include "common/math/newton.h"
#include "coordinator/class_round.h"
#include "coordinator/count_report.h"
#include "coordinator/gate.h"
#include "coordinator/result.h"

#define TRIB_LOG_MODULE "tally"

enum {
    PASS_SHIFT = 32 // above TRIB_ROUNDS_MAX
};

uint64_t trib_round_key(enum trib_round_pass pass, uint64_t number)
{
    return (uint64_t)pass << PASS_SHIFT | number;
}

enum trib_round_pass trib_round_key_pass(uint64_t key)
{
    return (enum trib_round_pass)(key >> PASS_SHIFT);
}

uint64_t trib_round_key_number(uint64_t key)
{
    return key & ((1ull << PASS_SHIFT) - 1);
}

struct trib_round_shape trib_job_shape(const struct trib_job *job, enum trib_tally_kind kind)
{
    const struct trib_job_tally *tally = &job->tallies[kind];
    if (kind == TRIB_TALLY_NONE)
        return (struct trib_round_shape){.words = job->model.param_count,
                                         .weight_max = job->weight_max,
                                         .privacy = &job->privacy};
    assert(tally->values > 0); // the job asks for it
    const bool is_exact = tally->privacy.encoding.mode == TRIB_PRIVACY_OFF;
    const struct trib_ask ask = {
        .kind = kind, .model = &job->model, .ranking = job->held_out.ranking};
    const enum trib_tally_layout layout = is_exact ? trib_ask_layout(&ask) : TRIB_TALLY_WHOLE;
    return (struct trib_round_shape){
        .kind = kind,
        .values = tally->values,
        .words = is_exact ? trib_tally_packed(layout, tally->values) : tally->values,
        .layout = layout,
        .weight_max = 1,
        .privacy = &tally->privacy,
    };
}

// ---- Checking

static enum trib_err check_newton(struct trib_conf *conf, const struct trib_job *job)
{
    const struct trib_job_config *config = &job->config;
    if (!trib_newton_fits(&job->model))
        return trib_conf_reject(
            conf, "strategy", "name",
            "newton wants a model N - dense 1 linear or N - dense 1 sigmoid with "
            "N below %d",
            TRIB_NEWTON_COEFFICIENTS_MAX);
    if (config->l1 > 0)
        return trib_conf_reject(conf, "round", "l1", "cannot go with strategy.name = newton");
    if (config->proximal_mu > 0)
        return trib_conf_reject(conf, "round", "proximal_mu",
                                "cannot go with strategy.name = newton");
    if (config->class_weights)
        return trib_conf_reject(conf, "round", "class_weights",
                                "cannot go with strategy.name = newton");
    if (config->server_learning_rate != 1)
        return trib_conf_reject(conf, "strategy", "server_learning_rate",
                                "must be 1 with strategy.name = newton: its steps are whole");
    return TRIB_OK;
}

static enum trib_err check_evaluation(struct trib_conf *conf, const struct trib_job *job)
{
    if (job->config.validation_fraction == 0 && job->config.folds == 0)
        return trib_conf_reject(conf, "round", "evaluate_on_devices",
                                "wants a validation_fraction or folds: rows that no device learns "
                                "from");
    if (trib_aside_values(&job->model) == 0)
        return trib_conf_reject(conf, "round", "evaluate_on_devices", "is not for so many classes");
    return TRIB_OK;
}

// Exact sums need no clipping and no grid.
static const struct trib_encoding exact = {
    .mode = TRIB_PRIVACY_OFF, .grid = 1, .word_bits = TRIB_TALLY_WORD_BITS};

static enum trib_err plan_values(const struct trib_job *job, size_t values,
                                 struct trib_privacy_plan *ret_plan, char *why, size_t why_size)
{
    struct trib_privacy_config config = job->asked;
    assert(values > 0 && values <= TRIB_TALLY_VALUES_MAX);
    config.params = values;
    enum trib_err err = trib_privacy_plan_make(&config, ret_plan, why, why_size);
    if (!err && config.mode == TRIB_PRIVACY_OFF)
        ret_plan->encoding = exact;
    return err;
}

static enum trib_err plan_tally(struct trib_conf *conf, enum trib_tally_kind kind,
                                struct trib_job *job)
{
    const struct trib_ask ask = {.kind = kind,
                                 .model = &job->model,
                                 .kept = trib_job_kept(&job->config),
                                 .ranking = job->held_out.ranking,
                                 .counters = &job->counters};
    struct trib_job_tally *tally = &job->tallies[kind];
    char why[256];
    tally->values = trib_ask_values(&ask);
    if (plan_values(job, tally->values, &tally->privacy, why, sizeof(why)))
        return trib_conf_reject(conf, "privacy", "mode", "for the %s rounds: %s",
                                trib_tally_kind_text(kind), why);
    return TRIB_OK;
}

enum trib_err trib_job_check_tallies(struct trib_conf *conf, struct trib_job *job)
{
    enum trib_err err = TRIB_OK;
    if (job->config.strategy == TRIB_JOB_NEWTON) {
        err = check_newton(conf, job);
        if (!err)
            err = plan_tally(conf, TRIB_TALLY_NEWTON, job);
    }
    if (!err && job->config.evaluate_on_devices > 0) {
        err = check_evaluation(conf, job);
        if (!err)
            err = plan_tally(conf, TRIB_TALLY_EVALUATION, job);
    }
    if (!err && trib_job_wants_linear(job))
        err = plan_tally(conf, TRIB_TALLY_BASELINE, job);
    if (!err && job->counters.count > 0)
        err = plan_tally(conf, TRIB_TALLY_COUNTERS, job);
    if (!err && trib_job_wants_classes(&job->config)) {
        err = trib_job_check_classes(conf, job);
        if (!err)
            err = plan_tally(conf, TRIB_TALLY_CLASSES, job);
    }
    return err;
}

// ---- Passes of a pipeline

enum trib_err trib_job_check_prepare(const struct trib_job *job, const struct trib_prepare *prepare,
                                     char *why, size_t why_size)
{
    size_t counts[TRIB_PREPARE_PASSES_MAX], most = 0;
    struct trib_privacy_plan plan;
    if (job->config.learning_mode == TRIB_JOB_MODE_ONLINE && trib_prepare_looks_ahead(prepare)) {
        (void)snprintf(why, why_size,
                       "impute with = interpolate looks at rows that come later; with round.mode "
                       "= online a row is learnt when it comes (with = forward would do)");
        return TRIB_ERR_INVAL;
    }
    if (job->asked.mode == TRIB_PRIVACY_OFF || trib_prepare_is_fitted(prepare))
        return TRIB_OK;
    enum trib_err err = trib_prepare_check_bounds(prepare, counts, why, why_size);
    if (!err)
        err = trib_prepare_text_most(prepare, &most);
    // Numbers with noise have all of their digits, and a pass that was paid for must be of use.
    if (!err && most > TRIB_PIPELINE_TEXT_MAX) {
        (void)snprintf(why, why_size,
                       "with what is to be found it may have %zu bytes of text; a task holds %d",
                       most, TRIB_PIPELINE_TEXT_MAX);
        err = TRIB_ERR_INVAL;
    }
    for (size_t i = 0; !err && i < trib_prepare_passes_left(prepare); i++)
        err = plan_values(job, counts[i], &plan, why, why_size);
    return err;
}

enum trib_err trib_job_set_prepare(struct trib_job *job, const struct trib_prepare *prepare)
{
    struct trib_job_tally tally = {.values = trib_prepare_sum_count(prepare)};
    char why[256];
    if (!trib_prepare_is_fitted(prepare)) {
        enum trib_err err = plan_values(job, tally.values, &tally.privacy, why, sizeof(why));
        if (err) {
            TRIB_ERROR("for the prepare rounds: %s", why);
            return err;
        }
    }
    job->tallies[TRIB_TALLY_PREPARE] = tally;
    return TRIB_OK;
}

enum trib_err trib_job_pass_totals(const struct trib_job *job, const struct trib_prepare *prepare,
                                   uint64_t counted, double *values, double *ret_noise)
{
    const struct trib_job_tally *tally = &job->tallies[TRIB_TALLY_PREPARE];
    char why[256];
    *ret_noise = 0;
    if (tally->privacy.encoding.mode == TRIB_PRIVACY_OFF)
        return TRIB_OK;
    double *bounds = trib_alloc_array(tally->values, sizeof(*bounds));
    enum trib_err err =
        bounds ? trib_prepare_bounds(prepare, bounds, why, sizeof(why)) : TRIB_ERR_NOMEM;
    for (size_t i = 0; !err && i < tally->values; i++)
        values[i] *= bounds[i];
    if (!err)
        *ret_noise = trib_privacy_noise_std(&tally->privacy.encoding, counted) * (double)counted *
                     job->config.tally_scale;
    free(bounds);
    return err;
}

enum trib_tally_kind trib_job_kind(const struct trib_job *job, enum trib_round_pass pass,
                                   bool newton_is_off)
{
    if (pass == TRIB_PASS_EVALUATION)
        return TRIB_TALLY_EVALUATION;
    if (pass == TRIB_PASS_PREPARE)
        return TRIB_TALLY_PREPARE;
    if (pass == TRIB_PASS_BASELINE)
        return TRIB_TALLY_BASELINE;
    if (pass == TRIB_PASS_COUNTERS)
        return TRIB_TALLY_COUNTERS;
    if (pass == TRIB_PASS_CLASSES)
        return TRIB_TALLY_CLASSES;
    return job->config.strategy == TRIB_JOB_NEWTON && !newton_is_off ? TRIB_TALLY_NEWTON
                                                                     : TRIB_TALLY_NONE;
}

// ---- Sums

enum trib_err trib_tally_round_values(const struct trib_job *job,
                                      const struct trib_round_shape *shape, const int64_t *sums,
                                      double *ret_values)
{
    const double unit = shape->privacy->encoding.grid * job->config.tally_scale;
    struct trib_tally tally;
    if (shape->privacy->encoding.mode != TRIB_PRIVACY_OFF) {
        for (size_t i = 0; i < shape->values; i++)
            ret_values[i] = (double)sums[i] * unit;
        return TRIB_OK;
    }
    enum trib_err err = trib_tally_init(&tally, shape->values);
    if (err)
        return err;
    tally.layout = shape->layout;
    trib_tally_take(&tally, sums);
    for (size_t i = 0; i < shape->values; i++)
        ret_values[i] = trib_tally_value(&tally, i);
    trib_tally_fini(&tally);
    return TRIB_OK;
}

double trib_tally_round_rms(const struct trib_round_shape *shape, const int64_t *sums,
                            uint64_t counted)
{
    const double unit = shape->privacy->encoding.grid / (double)counted;
    double squares = 0;
    for (size_t i = 0; i < shape->words; i++)
        squares += (double)sums[i] * unit * ((double)sums[i] * unit);
    return sqrt(squares / (double)shape->words);
}

// ---- Uses

void trib_tally_use_fini(struct trib_tally_use *use)
{
    trib_buf_fini(&use->json);
    trib_pipeline_step_fini(&use->step);
}

static enum trib_err use_newton(const struct trib_job *job, const double *values,
                                const struct trib_tally_base *base, float *ret_next,
                                struct trib_tally_use *use)
{
    const struct trib_newton_base at = {.version = base->version, .params = base->params};
    enum trib_err err = trib_newton_path_step(base->newton, job, values, &at, ret_next,
                                              &use->has_version, &use->json);
    use->newton_is_off = !err && !use->has_version;
    return err;
}

// NaN: the coordinator does not measure it.
static double measured(const struct trib_tally_base *base, const char *name)
{
    for (size_t i = 0; i < base->value_count; i++) {
        if (strcmp(base->values[i].name, name) == 0)
            return base->values[i].value;
    }
    return (double)NAN;
}

// How the devices counted: at the threshold of the base, as they were asked (trib_ask_decide).
static struct trib_aside_way way_of(const struct trib_job *job, const struct trib_tally_base *base)
{
    const double threshold = measured(base, "threshold");
    return (struct trib_aside_way){.threshold = isfinite(threshold) ? threshold : 0.5,
                                   .is_exact = job->asked.mode == TRIB_PRIVACY_OFF};
}

// The first metric, which stands for the model, of each group that keeps rows aside.
static enum trib_err put_slices(const struct trib_job *job, const struct trib_tally_base *base,
                                struct trib_buf *json)
{
    const struct trib_aside_way way = way_of(job, base);
    enum trib_err err = TRIB_OK;
    trib_json_open(json, "slices", '[');
    for (size_t i = 0; i < base->slice_count && !err; i++) {
        struct trib_aside_report report;
        err = trib_aside_read(&job->model, &way, base->slices[i].values, &report);
        if (err == TRIB_ERR_DATA) {
            err = TRIB_OK;
            continue;
        }
        if (err)
            break;
        trib_json_open(json, NULL, '{');
        trib_json_text(json, "group", base->slices[i].group);
        trib_json_real(json, "n", report.rows);
        trib_json_text(json, "name", report.metrics[0].name);
        trib_json_real(json, "value", report.metrics[0].value);
        trib_json_real(json, "low", report.metrics[0].interval.low);
        trib_json_real(json, "high", report.metrics[0].interval.high);
        trib_json_close(json, '}');
    }
    trib_json_close(json, ']');
    return err;
}

static void put_metric(const struct trib_tally_base *base, const struct trib_aside_metric *metric,
                       struct trib_buf *json)
{
    trib_json_open(json, NULL, '{');
    trib_json_text(json, "name", metric->name);
    trib_json_real(json, "value", metric->value);
    trib_json_real(json, "low", metric->interval.low);
    trib_json_real(json, "high", metric->interval.high);
    trib_json_real(json, "coordinator", measured(base, metric->name));
    trib_json_real(json, "exact_low", metric->exact.low);
    trib_json_real(json, "exact_high", metric->exact.high);
    trib_json_close(json, '}');
}

// What the devices' users come to; `values` are the last ones.
static void put_ranking(const struct trib_job *job, const double *values,
                        const struct trib_tally_base *base, struct trib_buf *json)
{
    const struct trib_interval none = {(double)NAN, (double)NAN};
    struct trib_evaluation e;
    struct trib_ranked_sums sums;
    if (job->held_out.ranking.k == 0)
        return;
    trib_evaluation_init(&e, job->model.classes);
    trib_ranked_sums_take(&sums, values);
    trib_ranked_sums_fill(&sums, job->held_out.ranking.k, &e);
    const struct trib_aside_metric metrics[] = {
        {"ranking_k", e.ranking_k, none, none},
        {"ranking_users", e.ranking_users, none, none},
        {"hit_rate_at_k", e.hit_rate_at_k, e.intervals.hit_rate_at_k, none},
        {"recall_at_k", e.recall_at_k, e.intervals.recall_at_k, none},
        {"ndcg_at_k", e.ndcg_at_k, e.intervals.ndcg_at_k, none}};
    for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
        put_metric(base, &metrics[i], json);
}

static enum trib_err put_held_out(const struct trib_job *job, const double *values,
                                  const struct trib_aside_report *report,
                                  const struct trib_tally_base *base, struct trib_buf *json)
{
    enum trib_err err = TRIB_OK;
    trib_json_open(json, NULL, '{');
    trib_json_uint(json, "version", base->version);
    trib_json_real(json, "n", report->rows);
    trib_json_real(json, "train_n", report->train_rows);
    trib_json_real(json, "confidence", TRIB_CONFIDENCE);
    trib_json_open(json, "metrics", '[');
    for (size_t i = 0; i < report->metric_count; i++)
        put_metric(base, &report->metrics[i], json);
    put_ranking(job, values + trib_aside_values(&job->model), base, json);
    trib_json_close(json, ']');
    trib_json_open(json, "gap", '{');
    trib_json_text(json, "metric", report->gap_metric);
    trib_json_real(json, "train", report->train);
    trib_json_real(json, "validation", report->validation);
    trib_json_real(json, "gap", report->train - report->validation);
    trib_json_bool(json, "flagged", report->is_gap);
    trib_json_close(json, '}');
    if (base->slice_count > 0)
        err = put_slices(job, base, json);
    trib_json_close(json, '}');
    return err;
}

static enum trib_err use_evaluation(const struct trib_job *job, const double *values,
                                    const struct trib_tally_base *base, struct trib_tally_use *use)
{
    struct trib_aside_report report;
    const struct trib_aside_way way = way_of(job, base);
    enum trib_err err = trib_aside_read(&job->model, &way, values, &report);
    if (err == TRIB_ERR_DATA) {
        TRIB_WARN("id=nothing-kept-aside version=%" PRIu64
                  ": no device of this round keeps rows aside, so nothing is measured",
                  base->version);
        return TRIB_OK;
    }
    if (err)
        return err;
    if (report.is_gap)
        TRIB_WARN("id=train-validation-gap version=%" PRIu64 " %s=%.4f on the rows that devices "
                  "learn from, %.4f on those they keep aside: it knows them by heart",
                  base->version, report.gap_metric, report.train, report.validation);
    err = put_held_out(job, values, &report, base, &use->json);
    if (err)
        return err;
    return use->json.failed ? TRIB_ERR_NOMEM : TRIB_OK;
}

static enum trib_err use_counters(const struct trib_job *job, const double *values,
                                  const struct trib_tally_base *base, struct trib_tally_use *use)
{
    trib_count_report(job, values, base, &use->json);
    if (!use->json.failed && use->json.size >= TRIB_RESULT_TALLY_SIZE) {
        TRIB_ERROR("what was counted is too long for a round's report");
        return TRIB_ERR_DATA;
    }
    return use->json.failed ? TRIB_ERR_NOMEM : TRIB_OK;
}

static enum trib_err use_pass(const struct trib_job *job, double *values,
                              const struct trib_tally_base *base, struct trib_tally_use *use)
{
    double noise;
    enum trib_err err =
        trib_job_pass_totals(job, base->pipeline->prepare, base->counted, values, &noise);
    if (!err)
        err = trib_pipeline_count(base->pipeline, values, noise, &use->step);
    if (err)
        return err;
    trib_pipeline_report(&use->step, &use->json);
    if (!use->json.failed && use->json.size >= TRIB_RESULT_TALLY_SIZE) {
        TRIB_ERROR("the pipeline's text is too long for a round's report");
        return TRIB_ERR_DATA;
    }
    return use->json.failed ? TRIB_ERR_NOMEM : TRIB_OK;
}

enum trib_err trib_tally_round_use(const struct trib_job *job, const struct trib_round_shape *shape,
                                   double *values, const struct trib_tally_base *base,
                                   float *ret_next, struct trib_tally_use *ret_use)
{
    struct trib_tally_use use = {.has_version = false};
    enum trib_err err = TRIB_ERR_STATE;
    switch (shape->kind) {
    case TRIB_TALLY_NONE: break;
    case TRIB_TALLY_NEWTON: err = use_newton(job, values, base, ret_next, &use); break;
    case TRIB_TALLY_EVALUATION: err = use_evaluation(job, values, base, &use); break;
    case TRIB_TALLY_PREPARE: err = use_pass(job, values, base, &use); break;
    case TRIB_TALLY_BASELINE:
        err = trib_gate_use_linear(job, values, base->evaluator, &use.json);
        break;
    case TRIB_TALLY_COUNTERS: err = use_counters(job, values, base, &use); break;
    case TRIB_TALLY_CLASSES:
        err = trib_class_round_use(job, values, base->counted, &use.json);
        break;
    }
    if (err)
        trib_tally_use_fini(&use);
    else
        *ret_use = use;
    return err;
}
