// store_log.h - is the store's write-ahead log damaged, or only cut off where the power went?
//
// SQLite takes the log up to the first frame that is not what its checksum says, and drops the rest
// without a word. That is right for the last transaction, whose sync may not have ended; it is wrong
// for one whose sync had: the log is synced at each commit before the next one begins. What shows that
// a frame was whole once (layout: "WAL-Mode File Format", sqlite.org/walformat.html):
//
//   - a later frame continues the checksum of a commit that is not before it: that commit was durable;
//   - the frame differs from what its checksum says in exactly one bit, as no write that was cut off
//     leaves it. The checksum is linear modulo 2^32, so that all bits are tried at once.
//
// So one flipped bit is found wherever SQLite reads. What is not: two or more in the last transaction,
// which nothing tells from a write that was cut off.
#ifndef TRIB_COORDINATOR_STORE_LOG_H
#define TRIB_COORDINATOR_STORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "tributary/err.h"

struct trib_store_log {
    uint64_t size; // of the file
    // Exactly `size` bytes at `at`, all below the file's size.
    TRIB_CHECKED enum trib_err (*read)(void *user, void *data, uint32_t size, uint64_t at);
    void *user;
    uint32_t page_size; // of the database, in case that the log's header is damaged
};

struct trib_store_log_damage {
    bool is_damaged;
    uint64_t frame; // from 1; 0: the header
};

// TRIB_ERR_NOMEM, or what `read` returns.
TRIB_CHECKED enum trib_err trib_store_log_check(const struct trib_store_log *log,
                                                struct trib_store_log_damage *ret_damage);

#endif // TRIB_COORDINATOR_STORE_LOG_H
