// bench restart: a coordinator with a large fleet and many versions, stopped and killed.
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/wire/session.h"
#include "simulations/bench_fleet.h"
#include "simulations/fleet_folder.h"
#include "simulations/load.h"
#include "simulations/swarm.h"

#define TRIB_LOG_MODULE "bench"

#define SERVING_SECONDS 2.0 // at most

enum {
    STOP_MS = 30000,
    WAIT_MS = 60000,
    STARTS = 3,
};

// How the coordinator came to be down before a start.
static const char *const hows[STARTS] = {"made", "killed", "stopped"};

struct restart {
    struct trib_fleet_plan plan;
    struct trib_identity identity;
    struct trib_bench_fleet fleet;
    double answers[STARTS]; // seconds from its start until the admin socket answers
    double serves[STARTS];  // until a device has a session
    uint64_t store_bytes, rss;
    uint64_t window_ms; // that the device was given to come back in
};

// A device with a real handshake.
static enum trib_err serve_one(struct restart *restart)
{
    const struct trib_admin_request status = {.word_count = 1, .words = {"status"}};
    struct trib_admin_reply reply;
    struct trib_swarm *swarm;
    enum trib_err err = trib_bench_fleet_call(&restart->fleet, &status, &reply);
    if (err)
        return err;
    const struct trib_swarm_options options = {
        .url = trib_admin_find_text(&reply.rows[0], "url"),
        .coordinator = restart->identity.public,
        .seed = restart->plan.seed,
        .count = 1,
    };
    err = trib_swarm_create(&options, &swarm);
    trib_admin_reply_fini(&reply);
    if (err)
        return err;
    const uint64_t until_ms = trib_clock_mono_ms() + WAIT_MS;
    trib_swarm_connect(swarm, 1);
    while (trib_swarm_counts(swarm).open == 0 && trib_clock_mono_ms() < until_ms)
        trib_clock_sleep_ms(1);
    restart->window_ms = trib_swarm_counts(swarm).window_ms;
    err = trib_swarm_counts(swarm).open > 0 ? TRIB_OK : TRIB_ERR_TIMEOUT;
    trib_swarm_destroy(swarm);
    return err;
}

static void end(struct restart *restart, bool is_kill)
{
    struct trib_child *coordinator = &restart->fleet.children[0];
    if (is_kill && coordinator->pid > 0) {
        (void)kill(coordinator->pid, SIGKILL);
        (void)waitpid(coordinator->pid, NULL, 0);
        coordinator->pid = 0;
    } else {
        trib_children_stop(coordinator, 1, STOP_MS);
    }
    restart->fleet.child_count = 0;
}

static enum trib_err measure(struct restart *restart)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_path_join(path, restart->fleet.coordinator, "store.db");
    if (!err)
        err = trib_file_size(path, &restart->store_bytes);
    for (int i = 0; i < STARTS && !err; i++) {
        const uint64_t begin_us = trib_clock_mono_us();
        err = trib_bench_fleet_coordinate(&restart->fleet);
        restart->answers[i] = (double)(trib_clock_mono_us() - begin_us) / 1e6;
        if (!err)
            err = serve_one(restart);
        restart->serves[i] = (double)(trib_clock_mono_us() - begin_us) / 1e6;
        restart->rss = trib_bench_rss(&restart->fleet.children[0]);
        if (!err && i + 1 < STARTS)
            end(restart, strcmp(hows[i + 1], "killed") == 0);
    }
    return err;
}

