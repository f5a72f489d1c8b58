// impute: what stands for a missing value.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/data/prepare_stat.h"
#include "common/data/prepare_step.h"

#define TRIB_LOG_MODULE "prepare"

enum {
    WITH_DROP,
    WITH_MEAN,
    WITH_MEDIAN,
    WITH_MODE,
    WITH_CONSTANT,
    WITH_FORWARD, // the last value before it; at the beginning the mean, or the mode of a category
    WITH_INTERPOLATE, // on the line from the last value before it to the next behind it; where one of
                      // them is not there the other, and without both the mean

    FITTED = 3,       // of each input: n, and what stands for a missing value
    MODE_SPAN = 4096, // whole numbers of which the mode is counted
};

static const double half[1] = {0.5};

static const struct trib_prepare_key keys[] = {
    TRIB_PREPARE_KEY("with", TRIB_PREPARE_CHOICE, with, "mean", 0, 0,
                     "drop|mean|median|mode|constant|forward|interpolate"),
    TRIB_PREPARE_KEY("value", TRIB_PREPARE_TEXT, text, "", 0, 0, NULL),
    TRIB_PREPARE_KEY("indicator", TRIB_PREPARE_BOOL, indicator, "no", 0, 0, NULL),
};

// Of which statistic an input is made: `forward` and `interpolate` fall back on one of the others.
static int method_of(const struct trib_prepare_step *step, size_t input)
{
    if (step->options.with == WITH_INTERPOLATE)
        return WITH_MEAN;
    if (step->options.with == WITH_FORWARD)
        return step->was[input].levels ? WITH_MODE : WITH_MEAN;
    return step->options.with;
}

// Levels that are counted, from the first: of a category, or whole numbers from min to max.
static size_t level_count(const struct trib_variable *v)
{
    return v->levels ? v->levels : (size_t)(v->max - v->min) + 1;
}

static bool has_levels(const struct trib_prepare *prepare, const struct trib_variable *v)
{
    if (v->levels)
        return true;
    const enum trib_column_type type =
        v->column == SIZE_MAX ? TRIB_COLUMN_REAL : prepare->schema->columns[v->column].type;
    return (type == TRIB_COLUMN_INT || type == TRIB_COLUMN_BOOL) && floor(v->min) == v->min &&
           v->max - v->min < MODE_SPAN;
}

static enum trib_err settle_constant(const struct trib_prepare_parser *p,
                                     const struct trib_prepare_step *step, size_t input)
{
    const struct trib_variable *was = &step->was[input];
    const char *text = step->options.text;
    struct trib_variable *v = &p->prepare->variables[step->inputs[input]];
    char *end;
    if (!was->levels) {
        const double value = strtod(text, &end);
        if (!*text || *end || !isfinite(value))
            return trib_prepare_wrong(p, "value wants a number for column '%s'", v->name);
        v->min = fmin(v->min, value);
        v->max = fmax(v->max, value);
        return TRIB_OK;
    }
    if (was->column == SIZE_MAX)
        return trib_prepare_wrong(p, "column '%s' has no values of its own", v->name);
    const struct trib_column *c = &p->prepare->schema->columns[was->column];
    for (size_t i = 0; i < c->value_count; i++) {
        if (strcmp(c->values[i], text) == 0)
            return TRIB_OK;
    }
    return trib_prepare_wrong(p, "value '%s' is none of column '%s'", text, v->name);
}

static enum trib_err settle_input(const struct trib_prepare_parser *p,
                                  const struct trib_prepare_step *step, size_t input)
{
    const struct trib_variable *was = &step->was[input];
    const int method = method_of(step, input);
    if (was->levels && (method == WITH_MEAN || method == WITH_MEDIAN))
        return trib_prepare_wrong(p,
                                  "column '%s' is a category: it has neither mean nor median, and "
                                  "nothing is between its values",
                                  was->name);
    if (method == WITH_MODE && !has_levels(p->prepare, was))
        return trib_prepare_wrong(p,
                                  "column '%s' has no mode: it is neither category nor bool, nor "
                                  "int with min and max less than %d apart",
                                  was->name, MODE_SPAN);
    enum trib_err err = TRIB_OK;
    if (method == WITH_CONSTANT)
        err = settle_constant(p, step, input);
    const struct trib_variable indicator = {.column = SIZE_MAX, .max = 1};
    if (!err && step->options.indicator)
        err =
            trib_prepare_add(p->prepare, &indicator, step->inputs[input], "%s missing", was->name);
    return err;
}

