// scores.h - scores of a classification, exact over any split of the rows into devices.
//
// A confusion matrix is counts of rows, so the sum of the devices' matrices is the matrix of all
// their rows, and every score here is a function of that matrix alone.
#ifndef TRIB_MATH_SCORES_H
#define TRIB_MATH_SCORES_H

#include "common/math/metrics.h"
#include "tributary/err.h"

struct trib_mean_scores {
    double precision, recall, f1; // 0/0 counts as 0
};

struct trib_class_scores {
    double accuracy;
    struct trib_mean_scores binary;   // two classes: of class 1 alone; more: NaN
    struct trib_mean_scores macro;    // over all classes, also those that no row has
    struct trib_mean_scores micro;    // of summed counts: each of the three is the accuracy
    struct trib_mean_scores weighted; // by the rows of the true class
    double balanced_accuracy;         // mean recall over the classes that have rows
    double mcc;                       // in [-1, 1]; 0 if one side has a single class
    double kappa;                     // in [-1, 1]; NaN if both sides have one and the same class
};

// Adds the counts of `from` to `confusion`. TRIB_ERR_DATA, and nothing added: other classes, or a
// count that would pass 2^64.
TRIB_CHECKED enum trib_err trib_confusion_merge(struct trib_confusion *confusion,
                                                const struct trib_confusion *from);

// TRIB_ERR_DATA: no rows, or more than 2^64 of them.
TRIB_CHECKED enum trib_err trib_class_scores(const struct trib_confusion *confusion,
                                             struct trib_class_scores *ret_scores);

#endif // TRIB_MATH_SCORES_H
