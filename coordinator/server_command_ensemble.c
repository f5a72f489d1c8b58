// tributaryctl models ensemble VERSION VERSION...: a version that is made of others, while no job
// runs.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "coordinator/combine.h"
#include "coordinator/gate.h"
#include "coordinator/job_origin.h"
#include "coordinator/server_command.h"

#define TRIB_LOG_MODULE "ensemble"

struct combining {
    struct trib_server_op op; // first
    struct trib_admin_call *call;
    uint64_t numbers[TRIB_ENSEMBLE_MAX]; // of the members
    size_t count;
    double share;
    size_t devices; // enrolled when it began
    struct trib_msg_manifest manifest;
    struct trib_combination made;
    struct trib_active_job *job;  // of the first member, as it was submitted; owned
    struct trib_version *version; // the result, owned
    struct trib_store_version row;
    char *metrics; // owned
    uint32_t exit_code;
    char why[2560]; // of a refusal; "": there is none
};

static void combining_free(struct combining *op)
{
    trib_combination_fini(&op->made);
    trib_version_destroy(op->version);
    trib_jobs_free(op->job);
    free(op->metrics);
    free(op);
}

// What is wrong with the wish is its answer; what is wrong with us ends the operation.
static enum trib_err refuse(struct combining *op, enum trib_err err, const char *why)
{
    if (err == TRIB_ERR_NOMEM)
        return err;
    op->exit_code = err == TRIB_ERR_INVAL ? TRIB_EXIT_USAGE : TRIB_EXIT_DATA;
    if (why != op->why)
        (void)snprintf(op->why, sizeof(op->why), "%.2000s", why);
    return TRIB_OK;
}

// ---- The members, and the job of the first one

static enum trib_err read_members(struct combining *op)
{
    const struct trib_server *server = op->op.server;
    const struct trib_job_versions versions = {server->store, server->dir, &server->identity};
    enum trib_err err = TRIB_OK;
    for (size_t k = 0; k < op->count && !err; k++) {
        err = trib_job_find_version(op->numbers[k], &versions, &op->made.members[k], op->why,
                                    sizeof(op->why));
        op->made.count += err == TRIB_OK;
    }
    if (!err)
        err = trib_combine_check(&op->made, op->why, sizeof(op->why));
    return err ? refuse(op, err, op->why) : TRIB_OK;
}

struct finding {
    uint64_t id;
    char *config; // owned
    bool is_found;
};

static void take_job(void *user, const struct trib_store_job *job)
{
    struct finding *finding = user;
    if (job->id != finding->id)
        return;
    finding->is_found = true;
    finding->config = trib_alloc_text(job->config);
}

// As it was submitted, and with what its rounds have counted: how rows become features.
static enum trib_err read_job(struct combining *op)
{
    struct trib_server *server = op->op.server;
    const struct trib_msg_manifest *first = &op->made.members[0]->manifest;
    struct finding finding = {.id = first->job};
    char name[64];
    char *config = NULL;
    enum trib_err err = trib_store_jobs(server->store, take_job, &finding);
    if (err)
        return err;
    if (!finding.config)
        return finding.is_found ? TRIB_ERR_NOMEM
                                : refuse(op, TRIB_ERR_DATA, "the first member's job is not known");
    (void)snprintf(name, sizeof(name), "job %" PRIu64, first->job);
    struct trib_job_text text = {.text = finding.config,
                                 .size = strlen(finding.config),
                                 .name = name,
                                 .dir = "/",
                                 .devices = &op->devices};
    err = trib_jobs_parse(server, &text, &op->job, &config);
    free(finding.config);
    free(config);
    if (err)
        return refuse(op, err == TRIB_ERR_NOMEM ? err : TRIB_ERR_DATA, text.why);
    op->job->id = first->job;
    return trib_jobs_recall(server->store, op->job);
}

