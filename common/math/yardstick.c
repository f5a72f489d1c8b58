#include "common/math/yardstick.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/math/cholesky.h"

static const double ridge_share = 1e-3;
static const double share_min = 0x1p-52; // of a class without rows: as metrics cut probabilities

enum trib_err trib_yardstick_model(const struct trib_model *model, struct trib_model *ret_linear)
{
    char spec[TRIB_SPEC_MAX + 1];
    char why[128];
    const char *last = model->loss == TRIB_LOSS_CROSS_ENTROPY          ? "softmax"
                       : model->loss == TRIB_LOSS_BINARY_CROSS_ENTROPY ? "sigmoid"
                                                                       : "linear";
    (void)snprintf(spec, sizeof(spec), "%u - dense %u %s", model->inputs, model->outputs, last);
    return trib_model_parse(spec, ret_linear, why, sizeof(why));
}

void trib_yardstick_prior(const struct trib_model *linear, const struct trib_samples *samples,
                          float *ret_params)
{
    float *bias = ret_params + linear->layers[0].bias;
    const double rows = (double)samples->rows;
    assert(samples->rows > 0);
    for (size_t i = 0; i < linear->param_count; i++)
        ret_params[i] = 0;
    for (uint32_t k = 0; k < linear->outputs; k++) {
        double sum = 0;
        for (size_t r = 0; r < samples->rows; r++) {
            const double y = (double)samples->y[r];
            sum += linear->loss == TRIB_LOSS_CROSS_ENTROPY ? (double)((uint32_t)y == k) : y;
        }
        const double share = fmin(fmax(sum / rows, share_min), 1 - share_min);
        bias[k] =
            (float)(linear->loss == TRIB_LOSS_CROSS_ENTROPY          ? log(share)
                    : linear->loss == TRIB_LOSS_BINARY_CROSS_ENTROPY ? log(share / (1 - share))
                                                                     : sum / rows);
    }
}

// ---- Linear: on the device

static size_t side(const struct trib_model *model)
{
    return (size_t)model->inputs + 1;
}

static size_t triangle(size_t n)
{
    return n * (n + 1) / 2;
}

// Sums of x: one for each class, or one.
static size_t groups(const struct trib_model *model)
{
    return model->classes ? model->classes : 1;
}

size_t trib_yardstick_values(const struct trib_model *model)
{
    if (model->items > 0 || model->inputs > TRIB_YARDSTICK_INPUTS_MAX ||
        model->classes > TRIB_YARDSTICK_CLASSES_MAX || (!model->classes && model->outputs != 1))
        return 0;
    return triangle(side(model)) + groups(model) * side(model);
}

static double feature(const struct trib_model *model, const float *x, size_t j)
{
    return j < model->inputs ? (double)x[j] : 1;
}

enum trib_err trib_yardstick_count(const struct trib_model *model,
                                   const struct trib_samples *samples, const uint32_t *order,
                                   size_t count, struct trib_tally *tally)
{
    const size_t p = side(model);
    enum trib_err err = TRIB_OK;
    assert(tally->count == trib_yardstick_values(model));
    for (size_t i = 0; i < count && !err; i++) {
        const float *x = samples->x + order[i] * samples->inputs;
        const double y = (double)samples->y[order[i]];
        const size_t group = model->classes ? (size_t)y : 0;
        size_t at = 0;
        for (size_t j = 0; j < p && !err; j++) {
            const double left = feature(model, x, j);
            for (size_t k = j; k < p && !err && left != 0; k++)
                err = trib_tally_add(tally, at + k - j, left * feature(model, x, k));
            at += p - j;
            if (!err && left != 0)
                err = trib_tally_add(tally, triangle(p) + group * p + j,
                                     model->classes ? left : y * left);
        }
    }
    return err;
}

// ---- Linear: at the coordinator

struct fit {
    const struct trib_model *model;
    size_t n, p;        // features, and with the constant
    const double *sums; // (groups, p), behind the triangle
    double rows;
    double *matrix; // (n, n)
    double *means;  // (n): of all rows
    double *right;  // (n)
};

static double group_rows(const struct fit *f, size_t group)
{
    return f->model->classes ? f->sums[group * f->p + f->n] : f->rows;
}

