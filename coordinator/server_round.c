// Rounds: carrying out what the state machine of round.h asks for, durably (docs/durability.md).
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/wire/codec.h"
#include "coordinator/sampler.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "round"

enum {
    REOPEN_MS = 10000 // after a round could not be opened, e.g. because the disk is full
};

enum trib_err trib_rounds_step(struct trib_server *server, const struct trib_round_input *input)
{
    struct trib_round *round = &server->run->round;
    enum trib_round_state was = round->state;
    enum trib_err err = trib_round_step(round, input, trib_clock_mono_ms());
    if (round->state != was)
        TRIB_DEBUG("round=%" PRIu64 " %s -> %s", server->run->number, trib_round_state_name(was),
                   trib_round_state_name(round->state));
    return err;
}

static enum trib_err step(struct trib_server *server, enum trib_round_event event)
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

static void run_free(struct trib_round_run *run)
{
    if (!run)
        return;
    for (uint32_t i = 0; i < run->capacity && run->uploads; i++)
        free(run->uploads[i].checksums);
    trib_segment_unref(run->segment);
    trib_secagg_free(run->secagg);
    free(run->members);
    free(run->uploads);
    free(run->candidates);
    free(run->slot_used);
    free(run);
}

void trib_rounds_free(struct trib_server *server)
{
    run_free(server->run);
    server->run = NULL;
}

static void fill_task(struct trib_server *server, struct trib_round_run *run)
{
    const struct trib_active_job *active = server->job;
    const struct trib_job *job = &active->job;
    const struct trib_encoding *e = &job->privacy.encoding;
    const struct trib_secagg_plan *secagg = &job->privacy.secagg;
    struct trib_msg_task *task = &run->task;

    *task = (struct trib_msg_task){
        .round_id = run->id,
        .round_number = run->number,
        .job = active->id,
        .base_generation = server->head->manifest.generation,
        .base_version = server->head->manifest.version,
        .seed = job->config.round_seed,
        .epochs = job->train.epochs,
        .batch = job->train.batch,
        .learning_rate = job->train.learning_rate,
        .momentum = job->train.momentum,
        .weight_decay = job->train.weight_decay,
        .encoding = {.mode = e->mode,
                     .grid = e->grid,
                     .grid_bits = e->grid_bits,
                     .s1 = e->s1,
                     .s2 = e->s2,
                     .sinf = e->sinf,
                     .word_bits = e->word_bits,
                     .clip_l1 = e->clip_l1,
                     .clip_l2 = e->clip_l2,
                     .shares = e->shares},
        .secagg = {.members = secagg->members,
                   .threshold = secagg->threshold,
                   .drop_max = secagg->drop_max,
                   .colluders = secagg->colluders,
                   .shares = secagg->shares,
                   .neighbours = secagg->neighbours,
                   .neighbour_threshold = secagg->neighbour_threshold},
        .weight_max = e->mode == TRIB_PRIVACY_OFF ? job->weight_max : 0,
        .epsilon_pure = job->privacy.epsilon_pure_round,
        .rho = job->privacy.rho_round,
        .send_tick_ms = job->config.send_tick_ms,
        .test_seed = job->config.test_seed,
    };
    (void)snprintf(task->population, sizeof(task->population), "%.*s", TRIB_NAME_MAX,
                   server->config.population);
    memcpy(task->spec, job->model.spec, sizeof(task->spec));
    memcpy(task->base_digest, server->head->manifest.digest, TRIB_DIGEST_SIZE);
    run->rule = (struct trib_admit_round){
        .round_id = run->id,
        .base_digest = server->head->manifest.digest,
        .arch_digest = job->model.arch_digest,
        .params = job->model.param_count,
        .packed_size = trib_codec_size(job->model.param_count, e->word_bits),
        .weight_max = job->weight_max,
        .encoding = e,
    };
}

static bool is_masked(const struct trib_server *server)
{
    return server->job->job.privacy.encoding.mode == TRIB_PRIVACY_DISTRIBUTED;
}

static bool may_be_asked(const struct trib_server *server, const struct trib_peer *peer)
{
    return !peer->row.is_revoked && (!is_masked(server) || trib_secagg_is_rostered(server, peer));
}

