// world.h - a whole federation in one process: the coordinator's rounds, admission, sums, strategy
// and evaluation, and the devices' trainer, privacy boundary and codec, without sockets and with a
// virtual clock.
//
// Members of a cohort train on the threads of a pool, in the order in which they were drawn. Their
// updates are integers, so the model is the same to the last bit for any number of threads, and the
// same as that of real processes when the noise is off or seeded for tests.
#ifndef TRIB_SIMULATIONS_WORLD_H
#define TRIB_SIMULATIONS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/hash.h"
#include "common/math/metrics.h"
#include "common/math/train.h"
#include "coordinator/result.h"
#include "simulations/personal.h"
#include "simulations/scenario.h"
#include "tributary/err.h"

struct trib_world;

// `scenario` was opened with scaled features, is borrowed and must outlive the world, which takes
// its held-out rows. `threads` of 0: one for each core; with OpenBLAS it is always one.
TRIB_CHECKED enum trib_err trib_world_create(struct trib_scenario *scenario, unsigned threads,
                                             struct trib_world **ret_world);
void trib_world_destroy(struct trib_world *world);

// All rounds were played, or the target is reached.
bool trib_world_is_over(const struct trib_world *world);

// Play one round. An abandoned one is a result too. TRIB_ERR_STOPPED: `stop`, asked between
// batches, said so; the round then never was.
TRIB_CHECKED enum trib_err trib_world_play(struct trib_world *world, trib_train_stop_fn stop,
                                           void *stop_user, struct trib_round_result *ret_result);

// After the last round: commit what is to stay, if that is not the newest version, as one more: the
// mean of the last versions (job.h), the best one, or what was there before (gate.h).
TRIB_CHECKED enum trib_err trib_world_keep(struct trib_world *world);

// Where it stands.
struct trib_world_state {
    uint64_t version;    // the newest; 1: the initial model
    uint64_t averaged;   // versions averaged into it; 0: it comes from a round
    uint64_t committed;  // rounds
    bool target_reached; // by a round's version; never without a target
    bool is_refused;     // by the gate: what is there now was there before the job
    bool is_evaluated;   // is the newest version?
    struct trib_held_out held_out;
    const struct trib_personal *personal; // NULL: devices have nothing of their own; borrowed
    const float *params; // of the newest version, borrowed from the world until it changes
    uint8_t digest[TRIB_DIGEST_SIZE]; // of the newest version
};
const struct trib_world_state *trib_world_state(const struct trib_world *world);

#endif // TRIB_SIMULATIONS_WORLD_H
