// tributaryctl jobs ...
#include "coordinator/server_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "coordinator/curve.h"
#include "coordinator/gate.h"
#include "coordinator/job_origin.h"

static enum trib_err ask_submit(struct trib_query *q, struct trib_store *store)
{
    const struct trib_server *server = q->op.server;
    const struct trib_job_versions versions = {store, server->dir, &server->identity};
    char why[TRIB_PATH_MAX + 1024];
    enum trib_err err = trib_job_check_start(&q->job->job, &versions, why, sizeof(why));
    if (err == TRIB_ERR_NOMEM)
        return err;
    if (err) {
        q->a = err == TRIB_ERR_INVAL ? TRIB_EXIT_USAGE : TRIB_EXIT_DATA;
        q->refusal = strdup(why);
        return q->refusal ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    return trib_store_job_insert(store, &q->row.job, &q->row.job.id);
}

// As conf.h names a mistake: FILE:LINE: KEY. The text begins with the key.
static void refuse(struct trib_query *q)
{
    const char *const file = trib_admin_request_of(q->call)->body_name;
    const size_t size = strcspn(q->refusal, ":");
    uint32_t line = 0;
    for (size_t i = 0; i < TRIB_JOB_ORIGIN_KEYS; i++) {
        char key[64];
        (void)snprintf(key, sizeof(key), "model.%s", trib_job_origin_keys[i]);
        if (strlen(key) == size && strncmp(key, q->refusal, size) == 0)
            line = q->job->origin_lines[i];
    }
    if (line == UINT32_MAX)
        trib_admin_fail(&q->reply, (uint32_t)q->a, "--set: %s", q->refusal);
    else if (line > 0)
        trib_admin_fail(&q->reply, (uint32_t)q->a, "%s:%" PRIu32 ": %s", file, line, q->refusal);
    else
        trib_admin_fail(&q->reply, (uint32_t)q->a, "%s: %s", file, q->refusal);
}

static void submit_answer(struct trib_server *server, struct trib_server_op *op)
{
    struct trib_query *q = (struct trib_query *)op;
    char text[512];
    if (q->refusal) {
        refuse(q);
        trib_jobs_free(q->job);
    } else if (op->op.result || server->job) {
        trib_jobs_free(q->job);
        trib_admin_fail(&q->reply, TRIB_EXIT_INTERNAL, "the job could not be stored" TRIB_UNSTORED);
    } else {
        q->job->id = q->row.job.id;
        q->job->row = q->row.job;
        q->job->row.name = q->job->row.config = q->job->row.reason = NULL;
        (void)trib_admin_row_add(&q->reply);
        trib_admin_number(&q->reply, "job", q->job->id);
        trib_admin_text(&q->reply, "model", q->job->job.model.spec);
        trib_admin_number(&q->reply, "params", q->job->job.model.param_count);
        trib_job_promise(&q->job->job, (enum trib_roster_kind)server->config.roster, text,
                         sizeof(text));
        trib_admin_text(&q->reply, "privacy", text);
        trib_admin_text(
            &q->reply, "warning",
            trib_job_warning(&q->job->job, text, sizeof(text)) ||
                    trib_secagg_roster_is_short(server, &q->job->job, text, sizeof(text))
                ? text
                : NULL);
        TRIB_CRASH_POINT("job.submitted");
        trib_jobs_activate(server, q->job);
    }
    trib_admin_answer(q->call, &q->reply);
    trib_query_free(q);
}

void trib_cmd_jobs_submit(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    const struct trib_admin_request *request = trib_admin_request_of(call);
    struct trib_job_text text = {.text = (const char *)request->body,
                                 .size = request->body_size,
                                 .name = request->body_name,
                                 .dir = request->body_dir};
    const char *sets[TRIB_ADMIN_WORDS_MAX];
    struct trib_active_job *job;
    char *config;
    text.sets = sets;
    text.series = trib_command_number(call, "--series", 0);
    const char *name = trib_command_option(call, "--name"); // of a job of a series
    for (size_t i = 2; i + 1 < request->word_count; i++) {
        if (strcmp(request->words[i], "--set") == 0)
            sets[text.set_count++] = request->words[++i];
    }
    if (server->job) {
        (void)snprintf(text.why, sizeof(text.why),
                       "job %" PRIu64 " is %s; one job runs at a time: wait, or cancel it",
                       server->job->id,
                       trib_job_state_text((enum trib_job_state)server->job->row.state));
        trib_command_fail(call, TRIB_EXIT_USAGE, text.why);
        return;
    }
    if (server->is_combining) {
        trib_command_fail(call, TRIB_EXIT_USAGE, "an ensemble is being made: wait until it is");
        return;
    }
    enum trib_err err = trib_jobs_parse(server, &text, &job, &config);
    if (err) {
        trib_command_fail(call, err == TRIB_ERR_DATA ? TRIB_EXIT_DATA : TRIB_EXIT_USAGE, text.why);
        return;
    }
    if (trib_job_warning(&job->job, text.why, sizeof(text.why)) &&
        !trib_command_has(call, "--accept-drowned-signal")) {
        trib_command_fail(call, TRIB_EXIT_PRIVACY, text.why);
        trib_jobs_free(job);
        free(config);
        return;
    }
    struct trib_query *q = trib_query_create(call, ask_submit);
    if (!q) {
        trib_jobs_free(job);
        free(config);
        return;
    }
    q->job = job;
    q->text = config;
    q->row.job = (struct trib_store_job){.name = name ? name : trib_path_base(request->body_name),
                                         .config = config,
                                         .state = TRIB_JOB_ACTIVE,
                                         .submitted_ms = trib_clock_wall_ms()};
    q->op.finish = submit_answer;
    trib_query_submit(q);
}

struct job_view {
    struct trib_curve curve;
    enum trib_err err;
    bool higher_is_better;
    struct trib_store_version best;
    bool has_best;
    char baseline[16]; // what it stood beside, "" if nothing
    double baseline_value, lift;
};

static void take_best(void *user, const struct trib_store_version *v)
{
    struct job_view *view = user;
    view->best = *v;
    view->has_best = true;
    if (!v->metrics)
        return;
    trib_result_text(v->metrics, "baseline", "name", view->baseline, sizeof(view->baseline));
    view->baseline_value = trib_result_member(v->metrics, "baseline", "value");
    view->lift = trib_result_member(v->metrics, "baseline", "lift");
}

// Its evaluated rounds all have the same primary metric.
static void take_round(void *user, const struct trib_store_round *round)
{
    struct job_view *view = user;
    if (!view->err)
        view->err = trib_curve_observe(&view->curve, &round->result);
    if (round->result.metric[0])
        view->higher_is_better = trib_metric_higher_is_better(round->result.metric);
}

static void put_job(void *user, const struct trib_store_job *job)
{
    struct trib_query *q = user;
    char when[TRIB_CLOCK_TEXT_SIZE];
    if (q->a && q->a != job->id)
        return;
    q->found = true;
    q->b = job->state;
    q->c = job->reason && strcmp(job->reason, TRIB_JOB_LEARNT_NOTHING) == 0;
    trib_clock_text(job->submitted_ms, when);
    (void)trib_admin_row_add(&q->reply);
    trib_admin_number(&q->reply, "job", job->id);
    trib_admin_text(&q->reply, "name", job->name);
    trib_admin_text(&q->reply, "state", trib_job_state_text((enum trib_job_state)job->state));
    trib_admin_number(&q->reply, "rounds_done", job->rounds_done);
    trib_admin_number(&q->reply, "start_version", job->start_version);
    trib_admin_real(&q->reply, "epsilon_pure", job->epsilon_pure);
    trib_admin_real(&q->reply, "rho", job->rho);
    trib_admin_text(&q->reply, "submitted", when);
    trib_admin_text(&q->reply, "reason", job->reason && *job->reason ? job->reason : NULL);
}

static enum trib_err ask_jobs(struct trib_query *q, struct trib_store *store)
{
    enum trib_err err = trib_store_jobs(store, put_job, q);
    if (!err && q->a && !q->found)
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE, "no job %" PRIu64, q->a);
    if (err || !q->a || !q->found)
        return err;
    // the best version of the one that is shown, by the direction of its metric
    struct job_view view = {.higher_is_better = true};
    trib_curve_init(&view.curve);
    err = trib_store_rounds(store, q->a, 0, UINT32_MAX, take_round, &view);
    if (!err)
        err = view.err;
    if (!err)
        err = trib_store_version_best(store, q->a, view.higher_is_better, take_best, &view);
    if (!err && view.has_best) {
        trib_admin_real(&q->reply, "best", view.best.value);
        trib_admin_number(&q->reply, "best_round", view.best.round_number);
        trib_admin_number(&q->reply, "best_version", view.best.version);
        if (view.baseline[0]) {
            trib_admin_text(&q->reply, "baseline", view.baseline);
            trib_admin_real(&q->reply, "baseline_value", view.baseline_value);
            trib_admin_real(&q->reply, "lift", view.lift);
        }
    }
    if (!err) {
        const enum trib_curve_shape shape = trib_curve_judge(&view.curve);
        trib_admin_text(&q->reply, "diagnosis", trib_curve_text(shape));
        const char *advice = trib_curve_advice(shape);
        if (q->b == TRIB_JOB_REFUSED)
            advice = trib_gate_advice;
        trib_admin_text(&q->reply, "advice", q->b == TRIB_JOB_FAILED || q->c ? NULL : advice);
    }
    trib_curve_fini(&view.curve);
    return err;
}

