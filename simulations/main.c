// tributary-sim: whole federations on one machine, described by a scenario.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/args.h"
#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/math/model_file.h"
#include "common/math/safetensors.h"
#include "common/privacy/mode.h"
#include "simulations/baselines.h"
#include "simulations/bench.h"
#include "simulations/chaos.h"
#include "simulations/eliminate.h"
#include "simulations/ensemble.h"
#include "simulations/export.h"
#include "simulations/liar.h"
#include "simulations/load.h"
#include "simulations/make.h"
#include "simulations/own_client.h"
#include "simulations/privacy.h"
#include "simulations/processes.h"
#include "simulations/report.h"
#include "simulations/scenario.h"
#include "simulations/tune.h"
#include "simulations/world.h"

#define TRIB_LOG_MODULE "sim"

struct run_options {
    const char *path; // of the scenario
    struct trib_texts sets;
    const char *mode;
    const char *out;
    uint64_t threads;
    bool json;
    bool quiet;
    bool accepts_drowned;
};

struct run {
    const struct run_options *options;
    struct trib_scenario *scenario;
    struct trib_report *report;
    struct trib_world *world;         // of mode inprocess
    struct trib_processes *processes; // of mode processes
    uint64_t start_us;
    char dir[TRIB_PATH_MAX + 1];
    char model_path[TRIB_PATH_MAX + 1];
    char parent[TRIB_DIGEST_TEXT_SIZE]; // of the model that model.init names; empty: none, unknown
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static bool is_interrupted(void *user)
{
    (void)user;
    return interrupted != 0;
}

// The first interrupt asks the run to stop, a second one ends the program.
static void catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

// ---- The folder of the run

// runs/<scenario>-<n> with the first free n.
static enum trib_err make_next_dir(struct run *run)
{
    enum trib_err err = trib_dir_make("runs", 0777);
    for (unsigned n = 1; !err; n++) {
        (void)snprintf(run->dir, sizeof(run->dir), "runs/%s-%u", run->scenario->name, n);
        if (mkdir(run->dir, 0777) == 0)
            return TRIB_OK;
        if (errno != EEXIST) {
            TRIB_ERROR("%s: %s", run->dir, strerror(errno));
            err = TRIB_ERR_IO;
        }
    }
    return err;
}

static enum trib_err write_scenario(const struct run *run)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_path_join(path, run->dir, "scenario.ini");
    if (err)
        return err;
    FILE *file = fopen(path, "we");
    if (!file) {
        TRIB_ERROR("%s: %s", path, strerror(errno));
        return TRIB_ERR_IO;
    }
    trib_conf_write(&run->scenario->conf, file);
    bool failed = ferror(file) != 0;
    failed = fclose(file) != 0 || failed;
    if (failed) {
        TRIB_ERROR("%s: cannot be written", path);
        return TRIB_ERR_IO;
    }
    return TRIB_OK;
}

static enum trib_err make_dir(struct run *run)
{
    enum trib_err err = TRIB_OK;
    if (!run->options->out) {
        err = make_next_dir(run);
    } else if (snprintf(run->dir, sizeof(run->dir), "%s", run->options->out) > TRIB_PATH_MAX) {
        TRIB_ERROR("--out: too long a path");
        err = TRIB_ERR_LIMIT;
    } else {
        err = trib_dir_make(run->dir, 0777);
    }
    if (!err)
        err = trib_path_join(run->model_path, run->dir, "model.safetensors");
    return err ? err : write_scenario(run);
}

// ---- Before, between and after the rounds

static const struct trib_world_state *state_of(const struct run *run)
{
    return run->world ? trib_world_state(run->world) : trib_processes_state(run->processes);
}

static const char *mode_of(const struct run *run)
{
    return trib_privacy_mode_text((enum trib_privacy_mode)run->scenario->job_config.privacy_mode);
}

