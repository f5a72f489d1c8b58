// What else can be interrupted beside the rounds of a job.
#include "tests/fault/scenes.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/include/tributary/client.h"
#include "client/inlet.h"
#include "client/state.h"
#include "common/base/args.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/data/row_store.h"
#include "coordinator/ctl/call.h"
#include "coordinator/job.h"
#include "coordinator/restore.h"
#include "coordinator/store.h"
#include "tests/fault/rig_parts.h"

enum {
    CALL_MS = 5000,
    CONNECT_TRIES = 100,
    CONNECT_PAUSE_MS = 5,
    PUSHES = 4,
    PUSH_ROWS = 40,
    PUSH_PAUSE_MS = 20,
    PUSH_TRIES = 500,
    ROW_SIZE = 16,
};

// ---- operator: a token, a device that enrols by it, a job, a backup

// Ask whoever is there; false: nobody answered, or refused.
static bool command(const struct rig *rig, const struct trib_admin_request *request,
                    struct trib_admin_reply *ret_reply, int *ret_code)
{
    char dir[TRIB_PATH_MAX + 1];
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig->dir);
    enum trib_err err = TRIB_ERR_CONNECT;
    for (int i = 0; i < CONNECT_TRIES && err == TRIB_ERR_CONNECT; i++) { // it may just begin
        err = trib_ctl_call(dir, request, CALL_MS, ret_reply);
        if (err == TRIB_ERR_CONNECT)
            trib_clock_sleep_ms(CONNECT_PAUSE_MS);
    }
    *ret_code = (int)trib_exit_of(err);
    if (err == TRIB_OK && ret_reply->exit_code) {
        *ret_code = ret_reply->exit_code;
        (void)fprintf(stderr, "-- %s: %s\n", request->words[0],
                      ret_reply->error ? ret_reply->error : "refused");
        trib_admin_reply_fini(ret_reply);
    }
    return *ret_code == 0;
}

static int enrol(struct rig *rig)
{
    char dir[TRIB_PATH_MAX + 1];
    struct trib_admin_reply reply;
    struct rig_told *told = &rig->shared->told;
    char name[ROW_SIZE];
    int code;
    // The name of one whose answer was lost is taken until that token expires.
    (void)snprintf(name, sizeof(name), "d%04u", told->tokens_tried);
    const struct trib_admin_request request = {.word_count = 4,
                                               .words = {"devices", "token", "--name", name}};
    if (!told->token[0]) {
        told->tokens_tried++;
        if (!command(rig, &request, &reply, &code))
            return code;
        (void)snprintf(told->token, sizeof(told->token), "%s",
                       trib_admin_find_text(&reply.rows[0], "token"));
        trib_admin_reply_fini(&reply);
    }
    // A token that was told is good, however often it is tried.
    rig_device_dir(rig, 0, dir);
    const enum trib_err err = trib_client_enrol(told->token, dir);
    told->is_enrolled = err == TRIB_OK;
    return (int)trib_exit_of(err);
}

// One whose answer was lost may be there: an operator looks before he submits another.
static int find_job(struct rig *rig)
{
    struct trib_admin_reply reply;
    int code;
    const struct trib_admin_request request = {.word_count = 2, .words = {"jobs", "ls"}};
    if (!command(rig, &request, &reply, &code))
        return code;
    if (reply.row_count > 0)
        rig->shared->told.job = trib_admin_find_number(&reply.rows[0], "job");
    trib_admin_reply_fini(&reply);
    return 0;
}

static int submit(struct rig *rig)
{
    static const char text[] =
        "[model]\nspec = 2 - dense 2 softmax\nseed = 1\n"
        "[round]\nrounds = 1\ncohort = 1\nbatch = 16\n[privacy]\nmode = off\n"
        "[strategy]\nname = fedavg\n[data]\ntest = test.csv\nscale = 16\n";
    struct trib_admin_reply reply;
    int code;
    const struct trib_admin_request request = {.word_count = 2,
                                               .words = {"jobs", "submit"},
                                               .body_name = "job.ini",
                                               .body_dir = rig->dir,
                                               .body = (const uint8_t *)text,
                                               .body_size = strlen(text)};
    if (!command(rig, &request, &reply, &code))
        return code;
    rig->shared->told.job = trib_admin_find_number(&reply.rows[0], "job");
    trib_admin_reply_fini(&reply);
    return 0;
}

