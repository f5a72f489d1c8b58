// How a round ends: committed with the version that a worker made, or abandoned; either way in one
// transaction with its leases, its result and the job's progress.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "coordinator/finish.h"
#include "coordinator/moments.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "round"

static void fill_privacy(struct trib_server *server, struct trib_round_result *result, double rms)
{
    const struct trib_active_job *active = server->job;
    struct trib_buf json = {0};
    if (active->job.config.privacy_mode == TRIB_PRIVACY_OFF)
        return;
    result->epsilon_pure = active->spent.epsilon_pure;
    result->epsilon = trib_privacy_epsilon(&active->spent, active->job.privacy.delta);
    result->delta = active->job.privacy.delta;
    trib_job_privacy_json(&active->job, server->run->shape.privacy,
                          (enum trib_roster_kind)server->config.roster, &active->spent,
                          result->accepted, rms, &json);
    trib_result_set_privacy(result, &json);
    trib_buf_fini(&json);
}

// From the opening of the round until its end is to be made durable: how long by the clock, and what
// was noted of it phase by phase, which is all of it.
static void fill_phases(struct trib_round_run *run, struct trib_round_result *result)
{
    struct trib_buf json = {0};
    char seconds[32];
    trib_run_enter(run, TRIB_PHASE_COMMIT);
    result->seconds = (double)(run->decided_us - run->began_us) / 1e6;
    trib_json_open(&json, NULL, '{');
    for (int i = 0; i < TRIB_PHASE_COMMIT; i++) {
        (void)snprintf(seconds, sizeof(seconds), "%.6f", (double)run->phase_us[i] / 1e6);
        if (run->phase_us[i] > 0)
            trib_json_raw(&json, trib_phase_text((enum trib_phase)i), seconds);
    }
    trib_json_close(&json, '}');
    trib_result_set_phases(result, &json);
    trib_buf_fini(&json);
}

static void fill_result(struct trib_server *server, struct trib_round_result *result,
                        enum trib_round_state state, const struct trib_round_outcome *outcome)
{
    struct trib_round_run *run = server->run;
    trib_result_init(result);
    result->id = run->id;
    result->round = run->number;
    result->version = server->head->manifest.version + (outcome->version != NULL);
    (void)snprintf(result->state, sizeof(result->state), "%s", trib_round_state_name(state));
    if (state == TRIB_ROUND_ABANDONED)
        (void)snprintf(result->reason, sizeof(result->reason), "%s",
                       trib_round_reason_name(run->round.reason));
    result->asked = run->round.member_count;
    result->accepted = run->round.leases[TRIB_LEASE_COUNTED];
    result->refused = run->round.leases[TRIB_LEASE_REFUSED];
    (void)snprintf(result->kind, sizeof(result->kind), "%s", trib_tally_kind_text(run->shape.kind));
    trib_result_set_tally(result, &run->tally);
    if (outcome->held_out)
        trib_result_set_evaluation(result, outcome->held_out);
    fill_privacy(server, result, outcome->rms);
    result->bytes_up = __atomic_load_n(&server->received_bytes, __ATOMIC_RELAXED) - run->bytes_up;
    result->bytes_down = __atomic_load_n(&server->sent_bytes, __ATOMIC_RELAXED) - run->bytes_down;
    fill_phases(run, result);
}

// The round's end in the store: leases, result, the job's progress, and for a committed one the
// version.
struct end_op {
    struct trib_server_op op;
    struct trib_version *version;       // NULL: abandoned
    const struct trib_moments *moments; // of the job, which stays until this is back; or NULL
    struct trib_store_version row;
    char *metrics; // owned
    struct trib_round_result result;
    enum trib_round_state state;
    struct trib_store_job job;
    struct trib_lease_list *leases; // owned
    uint64_t ended_ms;
    uint64_t prune_before;
};

