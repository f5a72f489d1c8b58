#include "coordinator/http.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/wipe.h"

#define TRIB_LOG_MODULE "http"

enum {
    CONNECTIONS_MAX = 16,
    IDLE_S = 10,
    HEAD_SIZE_MAX = 8192,
    LINES_PER_SECOND = 2,
    REQUEST_MS = 10000, // whole, with its answer: the library's own timeout begins anew with a byte
};

// A connection, by the library's thread; the lock is held while it is ended from outside, so that
// its descriptor is not another's by then.
struct line {
    bool is_used;
    int fd;
    uint64_t since_ms; // when it was accepted, or its last request was over
};

struct trib_http {
    struct MHD_Daemon *daemon;
    trib_http_fn answer;
    void *user;
    bool has_token;
    uint8_t token_digest[TRIB_DIGEST_SIZE];
    struct trib_log_limit limit; // whoever connects can cause lines
    pthread_mutex_t lock;        // guards the lines
    struct line lines[CONNECTIONS_MAX];
};

static void log_line(void *user, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void log_line(void *user, const char *format, va_list args)
{
    struct trib_http *http = user;
    char line[512];
    if (!trib_log_limit_allows(&http->limit, LINES_PER_SECOND))
        return;
    (void)vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = '\0';
    const unsigned suppressed = trib_log_limit_take(&http->limit);
    if (suppressed > 0)
        TRIB_WARN("%s suppressed=%u", line, suppressed);
    else
        TRIB_WARN("%s", line);
}

// "Bearer TOKEN", compared in a time that tells nothing of the token.
static bool is_allowed(const struct trib_http *http, struct MHD_Connection *connection)
{
    static const char scheme[] = "Bearer ";
    uint8_t digest[TRIB_DIGEST_SIZE];
    if (!http->has_token)
        return true;
    const char *given =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (!given || strncasecmp(given, scheme, strlen(scheme)) != 0)
        return false;
    given += strlen(scheme);
    trib_digest(given, strlen(given), digest);
    return trib_equal_ct(digest, http->token_digest, sizeof(digest));
}

static bool has_body(struct MHD_Connection *connection)
{
    const char *length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (length && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                       MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

// Send what is in `answer`, and empty it.
static enum MHD_Result reply(struct MHD_Connection *connection, struct trib_http_answer *answer)
{
    const bool is_whole = !answer->body.failed;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        is_whole ? answer->body.size : 0, answer->body.data, MHD_RESPMEM_MUST_COPY);
    const unsigned status = is_whole ? answer->status : MHD_HTTP_SERVICE_UNAVAILABLE;
    trib_buf_fini(&answer->body);
    if (!response)
        return MHD_NO;
    enum MHD_Result done =
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                "text/plain; version=0.0.4; charset=utf-8") &&
                MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store")
            ? MHD_YES
            : MHD_NO;
    if (done && status == MHD_HTTP_UNAUTHORIZED)
        done = MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (done && status == MHD_HTTP_METHOD_NOT_ALLOWED)
        done = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (done)
        done = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return done;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *why)
{
    struct trib_http_answer answer = {.status = status};
    trib_buf_text(&answer.body, why);
    return reply(connection, &answer);
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **request)
{
    struct trib_http *http = user;
    (void)version;
    (void)data;
    (void)data_size;
    if (!is_allowed(http, connection))
        return refuse(connection, MHD_HTTP_UNAUTHORIZED, "the bearer token is wanted\n");
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD\n");
    if (has_body(connection))
        return refuse(connection, MHD_HTTP_CONTENT_TOO_LARGE, "no body is wanted\n");
    if (!*request) { // the head is there; an answer now would end the connection
        *request = http;
        return MHD_YES;
    }
    struct trib_http_answer answer = {.status = MHD_HTTP_OK};
    http->answer(http->user, url, &answer);
    return reply(connection, &answer);
}

static void line_begins(struct trib_http *http, struct MHD_Connection *connection, void **ret_line)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *ret_line = NULL;
    (void)pthread_mutex_lock(&http->lock);
    for (size_t i = 0; info && i < CONNECTIONS_MAX && !*ret_line; i++) {
        if (http->lines[i].is_used)
            continue;
        http->lines[i] = (struct line){
            .is_used = true, .fd = info->connect_fd, .since_ms = trib_clock_mono_ms()};
        *ret_line = &http->lines[i];
    }
    (void)pthread_mutex_unlock(&http->lock);
}

static void on_connection(void *user, struct MHD_Connection *connection, void **line,
                          enum MHD_ConnectionNotificationCode what)
{
    struct trib_http *http = user;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        line_begins(http, connection, line);
    } else if (*line) {
        (void)pthread_mutex_lock(&http->lock);
        ((struct line *)*line)->is_used = false;
        (void)pthread_mutex_unlock(&http->lock);
    }
}

static void on_completed(void *user, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode how)
{
    struct trib_http *http = user;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    (void)request;
    (void)how;
    if (!info || !info->socket_context)
        return;
    (void)pthread_mutex_lock(&http->lock);
    ((struct line *)info->socket_context)->since_ms = trib_clock_mono_ms();
    (void)pthread_mutex_unlock(&http->lock);
}

void trib_http_tick(struct trib_http *http, uint64_t now_ms)
{
    if (!http)
        return;
    (void)pthread_mutex_lock(&http->lock);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        const struct line *line = &http->lines[i];
        if (line->is_used && now_ms > line->since_ms + REQUEST_MS)
            (void)shutdown(line->fd, SHUT_RDWR); // the library sees that and does the rest
    }
    (void)pthread_mutex_unlock(&http->lock);
}

static void fill_address(const struct trib_http_address *from, struct sockaddr_storage *to)
{
    memset(to, 0, sizeof(*to));
    if (from->is_v6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(from->port);
        memcpy(&v6->sin6_addr, from->bytes, sizeof(v6->sin6_addr));
    } else {
        struct sockaddr_in *v4 = (struct sockaddr_in *)to;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(from->port);
        memcpy(&v4->sin_addr, from->bytes, sizeof(v4->sin_addr));
    }
}

enum trib_err trib_http_start(const struct trib_http_config *config, trib_http_fn answer,
                              void *user, struct trib_http **ret_http)
{
    struct sockaddr_storage address;
    struct trib_http *http = trib_alloc(sizeof(*http));
    if (!http)
        return TRIB_ERR_NOMEM;
    http->answer = answer;
    http->user = user;
    http->has_token = config->has_token;
    memcpy(http->token_digest, config->token_digest, sizeof(http->token_digest));
    fill_address(&config->address, &address);
    (void)pthread_mutex_init(&http->lock, NULL);
    http->daemon = MHD_start_daemon(
        MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ERROR_LOG |
            (config->address.is_v6 ? MHD_USE_IPv6 : MHD_NO_FLAG),
        config->address.port, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, log_line,
        http, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_SIZE_MAX, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_END);
    if (!http->daemon) {
        TRIB_ERROR("http.listen: cannot listen at %s", config->listen);
        (void)pthread_mutex_destroy(&http->lock);
        free(http);
        return TRIB_ERR_IO;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    TRIB_INFO("listening at=%s port=%u token=%s", config->listen,
              info ? (unsigned)info->port : (unsigned)config->address.port,
              config->has_token ? "yes" : "no");
    *ret_http = http;
    return TRIB_OK;
}

void trib_http_stop(struct trib_http *http)
{
    if (!http)
        return;
    MHD_stop_daemon(http->daemon);
    (void)pthread_mutex_destroy(&http->lock);
    trib_wipe(http, sizeof(*http));
    free(http);
}