static int back_up(struct rig *rig)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_admin_reply reply;
    struct rig_told *told = &rig->shared->told;
    int code;
    (void)snprintf(path, sizeof(path), "%s/backup%u", rig->dir, ++told->backups_tried);
    const struct trib_admin_request request = {.word_count = 2, .words = {"backup", path}};
    if (!command(rig, &request, &reply, &code))
        return code;
    told->backup = told->backups_tried;
    trib_admin_reply_fini(&reply);
    return 0;
}

static int operate(struct rig *rig)
{
    const struct rig_told *told = &rig->shared->told;
    int code = told->is_enrolled ? 0 : enrol(rig);
    if (!code && !told->job)
        code = find_job(rig);
    if (!code && !told->job)
        code = submit(rig);
    if (!code && !told->backup)
        code = back_up(rig);
    return code;
}

static bool put_test_rows(struct rig *rig)
{
    struct trib_admin_reply reply;
    const struct trib_admin_request request = {.word_count = 1, .words = {"status"}};
    if (!rig_ask(rig, &request, &reply)) // it has begun, and can be stopped
        return false;
    trib_admin_reply_fini(&reply);
    return rig_put_text(rig->dir, "test.csv", "1,2,0\n15,3,1\n");
}

struct stored {
    unsigned devices, jobs;
    bool has_job;
    uint64_t job; // that was told
};

static void take_device(void *user, const struct trib_store_device *device)
{
    struct stored *stored = user;
    stored->devices++;
    (void)device;
}

static void take_job(void *user, const struct trib_store_job *job)
{
    struct stored *stored = user;
    stored->jobs++;
    stored->has_job = stored->has_job || job->id == stored->job;
}

// The store in `dir` has what was told.
static bool hold_store(const struct rig *rig, const char *dir)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_store *store = NULL;
    struct stored stored = {.job = rig->shared->told.job};
    enum trib_err err = trib_path_join(path, dir, "store.db");
    if (!err)
        err = trib_store_open(path, &store);
    if (!err)
        err = trib_store_verify(store);
    if (!err)
        err = trib_store_devices(store, take_device, &stored);
    if (!err)
        err = trib_store_jobs(store, take_job, &stored);
    trib_store_close(store);
    if (err)
        return rig_wrong("%s: %s", path, trib_err_text(err));
    if (stored.devices != 1) // enrolled once, however often it tried
        return rig_wrong("%s: %u devices", path, stored.devices);
    return stored.has_job || rig_wrong("%s: the job that was taken is not there", path);
}

static bool hold_backup(const struct rig *rig)
{
    char from[TRIB_PATH_MAX + 1], to[TRIB_PATH_MAX + 1];
    struct trib_restore restore = {.from = from, .to = to, .verify = true};
    (void)snprintf(from, sizeof(from), "%s/backup%u", rig->dir, rig->shared->told.backup);
    (void)snprintf(to, sizeof(to), "%s/restored", rig->dir);
    const enum trib_err err = trib_restore_run(&restore);
    if (err)
        (void)rig_wrong("the backup: %s: %s", trib_err_text(err), restore.why);
    trib_restore_fini(&restore);
    return !err && hold_store(rig, to);
}

static bool hold_operator(const struct rig *rig)
{
    char dir[TRIB_PATH_MAX + 1];
    struct trib_state_keys keys;
    struct trib_state_enrolment enrolment;
    const struct rig_told *told = &rig->shared->told;
    if (!told->is_enrolled || !told->job || !told->backup)
        return rig_wrong("not all was done");
    rig_device_dir(rig, 0, dir);
    if (trib_state_keys_load(dir, &keys) || trib_state_enrolment_load(dir, &enrolment))
        return rig_wrong("a device that is enrolled cannot start");
    trib_state_keys_wipe(&keys);
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig->dir);
    return hold_store(rig, dir) && hold_backup(rig);
}

// ---- rows: pushed while a job learns from them

// Its number, below 1000, is what it is known by.
#define ROW "0.%03u,%u,%u\n"

static enum trib_err push(const char *dir, unsigned first)
{
    char path[TRIB_PATH_MAX + 1], text[PUSH_ROWS * ROW_SIZE];
    struct trib_state_config config;
    struct trib_buf summary = {0};
    size_t used = 0;
    int ends[2];
    for (unsigned i = 0; i < PUSH_ROWS; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, ROW, first + i, i % 2, i % 2);
    enum trib_err err = trib_path_join(path, dir, "client.ini");
    if (!err)
        err = trib_state_config_load(path, &config);
    if (!err && pipe(ends))
        err = TRIB_ERR_IO;
    if (err)
        return err;
    if (write(ends[1], text, used) != (ssize_t)used)
        err = TRIB_ERR_IO;
    (void)close(ends[1]);
    if (!err)
        err = trib_inlet_push_file(&config.data, ends[0], &summary);
    (void)close(ends[0]);
    trib_buf_fini(&summary);
    return err;
}

