// eigen.h - eigenvalues and eigenvectors of a small symmetric matrix.
#ifndef TRIB_MATH_EIGEN_H
#define TRIB_MATH_EIGEN_H

#include <stddef.h>

// Jacobi's method with cyclic sweeps (Jacobi 1846; Golub & Van Loan 2013, 8.5). `a` (n, n)
// row-major is overwritten. values (n): from the largest down. vectors (n, n) row-major: row i
// belongs to value i, has length 1, and its entry of largest magnitude is positive, so that the
// same matrix gives the same rows.
void trib_eigen_symmetric(double *a, size_t n, double *ret_values, double *ret_vectors);

#endif // TRIB_MATH_EIGEN_H
