// The admin socket: one request a connection, read on nng's threads, answered by the state thread.
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "coordinator/server_command.h"

#define TRIB_LOG_MODULE "admin"

enum {
    READ_STEP = 65536,
    AUDIT_TEXT_SIZE = 384, // of a subject and an outcome, cut there
    ASK_MS = 5000,         // so long a request may take to be whole
    TAKE_MS = 60000,       // and its answer to be taken away
    OF_ONE_MAX = 8,        // that a user may have open, who is neither root nor the owner
    REFUSALS_MS = 60000,   // of commands for want of a role
    REFUSALS_MAX = 100,    // that are put in the audit log in that time
};

struct trib_admin_call {
    struct trib_server_event event; // first: posted when it comes, and when the request is whole
    struct trib_server_event over;  // posted when it is over, perhaps before the other was taken
    struct trib_server *server;
    struct trib_conn *conn;
    struct trib_buf in;
    struct trib_buf out;
    struct trib_admin_request request;
    bool is_heard;                        // atomic: the request was posted
    bool is_closing;                      // atomic
    bool is_running;                      // the state thread took it
    bool is_answered;                     // its answer is on the way
    uint64_t since_ms;                    // when it came, or was answered
    uint64_t uid;                         // of the connection; UINT64_MAX: the kernel did not say
    struct trib_admin_call *next, **link; // the server's list
    struct trib_role_peer peer;
    enum trib_role role;                    // of the peer, when its request is heard
    const struct trib_command_entry *entry; // NULL: no command that we know
    bool is_refused;
    bool is_recorded; // in the audit log, or about to be with its change
};

// Whoever is first: we, at the stop, or what the connection itself does.
static void close_call(struct trib_admin_call *call)
{
    if (!__atomic_exchange_n(&call->is_closing, true, __ATOMIC_ACQ_REL))
        trib_conn_close(call->conn);
}

static void call_over(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_admin_call *call =
        (struct trib_admin_call *)(void *)((char *)event - offsetof(struct trib_admin_call, over));
    server->admins_open--;
    if (server->admin) // else we stop
        trib_listener_release(server->admin);
    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
    trib_admin_request_fini(&call->request);
    trib_buf_fini(&call->in);
    trib_buf_fini(&call->out);
    free(call);
}

static void call_closed(void *user)
{
    struct trib_admin_call *call = user;
    call->over.handle = call_over;
    trib_server_post(call->server, &call->over);
}

static void call_heard(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_admin_call *call = (struct trib_admin_call *)event;
    const uint8_t *message = call->in.data + TRIB_ADMIN_LENGTH_SIZE;
    if (__atomic_load_n(&call->is_closing, __ATOMIC_ACQUIRE))
        return; // its end is on its way
    call->is_running = true;
    (void)server;
    if (trib_admin_request_unpack(message, call->in.size - TRIB_ADMIN_LENGTH_SIZE,
                                  &call->request)) {
        close_call(call);
        return;
    }
    call->role = trib_role_of(&call->server->config.roles, geteuid(), &call->peer);
    trib_command_run(call);
}

static void receive_more(struct trib_admin_call *call)
{
    size_t used = call->in.size;
    uint8_t *room = trib_buf_extend(&call->in, READ_STEP);
    if (!room) {
        close_call(call);
        return;
    }
    call->in.size = used;
    trib_conn_receive(call->conn, room, READ_STEP);
}

// Here and not on the state thread: where users are kept elsewhere, only this request waits for
// that, and no round.
static void find_peer(struct trib_admin_call *call)
{
    uint64_t uid;
    uint64_t gid;
    if (!trib_conn_peer_ids(call->conn, &uid, &gid)) {
        (void)snprintf(call->peer.name, sizeof(call->peer.name), "somebody");
        return;
    }
    trib_role_peer_look_up(&call->peer, uid, gid);
    call->peer.is_known = true;
}

static void call_received(void *user, enum trib_err err, size_t size)
{
    struct trib_admin_call *call = user;
    if (err || call->is_heard) { // gone, or more than one request
        if (err)
            close_call(call);
        return;
    }
    call->in.size += size;
    if (call->in.size < TRIB_ADMIN_LENGTH_SIZE) {
        receive_more(call);
        return;
    }
    size_t wanted = trib_load_be32(call->in.data);
    if (wanted > TRIB_ADMIN_REQUEST_MAX || call->in.size > wanted + TRIB_ADMIN_LENGTH_SIZE) {
        close_call(call);
    } else if (call->in.size < wanted + TRIB_ADMIN_LENGTH_SIZE) {
        receive_more(call);
    } else {
        __atomic_store_n(&call->is_heard, true, __ATOMIC_RELEASE);
        find_peer(call);
        call->event.handle = call_heard;
        trib_server_post(call->server, &call->event);
    }
}

