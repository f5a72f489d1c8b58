// Jobs: from their first version to the one that stays.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "coordinator/class_round.h"
#include "coordinator/gate.h"
#include "coordinator/job_origin.h"
#include "coordinator/moments.h"
#include "coordinator/server_keep.h"
#include "coordinator/server_state.h"
#include "coordinator/strategy.h"

#define TRIB_LOG_MODULE "job"

void trib_jobs_free(struct trib_active_job *job)
{
    if (!job)
        return;
    trib_evaluator_destroy(job->evaluator);
    trib_pipeline_close(job->pipeline);
    trib_moments_destroy(job->moments);
    trib_newton_path_destroy(job->newton);
    free(job->fallback);
    free(job);
}

void trib_jobs_set_head(struct trib_server *server, struct trib_version *version)
{
    trib_version_destroy(server->head);
    server->head = version;
    for (struct trib_session_link *s = server->sessions; s; s = s->next)
        trib_server_announce(s);
}

void trib_jobs_activate(struct trib_server *server, struct trib_active_job *job)
{
    char text[512];
    server->job = job;
    trib_job_promise(&job->job, (enum trib_roster_kind)server->config.roster, text, sizeof(text));
    TRIB_INFO("job=%" PRIu64 " model='%s' params=%zu rounds=%" PRIu64 " cohort=%" PRIu64, job->id,
              job->job.model.spec, job->job.model.param_count, job->job.config.rounds,
              job->job.config.cohort);
    TRIB_INFO("job=%" PRIu64 " %s", job->id, text);
    if (trib_job_warning(&job->job, text, sizeof(text)))
        TRIB_WARN("id=drowned-signal job=%" PRIu64 " %s", job->id, text);
}

void trib_jobs_take_classes(struct trib_active_job *active, const char *report)
{
    active->has_class_weights =
        trib_class_round_weights(&active->job, report, active->class_weight) == TRIB_OK;
    if (!active->has_class_weights)
        TRIB_ERROR("job=%" PRIu64 " the weights of the classes cannot be read; they are counted "
                   "again",
                   active->id);
}

// ---- The first version, and the averaged last one: made on the commit thread, which has nothing
// else to do then

struct version_op {
    struct trib_server_op op;
    const struct trib_active_job *job; // stays until this is back
    struct trib_msg_manifest manifest;
    struct trib_store_version row;
    char *metrics; // of the evaluation, owned
    struct trib_store_job job_row;
    bool is_end;        // of the job: what stays; else its initial parameters
    uint64_t origin;    // of the initial ones: the version, or 0
    bool averages;      // at the end: the tail
    uint64_t tail_from; // first round number of the tail
    double *sums;       // of the tail, owned
    size_t tail_count;
    enum trib_err tail_err;
    enum trib_err initial_err;    // model.init, good at the submission, is not so any more
    struct trib_version *version; // the result, NULL: none was needed
};

static void add_to_tail(void *user, const struct trib_store_version *row)
{
    struct version_op *op = user;
    struct trib_version *version;
    if (op->tail_err || row->job != op->job->id || strcmp(row->kind, "round") != 0 ||
        row->round_number < op->tail_from)
        return;
    op->tail_err = trib_version_read(op->op.server->dir, &op->op.server->identity, row->manifest,
                                     row->manifest_size, row->signature, &version);
    if (op->tail_err)
        return;
    trib_strategy_tail_add(op->sums, trib_version_params(version), version->model.param_count);
    op->tail_count++;
    trib_version_destroy(version);
}

static enum trib_err make_params(struct version_op *op, float *params)
{
    const struct trib_job *job = &op->job->job;
    if (!op->is_end) {
        char why[1024];
        struct trib_job_origin origin;
        const struct trib_server *server = op->op.server;
        const struct trib_job_versions versions = {server->store, server->dir, &server->identity};
        op->initial_err =
            trib_job_start(job, op->origin, &versions, params, &origin, why, sizeof(why));
        if (op->initial_err)
            TRIB_ERROR("job=%" PRIu64 " %s", op->job->id, why);
        op->manifest.parent = origin.version;
        memcpy(op->manifest.parent_digest, origin.digest, TRIB_DIGEST_SIZE);
        return op->initial_err;
    }
    op->sums = trib_alloc_aligned(job->model.param_count, sizeof(*op->sums));
    if (!op->sums)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_store_versions(op->op.server->store, op->job_row.start_version,
                                            UINT32_MAX, add_to_tail, op);
    if (!err)
        err = op->tail_err;
    if (!err && op->tail_count > 0)
        trib_strategy_tail_finish(op->sums, job->model.param_count, op->tail_count, params);
    return err;
}

