// tune.h - tributary-sim tune: which values of a scenario's keys learn best, judged by rows that
// are neither learnt from nor the held-out ones.
//
// Every candidate is run once for each fold of the training rows: it learns from the others and is
// measured on the fold. The one with the best mean is run once more on all training rows, and only
// then the held-out rows are opened.
#ifndef TRIB_SIMULATIONS_TUNE_H
#define TRIB_SIMULATIONS_TUNE_H

#include "common/base/args.h"

int trib_tune(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_TUNE_H
