#include "common/math/baselines.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/alloc.h"

enum trib_err trib_rating_sums_init(struct trib_rating_sums *sums, uint32_t items)
{
    *sums = (struct trib_rating_sums){.items = items};
    sums->sums = trib_alloc_array(items, sizeof(*sums->sums));
    sums->counts = trib_alloc_array(items, sizeof(*sums->counts));
    if (sums->sums && sums->counts)
        return TRIB_OK;
    trib_rating_sums_fini(sums);
    return TRIB_ERR_NOMEM;
}

void trib_rating_sums_fini(struct trib_rating_sums *sums)
{
    free(sums->sums);
    free(sums->counts);
    *sums = (struct trib_rating_sums){.items = 0};
}

void trib_rating_sums_add(struct trib_rating_sums *sums, const struct trib_samples *ratings)
{
    assert(ratings->inputs == 1);
    for (size_t r = 0; r < ratings->rows; r++) {
        const size_t item = (size_t)ratings->x[r];
        assert(item < sums->items);
        sums->sums[item] += (double)ratings->y[r];
        sums->counts[item]++;
    }
}

void trib_rating_sums_merge(struct trib_rating_sums *sums, const struct trib_rating_sums *from)
{
    assert(sums->items == from->items);
    for (uint32_t i = 0; i < sums->items; i++) {
        sums->sums[i] += from->sums[i];
        sums->counts[i] += from->counts[i];
    }
}

const char *trib_baseline_text(enum trib_baseline baseline)
{
    switch (baseline) {
    case TRIB_BASELINE_MEAN: return "mean";
    case TRIB_BASELINE_ITEM_MEAN: return "item_mean";
    case TRIB_BASELINE_BIASES: return "biases";
    case TRIB_BASELINE_COUNT: break;
    }
    return "unknown";
}

enum trib_err trib_baselines_init(struct trib_baselines *baselines,
                                  const struct trib_rating_sums *sums, double shrink)
{
    struct trib_baselines b = {.items = sums->items, .shrink = shrink};
    double sum = 0, count = 0;
    for (uint32_t i = 0; i < sums->items; i++) {
        sum += sums->sums[i];
        count += (double)sums->counts[i];
    }
    if (count == 0)
        return TRIB_ERR_DATA;
    b.mean = sum / count;
    b.item_means = trib_alloc_array(b.items, sizeof(*b.item_means));
    b.item_biases = trib_alloc_array(b.items, sizeof(*b.item_biases));
    if (!b.item_means || !b.item_biases) {
        trib_baselines_fini(&b);
        return TRIB_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < b.items; i++) {
        const double n = (double)sums->counts[i];
        b.item_means[i] = n > 0 ? sums->sums[i] / n : b.mean;
        b.item_biases[i] = n > 0 ? (sums->sums[i] - n * b.mean) / (shrink + n) : 0;
    }
    *baselines = b;
    return TRIB_OK;
}

void trib_baselines_fini(struct trib_baselines *baselines)
{
    free(baselines->item_means);
    free(baselines->item_biases);
    *baselines = (struct trib_baselines){.items = 0};
}

double trib_baselines_user(const struct trib_baselines *baselines,
                           const struct trib_samples *ratings)
{
    double sum = 0;
    for (size_t r = 0; r < ratings->rows; r++)
        sum +=
            (double)ratings->y[r] - baselines->mean - baselines->item_biases[(size_t)ratings->x[r]];
    return ratings->rows > 0 ? sum / (baselines->shrink + (double)ratings->rows) : 0;
}

void trib_baselines_miss(const struct trib_baselines *baselines, double user_bias,
                         const struct trib_samples *held_out,
                         double ret_squares[static TRIB_BASELINE_COUNT])
{
    const struct trib_baselines *b = baselines;
    for (int k = 0; k < TRIB_BASELINE_COUNT; k++)
        ret_squares[k] = 0;
    for (size_t r = 0; r < held_out->rows; r++) {
        const size_t item = (size_t)held_out->x[r];
        const double said[TRIB_BASELINE_COUNT] = {
            [TRIB_BASELINE_MEAN] = b->mean,
            [TRIB_BASELINE_ITEM_MEAN] = b->item_means[item],
            [TRIB_BASELINE_BIASES] = b->mean + b->item_biases[item] + user_bias,
        };
        for (int k = 0; k < TRIB_BASELINE_COUNT; k++) {
            const double miss = said[k] - (double)held_out->y[r];
            ret_squares[k] += miss * miss;
        }
    }
}
