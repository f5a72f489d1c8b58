#include "common/math/ranking.h"

#include <math.h>
#include <stdlib.h>

static int by_falling_score(const void *a, const void *b)
{
    double left = ((const struct trib_scored *)a)->score;
    double right = ((const struct trib_scored *)b)->score;
    return (left < right) - (left > right);
}

enum trib_err trib_ranking_scores(struct trib_scored *rows, size_t count,
                                  struct trib_ranking_scores *ret_scores)
{
    size_t positives = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(rows[i].score))
            return TRIB_ERR_DATA;
        positives += rows[i].positive;
    }
    if (positives == 0 || positives == count)
        return TRIB_ERR_DATA;
    qsort(rows, count, sizeof(*rows), by_falling_score);

    double pairs = 0, precision = 0; // both summed over the groups of tied scores
    size_t above = 0;                // positives scored higher than the group
    for (size_t first = 0, end; first < count; first = end) {
        size_t tied = 0;
        for (end = first; end < count && !(rows[end].score < rows[first].score); end++)
            tied += rows[end].positive;
        double negatives = (double)(end - first - tied);
        pairs += negatives * ((double)above + 0.5 * (double)tied);
        above += tied;
        precision += (double)tied * ((double)above / (double)end);
    }
    *ret_scores = (struct trib_ranking_scores){
        .roc_auc = pairs / ((double)positives * (double)(count - positives)),
        .average_precision = precision / (double)positives,
    };
    return TRIB_OK;
}
