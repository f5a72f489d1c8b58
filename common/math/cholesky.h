// cholesky.h - linear systems with a symmetric positive definite matrix, in double.
//
// The matrix is scaled to a diagonal of ones first, which makes its condition about as small as any
// scaling can (van der Sluis 1969; Higham 2002, "Accuracy and Stability", section 10.1), so that
// the units of the variables do not matter.
#ifndef TRIB_MATH_CHOLESKY_H
#define TRIB_MATH_CHOLESKY_H

#include <stddef.h>

#include "tributary/err.h"

struct trib_cholesky {
    size_t n;
    double *factor;   // L of the scaled matrix, (n, n) row-major, its lower triangle; owned
    double *scale;    // (n), 1/sqrt of the diagonal; owned
    double condition; // estimate of that of the scaled matrix in the 1-norm
};

// Factor `matrix` ((n, n) row-major, its lower triangle is read). TRIB_ERR_DATA: it is not positive
// definite in double precision, or not finite. The condition is estimated from the factor (Hager
// 1984, Higham 1988, algorithm 2.4): never above the true one, and rarely below a third of it.
TRIB_CHECKED enum trib_err trib_cholesky_create(const double *matrix, size_t n,
                                                struct trib_cholesky *ret_cholesky);
void trib_cholesky_fini(struct trib_cholesky *cholesky);

// Solve for x in place: on entry the right-hand side (n).
void trib_cholesky_solve(const struct trib_cholesky *cholesky, double *x);

#endif // TRIB_MATH_CHOLESKY_H