static bool put_rows(struct rig *rig)
{
    char dir[TRIB_PATH_MAX + 1];
    rig_device_dir(rig, 0, dir);
    return rig_put_text(dir, "rows.ini",
                        "[column a]\ntype = real\nmin = 0\nmax = 1\n[column b]\ntype = int\n"
                        "min = 0\nmax = 1\n[column y]\ntype = bool\nrole = label\n") &&
           rig_put_text(dir, "client.ini",
                        "[data]\nformat = store\nschema = rows.ini\nsocket = in.sock\n"
                        "[client]\nreconnect_max_ms = 50\n"
                        "[client.policy]\nallowed_modes = off,local\n") &&
           push(dir, 0) == TRIB_OK;
}

// Each until it is taken.
static int push_all(struct rig *rig)
{
    char dir[TRIB_PATH_MAX + 1], path[TRIB_PATH_MAX + 1 + sizeof("/in.sock")];
    struct rig_told *told = &rig->shared->told;
    rig_device_dir(rig, 0, dir);
    // The store has one writer: let the client be it, unless it does not come up.
    (void)snprintf(path, sizeof(path), "%s/in.sock", dir);
    for (unsigned i = 0; i < CONNECT_TRIES && !trib_file_exists(path); i++)
        trib_clock_sleep_ms(CONNECT_PAUSE_MS);
    for (unsigned tries = 0; told->pushes < PUSHES; tries++) {
        const enum trib_err err = push(dir, (told->pushes + 1) * PUSH_ROWS);
        told->pushes += err == TRIB_OK;
        if (err && tries > PUSH_TRIES)
            return (int)trib_exit_of(err);
        trib_clock_sleep_ms(PUSH_PAUSE_MS);
    }
    return 0;
}

// How often each row is there.
static enum trib_err take_row(void *user, const struct trib_row *row)
{
    unsigned *counts = user;
    char text[ROW_SIZE + 1], wanted[ROW_SIZE + 1];
    unsigned value;
    if (row->size > ROW_SIZE)
        return TRIB_ERR_CORRUPT;
    memcpy(text, row->text, row->size);
    text[row->size] = '\0';
    if (sscanf(text, "0.%u,", &value) != 1 || value >= (PUSHES + 1) * PUSH_ROWS)
        return TRIB_ERR_CORRUPT;
    const unsigned i = value % PUSH_ROWS;
    (void)snprintf(wanted, sizeof(wanted), ROW, value, i % 2, i % 2);
    counts[value]++;
    return strncmp(text, wanted, row->size) == 0 && wanted[row->size] == '\n' ? TRIB_OK
                                                                              : TRIB_ERR_CORRUPT;
}

static bool hold_rows(const struct rig *rig)
{
    char dir[TRIB_PATH_MAX + 1], path[TRIB_PATH_MAX + 1];
    struct trib_state_config config;
    unsigned counts[(PUSHES + 1) * PUSH_ROWS] = {0};
    struct trib_schema *schema = NULL;
    struct trib_row_store *store = NULL;
    rig_device_dir(rig, 0, dir);
    enum trib_err err = trib_path_join(path, dir, "client.ini");
    if (!err)
        err = trib_state_config_load(path, &config);
    if (!err) // cuts off what is torn, as the next start does
        err = trib_data_open_store(&config.data, trib_clock_wall_ms(), &schema, &store);
    trib_row_store_close(store);
    trib_schema_destroy(schema);
    if (!err)
        err = trib_path_join(path, dir, "rows");
    const struct trib_row_query query = {.dir = path};
    if (!err)
        err = trib_row_store_read(&query, take_row, counts);
    if (err)
        return rig_wrong("%s: %s", path, trib_err_text(err));
    for (unsigned i = 0; i < (rig->shared->told.pushes + 1) * PUSH_ROWS; i++) {
        if (counts[i] == 0)
            return rig_wrong("row %u was taken, and is not there", i);
    }
    return true;
}

const struct rig_scene *rig_scene_find(const char *name)
{
    static const struct rig_scene scenes[] = {
        {"operator", RIG_DEVICE, false, put_test_rows, operate, hold_operator},
        {"rows", RIG_SIDES, true, put_rows, push_all, hold_rows},
    };
    for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
        if (strcmp(scenes[i].name, name) == 0)
            return &scenes[i];
    }
    return NULL;
}
