#include "common/math/residuals.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

// Welford 1962: one pass, without the cancellation of a sum of squares.
static void spread_add(struct trib_spread *spread, uint64_t seen, double value)
{
    double before = value - spread->mean;
    spread->mean += before / (double)(seen + 1);
    spread->square += before * (value - spread->mean);
}

// Chan, Golub and LeVeque 1979, eq. 2.1: the pairwise form of the same.
static void spread_merge(struct trib_spread *spread, double rows, const struct trib_spread *from,
                         double from_rows)
{
    double apart = from->mean - spread->mean;
    double share = from_rows / (rows + from_rows);
    spread->mean += apart * share;
    spread->square += from->square + apart * apart * rows * share;
}

enum trib_err trib_residuals_add(struct trib_residuals *residuals, double output, double target)
{
    double miss = output - target;
    if (!isfinite(miss) || !isfinite(target)) {
        residuals->not_finite++;
        return TRIB_ERR_DATA;
    }
    spread_add(&residuals->target, residuals->rows, target);
    spread_add(&residuals->miss, residuals->rows, miss);
    residuals->square += miss * miss;
    residuals->fourth += miss * miss * miss * miss;
    residuals->absolute += fabs(miss);
    const double relative = fabs(miss) / fmax(fabs(target), DBL_EPSILON);
    residuals->relative += relative;
    residuals->relative_square += relative * relative;
    residuals->largest = fmax(residuals->largest, fabs(miss));
    residuals->rows++;
    return TRIB_OK;
}

void trib_residuals_merge(struct trib_residuals *residuals, const struct trib_residuals *from)
{
    double rows = (double)residuals->rows;
    double from_rows = (double)from->rows;
    residuals->not_finite += from->not_finite;
    if (from->rows == 0)
        return;
    spread_merge(&residuals->target, rows, &from->target, from_rows);
    spread_merge(&residuals->miss, rows, &from->miss, from_rows);
    residuals->square += from->square;
    residuals->fourth += from->fourth;
    residuals->absolute += from->absolute;
    residuals->relative += from->relative;
    residuals->relative_square += from->relative_square;
    residuals->largest = fmax(residuals->largest, from->largest);
    residuals->rows += from->rows;
}

static double explained(double left, double spread)
{
    if (spread > 0)
        return 1 - left / spread;
    return left > 0 ? 0 : 1;
}

// Of a mean over `rows` numbers with this mean square.
static double standard_error(double mean, double square, double rows)
{
    return rows > 1 ? sqrt(fmax(square - mean * mean, 0) / (rows - 1)) : (double)NAN;
}

enum trib_err trib_residuals_scores(const struct trib_residuals *residuals,
                                    struct trib_residual_scores *ret_scores)
{
    double rows = (double)residuals->rows;
    if (residuals->rows == 0)
        return TRIB_ERR_DATA;
    const double mse = residuals->square / rows;
    const double mae = residuals->absolute / rows;
    const double mape = residuals->relative / rows;
    *ret_scores = (struct trib_residual_scores){
        .mse = mse,
        .rmse = sqrt(mse),
        .mae = mae,
        .mse_error = standard_error(mse, residuals->fourth / rows, rows),
        .mae_error = standard_error(mae, mse, rows),
        .mape_error = standard_error(mape, residuals->relative_square / rows, rows),
        .mape = mape,
        .max_error = residuals->largest,
        .r2 = residuals->rows > 1 ? explained(residuals->square, residuals->target.square)
                                  : (double)NAN,
        .explained_variance = explained(residuals->miss.square, residuals->target.square),
    };
    return TRIB_OK;
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

enum trib_err trib_residuals_median(double *misses, size_t count, double *ret_median)
{
    if (count == 0)
        return TRIB_ERR_DATA;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(misses[i]))
            return TRIB_ERR_DATA;
        misses[i] = fabs(misses[i]);
    }
    qsort(misses, count, sizeof(*misses), by_size);
    const double upper = misses[count / 2];
    const double lower = misses[(count - 1) / 2];
    *ret_median = lower + (upper - lower) / 2; // the sum of two could overflow
    return TRIB_OK;
}
