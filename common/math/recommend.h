// recommend.h - how good a ranked list of items is for one user.
//
// The means over users are hit-rate@k, recall@k, precision@k and NDCG@k of a recommender. Items of
// equal score have no order: each number is the mean over all orders of the tied items, so that the
// order of the rows never matters.
#ifndef TRIB_MATH_RECOMMEND_H
#define TRIB_MATH_RECOMMEND_H

#include <stdbool.h>
#include <stddef.h>

#include "tributary/err.h"

struct trib_ranked_item {
    double score;     // items are shown by falling score
    double relevance; // at least 0; above 0: relevant
};

struct trib_recommend_scores {
    double hit;       // 1 if a relevant item is among the first k, else 0 (a chance, with ties)
    double recall;    // relevant items among the first k over all relevant ones; 0/0 counts as 0
    double precision; // relevant items among the first k over k
    // DCG@k = sum over places i = 1 .. k of gain_i / log2(i + 1), over that of the best order
    // (Jarvelin & Kekalainen 2002); 0 if nothing is relevant. Ties: McSherry & Najork 2008, eq. 8.
    double ndcg;
};

enum trib_gain {
    TRIB_GAIN_LINEAR,      // the relevance
    TRIB_GAIN_EXPONENTIAL, // 2^relevance - 1 (Burges et al. 2005)
};

// Sorts `items`. k = 0 or more than `count`: all of them.
// TRIB_ERR_DATA: no items, a score that is not finite, a relevance that is negative or not finite.
TRIB_CHECKED enum trib_err trib_recommend_scores(struct trib_ranked_item *items, size_t count,
                                                 size_t k, enum trib_gain gain,
                                                 struct trib_recommend_scores *ret_scores);

#endif // TRIB_MATH_RECOMMEND_H