static enum trib_err settle(const struct trib_prepare_parser *p, struct trib_prepare_step *step)
{
    static const size_t passes[] = {[WITH_MEAN] = 1,    [WITH_MEDIAN] = TRIB_QUANTILE_PASSES,
                                    [WITH_MODE] = 1,    [WITH_CONSTANT] = 0,
                                    [WITH_FORWARD] = 1, [WITH_INTERPOLATE] = 1};
    const struct trib_prepare_options *o = &step->options;
    if (o->text[0] && o->with != WITH_CONSTANT)
        return trib_prepare_wrong(p, "value is for with = constant");
    if (o->indicator && o->with == WITH_DROP)
        return trib_prepare_wrong(p, "indicator is no use when rows are dropped");
    step->drops_rows = o->with == WITH_DROP;
    step->pass_count = passes[o->with];
    step->fitted_count = step->pass_count ? step->input_count * FITTED : 0;
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; !err && i < step->input_count; i++)
        err = settle_input(p, step, i);
    return err;
}

// ---- Statistics

static size_t input_sums(const struct trib_prepare_step *step, size_t input)
{
    switch (method_of(step, input)) {
    case WITH_MEAN: return trib_moments_sums(0);
    case WITH_MEDIAN: return trib_quantiles_sums(1, step->pass);
    default: return level_count(&step->was[input]);
    }
}

static size_t sum_count(const struct trib_prepare_step *step)
{
    size_t count = 0;
    for (size_t i = 0; i < step->input_count; i++)
        count += input_sums(step, i);
    return count;
}

static void bounds(const struct trib_prepare_step *step, double *ret_bounds)
{
    for (size_t i = 0; i < step->input_count; i++) {
        const struct trib_variable *v = &step->was[i];
        const size_t size = input_sums(step, i);
        for (size_t k = 0; k < size; k++)
            ret_bounds[k] = 1;
        if (method_of(step, i) == WITH_MEAN)
            trib_moments_bounds(0, fmax(fabs(v->min), fabs(v->max)), v->max - v->min, ret_bounds);
        ret_bounds += size;
    }
}

// What a step before made of a value need not be one of its column's.
static void count_level(const struct trib_variable *v, double x, struct trib_prepare_sums *sums,
                        size_t first)
{
    const double level = v->levels ? x : x - v->min;
    if (level >= 0 && level < (double)level_count(v)) // false for a missing one
        trib_prepare_sums_add(sums, first + (size_t)level, 1);
}

static void gather(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                   struct trib_prepare_sums *sums, size_t first)
{
    for (size_t i = 0; i < step->input_count; i++) {
        const double x = row->values[step->inputs[i]];
        const double *fitted = step->fitted + i * FITTED;
        const struct trib_variable *v = &step->was[i];
        const int method = method_of(step, i);
        if (method == WITH_MEAN)
            trib_moments_gather(fitted, 0, x, sums, first);
        else if (method == WITH_MEDIAN)
            trib_quantiles_gather(fitted, 1, step->pass, x, sums, first);
        else
            count_level(v, x, sums, first);
        first += input_sums(step, i);
    }
}

static void advance_mode(const struct trib_variable *v, double *fitted, const double *totals)
{
    const size_t count = level_count(v);
    const size_t mode = trib_counts_mode(totals, count);
    fitted[0] = 0;
    for (size_t k = 0; k < count; k++)
        fitted[0] += totals[k] > 0 ? totals[k] : 0;
    const double level = mode < count ? (double)mode : 0;
    fitted[1] = v->levels ? level : v->min + level;
}