static enum trib_err open_report(struct run *run)
{
    const struct trib_job *job = &run->scenario->job;
    const bool is_on = job->config.privacy_mode != TRIB_PRIVACY_OFF;
    const struct trib_report_options options = {
        .name = run->scenario->name,
        .dir = run->dir,
        .model = job->model.spec,
        .mode = mode_of(run),
        .clients = run->scenario->partition.clients,
        .rounds = job->config.rounds,
        .higher_is_better = trib_job_higher_is_better(job),
        .epsilon_total = is_on ? job->privacy.epsilon_total : (double)NAN,
        .json = run->options->json,
        .quiet = run->options->quiet,
    };
    return trib_report_create(&options, &run->report);
}

static void introduce(struct run *run)
{
    const struct trib_scenario *s = run->scenario;
    char text[512];
    trib_report_note(run->report, "%s: %zu devices with %zu rows, %zu held out; model %s", s->name,
                     s->partition.clients, s->train->rows, s->test->rows, s->job.model.spec);
    // The simulator's coordinator is one that signs its roster itself.
    trib_job_promise(&s->job, TRIB_ROSTER_COORDINATOR, text, sizeof(text));
    trib_report_note(run->report, "%s", text);
    trib_report_note(run->report, "%s", "");
}

// A run that can teach nothing is not started by mistake.
static enum trib_err check_signal(const struct run *run)
{
    char text[512];
    if (!trib_job_warning(&run->scenario->job, text, sizeof(text)))
        return TRIB_OK;
    if (run->options->accepts_drowned) {
        TRIB_WARN("%s", text);
        return TRIB_OK;
    }
    TRIB_ERROR("%s", text);
    return TRIB_ERR_PRIVACY;
}

static enum trib_err save_model(const struct run *run)
{
    const struct trib_world_state *state = state_of(run);
    const struct trib_model *model = &run->scenario->job.model;
    char version[24];
    char digest[TRIB_DIGEST_TEXT_SIZE];
    char summary[256];
    char threshold[TRIB_REAL_TEXT_SIZE];
    char pipeline[TRIB_DIGEST_TEXT_SIZE] = "";
    uint8_t prepare_digest[TRIB_DIGEST_SIZE];
    struct trib_buf head = {0};

    const bool has_pipeline =
        run->scenario->prepare && trib_prepare_is_fitted(run->scenario->prepare);
    if (has_pipeline) {
        enum trib_err err = trib_prepare_digest(run->scenario->prepare, prepare_digest);
        if (err)
            return err;
        trib_hex_encode(prepare_digest, sizeof(prepare_digest), pipeline);
    }
    trib_hex_encode(state->digest, TRIB_DIGEST_SIZE, digest);
    (void)snprintf(version, sizeof(version), "%" PRIu64, state->version);
    (void)snprintf(summary, sizeof(summary),
                   "scenario %s: %zu devices, %" PRIu64 " rounds committed, privacy mode %s",
                   run->scenario->name, run->scenario->partition.clients, state->committed,
                   mode_of(run));
    struct trib_safetensors_text metadata[7] = {
        {"spec", model->spec}, {"version", version}, {"digest", digest}, {"summary", summary}};
    size_t count = 4;
    const double from = state->held_out.validation.threshold;
    trib_real_text(from, threshold);
    if (state->is_evaluated && model->classes == 2 && isfinite(from))
        metadata[count++] = (struct trib_safetensors_text){"threshold", threshold};
    if (has_pipeline)
        metadata[count++] = (struct trib_safetensors_text){"pipeline", pipeline};
    if (run->parent[0])
        metadata[count++] = (struct trib_safetensors_text){"parent", run->parent};
    trib_safetensors_header(model, metadata, count, &head);
    enum trib_err err =
        head.failed ? TRIB_ERR_NOMEM
                    : trib_file_write_two(run->model_path, head.data, head.size, state->params,
                                          model->param_count * sizeof(float), 0644);
    trib_buf_fini(&head);
    return err;
}

