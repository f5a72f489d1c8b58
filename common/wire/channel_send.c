// What a channel has to send: the queues, and taking from them.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
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

enum trib_err trib_channel_send_blob(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                     struct trib_blob *blob, size_t begin, size_t end)
{
    assert(begin < end && end <= blob->size && end <= UINT32_MAX);
    struct trib_channel_bulk *bulk = trib_alloc(sizeof(*bulk));
    if (!bulk)
        return refuse_no_memory(channel);
    *bulk = (struct trib_channel_bulk){
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
    trib_channel_wake(channel);
    return TRIB_OK;
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
        trib_blob_unref(bulk->blob);
        free(bulk);
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
        trib_blob_unref(bulk->blob);
        free(bulk);
    }
    channel->items_end = &channel->items;
    channel->bulks_end = &channel->bulks;
    channel->item_count = 0;
    (void)pthread_mutex_unlock(&channel->lock);
}

// ---- Sending

// The next record to send: a control message, or a chunk. The caller frees `ret_item`.
static bool next_record(struct trib_channel *channel, struct trib_record *ret_record,
                        struct trib_channel_item **ret_item, struct trib_blob **ret_blob)
{
    bool found = false;
    (void)pthread_mutex_lock(&channel->lock);
    if (channel->items) {
        struct trib_channel_item *item = channel->items;
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
        struct trib_channel_bulk *bulk = channel->bulks;
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

// Bytes that the next record takes at most; 0: there is none. Before a chunk is taken a control
// message of any size may come and overtake it.
static size_t next_size(struct trib_channel *channel)
{
    size_t size = 0;
    (void)pthread_mutex_lock(&channel->lock);
    if (channel->items)
        size = channel->items->size + TRIB_SEALED_OVERHEAD;
    else if (channel->bulks)
        size = TRIB_FRAME_SIZE;
    (void)pthread_mutex_unlock(&channel->lock);
    return size;
}

// Seal the next record. False: there is none, or it failed and the channel is being closed.
static bool seal_next(struct trib_channel *channel, uint8_t *out, size_t *ret_size)
{
    struct trib_record record;
    struct trib_channel_item *item = NULL;
    struct trib_blob *blob = NULL;
    if (!next_record(channel, &record, &item, &blob))
        return false;
    enum trib_err err = trib_session_seal(&channel->session, &record, out, ret_size);
    free(item);
    trib_blob_unref(blob);
    if (err)
        trib_channel_close(channel, TRIB_CLOSE_CIPHER);
    return !err;
}

// Seal what waits, as much as there is room for, and give it to the connection. True: all of it
// has left already. Otherwise the work item runs again when it has, unless there was nothing.
static bool send_next(struct trib_channel *channel, size_t first, bool is_last_turn)
{
    size_t used = 0;
    if (first > TRIB_CHANNEL_SMALL_SIZE && !channel->frame_out) {
        channel->frame_out = trib_frame_take(channel->options.send_frames, channel);
        if (!channel->frame_out)
            return false;
    }
    uint8_t *out = channel->frame_out ? channel->frame_out->data : channel->small_out;
    const size_t room = channel->frame_out ? trib_frames_capacity(channel->options.send_frames)
                                           : TRIB_CHANNEL_SMALL_SIZE;
    for (size_t next = first; next > 0 && next <= room - used; next = next_size(channel)) {
        size_t size = 0;
        if (!seal_next(channel, out + used, &size))
            break;
        used += size;
    }
    if (used == 0 || trib_channel_wants_close(channel))
        return false;
    if (channel->options.sent_bytes)
        __atomic_add_fetch(channel->options.sent_bytes, used, __ATOMIC_RELAXED);
    const size_t gone =
        channel->frame_out && !is_last_turn ? trib_conn_send_now(channel->conn, out, used) : 0;
    if (gone == used)
        return true;
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_sending = true;
    (void)pthread_mutex_unlock(&channel->lock);
    __atomic_store_n(&channel->out_ms, channel->frame_out ? trib_clock_mono_ms() : 0,
                     __ATOMIC_RELAXED);
    trib_conn_send(channel->conn, out + gone, used - gone);
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

void trib_channel_tick(struct trib_channel *channel, uint64_t now_ms)
{
    if (is_slow(channel->options.receive_frames, &channel->in_ms, now_ms) ||
        is_slow(channel->options.send_frames, &channel->out_ms, now_ms))
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
