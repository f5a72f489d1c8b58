#include "client/policy.h"

#include <stdio.h>
#include <string.h>

#include "common/privacy/accountant.h"
#include "common/privacy/mode.h"

static const uint64_t DAY_MS = 86400000;

static const struct trib_conf_key policy_keys[] = {
    {"client.policy", "allowed_modes", TRIB_CONF_TEXT, offsetof(struct trib_policy, allowed_modes),
     "distributed,local", "privacy modes this device takes part in", 0, 0, NULL},
    {"client.policy", "max_epsilon_pure_round", TRIB_CONF_REAL,
     offsetof(struct trib_policy, max_epsilon_pure_round), "0",
     "most pure epsilon a round may cost; 0: any", 0, 1e9, NULL},
    {"client.policy", "max_rho_round", TRIB_CONF_REAL, offsetof(struct trib_policy, max_rho_round),
     "0", "most zCDP rho a round may cost; 0: any", 0, 1e9, NULL},
    {"client.policy", "min_cohort", TRIB_CONF_INT, offsetof(struct trib_policy, min_cohort), "20",
     "fewest members of secure aggregation this device hides among", 2, TRIB_COHORT_MAX, NULL},
    {"client.policy", "min_threshold", TRIB_CONF_INT, offsetof(struct trib_policy, min_threshold),
     "0", "fewest devices in a sum that may be opened; 0: more than half of the members", 0,
     TRIB_COHORT_MAX, NULL},
    {"client.policy", "min_colluders_frac", TRIB_CONF_REAL,
     offsetof(struct trib_policy, min_colluders_frac), "0",
     "least share of the members that the noise must hold against when they collude; 0: any", 0,
     0.5, NULL},
    {"client.policy", "roster_pk", TRIB_CONF_TEXT, offsetof(struct trib_policy, roster_pk), "",
     "public key of whom vouches for members; empty: the one learned at enrolment", 0, 0, NULL},
    {"client.policy", "budget_epsilon_pure_total", TRIB_CONF_REAL,
     offsetof(struct trib_policy, budget_epsilon_pure_total), "0",
     "most pure epsilon all rounds may cost together; 0: no limit", 0, 1e12, NULL},
    {"client.policy", "budget_epsilon_total", TRIB_CONF_REAL,
     offsetof(struct trib_policy, budget_epsilon_total), "0",
     "most epsilon at budget_delta all rounds may cost together; 0: no limit", 0, 1e12, NULL},
    {"client.policy", "budget_delta", TRIB_CONF_REAL, offsetof(struct trib_policy, budget_delta),
     "1e-6", "delta of budget_epsilon_total and of what `privacy` reports", 1e-15, 0.1, NULL},
    {"client.policy", "budget_rho_total", TRIB_CONF_REAL,
     offsetof(struct trib_policy, budget_rho_total), "0",
     "most zCDP rho all rounds may cost together; 0: no limit", 0, 1e12, NULL},
    {"client.policy", "budget_window_days", TRIB_CONF_INT,
     offsetof(struct trib_policy, budget_window_days), "0",
     "days after which spending is forgotten; 0: never", 0, 36500, NULL},
};

void trib_policy_conf_add(struct trib_conf *conf, struct trib_policy *policy)
{
    trib_conf_add(conf, policy_keys, sizeof(policy_keys) / sizeof(policy_keys[0]), policy);
}

bool trib_policy_allows_plan(const struct trib_policy *policy, const struct trib_secagg_plan *plan,
                             char *why, size_t size)
{
    if (trib_secagg_plan_check(plan)) {
        (void)snprintf(why, size, "thresholds that protect nobody");
        return false;
    }
    if (plan->members < policy->min_cohort) {
        (void)snprintf(why, size, "a cohort of %u is below min_cohort %llu", plan->members,
                       (unsigned long long)policy->min_cohort);
        return false;
    }
    if (plan->threshold < policy->min_threshold) {
        (void)snprintf(why, size, "a sum of %u devices could be opened, min_threshold is %llu",
                       plan->threshold, (unsigned long long)policy->min_threshold);
        return false;
    }
    if (plan->colluders < policy->min_colluders_frac * plan->members) {
        (void)snprintf(why, size,
                       "the noise holds against %u of %u devices, min_colluders_frac is %.3g",
                       plan->colluders, plan->members, policy->min_colluders_frac);
        return false;
    }
    return true;
}

struct trib_budget trib_policy_budget(const struct trib_policy *policy)
{
    return (struct trib_budget){
        .epsilon_pure = policy->budget_epsilon_pure_total,
        .rho = policy->budget_rho_total,
        .epsilon = policy->budget_epsilon_total,
        .delta = policy->budget_delta,
        .window_ms = policy->budget_window_days * DAY_MS,
    };
}

// The next word of a comma-separated list; false at its end.
static bool next_word(const char **list, const char **ret_word, size_t *ret_size)
{
    *list += strspn(*list, ", ");
    *ret_word = *list;
    *ret_size = strcspn(*list, ", ");
    *list += *ret_size;
    return *ret_size > 0;
}

static bool word_is(const char *word, size_t size, const char *text)
{
    return strlen(text) == size && strncmp(word, text, size) == 0;
}

bool trib_policy_check(const struct trib_policy *policy, char *ret_word, size_t size)
{
    const char *list = policy->allowed_modes;
    const char *word;
    size_t length;
    while (next_word(&list, &word, &length)) {
        bool is_known = false;
        for (int mode = TRIB_PRIVACY_OFF; mode <= TRIB_PRIVACY_CENTRAL; mode++)
            is_known = is_known ||
                       word_is(word, length, trib_privacy_mode_text((enum trib_privacy_mode)mode));
        if (!is_known) {
            (void)snprintf(ret_word, size, "%.*s", (int)length, word);
            return false;
        }
    }
    return true;
}

static bool mode_is_allowed(const struct trib_policy *policy, enum trib_privacy_mode mode)
{
    const char *list = policy->allowed_modes;
    const char *word;
    size_t length;
    while (next_word(&list, &word, &length)) {
        if (word_is(word, length, trib_privacy_mode_text(mode)))
            return true;
    }
    return false;
}

bool trib_policy_allows(const struct trib_policy *policy, const struct trib_encoding *encoding,
                        char *why, size_t size)
{
    if (!mode_is_allowed(policy, encoding->mode)) {
        (void)snprintf(why, size, "privacy mode %s is not in client.policy.allowed_modes",
                       trib_privacy_mode_text(encoding->mode));
        return false;
    }
    if (encoding->mode == TRIB_PRIVACY_OFF)
        return true;
    double pure = trib_epsilon_pure(encoding);
    double rho = trib_rho_of(encoding);
    if (policy->max_epsilon_pure_round > 0 && pure > policy->max_epsilon_pure_round) {
        (void)snprintf(why, size, "pure epsilon %.4g a round is above max_epsilon_pure_round %.4g",
                       pure, policy->max_epsilon_pure_round);
        return false;
    }
    if (policy->max_rho_round > 0 && rho > policy->max_rho_round) {
        (void)snprintf(why, size, "rho %.4g a round is above max_rho_round %.4g", rho,
                       policy->max_rho_round);
        return false;
    }
    return true;
}
