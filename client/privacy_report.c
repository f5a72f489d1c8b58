#include "client/privacy_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/state.h"
#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/privacy/ledger.h"

#define UNIT "one device, zero-out"

struct report {
    struct trib_state_enrolment enrolment;
    struct trib_state_config config;
    uint8_t whom[TRIB_LEDGER_WHOM_SIZE]; // of the enrolment
    struct trib_ledger_totals totals;
    struct trib_ledger_entry *entries; // owned
    size_t count, capacity;
    bool has_failed; // no memory
};

static void keep(void *user, const struct trib_ledger_entry *entry)
{
    struct report *report = user;
    if (report->count == report->capacity) {
        const size_t capacity = report->capacity ? 2 * report->capacity : 64;
        struct trib_ledger_entry *entries =
            report->has_failed ? NULL : trib_alloc_array(capacity, sizeof(*entries));
        if (!entries) {
            report->has_failed = true;
            return;
        }
        if (report->entries)
            memcpy(entries, report->entries, report->count * sizeof(*entries));
        free(report->entries);
        report->entries = entries;
        report->capacity = capacity;
    }
    report->entries[report->count++] = *entry;
}

static enum trib_err load(struct report *report, const char *dir)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_state_keys keys;
    struct trib_ledger *ledger;
    enum trib_err err = trib_state_enrolment_load(dir, &report->enrolment);
    if (!err)
        err = trib_path_join(path, dir, "client.ini");
    if (!err)
        err = trib_state_config_load(path, &report->config);
    if (!err)
        err = trib_state_keys_load(dir, &keys);
    if (err)
        return err;
    const struct trib_ledger_options options = {
        .dir = dir,
        .secret = keys.ledger,
        .budget = trib_policy_budget(&report->config.policy),
        .is_reader = true,
        .visit = keep,
        .user = report,
    };
    err = trib_ledger_open(&options, &ledger);
    trib_state_keys_wipe(&keys);
    if (err)
        return err;
    trib_ledger_totals(ledger, &report->totals);
    trib_ledger_close(ledger);
    trib_ledger_whom(report->enrolment.first_key, report->enrolment.population, report->whom);
    return report->has_failed ? TRIB_ERR_NOMEM : TRIB_OK;
}

// ---- What both forms say

// The smaller of the two ledgers at the owner's delta, and which that is.
static double epsilon_of(const struct report *report, const struct trib_privacy_spent *spent,
                         const char **ret_ledger)
{
    const double epsilon = trib_privacy_epsilon(spent, report->config.policy.budget_delta);
    *ret_ledger = epsilon < spent->epsilon_pure ? "zcdp" : "pure";
    return epsilon;
}

static struct trib_privacy_spent spent_of(const struct trib_charge *charge)
{
    return (struct trib_privacy_spent){
        .rounds = 1, .epsilon_pure = charge->epsilon_pure, .rho = charge->rho};
}

static double left_of(double limit, double spent)
{
    return spent < limit ? limit - spent : 0;
}

static bool is_ours(const struct report *report, const struct trib_ledger_entry *entry)
{
    return memcmp(entry->charge.whom, report->whom, sizeof(report->whom)) == 0;
}

// ---- JSON

static void put_spent(struct trib_buf *json, const struct report *report,
                      const struct trib_privacy_spent *spent)
{
    const char *ledger;
    const double epsilon = epsilon_of(report, spent, &ledger);
    trib_json_real(json, "epsilon_pure", spent->epsilon_pure);
    trib_json_real(json, "rho", spent->rho);
    trib_json_real(json, "epsilon", epsilon);
    trib_json_real(json, "delta", report->config.policy.budget_delta);
    trib_json_text(json, "ledger", ledger);
    trib_json_text(json, "unit", UNIT);
}

