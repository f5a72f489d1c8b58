// Steps that change the scale of a number: minmax, standardise, log1p and expm1, power.
#include <math.h>

#include "common/base/log.h"
#include "common/data/prepare_stat.h"
#include "common/data/prepare_step.h"

#define TRIB_LOG_MODULE "prepare"

static double clipped(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x; // NaN stays
}

// ---- standardise: (x - mean) / standard deviation

static const struct trib_prepare_key standardise_keys[] = {
    TRIB_PREPARE_KEY("clip", TRIB_PREPARE_REAL, clip, "0", 0, 1e6, NULL),
};

static enum trib_err settle_standardise(const struct trib_prepare_parser *p,
                                        struct trib_prepare_step *step)
{
    const double clip = step->options.clip > 0 ? step->options.clip : (double)INFINITY;
    step->pass_count = TRIB_MOMENTS_PASSES;
    step->fitted_count = step->input_count * TRIB_MOMENTS_FITTED;
    for (size_t i = 0; i < step->input_count; i++) {
        struct trib_variable *v = &p->prepare->variables[step->inputs[i]];
        v->column = SIZE_MAX; // no longer what the file says
        v->min = -clip;
        v->max = clip;
    }
    return TRIB_OK;
}

static size_t moments_count(const struct trib_prepare_step *step)
{
    return step->input_count * trib_moments_sums(step->pass);
}

static void moments_bounds(const struct trib_prepare_step *step, double *ret_bounds)
{
    for (size_t i = 0; i < step->input_count; i++) {
        const struct trib_variable *v = &step->was[i];
        trib_moments_bounds(step->pass, fmax(fabs(v->min), fabs(v->max)), v->max - v->min,
                            ret_bounds + i * trib_moments_sums(step->pass));
    }
}

static void moments_gather(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                           struct trib_prepare_sums *sums, size_t first)
{
    const size_t size = trib_moments_sums(step->pass);
    for (size_t i = 0; i < step->input_count; i++)
        trib_moments_gather(step->fitted + i * TRIB_MOMENTS_FITTED, step->pass,
                            row->values[step->inputs[i]], sums, first + i * size);
}

static enum trib_err advance_standardise(const struct trib_prepare *prepare,
                                         struct trib_prepare_step *step, const double *totals,
                                         double noise)
{
    const size_t size = trib_moments_sums(step->pass);
    for (size_t i = 0; i < step->input_count; i++) {
        double *fitted = step->fitted + i * TRIB_MOMENTS_FITTED;
        trib_moments_advance(fitted, step->pass, totals + i * size, noise);
        trib_moments_confine(fitted, step->pass, step->was[i].min, step->was[i].max, noise);
        const char *name = trib_prepare_name(prepare, step, i);
        if (step->pass == 0 && fitted[0] == 0)
            TRIB_WARN("id=prepare-all-missing step=standardise column=%s %s; mean %g and %s stand "
                      "for it",
                      name, trib_prepare_nothing(noise), fitted[1],
                      noise > 0 ? "a quarter of its range" : "scale 1");
        else if (step->pass == 1 && fitted[2] == 0)
            TRIB_WARN("id=prepare-constant step=standardise column=%s has one value on all "
                      "devices; its scale is 1",
                      name);
    }
    return TRIB_OK;
}

