// Opening a round: who may be asked, in which order, with which task; and offers to further
// devices.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/wire/codec.h"
#include "coordinator/class_round.h"
#include "coordinator/gate.h"
#include "coordinator/reserve.h"
#include "coordinator/sampler.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "round"

enum {
    GROUPS_MAX = 256, // of devices, that are told apart
    REOPEN_MS = 3000  // after a round could not be opened, e.g. because the disk is full
};

static struct trib_msg_fit fit_of(const struct trib_active_job *active)
{
    const struct trib_job *job = &active->job;
    const struct trib_train_options *train = &job->train;
    struct trib_msg_fit fit = {
        .optimizer = train->optimizer,
        .decoupled_decay = train->decoupled_decay,
        .l1 = train->l1,
        .proximal_mu = train->proximal_mu,
        .clip_norm = train->clip_norm,
        .lr_schedule = train->schedule.kind,
        .lr_step = train->schedule.every,
        .lr_gamma = train->schedule.gamma,
        .lr_min = train->schedule.min,
        .validation_fraction = train->kept.fraction,
        .folds = train->kept.folds,
        .fold = train->kept.fold,
        .patience = train->patience,
        .personal_epochs = train->personal_epochs,
        .class_weights = train->class_weights,
        .mode = (uint32_t)job->config.learning_mode,
        .sampling = train->resample.kind,
        .sampling_ratio = train->resample.ratio,
        .smote_neighbours = train->resample.neighbours,
        .jitter = train->augment.jitter,
        .mixup = train->augment.mixup,
        .shift = train->augment.shift,
        .rotate = train->augment.rotate,
        .crop = train->augment.crop,
        .frozen_layers = train->frozen,
        .trunk_layers = train->trunk,
        .trunk_rate = train->trunk_rate,
    };
    if (active->has_class_weights) {
        fit.class_count = job->model.classes;
        memcpy(fit.class_weight, active->class_weight, sizeof(fit.class_weight));
    } else if (train->class_weights == TRIB_CLASS_WEIGHTS_GIVEN)
        fit.class_weights = TRIB_CLASS_WEIGHTS_NONE; // what comes before them does not train
    return fit;
}

// threshold: of the version that is counted at, or NaN.
static struct trib_msg_tally tally_of(const struct trib_job *job,
                                      const struct trib_round_shape *shape, double threshold)
{
    const struct trib_ranking_plan *ranking = &job->held_out.ranking;
    struct trib_ask ask = {.kind = shape->kind, .model = &job->model};
    trib_ask_decide(&ask, threshold);
    struct trib_msg_tally tally = {
        .kind = shape->kind,
        .values = shape->values,
        .layout = shape->layout,
        .scale = shape->privacy->encoding.mode == TRIB_PRIVACY_OFF ? 0 : job->config.tally_scale,
        .is_decided = ask.is_decided,
        .threshold = ask.threshold,
    };
    if (shape->kind == TRIB_TALLY_EVALUATION && ranking->k > 0) {
        tally.ranking_k = ranking->k;
        tally.ranking_relevant = ranking->relevant;
        tally.ranking_negatives = ranking->negatives;
    }
    return tally;
}

