// swarm.h - thousands of light devices in one process: real keys, handshakes, sessions, tasks and
// uploads, but no state on disk, no data and no training. What they send are equal small words.
//
// One thread lives all of them; nng's threads only hand bytes on. They dial without jitter: all at
// once, and after an attempt that failed again a second later.
#ifndef TRIB_SIMULATIONS_SWARM_H
#define TRIB_SIMULATIONS_SWARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

struct trib_swarm;

struct trib_swarm_options {
    const char *url;            // of the coordinator, read while creating
    const uint8_t *coordinator; // its public key, (32), read while creating
    uint64_t seed;              // of the devices' keys (trib_fleet_secret)
    size_t count;               // devices
};

// What goes wrong with a task, and how long it takes.
struct trib_swarm_plan {
    double dropout;    // share of the tasks that are taken, and nothing is heard any more: every
                       // second of these devices hangs up, and stays away until it is called
    double stragglers; // share of the others that send only when they hear that the round is over
    uint64_t train_ms; // the rest takes up to this long, uniformly
};

struct trib_swarm_counts {
    uint64_t open;      // sessions now
    uint64_t dials;     // attempts so far
    uint64_t failures;  // of those that came to nothing
    uint64_t tasks;     // taken, so far; the same task again is one
    uint64_t dropped;   // of those, forgotten
    uint64_t straggled; // and late on purpose
    uint64_t accepted;  // receipts
    uint64_t first_us;  // of these, since trib_swarm_behave: when the first came, 0: none did
    uint64_t last_us;   // and the last
    uint64_t closed;    // receipts ROUND_CLOSED
    uint64_t refused;   // receipts that are final, and neither
    uint64_t models;    // fetched whole
    uint64_t broken;    // records that make no sense
    uint64_t window_ms; // the end of the window to come back in, as the last welcome said
};

// Nobody dials yet.
TRIB_CHECKED enum trib_err trib_swarm_create(const struct trib_swarm_options *options,
                                             struct trib_swarm **ret_swarm);
// The first `count` devices connect, those that hung up too, and do so again whenever a session ends.
void trib_swarm_connect(struct trib_swarm *swarm, size_t count);
// For tasks that come from now on.
void trib_swarm_behave(struct trib_swarm *swarm, const struct trib_swarm_plan *plan);
struct trib_swarm_counts trib_swarm_counts(struct trib_swarm *swarm);
// Hangs up. NULL is fine.
void trib_swarm_destroy(struct trib_swarm *swarm);

#endif // TRIB_SIMULATIONS_SWARM_H
