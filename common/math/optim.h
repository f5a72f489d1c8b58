// optim.h - how a gradient becomes a step: optimisers, penalties, clipping, learning-rate
// schedules.
//
// All of it is elementwise over the flat parameters, biases too, in float32 and in index order: for
// one build the same input gives the same bits. Formulas and sources: docs/models.md.
#ifndef TRIB_MATH_OPTIM_H
#define TRIB_MATH_OPTIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "tributary/err.h"

// The same numbers as in proto: never renumber.
enum trib_optimizer {
    TRIB_OPTIMIZER_SGD = 0, // with momentum when that is above 0
    TRIB_OPTIMIZER_NESTEROV = 1,
    TRIB_OPTIMIZER_ADAM = 2,
};
enum {
    TRIB_OPTIMIZER_COUNT = 3,
};

// beta1, beta2 and epsilon of Adam (Kingma & Ba 2015, algorithm 1).
#define TRIB_ADAM_BETA1   0.9
#define TRIB_ADAM_BETA2   0.999
#define TRIB_ADAM_EPSILON 1e-8

struct trib_optim_options {
    enum trib_optimizer optimizer;
    double momentum;      // [0, 1); Adam has its own
    double weight_decay;  // L2 penalty: half of it times the squared norm joins the loss
    bool decoupled_decay; // Adam: shrink the parameters themselves (Loshchilov & Hutter 2019)
    double l1;            // L1 penalty, by its proximal map: exact zeros
    double proximal_mu;   // half of it times the squared distance to the start joins the loss
    double clip_norm;     // bound on the L2 norm of the loss's gradient; 0: none
};

// A stretch of the parameters that learns at its own rate.
struct trib_optim_span {
    size_t begin, end;
    double factor; // of the learning rate; 0: nothing of it moves, not by a bit
};

struct trib_optim;

// State for `count` parameters. Nothing is allocated after create.
TRIB_CHECKED enum trib_err trib_optim_create(const struct trib_optim_options *options, size_t count,
                                             struct trib_optim **ret_optim);
void trib_optim_destroy(struct trib_optim *optim);

// Is a step no more than w -= rate * (gradient + weight_decay * w)? Then it needs no state.
bool trib_optim_is_plain(const struct trib_optim_options *options);

// From now on step through these spans only (at most TRIB_LAYERS_MAX, ascending, apart). At first
// there is one over everything, with a factor of 1. What is in no span or in one of factor 0 does
// not count for clip_norm either.
void trib_optim_set_spans(struct trib_optim *optim, const struct trib_optim_span *spans,
                          size_t count);

// How many vectors of `count` floats the state has.
size_t trib_optim_vectors(const struct trib_optim_options *options);

// Begin from `params`: they are what proximal_mu pulls to, and the state is as new.
void trib_optim_begin(struct trib_optim *optim, const float *params);

// One step with this learning rate. `gradient` is that of the mean loss, and is used up.
void trib_optim_step(struct trib_optim *optim, double rate, float *gradient, float *params);

// The proximal map of threshold * |.|: towards 0 by the threshold, and exactly 0 within it
// (Parikh & Boyd 2014, section 6.5.2).
float trib_soft_threshold(float value, float threshold);

// ---- Learning rates

// The same numbers as in proto: never renumber.
enum trib_schedule_kind {
    TRIB_SCHEDULE_CONSTANT = 0,
    TRIB_SCHEDULE_STEP = 1,    // times gamma every `every` positions
    TRIB_SCHEDULE_COSINE = 2,  // half a wave down to `min` over all positions
    TRIB_SCHEDULE_PLATEAU = 3, // times gamma after `every` values that are not better
};

struct trib_schedule {
    enum trib_schedule_kind kind;
    uint64_t every; // step, plateau: at least 1
    double gamma;   // step, plateau: (0, 1]
    double min;     // never below this, nor above the first rate
};

// What a plateau was told so far; begins as zeros.
struct trib_plateau {
    bool has_best;
    double best;
    uint64_t stale; // values since then that were not better
    uint64_t cuts;
};
void trib_plateau_observe(struct trib_plateau *plateau, const struct trib_schedule *schedule,
                          double value, bool higher_is_better);

// The rate at `position` of `count` (rounds or steps, from 0), when the first is `rate`. `plateau`
// may be NULL unless the kind is that.
double trib_schedule_rate(const struct trib_schedule *schedule, double rate, uint64_t position,
                          uint64_t count, const struct trib_plateau *plateau);

#endif // TRIB_MATH_OPTIM_H
