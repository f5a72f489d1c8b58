// score_sums.h - all that can be added up of a classifier's predicted probabilities.
//
// One flat vector of counts. The sum of the vectors of all devices is, to the last bit, the vector
// of all their rows, in any order and over any split, so that it may be summed in a tree, modulo a
// power of two or under masks. From it come
//
//   exactly          accuracy and every score of the confusion matrix (scores.h), top-k accuracy;
//   exactly over any split, with each row's term rounded once to 2^-30
//                    log-loss, Brier score, calibration in 16 bins;
//   within a bound   ROC-AUC and average precision, from histograms of the scores: only the order of
//                    rows inside one of 256 bins is lost. The bound is part of the answer.
//
// Two classes have one column of scores, that of class 1; K > 2 classes have K, one for each class
// against the rest. Cells, with BINS = 256 and bin b holding scores in [b/256, (b+1)/256), the last
// one also 1:
//
//     offset            cells           what
//     0                 1               rows
//     1                 1               rows left out of all else: a number not in [0, 1]
//     2                 1               rows whose class is among the top k
//     3, 4              1, 1            sum of log-loss in 2^-30, of its square in 2^-20
//     5, 6              1, 1            sum of Brier scores in 2^-30, of their squares in 2^-20
//     7                 K x K           confusion matrix: true class (row), predicted (column)
//     7 + K^2           2 x BINS        per column: rows of the class by bin, then those of the rest
//     ... K = 2         BINS            sum of the score in 2^-30 by bin of the score
//     ... K > 2         3 x BINS        by bin of the highest score: rows it is right for, the other
//                                       rows, sum of it in 2^-30
//
// A row adds at most 37 x 2^30 to a cell; 2^28 rows fit.
#ifndef TRIB_MATH_SCORE_SUMS_H
#define TRIB_MATH_SCORE_SUMS_H

#include <stddef.h>
#include <stdint.h>

#include "common/math/metrics.h"
#include "tributary/err.h"

enum {
    TRIB_SCORE_BINS = 256,
    TRIB_CALIBRATION_BINS = 16, // of 16 score bins each
};

struct trib_score_sums {
    uint32_t classes; // at least 2
    uint32_t top_k;
    double threshold; // two classes: class 1 is predicted from this probability on
    size_t count;     // of cells
    uint64_t *cells;  // (count), owned
};

// Cells for so many classes.
size_t trib_score_sums_count(uint32_t classes);

// All zero, with the threshold 0.5.
TRIB_CHECKED enum trib_err trib_score_sums_init(struct trib_score_sums *sums, uint32_t classes,
                                                uint32_t top_k);
void trib_score_sums_fini(struct trib_score_sums *sums);

// One row: the probability of each class (classes), and the true one, below classes.
void trib_score_sums_add(struct trib_score_sums *sums, const double *p, uint32_t label);

// TRIB_ERR_DATA, and nothing added: other classes, or a cell that would pass 2^64.
TRIB_CHECKED enum trib_err trib_score_sums_merge(struct trib_score_sums *sums,
                                                 const struct trib_score_sums *from);

// The confusion matrix in the cells, borrowed.
struct trib_confusion trib_score_sums_confusion(const struct trib_score_sums *sums);

struct trib_score_values {
    uint64_t rows, left_out;
    double top_k, log_loss, brier;
    double log_loss_error, brier_error; // standard errors of the two means
    // Expected calibration error (Naeini et al. 2015, of class 1; Guo et al. 2017, eq. 5, of the
    // predicted class where there are more than two): sum over bins of |hits - sum of scores| /
    // rows.
    double ece;
    // Several classes: the mean of each against the rest. NaN if a class has no rows.
    double roc_auc;
    double roc_auc_error; // standard error of it, at most (intervals.h)
    double roc_auc_bound; // the exact one is at most so far away: half of sum pos_b neg_b / (P N)
    // Class 1 of two classes; NaN for more. The exact one is within [low, high].
    double average_precision, average_precision_low, average_precision_high;
};

// TRIB_ERR_DATA: no rows.
TRIB_CHECKED enum trib_err trib_score_sums_values(const struct trib_score_sums *sums,
                                                  struct trib_score_values *ret_values);

// One bar of a reliability diagram. An empty one has the mean and the share NaN.
struct trib_calibration_bin {
    uint64_t rows;
    double mean;  // of the scores
    double share; // of hits among the rows
};
void trib_score_sums_calibration(const struct trib_score_sums *sums,
                                 struct trib_calibration_bin bins[static TRIB_CALIBRATION_BINS]);

#endif // TRIB_MATH_SCORE_SUMS_H
