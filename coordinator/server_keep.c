// Which version stays when a job is done: chosen on the commit thread, before its last transaction.
#include "coordinator/server_keep.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "coordinator/gate.h"

#define TRIB_LOG_MODULE "job"

struct reading {
    struct trib_server *server;
    struct trib_version *version; // read, owned
    double value;                 // of the row
    enum trib_err err;
};

static void read_row(void *user, const struct trib_store_version *row)
{
    struct reading *reading = user;
    reading->value = row->value;
    reading->err =
        trib_version_read(reading->server->dir, &reading->server->identity, row->manifest,
                          row->manifest_size, row->signature, &reading->version);
}

enum trib_err trib_jobs_read_version(struct trib_server *server, uint64_t number,
                                     struct trib_version **ret_version)
{
    struct reading reading = {.server = server};
    enum trib_err err = trib_store_versions(server->store, number - 1, 1, read_row, &reading);
    if (!err)
        err = reading.version || reading.err ? reading.err : TRIB_ERR_STATE;
    *ret_version = reading.version;
    return err;
}

// The best evaluated one of the job, when it is better than `value`, or that is NaN.
static enum trib_err take_best(struct trib_server *server, const struct trib_active_job *active,
                               struct trib_kept *kept)
{
    const struct trib_job *job = &active->job;
    struct reading reading = {.server = server};
    enum trib_err err = trib_store_version_best(server->store, active->id,
                                                trib_job_higher_is_better(job), read_row, &reading);
    if (!err)
        err = reading.err;
    if (err || !reading.version)
        return err;
    bool is_better_than_average = true;
    if (kept->params == kept->average && kept->average) {
        err = trib_evaluator_run(active->evaluator, kept->average, &kept->held_out);
        bool higher_is_better;
        double value;
        if (!err)
            (void)trib_evaluation_primary(&kept->held_out.validation, &value, &higher_is_better);
        is_better_than_average = !err && !trib_gate_is_better(job, value, reading.value);
    }
    if (err || !is_better_than_average) {
        trib_version_destroy(reading.version);
        return err;
    }
    kept->source = reading.version;
    kept->params = trib_version_params(reading.version);
    kept->kind = TRIB_VERSION_RESTORED;
    return TRIB_OK;
}

// What was there before the job: what it went on from, or what was the newest when it drew
// parameters of its own; those, where there was nothing.
static enum trib_err take_before(struct trib_server *server, const struct trib_store_job *row,
                                 uint64_t job, struct trib_kept *kept)
{
    struct trib_version *version;
    enum trib_err err = trib_jobs_read_version(server, row->start_version, &version);
    if (!err && version->manifest.job == job && strcmp(version->manifest.kind, "initial") == 0 &&
        row->start_version > 1) {
        trib_version_destroy(version);
        err = trib_jobs_read_version(server, row->start_version - 1, &version);
    }
    if (err)
        return err;
    trib_version_destroy(kept->source);
    kept->source = version;
    kept->params = trib_version_params(version);
    kept->kind = TRIB_VERSION_RESTORED;
    kept->is_measured = false;
    return TRIB_OK;
}

enum trib_err trib_jobs_keep(struct trib_server *server, const struct trib_active_job *active,
                             const struct trib_store_job *row, const float *average,
                             struct trib_kept *ret_kept)
{
    const struct trib_job_config *config = &active->job.config;
    struct trib_kept kept = {.average = average, .kind = average ? "tail_average" : NULL};
    kept.params = average ? average : trib_version_params(server->head);
    enum trib_err err =
        config->keep == TRIB_JOB_KEEP_BEST ? take_best(server, active, &kept) : TRIB_OK;
    kept.is_measured = active->evaluator && (kept.kind || trib_gate_is_on(config));
    if (!err && kept.is_measured)
        err = trib_evaluator_run(active->evaluator, kept.params, &kept.held_out);
    if (!err && kept.is_measured && !trib_gate_passes(&active->job, &kept.held_out)) {
        kept.is_refused = true;
        TRIB_WARN("id=gate-refused job=%" PRIu64 " its version is not better than the baseline "
                  "(%s: %.4f) by more than 0, and %g: it does not stay (lift %.4f)",
                  active->id, kept.held_out.baseline.name, kept.held_out.baseline.value,
                  config->baseline_margin, trib_held_out_lift(&kept.held_out));
        err = take_before(server, row, active->id, &kept);
    }
    // The same numbers once more are no news
    if (!err && kept.source &&
        memcmp(kept.source->manifest.digest, server->head->manifest.digest, TRIB_DIGEST_SIZE) == 0)
        kept.kind = NULL;
    if (err)
        trib_kept_fini(&kept);
    *ret_kept = kept;
    return err;
}

void trib_kept_fini(struct trib_kept *kept)
{
    trib_version_destroy(kept->source);
    kept->source = NULL;
}
