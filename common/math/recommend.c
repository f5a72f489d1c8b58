#include "common/math/recommend.h"

#include <math.h>
#include <stdlib.h>

static int by_falling_score(const void *a, const void *b)
{
    double left = ((const struct trib_ranked_item *)a)->score;
    double right = ((const struct trib_ranked_item *)b)->score;
    return (left < right) - (left > right);
}

static int by_falling_relevance(const void *a, const void *b)
{
    double left = ((const struct trib_ranked_item *)a)->relevance;
    double right = ((const struct trib_ranked_item *)b)->relevance;
    return (left < right) - (left > right);
}

static double gain_of(double relevance, enum trib_gain gain)
{
    return gain == TRIB_GAIN_LINEAR ? relevance : exp2(relevance) - 1;
}

// The worth of place `place`, from 0.
static double discount(size_t place)
{
    return 1 / log2((double)place + 2);
}

static double best_gain(struct trib_ranked_item *items, size_t count, size_t k, enum trib_gain gain)
{
    double sum = 0;
    qsort(items, count, sizeof(*items), by_falling_relevance);
    for (size_t i = 0; i < k; i++)
        sum += gain_of(items[i].relevance, gain) * discount(i);
    return sum;
}

// What a run of tied items, at places `first` .. `end` - 1, gives to the first k places.
struct tied {
    double gains, relevant, discounts; // sums; of discounts: over the places below k
    size_t count, shown;               // shown: places below k
};

static struct tied take_tied(const struct trib_ranked_item *items, size_t first, size_t count,
                             size_t k, enum trib_gain gain)
{
    struct tied tied = {0};
    for (size_t i = first; i < count && !(items[i].score < items[first].score); i++) {
        tied.gains += gain_of(items[i].relevance, gain);
        tied.relevant += items[i].relevance > 0;
        tied.discounts += i < k ? discount(i) : 0;
        tied.shown += i < k;
        tied.count++;
    }
    return tied;
}

// The chance that `shown` draws without replacement from the tied miss all relevant ones.
static double miss_chance(const struct tied *tied)
{
    double chance = 1;
    for (size_t i = 0; i < tied->shown; i++) {
        const double left = (double)(tied->count - i);
        chance *= fmax(left - tied->relevant, 0) / left;
    }
    return chance;
}

enum trib_err trib_recommend_scores(struct trib_ranked_item *items, size_t count, size_t k,
                                    enum trib_gain gain, struct trib_recommend_scores *ret_scores)
{
    double relevant = 0, found = 0, reached = 0, miss = 1;
    if (count == 0)
        return TRIB_ERR_DATA;
    for (size_t i = 0; i < count; i++) {
        const double relevance = items[i].relevance;
        if (!isfinite(items[i].score) || !(relevance >= 0) || !isfinite(gain_of(relevance, gain)))
            return TRIB_ERR_DATA;
        relevant += relevance > 0;
    }
    k = k == 0 || k > count ? count : k;
    const double best = best_gain(items, count, k, gain);
    qsort(items, count, sizeof(*items), by_falling_score);
    for (size_t first = 0; first < k;) {
        const struct tied tied = take_tied(items, first, count, k, gain);
        const double size = (double)tied.count;
        reached += tied.gains / size * tied.discounts;
        found += tied.relevant / size * (double)tied.shown;
        miss *= miss_chance(&tied);
        first += tied.count;
    }
    *ret_scores = (struct trib_recommend_scores){
        .hit = 1 - miss,
        .recall = relevant > 0 ? found / relevant : 0,
        .precision = found / (double)k,
        .ndcg = best > 0 ? reached / best : 0,
    };
    return TRIB_OK;
}
