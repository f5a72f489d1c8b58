// clopper_pearson.h - exact confidence bounds of a probability from `hits` in `trials`
// (Clopper & Pearson 1934): each holds with probability at least 1 - alpha.
#ifndef TRIB_TESTS_UNIT_CLOPPER_PEARSON_H
#define TRIB_TESTS_UNIT_CLOPPER_PEARSON_H

#include <math.h>
#include <stdint.h>

// The continued fraction of the incomplete beta function (DLMF 8.17.22), by the method of Lentz.
// Converges within about the root of the larger parameter where x < (a + 1) / (a + b + 2).
static inline double clopper_pearson_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double numerator = 1, denominator = 1 - (a + b) * x / (a + 1);
    denominator = 1 / (fabs(denominator) < tiny ? tiny : denominator);
    double value = denominator;
    for (int m = 1; m < 100000; m++) {
        for (int half = 0; half < 2; half++) {
            double d = half == 0 ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                                 : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
            denominator = 1 + d * denominator;
            numerator = 1 + d / numerator;
            denominator = 1 / (fabs(denominator) < tiny ? tiny : denominator);
            numerator = fabs(numerator) < tiny ? tiny : numerator;
            value *= numerator * denominator;
        }
        if (fabs(numerator * denominator - 1) < 1e-15)
            break;
    }
    return value;
}

// P(X >= hits), X binomial with probability p: the incomplete beta function I_p(hits, trials -
// hits + 1). 0 < hits <= trials.
static inline double clopper_pearson_tail(uint64_t hits, uint64_t trials, double p)
{
    const double a = (double)hits;
    const double b = (double)(trials - hits) + 1;
    const double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(p) + b * log1p(-p));
    if (p < (a + 1) / (a + b + 2))
        return front * clopper_pearson_fraction(a, b, p) / a;
    return 1 - front * clopper_pearson_fraction(b, a, 1 - p) / b;
}

static inline double clopper_pearson_lower(uint64_t hits, uint64_t trials, double alpha)
{
    double low = 0;
    double high = 1;
    if (hits == 0)
        return 0;
    for (int step = 0; step < 60; step++) { // the tail grows with p
        double p = low + (high - low) / 2;
        if (clopper_pearson_tail(hits, trials, p) < alpha)
            low = p;
        else
            high = p;
    }
    return low;
}

static inline double clopper_pearson_upper(uint64_t hits, uint64_t trials, double alpha)
{
    return 1 - clopper_pearson_lower(trials - hits, trials, alpha);
}

#endif // TRIB_TESTS_UNIT_CLOPPER_PEARSON_H
