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
    if (pace->retry_max_ms) {
        uint64_t width = (uint64_t)pace->retry_max_ms - pace->retry_min_ms;
        return pace->retry_min_ms + trib_rng_below(rng, width + 1);
    }
    unsigned doublings = pace->failures < DOUBLINGS_MAX ? pace->failures : DOUBLINGS_MAX;
    uint64_t span = (uint64_t)TRIB_RECONNECT_BASE_MS << doublings;
    return trib_rng_below(rng, (span < pace->cap_ms ? span : pace->cap_ms) + 1);
}
