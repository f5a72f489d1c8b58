// policy.h - what the device itself allows, whatever a coordinator asks ([client.policy]).
#ifndef TRIB_CLIENT_POLICY_H
#define TRIB_CLIENT_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/conf.h"
#include "common/privacy/encode.h"
#include "common/privacy/ledger.h"
#include "common/privacy/secagg_plan.h"
#include "common/wire/message.h"

struct trib_policy {
    trib_conf_text allowed_modes;  // words of privacy modes, separated by commas
    double max_epsilon_pure_round; // 0: any
    double max_rho_round;          // 0: any
    uint64_t min_cohort;           // fewest members of secure aggregation
    uint64_t min_threshold;        // fewest survivors of a sum; 0: more than half of the members
    double min_colluders_frac;     // least share of members a plan must allow to collude; 0: any
    trib_conf_text roster_pk;      // who vouches for them, base64; "" : the key of enrolment
    bool has_roster_key;           // from roster_pk, by state.c
    uint8_t roster_key[32];
    // Of all rounds together, whoever asks; 0: no limit
    double budget_epsilon_pure_total, budget_rho_total;
    double budget_epsilon_total, budget_delta;
    uint64_t budget_window_days; // 0: lifetime
};

// Add the keys of [client.policy]; defaults go to `policy`.
void trib_policy_conf_add(struct trib_conf *conf, struct trib_policy *policy);

// Is the list of modes made of known words? On failure `ret_word` is the first unknown one.
bool trib_policy_check(const struct trib_policy *policy, char *ret_word, size_t size);

// May the device take part in a round with this encoding and this many parameters? When not,
// `why` says so in a few words. The cost is computed here from the integers of the encoding: what
// the coordinator claims it to be does not matter.
bool trib_policy_allows(const struct trib_policy *policy, const struct trib_encoding *encoding,
                        char *why, size_t size);

// May it take part in secure aggregation with these numbers? They come from a coordinator that may
// be hostile (secagg_plan.h says what must hold in any case).
bool trib_policy_allows_plan(const struct trib_policy *policy, const struct trib_secagg_plan *plan,
                             char *why, size_t size);

// The limits that the device's ledger keeps.
struct trib_budget trib_policy_budget(const struct trib_policy *policy);

#endif // TRIB_CLIENT_POLICY_H
