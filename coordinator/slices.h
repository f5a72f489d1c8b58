// slices.h - the sums of a tally round by the groups of the devices that counted.
//
// Only with privacy off: in the other modes a group is not to be told apart from the whole, or
// would cost a budget of its own.
#ifndef TRIB_COORDINATOR_SLICES_H
#define TRIB_COORDINATOR_SLICES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "coordinator/aggregate.h"
#include "coordinator/tally_round.h"
#include "tributary/err.h"

enum {
    TRIB_SLICES_MAX = 32, // groups; with more there is no report by group
};

struct trib_slices {
    size_t count; // 0: all devices are of one group, or there are too many groups
    struct trib_tally_slice slices[TRIB_SLICES_MAX]; // by name
    double *values;                                  // of all of them, owned
};

// `groups`: of the members of `plan`, in their order; borrowed by the slices. `plan` is that of the
// whole round, whose segment is read once more for each group.
TRIB_CHECKED enum trib_err trib_slices_sum(const struct trib_job *job,
                                           const struct trib_round_shape *shape,
                                           const struct trib_aggregate_plan *plan,
                                           const char (*groups)[TRIB_NAME_MAX + 1],
                                           struct trib_segment *segment,
                                           struct trib_slices *ret_slices);
void trib_slices_fini(struct trib_slices *slices);

#endif // TRIB_COORDINATOR_SLICES_H
