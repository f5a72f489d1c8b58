// What tributaryctl can ask for. Each command fills a reply; those that need the store do so as an
// operation of the commit thread.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/base/alloc.h"
#include "common/base/args.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/math/blas.h"
#include "common/wire/token.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "command"

enum {
    LIST_MAX = 100000,     // rows of an answer
    EXPORT_STEP = 4 << 20, // bytes of a model file in one answer
    TOKEN_USES_MAX = 1000000,
};

// ---- Words of a request: "--name value" pairs behind the operands

static const char *word_at(const struct trib_admin_call *call, size_t index)
{
    const struct trib_admin_request *request = trib_admin_request_of(call);
    return index < request->word_count ? request->words[index] : "";
}

static const char *option(const struct trib_admin_call *call, const char *name)
{
    const struct trib_admin_request *request = trib_admin_request_of(call);
    for (size_t i = 0; i + 1 < request->word_count; i++) {
        if (strcmp(request->words[i], name) == 0)
            return request->words[i + 1];
    }
    return NULL;
}

static bool parse_number(const char *text, uint64_t *ret_value)
{
    char *end;
    if (!text || text[0] < '0' || text[0] > '9' || strlen(text) > 19)
        return false;
    *ret_value = strtoull(text, &end, 10);
    return *end == '\0';
}

static uint64_t number_option(const struct trib_admin_call *call, const char *name,
                              uint64_t fallback)
{
    uint64_t value;
    return parse_number(option(call, name), &value) ? value : fallback;
}

static void fail(struct trib_admin_call *call, uint32_t exit_code, const char *text)
{
    struct trib_admin_reply reply = {.exit_code = 0};
    trib_admin_fail(&reply, exit_code, "%s", text);
    trib_admin_answer(call, &reply);
}

// ---- Commands that need the store

struct query {
    struct trib_server_op op;
    struct trib_admin_call *call;
    struct trib_admin_reply reply;
    uint64_t a, b, c; // the command's numbers
    enum trib_err (*ask)(struct query *query, struct trib_store *store);
    uint8_t digest[TRIB_DIGEST_SIZE];
    bool found;
    union {
        struct trib_store_device device;
        struct trib_store_token token;
        struct trib_store_job job;
    } row;
    struct trib_token secret;
    char *text;                  // owned
    struct trib_active_job *job; // being submitted
    struct trib_peer *peer;
};

static enum trib_err query_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct query *query = (struct query *)commit_op;
    return query->ask(query, store);
}

static void query_free(struct query *query)
{
    free(query->text);
    free(query);
}

static void query_answer(struct trib_server *server, struct trib_server_op *op)
{
    struct query *query = (struct query *)op;
    (void)server;
    if (op->op.result)
        trib_admin_fail(&query->reply, TRIB_EXIT_INTERNAL, "%s", trib_err_text(op->op.result));
    trib_admin_answer(query->call, &query->reply);
    query_free(query);
}

static struct query *query_create(struct trib_admin_call *call,
                                  enum trib_err (*ask)(struct query *, struct trib_store *))
{
    struct query *query = trib_alloc(sizeof(*query));
    if (!query) {
        fail(call, TRIB_EXIT_INTERNAL, "out of memory");
        return NULL;
    }
    query->call = call;
    query->ask = ask;
    query->op.op.apply = query_apply;
    query->op.finish = query_answer;
    return query;
}

static void query_submit(struct query *query)
{
    trib_server_submit(trib_admin_server(query->call), &query->op);
}

// ---- status, doctor

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
    trib_buf_clear(&json);
    trib_json_open(&json, NULL, '{');
    for (int i = 0; i < TRIB_CODE_MAX; i++) {
        if (c->receipts[i])
            trib_json_uint(&json, trib_code_text((enum trib_code)i), c->receipts[i]);
    }
    trib_json_close(&json, '}');
    trib_admin_json(reply, "receipts", json.failed ? NULL : (const char *)json.data);
    trib_buf_fini(&json);
}

