#include "simulations/processes.h"

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
    SUB_SIZE = TRIB_PATH_MAX + 1,
};

struct trib_processes {
    struct trib_scenario *scenario; // borrowed
    trib_stop_fn stop;
    void *stop_user;
    char dir[SUB_SIZE];          // of the run
    char state_dir[SUB_SIZE];    // temporary
    char coordinator[SUB_SIZE];  // its directory
    struct trib_child *children; // [0] the coordinator, then the clients
    size_t child_count;
    uint64_t job;
    uint64_t last_round;
    struct trib_world_state state;
    float *params;                  // owned
    struct trib_personal *personal; // owned; or NULL
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
        if (trib_child_has_died(&p->children[i]))
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

// ---- Data for the programs

static enum trib_err write_rows(const struct trib_processes *p, const struct trib_dataset *dataset,
                                const uint32_t *rows, size_t count, const char *base)
{
    char path[SUB_SIZE];
    char labels[SUB_SIZE];
    bool is_idx = p->scenario->data.format == TRIB_DATA_IDX;
    int size = snprintf(path, sizeof(path), "%s.%s", base, is_idx ? "idx" : "csv");
    int more = snprintf(labels, sizeof(labels), "%s.labels.idx", base);
    if (size > TRIB_PATH_MAX || more > TRIB_PATH_MAX)
        return TRIB_ERR_LIMIT;
    return is_idx ? trib_idx_write(path, labels, dataset, rows, count)
                  : trib_csv_write(path, dataset, rows, count);
}

static uint32_t *row_numbers(size_t from, size_t count)
{
    uint32_t *rows = trib_alloc_array(count, sizeof(*rows));
    for (size_t i = 0; rows && i < count; i++)
        rows[i] = (uint32_t)(from + i);
    return rows;
}

static enum trib_err write_text(const char *dir, const char *name, const struct trib_buf *text)
{
    char path[SUB_SIZE];
    enum trib_err err = text->failed ? TRIB_ERR_NOMEM : trib_path_join(path, dir, name);
    return err ? err : trib_file_write(path, text->data, text->size, 0600);
}

static void put_data_section(const struct trib_processes *p, const char *kind,
                             struct trib_buf *text)
{
    char scale[TRIB_REAL_TEXT_SIZE];
    bool is_idx = p->scenario->data.format == TRIB_DATA_IDX;
    trib_real_text(p->scenario->data.scale, scale);
    trib_buf_printf(text, "[data]\nformat = %s\nscale = %s\n%s = %s.%s\n", is_idx ? "idx" : "csv",
                    scale, kind, kind, is_idx ? "idx" : "csv");
    if (strcmp(kind, "train") == 0)
        trib_buf_printf(text, "rows_per_round = %" PRIu64 "\n", p->scenario->data.rows_per_round);
    if (is_idx)
        trib_buf_printf(text, "%s_labels = %s.labels.idx\n", kind, kind);
}

// [client.policy] as the scenario has it.
static enum trib_err put_policy(const struct trib_policy *policy, struct trib_buf *text)
{
    struct trib_conf *conf = trib_alloc(sizeof(*conf));
    struct trib_policy written;
    char *section = NULL;
    size_t size = 0;
    if (!conf)
        return TRIB_ERR_NOMEM;
    trib_conf_init(conf);
    trib_policy_conf_add(conf, &written);
    written = *policy;
    FILE *file = open_memstream(&section, &size);
    if (file) {
        trib_conf_write(conf, file);
        (void)fclose(file);
        trib_buf_text(text, section ? section : "");
    }
    free(section);
    free(conf);
    return file && section ? TRIB_OK : TRIB_ERR_NOMEM;
}

// A CSV file with weights wants a schema that says which column they are.
static enum trib_err write_weights_schema(const struct trib_dataset *train, const char *dir,
                                          struct trib_buf *data_section)
{
    struct trib_buf text = {0};
    for (size_t i = 0; i < train->inputs; i++)
        trib_buf_printf(&text, "[column f%zu]\ntype = real\n", i);
    trib_buf_text(&text, "[column weight]\ntype = real\nrole = weight\n");
    trib_buf_text(&text, "[column label]\ntype = real\nrole = label\n");
    enum trib_err err = write_text(dir, "schema.ini", &text);
    trib_buf_fini(&text);
    trib_buf_text(data_section, "schema = schema.ini\n");
    return err;
}

// With a pipeline the programs get the rows as they are written and the schema, and the job the text.
static enum trib_err write_pipeline(const struct trib_processes *p)
{
    struct trib_buf schema = {0};
    struct trib_buf prepare = {0};
    if (!p->scenario->prepare)
        return TRIB_OK;
    enum trib_err err = trib_file_read(p->scenario->data.schema, TRIB_CONF_FILE_MAX, &schema);
    if (!err)
        err = write_text(p->state_dir, "schema.ini", &schema);
    trib_prepare_write(p->scenario->prepare, &prepare);
    if (!err)
        err = write_text(p->state_dir, "prepare.ini", &prepare);
    trib_buf_fini(&prepare);
    trib_buf_fini(&schema);
    return err;
}

static bool is_json_lines(const struct trib_processes *p)
{
    return p->scenario->data.format == TRIB_DATA_JSON_LINES;
}

// `from`: whose rows they are.
static enum trib_err write_values(const struct trib_processes *p, const struct trib_dataset *from,
                                  size_t first, size_t count, const char *base)
{
    char path[SUB_SIZE];
    struct trib_lines *lines;
    const struct trib_data_config *data = &p->scenario->data;
    if (snprintf(path, sizeof(path), "%s.rows", base) > TRIB_PATH_MAX)
        return TRIB_ERR_LIMIT;
    enum trib_err err = trib_lines_open(from->name, p->scenario->schema, is_json_lines(p),
                                        data->header == TRIB_CSV_HEADER_YES, &lines);
    if (err)
        return err;
    err = trib_lines_write(lines, from->lines + first, count, path);
    trib_lines_close(lines);
    return err;
}

static void put_values_section(const struct trib_processes *p, const char *kind,
                               struct trib_buf *text)
{
    const struct trib_data_config *data = &p->scenario->data;
    trib_buf_printf(text,
                    "[data]\nformat = %s\nheader = %s\nschema = %s/schema.ini\n%s = %s.rows\n",
                    is_json_lines(p) ? "jsonl" : "csv",
                    data->header == TRIB_CSV_HEADER_YES ? "yes" : "no", p->state_dir, kind, kind);
    if (strcmp(kind, "test") == 0)
        trib_buf_printf(text, "prepare = %s/prepare.ini\n", p->state_dir);
    else
        trib_buf_text(text, "pipeline = job\n");
}

static enum trib_err write_features(const struct trib_processes *p, size_t device, const char *dir,
                                    const char *base, struct trib_buf *text)
{
    const struct trib_partition *partition = &p->scenario->partition;
    const size_t count = trib_partition_size(partition, device);
    uint32_t *rows = row_numbers(partition->starts[device], count);
    enum trib_err err =
        rows ? write_rows(p, p->scenario->train, rows, count, base) : TRIB_ERR_NOMEM;
    free(rows);
    put_data_section(p, "train", text);
    if (!err && p->scenario->train->weights)
        err = write_weights_schema(p->scenario->train, dir, text);
    return err;
}

static enum trib_err write_device(const struct trib_processes *p, size_t device, const char *dir)
{
    const struct trib_partition *partition = &p->scenario->partition;
    char base[SUB_SIZE];
    struct trib_buf text = {0};
    enum trib_err err = trib_path_join(base, dir, "train");
    if (!err && p->scenario->prepare) {
        put_values_section(p, "train", &text);
        err = write_values(p, p->scenario->train, partition->starts[device],
                           trib_partition_size(partition, device), base);
    } else if (!err) {
        err = write_features(p, device, dir, base, &text);
    }
    trib_buf_text(&text, "split_by = row\n"); // as scenario_open.c does
    if (!err)
        err = put_policy(&p->scenario->policy, &text);
    trib_buf_text(&text, "[client]\nreconnect_max_ms = 1000\n");
    if (!err)
        err = write_text(dir, "client.ini", &text);
    trib_buf_fini(&text);
    return err;
}

// The held-out rows, and how a job's file names them.
static enum trib_err write_test(const struct trib_processes *p, const char *base,
                                struct trib_buf *ret_text)
{
    struct trib_dataset test = *p->scenario->test;
    test.weights = NULL; // nothing weighs held-out rows
    if (p->scenario->prepare) {
        put_values_section(p, "test", ret_text);
        return write_values(p, &test, 0, test.rows, base);
    }
    put_data_section(p, "test", ret_text);
    uint32_t *rows = row_numbers(0, test.rows);
    enum trib_err err = rows ? write_rows(p, &test, rows, test.rows, base) : TRIB_ERR_NOMEM;
    free(rows);
    return err;
}

// The job's file: the scenario's sections that a coordinator knows, and the held-out rows.
static enum trib_err write_job(const struct trib_processes *p, struct trib_buf *ret_text)
{
    struct trib_conf *conf = trib_alloc(sizeof(*conf));
    struct trib_job_config config;
    char base[SUB_SIZE];
    char *text = NULL;
    size_t size = 0;
    if (!conf)
        return TRIB_ERR_NOMEM;
    trib_conf_init(conf);
    trib_job_conf_add(conf, &config);
    config = p->scenario->job_config;
    if (p->scenario->job.model.local_count > 0)
        config.eval_every = 0; // measured in the end, with what the devices have (measure)
    FILE *file = open_memstream(&text, &size);
    if (file) {
        trib_conf_write(conf, file);
        (void)fclose(file);
    }
    trib_buf_text(ret_text, text ? text : "");
    free(text);
    free(conf);
    enum trib_err err = file ? trib_path_join(base, p->state_dir, "test") : TRIB_ERR_NOMEM;
    return err ? err : write_test(p, base, ret_text);
}

// ---- Starting

static enum trib_err start(struct trib_processes *p, const char *name, const char *const *argv)
{
    char log[SUB_SIZE];
    if (snprintf(log, sizeof(log), "%s/logs/%s.log", p->dir, name) > TRIB_PATH_MAX)
        return TRIB_ERR_LIMIT;
    enum trib_err err = trib_child_start(&p->children[p->child_count], name, log, argv);
    p->child_count += !err;
    return err;
}

// Devices are the real program; those that are to fail are the same library with a trainer that
// falls silent (own_client.h).
static enum trib_err start_device(struct trib_processes *p, const char *name, const char *dir)
{
    char path[SUB_SIZE];
    char dropout[TRIB_REAL_TEXT_SIZE];
    const char *const plain[] = {path, "run", dir, NULL};
    const char *const faulty[] = {path, "device", dir, "--dropout", dropout, NULL};
    trib_real_text(p->scenario->config.dropout, dropout);
    const bool is_faulty = p->scenario->config.dropout > 0;
    enum trib_err err = trib_child_find(is_faulty ? "simulations" : "client",
                                        is_faulty ? "tributary-sim" : "tributary-client", path);
    return err ? err : start(p, name, is_faulty ? faulty : plain);
}

static enum trib_err start_coordinator(struct trib_processes *p)
{
    struct trib_identity identity;
    char path[SUB_SIZE];
    const char *const argv[] = {path, "run", p->coordinator, NULL};
    enum trib_err err = trib_path_join(p->coordinator, p->state_dir, "coordinator");
    if (!err)
        err = trib_identity_make(p->coordinator, "tcp://127.0.0.1:0", NULL, &identity);
    if (err)
        return err;
    trib_identity_wipe(&identity);
    err = trib_child_find("coordinator", "tributary-coordinator", path);
    if (!err)
        err = start(p, "coordinator", argv);
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
        char dir[SUB_SIZE];
        trib_partition_name(i, name);
        err = trib_path_join(dir, p->state_dir, name);
        if (!err)
            err = trib_dir_make(dir, 0700);
        if (!err)
            err = write_device(p, i, dir);
        if (!err)
            err = enrol(p, name, dir);
        if (!err)
            err = start_device(p, name, dir);
        if (!err)
            err = check(p);
    }
    return err ? err : wait_for(p, "connected", clients, START_MS);
}

static enum trib_err submit(struct trib_processes *p)
{
    struct trib_buf text = {0};
    struct trib_admin_reply reply;
    enum trib_err err = write_job(p, &text);
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
    char logs[SUB_SIZE];
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
    if (scenario->job.model.local_count > 0 && (config->target_metric != TRIB_JOB_METRIC_NONE ||
                                                config->lr_schedule == TRIB_SCHEDULE_PLATEAU)) {
        TRIB_ERROR("round.target_metric and lr_schedule = plateau want every round to be measured, "
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
        err = write_pipeline(p);
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

// A pass of the pipeline's statistics: in one process they are no rounds, and no version comes of them.
static bool is_pass(const struct trib_round_result *result)
{
    return strcmp(result->kind, trib_tally_kind_text(TRIB_TALLY_PREPARE)) == 0;
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
    char dir[SUB_SIZE];
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
