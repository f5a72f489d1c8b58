#include "common/wire/link.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <nng/nng.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "link"

enum {
    ACCEPT_PAUSE_MS = 20, // when descriptors or memory are short
    FD_SCAN_MAX = 65536,
};

// ---- Connections

struct trib_conn {
    nng_stream *stream;
    nng_aio *receive_aio;
    nng_aio *send_aio;
    nng_aio *now_aio;     // of what does not wait; NULL until it is used
    pthread_mutex_t lock; // guards what follows
    unsigned holds;       // operations in flight, their callbacks included, and a close under way
    bool is_receiving;
    bool is_sending;
    bool is_closing;
    struct trib_conn_parts left; // to send
    struct trib_conn_handler handler;
    void *user;
};

// nng is done with it: tell the owner and free. Nobody else can reach the connection any more.
static void finish(struct trib_conn *conn)
{
    if (conn->handler.closed)
        conn->handler.closed(conn->user);
    nng_stream_free(conn->stream);
    nng_aio_reap(conn->receive_aio); // freed in the background: this may be one of its callbacks
    nng_aio_reap(conn->send_aio);
    nng_aio_free(conn->now_aio); // has no callback to wait for
    (void)pthread_mutex_destroy(&conn->lock);
    free(conn);
}

static void release(struct trib_conn *conn)
{
    (void)pthread_mutex_lock(&conn->lock);
    assert(conn->holds > 0);
    conn->holds--;
    bool is_last = conn->is_closing && conn->holds == 0;
    (void)pthread_mutex_unlock(&conn->lock);
    if (is_last)
        finish(conn);
}

static void on_received(void *user)
{
    struct trib_conn *conn = user;
    bool failed = nng_aio_result(conn->receive_aio) != 0;
    size_t size = failed ? 0 : nng_aio_count(conn->receive_aio);
    (void)pthread_mutex_lock(&conn->lock);
    bool is_closing = conn->is_closing;
    conn->is_receiving = false;
    (void)pthread_mutex_unlock(&conn->lock);
    if (!is_closing) // no bytes: the peer is gone
        conn->handler.received(conn->user, size > 0 ? TRIB_OK : TRIB_ERR_IO, size);
    release(conn);
}

// nng declares bytes to send without const; it only reads them.
static nng_iov iov_of(const uint8_t *data, size_t size)
{
    union {
        const uint8_t *borrowed;
        uint8_t *plain;
    } from = {.borrowed = data};
    return (nng_iov){.iov_buf = from.plain, .iov_len = size};
}

static void set_parts(nng_aio *aio, const struct trib_conn_parts *parts)
{
    nng_iov iov[2];
    unsigned count = 0;
    if (parts->head_size > 0)
        iov[count++] = iov_of(parts->head, parts->head_size);
    if (parts->tail_size > 0)
        iov[count++] = iov_of(parts->tail, parts->tail_size);
    (void)nng_aio_set_iov(aio, count, iov);
}

static void submit_send(struct trib_conn *conn)
{
    set_parts(conn->send_aio, &conn->left);
    nng_stream_send(conn->stream, conn->send_aio);
}

static void on_sent(void *user)
{
    struct trib_conn *conn = user;
    bool failed = nng_aio_result(conn->send_aio) != 0;
    size_t size = failed ? 0 : nng_aio_count(conn->send_aio);
    (void)pthread_mutex_lock(&conn->lock);
    bool is_closing = conn->is_closing;
    bool is_more = trib_conn_parts_skip(&conn->left, size) > 0 && !failed && !is_closing;
    conn->is_sending = is_more;
    (void)pthread_mutex_unlock(&conn->lock);
    if (is_more) {
        submit_send(conn); // goes on under the same hold
        return;
    }
    if (!is_closing)
        conn->handler.sent(conn->user, failed ? TRIB_ERR_IO : TRIB_OK);
    release(conn);
}

