#include "tests/fault/rig.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/include/tributary/client.h"
#include "client/slot.h"
#include "client/state.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/wipe.h"
#include "coordinator/ctl/call.h"
#include "coordinator/identity.h"
#include "coordinator/job.h"
#include "coordinator/server.h"
#include "coordinator/server_state.h"
#include "coordinator/store.h"
#include "tests/fault/fault.h"

enum {
    POLL_MS = 2,
    PAUSE_MS = 20, // until whoever ended starts again
    ENDS_MAX = 20,
    CALL_MS = 5000,
    ROWS = 40,
};

bool rig_wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "WRONG: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    return false;
}

int rig_fork(bool (*body)(void *user), void *user, const char *log)
{
    int status = -1;
    (void)fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd >= 0)
            (void)dup2(fd, STDERR_FILENO);
        const bool is_good = body(user);
        (void)fflush(NULL);
        exit(is_good ? 0 : 1); // looks for leaks
    }
    while (child > 0 && waitpid(child, &status, 0) < 0)
        ;
    return status;
}

// ---- Promises, as they are made

static struct rig *living; // whose life it is
static pthread_mutex_t promises_lock = PTHREAD_MUTEX_INITIALIZER;

static void note(struct rig_promise *promises, size_t *count, const struct rig_promise *promise)
{
    (void)pthread_mutex_lock(&promises_lock);
    if (*count < RIG_PROMISES_MAX)
        promises[(*count)++] = *promise;
    (void)pthread_mutex_unlock(&promises_lock);
}

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
void __real_trib_server_send_receipt(struct trib_session_link *session,
                                     const uint8_t update_id[static TRIB_MSG_ID_SIZE],
                                     enum trib_code code);
void __wrap_trib_server_send_receipt(struct trib_session_link *session,
                                     const uint8_t update_id[static TRIB_MSG_ID_SIZE],
                                     enum trib_code code);
void __wrap_trib_server_send_receipt(struct trib_session_link *session,
                                     const uint8_t update_id[static TRIB_MSG_ID_SIZE],
                                     enum trib_code code)
{
    struct rig_promise promise = {.round = 0};
    memcpy(promise.id, update_id, sizeof(promise.id));
    if (living && trib_code_class(code) == TRIB_CODE_CLASS_OK)
        note(living->counted, &living->counted_count, &promise);
    else if (living)
        living->retries++;
    __real_trib_server_send_receipt(session, update_id, code);
}

void __real_trib_msg_upload_begin_pack(const struct trib_msg_upload_begin *msg,
                                       struct trib_buf *buf);
void __wrap_trib_msg_upload_begin_pack(const struct trib_msg_upload_begin *msg,
                                       struct trib_buf *buf);
void __wrap_trib_msg_upload_begin_pack(const struct trib_msg_upload_begin *msg,
                                       struct trib_buf *buf)
{
    struct rig_promise promise = {.round = msg->round_id};
    memcpy(promise.id, msg->update_id, sizeof(promise.id));
    memcpy(promise.digest, msg->digest, sizeof(promise.digest));
    if (living)
        note(living->begun, &living->begun_count, &promise);
    __real_trib_msg_upload_begin_pack(msg, buf);
}
// NOLINTEND(bugprone-reserved-identifier)

static atomic_bool job_ended; // the log says so

static void take_line(void *user, enum trib_log_level level, const char *line)
{
    const struct rig *rig = user;
    (void)level;
    (void)fprintf(stderr, "%s\n", line);
    if (strstr(line, "job: job=1 ") && strstr(line, " rounds=") && strstr(line, " version="))
        job_ended = true;
    if (rig && rig->on_line)
        rig->on_line(rig->user, line);
}

// ---- The two sides

struct side {
    const struct rig *rig;
    pthread_t thread;
    bool is_there; // the thread
    atomic_bool is_over;
    pthread_mutex_t lock; // of `client`
    struct trib_client *client;
    atomic_bool stops; // it ends because it was told so
    enum trib_err err;
};

static void *serve(void *user)
{
    struct side *side = user;
    struct trib_server *server;
    char dir[TRIB_PATH_MAX + 1];
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", side->rig->dir);
    side->err = trib_server_create(dir, &server);
    if (!side->err) {
        side->err = trib_server_run(server);
        trib_server_destroy(server);
    }
    side->is_over = true;
    return NULL;
}

