// A connection is two ends. What one end sends is cut into segments, which arrive at the other in
// order, as those of TCP do; the faults of the two processes decide when, and in what state.
#include "simulations/chaos/network.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/wire/link.h"
#include "simulations/chaos/chaos.h"

enum {
    DELAY_US = 3000,       // at most, of a segment on a good day
    AGAIN_US = 200000,     // until a lost segment is sent again, twice that the second time
    REFUSED_US = 1000,     // nobody listens there
    UNHEARD_US = 20000000, // nobody answers
    SEGMENT_MAX = 16384,
    WINDOW = 32768, // bytes on their way, beyond which who sends has to wait
    LISTENERS_MAX = 4,
};

// Not freed: there are few, events may come late, and a world is short.
struct trib_conn {
    struct trib_conn *peer, *next; // `next` in the list of all
    struct trib_process *process;
    unsigned life;
    bool is_local;
    char text[TRIB_PEER_TEXT_SIZE];
    struct trib_conn_handler handler;
    void *user;
    uint8_t *room; // that is to be filled; NULL: nobody receives
    size_t capacity;
    struct segment *first, **last; // on their way here, in order
    struct trib_buf inbox;
    size_t taken;                 // of the inbox
    bool is_sending, is_closing;  // by its own process
    unsigned holds;               // callbacks that run, and the close itself
    bool is_in_backlog;           // its listener holds as many as it may
    bool is_broken, is_announced; // no more will come: true; and the process was told
    uint64_t arrives_us;          // the last segment on its way to the peer
    size_t on_way;                // bytes to the peer that have not arrived
};

struct segment {
    struct segment *next;
    bool is_last; // of what was sent at once
    bool is_end;  // no bytes: there is nobody any more
    size_t size;
    uint8_t bytes[];
};

struct trib_listener {
    char url[TRIB_URL_MAX + 1];
    struct trib_process *process;
    unsigned life;
    trib_link_accepted_fn accepted;
    void *user;
    unsigned held, held_max; // accepted and not released; 0: no limit
};

struct trib_dial {
    struct trib_process *process;
    char url[TRIB_URL_MAX + 1];
    trib_link_dialed_fn dialed;
    void *user;
    bool is_over;
};

static struct trib_conn *all;
static struct trib_listener *listeners[LISTENERS_MAX];

static void *make(size_t size)
{
    void *memory = trib_alloc(size);
    if (!memory)
        abort(); // a world is small
    return memory;
}

static bool is_there(const struct trib_conn *conn)
{
    return conn->process->is_alive && conn->process->life == conn->life && !conn->is_closing;
}

// ---- Faults

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static bool is_now(uint64_t a_us, uint64_t b_us)
{
    return later(a_us, b_us) > trib_machine_now_us();
}

static uint64_t delay_us(const struct trib_conn *conn)
{
    const struct trib_process *a = conn->process;
    const struct trib_process *b = conn->peer->process;
    uint64_t us = trib_machine_draw(TRIB_STREAM_NETWORK, 1, DELAY_US);
    if (conn->is_local)
        return us;
    for (uint64_t again = AGAIN_US; is_now(a->lossy_until_us, b->lossy_until_us) &&
                                    trib_machine_chance(TRIB_STREAM_NETWORK, 3);
         again *= 2)
        us += again;
    const uint64_t cut_us = later(a->cut_off_until_us, b->cut_off_until_us);
    return cut_us > trib_machine_now_us() + us ? cut_us - trib_machine_now_us() + us : us;
}

// Who garbles does so on the way, where TCP's own checks do not see it.
static void put_garbled(struct trib_buf *inbox, struct segment *segment)
{
    const uint64_t at = trib_machine_draw(TRIB_STREAM_NETWORK, 0, segment->size - 1);
    switch (trib_machine_draw(TRIB_STREAM_NETWORK, 0, 3)) {
    case 0: return;                                                       // lost
    case 1: trib_buf_append(inbox, segment->bytes, segment->size); break; // twice
    case 2: segment->bytes[at] ^= (uint8_t)trib_machine_draw(TRIB_STREAM_NETWORK, 1, 255); break;
    default: // in another order
        trib_buf_append(inbox, segment->bytes + at, segment->size - at);
        trib_buf_append(inbox, segment->bytes, at);
        return;
    }
    trib_buf_append(inbox, segment->bytes, segment->size);
}

// ---- What arrives

// `closed` comes last: after all callbacks have ended, which may be made to wait like anybody.
static void release(struct trib_conn *conn)
{
    conn->holds--;
    if (conn->is_closing && conn->holds == 0 && conn->handler.closed)
        conn->handler.closed(conn->user);
}

