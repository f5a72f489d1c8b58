#include "common/wire/presence.h"

#include <stdbool.h>

enum trib_presence trib_presence_due(const struct trib_presence_times *times, uint64_t now_ms)
{
    uint64_t silent_ms = now_ms > times->heard_ms ? now_ms - times->heard_ms : 0;
    if (silent_ms > TRIB_PRESENCE_IDLE_MS)
        return TRIB_PRESENCE_IDLE;
    if (now_ms > times->created_ms && now_ms - times->created_ms > TRIB_SESSION_AGE_MS)
        return TRIB_PRESENCE_AGED;
    bool has_asked = times->pinged_ms != 0 && now_ms - times->pinged_ms <= times->ask_ms;
    return silent_ms > times->ask_ms && !has_asked ? TRIB_PRESENCE_PING : TRIB_PRESENCE_FINE;
}

uint64_t trib_pace_pause_ms(const struct trib_pace *pace, struct trib_rng *rng)
{
    enum {
        DOUBLINGS_MAX = 16
    };
    unsigned doublings = pace->failures < DOUBLINGS_MAX ? pace->failures : DOUBLINGS_MAX;
    uint64_t span = (uint64_t)TRIB_RECONNECT_BASE_MS << doublings;
    span = span < pace->cap_ms ? span : pace->cap_ms;
    const uint64_t end = span > pace->retry_max_ms ? span : pace->retry_max_ms;
    const uint64_t begin = pace->retry_max_ms ? pace->retry_min_ms : 0;
    return begin + trib_rng_below(rng, end - begin + 1);
}

uint32_t trib_pace_window_ms(uint64_t devices, uint64_t handshakes_per_second)
{
    // Whoever dials in vain does so again within a window: of those who try for long, two in each
    // window's time. Five windows of the budget make that two fifths of it.
    const uint64_t window_ms =
        handshakes_per_second ? devices * 5 * 1000 / handshakes_per_second : 0;
    if (window_ms <= 2 * TRIB_RECONNECT_BASE_MS)
        return 0;
    return window_ms < TRIB_PACE_WINDOW_MAX_MS ? (uint32_t)window_ms : TRIB_PACE_WINDOW_MAX_MS;
}