static enum trib_err check_rows(struct combining *op)
{
    const struct trib_msg_manifest *first = &op->made.members[0]->manifest;
    char why[256];
    if (!op->job->evaluator)
        (void)snprintf(why, sizeof(why),
                       "job %" PRIu64 " of version %" PRIu64 " has no held-out rows to choose "
                       "weights by (round.eval_every = 0, or its pipeline was never fitted)",
                       first->job, first->version);
    else if (memcmp(op->job->prepare_digest, first->prepare_digest, TRIB_DIGEST_SIZE) != 0)
        (void)snprintf(why, sizeof(why),
                       "version %" PRIu64 ": its features come from another pipeline than that of "
                       "its job %" PRIu64,
                       first->version, first->job);
    else
        return TRIB_OK;
    return refuse(op, TRIB_ERR_DATA, why);
}

// ---- The version

static enum trib_err check_gate(struct combining *op)
{
    const struct trib_held_out *held_out = &op->made.held_out;
    if (!isfinite(held_out->validation.loss))
        return refuse(op, TRIB_ERR_DATA, "what it says of the held-out rows is not finite");
    if (trib_gate_passes(&op->job->job, held_out))
        return TRIB_OK;
    (void)snprintf(op->why, sizeof(op->why),
                   "the ensemble is not better than the baseline (%s: %.4f, lift %.4f): no version "
                   "is made of it (round.beat_baseline of job %" PRIu64 ")",
                   held_out->baseline.name ? held_out->baseline.name : "none",
                   held_out->baseline.value, trib_held_out_lift(held_out), op->job->id);
    op->exit_code = TRIB_EXIT_STOPPED;
    return TRIB_OK;
}

static enum trib_err make_version(struct combining *op)
{
    struct trib_server *server = op->op.server;
    const struct trib_msg_manifest *first = &op->made.members[0]->manifest;
    bool higher_is_better;
    memcpy(op->manifest.prepare_digest, first->prepare_digest, TRIB_DIGEST_SIZE);
    memcpy(op->manifest.fallback, first->fallback, sizeof(first->fallback));
    trib_manifest_set_evaluation(&op->manifest, &op->made.held_out.validation);
    (void)trib_evaluation_primary(&op->made.held_out.validation, &op->row.value, &higher_is_better);
    op->row.has_value = true;
    op->metrics = trib_combination_text(&op->made);
    if (!op->metrics)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_version_make(&server->identity, &op->made.model, op->made.params,
                                          &op->manifest, &op->version);
    return err ? err : trib_version_write(server->dir, op->version);
}

// On the commit thread.
static enum trib_err prepare(struct trib_commit_op *commit_op)
{
    struct combining *op = (struct combining *)commit_op;
    char why[TRIB_PATH_MAX + 512];
    enum trib_err err = read_members(op);
    if (!err && !op->exit_code)
        err = read_job(op);
    if (!err && !op->exit_code)
        err = check_rows(op);
    if (err || op->exit_code)
        return err;
    err = trib_combine(&op->made, &op->job->job, op->job->evaluator, op->share, why, sizeof(why));
    if (err)
        return refuse(op, err, why);
    err = check_gate(op);
    return err || op->exit_code ? err : make_version(op);
}

static enum trib_err apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct combining *op = (struct combining *)commit_op;
    const struct trib_version *v = op->version;
    if (!v)
        return TRIB_OK;
    op->row.version = v->manifest.version;
    op->row.generation = v->manifest.generation;
    op->row.parent = v->manifest.parent;
    op->row.kind = v->manifest.kind;
    op->row.spec = v->model.spec;
    op->row.params = v->manifest.params;
    op->row.manifest = v->announcement.manifest;
    op->row.manifest_size = v->announcement.manifest_size;
    op->row.created_ms = v->manifest.created_ms;
    op->row.metrics = op->metrics;
    memcpy(op->row.digest, v->manifest.digest, TRIB_DIGEST_SIZE);
    memcpy(op->row.signature, v->announcement.signature, TRIB_SIGNATURE_SIZE);
    enum trib_err err = trib_store_version_insert(store, &op->row);
    if (!err)
        err = trib_audit_version(store, &op->row);
    if (!err)
        err = trib_admin_record(op->call, store, "ok");
    return err;
}

// ---- The answer

