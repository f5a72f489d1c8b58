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
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/wipe.h"
#include "coordinator/ctl/call.h"
#include "coordinator/finish.h"
#include "coordinator/identity.h"
#include "coordinator/job.h"
#include "coordinator/roles.h"
#include "coordinator/server.h"
#include "coordinator/server_state.h"
#include "coordinator/store.h"
#include "tests/fault/fault.h"
#include "tests/fault/rig_parts.h"

enum {
    POLL_MS = 2,
    PAUSE_MS = 20, // until whoever ended starts again
    ENDS_MAX = 20,
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
static const struct rig_process *side_of_process;

// ---- Promises, as they are made

static struct rig_shared *living; // of this process's life

static void note(enum rig_promise_kind kind, const struct rig_promise *promise)
{
    const struct rig *rig = side_of_process->rig;
    size_t *count = &living->promise_count[kind];
    if (rig->on_promise)
        rig->on_promise(rig->user, kind, promise);
    (void)pthread_mutex_lock(&living->lock);
    if (*count < RIG_PROMISES_MAX)
        living->promises[kind][(*count)++] = *promise;
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
        note(RIG_COUNTED, &promise);
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
    if (living && side_of_process->which == RIG_DEVICE)
        note(RIG_BEGUN, &promise);
    __real_trib_msg_upload_begin_pack(msg, buf);
}

enum trib_err __real_trib_central_write(const struct trib_central *central, const char *dir,
                                        uint64_t round_id);
enum trib_err __wrap_trib_central_write(const struct trib_central *central, const char *dir,
                                        uint64_t round_id);
enum trib_err __wrap_trib_central_write(const struct trib_central *central, const char *dir,
                                        uint64_t round_id)
{
    struct rig_promise promise = {.round = round_id};
    fault_forget_syncs(TRIB_PLANT("sum-unsynced"));
    const enum trib_err err = __real_trib_central_write(central, dir, round_id);
    fault_forget_syncs(false);
    fault_exempt(true);
    if (!err && living && rig_sum_digest(dir, round_id, promise.digest))
        note(RIG_NOISED, &promise);
    fault_exempt(false);
    return err;
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
    const struct rig_process *side = side_of_process;
    const bool counts = living && side->is_first && side->which < RIG_SIDES;
    for (int kind = 0; counts && kind < FAULT_KINDS; kind++)
        living->passes[side->which][kind] = fault_passes((enum fault_kind)kind);
    if (counts && fault_fired() > 0)
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

void rig_device_dir(const struct rig *rig, unsigned index, char dir[static TRIB_PATH_MAX + 1])
{
    (void)snprintf(dir, TRIB_PATH_MAX + 1, "%s/device%.*u", rig->dir, index > 0, index);
}

static enum trib_err run_client(const struct rig *rig, const char *dir,
                                struct trib_dataset *dataset)
{
    char url[TRIB_URL_MAX + 1];
    struct trib_client_config config;
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

static enum trib_err take_part(const struct rig *rig, unsigned index)
{
    struct trib_dataset *dataset = NULL;
    char dir[TRIB_PATH_MAX + 1], path[TRIB_PATH_MAX + 1];
    rig_device_dir(rig, index, dir);
    enum trib_err err = trib_path_join(path, dir, "client.ini");
    if (!err)
        err = trib_dataset_open(path, &dataset);
    if (!err)
        err = run_client(rig, dir, dataset);
    trib_dataset_destroy(dataset);
    return err;
}

static int run_side(void *user)
{
    const struct rig_process *side = user;
    struct rig *rig = side->rig;
    const bool is_victim = side->is_first && side->which == rig->victim;
    living = rig->shared;
    side_of_process = side;
    (void)signal(SIGTERM, on_stop);
    trib_log_set_sink(take_line, NULL);
    if (side->which == RIG_COORDINATOR)
        trib_role_lists_open(); // as main does
    if (rig->on_start)
        rig->on_start(rig->user, side->which);
    fault_arm(is_victim ? &rig->fault : &(struct fault){.kind = FAULT_NONE});
    int code;
    if (rig->scene && rig->scene->actor == side->which)
        code = rig->scene->act(rig);
    else
        code = (int)trib_exit_of(
            side->which == RIG_COORDINATOR ? serve(rig) : take_part(rig, side->which - RIG_DEVICE));
    note_faults();
    fault_disarm();
    return code;
}

bool rig_start(struct rig_process *side)
{
    char socket_path[FOLDER_PATH_SIZE];
    (void)snprintf(socket_path, sizeof(socket_path), "%s/fleet.sock", side->rig->dir);
    if (side->which == RIG_COORDINATOR)
        (void)unlink(socket_path);
    (void)signal(SIGTERM, SIG_IGN); // one that is told before it listens is told again
    side->process = rig_fork(run_side, side, NULL);
    (void)signal(SIGTERM, SIG_DFL);
    side->is_first = false;
    return side->process > 0 || rig_wrong("no process");
}

// How a process may end: with one of our own codes.
static bool ends_well(const struct rig_process *side, int status)
{
    const char *name = side->which == RIG_COORDINATOR ? "coordinator" : "device";
    if (WIFSIGNALED(status))
        return rig_wrong("the %s ended by signal %d", name, WTERMSIG(status));
    if (WEXITSTATUS(status) == 1 || WEXITSTATUS(status) > TRIB_EXIT_STOPPED)
        return rig_wrong("the %s ended with %d", name, WEXITSTATUS(status));
    (void)fprintf(stderr, "-- the %s ended with %d\n", name, WEXITSTATUS(status));
    return true;
}

bool rig_stop(struct rig_process *side)
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

bool rig_begin(struct rig *rig, const char *name)
{
    char from[FOLDER_PATH_SIZE];
    (void)snprintf(from, sizeof(from), "%s/begin", rig->root);
    (void)snprintf(rig->dir, sizeof(rig->dir), "%s/%s", rig->root, name);
    folder_remove(rig->dir, 0);
    if (!folder_copy(from, rig->dir, 1) || !rig_put_ini(rig))
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
static bool revive(struct rig_process *side)
{
    struct looking looking;
    struct rig_shared *shared = side->rig->shared;
    int status;
    if (side->process <= 0 || waitpid(side->process, &status, WNOHANG) != side->process)
        return true;
    side->process = 0;
    if (!ends_well(side, status))
        return false;
    if (side->rig->scene && side->rig->scene->actor == side->which && WEXITSTATUS(status) == 0) {
        shared->act_is_over = true;
        return true;
    }
    if (++shared->ends > ENDS_MAX)
        return rig_wrong("it ends again and again");
    trib_clock_sleep_ms(PAUSE_MS);
    if (side->which == RIG_COORDINATOR && job_is_over(side->rig, &looking))
        shared->job_is_over = true;
    return rig_start(side);
}

// Does the device have the version that the store calls the newest?
static bool device_has(const struct rig *rig, uint64_t *ret_version)
{
    char dir[TRIB_PATH_MAX + 1];
    struct trib_state_enrolment enrolment;
    struct trib_slot slot;
    rig_device_dir(rig, 0, dir);
    *ret_version = 0;
    if (trib_state_enrolment_load(dir, &enrolment) || trib_slot_load(dir, &enrolment, NULL, &slot))
        return false;
    *ret_version = slot.manifest.version;
    trib_slot_fini(&slot);
    return true;
}

static unsigned process_count(const struct rig *rig)
{
    return 1 + rig->devices + (rig->scene && rig->scene->actor >= RIG_SIDES);
}

static bool until(struct rig_process *sides, bool (*is_reached)(const struct rig *rig),
                  uint64_t wait_ms)
{
    const uint64_t until_ms = trib_clock_mono_ms() + wait_ms;
    while (!is_reached(sides->rig)) {
        if (trib_clock_mono_ms() > until_ms)
            return rig_wrong("it hangs");
        for (unsigned i = 0; i < process_count(sides->rig); i++) {
            if (!revive(&sides[i]))
                return false;
        }
        trib_clock_sleep_ms(POLL_MS);
    }
    return true;
}

static bool is_job_over(const struct rig *rig)
{
    return (rig->shared->job_is_over || (rig->scene && !rig->scene->has_job)) &&
           (rig->shared->act_is_over || !rig->scene);
}

static uint64_t wanted_version;

static bool has_wanted(const struct rig *rig)
{
    uint64_t version;
    return device_has(rig, &version) && version == wanted_version;
}

static bool run_until(struct rig_process *sides, bool (*is_reached)(const struct rig *rig),
                      uint64_t wait_ms)
{
    const struct rig *rig = sides->rig;
    bool is_good = true;
    for (unsigned i = 0; i < process_count(rig) && is_good; i++) {
        const bool is_over =
            rig->scene && rig->scene->actor == sides[i].which && rig->shared->act_is_over;
        is_good = is_over || rig_start(&sides[i]);
    }
    is_good = is_good && until(sides, is_reached, wait_ms);
    for (unsigned i = process_count(rig); i > 0; i--)
        is_good = rig_stop(&sides[i - 1]) && is_good;
    return is_good;
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
    struct rig_process sides[RIG_SIDES] = {{.rig = rig, .which = RIG_COORDINATOR},
                                           {.rig = rig, .which = RIG_DEVICE}};
    int status = 0;
    forget(rig);
    rig->dies_at_receipt = true;
    const bool is_good = rig_start(&sides[0]) && rig_start(&sides[1]) &&
                         waitpid(sides[0].process, &status, 0) == sides[0].process &&
                         WIFSIGNALED(status);
    (void)kill(sides[1].process, SIGKILL);
    (void)waitpid(sides[1].process, &status, 0);
    rig->dies_at_receipt = false;
    return is_good || rig_wrong("the coordinator did not die at a receipt");
}

static void set_up(struct rig *rig, struct rig_process *sides, bool is_first)
{
    for (unsigned i = 0; i < process_count(rig); i++)
        sides[i] = (struct rig_process){
            .rig = rig, .which = (enum rig_side)(RIG_COORDINATOR + i), .is_first = is_first};
}

bool rig_live_on(struct rig *rig)
{
    struct rig_process sides[RIG_PROCESSES_MAX];
    struct looking looking;
    set_up(rig, sides, false);
    rig->shared->job_is_over = job_is_over(rig, &looking);
    wanted_version = looking.version;
    return run_until(sides, rig->shared->job_is_over ? has_wanted : is_job_over, RIG_LIFE_MS);
}

bool rig_live(struct rig *rig)
{
    struct rig_process sides[RIG_PROCESSES_MAX];
    struct looking looking = {.version = 0};
    set_up(rig, sides, true);
    const uint64_t began_ms = trib_clock_mono_ms();
    forget(rig);
    bool is_good = run_until(sides, is_job_over, RIG_LIFE_MS);
    rig->shared->lived_ms = trib_clock_mono_ms() - began_ms;
    if (rig->scene && !rig->scene->has_job)
        return is_good;
    if (is_good && !job_is_over(rig, &looking))
        is_good = rig_wrong("the job that was over is not");
    wanted_version = looking.version;
    // Whatever happened, the next time that both run the device gets what is newest.
    if (is_good && !has_wanted(rig))
        is_good = run_until(sides, has_wanted, RIG_LIFE_MS);
    return is_good;
}
