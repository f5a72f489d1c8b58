// Rounds: carrying out what the state machine of round.h asks for, durably (docs/durability.md).
// How one is opened is server_open.c's, how it ends server_end.c's.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "round"

void trib_run_enter(struct trib_round_run *run, enum trib_phase phase)
{
    const uint64_t now_us = trib_clock_mono_us();
    run->phase_us[run->phase] += now_us - run->phase_began_us;
    run->phase_began_us = now_us;
    run->phase = phase;
    if (phase == TRIB_PHASE_COMMIT && run->decided_us == 0)
        run->decided_us = now_us;
}

// One that expired did so when the round's phase ended; the others change one at a time.
static void note_changes(struct trib_round_run *run, const struct trib_round_input *input,
                         bool is_next_state)
{
    const uint64_t now_ms = trib_clock_wall_ms();
    const uint32_t count = run->round.member_count;
    for (uint32_t i = 0; is_next_state && i < count; i++) {
        if (run->members[i].lease == TRIB_LEASE_EXPIRED && !run->uploads[i].has_expired) {
            run->changed_ms[i] = now_ms;
            run->uploads[i].has_expired = true;
        }
    }
    switch (input->event) {
    case TRIB_ROUND_EV_OFFER: run->changed_ms[count - 1] = now_ms; break;
    case TRIB_ROUND_EV_TAKE:
    case TRIB_ROUND_EV_RELEASE:
    case TRIB_ROUND_EV_PEND:
    case TRIB_ROUND_EV_COUNT:
    case TRIB_ROUND_EV_REFUSE: run->changed_ms[input->member] = now_ms; break;
    case TRIB_ROUND_EV_OPENED:
    case TRIB_ROUND_EV_EXHAUSTED:
    case TRIB_ROUND_EV_ADVANCE:
    case TRIB_ROUND_EV_ENOUGH:
    case TRIB_ROUND_EV_TICK:
    case TRIB_ROUND_EV_SEAL_DURABLE:
    case TRIB_ROUND_EV_COMMIT_DURABLE:
    case TRIB_ROUND_EV_CANCEL: break;
    }
}

enum trib_err trib_rounds_step(struct trib_server *server, const struct trib_round_input *input)
{
    struct trib_round *round = &server->run->round;
    enum trib_round_state was = round->state;
    enum trib_err err = trib_round_step(round, input, trib_clock_mono_ms());
    if (!err)
        note_changes(server->run, input, round->state != was);
    if (round->state != was) {
        trib_run_enter(server->run, trib_phase_of(round->state));
        TRIB_DEBUG("round=%" PRIu64 " %s -> %s", server->run->number, trib_round_state_name(was),
                   trib_round_state_name(round->state));
    }
    return err;
}

enum trib_err trib_rounds_event(struct trib_server *server, enum trib_round_event event)
{
    return trib_rounds_step(server, &(struct trib_round_input){.event = event});
}

uint32_t trib_rounds_member(const struct trib_server *server, const struct trib_peer *peer)
{
    if (!server->run || !peer)
        return UINT32_MAX;
    return trib_round_find(&server->run->round, peer->row.id);
}

// ---- Life

void trib_run_free(struct trib_round_run *run)
{
    if (!run)
        return;
    for (uint32_t i = 0; i < run->capacity && run->uploads; i++)
        trib_arrival_unref(run->uploads[i].arrival);
    trib_segment_unref(run->segment);
    trib_secagg_free(run->secagg);
    trib_buf_fini(&run->tally);
    trib_pipeline_step_fini(&run->step);
    free(run->members);
    free(run->uploads);
    free(run->changed_ms);
    free(run->candidates);
    free(run->slots);
    free(run);
}

void trib_rounds_free(struct trib_server *server)
{
    trib_run_free(server->run);
    server->run = NULL;
    trib_known_forget(server);
}

// ---- Sealing

// Every lease as it stands, to be written in one transaction; but for those of updates that are being made
// durable, which their own operations write.
struct trib_lease_list *trib_rounds_leases(const struct trib_round_run *run)
{
    const uint32_t count = run->round.member_count;
    struct trib_lease_list *list = trib_alloc(sizeof(*list) + count * sizeof(list->leases[0]));
    if (!list)
        return NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (run->members[i].lease == TRIB_LEASE_PENDING)
            continue;
        list->leases[list->count++] = (struct trib_store_lease){.round = run->id,
                                                                .device = run->members[i].device,
                                                                .order = i,
                                                                .state = run->members[i].lease,
                                                                .code = run->members[i].code,
                                                                .changed_ms = run->changed_ms[i]};
    }
    return list;
}

enum trib_err trib_lease_list_put(const struct trib_lease_list *list, struct trib_store *store)
{
    enum trib_err err = TRIB_OK;
    for (uint32_t i = 0; i < list->count && !err; i++)
        err = trib_store_lease_put(store, &list->leases[i]);
    return err;
}

