// latency.h - how long something took, as a histogram with a few fixed bounds.
#ifndef TRIB_COORDINATOR_LATENCY_H
#define TRIB_COORDINATOR_LATENCY_H

#include <stdint.h>

enum {
    TRIB_LATENCY_BOUNDS = 8
};

// Zero-initialise to start.
struct trib_latency {
    uint64_t counts[TRIB_LATENCY_BOUNDS + 1]; // by upper bound; the last one: what took longer
    uint64_t sum_us;
};

// Upper bounds in seconds, ascending, inclusive.
extern const double trib_latency_bounds[TRIB_LATENCY_BOUNDS];

void trib_latency_add(struct trib_latency *latency, uint64_t us);

#endif // TRIB_COORDINATOR_LATENCY_H
