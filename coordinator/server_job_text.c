// A job from its file, and the pipeline that its rows go through.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "coordinator/gate.h"
#include "coordinator/job_fallback.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "job"

// ---- The pipeline

bool trib_jobs_waits_for_pipeline(const struct trib_active_job *active)
{
    return active->pipeline && !trib_prepare_is_fitted(active->pipeline->prepare);
}

// What follows from the pass that the pipeline is at.
static enum trib_err follow_pipeline(struct trib_active_job *active)
{
    const struct trib_prepare *prepare = active->pipeline->prepare;
    enum trib_err err = trib_job_set_prepare(&active->job, prepare);
    return err || !trib_prepare_is_fitted(prepare)
               ? err
               : trib_prepare_digest(prepare, active->prepare_digest);
}

// Does the pipeline go with the job?
static enum trib_err check_pipeline(struct trib_active_job *active, struct trib_job_text *text)
{
    const struct trib_job *job = &active->job;
    char why[256];
    if (!active->pipeline)
        return TRIB_OK;
    const size_t features = trib_prepare_features(active->pipeline->prepare);
    if (features != job->model.inputs) {
        (void)snprintf(text->why, sizeof(text->why),
                       "%s: data.prepare: makes %zu features, the model takes %u", text->name,
                       features, job->model.inputs);
        return TRIB_ERR_INVAL;
    }
    enum trib_err err = trib_job_check_prepare(job, active->pipeline->prepare, why, sizeof(why));
    if (err) {
        (void)snprintf(text->why, sizeof(text->why), "%s: data.prepare: %s", text->name, why);
        return err;
    }
    return follow_pipeline(active);
}

static enum trib_err open_fallback(struct trib_active_job *active, struct trib_job_text *text)
{
    char why[1500] = "out of memory";
    enum trib_err err =
        trib_job_fallback(&active->data, &active->job.model, &active->fallback, why, sizeof(why));
    if (err)
        (void)snprintf(text->why, sizeof(text->why), "%s: data.fallback: %s", text->name, why);
    return err;
}

// What goes with the model.
static enum trib_err check_beside(struct trib_active_job *active, struct trib_job_text *text)
{
    enum trib_err err = check_pipeline(active, text);
    return err ? err : open_fallback(active, text);
}

void trib_jobs_lose_pass(struct trib_active_job *active)
{
    struct trib_job *job = &active->job;
    if (job->asked.mode != TRIB_PRIVACY_OFF && job->config.rounds > 0)
        job->config.rounds--;
}

// Who reads the rows that judge is seen in the log.
static void tell_of_held_out(const struct trib_active_job *active)
{
    TRIB_INFO("held-out rows are read: file=%s", active->data.test);
}

enum trib_err trib_jobs_take_step(struct trib_active_job *active, struct trib_pipeline_step *step)
{
    char why[TRIB_PATH_MAX + 256];
    struct trib_dataset *held_out;
    trib_pipeline_take(active->pipeline, step, &held_out);
    enum trib_err err = TRIB_OK;
    if (held_out) {
        tell_of_held_out(active);
        err = trib_evaluator_take(held_out, &active->job.model, &active->job.held_out,
                                  &active->evaluator, why, sizeof(why));
        if (err)
            TRIB_ERROR("job=%" PRIu64 " %s", active->id, why);
        if (!err)
            err = trib_gate_begin(&active->job, active->evaluator);
    }
    if (!err)
        err = follow_pipeline(active);
    TRIB_INFO("job=%" PRIu64 " pipeline: %zu of %zu passes are left", active->id,
              trib_prepare_passes_left(active->pipeline->prepare), active->pipeline->passes);
    return err;
}

// ---- From text

static char *resolved_text(const struct trib_conf *conf)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        return NULL;
    trib_conf_write(conf, file);
    if (fclose(file)) {
        free(text);
        return NULL;
    }
    return text;
}

// A path grows when it is resolved; a restart must be able to read what is stored.
static bool reads_back(const char *text)
{
    for (; *text; text += strcspn(text, "\n") + 1) {
        if (strcspn(text, "\n") >= TRIB_CONF_LINE_MAX)
            return false;
    }
    return true;
}

