#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static uint64_t read_us(clockid_t id)
{
    struct timespec t = {0};
    (void)clock_gettime(id, &t); // cannot fail for these clocks
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t trib_clock_mono_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000u;
}

uint64_t trib_clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

uint64_t trib_clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000u;
}

uint64_t trib_clock_cpu_us(void)
{
    return read_us(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t trib_clock_thread_us(void)
{
    return read_us(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t trib_clock_process_us(int pid)
{
    clockid_t clock;
    struct timespec spent;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &spent))
        return 0;
    return (uint64_t)spent.tv_sec * 1000000u + (uint64_t)spent.tv_nsec / 1000u;
}

void trib_clock_sleep_ms(uint64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000u),
                            .tv_nsec = (long)(ms % 1000u) * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

void trib_clock_text(uint64_t wall_ms, char text[static TRIB_CLOCK_TEXT_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000u);
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) ||
        strftime(text, TRIB_CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        (void)snprintf(text, TRIB_CLOCK_TEXT_SIZE, "?");
}