static uint64_t uploads_in_flight(const struct trib_server *server)
{
    uint64_t count = 0;
    for (uint32_t i = 0; server->run && i < server->run->round.member_count; i++) {
        enum trib_upload_state state = server->run->uploads[i].state;
        bool is_counted = server->run->members[i].lease == TRIB_LEASE_COUNTED;
        count += !is_counted && state != TRIB_UPLOAD_NONE && state != TRIB_UPLOAD_BROKEN;
    }
    return count;
}

static void cmd_status(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct trib_admin_reply reply = {.exit_code = 0};
    const struct trib_counters *c = &server->counters;
    const struct trib_round_run *run = server->run;
    uint64_t ready = 0;
    uint64_t newest = 0;
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        ready += peer->live && peer->live->is_ready;
        newest += server->head && peer->version == server->head->manifest.version;
    }
    (void)trib_admin_row_add(&reply);
    trib_admin_text(&reply, "url", server->url);
    trib_admin_number(&reply, "uptime_seconds", (trib_clock_mono_ms() - server->started_ms) / 1000);
    trib_admin_number(&reply, "devices", trib_peers_count(server->peers));
    trib_admin_number(&reply, "connected", ready);
    trib_admin_number(&reply, "on_newest_version", newest);
    trib_admin_number(&reply, "version", server->head ? server->head->manifest.version : 0);
    trib_admin_number(&reply, "job", server->job ? server->job->id : 0);
    trib_admin_text(&reply, "job_state",
                    server->job ? trib_job_state_text((enum trib_job_state)server->job->row.state)
                                : NULL);
    trib_admin_number(&reply, "round", run ? run->number : 0);
    trib_admin_text(&reply, "round_state", run ? trib_round_state_name(run->round.state) : NULL);
    trib_admin_number(&reply, "counted", run ? run->round.leases[TRIB_LEASE_COUNTED] : 0);
    trib_admin_number(&reply, "connections_accepted", c->accepted);
    trib_admin_number(&reply, "connections_open", c->open);
    trib_admin_number(&reply, "uploads_begun", c->begins);
    trib_admin_number(&reply, "uploads_cut", c->cut);
    trib_admin_number(&reply, "uploads_in_flight", uploads_in_flight(server));
    trib_admin_number(&reply, "bytes_received",
                      __atomic_load_n(&server->received_bytes, __ATOMIC_RELAXED));
    trib_admin_number(&reply, "bytes_sent", __atomic_load_n(&server->sent_bytes, __ATOMIC_RELAXED));
    trib_admin_number(&reply, "cpu_us", trib_clock_cpu_us());
    trib_admin_text(&reply, "kernels", trib_blas_name());
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

