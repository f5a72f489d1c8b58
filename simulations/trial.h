// trial.h - a run of a scenario that is judged by its primary metric: what tune and eliminate play
// over and over.
//
// Mistakes in the scenario are printed to stderr, everything else is logged.
#ifndef TRIB_SIMULATIONS_TRIAL_H
#define TRIB_SIMULATIONS_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/args.h"
#include "simulations/scenario.h"
#include "tributary/err.h"

// What a run came to.
struct trib_trial {
    double value; // of the primary metric; NaN: it has none, since it diverged
    size_t rows;  // measured on
    bool higher_is_better;
    char metric[32]; // what the value is called; "" without one
};

// The command line of a command that plays trials: its operand is the scenario's file. From then on
// only errors are logged. False: the command is over, with `ret_status`.
bool trib_trial_args(const struct trib_command *command, const struct trib_option *options,
                     size_t option_count, int argc, char **argv, const char **ret_path,
                     int *ret_status);

// Read a scenario for `trib_trial_open`. TRIB_ERR_INVAL: it is wrong, or would look at the rows that
// it is judged by while it runs.
TRIB_CHECKED enum trib_err trib_trial_load(const char *path, const char *const *sets, size_t count,
                                           struct trib_scenario **ret_scenario);

// Read and deal out the data. `fold` of `cut`, or, without folds, the held-out rows are what the
// run is judged by.
TRIB_CHECKED enum trib_err trib_trial_open(struct trib_scenario *scenario,
                                           struct trib_scenario_cut cut);

// Play all rounds. `ret_params`: what was learnt, with room for the model's param_count, when the
// trial has a value; NULL: not wanted.
TRIB_CHECKED enum trib_err trib_trial_play(struct trib_scenario *scenario,
                                           struct trib_trial *ret_trial, float *ret_params);

// Print what is wrong with the scenario, if that is what `err` is about. Returns `err`.
TRIB_CHECKED enum trib_err trib_trial_complain(const struct trib_scenario *scenario,
                                               enum trib_err err);

// Is it a better value than `best`? Of equals none is; a value is better than NaN.
bool trib_trial_is_better(const struct trib_trial *trial, double best);

#endif // TRIB_SIMULATIONS_TRIAL_H
