#include "common/wire/channel.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/wipe.h"

enum {
    SMALL_SIZE = 512,
    FRAME_SIZE = TRIB_FRAME_PREFIX_SIZE + TRIB_FRAME_MAX,
    LINGER_MS = 1000, // for a peer to read our last message
};

// ---- Blobs

struct trib_blob *trib_blob_take(uint8_t *data, size_t size)
{
    struct trib_blob *blob = trib_alloc(sizeof(*blob));
    if (!blob) {
        free(data);
        return NULL;
    }
    *blob = (struct trib_blob){.refs = 1, .size = size, .data = data};
    return blob;
}

struct trib_blob *trib_blob_ref(struct trib_blob *blob)
{
    __atomic_add_fetch(&blob->refs, 1, __ATOMIC_RELAXED);
    return blob;
}

void trib_blob_unref(struct trib_blob *blob)
{
    if (blob && __atomic_sub_fetch(&blob->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        free(blob->data);
        free(blob);
    }
}

// ---- Large buffers

struct frame {
    struct frame *next; // free list
    uint8_t data[FRAME_SIZE];
};

struct trib_frames {
    pthread_mutex_t lock;
    struct frame *free;
    size_t left;                  // how many may still be allocated
    bool keeps;                   // those that nobody uses: one alone is soon made again
    struct trib_channel *waiting; // channels that want one, linked by `waiting_next`
};

// What a channel waits for, one bit each, so that it is in a list at most once.
struct waiter {
    struct trib_channel *next;
    bool is_waiting;
};

struct item {
    struct item *next;
    uint8_t type;
    uint16_t stream;
    size_t size;
    uint8_t payload[];
};

struct bulk {
    struct bulk *next;
    uint8_t type;
    uint16_t stream;
    struct trib_blob *blob; // a reference
    size_t begin, end;      // what is left to send
};

enum schedule {
    SCHEDULE_IDLE,
    SCHEDULE_QUEUED, // the work item is with the executor
    SCHEDULE_RUNNING,
    SCHEDULE_AGAIN, // something happened while it ran
};

struct trib_channel {
    struct trib_work work; // first: the executor gives it back
    unsigned refs;         // atomic
    int schedule;          // atomic, enum schedule
    struct trib_channel_options options;
    struct trib_conn *conn; // NULL once closing has begun; used by the work item only
    bool is_client;
    uint64_t created_ms;
    uint64_t heard_ms; // atomic

    // Only the work item touches these.
    struct trib_session session;
    struct trib_hello hello; // client
    bool has_said_hello;     // client
    bool is_welcomed;        // server: `opened` was called; client: the welcome came
    bool was_closed;         // `closed` was called
    uint8_t small_in[SMALL_SIZE];
    uint8_t small_out[SMALL_SIZE];
    struct frame *frame_in;
    struct frame *frame_out;
    size_t in_used;                  // bytes in the receive buffer
    struct waiter wait_in, wait_out; // guarded by the frames' locks

    pthread_mutex_t lock; // guards what follows
    bool is_started;
    bool is_receiving, is_sending;
    bool has_received; // `received_size` bytes came, or none: the peer is gone
    size_t received_size;
    bool has_failed;    // a send failed
    uint64_t linger_ms; // when the last message before closing was sent; 0: not yet
    bool is_gone;       // nng is done with the connection
    bool wants_close;
    bool closes_when_sent;
    enum trib_close_reason reason;
    struct item *items, **items_end;
    size_t item_count;
    struct bulk *bulks, **bulks_end;
};

enum trib_err trib_frames_create(size_t count, struct trib_frames **ret_frames)
{
    assert(count > 0);
    struct trib_frames *frames = trib_alloc(sizeof(*frames));
    if (!frames)
        return TRIB_ERR_NOMEM;
    (void)pthread_mutex_init(&frames->lock, NULL);
    frames->left = count;
    frames->keeps = count > 1;
    *ret_frames = frames;
    return TRIB_OK;
}

void trib_frames_destroy(struct trib_frames *frames)
{
    if (!frames)
        return;
    while (frames->free) {
        struct frame *frame = frames->free;
        frames->free = frame->next;
        free(frame);
    }
    (void)pthread_mutex_destroy(&frames->lock);
    free(frames);
}

static void wake(struct trib_channel *channel);

// The link of a channel in the list of those who wait for one of `frames`.
static struct waiter *waiter_of(struct trib_channel *channel, const struct trib_frames *frames)
{
    return frames == channel->options.receive_frames ? &channel->wait_in : &channel->wait_out;
}

// A buffer, or NULL: then the channel is woken when there may be one.
static struct frame *frame_take(struct trib_frames *frames, struct trib_channel *channel)
{
    struct frame *frame = NULL;
    (void)pthread_mutex_lock(&frames->lock);
    if (frames->free) {
        frame = frames->free;
        frames->free = frame->next;
    } else if (frames->left > 0) {
        frame = trib_alloc(sizeof(*frame));
        frames->left -= frame != NULL;
    }
    struct waiter *waiter = waiter_of(channel, frames);
    if (!frame && !waiter->is_waiting) {
        waiter->is_waiting = true;
        waiter->next = frames->waiting;
        frames->waiting = trib_channel_ref(channel);
    }
    (void)pthread_mutex_unlock(&frames->lock);
    return frame;
}

static void frame_give(struct trib_frames *frames, struct frame *frame)
{
    (void)pthread_mutex_lock(&frames->lock);
    if (frames->keeps) {
        frame->next = frames->free;
        frames->free = frame;
    } else {
        free(frame);
        frames->left++;
    }
    struct trib_channel *waiting = frames->waiting; // all of them: who comes too late waits again
    frames->waiting = NULL;
    (void)pthread_mutex_unlock(&frames->lock);
    while (waiting) {
        struct trib_channel *channel = waiting;
        (void)pthread_mutex_lock(&frames->lock);
        waiting = waiter_of(channel, frames)->next;
        waiter_of(channel, frames)->is_waiting = false;
        (void)pthread_mutex_unlock(&frames->lock);
        wake(channel);
        trib_channel_unref(channel);
    }
}

// ---- Scheduling

static void wake(struct trib_channel *channel)
{
    int was = __atomic_load_n(&channel->schedule, __ATOMIC_ACQUIRE);
    for (;;) {
        int next = was == SCHEDULE_IDLE ? SCHEDULE_QUEUED : SCHEDULE_AGAIN;
        if (was == SCHEDULE_QUEUED || was == SCHEDULE_AGAIN)
            return;
        if (__atomic_compare_exchange_n(&channel->schedule, &was, next, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            break;
    }
    if (was == SCHEDULE_IDLE) {
        (void)trib_channel_ref(channel); // the work item's
        channel->options.submit(channel->options.executor, &channel->work);
    }
}

static void on_received(void *user, enum trib_err err, size_t size)
{
    struct trib_channel *channel = user;
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_receiving = false;
    channel->has_received = true;
    channel->received_size = err ? 0 : size;
    (void)pthread_mutex_unlock(&channel->lock);
    wake(channel);
}

static void on_sent(void *user, enum trib_err err)
{
    struct trib_channel *channel = user;
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_sending = false;
    channel->has_failed = channel->has_failed || err;
    (void)pthread_mutex_unlock(&channel->lock);
    wake(channel);
}

static void on_closed(void *user)
{
    struct trib_channel *channel = user;
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_gone = true;
    (void)pthread_mutex_unlock(&channel->lock);
    wake(channel);
    trib_channel_unref(channel); // the connection's
}

static const struct trib_conn_handler conn_handler = {
    .received = on_received, .sent = on_sent, .closed = on_closed};

// ---- Receiving

static void fail(struct trib_channel *channel, enum trib_close_reason reason)
{
    trib_channel_close(channel, reason);
}

// The keys stay: they say who the peer is.
static void wipe_token(struct trib_hello *hello)
{
    trib_wipe(hello->token_secret, sizeof(hello->token_secret));
}

static uint8_t *in_buffer(struct trib_channel *channel)
{
    return channel->frame_in ? channel->frame_in->data : channel->small_in;
}

static void answer_hello(struct trib_channel *channel, const uint8_t *body, size_t size)
{
    struct trib_hello hello;
    struct trib_welcome welcome = {.version = TRIB_SESSION_VERSION,
                                   .record_max = TRIB_RECORD_PAYLOAD_MAX,
                                   .time_ms = trib_clock_wall_ms()};
    enum trib_close_reason reason = TRIB_CLOSE_UNKNOWN;
    size_t out_size;

    if (!trib_session_mac_is_good(&channel->session, body, size)) {
        fail(channel, TRIB_CLOSE_BAD_MAC);
        return;
    }
    if (trib_session_read_hello(&channel->session, body, size, &hello)) {
        fail(channel, TRIB_CLOSE_HANDSHAKE);
        return;
    }
    channel->hello = hello;
    bool is_welcome =
        channel->options.handler->hello(channel->options.user, channel, &hello, &welcome, &reason);
    wipe_token(&channel->hello);
    if (!is_welcome) {
        fail(channel, reason);
        return;
    }
    if (trib_session_write_welcome(&channel->session, &welcome, channel->small_out, &out_size)) {
        fail(channel, TRIB_CLOSE_HANDSHAKE);
        return;
    }
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_sending = true;
    (void)pthread_mutex_unlock(&channel->lock);
    trib_conn_send(channel->conn, channel->small_out, out_size);
}

static void take_welcome(struct trib_channel *channel, const uint8_t *body, size_t size)
{
    struct trib_welcome welcome;
    if (trib_session_read_welcome(&channel->session, body, size, &welcome)) {
        fail(channel, TRIB_CLOSE_HANDSHAKE);
        return;
    }
    channel->is_welcomed = true;
    channel->options.handler->opened(channel->options.user, channel, &welcome);
}

static void take_record(struct trib_channel *channel, uint8_t *body, size_t size)
{
    struct trib_record record;
    enum trib_err err = trib_session_open(&channel->session, body, size, &record);
    if (err) {
        fail(channel, err == TRIB_ERR_AUTH ? TRIB_CLOSE_CIPHER : TRIB_CLOSE_MALFORMED);
        return;
    }
    __atomic_store_n(&channel->heard_ms, trib_clock_mono_ms(), __ATOMIC_RELAXED);
    if (!channel->is_welcomed) { // the device's first record confirms that it is really there
        __atomic_store_n(&channel->is_welcomed, true, __ATOMIC_RELAXED);
        channel->options.handler->opened(channel->options.user, channel, NULL);
    }
    if (!channel->options.handler->record(channel->options.user, channel, &record))
        fail(channel, TRIB_CLOSE_MALFORMED);
}

static bool is_leaving(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    bool leaves = channel->closes_when_sent;
    (void)pthread_mutex_unlock(&channel->lock);
    return leaves;
}

static void take_frame(struct trib_channel *channel, uint8_t *body, size_t size)
{
    if (channel->session.state == TRIB_SESSION_OPEN && is_leaving(channel))
        return; // read only so that nothing is left unread
    if (channel->session.state == TRIB_SESSION_OPEN)
        take_record(channel, body, size);
    else if (channel->is_client)
        take_welcome(channel, body, size);
    else
        answer_hello(channel, body, size);
}

static bool wants_close(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    bool wants = channel->wants_close;
    (void)pthread_mutex_unlock(&channel->lock);
    return wants;
}

// Take every whole frame that is in the buffer. False: a larger buffer is needed and none is free.
static bool take_frames(struct trib_channel *channel)
{
    uint8_t *data = in_buffer(channel);
    size_t at = 0;
    size_t need = 0;

    while (channel->in_used - at >= TRIB_FRAME_PREFIX_SIZE && !wants_close(channel)) {
        size_t size = trib_load_be16(data + at);
        if (size == 0 ||
            (channel->session.state != TRIB_SESSION_OPEN && size > TRIB_HANDSHAKE_MAX)) {
            fail(channel, size ? TRIB_CLOSE_OVERSIZE : TRIB_CLOSE_MALFORMED);
            break;
        }
        need = TRIB_FRAME_PREFIX_SIZE + size;
        if (channel->in_used - at < need)
            break;
        take_frame(channel, data + at + TRIB_FRAME_PREFIX_SIZE, size);
        at += need;
        need = 0;
    }
    channel->in_used -= at;
    memmove(data, data + at, channel->in_used);
    if (need > SMALL_SIZE && !channel->frame_in) {
        struct frame *frame = frame_take(channel->options.receive_frames, channel);
        if (!frame)
            return false;
        memcpy(frame->data, channel->small_in, channel->in_used);
        channel->frame_in = frame;
    } else if (channel->in_used == 0 && channel->frame_in) {
        frame_give(channel->options.receive_frames, channel->frame_in);
        channel->frame_in = NULL;
    }
    return true;
}

static void say_hello(struct trib_channel *channel)
{
    size_t size;
    channel->has_said_hello = true;
    enum trib_err err =
        trib_session_write_hello(&channel->session, &channel->hello, channel->small_out, &size);
    wipe_token(&channel->hello);
    if (err) {
        fail(channel, TRIB_CLOSE_HANDSHAKE);
        return;
    }
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_sending = true;
    (void)pthread_mutex_unlock(&channel->lock);
    trib_conn_send(channel->conn, channel->small_out, size);
}

static void work_receive(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    bool has_received = channel->has_received;
    size_t size = channel->received_size;
    bool is_waiting = channel->is_receiving || !channel->is_started;
    channel->has_received = false;
    (void)pthread_mutex_unlock(&channel->lock);

    if (is_waiting)
        return;
    if (channel->is_client && !channel->has_said_hello)
        say_hello(channel);
    if (has_received && size == 0) {
        fail(channel, TRIB_CLOSE_PEER);
        return;
    }
    if (has_received) {
        channel->in_used += size;
        if (channel->options.received_bytes)
            __atomic_add_fetch(channel->options.received_bytes, size, __ATOMIC_RELAXED);
    }
    if (!take_frames(channel) || wants_close(channel))
        return;
    size_t capacity = channel->frame_in ? FRAME_SIZE : SMALL_SIZE;
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_receiving = true;
    (void)pthread_mutex_unlock(&channel->lock);
    trib_conn_receive(channel->conn, in_buffer(channel) + channel->in_used,
                      capacity - channel->in_used);
}

// ---- Sending

// The next record to send: a control message, or a chunk. The caller frees `ret_item`.
static bool next_record(struct trib_channel *channel, struct trib_record *ret_record,
                        struct item **ret_item, struct trib_blob **ret_blob)
{
    bool found = false;
    (void)pthread_mutex_lock(&channel->lock);
    if (channel->items) {
        struct item *item = channel->items;
        channel->items = item->next;
        channel->item_count--;
        if (!channel->items)
            channel->items_end = &channel->items;
        *ret_record = (struct trib_record){.type = item->type,
                                           .stream = item->stream,
                                           .payload = item->payload,
                                           .payload_size = item->size};
        *ret_item = item;
        found = true;
    } else if (channel->bulks) {
        struct bulk *bulk = channel->bulks;
        size_t left = bulk->end - bulk->begin;
        size_t size = left < TRIB_CHUNK_SIZE ? left : TRIB_CHUNK_SIZE;
        *ret_record = (struct trib_record){.type = bulk->type,
                                           .stream = bulk->stream,
                                           .offset = (uint32_t)bulk->begin,
                                           .payload = bulk->blob->data + bulk->begin,
                                           .payload_size = size};
        *ret_blob = trib_blob_ref(bulk->blob);
        bulk->begin += size;
        if (bulk->begin == bulk->end) {
            channel->bulks = bulk->next;
            if (!channel->bulks)
                channel->bulks_end = &channel->bulks;
            trib_blob_unref(bulk->blob);
            free(bulk);
        }
        found = true;
    }
    (void)pthread_mutex_unlock(&channel->lock);
    return found;
}

static bool has_to_send(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    bool has = channel->items || channel->bulks;
    (void)pthread_mutex_unlock(&channel->lock);
    return has;
}

// Seal the next record and give it to the connection.
static void send_next(struct trib_channel *channel)
{
    struct trib_record record;
    struct item *item = NULL;
    struct trib_blob *blob = NULL;
    size_t size = 0;

    // A large buffer is needed for large records only, but which comes next may change until the
    // lock is taken: have one for any that may come.
    (void)pthread_mutex_lock(&channel->lock);
    size_t next = channel->items ? channel->items->size : TRIB_CHUNK_SIZE;
    (void)pthread_mutex_unlock(&channel->lock);
    bool is_large = next + TRIB_SEALED_OVERHEAD > SMALL_SIZE;
    if (is_large && !channel->frame_out) {
        channel->frame_out = frame_take(channel->options.send_frames, channel);
        if (!channel->frame_out)
            return;
    }
    if (!next_record(channel, &record, &item, &blob))
        return;
    uint8_t *out = channel->frame_out ? channel->frame_out->data : channel->small_out;
    enum trib_err err = trib_session_seal(&channel->session, &record, out, &size);
    free(item);
    trib_blob_unref(blob);
    if (err) {
        fail(channel, TRIB_CLOSE_CIPHER);
        return;
    }
    if (channel->options.sent_bytes)
        __atomic_add_fetch(channel->options.sent_bytes, size, __ATOMIC_RELAXED);
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_sending = true;
    (void)pthread_mutex_unlock(&channel->lock);
    trib_conn_send(channel->conn, out, size);
}

// Everything was sent. Closing now, with bytes of the peer unread, would make the kernel reset the
// connection and drop what the peer has not read yet: wait until it goes, or for a moment.
static void linger(struct trib_channel *channel, enum trib_close_reason reason)
{
    const uint64_t now_ms = trib_clock_mono_ms();
    (void)pthread_mutex_lock(&channel->lock);
    if (channel->linger_ms == 0)
        channel->linger_ms = now_ms;
    bool is_over = now_ms >= channel->linger_ms + LINGER_MS;
    (void)pthread_mutex_unlock(&channel->lock);
    if (is_over || channel->session.state != TRIB_SESSION_OPEN)
        fail(channel, reason);
}

void trib_channel_tick(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    bool is_lingering = channel->linger_ms != 0;
    (void)pthread_mutex_unlock(&channel->lock);
    if (is_lingering)
        wake(channel);
}

static void work_send(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    bool is_sending = channel->is_sending;
    bool has_failed = channel->has_failed;
    bool closes = channel->closes_when_sent && !channel->items && !channel->bulks;
    enum trib_close_reason reason = channel->reason;
    (void)pthread_mutex_unlock(&channel->lock);

    if (has_failed) {
        fail(channel, TRIB_CLOSE_PEER);
        return;
    }
    if (is_sending)
        return;
    if (closes) {
        linger(channel, reason);
        return;
    }
    if (channel->session.state != TRIB_SESSION_OPEN)
        return;
    if (has_to_send(channel)) {
        send_next(channel);
    } else if (channel->frame_out) {
        frame_give(channel->options.send_frames, channel->frame_out);
        channel->frame_out = NULL;
    }
}

// ---- The work item

static void drop_queues(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    while (channel->items) {
        struct item *item = channel->items;
        channel->items = item->next;
        free(item);
    }
    while (channel->bulks) {
        struct bulk *bulk = channel->bulks;
        channel->bulks = bulk->next;
        trib_blob_unref(bulk->blob);
        free(bulk);
    }
    channel->items_end = &channel->items;
    channel->bulks_end = &channel->bulks;
    channel->item_count = 0;
    (void)pthread_mutex_unlock(&channel->lock);
}

static void work_close(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    bool is_gone = channel->is_gone;
    enum trib_close_reason reason = channel->reason;
    (void)pthread_mutex_unlock(&channel->lock);

    if (channel->conn) {
        struct trib_conn *conn = channel->conn;
        channel->conn = NULL;
        trib_conn_close(conn);
        return;
    }
    if (!is_gone || channel->was_closed)
        return;
    channel->was_closed = true;
    if (channel->frame_in)
        frame_give(channel->options.receive_frames, channel->frame_in);
    if (channel->frame_out)
        frame_give(channel->options.send_frames, channel->frame_out);
    channel->frame_in = NULL;
    channel->frame_out = NULL;
    drop_queues(channel);
    trib_session_fini(&channel->session);
    channel->options.handler->closed(channel->options.user, channel, reason);
}

static void run(struct trib_work *work)
{
    struct trib_channel *channel = (struct trib_channel *)work;
    int running = SCHEDULE_RUNNING;
    for (;;) {
        __atomic_store_n(&channel->schedule, SCHEDULE_RUNNING, __ATOMIC_RELEASE);
        if (!wants_close(channel))
            work_receive(channel);
        if (!wants_close(channel))
            work_send(channel);
        if (wants_close(channel))
            work_close(channel);
        running = SCHEDULE_RUNNING;
        if (__atomic_compare_exchange_n(&channel->schedule, &running, SCHEDULE_IDLE, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            break;
    }
    trib_channel_unref(channel);
}

// ---- Life

static enum trib_err create(struct trib_conn *conn, const struct trib_channel_options *options,
                            struct trib_channel **ret_channel)
{
    struct trib_channel *channel = trib_alloc(sizeof(*channel));
    if (!channel) {
        trib_conn_close(conn);
        return TRIB_ERR_NOMEM;
    }
    channel->work.run = run;
    channel->refs = 2; // the creator's and the connection's
    channel->options = *options;
    channel->options.secret = NULL; // borrowed for the call only
    channel->options.coordinator = NULL;
    channel->options.hello = NULL;
    channel->conn = conn;
    channel->created_ms = trib_clock_mono_ms();
    channel->heard_ms = channel->created_ms;
    channel->items_end = &channel->items;
    channel->bulks_end = &channel->bulks;
    (void)pthread_mutex_init(&channel->lock, NULL);
    trib_conn_start(conn, &conn_handler, channel);
    *ret_channel = channel;
    return TRIB_OK;
}

enum trib_err trib_channel_accept(struct trib_conn *conn,
                                  const struct trib_channel_options *options,
                                  struct trib_channel **ret_channel)
{
    enum trib_err err = create(conn, options, ret_channel);
    if (!err)
        trib_session_init_server(&(*ret_channel)->session, options->secret, options->coordinator);
    return err;
}

enum trib_err trib_channel_connect(struct trib_conn *conn,
                                   const struct trib_channel_options *options,
                                   struct trib_channel **ret_channel)
{
    enum trib_err err = create(conn, options, ret_channel);
    if (err)
        return err;
    struct trib_channel *channel = *ret_channel;
    channel->is_client = true;
    channel->hello = *options->hello;
    trib_session_init_client(&channel->session, options->secret, options->coordinator);
    return TRIB_OK;
}

struct trib_channel *trib_channel_ref(struct trib_channel *channel)
{
    __atomic_add_fetch(&channel->refs, 1, __ATOMIC_RELAXED);
    return channel;
}

void trib_channel_unref(struct trib_channel *channel)
{
    if (!channel || __atomic_sub_fetch(&channel->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    assert(!channel->conn);
    drop_queues(channel);
    trib_session_fini(&channel->session);
    (void)pthread_mutex_destroy(&channel->lock);
    free(channel);
}

void trib_channel_start(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_started = true;
    (void)pthread_mutex_unlock(&channel->lock);
    wake(channel);
}

static enum trib_err refuse_full(struct trib_channel *channel)
{
    fail(channel, TRIB_CLOSE_LIMIT);
    return TRIB_ERR_LIMIT;
}

enum trib_err trib_channel_send(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                const void *payload, size_t size)
{
    assert(size <= TRIB_RECORD_PAYLOAD_MAX);
    struct item *item = trib_alloc(sizeof(*item) + size);
    if (!item)
        return TRIB_ERR_NOMEM;
    item->type = type;
    item->stream = stream;
    item->size = size;
    if (size > 0)
        memcpy(item->payload, payload, size);

    (void)pthread_mutex_lock(&channel->lock);
    bool is_closed = channel->wants_close || channel->closes_when_sent;
    bool is_full = channel->item_count >= TRIB_CHANNEL_QUEUE_MAX;
    if (!is_closed && !is_full) {
        *channel->items_end = item;
        channel->items_end = &item->next;
        channel->item_count++;
    }
    (void)pthread_mutex_unlock(&channel->lock);
    if (is_closed || is_full) {
        free(item);
        return is_closed ? TRIB_ERR_STATE : refuse_full(channel);
    }
    wake(channel);
    return TRIB_OK;
}

enum trib_err trib_channel_send_blob(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                     struct trib_blob *blob, size_t begin, size_t end)
{
    assert(begin < end && end <= blob->size && end <= UINT32_MAX);
    struct bulk *bulk = trib_alloc(sizeof(*bulk));
    if (!bulk)
        return TRIB_ERR_NOMEM;
    *bulk = (struct bulk){
        .type = type, .stream = stream, .blob = trib_blob_ref(blob), .begin = begin, .end = end};

    (void)pthread_mutex_lock(&channel->lock);
    bool is_closed = channel->wants_close || channel->closes_when_sent;
    if (!is_closed) {
        *channel->bulks_end = bulk;
        channel->bulks_end = &bulk->next;
    }
    (void)pthread_mutex_unlock(&channel->lock);
    if (is_closed) {
        trib_blob_unref(bulk->blob);
        free(bulk);
        return TRIB_ERR_STATE;
    }
    wake(channel);
    return TRIB_OK;
}

void trib_channel_drop_blobs(struct trib_channel *channel, uint8_t type)
{
    (void)pthread_mutex_lock(&channel->lock);
    struct bulk **link = &channel->bulks;
    while (*link) {
        struct bulk *bulk = *link;
        if (bulk->type != type) {
            link = &bulk->next;
            continue;
        }
        *link = bulk->next;
        trib_blob_unref(bulk->blob);
        free(bulk);
    }
    channel->bulks_end = link;
    (void)pthread_mutex_unlock(&channel->lock);
}

void trib_channel_close(struct trib_channel *channel, enum trib_close_reason reason)
{
    (void)pthread_mutex_lock(&channel->lock);
    if (!channel->wants_close && !channel->closes_when_sent)
        channel->reason = reason;
    channel->wants_close = true;
    (void)pthread_mutex_unlock(&channel->lock);
    wake(channel);
}

void trib_channel_close_after(struct trib_channel *channel, enum trib_close_reason reason)
{
    (void)pthread_mutex_lock(&channel->lock);
    if (!channel->wants_close && !channel->closes_when_sent)
        channel->reason = reason;
    channel->closes_when_sent = true;
    (void)pthread_mutex_unlock(&channel->lock);
    wake(channel);
}

void trib_channel_set_user(struct trib_channel *channel, void *user)
{
    channel->options.user = user;
}

void *trib_channel_user(const struct trib_channel *channel)
{
    return channel->options.user;
}

const uint8_t *trib_channel_remote_key(const struct trib_channel *channel)
{
    return channel->hello.static_key;
}

bool trib_channel_is_open(const struct trib_channel *channel)
{
    return __atomic_load_n(&channel->is_welcomed, __ATOMIC_RELAXED);
}

uint64_t trib_channel_created_ms(const struct trib_channel *channel)
{
    return channel->created_ms;
}

uint64_t trib_channel_heard_ms(const struct trib_channel *channel)
{
    return __atomic_load_n(&channel->heard_ms, __ATOMIC_RELAXED);
}

void trib_channel_peer_text(const struct trib_channel *channel,
                            char text[static TRIB_PEER_TEXT_SIZE])
{
    if (channel->conn)
        trib_conn_peer_text(channel->conn, text);
    else
        (void)snprintf(text, TRIB_PEER_TEXT_SIZE, "gone");
}

const char *trib_close_reason_text(enum trib_close_reason reason)
{
    static const char *const names[TRIB_CLOSE_REASONS] = {
        [TRIB_CLOSE_PEER] = "peer",           [TRIB_CLOSE_FULL] = "full",
        [TRIB_CLOSE_SLOW] = "slow",           [TRIB_CLOSE_OVERSIZE] = "oversize",
        [TRIB_CLOSE_BAD_MAC] = "bad_mac",     [TRIB_CLOSE_HANDSHAKE] = "handshake",
        [TRIB_CLOSE_UNKNOWN] = "unknown",     [TRIB_CLOSE_REPLAY] = "replay",
        [TRIB_CLOSE_BUDGET] = "budget",       [TRIB_CLOSE_CIPHER] = "cipher",
        [TRIB_CLOSE_MALFORMED] = "malformed", [TRIB_CLOSE_IDLE] = "idle",
        [TRIB_CLOSE_REPLACED] = "replaced",   [TRIB_CLOSE_REVOKED] = "revoked",
        [TRIB_CLOSE_LIMIT] = "limit",         [TRIB_CLOSE_DONE] = "done",
        [TRIB_CLOSE_SHUTDOWN] = "shutdown",   [TRIB_CLOSE_NOMEM] = "nomem",
    };
    return reason < TRIB_CLOSE_REASONS ? names[reason] : "unknown";
}
