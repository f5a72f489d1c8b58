// Steps from the covariances of many numbers: pca and select.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/data/prepare_stat.h"
#include "common/data/prepare_step.h"
#include "common/math/eigen.h"

#define TRIB_LOG_MODULE "prepare"

enum {
    INPUTS_MAX = 256,
    PASSES = 2,
};

// ---- Covariances: two passes, as for the moments of one variable
//
// Pass 0: n, sums of x_i. Pass 1: n, sums of d_i, sums of d_i d_k for i <= k, with d = x - mean.
// Rows in which a value is missing do not count. Found: n, then the means.

static size_t covariance_sums(size_t count, size_t pass)
{
    return pass == 0 ? 1 + count : 1 + count + count * (count + 1) / 2;
}

static void covariance_gather(const double *fitted, size_t count, size_t pass, const double *x,
                              struct trib_prepare_sums *sums, size_t first)
{
    for (size_t i = 0; i < count; i++) {
        if (isnan(x[i]))
            return;
    }
    const double *mean = fitted + 1;
    size_t at = first + 1 + count;
    trib_prepare_sums_add(sums, first, 1);
    for (size_t i = 0; i < count; i++) {
        trib_prepare_sums_add(sums, first + 1 + i, pass == 0 ? x[i] : x[i] - mean[i]);
        for (size_t k = i; pass > 0 && k < count; k++)
            trib_prepare_sums_add(sums, at++, (x[i] - mean[i]) * (x[k] - mean[k]));
    }
}

static void covariance_bounds(const struct trib_variable *variables, size_t count, size_t pass,
                              double *ret_bounds)
{
    size_t at = 1 + count;
    ret_bounds[0] = 1;
    for (size_t i = 0; i < count; i++) {
        const struct trib_variable *v = &variables[i];
        ret_bounds[1 + i] = pass == 0 ? fmax(fabs(v->min), fabs(v->max)) : v->max - v->min;
        for (size_t k = i; pass > 0 && k < count; k++)
            ret_bounds[at++] = (v->max - v->min) * (variables[k].max - variables[k].min);
    }
}

static void take_means(const struct trib_variable *variables, size_t count, const double *totals,
                       double noise, double *fitted)
{
    fitted[0] = trib_noisy_rows(totals[0], noise);
    for (size_t i = 0; i < count; i++) {
        const double mean = fitted[0] > 0 ? totals[1 + i] / fitted[0] : 0;
        fitted[1 + i] = fmin(fmax(mean, variables[i].min), variables[i].max);
    }
}

// ret_covariance (count, count), over n; the means become exact.
static void take_covariances(double *fitted, size_t count, const double *totals, double noise,
                             double *ret_covariance)
{
    const double n = trib_noisy_rows(totals[0], noise);
    const double *shift = totals + 1;
    const double *product = totals + 1 + count;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = i; k < count; k++) {
            const double value = n > 0 ? *product / n - shift[i] / n * (shift[k] / n) : 0;
            ret_covariance[i * count + k] = ret_covariance[k * count + i] = value;
            product++;
        }
    }
    for (size_t i = 0; i < count; i++)
        fitted[1 + i] += n > 0 ? shift[i] / n : 0;
}

static const char *no_rows(double noise)
{
    return noise > 0 ? "the number of rows does not stand out of the noise"
                     : "no row on any device has all of its columns";
}

// ---- pca: projections on the directions in which the numbers vary most
//
// Found: n, means (d), directions (k, d), their variances (k).

static const struct trib_prepare_key pca_keys[] = {
    TRIB_PREPARE_KEY("components", TRIB_PREPARE_INT, components, "2", 1, INPUTS_MAX, NULL),
};

