#include "client/inlet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "inlet"

enum {
    CONNECTIONS_MAX = 16, // more wait in the listening queue
    READ_SIZE = 1 << 16,
    SYNC_MS = 1000,
    REOPEN_MS = 10000,
    SOCKET_MODE = 0600,
};

struct connection {
    int fd; // -1: free
    struct trib_row_stream *stream;
};

struct trib_inlet {
    struct trib_data_config config;
    void (*arrived)(void *user);
    void *user;
    pthread_mutex_t lock; // of schema, store and every stream
    struct trib_schema *schema;
    struct trib_row_store *store;
    struct trib_row_stream *own; // of trib_inlet_push
    pthread_t thread;
    bool has_thread;
    int wake_fd, listen_fd; // -1: none
    struct connection connections[CONNECTIONS_MAX];
    char *buf; // (READ_SIZE), of the thread
};

static enum trib_err failure(const char *what, const char *path)
{
    TRIB_ERROR("%s: %s: %s", path, what, strerror(errno));
    return TRIB_ERR_IO;
}

// ---- Streams

static enum trib_err make_stream(const struct trib_data_config *config,
                                 const struct trib_schema *schema, struct trib_row_store *store,
                                 struct trib_row_stream **ret_stream)
{
    const struct trib_row_stream_options options = {
        .is_json_lines = config->push_format == TRIB_PUSH_JSON_LINES,
        .header = (enum trib_csv_header)config->header,
        .schema = schema,
        .store = store,
    };
    return trib_row_stream_create(&options, ret_stream);
}

void trib_inlet_summary(const struct trib_row_stream *stream, const char *error,
                        struct trib_buf *json)
{
    const struct trib_findings *f = trib_row_stream_findings(stream);
    trib_json_open(json, NULL, '{');
    trib_json_uint(json, "rows", f->rows);
    trib_json_uint(json, "accepted", f->rows - f->bad_rows);
    trib_json_uint(json, "malformed", f->bad_rows);
    if (error)
        trib_json_text(json, "error", error);
    trib_json_open(json, "findings", '[');
    for (size_t c = 0; c <= f->schema->count; c++) {
        for (int rule = 0; rule < TRIB_RULE_COUNT; rule++) {
            const struct trib_violation *v = trib_findings_find(f, c, (enum trib_rule)rule);
            if (v->count == 0)
                continue;
            trib_json_open(json, NULL, '{');
            trib_json_text(json, "column",
                           c < f->schema->count ? f->schema->columns[c].name : "(row)");
            trib_json_text(json, "rule", trib_rule_text((enum trib_rule)rule));
            trib_json_uint(json, "count", v->count);
            trib_json_uint(json, "line", v->line);
            trib_json_uint(json, "place", v->place);
            trib_json_close(json, '}');
        }
    }
    trib_json_close(json, ']');
    trib_json_close(json, '}');
}

static const char *error_text(const struct trib_row_stream *stream, enum trib_err err)
{
    if (!err)
        return NULL;
    return trib_row_stream_why(stream)[0] ? trib_row_stream_why(stream) : trib_err_text(err);
}

// ---- The socket

static bool fill_address(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path))
        return false;
    memcpy(address->sun_path, path, strlen(path) + 1);
    return true;
}

// A socket that an earlier client left behind is in the way; another file is not ours to remove.
static void remove_socket(const char *path)
{
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISSOCK(info.st_mode))
        (void)unlink(path);
}

static enum trib_err listen_on(struct trib_inlet *inlet)
{
    const char *path = inlet->config.socket;
    struct sockaddr_un address;
    if (!path[0])
        return TRIB_OK;
    if (!fill_address(path, &address)) {
        TRIB_ERROR("data.socket: %s: the path of a socket has at most %zu bytes", path,
                   sizeof(address.sun_path) - 1);
        return TRIB_ERR_INVAL;
    }
    remove_socket(path);
    inlet->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    // The mode before the name: nobody else can connect in between.
    if (inlet->listen_fd < 0 || fchmod(inlet->listen_fd, SOCKET_MODE) ||
        bind(inlet->listen_fd, (const struct sockaddr *)&address, sizeof(address)) ||
        chmod(path, SOCKET_MODE) || listen(inlet->listen_fd, CONNECTIONS_MAX))
        return failure("cannot listen", path);
    TRIB_INFO("rows are taken on socket=%s", path);
    return TRIB_OK;
}

