#include "coordinator/seen.h"

#define DAY_MS 86400e3

enum {
    STEPS = 30, // writes in stale_days
    DAY = 86400 * 1000,
};

bool trib_seen_is_stale(uint64_t seen_ms, uint64_t wall_ms, double stale_days)
{
    return stale_days > 0 && wall_ms > seen_ms && (double)(wall_ms - seen_ms) > stale_days * DAY_MS;
}

uint64_t trib_seen_step_ms(double stale_days)
{
    return stale_days > 0 ? (uint64_t)(stale_days * DAY_MS / STEPS) : DAY;
}

bool trib_seen_is_news(uint64_t seen_ms, uint64_t stored_ms, double stale_days)
{
    const uint64_t step_ms = trib_seen_step_ms(stale_days);
    return (seen_ms > stored_ms && seen_ms - stored_ms > step_ms) ||
           (seen_ms < stored_ms && stored_ms - seen_ms > step_ms);
}

uint64_t trib_seen_sweep_ms(double stale_days)
{
    const uint64_t step = trib_seen_step_ms(stale_days);
    return step < TRIB_SEEN_SWEEP_MS ? step : TRIB_SEEN_SWEEP_MS;
}
