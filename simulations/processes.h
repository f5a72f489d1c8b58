// processes.h - a federation of real programs over loopback: one coordinator, one client a device,
// with real keys, encryption and durability.
//
// The programs' state lives in a temporary folder that is removed in the end; their logs stay in
// the folder of the run.
#ifndef TRIB_SIMULATIONS_PROCESSES_H
#define TRIB_SIMULATIONS_PROCESSES_H

#include <stdbool.h>

#include "simulations/world.h"
#include "tributary/err.h"

struct trib_processes;

// Asked again and again while waiting; true ends the wait with TRIB_ERR_STOPPED.
typedef bool (*trib_stop_fn)(void *user);

// Deal the data out to files, start the coordinator, enrol and start the clients, submit the job.
// `scenario` was opened unscaled and is borrowed.
TRIB_CHECKED enum trib_err trib_processes_create(struct trib_scenario *scenario, const char *dir,
                                                 trib_stop_fn stop, void *stop_user,
                                                 struct trib_processes **ret_processes);
// Stops the programs and removes their state. NULL is fine.
void trib_processes_destroy(struct trib_processes *processes);

// Wait for the next round. TRIB_ERR_STATE: there is none, the job is over.
TRIB_CHECKED enum trib_err trib_processes_next(struct trib_processes *processes,
                                               struct trib_round_result *ret_result);
// After the last round: wait until every device has the last version, and fetch it.
TRIB_CHECKED enum trib_err trib_processes_settle(struct trib_processes *processes);
const struct trib_world_state *trib_processes_state(const struct trib_processes *processes);

#endif // TRIB_SIMULATIONS_PROCESSES_H
