// class_weights.h - what a row weighs in the loss for being of its class, against imbalance.
//
// Balanced: a row of class c weighs n / (K n_c), with n rows, n_c of them of class c, and K classes
// that have rows (King & Zeng 2001, section 3.2, with equal shares). The classes then have the same
// share of the loss, and the weights of all rows have the mean 1. The rows may be those of one
// device, or those of a fleet, whose counts the sums of a tally round are (ask.h).
#ifndef TRIB_MATH_CLASS_WEIGHTS_H
#define TRIB_MATH_CLASS_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/math/model.h"
#include "common/math/net.h"
#include "common/math/tally.h"
#include "tributary/err.h"

// On the wire: never renumber.
enum trib_class_weights {
    TRIB_CLASS_WEIGHTS_NONE = 0,
    TRIB_CLASS_WEIGHTS_OWN = 1,   // balanced over the rows that are learnt from
    TRIB_CLASS_WEIGHTS_GIVEN = 2, // from elsewhere: balanced over a fleet's rows
};
enum {
    TRIB_CLASS_WEIGHTS_COUNT = 3
};

// How many values a count has: one for each class; 0: the model has no classes, or too many.
size_t trib_class_counts_values(const struct trib_model *model);
// Add up the rows order[0..count), each with its weight if the samples have weights. TRIB_ERR_DATA,
// TRIB_ERR_LIMIT as in tally.h.
TRIB_CHECKED enum trib_err trib_class_counts_add(const struct trib_samples *samples,
                                                 const uint32_t *order, size_t count,
                                                 struct trib_tally *tally);

// Balanced weights from `counts` (classes), each at least `least` (>= 0: what noise alone comes to,
// so that no class gets a weight that is only noise). A class without rows gets 1.
void trib_class_weights_balance(const double *counts, size_t classes, double least,
                                float *ret_weights);

#endif // TRIB_MATH_CLASS_WEIGHTS_H
