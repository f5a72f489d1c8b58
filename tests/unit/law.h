// law.h - the laws of the noise as functions, in floats, and how far a sample is from them.
//
// Nothing of the samplers is used here: they are judged by it.
#ifndef TRIB_TESTS_UNIT_LAW_H
#define TRIB_TESTS_UNIT_LAW_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/chi_square.h"

// P(X <= x) of discrete Laplace noise, exact: l^-x / (1 + l) below 0, 1 - l^(x+1) / (1 + l) above.
static inline double law_dlap_cdf(int64_t x, double t)
{
    double l = exp(-1 / t);
    return x < 0 ? exp((double)x / t) / (1 + l) : 1 - exp(-(double)(x + 1) / t) / (1 + l);
}

// P(X = n), n < count, of the negative binomial law NB(r, l).
static inline void law_nb_pmf(double r, double t, double *ret_pmf, size_t count)
{
    double l = exp(-1 / t);
    ret_pmf[0] = pow(-expm1(-1 / t), r);
    for (size_t n = 1; n < count; n++)
        ret_pmf[n] = ret_pmf[n - 1] * l * ((double)n - 1 + r) / (double)n;
}

// P(X - Y = d), X and Y with the law of `pmf`.
static inline double law_difference(const double *pmf, size_t count, size_t d)
{
    double sum = 0;
    for (size_t n = 0; n + d < count; n++)
        sum += pmf[n] * pmf[n + d];
    return sum;
}

// E cos(a Z) of a sum of `shares_in` shares of 1/shares each, exact: for one share it is
// ((1 - l)^2 / (1 - 2 l cos a + l^2))^(1/shares), from the generating function of NB.
static inline double law_share_cosine(double a, double t, double shares_in, double shares)
{
    double gap = -expm1(-1 / t); // 1 - l, and below l = 1 - gap: t may be large
    double half = sin(a / 2);
    double ratio = gap * gap / (gap * gap + 4 * (1 - gap) * half * half);
    return pow(ratio, shares_in / shares);
}

static inline int law_by_size(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a;
    const int32_t y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

// Kolmogorov & Smirnov against discrete Laplace noise: the largest distance of the two
// distribution functions, times the root of the count. Sorts the sample.
static inline double law_dlap_distance(int32_t *sample, size_t count, double t)
{
    double largest = 0;
    qsort(sample, count, sizeof(*sample), law_by_size);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && sample[i + 1] == sample[i])
            continue; // only the last of equal ones is where the step ends
        double above = fabs((double)(i + 1) / (double)count - law_dlap_cdf(sample[i], t));
        double next = i + 1 < count ? law_dlap_cdf((int64_t)sample[i + 1] - 1, t) : 1;
        double before_next = fabs((double)(i + 1) / (double)count - next);
        largest = fmax(largest, fmax(above, before_next));
    }
    return largest * sqrt((double)count);
}

// Exceeded with p < 1e-6 (Massart 1990: 2 exp(-2 d^2); for a discrete law it is less still).
#define LAW_DISTANCE_MAX 2.694

#endif // TRIB_TESTS_UNIT_LAW_H
