#include "simulations/load.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "simulations/bench_fleet.h"
#include "simulations/fleet_folder.h"
#include "simulations/load_figures.h"
#include "simulations/swarm.h"

#define TRIB_LOG_MODULE "load"

enum {
    DESCRIPTORS_KEPT = 200, // of each process, for all that is not a device's connection
    PORTS_MAX = 28000,      // from one address to one port, as Linux comes
    CONNECT_MS = 60000,
    SETTLE_MS = 2000,
    LATE_MS = 10000, // until receipts of those that were late are there
    POLL_MS = 50,
};

struct load {
    uint64_t devices, cohort, params, idle_seconds, report_ms, train_ms, seed;
    double dropout, stragglers;
    bool as_json;
    struct trib_identity identity;
    struct trib_bench_fleet fleet;
    struct trib_swarm *swarm;
    struct trib_load_figures figures;
};

// ---- Limits of the machine

// One descriptor for each device, here and in the coordinator, whose limit is inherited.
static enum trib_err raise_limits(const struct load *load)
{
    const rlim_t wanted = load->devices + DESCRIPTORS_KEPT;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return TRIB_ERR_IO;
    if (limit.rlim_cur < wanted && limit.rlim_max >= wanted) {
        limit.rlim_cur = wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur < wanted) {
        (void)fprintf(stderr,
                      "load: %" PRIu64 " devices need %ju descriptors in each process, of which "
                      "%ju are allowed: raise the hard limit (ulimit -Hn)\n",
                      load->devices, (uintmax_t)wanted, (uintmax_t)limit.rlim_max);
        return TRIB_ERR_INVAL;
    }
    return TRIB_OK;
}

// ---- Connecting

static enum trib_err start(struct load *load)
{
    const struct trib_fleet_plan plan = {.seed = load->seed, .devices = load->devices};
    char settings[256];
    struct trib_admin_reply reply;
    const struct trib_admin_request status = {.word_count = 1, .words = {"status"}};
    // All come from one address, and at once.
    (void)snprintf(settings, sizeof(settings),
                   "connections_max = %" PRIu64 "\n"
                   "handshakes_per_second = 10000\nhandshakes_per_source = 10000\n",
                   load->devices + DESCRIPTORS_KEPT);
    enum trib_err err = trib_bench_fleet_init(&load->fleet, 0);
    if (!err)
        err = trib_fleet_folder_make(load->fleet.coordinator, &plan, settings, &load->identity);
    if (!err)
        err = trib_bench_fleet_coordinate(&load->fleet);
    if (!err)
        err = trib_bench_fleet_call(&load->fleet, &status, &reply);
    if (err)
        return err;
    const struct trib_swarm_options options = {
        .url = trib_admin_find_text(&reply.rows[0], "url"),
        .coordinator = load->identity.public,
        .seed = load->seed,
        .count = load->devices,
    };
    err = trib_swarm_create(&options, &load->swarm);
    trib_admin_reply_fini(&reply);
    return err;
}

static enum trib_err connect_all(struct load *load)
{
    const uint64_t until_ms = trib_clock_mono_ms() + CONNECT_MS;
    trib_swarm_connect(load->swarm, load->devices);
    while (trib_swarm_counts(load->swarm).open < load->devices && trib_clock_mono_ms() < until_ms)
        trib_clock_sleep_ms(10);
    return trib_bench_fleet_wait(&load->fleet, "connected", load->devices, POLL_MS);
}

static enum trib_err storm(struct load *load)
{
    struct trib_load_figures *f = &load->figures;
    f->rss_alone = trib_bench_rss(&load->fleet.children[0]);
    uint64_t before_us = 0;
    uint64_t after_us = 0;
    enum trib_err err = trib_bench_fleet_status(&load->fleet, "cpu_us", &before_us);
    const uint64_t begin_us = trib_clock_mono_us();
    if (!err)
        err = connect_all(load);
    f->storm_seconds = (double)(trib_clock_mono_us() - begin_us) / 1e6;
    if (!err)
        err = trib_bench_fleet_status(&load->fleet, "cpu_us", &after_us);
    f->storm_cpu_seconds = (double)(after_us - before_us) / 1e6;
    const struct trib_swarm_counts counts = trib_swarm_counts(load->swarm);
    f->dials = counts.dials;
    f->failures = counts.failures;
    if (err)
        TRIB_ERROR("only %" PRIu64 " of %" PRIu64 " devices have a session", counts.open,
                   load->devices);
    return err;
}

static enum trib_err idle(struct load *load)
{
    struct trib_load_figures *f = &load->figures;
    uint64_t before_us = 0;
    uint64_t after_us = 0;
    trib_clock_sleep_ms(SETTLE_MS);
    f->rss_connected = trib_bench_rss(&load->fleet.children[0]);
    enum trib_err err = trib_bench_fleet_status(&load->fleet, "cpu_us", &before_us);
    const uint64_t begin_us = trib_clock_mono_us();
    trib_clock_sleep_ms(load->idle_seconds * 1000);
    if (!err)
        err = trib_bench_fleet_status(&load->fleet, "cpu_us", &after_us);
    f->idle_seconds = (double)(trib_clock_mono_us() - begin_us) / 1e6;
    f->cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    f->idle_percent = (double)(after_us - before_us) / 1e4 / f->idle_seconds;
    return err;
}

