#include "common/math/intervals.h"

#include <math.h>

#define Z TRIB_CONFIDENCE_ERRORS

static const struct trib_interval none = {(double)NAN, (double)NAN};

struct trib_interval trib_interval_share(double share, double rows)
{
    if (!(rows >= 1) || !(share >= 0 && share <= 1))
        return none;
    // Wilson 1927: the shares q for which |share - q| <= z sqrt(q (1 - q) / rows)
    const double pull = Z * Z / rows;
    const double centre = (share + pull / 2) / (1 + pull);
    const double half = sqrt(pull * (share * (1 - share) + pull / 4)) / (1 + pull);
    return (struct trib_interval){fmax(centre - half, 0), fmin(centre + half, 1)};
}

struct trib_interval trib_interval_mean(double mean, double error)
{
    if (!isfinite(mean) || !isfinite(error))
        return none;
    return (struct trib_interval){fmax(mean - Z * error, 0), mean + Z * error};
}

struct trib_interval trib_interval_below_one(double value, double error, double lowest)
{
    if (!isfinite(value) || !isfinite(error))
        return none;
    return (struct trib_interval){fmax(value - Z * error, lowest), fmin(value + Z * error, 1)};
}

double trib_auc_error(double auc, double positives, double negatives)
{
    if (!(auc >= 0 && auc <= 1) || !(positives >= 1) || !(negatives >= 1))
        return (double)NAN;
    const double square = auc * auc;
    const double one = auc / (2 - auc);        // two positives both above a negative
    const double two = 2 * square / (1 + auc); // a positive above two negatives
    const double variance =
        (auc * (1 - auc) + (positives - 1) * (one - square) + (negatives - 1) * (two - square)) /
        (positives * negatives);
    return sqrt(fmax(variance, 0));
}

struct trib_interval trib_interval_auc(double auc, double positives, double negatives)
{
    return trib_interval_below_one(auc, trib_auc_error(auc, positives, negatives), 0);
}

struct trib_interval trib_interval_precision(double average, double positives)
{
    if (!(average > 0 && average < 1) || !(positives >= 1))
        return none;
    const double logit = log(average / (1 - average));
    const double half = Z / sqrt(positives * average * (1 - average));
    return (struct trib_interval){1 / (1 + exp(half - logit)), 1 / (1 + exp(-half - logit))};
}
