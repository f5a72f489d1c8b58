// Sessions of devices: from a connection to the records of a device, until it is gone.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/wire/presence.h"
#include "coordinator/keys.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "server"

struct session_event {
    struct trib_server_event event;
    struct trib_session_link *session;
    enum trib_close_reason reason;
    uint8_t type;
    uint16_t stream;
    uint32_t offset;
    size_t size;
    uint8_t payload[];
};

static struct session_event *session_event(struct trib_session_link *session, const void *payload,
                                           size_t size,
                                           void (*handle)(struct trib_server *,
                                                          struct trib_server_event *))
{
    struct session_event *event = trib_alloc(sizeof(*event) + size);
    if (!event)
        return NULL;
    event->event.handle = handle;
    event->session = session;
    event->size = size;
    if (size > 0)
        memcpy(event->payload, payload, size);
    return event;
}

void trib_server_close(struct trib_session_link *session, enum trib_close_reason reason)
{
    trib_channel_close(session->channel, reason);
}

void trib_server_send(struct trib_session_link *session, enum trib_record_type type,
                      struct trib_buf *packed)
{
    // A channel that is full or closed closes itself; there is nothing more to do here. Without
    // memory the device would wait for what never comes: its next session begins anew.
    if (packed->failed || trib_channel_send(session->channel, (uint8_t)type, 0, packed->data,
                                            packed->size) == TRIB_ERR_NOMEM)
        trib_server_close(session, TRIB_CLOSE_NOMEM);
    trib_buf_fini(packed);
}

void trib_server_send_receipt(struct trib_session_link *session,
                              const uint8_t update_id[static TRIB_MSG_ID_SIZE], enum trib_code code)
{
    struct trib_msg_receipt receipt = {.code = code};
    struct trib_buf packed = {0};
    memcpy(receipt.update_id, update_id, TRIB_MSG_ID_SIZE);
    if (trib_code_class(code) == TRIB_CODE_CLASS_RETRY_SOON)
        receipt.pace = (struct trib_msg_pace){.retry_min_ms = 100, .retry_max_ms = 2000};
    if (trib_code_class(code) == TRIB_CODE_CLASS_RETRY_LATER)
        receipt.pace = (struct trib_msg_pace){.retry_min_ms = 30000, .retry_max_ms = 120000};
    trib_msg_receipt_pack(&receipt, &packed);
    trib_server_send(session, TRIB_RECORD_RECEIPT, &packed);
}

void trib_server_announce(struct trib_session_link *session)
{
    const struct trib_version *head = session->server->head;
    struct trib_buf packed = {0};
    if (!head || !session->is_ready || !session->peer)
        return;
    trib_msg_new_version_pack(&head->announcement, &packed);
    trib_server_send(session, TRIB_RECORD_NEW_VERSION, &packed);
}

bool trib_server_is_present(const struct trib_server *server, const struct trib_peer *peer,
                            uint64_t now_ms)
{
    (void)server;
    if (peer->row.is_revoked)
        return false;
    return (peer->live && peer->live->is_ready) ||
           (peer->gone_ms > 0 && now_ms < peer->gone_ms + TRIB_SERVER_SETTLE_MS);
}

// On a worker thread, as on_hello.
static bool on_knock(void *user, struct trib_channel *channel,
                     const uint8_t ephemeral[static TRIB_NOISE_KEY_SIZE],
                     enum trib_close_reason *ret_reason)
{
    struct trib_session_link *session = user;
    char *source = session->source;
    trib_channel_peer_text(channel, source);
    char *port = strrchr(source, ':');
    if (port)
        *port = '\0';
    const enum trib_verdict verdict =
        trib_peers_knock(session->server->peers, ephemeral, source, trib_clock_mono_ms());
    if (verdict == TRIB_VERDICT_BUSY)
        *ret_reason = TRIB_CLOSE_BUDGET;
    if (verdict == TRIB_VERDICT_REPLAY)
        *ret_reason = TRIB_CLOSE_REPLAY;
    return verdict == TRIB_VERDICT_UNKNOWN;
}