// ---- Rounds

// Of those asked, how many answer with near certainty: four standard deviations below the mean.
static double sure_answers(double asked, double dropout)
{
    return asked * (1 - dropout) - 4 * sqrt(asked * dropout * (1 - dropout));
}

static double over_selection(const struct load *load)
{
    double asked = (double)load->cohort;
    while (sure_answers(asked, load->dropout) < (double)load->cohort)
        asked++;
    return asked / (double)load->cohort;
}

// The newest round, as the coordinator tells it.
static enum trib_err read_round(struct load *load, struct trib_load_round *round)
{
    struct trib_admin_reply reply;
    char id[24];
    const struct trib_admin_request list = {.word_count = 2, .words = {"rounds", "ls"}};
    const struct trib_admin_request show = {.word_count = 3, .words = {"rounds", "show", id}};
    enum trib_err err = trib_bench_fleet_call(&load->fleet, &list, &reply);
    if (err)
        return err;
    if (reply.row_count == 0) {
        trib_admin_reply_fini(&reply);
        return TRIB_ERR_STATE;
    }
    const struct trib_admin_row *row = &reply.rows[reply.row_count - 1];
    round->asked = trib_admin_find_number(row, "asked");
    round->accepted = trib_admin_find_number(row, "accepted");
    round->seconds = trib_admin_find_real(row, "seconds");
    (void)snprintf(round->state, sizeof(round->state), "%s", trib_admin_find_text(row, "state"));
    (void)snprintf(round->reason, sizeof(round->reason), "%s", trib_admin_find_text(row, "reason"));
    (void)snprintf(id, sizeof(id), "%" PRIu64, trib_admin_find_number(row, "id"));
    trib_admin_reply_fini(&reply);
    err = trib_bench_fleet_call(&load->fleet, &show, &reply);
    if (err)
        return err;
    for (size_t i = 0; i < reply.row_count; i++)
        round->expired += strcmp(trib_admin_find_text(&reply.rows[i], "lease"), "expired") == 0;
    trib_admin_reply_fini(&reply);
    return TRIB_OK;
}

struct round_plan {
    const char *name;
    double over_selection, stragglers;
    uint64_t min_accepted; // 0: half
};

// One job of one round.
static enum trib_err play(struct load *load, const struct round_plan *plan,
                          struct trib_load_round *round)
{
    char job[512];
    const struct trib_swarm_plan behaviour = {
        .dropout = load->dropout, .stragglers = plan->stragglers, .train_ms = load->train_ms};
    (void)snprintf(job, sizeof(job),
                   "[model]\nspec = %" PRIu64 " - dense 1 linear\n"
                   "[round]\nrounds = 1\ncohort = %" PRIu64 "\nover_selection = %.6f\n"
                   "min_accepted = %" PRIu64 "\nreport_ms = %" PRIu64 "\neval_every = 0\n"
                   "[privacy]\nmode = off\n",
                   load->params - 1, load->cohort, plan->over_selection, plan->min_accepted,
                   load->report_ms);
    *round = (struct trib_load_round){.name = plan->name, .goal = load->cohort};
    enum trib_err err = connect_all(load);
    trib_swarm_behave(load->swarm, &behaviour);
    const struct trib_swarm_counts before = trib_swarm_counts(load->swarm);
    if (!err)
        err = trib_bench_fleet_run_job(&load->fleet, job, POLL_MS);
    if (!err)
        err = read_round(load, round);
    struct trib_swarm_counts now = trib_swarm_counts(load->swarm);
    const uint64_t until_ms = trib_clock_mono_ms() + LATE_MS;
    while (now.closed - before.closed < now.straggled - before.straggled &&
           trib_clock_mono_ms() < until_ms) {
        trib_clock_sleep_ms(POLL_MS);
        now = trib_swarm_counts(load->swarm);
    }
    if (now.first_us > 0 && now.last_us > now.first_us)
        round->accepts_per_second = (double)(now.accepted - before.accepted - 1) * 1e6 /
                                    (double)(now.last_us - now.first_us);
    round->dropped = now.dropped - before.dropped;
    round->straggled = now.straggled - before.straggled;
    round->closed = now.closed - before.closed;
    if (now.broken > 0 || now.refused > 0)
        TRIB_ERROR("%" PRIu64 " records made no sense, %" PRIu64 " updates were refused",
                   now.broken, now.refused);
    round->is_as_configured = now.broken == 0 && now.refused == 0;
    return err;
}

// Asked for more than are counted: the goal is reached, and not passed, before the deadline.
static bool is_over_selected(const struct load *load, const struct trib_load_round *r)
{
    return strcmp(r->state, "committed") == 0 && r->accepted == r->goal && r->asked > r->goal &&
           r->seconds * 1000 < (double)load->report_ms + (double)load->train_ms;
}

