// seen.h - when a device was last there, and whether that is too long ago.
//
// A device that is connected is there now. When others were last there is kept in memory, and
// written to the store from time to time: a restart of the coordinator may set it back by
// trib_seen_step_ms and TRIB_SEEN_SWEEP_MS, but no further.
#ifndef TRIB_COORDINATOR_SEEN_H
#define TRIB_COORDINATOR_SEEN_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TRIB_SEEN_SWEEP_MS = 3600 * 1000, // between two looks for what is to be written, at most
};

// Times are of the wall clock, in ms. Never with stale_days of 0.
bool trib_seen_is_stale(uint64_t seen_ms, uint64_t wall_ms, double stale_days);

// How much later a device must have been there than the store knows before that is written: a
// thirtieth of stale_days, so that a device costs a write a day when that is 30; a day when it is 0.
uint64_t trib_seen_step_ms(double stale_days);

// Is it worth writing? Also what lies before what is stored: it was written under a clock that was
// ahead, and a device that leaves would not be stale for as long.
bool trib_seen_is_news(uint64_t seen_ms, uint64_t stored_ms, double stale_days);
// Between two looks: TRIB_SEEN_SWEEP_MS, less when stale_days is less than 30 hours.
uint64_t trib_seen_sweep_ms(double stale_days);

#endif // TRIB_COORDINATOR_SEEN_H
