// ranking.h - how well scores order rows of class 1 before rows of class 0, exact on one machine.
#ifndef TRIB_MATH_RANKING_H
#define TRIB_MATH_RANKING_H

#include <stdbool.h>
#include <stddef.h>

#include "tributary/err.h"

struct trib_scored {
    double score;
    bool positive; // the true class is 1
};

struct trib_ranking_scores {
    // Chance that a positive row is scored above a negative one; a tie counts one half.
    double roc_auc;
    // Sum over distinct scores, falling, of the recall gained times the precision there.
    double average_precision;
};

// Sorts `rows` by falling score. TRIB_ERR_DATA: a score that is not finite, or rows of one class
// only (also no rows).
TRIB_CHECKED enum trib_err trib_ranking_scores(struct trib_scored *rows, size_t count,
                                               struct trib_ranking_scores *ret_scores);

#endif // TRIB_MATH_RANKING_H