void trib_cmd_jobs_ls(struct trib_admin_call *call)
{
    struct trib_query *q = trib_query_create(call, ask_jobs);
    if (q)
        trib_query_submit(q);
}

static bool job_id(struct trib_admin_call *call, uint64_t *ret_id)
{
    if (trib_command_parse(trib_command_word(call, 2), ret_id) && *ret_id > 0)
        return true;
    trib_command_fail(call, TRIB_EXIT_USAGE, "want the number of a job");
    return false;
}

void trib_cmd_jobs_show(struct trib_admin_call *call)
{
    uint64_t id;
    if (!job_id(call, &id))
        return;
    struct trib_query *q = trib_query_create(call, ask_jobs);
    if (!q)
        return;
    q->a = id;
    trib_query_submit(q);
}

// Only the state is new: what a round that has just ended wrote into the row must not go back.
static void take_stored(void *user, const struct trib_store_job *job)
{
    struct trib_query *q = user;
    if (job->id != q->a)
        return;
    q->row.job = *job;
    q->row.job.state = (uint32_t)q->b;
    q->row.job.name = q->row.job.config = q->row.job.reason = NULL; // an active job has no reason
    q->found = true;
}

static enum trib_err ask_job_state(struct trib_query *q, struct trib_store *store)
{
    enum trib_err err = trib_store_jobs(store, take_stored, q);
    if (!err && !q->found)
        err = TRIB_ERR_STATE;
    if (!err)
        err = trib_store_job_update(store, &q->row.job);
    TRIB_CRASH_POINT("job.state");
    return err;
}

