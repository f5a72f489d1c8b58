// sampler.h - who is asked in a round, and in which order.
//
// The order depends only on the job's seed, the round's number and the devices' names in sorted
// order: never on keys, ids, clocks or arrival, so that a run can be repeated to the byte.
#ifndef TRIB_COORDINATOR_SAMPLER_H
#define TRIB_COORDINATOR_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

// `order` holds the indices 0 .. count-1 of the devices sorted by name; it is permuted.
// The first `cohort` of them are asked; the others replace those who decline or are absent.
void trib_sampler_draw(uint64_t seed, uint64_t round_number, uint32_t *order, size_t count);

#endif // TRIB_COORDINATOR_SAMPLER_H
