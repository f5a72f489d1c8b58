// tributaryctl jobs selection: how the best version of a job was chosen, from what is stored.
#include "coordinator/server_command.h"

#include <inttypes.h>
#include <stdio.h>

#include "coordinator/selection.h"

struct replay {
    struct trib_query *query;
    struct trib_selection selection;
    char metric[sizeof(((struct trib_round_result *)0)->metric)];
};

static void take_job(void *user, const struct trib_store_job *job)
{
    struct trib_query *q = user;
    if (job->id != q->a)
        return;
    q->found = true;
    q->b = job->start_version;
}

// Its evaluated rounds all have the same primary metric.
static void take_metric(void *user, const struct trib_store_round *round)
{
    struct replay *replay = user;
    if (round->result.metric[0])
        (void)snprintf(replay->metric, sizeof(replay->metric), "%s", round->result.metric);
}

static void put_choice(void *user, const struct trib_store_version *v)
{
    struct replay *replay = user;
    struct trib_admin_reply *reply = &replay->query->reply;
    if (v->job != replay->query->a || !v->has_value)
        return;
    const enum trib_choice choice = trib_selection_take(&replay->selection, v->version, v->value);
    (void)trib_admin_row_add(reply);
    trib_admin_number(reply, "version", v->version);
    trib_admin_number(reply, "round", v->round_number);
    trib_admin_text(reply, "kind", v->kind);
    trib_admin_text(reply, "metric", replay->metric);
    trib_admin_real(reply, "value", v->value);
    trib_admin_text(reply, "choice", trib_choice_text(choice));
    trib_admin_number(reply, "best_version", replay->selection.version);
    trib_admin_real(reply, "best", replay->selection.value);
}

static enum trib_err ask_selection(struct trib_query *q, struct trib_store *store)
{
    struct replay replay = {.query = q};
    enum trib_err err = trib_store_jobs(store, take_job, q);
    if (!err && !q->found) {
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE, "no job %" PRIu64, q->a);
        return TRIB_OK;
    }
    if (!err)
        err = trib_store_rounds(store, q->a, 0, UINT32_MAX, take_metric, &replay);
    if (!err && !replay.metric[0]) {
        trib_admin_fail(
            &q->reply, TRIB_EXIT_USAGE,
            "no version of job %" PRIu64 " was evaluated: there is nothing to choose by", q->a);
        return TRIB_OK;
    }
    trib_selection_init(&replay.selection, trib_metric_higher_is_better(replay.metric));
    return err ? err : trib_store_versions(store, q->b, UINT32_MAX, put_choice, &replay);
}

void trib_cmd_jobs_selection(struct trib_admin_call *call)
{
    uint64_t id;
    if (!trib_command_parse(trib_command_word(call, 2), &id) || id == 0) {
        trib_command_fail(call, TRIB_EXIT_USAGE, "want the number of a job");
        return;
    }
    struct trib_query *q = trib_query_create(call, ask_selection);
    if (!q)
        return;
    q->a = id;
    trib_query_submit(q);
}
