// Secure aggregation: what devices send, from the pieces of a step to the hub.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/privacy/secagg_bytes.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "secagg"

static void refuse(struct trib_server *server, uint32_t member, enum trib_code code)
{
    const struct trib_peer *peer = trib_secagg_peer(server, member);
    TRIB_WARN("id=secagg-refused round=%" PRIu64 " round_id=%" PRIu64 " device=%s code=%s",
              server->run->number, server->run->id, peer ? peer->row.name : "?",
              trib_code_text(code));
    (void)!trib_rounds_step(
        server,
        &(struct trib_round_input){.event = TRIB_ROUND_EV_REFUSE, .member = member, .code = code});
}

static void advance(struct trib_server *server, uint32_t member)
{
    (void)!trib_rounds_step(
        server, &(struct trib_round_input){.event = TRIB_ROUND_EV_ADVANCE, .member = member});
}

static void take_advert(struct trib_server *server, uint32_t member, const uint8_t *data,
                        size_t size)
{
    struct trib_round_run *run = server->run;
    struct trib_secagg_entry entry = {.name = ""};
    if (run->round.state != TRIB_ROUND_KEYS || !run->secagg ||
        run->members[member].lease != TRIB_LEASE_TAKEN || run->members[member].steps > 0)
        return; // late, or again
    if (!trib_secagg_fill_entry(server, member, &entry)) {
        refuse(server, member, TRIB_CODE_NOT_ELIGIBLE);
        return;
    }
    enum trib_err err = trib_secagg_advert_unpack(data, size, &entry.advert);
    if (!err)
        err = trib_secagg_hub_advert(run->secagg->hub, member, &entry);
    if (err)
        refuse(server, member, err == TRIB_ERR_AUTH ? TRIB_CODE_AUTH : TRIB_CODE_MALFORMED);
    else
        advance(server, member);
}

static void take_shares(struct trib_server *server, uint32_t member, const uint8_t *data,
                        size_t size)
{
    struct trib_round_run *run = server->run;
    if (run->round.state != TRIB_ROUND_SHARES || run->secagg_told != TRIB_ROUND_SHARES ||
        run->members[member].lease != TRIB_LEASE_TAKEN || run->members[member].steps != 1)
        return;
    struct trib_secagg_hub *hub = run->secagg->hub;
    if (trib_secagg_hub_shares(hub, trib_secagg_hub_find(hub, member), data, size))
        refuse(server, member, TRIB_CODE_MALFORMED);
    else
        advance(server, member);
}

// A consent or a member's shares: durable first, then the hub's.
struct piece_op {
    struct trib_server_op op;
    struct trib_store_secagg piece;
    uint8_t data[];
};

static enum trib_err piece_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    return trib_store_secagg_put(store, &((struct piece_op *)commit_op)->piece);
}

// A signature that came when there were enough: its sender still has shares to give.
static void answer_late_consent(struct trib_server *server, uint32_t member)
{
    const struct trib_round_run *run = server->run;
    if (run->round.state == TRIB_ROUND_UNMASKING && run->secagg_told == TRIB_ROUND_UNMASKING &&
        run->members[member].lease == TRIB_LEASE_COUNTED)
        trib_secagg_send(server, member, TRIB_SECAGG_STEP_CONSENTS, run->secagg->consents);
}

static void piece_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct piece_op *op = (struct piece_op *)server_op;
    const struct trib_round_run *run = server->run;
    TRIB_CRASH_POINT("secagg.piece");
    if (op->op.op.result == TRIB_OK && run && run->id == op->piece.round &&
        (run->round.state == TRIB_ROUND_CONSISTENCY || run->round.state == TRIB_ROUND_UNMASKING)) {
        if (trib_secagg_hub_take(run->secagg->hub, &op->piece))
            TRIB_WARN("id=secagg-piece round=%" PRIu64 " member=%" PRIu32
                      " sent a %s that does not fit",
                      run->number, op->piece.member,
                      op->piece.kind == TRIB_STORE_SECAGG_SHARES ? "share" : "consent");
        if (op->piece.kind == TRIB_STORE_SECAGG_CONSENT)
            answer_late_consent(server, trib_secagg_hub_tag(run->secagg->hub, op->piece.member));
        trib_secagg_settle(server);
    }
    free(op);
}

