#include "tests/fault/rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/include/tributary/client.h"
#include "client/slot.h"
#include "client/state.h"
#include "common/base/args.h"
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
    STOP_MS = 10000,
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

pid_t rig_fork(int (*body)(void *user), void *user, const char *log)
{
    (void)fflush(NULL);
    const pid_t process = fork();
    if (process != 0)
        return process;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // nothing outlives the test
    const int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd >= 0)
        (void)dup2(fd, STDERR_FILENO);
    const int code = body(user);
    (void)fflush(NULL);
    exit(code); // looks for leaks
}

void *rig_share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

// ---- What a process of a life knows

static struct trib_client *client_of_process;
static const struct side *side_of_process;

struct side {
    struct rig *rig;
    enum rig_side which;
    bool is_first; // start of it
    pid_t process; // 0: none
};

// ---- Promises, as they are made

static struct rig_shared *living; // of this process's life

static void note(struct rig_promise *promises, size_t *count, const struct rig_promise *promise)
{
    const struct rig *rig = side_of_process->rig;
    if (rig->on_promise)
        rig->on_promise(rig->user, promise, promises == living->counted);
    (void)pthread_mutex_lock(&living->lock);
    if (*count < RIG_PROMISES_MAX)
        promises[(*count)++] = *promise;
    (void)pthread_mutex_unlock(&living->lock);
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
    if (side_of_process && side_of_process->rig->dies_at_receipt)
        (void)raise(SIGKILL);
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

static void take_line(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)fprintf(stderr, "%s\n", line);
    if (living && strstr(line, "job: job=1 ") && strstr(line, " rounds=") &&
        strstr(line, " version="))
        living->job_is_over = true;
}

// ---- The two sides, each a process

// What was counted and what failed, before this process ends.
static void note_faults(void)
{
    const struct side *side = side_of_process;
    for (int kind = 0; living && side->is_first && kind < FAULT_KINDS; kind++)
        living->passes[side->which][kind] = fault_passes((enum fault_kind)kind);
    if (living && fault_fired() > 0)
        living->fired = fault_fired();
}

static void on_stop(int number)
{
    (void)number;
    if (client_of_process)
        trib_client_stop(client_of_process);
    else
        trib_server_stop(NULL); // looks at nothing
}

static enum trib_err serve(const struct rig *rig)
{
    struct trib_server *server;
    char dir[TRIB_PATH_MAX + 1];
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig->dir);
    enum trib_err err = trib_server_create(dir, &server);
    if (err)
        return err;
    err = trib_server_run(server);
    note_faults();
    if (err) // as main does
        _exit((int)trib_exit_of(err));
    trib_server_destroy(server);
    return err;
}

static enum trib_err run_client(const struct rig *rig, struct trib_dataset *dataset)
{
    char url[TRIB_URL_MAX + 1], dir[TRIB_PATH_MAX + 1];
    struct trib_client_config config;
    (void)snprintf(dir, sizeof(dir), "%s/device", rig->dir);
    (void)snprintf(url, sizeof(url), "ipc://%s/fleet.sock", rig->dir);
    trib_client_config_init(&config);
    config.state_dir = dir;
    config.coordinator_url = url;
    config.trainer = trib_trainer_builtin();
    config.trainer_user = dataset;
    config.log = take_line;
    config.reconnect_max_ms = 50;
    enum trib_err err = trib_client_create(&config, &client_of_process);
    if (err)
        return err;
    err = trib_client_run(client_of_process);
    (void)signal(SIGTERM, SIG_IGN);
    trib_client_destroy(client_of_process);
    return err;
}

static enum trib_err take_part(const struct rig *rig)
{
    struct trib_dataset *dataset = NULL;
    char path[TRIB_PATH_MAX + 1];
    (void)snprintf(path, sizeof(path), "%s/device/client.ini", rig->dir);
    enum trib_err err = trib_dataset_open(path, &dataset);
    if (!err)
        err = run_client(rig, dataset);
    trib_dataset_destroy(dataset);
    return err;
}