struct seal_op {
    struct trib_server_op op;
    uint64_t round_id;
    struct trib_lease_list *leases; // owned
    struct trib_store_job job;      // with what the round costs: charged before its sum is used
    struct trib_buf secagg;         // what a masked round needs to go on
};

static enum trib_err seal_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct seal_op *op = (struct seal_op *)commit_op;
    const struct trib_store_secagg piece = {.round = op->round_id,
                                            .kind = TRIB_STORE_SECAGG_HUB,
                                            .data = op->secagg.data,
                                            .size = op->secagg.size};
    enum trib_err err = trib_store_round_state(store, op->round_id, TRIB_ROUND_SEALED);
    TRIB_CRASH_POINT("seal.state");
    if (!err)
        err = trib_lease_list_put(op->leases, store);
    TRIB_CRASH_POINT("seal.leases");
    if (!err)
        err = trib_store_job_update(store, &op->job);
    if (!err && op->secagg.size > 0)
        err = trib_store_secagg_put(store, &piece);
    return err;
}

static void seal_free(struct seal_op *op)
{
    if (!op)
        return;
    trib_buf_fini(&op->secagg);
    free(op->leases);
    free(op);
}

static void seal_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct seal_op *op = (struct seal_op *)server_op;
    TRIB_CRASH_POINT("round.sealed");
    if (op->op.op.result == TRIB_OK && server->run && server->run->id == op->round_id) {
        (void)!trib_rounds_event(server, TRIB_ROUND_EV_SEAL_DURABLE);
        trib_leases_tell(server);
    }
    seal_free(op);
}

static void seal_round(struct trib_server *server)
{
    struct seal_op *op = trib_alloc(sizeof(*op));
    if (op)
        op->leases = trib_rounds_leases(server->run);
    if (!op || !op->leases) {
        seal_free(op);
        return; // again with the next event
    }
    if (server->run->plan.is_masked && trib_secagg_seal(server, &op->secagg)) {
        seal_free(op);
        (void)!trib_rounds_step(server,
                                &(struct trib_round_input){.event = TRIB_ROUND_EV_CANCEL,
                                                           .reason = TRIB_ROUND_REASON_SECAGG});
        return;
    }
    struct trib_active_job *active = server->job;
    trib_privacy_spend(&active->spent, &server->run->shape.privacy->encoding, 1);
    server->run->is_charged = true;
    active->row.epsilon_pure = active->spent.epsilon_pure;
    active->row.rho = active->spent.rho;
    op->job = active->row;
    op->round_id = server->run->id;
    server->run->is_sealing = true;
    trib_upload_finish_all(server);
    op->op.op.apply = seal_apply;
    op->op.finish = seal_finish;
    trib_server_submit(server, &op->op);
}

// ---- What devices say

void trib_rounds_task_reply(struct trib_session_link *session, const uint8_t *data, size_t size)
{
    struct trib_server *server = session->server;
    struct trib_msg_task_reply reply;
    if (trib_msg_task_reply_unpack(data, size, &reply)) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    uint32_t member = trib_rounds_member(server, session->peer);
    if (member == UINT32_MAX || server->run->id != reply.round_id)
        return; // late
    session->peer->has_declined = reply.code != TRIB_CODE_ACCEPTED;
    if (reply.code == TRIB_CODE_ACCEPTED) {
        (void)!trib_rounds_step(
            server, &(struct trib_round_input){.event = TRIB_ROUND_EV_TAKE, .member = member});
        return;
    }
    if (trib_code_is_known(reply.code)) {
        server->counters.declined[reply.code]++;
        session->peer->declined = reply.code;
    }
    TRIB_INFO("round=%" PRIu64 " round_id=%" PRIu64 " device=%s declined code=%s",
              server->run->number, server->run->id, session->peer->row.name,
              trib_code_text(reply.code));
    if (server->run->uploads[member].state == TRIB_UPLOAD_NONE)
        (void)!trib_rounds_step(server, &(struct trib_round_input){.event = TRIB_ROUND_EV_RELEASE,
                                                                   .member = member,
                                                                   .code = reply.code});
}

// A device that still holds secrets of a masked round that is over: it can forget them.
static void end_old_part(struct trib_session_link *session, uint64_t round_id)
{
    const struct trib_msg_round_end msg = {.round_id = round_id};
    const struct trib_round_run *run = session->server->run;
    struct trib_buf packed = {0};
    if (round_id == 0 || (run && run->id == round_id))
        return;
    trib_msg_round_end_pack(&msg, &packed);
    trib_server_send(session, TRIB_RECORD_ROUND_END, &packed);
}

