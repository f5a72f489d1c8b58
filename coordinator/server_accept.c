// An update that was checked is made durable, with its ledger row, and only then its receipt is sent.
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "coordinator/server_state.h"

struct accept_op {
    struct trib_server_op op;
    struct trib_accepting accepting; // in the server's list
    struct trib_segment *segment;    // a reference
    uint64_t round_id;
    uint32_t member;
    struct trib_store_update update;
    struct trib_store_lease lease;
    uint8_t *checksums;          // owned, little-endian
    struct trib_known_row known; // what is durable under its id, when that is not this one
};

// Group commit: the first of a batch syncs the slots of all that wait; the others find it done.
static enum trib_err accept_prepare(struct trib_commit_op *commit_op)
{
    struct accept_op *op = (struct accept_op *)commit_op;
    return trib_segment_sync(op->segment);
}

static enum trib_err accept_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct accept_op *op = (struct accept_op *)commit_op;
    enum trib_err err = trib_store_update_insert(store, &op->update);
    if (err == TRIB_ERR_STATE) {
        // Its id, its device or its slot: who sends an old id with the open round is told as ever.
        const enum trib_err failed = trib_known_find(store, op->update.id, &op->known);
        return failed ? failed : err;
    }
    TRIB_CRASH_POINT("accept.row");
    return err ? err : trib_store_lease_put(store, &op->lease);
}

// Why the store did not take it.
static enum trib_code judge_taken(struct trib_server *server, const struct accept_op *op)
{
    const struct trib_known_row *known = &op->known;
    struct trib_peer *peer = trib_peers_by_id(server->peers, op->update.device);
    if (!known->is_found)
        return TRIB_CODE_ALREADY_COUNTED;
    if (known->device == op->update.device &&
        memcmp(known->digest, op->update.digest, TRIB_DIGEST_SIZE) == 0)
        return TRIB_CODE_DUPLICATE;
    if (peer)
        trib_audit_conflict(server, peer, op->round_id);
    return TRIB_CODE_CONFLICT;
}

static void accept_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct accept_op *op = (struct accept_op *)server_op;
    struct trib_round_run *run = server->run;
    enum trib_err err = op->op.op.result;
    server->accepts_in_flight--;
    *op->accepting.link = op->accepting.next;
    if (op->accepting.next)
        op->accepting.next->link = op->accepting.link;
    if (err == TRIB_OK && run && run->id == op->round_id) {
        if (!trib_known_add(server, &op->update)) {
            trib_server_stop_failed(server);
        } else {
            TRIB_CRASH_POINT("receipt.before");
            if (!TRIB_PLANT("reply-early"))
                trib_upload_answer(server, op->member, TRIB_CODE_ACCEPTED);
            TRIB_CRASH_POINT("accept.answered");
            trib_arrival_unref(run->uploads[op->member].arrival);
            run->uploads[op->member].arrival = NULL;
            (void)!trib_rounds_step(server, &(struct trib_round_input){.event = TRIB_ROUND_EV_COUNT,
                                                                       .member = op->member});
        }
    } else if (err == TRIB_OK) { // durable, but the round was cancelled: a repeat is a DUPLICATE
        server->counters.cut++;
    } else if (err == TRIB_ERR_STATE && run && run->id == op->round_id) {
        trib_upload_refuse(server, op->member,
                           judge_taken(server, op)); // the last line of defence held
    } else if (err == TRIB_ERR_STATE) {
        server->counters.cut++; // the same, and the round is gone
    } else {
        trib_server_stop_failed(server); // an fsync failed: only a restart knows what is there
    }
    trib_segment_unref(op->segment);
    free(op->checksums);
    free(op);
}

void trib_upload_accept(struct trib_server *server, uint32_t member)
{
    struct trib_round_run *run = server->run;
    struct trib_member_upload *upload = &run->uploads[member];
    size_t count = trib_segment_checksum_count(upload->begin.size);
    struct accept_op *op = trib_alloc(sizeof(*op));
    if (op)
        op->checksums = trib_alloc_array(count, sizeof(uint32_t));
    if (!op || !op->checksums) {
        free(op);
        trib_server_stop_failed(server); // PENDING cannot be taken back
        return;
    }
    for (size_t i = 0; i < count; i++)
        trib_store_le32(op->checksums + 4 * i, upload->arrival->checksums[i]);
    op->segment = trib_segment_ref(run->segment);
    op->round_id = run->id;
    op->member = member;
    op->update = (struct trib_store_update){
        .round = run->id,
        .device = run->round.members[member].device,
        .slot = upload->slot,
        .weight = upload->begin.has_weight ? upload->begin.weight : 1,
        .checksums = op->checksums,
        .checksums_size = count * sizeof(uint32_t),
    };
    memcpy(op->update.id, upload->begin.update_id, TRIB_MSG_ID_SIZE);
    memcpy(op->update.digest, upload->begin.digest, TRIB_DIGEST_SIZE);
    op->lease = (struct trib_store_lease){.round = run->id,
                                          .device = op->update.device,
                                          .order = member,
                                          .state = TRIB_LEASE_COUNTED,
                                          .changed_ms = trib_clock_wall_ms()};
    op->op.op.prepare = accept_prepare;
    op->op.op.apply = accept_apply;
    op->op.finish = accept_finish;
    upload->state = TRIB_UPLOAD_PENDING;
    server->accepts_in_flight++;
    memcpy(op->accepting.id, op->update.id, TRIB_MSG_ID_SIZE);
    op->accepting.next = server->accepting;
    op->accepting.link = &server->accepting;
    if (op->accepting.next)
        op->accepting.next->link = &op->accepting.next;
    server->accepting = &op->accepting;
    if (TRIB_PLANT("reply-early")) {
        trib_upload_answer(server, member, TRIB_CODE_ACCEPTED);
        trib_clock_sleep_ms(30); // it is on its way before anybody can die of the commit
    }
    trib_server_submit(server, &op->op);
}
