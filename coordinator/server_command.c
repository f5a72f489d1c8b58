// What the commands of tributaryctl share, status and doctor; their table: server_command_table.c.
#include "coordinator/server_command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/math/kernels.h"
#include "coordinator/reserve.h"

// ---- Words of a request: "--name value" pairs behind the operands

const char *trib_command_word(const struct trib_admin_call *call, size_t index)
{
    const struct trib_admin_request *request = trib_admin_request_of(call);
    return index < request->word_count ? request->words[index] : "";
}

const char *trib_command_option(const struct trib_admin_call *call, const char *name)
{
    const struct trib_admin_request *request = trib_admin_request_of(call);
    for (size_t i = 0; i + 1 < request->word_count; i++) {
        if (strcmp(request->words[i], name) == 0)
            return request->words[i + 1];
    }
    return NULL;
}

bool trib_command_has(const struct trib_admin_call *call, const char *word)
{
    const struct trib_admin_request *request = trib_admin_request_of(call);
    for (size_t i = 0; i < request->word_count; i++) {
        if (strcmp(request->words[i], word) == 0)
            return true;
    }
    return false;
}

bool trib_command_parse(const char *text, uint64_t *ret_value)
{
    char *end;
    if (!text || text[0] < '0' || text[0] > '9' || strlen(text) > 19)
        return false;
    *ret_value = strtoull(text, &end, 10);
    return *end == '\0';
}

uint64_t trib_command_number(const struct trib_admin_call *call, const char *name,
                             uint64_t fallback)
{
    uint64_t value;
    return trib_command_parse(trib_command_option(call, name), &value) ? value : fallback;
}

uint64_t trib_command_limit(const struct trib_admin_call *call)
{
    const uint64_t limit = trib_command_number(call, "--limit", TRIB_COMMAND_LIST_MAX);
    return limit < TRIB_COMMAND_LIST_MAX ? limit : TRIB_COMMAND_LIST_MAX;
}

void trib_command_fail(struct trib_admin_call *call, uint32_t exit_code, const char *text)
{
    struct trib_admin_reply reply = {.exit_code = 0};
    trib_admin_fail(&reply, exit_code, "%s", text);
    trib_admin_answer(call, &reply);
}

// ---- Commands that need the store

static enum trib_err query_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct trib_query *query = (struct trib_query *)commit_op;
    enum trib_err err = query->ask(query, store);
    if (!err && !query->refusal && query->reply.exit_code == 0)
        err = trib_admin_record(query->call, store, "ok");
    return err;
}

void trib_query_free(struct trib_query *query)
{
    free(query->text);
    free(query->refusal);
    free(query);
}

static void query_answer(struct trib_server *server, struct trib_server_op *op)
{
    struct trib_query *query = (struct trib_query *)op;
    (void)server;
    if (op->op.result)
        trib_admin_fail(&query->reply, TRIB_EXIT_INTERNAL, "%s", trib_err_text(op->op.result));
    trib_admin_answer(query->call, &query->reply);
    trib_query_free(query);
}

struct trib_query *trib_query_create(struct trib_admin_call *call,
                                     enum trib_err (*ask)(struct trib_query *, struct trib_store *))
{
    struct trib_query *query = trib_alloc(sizeof(*query));
    if (!query) {
        trib_command_fail(call, TRIB_EXIT_INTERNAL, "out of memory");
        return NULL;
    }
    query->call = call;
    query->ask = ask;
    query->op.op.apply = query_apply;
    query->op.finish = query_answer;
    return query;
}

void trib_query_submit(struct trib_query *query)
{
    trib_server_submit(trib_admin_server(query->call), &query->op);
}

// ---- status, doctor

