// presence.h - when a session is asked for a sign of life, given up or made anew, and how long a
// device waits before it dials again. Pure: clocks and randomness are arguments.
#ifndef TRIB_WIRE_PRESENCE_H
#define TRIB_WIRE_PRESENCE_H

#include <stdint.h>

#include "common/base/rand.h"

enum {
    // Silence after which a PING is sent, and between two. The coordinator asks first: it asks all
    // whose time has come at once, every few seconds, which wakes its threads far less often than as
    // many devices that ask when each of them likes.
    TRIB_PRESENCE_COORDINATOR_MS = 45000,
    TRIB_PRESENCE_DEVICE_MS = 60000,
    TRIB_PRESENCE_IDLE_MS = 190000,         // three pings of either without a sound
    TRIB_SESSION_AGE_MS = 24 * 3600 * 1000, // a session's keys serve no longer
    TRIB_RECONNECT_BASE_MS = 1000,
    TRIB_PACE_WINDOW_MAX_MS = 3600 * 1000,
};

enum trib_presence {
    TRIB_PRESENCE_FINE,
    TRIB_PRESENCE_PING, // ask now
    TRIB_PRESENCE_IDLE, // nobody is there: close
    TRIB_PRESENCE_AGED, // everything is fine, but it is time for fresh keys
};

// Times on the caller's monotonic clock. `heard_ms` may be a little later than `now_ms`: another
// thread notes it.
struct trib_presence_times {
    uint64_t created_ms;
    uint64_t heard_ms;
    uint64_t pinged_ms; // 0: never
    uint64_t ask_ms;    // one of the two above
};

enum trib_presence trib_presence_due(const struct trib_presence_times *times, uint64_t now_ms);

// How a device paces its attempts to connect.
struct trib_pace {
    uint32_t retry_min_ms, retry_max_ms; // the window that the coordinator gave; max 0: none
    unsigned failures;                   // attempts in a row that came to nothing
    uint64_t cap_ms;
};

// Full jitter: uniform from the window's beginning up to its end or, where that is more, to
// base x 2^failures, capped.
uint64_t trib_pace_pause_ms(const struct trib_pace *pace, struct trib_rng *rng);

// The end of the window that a coordinator gives to its devices, milliseconds: when all come back
// at once, they want half of the handshakes that it judges in a second, or less. 0: there are so few
// that none is needed.
uint32_t trib_pace_window_ms(uint64_t devices, uint64_t handshakes_per_second);

#endif // TRIB_WIRE_PRESENCE_H
