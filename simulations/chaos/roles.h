// roles.h - what the processes of a world do, each with the code of its program.
#ifndef TRIB_CHAOS_ROLES_H
#define TRIB_CHAOS_ROLES_H

#include "simulations/chaos/machine.h"

void trib_role_coordinator(struct trib_process *process); // tributary-coordinator run
void trib_role_device(struct trib_process *process);      // tributary-client enrol, then run
void trib_role_operator(struct trib_process *process);    // tributaryctl, again and again
// Enrol with the token that the operator has for it, until that is done.
void trib_role_enrol(const struct trib_process *process);

#endif // TRIB_CHAOS_ROLES_H
