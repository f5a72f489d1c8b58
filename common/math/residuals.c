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
    residuals->target_cube += target * target * target;
    residuals->target_fourth += target * target * target * target;
    residuals->square_target += miss * miss * target;
    residuals->square_target_square += miss * miss * target * target;
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
    residuals->target_cube += from->target_cube;
    residuals->target_fourth += from->target_fourth;
    residuals->square_target += from->square_target;
    residuals->square_target_square += from->square_target_square;
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

double trib_r2_error(const struct trib_r2_sums *sums)
{
    // The fourth powers around the mean are what is left of terms up to the mean's fourth power.
    static const double least = 1.0 / 2000;
    const double n = sums->rows, mean = sums->target / n;
    const double u = sums->square / n, v = sums->target_square / n - mean * mean;
    if (!(n > 1) || !(v > least * least * mean * mean))
        return (double)NAN;
    const double second = sums->target_square / n, third = sums->target_cube / n;
    const double target_fourth = sums->target_fourth / n - 4 * mean * third +
                                 6 * mean * mean * second - 3 * mean * mean * mean * mean;
    const double both =
        sums->square_target_square / n - 2 * mean * sums->square_target / n + mean * mean * u;
    const double ratio = u / v;
    const double spread = sums->fourth / n - 2 * ratio * both + ratio * ratio * target_fourth;
    return sqrt(fmax(spread, 0) / n) / v;
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
    const double mean = residuals->target.mean;
    const struct trib_r2_sums r2 = {rows,
                                    residuals->square,
                                    residuals->fourth,
                                    mean * rows,
                                    residuals->target.square + mean * mean * rows,
                                    residuals->target_cube,
                                    residuals->target_fourth,
                                    residuals->square_target,
                                    residuals->square_target_square};
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
        .r2_error = trib_r2_error(&r2),
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
