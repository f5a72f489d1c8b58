// Steps between numbers and categories: onehot, hash, bin.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/data/prepare_stat.h"
#include "common/data/prepare_step.h"

#define TRIB_LOG_MODULE "prepare"

// ---- onehot: a number for each level, one of them 1

static void level_text(const struct trib_prepare *prepare, const struct trib_variable *v,
                       size_t level, char *text, size_t size)
{
    const struct trib_column *c =
        v->column == SIZE_MAX ? NULL : &prepare->schema->columns[v->column];
    if (c && level < c->value_count)
        (void)snprintf(text, size, "%s", c->values[level]);
    else if (c)
        (void)snprintf(text, size, "other");
    else
        (void)snprintf(text, size, "%zu", level);
}

static enum trib_err settle_onehot(const struct trib_prepare_parser *p,
                                   struct trib_prepare_step *step)
{
    const struct trib_variable flag = {.column = SIZE_MAX, .max = 1};
    char level[TRIB_SCHEMA_NAME_MAX + 1];
    for (size_t i = 0; i < step->input_count; i++) {
        size_t after = step->inputs[i];
        for (size_t k = 0; k < step->was[i].levels; k++) {
            level_text(p->prepare, &step->was[i], k, level, sizeof(level));
            enum trib_err err =
                trib_prepare_add(p->prepare, &flag, after, "%s=%s", step->was[i].name, level);
            if (err)
                return err;
            after = p->prepare->variable_count - 1;
        }
        trib_prepare_remove(p->prepare, step->inputs[i]);
    }
    return TRIB_OK;
}