static bool on_hello(void *user, struct trib_channel *channel, const struct trib_hello *hello,
                     struct trib_welcome *ret_welcome, enum trib_close_reason *ret_reason)
{
    struct trib_session_link *session = user;
    struct trib_server *server = session->server;
    session->pins = trib_keys_pins_of(&server->identity, trib_channel_own_key(channel));
    ret_welcome->retry_max_ms = __atomic_load_n(&server->retry_max_ms, __ATOMIC_RELAXED);
    switch (trib_peers_judge(server->peers, hello, trib_clock_wall_ms(), &session->peer)) {
    case TRIB_VERDICT_DEVICE:
        memcpy(session->enrolment.key, hello->static_key, sizeof(hello->static_key));
        return true;
    case TRIB_VERDICT_TOKEN: session->enrolment.how = TRIB_VERDICT_TOKEN; break;
    case TRIB_VERDICT_LISTED: session->enrolment.how = TRIB_VERDICT_LISTED; break;
    case TRIB_VERDICT_PENDING: session->enrolment.how = TRIB_VERDICT_PENDING; break;
    case TRIB_VERDICT_BUSY: // only of who knocks
    case TRIB_VERDICT_UNKNOWN: *ret_reason = TRIB_CLOSE_UNKNOWN; return false;
    case TRIB_VERDICT_REPLAY: *ret_reason = TRIB_CLOSE_REPLAY; return false;
    }
    session->may_only_enrol = true;
    memcpy(session->enrolment.token_id, hello->token_id, sizeof(hello->token_id));
    memcpy(session->enrolment.key, hello->static_key, sizeof(hello->static_key));
    return true;
}

// A connection that is half open no more makes room for the next one in the backlog.
static void leave_half_open(struct trib_server *server)
{
    if (server->fleet) // else we stop
        trib_listener_release(server->fleet);
}

static void settle_half_open(struct trib_session_link *session)
{
    if (session->is_half_open)
        leave_half_open(session->server);
    session->is_half_open = false;
}

static void session_opened(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_session_link *session = ((struct session_event *)event)->session;
    server->let_in += session->is_half_open;
    settle_half_open(session);
    struct trib_peer *peer = session->peer;
    if (peer && peer->row.is_revoked) { // revoked between its handshake and now
        trib_server_close(session, TRIB_CLOSE_REVOKED);
    } else if (peer && trib_server_keys_is_retired(session)) {
        trib_server_close(session, TRIB_CLOSE_RETIRED);
    } else if (peer) {
        if (peer->live) // only a confirmed session replaces an older one
            trib_twin_replace(peer->live);
        peer->live = session;
        trib_rotate_opened(session);
    }
    free(event);
}

static void on_opened(void *user, struct trib_channel *channel, const struct trib_welcome *welcome)
{
    struct session_event *event = session_event(user, NULL, 0, session_opened);
    (void)channel;
    (void)welcome;
    if (event)
        trib_server_post(event->session->server, &event->event);
    else
        trib_channel_close(channel, TRIB_CLOSE_NOMEM);
}

static void handle_record(struct trib_server *server, struct trib_server_event *event);

// On a worker thread: chunks go straight to their slot, the rest to the state thread.
static bool on_record(void *user, struct trib_channel *channel, const struct trib_record *record)
{
    struct trib_session_link *session = user;
    if (record->type == TRIB_RECORD_UPLOAD_CHUNK)
        return trib_upload_chunk(session, record);
    if (record->type == TRIB_RECORD_PONG && !trib_twin_is_pong(session))
        return true; // that it came was noted by the channel
    if (record->type == TRIB_RECORD_PING && !session->may_only_enrol) {
        (void)!trib_channel_send(channel, TRIB_RECORD_PONG, 0, NULL, 0); // nobody else has to wake
        return true;
    }
    if (record->payload_size > TRIB_CONTROL_MAX && record->type != TRIB_RECORD_SECAGG_CHUNK)
        return false;
    struct session_event *event =
        session_event(session, record->payload, record->payload_size, handle_record);
    if (!event) {
        trib_channel_close(channel, TRIB_CLOSE_NOMEM);
        return true;
    }
    event->type = record->type;
    event->stream = record->stream;
    event->offset = record->offset;
    trib_server_post(session->server, &event->event);
    return true;
}

