// link.h - byte streams over tcp:// and ipc://, the only place that knows nng.
//
// nng's byte-stream API, never its SP sockets: those of 1.5.2 stop listening for good after one or
// two hostile connections (nng #1518). Callbacks run on nng's threads and must only note what
// happened and hand it on: they may call the functions here, and nothing that waits.
//
// A connection has at most one receive and one send outstanding. After trib_conn_close a callback
// that was already running may still end; then comes `closed`, once and last, and the connection
// frees itself: it must not be touched after trib_conn_close. `closed` may run inside it.
#ifndef TRIB_WIRE_LINK_H
#define TRIB_WIRE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

struct trib_listener;
struct trib_dial;
struct trib_conn;

enum {
    TRIB_LINK_BACKLOG = 4096,
    TRIB_PEER_TEXT_SIZE = 64, // "127.0.0.1:54321" or "local"
};

#define TRIB_LINK_URL_FORM "tcp://ADDRESS:PORT or ipc://PATH"

// Is it of that form? Whether the address is there is another question.
bool trib_link_url_is_good(const char *url);

// ---- Listening

// A new connection; the callee owns it: trib_conn_start or trib_conn_close. False: it is closed
// again, and does not count for trib_listener_limit.
typedef bool (*trib_link_accepted_fn)(void *user, struct trib_conn *conn);

// `mode` are the permissions of an ipc socket, ignored for tcp. TRIB_ERR_INVAL: not a URL we know;
// TRIB_ERR_IO: cannot listen there (logged).
TRIB_CHECKED enum trib_err trib_link_listen(const char *url, unsigned mode,
                                            trib_link_accepted_fn accepted, void *user,
                                            struct trib_listener **ret_listener);
// Have at most `count` connections that were accepted and not released; further ones wait in the
// kernel's backlog, which costs us nothing. Without it there is no limit.
void trib_listener_limit(struct trib_listener *listener, unsigned count);
// Are there as many, so that others may wait? Any thread.
bool trib_listener_is_full(struct trib_listener *listener);
// Nothing is accepted while all descriptors below `fd_max` are open, those included that are over.
void trib_listener_descriptors(struct trib_listener *listener, int fd_max);
// One that was accepted counts no more. Any thread.
void trib_listener_release(struct trib_listener *listener);
// The port a tcp listener is bound to (it may have asked for port 0); 0 for ipc.
uint16_t trib_listener_port(const struct trib_listener *listener);
// No accepted callback runs after it returns. NULL is fine.
void trib_listener_close(struct trib_listener *listener);

// ---- Dialing

// Called once: with a connection the callee owns, or with an error (TRIB_ERR_CONNECT) and NULL.
typedef void (*trib_link_dialed_fn)(void *user, enum trib_err err, struct trib_conn *conn);

TRIB_CHECKED enum trib_err trib_link_dial(const char *url, trib_link_dialed_fn dialed, void *user,
                                          struct trib_dial **ret_dial);
// Make the callback come soon, with an error unless it was under way. Then trib_dial_free it.
void trib_dial_cancel(struct trib_dial *dial);
// After the callback has run; not from inside it. Waits for the callback. NULL is fine.
void trib_dial_free(struct trib_dial *dial);

// ---- Connections

struct trib_conn_parts {
    const uint8_t *head, *tail;
    size_t head_size, tail_size; // at least one byte together
};

// Without its first `size` bytes; how many are left.
static inline size_t trib_conn_parts_skip(struct trib_conn_parts *parts, size_t size)
{
    const size_t head = size < parts->head_size ? size : parts->head_size;
    const size_t tail = size - head;
    if (head > 0)
        parts->head += head;
    if (tail > 0)
        parts->tail += tail;
    parts->head_size -= head;
    parts->tail_size -= tail;
    return parts->head_size + parts->tail_size;
}

struct trib_conn_handler {
    void (*received)(void *user, enum trib_err err, size_t size); // size >= 1 when err is TRIB_OK
    void (*sent)(void *user, enum trib_err err);                  // all of it
    void (*closed)(void *user);
};

void trib_conn_start(struct trib_conn *conn, const struct trib_conn_handler *handler, void *user);
void trib_conn_receive(struct trib_conn *conn, uint8_t *data, size_t capacity);
void trib_conn_send(struct trib_conn *conn, const uint8_t *data, size_t size);
// Bytes, and others after them, as if they were one.
void trib_conn_send_parts(struct trib_conn *conn, const struct trib_conn_parts *parts);
// What can be received or sent without waiting, in bytes, perhaps 0; no callback comes of it. With
// nothing of the same direction outstanding, and before trib_conn_close, by the same thread. That
// the peer is gone is told to who waits. Each callback costs two threads that must be woken.
size_t trib_conn_receive_now(struct trib_conn *conn, uint8_t *data, size_t capacity);
size_t trib_conn_send_now(struct trib_conn *conn, const struct trib_conn_parts *parts);
void trib_conn_close(struct trib_conn *conn);

void trib_conn_peer_text(const struct trib_conn *conn, char text[static TRIB_PEER_TEXT_SIZE]);
// Who is at the other end of an ipc connection; false for tcp.
bool trib_conn_peer_ids(const struct trib_conn *conn, uint64_t *ret_uid, uint64_t *ret_gid);

#endif // TRIB_WIRE_LINK_H