static enum trib_err run_client(struct side *side, struct trib_dataset *dataset, const char *dir)
{
    char url[TRIB_URL_MAX + 1];
    struct trib_client_config config;
    struct trib_client *client;
    (void)snprintf(url, sizeof(url), "ipc://%s/fleet.sock", side->rig->dir);
    trib_client_config_init(&config);
    config.state_dir = dir;
    config.coordinator_url = url;
    config.trainer = trib_trainer_builtin();
    config.trainer_user = dataset;
    config.log = take_line;
    config.log_user = living;
    config.reconnect_max_ms = 50;
    enum trib_err err = trib_client_create(&config, &client);
    if (err)
        return err;
    (void)pthread_mutex_lock(&side->lock);
    side->client = client;
    (void)pthread_mutex_unlock(&side->lock);
    err = trib_client_run(client);
    (void)pthread_mutex_lock(&side->lock);
    side->client = NULL;
    (void)pthread_mutex_unlock(&side->lock);
    trib_client_destroy(client);
    return err;
}

static void *take_part(void *user)
{
    struct side *side = user;
    struct trib_dataset *dataset = NULL;
    char dir[TRIB_PATH_MAX + 1], path[TRIB_PATH_MAX + 1];
    (void)snprintf(dir, sizeof(dir), "%s/device", side->rig->dir);
    (void)snprintf(path, sizeof(path), "%s/device/client.ini", side->rig->dir);
    side->err = trib_dataset_open(path, &dataset);
    if (!side->err)
        side->err = run_client(side, dataset, dir);
    trib_dataset_destroy(dataset);
    side->is_over = true;
    return NULL;
}

static bool start(struct side *side, const struct rig *rig, void *(*body)(void *user))
{
    char socket_path[FOLDER_PATH_SIZE];
    (void)snprintf(socket_path, sizeof(socket_path), "%s/fleet.sock", rig->dir);
    if (body == serve)
        (void)unlink(socket_path);
    side->rig = rig;
    side->is_over = false;
    side->stops = false;
    side->is_there = pthread_create(&side->thread, NULL, body, side) == 0;
    return side->is_there;
}

static void join(struct side *side)
{
    if (side->is_there)
        (void)pthread_join(side->thread, NULL);
    side->is_there = false;
}

static void stop(struct side *side)
{
    side->stops = true;
    for (int i = 0; side->is_there && !side->is_over; i++) {
        (void)pthread_mutex_lock(&side->lock);
        if (side->client)
            trib_client_stop(side->client);
        else
            trib_server_stop(NULL); // looks at nothing
        (void)pthread_mutex_unlock(&side->lock);
        trib_clock_sleep_ms(POLL_MS);
    }
    join(side);
}

// ---- Preparing

static bool put_text(const char *dir, const char *name, const char *text)
{
    char path[TRIB_PATH_MAX + 1];
    return trib_path_join(path, dir, name) == TRIB_OK &&
           trib_file_write(path, text, strlen(text), 0600) == TRIB_OK;
}

static bool put_rows(const char *dir, const char *name)
{
    char text[ROWS * 16] = "";
    size_t used = 0;
    for (int i = 0; i < ROWS; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%d,%d,%d\n", i % 16, i * 7 % 16,
                                 i % 16 > 7);
    return put_text(dir, name, text);
}

static bool put_ini(const struct rig *rig)
{
    char dir[TRIB_PATH_MAX + 1], text[512];
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig->dir);
    (void)snprintf(text, sizeof(text), "[fleet]\nlisten = ipc://%s/fleet.sock\n", rig->dir);
    return put_text(dir, "tributary.ini", text);
}

static bool ask(const struct rig *rig, const struct trib_admin_request *request,
                struct trib_admin_reply *ret_reply)
{
    char dir[TRIB_PATH_MAX + 1];
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig->dir);
    enum trib_err err = TRIB_ERR_CONNECT;
    for (int i = 0; i < 1000 && err == TRIB_ERR_CONNECT; i++) {
        err = trib_ctl_call(dir, request, CALL_MS, ret_reply);
        if (err == TRIB_ERR_CONNECT)
            trib_clock_sleep_ms(5);
    }
    if (err)
        return rig_wrong("%s: %s", request->words[0], trib_err_text(err));
    if (ret_reply->exit_code || ret_reply->row_count == 0)
        return rig_wrong("%s: %s", request->words[0],
                         ret_reply->error ? ret_reply->error : "no row");
    return true;
}

static bool enrol(const struct rig *rig)
{
    char dir[TRIB_PATH_MAX + 1], text[512];
    struct trib_admin_reply reply;
    const struct trib_admin_request request = {.word_count = 4,
                                               .words = {"devices", "token", "--name", "d0000"}};
    (void)snprintf(dir, sizeof(dir), "%s/device", rig->dir);
    if (!ask(rig, &request, &reply))
        return false;
    const enum trib_err err = trib_client_enrol(trib_admin_find_text(&reply.rows[0], "token"), dir);
    trib_admin_reply_fini(&reply);
    if (err)
        return rig_wrong("enrol: %s", trib_err_text(err));
    (void)snprintf(text, sizeof(text),
                   "[data]\ntrain = data.csv\nscale = 16\n[client]\nreconnect_max_ms = 50\n"
                   "[client.policy]\nallowed_modes = off,%s\n",
                   rig->mode);
    return put_text(dir, "client.ini", text) && put_rows(dir, "data.csv");
}

