// activation.h - what a layer does to each of its outputs.
#ifndef TRIB_MATH_ACTIVATION_H
#define TRIB_MATH_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>

#include "common/math/model.h"

// relu, tanh, sigmoid, softmax, linear.
const char *trib_activation_text(enum trib_activation activation);
bool trib_activation_find(const char *word, enum trib_activation *ret_activation);

// a = f(z) in place over z (rows, width).
void trib_activate(enum trib_activation activation, float *z, size_t rows, size_t width);

// delta (count) *= f'(z), with f' written in terms of a = f(z). Nothing for softmax: it is the last
// layer's, where the loss takes care of it.
void trib_activation_derivative(enum trib_activation activation, const float *a, float *delta,
                                size_t count);

#endif // TRIB_MATH_ACTIVATION_H