static void session_closed(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_session_link *session = ((struct session_event *)event)->session;
    enum trib_close_reason reason = ((struct session_event *)event)->reason;
    struct trib_peer *peer = session->peer;

    server->counters.open--;
    server->counters.closed[reason]++;
    server->session_count--;
    settle_half_open(session);
    trib_upload_session_gone(session);
    trib_secagg_session_gone(session);
    if (peer && peer->live == session) {
        peer->live = NULL;
        peer->gone_ms = trib_clock_mono_ms();
        if (session->is_ready)
            trib_seen_note(peer);
        TRIB_DEBUG("device=%s gone reason=%s", peer->row.name, trib_close_reason_text(reason));
    }
    *session->link = session->next;
    if (session->next)
        session->next->link = session->link;
    trib_channel_unref(session->channel);
    (void)pthread_mutex_destroy(&session->sink.lock);
    trib_wipe(&session->enrolment, sizeof(session->enrolment));
    free(session);
    free(event);
}

static void on_closed(void *user, struct trib_channel *channel, enum trib_close_reason reason)
{
    // Without memory for this event the session would never be freed; it is small, so wait for it.
    struct session_event *event;
    (void)channel;
    while (!(event = session_event(user, NULL, 0, session_closed)))
        trib_clock_sleep_ms(10);
    event->reason = reason;
    trib_server_post(event->session->server, &event->event);
}

static const struct trib_channel_handler handler = {.knock = on_knock,
                                                    .hello = on_hello,
                                                    .opened = on_opened,
                                                    .record = on_record,
                                                    .closed = on_closed};

static void submit_work(void *executor, struct trib_work *work)
{
    trib_pool_submit(executor, work);
}

struct accepted_event {
    struct trib_server_event event;
    struct trib_conn *conn;
};

static void session_create(struct trib_server *server, struct trib_conn *conn)
{
    struct trib_session_link *session = trib_alloc(sizeof(*session));
    if (!session) {
        server->counters.closed[TRIB_CLOSE_NOMEM]++;
        trib_conn_close(conn);
        leave_half_open(server);
        return;
    }
    session->server = server;
    session->is_half_open = true;
    const struct trib_channel_options options = {
        .handler = &handler,
        .user = session,
        .submit = submit_work,
        .executor = server->pool,
        .does_short_work_at_once = true,
        .receive_frames = server->receive_frames,
        .send_frames = server->send_frames,
        .received_bytes = &server->received_bytes,
        .sent_bytes = &server->sent_bytes,
        .secret = server->identity.secret,
        .coordinator = server->identity.public,
        .former = &server->former,
    };
    if (trib_channel_accept(conn, &options, &session->channel)) {
        server->counters.closed[TRIB_CLOSE_NOMEM]++;
        free(session);
        leave_half_open(server);
        return;
    }
    (void)pthread_mutex_init(&session->sink.lock, NULL);
    session->next = server->sessions;
    session->link = &server->sessions;
    if (session->next)
        session->next->link = &session->next;
    server->sessions = session;
    server->session_count++;
    server->counters.open++;
    trib_channel_start(session->channel);
}

// Once: the descriptors, and not what was configured, are what sends devices away.
static void tell_of_full_house(struct trib_server *server)
{
    if (server->few_is_told || server->connections_max >= server->config.connections_max)
        return;
    server->few_is_told = true;
    TRIB_WARN("id=few-descriptors connections are sent away: %" PRIu64
              " files may be open (ulimit -Hn), which is enough for %" PRIu64
              " connections and not for fleet.connections_max = %" PRIu64,
              server->files_max, server->connections_max, server->config.connections_max);
}

static void connection_accepted(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_conn *conn = ((struct accepted_event *)event)->conn;
    server->counters.accepted++;
    if (server->session_count >= server->connections_max || server->stops) {
        server->counters.closed[server->stops ? TRIB_CLOSE_SHUTDOWN : TRIB_CLOSE_FULL]++;
        if (!server->stops)
            tell_of_full_house(server);
        trib_conn_close(conn);
        leave_half_open(server);
    } else {
        session_create(server, conn);
    }
    free(event);
}

bool trib_sessions_accepted(void *user, struct trib_conn *conn)
{
    struct trib_server *server = user;
    struct accepted_event *event = trib_alloc(sizeof(*event));
    if (!event) {
        trib_conn_close(conn);
        return false;
    }
    event->event.handle = connection_accepted;
    event->conn = conn;
    trib_server_post(server, &event->event);
    return true;
}

// ---- Records