// Asked for just as many: those that are heard of until the deadline are counted, all of them, and
// who comes later is told so.
static bool is_cut(const struct load *load, const struct trib_load_round *r)
{
    return strcmp(r->state, "committed") == 0 && r->asked == r->goal &&
           r->accepted == r->asked - r->dropped - r->straggled &&
           r->expired == r->dropped + r->straggled && r->closed == r->straggled &&
           r->seconds * 1000 >= (double)load->report_ms;
}

static bool is_given_up(const struct load *load, const struct trib_load_round *r)
{
    (void)load;
    return strcmp(r->state, "abandoned") == 0 && strcmp(r->reason, "few_reported") == 0 &&
           r->accepted < r->goal && r->dropped > 0;
}

static enum trib_err play_all(struct load *load)
{
    const struct round_plan plans[] = {
        {"over-selection", over_selection(load), 0, 0},
        {"stragglers", 1, load->stragglers, 0},
        {"too few", 1, 0, load->cohort},
    };
    bool (*const checks[])(const struct load *load, const struct trib_load_round *round) = {
        is_over_selected, is_cut, is_given_up};
    _Static_assert(sizeof(plans) / sizeof(plans[0]) == TRIB_LOAD_ROUNDS_MAX, "one each");
    struct trib_load_figures *f = &load->figures;
    for (size_t i = 0; i < TRIB_LOAD_ROUNDS_MAX; i++) {
        struct trib_load_round *round = &f->rounds[i];
        enum trib_err err = play(load, &plans[i], round);
        if (err)
            return err;
        round->is_as_configured = round->is_as_configured && checks[i](load, round);
        f->round_count = i + 1;
    }
    return TRIB_OK;
}

// ---- The command

static bool can_be_loaded(const struct load *load)
{
    const double asked = (double)load->cohort * 2;
    if (load->devices >= 1 && load->devices <= PORTS_MAX && load->cohort >= 10 &&
        asked <= (double)load->devices && load->params >= 2 && load->params <= 1000000 &&
        load->idle_seconds >= 1 && load->idle_seconds <= 3600 && load->report_ms >= 100 &&
        load->dropout > 0 && load->dropout <= 0.3 && load->stragglers >= 0 &&
        load->stragglers <= 0.3)
        return true;
    (void)fprintf(stderr,
                  "load: want 20 to %d devices, a cohort of 10 to half of them, 2 to 1000000 "
                  "parameters, 1 to 3600 idle seconds, at least 100 ms to report, a dropout above "
                  "0 and at most 0.3, stragglers up to 0.3\n",
                  PORTS_MAX);
    return false;
}

int trib_load_command(const struct trib_command *command, int argc, char **argv)
{
    static struct load load;
    load = (struct load){.devices = 10000,
                         .cohort = 1000,
                         .params = 1000,
                         .idle_seconds = 60,
                         .report_ms = 20000,
                         .train_ms = 1000,
                         .seed = 1,
                         .dropout = 0.2,
                         .stragglers = 0.05};
    const struct trib_option options[] = {
        {"devices", TRIB_OPTION_INT, &load.devices, "N", "that connect at once (10000)"},
        {"cohort", TRIB_OPTION_INT, &load.cohort, "N", "devices counted in a round (1000)"},
        {"params", TRIB_OPTION_INT, &load.params, "P", "parameters of the model (1000)"},
        {"dropout", TRIB_OPTION_REAL, &load.dropout, "SHARE", "of those asked fall silent (0.2)"},
        {"stragglers", TRIB_OPTION_REAL, &load.stragglers, "SHARE", "of the rest are late (0.05)"},
        {"idle-seconds", TRIB_OPTION_INT, &load.idle_seconds, "S", "without a job (60)"},
        {"report-ms", TRIB_OPTION_INT, &load.report_ms, "MS", "until a round is closed (20000)"},
        {"train-ms", TRIB_OPTION_INT, &load.train_ms, "MS", "a device takes at most (1000)"},
        {"json", TRIB_OPTION_FLAG, &load.as_json, NULL, "one JSON object"},
    };
    int count;
    int code;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0])};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (!can_be_loaded(&load) || raise_limits(&load))
        return TRIB_EXIT_USAGE;
    trib_log_set_level(TRIB_LOG_WARN);
    load.figures.devices = load.devices;
    enum trib_err err = start(&load);
    if (!err)
        err = storm(&load);
    if (!err)
        err = idle(&load);
    if (!err)
        err = play_all(&load);
    bool is_met = true;
    if (!err) {
        load.figures.rss_peak = trib_bench_peak_rss(&load.fleet.children[0]);
        is_met = trib_load_show(&load.figures, load.as_json);
    }
    trib_swarm_destroy(load.swarm);
    trib_bench_fleet_destroy(&load.fleet);
    trib_identity_wipe(&load.identity);
    return err ? (int)trib_exit_of(err) : is_met ? TRIB_EXIT_OK : TRIB_EXIT_STOPPED;
}
