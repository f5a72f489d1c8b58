// kernels_sets.h - the kernels of one instruction set, by their names in it.
#ifndef TRIB_MATH_KERNELS_SETS_H
#define TRIB_MATH_KERNELS_SETS_H

#include "common/math/kernels.h"

#define TRIB_KERNELS_DECLARE(set)                                                             \
    void trib_products_##set(const struct trib_product *product);                             \
    void trib_dots_##set(const struct trib_product *product);                                 \
    double trib_softmax_loss_##set(const struct trib_softmax *softmax);                       \
    void trib_exps_##set(float *z, size_t count);                                             \
    void trib_sigmoids_##set(float *z, size_t count);                                         \
    void trib_row_dots_##set(const struct trib_rows *rows, const float *w, float *ret_dots);  \
    void trib_row_steps_##set(const struct trib_rows *rows, const float *factors, float beta, \
                              float *w);                                                      \
    void trib_pool_##set(const struct trib_pool *pool, float *ret_largest);                   \
    void trib_unpool_##set(const struct trib_unpool *unpool)

TRIB_KERNELS_DECLARE(avx512);
TRIB_KERNELS_DECLARE(avx2);
TRIB_KERNELS_DECLARE(neon);
TRIB_KERNELS_DECLARE(plain);

#define TRIB_KERNELS_TABLE(set)                                                                  \
    {                                                                                            \
        .name = #set, .products = trib_products_##set, .dots = trib_dots_##set,                  \
        .softmax_loss = trib_softmax_loss_##set, .exps = trib_exps_##set,                        \
        .sigmoids = trib_sigmoids_##set, .row_dots = trib_row_dots_##set,                        \
        .row_steps = trib_row_steps_##set, .pool = trib_pool_##set, .unpool = trib_unpool_##set, \
    }

#endif // TRIB_MATH_KERNELS_SETS_H