static bool apply_standardise(const struct trib_prepare_step *step, void *state,
                              struct trib_prepare_row *row)
{
    (void)state;
    const double clip = step->options.clip;
    for (size_t i = 0; i < step->input_count; i++) {
        const double *fitted = step->fitted + i * TRIB_MOMENTS_FITTED;
        double *x = &row->values[step->inputs[i]];
        const double z = (*x - fitted[1]) / (fitted[2] > 0 ? fitted[2] : 1);
        *x = clip > 0 ? clipped(z, -clip, clip) : z;
        row->tally->touched += clip > 0 && fabs(z) > clip;
    }
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_standardise = {
    .name = "standardise",
    .keys = standardise_keys,
    .key_count = sizeof(standardise_keys) / sizeof(standardise_keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle_standardise,
    .sum_count = moments_count,
    .bounds = moments_bounds,
    .gather = moments_gather,
    .advance = advance_standardise,
    .apply = apply_standardise,
};

// ---- minmax: from the range of the values, or the declared one, to [low, high]

enum {
    FROM_DATA,
    FROM_DECLARED,
    ENDS = 2, // the quantiles 0 and 1
};

static const struct trib_prepare_key minmax_keys[] = {
    TRIB_PREPARE_KEY("from", TRIB_PREPARE_CHOICE, from, "data", 0, 0, "data|declared"),
    TRIB_PREPARE_KEY("low", TRIB_PREPARE_REAL, low, "0", -1e6, 1e6, NULL),
    TRIB_PREPARE_KEY("high", TRIB_PREPARE_REAL, high, "1", -1e6, 1e6, NULL),
};

static enum trib_err settle_minmax(const struct trib_prepare_parser *p,
                                   struct trib_prepare_step *step)
{
    const struct trib_prepare_options *o = &step->options;
    if (o->low >= o->high)
        return trib_prepare_wrong(p, "low must be below high");
    for (size_t i = 0; i < step->input_count; i++) {
        struct trib_variable *v = &p->prepare->variables[step->inputs[i]];
        if (o->from == FROM_DECLARED && (!isfinite(v->min) || !isfinite(v->max)))
            return trib_prepare_wrong(p, "column '%s' has no declared min and max", v->name);
        v->column = SIZE_MAX;
        v->min = o->low;
        v->max = o->high;
    }
    if (o->from == FROM_DATA) {
        step->pass_count = TRIB_QUANTILE_PASSES;
        step->fitted_count = step->input_count * trib_quantiles_fitted(ENDS);
    }
    return TRIB_OK;
}

static size_t minmax_count(const struct trib_prepare_step *step)
{
    return step->input_count * trib_quantiles_sums(ENDS, step->pass);
}

static void minmax_bounds(const struct trib_prepare_step *step, double *ret_bounds)
{
    for (size_t i = 0; i < minmax_count(step); i++)
        ret_bounds[i] = 1;
}

static void minmax_gather(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                          struct trib_prepare_sums *sums, size_t first)
{
    const size_t size = trib_quantiles_sums(ENDS, step->pass);
    for (size_t i = 0; i < step->input_count; i++)
        trib_quantiles_gather(step->fitted + i * trib_quantiles_fitted(ENDS), ENDS, step->pass,
                              row->values[step->inputs[i]], sums, first + i * size);
}

// Noise must not lead out of the declared range, which is what there is where nothing stands out.
static void confine_ends(double *fitted, const struct trib_variable *v, double noise)
{
    for (size_t end = 0; noise > 0 && end < ENDS; end++) {
        double *value = &fitted[1 + end * TRIB_QUANTILE_FITTED];
        const double declared = end == 0 ? v->min : v->max;
        const bool is_known = fitted[0] > 0 || !isfinite(declared);
        *value = is_known ? fmin(fmax(*value, v->min), v->max) : declared;
    }
}

static enum trib_err advance_minmax(const struct trib_prepare *prepare,
                                    struct trib_prepare_step *step, const double *totals,
                                    double noise)
{
    static const double ends[ENDS] = {0, 1};
    const size_t size = trib_quantiles_sums(ENDS, step->pass);
    for (size_t i = 0; i < step->input_count; i++) {
        double *fitted = step->fitted + i * trib_quantiles_fitted(ENDS);
        trib_quantiles_advance(fitted, ends, ENDS, step->pass, totals + i * size, noise);
        const char *name = trib_prepare_name(prepare, step, i);
        const bool is_last = step->pass + 1 == TRIB_QUANTILE_PASSES;
        if (is_last)
            confine_ends(fitted, &step->was[i], noise);
        if (step->pass == 0 && fitted[0] == 0)
            TRIB_WARN("id=prepare-all-missing step=minmax column=%s %s; the range %s stands for it",
                      name, trib_prepare_nothing(noise),
                      noise > 0 ? "that the schema declares" : "0 to 1");
        else if (is_last && fitted[0] > 0 &&
                 trib_quantiles_value(fitted, 0) == trib_quantiles_value(fitted, 1))
            TRIB_WARN("id=prepare-constant step=minmax column=%s has one value on all devices; its "
                      "scale is 1",
                      name);
    }
    return TRIB_OK;
}

static bool apply_minmax(const struct trib_prepare_step *step, void *state,
                         struct trib_prepare_row *row)
{
    (void)state;
    const struct trib_prepare_options *o = &step->options;
    for (size_t i = 0; i < step->input_count; i++) {
        const double *fitted = step->fitted + i * trib_quantiles_fitted(ENDS);
        const bool is_declared = o->from == FROM_DECLARED;
        const double least = is_declared ? step->was[i].min : trib_quantiles_value(fitted, 0);
        const double most = is_declared ? step->was[i].max : trib_quantiles_value(fitted, 1);
        double *x = &row->values[step->inputs[i]];
        row->tally->touched += *x < least || *x > most;
        const double share = (*x - least) / (most > least ? most - least : 1);
        *x = o->low + (o->high - o->low) * clipped(share, 0, 1);
    }
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_minmax = {
    .name = "minmax",
    .keys = minmax_keys,
    .key_count = sizeof(minmax_keys) / sizeof(minmax_keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle_minmax,
    .sum_count = minmax_count,
    .bounds = minmax_bounds,
    .gather = minmax_gather,
    .advance = advance_minmax,
    .apply = apply_minmax,
};

// ---- log1p, expm1, power: odd functions, so that what is negative has a place too

static double signed_log1p(double x, double unused)
{
    (void)unused;
    return copysign(log1p(fabs(x)), x);
}

static double signed_expm1(double x, double unused)
{
    (void)unused;
    return copysign(expm1(fabs(x)), x);
}

static double signed_power(double x, double exponent)
{
    return copysign(pow(fabs(x), exponent), x);
}

// All three rise, so that the ends of a range go to the ends of another.
static enum trib_err settle_function(const struct trib_prepare_parser *p,
                                     const struct trib_prepare_step *step,
                                     double (*function)(double, double))
{
    for (size_t i = 0; i < step->input_count; i++) {
        struct trib_variable *v = &p->prepare->variables[step->inputs[i]];
        v->column = SIZE_MAX;
        v->min = function(v->min, step->options.exponent);
        v->max = function(v->max, step->options.exponent);
    }
    return TRIB_OK;
}

static bool apply_function(const struct trib_prepare_step *step, struct trib_prepare_row *row,
                           double (*function)(double, double))
{
    for (size_t i = 0; i < step->input_count; i++) {
        double *x = &row->values[step->inputs[i]];
        *x = function(*x, step->options.exponent);
    }
    row->tally->values += step->input_count;
    return true;
}

static enum trib_err settle_log1p(const struct trib_prepare_parser *p,
                                  struct trib_prepare_step *step)
{
    return settle_function(p, step, signed_log1p);
}

static bool apply_log1p(const struct trib_prepare_step *step, void *state,
                        struct trib_prepare_row *row)
{
    (void)state;
    return apply_function(step, row, signed_log1p);
}

const struct trib_prepare_kind trib_prepare_log1p = {
    .name = "log1p",
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle_log1p,
    .apply = apply_log1p,
};

static enum trib_err settle_expm1(const struct trib_prepare_parser *p,
                                  struct trib_prepare_step *step)
{
    return settle_function(p, step, signed_expm1);
}

static bool apply_expm1(const struct trib_prepare_step *step, void *state,
                        struct trib_prepare_row *row)
{
    (void)state;
    return apply_function(step, row, signed_expm1);
}

const struct trib_prepare_kind trib_prepare_expm1 = {
    .name = "expm1",
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle_expm1,
    .apply = apply_expm1,
};

static const struct trib_prepare_key power_keys[] = {
    TRIB_PREPARE_KEY("exponent", TRIB_PREPARE_REAL, exponent, "0.5", 1e-3, 1e3, NULL),
};

static enum trib_err settle_power(const struct trib_prepare_parser *p,
                                  struct trib_prepare_step *step)
{
    return settle_function(p, step, signed_power);
}

static bool apply_power(const struct trib_prepare_step *step, void *state,
                        struct trib_prepare_row *row)
{
    (void)state;
    return apply_function(step, row, signed_power);
}

const struct trib_prepare_kind trib_prepare_power = {
    .name = "power",
    .keys = power_keys,
    .key_count = sizeof(power_keys) / sizeof(power_keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle_power,
    .apply = apply_power,
};