static bool submit(const struct rig *rig)
{
    char text[1024];
    struct trib_admin_reply reply;
    (void)snprintf(text, sizeof(text),
                   "[model]\nspec = 2 - dense 4 relu - dense 2 softmax\nseed = 1\n"
                   "[round]\nrounds = %d\ncohort = 1\nbatch = 16\nlearning_rate = 0.1\n"
                   "local_epochs = 1\n[privacy]\nmode = %s\nsend_tick_ms = 0\n%s"
                   "[strategy]\nname = fedavg\n[data]\ntest = %s/test.csv\nscale = 16\n",
                   RIG_ROUNDS, rig->mode,
                   strcmp(rig->mode, "off") == 0 ? "" : "noise_multiplier = 0.05\ntest_seed = 5\n",
                   rig->root);
    const struct trib_admin_request request = {
        .word_count = 3,
        .words = {"jobs", "submit", "--accept-drowned-signal"},
        .body_name = "job.ini",
        .body_dir = rig->root,
        .body = (const uint8_t *)text,
        .body_size = strlen(text)};
    if (!put_rows(rig->root, "test.csv") || !ask(rig, &request, &reply))
        return false;
    trib_admin_reply_fini(&reply);
    return true;
}

static bool prepare(void *user)
{
    struct rig *rig = user;
    char dir[TRIB_PATH_MAX + 1];
    struct trib_identity identity;
    struct side coordinator = {.lock = PTHREAD_MUTEX_INITIALIZER};
    trib_crypto_init();
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig->dir);
    if (mkdir(rig->dir, 0700) || trib_identity_make(dir, NULL, NULL, &identity))
        return rig_wrong("%s cannot be made", dir);
    trib_identity_wipe(&identity);
    if (!put_ini(rig) || !start(&coordinator, rig, serve))
        return false;
    const bool is_good = enrol(rig) && submit(rig);
    stop(&coordinator);
    return is_good;
}

bool rig_make(struct rig *rig, const char *mode)
{
    char log[FOLDER_PATH_SIZE];
    const char *where = getenv("TMPDIR");
    *rig = (struct rig){.lived_ms = 0};
    (void)snprintf(rig->mode, sizeof(rig->mode), "%s", mode);
    // The path of a Unix socket is short.
    (void)snprintf(rig->root, sizeof(rig->root), "%s/trib-fault-XXXXXX",
                   where && where[0] && strlen(where) < 50 ? where : "/tmp");
    if (!mkdtemp(rig->root))
        return rig_wrong("%s cannot be made", rig->root);
    (void)snprintf(rig->dir, sizeof(rig->dir), "%s/begin", rig->root);
    (void)snprintf(log, sizeof(log), "%s/begin.log", rig->root);
    if (rig_fork(prepare, rig, log) != 0)
        return rig_wrong("the beginning failed: see %s", log);
    return true;
}

void rig_remove(struct rig *rig)
{
    if (rig->root[0])
        folder_remove(rig->root, 0);
    rig->root[0] = '\0';
}

bool rig_begin(struct rig *rig, const char *name)
{
    char from[FOLDER_PATH_SIZE];
    (void)snprintf(from, sizeof(from), "%s/begin", rig->root);
    (void)snprintf(rig->dir, sizeof(rig->dir), "%s/%s", rig->root, name);
    folder_remove(rig->dir, 0);
    rig->begun_count = rig->counted_count = 0;
    rig->ends = rig->retries = 0;
    if (!folder_copy(from, rig->dir, 1) || !put_ini(rig))
        return rig_wrong("%s cannot be copied", from);
    fault_watch(rig->dir);
    return true;
}

// ---- A life

struct looking {
    struct rig *rig;
    uint64_t job_state;
    uint64_t version;
    uint8_t digest[TRIB_DIGEST_SIZE];
    struct rig_outcome *outcome;
    bool is_good;
    uint64_t rounds[RIG_PROMISES_MAX]; // of updates that count
    uint8_t ids[RIG_PROMISES_MAX][16];
    size_t update_count;
};

static void take_job(void *user, const struct trib_store_job *job)
{
    struct looking *looking = user;
    looking->job_state = job->state;
}

