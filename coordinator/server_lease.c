// Leases that are over while their round goes on. They are made durable before their devices hear of it:
// one that was told that its update does not count throws it away, and a coordinator that forgot would
// let it make another one, charged again.
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/crash.h"
#include "coordinator/server_state.h"

struct over_op {
    struct trib_server_op op;
    uint64_t round;
    uint32_t count;
    struct trib_store_lease leases[]; // their orders are their members
};

bool trib_leases_is_over(enum trib_lease_state lease)
{
    return lease == TRIB_LEASE_EXPIRED || lease == TRIB_LEASE_RELEASED ||
           lease == TRIB_LEASE_REFUSED;
}

bool trib_leases_is_unsaved(const struct trib_round_run *run, uint32_t member)
{
    // A masked round does not go on after a restart.
    return !run->plan.is_masked && trib_leases_is_over(run->members[member].lease) &&
           !run->uploads[member].is_over;
}

bool trib_leases_must_wait(const struct trib_round_run *run, uint32_t member)
{
    return trib_leases_is_unsaved(run, member) ||
           (!run->plan.is_masked &&
            (run->round.state == TRIB_ROUND_SEALED || run->round.state == TRIB_ROUND_ABANDONED));
}

// It is durable that it does not count.
static void tell(struct trib_server *server, uint32_t member)
{
    struct trib_member_upload *upload = &server->run->uploads[member];
    if (upload->state != TRIB_UPLOAD_OVER)
        return;
    upload->state = TRIB_UPLOAD_NONE;
    TRIB_CRASH_POINT("refuse.durable");
    trib_upload_answer(server, member, upload->code);
    TRIB_CRASH_POINT("refuse.answered");
}

void trib_leases_tell(struct trib_server *server)
{
    for (uint32_t i = 0; i < server->run->round.member_count; i++)
        tell(server, i);
}

static enum trib_err over_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    const struct over_op *op = (const struct over_op *)commit_op;
    enum trib_err err = TRIB_OK;
    for (uint32_t i = 0; i < op->count && !err; i++)
        err = trib_store_lease_put(store, &op->leases[i]);
    TRIB_CRASH_POINT("refuse.leases");
    return err;
}

static void over_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct over_op *op = (struct over_op *)server_op;
    struct trib_round_run *run = server->run;
    if (op->op.op.result == TRIB_OK && run && run->id == op->round) {
        run->is_saving = false;
        for (uint32_t i = 0; i < op->count; i++) {
            run->uploads[op->leases[i].order].is_over = true;
            tell(server, op->leases[i].order);
        }
    }
    free(op);
}

void trib_leases_save(struct trib_server *server)
{
    struct trib_round_run *run = server->run;
    uint32_t count = 0;
    for (uint32_t i = 0; i < run->round.member_count && !run->is_saving; i++)
        count += trib_leases_is_unsaved(run, i);
    struct over_op *op = count > 0 ? trib_alloc(sizeof(*op) + count * sizeof(op->leases[0])) : NULL;
    if (!op)
        return; // those that come meanwhile go together, with the next event
    for (uint32_t i = 0; i < run->round.member_count; i++) {
        if (!trib_leases_is_unsaved(run, i))
            continue;
        op->leases[op->count++] =
            (struct trib_store_lease){.round = run->id,
                                      .device = run->members[i].device,
                                      .order = i,
                                      .state = (uint32_t)run->members[i].lease,
                                      .code = (uint32_t)run->members[i].code,
                                      .changed_ms = run->changed_ms[i]};
    }
    op->round = run->id;
    op->op.op.apply = over_apply;
    op->op.finish = over_finish;
    run->is_saving = true;
    trib_server_submit(server, &op->op);
}