// Takes the stream, also when it fails.
static struct trib_conn *conn_create(nng_stream *stream)
{
    struct trib_conn *conn = trib_alloc(sizeof(*conn));
    if (!conn)
        goto failed;
    conn->stream = stream;
    (void)pthread_mutex_init(&conn->lock, NULL);
    if (nng_aio_alloc(&conn->receive_aio, on_received, conn) ||
        nng_aio_alloc(&conn->send_aio, on_sent, conn))
        goto failed;
    return conn;

failed:
    if (conn) {
        nng_aio_free(conn->receive_aio);
        (void)pthread_mutex_destroy(&conn->lock);
        free(conn);
    }
    nng_stream_close(stream);
    nng_stream_free(stream);
    return NULL;
}

void trib_conn_start(struct trib_conn *conn, const struct trib_conn_handler *handler, void *user)
{
    conn->handler = *handler;
    conn->user = user;
}

void trib_conn_receive(struct trib_conn *conn, uint8_t *data, size_t capacity)
{
    (void)pthread_mutex_lock(&conn->lock);
    assert(!conn->is_receiving);
    bool is_closing = conn->is_closing;
    if (!is_closing) {
        conn->is_receiving = true;
        conn->holds++;
    }
    (void)pthread_mutex_unlock(&conn->lock);
    if (is_closing)
        return;
    nng_iov iov = {.iov_buf = data, .iov_len = capacity};
    (void)nng_aio_set_iov(conn->receive_aio, 1, &iov);
    nng_stream_recv(conn->stream, conn->receive_aio); // fails at once if closed meanwhile
}

void trib_conn_send_parts(struct trib_conn *conn, const struct trib_conn_parts *parts)
{
    (void)pthread_mutex_lock(&conn->lock);
    assert(!conn->is_sending && parts->head_size + parts->tail_size > 0);
    bool is_closing = conn->is_closing;
    if (!is_closing) {
        conn->is_sending = true;
        conn->holds++;
        conn->left = *parts;
    }
    (void)pthread_mutex_unlock(&conn->lock);
    if (!is_closing)
        submit_send(conn);
}

void trib_conn_send(struct trib_conn *conn, const uint8_t *data, size_t size)
{
    trib_conn_send_parts(conn, &(struct trib_conn_parts){.head = data, .head_size = size});
}

// ---- Without waiting

// An operation without a callback takes what the kernel has, or has room for, within the call; one
// that would have to wait is taken back. Bytes moved; errors are left to whoever waits next.
static size_t move_now(struct trib_conn *conn, const struct trib_conn_parts *parts,
                       void (*operation)(nng_stream *, nng_aio *))
{
    if (!conn->now_aio && nng_aio_alloc(&conn->now_aio, NULL, NULL))
        return 0;
    set_parts(conn->now_aio, parts);
    operation(conn->stream, conn->now_aio);
    nng_aio_cancel(conn->now_aio);
    nng_aio_wait(conn->now_aio);
    return nng_aio_result(conn->now_aio) ? 0 : nng_aio_count(conn->now_aio);
}

size_t trib_conn_receive_now(struct trib_conn *conn, uint8_t *data, size_t capacity)
{
    const struct trib_conn_parts room = {.head = data, .head_size = capacity};
    return move_now(conn, &room, nng_stream_recv);
}

size_t trib_conn_send_now(struct trib_conn *conn, const struct trib_conn_parts *parts)
{
    return move_now(conn, parts, nng_stream_send);
}

void trib_conn_close(struct trib_conn *conn)
{
    (void)pthread_mutex_lock(&conn->lock);
    assert(!conn->is_closing);
    conn->is_closing = true;
    conn->holds++; // nng_stream_close may run the callbacks of what is in flight
    (void)pthread_mutex_unlock(&conn->lock);
    nng_stream_close(conn->stream);
    release(conn);
}

