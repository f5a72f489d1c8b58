// pool.h - a fixed number of threads that carry out work in the order it was handed in.
#ifndef TRIB_BASE_POOL_H
#define TRIB_BASE_POOL_H

#include "common/base/queue.h"
#include "tributary/err.h"

struct trib_pool;

struct trib_work {
    struct trib_node node; // the pool's until `run` is called
    void (*run)(struct trib_work *work);
};

// `threads` of 0: one for each core.
TRIB_CHECKED enum trib_err trib_pool_create(unsigned threads, struct trib_pool **ret_pool);
// Finishes what was handed in, then stops. NULL is fine.
void trib_pool_destroy(struct trib_pool *pool);
unsigned trib_pool_threads(const struct trib_pool *pool);
// May be called from any thread, also from inside work.
void trib_pool_submit(struct trib_pool *pool, struct trib_work *work);

#endif // TRIB_BASE_POOL_H
