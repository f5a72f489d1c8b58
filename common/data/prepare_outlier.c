// outlier: values that lie too far from the rest, by what the fleet says is far.
#include <math.h>

#include "common/base/log.h"
#include "common/data/prepare_stat.h"
#include "common/data/prepare_step.h"

#define TRIB_LOG_MODULE "prepare"

enum {
    BY_ZSCORE,   // mean and standard deviation
    BY_IQR,      // quartiles and what is between them (Tukey 1977)
    BY_MAD,      // median, and median of the distances from it (Hampel 1974)
    BY_QUANTILE, // winsorising: the quantiles themselves

    ACT_CLIP = 0,
    ACT_DROP,
    ACT_MISSING, // as if there had been no value, for an impute step behind it

    MAD_FITTED = 3, // of the median, and again of the distances
};

static const struct trib_prepare_key keys[] = {
    TRIB_PREPARE_KEY("by", TRIB_PREPARE_CHOICE, by, "zscore", 0, 0, "zscore|iqr|mad|quantile"),
    TRIB_PREPARE_KEY("limit", TRIB_PREPARE_REAL, limit, "0", 0, 1e6, NULL),
    TRIB_PREPARE_KEY("lower", TRIB_PREPARE_REAL, lower, "0.01", 0, 1, NULL),
    TRIB_PREPARE_KEY("upper", TRIB_PREPARE_REAL, upper, "0.99", 0, 1, NULL),
    TRIB_PREPARE_KEY("act", TRIB_PREPARE_CHOICE, act, "clip", 0, 0, "clip|drop|missing"),
};

static bool uses_quantiles(const struct trib_prepare_step *step)
{
    return step->options.by == BY_IQR || step->options.by == BY_QUANTILE;
}

// Numbers kept of each input.
static size_t fitted_size(const struct trib_prepare_step *step)
{
    if (uses_quantiles(step))
        return trib_quantiles_fitted(2);
    return step->options.by == BY_MAD ? 2 * MAD_FITTED : TRIB_MOMENTS_FITTED;
}

static enum trib_err settle(const struct trib_prepare_parser *p, struct trib_prepare_step *step)
{
    static const size_t passes[] = {[BY_ZSCORE] = TRIB_MOMENTS_PASSES,
                                    [BY_IQR] = TRIB_QUANTILE_PASSES,
                                    [BY_MAD] = 2 * TRIB_QUANTILE_PASSES,
                                    [BY_QUANTILE] = TRIB_QUANTILE_PASSES};
    static const double limits[] = {[BY_ZSCORE] = 3, [BY_IQR] = 1.5, [BY_MAD] = 3.5};
    struct trib_prepare_options *o = &step->options;
    if (o->by == BY_QUANTILE && o->lower >= o->upper)
        return trib_prepare_wrong(p, "lower must be below upper");
    if (o->by == BY_QUANTILE && o->limit > 0)
        return trib_prepare_wrong(p, "by = quantile has lower and upper, and no limit");
    if (o->by != BY_QUANTILE && o->limit == 0)
        o->limit = limits[o->by];
    step->drops_rows = o->act == ACT_DROP;
    step->pass_count = passes[o->by];
    step->fitted_count = step->input_count * fitted_size(step);
    return TRIB_OK;
}

// ---- Statistics

static size_t input_sums(const struct trib_prepare_step *step)
{
    if (uses_quantiles(step))
        return trib_quantiles_sums(2, step->pass);
    if (step->options.by == BY_MAD)
        return trib_quantiles_sums(1, step->pass % TRIB_QUANTILE_PASSES);
    return trib_moments_sums(step->pass);
}

static size_t sum_count(const struct trib_prepare_step *step)
{
    return step->input_count * input_sums(step);
}

static void bounds(const struct trib_prepare_step *step, double *ret_bounds)
{
    const size_t size = input_sums(step);
    for (size_t i = 0; i < step->input_count; i++, ret_bounds += size) {
        const struct trib_variable *v = &step->was[i];
        for (size_t k = 0; k < size; k++)
            ret_bounds[k] = 1;
        if (step->options.by == BY_ZSCORE)
            trib_moments_bounds(step->pass, fmax(fabs(v->min), fabs(v->max)), v->max - v->min,
                                ret_bounds);
    }
}