static void fill_task(struct trib_server *server, struct trib_round_run *run)
{
    const struct trib_active_job *active = server->job;
    const struct trib_job *job = &active->job;
    const struct trib_privacy_plan *privacy = run->shape.privacy;
    const struct trib_encoding *e = &privacy->encoding;
    const struct trib_secagg_plan *secagg = &privacy->secagg;
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
        .learning_rate = trib_job_rate(job, run->number, &active->plateau),
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
        .fit = fit_of(active),
        .weight_max = e->mode == TRIB_PRIVACY_OFF ? run->shape.weight_max : 0,
        .epsilon_pure = privacy->epsilon_pure_round,
        .rho = privacy->rho_round,
        .send_tick_ms = job->config.send_tick_ms,
        .test_seed = job->config.test_seed,
    };
    if (run->shape.kind) {
        task->fit.mode = TRIB_JOB_MODE_BATCH; // to count rows uses none of them up
        task->fit.tally = tally_of(job, &run->shape,
                                   trib_msg_manifest_metric(&server->head->manifest, "threshold"));
    } else if (job->config.lr_schedule != TRIB_SCHEDULE_CONSTANT)
        TRIB_INFO("round=%" PRIu64 " learning_rate=%g", run->number, task->learning_rate);
    memcpy(task->fit.counters, job->config.counters, sizeof(task->fit.counters));
    if (active->pipeline)
        (void)snprintf(task->fit.prepare, sizeof(task->fit.prepare), "%s", active->pipeline->text);
    (void)snprintf(task->population, sizeof(task->population), "%.*s", TRIB_NAME_MAX,
                   server->config.population);
    memcpy(task->spec, job->model.spec, sizeof(task->spec));
    memcpy(task->base_digest, server->head->manifest.digest, TRIB_DIGEST_SIZE);
    run->rule = (struct trib_admit_round){
        .round_id = run->id,
        .base_digest = server->head->manifest.digest,
        .arch_digest = job->model.arch_digest,
        .params = run->shape.words,
        .packed_size = trib_codec_size(run->shape.words, e->word_bits),
        .weight_max = run->shape.weight_max,
        .squares_max = run->shape.kind ? 0 : trib_admit_squares_max(job->config.norm_max, e->grid),
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

// The groups of the devices at the first `count` places of an order, as numbers by first
// appearance; what comes behind the last of GROUPS_MAX is one group with it.
static uint32_t number_groups(struct trib_peer *const *sorted, const uint32_t *order, size_t count,
                              uint32_t *groups)
{
    const char *names[GROUPS_MAX];
    uint32_t group_count = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = sorted[order[i]]->row.group;
        uint32_t g = 0;
        while (g < group_count && strcmp(names[g], name) != 0)
            g++;
        if (g == group_count && group_count < GROUPS_MAX)
            names[group_count++] = name;
        groups[i] = g < GROUPS_MAX ? g : GROUPS_MAX - 1;
    }
    return group_count;
}

// Those that are there come first, each group of them with its share.
static enum trib_err stratify(const struct trib_server *server, struct trib_peer *const *sorted,
                              uint32_t *order, size_t count)
{
    const uint64_t now_ms = trib_clock_mono_ms();
    uint32_t *groups = trib_alloc_array(count ? count : 1, sizeof(*groups));
    uint32_t *absent = trib_alloc_array(count ? count : 1, sizeof(*absent));
    enum trib_err err = groups && absent ? TRIB_OK : TRIB_ERR_NOMEM;
    size_t present = 0, missing = 0;
    for (size_t i = 0; !err && i < count; i++) {
        if (trib_server_is_present(server, sorted[order[i]], now_ms))
            order[present++] = order[i];
        else
            absent[missing++] = order[i];
    }
    if (!err && missing > 0)
        memcpy(order + present, absent, missing * sizeof(*order));
    if (!err)
        err = trib_sampler_stratify(order, groups, present,
                                    number_groups(sorted, order, present, groups),
                                    server->job->job.config.equal_shares);
    free(groups);
    free(absent);
    return err;
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
    if (server->job->job.config.stratify_by)
        err = stratify(server, sorted, order, able);
    else
        err = TRIB_OK;
    if (err)
        goto out;
    for (size_t i = 0; i < able; i++)
        run->candidates[i] = sorted[order[i]];
    run->candidate_count = able;

out:
    free(sorted);
    free(order);
    return err;
}

enum trib_err trib_run_create(struct trib_server *server, uint64_t id, uint64_t key,
                              struct trib_round_run **ret_run)
{
    const struct trib_job *job = &server->job->job;
    struct trib_round_run *run = trib_alloc(sizeof(*run));
    if (!run)
        return TRIB_ERR_NOMEM;
    run->id = id;
    run->pass = trib_round_key_pass(key);
    run->number = trib_round_key_number(key);
    run->shape = trib_job_shape(job, trib_job_kind(job, run->pass, server->job->newton_is_off));
    run->began_us = trib_clock_mono_us();
    run->phase_began_us = run->began_us;
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
    // Also of those that were revoked meanwhile: a round that goes on after a restart has them as members.
    run->capacity = (uint32_t)trib_peers_count(server->peers);
    run->members = trib_alloc_array(run->capacity, sizeof(*run->members));
    run->uploads = trib_alloc_array(run->capacity, sizeof(*run->uploads));
    run->changed_ms = trib_alloc_array(run->capacity, sizeof(*run->changed_ms));
    run->slots = trib_alloc_array(job->offers, sizeof(*run->slots));
    if (!run->members || !run->uploads || !run->changed_ms || !run->slots)
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
    trib_run_free(run);
    return err;
}