static void cmd_doctor(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct trib_admin_reply reply = {.exit_code = 0};
    struct statvfs disk;
    char text[512];
    uint64_t ready = 0;
    const size_t devices = trib_peers_count(server->peers);
    for (size_t i = 0; i < devices; i++)
        ready += trib_peers_at(server->peers, i)->live != NULL;

    check(&reply, "admin socket", true, "answers");
    (void)snprintf(text, sizeof(text), "listening at %s", server->url);
    check(&reply, "fleet port", true, text);
    bool has_room =
        statvfs(server->dir, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize > (256u << 20);
    (void)snprintf(text, sizeof(text), "%" PRIu64 " MiB free in %.120s",
                   (uint64_t)disk.f_bavail * disk.f_frsize >> 20, server->dir);
    check(&reply, "disk", has_room, text);
    check(&reply, "enrolment", devices > 0,
          devices ? "devices are enrolled" : "no device is enrolled: devices token, then enrol");
    (void)snprintf(text, sizeof(text), "%" PRIu64 " of %zu devices are connected", ready, devices);
    check(&reply, "devices", devices == 0 || ready > 0, text);
    bool refused = false;
    for (int i = 0; i < TRIB_CODE_MAX; i++)
        refused = refused || server->counters.install_refused[i] > 0;
    check(&reply, "models on devices", !refused,
          refused ? "some devices refused a version: devices ls" : "no device refused a version");
    const struct trib_active_job *job = server->job;
    bool waits =
        job && job->row.state == TRIB_JOB_ACTIVE && !server->run && ready < job->job.accepted_min;
    (void)snprintf(text, sizeof(text),
                   waits ? "the job waits: %" PRIu64 " devices connected, it wants %" PRIu32
                         : "nothing waits (%" PRIu64 " connected, %" PRIu32 " wanted)",
                   ready, job ? job->job.accepted_min : 0);
    check(&reply, "job", !waits, text);
    trib_admin_answer(call, &reply);
}

// ---- jobs

static enum trib_err ask_submit(struct query *q, struct trib_store *store)
{
    return trib_store_job_insert(store, &q->row.job, &q->row.job.id);
}

static void submit_answer(struct trib_server *server, struct trib_server_op *op)
{
    struct query *q = (struct query *)op;
    char text[512];
    if (op->op.result || server->job) {
        trib_jobs_free(q->job);
        trib_admin_fail(&q->reply, TRIB_EXIT_INTERNAL, "the job could not be stored");
    } else {
        q->job->id = q->row.job.id;
        q->job->row = q->row.job;
        q->job->row.name = q->job->row.config = q->job->row.reason = NULL;
        (void)trib_admin_row_add(&q->reply);
        trib_admin_number(&q->reply, "job", q->job->id);
        trib_admin_text(&q->reply, "model", q->job->job.model.spec);
        trib_admin_number(&q->reply, "params", q->job->job.model.param_count);
        trib_job_promise(&q->job->job, text, sizeof(text));
        trib_admin_text(&q->reply, "privacy", text);
        trib_admin_text(&q->reply, "warning",
                        trib_job_warning(&q->job->job, text, sizeof(text)) ? text : NULL);
        trib_jobs_activate(server, q->job);
    }
    trib_admin_answer(q->call, &q->reply);
    query_free(q);
}

static void cmd_jobs_submit(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    const struct trib_admin_request *request = trib_admin_request_of(call);
    struct trib_job_text text = {.text = (const char *)request->body,
                                 .size = request->body_size,
                                 .name = request->body_name,
                                 .dir = request->body_dir};
    struct trib_active_job *job;
    char *config;
    if (server->job) {
        (void)snprintf(text.why, sizeof(text.why),
                       "job %" PRIu64 " is %s; one job runs at a time: wait, or cancel it",
                       server->job->id,
                       trib_job_state_text((enum trib_job_state)server->job->row.state));
        fail(call, TRIB_EXIT_USAGE, text.why);
        return;
    }
    enum trib_err err = trib_jobs_parse(server, &text, &job, &config);
    if (err) {
        fail(call, err == TRIB_ERR_DATA ? TRIB_EXIT_DATA : TRIB_EXIT_USAGE, text.why);
        return;
    }
    struct query *q = query_create(call, ask_submit);
    if (!q) {
        trib_jobs_free(job);
        free(config);
        return;
    }
    q->job = job;
    q->text = config;
    q->row.job = (struct trib_store_job){.name = trib_path_base(request->body_name),
                                         .config = config,
                                         .state = TRIB_JOB_ACTIVE,
                                         .submitted_ms = trib_clock_wall_ms()};
    q->op.finish = submit_answer;
    query_submit(q);
}

static void put_version(struct trib_admin_reply *reply, const struct trib_store_version *v)
{
    char hex[TRIB_DIGEST_TEXT_SIZE];
    char when[TRIB_CLOCK_TEXT_SIZE];
    trib_hex_encode(v->digest, TRIB_DIGEST_SIZE, hex);
    trib_clock_text(v->created_ms, when);
    (void)trib_admin_row_add(reply);
    trib_admin_number(reply, "version", v->version);
    trib_admin_number(reply, "generation", v->generation);
    trib_admin_number(reply, "parent", v->parent);
    trib_admin_text(reply, "kind", v->kind);
    trib_admin_number(reply, "job", v->job);
    trib_admin_number(reply, "round", v->round_number);
    if (v->has_value)
        trib_admin_real(reply, "value", v->value);
    else
        trib_admin_text(reply, "value", NULL);
    trib_admin_text(reply, "created", when);
    trib_admin_text(reply, "model_digest", hex);
}

struct job_view {
    struct query *query;
    struct trib_store_version best;
    bool has_best;
};

static void take_best(void *user, const struct trib_store_version *v)
{
    struct job_view *view = user;
    view->best = *v;
    view->has_best = true;
}

static void put_job(void *user, const struct trib_store_job *job)
{
    struct query *q = user;
    char when[TRIB_CLOCK_TEXT_SIZE];
    if (q->a && q->a != job->id)
        return;
    q->found = true;
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

static enum trib_err ask_jobs(struct query *q, struct trib_store *store)
{
    enum trib_err err = trib_store_jobs(store, put_job, q);
    if (!err && q->a && !q->found)
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE, "no job %" PRIu64, q->a);
    if (err || !q->a || !q->found)
        return err;
    // the best version of the one that is shown, by the direction of its metric
    struct job_view view = {.query = q};
    err = trib_store_version_best(store, q->a, q->b != 0, take_best, &view);
    if (!err && view.has_best) {
        trib_admin_real(&q->reply, "best", view.best.value);
        trib_admin_number(&q->reply, "best_round", view.best.round_number);
        trib_admin_number(&q->reply, "best_version", view.best.version);
    }
    return err;
}

static void cmd_jobs_ls(struct trib_admin_call *call)
{
    struct query *q = query_create(call, ask_jobs);
    if (q)
        query_submit(q);
}

static bool job_id(struct trib_admin_call *call, uint64_t *ret_id)
{
    if (parse_number(word_at(call, 2), ret_id) && *ret_id > 0)
        return true;
    fail(call, TRIB_EXIT_USAGE, "want the number of a job");
    return false;
}

static void cmd_jobs_show(struct trib_admin_call *call)
{
    uint64_t id;
    if (!job_id(call, &id))
        return;
    struct query *q = query_create(call, ask_jobs);
    if (!q)
        return;
    const char *direction = option(call, "--best");
    q->a = id;
    q->b = !direction || strcmp(direction, "low") != 0;
    query_submit(q);
}

static enum trib_err ask_job_update(struct query *q, struct trib_store *store)
{
    return trib_store_job_update(store, &q->row.job);
}

static void set_job_state(struct trib_admin_call *call, enum trib_job_state state)
{
    struct trib_server *server = trib_admin_server(call);
    uint64_t id;
    if (!job_id(call, &id))
        return;
    if (!server->job || server->job->id != id || server->job->is_ending) {
        fail(call, TRIB_EXIT_USAGE, "that job is not running");
        return;
    }
    server->job->row.state = state;
    struct query *q = query_create(call, ask_job_update);
    if (!q)
        return;
    q->row.job = server->job->row;
    query_submit(q);
}

static void cmd_jobs_pause(struct trib_admin_call *call)
{
    set_job_state(call, TRIB_JOB_PAUSED); // the open round ends first
}

static void cmd_jobs_start(struct trib_admin_call *call)
{
    set_job_state(call, TRIB_JOB_ACTIVE);
}

static void cmd_jobs_cancel(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct trib_admin_reply reply = {.exit_code = 0};
    uint64_t id;
    if (!job_id(call, &id))
        return;
    if (!server->job || server->job->id != id || server->job->is_ending) {
        fail(call, TRIB_EXIT_USAGE, "that job is not running");
        return;
    }
    server->job->wants_cancel = true;
    if (!server->run && !server->job->is_starting) {
        trib_jobs_end(server, TRIB_JOB_CANCELLED, "by the operator");
    } else if (server->run && (server->run->round.state == TRIB_ROUND_SELECTING ||
                               server->run->round.state == TRIB_ROUND_COLLECTING)) {
        (void)!trib_rounds_step(server,
                                &(struct trib_round_input){.event = TRIB_ROUND_EV_CANCEL,
                                                           .reason = TRIB_ROUND_REASON_CANCELLED});
    }
    trib_admin_answer(call, &reply);
}

// ---- devices

static void cmd_devices_ls(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct trib_admin_reply reply = {.exit_code = 0};
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        char key[TRIB_KEY_TEXT_SIZE];
        char when[TRIB_CLOCK_TEXT_SIZE];
        const char *state = peer->row.is_revoked                 ? "revoked"
                            : peer->live && peer->live->is_ready ? "connected"
                                                                 : "away";
        trib_base64_encode(peer->row.key, sizeof(peer->row.key), key);
        trib_clock_text(peer->row.enrolled_ms, when);
        (void)trib_admin_row_add(&reply);
        trib_admin_text(&reply, "name", peer->row.name);
        trib_admin_text(&reply, "group", peer->row.group);
        trib_admin_text(&reply, "state", state);
        trib_admin_number(&reply, "version", peer->version);
        trib_admin_text(&reply, "install",
                        peer->install_code ? trib_code_text(peer->install_code) : NULL);
        trib_admin_text(&reply, "enrolled", when);
        trib_admin_text(&reply, "key", key);
    }
    trib_admin_answer(call, &reply);
}