static void gather(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                   struct trib_prepare_sums *sums, size_t first)
{
    for (size_t i = 0; i < step->input_count; i++, first += input_sums(step)) {
        const double *fitted = step->fitted + i * fitted_size(step);
        const double x = row->values[step->inputs[i]];
        if (uses_quantiles(step))
            trib_quantiles_gather(fitted, 2, step->pass, x, sums, first);
        else if (step->options.by == BY_ZSCORE)
            trib_moments_gather(fitted, step->pass, x, sums, first);
        else if (step->pass < TRIB_QUANTILE_PASSES)
            trib_quantiles_gather(fitted, 1, step->pass, x, sums, first);
        else
            trib_quantiles_gather(fitted + MAD_FITTED, 1, step->pass - TRIB_QUANTILE_PASSES,
                                  fabs(x - trib_quantiles_value(fitted, 0)), sums, first);
    }
}

// The limits of an input; infinite where the values have no spread.
static void find_limits(const struct trib_prepare_step *step, size_t input, double *ret_low,
                        double *ret_high)
{
    const struct trib_prepare_options *o = &step->options;
    const double *fitted = step->fitted + input * fitted_size(step);
    double low, high, reach;
    if (uses_quantiles(step)) {
        low = trib_quantiles_value(fitted, 0);
        high = trib_quantiles_value(fitted, 1);
        reach = o->by == BY_IQR ? o->limit * (high - low) : 0;
    } else if (o->by == BY_MAD) {
        // 1.4826 makes of it the standard deviation where values are normal.
        low = high = trib_quantiles_value(fitted, 0);
        reach = o->limit * 1.4826 * trib_quantiles_value(fitted + MAD_FITTED, 0);
    } else {
        low = high = fitted[1];
        reach = o->limit * fitted[2];
    }
    const bool has_spread = o->by == BY_QUANTILE ? high > low : reach > 0;
    // What is clipped to a limit stays in the range that later steps rely on.
    const struct trib_variable *v = &step->was[input];
    *ret_low = has_spread ? fmin(fmax(low - reach, v->min), v->max) : -(double)INFINITY;
    *ret_high = has_spread ? fmin(fmax(high + reach, v->min), v->max) : (double)INFINITY;
}

static void advance_input(struct trib_prepare_step *step, size_t input, const double *totals,
                          double noise)
{
    const struct trib_prepare_options *o = &step->options;
    static const double half[] = {0.5};
    const double quartiles[] = {0.25, 0.75};
    const double ends[] = {o->lower, o->upper};
    double *fitted = step->fitted + input * fitted_size(step);
    const bool is_far = step->pass >= TRIB_QUANTILE_PASSES; // mad: the distances
    if (uses_quantiles(step))
        trib_quantiles_advance(fitted, o->by == BY_IQR ? quartiles : ends, 2, step->pass, totals,
                               noise);
    else if (o->by == BY_MAD)
        trib_quantiles_advance(fitted + (is_far ? MAD_FITTED : 0), half, 1,
                               step->pass % TRIB_QUANTILE_PASSES, totals, noise);
    else
        trib_moments_advance(fitted, step->pass, totals, noise);
    if (o->by == BY_ZSCORE)
        trib_moments_confine(fitted, step->pass, step->was[input].min, step->was[input].max, noise);
}

static enum trib_err advance(const struct trib_prepare *prepare, struct trib_prepare_step *step,
                             const double *totals, double noise)
{
    for (size_t i = 0; i < step->input_count; i++) {
        double low, high;
        const char *name = trib_prepare_name(prepare, step, i);
        advance_input(step, i, totals + i * input_sums(step), noise);
        if (step->pass == 0 && step->fitted[i * fitted_size(step)] == 0)
            TRIB_WARN("id=prepare-all-missing step=outlier column=%s %s", name,
                      trib_prepare_nothing(noise));
        if (step->pass + 1 < step->pass_count)
            continue;
        find_limits(step, i, &low, &high);
        if (isinf(low))
            TRIB_WARN("id=prepare-constant step=outlier column=%s has no spread; none of its "
                      "values is an outlier",
                      name);
    }
    return TRIB_OK;
}

// ---- Rows

static bool apply(const struct trib_prepare_step *step, void *state, struct trib_prepare_row *row)
{
    (void)state;
    bool is_kept = true;
    for (size_t i = 0; i < step->input_count; i++) {
        double low, high;
        double *x = &row->values[step->inputs[i]];
        find_limits(step, i, &low, &high);
        if (!(*x < low || *x > high)) // missing stays missing
            continue;
        row->tally->touched++;
        is_kept = step->options.act != ACT_DROP;
        *x = step->options.act == ACT_MISSING ? (double)NAN : *x < low ? low : high;
    }
    row->tally->values += step->input_count;
    return is_kept;
}

const struct trib_prepare_kind trib_prepare_outlier = {
    .name = "outlier",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle,
    .sum_count = sum_count,
    .bounds = bounds,
    .gather = gather,
    .advance = advance,
    .apply = apply,
};