static void call_sent(void *user, enum trib_err err)
{
    struct trib_admin_call *call = user;
    (void)err;
    close_call(call);
}

static const struct trib_conn_handler handler = {
    .received = call_received, .sent = call_sent, .closed = call_closed};

// Does the caller leave too few places for others? Those above are closed at once, so that nobody waits
// behind them.
static bool has_enough(const struct trib_server *server, uint64_t uid)
{
    unsigned count = 0;
    for (const struct trib_admin_call *call = server->admins; call; call = call->next)
        count += call->uid == uid;
    return count >= OF_ONE_MAX && uid != 0 && uid != geteuid();
}

static void call_begins(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_admin_call *call = (struct trib_admin_call *)event;
    uint64_t gid;
    if (!trib_conn_peer_ids(call->conn, &call->uid, &gid))
        call->uid = UINT64_MAX;
    const bool is_one_too_many = has_enough(server, call->uid);
    server->admins_open++;
    call->since_ms = trib_clock_mono_ms();
    call->next = server->admins;
    call->link = &server->admins;
    if (call->next)
        call->next->link = &call->next;
    server->admins = call;
    trib_conn_start(call->conn, &handler, call);
    if (server->stops || is_one_too_many)
        close_call(call);
    else
        receive_more(call);
}

void trib_admins_stop(struct trib_server *server)
{
    for (struct trib_admin_call *call = server->admins; call; call = call->next) {
        if (!call->is_running)
            close_call(call);
    }
}

void trib_admins_tick(struct trib_server *server, uint64_t now_ms)
{
    for (struct trib_admin_call *call = server->admins; call; call = call->next) {
        const bool is_heard = __atomic_load_n(&call->is_heard, __ATOMIC_ACQUIRE);
        const uint64_t most_ms = is_heard && !server->stops ? TAKE_MS : ASK_MS;
        if (is_heard == call->is_answered && now_ms > call->since_ms + most_ms)
            close_call(call);
    }
}

bool trib_server_admin_accepted(void *user, struct trib_conn *conn)
{
    struct trib_admin_call *call = trib_alloc(sizeof(*call));
    if (!call) {
        trib_conn_close(conn);
        return false;
    }
    call->server = user;
    call->conn = conn;
    call->event.handle = call_begins;
    trib_server_post(call->server, &call->event);
    return true;
}

struct trib_server *trib_admin_server(const struct trib_admin_call *call)
{
    return call->server;
}

const struct trib_admin_request *trib_admin_request_of(const struct trib_admin_call *call)
{
    return &call->request;
}

const struct trib_role_peer *trib_admin_peer(const struct trib_admin_call *call)
{
    return &call->peer;
}

enum trib_role trib_admin_role(const struct trib_admin_call *call)
{
    return call->role;
}

void trib_admin_begin(struct trib_admin_call *call, const struct trib_command_entry *entry,
                      bool is_refused)
{
    call->entry = entry;
    call->is_refused = is_refused;
    call->server->counters.commands_refused += is_refused;
}

// ---- The audit log

// What a command is about: its words but for the name, and the digest of what it brought along.
static void fill_subject(const struct trib_admin_call *call, char *subject, size_t size)
{
    const struct trib_admin_request *request = &call->request;
    size_t used = 0;
    subject[0] = '\0';
    for (size_t i = *call->entry->second ? 2 : 1; i < request->word_count && used < size; i++)
        used += (size_t)snprintf(subject + used, size - used, "%s%s", used ? " " : "",
                                 request->words[i]);
    if (request->body_size > 0 && used < size) {
        uint8_t digest[TRIB_DIGEST_SIZE];
        char text[TRIB_DIGEST_TEXT_SIZE];
        trib_digest(request->body, request->body_size, digest);
        trib_hex_encode(digest, sizeof(digest), text);
        (void)snprintf(subject + used, size - used, "%s%.160s blake2b=%s", used ? " " : "",
                       request->body_name ? request->body_name : "", text);
    }
}