static void say_baseline(const struct run *run, double value)
{
    const char *name;
    double baseline, lift;
    if (!trib_report_baseline(run->report, value, &name, &baseline, &lift))
        return;
    if (state_of(run)->is_refused)
        trib_report_note(run->report,
                         "REFUSED: no version to keep beats the baseline (%s, %.4f); the model is "
                         "what was there before (round.beat_baseline = no takes it as it is)",
                         name, baseline);
    else if (isfinite(lift))
        trib_report_note(run->report, "baseline: %s %.4f; the model is %s by %.4f", name, baseline,
                         lift > 0 ? "better" : "not better, it misses it", fabs(lift));
}

static void say_goodbye(const struct run *run, double value, const char *metric)
{
    const struct trib_world_state *state = state_of(run);
    const struct trib_scenario *s = run->scenario;
    const char *other = s->job_config.privacy_mode == TRIB_PRIVACY_OFF
                            ? "--set round.local_epochs=5"
                            : "--set privacy.mode=off";
    trib_report_note(run->report, "%s", "");
    if (state->averaged > 0)
        trib_report_note(run->report,
                         "version %" PRIu64 " is the mean of the last %" PRIu64
                         " versions, which costs no privacy",
                         state->version, state->averaged);
    if (metric)
        trib_report_note(run->report, "model:  %s (version %" PRIu64 ", held-out %s %.4f)",
                         run->model_path, state->version, metric, value);
    else
        trib_report_note(run->report, "model:  %s (version %" PRIu64 ")", run->model_path,
                         state->version);
    say_baseline(run, value);
    const enum trib_curve_shape shape = trib_report_curve(run->report);
    trib_report_note(run->report, "curve:  %s. %s", trib_curve_text(shape),
                     trib_curve_advice(shape));
    trib_report_note(run->report, "report: %s/report.svg, rounds.csv, rounds.jsonl, scenario.ini",
                     run->dir);
    trib_report_note(run->report, "try:    %s run %s --mode %s %s", program_invocation_name,
                     run->options->path, run->options->mode, other);
}

static enum trib_err finish(struct run *run)
{
    const struct trib_world_state *state = state_of(run);
    char digest[TRIB_DIGEST_TEXT_SIZE];
    struct trib_report_end end = {.version = state->version,
                                  .averaged = state->averaged,
                                  .value = (double)NAN,
                                  .is_refused = state->is_refused,
                                  .model = run->model_path,
                                  .digest = digest,
                                  .seconds = (double)(trib_clock_mono_us() - run->start_us) / 1e6};
    bool higher_is_better;
    if (state->is_evaluated)
        end.metric =
            trib_evaluation_primary(&state->held_out.validation, &end.value, &higher_is_better);
    trib_hex_encode(state->digest, TRIB_DIGEST_SIZE, digest);
    enum trib_err err = save_model(run);
    if (!err && run->scenario->config.test_on == TRIB_TEST_ON_DEVICES)
        err = trib_personal_write(state->personal, run->dir);
    if (!err)
        err = trib_report_finish(run->report, &end);
    if (!err)
        say_goodbye(run, end.value, end.metric);
    return err;
}

static enum trib_err play_rounds(struct run *run)
{
    enum trib_err err = TRIB_OK;
    while (!err && !trib_world_is_over(run->world)) {
        struct trib_round_result result;
        err = interrupted ? TRIB_ERR_STOPPED
                          : trib_world_play(run->world, is_interrupted, NULL, &result);
        if (!err)
            err = trib_report_round(run->report, &result);
    }
    if (!err)
        err = trib_world_keep(run->world);
    return err;
}

static enum trib_err watch_rounds(struct run *run)
{
    for (;;) {
        struct trib_round_result result;
        enum trib_err err = trib_processes_next(run->processes, &result);
        if (err == TRIB_ERR_STATE)
            return trib_processes_settle(run->processes);
        if (!err)
            err = trib_report_round(run->report, &result);
        if (err)
            return err;
    }
}