static void put_row(struct trib_admin_reply *reply, const char *what, uint64_t version,
                    double weight, const struct trib_evaluation *e)
{
    bool higher_is_better;
    double value;
    const char *metric = trib_evaluation_primary(e, &value, &higher_is_better);
    (void)trib_admin_row_add(reply);
    trib_admin_text(reply, "what", what);
    trib_admin_number(reply, "version", version);
    trib_admin_real(reply, "weight", weight);
    trib_admin_number(reply, "rows", e->rows);
    trib_admin_real(reply, "loss", e->loss);
    trib_admin_text(reply, "metric", metric);
    trib_admin_real(reply, "value", value);
}

static void finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct combining *op = (struct combining *)server_op;
    struct trib_admin_reply reply = {.exit_code = 0};
    server->is_combining = false;
    if (op->op.op.result) {
        trib_admin_fail(&reply, TRIB_EXIT_INTERNAL, "%s", trib_err_text(op->op.op.result));
    } else if (op->exit_code) {
        trib_admin_fail(&reply, op->exit_code, "%s", op->why);
    } else {
        for (size_t k = 0; k < op->made.count; k++)
            put_row(&reply, "member", op->numbers[k], op->made.weights[k], &op->made.alone[k]);
        put_row(&reply, "ensemble", op->version->manifest.version, 1,
                &op->made.held_out.validation);
        TRIB_INFO("version=%" PRIu64 " is an ensemble of %zu versions",
                  op->version->manifest.version, op->made.count);
        trib_jobs_set_head(server, op->version);
        op->version = NULL;
    }
    trib_admin_answer(op->call, &reply);
    combining_free(op);
}

// ---- The wish

static bool read_share(const struct trib_admin_call *call, double *ret_share)
{
    const char *text = trib_command_option(call, "--validation");
    char *end = NULL;
    if (!text)
        return true;
    *ret_share = strtod(text, &end);
    return end != text && *end == '\0' && *ret_share > 0 && *ret_share < 1;
}

// The words behind the command, up to the first option.
static bool read_numbers(const struct trib_admin_call *call, struct combining *op)
{
    for (size_t i = 2; *trib_command_word(call, i); i++) {
        const char *word = trib_command_word(call, i);
        if (strncmp(word, "--", 2) == 0)
            break;
        if (op->count == TRIB_ENSEMBLE_MAX || !trib_command_parse(word, &op->numbers[op->count]) ||
            op->numbers[op->count] == 0)
            return false;
        op->count++;
    }
    return op->count >= 2;
}

static void fill_manifest(struct trib_server *server, struct trib_msg_manifest *manifest)
{
    const struct trib_msg_manifest *head = &server->head->manifest;
    *manifest = (struct trib_msg_manifest){
        .generation = server->generation,
        .version = head->version + 1,
        .parent = head->version,
        .created_ms = trib_clock_wall_ms(),
        .kind = "ensemble",
    };
    memcpy(manifest->parent_digest, head->digest, TRIB_DIGEST_SIZE);
    (void)snprintf(manifest->population, sizeof(manifest->population), "%.*s", TRIB_NAME_MAX,
                   server->config.population);
}

static const char *what_is_wrong(const struct trib_server *server,
                                 const struct trib_admin_call *call, struct combining *op)
{
    if (server->job)
        return "a job runs: make the ensemble when it is over, or cancel it";
    if (server->is_combining)
        return "another ensemble is being made: wait until it is";
    if (!server->head || !read_numbers(call, op))
        return "want the numbers of 2 to 32 versions (models ls)";
    if (!read_share(call, &op->share))
        return "--validation wants more than 0 and less than 1";
    return NULL;
}

void trib_cmd_models_ensemble(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct combining *op = trib_alloc(sizeof(*op));
    if (!op) {
        trib_command_fail(call, TRIB_EXIT_INTERNAL, "out of memory");
        return;
    }
    op->share = 0.5;
    const char *wrong = what_is_wrong(server, call, op);
    if (wrong) {
        trib_command_fail(call, TRIB_EXIT_USAGE, wrong);
        combining_free(op);
        return;
    }
    op->call = call;
    op->devices = trib_peers_count(server->peers);
    fill_manifest(server, &op->manifest);
    op->op.op.prepare = prepare;
    op->op.op.apply = apply;
    op->op.finish = finish;
    server->is_combining = true;
    trib_server_submit(server, &op->op);
}
