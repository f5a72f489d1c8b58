// kernels.h - the inner loops of training, for the instruction set at hand.
//
// One source, compiled for AVX-512, for AVX2 with FMA, for NEON and for plain C. Which of them is
// chosen once, by what the processor says it can do, never by its model number; TRIB_KERNEL=NAME in
// the environment chooses another one, or OpenBLAS (blas.h). All of ours but the plain one give the
// same bits: each element is made by the same operations in the same order (docs/models.md). None
// of ours allocates memory, and all may be called by several threads at once.
#ifndef TRIB_MATH_KERNELS_H
#define TRIB_MATH_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

// c (m,n) = epilogue(alpha * sum + base), row-major, where base is
//     bias (n) when there is one, else beta * c, and nothing is read from c when beta is 0.
// The epilogue sets to 0 what is not positive (is_relu), or wherever `gate`, of c's shape and row
// stride, is not positive. Matrices never overlap, but `gate` may be c.
//
// products: sum_ij = sum over q < k2, p < k of
//               a[i * a_row + p * a_step + q * a_step2] * b[p * b_row + q * b_row2 + j].
//     Summed for each element in the order of q and p, one fused step each, from 0; with k2 = 1 in
//     spans of p (kernels_product.c) that are added to c one after another. a_row = 1 and a_step = its row stride
//     read a transposed. k2 is for convolutions without a copy of the image: p goes along a row of
//     the window, q over its rows.
// dots: sum_ij = sum over p < k of a[i * a_row + p] * b[j * b_row + p], in sixteen sums of every
//     sixteenth product, which are then added in halves: s_i + s_i+8, + 4, + 2, + 1. Long sums are
//     made in spans too. k2 is 1.
struct trib_product {
    int m, n, k, k2; // k2: at least 1
    const float *a;
    ptrdiff_t a_row, a_step, a_step2;
    const float *b;
    ptrdiff_t b_row, b_row2;
    float *c;
    ptrdiff_t c_row;
    float alpha, beta;
    const float *bias; // (n) or NULL
    const float *gate; // or NULL
    bool is_relu;
};

// The rows of a batch at the end of a classifier.
struct trib_softmax {
    int rows, width;
    float *z;             // (rows, width): logits; becomes dLoss/dz
    const float *labels;  // (rows): 0 .. width - 1
    const float *weights; // (rows) or NULL: all 1
    float scale;          // of the gradient: 1 / rows for that of the mean
};

// Rows of one length that lie apart.
struct trib_rows {
    int count, width;
    const float *const *x;    // (count) of (width)
    const float *const *next; // (count): rows soon needed, to be fetched meanwhile; NULL: none
};

// A row of squares side by side in a picture whose channels lie last.
struct trib_pool {
    int count, side, channels;
    const float *x;  // (side, count * side, channels), the rows x_row apart
    ptrdiff_t x_row; // at least count * side * channels
};

struct trib_unpool {
    struct trib_pool pool;
    const float *largest; // (count, channels): what pooling found
    const float *delta;   // (count, channels): dLoss/dlargest
    float *below;         // dLoss/dx, laid out like x
    bool is_gated;        // 0 also where x is not positive
};

struct trib_kernels {
    const char *name; // "avx512", "avx2", "neon", "plain"; "openblas"
    void (*products)(const struct trib_product *product);
    void (*dots)(const struct trib_product *product);

    // z = weight * scale * (softmax(z) - onehot(label)). Returns the sum of weight * cross-entropy,
    // each to within 1e-6 + 2^-22 of it; not finite when a logit is not.
    double (*softmax_loss)(const struct trib_softmax *softmax);

    // e^z for z <= 0, in place: relative error below 2^-22; where z < -87 it is e^-87. NaN stays.
    void (*exps)(float *z, size_t count);

    // 1 / (1 + e^-z), in place, relative error below 2^-21 where z >= -87.
    void (*sigmoids)(float *z, size_t count);

    // ret_dots (count): of each row with w (width), summed as `dots` sums a span.
    void (*row_dots)(const struct trib_rows *rows, const float *w, float *ret_dots);

    // w = beta * w + sum of factors_i * x_i, in the order of the rows, one fused step each.
    void (*row_steps)(const struct trib_rows *rows, const float *factors, float beta, float *w);

    // largest (count, channels): of each square and channel the largest number.
    void (*pool)(const struct trib_pool *pool, float *ret_largest);

    // `below` of the whole squares: of several equal numbers the first in row-major order counts.
    void (*unpool)(const struct trib_unpool *unpool);
};

// Those of this process: chosen at the first call, which says in the log which. Any thread.
const struct trib_kernels *trib_kernels(void);

// Do several threads compute at once? OpenBLAS has a build in which they take turns.
bool trib_kernels_are_concurrent(void);

// By name, for tests and measurements; NULL: not built in, or this processor cannot.
const struct trib_kernels *trib_kernels_find(const char *name);

#endif // TRIB_MATH_KERNELS_H