static void take_version(void *user, const struct trib_store_version *row)
{
    struct looking *looking = user;
    looking->version = row->version;
    memcpy(looking->digest, row->digest, sizeof(looking->digest));
}

static bool open_store(const struct rig *rig, struct trib_store **ret_store)
{
    char path[TRIB_PATH_MAX + 1];
    (void)snprintf(path, sizeof(path), "%s/coordinator/store.db", rig->dir);
    const enum trib_err err = trib_store_open(path, ret_store);
    return err ? rig_wrong("%s: %s", path, trib_err_text(err)) : true;
}

// Is the job over, as the store of a dead coordinator says? And the head.
static bool job_is_over(const struct rig *rig, struct looking *looking)
{
    struct trib_store *store;
    *looking = (struct looking){.job_state = 0};
    if (!open_store(rig, &store))
        return false;
    const bool is_good = trib_store_jobs(store, take_job, looking) == TRIB_OK &&
                         trib_store_version_head(store, take_version, looking) == TRIB_OK;
    trib_store_close(store);
    return is_good && looking->job_state > TRIB_JOB_PAUSED;
}

// Somebody ended by himself: he starts again, and nothing is wrong with his machine any more.
static bool revive(struct rig *rig, struct side *side, void *(*body)(void *user))
{
    struct looking looking;
    if (!side->is_over)
        return true;
    join(side);
    fault_disarm();
    (void)fprintf(stderr, "-- %s ended: %s\n", body == serve ? "coordinator" : "device",
                  trib_err_text(side->err));
    if (++rig->ends > ENDS_MAX)
        return rig_wrong("it ends again and again");
    trib_clock_sleep_ms(PAUSE_MS);
    if (body == serve && job_is_over(rig, &looking))
        job_ended = true;
    return start(side, rig, body);
}

// Does the device have the version that the store calls the newest?
static bool device_has(const struct rig *rig, uint64_t *ret_version)
{
    char dir[TRIB_PATH_MAX + 1];
    struct trib_state_enrolment enrolment;
    struct trib_slot slot;
    (void)snprintf(dir, sizeof(dir), "%s/device", rig->dir);
    *ret_version = 0;
    if (trib_state_enrolment_load(dir, &enrolment) || trib_slot_load(dir, &enrolment, NULL, &slot))
        return false;
    *ret_version = slot.manifest.version;
    trib_slot_fini(&slot);
    return true;
}

static bool until(struct rig *rig, struct side *sides, bool (*is_reached)(const struct rig *rig),
                  uint64_t until_ms)
{
    while (!is_reached(rig)) {
        if (trib_clock_mono_ms() > until_ms)
            return false;
        if (!revive(rig, &sides[0], serve) || !revive(rig, &sides[1], take_part))
            return false;
        trib_clock_sleep_ms(POLL_MS);
    }
    return true;
}

static bool is_job_ended(const struct rig *rig)
{
    (void)rig;
    return job_ended;
}

static uint64_t wanted_version;

static bool has_wanted(const struct rig *rig)
{
    uint64_t version;
    return device_has(rig, &version) && version == wanted_version;
}

bool rig_live(struct rig *rig)
{
    struct side sides[2] = {{.lock = PTHREAD_MUTEX_INITIALIZER},
                            {.lock = PTHREAD_MUTEX_INITIALIZER}};
    struct looking looking;
    const uint64_t began_ms = trib_clock_mono_ms();
    fault_exempt(true); // this thread looks on
    living = rig;
    job_ended = false;
    trib_log_set_sink(take_line, rig);
    bool is_good = start(&sides[0], rig, serve) && start(&sides[1], rig, take_part);
    if (is_good && !until(rig, sides, is_job_ended, began_ms + RIG_LIFE_MS))
        is_good = rig_wrong("the job does not end");
    fault_disarm();
    stop(&sides[1]);
    stop(&sides[0]);
    rig->lived_ms = trib_clock_mono_ms() - began_ms;
    if (is_good && !job_is_over(rig, &looking))
        is_good = rig_wrong("the job that was over is not");
    wanted_version = looking.version;
    // Whatever happened, the next time that both run the device gets what is newest.
    if (is_good && !has_wanted(rig)) {
        is_good = start(&sides[0], rig, serve) && start(&sides[1], rig, take_part);
        if (is_good && !until(rig, sides, has_wanted, trib_clock_mono_ms() + RIG_LIFE_MS / 4))
            is_good = rig_wrong("the device does not get version %llu",
                                (unsigned long long)wanted_version);
        stop(&sides[1]);
        stop(&sides[0]);
    }
    living = NULL;
    trib_log_set_sink(NULL, NULL);
    return is_good;
}
