// load.h - commands that load one coordinator with a large fleet and hold it to what is promised.
#ifndef TRIB_SIMULATIONS_LOAD_H
#define TRIB_SIMULATIONS_LOAD_H

#include "common/base/args.h"

// load: thousands of light devices in this process connect at once, idle, and take part in rounds
// with dropouts and stragglers. TRIB_EXIT_STOPPED when a figure is missed.
int trib_load_command(const struct trib_command *command, int argc, char **argv);
// bench restart: how long a coordinator with such a fleet and many versions takes to serve again.
int trib_bench_restart(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_LOAD_H