void trib_conn_peer_text(const struct trib_conn *conn, char text[static TRIB_PEER_TEXT_SIZE])
{
    nng_sockaddr address;
    char ip[INET6_ADDRSTRLEN];
    (void)snprintf(text, TRIB_PEER_TEXT_SIZE, "local");
    if (nng_stream_get_addr(conn->stream, NNG_OPT_REMADDR, &address))
        return;
    if (address.s_family == NNG_AF_INET &&
        inet_ntop(AF_INET, &address.s_in.sa_addr, ip, sizeof(ip)))
        (void)snprintf(text, TRIB_PEER_TEXT_SIZE, "%s:%u", ip, ntohs(address.s_in.sa_port));
    else if (address.s_family == NNG_AF_INET6 &&
             inet_ntop(AF_INET6, address.s_in6.sa_addr, ip, sizeof(ip)))
        (void)snprintf(text, TRIB_PEER_TEXT_SIZE, "[%s]:%u", ip, ntohs(address.s_in6.sa_port));
}

bool trib_conn_peer_ids(const struct trib_conn *conn, uint64_t *ret_uid, uint64_t *ret_gid)
{
    return nng_stream_get_uint64(conn->stream, NNG_OPT_IPC_PEER_UID, ret_uid) == 0 &&
           nng_stream_get_uint64(conn->stream, NNG_OPT_IPC_PEER_GID, ret_gid) == 0;
}

// ---- Listening

struct trib_listener {
    nng_stream_listener *listener;
    nng_aio *aio;
    trib_link_accepted_fn accepted;
    void *user;
    bool is_closing; // written before the aio is stopped, read in its callback
    bool is_pausing;
    uint16_t port;
    pthread_mutex_t lock; // guards what follows
    unsigned held;        // accepted and not released
    unsigned held_max;
    int fd_max; // none is accepted while all descriptors below it are open; 0: as many as there are
    bool is_full; // nothing is accepted until one is released
};

// May another one be accepted? If not, whoever releases one goes on.
static bool may_accept(struct trib_listener *listener)
{
    (void)pthread_mutex_lock(&listener->lock);
    listener->is_full = listener->held >= listener->held_max;
    const bool may = !listener->is_full;
    (void)pthread_mutex_unlock(&listener->lock);
    return may;
}

// nng closes descriptors in the background, after a connection is over and released: under a flood
// thousands wait for that. The lowest free one says how many there really are.
static bool has_descriptor(struct trib_listener *listener)
{
    (void)pthread_mutex_lock(&listener->lock);
    const int fd_max = listener->fd_max;
    (void)pthread_mutex_unlock(&listener->lock);
    if (fd_max == 0)
        return true;
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0 && fd < fd_max;
}

static void accept_next(struct trib_listener *listener)
{
    listener->is_pausing = !has_descriptor(listener);
    if (listener->is_pausing)
        nng_sleep_aio(ACCEPT_PAUSE_MS, listener->aio);
    else
        nng_stream_listener_accept(listener->listener, listener->aio);
}

void trib_listener_descriptors(struct trib_listener *listener, int fd_max)
{
    (void)pthread_mutex_lock(&listener->lock);
    listener->fd_max = fd_max;
    (void)pthread_mutex_unlock(&listener->lock);
}

void trib_listener_limit(struct trib_listener *listener, unsigned count)
{
    assert(count > 0);
    (void)pthread_mutex_lock(&listener->lock);
    listener->held_max = count;
    (void)pthread_mutex_unlock(&listener->lock);
}

bool trib_listener_is_full(struct trib_listener *listener)
{
    (void)pthread_mutex_lock(&listener->lock);
    const bool is_full = listener->is_full;
    (void)pthread_mutex_unlock(&listener->lock);
    return is_full;
}

void trib_listener_release(struct trib_listener *listener)
{
    (void)pthread_mutex_lock(&listener->lock);
    assert(listener->held > 0);
    listener->held--;
    const bool goes_on = listener->is_full && listener->held < listener->held_max;
    listener->is_full = listener->is_full && !goes_on;
    (void)pthread_mutex_unlock(&listener->lock);
    if (goes_on)
        accept_next(listener);
}

