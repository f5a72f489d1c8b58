// budgets.h - what the simulated devices have spent of their own privacy budgets, each in a ledger
// like a real one's (common/privacy/ledger.h), in memory.
//
// Threads: one at a time.
#ifndef TRIB_SIMULATIONS_BUDGETS_H
#define TRIB_SIMULATIONS_BUDGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/policy.h"
#include "common/privacy/encode.h"
#include "tributary/err.h"

struct trib_budgets;

// `policy`: of every device, borrowed. Ledgers are made when a device is first asked.
TRIB_CHECKED enum trib_err trib_budgets_create(const struct trib_policy *policy, size_t devices,
                                               struct trib_budgets **ret_budgets);
void trib_budgets_destroy(struct trib_budgets *budgets); // NULL is fine

// Is there enough left for a round of this encoding?
TRIB_CHECKED enum trib_err trib_budgets_allow(struct trib_budgets *budgets,
                                              const struct trib_encoding *encoding, size_t device,
                                              bool *ret_allowed);
// Charge it, to a device that was asked and allowed.
TRIB_CHECKED enum trib_err trib_budgets_charge(struct trib_budgets *budgets,
                                               const struct trib_encoding *encoding,
                                               uint64_t round_number, size_t device);

#endif // TRIB_SIMULATIONS_BUDGETS_H