static void hang_up(struct connection *c)
{
    (void)close(c->fd);
    trib_row_stream_destroy(c->stream);
    *c = (struct connection){.fd = -1};
}

// The rows are durable: say what came of them. Who does not read the answer does not get it.
static void answer(struct connection *c, enum trib_err err)
{
    struct trib_buf json = {0};
    trib_inlet_summary(c->stream, error_text(c->stream, err), &json);
    trib_buf_text(&json, "\n");
    if (!json.failed)
        (void)!send(c->fd, json.data, json.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    trib_buf_fini(&json);
    hang_up(c);
}

static void accept_one(struct trib_inlet *inlet)
{
    struct connection *c = inlet->connections;
    while (c->fd >= 0)
        c++;
    c->fd = accept4(inlet->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (c->fd < 0)
        return;
    (void)pthread_mutex_lock(&inlet->lock);
    enum trib_err err = make_stream(&inlet->config, inlet->schema, inlet->store, &c->stream);
    (void)pthread_mutex_unlock(&inlet->lock);
    if (err)
        hang_up(c);
}

// Read a piece. True: rows may have come.
static bool serve(struct trib_inlet *inlet, struct connection *c)
{
    const ssize_t got = read(c->fd, inlet->buf, READ_SIZE);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    const uint64_t now_ms = trib_clock_wall_ms();
    enum trib_err err;
    (void)pthread_mutex_lock(&inlet->lock);
    if (got > 0)
        err = trib_row_stream_put(c->stream, inlet->buf, (size_t)got, now_ms);
    else
        err = trib_row_stream_end(c->stream, now_ms);
    if (!err)
        err = got > 0 ? trib_row_store_flush(inlet->store) : trib_row_store_sync(inlet->store);
    (void)pthread_mutex_unlock(&inlet->lock);
    if (err || got <= 0)
        answer(c, err);
    return true;
}

// Rows that are old go, and what was written becomes durable.
static void keep(struct trib_inlet *inlet)
{
    (void)pthread_mutex_lock(&inlet->lock);
    enum trib_err err = trib_row_store_sync(inlet->store);
    if (!err)
        err = trib_row_store_expire(inlet->store, trib_clock_wall_ms());
    (void)pthread_mutex_unlock(&inlet->lock);
    if (err)
        TRIB_DEBUG("the store takes no rows: %s", trib_err_text(err));
}

// After a failure (a full disk, say): begin anew, if that is possible now. Streams are bound to the
// old store and end.
static void reopen(struct trib_inlet *inlet)
{
    struct trib_schema *schema;
    struct trib_row_store *store;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (inlet->connections[i].fd >= 0)
            answer(&inlet->connections[i], TRIB_ERR_IO);
    }
    (void)pthread_mutex_lock(&inlet->lock);
    trib_row_stream_destroy(inlet->own);
    inlet->own = NULL;
    trib_row_store_close(inlet->store);
    trib_schema_destroy(inlet->schema);
    inlet->store = NULL;
    inlet->schema = NULL;
    if (!trib_data_open_store(&inlet->config, trib_clock_wall_ms(), &schema, &store)) {
        inlet->store = store;
        inlet->schema = schema;
    }
    (void)pthread_mutex_unlock(&inlet->lock);
}

static bool is_broken(struct trib_inlet *inlet)
{
    (void)pthread_mutex_lock(&inlet->lock);
    const bool is_so = !inlet->store || trib_row_store_has_failed(inlet->store);
    (void)pthread_mutex_unlock(&inlet->lock);
    return is_so;
}

// One round of waiting. False: it is time to end.
static bool run_once(struct trib_inlet *inlet)
{
    struct pollfd items[CONNECTIONS_MAX + 2];
    struct connection *of[CONNECTIONS_MAX + 2];
    nfds_t count = 0;
    bool has_room = false, has_rows = false;
    items[count++] = (struct pollfd){.fd = inlet->wake_fd, .events = POLLIN};
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        of[count] = &inlet->connections[i];
        if (of[count]->fd >= 0)
            items[count++] = (struct pollfd){.fd = inlet->connections[i].fd, .events = POLLIN};
        else
            has_room = true;
    }
    const nfds_t listener = count;
    if (has_room && inlet->listen_fd >= 0 && !is_broken(inlet))
        items[count++] = (struct pollfd){.fd = inlet->listen_fd, .events = POLLIN};
    const int ready = poll(items, count, SYNC_MS);
    if (items[0].revents)
        return false;
    for (nfds_t i = 1; ready > 0 && i < listener; i++) {
        if (items[i].revents)
            has_rows = serve(inlet, of[i]) || has_rows;
    }
    if (ready > 0 && listener < count && items[listener].revents)
        accept_one(inlet);
    if (has_rows && inlet->arrived)
        inlet->arrived(inlet->user);
    return true;
}

