// train.h - mini-batch SGD on one device's rows.
#ifndef TRIB_MATH_TRAIN_H
#define TRIB_MATH_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rand.h"
#include "common/math/net.h"
#include "tributary/err.h"

struct trib_train_options {
    uint64_t epochs; // passes over the rows, at least 1
    uint64_t batch;  // rows per step; 0: all
    double learning_rate;
    double momentum;     // [0, 1)
    double weight_decay; // L2 penalty factor
};

// The workspace for one model and at most `rows_max` rows with these options. Nothing is allocated
// while training. `model` is borrowed and must outlive it.
struct trib_trainer_space;
TRIB_CHECKED enum trib_err trib_train_space_create(const struct trib_model *model,
                                                   const struct trib_train_options *options,
                                                   size_t rows_max,
                                                   struct trib_trainer_space **ret_space);
void trib_train_space_destroy(struct trib_trainer_space *space);

// Asked before each step; true stops the training.
typedef bool (*trib_train_stop_fn)(void *user);

// Improve `params` (param_count) in place. Each epoch visits the rows in a fresh seeded order; the
// last batch of an epoch may be smaller. With v = 0 at the start, a step is (Sutskever et al. 2013,
// in the form without dampening)
//     g = gradient of the mean batch loss + weight_decay * params
//     v = momentum * v + g,   params = params - learning_rate * v
// TRIB_ERR_STOPPED: asked to; TRIB_ERR_DATA: the loss is no longer finite; `params` are then not to
// be used. `samples` has at least one row, and its rows fit the model (trib_dataset_check).
TRIB_CHECKED enum trib_err trib_train(struct trib_trainer_space *space,
                                      const struct trib_samples *samples, struct trib_rng *rng,
                                      float *params, trib_train_stop_fn stop, void *stop_user,
                                      double *ret_loss);

#endif // TRIB_MATH_TRAIN_H