static void put_entry(struct trib_buf *json, const struct report *report,
                      const struct trib_ledger_entry *entry)
{
    const struct trib_charge *charge = &entry->charge;
    const struct trib_privacy_spent spent = spent_of(charge);
    char when[TRIB_CLOCK_TEXT_SIZE];
    char whom[2 * TRIB_LEDGER_WHOM_SIZE + 1];
    char text[160];
    trib_clock_text(entry->wall_ms, when);
    trib_hex_encode(charge->whom, sizeof(charge->whom), whom);
    trib_privacy_against(charge->mode, &charge->cohort, text, sizeof(text));
    trib_json_open(json, NULL, '{');
    trib_json_uint(json, "sequence", entry->sequence);
    trib_json_text(json, "kind", entry->refunds ? "refund" : "reserve");
    if (entry->refunds)
        trib_json_uint(json, "refunds", entry->refunds);
    trib_json_text(json, "time", when);
    trib_json_text(json, "whom", whom);
    trib_json_text(json, "coordinator", is_ours(report, entry) ? report->enrolment.url : NULL);
    trib_json_text(json, "population",
                   is_ours(report, entry) ? report->enrolment.population : NULL);
    trib_json_uint(json, "job", charge->job);
    trib_json_uint(json, "round_id", charge->round_id);
    trib_json_text(json, "mode", trib_privacy_mode_text(charge->mode));
    trib_json_text(json, "adversary", text);
    trib_json_uint(json, "s1", charge->s1);
    trib_json_uint(json, "s2", charge->s2);
    trib_json_uint(json, "t", (uint64_t)1 << (charge->grid_bits & 63));
    trib_json_uint(json, "m", charge->shares);
    if (charge->mode == TRIB_PRIVACY_DISTRIBUTED && charge->cohort.members) {
        trib_json_uint(json, "members", charge->cohort.members);
        trib_json_uint(json, "colluders", charge->cohort.colluders);
        trib_json_text(json, "roster", charge->cohort.is_vouched_apart ? "offline" : "coordinator");
    }
    put_spent(json, report, &spent);
    trib_json_close(json, '}');
}

static void put_limit(struct trib_buf *json, const char *key, double limit, double spent)
{
    trib_json_open(json, key, '{');
    if (limit > 0) {
        trib_json_real(json, "limit", limit);
        trib_json_real(json, "left", left_of(limit, spent));
    } else {
        trib_json_null(json, "limit");
        trib_json_null(json, "left");
    }
    trib_json_close(json, '}');
}

static void put_json(const struct report *report, struct trib_buf *json)
{
    const struct trib_policy *policy = &report->config.policy;
    const struct trib_privacy_spent *counted = &report->totals.window;
    const char *ledger;
    trib_json_open(json, NULL, '{');
    trib_json_text(json, "device", report->enrolment.name);
    trib_json_text(json, "unit", UNIT);
    trib_json_open(json, "entries", '[');
    for (size_t i = 0; i < report->count; i++)
        put_entry(json, report, &report->entries[i]);
    trib_json_close(json, ']');
    trib_json_open(json, "total", '{');
    trib_json_uint(json, "rounds", report->totals.all.rounds);
    put_spent(json, report, &report->totals.all);
    trib_json_close(json, '}');
    trib_json_open(json, "budget", '{');
    trib_json_uint(json, "window_days", policy->budget_window_days);
    trib_json_open(json, "counted", '{');
    trib_json_uint(json, "rounds", counted->rounds);
    put_spent(json, report, counted);
    trib_json_close(json, '}');
    put_limit(json, "epsilon_pure", policy->budget_epsilon_pure_total, counted->epsilon_pure);
    put_limit(json, "rho", policy->budget_rho_total, counted->rho);
    put_limit(json, "epsilon", policy->budget_epsilon_total, epsilon_of(report, counted, &ledger));
    trib_json_real(json, "delta", policy->budget_delta);
    trib_json_close(json, '}');
    trib_json_close(json, '}');
    trib_buf_text(json, "\n");
}

// ---- Text

