// counter_store.h - what the application of a device has counted, by model version; the file
// `counters` of the state directory.
//
// The file holds which counters are declared (by the newest task that said so), the version that is
// installed, and totals for each version, from the first on: what a collection sends are these
// totals, so that an update that is lost, or sent twice, loses and doubles nothing. It is swapped
// whole and is on the disk before a count is acknowledged. Programs and threads take turns by a
// lock (`counters.lock`). At most VERSIONS_MAX versions are kept; the oldest goes first. A damaged
// file is named on the log and counts as none.
#ifndef TRIB_CLIENT_COUNTER_STORE_H
#define TRIB_CLIENT_COUNTER_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/math/counters.h"
#include "common/math/tally.h"
#include "tributary/err.h"

enum {
    TRIB_COUNTER_STORE_VERSIONS = 16
};

// These are declared from now on, and this version is installed. Totals of those declared before in
// the same way stay.
TRIB_CHECKED enum trib_err trib_counter_store_declare(const char *dir,
                                                      const struct trib_counter_list *counters,
                                                      uint64_t version);
// This version is installed: what is counted from now on is counted under it. Nothing before
// anything was declared.
TRIB_CHECKED enum trib_err trib_counter_store_version(const char *dir, uint64_t version);

// Counts, durably. A rate: n trials, `sum` of them successes; a sum: n numbers of this sum and sum
// of squares. TRIB_ERR_REFUSED: not declared; TRIB_ERR_INVAL: not such a counter, or numbers that
// cannot be; TRIB_ERR_LIMIT: more than 2^53; each with a text in `why`. TRIB_ERR_IO.
TRIB_CHECKED enum trib_err trib_counter_store_trials(const char *dir, const char *name,
                                                     uint64_t successes, uint64_t trials, char *why,
                                                     size_t why_size);
TRIB_CHECKED enum trib_err trib_counter_store_number(const char *dir, const char *name,
                                                     double number, char *why, size_t why_size);

// The totals of `newest` and the versions before it into the tally (trib_counters_values). What was
// declared in another way than `counters` says is not in it.
TRIB_CHECKED enum trib_err trib_counter_store_sum(const char *dir,
                                                  const struct trib_counter_list *counters,
                                                  uint64_t newest, struct trib_tally *tally);

#endif // TRIB_CLIENT_COUNTER_STORE_H