// Some of what is in the inbox, at least a byte when there is any.
static size_t take(struct trib_conn *conn, uint8_t *data, size_t capacity)
{
    const size_t there = conn->inbox.size - conn->taken;
    size_t size = there < capacity ? there : capacity;
    if (size > 1 && trib_machine_chance(TRIB_STREAM_NETWORK, 4))
        size = trib_machine_draw(TRIB_STREAM_NETWORK, 1, size);
    if (size > 0)
        memcpy(data, conn->inbox.data + conn->taken, size);
    conn->taken += size;
    if (conn->taken == conn->inbox.size)
        conn->taken = conn->inbox.size = 0;
    return size;
}

static void deliver(void *user)
{
    struct trib_conn *conn = user;
    const size_t there = conn->inbox.size - conn->taken;
    if (!is_there(conn) || !conn->room || (there == 0 && !conn->is_broken))
        return;
    const size_t size = take(conn, conn->room, conn->capacity);
    conn->room = NULL;
    conn->holds++;
    conn->handler.received(conn->user, size > 0 ? TRIB_OK : TRIB_ERR_IO, size);
    release(conn);
}

static void sent(void *user)
{
    struct trib_conn *conn = user;
    if (!is_there(conn) || !conn->is_sending)
        return;
    conn->is_sending = false;
    conn->holds++;
    conn->handler.sent(conn->user, conn->is_broken ? TRIB_ERR_IO : TRIB_OK);
    release(conn);
}

// On a fiber of whoever it is for: a process that is paused finds it when it goes on.
static void arrive(void *user)
{
    struct trib_conn *conn = user;
    struct segment *segment = conn->first; // whichever is told first that something is there
    conn->first = segment->next;
    if (!conn->first)
        conn->last = &conn->first;
    const struct trib_process *from = conn->peer->process;
    conn->peer->on_way -= segment->size;
    if (segment->is_end)
        conn->is_broken = true;
    else if (!conn->is_local && is_now(from->garbled_until_us, conn->process->garbled_until_us) &&
             trib_machine_chance(TRIB_STREAM_NETWORK, 8))
        put_garbled(&conn->inbox, segment);
    else
        trib_buf_append(&conn->inbox, segment->bytes, segment->size);
    if (segment->is_last)
        trib_machine_after(conn->peer->process, 0, sent, conn->peer);
    if (segment->is_end)
        sent(conn);
    free(segment);
    deliver(conn);
}

static void dispatch(struct trib_conn *conn, struct segment *segment)
{
    const uint64_t now_us = trib_machine_now_us();
    conn->arrives_us = later(conn->arrives_us, now_us + delay_us(conn));
    if (!is_there(conn->peer)) { // nobody takes it any more, and the end is on its way to us
        free(segment);
        return;
    }
    conn->on_way += segment->size;
    *conn->peer->last = segment;
    conn->peer->last = &segment->next;
    trib_machine_after(conn->peer->process, conn->arrives_us - now_us, arrive, conn->peer);
}

static void hang_up(struct trib_conn *conn)
{
    struct segment *segment = make(sizeof(*segment));
    segment->is_end = true;
    dispatch(conn, segment);
}

// ---- link.h: connections

static void closed(void *user)
{
    release(user);
}

void trib_conn_start(struct trib_conn *conn, const struct trib_conn_handler *handler, void *user)
{
    conn->handler = *handler;
    conn->user = user;
}

void trib_conn_receive(struct trib_conn *conn, uint8_t *data, size_t capacity)
{
    conn->room = data;
    conn->capacity = capacity;
    trib_machine_after(conn->process, 0, deliver, conn);
}

static void dispatch_part(struct trib_conn *conn, const uint8_t *data, size_t size, bool is_last)
{
    while (size > 0) {
        const size_t most = size < SEGMENT_MAX ? size : SEGMENT_MAX;
        const size_t part = trib_machine_chance(TRIB_STREAM_NETWORK, 4)
                                ? trib_machine_draw(TRIB_STREAM_NETWORK, 1, most)
                                : most;
        struct segment *segment = make(sizeof(*segment) + part);
        segment->size = part;
        segment->is_last = is_last && part == size;
        memcpy(segment->bytes, data, part);
        dispatch(conn, segment);
        data += part;
        size -= part;
    }
}

