// vouched.h - which members' roster signatures were found good before.
//
// A roster's signature on a device does not change from round to round, and each round brings those
// of the whole cohort; to verify one takes as long as the rest of what is checked of an entry. What
// is remembered is a digest of everything that was verified: the roster key, population, name, key
// and signature. Bounded; any thread.
#ifndef TRIB_PRIVACY_VOUCHED_H
#define TRIB_PRIVACY_VOUCHED_H

#include <stdbool.h>

#include "common/privacy/secagg.h"
#include "tributary/err.h"

enum {
    TRIB_VOUCHED_MAX = 2 * TRIB_COHORT_MAX // signatures; when there are more, all are forgotten
};

struct trib_vouched;

TRIB_CHECKED enum trib_err trib_vouched_create(struct trib_vouched **ret_vouched);
void trib_vouched_destroy(struct trib_vouched *vouched); // NULL is fine

// Does the roster key vouch for this member? As trib_roster_verify; `vouched` may be NULL.
bool trib_vouched_check(struct trib_vouched *vouched,
                        const uint8_t roster_key[static TRIB_SIGN_KEY_SIZE], const char *population,
                        const struct trib_secagg_entry *entry);

// Signatures that were really verified, for tests.
uint64_t trib_vouched_verified(const struct trib_vouched *vouched);

#endif // TRIB_PRIVACY_VOUCHED_H
