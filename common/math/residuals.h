// residuals.h - how far predictions of a regression lie from their targets, mergeable.
//
// A few sums stand for all rows seen. Those of two devices merge into what one device with both
// their rows has, up to rounding (1e-12 relative in tests over 1,000 shards).
#ifndef TRIB_MATH_RESIDUALS_H
#define TRIB_MATH_RESIDUALS_H

#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

// A running mean and the sum of squared differences to it.
struct trib_spread {
    double mean, square;
};

struct trib_residuals {
    uint64_t rows;
    uint64_t not_finite;    // rows counted here only: their output or target is not a finite number
    double square;          // sum of (output - target)^2
    double fourth;          // sum of (output - target)^4
    double absolute;        // sum of |output - target|
    double relative;        // sum of |output - target| / max(|target|, 2^-52)
    double relative_square; // sum of the squares of these
    double largest;         // of |output - target|
    struct trib_spread target, miss;
};

struct trib_residual_scores {
    double mse, rmse, mae, mape, max_error;
    double mse_error, mae_error, mape_error; // standard errors of the means; NaN of a single row
    // Of targets that do not vary: 1 if nothing is left, else 0. R2 of a single row is NaN.
    double r2, explained_variance;
};

// TRIB_ERR_DATA, and only `not_finite` counted: a number that is not finite.
TRIB_CHECKED enum trib_err trib_residuals_add(struct trib_residuals *residuals, double output,
                                              double target);
void trib_residuals_merge(struct trib_residuals *residuals, const struct trib_residuals *from);
// Of the rows that are finite. TRIB_ERR_DATA: there are none.
TRIB_CHECKED enum trib_err trib_residuals_scores(const struct trib_residuals *residuals,
                                                 struct trib_residual_scores *ret_scores);

// The median of |output - target|, of an even number of rows the mean of the two in the middle.
// Exact on one machine only: sums do not tell it. Sorts `misses`; they need not be absolute yet.
// TRIB_ERR_DATA: no rows, or a number that is not finite.
TRIB_CHECKED enum trib_err trib_residuals_median(double *misses, size_t count, double *ret_median);

#endif // TRIB_MATH_RESIDUALS_H