// Make the version, of which this is known.
static enum trib_err make_version(struct version_op *op, const struct trib_model *model,
                                  const float *params, const struct trib_held_out *held_out)
{
    struct trib_server *server = op->op.server;
    bool higher_is_better;
    if (held_out) {
        trib_manifest_set_evaluation(&op->manifest, &held_out->validation);
        (void)trib_evaluation_primary(&held_out->validation, &op->row.value, &higher_is_better);
        op->row.has_value = op->is_end; // the untrained one is never the best
        op->metrics = trib_evaluator_text(op->job->evaluator, held_out);
        if (!op->metrics)
            return TRIB_ERR_NOMEM;
    }
    enum trib_err err =
        trib_version_make(&server->identity, model, params, &op->manifest, &op->version);
    return err ? err : trib_version_write(server->dir, op->version);
}

static enum trib_err version_prepare(struct trib_commit_op *commit_op)
{
    struct version_op *op = (struct version_op *)commit_op;
    const struct trib_active_job *active = op->job;
    struct trib_held_out held_out;
    float *params = trib_alloc_aligned(active->job.model.param_count, sizeof(*params));
    if (!params)
        return TRIB_ERR_NOMEM;
    enum trib_err err = make_params(op, params);
    if (!err && active->evaluator)
        err = trib_evaluator_run(active->evaluator, params, &held_out);
    if (!err)
        err = make_version(op, &active->job.model, params, active->evaluator ? &held_out : NULL);
    free(params);
    return err;
}

// The version that stays when the job is done, if it is not the newest one.
static enum trib_err keep_prepare(struct trib_commit_op *commit_op)
{
    struct version_op *op = (struct version_op *)commit_op;
    struct trib_kept kept = {.kind = NULL};
    float *average = NULL;
    enum trib_err err = TRIB_OK;
    if (op->averages) {
        average = trib_alloc_aligned(op->job->job.model.param_count, sizeof(*average));
        err = average ? make_params(op, average) : TRIB_ERR_NOMEM;
    }
    if (!err) // with one version there is nothing to average
        err = trib_jobs_keep(op->op.server, op->job, &op->job_row,
                             op->tail_count >= 2 ? average : NULL, &kept);
    if (err)
        goto out;
    if (kept.is_refused) {
        op->job_row.state = TRIB_JOB_REFUSED;
        op->job_row.reason = trib_gate_reason;
    }
    if (!kept.kind)
        goto out;
    (void)snprintf(op->manifest.kind, sizeof(op->manifest.kind), "%s", kept.kind);
    if (kept.source) {
        const struct trib_msg_manifest *from = &kept.source->manifest;
        op->manifest.parent = from->version;
        memcpy(op->manifest.parent_digest, from->digest, TRIB_DIGEST_SIZE);
        memcpy(op->manifest.prepare_digest, from->prepare_digest, TRIB_DIGEST_SIZE);
        memcpy(op->manifest.fallback, from->fallback, sizeof(from->fallback));
    }
    err = make_version(op, kept.source ? &kept.source->model : &op->job->job.model, kept.params,
                       kept.is_measured ? &kept.held_out : NULL);

out:
    trib_kept_fini(&kept);
    free(average);
    return err;
}

static enum trib_err version_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct version_op *op = (struct version_op *)commit_op;
    const struct trib_version *v = op->version;
    enum trib_err err = TRIB_OK;
    if (v) {
        op->row.version = v->manifest.version;
        op->row.generation = v->manifest.generation;
        op->row.parent = v->manifest.parent;
        op->row.job = v->manifest.job;
        op->row.round_number = v->manifest.round_number;
        op->row.kind = v->manifest.kind;
        op->row.spec = v->model.spec;
        op->row.params = v->manifest.params;
        op->row.manifest = v->announcement.manifest;
        op->row.manifest_size = v->announcement.manifest_size;
        op->row.created_ms = v->manifest.created_ms;
        op->row.metrics = op->metrics;
        memcpy(op->row.digest, v->manifest.digest, TRIB_DIGEST_SIZE);
        memcpy(op->row.signature, v->announcement.signature, TRIB_SIGNATURE_SIZE);
        err = trib_store_version_insert(store, &op->row);
        if (!err)
            err = trib_audit_version(store, &op->row);
        TRIB_CRASH_POINT("job.version");
        if (!op->is_end)
            op->job_row.start_version = v->manifest.version;
    }
    return err ? err : trib_store_job_update(store, &op->job_row);
}

