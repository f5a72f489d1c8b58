// processes_parts.h - what the files of a run as processes share: its state, and the files it
// writes.
#ifndef TRIB_SIMULATIONS_PROCESSES_PARTS_H
#define TRIB_SIMULATIONS_PROCESSES_PARTS_H

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "simulations/children.h"
#include "simulations/personal.h"
#include "simulations/processes.h"

enum {
    TRIB_PROCESSES_PATH_SIZE = TRIB_PATH_MAX + 1
};

struct trib_processes {
    struct trib_scenario *scenario; // borrowed
    trib_stop_fn stop;
    void *stop_user;
    char dir[TRIB_PROCESSES_PATH_SIZE];         // of the run
    char state_dir[TRIB_PROCESSES_PATH_SIZE];   // temporary
    char coordinator[TRIB_PROCESSES_PATH_SIZE]; // its directory
    struct trib_child *children;                // [0] the coordinator, then the clients
    size_t child_count;
    uint64_t job;
    uint64_t last_round;
    struct trib_world_state state;
    float *params;                  // owned
    struct trib_personal *personal; // owned; or NULL
};

// ---- processes_data.c: the files that the programs read, in the state directory or `dir`

TRIB_CHECKED enum trib_err trib_processes_write_pipeline(const struct trib_processes *p);
TRIB_CHECKED enum trib_err trib_processes_write_device(const struct trib_processes *p,
                                                       size_t device, const char *dir);
TRIB_CHECKED enum trib_err trib_processes_write_job(const struct trib_processes *p,
                                                    struct trib_buf *ret_text);

// ---- processes.c

// Run one more child; `argv` ends with NULL.
TRIB_CHECKED enum trib_err trib_processes_start(struct trib_processes *p, const char *name,
                                                const char *const *argv);

// ---- processes_faults.c

// Start the device of that name, which is enrolled, with the faults that it is to have.
TRIB_CHECKED enum trib_err trib_processes_start_device(struct trib_processes *p, const char *name);
// Was this child killed because the scenario wants that? Then it runs again.
bool trib_processes_revive(struct trib_processes *p, size_t child);

#endif // TRIB_SIMULATIONS_PROCESSES_PARTS_H