static void *run(void *user)
{
    struct trib_inlet *inlet = user;
    uint64_t kept_ms = trib_clock_mono_ms();
    while (run_once(inlet)) {
        const uint64_t now_ms = trib_clock_mono_ms();
        const bool is_bad = is_broken(inlet);
        if (now_ms - kept_ms < (is_bad ? REOPEN_MS : SYNC_MS))
            continue;
        kept_ms = now_ms;
        if (is_bad)
            reopen(inlet);
        else
            keep(inlet);
    }
    return NULL;
}

// ---- Life

enum trib_err trib_inlet_create(const struct trib_inlet_options *options,
                                struct trib_inlet **ret_inlet)
{
    struct trib_inlet *inlet = trib_alloc(sizeof(*inlet));
    if (!inlet)
        return TRIB_ERR_NOMEM;
    inlet->config = *options->config;
    inlet->arrived = options->arrived;
    inlet->user = options->user;
    inlet->wake_fd = inlet->listen_fd = -1;
    (void)pthread_mutex_init(&inlet->lock, NULL);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        inlet->connections[i].fd = -1;
    inlet->buf = trib_alloc(READ_SIZE);
    enum trib_err err = inlet->buf ? TRIB_OK : TRIB_ERR_NOMEM;
    if (!err)
        err = trib_data_open_store(&inlet->config, trib_clock_wall_ms(), &inlet->schema,
                                   &inlet->store);
    if (!err)
        err = listen_on(inlet);
    if (!err) {
        inlet->wake_fd = eventfd(0, EFD_CLOEXEC);
        inlet->has_thread =
            inlet->wake_fd >= 0 && pthread_create(&inlet->thread, NULL, run, inlet) == 0;
        err = inlet->has_thread ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    if (err) {
        trib_inlet_destroy(inlet);
        return err;
    }
    *ret_inlet = inlet;
    return TRIB_OK;
}

void trib_inlet_destroy(struct trib_inlet *inlet)
{
    if (!inlet)
        return;
    if (inlet->has_thread) {
        const uint64_t one = 1;
        (void)!write(inlet->wake_fd, &one, sizeof(one));
        (void)pthread_join(inlet->thread, NULL);
    }
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (inlet->connections[i].fd >= 0)
            hang_up(&inlet->connections[i]);
    }
    if (inlet->store && trib_row_store_sync(inlet->store))
        TRIB_WARN("the last rows may be lost");
    if (inlet->listen_fd >= 0) {
        remove_socket(inlet->config.socket);
        (void)close(inlet->listen_fd);
    }
    if (inlet->wake_fd >= 0)
        (void)close(inlet->wake_fd);
    trib_row_stream_destroy(inlet->own);
    trib_row_store_close(inlet->store);
    trib_schema_destroy(inlet->schema);
    (void)pthread_mutex_destroy(&inlet->lock);
    free(inlet->buf);
    free(inlet);
}

enum trib_err trib_inlet_push(struct trib_inlet *inlet, const char *text, size_t size,
                              uint64_t *ret_rows, uint64_t *ret_malformed)
{
    const uint64_t now_ms = trib_clock_wall_ms();
    enum trib_err err = TRIB_OK;
    (void)pthread_mutex_lock(&inlet->lock);
    if (!inlet->store)
        err = TRIB_ERR_IO;
    if (!err && !inlet->own)
        err = make_stream(&inlet->config, inlet->schema, inlet->store, &inlet->own);
    if (!err) {
        const struct trib_findings *f = trib_row_stream_findings(inlet->own);
        const uint64_t rows = f->rows, bad_rows = f->bad_rows;
        err = trib_row_stream_put(inlet->own, text, size, now_ms);
        if (!err)
            err = trib_row_stream_end(inlet->own, now_ms);
        if (!err)
            err = trib_row_store_flush(inlet->store);
        *ret_rows = f->rows - rows;
        *ret_malformed = f->bad_rows - bad_rows;
    }
    if (err) { // the next call begins anew, with its header
        trib_row_stream_destroy(inlet->own);
        inlet->own = NULL;
    }
    (void)pthread_mutex_unlock(&inlet->lock);
    if (!err && inlet->arrived)
        inlet->arrived(inlet->user);
    return err;
}
