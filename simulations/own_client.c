#include "simulations/own_client.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "client/task.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/data/dataset.h"

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

bool trib_faults_drop(double dropout, uint64_t seed, uint64_t round_number, const char *name)
{
    struct trib_rng rng;
    trib_rng_init(&rng, seed, "dropout", round_number, name);
    return trib_rng_real(&rng) < dropout;
}

struct faults {
    struct trib_dataset *dataset;
    double dropout;
};

// True: it fell silent, and the round is over.
static bool falls_silent(const struct faults *faults, const struct trib_task *task)
{
    // A device without rows declines before it can fall silent, as in world.c.
    if (faults->dataset->rows == 0 ||
        !trib_faults_drop(faults->dropout, task->msg.seed, task->msg.round_number, task->device))
        return false;
    TRIB_INFO("round=%" PRIu64 " silent", task->msg.round_number);
    while (!trib_task_should_stop(task)) // the client answers a task that ends before its round
        trib_clock_sleep_ms(SILENCE_MS);
    return true;
}

static enum trib_err tally(void *user, struct trib_task *task, const float *params, size_t count)
{
    const struct faults *faults = user;
    return falls_silent(faults, task)
               ? TRIB_ERR_STOPPED
               : trib_trainer_builtin()->tally(faults->dataset, task, params, count);
}

static enum trib_err train(void *user, struct trib_task *task, float *params, size_t count,
                           uint64_t *ret_examples)
{
    struct faults *faults = user;
    if (falls_silent(faults, task))
        return TRIB_ERR_STOPPED;
    return trib_trainer_builtin()->train(faults->dataset, task, params, count, ret_examples);
}

int trib_faulty_device(const struct trib_command *command, int argc, char **argv)
{
    static const struct trib_trainer trainer = {
        .struct_size = sizeof(trainer), .train = train, .tally = tally};
    struct faults faults = {.dropout = 0};
    const struct trib_option options[] = {
        {"dropout", TRIB_OPTION_REAL, &faults.dropout, "P",
         "the share of rounds in which it takes the task and sends nothing"},
    };
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 1,
                                     .operand_min = 1,
                                     .operand_max = 1};
    char path[TRIB_PATH_MAX + 1];
    int count;
    int code;
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    enum trib_err err = trib_path_join(path, argv[0], "client.ini");
    if (!err)
        err = trib_dataset_open(path, &faults.dataset);
    if (err)
        return (int)trib_exit_of(err);
    code = trib_own_client_run(argv[0], TRIB_LOG_INFO, &trainer, &faults);
    trib_dataset_destroy(faults.dataset);
    return code;
}