static int run_side(void *user)
{
    const struct side *side = user;
    struct rig *rig = side->rig;
    const bool is_victim = side->is_first && side->which == rig->victim;
    living = rig->shared;
    side_of_process = side;
    (void)signal(SIGTERM, on_stop);
    trib_log_set_sink(take_line, NULL);
    if (rig->on_start)
        rig->on_start(rig->user, side->which);
    fault_arm(is_victim ? &rig->fault : &(struct fault){.kind = FAULT_NONE});
    const enum trib_err err = side->which == RIG_COORDINATOR ? serve(rig) : take_part(rig);
    note_faults();
    fault_disarm();
    return (int)trib_exit_of(err);
}

static bool start(struct side *side)
{
    char socket_path[FOLDER_PATH_SIZE];
    (void)snprintf(socket_path, sizeof(socket_path), "%s/fleet.sock", side->rig->dir);
    if (side->which == RIG_COORDINATOR)
        (void)unlink(socket_path);
    side->process = rig_fork(run_side, side, NULL);
    side->is_first = false;
    return side->process > 0 || rig_wrong("no process");
}

// How a process may end: with one of our own codes.
static bool ends_well(const struct side *side, int status)
{
    const char *name = side->which == RIG_COORDINATOR ? "coordinator" : "device";
    if (WIFSIGNALED(status))
        return rig_wrong("the %s ended by signal %d", name, WTERMSIG(status));
    if (WEXITSTATUS(status) == 1 || WEXITSTATUS(status) > TRIB_EXIT_STOPPED)
        return rig_wrong("the %s ended with %d", name, WEXITSTATUS(status));
    (void)fprintf(stderr, "-- the %s ended with %d\n", name, WEXITSTATUS(status));
    return true;
}

static bool stop(struct side *side)
{
    int status;
    if (side->process <= 0)
        return true;
    bool is_over = false;
    for (int i = 0; i < STOP_MS / POLL_MS && !is_over; i++) { // it may just begin, and not hear it
        (void)kill(side->process, SIGTERM);
        trib_clock_sleep_ms(POLL_MS);
        is_over = waitpid(side->process, &status, WNOHANG) == side->process;
    }
    if (!is_over) {
        (void)kill(side->process, SIGKILL);
        (void)waitpid(side->process, &status, 0);
        (void)rig_wrong("it does not stop");
    }
    side->process = 0;
    return is_over && ends_well(side, status);
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
    (void)snprintf(text, sizeof(text),
                   "[fleet]\nlisten = ipc://%s/fleet.sock\n[store]\nreserve_mib = 1\n", rig->dir);
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
                   "local_epochs = 1\nbeat_baseline = no\n" // so short a job need not learn
                   "[privacy]\nmode = %s\nsend_tick_ms = 0\n%s"
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

static int prepare(void *user)
{
    struct rig *rig = user;
    char dir[TRIB_PATH_MAX + 1];
    struct trib_identity identity;
    struct side coordinator = {.rig = rig, .which = RIG_COORDINATOR};
    trib_crypto_init();
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig->dir);
    if (mkdir(rig->dir, 0700) || trib_identity_make(dir, NULL, NULL, &identity))
        return 1;
    trib_identity_wipe(&identity);
    if (!put_ini(rig) || !start(&coordinator))
        return 1;
    const bool is_good = enrol(rig) && submit(rig);
    return stop(&coordinator) && is_good ? 0 : 1;
}

// A log, of what went wrong; false.
static bool show(const char *log)
{
    char line[512];
    FILE *file = fopen(log, "r");
    while (file && fgets(line, sizeof(line), file))
        (void)fprintf(stderr, "    %s", line);
    if (file)
        (void)fclose(file);
    return false;
}

bool rig_make(struct rig *rig, const char *mode)
{
    char log[FOLDER_PATH_SIZE];
    const char *where = getenv("TMPDIR");
    int status = 1;
    *rig = (struct rig){.victim = RIG_SIDES};
    (void)snprintf(rig->mode, sizeof(rig->mode), "%s", mode);
    // The path of a Unix socket is short.
    (void)snprintf(rig->root, sizeof(rig->root), "%s/trib-fault-XXXXXX",
                   where && where[0] && strlen(where) < 50 ? where : "/tmp");
    if (!mkdtemp(rig->root))
        return rig_wrong("%s cannot be made", rig->root);
    (void)snprintf(rig->dir, sizeof(rig->dir), "%s/begin", rig->root);
    (void)snprintf(log, sizeof(log), "%s/begin.log", rig->root);
    const pid_t process = rig_fork(prepare, rig, log);
    if (process < 0 || waitpid(process, &status, 0) < 0 || status != 0)
        return show(log) || rig_wrong("the beginning failed");
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
    if (!folder_copy(from, rig->dir, 1) || !put_ini(rig))
        return rig_wrong("%s cannot be copied", from);
    fault_watch(rig->dir);
    return true;
}

