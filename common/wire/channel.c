#include "common/wire/channel.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/wire/channel_parts.h"

// ---- Scheduling

enum {
    SHORT_SIZE = 128, // bytes: a frame of a control message with next to nothing in it
    TURNS = 8,        // of a large buffer each, before others have theirs
};

enum schedule {
    SCHEDULE_IDLE,
    SCHEDULE_QUEUED, // the work item is with the executor
    SCHEDULE_RUNNING,
    SCHEDULE_AGAIN, // something happened while it ran
};

void trib_channel_wake(struct trib_channel *channel)
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

static void run_in(struct trib_channel *channel, int turns);

// Nothing but short records of an open session: an idle device's sign of life, a reply. Long ones
// are deciphered and written to files, a handshake is arithmetic: both belong to the executor.
static bool is_short(const struct trib_channel *channel, size_t size)
{
    return channel->options.does_short_work_at_once && size > 0 && size <= SHORT_SIZE &&
           trib_channel_is_open(channel) && !channel->frame_in && !channel->frame_out &&
           !channel->sealed_out;
}

static void on_received(void *user, enum trib_err err, size_t size)
{
    struct trib_channel *channel = user;
    int idle = SCHEDULE_IDLE;
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_receiving = false;
    channel->has_received = true;
    channel->received_size = err ? 0 : size;
    (void)pthread_mutex_unlock(&channel->lock);
    // Who makes it RUNNING is the work item, and may look at what is the work item's.
    if (!__atomic_compare_exchange_n(&channel->schedule, &idle, SCHEDULE_RUNNING, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        trib_channel_wake(channel);
        return;
    }
    (void)trib_channel_ref(channel); // the work item's
    if (!err && is_short(channel, size)) {
        run_in(channel, 0);
        return;
    }
    __atomic_store_n(&channel->schedule, SCHEDULE_QUEUED, __ATOMIC_RELEASE);
    channel->options.submit(channel->options.executor, &channel->work);
}

static void on_sent(void *user, enum trib_err err)
{
    struct trib_channel *channel = user;
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_sending = false;
    channel->has_failed = channel->has_failed || err;
    // The work item leaves frame_out alone while something is being sent. An idle channel is not
    // woken to find that there is nothing to do: of thousands, each a PONG now and then.
    const bool is_over = !channel->has_failed && !channel->items && !channel->bulks &&
                         !channel->closes_when_sent && !channel->wants_close &&
                         !channel->frame_out && !channel->sealed_out;
    (void)pthread_mutex_unlock(&channel->lock);
    if (!is_over)
        trib_channel_wake(channel);
}

static void on_closed(void *user)
{
    struct trib_channel *channel = user;
    // Woken under the lock: the work item that sees this tells the owner that all is over, who may
    // then free the executor.
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_gone = true;
    trib_channel_wake(channel);
    (void)pthread_mutex_unlock(&channel->lock);
    trib_channel_unref(channel); // the connection's
}

static const struct trib_conn_handler conn_handler = {
    .received = on_received, .sent = on_sent, .closed = on_closed};

// ---- The work item

bool trib_channel_wants_close(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    bool wants = channel->wants_close;
    (void)pthread_mutex_unlock(&channel->lock);
    return wants;
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
        trib_frame_give(channel->options.receive_frames, channel->frame_in);
    if (channel->frame_out)
        trib_frame_give(channel->options.send_frames, channel->frame_out);
    channel->frame_in = NULL;
    channel->frame_out = NULL;
    trib_sealed_unref(channel->sealed_out);
    channel->sealed_out = NULL;
    trib_run_fini(&channel->run_in);
    trib_channel_drop_queues(channel);
    trib_session_fini(&channel->session);
    channel->options.handler->closed(channel->options.user, channel, reason);
}

// `turns`: how often it may go on with what has come or left meanwhile, instead of being told.
static void run_in(struct trib_channel *channel, int turns)
{
    int running = SCHEDULE_RUNNING;
    for (;;) {
        __atomic_store_n(&channel->schedule, SCHEDULE_RUNNING, __ATOMIC_RELEASE);
        channel->turns = turns;
        if (!trib_channel_wants_close(channel))
            trib_channel_work_receive(channel);
        if (!trib_channel_wants_close(channel))
            trib_channel_work_send(channel);
        if (trib_channel_wants_close(channel))
            work_close(channel);
        running = SCHEDULE_RUNNING;
        if (__atomic_compare_exchange_n(&channel->schedule, &running, SCHEDULE_IDLE, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            break;
    }
    trib_channel_unref(channel);
}

static void run(struct trib_work *work)
{
    run_in((struct trib_channel *)work, TURNS);
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
    if (err)
        return err;
    trib_session_init_server(&(*ret_channel)->session, options->secret, options->coordinator);
    trib_session_set_former(&(*ret_channel)->session, options->former);
    return TRIB_OK;
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
    trib_channel_drop_queues(channel);
    trib_session_fini(&channel->session);
    (void)pthread_mutex_destroy(&channel->lock);
    free(channel);
}

void trib_channel_start(struct trib_channel *channel)
{
    (void)pthread_mutex_lock(&channel->lock);
    channel->is_started = true;
    (void)pthread_mutex_unlock(&channel->lock);
    trib_channel_wake(channel);
}

void trib_channel_close(struct trib_channel *channel, enum trib_close_reason reason)
{
    (void)pthread_mutex_lock(&channel->lock);
    if (!channel->wants_close && !channel->closes_when_sent)
        channel->reason = reason;
    channel->wants_close = true;
    (void)pthread_mutex_unlock(&channel->lock);
    trib_channel_wake(channel);
}

void trib_channel_close_after(struct trib_channel *channel, enum trib_close_reason reason)
{
    (void)pthread_mutex_lock(&channel->lock);
    if (!channel->wants_close && !channel->closes_when_sent)
        channel->reason = reason;
    channel->closes_when_sent = true;
    (void)pthread_mutex_unlock(&channel->lock);
    trib_channel_wake(channel);
}

void trib_channel_set_user(struct trib_channel *channel, void *user)
{
    channel->options.user = user;
}

void *trib_channel_user(const struct trib_channel *channel)
{
    return channel->options.user;
}

const uint8_t *trib_channel_own_key(const struct trib_channel *channel)
{
    return channel->session.public;
}

const uint8_t *trib_channel_remote_key(const struct trib_channel *channel)
{
    return channel->hello.static_key;
}

bool trib_channel_is_open(const struct trib_channel *channel)
{
    return __atomic_load_n(&channel->is_welcomed, __ATOMIC_RELAXED);
}

bool trib_channel_is_mute(const struct trib_channel *channel)
{
    return !__atomic_load_n(&channel->is_answered, __ATOMIC_ACQUIRE) &&
           __atomic_load_n(&channel->schedule, __ATOMIC_ACQUIRE) == SCHEDULE_IDLE;
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
        [TRIB_CLOSE_RETIRED] = "retired",     [TRIB_CLOSE_LIMIT] = "limit",
        [TRIB_CLOSE_DONE] = "done",           [TRIB_CLOSE_SHUTDOWN] = "shutdown",
        [TRIB_CLOSE_NOMEM] = "nomem",
    };
    return reason < TRIB_CLOSE_REASONS ? names[reason] : "unknown";
}
