#include "common/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/json.h"

enum {
    TEXT_MAX_SIZE = 2048,
    LINE_MAX_SIZE = TEXT_MAX_SIZE + 128,
    JSON_MAX_SIZE = 6 * TEXT_MAX_SIZE + 512, // a character may be written as six
};

static atomic_int level_max = TRIB_LOG_INFO;
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static trib_log_fn sink;
static void *sink_user;
static enum trib_log_format log_format; // under the lock
// Where this thread keeps its first error line.
static __thread char *kept;
static __thread size_t kept_size;

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

// Under the lock. A bucket of TRIB_LOG_BURST lines that fills by TRIB_LOG_PER_SECOND.
static bool place_allows(struct trib_log_place *place)
{
    const unsigned long long now_ms = trib_clock_mono_ms();
    const unsigned long long back = (now_ms - place->filled_ms) * TRIB_LOG_PER_SECOND / 1000;
    if (back > 0) {
        place->written -= back < place->written ? (unsigned)back : place->written;
        place->filled_ms = now_ms;
    }
    if (place->written >= TRIB_LOG_BURST) {
        place->suppressed++;
        return false;
    }
    place->written++;
    return true;
}

// One event is one line, whatever a peer put into its name; with `is_json` one that is sure to parse.
static void clean(char *text, bool is_json)
{
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c < ' ' || c == 0x7f || (is_json && c > 0x7f))
            *text = '?';
    }
}

static void write_text(char *line, enum trib_log_level level, const char *module, const char *text,
                       unsigned suppressed)
{
    int used = snprintf(line, LINE_MAX_SIZE, "%s %s: %s", level_names[level], module, text);
    if (suppressed > 0 && used > 0 && used < LINE_MAX_SIZE)
        (void)snprintf(line + used, (size_t)(LINE_MAX_SIZE - used), " suppressed=%u", suppressed);
}

// What is cut off would be no object: there is room for the longest text.
static void write_json(char *line, enum trib_log_level level, const char *module, const char *text,
                       unsigned suppressed)
{
    struct trib_buf json = {0};
    const size_t id_size = strncmp(text, "id=", 3) == 0 ? strcspn(text + 3, " :") : 0;
    char id[64];
    trib_json_open(&json, NULL, '{');
    trib_json_uint(&json, "time_ms", trib_clock_wall_ms());
    trib_json_text(&json, "level", level_names[level]);
    trib_json_text(&json, "module", module);
    if (id_size > 0 && id_size < sizeof(id)) {
        (void)snprintf(id, sizeof(id), "%.*s", (int)id_size, text + 3);
        trib_json_text(&json, "id", id);
    }
    trib_json_text(&json, "text", text);
    if (suppressed > 0)
        trib_json_uint(&json, "suppressed", suppressed);
    trib_json_close(&json, '}');
    (void)snprintf(line, JSON_MAX_SIZE, "%s", json.failed ? "{}" : (const char *)json.data);
    trib_buf_fini(&json);
}

void trib_log_write(struct trib_log_place *place, enum trib_log_level level, const char *module,
                    const char *format, ...)
{
    char text[TEXT_MAX_SIZE];
    char line[JSON_MAX_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    (void)pthread_mutex_lock(&sink_lock);
    clean(text, log_format == TRIB_LOG_JSON);
    if (kept && level == TRIB_LOG_ERROR && !kept[0])
        (void)snprintf(kept, kept_size, "%s", text);
    if (place_allows(place)) {
        const unsigned suppressed = place->suppressed;
        place->suppressed = 0;
        if (log_format == TRIB_LOG_JSON)
            write_json(line, level, module, text, suppressed);
        else
            write_text(line, level, module, text, suppressed);
        if (sink)
            sink(sink_user, level, line);
        else
            (void)fprintf(stderr, "%s\n", line);
    }
    (void)pthread_mutex_unlock(&sink_lock);
}

void trib_log_keep(char *text, size_t size)
{
    text[0] = '\0';
    kept = text;
    kept_size = size;
}

void trib_log_keep_end(void)
{
    kept = NULL;
}

void trib_log_set_format(enum trib_log_format format)
{
    (void)pthread_mutex_lock(&sink_lock);
    log_format = format;
    (void)pthread_mutex_unlock(&sink_lock);
}

bool trib_log_format_parse(const char *text, enum trib_log_format *ret_format)
{
    const bool is_json = strcmp(text, "json") == 0;
    *ret_format = is_json ? TRIB_LOG_JSON : TRIB_LOG_TEXT;
    return is_json || strcmp(text, "text") == 0;
}

bool trib_log_limit_allows(struct trib_log_limit *limit, unsigned per_second)
{
    unsigned long long second = trib_clock_mono_ms() / 1000;
    if (second != limit->second) {
        limit->second = second;
        limit->count = 0;
    }
    const bool allows = limit->count++ < per_second;
    limit->suppressed += !allows;
    return allows;
}

unsigned trib_log_limit_take(struct trib_log_limit *limit)
{
    const unsigned suppressed = limit->suppressed;
    limit->suppressed = 0;
    return suppressed;
}