void trib_jobs_put_fallback(const struct trib_active_job *active,
                            struct trib_msg_manifest *manifest)
{
    (void)snprintf(manifest->fallback, sizeof(manifest->fallback), "%s",
                   active->fallback ? active->fallback : "");
}

static void fill_manifest(struct trib_server *server, const char *kind,
                          struct trib_msg_manifest *manifest)
{
    const struct trib_active_job *active = server->job;
    uint64_t head = server->head ? server->head->manifest.version : 0;
    *manifest = (struct trib_msg_manifest){
        .generation = server->generation,
        .version = head + 1,
        .parent = head,
        .job = active->id,
        .round_number = active->row.rounds_done,
        .created_ms = trib_clock_wall_ms(),
        .mode = active->job.privacy.encoding.mode,
    };
    if (server->head)
        memcpy(manifest->parent_digest, server->head->manifest.digest, TRIB_DIGEST_SIZE);
    memcpy(manifest->prepare_digest, active->prepare_digest, TRIB_DIGEST_SIZE);
    trib_jobs_put_fallback(active, manifest);
    (void)snprintf(manifest->kind, sizeof(manifest->kind), "%s", kind);
    (void)snprintf(manifest->population, sizeof(manifest->population), "%.*s", TRIB_NAME_MAX,
                   server->config.population);
    if (active->job.config.privacy_mode != TRIB_PRIVACY_OFF) {
        manifest->epsilon_pure = active->spent.epsilon_pure;
        manifest->epsilon = trib_privacy_epsilon(&active->spent, active->job.privacy.delta);
        manifest->delta = active->job.privacy.delta;
    }
}

static void version_op_free(struct version_op *op)
{
    trib_version_destroy(op->version);
    free(op->sums);
    free(op->metrics);
    free(op);
}

void trib_jobs_take_row(struct trib_active_job *active, const struct trib_store_job *row)
{
    const uint32_t state = active->row.state;
    active->row = *row;
    active->row.state = state;
}

static void started(struct trib_server *server, struct trib_server_op *server_op)
{
    struct version_op *op = (struct version_op *)server_op;
    if (op->initial_err && op->initial_err != TRIB_ERR_NOMEM) {
        server->job->is_starting = false;
        trib_jobs_end(server, TRIB_JOB_FAILED, "what it starts from cannot be used any more");
    } else if (op->op.op.result) {
        TRIB_ERROR("job=%" PRIu64 " cannot start: %s", op->job->id,
                   trib_err_text(op->op.op.result));
        trib_server_stop_failed(server);
    } else {
        TRIB_CRASH_POINT("job.started");
        server->job->is_starting = false;
        trib_jobs_take_row(server->job, &op->job_row);
        if (op->version) {
            trib_jobs_set_head(server, op->version);
            op->version = NULL;
        }
        if (server->job->wants_cancel)
            trib_jobs_end(server, TRIB_JOB_CANCELLED, "by the operator");
    }
    version_op_free(op);
}

static struct version_op *version_op_create(struct trib_server *server)
{
    struct version_op *op = trib_alloc(sizeof(*op));
    if (!op)
        return NULL;
    op->job = server->job;
    op->job_row = server->job->row;
    op->op.op.apply = version_apply;
    return op;
}

// Does the job go on from the newest version, which has the same architecture?
static bool is_of_head(const struct trib_server *server)
{
    const struct trib_job *job = &server->job->job;
    return !job->config.model_init[0] && job->config.model_init_version == 0 &&
           !job->config.model_fresh && server->head &&
           memcmp(server->head->model.arch_digest, job->model.arch_digest, TRIB_DIGEST_SIZE) == 0;
}

// A version says by which pipeline its features were made, and devices train on no other. A job
// with another one begins with a version of its own, of the same parameters.
static bool fits_head_pipeline(const struct trib_server *server)
{
    static const uint8_t none[TRIB_DIGEST_SIZE];
    const uint8_t *of_head = server->head->manifest.prepare_digest;
    return !server->job->pipeline || memcmp(of_head, none, sizeof(none)) == 0 ||
           memcmp(of_head, server->job->prepare_digest, TRIB_DIGEST_SIZE) == 0;
}

// So that devices have a job's table before its first round is over.
static bool fits_head_fallback(const struct trib_server *server)
{
    const char *fallback = server->job->fallback;
    return !fallback || strcmp(server->head->manifest.fallback, fallback) == 0;
}

