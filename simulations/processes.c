#include "simulations/processes_parts.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/local.h"
#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/data/csv.h"
#include "common/data/idx.h"
#include "common/math/safetensors.h"
#include "common/privacy/mode.h"
#include "coordinator/ctl/call.h"
#include "coordinator/identity.h"
#include "simulations/children.h"
#include "simulations/lines.h"
#include "tributary/client.h"

#define TRIB_LOG_MODULE "processes"

enum {
    CALL_MS = 30000,
    START_MS = 60000,
    SETTLE_MS = 15000,
    POLL_MS = 5,
    STOP_MS = 5000,
    DEATH_MS = 500,
};

// ---- Talking to the coordinator

static enum trib_err call(const struct trib_processes *p, const struct trib_admin_request *request,
                          struct trib_admin_reply *ret_reply)
{
    enum trib_err err = trib_ctl_call(p->coordinator, request, CALL_MS, ret_reply);
    if (err)
        return err;
    if (ret_reply->exit_code == 0)
        return TRIB_OK;
    TRIB_ERROR("%s", ret_reply->error ? ret_reply->error : "refused");
    err = ret_reply->exit_code == 5 ? TRIB_ERR_DATA : TRIB_ERR_INVAL;
    trib_admin_reply_fini(ret_reply);
    return err;
}

// A child that ended, an interrupt: the wait is over.
static enum trib_err check(struct trib_processes *p)
{
    if (p->stop && p->stop(p->stop_user))
        return TRIB_ERR_STOPPED;
    for (size_t i = 0; i < p->child_count; i++) {
        if (!trib_processes_revive(p, i) && trib_child_has_died(&p->children[i]))
            return TRIB_ERR_IO;
    }
    return TRIB_OK;
}

// Nobody answers: most likely the coordinator is just ending, and its log says why.
static enum trib_err look_for_death(struct trib_processes *p, enum trib_err err)
{
    const uint64_t until_ms = trib_clock_mono_ms() + DEATH_MS;
    while ((err == TRIB_ERR_CONNECT || err == TRIB_ERR_PROTO) && trib_clock_mono_ms() < until_ms) {
        enum trib_err found = check(p);
        if (found)
            return found;
        trib_clock_sleep_ms(POLL_MS);
    }
    return err;
}

static enum trib_err status_number(struct trib_processes *p, const char *name, uint64_t *ret_value)
{
    const struct trib_admin_request request = {.word_count = 1, .words = {"status"}};
    struct trib_admin_reply reply;
    enum trib_err err = call(p, &request, &reply);
    if (err)
        return err;
    *ret_value = trib_admin_find_number(&reply.rows[0], name);
    trib_admin_reply_fini(&reply);
    return TRIB_OK;
}

// Wait until a number of `status` is at least `wanted`. TRIB_ERR_TIMEOUT: it never was.
static enum trib_err wait_for(struct trib_processes *p, const char *name, uint64_t wanted,
                              uint64_t patience_ms)
{
    const uint64_t until_ms = trib_clock_mono_ms() + patience_ms;
    while (trib_clock_mono_ms() < until_ms) {
        uint64_t value = 0;
        enum trib_err err = check(p);
        if (!err)
            err = status_number(p, name, &value);
        if (err && err != TRIB_ERR_CONNECT)
            return err;
        if (!err && value >= wanted)
            return TRIB_OK;
        trib_clock_sleep_ms(POLL_MS);
    }
    return TRIB_ERR_TIMEOUT;
}

// ---- Starting

enum trib_err trib_processes_start(struct trib_processes *p, const char *name,
                                   const char *const *argv)
{
    char log[TRIB_PROCESSES_PATH_SIZE];
    if (snprintf(log, sizeof(log), "%s/logs/%s.log", p->dir, name) > TRIB_PATH_MAX)
        return TRIB_ERR_LIMIT;
    enum trib_err err = trib_child_start(&p->children[p->child_count], name, log, argv);
    p->child_count += !err;
    return err;
}

static enum trib_err start_coordinator(struct trib_processes *p)
{
    struct trib_identity identity;
    char path[TRIB_PROCESSES_PATH_SIZE];
    const char *const argv[] = {path, "run", p->coordinator, NULL};
    enum trib_err err = trib_path_join(p->coordinator, p->state_dir, "coordinator");
    if (!err)
        err = trib_identity_make(p->coordinator, "tcp://127.0.0.1:0", NULL, &identity);
    if (err)
        return err;
    trib_identity_wipe(&identity);
    err = trib_child_find("coordinator", "tributary-coordinator", path);
    if (!err)
        err = trib_processes_start(p, "coordinator", argv);
    return err ? err : wait_for(p, "uptime_seconds", 0, START_MS);
}

