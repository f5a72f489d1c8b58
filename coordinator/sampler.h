// sampler.h - who is asked in a round, and in which order.
//
// The order depends only on the job's seed, the round's number and the devices' names in sorted
// order: never on keys, ids, clocks or arrival, so that a run can be repeated to the byte.
#ifndef TRIB_COORDINATOR_SAMPLER_H
#define TRIB_COORDINATOR_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

// `order` holds the indices 0 .. count-1 of the devices sorted by name; it is permuted.
// The first `cohort` of them are asked; the others replace those who decline or are absent.
void trib_sampler_draw(uint64_t seed, uint64_t round_number, uint32_t *order, size_t count);

// Reorder what was drawn so that the groups of devices have their shares in the first of them,
// however many are taken: at each place comes the first device of the group that is furthest behind
// its share, as long as it has devices left, so that of 100 and more each share is met to about 1
// %. `groups` names the group of the device at each place of `order` (count), by number below
// `group_count`. Equal shares, or those that the groups have of all devices.
TRIB_CHECKED enum trib_err trib_sampler_stratify(uint32_t *order, const uint32_t *groups,
                                                 size_t count, uint32_t group_count, bool is_equal);

#endif // TRIB_COORDINATOR_SAMPLER_H
