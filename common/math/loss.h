// loss.h - what a model's outputs cost, in double and from the logits, so that nothing overflows
// and no logarithm is taken of 0.
#ifndef TRIB_MATH_LOSS_H
#define TRIB_MATH_LOSS_H

#include "common/math/model.h"
#include "common/math/net.h"

// The weighted sum over the rows of `batch`, whose x is not read; logits (rows, outputs).
double trib_loss_sum(const struct trib_model *model, const float *logits,
                     const struct trib_batch *batch);

#endif // TRIB_MATH_LOSS_H
