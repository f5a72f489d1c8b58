// ledger.h - what a device has spent of its own privacy, and whether it may spend more.
//
// One ledger a device, whoever asks: all coordinators, populations and jobs draw on one budget.
// Spending is written ahead: trib_ledger_reserve returns after the charge is durable, and only then
// may anything that came from the noised or masked update leave. A crash in between counts as
// spent. What was reserved may be refunded as long as nothing of the kind was handed out.
//
// On disk (ledger_file.h) the entries are chained by a keyed hash: changed, reordered or missing
// entries are found when the ledger is opened. Putting back an old copy of the whole directory is
// not found: that takes hardware that remembers.
//
// Totals never depend on a clock. Only a budget over a window of days does, and it counts ledger
// time: the largest time any entry has, or the wall clock when the ledger was opened if that is
// later, and from there on the monotonic clock. Setting the clock back, or forward while the
// program runs, frees nothing. What remains: whoever sets the clock forward while the program does
// not run, and starts it then, frees a window early.
//
// Every function may be called from any thread.
#ifndef TRIB_PRIVACY_LEDGER_H
#define TRIB_PRIVACY_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/privacy/accountant.h"
#include "common/privacy/encode.h"
#include "tributary/err.h"

enum {
    TRIB_LEDGER_WHOM_SIZE = 16,
    TRIB_LEDGER_SECRET_SIZE = 32,
};

// Limits that the owner of the device sets; 0: none.
struct trib_budget {
    double epsilon_pure;
    double rho;
    double epsilon, delta; // the smaller of the two ledgers at this delta
    uint64_t window_ms;    // of ledger time; 0: for ever
};

// What a round costs, and whom it is for.
struct trib_charge {
    enum trib_privacy_mode mode;
    uint32_t grid_bits; // t = 2^grid_bits
    uint64_t s1, s2;
    uint32_t shares;                   // m
    struct trib_privacy_cohort cohort; // mode distributed: what was promised; the caller sets it
    uint64_t job, round_id;
    uint8_t whom[TRIB_LEDGER_WHOM_SIZE];
    double epsilon_pure, rho;
};
void trib_ledger_charge(const struct trib_encoding *encoding, uint64_t job, uint64_t round_id,
                        const uint8_t whom[static TRIB_LEDGER_WHOM_SIZE],
                        struct trib_charge *ret_charge);
// A short name for a population of a coordinator.
void trib_ledger_whom(const uint8_t coordinator_key[static 32], const char *population,
                      uint8_t ret_whom[static TRIB_LEDGER_WHOM_SIZE]);

struct trib_ledger_entry {
    uint64_t sequence; // 1, 2, 3, ...
    uint64_t refunds;  // sequence of the reservation that this entry takes back; 0: it reserves
    uint64_t wall_ms;  // for people only
    uint64_t time_ms;  // ledger time, never falls
    struct trib_charge charge;
};

struct trib_ledger_options {
    const char *dir;       // of its files; NULL: in memory only
    const uint8_t *secret; // TRIB_LEDGER_SECRET_SIZE bytes of the device's own; with `dir`
    struct trib_budget budget;
    bool is_reader; // look and change nothing, also while another process writes
    void (*visit)(void *user, const struct trib_ledger_entry *entry); // NULL, or told every entry
    void *user;
    uint64_t (*wall_ms)(void), (*mono_ms)(void); // NULL: the system's clocks
};

struct trib_ledger;

// TRIB_ERR_CORRUPT: the files were tampered with; said on the log, with what to do.
TRIB_CHECKED enum trib_err trib_ledger_open(const struct trib_ledger_options *options,
                                            struct trib_ledger **ret_ledger);
void trib_ledger_close(struct trib_ledger *ledger); // NULL is fine

// Would a round with this encoding be within the budget? Always with mode off.
bool trib_ledger_allows(struct trib_ledger *ledger, const struct trib_encoding *encoding);

// Charge, durably. TRIB_ERR_PRIVACY: the budget does not allow it, and nothing was charged. Any
// other failure: it counts as spent, nothing may be sent, and the ledger refuses from then on, until
// it is opened again.
// With mode off nothing is charged: TRIB_OK, and *ret_reservation is 0.
TRIB_CHECKED enum trib_err trib_ledger_reserve(struct trib_ledger *ledger,
                                               const struct trib_charge *charge,
                                               uint64_t *ret_reservation);
// Take a reservation back, durably: nothing that came from the update has left, or ever will.
// TRIB_ERR_STATE: not one of the last few of this opening, or taken back before. 0 is fine.
TRIB_CHECKED enum trib_err trib_ledger_refund(struct trib_ledger *ledger, uint64_t reservation);

// It could not be written, but nothing that was is in doubt, as when the disk is full: closed and opened
// again it may go on.
bool trib_ledger_may_reopen(struct trib_ledger *ledger);

struct trib_ledger_totals {
    uint64_t entries;
    struct trib_privacy_spent all;    // since the ledger began
    struct trib_privacy_spent window; // what counts against the budget now
};
void trib_ledger_totals(struct trib_ledger *ledger, struct trib_ledger_totals *ret_totals);

#endif // TRIB_PRIVACY_LEDGER_H
