// ranking.h - how well scores order rows of class 1 before rows of class 0, exact on one machine.
#ifndef TRIB_MATH_RANKING_H
#define TRIB_MATH_RANKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

struct trib_scored {
    double score;
    bool positive; // the true class is 1
};

struct trib_ranking_scores {
    // Chance that a positive row is scored above a negative one; a tie counts one half. NaN if all
    // rows are of one class.
    double roc_auc;
    // Sum over distinct scores, falling, of the recall gained times the precision there. 0 if no
    // row is positive.
    double average_precision;
};

// Sorts `rows` by falling score. TRIB_ERR_DATA: no rows, or a score that is not finite; TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_ranking_scores(struct trib_scored *rows, size_t count,
                                               struct trib_ranking_scores *ret_scores);

// Rows of more classes, each with a score for every class.
struct trib_multi_scored {
    const double *scores;   // (rows, classes) row-major
    const uint32_t *labels; // (rows), below classes
    size_t rows;
    size_t classes; // at least 2
};

// Means of areas under ROC curves; NaN if a class has no rows.
struct trib_multi_auc {
    // Each class against the rest: the plain mean, and by the rows of the class.
    double ovr_macro, ovr_weighted;
    double ovr_error; // standard error of ovr_macro, at most (intervals.h)
    // Each pair of classes, on its rows alone, as the mean of both directions (Hand & Till 2001,
    // eq. 7): the plain mean over pairs, and by the rows of the pair.
    double ovo_macro, ovo_weighted;
};

// TRIB_ERR_DATA: as above. TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_multi_auc_ovr(const struct trib_multi_scored *scored,
                                              struct trib_multi_auc *ret_auc);
// Takes classes^2 / 2 orderings more.
TRIB_CHECKED enum trib_err trib_multi_auc_ovo(const struct trib_multi_scored *scored,
                                              struct trib_multi_auc *ret_auc);

#endif // TRIB_MATH_RANKING_H
