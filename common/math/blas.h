// blas.h - the one seam to OpenBLAS, as a set of kernels of its own (kernels.h).
//
// It is there in builds with -Dblas=openblas, and loaded only when TRIB_KERNEL=openblas asks for
// it. Its products are on one thread: parallelism is across clients, never inside a small product
// (docs/architecture.md). What it has no words for, and everything but products, is done by the
// best set of our own.
#ifndef TRIB_MATH_BLAS_H
#define TRIB_MATH_BLAS_H

#include <stdbool.h>

#include "common/math/kernels.h"

// `own`: the set for the rest. NULL after a line in the log: not built in, or cannot be loaded. Any
// thread; the first call decides.
const struct trib_kernels *trib_blas_kernels(const struct trib_kernels *own);

// "SkylakeX": the processor that the library works for; "" when it is not loaded.
const char *trib_blas_core(void);

// Do several threads multiply at once? Otherwise they take turns: the results are right all the
// same.
bool trib_blas_is_concurrent(void);

#endif // TRIB_MATH_BLAS_H