static void handle_ready(struct trib_session_link *session, const uint8_t *data, size_t size)
{
    struct trib_server *server = session->server;
    struct trib_msg_ready ready;
    if (trib_msg_ready_unpack(data, size, &ready)) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    if (strcmp(ready.population, server->config.population) != 0) {
        TRIB_INFO("device=%s is of population %s", session->peer->row.name, ready.population);
        trib_server_close(session, TRIB_CLOSE_UNKNOWN);
        return;
    }
    if (ready.version > 0 && ready.generation > server->generation &&
        trib_log_limit_allows(&server->ahead_limit, 1))
        TRIB_WARN("id=device-ahead device=%s has a model of generation %" PRIu64 ", ours is "
                  "%" PRIu64 ": it takes none of ours; was this backup restored before? "
                  "(restore --generation; %u more said so)",
                  session->peer->row.name, ready.generation, server->generation,
                  trib_log_limit_take(&server->ahead_limit));
    session->is_ready = true;
    session->peer->version = ready.version;
    trib_server_keys_push(session, ready.key_sequence); // before what is signed by them
    const struct trib_version *head = server->head;
    if (head && (ready.version != head->manifest.version ||
                 memcmp(ready.digest, head->manifest.digest, TRIB_DIGEST_SIZE) != 0))
        trib_server_announce(session);
    trib_rounds_ready(session, &ready);
}

static void handle_model_get(struct trib_session_link *session, uint16_t stream,
                             const uint8_t *data, size_t size)
{
    struct trib_server *server = session->server;
    struct trib_msg_model_get get;
    if (trib_msg_model_get_unpack(data, size, &get)) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    if (!server->head || memcmp(get.digest, server->head->manifest.digest, TRIB_DIGEST_SIZE) != 0) {
        trib_server_announce(session); // there is a newer one: ask for that
        return;
    }
    struct trib_blob *params = server->head->params;
    if (get.offset >= params->size || get.offset % sizeof(float) != 0) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    trib_channel_drop_blobs(session->channel, TRIB_RECORD_MODEL_CHUNK); // of an older request
    const bool in_runs = get.takes_runs && get.offset % TRIB_CHUNK_SIZE == 0;
    struct trib_sealed *sealed;
    enum trib_err err =
        in_runs ? trib_version_seal(server->head, trib_clock_mono_ms(), &sealed) : TRIB_OK;
    if (!err && in_runs)
        err = trib_channel_send_sealed(session->channel, TRIB_RECORD_MODEL_CHUNK, stream, sealed,
                                       get.offset / TRIB_CHUNK_SIZE, trib_sealed_chunks(sealed));
    else if (!err)
        err = trib_channel_send_blob(session->channel, TRIB_RECORD_MODEL_CHUNK, stream, params,
                                     get.offset, params->size);
    if (err == TRIB_ERR_NOMEM)
        trib_server_close(session, TRIB_CLOSE_NOMEM);
}

static void handle_installed(struct trib_session_link *session, const uint8_t *data, size_t size)
{
    struct trib_msg_installed installed;
    if (trib_msg_installed_unpack(data, size, &installed)) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    session->peer->install_code = installed.code;
    if (installed.code == TRIB_CODE_MODEL_INSTALLED) {
        session->peer->version = installed.version;
    } else {
        if (trib_code_is_known(installed.code))
            session->server->counters.install_refused[installed.code]++;
        TRIB_WARN("id=install-refused device=%s generation=%" PRIu64 " version=%" PRIu64 " code=%s",
                  session->peer->row.name, installed.generation, installed.version,
                  trib_code_text(installed.code));
    }
}

static void dispatch(struct trib_session_link *session, const struct session_event *event)
{
    const uint8_t *data = event->payload;
    size_t size = event->size;
    switch (event->type) {
    case TRIB_RECORD_READY: handle_ready(session, data, size); return;
    case TRIB_RECORD_TASK_REPLY: trib_rounds_task_reply(session, data, size); return;
    case TRIB_RECORD_MODEL_GET: handle_model_get(session, event->stream, data, size); return;
    case TRIB_RECORD_KEYS_REPLY: trib_server_keys_reply(session, data, size); return;
    case TRIB_RECORD_INSTALLED: handle_installed(session, data, size); return;
    case TRIB_RECORD_UPLOAD_BEGIN: trib_upload_begin(session, event->stream, data, size); return;
    case TRIB_RECORD_UPLOAD_END: trib_upload_end(session, data, size); return;
    case TRIB_RECORD_SECAGG_STEP: trib_secagg_step(session, event->stream, data, size); return;
    case TRIB_RECORD_SECAGG_CHUNK:
        trib_secagg_chunk(session, &(struct trib_record){.stream = event->stream,
                                                         .offset = event->offset,
                                                         .payload = data,
                                                         .payload_size = size});
        return;
    default: break;
    }
    session->server->counters.unknown_records++; // proto/README.md 3
    if (event->type >= TRIB_RECORD_CRITICAL)
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
}

