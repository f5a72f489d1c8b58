#include "simulations/chaos/roles.h"

#include <stdio.h>
#include <string.h>

#include "client/state.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "coordinator/server.h"
#include "simulations/chaos/chaos.h"
#include "simulations/chaos/oracle.h"
#include "tributary/client.h"

enum {
    AGAIN_MS = 2000,     // between attempts to enrol, at most
    TRAIN_MS = 2000,     // at most, of a device that is in no trouble
    STRAGGLE_MS = 40000, // of one that is; later than a round waits
    EXAMPLES_MAX = 50,   // more than a job lets count
};

// ---- The coordinator

void trib_role_coordinator(struct trib_process *process)
{
    struct trib_server *server;
    enum trib_err err = trib_server_create(process->name, &server);
    if (err)
        trib_chaos_fail("restart", "the coordinator does not start: %s", trib_err_text(err));
    trib_chaos.server = server;
    trib_oracle_started();
    err = trib_server_run(server);
    trib_chaos_fail("restart", "the coordinator ended by itself: %s", trib_err_text(err));
}

// ---- A device

void trib_role_enrol(const struct trib_process *process)
{
    struct trib_state_enrolment enrolment;
    const char *token = trib_chaos.tokens[trib_chaos_member(process->name)];
    char path[TRIB_PATH_MAX + 1];
    (void)snprintf(path, sizeof(path), "%s/enrolment.ini", process->name);
    while (!trib_file_exists(path) || trib_state_enrolment_load(process->name, &enrolment)) {
        if (!token[0] || trib_client_enrol(token, process->name))
            trib_clock_sleep_ms(trib_machine_draw(TRIB_STREAM_WORK, 1, AGAIN_MS));
    }
}

// Nothing is learnt, but it takes its time, and comes to something else each time.
static enum trib_err pretend(void *user, struct trib_task *task, float *params, size_t count,
                             uint64_t *ret_examples)
{
    struct trib_rng *rng = trib_machine_rng(TRIB_STREAM_WORK);
    const bool straggles = trib_machine_chance(TRIB_STREAM_WORK, 16);
    (void)user;
    (void)task;
    trib_clock_sleep_ms(trib_machine_draw(TRIB_STREAM_WORK, 0, straggles ? STRAGGLE_MS : TRAIN_MS));
    if (trib_machine_chance(TRIB_STREAM_WORK, 32))
        return TRIB_ERR_STOPPED;
    for (size_t i = 0; i < count; i++)
        params[i] += (float)trib_rng_normal(rng) * 0.1f;
    *ret_examples = trib_machine_draw(TRIB_STREAM_WORK, 1, EXAMPLES_MAX);
    return TRIB_OK;
}

void trib_role_device(struct trib_process *process)
{
    static const struct trib_trainer trainer = {.struct_size = sizeof(trainer), .train = pretend};
    struct trib_client_config config;
    struct trib_client *client;
    trib_role_enrol(process);
    trib_client_config_init(&config);
    config.state_dir = process->name;
    config.trainer = &trainer;
    enum trib_err err = trib_client_create(&config, &client);
    if (err)
        trib_chaos_fail("restart", "%s does not start: %s", process->name, trib_err_text(err));
    err = trib_client_run(client);
    trib_chaos_fail("restart", "%s ended by itself: %s", process->name, trib_err_text(err));
}
