// score_intervals.h - confidence intervals of what a confusion matrix tells (scores.h).
//
// The shares p of the cells of n rows that are drawn independently have the covariance
// (diag(p) - p p') / n, so that a score f(p) with the gradient g has the variance
// (sum p g^2 - (sum p g)^2) / n for large n: the delta method (Bishop, Fienberg & Holland 1975,
// chapter 14; of kappa Fleiss, Cohen & Everitt 1969, of macro F1 Takahashi et al. 2022). Good from
// some hundred rows on, with some tens of each class. A class without rows is taken to have none.
#ifndef TRIB_MATH_SCORE_INTERVALS_H
#define TRIB_MATH_SCORE_INTERVALS_H

#include "common/math/intervals.h"
#include "common/math/metrics.h"
#include "common/math/scores.h"
#include "tributary/err.h"

// Two-sided, of confidence 0.95 (intervals.h), the normal law around the score, cut to its range.
// None where the variance is 0, which is no knowledge: all rows are right, say.
struct trib_score_intervals {
    struct trib_interval precision, recall, f1; // macro
    struct trib_interval balanced_accuracy, mcc, kappa;
    struct trib_interval positive_precision, positive_recall; // two classes: Wilson 1927
    struct trib_interval positive_f1;                         // two classes
};

// `scores` are those of the matrix (trib_class_scores).
TRIB_CHECKED enum trib_err trib_score_intervals(const struct trib_confusion *confusion,
                                                const struct trib_class_scores *scores,
                                                struct trib_score_intervals *ret_intervals);

#endif // TRIB_MATH_SCORE_INTERVALS_H
