#include "common/math/visits.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

struct trib_visits {
    struct trib_visits_options options;
    size_t inputs;
    size_t batch;                   // visits per step
    struct trib_resample *resample; // NULL: each row once
    struct trib_augment *augment;   // NULL: rows as they are
    struct trib_visit *list;        // of the epoch
    size_t count;
    float *x, *y, *weights; // (batch_max) rows
    float *mate;            // (inputs) what a row is mixed with
    const struct trib_samples *samples;
    const uint32_t *rows;
    const float *classes;
    uint64_t seed;  // of the changes
    uint64_t epoch; // from 1
};

bool trib_visits_are_wanted(const struct trib_visits_options *options)
{
    return options->resample.kind != TRIB_SAMPLING_NONE || trib_augment_is_on(&options->augment);
}

static bool mixes(const struct trib_visits *visits)
{
    return visits->options.augment.mixup > 0;
}

size_t trib_visits_batch_max(const struct trib_visits *visits)
{
    return visits->batch * (mixes(visits) ? 2 : 1);
}

size_t trib_visits_step(const struct trib_visits *visits)
{
    return visits->batch;
}

static enum trib_err create_parts(struct trib_visits *v, const struct trib_model *model,
                                  size_t rows_max)
{
    const struct trib_resample_options *resample = &v->options.resample;
    const bool resamples = resample->kind != TRIB_SAMPLING_NONE;
    const size_t visits_max =
        resamples ? trib_resample_visits_max(resample, model->classes, rows_max) : rows_max;
    const size_t wanted = v->options.batch ? v->options.batch : rows_max;
    enum trib_err err = TRIB_OK;
    v->batch = wanted < visits_max ? wanted : visits_max;
    v->list = trib_alloc_array(visits_max, sizeof(*v->list));
    v->x = trib_alloc_aligned(trib_visits_batch_max(v) * v->inputs, sizeof(*v->x));
    v->y = trib_alloc_aligned(trib_visits_batch_max(v), sizeof(*v->y));
    v->weights = trib_alloc_aligned(trib_visits_batch_max(v), sizeof(*v->weights));
    v->mate = trib_alloc_aligned(v->inputs, sizeof(*v->mate));
    if (!v->list || !v->x || !v->y || !v->weights || !v->mate)
        return TRIB_ERR_NOMEM;
    if (resamples)
        err = trib_resample_create(resample, model->classes, rows_max, v->inputs, &v->resample);
    if (!err && trib_augment_is_on(&v->options.augment))
        err = trib_augment_create(&v->options.augment, model, &v->augment);
    return err;
}

enum trib_err trib_visits_create(const struct trib_visits_options *options,
                                 const struct trib_model *model, size_t rows_max,
                                 struct trib_visits **ret_visits)
{
    assert(options->batch > 0 || options->resample.kind == TRIB_SAMPLING_NONE ||
           options->resample.kind == TRIB_SAMPLING_UNDER);
    struct trib_visits *visits = trib_alloc(sizeof(*visits));
    if (!visits)
        return TRIB_ERR_NOMEM;
    visits->options = *options;
    visits->inputs = model->inputs;
    enum trib_err err = create_parts(visits, model, rows_max);
    if (err) {
        trib_visits_destroy(visits);
        return err;
    }
    *ret_visits = visits;
    return TRIB_OK;
}

void trib_visits_destroy(struct trib_visits *visits)
{
    if (!visits)
        return;
    trib_resample_destroy(visits->resample);
    trib_augment_destroy(visits->augment);
    free(visits->list);
    free(visits->x);
    free(visits->y);
    free(visits->weights);
    free(visits->mate);
    free(visits);
}

size_t trib_visits_begin(struct trib_visits *v, const struct trib_samples *samples,
                         const uint32_t *rows, size_t count, const float *classes,
                         struct trib_rng *rng)
{
    v->samples = samples;
    v->rows = rows;
    v->classes = classes;
    v->epoch = 0;
    v->seed = trib_rng_next(rng);
    v->count = v->resample ? trib_resample_begin(v->resample, samples, rows, count) : count;
    if (v->augment)
        trib_augment_begin(v->augment, samples, rows, count);
    return v->count;
}

void trib_visits_epoch(struct trib_visits *v, struct trib_rng *rng)
{
    v->epoch++;
    if (v->resample) {
        trib_resample_epoch(v->resample, rng, v->list);
    } else {
        for (size_t i = 0; i < v->count; i++)
            v->list[i] = (struct trib_visit){.row = v->rows[i], .neighbour = v->rows[i]};
    }
    for (size_t i = v->count; i > 1; i--) { // Fisher-Yates
        const size_t j = trib_rng_below(rng, i);
        const struct trib_visit visit = v->list[i - 1];
        v->list[i - 1] = v->list[j];
        v->list[j] = visit;
    }
}

static float weight_of(const struct trib_visits *v, uint32_t row)
{
    const struct trib_samples *s = v->samples;
    return (s->weights ? s->weights[row] : 1) * (v->classes ? v->classes[(size_t)s->y[row]] : 1);
}

// Row `at` of the batch is visit `index`; with mixup row `at + 1` is the same once more, with the
// other's label. The two weigh as much as two rows, so that the mean over the batch stays a mean.
static void put(struct trib_visits *v, size_t index, size_t at)
{
    const struct trib_visit *visit = &v->list[index];
    float *x = v->x + at * v->inputs;
    struct trib_rng rng;
    trib_visit_features(visit, v->samples, x);
    v->y[at] = v->samples->y[visit->row];
    v->weights[at] = weight_of(v, visit->row);
    if (!v->augment)
        return;
    trib_rng_init(&rng, v->seed, "augment", v->epoch << 32 | index, NULL);
    trib_augment_row(v->augment, &rng, x);
    if (!mixes(v))
        return;
    const struct trib_visit *other = &v->list[trib_rng_below(&rng, v->count)];
    trib_visit_features(other, v->samples, v->mate);
    trib_augment_row(v->augment, &rng, v->mate);
    const float share = trib_augment_mix(v->augment, &rng, v->mate, x);
    memcpy(x + v->inputs, x, v->inputs * sizeof(*x));
    v->y[at + 1] = v->samples->y[other->row];
    v->weights[at] *= 2 * share;
    v->weights[at + 1] = 2 * (1 - share) * weight_of(v, other->row);
}

struct trib_batch trib_visits_batch(struct trib_visits *v, size_t first)
{
    const size_t count = v->count - first < v->batch ? v->count - first : v->batch;
    const size_t rows_each = mixes(v) ? 2 : 1;
    const bool is_weighted = v->samples->weights || v->classes || mixes(v);
    for (size_t i = 0; i < count; i++)
        put(v, first + i, i * rows_each);
    return (struct trib_batch){.x = v->x,
                               .y = v->y,
                               .weights = is_weighted ? v->weights : NULL,
                               .rows = count * rows_each};
}
