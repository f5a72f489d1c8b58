// blas.h - the one seam to matrix products.
//
// With -Dblas=openblas the products are OpenBLAS's, on one thread: parallelism is across clients,
// never inside a small product (docs/architecture.md). With -Dblas=plain, or when the library is not there,
// they are plain C. For one build, machine and choice of kernels the bits are always the same.
#ifndef TRIB_MATH_BLAS_H
#define TRIB_MATH_BLAS_H

#include <stdbool.h>

// Choose and load the kernels, once, and say in the log which. Called by itself at the first
// product; call it earlier to pay the few milliseconds elsewhere. Any thread.
void trib_blas_init(void);

// "openblas SkylakeX" or "plain".
const char *trib_blas_name(void);

// Do several threads multiply at once? Otherwise they take turns: the results are right all the same.
bool trib_blas_is_concurrent(void);

// c (m,n) = alpha * op(a) (m,k) * op(b) (k,n) + beta * c, all row-major; ld* are row strides.
struct trib_gemm {
    bool transpose_a, transpose_b;
    int m, n, k;
    float alpha, beta;
    const float *a;
    int lda;
    const float *b;
    int ldb;
    float *c;
    int ldc;
};
void trib_gemm(const struct trib_gemm *product);

#endif // TRIB_MATH_BLAS_H