// The devices that may be asked, in the order drawn for this round.
static enum trib_err draw_candidates(struct trib_server *server, struct trib_round_run *run)
{
    enum trib_err err = TRIB_ERR_NOMEM;
    size_t count = trib_peers_count(server->peers);
    size_t able = 0;
    struct trib_peer **sorted = trib_alloc_array(count, sizeof(struct trib_peer *));
    uint32_t *order = trib_alloc_array(count, sizeof(*order));
    run->candidates = trib_alloc_array(count, sizeof(struct trib_peer *));
    if (!sorted || !order || !run->candidates)
        goto out;
    for (size_t i = 0; i < count; i++) {
        struct trib_peer *peer = trib_peers_at(server->peers, i);
        if (may_be_asked(server, peer))
            sorted[able++] = peer;
    }
    trib_sampler_draw(server->job->job.config.round_seed, run->number, order, able);
    for (size_t i = 0; i < able; i++)
        run->candidates[i] = sorted[order[i]];
    run->candidate_count = able;
    err = TRIB_OK;

out:
    free(sorted);
    free(order);
    return err;
}

static enum trib_err run_create(struct trib_server *server, uint64_t id, uint64_t number,
                                struct trib_round_run **ret_run)
{
    const struct trib_job *job = &server->job->job;
    struct trib_round_run *run = trib_alloc(sizeof(*run));
    if (!run)
        return TRIB_ERR_NOMEM;
    run->id = id;
    run->number = number;
    run->opened_ms = trib_clock_mono_ms();
    run->opened_wall_ms = trib_clock_wall_ms();
    run->bytes_up = __atomic_load_n(&server->received_bytes, __ATOMIC_RELAXED);
    run->bytes_down = __atomic_load_n(&server->sent_bytes, __ATOMIC_RELAXED);
    run->plan = (struct trib_round_plan){.goal = job->goal,
                                         .offers = job->offers,
                                         .accepted_min = job->accepted_min,
                                         .select_ms = job->config.select_ms,
                                         .report_ms = job->config.report_ms,
                                         .is_masked = is_masked(server),
                                         .phase_ms = job->config.phase_ms};
    enum trib_err err = draw_candidates(server, run);
    if (err)
        goto failed;
    err = TRIB_ERR_NOMEM;
    run->capacity = (uint32_t)run->candidate_count;
    run->members = trib_alloc_array(run->capacity, sizeof(*run->members));
    run->uploads = trib_alloc_array(run->capacity, sizeof(*run->uploads));
    run->slot_used = trib_alloc_array(job->offers, sizeof(*run->slot_used));
    if (!run->members || !run->uploads || !run->slot_used)
        goto failed;
    for (uint32_t i = 0; i < run->capacity; i++)
        run->uploads[i].slot = UINT32_MAX;
    err = trib_round_init(&run->round, &run->plan, run->members, run->capacity);
    if (err)
        goto failed;
    fill_task(server, run);
    *ret_run = run;
    return TRIB_OK;

failed:
    run_free(run);
    return err;
}

// ---- Offers

static void send_task(struct trib_server *server, uint32_t member)
{
    struct trib_round_run *run = server->run;
    struct trib_peer *peer = trib_peers_by_id(server->peers, run->round.members[member].device);
    struct trib_buf packed = {0};
    uint64_t now_ms = trib_clock_mono_ms();
    if (!peer || !peer->live || !peer->live->is_ready)
        return; // it gets the task when it comes back
    run->task.report_ms = run->plan.report_ms;
    if (run->round.deadline_ms != UINT64_MAX && run->round.deadline_ms > now_ms &&
        run->round.state == TRIB_ROUND_COLLECTING)
        run->task.report_ms = run->round.deadline_ms - now_ms;
    trib_msg_task_pack(&run->task, &packed);
    trib_server_send(peer->live, TRIB_RECORD_TASK, &packed);
}