static enum trib_err play(struct run *run)
{
    enum trib_err err;
    catch_interrupts();
    if (strcmp(run->options->mode, "inprocess") == 0) {
        err = trib_world_create(run->scenario, (unsigned)run->options->threads, &run->world);
        if (!err)
            err = play_rounds(run);
    } else {
        trib_log_set_level(TRIB_LOG_WARN); // enrolments and sessions are told by the logs
        err = trib_processes_create(run->scenario, run->dir, is_interrupted, NULL, &run->processes);
        if (!err)
            err = watch_rounds(run);
        if (err == TRIB_ERR_STOPPED && run->processes && trib_processes_settle(run->processes))
            return TRIB_ERR_STOPPED;
    }
    return err;
}

// Where the model comes from, to be told in its file.
static enum trib_err find_parent(struct run *run)
{
    char why[TRIB_PATH_MAX + 256];
    const char *init = run->scenario->job_config.model_init;
    enum trib_err err =
        init[0] ? trib_model_file_digest(init, run->parent, why, sizeof(why)) : TRIB_OK;
    if (err)
        TRIB_ERROR("model.init: %s", why);
    return err;
}

static enum trib_err run_scenario(struct run *run)
{
    const struct run_options *options = run->options;
    enum trib_err err = trib_scenario_create(&run->scenario);
    if (!err)
        err = trib_scenario_load(run->scenario, options->path, options->sets.items,
                                 options->sets.count);
    if (!err)
        err = trib_scenario_open(run->scenario, strcmp(options->mode, "inprocess") == 0);
    if (err == TRIB_ERR_INVAL && run->scenario->conf.error[0])
        (void)fprintf(stderr, "%s\n", run->scenario->conf.error);
    if (!err)
        err = find_parent(run);
    if (!err)
        err = check_signal(run);
    if (!err)
        err = make_dir(run);
    if (!err)
        err = open_report(run);
    if (err)
        return err;
    introduce(run);
    err = play(run);
    bool has_model = (run->world || run->processes) && state_of(run)->params;
    if (!has_model || (err && err != TRIB_ERR_STOPPED))
        return err;
    enum trib_err failed = finish(run); // an interrupted run keeps what it has
    return failed ? failed : err;
}

// Also with --quiet: it is why the exit code is not 0.
static void say_missed(const struct run *run)
{
    const struct trib_world_state *state = state_of(run);
    const struct trib_job_config *config = &run->scenario->job_config;
    const char *name = trib_job_metric_name((enum trib_job_metric)config->target_metric);
    char last[64] = "";
    const double value =
        state->is_evaluated ? trib_evaluation_find(&state->held_out.validation, name) : (double)NAN;
    if (isfinite(value))
        (void)snprintf(last, sizeof(last), "; version %" PRIu64 " has %.4f", state->version, value);
    (void)fprintf(stderr, "round.target_value: %s %g was not reached%s\n", name,
                  config->target_value, last);
}

// Stopped, nothing learnt, or a target missed: not what was asked for.
static int exit_of(const struct run *run, enum trib_err err)
{
    if (err)
        return (int)trib_exit_of(err == TRIB_ERR_TIMEOUT ? TRIB_ERR_IO : err);
    const struct trib_world_state *state = state_of(run);
    const bool has_target = run->scenario->job_config.target_metric != TRIB_JOB_METRIC_NONE;
    if (has_target && !state->target_reached)
        say_missed(run);
    if (state->committed == 0 || state->is_refused || (has_target && !state->target_reached))
        return TRIB_EXIT_STOPPED;
    return TRIB_EXIT_OK;
}

