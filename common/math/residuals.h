// residuals.h - how far predictions of a regression lie from their targets, mergeable.
//
// A few sums stand for all rows seen. Those of two devices merge into what one device with both
// their rows has, up to rounding (1e-12 relative in tests over 1,000 shards).
#ifndef TRIB_MATH_RESIDUALS_H
#define TRIB_MATH_RESIDUALS_H

#include <stdint.h>

#include "tributary/err.h"

// A running mean and the sum of squared differences to it.
struct trib_spread {
    double mean, square;
};

struct trib_residuals {
    uint64_t rows;
    double square;   // sum of (output - target)^2
    double absolute; // sum of |output - target|
    double relative; // sum of |output - target| / max(|target|, 2^-52)
    double largest;  // of |output - target|
    struct trib_spread target, miss;
};

struct trib_residual_scores {
    double mse, rmse, mae, mape, max_error;
    double r2, explained_variance; // of targets that do not vary: 1 if nothing is left, else 0
};

// TRIB_ERR_DATA, and nothing added: a number that is not finite.
TRIB_CHECKED enum trib_err trib_residuals_add(struct trib_residuals *residuals, double output,
                                              double target);
void trib_residuals_merge(struct trib_residuals *residuals, const struct trib_residuals *from);
// TRIB_ERR_DATA: no rows.
TRIB_CHECKED enum trib_err trib_residuals_scores(const struct trib_residuals *residuals,
                                                 struct trib_residual_scores *ret_scores);

#endif // TRIB_MATH_RESIDUALS_H