static bool apply_onehot(const struct trib_prepare_step *step, void *state,
                         struct trib_prepare_row *row)
{
    (void)state;
    double *output = row->values + step->first_output;
    for (size_t i = 0; i < step->input_count; i++) {
        const struct trib_variable *v = &step->was[i];
        double x = row->values[step->inputs[i]];
        row->tally->touched += isnan(x);
        if (isnan(x) && v->has_other)
            x = (double)(v->levels - 1);
        for (size_t k = 0; k < v->levels; k++)
            *output++ = isnan(x) ? x : x == (double)k;
    }
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_onehot = {
    .name = "onehot",
    .wants_columns = true,
    .may_use_category = true,
    .settle = settle_onehot,
    .apply = apply_onehot,
};

// ---- hash: a category of fixed size, whatever the values are

static const struct trib_prepare_key hash_keys[] = {
    TRIB_PREPARE_KEY("buckets", TRIB_PREPARE_INT, buckets, "64", 2, 4096, NULL),
    TRIB_PREPARE_KEY("seed", TRIB_PREPARE_INT, seed, "0", 0, 9007199254740991, NULL),
};

static enum trib_err settle_hash(const struct trib_prepare_parser *p,
                                 struct trib_prepare_step *step)
{
    for (size_t i = 0; i < step->input_count; i++) {
        const struct trib_variable bucket = {.column = SIZE_MAX, .levels = step->options.buckets};
        enum trib_err err =
            trib_prepare_add(p->prepare, &bucket, step->inputs[i], "%s hash", step->was[i].name);
        if (err)
            return err;
        trib_prepare_remove(p->prepare, step->inputs[i]);
    }
    return TRIB_OK;
}

// The text of a category's value has the hash that it has in a column of texts.
static uint64_t fingerprint(const struct trib_prepare *prepare, const struct trib_variable *v,
                            double x)
{
    uint64_t bits;
    if (v->levels && v->column != SIZE_MAX && !isnan(x)) {
        const struct trib_column *c = &prepare->schema->columns[v->column];
        x = trib_schema_text_number((size_t)x < c->value_count ? c->values[(size_t)x] : "other");
    }
    x = isnan(x) ? -1 : x + 0.0; // missing values have a bucket; -0 is 0
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

// The finalizer of splitmix64 (Steele, Lea, Flood 2014).
static uint64_t mixed(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool apply_hash(const struct trib_prepare_step *step, void *state,
                       struct trib_prepare_row *row)
{
    (void)state;
    for (size_t i = 0; i < step->input_count; i++) {
        const uint64_t print =
            fingerprint(row->prepare, &step->was[i], row->values[step->inputs[i]]);
        const uint64_t hash = mixed(print + 0x9e3779b97f4a7c15u * (step->options.seed + 1));
        row->values[step->first_output + i] = (double)(hash % step->options.buckets);
    }
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_hash = {
    .name = "hash",
    .keys = hash_keys,
    .key_count = sizeof(hash_keys) / sizeof(hash_keys[0]),
    .wants_columns = true,
    .may_use_any_role = true,
    .may_use_category = true,
    .may_use_number = true,
    .settle = settle_hash,
    .apply = apply_hash,
};

// ---- bin: which interval a number is in; the last level is for missing values

enum {
    BY_EDGES,
    BY_QUANTILES,
    BY_RANGE,
};

static const struct trib_prepare_key bin_keys[] = {
    TRIB_PREPARE_KEY("by", TRIB_PREPARE_CHOICE, by, "edges", 0, 0, "edges|quantiles|range"),
    TRIB_PREPARE_KEY("bins", TRIB_PREPARE_INT, bins, "0", 0, 256, NULL),
    TRIB_PREPARE_KEY("edges", TRIB_PREPARE_EDGES, edges, "", 0, 0, NULL),
};

static size_t bin_count(const struct trib_prepare_step *step)
{
    return step->options.by == BY_EDGES ? step->options.edge_count + 1 : step->options.bins;
}

static enum trib_err settle_bin(const struct trib_prepare_parser *p, struct trib_prepare_step *step)
{
    const struct trib_prepare_options *o = &step->options;
    if (o->by == BY_EDGES && (o->edge_count == 0 || o->bins > 0))
        return trib_prepare_wrong(p, "by = edges wants edges, and no bins");
    if (o->by != BY_EDGES && (o->edge_count > 0 || o->bins < 2))
        return trib_prepare_wrong(p, "by = quantiles or range wants bins of 2 or more, no edges");
    for (size_t i = 0; i < step->input_count; i++) {
        struct trib_variable *v = &p->prepare->variables[step->inputs[i]];
        if (o->by == BY_RANGE && !isfinite(v->max - v->min))
            return trib_prepare_wrong(p, "column '%s' has no declared min and max", v->name);
        v->column = SIZE_MAX;
        v->levels = bin_count(step) + 1;
        v->has_other = true;
    }
    if (o->by == BY_QUANTILES) {
        step->pass_count = TRIB_QUANTILE_PASSES;
        step->fitted_count = step->input_count * trib_quantiles_fitted(o->bins - 1);
    }
    return TRIB_OK;
}

static size_t bin_sums(const struct trib_prepare_step *step)
{
    return trib_quantiles_sums(step->options.bins - 1, step->pass);
}

static size_t bin_sum_count(const struct trib_prepare_step *step)
{
    return step->input_count * bin_sums(step);
}

static void bin_bounds(const struct trib_prepare_step *step, double *ret_bounds)
{
    for (size_t i = 0; i < bin_sum_count(step); i++)
        ret_bounds[i] = 1;
}

static void bin_gather(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                       struct trib_prepare_sums *sums, size_t first)
{
    const size_t asks = step->options.bins - 1;
    for (size_t i = 0; i < step->input_count; i++)
        trib_quantiles_gather(step->fitted + i * trib_quantiles_fitted(asks), asks, step->pass,
                              row->values[step->inputs[i]], sums, first + i * bin_sums(step));
}

static enum trib_err bin_advance(const struct trib_prepare *prepare, struct trib_prepare_step *step,
                                 const double *totals, double noise)
{
    const size_t asks = step->options.bins - 1;
    double quantiles[256];
    for (size_t k = 0; k < asks; k++)
        quantiles[k] = (double)(k + 1) / (double)step->options.bins;
    for (size_t i = 0; i < step->input_count; i++) {
        double *fitted = step->fitted + i * trib_quantiles_fitted(asks);
        trib_quantiles_advance(fitted, quantiles, asks, step->pass, totals + i * bin_sums(step),
                               noise);
        if (step->pass == 0 && fitted[0] == 0)
            TRIB_WARN("id=prepare-all-missing step=bin column=%s %s",
                      trib_prepare_name(prepare, step, i), trib_prepare_nothing(noise));
    }
    return TRIB_OK;
}

static double edge_of(const struct trib_prepare_step *step, size_t input, size_t edge)
{
    const struct trib_prepare_options *o = &step->options;
    const struct trib_variable *v = &step->was[input];
    switch (o->by) {
    case BY_EDGES: return o->edges[edge];
    case BY_QUANTILES:
        return trib_quantiles_value(step->fitted + input * trib_quantiles_fitted(o->bins - 1),
                                    edge);
    default: return v->min + (v->max - v->min) * (double)(edge + 1) / (double)o->bins;
    }
}

// The number of edges that are not above the value: between two equal edges there is nothing, what
// is infinite is in the first bin or the last.
static bool apply_bin(const struct trib_prepare_step *step, void *state,
                      struct trib_prepare_row *row)
{
    (void)state;
    const size_t bins = bin_count(step);
    for (size_t i = 0; i < step->input_count; i++) {
        double *x = &row->values[step->inputs[i]];
        size_t bin = 0;
        for (size_t k = 0; k + 1 < bins; k++)
            bin += edge_of(step, i, k) <= *x;
        row->tally->touched += isnan(*x);
        *x = (double)(isnan(*x) ? bins : bin);
    }
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_bin = {
    .name = "bin",
    .keys = bin_keys,
    .key_count = sizeof(bin_keys) / sizeof(bin_keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle_bin,
    .sum_count = bin_sum_count,
    .bounds = bin_bounds,
    .gather = bin_gather,
    .advance = bin_advance,
    .apply = apply_bin,
};