void trib_jobs_start(struct trib_server *server)
{
    struct trib_active_job *active = server->job;
    if (server->is_combining)
        return; // the numbers of versions have no gap; again when it is there
    const bool goes_on = is_of_head(server);
    struct version_op *op = version_op_create(server);
    if (!op)
        return; // again with the next event
    active->is_starting = true;
    if (goes_on && fits_head_pipeline(server) && fits_head_fallback(server)) {
        op->job_row.start_version = server->head->manifest.version;
    } else {
        op->origin =
            goes_on ? server->head->manifest.version : active->job.config.model_init_version;
        fill_manifest(server, "initial", &op->manifest);
        op->op.op.prepare = version_prepare;
    }
    op->op.finish = started;
    trib_server_submit(server, &op->op);
}

static void job_over(struct trib_server *server, const struct trib_store_job *row)
{
    TRIB_INFO("job=%" PRIu64 " %s rounds=%" PRIu64 " version=%" PRIu64, row->id,
              trib_job_state_text((enum trib_job_state)row->state), row->rounds_done,
              server->head ? server->head->manifest.version : (uint64_t)0);
    if (server->job->moments)
        trib_rounds_sweep_moments(server, server->job->moments_version);
    trib_jobs_free(server->job);
    server->job = NULL;
    server->old_seen = 0; // versions that it might have come back to may go
}

static void finished(struct trib_server *server, struct trib_server_op *server_op)
{
    struct version_op *op = (struct version_op *)server_op;
    if (op->op.op.result) {
        trib_server_stop_failed(server);
    } else {
        if (op->version) {
            trib_jobs_set_head(server, op->version);
            op->version = NULL;
        }
        TRIB_CRASH_POINT("job.over");
        job_over(server, &op->job_row);
    }
    version_op_free(op);
}

// `is_done`: the job came to its end, so that a version of it is to stay.
static void submit_end(struct trib_server *server, enum trib_job_state state, const char *reason,
                       bool is_done)
{
    const struct trib_job *job = &server->job->job;
    struct version_op *op = version_op_create(server);
    if (!op) {
        trib_server_stop_failed(server);
        return;
    }
    server->job->is_ending = true;
    op->job_row.state = state;
    op->job_row.ended_ms = trib_clock_wall_ms();
    op->job_row.reason = reason; // a constant text
    op->is_end = true;
    if (is_done) {
        const uint64_t tail = trib_job_tail(job);
        op->averages = tail > 0 && server->job->row.rounds_done >= job->config.rounds;
        op->tail_from = job->config.rounds - tail + 1;
        fill_manifest(server, "", &op->manifest); // the kind comes with what stays
        op->op.op.prepare = keep_prepare;
    }
    op->op.finish = finished;
    trib_server_submit(server, &op->op);
}

void trib_jobs_end(struct trib_server *server, enum trib_job_state state, const char *reason)
{
    submit_end(server, state, reason, false);
}

enum trib_stop_rule trib_jobs_stop_rule(const struct trib_server *server)
{
    const struct trib_active_job *active = server->job;
    const uint64_t now_ms = trib_clock_wall_ms(); // days may pass, and the machine sleep
    const uint64_t begun_ms = active->row.submitted_ms;
    return trib_stop_rule(&active->stop, &active->job, active->row.rounds_done,
                          now_ms > begun_ms ? now_ms - begun_ms : 0);
}

bool trib_jobs_is_over(const struct trib_server *server, enum trib_stop_rule rule)
{
    return rule == TRIB_STOP_TARGET || rule == TRIB_STOP_DEADLINE ||
           (rule != TRIB_STOP_NOT && !trib_rounds_measures(server));
}

void trib_jobs_finish(struct trib_server *server)
{
    const struct trib_active_job *active = server->job;
    const enum trib_stop_rule rule = trib_jobs_stop_rule(server);
    if (trib_jobs_waits_for_pipeline(active) &&
        rule == TRIB_STOP_ROUNDS) { // lost passes took them all
        trib_jobs_end(server, TRIB_JOB_FAILED, TRIB_JOB_NO_STATISTICS);
        return;
    }
    const bool has_target = active->job.config.target_metric != TRIB_JOB_METRIC_NONE;
    const bool missed = has_target && rule != TRIB_STOP_TARGET;
    // There is nothing of the job's to be judged, or to stay. Of Newton's there may be steps that were refused.
    if (rule == TRIB_STOP_ROUNDS && !active->newton &&
        server->head->manifest.version <= active->row.start_version) {
        trib_jobs_end(server, missed ? TRIB_JOB_MISSED : TRIB_JOB_DONE, TRIB_JOB_LEARNT_NOTHING);
        return;
    }
    submit_end(server, missed ? TRIB_JOB_MISSED : TRIB_JOB_DONE,
               missed && rule == TRIB_STOP_ROUNDS ? "the target was not reached"
                                                  : trib_stop_reason(rule),
               true);
}
