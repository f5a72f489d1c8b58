#include "coordinator/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/wipe.h"
#include "common/wire/presence.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "server"

enum {
    TICK_MS = 250,
    FRAMES = 64, // large buffers for each direction, 64 KiB each
    ADMIN_MODE = 0660,
};

// Set by signal handlers, looked at every tick.
static volatile int stop_wanted;
static volatile int reload_wanted;

// ---- Events

void trib_server_post(struct trib_server *server, struct trib_server_event *event)
{
    trib_queue_put(&server->events, &event->node);
}

static void op_is_back(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_server_op *op =
        (struct trib_server_op *)(void *)((char *)event - offsetof(struct trib_server_op, event));
    server->ops_in_flight--;
    if (op->op.result == TRIB_ERR_IO)
        trib_server_stop_failed(server);
    op->finish(server, op);
}

static void op_done(struct trib_commit_op *commit_op)
{
    struct trib_server_op *op = (struct trib_server_op *)commit_op;
    trib_server_post(op->server, &op->event);
}

void trib_server_submit(struct trib_server *server, struct trib_server_op *op)
{
    op->server = server;
    op->op.done = op_done;
    op->event.handle = op_is_back;
    server->ops_in_flight++;
    trib_commit_submit(server->commit, &op->op);
}

static void on_fatal(void *user)
{
    struct trib_server *server = user;
    __atomic_store_n(&server->failed, true,
                     __ATOMIC_RELEASE); // seen by the next tick at the latest
}

void trib_server_stop_failed(struct trib_server *server)
{
    __atomic_store_n(&server->failed, true, __ATOMIC_RELEASE); // the commit thread may do so, too
}