static enum trib_err settle_pca(const struct trib_prepare_parser *p, struct trib_prepare_step *step)
{
    const size_t inputs = step->input_count;
    const size_t components = step->options.components;
    double square = 0;
    if (inputs > INPUTS_MAX || inputs < components)
        return trib_prepare_wrong(p, "pca wants %zu to %d columns for %zu components, not %zu",
                                  components, INPUTS_MAX, components, inputs);
    for (size_t i = 0; i < inputs; i++) {
        const double span = step->was[i].max - step->was[i].min;
        square += span * span;
    }
    const struct trib_variable v = {.column = SIZE_MAX, .min = -sqrt(square), .max = sqrt(square)};
    size_t after = step->inputs[0];
    for (size_t k = 0; k < components; k++) {
        enum trib_err err = trib_prepare_add(p->prepare, &v, after, "pca %zu", k + 1);
        if (err)
            return err;
        after = p->prepare->variable_count - 1;
    }
    for (size_t i = 0; i < inputs; i++)
        trib_prepare_remove(p->prepare, step->inputs[i]);
    step->pass_count = PASSES;
    step->fitted_count = 1 + inputs + components * inputs + components;
    return TRIB_OK;
}

static size_t pca_sums(const struct trib_prepare_step *step)
{
    return covariance_sums(step->input_count, step->pass);
}

static void pca_bounds(const struct trib_prepare_step *step, double *ret_bounds)
{
    covariance_bounds(step->was, step->input_count, step->pass, ret_bounds);
}

static void take_inputs(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                        double *ret_x)
{
    for (size_t i = 0; i < step->input_count; i++)
        ret_x[i] = row->values[step->inputs[i]];
}

static void pca_gather(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                       struct trib_prepare_sums *sums, size_t first)
{
    double x[INPUTS_MAX];
    take_inputs(step, row, x);
    covariance_gather(step->fitted, step->input_count, step->pass, x, sums, first);
}

static enum trib_err pca_advance(const struct trib_prepare *prepare, struct trib_prepare_step *step,
                                 const double *totals, double noise)
{
    const size_t d = step->input_count;
    const size_t k = step->options.components;
    (void)prepare;
    if (step->pass == 0) {
        take_means(step->was, d, totals, noise, step->fitted);
        if (step->fitted[0] == 0)
            TRIB_WARN("id=prepare-all-missing step=pca %s; its components are columns",
                      no_rows(noise));
        return TRIB_OK;
    }
    double *work = trib_alloc_array(2 * d * d + d, sizeof(*work));
    if (!work)
        return TRIB_ERR_NOMEM;
    double *vectors = work + d * d;
    double *values = vectors + d * d;
    take_covariances(step->fitted, d, totals, noise, work);
    trib_eigen_symmetric(work, d, values, vectors);
    memcpy(step->fitted + 1 + d, vectors, k * d * sizeof(double));
    memcpy(step->fitted + 1 + d + k * d, values, k * sizeof(double));
    free(work);
    return TRIB_OK;
}

static bool pca_apply(const struct trib_prepare_step *step, void *state,
                      struct trib_prepare_row *row)
{
    (void)state;
    const size_t d = step->input_count;
    const double *mean = step->fitted + 1;
    const double *direction = mean + d;
    double x[INPUTS_MAX];
    take_inputs(step, row, x);
    for (size_t k = 0; k < step->options.components; k++, direction += d) {
        double sum = 0;
        for (size_t i = 0; i < d; i++)
            sum += direction[i] * (x[i] - mean[i]);
        row->values[step->first_output + k] = sum;
    }
    row->tally->values += d;
    return true;
}