static void put_codes(struct trib_admin_reply *reply, const char *name,
                      const uint64_t counts[static TRIB_CODE_MAX])
{
    struct trib_buf json = {0};
    trib_json_open(&json, NULL, '{');
    for (int i = 0; i < TRIB_CODE_MAX; i++) {
        if (counts[i])
            trib_json_uint(&json, trib_code_text((enum trib_code)i), counts[i]);
    }
    trib_json_close(&json, '}');
    trib_admin_json(reply, name, json.failed ? NULL : (const char *)json.data);
    trib_buf_fini(&json);
}

static void put_counters(struct trib_admin_reply *reply, const struct trib_counters *c)
{
    struct trib_buf json = {0};
    trib_json_open(&json, NULL, '{');
    for (int i = 0; i < TRIB_CLOSE_REASONS; i++) {
        if (c->closed[i])
            trib_json_uint(&json, trib_close_reason_text((enum trib_close_reason)i), c->closed[i]);
    }
    trib_json_close(&json, '}');
    trib_admin_json(reply, "closed", json.failed ? NULL : (const char *)json.data);
    trib_buf_fini(&json);
    put_codes(reply, "receipts", c->receipts);
    put_codes(reply, "declined", c->declined);
}

void trib_cmd_status(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct trib_admin_reply reply = {.exit_code = 0};
    const struct trib_counters *c = &server->counters;
    const struct trib_round_run *run = server->run;
    uint64_t ready = 0;
    uint64_t newest = 0;
    uint64_t stale = 0;
    const uint64_t wall_ms = trib_clock_wall_ms();
    struct trib_roster_count roster;
    trib_secagg_count_roster(server, &roster);
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        stale += trib_peer_is_stale(server, peer, wall_ms);
        if (!peer->live || !peer->live->is_ready)
            continue; // what one that is away said last may be true no more
        ready++;
        newest += server->head && peer->version == server->head->manifest.version;
    }
    (void)trib_admin_row_add(&reply);
    trib_admin_text(&reply, "url", server->url);
    trib_admin_number(&reply, "uptime_seconds", (trib_clock_mono_ms() - server->started_ms) / 1000);
    trib_admin_number(&reply, "devices", trib_peers_count(server->peers));
    trib_admin_number(&reply, "connected", ready);
    trib_admin_number(&reply, "on_newest_version", newest);
    trib_admin_number(&reply, "stale", stale);
    trib_admin_text(&reply, "roster",
                    server->config.roster_is_offline ? "offline" : "by coordinator");
    trib_admin_number(&reply, "rostered", roster.rostered);
    trib_admin_number(&reply, "unrostered", roster.unrostered);
    trib_admin_number(&reply, "version", server->head ? server->head->manifest.version : 0);
    trib_admin_number(&reply, "job", server->job ? server->job->id : 0);
    trib_admin_text(&reply, "job_state",
                    server->job ? trib_job_state_text((enum trib_job_state)server->job->row.state)
                                : NULL);
    trib_admin_number(&reply, "round", run ? run->number : 0);
    trib_admin_number(&reply, "round_id", run ? run->id : 0);
    trib_admin_text(&reply, "round_state", run ? trib_round_state_name(run->round.state) : NULL);
    trib_admin_number(&reply, "counted", run ? run->round.leases[TRIB_LEASE_COUNTED] : 0);
    trib_admin_flag(&reply, "disk_full", server->disk_is_full);
    trib_admin_number(&reply, "connections_accepted", c->accepted);
    trib_admin_number(&reply, "connections_open", c->open);
    trib_admin_number(&reply, "keys_in_two_places", c->twins);
    trib_admin_number(&reply, "uploads_begun", c->begins);
    trib_admin_number(&reply, "uploads_cut", c->cut);
    trib_admin_number(&reply, "uploads_in_flight", trib_server_uploads_in_flight(server));
    trib_admin_number(&reply, "bytes_received",
                      __atomic_load_n(&server->received_bytes, __ATOMIC_RELAXED));
    trib_admin_number(&reply, "bytes_sent", __atomic_load_n(&server->sent_bytes, __ATOMIC_RELAXED));
    trib_admin_number(&reply, "cpu_us", trib_clock_cpu_us());
    trib_admin_text(&reply, "kernels", trib_kernels()->name);
    put_counters(&reply, c);
    trib_admin_answer(call, &reply);
}

