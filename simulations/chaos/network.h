// network.h - the network of a world, in the place of common/wire/link.c: streams of bytes that
// arrive later, in pieces, or not at all.
#ifndef TRIB_CHAOS_NETWORK_H
#define TRIB_CHAOS_NETWORK_H

#include "simulations/chaos/machine.h"

// Its connections are closed by the system; whoever is at their other ends hears of it.
void trib_network_end(struct trib_process *process);
// One of its connections breaks, if it has any.
void trib_network_break(struct trib_process *process);

#endif // TRIB_CHAOS_NETWORK_H
