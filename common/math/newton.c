#include "common/math/newton.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/math/cholesky.h"

static const double condition_max = 1e12;

static size_t coefficient_count(const struct trib_model *model)
{
    return (size_t)model->inputs + 1;
}

static size_t triangle(size_t n)
{
    return n * (n + 1) / 2;
}

bool trib_newton_fits(const struct trib_model *model)
{
    return model->layer_count == 1 && model->layers[0].kind == TRIB_LAYER_DENSE &&
           model->outputs == 1 && model->inputs < TRIB_NEWTON_COEFFICIENTS_MAX &&
           (model->layers[0].activation == TRIB_ACTIVATION_LINEAR ||
            model->layers[0].activation == TRIB_ACTIVATION_SIGMOID);
}

size_t trib_newton_values(const struct trib_model *model)
{
    const size_t p = coefficient_count(model);
    return triangle(p) + p + 2;
}

// ---- On the device

struct point {
    double curvature, residual, loss;
};

static struct point at(const struct trib_model *model, double score, double y)
{
    if (model->layers[0].activation == TRIB_ACTIVATION_LINEAR)
        return (struct point){1, y - score, 0.5 * (y - score) * (y - score)};
    const double small = exp(-fabs(score)); // never overflows
    const double p = score >= 0 ? 1 / (1 + small) : small / (1 + small);
    const double loss = log1p(small) + fmax(score, 0) - y * score;
    return (struct point){small / ((1 + small) * (1 + small)), y - p, loss};
}

static double feature(const struct trib_model *model, const float *x, size_t j)
{
    return j < model->inputs ? (double)x[j] : 1;
}

static enum trib_err count_row(const struct trib_model *model, const float *x,
                               const struct point *point, double weight, struct trib_tally *tally)
{
    const size_t p = coefficient_count(model);
    size_t at_value = 0;
    enum trib_err err = TRIB_OK;
    for (size_t j = 0; j < p && !err; j++) {
        const double left = feature(model, x, j);
        if (left == 0) { // sparse rows: a zero adds nothing
            at_value += p - j;
            continue;
        }
        for (size_t k = j; k < p && !err; k++)
            err = trib_tally_add(tally, at_value++,
                                 weight * point->curvature * (left * feature(model, x, k)));
    }
    for (size_t j = 0; j < p && !err; j++)
        err = trib_tally_add(tally, at_value++, weight * point->residual * feature(model, x, j));
    if (!err)
        err = trib_tally_add(tally, at_value++, 1);
    if (!err)
        err = trib_tally_add(tally, at_value, weight * point->loss);
    return err;
}

enum trib_err trib_newton_count(const struct trib_model *model, const float *params,
                                const struct trib_samples *samples, const uint32_t *order,
                                size_t count, struct trib_tally *tally)
{
    const float *weights = params + model->layers[0].weight;
    const float bias = params[model->layers[0].bias];
    enum trib_err err = TRIB_OK;
    assert(tally->count == trib_newton_values(model));
    for (size_t i = 0; i < count && !err; i++) {
        const float *x = samples->x + order[i] * samples->inputs;
        double score = (double)bias;
        for (size_t j = 0; j < model->inputs; j++)
            score += (double)weights[j] * (double)x[j];
        const struct point point = at(model, score, (double)samples->y[order[i]]);
        const double weight = samples->weights ? (double)samples->weights[order[i]] : 1;
        err = count_row(model, x, &point, weight, tally);
    }
    return err;
}

// ---- At the coordinator

const char *trib_newton_outcome_text(enum trib_newton_outcome outcome)
{
    switch (outcome) {
    case TRIB_NEWTON_STEP: return "step";
    case TRIB_NEWTON_ILL_CONDITIONED: return "ill_conditioned";
    case TRIB_NEWTON_NO_ROWS: return "no_rows";
    case TRIB_NEWTON_NOT_FINITE: return "not_finite";
    }
    return "unknown";
}

