// world_parts.h - what the files of a world share: its state, and the steps of a round.
#ifndef TRIB_SIMULATIONS_WORLD_PARTS_H
#define TRIB_SIMULATIONS_WORLD_PARTS_H

#include <pthread.h>

#include "common/base/pool.h"
#include "coordinator/admit.h"
#include "coordinator/aggregate.h"
#include "coordinator/evaluate.h"
#include "coordinator/moments.h"
#include "coordinator/round.h"
#include "coordinator/stop.h"
#include "coordinator/tally_round.h"
#include "simulations/cohort.h"
#include "simulations/device.h"
#include "simulations/world.h"

// Hands cohort members to its bench until none is left.
struct trib_world_worker {
    struct trib_work work; // first: the pool gives it back
    struct trib_world *world;
    struct trib_bench *bench;
};

struct trib_world {
    const struct trib_scenario *scenario; // borrowed
    const struct trib_job *job;           // the scenario's
    size_t clients;
    uint32_t *by_name;                // (clients) devices in the order of their names
    uint32_t *order;                  // (clients) this round's order, indices into by_name
    uint64_t *used;                   // (clients) rows in counted updates; NULL with mode batch
    struct trib_evaluator *evaluator; // NULL: devices measure
    struct trib_personal *personal;   // or NULL
    struct trib_pool *pool;
    struct trib_cohort *cohort; // mode distributed, else NULL
    struct trib_world_worker *workers;
    unsigned worker_count;

    struct trib_world_state state;
    struct trib_privacy_spent spent;
    uint64_t round_number;         // of the last round played
    uint64_t now_ms;               // virtual
    float *params;                 // of the newest version
    float *next;                   // of the one being made
    float *mean;                   // of a round's deltas
    double *values;                // of a tally round, (the most of one); NULL: there are none
    bool newton_is_off;            // a round refused its step
    enum trib_round_pass pass;     // of the round being played
    uint64_t measured;             // newest round whose version devices were asked to measure
    uint64_t versioned;            // newest round that made a version
    struct trib_round_shape shape; // of the round being played
    double mean_rms;               // its root mean square; NaN: the round has none
    struct trib_plateau plateau;
    struct trib_stop progress;
    struct trib_moments *moments; // of the strategy, or NULL
    double *tail;                 // sums of the versions to average; NULL: none are
    uint64_t tail_count;
    float *initial; // of version 1; NULL: there is no gate
    float *best;    // of the best version so far; NULL: the last one stays
    bool has_best;
    double best_value;
    bool has_linear;        // the linear baseline was counted
    bool has_class_weights; // labels were counted
    float class_weight[TRIB_CLASS_WEIGHTS_MAX];
    struct trib_newton_path *newton; // of a job with newton; else NULL

    // The round being played. Workers hold the lock for all of it but training.
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct trib_round round;
    struct trib_round_member *members; // (clients)
    struct trib_admit_round rule;
    struct trib_sums sums;
    uint32_t next_member; // to be trained
    bool is_late_turn;    // of those who come after the others
    uint32_t in_flight;   // being trained
    unsigned working;     // workers that are not done
    enum trib_err failure;
    trib_train_stop_fn stop;
    void *stop_user;
};

static inline bool trib_world_is_masked(const struct trib_world *world)
{
    return world->job->privacy.encoding.mode == TRIB_PRIVACY_DISTRIBUTED;
}

// ---- world.c

// Make `next` the newest version. `held_out` is NULL when it was not measured.
void trib_world_adopt(struct trib_world *world, const struct trib_held_out *held_out);
TRIB_CHECKED enum trib_err trib_world_measure(struct trib_world *world, const float *params,
                                              struct trib_held_out *ret_held_out);

// ---- world_keep.c

// The newest version has this value of the primary metric.
void trib_world_note_best(struct trib_world *world, double value);

// ---- world_round.c

// The round takes the input, which it cannot refuse.
void trib_world_step(struct trib_world *world, struct trib_round_input input);
// Ask devices in this round's order until there are enough.
TRIB_CHECKED enum trib_err trib_world_select(struct trib_world *world);
// Keys and shares of a masked round.
TRIB_CHECKED enum trib_err trib_world_deal_keys(struct trib_world *world);
// Train all members on the threads, and take what they send.
TRIB_CHECKED enum trib_err trib_world_collect(struct trib_world *world);

#endif // TRIB_SIMULATIONS_WORLD_PARTS_H
