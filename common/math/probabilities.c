#include "common/math/probabilities.h"

#include <math.h>

enum trib_err trib_probabilities_check(const double *p, size_t classes)
{
    const double apart_max = 1e-5; // many float32 of a softmax, each rounded
    double sum = 0;
    for (size_t c = 0; c < classes; c++) {
        if (!(p[c] >= 0 && p[c] <= 1))
            return TRIB_ERR_DATA;
        sum += p[c];
    }
    return fabs(sum - 1) <= apart_max ? TRIB_OK : TRIB_ERR_DATA;
}

static double clipped(double p, double clip)
{
    return fmin(fmax(p, clip), 1 - clip);
}

double trib_log_loss(const double *p, size_t classes, size_t label, double clip)
{
    double sum = 0;
    for (size_t c = 0; c < classes; c++)
        sum += clipped(p[c], clip);
    return -log(clipped(p[label], clip) / sum);
}

double trib_brier(const double *p, size_t classes, size_t label)
{
    double sum = 0;
    if (classes == 2)
        return (p[1] - (double)label) * (p[1] - (double)label);
    for (size_t c = 0; c < classes; c++) {
        const double miss = p[c] - (c == label ? 1 : 0);
        sum += miss * miss;
    }
    return sum;
}

bool trib_is_in_top(const double *p, size_t classes, size_t label, size_t k)
{
    size_t ahead = 0;
    for (size_t c = 0; c < classes; c++)
        ahead += p[c] > p[label] || (c < label && !(p[c] < p[label]));
    return ahead < k;
}