static enum trib_err ask_token(struct query *q, struct trib_store *store)
{
    return trib_store_token_insert(store, &q->row.token);
}

static void token_answer(struct trib_server *server, struct trib_server_op *op)
{
    struct query *q = (struct query *)op;
    char text[TRIB_TOKEN_TEXT_SIZE];
    if (op->op.result || trib_peers_token_add(server->peers, &q->row.token)) {
        trib_admin_fail(&q->reply, TRIB_EXIT_INTERNAL, "the token could not be stored");
    } else {
        trib_token_write(&q->secret, text);
        (void)trib_admin_row_add(&q->reply);
        trib_admin_text(&q->reply, "token", text);
    }
    trib_admin_answer(q->call, &q->reply);
    query_free(q);
}

// "90s", "15m", "24h", "7d"; 0 if it is none of them.
static uint64_t parse_duration_ms(const char *text)
{
    char *end;
    if (text[0] < '1' || text[0] > '9' || strlen(text) > 9)
        return 0;
    uint64_t value = strtoull(text, &end, 10);
    switch (*end && !end[1] ? *end : '\0') {
    case 's': return value * 1000;
    case 'm': return value * 60000;
    case 'h': return value * 3600000;
    case 'd': return value * 86400000;
    default: return 0;
    }
}

