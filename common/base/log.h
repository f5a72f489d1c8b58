// log.h - one line per event, "level module: key=value ...", to stderr or to the user's callback.
//
// Each file sets `#define TRIB_LOG_MODULE "round"` after its includes. Never log keys, weights,
// gradients or raw data. Lines that operators alert on carry a stable `id=`.
// Thread-safe; one line is written at a time.
#ifndef TRIB_BASE_LOG_H
#define TRIB_BASE_LOG_H

#include <stdbool.h>

#include "tributary/log.h"

#define TRIB_LOG_AT(level, ...)                                  \
    do {                                                         \
        if (trib_log_wants(level))                               \
            trib_log_write(level, TRIB_LOG_MODULE, __VA_ARGS__); \
    } while (0)

#define TRIB_ERROR(...) TRIB_LOG_AT(TRIB_LOG_ERROR, __VA_ARGS__)
#define TRIB_WARN(...)  TRIB_LOG_AT(TRIB_LOG_WARN, __VA_ARGS__)
#define TRIB_INFO(...)  TRIB_LOG_AT(TRIB_LOG_INFO, __VA_ARGS__)
#define TRIB_DEBUG(...) TRIB_LOG_AT(TRIB_LOG_DEBUG, __VA_ARGS__)

// Lines above `level` are dropped. Default: TRIB_LOG_INFO.
void trib_log_set_level(enum trib_log_level level);

// Send lines to `log` instead of stderr; NULL for stderr again.
void trib_log_set_sink(trib_log_fn log, void *user);

// "error", "warn", "info" or "debug".
bool trib_log_level_parse(const char *text, enum trib_log_level *ret_level);

bool trib_log_wants(enum trib_log_level level);
void trib_log_write(enum trib_log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// At most `per_second` lines a second at one place, for faults that peers can cause at will.
struct trib_log_limit {
    unsigned long long second;
    unsigned count;
};
bool trib_log_limit_allows(struct trib_log_limit *limit, unsigned per_second);

#endif // TRIB_BASE_LOG_H