// ---- Sessions

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
    // A channel that is full or closed closes itself; there is nothing more to do here.
    if (!packed->failed && trib_channel_send(session->channel, (uint8_t)type, 0, packed->data,
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
    return (peer->live && peer->live->is_ready) || now_ms < peer->gone_ms + TRIB_SERVER_SETTLE_MS;
}

// On a worker thread.
static bool on_hello(void *user, struct trib_channel *channel, const struct trib_hello *hello,
                     struct trib_welcome *ret_welcome, enum trib_close_reason *ret_reason)
{
    struct trib_session_link *session = user;
    struct trib_server *server = session->server;
    char source[TRIB_PEER_TEXT_SIZE];
    (void)ret_welcome;
    trib_channel_peer_text(channel, source);
    char *port = strrchr(source, ':');
    if (port)
        *port = '\0';
    switch (trib_peers_judge(server->peers, hello, source, trib_clock_mono_ms(),
                             trib_clock_wall_ms(), &session->peer)) {
    case TRIB_VERDICT_DEVICE: return true;
    case TRIB_VERDICT_TOKEN: session->enrolment.how = TRIB_VERDICT_TOKEN; break;
    case TRIB_VERDICT_LISTED: session->enrolment.how = TRIB_VERDICT_LISTED; break;
    case TRIB_VERDICT_PENDING: session->enrolment.how = TRIB_VERDICT_PENDING; break;
    case TRIB_VERDICT_UNKNOWN: *ret_reason = TRIB_CLOSE_UNKNOWN; return false;
    case TRIB_VERDICT_REPLAY: *ret_reason = TRIB_CLOSE_REPLAY; return false;
    case TRIB_VERDICT_BUSY: *ret_reason = TRIB_CLOSE_BUDGET; return false;
    }
    session->may_only_enrol = true;
    (void)snprintf(session->source, sizeof(session->source), "%s", source);
    memcpy(session->enrolment.token_id, hello->token_id, sizeof(hello->token_id));
    memcpy(session->enrolment.key, hello->static_key, sizeof(hello->static_key));
    return true;
}

static void session_opened(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_session_link *session = ((struct session_event *)event)->session;
    server->half_open--;
    struct trib_peer *peer = session->peer;
    if (peer && peer->row.is_revoked) { // revoked between its handshake and now
        trib_server_close(session, TRIB_CLOSE_REVOKED);
    } else if (peer) {
        if (peer->live) // only a confirmed session replaces an older one
            trib_server_close(peer->live, TRIB_CLOSE_REPLACED);
        peer->live = session;
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
    if (record->type == TRIB_RECORD_PONG)
        return true; // that it came was noted by the channel
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
    if (!trib_channel_is_open(session->channel))
        server->half_open--;
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

static const struct trib_channel_handler handler = {
    .hello = on_hello, .opened = on_opened, .record = on_record, .closed = on_closed};

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
        return;
    }
    session->server = server;
    const struct trib_channel_options options = {
        .handler = &handler,
        .user = session,
        .submit = submit_work,
        .executor = server->pool,
        .receive_frames = server->receive_frames,
        .send_frames = server->send_frames,
        .received_bytes = &server->received_bytes,
        .sent_bytes = &server->sent_bytes,
        .secret = server->identity.secret,
        .coordinator = server->identity.public,
    };
    if (trib_channel_accept(conn, &options, &session->channel)) {
        server->counters.closed[TRIB_CLOSE_NOMEM]++;
        free(session);
        return;
    }
    (void)pthread_mutex_init(&session->sink.lock, NULL);
    session->next = server->sessions;
    session->link = &server->sessions;
    if (session->next)
        session->next->link = &session->next;
    server->sessions = session;
    server->session_count++;
    server->half_open++;
    server->counters.open++;
    trib_channel_start(session->channel);
}

static void connection_accepted(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_conn *conn = ((struct accepted_event *)event)->conn;
    server->counters.accepted++;
    if (server->half_open >= TRIB_SERVER_HALF_OPEN_MAX ||
        server->session_count >= server->config.connections_max || server->stops) {
        server->counters.closed[server->stops ? TRIB_CLOSE_SHUTDOWN : TRIB_CLOSE_FULL]++;
        trib_conn_close(conn);
    } else {
        session_create(server, conn);
    }
    free(event);
}

static void on_accepted(void *user, struct trib_conn *conn)
{
    struct trib_server *server = user;
    struct accepted_event *event = trib_alloc(sizeof(*event));
    if (!event) {
        trib_conn_close(conn);
        return;
    }
    event->event.handle = connection_accepted;
    event->conn = conn;
    trib_server_post(server, &event->event);
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
    session->is_ready = true;
    session->peer->version = ready.version;
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
    if (trib_channel_send_blob(session->channel, TRIB_RECORD_MODEL_CHUNK, stream, params,
                               get.offset, params->size) == TRIB_ERR_NOMEM)
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
        TRIB_WARN("id=install-refused device=%s version=%" PRIu64 " code=%s",
                  session->peer->row.name, installed.version, trib_code_text(installed.code));
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
    case TRIB_RECORD_PING:
        (void)!trib_channel_send(session->channel, TRIB_RECORD_PONG, 0, NULL, 0);
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
    if (event->type == TRIB_RECORD_ENROL)
        trib_enrol_handle(session, event->payload, event->size);
    else if (session->may_only_enrol)
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
    else if (is_current) // what a replaced or revoked session still says is not heard
        dispatch(session, event);
    free(event);
}

// ---- Time

static void tick_session(struct trib_session_link *s, uint64_t now_ms)
{
    const struct trib_presence_times times = {
        .created_ms = trib_channel_created_ms(s->channel),
        .heard_ms = trib_channel_heard_ms(s->channel),
        .pinged_ms = s->pinged_ms,
    };
    trib_channel_tick(s->channel);
    if (!trib_channel_is_open(s->channel)) {
        if (now_ms > times.created_ms + TRIB_HANDSHAKE_MS)
            trib_server_close(s, TRIB_CLOSE_SLOW);
        return;
    }
    switch (trib_presence_due(&times, now_ms)) {
    case TRIB_PRESENCE_FINE:
    case TRIB_PRESENCE_AGED: return; // the device makes a new one
    case TRIB_PRESENCE_PING:
        s->pinged_ms = now_ms;
        (void)!trib_channel_send(s->channel, TRIB_RECORD_PING, 0, NULL, 0);
        return;
    case TRIB_PRESENCE_IDLE: trib_server_close(s, TRIB_CLOSE_IDLE); return;
    }
}

static void tick_sessions(struct trib_server *server, uint64_t now_ms)
{
    for (struct trib_session_link *s = server->sessions; s; s = s->next)
        tick_session(s, now_ms);
}

static void tick(struct trib_server *server)
{
    uint64_t now_ms = trib_clock_mono_ms();
    tick_sessions(server, now_ms);
    trib_upload_tick(server, now_ms);
    trib_rounds_tick(server, now_ms);
    trib_seen_tick(server, now_ms);
    if (reload_wanted) {
        reload_wanted = 0;
        if (server->config.allow_list[0] &&
            trib_peers_allow(server->peers, server->config.allow_list, trib_clock_wall_ms()))
            TRIB_WARN("the allow-list could not be read; the old one stays in force");
    }
}

// ---- Life

static enum trib_err open_files(struct trib_server *server, const char *dir)
{
    char path[TRIB_PATH_MAX + 1];
    (void)snprintf(server->dir, sizeof(server->dir), "%s", dir);
    enum trib_err err = trib_identity_load(dir, &server->identity);
    if (!err)
        err = trib_coordinator_config_load(dir, &server->config);
    if (!err)
        err = trib_path_join(server->updates_dir, dir, "updates");
    if (!err)
        err = trib_path_join(path, dir, "store.db");
    if (!err)
        err = trib_store_open(path, &server->store);
    if (!err)
        err = trib_store_meta_get(server->store, "generation", 1, &server->generation);
    return err;
}

static enum trib_err make_parts(struct trib_server *server)
{
    enum trib_err err = trib_queue_init(&server->events, false);
    if (!err)
        err = trib_pool_create((unsigned)server->config.threads, &server->pool);
    if (!err)
        err = trib_frames_create(FRAMES, &server->receive_frames);
    if (!err)
        err = trib_frames_create(FRAMES, &server->send_frames);
    if (!err)
        err = trib_map_create(&server->known);
    if (!err)
        err = trib_peers_create(server->config.handshakes_per_second,
                                server->config.handshakes_per_source, &server->peers);
    if (!err)
        trib_peers_pending_allow(server->peers, server->config.pending);
    if (!err)
        err = trib_peers_load(server->peers, server->store, server->started_ms);
    if (!err)
        trib_secagg_check_roster(server);
    if (!err && server->config.allow_list[0])
        err = trib_peers_allow(server->peers, server->config.allow_list, server->started_wall_ms);
    return err;
}

// The URL that tokens carry: as configured, or the listen URL with the port that was bound.
static void settle_url(struct trib_server *server)
{
    const char *listen = server->config.listen;
    const char *colon = strrchr(listen, ':');
    uint16_t port = trib_listener_port(server->fleet);
    if (server->config.url[0])
        (void)snprintf(server->url, sizeof(server->url), "%.*s", TRIB_URL_MAX, server->config.url);
    else if (port && colon)
        (void)snprintf(server->url, sizeof(server->url), "%.*s:%u", (int)(colon - listen), listen,
                       port);
    else
        (void)snprintf(server->url, sizeof(server->url), "%.*s", TRIB_URL_MAX, listen);
}

static enum trib_err listen_both(struct trib_server *server)
{
    char admin_url[TRIB_PATH_MAX + 16];
    enum trib_err err = trib_admin_url(server->dir, admin_url, sizeof(admin_url));
    if (!err) {
        (void)remove(admin_url + strlen("ipc://")); // left by a process that was killed
        err = trib_link_listen(admin_url, ADMIN_MODE, trib_server_admin_accepted, server,
                               &server->admin);
    }
    if (!err)
        err = trib_link_listen(server->config.listen, 0, on_accepted, server, &server->fleet);
    if (err)
        return err;
    settle_url(server);
    TRIB_INFO("listening url=%s devices=%zu version=%" PRIu64, server->url,
              trib_peers_count(server->peers),
              server->head ? server->head->manifest.version : (uint64_t)0);
    return TRIB_OK;
}

// One process serves thousands of devices: use the descriptors that the system allows.
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

enum trib_err trib_server_create(const char *dir, struct trib_server **ret_server)
{
    trib_crypto_init();
    raise_descriptor_limit();
    stop_wanted = 0;
    struct trib_server *server = trib_alloc(sizeof(*server));
    if (!server)
        return TRIB_ERR_NOMEM;
    server->started_ms = trib_clock_mono_ms();
    server->started_wall_ms = trib_clock_wall_ms();

    enum trib_err err = open_files(server, dir);
    if (!err)
        err = make_parts(server);
    if (!err)
        err = trib_jobs_recover(server);
    if (!err)
        err = trib_rounds_recover(server);
    if (!err)
        err = trib_commit_create(server->store, on_fatal, server, &server->commit);
    if (!err)
        err = listen_both(server);
    if (err) {
        trib_server_destroy(server);
        return err;
    }
    *ret_server = server;
    return TRIB_OK;
}

static void close_all(struct trib_server *server)
{
    trib_listener_close(server->fleet);
    trib_listener_close(server->admin);
    server->fleet = NULL;
    server->admin = NULL;
    for (struct trib_session_link *s = server->sessions; s; s = s->next)
        trib_server_close(s, TRIB_CLOSE_SHUTDOWN);
}

enum trib_err trib_server_run(struct trib_server *server)
{
    uint64_t next_tick_ms = 0;
    for (;;) {
        struct trib_server_event *event =
            (struct trib_server_event *)trib_queue_take(&server->events, TICK_MS);
        if (event)
            event->handle(server, event);
        if (__atomic_load_n(&server->failed, __ATOMIC_ACQUIRE))
            return TRIB_ERR_IO; // nothing in memory can be trusted to be on disk
        if (stop_wanted && !server->stops) {
            TRIB_INFO("stopping");
            server->stops = true;
            close_all(server);
        }
        if (server->stops) {
            if (!server->sessions && server->ops_in_flight == 0 && server->admins_open == 0 &&
                !event)
                return TRIB_OK;
            continue;
        }
        if (trib_clock_mono_ms() >= next_tick_ms) {
            tick(server);
            next_tick_ms = trib_clock_mono_ms() + TICK_MS;
        }
        trib_rounds_pump(server);
    }
}

void trib_server_stop(struct trib_server *server)
{
    (void)server;
    stop_wanted = 1;
}

void trib_server_reload(struct trib_server *server)
{
    (void)server;
    reload_wanted = 1;
}

void trib_server_destroy(struct trib_server *server)
{
    if (!server)
        return;
    trib_listener_close(server->fleet);
    trib_listener_close(server->admin);
    trib_commit_destroy(server->commit);
    trib_pool_destroy(server->pool);
    trib_queue_fini(&server->events);
    trib_rounds_free(server);
    trib_jobs_free(server->job);
    trib_version_destroy(server->head);
    while (server->known_list) {
        struct trib_known_update *known = server->known_list;
        server->known_list = known->next;
        free(known->checksums);
        free(known);
    }
    trib_map_destroy(server->known);
    trib_peers_destroy(server->peers);
    trib_frames_destroy(server->receive_frames);
    trib_frames_destroy(server->send_frames);
    trib_store_close(server->store);
    trib_identity_wipe(&server->identity);
    free(server);
}
