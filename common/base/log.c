#include "common/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"

enum {
    LINE_MAX_SIZE = 2048
};

static atomic_int level_max = TRIB_LOG_INFO;
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static trib_log_fn sink;
static void *sink_user;

static const char *const level_names[] = {
    [TRIB_LOG_ERROR] = "error",
    [TRIB_LOG_WARN] = "warn",
    [TRIB_LOG_INFO] = "info",
    [TRIB_LOG_DEBUG] = "debug",
};

void trib_log_set_level(enum trib_log_level level)
{
    atomic_store_explicit(&level_max, (int)level, memory_order_relaxed);
}

void trib_log_set_sink(trib_log_fn log, void *user)
{
    (void)pthread_mutex_lock(&sink_lock);
    sink = log;
    sink_user = user;
    (void)pthread_mutex_unlock(&sink_lock);
}

bool trib_log_level_parse(const char *text, enum trib_log_level *ret_level)
{
    for (int i = 0; i < (int)(sizeof(level_names) / sizeof(level_names[0])); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum trib_log_level)i;
            return true;
        }
    }
    return false;
}

bool trib_log_wants(enum trib_log_level level)
{
    return (int)level <= atomic_load_explicit(&level_max, memory_order_relaxed);
}

void trib_log_write(enum trib_log_level level, const char *module, const char *format, ...)
{
    char line[LINE_MAX_SIZE];
    int used = snprintf(line, sizeof(line), "%s %s: ", level_names[level], module);
    if (used < 0 || used >= (int)sizeof(line))
        return;

    va_list args;
    va_start(args, format);
    (void)vsnprintf(line + used, sizeof(line) - (size_t)used, format, args);
    va_end(args);
    for (char *c = line; *c; c++) { // one event is one line, whatever a peer put into its name
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }

    (void)pthread_mutex_lock(&sink_lock);
    if (sink)
        sink(sink_user, level, line);
    else
        (void)fprintf(stderr, "%s\n", line);
    (void)pthread_mutex_unlock(&sink_lock);
}

bool trib_log_limit_allows(struct trib_log_limit *limit, unsigned per_second)
{
    unsigned long long second = trib_clock_mono_ms() / 1000;
    if (second != limit->second) {
        limit->second = second;
        limit->count = 0;
    }
    return limit->count++ < per_second;
}
