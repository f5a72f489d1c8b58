#include "coordinator/strategy.h"

#include <math.h>
#include <stdbool.h>

enum trib_err trib_strategy_fedavg(const float *base, const float *mean, size_t count,
                                   double server_learning_rate, float *ret_next)
{
    bool is_finite = true;
    for (size_t i = 0; i < count; i++) {
        ret_next[i] = (float)((double)base[i] + server_learning_rate * (double)mean[i]);
        is_finite = is_finite && isfinite(ret_next[i]);
    }
    return is_finite ? TRIB_OK : TRIB_ERR_DATA;
}

void trib_strategy_tail_add(double *sums, const float *version, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sums[i] += (double)version[i];
}

void trib_strategy_tail_finish(const double *sums, size_t count, size_t versions, float *ret_mean)
{
    for (size_t i = 0; i < count; i++)
        ret_mean[i] = (float)(sums[i] / (double)versions);
}
