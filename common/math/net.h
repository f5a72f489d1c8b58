// net.h - forward and backward passes of a model on a batch; the workspace for them.
//
// Shapes: x (rows, inputs) row-major; y (rows), a class index (softmax: 0..classes-1, sigmoid: 0
// or 1) or a target value; outputs (rows, outputs). Nothing is allocated after create.
#ifndef TRIB_MATH_NET_H
#define TRIB_MATH_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rand.h"
#include "common/math/model.h"
#include "tributary/err.h"

// Rows to learn from, borrowed from whoever loaded them.
struct trib_samples {
    const float *x; // (rows, inputs)
    const float *y; // (rows)
    size_t rows;
    size_t inputs;
    const float *weights; // (rows), at least 0 and finite; NULL: all 1
    const uint64_t *ids;  // (rows), what each row is known by; NULL: by its number from 0
};

struct trib_net;

// `model` is borrowed and must outlive the net.
TRIB_CHECKED enum trib_err trib_net_create(const struct trib_model *model, size_t batch_max,
                                           struct trib_net **ret_net);
void trib_net_destroy(struct trib_net *net);
size_t trib_net_batch_max(const struct trib_net *net);
const struct trib_model *trib_net_model(const struct trib_net *net);

// The model's outputs, borrowed from the net until the next call: probabilities (softmax, sigmoid)
// or values. rows <= batch_max.
const float *trib_net_forward(struct trib_net *net, const float *params, const float *x,
                              size_t rows);

// The gradient of the mean loss over the rows, written to `ret_gradient` (param_count); returns
// that mean loss (not finite when training has diverged). A cross-entropy is within
// 10^-6 + 2^-22 of it of what trib_net_loss_sum says of the same rows, which takes the time for
// exponentials in double.
double trib_net_gradient(struct trib_net *net, const float *params, const float *x, const float *y,
                         size_t rows, float *ret_gradient);

// Rows of which each counts as often as its weight says: their losses and gradients are multiplied
// by it, and a mean is still taken over the number of rows, so that the means of batches of one
// size add up to the mean of all rows, whatever the weights in each batch.
struct trib_batch {
    const float *x;       // (rows, inputs)
    const float *y;       // (rows)
    const float *weights; // (rows); NULL: all 1
    size_t rows;
};

// The same as trib_net_gradient, for weighted rows. Only here dropout layers drop: `dropout` is the
// stream of what they drop, NULL: they do not.
double trib_net_gradient_weighted(struct trib_net *net, const float *params,
                                  const struct trib_batch *batch, struct trib_rng *dropout,
                                  float *ret_gradient);

// One step of plain gradient descent, straight into the parameters and without a vector for the
// gradient: params = keep * params - rate * gradient, each rounded as docs/models.md says. Returns
// the mean loss before it.
struct trib_net_step {
    float rate, keep; // keep: 1, or less for a weight decay
    float *space;     // (param_count), for layers that do not step in place; else NULL will do
};
double trib_net_step(struct trib_net *net, float *params, const struct trib_batch *batch,
                     struct trib_rng *dropout, const struct trib_net_step *step);

// Do all layers step in place?
bool trib_net_steps_in_place(const struct trib_net *net);

// The weighted sum of the losses of the rows.
double trib_net_loss_weighted(struct trib_net *net, const float *params,
                              const struct trib_batch *batch);

// The sum of the losses of the rows, for evaluation.
double trib_net_loss_sum(struct trib_net *net, const float *params, const float *x, const float *y,
                         size_t rows, const float **ret_outputs);

#endif // TRIB_MATH_NET_H