static bool name_is_good(const char *name)
{
    size_t size = strlen(name);
    return size >= 1 && size <= TRIB_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               size;
}

static void cmd_devices_token(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    const char *name = option(call, "--name");
    const char *ttl = option(call, "--ttl");
    uint64_t uses = number_option(call, "--uses", 1);
    uint64_t ttl_ms = parse_duration_ms(ttl ? ttl : "24h");
    const char *wrong = NULL;

    if (name && uses != 1)
        wrong = "--name goes with --uses 1: names are unique";
    else if (name && !name_is_good(name))
        wrong = "a name has 1 to 63 letters, digits, dots, dashes or underscores";
    else if (name && !trib_peers_name_is_free(server->peers, name))
        wrong = "there is a device, or a token, of that name already";
    else if (ttl_ms == 0)
        wrong = "--ttl wants a time like 90s, 15m, 24h or 7d";
    else if (uses == 0 || uses > TOKEN_USES_MAX)
        wrong = "--uses wants a number from 1 to 1000000";
    if (wrong) {
        fail(call, TRIB_EXIT_USAGE, wrong);
        return;
    }
    struct query *q = query_create(call, ask_token);
    if (!q)
        return;
    struct trib_store_token *row = &q->row.token;
    trib_random_bytes(q->secret.id, sizeof(q->secret.id));
    trib_random_bytes(q->secret.secret, sizeof(q->secret.secret));
    memcpy(q->secret.coordinator, server->identity.public, sizeof(q->secret.coordinator));
    memcpy(q->secret.url, server->url, sizeof(q->secret.url));
    memcpy(row->id, q->secret.id, sizeof(row->id));
    trib_token_hash(q->secret.secret, row->secret_hash);
    (void)snprintf(row->name, sizeof(row->name), "%s", name ? name : "");
    row->uses_left = uses;
    row->expires_ms = trib_clock_wall_ms() + ttl_ms;
    q->op.finish = token_answer;
    query_submit(q);
}

static void cmd_devices_approve(struct trib_admin_call *call)
{
    fail(call, TRIB_EXIT_USAGE,
         "the pending list is off (enrol.pending = no): enrol with a token or the allow-list");
}

