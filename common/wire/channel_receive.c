// What a channel does with the bytes that came.
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/wipe.h"
#include "common/wire/channel_parts.h"
#include "common/wire/message.h"

// The keys stay: they say who the peer is.
static void wipe_token(struct trib_hello *hello)
{
    trib_wipe(hello->token_secret, sizeof(hello->token_secret));
}

static uint8_t *in_buffer(struct trib_channel *channel)
{
    return channel->frame_in ? channel->frame_in->data : channel->small_in;
}

// A hello that is made for us has cost one hash so far. False: it is closed.
static bool may_be_read(struct trib_channel *channel, const uint8_t *body)
{
    const struct trib_channel_handler *handler = channel->options.handler;
    enum trib_close_reason reason = TRIB_CLOSE_BUDGET;
    if (!handler->knock ||
        handler->knock(channel->options.user, channel, trib_session_hello_ephemeral(body), &reason))
        return true;
    trib_channel_close(channel, reason);
    return false;
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
        trib_channel_close(channel, TRIB_CLOSE_BAD_MAC);
        return;
    }
    if (!may_be_read(channel, body))
        return;
    if (trib_session_read_hello(&channel->session, body, size, &hello)) {
        trib_channel_close(channel, TRIB_CLOSE_HANDSHAKE);
        return;
    }
    channel->hello = hello;
    bool is_welcome =
        channel->options.handler->hello(channel->options.user, channel, &hello, &welcome, &reason);
    wipe_token(&channel->hello);
    if (!is_welcome) {
        trib_channel_close(channel, reason);
        return;
    }
    if (trib_session_write_welcome(&channel->session, &welcome, channel->small_out, &out_size)) {
        trib_channel_close(channel, TRIB_CLOSE_HANDSHAKE);
        return;
    }
    __atomic_store_n(&channel->is_answered, true, __ATOMIC_RELEASE);
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_sending = true;
    (void)pthread_mutex_unlock(&channel->lock);
    trib_conn_send(channel->conn, channel->small_out, out_size);
}

static void take_welcome(struct trib_channel *channel, const uint8_t *body, size_t size)
{
    struct trib_welcome welcome;
    if (trib_session_read_welcome(&channel->session, body, size, &welcome)) {
        trib_channel_close(channel, TRIB_CLOSE_HANDSHAKE);
        return;
    }
    channel->is_welcomed = true;
    channel->options.handler->opened(channel->options.user, channel, &welcome);
}

static void take_record(struct trib_channel *channel, uint8_t *body, size_t size)
{
    struct trib_record record;
    const bool is_of_run = channel->run_in.left > 0;
    enum trib_err err = is_of_run ? trib_run_open(&channel->run_in, body, size, &record)
                                  : trib_session_open(&channel->session, body, size, &record);
    const bool begins_run =
        !err && !is_of_run && channel->is_client && record.type == TRIB_RECORD_RUN;
    if (begins_run)
        err = trib_run_begin(&channel->run_in, &record);
    if (err) {
        trib_channel_close(channel,
                           err == TRIB_ERR_AUTH ? TRIB_CLOSE_CIPHER : TRIB_CLOSE_MALFORMED);
        return;
    }
    __atomic_store_n(&channel->heard_ms, trib_clock_mono_ms(), __ATOMIC_RELAXED);
    if (begins_run)
        return;
    if (!channel->is_welcomed) { // the device's first record confirms that it is really there
        __atomic_store_n(&channel->is_welcomed, true, __ATOMIC_RELAXED);
        channel->options.handler->opened(channel->options.user, channel, NULL);
    }
    if (!channel->options.handler->record(channel->options.user, channel, &record))
        trib_channel_close(channel, TRIB_CLOSE_MALFORMED);
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

// Take every whole frame that is in the buffer. False: a larger buffer is needed and none is free.
static bool take_frames(struct trib_channel *channel)
{
    uint8_t *data = in_buffer(channel);
    size_t at = 0;
    size_t need = 0;

    while (channel->in_used - at >= TRIB_FRAME_PREFIX_SIZE && !trib_channel_wants_close(channel)) {
        size_t size = trib_load_be16(data + at);
        if (size == 0 ||
            (channel->session.state != TRIB_SESSION_OPEN && size > TRIB_HANDSHAKE_MAX)) {
            trib_channel_close(channel, size ? TRIB_CLOSE_OVERSIZE : TRIB_CLOSE_MALFORMED);
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
    if (need > TRIB_CHANNEL_SMALL_SIZE && !channel->frame_in) {
        struct trib_frame *frame = trib_frame_take(channel->options.receive_frames, channel);
        if (!frame)
            return false;
        memcpy(frame->data, channel->small_in, channel->in_used);
        channel->frame_in = frame;
    }
    // One that is whole is progress: the time of the next begins.
    if (!channel->frame_in)
        __atomic_store_n(&channel->in_ms, 0, __ATOMIC_RELAXED);
    else if (at > 0 || channel->in_ms == 0)
        __atomic_store_n(&channel->in_ms, trib_clock_mono_ms(), __ATOMIC_RELAXED);
    return true;
}

static void count_received(struct trib_channel *channel, size_t size)
{
    channel->in_used += size;
    if (channel->options.received_bytes)
        __atomic_add_fetch(channel->options.received_bytes, size, __ATOMIC_RELAXED);
}

// Take frames as long as more have come meanwhile, but leave the others their turn. False: nothing
// is to be received now.
static bool take_what_is_there(struct trib_channel *channel)
{
    const size_t capacity = trib_frames_capacity(channel->options.receive_frames);
    for (int turn = 0;; turn++) {
        if (!take_frames(channel) || trib_channel_wants_close(channel))
            return false;
        if (!channel->frame_in || turn == channel->turns)
            break;
        size_t size = trib_conn_receive_now(
            channel->conn, channel->frame_in->data + channel->in_used, capacity - channel->in_used);
        if (size == 0)
            break;
        count_received(channel, size);
    }
    if (channel->in_used == 0 && channel->frame_in) {
        trib_frame_give(channel->options.receive_frames, channel->frame_in);
        channel->frame_in = NULL;
        __atomic_store_n(&channel->in_ms, 0, __ATOMIC_RELAXED);
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
        trib_channel_close(channel, TRIB_CLOSE_HANDSHAKE);
        return;
    }
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_sending = true;
    (void)pthread_mutex_unlock(&channel->lock);
    trib_conn_send(channel->conn, channel->small_out, size);
}

void trib_channel_work_receive(struct trib_channel *channel)
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
        trib_channel_close(channel, TRIB_CLOSE_PEER);
        return;
    }
    if (has_received)
        count_received(channel, size);
    if (!take_what_is_there(channel))
        return;
    size_t capacity = channel->frame_in ? trib_frames_capacity(channel->options.receive_frames)
                                        : TRIB_CHANNEL_SMALL_SIZE;
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_receiving = true;
    (void)pthread_mutex_unlock(&channel->lock);
    trib_conn_receive(channel->conn, in_buffer(channel) + channel->in_used,
                      capacity - channel->in_used);
}