static void offer(struct trib_server *server, uint64_t device)
{
    struct trib_round_run *run = server->run;
    uint32_t member = run->round.member_count;
    const struct trib_round_input input = {.event = TRIB_ROUND_EV_OFFER, .device = device};
    if (trib_rounds_step(server, &input) == TRIB_OK)
        send_task(server, member);
}

// The next device in the order drawn that is there, or NULL.
static struct trib_peer *next_candidate(struct trib_server *server, struct trib_round_run *run)
{
    uint64_t now_ms = trib_clock_mono_ms();
    while (run->candidate_next < run->candidate_count) {
        struct trib_peer *peer = run->candidates[run->candidate_next++];
        if (trib_server_is_present(server, peer, now_ms) &&
            trib_round_find(&run->round, peer->row.id) == UINT32_MAX)
            return peer;
    }
    return NULL;
}

struct lease_op {
    struct trib_server_op op;
    struct trib_store_lease lease;
};

static enum trib_err lease_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    return trib_store_lease_put(store, &((struct lease_op *)commit_op)->lease);
}

static void lease_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct lease_op *op = (struct lease_op *)server_op;
    struct trib_round_run *run = server->run;
    if (op->op.op.result == TRIB_OK && run && run->id == op->lease.round) {
        run->offers_in_flight--;
        offer(server, op->lease.device);
    }
    free(op);
}

static void offer_more(struct trib_server *server)
{
    struct trib_round_run *run = server->run;
    while (trib_round_offers_wanted(&run->round) > run->offers_in_flight) {
        struct trib_peer *peer = next_candidate(server, run);
        if (!peer) {
            if (run->offers_in_flight == 0)
                (void)!step(server, TRIB_ROUND_EV_EXHAUSTED);
            return;
        }
        struct lease_op *op = trib_alloc(sizeof(*op));
        if (!op)
            return; // again with the next event
        op->lease = (struct trib_store_lease){
            .round = run->id,
            .device = peer->row.id,
            .order = run->round.member_count + run->offers_in_flight,
            .state = TRIB_LEASE_OFFERED,
        };
        op->op.op.apply = lease_apply;
        op->op.finish = lease_finish;
        run->offers_in_flight++;
        trib_server_submit(server, &op->op);
    }
}

// ---- Opening

struct open_op {
    struct trib_server_op op;
    struct trib_store_round row;
    size_t slot_size;
    uint32_t slot_count;
    struct trib_segment *segment;
    uint32_t device_count;
    uint64_t devices[]; // first offers, in order
};

static enum trib_err open_prepare(struct trib_commit_op *commit_op)
{
    struct open_op *op = (struct open_op *)commit_op;
    return trib_segment_create(op->op.server->updates_dir, op->row.id, op->slot_size,
                               op->slot_count, &op->segment);
}

static enum trib_err open_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct open_op *op = (struct open_op *)commit_op;
    enum trib_err err = trib_store_round_insert(store, &op->row);
    for (uint32_t i = 0; i < op->device_count && !err; i++)
        err = trib_store_lease_put(store, &(struct trib_store_lease){.round = op->row.id,
                                                                     .device = op->devices[i],
                                                                     .order = i,
                                                                     .state = TRIB_LEASE_OFFERED});
    return err;
}

static void open_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct open_op *op = (struct open_op *)server_op;
    struct trib_round_run *run = server->run;
    if (op->op.op.result == TRIB_OK) {
        run->segment = op->segment;
        TRIB_CRASH_POINT("round.opened");
        (void)!step(server, TRIB_ROUND_EV_OPENED);
        for (uint32_t i = 0; i < op->device_count; i++)
            offer(server, op->devices[i]);
    } else {
        TRIB_ERROR("round=%" PRIu64 " cannot be opened: %s; again in %d s", run->number,
                   trib_err_text(op->op.op.result), REOPEN_MS / 1000);
        trib_segment_unref(op->segment);
        server->job->next_open_ms = trib_clock_mono_ms() + REOPEN_MS;
        trib_rounds_free(server);
    }
    free(op);
}

static size_t present_count(struct trib_server *server, uint64_t now_ms)
{
    size_t count = 0;
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        count += may_be_asked(server, peer) && trib_server_is_present(server, peer, now_ms);
    }
    return count;
}

