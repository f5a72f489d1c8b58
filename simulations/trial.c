#include "simulations/trial.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "simulations/world.h"

#define TRIB_LOG_MODULE "trial"

bool trib_trial_args(const struct trib_command *command, const struct trib_option *options,
                     size_t option_count, int argc, char **argv, const char **ret_path,
                     int *ret_status)
{
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = option_count,
                                     .operand_min = 1,
                                     .operand_max = 1};
    int count;
    if (!trib_args_parse(&usage, argc, argv, &count, ret_status))
        return false;
    *ret_path = argv[0];
    trib_log_set_level(TRIB_LOG_ERROR);
    return true;
}

enum trib_err trib_trial_complain(const struct trib_scenario *scenario, enum trib_err err)
{
    if (err && scenario->conf.error[0])
        (void)fprintf(stderr, "%s\n", scenario->conf.error);
    return err;
}

// Held-out rows must not be looked at while a run goes on, or they would help to choose.
static enum trib_err check_scenario(const struct trib_scenario *s)
{
    const struct trib_job_config *config = &s->job_config;
    if (config->target_metric != TRIB_JOB_METRIC_NONE) {
        TRIB_ERROR("round.target_metric: a run that is judged stops at no target");
        return TRIB_ERR_INVAL;
    }
    if (config->lr_schedule == TRIB_SCHEDULE_PLATEAU) {
        TRIB_ERROR("round.lr_schedule: plateau looks at the rows that a choice is judged by");
        return TRIB_ERR_INVAL;
    }
    if (config->stop_patience > 0 || config->deadline_s > 0) {
        TRIB_ERROR("round.%s: a run that is judged goes on for all its rounds",
                   config->stop_patience > 0 ? "stop_patience" : "deadline_s");
        return TRIB_ERR_INVAL;
    }
    if (config->keep == TRIB_JOB_KEEP_BEST || config->beat_baseline == TRIB_JOB_BEAT_YES) {
        TRIB_ERROR("round.%s: the version to keep is chosen by the rows that a choice is judged by",
                   config->keep == TRIB_JOB_KEEP_BEST ? "keep" : "beat_baseline");
        return TRIB_ERR_INVAL;
    }
    if (config->eval_every == 0) {
        TRIB_ERROR("round.eval_every: must not be 0 when something is to be measured");
        return TRIB_ERR_INVAL;
    }
    return TRIB_OK;
}

enum trib_err trib_trial_load(const char *path, const char *const *sets, size_t count,
                              struct trib_scenario **ret_scenario)
{
    struct trib_scenario *s;
    enum trib_err err = trib_scenario_create(&s);
    if (err)
        return err;
    err = trib_trial_complain(s, trib_scenario_load(s, path, sets, count));
    if (!err)
        err = check_scenario(s);
    s->job_config.beat_baseline = TRIB_JOB_BEAT_NO; // what is tried is judged by who tries it
    if (err)
        trib_scenario_destroy(s);
    else
        *ret_scenario = s;
    return err;
}

enum trib_err trib_trial_open(struct trib_scenario *scenario, struct trib_scenario_cut cut)
{
    scenario->cut = cut;
    return trib_trial_complain(scenario, trib_scenario_open(scenario, true));
}

enum trib_err trib_trial_play(struct trib_scenario *s, struct trib_trial *ret_trial,
                              float *ret_params)
{
    struct trib_world *world = NULL;
    struct trib_trial trial = {.value = (double)NAN, .rows = s->test->rows};
    enum trib_err err = trib_world_create(s, 0, &world);
    while (!err && !trib_world_is_over(world)) {
        struct trib_round_result result;
        err = trib_world_play(world, NULL, NULL, &result);
    }
    if (!err)
        err = trib_world_keep(world);
    const struct trib_world_state *state = err ? NULL : trib_world_state(world);
    // A run in which rounds were lost because nothing finite came of them is no candidate.
    if (state && state->is_evaluated && state->committed == s->job.config.rounds) {
        (void)snprintf(trial.metric, sizeof(trial.metric), "%s",
                       trib_evaluation_primary(&state->held_out.validation, &trial.value,
                                               &trial.higher_is_better));
        if (ret_params)
            memcpy(ret_params, state->params, s->job.model.param_count * sizeof(*ret_params));
    }
    trib_world_destroy(world);
    if (!err)
        *ret_trial = trial;
    return err;
}

bool trib_trial_is_better(const struct trib_trial *trial, double best)
{
    if (!isfinite(trial->value) || isnan(best))
        return isfinite(trial->value);
    return trial->higher_is_better ? trial->value > best : trial->value < best;
}