// One line of what may come from anywhere: no control characters, whole letters.
static void make_plain(char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
    }
    if (size + 1 < AUDIT_TEXT_SIZE)
        return; // was not cut
    while (size > 0 && ((unsigned char)text[size - 1] & 0xc0) == 0x80)
        text[--size] = '\0';
    if (size > 0 && ((unsigned char)text[size - 1] & 0x80))
        text[size - 1] = '\0';
}

static enum trib_err record_now(struct trib_admin_call *call, struct trib_store *store,
                                const char *outcome)
{
    char actor[TRIB_ROLE_NAME_SIZE + 32];
    char action[64];
    char subject[AUDIT_TEXT_SIZE];
    char result[AUDIT_TEXT_SIZE];
    fill_subject(call, subject, sizeof(subject));
    make_plain(subject);
    (void)snprintf(result, sizeof(result), "%s", outcome);
    make_plain(result);
    (void)snprintf(actor, sizeof(actor), "%s(%" PRIu64 ")", call->peer.name, call->peer.uid);
    (void)snprintf(action, sizeof(action), "%s%s%s", call->entry->first,
                   *call->entry->second ? " " : "", call->entry->second);
    const struct trib_audit_record record = {.time_ms = trib_clock_wall_ms(),
                                             .actor = actor,
                                             .role = trib_role_text(call->role),
                                             .action = action,
                                             .subject = subject,
                                             .outcome = result};
    return trib_store_audit(store, &record);
}

static bool is_to_record(const struct trib_admin_call *call)
{
    return call->entry && !call->is_recorded && (call->entry->changes || call->is_refused);
}

// Who has no role can ask as often as he likes: the log of what was done is not to drown in it.
static bool is_one_refusal_too_many(struct trib_server *server)
{
    const uint64_t now_ms = trib_clock_mono_ms();
    if (now_ms > server->refusals_ms + REFUSALS_MS || server->refusals_ms == 0) {
        server->refusals_ms = now_ms;
        server->refusals = 0;
    }
    return ++server->refusals > REFUSALS_MAX;
}

enum trib_err trib_admin_record(struct trib_admin_call *call, struct trib_store *store,
                                const char *outcome)
{
    if (!is_to_record(call))
        return TRIB_OK;
    enum trib_err err = record_now(call, store, outcome);
    call->is_recorded = !err;
    return err;
}

// A record of what was not done, or is no matter of the store; the answer waits for it.
struct record_op {
    struct trib_server_op op;
    struct trib_admin_call *call;
    char outcome[AUDIT_TEXT_SIZE];
};

static enum trib_err record_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct record_op *op = (struct record_op *)commit_op;
    return record_now(op->call, store, op->outcome);
}

static void send_answer(struct trib_admin_call *call)
{
    if (call->out.failed || call->out.size == 0) {
        close_call(call);
    } else {
        call->is_answered = true;
        call->since_ms = trib_clock_mono_ms();
        trib_conn_send(call->conn, call->out.data, call->out.size);
    }
}

static void record_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct record_op *op = (struct record_op *)server_op;
    (void)server;
    send_answer(op->call);
    free(op);
}

static void record_first(struct trib_admin_call *call, const struct trib_admin_reply *reply)
{
    struct record_op *op = trib_alloc(sizeof(*op));
    if (!op) {
        trib_server_stop_failed(call->server); // nothing is done that is not recorded
        return;
    }
    op->call = call;
    if (reply->exit_code)
        (void)snprintf(op->outcome, sizeof(op->outcome), "%s: %s",
                       call->is_refused ? "refused" : "failed", reply->error ? reply->error : "");
    else
        (void)snprintf(op->outcome, sizeof(op->outcome), "ok");
    op->op.op.apply = record_apply;
    op->op.finish = record_finish;
    trib_server_submit(call->server, &op->op);
}

void trib_admin_answer(struct trib_admin_call *call, struct trib_admin_reply *reply)
{
    if (!reply->failed)
        trib_admin_reply_pack(reply, &call->out);
    const bool is_to_be_recorded = is_to_record(call);
    if (is_to_be_recorded && !(call->is_refused && is_one_refusal_too_many(call->server)))
        record_first(call, reply);
    else
        send_answer(call);
    trib_admin_reply_fini(reply);
}