static void check(struct trib_admin_reply *reply, const char *hop, bool is_ok, const char *detail)
{
    (void)trib_admin_row_add(reply);
    trib_admin_text(reply, "hop", hop);
    trib_admin_flag(reply, "ok", is_ok);
    trib_admin_text(reply, "detail", detail);
    if (!is_ok && reply->exit_code == 0)
        trib_admin_fail(reply, TRIB_EXIT_INTERNAL, "%s: %s", hop, detail);
}

// Is there room, and can a file be made durable? The store and the updates lie in one directory.
static void check_disk(struct trib_admin_reply *reply, const struct trib_server *server)
{
    char path[TRIB_PATH_MAX + 1];
    char text[TRIB_PATH_MAX + 256];
    char wanted[64] = "";
    const uint64_t room = trib_reserve_room(server->dir);
    const uint64_t reserve_mib = server->config.reserve >> 20;
    const bool has_room = room < UINT64_MAX && !server->disk_is_full; // as status and the metrics
    if (server->job)
        (void)snprintf(wanted, sizeof(wanted), ", and %" PRIu64 " MiB for its version",
                       (trib_disk_room_of_version(server->job) >> 20) + 1);
    if (room == UINT64_MAX)
        (void)snprintf(text, sizeof(text), "the room in %s cannot be asked", server->dir);
    else if (server->disk_is_full)
        (void)snprintf(text, sizeof(text),
                       "%" PRIu64 " MiB free in %s; rounds wait for room: for the reserve of "
                       "%" PRIu64 " MiB and the updates of a round%s",
                       room >> 20, server->dir, reserve_mib, wanted);
    else
        (void)snprintf(text, sizeof(text),
                       "%" PRIu64 " MiB free in %s beside the reserve of %" PRIu64 " MiB",
                       room >> 20, server->dir, reserve_mib);
    check(reply, "disk", has_room, text);
    enum trib_err err = trib_path_join(path, server->dir, "doctor.probe");
    if (!err)
        err = trib_file_write(path, "probe", 5, 0600);
    if (!err)
        err = trib_file_remove(path);
    (void)snprintf(text, sizeof(text), err ? "%s cannot be written: %s" : "%s can be written",
                   server->dir, trib_err_text(err));
    check(reply, "store", !err, text);
}

// They are in memory, but a restart wants them again.
static void check_held_out(struct trib_admin_reply *reply, const struct trib_active_job *job)
{
    const char *const paths[] = {job ? job->data.test : "", job ? job->data.test_labels : ""};
    char text[TRIB_CONF_TEXT_MAX + 128];
    for (size_t i = 0; i < 2; i++) {
        if (!paths[i][0] || access(paths[i], R_OK) == 0)
            continue;
        (void)snprintf(text, sizeof(text),
                       "%s: %s; the job cannot go on after a restart of the coordinator", paths[i],
                       strerror(errno));
        check(reply, "held-out data", false, text);
        return;
    }
    check(reply, "held-out data", true, paths[0][0] ? "can be read" : "none are wanted");
}

// Whom nobody vouches for is in no masked round.
static void check_roster(struct trib_admin_reply *reply, const struct trib_server *server)
{
    struct trib_roster_count count;
    char text[256];
    trib_secagg_count_roster(server, &count);
    if (server->config.roster_is_offline)
        (void)snprintf(text, sizeof(text), "%zu of %zu devices are vouched for%s", count.rostered,
                       count.rostered + count.unrostered,
                       count.unrostered > 0 ? ": roster export --unsigned, sign, roster load" : "");
    else
        (void)snprintf(text, sizeof(text), "the coordinator vouches for all");
    check(reply, "roster", count.unrostered == 0 || !server->config.roster_is_offline, text);
}

