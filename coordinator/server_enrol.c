// Enrolment: sessions that may do nothing else prove their right, and become devices.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/wire/token.h"
#include "coordinator/keys.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "enrol"

struct enrol_op {
    struct trib_server_op op;
    struct trib_channel *channel;     // keeps the answer's way open
    const struct trib_key_pins *pins; // of its session
    struct trib_store_device row;
    bool has_token;
    uint8_t token_id[TRIB_TOKEN_ID_SIZE];
};

void trib_enrol_answer(struct trib_server *server, struct trib_channel *channel,
                       const struct trib_enrol_answer *answer)
{
    struct trib_msg_enrol_reply reply = {.code = answer->code};
    struct trib_buf packed = {0};
    if (answer->code == TRIB_CODE_ACCEPTED) {
        (void)snprintf(reply.name, sizeof(reply.name), "%s", answer->name);
        (void)snprintf(reply.population, sizeof(reply.population), "%.*s", TRIB_NAME_MAX,
                       server->config.population);
        // What belongs to the key that it called us by: from there it follows as all others do.
        const struct trib_key_pins *pins =
            answer->pins ? answer->pins : trib_keys_now(&server->identity);
        memcpy(reply.release_key, pins->release_key, sizeof(reply.release_key));
        reply.key_sequence = pins->sequence;
        reply.has_roster_key = !server->config.roster_is_offline;
        if (reply.has_roster_key)
            memcpy(reply.roster_key, server->identity.roster_key, sizeof(reply.roster_key));
        reply.has_next = answer->next_key != NULL;
        if (answer->next_key)
            memcpy(reply.next_key, answer->next_key, sizeof(reply.next_key));
    }
    trib_msg_enrol_reply_pack(&reply, &packed);
    if (!packed.failed)
        (void)!trib_channel_send(channel, TRIB_RECORD_ENROL_REPLY, 0, packed.data, packed.size);
    trib_buf_fini(&packed);
    trib_channel_close_after(channel, TRIB_CLOSE_DONE);
}

static void answer_session(struct trib_session_link *session, enum trib_code code, const char *name)
{
    trib_enrol_answer(
        session->server, session->channel,
        &(struct trib_enrol_answer){.code = code, .name = name, .pins = session->pins});
}

static void answer_op(struct trib_server *server, const struct enrol_op *op, enum trib_code code,
                      const char *name)
{
    trib_enrol_answer(server, op->channel,
                      &(struct trib_enrol_answer){.code = code, .name = name, .pins = op->pins});
}

static enum trib_err enrol_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct enrol_op *op = (struct enrol_op *)commit_op;
    enum trib_err err = trib_store_device_insert(store, &op->row, &op->row.id);
    TRIB_CRASH_POINT("enrol.device");
    if (!err && op->has_token)
        err = trib_store_token_use(store, op->token_id, op->row.id);
    if (!err)
        err = trib_audit_enrolment(store, &op->row, op->has_token ? "token" : "allow-list");
    return err;
}

// Somebody else was faster; or the device itself, on a connection whose answer it did not wait for.
static void answer_second(struct trib_server *server, const struct enrol_op *op)
{
    struct trib_enrolment enrolment = {.how = op->has_token ? TRIB_VERDICT_TOKEN
                                                            : TRIB_VERDICT_LISTED};
    struct trib_store_device row;
    struct trib_peer *peer;
    memcpy(enrolment.token_id, op->token_id, sizeof(enrolment.token_id));
    memcpy(enrolment.key, op->row.key, sizeof(enrolment.key));
    if (trib_peers_plan(server->peers, &enrolment, &row, &peer) == TRIB_OK && peer)
        answer_op(server, op, TRIB_CODE_ACCEPTED, peer->row.name);
    else
        answer_op(server, op, TRIB_CODE_NOT_ELIGIBLE, "");
}

static void enrol_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct enrol_op *op = (struct enrol_op *)server_op;
    struct trib_peer *peer;
    TRIB_CRASH_POINT("enrol.durable");
    if (op->op.op.result == TRIB_OK) {
        if (trib_peers_add(server->peers, &op->row, op->has_token ? op->token_id : NULL, &peer)) {
            trib_server_stop_failed(server);
        } else {
            TRIB_INFO("device=%s enrolled by=%s", op->row.name, op->has_token ? "token" : "list");
            answer_op(server, op, TRIB_CODE_ACCEPTED, op->row.name);
        }
    } else if (op->op.op.result == TRIB_ERR_STATE) {
        answer_second(server, op);
    }
    trib_channel_unref(op->channel);
    free(op);
}

// A key that nobody knows: it waits until an operator approves it, and asks again then.
static void handle_request(struct trib_session_link *session, const struct trib_msg_enrol *msg)
{
    struct trib_pending pending = {.asked_ms = 0};
    char name[TRIB_DEVICE_NAME_SIZE];
    trib_device_name(session->enrolment.key, name);
    memcpy(pending.key, session->enrolment.key, sizeof(pending.key));
    memcpy(pending.sign_key, msg->sign_key, sizeof(pending.sign_key));
    memcpy(pending.source, session->source, sizeof(pending.source));
    enum trib_err err =
        trib_peers_pending_add(session->server->peers, &pending, trib_clock_wall_ms());
    if (!err)
        TRIB_INFO("id=enrol-request device=%s from=%s waits for devices approve", name,
                  pending.source);
    answer_session(session, err ? TRIB_CODE_RATE_LIMITED : TRIB_CODE_RETRY_LATER, "");
}

void trib_enrol_handle(struct trib_session_link *session, const uint8_t *data, size_t size)
{
    struct trib_server *server = session->server;
    struct trib_msg_enrol msg;
    struct trib_store_device row;
    struct trib_peer *peer;

    if (trib_msg_enrol_unpack(data, size, &msg)) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    if (session->peer && msg.has_next) {
        trib_rotate_next(session, &msg);
        return;
    }
    if (session->peer && trib_rotate_confirm(session))
        return;
    if (session->peer) { // enrolled already; its answer was lost, or it was approved meanwhile
        answer_session(session, TRIB_CODE_ACCEPTED, session->peer->row.name);
        return;
    }
    if (session->enrolment.how == TRIB_VERDICT_PENDING) {
        handle_request(session, &msg);
        return;
    }
    if (trib_peers_plan(server->peers, &session->enrolment, &row, &peer)) {
        answer_session(session, TRIB_CODE_NOT_ELIGIBLE, "");
        return;
    }
    if (peer) { // the answer was lost: the same again
        answer_session(session, TRIB_CODE_ACCEPTED, peer->row.name);
        return;
    }
    struct enrol_op *op = trib_alloc(sizeof(*op));
    if (!op) {
        trib_server_close(session, TRIB_CLOSE_NOMEM);
        return;
    }
    memcpy(row.sign_key, msg.sign_key, sizeof(row.sign_key));
    row.enrolled_ms = trib_clock_wall_ms();
    op->row = row;
    op->has_token = session->enrolment.how == TRIB_VERDICT_TOKEN;
    memcpy(op->token_id, session->enrolment.token_id, sizeof(op->token_id));
    op->channel = trib_channel_ref(session->channel);
    op->pins = session->pins;
    op->op.op.apply = enrol_apply;
    op->op.finish = enrol_finish;
    trib_server_submit(server, &op->op);
}