// Say once that a job waits for the roster, and once that it does so no more.
static void tell_roster(struct trib_server *server)
{
    struct trib_active_job *active = server->job;
    char text[256];
    bool is_short = trib_secagg_roster_is_short(server, &active->job, text, sizeof(text));
    if (is_short && !active->roster_is_short)
        TRIB_WARN("id=roster-short job=%" PRIu64 " %s", active->id, text);
    else if (!is_short && active->roster_is_short)
        TRIB_INFO("job=%" PRIu64 " enough devices are rostered", active->id);
    active->roster_is_short = is_short;
}

// Are there devices enough? A masked round stands no loss below its threshold, so it waits a while
// for the whole cohort before it begins with fewer.
static bool is_worth_opening(struct trib_server *server, uint64_t now_ms)
{
    struct trib_active_job *active = server->job;
    size_t present = present_count(server, now_ms);
    if (present >= active->job.goal)
        active->short_since_ms = 0;
    else if (active->short_since_ms == 0)
        active->short_since_ms = now_ms;
    if (present < active->job.accepted_min || active->roster_is_short)
        tell_roster(server);
    if (present < active->job.accepted_min)
        return false;
    return !is_masked(server) || active->short_since_ms == 0 ||
           now_ms - active->short_since_ms >= active->job.config.select_ms;
}

static void open_round(struct trib_server *server)
{
    struct trib_active_job *active = server->job;
    struct trib_round_run *run;
    if (active->row.rounds_done >= active->job.config.rounds) {
        trib_jobs_finish(server); // killed between the last round and the job's end
        return;
    }
    uint64_t now_ms = trib_clock_mono_ms();
    if (now_ms < active->next_open_ms || !is_worth_opening(server, now_ms))
        return;
    if (run_create(server, server->last_round_id + 1, active->row.rounds_done + 1, &run))
        return;
    struct open_op *op = trib_alloc(sizeof(*op) + run->plan.offers * sizeof(uint64_t));
    if (!op) {
        run_free(run);
        return;
    }
    server->run = run;
    server->last_round_id++;
    op->row = (struct trib_store_round){.id = run->id,
                                        .job = active->id,
                                        .number = run->number,
                                        .state = TRIB_ROUND_SELECTING,
                                        .base_version = server->head->manifest.version,
                                        .opened_ms = run->opened_wall_ms};
    op->slot_size = run->rule.packed_size;
    op->slot_count = run->plan.offers;
    struct trib_peer *peer;
    while (op->device_count < run->plan.offers && (peer = next_candidate(server, run)))
        op->devices[op->device_count++] = peer->row.id;
    op->op.op.prepare = open_prepare;
    op->op.op.apply = open_apply;
    op->op.finish = open_finish;
    trib_server_submit(server, &op->op);
}

// ---- Sealing

