// privacy.h - the privacy calculator: what noise costs, and which noise meets a target.
#ifndef TRIB_SIMULATIONS_PRIVACY_H
#define TRIB_SIMULATIONS_PRIVACY_H

#include "common/base/args.h"

// privacy: of one number with noise by all ledgers, or with --mode of a fleet by those that are
// proven for it.
int trib_privacy_calculate(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_PRIVACY_H
