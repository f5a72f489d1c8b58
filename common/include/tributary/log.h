// log.h - where log lines go: the types shared by the library's users and its inside.
#ifndef TRIB_LOG_PUBLIC_H
#define TRIB_LOG_PUBLIC_H

#ifdef __cplusplus
extern "C" {
#endif

enum trib_log_level {
    TRIB_LOG_ERROR,
    TRIB_LOG_WARN,
    TRIB_LOG_INFO,
    TRIB_LOG_DEBUG,
};

// One finished line without newline: "round=12 state=collecting ...". Never contains keys, weights
// or data. May be called from any thread, one call at a time.
typedef void (*trib_log_fn)(void *user, enum trib_log_level level, const char *line);

#ifdef __cplusplus
}
#endif

#endif // TRIB_LOG_PUBLIC_H