const struct trib_prepare_kind trib_prepare_pca = {
    .name = "pca",
    .keys = pca_keys,
    .key_count = sizeof(pca_keys) / sizeof(pca_keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle_pca,
    .sum_count = pca_sums,
    .bounds = pca_bounds,
    .gather = pca_gather,
    .advance = pca_advance,
    .apply = pca_apply,
};

// ---- select: features that say nothing, or the same as another, become 0 and keep their place
//
// Found: n, means (d and the label), 1 for each input that stays and 0 for the others.

static const struct trib_prepare_key select_keys[] = {
    TRIB_PREPARE_KEY("min_variance", TRIB_PREPARE_REAL, min_variance, "0", 0, 1e30, NULL),
    TRIB_PREPARE_KEY("max_correlation", TRIB_PREPARE_REAL, max_correlation, "1", 0, 1, NULL),
    TRIB_PREPARE_KEY("min_label_correlation", TRIB_PREPARE_REAL, min_label_correlation, "0", 0, 1,
                     NULL),
};

static enum trib_err settle_select(const struct trib_prepare_parser *p,
                                   struct trib_prepare_step *step)
{
    if (step->input_count >= INPUTS_MAX)
        return trib_prepare_wrong(p, "select takes fewer than %d columns, not %zu", INPUTS_MAX,
                                  step->input_count);
    for (size_t i = 0; i < step->input_count; i++) {
        struct trib_variable *v = &p->prepare->variables[step->inputs[i]];
        v->column = SIZE_MAX;
        v->min = fmin(v->min, 0);
        v->max = fmax(v->max, 0);
    }
    // The label goes with the inputs as the last of them.
    struct trib_variable *label = &step->was[step->input_count];
    *label = p->prepare->variables[p->prepare->schema->label];
    if (label->levels) {
        label->min = 0;
        label->max = (double)(label->levels - 1);
    }
    step->pass_count = PASSES;
    step->fitted_count = 1 + (step->input_count + 1) + step->input_count;
    return TRIB_OK;
}

static size_t select_sums(const struct trib_prepare_step *step)
{
    return covariance_sums(step->input_count + 1, step->pass);
}

static void select_bounds(const struct trib_prepare_step *step, double *ret_bounds)
{
    covariance_bounds(step->was, step->input_count + 1, step->pass, ret_bounds);
}

static void select_gather(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                          struct trib_prepare_sums *sums, size_t first)
{
    double x[INPUTS_MAX];
    take_inputs(step, row, x);
    x[step->input_count] = row->source[row->prepare->schema->label];
    covariance_gather(step->fitted, step->input_count + 1, step->pass, x, sums, first);
}

// Pearson's; 0 where a variable has no spread.
static double correlation(const double *covariance, size_t count, size_t i, size_t k)
{
    const double square = covariance[i * count + i] * covariance[k * count + k];
    return square > 0 ? fabs(covariance[i * count + k]) / sqrt(square) : 0;
}

// Why an input goes, given which of those before it stay; NULL: it stays too.
static const char *find_fault(const struct trib_prepare_step *step, const double *covariance,
                              const double *stays, size_t input)
{
    const struct trib_prepare_options *o = &step->options;
    const size_t count = step->input_count + 1;
    if (covariance[input * count + input] < o->min_variance)
        return "its variance is below min_variance";
    if (o->min_label_correlation > 0 &&
        correlation(covariance, count, input, count - 1) < o->min_label_correlation)
        return "its correlation with the label is below min_label_correlation";
    for (size_t k = 0; k < input; k++) {
        if (stays[k] > 0 && correlation(covariance, count, input, k) > o->max_correlation)
            return "its correlation with a column before it is above max_correlation";
    }
    return NULL;
}

static enum trib_err select_advance(const struct trib_prepare *prepare,
                                    struct trib_prepare_step *step, const double *totals,
                                    double noise)
{
    const size_t count = step->input_count + 1;
    double *stays = step->fitted + 1 + count;
    if (step->pass == 0) {
        take_means(step->was, count, totals, noise, step->fitted);
        if (step->fitted[0] == 0)
            TRIB_WARN("id=prepare-all-missing step=select %s", no_rows(noise));
        return TRIB_OK;
    }
    double *covariance = trib_alloc_array(count * count, sizeof(*covariance));
    if (!covariance)
        return TRIB_ERR_NOMEM;
    take_covariances(step->fitted, count, totals, noise, covariance);
    for (size_t i = 0; i < step->input_count; i++) {
        const char *fault = find_fault(step, covariance, stays, i);
        stays[i] = fault == NULL;
        if (fault)
            TRIB_INFO("id=prepare-removed step=select column=%s is 0 from now on: %s",
                      trib_prepare_name(prepare, step, i), fault);
    }
    free(covariance);
    return TRIB_OK;
}

static bool select_apply(const struct trib_prepare_step *step, void *state,
                         struct trib_prepare_row *row)
{
    (void)state;
    const double *stays = step->fitted + 2 + step->input_count;
    for (size_t i = 0; i < step->input_count; i++) {
        if (stays[i] > 0)
            continue;
        row->values[step->inputs[i]] = 0;
        row->tally->touched++;
    }
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_select = {
    .name = "select",
    .keys = select_keys,
    .key_count = sizeof(select_keys) / sizeof(select_keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle_select,
    .sum_count = select_sums,
    .bounds = select_bounds,
    .gather = select_gather,
    .advance = select_advance,
    .apply = select_apply,
};
