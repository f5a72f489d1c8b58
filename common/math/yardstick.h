// yardstick.h - models so simple that another one must be better: a constant, and a linear one.
//
// Both are parameters of `N - dense K <last activation>`, so that they are measured by the code
// that measures the model itself (evaluation.h), with the same metrics.
//
// prior   says of every row what is said best of rows that one knows nothing of: the shares of the
//         classes, or the mean of the labels. It is made from the very rows that it is measured on:
//         no other constant has a smaller loss or squared miss there, wherever it were learnt, so that
//         the bar is never too low, and no device is asked anything.
// linear  from sums over the rows of a fleet, in one go. Regression: least squares. Classes:
// Gaussian
//         classes of one covariance (Hastie, Tibshirani & Friedman 2009, section 4.3), with
//         S = within-class covariance, m_k mean and r_k share of class k:
//
//             score_k(x) = x^T S^-1 m_k - m_k^T S^-1 m_k / 2 + ln r_k
//
//         whose softmax is the probability of the class; of two classes and one output their
//         difference. A ridge of 0.001 of its mean on the diagonal keeps columns that never vary
//         from mattering.
//
// Layout of the sums, x with a last entry of 1, p = N + 1 (tally.h):
//
//     upper triangle of sum x x^T, row by row (p (p + 1) / 2) | sum of x of each class (K p), or
//     of y x (p) for a regression
#ifndef TRIB_MATH_YARDSTICK_H
#define TRIB_MATH_YARDSTICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/math/model.h"
#include "common/math/net.h"
#include "common/math/tally.h"
#include "tributary/err.h"

enum {
    TRIB_YARDSTICK_INPUTS_MAX = 511, // 4.7 MB from each device
    TRIB_YARDSTICK_CLASSES_MAX = 256,
};

// `N - dense K activation` for the rows and labels of `model`.
TRIB_CHECKED enum trib_err trib_yardstick_model(const struct trib_model *model,
                                                struct trib_model *ret_linear);

// The constant, from the labels of `samples` (at least one row): (param_count of `linear`).
void trib_yardstick_prior(const struct trib_model *linear, const struct trib_samples *samples,
                          float *ret_params);

// ---- Linear

// How many sums it takes; 0: too many inputs or classes, or the inputs are numbers of items.
size_t trib_yardstick_values(const struct trib_model *model);
// Add up the rows order[0..count). TRIB_ERR_DATA, TRIB_ERR_LIMIT as in tally.h.
TRIB_CHECKED enum trib_err trib_yardstick_count(const struct trib_model *model,
                                                const struct trib_samples *samples,
                                                const uint32_t *order, size_t count,
                                                struct trib_tally *tally);
// From the sums to the parameters of trib_yardstick_model. TRIB_ERR_DATA: there are no rows, or
// nothing can be solved.
TRIB_CHECKED enum trib_err trib_yardstick_fit(const struct trib_model *model, const double *values,
                                              float *ret_params, double *ret_rows);

#endif // TRIB_MATH_YARDSTICK_H
