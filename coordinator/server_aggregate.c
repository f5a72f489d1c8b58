// A sealed round on a worker: from what was received to a version, or to the sums of a tally.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "coordinator/finish.h"
#include "coordinator/server_state.h"
#include "coordinator/slices.h"

#define TRIB_LOG_MODULE "round"

struct aggregation {
    struct trib_work work; // first
    struct trib_server_event event;
    struct trib_server *server;
    const struct trib_active_job *job; // stays until this is back
    uint64_t round_id;
    struct trib_round_shape shape;
    bool evaluates;
    struct trib_segment *segment; // a reference
    struct trib_blob *base;       // a reference
    struct trib_aggregate_plan plan;
    struct trib_aggregate_member *members; // owned
    struct trib_secagg_hub *hub;           // of the run, which stays until this is back; or NULL
    double rms;                            // of the mean
    struct trib_tally_use use;             // of a tally round
    struct trib_msg_metric beside[TRIB_METRICS_MAX]; // of the base, (beside_count)
    uint32_t beside_count;
    trib_name *groups;    // of the members, owned; NULL: no report by group
    bool is_masked_wrong; // its secrets do not fit together
    struct trib_msg_manifest manifest;
    struct trib_held_out held_out;
    uint64_t evaluate_us;         // of the time it took
    char *metrics;                // of the evaluation, owned
    struct trib_version *version; // the result
    enum trib_err err;
};

static enum trib_err sum_segment(struct aggregation *a, float *mean)
{
    return trib_aggregate_segment(&a->plan, a->segment, trib_pool_threads(a->server->pool), mean);
}

static enum trib_err sum_masked(struct aggregation *a, float *mean)
{
    struct trib_unmask unmask = {.hub = a->hub, .word_bits = a->plan.word_bits};
    enum trib_err err = trib_secagg_hub_open(a->hub);
    a->is_masked_wrong = err == TRIB_ERR_PROTO;
    if (err)
        return err;
    a->plan.finish = trib_unmask_finish;
    a->plan.finish_user = &unmask;
    return sum_segment(a, mean);
}

// The noised sum is on disk before anybody uses it, and is drawn once.
static enum trib_err sum_central(struct aggregation *a, float *mean)
{
    const struct trib_job *job = &a->job->job;
    struct trib_central central;
    const char *dir = a->server->updates_dir;
    enum trib_err err = trib_central_init(&central, &a->shape.privacy->encoding, a->shape.words,
                                          job->config.test_seed, a->manifest.round_number);
    if (!err)
        err = TRIB_PLANT("noise-again") ? TRIB_ERR_STATE
                                        : trib_central_read(&central, dir, a->round_id);
    if (err == TRIB_ERR_STATE) {
        a->plan.finish = trib_central_finish;
        a->plan.finish_user = &central;
        err = sum_segment(a, mean);
        TRIB_CRASH_POINT("central.noised");
        if (!err)
            err = trib_central_write(&central, dir, a->round_id);
        TRIB_CRASH_POINT("central.durable");
    }
    if (!err && a->plan.sums)
        memcpy(a->plan.sums, central.sums, central.count * sizeof(*central.sums));
    else if (!err)
        trib_aggregate_mean(central.sums, central.count, a->plan.grid, a->plan.count, mean);
    trib_central_fini(&central);
    return err;
}

static enum trib_err sum_of(struct aggregation *a, float *mean)
{
    switch (a->shape.privacy->encoding.mode) {
    case TRIB_PRIVACY_DISTRIBUTED: return sum_masked(a, mean);
    case TRIB_PRIVACY_CENTRAL: return sum_central(a, mean);
    case TRIB_PRIVACY_OFF:
    case TRIB_PRIVACY_LOCAL: break;
    }
    return sum_segment(a, mean);
}

// From the mean delta to the next parameters, in place.
static enum trib_err apply_mean(struct aggregation *a, const float *base, float *mean)
{
    const struct trib_job *job = &a->job->job;
    const size_t count = job->model.param_count;
    enum trib_err err = sum_of(a, mean);
    if (err)
        return err;
    // What noise there is on frozen layers stays outside
    trib_train_clear_layers(&job->model, job->train.frozen, mean);
    a->rms = trib_aggregate_rms(mean, count);
    return trib_job_step(job, a->job->moments, base, mean, mean);
}

static enum trib_err use_values(struct aggregation *a, double *values, const float *base,
                                float *next)
{
    struct trib_evaluation_value beside[TRIB_METRICS_MAX];
    for (uint32_t i = 0; i < a->beside_count; i++)
        beside[i] =
            (struct trib_evaluation_value){.name = a->beside[i].name, .value = a->beside[i].value};
    struct trib_slices slices = {.count = 0};
    enum trib_err err = a->groups ? trib_slices_sum(&a->job->job, &a->shape, &a->plan,
                                                    (const char(*)[TRIB_NAME_MAX + 1]) a->groups,
                                                    a->segment, &slices)
                                  : TRIB_OK;
    const struct trib_tally_base counted_at = {.version = a->manifest.parent,
                                               .params = base,
                                               .pipeline = a->job->pipeline,
                                               .evaluator = a->job->evaluator,
                                               .newton = a->job->newton,
                                               .values = beside,
                                               .value_count = a->beside_count,
                                               .slices = slices.slices,
                                               .slice_count = slices.count,
                                               .counted = a->plan.count};
    if (!err)
        err = trib_tally_round_use(&a->job->job, &a->shape, values, &counted_at, next, &a->use);
    trib_slices_fini(&slices);
    return err;
}

