// What a channel has to send: the queues, and taking from them.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/wipe.h"
#include "common/wire/channel_parts.h"

enum {
    LINGER_MS = 1000, // for a peer to read our last message
};

// ---- The queues

static enum trib_err refuse_full(struct trib_channel *channel)
{
    trib_channel_close(channel, TRIB_CLOSE_LIMIT);
    return TRIB_ERR_LIMIT;
}

// What is missing in between neither side would ever notice: the next session begins anew.
static enum trib_err refuse_no_memory(struct trib_channel *channel)
{
    trib_channel_close(channel, TRIB_CLOSE_NOMEM);
    return TRIB_ERR_NOMEM;
}

enum trib_err trib_channel_send(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                const void *payload, size_t size)
{
    assert(size <= TRIB_RECORD_PAYLOAD_MAX);
    struct trib_channel_item *item = trib_alloc(sizeof(*item) + size);
    if (!item)
        return refuse_no_memory(channel);
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
    trib_channel_wake(channel);
    return TRIB_OK;
}

static void free_bulk(struct trib_channel_bulk *bulk)
{
    trib_blob_unref(bulk->blob);
    trib_sealed_unref(bulk->sealed);
    free(bulk);
}

static enum trib_err queue_bulk(struct trib_channel *channel, struct trib_channel_bulk *bulk)
{
    (void)pthread_mutex_lock(&channel->lock);
    bool is_closed = channel->wants_close || channel->closes_when_sent;
    if (!is_closed) {
        *channel->bulks_end = bulk;
        channel->bulks_end = &bulk->next;
    }
    (void)pthread_mutex_unlock(&channel->lock);
    if (is_closed) {
        free_bulk(bulk);
        return TRIB_ERR_STATE;
    }
    trib_channel_wake(channel);
    return TRIB_OK;
}

enum trib_err trib_channel_send_blob(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                     struct trib_blob *blob, size_t begin, size_t end)
{
    assert(begin < end && end <= blob->size && end <= UINT32_MAX);
    struct trib_channel_bulk *bulk = trib_alloc(sizeof(*bulk));
    if (!bulk)
        return refuse_no_memory(channel);
    *bulk = (struct trib_channel_bulk){
        .type = type, .stream = stream, .blob = trib_blob_ref(blob), .begin = begin, .end = end};
    return queue_bulk(channel, bulk);
}

enum trib_err trib_channel_send_sealed(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                       struct trib_sealed *sealed, size_t begin, size_t end)
{
    assert(begin < end && end <= trib_sealed_chunks(sealed));
    struct trib_channel_bulk *bulk = trib_alloc(sizeof(*bulk));
    if (!bulk)
        return refuse_no_memory(channel);
    *bulk = (struct trib_channel_bulk){.type = type,
                                       .stream = stream,
                                       .sealed = trib_sealed_ref(sealed),
                                       .begin = begin,
                                       .end = end};
    return queue_bulk(channel, bulk);
}

void trib_channel_drop_blobs(struct trib_channel *channel, uint8_t type)
{
    (void)pthread_mutex_lock(&channel->lock);
    struct trib_channel_bulk **link = &channel->bulks;
    while (*link) {
        struct trib_channel_bulk *bulk = *link;
        if (bulk->type != type) {
            link = &bulk->next;
            continue;
        }
        *link = bulk->next;
        free_bulk(bulk);
    }
    channel->bulks_end = link;
    (void)pthread_mutex_unlock(&channel->lock);
}

void trib_channel_drop_queues(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    while (channel->items) {
        struct trib_channel_item *item = channel->items;
        channel->items = item->next;
        free(item);
    }
    while (channel->bulks) {
        struct trib_channel_bulk *bulk = channel->bulks;
        channel->bulks = bulk->next;
        free_bulk(bulk);
    }
    channel->items_end = &channel->items;
    channel->bulks_end = &channel->bulks;
    channel->item_count = 0;
    (void)pthread_mutex_unlock(&channel->lock);
}

// ---- Sending

// What is sent next: a record of a control message, of a chunk, or of a run with what follows it.
struct next {
    struct trib_record record;
    struct trib_channel_item *item; // owned; or NULL
    struct trib_blob *blob;         // a reference; or NULL
    struct trib_sealed *sealed;     // a reference; or NULL
    size_t first, count;            // chunks of it
    uint8_t run[TRIB_SEALED_RUN_PAYLOAD];
};