static int run_command(const struct trib_command *command, int argc, char **argv)
{
    struct run_options o = {.mode = "processes"};
    const struct trib_option options[] = {
        {"set", TRIB_OPTION_LIST, &o.sets, "SECTION.KEY=VALUE", "override a key; many times"},
        {"mode", TRIB_OPTION_TEXT, &o.mode, "MODE", "processes or inprocess"},
        {"out", TRIB_OPTION_TEXT, &o.out, "DIR", "where results go (runs/<scenario>-<n>)"},
        {"threads", TRIB_OPTION_INT, &o.threads, "N", "inprocess: training threads (cores)"},
        {"json", TRIB_OPTION_FLAG, &o.json, NULL, "one JSON object a line on stdout"},
        {"quiet", TRIB_OPTION_FLAG, &o.quiet, NULL, "no table"},
        {"accept-drowned-signal", TRIB_OPTION_FLAG, &o.accepts_drowned, NULL,
         "start also when the noise will drown the model"},
    };
    int count;
    int status;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0]),
                                     .operand_min = 1,
                                     .operand_max = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &status))
        return status;
    o.path = argv[0];
    if (strcmp(o.mode, "inprocess") != 0 && strcmp(o.mode, "processes") != 0) {
        (void)fprintf(stderr, "run: --mode %s: want processes or inprocess\n", o.mode);
        return TRIB_EXIT_USAGE;
    }
    if (o.threads > 1024) {
        (void)fprintf(stderr, "run: --threads %" PRIu64 ": at most 1024\n", o.threads);
        return TRIB_EXIT_USAGE;
    }

    struct run run = {.options = &o, .start_us = trib_clock_mono_us()};
    enum trib_err err = run_scenario(&run);
    status = exit_of(&run, err);
    trib_processes_destroy(run.processes);
    trib_world_destroy(run.world);
    trib_report_destroy(run.report);
    trib_scenario_destroy(run.scenario);
    return status;
}

static int keys_command(const struct trib_command *command, int argc, char **argv)
{
    int count;
    int status;
    const struct trib_usage usage = {.command = command};
    if (!trib_args_parse(&usage, argc, argv, &count, &status))
        return status;
    return (int)trib_exit_of(trib_scenario_print_keys(stdout));
}

int main(int argc, char **argv)
{
    static const struct trib_command commands[] = {
        {"run", "SCENARIO.ini", "run a federation and report every round", run_command},
        {"keys", "", "list the keys of a scenario with defaults and help", keys_command},
        {"privacy", "", "what noise costs in privacy, and which noise meets a target",
         trib_privacy_calculate},
        {"tune", "SCENARIO.ini", "choose values of keys by cross-validation", trib_tune},
        {"eliminate", "SCENARIO.ini", "remove the features that the model makes least of",
         trib_eliminate},
        {"export", "MODEL", "write a model file as safetensors, npz, onnx or c", trib_export},
        {"baselines", "SCENARIO.ini", "what a factorisation of ratings must be better than",
         trib_baselines_command},
        {"ensemble", "SCENARIO.ini MODEL...", "several models as one, by their probabilities",
         trib_ensemble_command},
        {"make bilinear", "", "made-up ratings by u^T W i, with the numbers of users and items",
         trib_make_bilinear},
        {"make clicks", "", "made-up clicks on items, by more than a line can tell",
         trib_make_clicks},
        {"make ratings", "", "made-up ratings user,item,rating", trib_make_ratings},
        {"chaos", "", "whole worlds drawn from seeds, in which everything goes wrong",
         trib_chaos_run},
        {"bench coordinator", "", "a real coordinator under real clients that do not train",
         trib_bench_coordinator},
        {"bench train", "", "the training loop on one thread", trib_bench_train},
        {"bench start", "", "how fast a client is there, and how small", trib_bench_start},
        {"bench restart", "", "how soon a coordinator with a large fleet serves again",
         trib_bench_restart},
        {"bench client", "DIR", "one client of bench coordinator", trib_bench_client},
        {"load", "", "thousands of light devices at one coordinator", trib_load_command},
        {"device", "DIR", "one device of a run with faults", trib_faulty_device},
        {"liar", "DIR", "one that lies, of a run with liars", trib_liar},
    };
    static const struct trib_program program = {
        .name = "tributary-sim",
        .about =
            "tributary-sim runs whole federations on one machine: devices with their own data,\n"
            "a coordinator, rounds of training, as a scenario file describes them.",
        .commands = commands,
        .count = sizeof(commands) / sizeof(commands[0]),
    };
    trib_crypto_init();
    return trib_program_main(&program, argc, argv);
}
