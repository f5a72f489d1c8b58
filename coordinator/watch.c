#include "coordinator/watch.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/file.h"

enum {
    STATUS_OK = 200,
    STATUS_NOT_FOUND = 404,
    STATUS_UNAVAILABLE = 503,
};

struct trib_watch {
    pthread_mutex_t lock;
    bool serves;
    uint64_t seen_ms; // 0: never
    struct trib_telemetry telemetry;
    // Of the thread that answers, which may wait for a disk:
    char dir[TRIB_PATH_MAX + 1];
    char probe[TRIB_PATH_MAX + 1];
    uint64_t probed_ms;
    bool can_write;
};

enum trib_err trib_watch_create(const char *dir, struct trib_watch **ret_watch)
{
    struct trib_watch *watch = trib_alloc(sizeof(*watch));
    if (!watch)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_path_join(watch->probe, dir, "ready.probe");
    if (err) {
        free(watch);
        return err;
    }
    (void)snprintf(watch->dir, sizeof(watch->dir), "%s", dir);
    (void)pthread_mutex_init(&watch->lock, NULL);
    *ret_watch = watch;
    return TRIB_OK;
}

void trib_watch_destroy(struct trib_watch *watch)
{
    if (!watch)
        return;
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch);
}

void trib_watch_serves(struct trib_watch *watch)
{
    (void)pthread_mutex_lock(&watch->lock);
    watch->serves = true;
    (void)pthread_mutex_unlock(&watch->lock);
}

void trib_watch_see(struct trib_watch *watch, const struct trib_telemetry *telemetry,
                    uint64_t now_ms)
{
    (void)pthread_mutex_lock(&watch->lock);
    watch->telemetry = *telemetry;
    watch->seen_ms = now_ms;
    (void)pthread_mutex_unlock(&watch->lock);
}

static void say(struct trib_http_answer *answer, unsigned status, const char *text)
{
    answer->status = status;
    trib_buf_printf(&answer->body, "%s\n", text);
}

// Can a file be made durable in the directory? Tried no more than once a second.
static bool can_write(struct trib_watch *watch, uint64_t now_ms)
{
    if (watch->probed_ms != 0 && now_ms < watch->probed_ms + TRIB_WATCH_PROBE_MS)
        return watch->can_write;
    enum trib_err err = trib_file_write(watch->probe, "probe", 5, 0600);
    if (!err)
        err = trib_file_remove(watch->probe);
    watch->can_write = !err;
    watch->probed_ms = now_ms;
    return watch->can_write;
}

// True: the state thread does not stand still, or has not begun to turn.
static bool check_turning(struct trib_watch *watch, uint64_t now_ms,
                          struct trib_http_answer *answer)
{
    (void)pthread_mutex_lock(&watch->lock);
    const uint64_t seen_ms = watch->seen_ms;
    (void)pthread_mutex_unlock(&watch->lock);
    if (seen_ms == 0 || now_ms <= seen_ms + TRIB_WATCH_STILL_MS)
        return true;
    answer->status = STATUS_UNAVAILABLE;
    trib_buf_printf(&answer->body, "the state thread has stood still for %" PRIu64 " s\n",
                    (now_ms - seen_ms) / 1000);
    return false;
}

static void answer_ready(struct trib_watch *watch, uint64_t now_ms, struct trib_http_answer *answer)
{
    (void)pthread_mutex_lock(&watch->lock);
    const bool serves = watch->serves && watch->seen_ms > 0;
    (void)pthread_mutex_unlock(&watch->lock);
    if (!serves)
        say(answer, STATUS_UNAVAILABLE, "recovering");
    else if (!check_turning(watch, now_ms, answer))
        return;
    else if (!can_write(watch, now_ms))
        say(answer, STATUS_UNAVAILABLE, "the directory cannot be written");
    else
        say(answer, STATUS_OK, "ready");
}

static void answer_metrics(struct trib_watch *watch, struct trib_http_answer *answer)
{
    (void)pthread_mutex_lock(&watch->lock);
    const bool has_seen = watch->seen_ms > 0;
    struct trib_telemetry telemetry = watch->telemetry;
    (void)pthread_mutex_unlock(&watch->lock);
    if (!has_seen) {
        say(answer, STATUS_UNAVAILABLE, "recovering");
        return;
    }
    struct statvfs disk;
    if (statvfs(watch->dir, &disk) == 0)
        telemetry.free_disk_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    answer->status = STATUS_OK;
    trib_telemetry_print(&telemetry, &answer->body);
}

void trib_watch_answer(void *user, const char *path, struct trib_http_answer *ret_answer)
{
    struct trib_watch *watch = user;
    const uint64_t now_ms = trib_clock_mono_ms();
    if (strcmp(path, "/metrics") == 0)
        answer_metrics(watch, ret_answer);
    else if (strcmp(path, "/readyz") == 0)
        answer_ready(watch, now_ms, ret_answer);
    else if (strcmp(path, "/healthz") != 0)
        say(ret_answer, STATUS_NOT_FOUND, "/metrics, /healthz or /readyz");
    else if (check_turning(watch, now_ms, ret_answer))
        say(ret_answer, STATUS_OK, "alive");
}
