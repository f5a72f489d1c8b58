// ledgers.h - epsilon by every ledger there is, and which of them is the smallest.
#ifndef TRIB_PRIVACY_LEDGERS_H
#define TRIB_PRIVACY_LEDGERS_H

#include <stddef.h>

#include "common/privacy/encode.h"
#include "common/privacy/mechanism.h"
#include "tributary/err.h"

// Of all rounds of a mechanism, at one delta. Infinity: the ledger does not apply, or was not
// computed (TRIB_MECHANISM_LOSS_MAX).
struct trib_ledgers {
    double pure; // at delta 0; with sampling the amplified one
    double zcdp; // without sampling only
    double rdp;
    double pld;         // numerical
    double epsilon;     // the smallest of them
    const char *ledger; // its name: "pure", "zcdp", "rdp" or "pld"; a constant
};

// TRIB_ERR_INVAL with a text for people in `why`; TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_ledgers_of(const struct trib_mechanism *mechanism, double delta,
                                           struct trib_ledgers *ret_ledgers, char *why,
                                           size_t why_size);

// The smallest scale (to 1e-7 of it) whose epsilon is at most `epsilon`; mechanism->scale is not
// read. The same errors; a target that no scale meets is TRIB_ERR_INVAL.
TRIB_CHECKED enum trib_err trib_ledgers_solve(const struct trib_mechanism *mechanism,
                                              double epsilon, double delta, double *ret_scale,
                                              char *why, size_t why_size);

// What a fleet's rounds cost against an outsider: somebody who sees published models and does not
// know who took part, when each device takes part in a round with probability q by its own secret
// coin. It never holds against the coordinator, who sees connections. The smallest of the pure
// ledger amplified, the Renyi bound for any sampled mechanism, and the epsilon without sampling.
double trib_epsilon_outsiders(const struct trib_encoding *encoding, double q, uint64_t rounds,
                              double delta);

#endif // TRIB_PRIVACY_LEDGERS_H
