// secagg_plan.h - the public numbers of secure aggregation: how many take part, may be lost, may lie.
#ifndef TRIB_PRIVACY_SECAGG_PLAN_H
#define TRIB_PRIVACY_SECAGG_PLAN_H

#include <stdint.h>

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

#endif // TRIB_PRIVACY_SECAGG_PLAN_H