// ---- A life

struct looking {
    uint64_t job_state;
    uint64_t version;
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
static bool revive(struct side *side)
{
    struct looking looking;
    struct rig_shared *shared = side->rig->shared;
    int status;
    if (waitpid(side->process, &status, WNOHANG) != side->process)
        return true;
    side->process = 0;
    if (!ends_well(side, status))
        return false;
    if (++shared->ends > ENDS_MAX)
        return rig_wrong("it ends again and again");
    trib_clock_sleep_ms(PAUSE_MS);
    if (side->which == RIG_COORDINATOR && job_is_over(side->rig, &looking))
        shared->job_is_over = true;
    return start(side);
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

static bool until(struct side *sides, bool (*is_reached)(const struct rig *rig), uint64_t wait_ms)
{
    const uint64_t until_ms = trib_clock_mono_ms() + wait_ms;
    while (!is_reached(sides->rig)) {
        if (trib_clock_mono_ms() > until_ms)
            return rig_wrong("it hangs");
        if (!revive(&sides[0]) || !revive(&sides[1]))
            return false;
        trib_clock_sleep_ms(POLL_MS);
    }
    return true;
}

static bool is_job_over(const struct rig *rig)
{
    return rig->shared->job_is_over;
}

static uint64_t wanted_version;

static bool has_wanted(const struct rig *rig)
{
    uint64_t version;
    return device_has(rig, &version) && version == wanted_version;
}

static bool run_until(struct side *sides, bool (*is_reached)(const struct rig *rig),
                      uint64_t wait_ms)
{
    bool is_good = start(&sides[0]) && start(&sides[1]) && until(sides, is_reached, wait_ms);
    is_good = stop(&sides[1]) && is_good;
    return stop(&sides[0]) && is_good;
}

static void forget(struct rig *rig)
{
    pthread_mutexattr_t attributes;
    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    memset(rig->shared, 0, sizeof(*rig->shared));
    (void)pthread_mutex_init(&rig->shared->lock, &attributes);
}

bool rig_live_to_receipt(struct rig *rig)
{
    struct side sides[RIG_SIDES] = {{.rig = rig, .which = RIG_COORDINATOR},
                                    {.rig = rig, .which = RIG_DEVICE}};
    int status = 0;
    forget(rig);
    rig->dies_at_receipt = true;
    const bool is_good = start(&sides[0]) && start(&sides[1]) &&
                         waitpid(sides[0].process, &status, 0) == sides[0].process &&
                         WIFSIGNALED(status);
    (void)kill(sides[1].process, SIGKILL);
    (void)waitpid(sides[1].process, &status, 0);
    rig->dies_at_receipt = false;
    return is_good || rig_wrong("the coordinator did not die at a receipt");
}

bool rig_live_on(struct rig *rig)
{
    struct side sides[RIG_SIDES] = {{.rig = rig, .which = RIG_COORDINATOR},
                                    {.rig = rig, .which = RIG_DEVICE}};
    struct looking looking;
    rig->shared->job_is_over = job_is_over(rig, &looking);
    wanted_version = looking.version;
    return run_until(sides, rig->shared->job_is_over ? has_wanted : is_job_over, RIG_LIFE_MS);
}

bool rig_live(struct rig *rig)
{
    struct side sides[RIG_SIDES] = {{.rig = rig, .which = RIG_COORDINATOR, .is_first = true},
                                    {.rig = rig, .which = RIG_DEVICE, .is_first = true}};
    struct looking looking;
    const uint64_t began_ms = trib_clock_mono_ms();
    forget(rig);
    bool is_good = run_until(sides, is_job_over, RIG_LIFE_MS);
    rig->shared->lived_ms = trib_clock_mono_ms() - began_ms;
    if (is_good && !job_is_over(rig, &looking))
        is_good = rig_wrong("the job that was over is not");
    wanted_version = looking.version;
    // Whatever happened, the next time that both run the device gets what is newest.
    if (is_good && !has_wanted(rig))
        is_good = run_until(sides, has_wanted, RIG_LIFE_MS);
    return is_good;
}
