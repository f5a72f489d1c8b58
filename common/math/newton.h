// newton.h - Newton's method for models with one output and no hidden layer.
//
// For `N - dense 1 linear` and `N - dense 1 sigmoid` the mean loss F has the gradient -g/n and the
// Hessian H/n, where, with rows x (the last entry is 1, for the bias), weights s, outputs p at the
// present parameters b and curvatures v,
//
//     H = sum s v x x^T        g = sum s (y - p) x        n = number of rows
//     linear   v = 1           sigmoid  v = p (1 - p)     (McCullagh & Nelder 1989, section 2.5)
//
// These are sums over rows: devices count them (tally.h), and the coordinator makes the step b + d
// with (H + n ridge I) d = g - n ridge b, which is the pooled one. For `linear` it is the least
// squares solution after one round, for `sigmoid` the rounds are those of iteratively reweighted
// least squares. The penalty is that of weight_decay: 1/2 ridge ||b||^2, on the bias too.
//
// Layout of the values, with p = N + 1 coefficients (weights, then the bias):
//
//     upper triangle of H, row by row (p (p + 1) / 2) | g (p) | n | sum of the losses
#ifndef TRIB_MATH_NEWTON_H
#define TRIB_MATH_NEWTON_H

#include <stdbool.h>
#include <stddef.h>

#include "common/math/model.h"
#include "common/math/net.h"
#include "common/math/tally.h"
#include "tributary/err.h"

enum {
    TRIB_NEWTON_COEFFICIENTS_MAX = 512, // 131,843 values, 4.7 MB from each device
};

bool trib_newton_fits(const struct trib_model *model);
size_t trib_newton_values(const struct trib_model *model); // of a model that fits

// Count the rows `order[0..count)` of `samples` at `params`. TRIB_ERR_DATA: an output is not
// finite; TRIB_ERR_LIMIT: a term is out of the range of tally.h.
TRIB_CHECKED enum trib_err trib_newton_count(const struct trib_model *model, const float *params,
                                             const struct trib_samples *samples,
                                             const uint32_t *order, size_t count,
                                             struct trib_tally *tally);

enum trib_newton_outcome {
    TRIB_NEWTON_STEP,
    TRIB_NEWTON_ILL_CONDITIONED, // condition above 1e12, or H is not positive definite
    TRIB_NEWTON_NO_ROWS,         // n is not positive: noise, with privacy on
    TRIB_NEWTON_NOT_FINITE,      // the step leaves float32
};
const char *trib_newton_outcome_text(enum trib_newton_outcome outcome); // "ill_conditioned"

struct trib_newton_report {
    enum trib_newton_outcome outcome;
    double rows;
    double loss;          // mean, at the parameters that were counted at, without the penalty
    double condition;     // of the scaled system (cholesky.h); infinite: not positive definite
    double decrement;     // d^T (H + n ridge I) d / n: twice what the step is about to gain
    double *coefficients; // (inputs + 1) after the step, owned; of no use unless there is one
};
void trib_newton_report_fini(struct trib_newton_report *report);

// The step from `values` (trib_newton_values), which were counted at `params`. The coefficients are
// double; `ret_params` (param_count; may be `params`) are they rounded to float32, and are written
// only when there is a step.
TRIB_CHECKED enum trib_err trib_newton_step(const struct trib_model *model, const double *values,
                                            const float *params, double ridge, float *ret_params,
                                            struct trib_newton_report *ret_report);

#endif // TRIB_MATH_NEWTON_H