static enum trib_err advance(const struct trib_prepare *prepare, struct trib_prepare_step *step,
                             const double *totals, double noise)
{
    for (size_t i = 0; i < step->input_count; i++) {
        double *fitted = step->fitted + i * FITTED;
        const int method = method_of(step, i);
        if (method == WITH_MEAN)
            trib_moments_advance(fitted, 0, totals, noise);
        else if (method == WITH_MEDIAN)
            trib_quantiles_advance(fitted, half, 1, step->pass, totals, noise);
        else
            advance_mode(&step->was[i], fitted, totals);
        // Noise, or no value at all, must not lead out of the range that later steps rely on.
        if (!step->was[i].levels && step->pass + 1 == step->pass_count)
            fitted[1] = fmin(fmax(fitted[1], step->was[i].min), step->was[i].max);
        totals += input_sums(step, i);
        if (step->pass == 0 && fitted[0] == 0)
            TRIB_WARN("id=prepare-all-missing step=impute column=%s %s; %s stands for it",
                      trib_prepare_name(prepare, step, i), trib_prepare_nothing(noise),
                      step->was[i].levels ? "its first value" : "0, or the least it may be,");
    }
    return TRIB_OK;
}

// ---- Rows

static double constant_of(const struct trib_prepare *prepare, const struct trib_prepare_step *step,
                          size_t input)
{
    const struct trib_variable *v = &step->was[input];
    const char *text = step->options.text;
    if (!v->levels)
        return strtod(text, &(char *){NULL});
    const struct trib_column *c = &prepare->schema->columns[v->column];
    size_t level = 0;
    while (strcmp(c->values[level], text) != 0)
        level++;
    return (double)level;
}

static bool looks_ahead(const struct trib_prepare_step *step)
{
    return step->options.with == WITH_INTERPOLATE;
}

static bool remembers(const struct trib_prepare_step *step)
{
    return step->options.with == WITH_FORWARD || looks_ahead(step);
}

// One input, in place: `width` numbers from one row to the next.
static void interpolate(double *values, size_t width, const double *places, size_t rows)
{
    size_t before = SIZE_MAX, gap = 0; // the last row with a value, the first without behind it
    for (size_t r = 0; r <= rows; r++) {
        const bool is_end = r == rows;
        if (!is_end && (isnan(places[r]) || isnan(values[r * width])))
            continue;
        for (; gap < r; gap++) {
            double *x = &values[gap * width];
            if (is_end || before == SIZE_MAX) {
                const size_t only = is_end ? before : r;
                *x = only == SIZE_MAX ? (double)NAN : values[only * width];
                continue;
            }
            const double all = places[r] - places[before];
            const double share = all > 0 ? (places[gap] - places[before]) / all
                                         : (double)(gap - before) / (double)(r - before);
            *x = values[before * width] + share * (values[r * width] - values[before * width]);
        }
        before = r;
        gap = r + 1;
    }
}

static void foresee(const struct trib_prepare_step *step, double *inputs, const double *places,
                    size_t rows)
{
    for (size_t i = 0; i < step->input_count; i++)
        interpolate(inputs + i, step->input_count, places, rows);
}

static size_t state_size(const struct trib_prepare_step *step)
{
    return remembers(step) ? step->input_count * sizeof(double[2]) : 0;
}

static double filling(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                      size_t input, const double *last)
{
    if (step->options.with == WITH_CONSTANT)
        return constant_of(row->prepare, step, input);
    if (row->ahead && !isnan(row->ahead[input]))
        return row->ahead[input];
    if (last && last[0] > 0)
        return last[1];
    return step->fitted[input * FITTED + 1];
}

static bool apply(const struct trib_prepare_step *step, void *state, struct trib_prepare_row *row)
{
    double(*last)[2] = state; // of each input: was there one, and which
    size_t missing = 0;
    for (size_t i = 0; i < step->input_count; i++) {
        double *x = &row->values[step->inputs[i]];
        const bool is_missing = isnan(*x);
        missing += is_missing;
        if (step->options.with == WITH_DROP)
            continue;
        if (step->options.indicator)
            row->values[step->first_output + i] = is_missing;
        if (is_missing)
            *x = filling(step, row, i, last ? last[i] : NULL);
        if (last && !is_missing) {
            last[i][0] = 1;
            last[i][1] = *x;
        }
    }
    row->tally->values += step->input_count;
    row->tally->touched += missing;
    return step->options.with != WITH_DROP || missing == 0;
}

const struct trib_prepare_kind trib_prepare_impute = {
    .name = "impute",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
    .wants_columns = true,
    .may_use_category = true,
    .may_use_number = true,
    .settle = settle,
    .sum_count = sum_count,
    .bounds = bounds,
    .gather = gather,
    .advance = advance,
    .looks_ahead = looks_ahead,
    .foresee = foresee,
    .state_size = state_size,
    .apply = apply,
};
