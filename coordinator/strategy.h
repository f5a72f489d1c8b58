// strategy.h - from the mean delta to the next version.
#ifndef TRIB_COORDINATOR_STRATEGY_H
#define TRIB_COORDINATOR_STRATEGY_H

#include <stddef.h>

#include "tributary/err.h"

// FedAvg with a server learning rate (McMahan et al. 2017, Alg. 1; Reddi et al. 2021, Alg. 1 with
// SGD): next = base + rate * mean. All vectors have `count` floats; `ret_next` may be `base`.
// TRIB_ERR_DATA if a value is not finite: such a version is never committed.
TRIB_CHECKED enum trib_err trib_strategy_fedavg(const float *base, const float *mean, size_t count,
                                                double server_learning_rate, float *ret_next);

// Tail averaging (docs/privacy-math.md 7): the mean of versions, summed in double in the order in
// which they are added. `sums` has `count` doubles, zero at the start.
void trib_strategy_tail_add(double *sums, const float *version, size_t count);
void trib_strategy_tail_finish(const double *sums, size_t count, size_t versions, float *ret_mean);

#endif // TRIB_COORDINATOR_STRATEGY_H