// Every lease as it stands, to be written in one transaction.
struct trib_lease_list *trib_rounds_leases(const struct trib_round_run *run)
{
    const uint32_t count = run->round.member_count;
    struct trib_lease_list *list = trib_alloc(sizeof(*list) + count * sizeof(list->leases[0]));
    if (!list)
        return NULL;
    list->count = count;
    for (uint32_t i = 0; i < count; i++)
        list->leases[i] = (struct trib_store_lease){.round = run->id,
                                                    .device = run->members[i].device,
                                                    .order = i,
                                                    .state = run->members[i].lease,
                                                    .code = run->members[i].code};
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
    if (!err)
        err = trib_lease_list_put(op->leases, store);
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
    if (op->op.op.result == TRIB_OK && server->run && server->run->id == op->round_id)
        (void)!step(server, TRIB_ROUND_EV_SEAL_DURABLE);
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
    trib_privacy_spend(&active->spent, &active->job.privacy.encoding, 1);
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
    if (reply.code == TRIB_CODE_ACCEPTED) {
        (void)!trib_rounds_step(
            server, &(struct trib_round_input){.event = TRIB_ROUND_EV_TAKE, .member = member});
        return;
    }
    if (trib_code_is_known(reply.code)) {
        server->counters.declined[reply.code]++;
        session->peer->declined = reply.code;
    }
    TRIB_INFO("round=%" PRIu64 " device=%s declined code=%s", server->run->number,
              session->peer->row.name, trib_code_text(reply.code));
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
        send_task(server, member);
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
    if (active->row.start_version == 0) {
        trib_jobs_start(server);
        return;
    }
    struct trib_round_run *run = server->run;
    if (!run) {
        if (active->row.state == TRIB_JOB_ACTIVE)
            open_round(server);
        return;
    }
    switch (run->round.state) {
    case TRIB_ROUND_PLANNED: return; // being made durable
    case TRIB_ROUND_SELECTING: offer_more(server); return;
    case TRIB_ROUND_KEYS:
    case TRIB_ROUND_SHARES:
    case TRIB_ROUND_CONSISTENCY:
    case TRIB_ROUND_UNMASKING: trib_secagg_pump(server); return;
    case TRIB_ROUND_COLLECTING:
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
    (void)!step(server, TRIB_ROUND_EV_TICK);
}

// ---- After a restart

struct recovery {
    struct trib_server *server;
    struct trib_store_round round;
    bool found;
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
    if (run->round.member_count < run->capacity)
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
    uint32_t member =
        run && update->round == run->id ? trib_round_find(&run->round, update->device) : UINT32_MAX;
    if (member == UINT32_MAX)
        return;
    if (update->slot >= trib_segment_slot_count(run->segment) || update->weight == 0) {
        TRIB_ERROR("id=store-corrupt the ledger names slot %" PRIu32 " and weight %" PRIu32,
                   update->slot, update->weight);
        recovery->err = TRIB_ERR_CORRUPT;
        return;
    }
    run->members[member].lease = TRIB_LEASE_COUNTED;
    run->uploads[member].state = TRIB_UPLOAD_PENDING;
    run->uploads[member].slot = update->slot;
    if (update->slot < run->plan.offers)
        run->slot_used[update->slot] = true;
}

static enum trib_err resume_run(struct trib_server *server, struct recovery *recovery)
{
    const struct trib_store_round *row = &recovery->round;
    enum trib_err err = run_create(server, row->id, row->number, &server->run);
    if (!err)
        err = trib_store_leases(server->store, row->id, take_lease, recovery);
    if (!err)
        err = trib_segment_open(server->updates_dir, row->id, server->run->rule.packed_size,
                                &server->run->segment);
    if (!err && row->state == TRIB_ROUND_SEALED && server->run->plan.is_masked)
        err = trib_secagg_resume(server);
    return err;
}

enum trib_err trib_rounds_recover(struct trib_server *server)
{
    struct recovery recovery = {.server = server};
    enum trib_err err = trib_store_round_get(server->store, 0, take_round, &recovery);
    if (err)
        return err;
    const struct trib_store_round *row = &recovery.round;
    server->last_round_id = recovery.found ? row->id : 0;
    bool is_open = recovery.found && row->state != TRIB_ROUND_COMMITTED &&
                   row->state != TRIB_ROUND_ABANDONED && server->job && server->job->id == row->job;
    err = trib_segment_clean(server->updates_dir, is_open ? row->id : 0);
    if (!err && is_open)
        err = resume_run(server, &recovery);
    if (!err)
        err = trib_store_updates(server->store, 0, take_update, &recovery);
    if (!err)
        err = recovery.err;
    if (err)
        return err;
    for (struct trib_known_update *k = server->known_list; k; k = k->next) {
        if (!server->run || k->round != server->run->id) {
            free(k->checksums);
            k->checksums = NULL;
        }
    }
    if (server->run) {
        server->run->is_resumed = true;
        server->run->is_charged = row->state == TRIB_ROUND_SEALED;
        trib_round_resume(&server->run->round, row->state == TRIB_ROUND_SEALED,
                          trib_clock_mono_ms());
        TRIB_INFO("round=%" PRIu64 " goes on state=%s counted=%" PRIu32, server->run->number,
                  trib_round_state_name(server->run->round.state),
                  server->run->round.leases[TRIB_LEASE_COUNTED]);
    }
    return TRIB_OK;
}
