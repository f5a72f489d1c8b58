#include "coordinator/newton_path.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "coordinator/result.h"

#define TRIB_LOG_MODULE "newton"

static const double tolerance = 1e-9;

enum trib_err trib_newton_path_create(const struct trib_job *job,
                                      struct trib_newton_path **ret_path)
{
    *ret_path = NULL;
    if (job->config.strategy != TRIB_JOB_NEWTON)
        return TRIB_OK;
    struct trib_newton_path *path = trib_alloc(sizeof(*path));
    if (!path)
        return TRIB_ERR_NOMEM;
    path->good.params = trib_alloc_aligned(job->model.param_count, sizeof(float));
    path->pending.params = trib_alloc_aligned(job->model.param_count, sizeof(float));
    if (!path->good.params || !path->pending.params) {
        trib_newton_path_destroy(path);
        return TRIB_ERR_NOMEM;
    }
    *ret_path = path;
    return TRIB_OK;
}

void trib_newton_path_destroy(struct trib_newton_path *path)
{
    if (!path)
        return;
    free(path->good.params);
    free(path->pending.params);
    free(path);
}

void trib_newton_path_take(struct trib_newton_path *path)
{
    if (!path || path->pending.version == 0)
        return;
    const struct trib_newton_point old = path->good;
    path->good = path->pending;
    path->pending = old;
    path->pending.version = 0;
}

uint64_t trib_newton_path_recall(struct trib_newton_path *path, const char *report)
{
    const double version = trib_result_member(report, "good", "version");
    path->good.objective = trib_result_member(report, "good", "objective");
    path->good.rows = trib_result_member(report, "good", "rows");
    path->good.version = version >= 1 ? (uint64_t)version : 0;
    return path->good.version;
}

static double square_sum(const float *params, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)params[i] * (double)params[i];
    return sum;
}

static void set_point(struct trib_newton_point *point, uint64_t version, double objective,
                      double rows, const float *params, size_t count)
{
    point->version = version;
    point->objective = objective;
    point->rows = rows;
    memcpy(point->params, params, count * sizeof(*params));
}

static void put_report(const struct trib_newton_report *report, bool is_halved,
                       const struct trib_newton_point *good, size_t coefficients,
                       struct trib_buf *json)
{
    const bool is_step = report->outcome == TRIB_NEWTON_STEP;
    trib_json_open(json, NULL, '{');
    trib_json_text(json, "refused", is_step ? NULL : trib_newton_outcome_text(report->outcome));
    trib_json_real(json, "rows", report->rows);
    trib_json_real(json, "loss", report->loss);
    trib_json_real(json, "condition", report->condition);
    if (is_step) {
        trib_json_real(json, "decrement", report->decrement);
        trib_json_open(json, "coefficients", '[');
        for (size_t i = 0; i < coefficients; i++)
            trib_json_real(json, NULL, report->coefficients[i]);
        trib_json_close(json, ']');
        trib_json_bool(json, "halved", is_halved);
        trib_json_open(json, "good", '{');
        trib_json_uint(json, "version", good->version);
        trib_json_real(json, "objective", good->objective);
        trib_json_real(json, "rows", good->rows);
        trib_json_close(json, '}');
    }
    trib_json_close(json, '}');
}

// The middle between the last good version and this one, in place of a step.
static enum trib_err halve(const struct trib_newton_point *good, const struct trib_model *model,
                           const float *base, float *next, struct trib_newton_report *report)
{
    const size_t count = (size_t)model->inputs + 1;
    report->coefficients = trib_alloc_array(count, sizeof(*report->coefficients));
    if (!report->coefficients)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const size_t at = i < model->inputs ? model->layers[0].weight + i : model->layers[0].bias;
        report->coefficients[i] = ((double)good->params[at] + (double)base[at]) / 2;
        next[at] = (float)report->coefficients[i];
    }
    report->outcome = TRIB_NEWTON_STEP;
    report->condition = report->decrement = (double)NAN;
    return TRIB_OK;
}

enum trib_err trib_newton_path_step(struct trib_newton_path *path, const struct trib_job *job,
                                    const double *values, const struct trib_newton_base *base,
                                    float *ret_next, bool *ret_is_step, struct trib_buf *json)
{
    const struct trib_model *model = &job->model;
    const double ridge = job->config.weight_decay;
    const size_t size = trib_newton_values(model);
    struct trib_newton_report report = {.rows = values[size - 2],
                                        .loss = values[size - 1] / values[size - 2]};
    const double objective = report.loss + ridge / 2 * square_sum(base->params, model->param_count);
    const struct trib_newton_point *good = &path->good;
    const bool is_same = report.rows >= good->rows && report.rows <= good->rows;
    const bool is_halved = job->config.privacy_mode == TRIB_PRIVACY_OFF && good->version > 0 &&
                           is_same &&
                           objective - good->objective > tolerance * (1 + fabs(good->objective));
    // `ret_next` may be `base`
    set_point(&path->pending, is_halved ? good->version : base->version,
              is_halved ? good->objective : objective, report.rows,
              is_halved ? good->params : base->params, model->param_count);
    enum trib_err err =
        is_halved ? halve(good, model, base->params, ret_next, &report)
                  : trib_newton_step(model, values, base->params, ridge, ret_next, &report);
    if (err)
        return err;
    *ret_is_step = report.outcome == TRIB_NEWTON_STEP;
    if (!*ret_is_step)
        TRIB_WARN("id=newton-refused the step is refused: %s (condition %.3g, %.0f rows); the job "
                  "goes on with fedavg",
                  trib_newton_outcome_text(report.outcome), report.condition, report.rows);
    put_report(&report, is_halved, &path->pending, (size_t)model->inputs + 1, json);
    trib_newton_report_fini(&report);
    return json->failed ? TRIB_ERR_NOMEM : TRIB_OK;
}