static void next_fini(struct next *next)
{
    free(next->item);
    trib_blob_unref(next->blob);
    trib_sealed_unref(next->sealed);
    trib_wipe(next->run, sizeof(next->run));
}

static void take_item(struct trib_channel *channel, struct next *next)
{
    struct trib_channel_item *item = channel->items;
    channel->items = item->next;
    channel->item_count--;
    if (!channel->items)
        channel->items_end = &channel->items;
    next->item = item;
    next->record = (struct trib_record){.type = item->type,
                                        .stream = item->stream,
                                        .payload = item->payload,
                                        .payload_size = item->size};
}

// Some of the first bulk: a chunk, or what a run takes.
static void take_bulk(struct trib_channel *channel, struct next *next)
{
    struct trib_channel_bulk *bulk = channel->bulks;
    const size_t left = bulk->end - bulk->begin;
    const size_t most = bulk->sealed ? TRIB_SEALED_RUN_MAX : TRIB_CHUNK_SIZE;
    const size_t size = left < most ? left : most;
    if (bulk->sealed) {
        next->sealed = trib_sealed_ref(bulk->sealed);
        next->first = bulk->begin;
        next->count = size;
        trib_sealed_announce(bulk->sealed, bulk->type, bulk->stream, bulk->begin, size, next->run,
                             &next->record);
    } else {
        next->blob = trib_blob_ref(bulk->blob);
        next->record = (struct trib_record){.type = bulk->type,
                                            .stream = bulk->stream,
                                            .offset = (uint32_t)bulk->begin,
                                            .payload = bulk->blob->data + bulk->begin,
                                            .payload_size = size};
    }
    bulk->begin += size;
    if (bulk->begin == bulk->end) {
        channel->bulks = bulk->next;
        if (!channel->bulks)
            channel->bulks_end = &channel->bulks;
        free_bulk(bulk);
    }
}

// Bytes that the next record takes at most; 0: there is none. Under the lock.
static size_t size_of_next(const struct trib_channel *channel)
{
    if (channel->items)
        return channel->items->size + TRIB_SEALED_OVERHEAD;
    if (!channel->bulks)
        return 0;
    return channel->bulks->sealed ? TRIB_SEALED_RUN_PAYLOAD + TRIB_SEALED_OVERHEAD
                                  : TRIB_FRAME_SIZE;
}

// The same for whoever looks ahead: before it is taken a control message of any size may come and
// overtake it, or it may be dropped.
static size_t next_size(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    const size_t size = size_of_next(channel);
    (void)pthread_mutex_unlock(&channel->lock);
    return size;
}

// Seal the next record that there is room for; what follows a run's becomes the tail of `parts`, and
// there is room for nothing after that. False: there is none, because what was looked at before is
// not the next any more, or it failed and the channel is being closed.
static bool seal_next(struct trib_channel *channel, size_t room, uint8_t *out, size_t *ret_size,
                      struct trib_conn_parts *parts)
{
    struct next next = {.item = NULL};
    (void)pthread_mutex_lock(&channel->lock);
    const bool found = size_of_next(channel) > 0 && size_of_next(channel) <= room;
    if (found && channel->items)
        take_item(channel, &next);
    else if (found)
        take_bulk(channel, &next);
    (void)pthread_mutex_unlock(&channel->lock);
    if (!found)
        return false;
    enum trib_err err = trib_session_seal(&channel->session, &next.record, out, ret_size);
    if (!err && next.sealed) {
        parts->tail = trib_sealed_frames(next.sealed, next.first, next.count, &parts->tail_size);
        channel->sealed_out = next.sealed; // until it has left
        next.sealed = NULL;
    }
    next_fini(&next);
    if (err)
        trib_channel_close(channel, TRIB_CLOSE_CIPHER);
    return !err;
}

// All of a run has left, or there was none.
static void let_sealed_go(struct trib_channel *channel)
{
    trib_sealed_unref(channel->sealed_out);
    channel->sealed_out = NULL;
    __atomic_store_n(&channel->run_ms, 0, __ATOMIC_RELAXED);
}

