// secagg_plan.h - the numbers of a round of secure aggregation: how many must stay, how many may
// collude, and who shares secrets with whom (docs/privacy-math.md 3.2, 4.3, 4.4).
//
// Of n members at least T must stay to the end, or nothing is opened. With c colluders, 2T > n + c
// keeps a lying coordinator from opening two different sums of one round, and m = T - c honest
// members are left in any sum that is opened: their m shares make up the whole noise.
#ifndef TRIB_PRIVACY_SECAGG_PLAN_H
#define TRIB_PRIVACY_SECAGG_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

enum {
    TRIB_SECAGG_COMPLETE_MAX = 128, // up to here everybody shares with everybody
    TRIB_SECAGG_MEMBERS_MAX = 10000,
};

// All zero when the mode is not distributed.
struct trib_secagg_plan {
    uint32_t members;             // n: devices asked, the most that may advertise keys
    uint32_t threshold;           // T: survivors without which there is no sum
    uint32_t drop_max;            // D: members that may be lost, T = n - D
    uint32_t colluders;           // c: members that may side with the coordinator
    uint32_t shares;              // m = T - c: honest noise shares that are always in the sum
    uint32_t neighbours;          // k: masks and shares go to this many; 0: to everybody
    uint32_t neighbour_threshold; // t of Shamir's scheme; T when everybody is a neighbour
};

// T = threshold_frac n rounded up, D = n - T, c = colluders_frac n rounded up. The graph is
// complete up to TRIB_SECAGG_COMPLETE_MAX members, and wherever the sparse one would have no fewer
// neighbours. TRIB_ERR_INVAL with a text for people in `why` when no sound numbers follow.
TRIB_CHECKED enum trib_err trib_secagg_plan_make(uint64_t members, double threshold_frac,
                                                 double colluders_frac,
                                                 struct trib_secagg_plan *ret_plan, char *why,
                                                 size_t why_size);

// Can a device rely on these numbers? They come from a coordinator that may be hostile: all of the
// above must hold, and the graph must be the one that _make chooses for n, D and c.
TRIB_CHECKED enum trib_err trib_secagg_plan_check(const struct trib_secagg_plan *plan);

#endif // TRIB_PRIVACY_SECAGG_PLAN_H