void trib_newton_report_fini(struct trib_newton_report *report)
{
    free(report->coefficients);
    report->coefficients = NULL;
}

struct system {
    size_t p;
    double *matrix; // (p, p): H + n ridge I
    double *old;    // (p): b
    double *step;   // (p): g - n ridge b, then d
};

static void fill_system(struct system *s, const struct trib_model *model, const double *values,
                        const float *params, double ridge)
{
    const size_t p = s->p;
    const double rows = values[triangle(p) + p];
    size_t at_value = 0;
    for (size_t j = 0; j < model->inputs; j++)
        s->old[j] = (double)params[model->layers[0].weight + j];
    s->old[p - 1] = (double)params[model->layers[0].bias];
    for (size_t j = 0; j < p; j++) {
        for (size_t k = j; k < p; k++)
            s->matrix[j * p + k] = s->matrix[k * p + j] = values[at_value++];
    }
    for (size_t j = 0; j < p; j++) {
        s->matrix[j * p + j] += rows * ridge;
        s->step[j] = values[at_value++] - rows * ridge * s->old[j];
    }
}

static enum trib_newton_outcome finish(const struct system *s, const struct trib_model *model,
                                       struct trib_newton_report *report, float *ret_params)
{
    const size_t p = s->p;
    for (size_t j = 0; j < p; j++) {
        for (size_t k = 0; k < p; k++)
            report->decrement += s->step[j] * s->matrix[j * p + k] * s->step[k] / report->rows;
        report->coefficients[j] = s->old[j] + s->step[j];
    }
    for (size_t j = 0; j < p; j++) {
        if (!isfinite((float)report->coefficients[j]))
            return TRIB_NEWTON_NOT_FINITE;
    }
    for (size_t j = 0; j < model->inputs; j++)
        ret_params[model->layers[0].weight + j] = (float)report->coefficients[j];
    ret_params[model->layers[0].bias] = (float)report->coefficients[p - 1];
    return TRIB_NEWTON_STEP;
}

enum trib_err trib_newton_step(const struct trib_model *model, const double *values,
                               const float *params, double ridge, float *ret_params,
                               struct trib_newton_report *ret_report)
{
    const size_t p = coefficient_count(model);
    struct system s = {.p = p};
    struct trib_cholesky cholesky = {.n = 0};
    struct trib_newton_report report = {.rows = values[triangle(p) + p],
                                        .condition = (double)INFINITY};
    enum trib_err err = TRIB_ERR_NOMEM;
    assert(trib_newton_fits(model));
    s.matrix = trib_alloc_array(p * p, sizeof(*s.matrix));
    s.old = trib_alloc_array(p, sizeof(*s.old));
    s.step = trib_alloc_array(p, sizeof(*s.step));
    report.coefficients = trib_alloc_array(p, sizeof(*report.coefficients));
    if (!s.matrix || !s.old || !s.step || !report.coefficients)
        goto out;
    err = TRIB_OK;
    report.loss = values[triangle(p) + p + 1] / report.rows;
    if (!(report.rows > 0)) {
        report.outcome = TRIB_NEWTON_NO_ROWS;
        goto out;
    }
    fill_system(&s, model, values, params, ridge);
    report.outcome = TRIB_NEWTON_ILL_CONDITIONED;
    err = trib_cholesky_create(s.matrix, p, &cholesky);
    if (err == TRIB_ERR_DATA)
        err = TRIB_OK;
    else if (!err)
        report.condition = cholesky.condition;
    if (err || !(report.condition <= condition_max))
        goto out;
    trib_cholesky_solve(&cholesky, s.step);
    report.outcome = finish(&s, model, &report, ret_params);

out:
    trib_cholesky_fini(&cholesky);
    free(s.matrix);
    free(s.old);
    free(s.step);
    if (err)
        trib_newton_report_fini(&report);
    else
        *ret_report = report;
    return err;
}