static bool show(const struct restart *restart, bool as_json)
{
    struct trib_buf json = {0};
    double worst = 0;
    trib_json_open(&json, NULL, '{');
    trib_json_uint(&json, "devices", restart->plan.devices);
    trib_json_uint(&json, "versions", restart->plan.versions);
    trib_json_uint(&json, "accepted", restart->plan.accepted);
    trib_json_uint(&json, "params", restart->plan.params);
    trib_json_uint(&json, "store_bytes", restart->store_bytes);
    trib_json_uint(&json, "server_rss_bytes", restart->rss);
    trib_json_uint(&json, "window_ms", restart->window_ms);
    trib_json_open(&json, "starts", '[');
    for (int i = 0; i < STARTS; i++) {
        trib_json_open(&json, NULL, '{');
        trib_json_text(&json, "after", hows[i]);
        trib_json_real(&json, "answers_seconds", restart->answers[i]);
        trib_json_real(&json, "serves_seconds", restart->serves[i]);
        trib_json_close(&json, '}');
        worst = restart->serves[i] > worst ? restart->serves[i] : worst;
    }
    trib_json_close(&json, ']');
    trib_json_bool(&json, "is_met", worst <= SERVING_SECONDS);
    trib_json_close(&json, '}');
    if (as_json && !json.failed)
        (void)printf("%s\n", (const char *)json.data);
    else
        (void)printf("%" PRIu64 " devices, %" PRIu64 " versions of %" PRIu64 " updates, a store of "
                     "%.1f MB: serves %.3f s after its start, %.3f after it was killed, %.3f "
                     "after it was stopped (at most %.0f)%s; %.1f MB\n",
                     restart->plan.devices, restart->plan.versions, restart->plan.accepted,
                     (double)restart->store_bytes / 1e6, restart->serves[0], restart->serves[1],
                     restart->serves[2], SERVING_SECONDS,
                     worst <= SERVING_SECONDS ? "" : "  MISSED", (double)restart->rss / 1e6);
    trib_buf_fini(&json);
    return worst <= SERVING_SECONDS;
}

int trib_bench_restart(const struct trib_command *command, int argc, char **argv)
{
    struct restart restart = {
        .plan = {.seed = 1, .devices = 10000, .versions = 1000, .accepted = 100, .params = 10000}};
    bool as_json = false;
    const struct trib_option options[] = {
        {"devices", TRIB_OPTION_INT, &restart.plan.devices, "N", "enrolled (10000)"},
        {"versions", TRIB_OPTION_INT, &restart.plan.versions, "N", "in the store (1000)"},
        {"accepted", TRIB_OPTION_INT, &restart.plan.accepted, "N", "updates of each (100)"},
        {"params", TRIB_OPTION_INT, &restart.plan.params, "P", "parameters of each (10000)"},
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object"},
    };
    int count;
    int code;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0])};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    const struct trib_fleet_plan *plan = &restart.plan;
    if (plan->devices < 1 || plan->devices > TRIB_FLEET_DEVICES_MAX || plan->versions < 1 ||
        plan->versions > TRIB_FLEET_VERSIONS_MAX || plan->accepted < 1 ||
        plan->accepted > plan->devices || plan->params < 2 || plan->params > TRIB_LAYER_UNITS_MAX) {
        (void)fprintf(stderr,
                      "bench restart: 1 to %d devices, 1 to %d versions, 1 to all devices "
                      "accepted, 2 to %d parameters\n",
                      TRIB_FLEET_DEVICES_MAX, TRIB_FLEET_VERSIONS_MAX, TRIB_LAYER_UNITS_MAX);
        return TRIB_EXIT_USAGE;
    }
    trib_log_set_level(TRIB_LOG_WARN);
    bool is_met = true;
    enum trib_err err = trib_bench_fleet_init(&restart.fleet, 0);
    if (!err)
        err = trib_fleet_folder_make(restart.fleet.coordinator, plan, "", &restart.identity);
    if (!err)
        err = measure(&restart);
    if (!err)
        is_met = show(&restart, as_json);
    trib_bench_fleet_destroy(&restart.fleet);
    trib_identity_wipe(&restart.identity);
    return err ? (int)trib_exit_of(err) : is_met ? TRIB_EXIT_OK : TRIB_EXIT_STOPPED;
}
