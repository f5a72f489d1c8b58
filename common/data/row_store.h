// row_store.h - a bounded store of rows that were pushed: segments in a folder, oldest first.
//
//     DIR/lock                        held while a process writes
//     DIR/<first, 16 hex digits>.rows a segment (row_segment.h); rows are added to the last one
//
// Bounds. All segments together never have more than `bytes_max` bytes: before a row that would not
// fit is taken, the oldest segments are dropped, whole. A segment ends at an eighth of `bytes_max`
// (at most 16 MiB), so that much of it is always there. With `age_max_ms` a segment is dropped once
// its newest row is older, and reading leaves out every row that is.
//
// Numbers. Sequence numbers begin at 1 and go up by one, also when rows were dropped: the last
// segment is never removed, and its name says where numbers go on.
//
// Durability. Rows are collected in memory, written by _flush (a kill -9 loses nothing that was
// written), and forced to the disk by _sync (a power cut loses nothing that was synced). A segment
// is synced before the next one begins. A row that was cut short is cut off when the store is
// opened to write; it was never counted by anybody, so its number is used again.
//
// One process writes at a time; any may read at any time, and misses only what is not flushed.
#ifndef TRIB_DATA_ROW_STORE_H
#define TRIB_DATA_ROW_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/data/row_segment.h"
#include "tributary/err.h"

enum {
    TRIB_ROW_STORE_BYTES_MIN = 1 << 20, // of bytes_max: an eighth holds the longest row
};

struct trib_row_store_options {
    const char *dir; // made with mode 0700 if it is not there; borrowed for the call
    uint64_t bytes_max;
    uint64_t age_max_ms; // 0: any age
    uint8_t columns[TRIB_DIGEST_SIZE];
};

struct trib_row_store;

// Open to write, cut off what is torn. TRIB_ERR_STATE: another process writes, logged.
TRIB_CHECKED enum trib_err trib_row_store_open(const struct trib_row_store_options *options,
                                               uint64_t now_ms, struct trib_row_store **ret_store);
// What was not flushed is lost. NULL is fine.
void trib_row_store_close(struct trib_row_store *store);

// Take a row of 1 to TRIB_ROW_SIZE_MAX bytes. After TRIB_ERR_IO, logged, the store takes no more.
TRIB_CHECKED enum trib_err trib_row_store_append(struct trib_row_store *store, const void *text,
                                                 size_t size, uint64_t now_ms);
TRIB_CHECKED enum trib_err trib_row_store_flush(struct trib_row_store *store);
TRIB_CHECKED enum trib_err trib_row_store_sync(struct trib_row_store *store); // flushes, too
// Drop the segments whose rows have all become too old.
TRIB_CHECKED enum trib_err trib_row_store_expire(struct trib_row_store *store, uint64_t now_ms);

bool trib_row_store_has_failed(const struct trib_row_store *store); // it takes no more

struct trib_row_store_state {
    uint64_t bytes;       // on disk and in memory
    uint64_t first, next; // rows there are: first .. next - 1
    uint64_t unsynced;    // bytes a power cut would lose
};
struct trib_row_store_state trib_row_store_state(const struct trib_row_store *store);

// ---- Reading, without opening

struct trib_row_query {
    const char *dir;
    uint64_t after;         // rows with greater numbers only
    uint64_t oldest_ms;     // rows that arrived then or later
    const uint8_t *columns; // of the schema: segments with other columns are left out, logged
};

// Called for each row in the order of their numbers; anything but TRIB_OK ends the reading.
typedef enum trib_err (*trib_row_fn)(void *user, const struct trib_row *row);

// A folder that is not there is a store without rows. What was read survives a power cut.
TRIB_CHECKED enum trib_err trib_row_store_read(const struct trib_row_query *query,
                                               trib_row_fn visit, void *user);

// How many rows there are and how many bytes, from the segments' names and sizes and the last one.
TRIB_CHECKED enum trib_err trib_row_store_look(const char *dir,
                                               struct trib_row_store_state *ret_state);

#endif // TRIB_DATA_ROW_STORE_H