static enum trib_err ask_revoke(struct query *q, struct trib_store *store)
{
    return trib_store_device_revoke(store, q->a, q->b);
}

static void revoke_answer(struct trib_server *server, struct trib_server_op *op)
{
    struct query *q = (struct query *)op;
    struct trib_peer *peer = q->peer;
    if (op->op.result) {
        trib_admin_fail(&q->reply, TRIB_EXIT_INTERNAL, "the revocation could not be stored");
    } else {
        struct trib_session_link *session = peer->live;
        uint32_t member = trib_rounds_member(server, peer);
        trib_peers_revoke(server->peers, peer, q->b);
        TRIB_WARN("id=device-revoked device=%s", peer->row.name);
        if (member != UINT32_MAX && server->run->members[member].lease != TRIB_LEASE_COUNTED) {
            (void)!trib_rounds_step(server,
                                    &(struct trib_round_input){.event = TRIB_ROUND_EV_RELEASE,
                                                               .member = member,
                                                               .code = TRIB_CODE_REVOKED});
        }
        if (session) {
            (void)!trib_channel_send(session->channel, TRIB_RECORD_REVOKED, 0, NULL, 0);
            trib_channel_close_after(session->channel, TRIB_CLOSE_REVOKED);
            session->is_ready = false;
        }
    }
    trib_admin_answer(q->call, &q->reply);
    query_free(q);
}

static void cmd_devices_revoke(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct trib_peer *peer = trib_peers_by_name(server->peers, word_at(call, 2));
    if (!peer) {
        fail(call, TRIB_EXIT_USAGE, "no device of that name; devices ls lists them");
        return;
    }
    struct query *q = query_create(call, ask_revoke);
    if (!q)
        return;
    q->a = peer->row.id;
    q->b = trib_clock_wall_ms();
    q->peer = peer;
    q->op.finish = revoke_answer;
    query_submit(q);
}

// ---- rounds

static void put_round(void *user, const struct trib_store_round *round)
{
    struct query *q = user;
    trib_result_to_row(&round->result, &q->reply);
}

static enum trib_err ask_rounds(struct query *q, struct trib_store *store)
{
    return trib_store_rounds(store, q->a, q->b, q->c, put_round, q);
}

static void cmd_rounds_ls(struct trib_admin_call *call)
{
    struct query *q = query_create(call, ask_rounds);
    if (!q)
        return;
    q->a = number_option(call, "--job", 0);
    q->b = number_option(call, "--after", 0);
    q->c = number_option(call, "--limit", LIST_MAX);
    query_submit(q);
}

static void put_lease(void *user, const struct trib_store_lease *lease, const char *name)
{
    struct query *q = user;
    (void)trib_admin_row_add(&q->reply);
    trib_admin_number(&q->reply, "order", lease->order);
    trib_admin_text(&q->reply, "device", name);
    trib_admin_text(&q->reply, "lease", trib_lease_state_name((enum trib_lease_state)lease->state));
    trib_admin_text(&q->reply, "why",
                    lease->code ? trib_code_text((enum trib_code)lease->code) : NULL);
}

static enum trib_err ask_round(struct query *q, struct trib_store *store)
{
    enum trib_err err = trib_store_leases(store, q->a, put_lease, q);
    if (!err && q->reply.row_count == 0)
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE, "no round %" PRIu64, q->a);
    return err;
}

static void cmd_rounds_show(struct trib_admin_call *call)
{
    uint64_t id;
    if (!parse_number(word_at(call, 2), &id)) {
        fail(call, TRIB_EXIT_USAGE, "want the id of a round (rounds ls)");
        return;
    }
    struct query *q = query_create(call, ask_round);
    if (!q)
        return;
    q->a = id;
    query_submit(q);
}

// ---- models

static void put_model(void *user, const struct trib_store_version *v)
{
    put_version(&((struct query *)user)->reply, v);
}

static enum trib_err ask_models(struct query *q, struct trib_store *store)
{
    return trib_store_versions(store, q->a, q->b, put_model, q);
}

static void cmd_models_ls(struct trib_admin_call *call)
{
    struct query *q = query_create(call, ask_models);
    if (!q)
        return;
    q->a = number_option(call, "--after", 0);
    q->b = number_option(call, "--limit", LIST_MAX);
    query_submit(q);
}

