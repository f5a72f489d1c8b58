// liar.h - a device that means no good, as a process of its own.
//
// Not the client's library, which would not say such things: the wire code, and what it takes to
// be asked for an update. It trains nothing, installs nothing, and says that it did.
#ifndef TRIB_SIMULATIONS_LIAR_H
#define TRIB_SIMULATIONS_LIAR_H

#include "common/base/args.h"

// tributary-sim liar DIR --lie KIND: until SIGTERM, in each round that trains one update that is
// not true. What is counted beside them it declines. Returns enum trib_exit.
int trib_liar(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_LIAR_H