void trib_conn_send_parts(struct trib_conn *conn, const struct trib_conn_parts *parts)
{
    conn->is_sending = true;
    if (conn->is_broken || !is_there(conn->peer)) {
        if (conn->is_broken)
            trib_machine_after(conn->process, 0, sent, conn);
        return; // else the end that is on its way says so
    }
    dispatch_part(conn, parts->head, parts->head_size, parts->tail_size == 0);
    dispatch_part(conn, parts->tail, parts->tail_size, true);
}

void trib_conn_send(struct trib_conn *conn, const uint8_t *data, size_t size)
{
    trib_conn_send_parts(conn, &(struct trib_conn_parts){.head = data, .head_size = size});
}

// What has arrived while the last of it was looked at, or some of that.
size_t trib_conn_receive_now(struct trib_conn *conn, uint8_t *data, size_t capacity)
{
    assert(!conn->room && !conn->is_closing);
    const size_t size = take(conn, data, capacity);
    trib_chaos.at_once += size;
    return size;
}

// As much as there is room for in what is on its way, or some of that; no callback comes of it.
size_t trib_conn_send_now(struct trib_conn *conn, const struct trib_conn_parts *parts)
{
    assert(!conn->is_sending && !conn->is_closing);
    if (conn->is_broken || !is_there(conn->peer) || conn->on_way >= WINDOW)
        return 0;
    const size_t all_size = parts->head_size + parts->tail_size;
    size_t size = all_size < WINDOW - conn->on_way ? all_size : WINDOW - conn->on_way;
    if (trib_machine_chance(TRIB_STREAM_NETWORK, 4))
        size = trib_machine_draw(TRIB_STREAM_NETWORK, 0, size);
    const size_t head = size < parts->head_size ? size : parts->head_size;
    dispatch_part(conn, parts->head, head, false);
    dispatch_part(conn, parts->tail, size - head, false);
    trib_chaos.at_once += size;
    return size;
}

void trib_conn_close(struct trib_conn *conn)
{
    hang_up(conn);
    conn->is_closing = true;
    conn->room = NULL;
    conn->holds++;
    trib_machine_after(conn->process, 0, closed, conn);
}

void trib_conn_peer_text(const struct trib_conn *conn, char text[static TRIB_PEER_TEXT_SIZE])
{
    memcpy(text, conn->text, TRIB_PEER_TEXT_SIZE);
}

bool trib_conn_peer_ids(const struct trib_conn *conn, uint64_t *ret_uid, uint64_t *ret_gid)
{
    *ret_uid = geteuid();
    *ret_gid = getegid();
    return conn->is_local;
}

// ---- link.h: listening

static struct trib_listener *listener_of(const struct trib_conn *conn)
{
    for (int i = 0; i < LISTENERS_MAX; i++) {
        struct trib_listener *listener = listeners[i];
        if (listener && listener->process == conn->process && listener->life == conn->life &&
            conn->is_local == (strncmp(listener->url, "ipc://", 6) == 0))
            return listener;
    }
    return NULL;
}

// By the listener's process: the first one in the backlog, or one that has just come.
static void accept_one(void *user)
{
    struct trib_conn *conn = user;
    struct trib_listener *listener = listener_of(conn);
    conn->is_in_backlog =
        listener && listener->held_max > 0 && listener->held == listener->held_max;
    if (!listener || conn->is_in_backlog)
        return;
    listener->held++;
    if (!listener->accepted(listener->user, conn))
        trib_listener_release(listener);
}

enum trib_err trib_link_listen(const char *url, unsigned mode, trib_link_accepted_fn accepted,
                               void *user, struct trib_listener **ret_listener)
{
    (void)mode;
    for (int i = 0; i < LISTENERS_MAX; i++) {
        if (listeners[i])
            continue;
        struct trib_listener *listener = make(sizeof(*listener));
        (void)snprintf(listener->url, sizeof(listener->url), "%s", url);
        listener->process = trib_machine_current();
        listener->life = listener->process->life;
        listener->accepted = accepted;
        listener->user = user;
        listeners[i] = listener;
        *ret_listener = listener;
        return TRIB_OK;
    }
    return TRIB_ERR_LIMIT;
}

void trib_listener_descriptors(struct trib_listener *listener, int fd_max)
{
    (void)listener;
    (void)fd_max;
}

void trib_listener_limit(struct trib_listener *listener, unsigned count)
{
    listener->held_max = count;
}

bool trib_listener_is_full(struct trib_listener *listener)
{
    return listener->held >= listener->held_max;
}

