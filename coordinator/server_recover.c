// Jobs after a restart: what the store, the files and the ended rounds say of where a job stood.
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "coordinator/gate.h"
#include "coordinator/moments.h"
#include "coordinator/server_keep.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "job"

struct recovery {
    struct trib_server *server;
    struct trib_store_job row;
    char *config;          // owned
    struct trib_map *kept; // digests of the versions in the store
    enum trib_err err;
};

static void take_job(void *user, const struct trib_store_job *job)
{
    struct recovery *recovery = user;
    if (job->state != TRIB_JOB_ACTIVE && job->state != TRIB_JOB_PAUSED)
        return;
    free(recovery->config);
    recovery->row = *job;
    recovery->row.name = recovery->row.config = recovery->row.reason = NULL;
    recovery->config = trib_alloc_text(job->config);
    recovery->err = recovery->config ? TRIB_OK : TRIB_ERR_NOMEM;
}

static void take_head(void *user, const struct trib_store_version *v)
{
    struct recovery *recovery = user;
    struct trib_server *server = recovery->server;
    recovery->err = trib_version_read(server->dir, &server->identity, v->manifest, v->manifest_size,
                                      v->signature, &server->head);
}

// ---- Model files without a row: a commit that was killed between its file and its transaction

static void keep_digest(void *user, const struct trib_store_version *v)
{
    struct recovery *recovery = user;
    if (!recovery->err && !v->is_dropped) // any pointer will do: only the key matters
        recovery->err = trib_map_put(recovery->kept, v->digest, sizeof(v->digest), recovery);
}

static enum trib_err remove_strays(struct trib_server *server, struct recovery *recovery)
{
    char models[TRIB_PATH_MAX + 1];
    char path[TRIB_PATH_MAX + 1];
    const struct dirent *entry;
    enum trib_err err = trib_path_join(models, server->dir, "models");
    DIR *entries = err ? NULL : opendir(models);
    if (!entries) {
        TRIB_ERROR("%s: cannot be listed", models);
        return TRIB_ERR_IO;
    }
    while (!err && (entry = readdir(entries))) {
        uint8_t digest[TRIB_DIGEST_SIZE];
        char hex[TRIB_DIGEST_TEXT_SIZE];
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || entry->d_name[0] == '.')
            continue;
        (void)snprintf(hex, sizeof(hex), "%.*s", (int)strcspn(entry->d_name, "."), entry->d_name);
        bool is_model =
            strcmp(dot, ".safetensors") == 0 && trib_hex_decode(hex, digest, sizeof(digest));
        bool is_stray = strcmp(dot, ".tmp") == 0 ||
                        (is_model && !trib_map_get(recovery->kept, digest, sizeof(digest)));
        if (!is_stray)
            continue;
        err = trib_path_join(path, models, entry->d_name);
        if (!err)
            err = trib_file_remove(path);
    }
    (void)closedir(entries);
    return err;
}

static enum trib_err clean_models(struct trib_server *server, struct recovery *recovery)
{
    enum trib_err err = trib_map_create(&recovery->kept);
    if (!err)
        err = trib_store_versions(server->store, 0, UINT32_MAX, keep_digest, recovery);
    if (!err)
        err = recovery->err;
    if (!err)
        err = remove_strays(server, recovery);
    trib_map_destroy(recovery->kept);
    return err;
}

// Did the last round of the job, before we were killed, reach its target?
static bool head_reaches_target(const struct trib_server *server,
                                const struct trib_active_job *active)
{
    struct trib_evaluation last;
    const struct trib_msg_manifest *m = server->head ? &server->head->manifest : NULL;
    if (!m || m->job != active->id || strcmp(m->kind, "round") != 0 || m->metric_count == 0)
        return false;
    trib_manifest_get_evaluation(m, active->job.model.classes, &last);
    return trib_job_target_is_reached(&active->job, &last);
}

// A plateau is what the rounds of the job so far showed.
static void take_value(void *user, const struct trib_store_version *v)
{
    struct trib_active_job *active = user;
    if (v->job != active->id || !v->has_value || strcmp(v->kind, "round") != 0)
        return;
    trib_job_observe(&active->job, v->value, &active->plateau);
    trib_stop_observe(&active->stop, &active->job, v->value);
}

static void recall_baseline(struct trib_active_job *active, const struct trib_store_round *round)
{
    active->baselines_tried = trib_round_key_number(round->number);
    if (round->state != TRIB_ROUND_COMMITTED)
        return;
    active->has_linear = true;
    if (active->evaluator)
        trib_gate_recall_linear(active->evaluator, round->result.tally);
}

// The last pass that a round before the restart counted.
static void recall_pass(struct trib_active_job *active, const struct trib_store_round *round)
{
    struct trib_pipeline_step step;
    active->passes_tried = trib_round_key_number(round->number);
    if (!active->pipeline || round->state != TRIB_ROUND_COMMITTED) {
        trib_jobs_lose_pass(active);
        return;
    }
    if (trib_pipeline_recall(active->pipeline, round->result.tally, &step)) {
        trib_jobs_lose_pass(active);
        TRIB_ERROR("job=%" PRIu64 " what pass %" PRIu64 " counted cannot be read; it is counted "
                   "again",
                   active->id, active->passes_tried);
        return;
    }
    active->is_failed = trib_jobs_take_step(active, &step) != TRIB_OK;
}