static enum trib_err end_prepare(struct trib_commit_op *commit_op)
{
    struct end_op *op = (struct end_op *)commit_op;
    const struct trib_server *server = op->op.server;
    enum trib_err err = TRIB_OK;
    if (op->version && op->moments)
        err = trib_moments_write(op->moments, server->updates_dir, op->row.job, op->row.version);
    TRIB_CRASH_POINT("end.moments");
    if (op->version && !err && !TRIB_PLANT("head-early"))
        err = trib_version_write(server->dir, op->version);
    return err;
}

static enum trib_err end_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct end_op *op = (struct end_op *)commit_op;
    enum trib_err err = TRIB_OK;
    if (op->version)
        err = trib_store_version_insert(store, &op->row);
    if (!err && op->version)
        err = trib_audit_version(store, &op->row);
    if (!err && op->state == TRIB_ROUND_ABANDONED)
        err = trib_audit_abandoned(store, &op->result);
    TRIB_CRASH_POINT("end.version");
    if (!err)
        err = trib_store_round_end(store, op->result.id, op->state, op->ended_ms, &op->result);
    TRIB_CRASH_POINT("end.round");
    if (!err)
        err = trib_lease_list_put(op->leases, store);
    TRIB_CRASH_POINT("end.leases");
    if (!err)
        err = trib_store_job_update(store, &op->job);
    TRIB_CRASH_POINT("end.job");
    if (!err)
        err = trib_store_secagg_drop(store, op->result.id);
    if (!err)
        err = trib_store_updates_prune(store, op->prune_before);
    return err;
}

// The segment has done its work: gone from the disk, on the thread that may wait for disks.
struct sweep_op {
    struct trib_server_op op;
    uint64_t round_id;
};

static enum trib_err sweep_prepare(struct trib_commit_op *commit_op)
{
    struct sweep_op *op = (struct sweep_op *)commit_op;
    enum trib_err err = trib_segment_remove(op->op.server->updates_dir, op->round_id);
    TRIB_CRASH_POINT("sweep.segment");
    return err ? err : trib_central_remove(op->op.server->updates_dir, op->round_id);
}

static void sweep_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    (void)server;
    free(server_op);
}

static void sweep(struct trib_server *server, uint64_t round_id)
{
    struct sweep_op *op = trib_alloc(sizeof(*op));
    if (!op)
        return; // start-up removes it
    op->round_id = round_id;
    op->op.op.prepare = sweep_prepare;
    op->op.finish = sweep_finish;
    trib_server_submit(server, &op->op);
}

struct moments_op {
    struct trib_server_op op;
    uint64_t version;
};

static enum trib_err moments_prepare(struct trib_commit_op *commit_op)
{
    struct moments_op *op = (struct moments_op *)commit_op;
    enum trib_err err = trib_moments_remove(op->op.server->updates_dir, op->version);
    TRIB_CRASH_POINT("sweep.moments");
    return err;
}

void trib_rounds_sweep_moments(struct trib_server *server, uint64_t version)
{
    struct moments_op *op = trib_alloc(sizeof(*op));
    if (!op || version == 0) {
        free(op); // a file too many
        return;
    }
    op->version = version;
    op->op.op.prepare = moments_prepare;
    op->op.finish = sweep_finish;
    trib_server_submit(server, &op->op);
}

static void tell_round_end(struct trib_server *server)
{
    const struct trib_round_run *run = server->run;
    const struct trib_msg_round_end msg = {.round_id = run->id};
    for (uint32_t i = 0; i < run->round.member_count; i++) {
        struct trib_peer *peer = trib_peers_by_id(server->peers, run->members[i].device);
        struct trib_buf packed = {0};
        // Whoever was counted knows it by its receipt, but with masks it holds secrets still.
        bool is_done = run->members[i].lease == TRIB_LEASE_COUNTED && !run->plan.is_masked;
        if (is_done || !peer || !peer->live)
            continue;
        trib_msg_round_end_pack(&msg, &packed);
        trib_server_send(peer->live, TRIB_RECORD_ROUND_END, &packed);
    }
}

