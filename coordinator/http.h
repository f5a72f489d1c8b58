// http.h - a small HTTP server for those who watch: GET and HEAD only, on a thread of its own.
//
// Limits: 16 connections at once (further ones wait to be accepted), 10 s for a request with its
// answer and for the time between two, however many bytes come, 8 KiB for the head of a request, no
// body. 401 without the token, 405 for other methods, 413 for a
// body; whatever else is asked, `answer` says.
#ifndef TRIB_COORDINATOR_HTTP_H
#define TRIB_COORDINATOR_HTTP_H

#include "common/base/buf.h"
#include "coordinator/http_config.h"
#include "tributary/err.h"

struct trib_http;

struct trib_http_answer {
    unsigned status;      // 200, 404, 503
    struct trib_buf body; // text
};

// On the server's thread, one request at a time. `path` is without what follows a '?'.
typedef void (*trib_http_fn)(void *user, const char *path, struct trib_http_answer *ret_answer);

// `config` was checked, and names an address. TRIB_ERR_IO (logged): it cannot be listened on.
TRIB_CHECKED enum trib_err trib_http_start(const struct trib_http_config *config,
                                           trib_http_fn answer, void *user,
                                           struct trib_http **ret_http);
// Call about every second, from any thread: ends connections whose time is over. NULL is fine.
void trib_http_tick(struct trib_http *http, uint64_t now_ms);
void trib_http_stop(struct trib_http *http); // NULL is fine

#endif // TRIB_COORDINATOR_HTTP_H