static void check_audit(struct trib_admin_reply *reply, const struct trib_server *server)
{
    char text[256];
    (void)snprintf(text, sizeof(text),
                   server->audit_is_broken ? "not whole: audit verify says where"
                                           : "%" PRIu64 " records were read through",
                   server->audit_checked);
    check(reply, "audit log", !server->audit_is_broken, text);
}

// Who has a copy of a key may be anybody.
static void check_twins(struct trib_admin_reply *reply, const struct trib_server *server)
{
    char text[256];
    size_t count = 0;
    const struct trib_peer *first = NULL;
    for (size_t i = trib_peers_count(server->peers); i-- > 0;) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        if (peer->twins == 0 || peer->row.is_revoked)
            continue;
        first = peer;
        count++;
    }
    (void)snprintf(text, sizeof(text),
                   "%zu were alive in two places, that of %s first: rotate it, or devices revoke",
                   count, first ? first->row.name : "");
    check(reply, "device keys", !first, first ? text : "none was alive in two places");
}

// Devices that are there and do not do what they are asked: one may have its reasons.
static void check_tasks(struct trib_admin_reply *reply, const struct trib_server *server)
{
    char text[256];
    size_t ready = 0;
    size_t count = 0;
    const struct trib_peer *first = NULL;
    for (size_t i = trib_peers_count(server->peers); i-- > 0;) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        ready += peer->live != NULL;
        if (!peer->live || !peer->has_declined)
            continue;
        first = peer;
        count++;
    }
    (void)snprintf(text, sizeof(text),
                   "%zu of %zu connected devices declined their last task, %s with %s: devices ls",
                   count, ready, first ? first->row.name : "",
                   first ? trib_code_text(first->declined) : "");
    check(reply, "tasks", count == 0 || count < ready,
          first ? text : "no device declined its last");
}

void trib_cmd_doctor(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct trib_admin_reply reply = {.exit_code = 0};
    char text[512];
    uint64_t ready = 0;
    const size_t devices = trib_peers_count(server->peers);
    for (size_t i = 0; i < devices; i++)
        ready += trib_peers_at(server->peers, i)->live != NULL;

    check(&reply, "admin socket", true, "answers");
    (void)snprintf(text, sizeof(text), "listening at %s", server->url);
    check(&reply, "fleet port", true, text);
    check_disk(&reply, server);
    check_audit(&reply, server);
    check_held_out(&reply, server->job);
    check(&reply, "enrolment", devices > 0,
          devices ? "devices are enrolled" : "no device is enrolled: devices token, then enrol");
    check_roster(&reply, server);
    (void)snprintf(text, sizeof(text), "%" PRIu64 " of %zu devices are connected", ready, devices);
    check(&reply, "devices", devices == 0 || ready > 0, text);
    check_twins(&reply, server);
    bool refused = false;
    for (int i = 0; i < TRIB_CODE_MAX; i++)
        refused = refused || server->counters.install_refused[i] > 0;
    check(&reply, "models on devices", !refused,
          refused ? "some devices refused a version: devices ls" : "no device refused a version");
    check_tasks(&reply, server);
    const struct trib_active_job *job = server->job;
    const struct trib_round_run *run = server->run;
    bool waits = job && job->row.state == TRIB_JOB_ACTIVE && ready < job->job.accepted_min &&
                 (!run || run->round.state == TRIB_ROUND_PLANNED ||
                  run->round.state == TRIB_ROUND_SELECTING);
    (void)snprintf(text, sizeof(text),
                   waits ? "the job waits: %" PRIu64 " devices connected, it wants %" PRIu32
                         : "nothing waits (%" PRIu64 " connected, %" PRIu32 " wanted)",
                   ready, job ? job->job.accepted_min : 0);
    check(&reply, "job", !waits, text);
    trib_admin_answer(call, &reply);
}
