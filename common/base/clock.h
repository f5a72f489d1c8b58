// clock.h - the only place that reads a clock. Everything else is handed the time.
#ifndef TRIB_BASE_CLOCK_H
#define TRIB_BASE_CLOCK_H

#include <stdint.h>

uint64_t trib_clock_mono_ms(void);   // milliseconds, never steps; for deadlines
uint64_t trib_clock_mono_us(void);   // microseconds
uint64_t trib_clock_wall_ms(void);   // milliseconds since 1970 UTC; for people, never for deadlines
uint64_t trib_clock_cpu_us(void);    // user + system time of this process, microseconds
uint64_t trib_clock_thread_us(void); // CPU time of the calling thread, microseconds
// The CPU time of another process of ours in microseconds, as long as nobody has waited for it; else 0.
uint64_t trib_clock_process_us(int pid);

void trib_clock_sleep_ms(uint64_t ms);

enum {
    TRIB_CLOCK_TEXT_SIZE = 21 // "2026-11-24T00:13:00Z" and NUL
};
// `wall_ms` as RFC 3339 UTC to the second.
void trib_clock_text(uint64_t wall_ms, char text[static TRIB_CLOCK_TEXT_SIZE]);

#endif // TRIB_BASE_CLOCK_H
