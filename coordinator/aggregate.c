#include "coordinator/aggregate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/wire/codec.h"

#define TRIB_LOG_MODULE "aggregate"

enum {
    // Three checksum blocks: whole words of 16, 24 and 32 bits, and sums that stay in the L2 cache.
    BLOCK_BYTES = 3 * TRIB_SEGMENT_BLOCK,
};

size_t trib_aggregate_block(uint32_t word_bits)
{
    return (size_t)BLOCK_BYTES * 8 / word_bits;
}

double trib_aggregate_rms(const float *values, size_t count)
{
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += (double)values[i] * (double)values[i];
    return sqrt(squares / (double)count);
}

void trib_aggregate_mean(const int64_t *sums, size_t count, double grid, uint64_t total_weight,
                         float *ret_mean)
{
    for (size_t i = 0; i < count; i++)
        ret_mean[i] = (float)((double)sums[i] * grid / (double)total_weight);
}

struct run {
    const struct trib_aggregate_plan *plan;
    struct trib_segment *segment;
    uint64_t total_weight;
    size_t next_block; // atomic: threads take blocks until none is left
    int err;           // atomic, enum trib_err: the first failure
    float *mean;
};

struct worker {
    struct run *run;
    uint8_t *packed; // (BLOCK_BYTES)
    int64_t *sums;   // (words of a block)
};

static enum trib_err add_member(struct worker *worker, const struct trib_aggregate_member *member,
                                size_t offset, size_t size)
{
    const struct run *run = worker->run;
    enum trib_err err = trib_segment_read(run->segment, member->slot, offset, worker->packed, size);
    if (err)
        return err;
    for (size_t at = 0; at < size; at += TRIB_SEGMENT_BLOCK) {
        size_t part = size - at < TRIB_SEGMENT_BLOCK ? size - at : TRIB_SEGMENT_BLOCK;
        size_t block = (offset + at) / TRIB_SEGMENT_BLOCK;
        if (trib_crc32c(0, worker->packed + at, part) != member->checksums[block]) {
            TRIB_ERROR(
                "id=segment-corrupt round=%llu slot=%u block=%zu does not match its checksum",
                (unsigned long long)trib_segment_round(run->segment), member->slot, block);
            return TRIB_ERR_CORRUPT;
        }
    }
    trib_codec_add(worker->packed, size * 8 / run->plan->word_bits, run->plan->word_bits,
                   member->weight, worker->sums);
    return TRIB_OK;
}

static enum trib_err do_block(struct worker *worker, size_t block)
{
    const struct run *run = worker->run;
    const struct trib_aggregate_plan *plan = run->plan;
    const size_t total = trib_codec_size(plan->params, plan->word_bits);
    const size_t offset = block * BLOCK_BYTES;
    const size_t size = total - offset < BLOCK_BYTES ? total - offset : BLOCK_BYTES;
    const size_t words = size * 8 / plan->word_bits;

    memset(worker->sums, 0, words * sizeof(*worker->sums));
    for (uint32_t i = 0; i < plan->count; i++) {
        enum trib_err err = add_member(worker, &plan->members[i], offset, size);
        if (err)
            return err;
    }
    const size_t begin = offset * 8 / plan->word_bits;
    if (plan->finish)
        plan->finish(plan->finish_user, begin, words, worker->sums);
    if (plan->sums)
        memcpy(plan->sums + begin, worker->sums, words * sizeof(*worker->sums));
    else
        trib_aggregate_mean(worker->sums, words, plan->grid, run->total_weight, run->mean + begin);
    return TRIB_OK;
}

static void *worker_main(void *user)
{
    struct worker *worker = user;
    struct run *run = worker->run;
    const size_t total = trib_codec_size(run->plan->params, run->plan->word_bits);
    const size_t blocks = (total + BLOCK_BYTES - 1) / BLOCK_BYTES;
    while (!__atomic_load_n(&run->err, __ATOMIC_RELAXED)) {
        size_t block = __atomic_fetch_add(&run->next_block, 1, __ATOMIC_RELAXED);
        if (block >= blocks)
            break;
        enum trib_err err = do_block(worker, block);
        if (err)
            __atomic_store_n(&run->err, (int)err, __ATOMIC_RELAXED);
    }
    return NULL;
}