// ---- Offers

void trib_rounds_send_task(struct trib_server *server, uint32_t member)
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
        trib_rounds_send_task(server, member);
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

void trib_rounds_offer(struct trib_server *server)
{
    struct trib_round_run *run = server->run;
    while (trib_round_offers_wanted(&run->round) > run->offers_in_flight) {
        struct trib_peer *peer = next_candidate(server, run);
        if (!peer) {
            if (run->offers_in_flight == 0)
                (void)!trib_rounds_event(server, TRIB_ROUND_EV_EXHAUSTED);
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
            .changed_ms = trib_clock_wall_ms(),
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
    uint64_t room; // bytes of the version that comes of it
    struct trib_segment *segment;
    uint32_t device_count;
    uint64_t devices[]; // first offers, in order
};

static enum trib_err open_prepare(struct trib_commit_op *commit_op)
{
    struct open_op *op = (struct open_op *)commit_op;
    const struct trib_server *server = op->op.server;
    TRIB_CRASH_POINT("open.begun");
    enum trib_err err = trib_reserve_make(server->dir, server->config.reserve);
    if (!err)
        err = trib_segment_create(server->updates_dir, op->row.id, op->slot_size, op->slot_count,
                                  &op->segment);
    if (err || trib_reserve_room(server->dir) >= op->room)
        return err;
    TRIB_WARN("id=disk-full %s: no room for the version that comes of a round: %" PRIu64 " bytes",
              server->dir, op->room);
    trib_segment_unref(op->segment);
    op->segment = NULL;
    err = trib_segment_remove(server->updates_dir, op->row.id);
    return err ? err : TRIB_ERR_LIMIT;
}

static enum trib_err open_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct open_op *op = (struct open_op *)commit_op;
    enum trib_err err = trib_store_round_insert(store, &op->row);
    TRIB_CRASH_POINT("open.round");
    for (uint32_t i = 0; i < op->device_count && !err; i++)
        err = trib_store_lease_put(store,
                                   &(struct trib_store_lease){.round = op->row.id,
                                                              .device = op->devices[i],
                                                              .order = i,
                                                              .state = TRIB_LEASE_OFFERED,
                                                              .changed_ms = op->row.opened_ms});
    return err;
}

static void open_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct open_op *op = (struct open_op *)server_op;
    struct trib_round_run *run = server->run;
    if (op->op.op.result == TRIB_OK) {
        run->segment = op->segment;
        server->disk_is_full = false;
        TRIB_CRASH_POINT("round.opened");
        (void)!trib_rounds_event(server, TRIB_ROUND_EV_OPENED);
        for (uint32_t i = 0; i < op->device_count; i++)
            offer(server, op->devices[i]);
        TRIB_CRASH_POINT("open.offered");
    } else {
        TRIB_ERROR("round=%" PRIu64 " round_id=%" PRIu64 " cannot be opened: %s; again in %d s",
                   run->number, run->id, trib_err_text(op->op.op.result), REOPEN_MS / 1000);
        trib_segment_unref(op->segment);
        server->disk_is_full = op->op.op.result == TRIB_ERR_LIMIT;
        server->job->next_open_ms = trib_clock_mono_ms() + REOPEN_MS;
        trib_rounds_free(server);
    }
    free(op);
}

// Those that may be asked: that are there or left a moment ago, and of them those that are there.
static size_t present_count(struct trib_server *server, uint64_t now_ms, size_t *ret_connected)
{
    size_t count = 0;
    *ret_connected = 0;
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        if (!may_be_asked(server, peer) || !trib_server_is_present(server, peer, now_ms))
            continue;
        count++;
        *ret_connected += peer->live && peer->live->is_ready;
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
    size_t connected;
    size_t present = present_count(server, now_ms, &connected);
    if (present >= active->job.goal)
        active->short_since_ms = 0;
    else if (active->short_since_ms == 0)
        active->short_since_ms = now_ms;
    if (present < active->job.accepted_min || active->roster_is_short)
        tell_roster(server);
    if (connected < active->job.accepted_min) // all of them have just left when we have just come
        return false;
    return !is_masked(server) || active->short_since_ms == 0 ||
           now_ms - active->short_since_ms >= active->job.config.select_ms;
}

