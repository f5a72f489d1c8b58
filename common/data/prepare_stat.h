// prepare_stat.h - the statistics that steps are made of, each as sums and what follows from them.
//
// They are given where their coordinates begin, and numbers to keep in what they have found. `noise`:
// the standard deviation of what was added to each total, in multiples of what a row can add to it
// (trib_prepare_bounds), so that of a count it is a number of rows; 0: totals are exact.
#ifndef TRIB_DATA_PREPARE_STAT_H
#define TRIB_DATA_PREPARE_STAT_H

#include "common/data/prepare.h"

// A number of rows; 0 when noise alone could have made it up.
double trib_noisy_rows(double total, double noise);

// ---- Moments of a variable: two passes, or the first alone for the mean
//
// Pass 0: n, sum of x. Pass 1: n, sum of d, sum of d^2 with d = x - mean: the corrected two-pass
// formula (Chan, Golub, LeVeque 1983, eq. 1.7), which does not cancel.
enum {
    TRIB_MOMENTS_FITTED = 3, // n, mean, standard deviation (over n)
    TRIB_MOMENTS_PASSES = 2,
};
size_t trib_moments_sums(size_t pass);
void trib_moments_gather(const double *fitted, size_t pass, double x,
                         struct trib_prepare_sums *sums, size_t first);
void trib_moments_advance(double *fitted, size_t pass, const double *totals, double noise);
// Back to where the moments of values between min and max can be, which noise leads out of; where
// nothing stands out of it the middle, and a quarter of what is between them. A deviation is not
// smaller than what the noise can hide. An end that is infinite (never with noise) does not count.
void trib_moments_confine(double *fitted, size_t pass, double min, double max, double noise);
// `span`: the largest |x - y| of two values; `size`: the largest |x|.
void trib_moments_bounds(size_t pass, double size, double span, double *ret_bounds);

// ---- Quantiles of a variable: exact order statistics of float32 values in three passes
//
// The values' bits, made to sort as the values do, are found from the top: 11 of them in pass 0, 11
// and 10 in the next, each by a histogram of those values that share the bits found so far.
// Quantile q of n values is the smallest that at least q n of them do not exceed (type 1 of Hyndman
// and Fan 1996); 0 is the least of them. What is found is the shortest decimal that is this
// float32, so that a value that was written with up to six digits comes back as it was written.
//
// With noise a bin counts only if it stands out of it: above noise * ln(20 bins) / sqrt(2), where
// one of twenty histograms of nothing but Laplace noise reaches. Ranks are then shares of what is in
// a bin, since no two passes agree on a number; where less than half of a bin stands out, its values
// are taken to be spread evenly, and where less than half of all does, there are none. A share is
// below 1, a rank is not, so that passes with noise and without may follow each other.
enum {
    TRIB_QUANTILE_PASSES = 3,
    TRIB_QUANTILE_BINS = 1 << 11,
    TRIB_QUANTILE_FITTED = 2, // of each: the value (its bits, until the last pass), its rank
};
// fitted: n, then TRIB_QUANTILE_FITTED for each of `asks`.
size_t trib_quantiles_fitted(size_t asks);
size_t trib_quantiles_sums(size_t asks, size_t pass);
void trib_quantiles_gather(const double *fitted, size_t asks, size_t pass, double x,
                           struct trib_prepare_sums *sums, size_t first);
void trib_quantiles_advance(double *fitted, const double *quantiles, size_t asks, size_t pass,
                            const double *totals, double noise);
// After the last pass; 0 when there was no value (n of 0).
double trib_quantiles_value(const double *fitted, size_t ask);

// ---- Counts of the levels of a variable: one pass
// The most frequent level, the first of those that are; `count` if there was none.
size_t trib_counts_mode(const double *totals, size_t count);

#endif // TRIB_DATA_PREPARE_STAT_H
