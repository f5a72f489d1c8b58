// cohort.h - secure aggregation among the devices of one process: the same members and the same hub
// as between real ones, without sockets.
//
// Devices train one after another (or on threads), so that no more than a worker's share of memory
// is in use: keys and shares are dealt out first, and each device's words are masked as soon as
// they are there. What comes out is what real devices would have made.
#ifndef TRIB_SIMULATIONS_COHORT_H
#define TRIB_SIMULATIONS_COHORT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/pool.h"
#include "common/privacy/secagg.h"
#include "tributary/err.h"

struct trib_cohort;

// `devices` could take part; their long-term keys are made when they first do. `pool` is borrowed.
TRIB_CHECKED enum trib_err trib_cohort_create(size_t devices, uint32_t cohort_min,
                                              struct trib_pool *pool,
                                              struct trib_cohort **ret_cohort);
void trib_cohort_destroy(struct trib_cohort *cohort); // NULL is fine

// A member of a round: the caller's number for it and the device that it is.
struct trib_cohort_member {
    uint32_t tag;
    uint32_t device;
    const char *name; // borrowed for the call
};

// R0 and R1 of `members`. `header` lacks who is invited and who vouches; that is filled in here.
// TRIB_ERR_PRIVACY: a member found something wrong, logged; TRIB_ERR_STATE: fewer than T.
TRIB_CHECKED enum trib_err trib_cohort_begin(struct trib_cohort *cohort,
                                             const struct trib_secagg_header *header,
                                             const struct trib_cohort_member *members,
                                             uint32_t count);
// R2 of the member `tag`, from any thread, for different members at once.
TRIB_CHECKED enum trib_err trib_cohort_mask(struct trib_cohort *cohort, uint32_t tag,
                                            int32_t *words, size_t count);
// Its words are in the sum. From one thread at a time.
TRIB_CHECKED enum trib_err trib_cohort_masked(struct trib_cohort *cohort, uint32_t tag);
// R3 and R4: afterwards the hub is open.
TRIB_CHECKED enum trib_err trib_cohort_finish(struct trib_cohort *cohort);
const struct trib_secagg_hub *trib_cohort_hub(const struct trib_cohort *cohort);

// Bytes that would have gone over the wire since _begin, beside the words: to all devices and from
// all.
void trib_cohort_bytes(const struct trib_cohort *cohort, uint64_t *ret_up, uint64_t *ret_down);

#endif // TRIB_SIMULATIONS_COHORT_H