// From the sums of a tally round to whatever they are for.
static enum trib_err apply_tally(struct aggregation *a, const float *base, float *next)
{
    const struct trib_job *job = &a->job->job;
    double *values = trib_alloc_aligned(a->shape.values, sizeof(*values));
    a->plan.sums = trib_alloc_aligned(a->shape.words, sizeof(*a->plan.sums));
    enum trib_err err = values && a->plan.sums ? TRIB_OK : TRIB_ERR_NOMEM;
    if (!err)
        err = sum_of(a, NULL);
    if (!err)
        err = trib_tally_round_values(job, &a->shape, a->plan.sums, values);
    if (!err) {
        a->rms = trib_tally_round_rms(&a->shape, a->plan.sums, a->plan.count);
        err = use_values(a, values, base, next);
    }
    free(values);
    free(a->plan.sums);
    return err;
}

// Takes `params`, also when it fails.
static enum trib_err make_version(struct aggregation *a, float *params)
{
    enum trib_err err = TRIB_OK;
    if (a->evaluates) {
        const uint64_t began_us = trib_clock_mono_us();
        err = trib_evaluator_run(a->job->evaluator, params, &a->held_out);
        a->evaluate_us = trib_clock_mono_us() - began_us;
        if (!err) {
            trib_manifest_set_evaluation(&a->manifest, &a->held_out.validation);
            a->metrics = trib_evaluator_text(a->job->evaluator, &a->held_out);
            err = a->metrics ? TRIB_OK : TRIB_ERR_NOMEM;
        }
    }
    if (err) {
        free(params);
        return err;
    }
    return trib_version_take(&a->server->identity, &a->job->job.model, params, &a->manifest,
                             &a->version);
}

static enum trib_err aggregate(struct aggregation *a)
{
    const float *base = (const float *)(const void *)a->base->data;
    float *next = trib_alloc_aligned(a->job->job.model.param_count, sizeof(*next));
    if (!next)
        return TRIB_ERR_NOMEM;
    enum trib_err err = a->shape.kind ? apply_tally(a, base, next) : apply_mean(a, base, next);
    if (!err && (!a->shape.kind || a->use.has_version))
        return make_version(a, next);
    free(next);
    return err;
}

static void aggregation_run(struct trib_work *work)
{
    struct aggregation *a = (struct aggregation *)work;
    a->err = aggregate(a);
    trib_server_post(a->server, &a->event);
}

static void aggregation_free(struct aggregation *a)
{
    trib_segment_unref(a->segment);
    trib_blob_unref(a->base);
    trib_version_destroy(a->version);
    trib_tally_use_fini(&a->use);
    free(a->members);
    free(a->groups);
    free(a->metrics);
    free(a);
}

static void note_phases(struct trib_round_run *run, const struct aggregation *a)
{
    trib_run_enter(run, TRIB_PHASE_COMMIT);
    run->phase_us[TRIB_PHASE_AGGREGATE] -= a->evaluate_us;
    run->phase_us[TRIB_PHASE_EVALUATE] += a->evaluate_us;
}

static void aggregation_done(struct trib_server *server, struct trib_server_event *event)
{
    struct aggregation *a =
        (struct aggregation *)(void *)((char *)event - offsetof(struct aggregation, event));
    struct trib_round_run *run = server->run;
    server->ops_in_flight--;
    bool is_current = run && run->id == a->round_id && run->round.state == TRIB_ROUND_AGGREGATING;
    if (is_current)
        note_phases(run, a);
    if (is_current && a->is_masked_wrong) { // this round is lost, the job is not
        TRIB_ERROR("id=secagg-wrong-share round=%" PRIu64 ": some member's share was wrong",
                   run->number);
        (void)!trib_rounds_step(server,
                                &(struct trib_round_input){.event = TRIB_ROUND_EV_CANCEL,
                                                           .reason = TRIB_ROUND_REASON_SECAGG});
    } else if (is_current && (a->err == TRIB_ERR_NOMEM || a->err == TRIB_ERR_IO)) {
        // Our machine's fault, not the round's: it is sealed, and a restart adds it up again.
        TRIB_ERROR("id=aggregate-failed round=%" PRIu64 ": %s; stopping to recover from disk",
                   run->number, trib_err_text(a->err));
        trib_server_stop_failed(server);
    } else if (is_current && a->err) {
        TRIB_ERROR("id=aggregate-failed round=%" PRIu64 ": %s", run->number, trib_err_text(a->err));
        run->failure = a->shape.kind == TRIB_TALLY_PREPARE
                           ? "the pipeline's statistics cannot be used; see the log"
                       : a->err == TRIB_ERR_DATA ? "the model is no longer finite"
                                                 : "a round could not be aggregated; see the log";
        (void)!trib_rounds_step(server,
                                &(struct trib_round_input){.event = TRIB_ROUND_EV_CANCEL,
                                                           .reason = TRIB_ROUND_REASON_FAILED});
    } else if (is_current && a->use.newton_is_off) { // this round is lost, the job is not
        run->tally = a->use.json;
        a->use.json = (struct trib_buf){0};
        (void)!trib_rounds_step(server,
                                &(struct trib_round_input){.event = TRIB_ROUND_EV_CANCEL,
                                                           .reason = TRIB_ROUND_REASON_NEWTON});
    } else if (is_current) {
        run->tally = a->use.json;
        a->use.json = (struct trib_buf){0};
        run->step = a->use.step;
        a->use.step = (struct trib_pipeline_step){.text = NULL};
        const bool is_measured = a->version && a->evaluates;
        run->target_is_reached =
            is_measured && trib_job_target_is_reached(&server->job->job, &a->held_out.validation);
        const struct trib_round_outcome outcome = {.is_committed = true,
                                                   .version = a->version,
                                                   .held_out = is_measured ? &a->held_out : NULL,
                                                   .metrics = a->metrics,
                                                   .rms = a->rms};
        a->version = NULL;
        a->metrics = NULL;
        trib_rounds_conclude(server, &outcome);
    }
    aggregation_free(a);
}