// Seal what waits, as much as there is room for, and give it to the connection. True: all of it
// has left already. Otherwise the work item runs again when it has, unless there was nothing.
static bool send_next(struct trib_channel *channel, size_t first, bool is_last_turn)
{
    if (first > TRIB_CHANNEL_SMALL_SIZE && !channel->frame_out) {
        channel->frame_out = trib_frame_take(channel->options.send_frames, channel);
        if (!channel->frame_out)
            return false;
    }
    uint8_t *out = channel->frame_out ? channel->frame_out->data : channel->small_out;
    const size_t room = channel->frame_out ? trib_frames_capacity(channel->options.send_frames)
                                           : TRIB_CHANNEL_SMALL_SIZE;
    struct trib_conn_parts parts = {.head = out};
    for (size_t next = first; next > 0 && next <= room - parts.head_size && !parts.tail;
         next = next_size(channel)) {
        size_t size = 0;
        if (!seal_next(channel, room - parts.head_size, out + parts.head_size, &size, &parts))
            break;
        parts.head_size += size;
    }
    if (trib_channel_wants_close(channel))
        return false;
    if (parts.head_size == 0)
        return true; // another one is the next now
    if (channel->options.sent_bytes)
        __atomic_add_fetch(channel->options.sent_bytes, parts.head_size + parts.tail_size,
                           __ATOMIC_RELAXED);
    // What need not wait leaves without a callback, which would wake a thread to say so; only who
    // has had his turns is told when he may go on.
    const bool goes_now = !is_last_turn || next_size(channel) == 0;
    const size_t gone = goes_now ? trib_conn_send_now(channel->conn, &parts) : 0;
    if (trib_conn_parts_skip(&parts, gone) == 0) {
        let_sealed_go(channel);
        return true;
    }
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_sending = true;
    (void)pthread_mutex_unlock(&channel->lock);
    const uint64_t now_ms = trib_clock_mono_ms();
    __atomic_store_n(&channel->out_ms, channel->frame_out ? now_ms : 0, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->run_ms, channel->sealed_out ? now_ms : 0, __ATOMIC_RELAXED);
    trib_conn_send_parts(channel->conn, &parts);
    return false;
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
        trib_channel_close(channel, reason);
}

// Does the peer keep a large buffer for longer than it may?
static bool is_slow(struct trib_frames *frames, const uint64_t *since_ms, uint64_t now_ms)
{
    const uint64_t since = __atomic_load_n(since_ms, __ATOMIC_RELAXED);
    if (since == 0 || now_ms <= since + TRIB_RECORD_WANTED_MS)
        return false;
    return now_ms > since + TRIB_RECORD_MS || trib_frames_are_wanted(frames);
}

// Or a model that was sealed, for which nobody waits?
static bool holds_a_model(const struct trib_channel *channel, uint64_t now_ms)
{
    const uint64_t since = __atomic_load_n(&channel->run_ms, __ATOMIC_RELAXED);
    return since > 0 && now_ms > since + TRIB_RECORD_MS;
}

void trib_channel_tick(struct trib_channel *channel, uint64_t now_ms)
{
    if (is_slow(channel->options.receive_frames, &channel->in_ms, now_ms) ||
        is_slow(channel->options.send_frames, &channel->out_ms, now_ms) ||
        holds_a_model(channel, now_ms))
        trib_channel_close(channel, TRIB_CLOSE_SLOW);
    (void)pthread_mutex_lock(&channel->lock);
    bool is_lingering = channel->linger_ms != 0;
    (void)pthread_mutex_unlock(&channel->lock);
    if (is_lingering)
        trib_channel_wake(channel);
}

void trib_channel_work_send(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    bool is_sending = channel->is_sending;
    bool has_failed = channel->has_failed;
    bool closes_when_sent = channel->closes_when_sent;
    bool closes = closes_when_sent && !channel->items && !channel->bulks;
    enum trib_close_reason reason = channel->reason;
    (void)pthread_mutex_unlock(&channel->lock);

    if (has_failed) {
        trib_channel_close(channel, TRIB_CLOSE_PEER);
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
    let_sealed_go(channel);
    size_t next = next_size(channel);
    const bool has_sent = next > 0;
    for (int turn = 1; next > 0; turn++) {
        if (!send_next(channel, next, turn >= channel->turns))
            return;
        next = next_size(channel);
    }
    if (has_sent && closes_when_sent)
        trib_channel_wake(channel); // nobody tells that all has left: it lingers now
    if (channel->frame_out) {
        trib_frame_give(channel->options.send_frames, channel->frame_out);
        channel->frame_out = NULL;
        __atomic_store_n(&channel->out_ms, 0, __ATOMIC_RELAXED);
    }
}