void trib_rounds_ready(struct trib_session_link *session, const struct trib_msg_ready *ready)
{
    struct trib_server *server = session->server;
    uint32_t member = trib_rounds_member(server, session->peer);
    end_old_part(session, ready->secagg_round);
    if (member == UINT32_MAX)
        return;
    if (server->run->plan.is_masked && trib_secagg_ready(server, member, ready))
        return;
    enum trib_lease_state lease = server->run->members[member].lease;
    bool is_open = lease == TRIB_LEASE_OFFERED || lease == TRIB_LEASE_TAKEN;
    bool is_done = ready->has_spooled && ready->spooled_round == server->run->id;
    if (is_open && !is_done) { // a device that forgot, or never heard
        trib_rounds_send_task(server, member);
        if (server->run->plan.is_masked)
            trib_secagg_tell(server, member);
    }
}

// ---- Turning the crank

void trib_rounds_pump(struct trib_server *server)
{
    struct trib_active_job *active = server->job;
    trib_upload_pump(server);
    if (!active || active->is_starting || active->is_ending)
        return;
    if (active->is_failed) {
        trib_jobs_end(server, TRIB_JOB_FAILED, TRIB_JOB_NOTHING_TO_EVALUATE);
        return;
    }
    if (active->row.start_version == 0) {
        trib_jobs_start(server);
        return;
    }
    struct trib_round_run *run = server->run;
    if (!run) {
        if (active->row.state == TRIB_JOB_ACTIVE)
            trib_rounds_open(server);
        return;
    }
    switch (run->round.state) {
    case TRIB_ROUND_PLANNED: return; // being made durable
    case TRIB_ROUND_SELECTING:
        trib_leases_save(server);
        trib_rounds_offer(server);
        return;
    case TRIB_ROUND_KEYS:
    case TRIB_ROUND_SHARES:
    case TRIB_ROUND_CONSISTENCY:
    case TRIB_ROUND_UNMASKING: trib_secagg_pump(server); return;
    case TRIB_ROUND_COLLECTING:
        trib_leases_save(server);
        if (run->plan.is_masked)
            trib_secagg_pump(server);
        return;
    case TRIB_ROUND_SEALED:
        if (!run->is_sealing)
            seal_round(server);
        return;
    case TRIB_ROUND_AGGREGATING:
        if (!run->is_aggregating)
            trib_rounds_aggregate(server);
        return;
    case TRIB_ROUND_ABANDONED:
        if (!run->is_ending)
            trib_rounds_end(server);
        return;
    case TRIB_ROUND_COMMITTED: return;
    }
}

void trib_rounds_tick(struct trib_server *server, uint64_t now_ms)
{
    struct trib_round_run *run = server->run;
    if (!run)
        return;
    for (uint32_t i = 0; i < run->round.member_count; i++) {
        const struct trib_peer *peer = trib_peers_by_id(server->peers, run->members[i].device);
        if (run->round.state == TRIB_ROUND_SELECTING &&
            run->members[i].lease == TRIB_LEASE_OFFERED && peer &&
            (!run->is_resumed || peer->row.is_revoked) &&
            !trib_server_is_present(server, peer, now_ms))
            (void)!trib_rounds_step(
                server, &(struct trib_round_input){.event = TRIB_ROUND_EV_RELEASE, .member = i});
    }
    (void)!trib_rounds_event(server, TRIB_ROUND_EV_TICK);
}

// ---- After a restart

struct recovery {
    struct trib_server *server;
    struct trib_store_round round;
    bool found;
    bool is_lost; // open when a backup was made, which has no updates of it
    enum trib_err err;
};

static void take_round(void *user, const struct trib_store_round *round)
{
    struct recovery *recovery = user;
    recovery->round = *round;
    recovery->found = true;
}

static void take_lease(void *user, const struct trib_store_lease *lease, const char *name)
{
    struct recovery *recovery = user;
    struct trib_round_run *run = recovery->server->run;
    (void)name;
    if (run->round.member_count >= run->capacity) {
        TRIB_ERROR("id=store-corrupt the open round has more members than there are devices");
        recovery->err = TRIB_ERR_CORRUPT;
        return;
    }
    run->changed_ms[run->round.member_count] = lease->changed_ms;
    run->uploads[run->round.member_count].is_over =
        trib_leases_is_over((enum trib_lease_state)lease->state);
    run->uploads[run->round.member_count].has_expired = lease->state == TRIB_LEASE_EXPIRED;
    run->members[run->round.member_count++] = (struct trib_round_member){
        .device = lease->device,
        .lease = (enum trib_lease_state)lease->state,
        .code = (enum trib_code)lease->code,
    };
}

