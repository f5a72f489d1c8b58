// linear.h - steps of models with one layer and one output: regression and logistic regression.
//
// There is so little to compute for each number of a row that copying it would cost as much: the
// rows stay where they are.
#ifndef TRIB_MATH_LINEAR_H
#define TRIB_MATH_LINEAR_H

#include <stdbool.h>
#include <stddef.h>

#include "common/math/kernels.h"
#include "common/math/model.h"
#include "common/math/net.h"

// Is `model` nothing but dense 1 linear or dense 1 sigmoid?
bool trib_model_is_linear(const struct trib_model *model);

// Like trib_net_step, for rows that lie apart. Of `batch` only y, weights and rows are read;
// `space` (rows) is written.
double trib_linear_step(const struct trib_model *model, float *params, const struct trib_rows *x,
                        const struct trib_batch *batch, const struct trib_net_step *step,
                        float *space);

#endif // TRIB_MATH_LINEAR_H
