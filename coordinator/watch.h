// watch.h - what a coordinator answers to those who watch it:
//
//     /metrics   telemetry.h, as of the state thread's last tick
//     /healthz   does the state thread turn? Who gets 503 should start the process again.
//     /readyz    does it serve devices: recovered, listening, turning, and its directory can be
//                written? Who gets 503 should wait.
#ifndef TRIB_COORDINATOR_WATCH_H
#define TRIB_COORDINATOR_WATCH_H

#include "coordinator/http.h"
#include "coordinator/telemetry.h"
#include "tributary/err.h"

enum {
    TRIB_WATCH_STILL_MS = 10000, // longest that the state thread may be busy with one thing
    TRIB_WATCH_PROBE_MS = 1000,  // the directory is tried no more often
};

struct trib_watch;

TRIB_CHECKED enum trib_err trib_watch_create(const char *dir, struct trib_watch **ret_watch);
void trib_watch_destroy(struct trib_watch *watch); // NULL is fine
// Any thread: it is recovered, and listens.
void trib_watch_serves(struct trib_watch *watch);
// Any thread: what there was to see at `now_ms` of trib_clock_mono_ms.
void trib_watch_see(struct trib_watch *watch, const struct trib_telemetry *telemetry,
                    uint64_t now_ms);
// A trib_http_fn; `watch` is one. One thread at a time.
void trib_watch_answer(void *watch, const char *path, struct trib_http_answer *ret_answer);

#endif // TRIB_COORDINATOR_WATCH_H