// Counted before: whoever it is handed to may release it at once.
static void hand_over(struct trib_listener *listener, struct trib_conn *conn)
{
    (void)pthread_mutex_lock(&listener->lock);
    listener->held++;
    (void)pthread_mutex_unlock(&listener->lock);
    if (listener->accepted(listener->user, conn))
        return;
    (void)pthread_mutex_lock(&listener->lock);
    listener->held--;
    (void)pthread_mutex_unlock(&listener->lock);
}

static void on_accepted(void *user)
{
    struct trib_listener *listener = user;
    int failure = nng_aio_result(listener->aio);

    if (__atomic_load_n(&listener->is_closing, __ATOMIC_ACQUIRE)) {
        if (!failure && !listener->is_pausing) {
            nng_stream *stream = nng_aio_get_output(listener->aio, 0);
            nng_stream_free(stream);
        }
        return;
    }
    if (!listener->is_pausing && !failure) {
        struct trib_conn *conn = conn_create(nng_aio_get_output(listener->aio, 0));
        if (conn)
            hand_over(listener, conn);
    }
    // Accept again whatever went wrong with one peer: only our own close ends it.
    listener->is_pausing = failure == NNG_ENOFILES || failure == NNG_ENOMEM;
    if (listener->is_pausing)
        nng_sleep_aio(ACCEPT_PAUSE_MS, listener->aio);
    else if (may_accept(listener))
        accept_next(listener);
}

static bool is_socket_of(int fd, const char *url, uint16_t port)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    int listening = 0;
    socklen_t flag_size = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &flag_size) || !listening ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        return false;
    if (address.ss_family == AF_INET)
        return port && ntohs(((const struct sockaddr_in *)&address)->sin_port) == port;
    if (address.ss_family == AF_INET6)
        return port && ntohs(((const struct sockaddr_in6 *)&address)->sin6_port) == port;
    return address.ss_family == AF_UNIX && strncmp(url, "ipc://", 6) == 0 &&
           strcmp(((const struct sockaddr_un *)&address)->sun_path, url + 6) == 0;
}

// nng listens with a backlog of 128 and offers no way to say otherwise; listen(2) may be called
// again on the same descriptor, which is found by its address. A storm of 10,000 clients was
// served in 0.6 s instead of 15 s (docs/protocol.md).
static void raise_backlog(const char *url, uint16_t port)
{
    struct rlimit limit = {.rlim_cur = 1024};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    int fd_max = limit.rlim_cur < FD_SCAN_MAX ? (int)limit.rlim_cur : FD_SCAN_MAX;
    for (int fd = 3; fd < fd_max; fd++) {
        if (is_socket_of(fd, url, port)) {
            (void)listen(fd, TRIB_LINK_BACKLOG);
            return;
        }
    }
    TRIB_DEBUG("url=%s the listening descriptor was not found; the backlog stays at 128", url);
}

enum trib_err trib_link_listen(const char *url, unsigned mode, trib_link_accepted_fn accepted,
                               void *user, struct trib_listener **ret_listener)
{
    int failure;
    int port = 0;
    if (!trib_link_url_is_good(url)) {
        TRIB_ERROR("%s: want " TRIB_LINK_URL_FORM, url);
        return TRIB_ERR_INVAL;
    }
    struct trib_listener *listener = trib_alloc(sizeof(*listener));
    if (!listener)
        return TRIB_ERR_NOMEM;
    listener->accepted = accepted;
    listener->user = user;
    listener->held_max = UINT_MAX;
    (void)pthread_mutex_init(&listener->lock, NULL);
    failure = nng_stream_listener_alloc(&listener->listener, url);
    if (!failure)
        failure = nng_aio_alloc(&listener->aio, on_accepted, listener);
    if (!failure && url[0] == 't')
        failure = nng_stream_listener_set_bool(listener->listener, NNG_OPT_TCP_NODELAY, true);
    if (!failure && url[0] == 'i')
        failure =
            nng_stream_listener_set_int(listener->listener, NNG_OPT_IPC_PERMISSIONS, (int)mode);
    if (!failure)
        failure = nng_stream_listener_listen(listener->listener);
    if (failure) {
        TRIB_ERROR("%s: cannot listen: %s", url, nng_strerror(failure));
        nng_aio_free(listener->aio);
        nng_stream_listener_free(listener->listener);
        (void)pthread_mutex_destroy(&listener->lock);
        free(listener);
        return failure == NNG_ENOMEM ? TRIB_ERR_NOMEM : TRIB_ERR_IO;
    }
    if (url[0] == 't')
        (void)nng_stream_listener_get_int(listener->listener, NNG_OPT_TCP_BOUND_PORT, &port);
    listener->port = (uint16_t)port;
    raise_backlog(url, listener->port);
    nng_stream_listener_accept(listener->listener, listener->aio);
    *ret_listener = listener;
    return TRIB_OK;
}