// The moments of the new version are durable with it; those before it have had their day.
static void take_moments(struct trib_server *server, uint64_t version)
{
    struct trib_active_job *active = server->job;
    if (!active->moments)
        return;
    trib_moments_take(active->moments);
    if (active->moments_version > 0)
        trib_rounds_sweep_moments(server, active->moments_version);
    active->moments_version = version;
}

// In the counters, with where its time went.
static void count_round(struct trib_server *server, enum trib_round_state state)
{
    struct trib_round_run *run = server->run;
    struct trib_counters *c = &server->counters;
    if (state == TRIB_ROUND_COMMITTED)
        c->committed++;
    else
        c->abandoned[run->round.reason]++;
    trib_run_enter(run, TRIB_PHASE_COMMIT);
    for (int i = 0; i < TRIB_PHASES; i++)
        c->phase_us[i] += run->phase_us[i];
}

// What a round that makes no version was for.
static void take_pass(struct trib_active_job *active, const struct trib_round_run *run,
                      const struct trib_round_result *result, bool is_committed)
{
    switch (run->pass) {
    case TRIB_PASS_MAIN: break;
    case TRIB_PASS_EVALUATION: active->measured = run->number; break;
    case TRIB_PASS_COUNTERS: active->counted = run->number; break;
    case TRIB_PASS_PREPARE:
        active->passes_tried = run->number;
        if (!is_committed)
            trib_jobs_lose_pass(active);
        break;
    case TRIB_PASS_BASELINE:
        active->baselines_tried = run->number;
        active->has_linear = is_committed;
        break;
    case TRIB_PASS_CLASSES:
        active->classes_tried = run->number;
        if (is_committed)
            trib_jobs_take_classes(active, result->tally);
        break;
    }
}

static void tell_end(const struct trib_round_run *run, const struct trib_round_result *result)
{
    char value[64] = "";
    if (result->metric[0])
        (void)snprintf(value, sizeof(value), " %s=%.4f", result->metric, result->value);
    TRIB_INFO("round=%" PRIu64 " round_id=%" PRIu64 " %s%s%s version=%" PRIu64 " accepted=%" PRIu64
              "/%" PRIu64 "%s seconds=%.2f",
              run->number, run->id, result->state, result->reason[0] ? " reason=" : "",
              result->reason, result->version, result->accepted, result->asked, value,
              result->seconds);
}

static void end_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct end_op *op = (struct end_op *)server_op;
    struct trib_round_run *run = server->run;
    struct trib_active_job *active = server->job;
    if (op->op.op.result != TRIB_OK) {
        trib_server_stop_failed(server);
        goto out;
    }
    TRIB_CRASH_POINT("round.ended");
    if (TRIB_PLANT("head-early") && op->version)
        (void)!trib_version_write(server->dir, op->version);
    if (run->round.reason == TRIB_ROUND_REASON_NEWTON)
        active->newton_is_off = true;
    count_round(server, op->state);
    trib_jobs_take_row(active, &op->job);
    if (op->state == TRIB_ROUND_COMMITTED)
        (void)!trib_rounds_event(server, TRIB_ROUND_EV_COMMIT_DURABLE);
    if (op->version) {
        trib_jobs_set_head(server, op->version);
        op->version = NULL;
        trib_newton_path_take(active->newton);
        take_moments(server, op->row.version);
        if (op->row.has_value) {
            trib_job_observe(&active->job, op->row.value, &active->plateau);
            trib_stop_observe(&active->stop, &active->job, op->row.value);
        }
    }
    tell_end(run, &op->result);
    TRIB_CRASH_POINT("end.head");
    trib_leases_tell(server);
    tell_round_end(server);
    sweep(server, run->id);
    take_pass(active, run, &op->result, op->state == TRIB_ROUND_COMMITTED);
    if (run->step.prepare && trib_jobs_take_step(active, &run->step))
        run->failure = TRIB_JOB_NOTHING_TO_EVALUATE;
    active->stop.target_is_reached = active->stop.target_is_reached || run->target_is_reached;
    const bool is_over = trib_jobs_is_over(server, trib_jobs_stop_rule(server));
    const char *failure = run->failure;
    trib_rounds_free(server);
    if (failure)
        trib_jobs_end(server, TRIB_JOB_FAILED, failure);
    else if (active->wants_cancel)
        trib_jobs_end(server, TRIB_JOB_CANCELLED, "by the operator");
    else if (is_over)
        trib_jobs_finish(server);

