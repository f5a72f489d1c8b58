// tributaryctl advise: what the coordinator has seen of devices' rows.
#include "coordinator/server_command.h"

#include <math.h>
#include <string.h>

static const double day_ms = 86400000;
static const double span_min_ms = 3600000; // below it a rate is a guess

// Rounds of training of one job, whose updates say how many rows they were learnt from.
struct seen {
    uint64_t job;
    uint64_t first, last; // rounds, 0: none
    uint64_t first_ms, last_ms;
    bool uses_rows_up; // mode incremental or online: an update is of new rows
    double rows_first, rows_last, devices_first, devices_last; // summed over updates
    double rows_between;                                       // behind the first, by updates
};

static void take_job(void *user, const struct trib_store_job *job)
{
    struct seen *seen = user;
    if (job->id == seen->job)
        seen->uses_rows_up = strstr(job->config, "mode = incremental") != NULL ||
                             strstr(job->config, "mode = online") != NULL;
}

static void take_round(void *user, const struct trib_store_round *round)
{
    struct seen *seen = user;
    if (round->state != TRIB_ROUND_COMMITTED || strcmp(round->result.kind, "train") != 0 ||
        isfinite(round->result.delta)) // with privacy on devices do not say
        return;
    if (round->job != seen->job || seen->first + TRIB_SERVER_LEDGER_ROUNDS < round->id) {
        seen->job = round->job;
        seen->first = round->id;
        seen->first_ms = round->ended_ms;
    }
    seen->last = round->id;
    seen->last_ms = round->ended_ms;
}

static void take_update(void *user, const struct trib_store_update *update)
{
    struct seen *seen = user;
    const double rows = (double)update->weight;
    if (update->round == seen->first) {
        seen->rows_first += rows;
        seen->devices_first++;
    } else if (update->round <= seen->last) {
        seen->rows_between += rows;
    }
    if (update->round == seen->last) {
        seen->rows_last += rows;
        seen->devices_last++;
    }
}

static enum trib_err ask_seen(struct trib_query *q, struct trib_store *store)
{
    struct seen seen = {.job = 0};
    double rows = (double)NAN, fresh = (double)NAN;
    enum trib_err err = trib_store_rounds(store, 0, 0, UINT32_MAX, take_round, &seen);
    if (!err)
        err = trib_store_jobs(store, take_job, &seen);
    if (!err && seen.last > 0)
        err = trib_store_updates(store, seen.first, take_update, &seen);
    if (err)
        return err;
    const double span_ms = (double)seen.last_ms - (double)seen.first_ms;
    if (seen.devices_last > 0 && seen.devices_first > 0) {
        const double before = seen.rows_first / seen.devices_first;
        const double after = seen.rows_last / seen.devices_last;
        const double came =
            seen.uses_rows_up ? seen.rows_between / seen.devices_first : fmax(after - before, 0);
        rows = seen.uses_rows_up ? before + came : after;
        if (span_ms >= span_min_ms)
            fresh = came / (span_ms / day_ms);
    }
    (void)trib_admin_row_add(&q->reply);
    trib_admin_real(&q->reply, "rows", rows);
    trib_admin_real(&q->reply, "new_per_day", fresh);
    trib_admin_real(&q->reply, "params", q->a > 0 ? (double)q->a : (double)NAN);
    return TRIB_OK;
}

void trib_cmd_advise(struct trib_admin_call *call)
{
    const struct trib_server *server = trib_admin_server(call);
    struct trib_query *q = trib_query_create(call, ask_seen);
    if (!q)
        return;
    q->a = server->head ? server->head->manifest.params : 0;
    trib_query_submit(q);
}
