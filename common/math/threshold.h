// threshold.h - the probability from which on a row is taken for class 1.
//
// Chosen on validation rows for a stated goal. A threshold between two neighbouring scores decides
// like any other between them; half way is taken, so that a score that differs in its last bit on
// another machine decides the same.
#ifndef TRIB_MATH_THRESHOLD_H
#define TRIB_MATH_THRESHOLD_H

#include <stddef.h>

#include "common/math/ranking.h"
#include "tributary/err.h"

enum trib_goal {
    TRIB_GOAL_NONE,      // one half
    TRIB_GOAL_F1,        // the highest F1 of class 1
    TRIB_GOAL_ACCURACY,  // the highest accuracy
    TRIB_GOAL_YOUDEN,    // the highest recall of class 1 plus recall of class 0 (Youden 1950)
    TRIB_GOAL_RECALL,    // at least this recall of class 1, with as few rows taken as possible
    TRIB_GOAL_PRECISION, // at least this precision, with as many rows taken as possible; where none
                         // reaches it: the highest precision
};

struct trib_threshold_goal {
    enum trib_goal goal;
    double level; // of recall and precision: in (0, 1]
};

// "none", "f1", "accuracy", "youden", "recall:0.9", "precision:0.95". TRIB_ERR_INVAL: another text.
TRIB_CHECKED enum trib_err trib_threshold_goal_parse(const char *text,
                                                     struct trib_threshold_goal *ret_goal);

// Sorts `rows` by falling score. Of thresholds that are equally good the highest is taken.
// TRIB_ERR_DATA: no row of class 1, or none of class 0, or a score that is not in [0, 1].
TRIB_CHECKED enum trib_err trib_threshold_choose(struct trib_scored *rows, size_t count,
                                                 const struct trib_threshold_goal *goal,
                                                 double *ret_threshold);

#endif // TRIB_MATH_THRESHOLD_H