out:
    trib_version_destroy(op->version);
    free(op->leases);
    free(op->metrics);
    free(op);
}

void trib_rounds_conclude(struct trib_server *server, const struct trib_round_outcome *outcome)
{
    struct trib_version *version = outcome->version;
    struct trib_round_run *run = server->run;
    struct trib_active_job *active = server->job;
    struct end_op *op = trib_alloc(sizeof(*op));
    if (op)
        op->leases = trib_rounds_leases(run);
    if (!op || !op->leases) {
        free(op);
        free(outcome->metrics);
        trib_version_destroy(version);
        trib_server_stop_failed(server);
        return;
    }
    run->is_ending = true;
    if (!outcome->is_committed) {
        trib_upload_finish_all(server);
        // Privacy is spent as soon as something noised left a device, whatever became of it; after
        // a restart nobody knows how far a masked round had come.
        bool has_left = run->round.leases[TRIB_LEASE_COUNTED] +
                                run->round.leases[TRIB_LEASE_PENDING] +
                                run->round.leases[TRIB_LEASE_REFUSED] >
                            0 ||
                        run->secagg_told == TRIB_ROUND_COLLECTING ||
                        run->round.reason == TRIB_ROUND_REASON_RESTARTED ||
                        run->round.reason == TRIB_ROUND_REASON_STORAGE;
        if (has_left && !run->is_charged)
            trib_privacy_spend(&active->spent, &run->shape.privacy->encoding, 1);
    }
    op->version = version;
    op->moments = active->moments;
    op->metrics = outcome->metrics;
    op->state = outcome->is_committed ? TRIB_ROUND_COMMITTED : TRIB_ROUND_ABANDONED;
    fill_result(server, &op->result, op->state, outcome);
    op->ended_ms = trib_clock_wall_ms();
    op->job = active->row;
    if (run->pass == TRIB_PASS_MAIN)
        op->job.rounds_done = run->number;
    op->job.epsilon_pure = active->spent.epsilon_pure;
    op->job.rho = active->spent.rho;
    op->prune_before =
        run->id > TRIB_SERVER_LEDGER_ROUNDS ? run->id - TRIB_SERVER_LEDGER_ROUNDS : 0;
    if (version) {
        const struct trib_msg_manifest *m = &version->manifest;
        op->row = (struct trib_store_version){
            .version = m->version,
            .generation = m->generation,
            .parent = m->parent,
            .job = m->job,
            .round = m->round_id,
            .round_number = m->round_number,
            .kind = version->manifest.kind,
            .spec = version->model.spec,
            .params = m->params,
            .manifest = version->announcement.manifest,
            .manifest_size = version->announcement.manifest_size,
            .created_ms = m->created_ms,
            .metrics = op->metrics,
            .has_value = outcome->held_out != NULL,
            .value = op->result.value,
        };
        memcpy(op->row.digest, m->digest, TRIB_DIGEST_SIZE);
        memcpy(op->row.signature, version->announcement.signature, TRIB_SIGNATURE_SIZE);
    }
    op->op.op.prepare = end_prepare;
    op->op.op.apply = end_apply;
    op->op.finish = end_finish;
    trib_server_submit(server, &op->op);
}

void trib_rounds_end(struct trib_server *server)
{
    trib_rounds_conclude(server, &(const struct trib_round_outcome){.rms = (double)NAN});
}
