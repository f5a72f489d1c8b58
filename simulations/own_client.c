#include "simulations/own_client.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "client/task.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/data/dataset.h"
#include "simulations/faults.h"

#define TRIB_LOG_MODULE "device"

enum {
    SILENCE_MS = 20 // between two looks whether the round is over
};

static struct trib_client *running; // for the signal handler

static void on_stop(int number)
{
    (void)number;
    trib_client_stop(running);
}

int trib_own_client_run(const char *dir, enum trib_log_level level,
                        const struct trib_trainer *trainer, void *user)
{
    struct trib_client_config config;
    trib_client_config_init(&config);
    config.state_dir = dir;
    config.trainer = trainer;
    config.trainer_user = user;
    config.log_level = level;
    enum trib_err err = trib_client_create(&config, &running);
    if (err)
        return (int)trib_exit_of(err);
    (void)signal(SIGTERM, on_stop);
    err = trib_client_run(running);
    (void)signal(SIGTERM, SIG_IGN);
    trib_client_destroy(running);
    return (int)trib_exit_of(err);
}

struct faulty {
    struct trib_dataset *dataset;
    struct trib_faults faults;
    const char *dir;
};

static bool has(const struct faulty *faulty, enum trib_fault fault, const struct trib_task *task)
{
    return trib_faults_hit(&faulty->faults, fault, task->msg.seed, task->msg.round_number,
                           task->device);
}

// True: it fell silent, and the round is over.
static bool falls_silent(const struct faulty *faulty, const struct trib_task *task)
{
    // A device without rows declines before it can fall silent, as in world.c.
    if (faulty->dataset->rows == 0 || !has(faulty, TRIB_FAULT_DROPOUT, task))
        return false;
    TRIB_INFO("round=%" PRIu64 " silent", task->msg.round_number);
    while (!trib_task_should_stop(task)) // the client answers a task that ends before its round
        trib_clock_sleep_ms(SILENCE_MS);
    return true;
}

static void be_late(const struct faulty *faulty, const struct trib_task *task)
{
    if (!has(faulty, TRIB_FAULT_STRAGGLE, task))
        return;
    TRIB_INFO("round=%" PRIu64 " late", task->msg.round_number);
    const uint64_t until_ms = trib_clock_mono_ms() + faulty->faults.straggle_ms;
    while (!trib_task_should_stop(task) && trib_clock_mono_ms() < until_ms)
        trib_clock_sleep_ms(SILENCE_MS);
}

// Once a round: a file remembers it.
static void be_killed(const struct faulty *faulty, const struct trib_task *task)
{
    char path[TRIB_PATH_MAX + 1];
    char round[24];
    struct trib_buf last = {0};
    if (!has(faulty, TRIB_FAULT_KILL, task) || trib_path_join(path, faulty->dir, "killed"))
        return;
    (void)snprintf(round, sizeof(round), "%" PRIu64, task->msg.round_id);
    const bool is_known = trib_file_exists(path) &&
                          trib_file_read(path, sizeof(round), &last) == TRIB_OK &&
                          last.size == strlen(round) && memcmp(last.data, round, last.size) == 0;
    trib_buf_fini(&last);
    if (is_known || trib_file_write(path, round, strlen(round), 0600))
        return;
    TRIB_INFO("round=%" PRIu64 " killed", task->msg.round_number);
    (void)raise(SIGKILL);
}

// What goes wrong between training and sending.
static enum trib_err delay(const struct faulty *faulty, const struct trib_task *task,
                           enum trib_err err)
{
    if (err)
        return err;
    be_killed(faulty, task);
    be_late(faulty, task);
    return trib_task_should_stop(task) ? TRIB_ERR_STOPPED : TRIB_OK;
}

static enum trib_err tally(void *user, struct trib_task *task, const float *params, size_t count)
{
    const struct faulty *faulty = user;
    if (falls_silent(faulty, task))
        return TRIB_ERR_STOPPED;
    return delay(faulty, task, trib_trainer_builtin()->tally(faulty->dataset, task, params, count));
}

static enum trib_err train(void *user, struct trib_task *task, float *params, size_t count,
                           uint64_t *ret_examples)
{
    struct faulty *faulty = user;
    if (falls_silent(faulty, task))
        return TRIB_ERR_STOPPED;
    return delay(faulty, task,
                 trib_trainer_builtin()->train(faulty->dataset, task, params, count, ret_examples));
}

int trib_faulty_device(const struct trib_command *command, int argc, char **argv)
{
    static const struct trib_trainer trainer = {
        .struct_size = sizeof(trainer), .train = train, .tally = tally};
    struct faulty faulty = {.faults = {.straggle_ms = 0}};
    const struct trib_option options[] = {
        {"dropout", TRIB_OPTION_REAL, &faulty.faults.dropout, "P",
         "the share of rounds in which it takes the task and sends nothing"},
        {"straggle", TRIB_OPTION_REAL, &faulty.faults.straggle, "P",
         "the share of rounds in which it is late"},
        {"straggle-ms", TRIB_OPTION_INT, &faulty.faults.straggle_ms, "N", "and by how much"},
        {"kill", TRIB_OPTION_REAL, &faulty.faults.kill, "P",
         "the share of rounds in which it kills itself when it has trained"},
    };
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0]),
                                     .operand_min = 1,
                                     .operand_max = 1};
    char path[TRIB_PATH_MAX + 1];
    int count;
    int code;
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    faulty.dir = argv[0];
    enum trib_err err = trib_path_join(path, argv[0], "client.ini");
    if (!err)
        err = trib_dataset_open(path, &faulty.dataset);
    if (err)
        return (int)trib_exit_of(err);
    code = trib_own_client_run(argv[0], TRIB_LOG_INFO, &trainer, &faulty);
    trib_dataset_destroy(faulty.dataset);
    return code;
}
