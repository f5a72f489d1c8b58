#include "coordinator/latency.h"

#include <stddef.h>

// An fsync takes a millisecond or less on a good disk, and seconds on one that is dying.
const double trib_latency_bounds[TRIB_LATENCY_BOUNDS] = {0.001, 0.0025, 0.01, 0.025,
                                                         0.1,   0.25,   1,    5};

void trib_latency_add(struct trib_latency *latency, uint64_t us)
{
    size_t at = 0;
    while (at < TRIB_LATENCY_BOUNDS && (double)us > trib_latency_bounds[at] * 1e6)
        at++;
    latency->counts[at]++;
    latency->sum_us += us;
}
