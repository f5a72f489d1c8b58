#include "common/data/fallback.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void trib_fallback_destroy(struct trib_fallback *fallback)
{
    if (!fallback)
        return;
    for (size_t i = 0; i < fallback->count; i++) {
        free(fallback->entries[i].outputs);
        free(fallback->entries[i].centre);
    }
    free(fallback->entries);
    free(fallback->columns);
    free(fallback);
}

enum trib_err trib_fallback_check(const struct trib_fallback *fallback,
                                  const struct trib_model *model, size_t features, char *why,
                                  size_t why_size)
{
    for (size_t i = 0; features && fallback->features && i < fallback->count; i++) {
        const struct trib_fallback_entry *entry = &fallback->entries[i];
        if (entry->kind != TRIB_FALLBACK_CLUSTER || fallback->features == features)
            continue;
        (void)snprintf(why, why_size,
                       "%s:%zu: %s: centre has %zu numbers, and a row has %zu features",
                       fallback->name, entry->line, entry->by, fallback->features, features);
        return TRIB_ERR_INVAL;
    }
    if (!model)
        return TRIB_OK;
    if (fallback->are_values != (model->classes == 0)) {
        (void)snprintf(why, why_size, "%s: outputs_are must be %s: so are those of the model",
                       fallback->name, model->classes ? "probabilities" : "values");
        return TRIB_ERR_INVAL;
    }
    if (fallback->output_count != model->outputs) {
        (void)snprintf(why, why_size, "%s:%zu: %s: outputs has %zu numbers, the model has %u",
                       fallback->name, fallback->entries[0].line, fallback->entries[0].by,
                       fallback->output_count, model->outputs);
        return TRIB_ERR_INVAL;
    }
    return TRIB_OK;
}

// ---- A row

static double distance_to(const struct trib_fallback *fallback, const float *centre, const float *x)
{
    double sum = 0;
    for (size_t i = 0; i < fallback->features; i++) {
        const double difference = (double)x[i] - (double)centre[i];
        sum += difference * difference;
    }
    return sqrt(sum);
}

static bool holds(const struct trib_fallback_condition *condition, double value)
{
    if (isnan(value))
        return false;
    switch (condition->comparison) {
    case TRIB_COMPARE_LESS: return value < condition->value;
    case TRIB_COMPARE_AT_MOST: return value <= condition->value;
    case TRIB_COMPARE_MORE: return value > condition->value;
    case TRIB_COMPARE_AT_LEAST: return value >= condition->value;
    case TRIB_COMPARE_EQUAL: return value == condition->value;
    case TRIB_COMPARE_OTHER: return value != condition->value;
    }
    return false;
}

static bool applies(const struct trib_fallback_entry *rule, const double *values)
{
    for (size_t i = 0; i < rule->condition_count; i++) {
        if (!holds(&rule->conditions[i], values[rule->conditions[i].column]))
            return false;
    }
    return true;
}

struct trib_fallback_entry *trib_fallback_find(const struct trib_fallback *fallback, const float *x,
                                               const double *values)
{
    struct trib_fallback_entry *found[TRIB_FALLBACK_DEFAULT + 1] = {NULL};
    double nearest = (double)INFINITY;
    for (size_t i = 0; i < fallback->count; i++) {
        struct trib_fallback_entry *entry = &fallback->entries[i];
        if (entry->kind == TRIB_FALLBACK_CLUSTER) {
            const double distance = x ? distance_to(fallback, entry->centre, x) : (double)INFINITY;
            if (distance > entry->radius || distance >= nearest)
                continue;
            nearest = distance;
        } else if (found[entry->kind] ||
                   (entry->kind == TRIB_FALLBACK_RULE && !applies(entry, values))) {
            continue; // the first one counts
        }
        found[entry->kind] = entry;
    }
    assert(found[TRIB_FALLBACK_DEFAULT]);
    return found[TRIB_FALLBACK_CLUSTER] ? found[TRIB_FALLBACK_CLUSTER]
           : found[TRIB_FALLBACK_RULE]  ? found[TRIB_FALLBACK_RULE]
                                        : found[TRIB_FALLBACK_DEFAULT];
}