enum {
    THREADS_MAX = 64
};

enum trib_err trib_aggregate_segment(const struct trib_aggregate_plan *plan,
                                     struct trib_segment *segment, unsigned threads,
                                     float *ret_mean)
{
    struct run run = {.plan = plan, .segment = segment, .mean = ret_mean};
    struct worker workers[THREADS_MAX] = {{.run = NULL}};
    pthread_t ids[THREADS_MAX];
    bool is_running[THREADS_MAX] = {false};

    assert(plan->count > 0 && threads >= 1);
    const size_t total = trib_codec_size(plan->params, plan->word_bits);
    const size_t blocks = (total + BLOCK_BYTES - 1) / BLOCK_BYTES;
    const size_t bytes = total < BLOCK_BYTES ? total : BLOCK_BYTES; // of the largest block
    threads = threads > THREADS_MAX ? THREADS_MAX : threads;
    threads = threads > blocks ? (unsigned)blocks : threads;
    for (uint32_t i = 0; i < plan->count; i++)
        run.total_weight += plan->members[i].weight;
    assert(run.total_weight > 0 && run.total_weight >> TRIB_WEIGHT_SUM_BITS == 0);

    for (unsigned t = 0; t < threads && !run.err; t++) {
        workers[t].run = &run;
        workers[t].packed = trib_alloc_aligned(bytes, 1);
        workers[t].sums = trib_alloc_aligned(bytes * 8 / plan->word_bits, sizeof(int64_t));
        if (!workers[t].packed || !workers[t].sums)
            run.err = TRIB_ERR_NOMEM;
    }
    if (!run.err) {
        for (unsigned t = 1; t < threads; t++)
            is_running[t] = pthread_create(&ids[t], NULL, worker_main, &workers[t]) == 0;
        (void)worker_main(&workers[0]); // whoever did not start is made up for here
    }
    for (unsigned t = 0; t < threads; t++) {
        if (is_running[t])
            (void)pthread_join(ids[t], NULL);
        free(workers[t].packed);
        free(workers[t].sums);
    }
    return (enum trib_err)run.err;
}

enum trib_err trib_sums_init(struct trib_sums *sums, size_t params)
{
    *sums = (struct trib_sums){.params = params, .capacity = params};
    sums->sums = trib_alloc_aligned(params, sizeof(*sums->sums));
    return sums->sums ? TRIB_OK : TRIB_ERR_NOMEM;
}

void trib_sums_reset(struct trib_sums *sums, size_t params)
{
    assert(params <= sums->capacity);
    sums->params = params;
    memset(sums->sums, 0, sums->params * sizeof(*sums->sums));
    sums->total_weight = 0;
}

void trib_sums_add(struct trib_sums *sums, const int32_t *words, uint32_t weight)
{
    sums->total_weight += weight;
    assert(sums->total_weight >> TRIB_WEIGHT_SUM_BITS == 0);
    trib_codec_add_words(words, sums->params, weight, sums->sums);
}

void trib_sums_finish(struct trib_sums *sums, uint32_t word_bits, trib_aggregate_finish_fn finish,
                      void *user)
{
    const size_t block = trib_aggregate_block(word_bits);
    for (size_t begin = 0; begin < sums->params; begin += block) {
        size_t left = sums->params - begin;
        finish(user, begin, left < block ? left : block, sums->sums + begin);
    }
}

void trib_sums_mean(const struct trib_sums *sums, double grid, float *ret_mean)
{
    assert(sums->total_weight > 0);
    trib_aggregate_mean(sums->sums, sums->params, grid, sums->total_weight, ret_mean);
}

void trib_sums_fini(struct trib_sums *sums)
{
    free(sums->sums);
    *sums = (struct trib_sums){0};
}