static void take_update(void *user, const struct trib_store_update *update)
{
    struct recovery *recovery = user;
    struct trib_round_run *run = recovery->server->run;
    if (!trib_known_add(recovery->server, update)) {
        recovery->err = TRIB_ERR_NOMEM;
        return;
    }
    const uint32_t member = trib_round_find(&run->round, update->device);
    if (member == UINT32_MAX) { // they are written together
        TRIB_ERROR(
            "id=store-corrupt the ledger names a device that is no member of the open round");
        recovery->err = TRIB_ERR_CORRUPT;
        return;
    }
    const size_t blocks = trib_segment_checksum_count(trib_segment_slot_size(run->segment));
    if (update->slot >= trib_segment_slot_count(run->segment) || update->weight == 0 ||
        update->checksums_size != blocks * sizeof(uint32_t)) {
        TRIB_ERROR("id=store-corrupt the ledger names slot %" PRIu32 " and weight %" PRIu32
                   ", with %zu bytes of checksums",
                   update->slot, update->weight, update->checksums_size);
        recovery->err = TRIB_ERR_CORRUPT;
        return;
    }
    run->members[member].lease = TRIB_LEASE_COUNTED;
    run->uploads[member].state = TRIB_UPLOAD_PENDING;
    run->uploads[member].slot = update->slot;
    if (update->slot < run->plan.offers)
        run->slots[update->slot].is_used = true;
}

static enum trib_err resume_run(struct trib_server *server, struct recovery *recovery)
{
    const struct trib_store_round *row = &recovery->round;
    enum trib_err err = trib_run_create(server, row->id, row->number, &server->run);
    if (!err)
        err = trib_store_leases(server->store, row->id, take_lease, recovery);
    if (!err)
        err = recovery->err;
    if (!err && recovery->is_lost)
        return trib_segment_create(server->updates_dir, row->id, server->run->rule.packed_size,
                                   server->run->plan.offers, &server->run->segment);
    if (!err)
        err = trib_segment_open(server->updates_dir, row->id, server->run->rule.packed_size,
                                &server->run->segment);
    if (!err && row->state == TRIB_ROUND_SEALED && server->run->plan.is_masked)
        err = trib_secagg_resume(server);
    return err;
}

// Where a round stands that goes on; one whose updates are lost ends.
static void resume_state(struct trib_server *server, const struct recovery *recovery)
{
    struct trib_round *round = &server->run->round;
    const bool is_sealed = recovery->round.state == TRIB_ROUND_SEALED;
    server->run->is_resumed = true;
    server->run->is_charged = is_sealed;
    trib_round_resume(round, is_sealed && !recovery->is_lost, trib_clock_mono_ms());
    if (recovery->is_lost && !trib_round_is_final(round))
        (void)!trib_round_step(round,
                               &(struct trib_round_input){.event = TRIB_ROUND_EV_CANCEL,
                                                          .reason = TRIB_ROUND_REASON_RESTARTED},
                               trib_clock_mono_ms());
    server->run->phase = trib_phase_of(round->state);
    TRIB_INFO("round=%" PRIu64 " round_id=%" PRIu64 " goes on state=%s counted=%" PRIu32,
              server->run->number, server->run->id, trib_round_state_name(round->state),
              round->leases[TRIB_LEASE_COUNTED]);
}

// The newest round, and what a restored backup says of its number: rounds that came after the
// backup had the numbers that follow, and devices may still send updates of them.
static enum trib_err find_newest(struct trib_server *server, struct recovery *recovery)
{
    uint64_t lost = 0;
    uint64_t floor = 0;
    enum trib_err err = trib_store_round_get(server->store, 0, take_round, recovery);
    if (!err)
        err = trib_store_meta_get(server->store, "lost_round", 0, &lost);
    if (!err)
        err = trib_store_meta_get(server->store, "round_floor", 0, &floor);
    recovery->is_lost = recovery->found && recovery->round.id == lost;
    server->last_round_id = recovery->found ? recovery->round.id : 0;
    if (server->last_round_id < floor)
        server->last_round_id = floor;
    return err;
}

enum trib_err trib_rounds_recover(struct trib_server *server)
{
    struct recovery recovery = {.server = server};
    enum trib_err err = find_newest(server, &recovery);
    if (err)
        return err;
    const struct trib_store_round *row = &recovery.round;
    bool is_open = recovery.found && row->state != TRIB_ROUND_COMMITTED &&
                   row->state != TRIB_ROUND_ABANDONED && server->job && server->job->id == row->job;
    err = trib_segment_clean(server->updates_dir, is_open && !recovery.is_lost ? row->id : 0);
    TRIB_CRASH_POINT("recover.segments");
    if (!err && is_open)
        err = resume_run(server, &recovery);
    if (!err && server->run) // the newest: no update is of a later one
        err = trib_store_updates(server->store, server->run->id, take_update, &recovery);
    TRIB_CRASH_POINT("recover.updates");
    if (!err)
        err = recovery.err;
    if (err)
        return err;
    if (server->run)
        resume_state(server, &recovery);
    return TRIB_OK;
}