void trib_listener_release(struct trib_listener *listener)
{
    struct trib_conn *first = NULL;
    listener->held--;
    for (struct trib_conn *conn = all; conn; conn = conn->next) { // the newest first
        if (conn->is_in_backlog && listener_of(conn) == listener)
            first = conn;
    }
    if (!first)
        return;
    first->is_in_backlog = false;
    trib_machine_after(first->process, 0, accept_one, first);
}

uint16_t trib_listener_port(const struct trib_listener *listener)
{
    (void)listener;
    return 0; // as in the URL
}

void trib_listener_close(struct trib_listener *listener)
{
    for (int i = 0; i < LISTENERS_MAX; i++) {
        if (listeners[i] == listener)
            listeners[i] = NULL;
    }
}

// ---- link.h: dialing

static struct trib_conn *end_of(struct trib_process *process, const char *url)
{
    struct trib_conn *conn = make(sizeof(*conn));
    conn->process = process;
    conn->life = process->life;
    conn->is_local = strncmp(url, "ipc://", 6) == 0;
    conn->last = &conn->first;
    conn->next = all;
    all = conn;
    return conn;
}

static struct trib_listener *listener_at(const char *url)
{
    for (int i = 0; i < LISTENERS_MAX; i++) {
        if (listeners[i] && strcmp(listeners[i]->url, url) == 0)
            return listeners[i];
    }
    return NULL;
}

static void dialed(void *user)
{
    struct trib_dial *dial = user;
    const struct trib_listener *listener = listener_at(dial->url);
    static unsigned port;
    if (dial->is_over)
        return;
    dial->is_over = true;
    if (!listener) {
        dial->dialed(dial->user, TRIB_ERR_CONNECT, NULL);
        return;
    }
    struct trib_conn *mine = end_of(dial->process, dial->url);
    struct trib_conn *theirs = end_of(listener->process, dial->url);
    mine->peer = theirs;
    theirs->peer = mine;
    (void)snprintf(mine->text, sizeof(mine->text), "coordinator:1");
    (void)snprintf(theirs->text, sizeof(theirs->text), "%s:%u", dial->process->name, ++port);
    trib_machine_after(theirs->process, 0, accept_one, theirs);
    dial->dialed(dial->user, TRIB_OK, mine);
}

static void unheard(void *user)
{
    struct trib_dial *dial = user;
    if (dial->is_over)
        return;
    dial->is_over = true;
    dial->dialed(dial->user, TRIB_ERR_CONNECT, NULL);
}

enum trib_err trib_link_dial(const char *url, trib_link_dialed_fn dialed_fn, void *user,
                             struct trib_dial **ret_dial)
{
    struct trib_dial *dial = make(sizeof(*dial));
    const struct trib_listener *listener = listener_at(url);
    dial->process = trib_machine_current();
    dial->dialed = dialed_fn;
    dial->user = user;
    (void)snprintf(dial->url, sizeof(dial->url), "%s", url);
    *ret_dial = dial;
    const bool is_cut = url[0] == 't' && is_now(dial->process->cut_off_until_us,
                                                listener ? listener->process->cut_off_until_us : 0);
    if (is_cut)
        trib_machine_after(dial->process, UNHEARD_US, unheard, dial);
    else
        trib_machine_after(dial->process, trib_machine_draw(TRIB_STREAM_NETWORK, 1, REFUSED_US),
                           dialed, dial);
    return TRIB_OK;
}

void trib_dial_cancel(struct trib_dial *dial)
{
    trib_machine_after(dial->process, 0, unheard, dial);
}

void trib_dial_free(struct trib_dial *dial)
{
    (void)dial; // as connections
}

// ---- For the world

void trib_network_end(struct trib_process *process)
{
    for (struct trib_conn *conn = all; conn; conn = conn->next) {
        if (conn->process == process && conn->life == process->life && !conn->is_closing) {
            conn->is_closing = true;
            hang_up(conn);
        }
    }
    for (int i = 0; i < LISTENERS_MAX; i++) {
        if (listeners[i] && listeners[i]->process == process)
            listeners[i] = NULL;
    }
}

static void broken(void *user)
{
    struct trib_conn *conn = user;
    if (!is_there(conn))
        return;
    conn->is_broken = true;
    sent(conn);
    deliver(conn);
}

void trib_network_break(struct trib_process *process)
{
    for (struct trib_conn *conn = all; conn; conn = conn->next) {
        if (conn->process != process || !is_there(conn) || conn->is_broken || conn->is_local)
            continue;
        trib_machine_after(conn->process, 0, broken, conn);
        hang_up(conn);
        return;
    }
}