static void take_piece_of(struct trib_server *server, uint32_t member, uint32_t kind,
                          const uint8_t *data, size_t size)
{
    struct trib_round_run *run = server->run;
    const enum trib_round_state phase =
        kind == TRIB_STORE_SECAGG_SHARES ? TRIB_ROUND_UNMASKING : TRIB_ROUND_CONSISTENCY;
    if (kind == TRIB_STORE_SECAGG_CONSENT)
        answer_late_consent(server, member);
    if (run->round.state != phase || run->members[member].lease != TRIB_LEASE_COUNTED)
        return; // late, or again
    struct piece_op *op = trib_alloc(sizeof(*op) + size);
    if (!op)
        return; // another member's will do
    memcpy(op->data, data, size);
    op->piece = (struct trib_store_secagg){.round = run->id,
                                           .kind = kind,
                                           .member = trib_secagg_hub_find(run->secagg->hub, member),
                                           .data = op->data,
                                           .size = size};
    op->op.op.apply = piece_apply;
    op->op.finish = piece_finish;
    trib_server_submit(server, &op->op);
}

// ---- The pieces of a step, as they come in

void trib_secagg_session_gone(struct trib_session_link *session)
{
    trib_step_drop(&session->secagg_in);
}

// Most bytes that a device may send in this step.
static size_t size_max(const struct trib_job *job, uint32_t kind)
{
    switch (kind) {
    case TRIB_SECAGG_STEP_ADVERT: return TRIB_SECAGG_ADVERT_SIZE;
    case TRIB_SECAGG_STEP_SHARES: return trib_secagg_sealed_max(&job->privacy.secagg);
    case TRIB_SECAGG_STEP_CONSENT: return TRIB_SIGNATURE_SIZE;
    case TRIB_SECAGG_STEP_UNMASK: return trib_secagg_unmask_max(&job->privacy.secagg);
    default: return 0; // the coordinator's own, and unknown ones
    }
}

void trib_secagg_step(struct trib_session_link *session, uint16_t stream, const uint8_t *data,
                      size_t size)
{
    struct trib_server *server = session->server;
    struct trib_msg_secagg_step step;
    if (trib_msg_secagg_step_unpack(data, size, &step)) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    trib_step_drop(&session->secagg_in);
    uint32_t member = trib_rounds_member(server, session->peer);
    if (member == UINT32_MAX || server->run->id != step.round_id || !server->run->plan.is_masked)
        return; // of a round that is over: its chunks are skipped
    if (step.size > size_max(&server->job->job, step.kind))
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
    else if (trib_step_begin(&session->secagg_in, stream, &step))
        trib_server_close(session, TRIB_CLOSE_NOMEM);
}

void trib_secagg_chunk(struct trib_session_link *session, const struct trib_record *record)
{
    struct trib_server *server = session->server;
    struct trib_step_in *in = &session->secagg_in;
    bool is_whole;
    if (trib_step_chunk(in, record, &is_whole)) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    if (!is_whole)
        return;
    uint32_t member = trib_rounds_member(server, session->peer);
    if (member != UINT32_MAX && server->run->id == in->round_id) {
        switch (in->kind) {
        case TRIB_SECAGG_STEP_ADVERT: take_advert(server, member, in->data, in->size); break;
        case TRIB_SECAGG_STEP_SHARES: take_shares(server, member, in->data, in->size); break;
        case TRIB_SECAGG_STEP_CONSENT:
            take_piece_of(server, member, TRIB_STORE_SECAGG_CONSENT, in->data, in->size);
            break;
        case TRIB_SECAGG_STEP_UNMASK:
            take_piece_of(server, member, TRIB_STORE_SECAGG_SHARES, in->data, in->size);
            break;
        default: break;
        }
    }
    trib_step_drop(in);
}