static enum trib_err enrol(const struct trib_processes *p, const char *name, const char *dir)
{
    const struct trib_admin_request request = {.word_count = 4,
                                               .words = {"devices", "token", "--name", name}};
    struct trib_admin_reply reply;
    enum trib_err err = call(p, &request, &reply);
    if (err)
        return err;
    err = trib_client_enrol(trib_admin_find_text(&reply.rows[0], "token"), dir);
    trib_admin_reply_fini(&reply);
    return err;
}

static enum trib_err start_devices(struct trib_processes *p)
{
    const size_t clients = p->scenario->partition.clients;
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < clients && !err; i++) {
        char name[TRIB_PARTITION_NAME_SIZE];
        char dir[TRIB_PROCESSES_PATH_SIZE];
        trib_partition_name(i, name);
        err = trib_path_join(dir, p->state_dir, name);
        if (!err)
            err = trib_dir_make(dir, 0700);
        if (!err)
            err = trib_processes_write_device(p, i, dir);
        if (!err)
            err = enrol(p, name, dir);
        if (!err)
            err = trib_processes_start_device(p, name);
        if (!err)
            err = check(p);
    }
    return err ? err : wait_for(p, "connected", clients, START_MS);
}

static enum trib_err submit(struct trib_processes *p)
{
    struct trib_buf text = {0};
    struct trib_admin_reply reply;
    enum trib_err err = trib_processes_write_job(p, &text);
    const struct trib_admin_request request = {
        .word_count = 3, // the simulator has asked already
        .words = {"jobs", "submit", "--accept-drowned-signal"},
        .body_name = p->scenario->name,
        .body_dir = p->state_dir,
        .body = text.data,
        .body_size = text.size};
    if (!err)
        err = text.failed ? TRIB_ERR_NOMEM : call(p, &request, &reply);
    if (!err) {
        p->job = trib_admin_find_number(&reply.rows[0], "job");
        trib_admin_reply_fini(&reply);
    }
    trib_buf_fini(&text);
    return err;
}

static enum trib_err make_state_dir(struct trib_processes *p)
{
    char logs[TRIB_PROCESSES_PATH_SIZE];
    const char *base = getenv("TMPDIR");
    int size = snprintf(p->state_dir, sizeof(p->state_dir), "%s/tributary-XXXXXX",
                        base && *base ? base : "/tmp");
    if (size > TRIB_PATH_MAX || !mkdtemp(p->state_dir)) {
        TRIB_ERROR("%s: %s", p->state_dir, strerror(errno));
        p->state_dir[0] = '\0';
        return TRIB_ERR_IO;
    }
    enum trib_err err = trib_path_join(logs, p->dir, "logs");
    return err ? err : trib_dir_make(logs, 0777);
}

