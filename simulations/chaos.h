// chaos.h - worlds of which everything is drawn from a seed, and in which everything goes wrong; each
// is a process of its own (simulations/chaos/).
#ifndef TRIB_SIMULATIONS_CHAOS_H
#define TRIB_SIMULATIONS_CHAOS_H

#include "common/base/args.h"

int trib_chaos_run(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_CHAOS_H