// The jobs of a series all begin alike, none where another has ended, and cost together what the file
// says that one may: basic composition, which holds for what is pure and for what is approximate
// (Dwork and Roth 2014, theorem 3.16).
static enum trib_err join_series(struct trib_conf *conf, struct trib_job_config *config,
                                 uint64_t series)
{
    if (series > 0 && !config->model_init[0] && config->model_init_version == 0)
        config->model_fresh = true;
    if (series <= 1 || config->privacy_mode == TRIB_PRIVACY_OFF)
        return TRIB_OK;
    if (config->noise_multiplier > 0)
        return trib_conf_reject(conf, "privacy", "noise_multiplier",
                                "cannot go with a series of jobs, which share a target_epsilon");
    config->target_epsilon /= (double)series;
    config->target_delta /= (double)series;
    return TRIB_OK;
}

// Its keys and values, one by one.
static enum trib_err read_keys(struct trib_conf *conf, struct trib_active_job *active,
                               struct trib_job_config *config, const struct trib_job_text *text)
{
    trib_conf_init(conf);
    trib_conf_add(conf, trib_data_keys_common, trib_data_keys_common_count, &active->data);
    trib_conf_add(conf, trib_data_keys_fallback, trib_data_keys_fallback_count, &active->data);
    trib_conf_add(conf, trib_data_keys_test, trib_data_keys_test_count, &active->data);
    trib_job_conf_add(conf, config);
    enum trib_err err = trib_conf_parse(conf, text->text, text->size, text->name, text->dir);
    for (size_t i = 0; i < text->set_count && !err; i++)
        err = trib_conf_override(conf, text->sets[i]);
    if (!err)
        err = join_series(conf, config, text->series);
    if (err)
        return err;
    for (size_t i = 0; i < TRIB_JOB_ORIGIN_KEYS; i++)
        active->origin_lines[i] = trib_conf_line(conf, "model", trib_job_origin_keys[i]);
    if (!trib_data_is_file(&active->data))
        return trib_conf_reject(conf, "data", "format",
                                "must be csv, idx or jsonl: the others are of devices");
    err = trib_data_check_join(conf, &active->data);
    if (!err && config->eval_every > 0 && !active->data.test[0])
        err = trib_conf_reject(conf, "data", "test",
                               "is missing: held-out rows are needed unless round.eval_every = 0");
    return err;
}

enum trib_err trib_jobs_parse(struct trib_server *server, struct trib_job_text *text,
                              struct trib_active_job **ret_job, char **ret_config)
{
    struct trib_conf *conf = trib_alloc(sizeof(*conf));
    struct trib_job_config config;
    char *resolved = NULL;
    enum trib_err err = TRIB_ERR_NOMEM;
    struct trib_active_job *active = trib_alloc(sizeof(*active));
    (void)snprintf(text->why, sizeof(text->why), "out of memory");
    if (!conf || !active)
        goto out;
    err = read_keys(conf, active, &config, text);
    if (err) {
        (void)snprintf(text->why, sizeof(text->why), "%s", conf->error);
        goto out;
    }
    err = trib_pipeline_open(&active->data, config.eval_every > 0, &active->pipeline, text->why,
                             sizeof(text->why));
    if (err)
        goto out;
    err = trib_job_check(conf, &config,
                         text->devices ? *text->devices : trib_peers_count(server->peers),
                         active->pipeline ? active->pipeline->passes : 0, &active->job);
    if (err) {
        (void)snprintf(text->why, sizeof(text->why), "%s", conf->error);
        goto out;
    }
    err = check_beside(active, text);
    if (!err && config.eval_every > 0 && !trib_jobs_waits_for_pipeline(active))
        err = trib_evaluator_create(&active->data, &active->job.model, &active->job.held_out,
                                    &active->evaluator, text->why, sizeof(text->why));
    if (!err && active->evaluator)
        tell_of_held_out(active);
    if (!err)
        err = trib_gate_begin(&active->job, active->evaluator);
    if (!err)
        err = trib_job_moments(&active->job, &active->moments);
    if (!err)
        err = trib_newton_path_create(&active->job, &active->newton);
    if (err)
        goto out;
    resolved = resolved_text(conf);
    if (!resolved) {
        err = TRIB_ERR_NOMEM;
        goto out;
    }
    if (!reads_back(resolved)) {
        (void)snprintf(text->why, sizeof(text->why),
                       "%s: data.test, model.init: a path in a stored job has at most %d bytes",
                       text->name, TRIB_CONF_LINE_MAX - (int)sizeof("test_labels = "));
        free(resolved);
        err = TRIB_ERR_INVAL;
        goto out;
    }
    *ret_job = active;
    *ret_config = resolved;
    active = NULL;

out:
    trib_jobs_free(active);
    free(conf);
    return err;
}
