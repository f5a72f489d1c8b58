// own_client.h - a real client in a process of its own, with a trainer of the simulator's.
//
// It is the library of tributary-client, enrolment, session and spool included; only the callback
// that trains is another one. So what goes wrong in a simulation needs no hook in the client.
#ifndef TRIB_SIMULATIONS_OWN_CLIENT_H
#define TRIB_SIMULATIONS_OWN_CLIENT_H

#include "common/base/args.h"
#include "tributary/client.h"

// Take part until SIGTERM. Returns enum trib_exit.
int trib_own_client_run(const char *dir, enum trib_log_level level,
                        const struct trib_trainer *trainer, void *user);

// tributary-sim device DIR [--dropout P] [--straggle P --straggle-ms N] [--kill P]: a client that
// trains as tributary-client does, but that in some rounds takes the task and sends nothing, or is
// late, or kills itself when it has trained. It does that once a round: who starts it again sees it
// train once more, and send.
int trib_faulty_device(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_OWN_CLIENT_H
