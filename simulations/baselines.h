// baselines.h - the command that says what a recommender of a scenario must be better than.
#ifndef TRIB_SIMULATIONS_BASELINES_H
#define TRIB_SIMULATIONS_BASELINES_H

#include "common/base/args.h"

int trib_baselines_command(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_BASELINES_H