// `groups` may be NULL.
static uint32_t collect_members(struct trib_server *server, struct trib_aggregate_member *members,
                                trib_name *groups)
{
    uint32_t count = 0;
    for (const struct trib_known_update *k = server->known_list; k; k = k->next) {
        const struct trib_peer *peer = trib_peers_by_id(server->peers, k->device);
        if (groups && peer)
            memcpy(groups[count], peer->row.group, sizeof(groups[count]));
        members[count++] = (struct trib_aggregate_member){
            .slot = k->slot, .weight = k->weight, .checksums = k->checksums};
    }
    return count;
}

// Is what was counted to be told by groups of devices, too?
static bool is_sliced(const struct trib_round_run *run)
{
    return (run->shape.kind == TRIB_TALLY_EVALUATION || run->shape.kind == TRIB_TALLY_COUNTERS) &&
           run->shape.privacy->encoding.mode == TRIB_PRIVACY_OFF;
}

void trib_rounds_aggregate(struct trib_server *server)
{
    struct trib_round_run *run = server->run;
    struct trib_active_job *active = server->job;
    const struct trib_job *job = &active->job;
    const uint32_t counted = run->round.leases[TRIB_LEASE_COUNTED];
    struct aggregation *a = trib_alloc(sizeof(*a));
    if (a)
        a->members = trib_alloc_array(counted, sizeof(*a->members));
    if (a && is_sliced(run))
        a->groups = trib_alloc_array(counted, sizeof(*a->groups));
    if (!a || !a->members || (is_sliced(run) && !a->groups)) {
        if (a)
            free(a->members);
        free(a);
        return; // again with the next event
    }
    run->is_aggregating = true;
    a->hub = run->secagg ? run->secagg->hub : NULL;
    a->work.run = aggregation_run;
    a->event.handle = aggregation_done;
    a->server = server;
    a->job = active;
    a->round_id = run->id;
    a->evaluates = active->evaluator && trib_job_evaluates(job, run->number);
    a->segment = trib_segment_ref(run->segment);
    a->base = trib_blob_ref(server->head->params);
    a->shape = run->shape;
    a->beside_count = server->head->manifest.metric_count;
    memcpy(a->beside, server->head->manifest.metrics, sizeof(a->beside));
    a->plan = (struct trib_aggregate_plan){.params = run->shape.words,
                                           .word_bits = run->shape.privacy->encoding.word_bits,
                                           .grid = run->shape.privacy->encoding.grid,
                                           .count = collect_members(server, a->members, a->groups),
                                           .members = a->members};
    a->manifest = (struct trib_msg_manifest){
        .generation = server->generation,
        .version = server->head->manifest.version + 1,
        .parent = server->head->manifest.version,
        .job = active->id,
        .round_id = run->id,
        .round_number = run->number,
        .kind = "round",
        .accepted = counted,
        .created_ms = trib_clock_wall_ms(),
        .mode = job->privacy.encoding.mode,
    };
    memcpy(a->manifest.parent_digest, server->head->manifest.digest, TRIB_DIGEST_SIZE);
    memcpy(a->manifest.prepare_digest, active->prepare_digest, TRIB_DIGEST_SIZE);
    trib_jobs_put_fallback(active, &a->manifest);
    (void)snprintf(a->manifest.population, sizeof(a->manifest.population), "%.*s", TRIB_NAME_MAX,
                   server->config.population);
    if (job->config.privacy_mode != TRIB_PRIVACY_OFF) {
        a->manifest.epsilon_pure = active->spent.epsilon_pure;
        a->manifest.epsilon = trib_privacy_epsilon(&active->spent, job->privacy.delta);
        a->manifest.delta = job->privacy.delta;
    }
    server->ops_in_flight++;
    trib_pool_submit(server->pool, &a->work);
}
