// log.h - one line per event, "level module: key=value ...", to stderr or to the user's callback; or
// as a JSON object.
//
// Each file sets `#define TRIB_LOG_MODULE "round"` after its includes. Never log keys, weights,
// gradients or raw data. Lines that operators alert on carry a stable `id=`.
// Thread-safe; one line is written at a time.
#ifndef TRIB_BASE_LOG_H
#define TRIB_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "tributary/log.h"

// A place in the program that writes lines, and how many it may write still.
struct trib_log_place {
    unsigned long long filled_ms;
    unsigned written;    // since it was empty, less what time gave back
    unsigned suppressed; // since the last line
};

#define TRIB_LOG_AT(level, ...)                                                    \
    do {                                                                           \
        static struct trib_log_place trib_log_place_;                              \
        if (trib_log_wants(level))                                                 \
            trib_log_write(&trib_log_place_, level, TRIB_LOG_MODULE, __VA_ARGS__); \
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
void trib_log_write(struct trib_log_place *place, enum trib_log_level level, const char *module,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

// For who must answer why something failed that was already logged, once, where it was found: the
// first error line of this thread from now on lands in `text` too, "" until there is one; borrowed
// until trib_log_keep_end.
void trib_log_keep(char *text, size_t size);
void trib_log_keep_end(void);

// Whatever happens, a place writes no more than this: what peers or a broken disk cause at will does
// not fill another one. The next line says how many there were not.
enum {
    TRIB_LOG_BURST = 1000,    // lines at once,
    TRIB_LOG_PER_SECOND = 20, // and from then on
};

enum trib_log_format {
    TRIB_LOG_TEXT, // "level module: text"
    TRIB_LOG_JSON, // {"time_ms":...,"level":...,"module":...,"id":...,"text":...,"suppressed":...}
};
void trib_log_set_format(enum trib_log_format format);
// "text" or "json".
bool trib_log_format_parse(const char *text, enum trib_log_format *ret_format);

// At most `per_second` lines a second at one place, for what should be rarer than that.
struct trib_log_limit {
    unsigned long long second;
    unsigned count;
    unsigned suppressed; // since somebody took that number
};
bool trib_log_limit_allows(struct trib_log_limit *limit, unsigned per_second);
// How many lines there were not since this was asked last.
unsigned trib_log_limit_take(struct trib_log_limit *limit);

#endif // TRIB_BASE_LOG_H
