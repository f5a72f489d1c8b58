#include "coordinator/ctl/elimination.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/limits.h"

bool trib_elimination_take_step(struct trib_elimination *e, const char *text)
{
    char *end;
    e->step = strtoull(text, &end, 10);
    e->step_is_percent = strcmp(end, "%") == 0;
    const bool is_number = end > text && text[0] >= '0' && text[0] <= '9';
    return is_number && e->step > 0 && (e->step_is_percent || *end == '\0') &&
           e->step <= (e->step_is_percent ? 100 : TRIB_COLUMNS_MAX);
}

enum trib_err trib_elimination_begin(struct trib_elimination *e, size_t count)
{
    assert(e->keep >= 1 && e->keep <= count);
    e->left.items = trib_alloc_array(count, sizeof(*e->left.items));
    e->best.items = trib_alloc_array(count, sizeof(*e->best.items));
    e->scores = trib_alloc_array(count, sizeof(*e->scores));
    e->ranked = trib_alloc_array(count, sizeof(*e->ranked));
    if (!e->left.items || !e->best.items || !e->scores || !e->ranked)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        e->left.items[i] = i;
    e->left.count = count;
    e->best.count = 0;
    e->best_value = (double)NAN;
    return TRIB_OK;
}

void trib_elimination_fini(struct trib_elimination *e)
{
    free(e->left.items);
    free(e->best.items);
    free(e->scores);
    free(e->ranked);
}

bool trib_elimination_note(struct trib_elimination *e, double value, bool higher_is_better)
{
    const bool is_worse = higher_is_better ? value < e->best_value : value > e->best_value;
    if (isnan(value) || (e->best.count > 0 && is_worse))
        return false;
    e->best_value = value;
    e->best.count = e->left.count;
    memcpy(e->best.items, e->left.items, e->left.count * sizeof(*e->left.items));
    return true;
}

// The least first; of equals the one that stands last.
static int compare(const void *a, const void *b)
{
    const struct trib_ranked_feature *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return x->feature > y->feature ? -1 : 1;
}

size_t trib_elimination_rank(struct trib_elimination *e)
{
    for (size_t i = 0; i < e->left.count; i++)
        e->ranked[i] = (struct trib_ranked_feature){e->scores[i], e->left.items[i]};
    qsort(e->ranked, e->left.count, sizeof(*e->ranked), compare);
    size_t step = e->step_is_percent ? e->left.count * e->step / 100 : e->step;
    if (step == 0)
        step = 1;
    return step < e->left.count - e->keep ? step : e->left.count - e->keep;
}

static bool is_ranked_below(const struct trib_elimination *e, size_t feature, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (e->ranked[i].feature == feature)
            return true;
    }
    return false;
}

void trib_elimination_remove(struct trib_elimination *e, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < e->left.count; i++) {
        if (!is_ranked_below(e, e->left.items[i], count))
            e->left.items[kept++] = e->left.items[i];
    }
    e->left.count = kept;
}

const struct trib_layer *trib_elimination_layer(const struct trib_model *model)
{
    uint32_t i = 0;
    while (i < model->layer_count && model->layers[i].kind == TRIB_LAYER_DROPOUT)
        i++;
    const struct trib_layer *layer = &model->layers[i];
    return i < model->layer_count && layer->kind == TRIB_LAYER_DENSE && layer->tensor_count > 0
               ? layer
               : NULL;
}

void trib_elimination_norms(const struct trib_layer *layer, const float *params, double *ret_scores)
{
    const float *weights = params + layer->weight; // (outputs, inputs)
    for (uint32_t i = 0; i < layer->inputs; i++) {
        double square = 0;
        for (uint32_t o = 0; o < layer->outputs; o++) {
            const double w = (double)weights[(size_t)o * layer->inputs + i];
            square += w * w;
        }
        ret_scores[i] = sqrt(square);
    }
}

void trib_elimination_spec(const char *spec, size_t features, char *ret_spec)
{
    const char *layers = strstr(spec, " - ");
    assert(layers); // a canonical text
    (void)snprintf(ret_spec, TRIB_SPEC_MAX + 1, "%zu%s", features, layers);
}
