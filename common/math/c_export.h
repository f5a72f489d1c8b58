// c_export.h - a model as one C99 file that needs nothing but <math.h>.
//
// It holds the parameters as hexadecimal floats, which are exact, and one function:
//
//     void NAME_predict(const float *x, float *y);   // x (inputs), y (outputs)
//
// with `enum { NAME_inputs = ..., NAME_outputs = ... }` beside it. No heap, no state: hidden layers
// are on the stack.
#ifndef TRIB_MATH_C_EXPORT_H
#define TRIB_MATH_C_EXPORT_H

#include "common/base/buf.h"
#include "common/math/model.h"

// Append a whole file. `name` becomes an identifier: what cannot be in one is replaced by '_'.
void trib_c_export_write(const struct trib_model *model, const float *params, const char *name,
                         struct trib_buf *buf);

// Append the probability from which on a row is of class 1, as `const double NAME_threshold`.
void trib_c_export_threshold(const char *name, double threshold, struct trib_buf *buf);

#endif // TRIB_MATH_C_EXPORT_H
