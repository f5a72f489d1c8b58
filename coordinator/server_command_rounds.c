// tributaryctl rounds ...
#include "coordinator/server_command.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/json_read.h"

static void put_round(void *user, const struct trib_store_round *round)
{
    struct trib_query *q = user;
    trib_result_to_row(&round->result, &q->reply);
}

static enum trib_err ask_rounds(struct trib_query *q, struct trib_store *store)
{
    return trib_store_rounds(store, q->a, q->b, q->c, put_round, q);
}

void trib_cmd_rounds_ls(struct trib_admin_call *call)
{
    struct trib_query *q = trib_query_create(call, ask_rounds);
    if (!q)
        return;
    q->a = trib_command_number(call, "--job", 0);
    q->b = trib_command_number(call, "--after", 0);
    q->c = trib_command_limit(call);
    trib_query_submit(q);
}

static void put_lease(void *user, const struct trib_store_lease *lease, const char *name)
{
    struct trib_query *q = user;
    char when[TRIB_CLOCK_TEXT_SIZE];
    (void)trib_admin_row_add(&q->reply);
    trib_admin_number(&q->reply, "order", lease->order);
    trib_admin_text(&q->reply, "device", name);
    trib_admin_text(&q->reply, "lease", trib_lease_state_name((enum trib_lease_state)lease->state));
    trib_admin_text(&q->reply, "why",
                    lease->code ? trib_code_text((enum trib_code)lease->code) : NULL);
    trib_clock_text(lease->changed_ms, when);
    trib_admin_text(&q->reply, "since", lease->changed_ms > 0 ? when : NULL);
    trib_admin_real(&q->reply, "after_seconds",
                    lease->changed_ms >= q->b ? (double)(lease->changed_ms - q->b) / 1000
                                              : (double)NAN);
}

// ---- What devices measured

// A row of an object whose only text is its name.
static void put_metric(struct trib_json_reader *reader, struct trib_admin_reply *reply)
{
    (void)trib_admin_row_add(reply);
    for (;;) {
        double value;
        const enum trib_json_event event = trib_json_next(reader);
        const char *key = (const char *)reader->key.data;
        if (event == TRIB_JSON_TEXT)
            trib_admin_text(reply, "metric", (const char *)reader->text.data);
        else if (event == TRIB_JSON_NUMBER && trib_json_number(reader, &value))
            trib_admin_real(reply, key, value);
        else if (event == TRIB_JSON_NULL)
            trib_admin_real(reply, key, (double)NAN);
        else
            return; // the object's end
    }
}

// A row for each object of the array of this name: reports are as we made them.
static void put_objects(struct trib_query *q, const char *report, const char *array)
{
    struct trib_json_reader reader;
    bool is_in_array = false;
    trib_json_reader_init(&reader, report, strlen(report));
    for (;;) {
        const enum trib_json_event event = trib_json_next(&reader);
        if (event == TRIB_JSON_END || event == TRIB_JSON_WRONG)
            break;
        if (event == TRIB_JSON_OPEN_ARRAY)
            is_in_array = strcmp((const char *)reader.key.data, array) == 0;
        else if (event == TRIB_JSON_CLOSE_ARRAY)
            is_in_array = false;
        else if (event == TRIB_JSON_OPEN_OBJECT && is_in_array)
            put_metric(&reader, &q->reply);
    }
    trib_json_reader_fini(&reader);
}

// tally_round.h
static void put_measured(void *user, const struct trib_store_round *round)
{
    struct trib_query *q = user;
    if (strcmp(round->result.kind, TRIB_RESULT_EVALUATION) == 0)
        put_objects(q, round->result.tally, "metrics");
}

// count_report.h
static void put_counted(void *user, const struct trib_store_round *round)
{
    struct trib_query *q = user;
    if (strcmp(round->result.kind, trib_tally_kind_text(TRIB_TALLY_COUNTERS)) == 0)
        put_objects(q, round->result.tally, "counters");
}

static enum trib_err ask_measured(struct trib_query *q, struct trib_store *store)
{
    enum trib_err err = trib_store_round_get(store, q->a, put_measured, q);
    if (!err && q->reply.row_count == 0)
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE,
                        "in round %" PRIu64 " no device measured anything", q->a);
    return err;
}

static enum trib_err ask_counted(struct trib_query *q, struct trib_store *store)
{
    enum trib_err err = trib_store_round_get(store, q->a, put_counted, q);
    if (!err && q->reply.row_count == 0)
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE,
                        "in round %" PRIu64 " no application's counts were collected", q->a);
    return err;
}

// ---- One round

static void take_opened(void *user, const struct trib_store_round *round)
{
    struct trib_query *q = user;
    q->b = round->opened_ms;
}

static enum trib_err ask_leases(struct trib_query *q, struct trib_store *store)
{
    enum trib_err err = trib_store_round_get(store, q->a, take_opened, q);
    if (!err)
        err = trib_store_leases(store, q->a, put_lease, q);
    if (!err && q->reply.row_count == 0)
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE, "no round %" PRIu64, q->a);
    return err;
}

static void ask_of_round(struct trib_admin_call *call,
                         enum trib_err (*ask)(struct trib_query *q, struct trib_store *store))
{
    uint64_t id;
    if (!trib_command_parse(trib_command_word(call, 2), &id) || id == 0) {
        trib_command_fail(call, TRIB_EXIT_USAGE, "want the id of a round (rounds ls)");
        return;
    }
    struct trib_query *q = trib_query_create(call, ask);
    if (!q)
        return;
    q->a = id;
    trib_query_submit(q);
}

void trib_cmd_rounds_show(struct trib_admin_call *call)
{
    ask_of_round(call, ask_leases);
}

void trib_cmd_rounds_measured(struct trib_admin_call *call)
{
    ask_of_round(call, ask_measured);
}

void trib_cmd_rounds_counted(struct trib_admin_call *call)
{
    ask_of_round(call, ask_counted);
}
