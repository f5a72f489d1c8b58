// stop.h - when a job ends by itself.
//
//     rounds     round.rounds of them are done, committed or abandoned
//     target     an evaluated round reached round.target_value
//     plateau    round.stop_patience evaluated rounds in a row were not better, by
//                round.stop_min_delta or more, than the best before them
//     deadline   round.deadline_s seconds have passed since the job was submitted
//
// Rules are asked between rounds: a round that is open goes on to its end. When several hold, the
// first of target, rounds, plateau, deadline is the reason.
#ifndef TRIB_COORDINATOR_STOP_H
#define TRIB_COORDINATOR_STOP_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/job.h"

enum trib_stop_rule {
    TRIB_STOP_NOT,
    TRIB_STOP_TARGET,
    TRIB_STOP_ROUNDS,
    TRIB_STOP_PLATEAU,
    TRIB_STOP_DEADLINE,
};

// What the evaluated rounds of a job showed. Zero-initialise to start.
struct trib_stop {
    bool target_is_reached;
    bool has_best;
    double best;    // of the primary metric
    uint64_t stale; // evaluated rounds since then
};

// Tell it the primary metric of an evaluated round (round.primary_metric).
void trib_stop_observe(struct trib_stop *stop, const struct trib_job *job, double value);

// `elapsed_ms`: since the job was submitted.
enum trib_stop_rule trib_stop_rule(const struct trib_stop *stop, const struct trib_job *job,
                                   uint64_t rounds_done, uint64_t elapsed_ms);

// What a job that ends by this rule is told as its reason: a constant text.
const char *trib_stop_reason(enum trib_stop_rule rule);

#endif // TRIB_COORDINATOR_STOP_H
