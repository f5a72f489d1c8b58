// Devices that get other keys: what they will come with is stored, and when they do it is theirs.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "enrol"

enum {
    TEXT_SIZE = 256
};

struct rotate_op {
    struct trib_server_op op;
    struct trib_channel *channel; // keeps the answer's way open
    struct trib_peer *peer;
    char name[TRIB_NAME_MAX + 1];
    uint8_t key[32];
    uint8_t sign_key[32];
};

static enum trib_err record(const struct rotate_op *op, struct trib_store *store,
                            const char *action)
{
    char subject[TEXT_SIZE];
    char key[TRIB_KEY_TEXT_SIZE];
    trib_base64_encode(op->key, sizeof(op->key), key);
    (void)snprintf(subject, sizeof(subject), "%s key=%s", op->name, key);
    const struct trib_audit_record entry = {.time_ms = trib_clock_wall_ms(),
                                            .actor = op->name,
                                            .role = "device",
                                            .action = action,
                                            .subject = subject,
                                            .outcome = "ok"};
    return trib_store_audit(store, &entry);
}

static enum trib_err next_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct rotate_op *op = (struct rotate_op *)commit_op;
    enum trib_err err = trib_store_device_next(store, op->peer->row.id, op->key, op->sign_key);
    return err ? err : record(op, store, "next key");
}

static void rotate_free(struct rotate_op *op)
{
    trib_channel_unref(op->channel);
    free(op);
}

static void next_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct rotate_op *op = (struct rotate_op *)server_op;
    TRIB_CRASH_POINT("rotate.next");
    if (op->op.op.result || trib_peers_next(server->peers, op->peer, op->key, op->sign_key)) {
        trib_server_stop_failed(server);
    } else {
        TRIB_INFO("device=%s will have other keys", op->name);
        trib_enrol_answer(server, op->channel,
                          &(struct trib_enrol_answer){
                              .code = TRIB_CODE_ACCEPTED, .name = op->name, .next_key = op->key});
    }
    rotate_free(op);
}

static struct rotate_op *op_create(struct trib_session_link *session)
{
    struct rotate_op *op = trib_alloc(sizeof(*op));
    if (!op) {
        trib_server_close(session, TRIB_CLOSE_NOMEM);
        return NULL;
    }
    op->peer = session->peer;
    op->channel = trib_channel_ref(session->channel);
    memcpy(op->name, session->peer->row.name, sizeof(op->name));
    return op;
}

void trib_rotate_next(struct trib_session_link *session, const struct trib_msg_enrol *msg)
{
    struct trib_server *server = session->server;
    if (session->peer->live != session ||
        !trib_peers_key_is_free(server->peers, session->peer, msg->next_key)) {
        trib_enrol_answer(server, session->channel,
                          &(struct trib_enrol_answer){.code = TRIB_CODE_NOT_ELIGIBLE});
        return;
    }
    struct rotate_op *op = op_create(session);
    if (!op)
        return;
    memcpy(op->key, msg->next_key, sizeof(op->key));
    memcpy(op->sign_key, msg->next_sign_key, sizeof(op->sign_key));
    op->op.op.apply = next_apply;
    op->op.finish = next_finish;
    trib_server_submit(server, &op->op);
}

static enum trib_err promote_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct rotate_op *op = (struct rotate_op *)commit_op;
    enum trib_err err = trib_store_device_promote(store, op->peer->row.id);
    return err ? err : record(op, store, "new key");
}

static void promote_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct rotate_op *op = (struct rotate_op *)server_op;
    TRIB_CRASH_POINT("rotate.promoted");
    // STATE: a second session of the new key was faster
    if (!op->op.op.result) {
        trib_peers_promote(server->peers, op->peer);
        op->peer->twins = 0; // of the key that is nobody's now
        TRIB_WARN("id=device-rotated device=%s has other keys", op->name);
    } else if (op->op.op.result != TRIB_ERR_STATE) {
        trib_server_stop_failed(server);
    }
    rotate_free(op);
}

static bool has_next_key(const struct trib_session_link *session)
{
    const struct trib_store_device *row = &session->peer->row;
    return row->has_next &&
           memcmp(session->enrolment.key, row->next_key, sizeof(row->next_key)) == 0;
}

static void confirm_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct rotate_op *op = (struct rotate_op *)server_op;
    trib_enrol_answer(server, op->channel,
                      &(struct trib_enrol_answer){.code = TRIB_CODE_ACCEPTED, .name = op->name});
    rotate_free(op);
}

bool trib_rotate_confirm(struct trib_session_link *session)
{
    if (!has_next_key(session))
        return false;
    struct rotate_op *op = op_create(session);
    if (!op)
        return true;
    op->op.finish = confirm_finish; // nothing to do, behind what is being done
    trib_server_submit(session->server, &op->op);
    return true;
}

void trib_rotate_opened(struct trib_session_link *session)
{
    const struct trib_peer *peer = session->peer;
    if (!has_next_key(session))
        return;
    struct rotate_op *op = op_create(session);
    if (!op)
        return;
    memcpy(op->key, peer->row.next_key, sizeof(op->key));
    op->op.op.apply = promote_apply;
    op->op.finish = promote_finish;
    trib_server_submit(session->server, &op->op);
}
