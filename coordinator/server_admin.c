// The admin socket: one request a connection, read on nng's threads, answered by the state thread.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/log.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "admin"

enum {
    READ_STEP = 65536
};

struct trib_admin_call {
    struct trib_server_event event; // first: posted when the request is whole, and when it is over
    struct trib_server *server;
    struct trib_conn *conn;
    struct trib_buf in;
    struct trib_buf out;
    struct trib_admin_request request;
    bool is_heard; // the request was posted
    struct trib_role_peer peer;
    enum trib_role role; // of the peer, when its request is heard
};

static void call_over(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_admin_call *call = (struct trib_admin_call *)event;
    server->admins_open--;
    trib_admin_request_fini(&call->request);
    trib_buf_fini(&call->in);
    trib_buf_fini(&call->out);
    free(call);
}

static void call_closed(void *user)
{
    struct trib_admin_call *call = user;
    call->event.handle = call_over;
    trib_server_post(call->server, &call->event);
}

static void call_heard(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_admin_call *call = (struct trib_admin_call *)event;
    const uint8_t *message = call->in.data + TRIB_ADMIN_LENGTH_SIZE;
    (void)server;
    if (trib_admin_request_unpack(message, call->in.size - TRIB_ADMIN_LENGTH_SIZE,
                                  &call->request)) {
        trib_conn_close(call->conn);
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
        trib_conn_close(call->conn);
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
            trib_conn_close(call->conn);
        return;
    }
    call->in.size += size;
    if (call->in.size < TRIB_ADMIN_LENGTH_SIZE) {
        receive_more(call);
        return;
    }
    size_t wanted = trib_load_be32(call->in.data);
    if (wanted > TRIB_ADMIN_REQUEST_MAX || call->in.size > wanted + TRIB_ADMIN_LENGTH_SIZE) {
        trib_conn_close(call->conn);
    } else if (call->in.size < wanted + TRIB_ADMIN_LENGTH_SIZE) {
        receive_more(call);
    } else {
        call->is_heard = true;
        find_peer(call);
        call->event.handle = call_heard;
        trib_server_post(call->server, &call->event);
    }
}

static void call_sent(void *user, enum trib_err err)
{
    struct trib_admin_call *call = user;
    (void)err;
    trib_conn_close(call->conn);
}

static const struct trib_conn_handler handler = {
    .received = call_received, .sent = call_sent, .closed = call_closed};

static void call_begins(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_admin_call *call = (struct trib_admin_call *)event;
    server->admins_open++;
    trib_conn_start(call->conn, &handler, call);
    receive_more(call);
}

void trib_server_admin_accepted(void *user, struct trib_conn *conn)
{
    struct trib_admin_call *call = trib_alloc(sizeof(*call));
    if (!call) {
        trib_conn_close(conn);
        return;
    }
    call->server = user;
    call->conn = conn;
    call->event.handle = call_begins;
    trib_server_post(call->server, &call->event);
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

void trib_admin_answer(struct trib_admin_call *call, struct trib_admin_reply *reply)
{
    if (!reply->failed)
        trib_admin_reply_pack(reply, &call->out);
    trib_admin_reply_fini(reply);
    if (call->out.failed || call->out.size == 0)
        trib_conn_close(call->conn);
    else
        trib_conn_send(call->conn, call->out.data, call->out.size);
}