// What is done with the newest version before the job goes on; main: nothing more.
static enum trib_round_pass pass_of_version(const struct trib_server *server)
{
    const struct trib_active_job *active = server->job;
    const uint64_t done = active->row.rounds_done;
    if (server->head->manifest.job != active->id || server->head->manifest.round_number != done)
        return TRIB_PASS_MAIN;
    if (trib_job_evaluates_on_devices(&active->job, done) && active->measured < done)
        return TRIB_PASS_EVALUATION;
    if (trib_job_counts(&active->job, done) && active->counted < done)
        return TRIB_PASS_COUNTERS;
    return TRIB_PASS_MAIN;
}

bool trib_rounds_measures(const struct trib_server *server)
{
    return pass_of_version(server) != TRIB_PASS_MAIN;
}

// Is a linear baseline to be counted before the first round?
static bool wants_baseline(const struct trib_active_job *active)
{
    return trib_job_wants_linear(&active->job) && !active->has_linear;
}

// Are labels to be counted before the first round?
static bool wants_classes(const struct trib_active_job *active)
{
    return trib_job_wants_classes(&active->job.config) && !active->has_class_weights;
}

static uint64_t next_key(const struct trib_server *server, bool is_measuring)
{
    const struct trib_active_job *active = server->job;
    if (trib_jobs_waits_for_pipeline(active))
        return trib_round_key(TRIB_PASS_PREPARE, active->passes_tried + 1);
    if (wants_classes(active))
        return trib_round_key(TRIB_PASS_CLASSES, active->classes_tried + 1);
    if (wants_baseline(active))
        return trib_round_key(TRIB_PASS_BASELINE, active->baselines_tried + 1);
    return is_measuring ? trib_round_key(pass_of_version(server), active->row.rounds_done)
                        : trib_round_key(TRIB_PASS_MAIN, active->row.rounds_done + 1);
}

void trib_rounds_open(struct trib_server *server)
{
    struct trib_active_job *active = server->job;
    struct trib_round_run *run;
    const bool is_measuring = trib_rounds_measures(server);
    const enum trib_stop_rule rule = trib_jobs_stop_rule(server);
    if (trib_jobs_is_over(server, rule)) {
        trib_jobs_finish(server); // killed between the last round and the job's end, or too late
        return;
    }
    uint64_t now_ms = trib_clock_mono_ms();
    if (now_ms < active->next_open_ms || !is_worth_opening(server, now_ms))
        return;
    if (trib_jobs_waits_for_pipeline(active) &&
        active->passes_tried >= active->pipeline->passes + TRIB_SERVER_PASSES_LOST_MAX) {
        trib_jobs_end(server, TRIB_JOB_FAILED, TRIB_JOB_NO_STATISTICS);
        return;
    }
    if (wants_baseline(active) && active->baselines_tried >= TRIB_SERVER_PASSES_LOST_MAX) {
        trib_jobs_end(server, TRIB_JOB_FAILED, "the linear baseline could not be counted");
        return;
    }
    if (wants_classes(active) && active->classes_tried >= TRIB_SERVER_PASSES_LOST_MAX) {
        trib_jobs_end(server, TRIB_JOB_FAILED, "the labels could not be counted");
        return;
    }
    const uint64_t key = next_key(server, is_measuring);
    if (trib_run_create(server, server->last_round_id + 1, key, &run))
        return;
    struct open_op *op = trib_alloc(sizeof(*op) + run->plan.offers * sizeof(uint64_t));
    if (!op) {
        trib_run_free(run);
        return;
    }
    server->run = run;
    server->last_round_id++;
    op->row = (struct trib_store_round){.id = run->id,
                                        .job = active->id,
                                        .number = key,
                                        .state = TRIB_ROUND_SELECTING,
                                        .base_version = server->head->manifest.version,
                                        .opened_ms = run->opened_wall_ms};
    op->slot_size = run->rule.packed_size;
    op->slot_count = run->plan.offers;
    op->room = trib_disk_room_of_version(active);
    struct trib_peer *peer;
    while (op->device_count < run->plan.offers && (peer = next_candidate(server, run)))
        op->devices[op->device_count++] = peer->row.id;
    op->op.op.prepare = open_prepare;
    op->op.op.apply = open_apply;
    op->op.finish = open_finish;
    trib_server_submit(server, &op->op);
}
