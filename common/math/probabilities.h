// probabilities.h - how good the probabilities are that a model gives the classes of one row.
//
// The means of these numbers over rows are the log-loss, the Brier score and the top-k accuracy of
// a model. `p` (classes) holds the probability of each class; a model of one sigmoid output is two
// classes, 1 - p and p.
#ifndef TRIB_MATH_PROBABILITIES_H
#define TRIB_MATH_PROBABILITIES_H

#include <float.h>
#include <stdbool.h>
#include <stddef.h>

#include "tributary/err.h"

// Log-loss takes no probability below this, nor above 1 less this: a row costs at most 36.04.
#define TRIB_PROBABILITY_CLIP DBL_EPSILON

// TRIB_ERR_DATA: a number that is not in [0, 1], or a sum that is not 1 within 1e-5 (float32).
TRIB_CHECKED enum trib_err trib_probabilities_check(const double *p, size_t classes);

// -log of the probability of `label`, after all of them were brought into [clip, 1 - clip] and then
// divided by their sum.
double trib_log_loss(const double *p, size_t classes, size_t label, double clip);

// Brier 1950. Two classes: (p_1 - y)^2, in [0, 1]; more: the sum over all classes of
// (p_c - [c is label])^2, in [0, 2].
double trib_brier(const double *p, size_t classes, size_t label);

// Is `label` among the k classes of highest probability? Of equal ones the lower class comes first,
// so that k = 1 is the predicted class.
bool trib_is_in_top(const double *p, size_t classes, size_t label, size_t k);

#endif // TRIB_MATH_PROBABILITIES_H
