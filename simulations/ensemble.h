// ensemble.h - tributary-sim ensemble: several model files measured as one.
//
// The file of an ensemble is lines of text, one a member:
//
//     # comment, or a blank line
//     chosen-on SEED SHARE
//     WEIGHT DIGEST PATH
//
// SEED and SHARE say by which of the held-out rows the weights were chosen: those measure nothing.
// WEIGHT is at least 0, and all add up to 1; DIGEST is the member's (trib_model_digest); PATH goes
// to the end of the line, a relative one from the folder of the file.
#ifndef TRIB_SIMULATIONS_ENSEMBLE_H
#define TRIB_SIMULATIONS_ENSEMBLE_H

#include "common/base/args.h"

int trib_ensemble_command(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_ENSEMBLE_H
