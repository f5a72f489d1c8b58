// liar.h - a device that is enrolled and speaks the protocol well, but lies about its updates.
//
// It takes every task and sends what no honest device would; sometimes an honest update, so that it
// has something to send again.
#ifndef TRIB_CHAOS_LIAR_H
#define TRIB_CHAOS_LIAR_H

#include "simulations/chaos/machine.h"

void trib_role_liar(struct trib_process *process);

#endif // TRIB_CHAOS_LIAR_H