enum trib_err trib_processes_create(struct trib_scenario *scenario, const char *dir,
                                    trib_stop_fn stop, void *stop_user,
                                    struct trib_processes **ret_processes)
{
    const struct trib_job_config *config = &scenario->job_config;
    if (scenario->job.model.local_count > 0 &&
        (config->target_metric != TRIB_JOB_METRIC_NONE || config->stop_patience > 0 ||
         config->lr_schedule == TRIB_SCHEDULE_PLATEAU)) {
        TRIB_ERROR(
            "round.target_metric, stop_patience and lr_schedule = plateau want every round to be measured, "
            "but a part of the model stays on the devices: use --mode inprocess");
        return TRIB_ERR_INVAL;
    }
    struct trib_processes *p = trib_alloc(sizeof(*p));
    if (!p)
        return TRIB_ERR_NOMEM;
    p->scenario = scenario;
    p->stop = stop;
    p->stop_user = stop_user;
    (void)snprintf(p->dir, sizeof(p->dir), "%s", dir);
    p->children = trib_alloc_array(scenario->partition.clients + 1, sizeof(*p->children));
    enum trib_err err = p->children ? make_state_dir(p) : TRIB_ERR_NOMEM;
    if (!err)
        err = start_coordinator(p);
    if (!err)
        err = trib_processes_write_pipeline(p);
    if (!err)
        err = start_devices(p);
    if (!err)
        err = submit(p);
    if (err) {
        trib_processes_destroy(p);
        return err;
    }
    *ret_processes = p;
    return TRIB_OK;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

void trib_processes_destroy(struct trib_processes *p)
{
    if (!p)
        return;
    if (p->children) {
        trib_children_stop(p->children + 1, p->child_count ? p->child_count - 1 : 0, STOP_MS);
        trib_children_stop(p->children, p->child_count ? 1 : 0, STOP_MS);
    }
    if (p->state_dir[0])
        (void)nftw(p->state_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(p->children);
    trib_personal_destroy(p->personal);
    free(p->params);
    free(p);
}

// ---- Rounds

static enum trib_err job_state(struct trib_processes *p, char *state, size_t size)
{
    char id[24];
    struct trib_admin_reply reply;
    (void)snprintf(id, sizeof(id), "%" PRIu64, p->job);
    const struct trib_admin_request request = {.word_count = 3, .words = {"jobs", "show", id}};
    enum trib_err err = call(p, &request, &reply);
    if (err)
        return err;
    (void)snprintf(state, size, "%s", trib_admin_find_text(&reply.rows[0], "state"));
    if (strcmp(state, "failed") == 0)
        TRIB_ERROR("the job failed: %s", trib_admin_find_text(&reply.rows[0], "reason"));
    trib_admin_reply_fini(&reply);
    return TRIB_OK;
}

// A pass of the pipeline's statistics, a count of labels or a baseline: in one process they are no rounds, and no
// version comes of them.
static bool is_pass(const struct trib_round_result *result)
{
    return strcmp(result->kind, trib_tally_kind_text(TRIB_TALLY_PREPARE)) == 0 ||
           strcmp(result->kind, trib_tally_kind_text(TRIB_TALLY_BASELINE)) == 0 ||
           strcmp(result->kind, trib_tally_kind_text(TRIB_TALLY_CLASSES)) == 0;
}

static enum trib_err fetch_round(struct trib_processes *p, struct trib_round_result *result,
                                 bool *ret_found)
{
    char after[24];
    struct trib_admin_reply reply;
    (void)snprintf(after, sizeof(after), "%" PRIu64, p->last_round);
    const struct trib_admin_request request = {
        .word_count = 6, .words = {"rounds", "ls", "--after", after, "--limit", "1"}};
    enum trib_err err = call(p, &request, &reply);
    if (err)
        return err;
    *ret_found = reply.row_count > 0;
    if (*ret_found) {
        trib_result_from_row(&reply.rows[0], result);
        p->last_round = result->id;
        if (strcmp(result->kind, TRIB_RESULT_EVALUATION) != 0 &&
            !is_pass(result)) // no version comes
            p->state.committed += strcmp(result->state, "committed") == 0;
    }
    trib_admin_reply_fini(&reply);
    return TRIB_OK;
}

enum trib_err trib_processes_next(struct trib_processes *p, struct trib_round_result *ret_result)
{
    for (bool is_over = false;;) {
        char state[16];
        bool found = false;
        enum trib_err err = fetch_round(p, ret_result, &found);
        if (!err && found && is_pass(ret_result))
            continue;
        if (!err && found)
            return TRIB_OK;
        if (!err && is_over)
            return TRIB_ERR_STATE; // it was over before the last look: nothing is left to see
        if (!err)
            err = check(p);
        if (!err)
            err = job_state(p, state, sizeof(state));
        if (err)
            return look_for_death(p, err);
        is_over = strcmp(state, "active") != 0;
        p->state.is_refused = strcmp(state, "refused") == 0;
        if (strcmp(state, "failed") == 0)
            return TRIB_ERR_IO;
        p->state.target_reached = is_over && strcmp(state, "done") == 0 &&
                                  p->scenario->job_config.target_metric != TRIB_JOB_METRIC_NONE;
        if (!is_over)
            trib_clock_sleep_ms(POLL_MS);
    }
}

// The primary metric of the newest version.
static void take_value(struct trib_processes *p, double value)
{
    struct trib_evaluation *evaluation = &p->state.held_out.validation;
    bool higher_is_better;
    double unknown;
    trib_evaluation_init(evaluation, p->scenario->job.model.classes);
    evaluation->primary = p->scenario->job.held_out.primary;
    trib_evaluation_set(evaluation,
                        trib_evaluation_primary(evaluation, &unknown, &higher_is_better), value);
}

// As the coordinator wrote it into the file.
static void take_threshold(struct trib_processes *p, const struct trib_buf *file)
{
    char text[TRIB_REAL_TEXT_SIZE];
    const char *header = (const char *)file->data + TRIB_SAFETENSORS_LENGTH_SIZE;
    if (trib_safetensors_find(header, "threshold", text, sizeof(text)))
        return;
    char *end;
    const double threshold = strtod(text, &end);
    if (end != text && !*end)
        p->state.held_out.validation.threshold = threshold;
}

static enum trib_err fetch_model(struct trib_processes *p)
{
    const size_t count = p->scenario->job.model.param_count;
    struct trib_buf file = {0};
    enum trib_err err = TRIB_OK;
    for (uint64_t size = 1; file.size < size && !err;) {
        char offset[24];
        struct trib_admin_reply reply;
        (void)snprintf(offset, sizeof(offset), "%zu", file.size);
        const struct trib_admin_request request = {
            .word_count = 5, .words = {"models", "export", "latest", "--offset", offset}};
        err = call(p, &request, &reply);
        if (err)
            break;
        size = trib_admin_find_number(&reply.rows[0], "size");
        p->state.version = trib_admin_find_number(&reply.rows[0], "version");
        double value = trib_admin_find_real(&reply.rows[0], "value");
        p->state.is_evaluated = isfinite(value);
        take_value(p, value);
        if (strcmp(trib_admin_find_text(&reply.rows[0], "kind"), "tail_average") == 0)
            p->state.averaged = trib_job_tail(&p->scenario->job);
        trib_buf_append(&file, reply.body, reply.body_size);
        err = file.failed || reply.body_size == 0 ? TRIB_ERR_PROTO : TRIB_OK;
        trib_admin_reply_fini(&reply);
    }
    uint64_t offset = 0;
    if (!err)
        err = trib_safetensors_data_offset(file.data, &offset);
    if (!err && file.size != offset + count * sizeof(float))
        err = TRIB_ERR_CORRUPT;
    if (!err) {
        p->params = trib_alloc_aligned(count, sizeof(float));
        err = p->params ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    if (!err) {
        memcpy(p->params, file.data + offset, count * sizeof(float));
        take_threshold(p, &file);
        p->state.params = p->params;
        trib_model_digest(&p->scenario->job.model, p->params, p->state.digest);
    }
    trib_buf_fini(&file);
    return err;
}

// What a device has kept of its own, by itself.
static enum trib_err fetch_local(const struct trib_processes *p, size_t device)
{
    const struct trib_model *model = &p->scenario->job.model;
    float *local = trib_personal_local(p->personal, device);
    char name[TRIB_PARTITION_NAME_SIZE];
    char dir[TRIB_PROCESSES_PATH_SIZE];
    struct trib_local kept;
    trib_partition_name(device, name);
    enum trib_err err = trib_path_join(dir, p->state_dir, name);
    if (!err)
        err = trib_local_load(dir, model, p->scenario->job_config.round_seed, name, &kept);
    if (err)
        return err;
    memcpy(local, kept.after, model->local_count * sizeof(*local));
    trib_local_fini(&kept);
    return TRIB_OK;
}

// The last version on the devices' own rows. A coordinator without their local parts cannot.
static enum trib_err measure(struct trib_processes *p)
{
    const bool has_locals = p->scenario->job.model.local_count > 0;
    enum trib_err err = trib_personal_create(p->scenario, p->scenario->data.scale, &p->personal);
    for (size_t d = 0; !err && has_locals && d < p->scenario->partition.clients; d++)
        err = fetch_local(p, d);
    struct trib_evaluation evaluation;
    if (!err)
        err = trib_personal_measure(p->personal, p->params, &evaluation);
    if (err)
        return err;
    p->state.personal = p->personal;
    if (has_locals && p->scenario->job_config.eval_every > 0) {
        p->state.held_out = (struct trib_held_out){.validation = evaluation};
        p->state.is_evaluated = true;
    }
    return TRIB_OK;
}

enum trib_err trib_processes_settle(struct trib_processes *p)
{
    // Everyone shall have the last version; one that does not get it is said, and not waited for.
    enum trib_err err = wait_for(p, "on_newest_version", p->scenario->partition.clients, SETTLE_MS);
    if (err == TRIB_ERR_TIMEOUT)
        TRIB_WARN("not every device has the last version");
    else if (err && err != TRIB_ERR_STOPPED)
        return err;
    enum trib_err failed = fetch_model(p);
    return failed || p->scenario->config.test_on != TRIB_TEST_ON_DEVICES ? failed : measure(p);
}

const struct trib_world_state *trib_processes_state(const struct trib_processes *processes)
{
    return &processes->state;
}