uint16_t trib_listener_port(const struct trib_listener *listener)
{
    return listener->port;
}

void trib_listener_close(struct trib_listener *listener)
{
    if (!listener)
        return;
    __atomic_store_n(&listener->is_closing, true, __ATOMIC_RELEASE);
    nng_stream_listener_close(listener->listener);
    nng_aio_stop(listener->aio); // waits for its callback
    nng_aio_free(listener->aio);
    nng_stream_listener_free(listener->listener);
    (void)pthread_mutex_destroy(&listener->lock);
    free(listener);
}

// ---- Dialing

struct trib_dial {
    nng_stream_dialer *dialer;
    nng_aio *aio;
    trib_link_dialed_fn dialed;
    void *user;
};

static void on_dialed(void *user)
{
    struct trib_dial *dial = user;
    struct trib_conn *conn = NULL;
    int failure = nng_aio_result(dial->aio);
    if (!failure)
        conn = conn_create(nng_aio_get_output(dial->aio, 0));
    if (failure)
        TRIB_DEBUG("dial failed: %s", nng_strerror(failure));
    dial->dialed(dial->user, conn ? TRIB_OK : TRIB_ERR_CONNECT, conn);
}

enum trib_err trib_link_dial(const char *url, trib_link_dialed_fn dialed, void *user,
                             struct trib_dial **ret_dial)
{
    if (!trib_link_url_is_good(url)) {
        TRIB_ERROR("%s: want " TRIB_LINK_URL_FORM, url);
        return TRIB_ERR_INVAL;
    }
    struct trib_dial *dial = trib_alloc(sizeof(*dial));
    if (!dial)
        return TRIB_ERR_NOMEM;
    dial->dialed = dialed;
    dial->user = user;
    int failure = nng_stream_dialer_alloc(&dial->dialer, url);
    if (!failure && url[0] == 't')
        failure = nng_stream_dialer_set_bool(dial->dialer, NNG_OPT_TCP_NODELAY, true);
    if (!failure)
        failure = nng_aio_alloc(&dial->aio, on_dialed, dial);
    if (failure) {
        TRIB_ERROR("%s: %s", url, nng_strerror(failure));
        trib_dial_free(dial);
        return failure == NNG_ENOMEM ? TRIB_ERR_NOMEM : TRIB_ERR_INVAL;
    }
    *ret_dial = dial;
    nng_stream_dialer_dial(dial->dialer, dial->aio);
    return TRIB_OK;
}

void trib_dial_cancel(struct trib_dial *dial)
{
    nng_aio_cancel(dial->aio);
}

void trib_dial_free(struct trib_dial *dial)
{
    if (!dial)
        return;
    if (dial->aio)
        nng_aio_wait(dial->aio);
    nng_aio_free(dial->aio);
    if (dial->dialer) {
        nng_stream_dialer_close(dial->dialer);
        nng_stream_dialer_free(dial->dialer);
    }
    free(dial);
}