static void set_job_state(struct trib_admin_call *call, enum trib_job_state state)
{
    struct trib_server *server = trib_admin_server(call);
    uint64_t id;
    if (!job_id(call, &id))
        return;
    if (!server->job || server->job->id != id || server->job->is_ending) {
        trib_command_fail(call, TRIB_EXIT_USAGE, "that job is not running");
        return;
    }
    server->job->row.state = state;
    struct trib_query *q = trib_query_create(call, ask_job_state);
    if (!q)
        return;
    q->a = id;
    q->b = state;
    trib_query_submit(q);
}

void trib_cmd_jobs_pause(struct trib_admin_call *call)
{
    set_job_state(call, TRIB_JOB_PAUSED); // the open round ends first
}

void trib_cmd_jobs_start(struct trib_admin_call *call)
{
    set_job_state(call, TRIB_JOB_ACTIVE);
}

void trib_cmd_jobs_cancel(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct trib_admin_reply reply = {.exit_code = 0};
    uint64_t id;
    if (!job_id(call, &id))
        return;
    if (!server->job || server->job->id != id || server->job->is_ending) {
        trib_command_fail(call, TRIB_EXIT_USAGE, "that job is not running");
        return;
    }
    server->job->wants_cancel = true;
    if (!server->run && !server->job->is_starting) {
        trib_jobs_end(server, TRIB_JOB_CANCELLED, "by the operator");
    } else if (server->run && trib_round_is_open(&server->run->round)) {
        (void)!trib_rounds_step(server,
                                &(struct trib_round_input){.event = TRIB_ROUND_EV_CANCEL,
                                                           .reason = TRIB_ROUND_REASON_CANCELLED});
    }
    trib_admin_answer(call, &reply);
}