static void say_spent(struct trib_buf *text, const struct report *report,
                      const struct trib_privacy_spent *spent)
{
    const char *ledger;
    const double epsilon = epsilon_of(report, spent, &ledger);
    trib_buf_printf(text, "pure epsilon %.4g; (epsilon %.4g, delta %.1e) by %s",
                    spent->epsilon_pure, epsilon, report->config.policy.budget_delta, ledger);
}

static void say_entry(struct trib_buf *text, const struct report *report,
                      const struct trib_ledger_entry *entry)
{
    const struct trib_charge *charge = &entry->charge;
    const struct trib_privacy_spent spent = spent_of(charge);
    char when[TRIB_CLOCK_TEXT_SIZE];
    char whom[2 * TRIB_LEDGER_WHOM_SIZE + 1];
    char against[160];
    trib_clock_text(entry->wall_ms, when);
    trib_hex_encode(charge->whom, sizeof(charge->whom), whom);
    trib_privacy_against(charge->mode, &charge->cohort, against, sizeof(against));
    trib_buf_printf(text, "%6" PRIu64 "  %s  ", entry->sequence, when);
    if (entry->refunds) {
        trib_buf_printf(text, "takes back %" PRIu64 ": nothing was sent\n", entry->refunds);
        return;
    }
    if (is_ours(report, entry))
        trib_buf_printf(text, "%s %s", report->enrolment.url, report->enrolment.population);
    else
        trib_buf_printf(text, "another population (%s)", whom);
    trib_buf_printf(text, "  job %" PRIu64 " round id %" PRIu64 "  %s\n        ", charge->job,
                    charge->round_id, trib_privacy_mode_text(charge->mode));
    say_spent(text, report, &spent);
    trib_buf_printf(text, "; against %s\n", against);
}

static void say_limit(struct trib_buf *text, const char *what, double limit, double spent)
{
    if (limit > 0)
        trib_buf_printf(text, "left     %.4g of %.4g %s\n", left_of(limit, spent), limit, what);
}

static void say_all(const struct report *report, struct trib_buf *text)
{
    const struct trib_policy *policy = &report->config.policy;
    const struct trib_privacy_spent *counted = &report->totals.window;
    const char *ledger;
    char what[64];
    for (size_t i = 0; i < report->count; i++)
        say_entry(text, report, &report->entries[i]);
    trib_buf_printf(text, "%sspent    %" PRIu64 " rounds: ", report->count ? "\n" : "",
                    report->totals.all.rounds);
    say_spent(text, report, &report->totals.all);
    trib_buf_printf(text, "\nunit     " UNIT "\n");
    if (policy->budget_window_days) {
        trib_buf_printf(text,
                        "counted  of the last %" PRIu64 " days: ", policy->budget_window_days);
        say_spent(text, report, counted);
        trib_buf_text(text, "\n");
    }
    (void)snprintf(what, sizeof(what), "epsilon at delta %.1e", policy->budget_delta);
    say_limit(text, "pure epsilon", policy->budget_epsilon_pure_total, counted->epsilon_pure);
    say_limit(text, what, policy->budget_epsilon_total, epsilon_of(report, counted, &ledger));
    say_limit(text, "rho", policy->budget_rho_total, counted->rho);
    if (policy->budget_epsilon_pure_total <= 0 && policy->budget_epsilon_total <= 0 &&
        policy->budget_rho_total <= 0)
        trib_buf_text(text, "left     no limit is set (client.ini, [client.policy] budget_*)\n");
}

enum trib_err trib_privacy_report(const char *dir, bool as_json, struct trib_buf *ret_text)
{
    struct trib_buf text = {0};
    struct report *report = trib_alloc(sizeof(*report));
    if (!report)
        return TRIB_ERR_NOMEM;
    enum trib_err err = load(report, dir);
    if (!err && as_json)
        put_json(report, &text);
    else if (!err)
        say_all(report, &text);
    if (!err && text.failed)
        err = TRIB_ERR_NOMEM;
    if (err)
        trib_buf_fini(&text);
    else
        *ret_text = text;
    free(report->entries);
    free(report);
    return err;
}
