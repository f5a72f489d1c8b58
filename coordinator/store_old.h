// store_old.h - versions whose files may go (store.keep_versions). A part of store.h, with its rules.
//
// A row stays for ever: who made the version, from what, and how good it was. What goes is the file
// of its parameters. Row first: that it is dropped is durable before its file is removed, so that a
// start finds files without a claim and removes them, and never a claim without its file.
#ifndef TRIB_COORDINATOR_STORE_OLD_H
#define TRIB_COORDINATOR_STORE_OLD_H

#include "coordinator/store.h"

enum {
    TRIB_STORE_OLD_MAX = 64, // versions that are dropped in one go
    TRIB_STORE_PINS_MAX = 4,
};

// What stays, besides the newest `keep`.
struct trib_store_pins {
    uint64_t keep; // from 1
    uint64_t versions[TRIB_STORE_PINS_MAX];
    uint64_t job;          // the one that is worked on: its best version; 0: none
    bool higher_is_better; // of its primary metric
    uint64_t tail_from;    // and its versions of rounds from here on, which it may average
};

struct trib_store_old {
    size_t count;
    uint8_t digests[TRIB_STORE_OLD_MAX][TRIB_DIGEST_SIZE];
};

// Mark the oldest versions that need not stay as dropped, up to TRIB_STORE_OLD_MAX.
TRIB_CHECKED enum trib_err trib_store_old_drop(struct trib_store *store,
                                               const struct trib_store_pins *pins, uint64_t now_ms,
                                               struct trib_store_old *ret_old);
// Does a version that was not dropped have this digest? Versions may share a file.
TRIB_CHECKED enum trib_err trib_store_digest_is_kept(struct trib_store *store,
                                                     const uint8_t digest[static TRIB_DIGEST_SIZE],
                                                     bool *ret_is_kept);

#endif // TRIB_COORDINATOR_STORE_OLD_H
