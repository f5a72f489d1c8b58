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
    // Of the interval of R2: sums of target^3, target^4, e^2 target and e^2 target^2
    double target_cube, target_fourth, square_target, square_target_square;
    struct trib_spread target, miss;
};

struct trib_residual_scores {
    double mse, rmse, mae, mape, max_error;
    double mse_error, mae_error, mape_error; // standard errors of the means; NaN of a single row
    // Of targets that do not vary: 1 if nothing is left, else 0. R2 of a single row is NaN.
    double r2, explained_variance;
    double r2_error; // trib_r2_error
};

// Sums over rows that tell how far R2 = 1 - sum e^2 / sum (y - mean y)^2 may be off.
struct trib_r2_sums {
    double rows;
    double square, fourth;                      // of e
    double target, target_square;               // of y
    double target_cube, target_fourth;          // of y
    double square_target, square_target_square; // e^2 y, e^2 y^2
};
// Its standard error for many rows, by the delta method: with u and v the means of e^2 and of
// d^2 = (y - mean y)^2, row i moves R2 by -(e_i^2 - (u / v) d_i^2) / (n v), so that its variance is
// the mean of (e^2 - (u / v) d^2)^2 / (n v^2). NaN where targets do not vary, or by so little beside
// their mean (less than a 2,000th) that these sums do not tell it.
double trib_r2_error(const struct trib_r2_sums *sums);

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
