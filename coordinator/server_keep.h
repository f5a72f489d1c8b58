// server_keep.h - which version stays when a job is done (gate.h): for server_job.c only.
#ifndef TRIB_COORDINATOR_SERVER_KEEP_H
#define TRIB_COORDINATOR_SERVER_KEEP_H

#include "coordinator/server_state.h"

struct trib_kept {
    const char *kind;            // of the version to be made of it; NULL: the newest one stays
    const float *params;         // of what stays, borrowed from the average, the source or the head
    const float *average;        // what was given
    struct trib_version *source; // what comes back from the store, owned; NULL: nothing
    bool is_refused;             // by the gate
    bool is_measured;
    struct trib_held_out held_out;
};

// On the commit thread, while the job ends: nothing else makes versions then. `row`: with the job's
// start_version. `average`: of the last versions, borrowed until the end; NULL: there is none.
TRIB_CHECKED enum trib_err trib_jobs_keep(struct trib_server *server,
                                          const struct trib_active_job *active,
                                          const struct trib_store_job *row, const float *average,
                                          struct trib_kept *ret_kept);
// A version by its number, on the thread of the store. TRIB_ERR_STATE: there is none.
TRIB_CHECKED enum trib_err trib_jobs_read_version(struct trib_server *server, uint64_t number,
                                                  struct trib_version **ret_version);
void trib_kept_fini(struct trib_kept *kept);

#endif // TRIB_COORDINATOR_SERVER_KEEP_H