static void handle_record(struct trib_server *server, struct trib_server_event *server_event)
{
    struct session_event *event = (struct session_event *)server_event;
    struct trib_session_link *session = event->session;
    bool is_current = session->peer && session->peer->live == session;
    (void)server;
    if (event->type == TRIB_RECORD_PONG) // nobody but a replaced session has one brought here
        trib_twin_found(session);
    else if (event->type == TRIB_RECORD_ENROL)
        trib_enrol_handle(session, event->payload, event->size);
    else if (session->may_only_enrol)
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
    else if (is_current) // what a replaced or revoked session still says is not heard
        dispatch(session, event);
    free(event);
}

// ---- Time

enum {
    LOOK_MS = 1000,  // at all sessions
    PING_MS = 5000,  // of those that have been silent, all at once
    ROOM_TURNS = 16, // a share of the half-open places that is let in between two looks is many
    ROOM_MS = 1500,  // of want before room is made
};

static void tick_session(struct trib_session_link *s, uint64_t now_ms, bool pings)
{
    const struct trib_presence_times times = {
        .created_ms = trib_channel_created_ms(s->channel),
        .heard_ms = trib_channel_heard_ms(s->channel),
        .pinged_ms = s->pinged_ms,
        .ask_ms = TRIB_PRESENCE_COORDINATOR_MS,
    };
    trib_channel_tick(s->channel, now_ms);
    trib_twin_tick(s, now_ms);
    if (!trib_channel_is_open(s->channel)) {
        if (now_ms > times.created_ms + TRIB_HANDSHAKE_MS)
            trib_server_close(s, TRIB_CLOSE_SLOW);
        return;
    }
    switch (trib_presence_due(&times, now_ms)) {
    case TRIB_PRESENCE_FINE:
    case TRIB_PRESENCE_AGED: return; // the device makes a new one
    case TRIB_PRESENCE_PING:
        if (!pings)
            return;
        s->pinged_ms = now_ms;
        (void)!trib_channel_send(s->channel, TRIB_RECORD_PING, 0, NULL, 0);
        return;
    case TRIB_PRESENCE_IDLE: trib_server_close(s, TRIB_CLOSE_IDLE); return;
    }
}

void trib_sessions_pace(struct trib_server *server)
{
    const uint32_t window_ms =
        trib_pace_window_ms(trib_peers_count(server->peers), server->config.handshakes_per_second);
    __atomic_store_n(&server->retry_max_ms, window_ms, __ATOMIC_RELAXED);
}

// Who is honest says hello at once. When all places of those who have not are taken, they are for
// whoever waits behind: strangers that connect and say nothing would keep a fleet away. Not while
// many come in, or at once: a fleet that dials together is slow to say hello, and makes room itself.
static void make_room(struct trib_server *server, uint64_t now_ms)
{
    if (server->let_in >= server->half_open_max / ROOM_TURNS || !server->fleet ||
        !trib_listener_is_full(server->fleet))
        server->room_ms = now_ms;
    server->let_in = 0;
    if (now_ms < server->room_ms + ROOM_MS)
        return;
    for (struct trib_session_link *s = server->sessions; s; s = s->next) {
        if (s->is_half_open && trib_channel_is_mute(s->channel) &&
            now_ms > trib_channel_created_ms(s->channel) + TRIB_HANDSHAKE_WANTED_MS)
            trib_server_close(s, TRIB_CLOSE_SLOW);
    }
}

void trib_sessions_tick(struct trib_server *server, uint64_t now_ms)
{
    make_room(server, now_ms);
    if (now_ms < server->look_next_ms)
        return;
    trib_sessions_pace(server);
    const bool pings = now_ms >= server->ping_next_ms;
    server->look_next_ms = now_ms + LOOK_MS;
    if (server->head)
        trib_version_rest(server->head, now_ms);
    if (pings)
        server->ping_next_ms = now_ms + PING_MS;
    for (struct trib_session_link *s = server->sessions; s; s = s->next)
        tick_session(s, now_ms, pings);
}
