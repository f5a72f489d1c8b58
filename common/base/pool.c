#include "common/base/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "pool"

struct trib_pool {
    struct trib_queue queue;
    unsigned count;
    pthread_t *threads;
    struct trib_work stop; // a worker that takes it puts it back for the next one and ends
};

static void *worker_main(void *user)
{
    struct trib_pool *pool = user;
    for (;;) {
        struct trib_work *work = (struct trib_work *)trib_queue_take(&pool->queue, UINT64_MAX);
        if (work == &pool->stop) {
            trib_queue_put(&pool->queue, &pool->stop.node);
            return NULL;
        }
        work->run(work);
    }
}

enum trib_err trib_pool_create(unsigned threads, struct trib_pool **ret_pool)
{
    if (threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        threads = cores > 0 ? (unsigned)cores : 1;
    }

    enum trib_err err = TRIB_ERR_NOMEM;
    struct trib_pool *pool = trib_alloc(sizeof(*pool));
    if (!pool)
        return TRIB_ERR_NOMEM;
    pool->threads = trib_alloc_array(threads, sizeof(*pool->threads));
    if (!pool->threads)
        goto failed;
    err = trib_queue_init(&pool->queue, false);
    if (err)
        goto failed;
    for (; pool->count < threads; pool->count++) {
        int failure = pthread_create(&pool->threads[pool->count], NULL, worker_main, pool);
        if (failure) {
            TRIB_ERROR("pthread_create: %s", strerror(failure));
            err = TRIB_ERR_IO;
            goto failed;
        }
    }
    *ret_pool = pool;
    return TRIB_OK;

failed:
    trib_pool_destroy(pool);
    return err;
}

void trib_pool_destroy(struct trib_pool *pool)
{
    if (!pool)
        return;
    if (pool->count > 0)
        trib_queue_put(&pool->queue, &pool->stop.node);
    for (unsigned i = 0; i < pool->count; i++)
        (void)pthread_join(pool->threads[i], NULL);
    if (pool->count > 0)
        (void)trib_queue_take(&pool->queue, 0); // the stop mark, put back by the last worker
    trib_queue_fini(&pool->queue);
    free(pool->threads);
    free(pool);
}

unsigned trib_pool_threads(const struct trib_pool *pool)
{
    return pool->count;
}

void trib_pool_submit(struct trib_pool *pool, struct trib_work *work)
{
    trib_queue_put(&pool->queue, &work->node);
}