// What the rounds before the restart settled: a step that was refused is not tried again, and a
// version that was measured is not measured again.
static void take_ended(void *user, const struct trib_store_round *round)
{
    struct trib_active_job *active = user;
    if (trib_round_key_pass(round->number) == TRIB_PASS_EVALUATION)
        active->measured = trib_round_key_number(round->number);
    if (trib_round_key_pass(round->number) == TRIB_PASS_COUNTERS)
        active->counted = trib_round_key_number(round->number);
    if (trib_round_key_pass(round->number) == TRIB_PASS_PREPARE)
        recall_pass(active, round);
    if (trib_round_key_pass(round->number) == TRIB_PASS_BASELINE)
        recall_baseline(active, round);
    if (trib_round_key_pass(round->number) == TRIB_PASS_CLASSES) {
        active->classes_tried = trib_round_key_number(round->number);
        if (round->state == TRIB_ROUND_COMMITTED)
            trib_jobs_take_classes(active, round->result.tally);
    }
    if (active->newton && round->state == TRIB_ROUND_COMMITTED &&
        strcmp(round->result.kind, trib_tally_kind_text(TRIB_TALLY_NEWTON)) == 0)
        (void)trib_newton_path_recall(active->newton, round->result.tally);
    if (strcmp(round->result.reason, TRIB_ROUND_NEWTON_REFUSED) == 0)
        active->newton_is_off = true;
}

enum trib_err trib_jobs_recall(struct trib_store *store, struct trib_active_job *active)
{
    return trib_store_rounds(store, active->id, 0, UINT32_MAX, take_ended, active);
}

// The moments of the newest version, when it comes from a round of this job; or of the one that a
// restore made of such a version, if the backup had them.
static enum trib_err recover_moments(const struct trib_server *server,
                                     struct trib_active_job *active)
{
    enum trib_err err =
        trib_moments_clean(server->updates_dir, server->head ? server->head->manifest.version : 0);
    if (err)
        return err;
    if (!active->moments || !server->head || server->head->manifest.job != active->id)
        return TRIB_OK;
    const struct trib_msg_manifest *manifest = &server->head->manifest;
    if (strcmp(manifest->kind, "round") != 0 &&
        (strcmp(manifest->kind, TRIB_VERSION_RESTORED) != 0 ||
         !trib_moments_exist(server->updates_dir, manifest->version)))
        return TRIB_OK;
    active->moments_version = manifest->version;
    return trib_moments_read(active->moments, server->updates_dir, active->id,
                             active->moments_version);
}

// The parameters that the last good step began from.
static enum trib_err recover_newton(struct trib_server *server, struct trib_active_job *active)
{
    struct trib_version *version;
    if (!active->newton || active->newton->good.version == 0)
        return TRIB_OK;
    enum trib_err err = trib_jobs_read_version(server, active->newton->good.version, &version);
    if (err)
        return err;
    memcpy(active->newton->good.params, trib_version_params(version),
           active->job.model.param_count * sizeof(float));
    trib_version_destroy(version);
    return TRIB_OK;
}

enum trib_err trib_jobs_recover(struct trib_server *server)
{
    struct recovery recovery = {.server = server};
    struct trib_active_job *active;
    char *config = NULL;

    enum trib_err err = clean_models(server, &recovery);
    TRIB_CRASH_POINT("recover.models");
    if (!err)
        err = trib_store_version_head(server->store, take_head, &recovery);
    if (!err)
        err = recovery.err;
    if (!err)
        err = trib_store_jobs(server->store, take_job, &recovery);
    if (!err)
        err = recovery.err;
    if (err || !recovery.config)
        goto out;
    struct trib_job_text text = {
        .text = recovery.config, .size = strlen(recovery.config), .name = "stored job", .dir = "/"};
    err = trib_jobs_parse(server, &text, &active, &config);
    if (err) {
        TRIB_ERROR("job=%" PRIu64 " cannot go on: %s", recovery.row.id, text.why);
        goto out;
    }
    active->id = recovery.row.id;
    active->row = recovery.row;
    active->spent = (struct trib_privacy_spent){.rounds = recovery.row.rounds_done,
                                                .epsilon_pure = recovery.row.epsilon_pure,
                                                .rho = recovery.row.rho};
    err = trib_store_versions(server->store, active->row.start_version, UINT32_MAX, take_value,
                              active);
    if (!err)
        err = trib_jobs_recall(server->store, active);
    if (!err)
        err = recover_moments(server, active);
    if (!err)
        err = recover_newton(server, active);
    if (err) {
        trib_jobs_free(active);
        goto out;
    }
    TRIB_CRASH_POINT("recover.job");
    active->stop.target_is_reached = head_reaches_target(server, active);
    trib_jobs_activate(server, active);

out:
    free(recovery.config);
    free(config);
    return err;
}