// Covariance of the features: about the means of their classes, or of all rows.
static void fill_matrix(struct fit *f, const double *values)
{
    double trace = 0;
    size_t at = 0;
    for (size_t j = 0; j < f->n; j++, at++) { // one further: the constant's column
        for (size_t k = j; k < f->n; k++) {
            double sum = values[at++];
            for (size_t g = 0; f->model->classes && g < f->model->classes; g++) {
                const double *x = f->sums + g * f->p;
                if (x[f->n] > 0)
                    sum -= x[j] * x[k] / x[f->n];
            }
            if (!f->model->classes)
                sum -= f->rows * f->means[j] * f->means[k];
            f->matrix[j * f->n + k] = f->matrix[k * f->n + j] = sum / f->rows;
        }
        trace += f->matrix[j * f->n + j];
    }
    const double ridge = trace > 0 ? ridge_share * trace / (double)f->n : 1;
    for (size_t j = 0; j < f->n; j++)
        f->matrix[j * f->n + j] += ridge;
}

// Weights and constant of one group, into `right` and what is returned.
static double solve_group(const struct fit *f, const struct trib_cholesky *cholesky, size_t group)
{
    const double *x = f->sums + group * f->p;
    const double rows = group_rows(f, group);
    const double label = f->model->classes ? 0 : x[f->n] / f->rows; // the mean of them
    if (!(rows > 0)) {
        for (size_t j = 0; j < f->n; j++)
            f->right[j] = 0;
        return log(share_min);
    }
    for (size_t j = 0; j < f->n; j++)
        f->right[j] = x[j] / rows - (f->model->classes ? 0 : label * f->means[j]);
    trib_cholesky_solve(cholesky, f->right);
    double product = 0;
    for (size_t j = 0; j < f->n; j++)
        product += f->right[j] * (f->model->classes ? x[j] / rows : f->means[j]);
    return f->model->classes ? log(rows / f->rows) - product / 2 : label - product;
}

static enum trib_err put_groups(const struct fit *f, const struct trib_cholesky *cholesky,
                                const struct trib_model *linear, float *params)
{
    const bool is_difference = linear->loss == TRIB_LOSS_BINARY_CROSS_ENTROPY;
    float *weights = params + linear->layers[0].weight;
    float *bias = params + linear->layers[0].bias;
    for (size_t i = 0; i < linear->param_count; i++)
        params[i] = 0;
    for (size_t g = 0; g < groups(f->model); g++) {
        const size_t out = is_difference ? 0 : g;
        const double sign = is_difference && g == 0 ? -1 : 1;
        const double constant = solve_group(f, cholesky, g);
        for (size_t j = 0; j < f->n; j++)
            weights[out * f->n + j] += (float)(sign * f->right[j]);
        bias[out] += (float)(sign * constant);
    }
    for (size_t i = 0; i < linear->param_count; i++) {
        if (!isfinite(params[i]))
            return TRIB_ERR_DATA;
    }
    return TRIB_OK;
}

enum trib_err trib_yardstick_fit(const struct trib_model *model, const double *values,
                                 float *ret_params, double *ret_rows)
{
    struct trib_model linear;
    struct trib_cholesky cholesky = {.n = 0};
    const size_t n = model->inputs;
    const size_t p = side(model);
    struct fit f = {.model = model, .n = n, .p = p, .sums = values + triangle(p)};
    f.rows = values[triangle(p) - 1];
    f.matrix = trib_alloc_array(n * n, sizeof(*f.matrix));
    f.means = trib_alloc_array(n, sizeof(*f.means));
    f.right = trib_alloc_array(n, sizeof(*f.right));
    enum trib_err err = f.matrix && f.means && f.right ? TRIB_OK : TRIB_ERR_NOMEM;
    if (!err && !(f.rows > 0))
        err = TRIB_ERR_DATA;
    if (err)
        goto out;
    for (size_t j = 0, at = 0; j < n; j++) {
        at += p - j; // behind row j, whose last entry is the sum of the feature
        f.means[j] = values[at - 1] / f.rows;
    }
    fill_matrix(&f, values);
    err = trib_yardstick_model(model, &linear);
    if (!err)
        err = trib_cholesky_create(f.matrix, n, &cholesky);
    if (!err)
        err = put_groups(&f, &cholesky, &linear, ret_params);
    *ret_rows = f.rows;

out:
    trib_cholesky_fini(&cholesky);
    free(f.matrix);
    free(f.means);
    free(f.right);
    return err;
}