static void put_model_whole(void *user, const struct trib_store_version *v)
{
    struct query *q = user;
    if (v->version != q->a + 1)
        return;
    q->found = true;
    memcpy(q->digest, v->digest, sizeof(q->digest));
    put_version(&q->reply, v);
    trib_admin_text(&q->reply, "spec", v->spec);
    trib_admin_number(&q->reply, "params", v->params);
    trib_admin_json(&q->reply, "metrics", v->metrics && *v->metrics ? v->metrics : NULL);
}

static enum trib_err ask_model(struct query *q, struct trib_store *store)
{
    enum trib_err err = trib_store_versions(store, q->a, 1, put_model_whole, q);
    if (!err && !q->found)
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE, "no version %" PRIu64, q->a + 1);
    return err;
}

// A piece of the model's file, from offset b on.
static enum trib_err ask_model_bytes(struct query *q, struct trib_store *store)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t first[8];
    enum trib_err err = ask_model(q, store);
    if (err || !q->found)
        return err;
    err = trib_version_path(q->op.server->dir, q->digest, path);
    if (!err)
        err = trib_file_read_at(path, 0, first, sizeof(first));
    if (err)
        return err;
    uint64_t size = 8 + trib_load_le64(first) +
                    trib_admin_find_number(&q->reply.rows[0], "params") * sizeof(float);
    uint64_t left = q->b < size ? size - q->b : 0;
    size_t step = left < EXPORT_STEP ? (size_t)left : EXPORT_STEP;
    trib_admin_number(&q->reply, "size", size);
    if (step == 0)
        return TRIB_OK;
    q->reply.body = trib_alloc(step);
    if (!q->reply.body)
        return TRIB_ERR_NOMEM;
    q->reply.body_size = step;
    return trib_file_read_at(path, q->b, q->reply.body, step);
}

static void model_query(struct trib_admin_call *call,
                        enum trib_err (*ask)(struct query *, struct trib_store *))
{
    struct trib_server *server = trib_admin_server(call);
    const char *word = word_at(call, 2);
    uint64_t version = server->head ? server->head->manifest.version : 0;
    if (strcmp(word, "latest") != 0 && !parse_number(word, &version))
        version = 0;
    if (version == 0) {
        fail(call, TRIB_EXIT_USAGE, "want the number of a version, or latest (models ls)");
        return;
    }
    struct query *q = query_create(call, ask);
    if (!q)
        return;
    q->a = version - 1;
    q->b = number_option(call, "--offset", 0);
    query_submit(q);
}

static void cmd_models_show(struct trib_admin_call *call)
{
    model_query(call, ask_model);
}

static void cmd_models_export(struct trib_admin_call *call)
{
    model_query(call, ask_model_bytes);
}

// ---- The table

static const struct command {
    const char *first, *second;
    void (*run)(struct trib_admin_call *call);
} commands[] = {
    {"status", "", cmd_status},
    {"doctor", "", cmd_doctor},
    {"jobs", "submit", cmd_jobs_submit},
    {"jobs", "ls", cmd_jobs_ls},
    {"jobs", "show", cmd_jobs_show},
    {"jobs", "start", cmd_jobs_start},
    {"jobs", "pause", cmd_jobs_pause},
    {"jobs", "cancel", cmd_jobs_cancel},
    {"devices", "ls", cmd_devices_ls},
    {"devices", "token", cmd_devices_token},
    {"devices", "approve", cmd_devices_approve},
    {"devices", "revoke", cmd_devices_revoke},
    {"rounds", "ls", cmd_rounds_ls},
    {"rounds", "show", cmd_rounds_show},
    {"models", "ls", cmd_models_ls},
    {"models", "show", cmd_models_show},
    {"models", "export", cmd_models_export},
};

void trib_command_run(struct trib_admin_call *call)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(word_at(call, 0), commands[i].first) == 0 &&
            (!*commands[i].second || strcmp(word_at(call, 1), commands[i].second) == 0)) {
            commands[i].run(call);
            return;
        }
    }
    fail(call, TRIB_EXIT_USAGE, "this coordinator does not know that command");
}
