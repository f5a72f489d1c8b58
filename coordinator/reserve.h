// reserve.h - DIR/reserve: room on the disk that nobody else gets, for the day when it is full.
//
// While it is there, no more than a round's own room is wanted to open a round. When the disk is so
// full that something cannot be made durable, it is given up: what is on disk can then be read back,
// what was begun be finished, and an operator be heard. No round opens before there is room for it
// again.
#ifndef TRIB_COORDINATOR_RESERVE_H
#define TRIB_COORDINATOR_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "tributary/err.h"

// See that it is there with all of its `size` bytes; 0: none is wanted. TRIB_ERR_LIMIT: no room.
TRIB_CHECKED enum trib_err trib_reserve_make(const char *dir, uint64_t size);
// Is it there with all of its bytes, or is none wanted?
bool trib_reserve_is_made(const char *dir, uint64_t size);
// Give it up when there is less room than it holds. False: there was none, or room enough.
bool trib_reserve_use(const char *dir, uint64_t size);
// Bytes that may still be written below `dir`; UINT64_MAX: nobody knows.
uint64_t trib_reserve_room(const char *dir);

#endif // TRIB_COORDINATOR_RESERVE_H
