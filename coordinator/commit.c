#include "coordinator/commit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "commit"

struct trib_commit {
    struct trib_queue queue;
    struct trib_store *store; // borrowed from the caller of create
    pthread_t thread;
    struct trib_commit_op stop;
    bool is_dead; // a batch failed: nothing further is touched
    void (*fatal)(void *user);
    void *user;
    pthread_mutex_t lock; // of what follows
    struct trib_latency latencies[TRIB_COMMIT_PARTS];
};

// Count what has passed since *began_us, and begin anew.
static void note_latency(struct trib_commit *commit, enum trib_commit_part part, uint64_t *began_us)
{
    const uint64_t now_us = trib_clock_mono_us();
    (void)pthread_mutex_lock(&commit->lock);
    trib_latency_add(&commit->latencies[part], now_us - *began_us);
    (void)pthread_mutex_unlock(&commit->lock);
    *began_us = now_us;
}

void trib_commit_latencies(struct trib_commit *commit,
                           struct trib_latency ret_latencies[static TRIB_COMMIT_PARTS])
{
    (void)pthread_mutex_lock(&commit->lock);
    memcpy(ret_latencies, commit->latencies, sizeof(commit->latencies));
    (void)pthread_mutex_unlock(&commit->lock);
}

static enum trib_err apply_one(struct trib_commit *commit, struct trib_commit_op *op)
{
    if (op->result || !op->apply)
        return TRIB_OK;
    enum trib_err err = trib_store_savepoint(commit->store);
    if (err)
        return err;
    op->result = op->apply(op, commit->store);
    if (op->result == TRIB_ERR_STATE) { // a constraint: this one alone did not happen
        trib_store_undo(commit->store);
        return TRIB_OK;
    }
    return op->result ? op->result : trib_store_release(commit->store);
}

static enum trib_err commit_batch(struct trib_commit *commit, struct trib_commit_op **ops,
                                  size_t count)
{
    bool is_needed = false;
    bool has_files = false;
    uint64_t began_us = trib_clock_mono_us();
    for (size_t i = 0; i < count; i++) {
        ops[i]->result = ops[i]->prepare ? ops[i]->prepare(ops[i]) : TRIB_OK;
        is_needed = is_needed || ops[i]->apply;
        has_files = has_files || ops[i]->prepare;
        if (ops[i]->result == TRIB_ERR_IO)
            return TRIB_ERR_IO; // a file is not durable: nothing of this batch may be promised
    }
    if (has_files)
        note_latency(commit, TRIB_COMMIT_FILES, &began_us);
    if (!is_needed)
        return TRIB_OK;
    TRIB_CRASH_POINT("commit.prepared");
    enum trib_err err = trib_store_begin(commit->store);
    for (size_t i = 0; i < count && !err; i++)
        err = apply_one(commit, ops[i]);
    TRIB_CRASH_POINT("commit.applied");
    if (!err)
        err = trib_store_commit(commit->store);
    TRIB_CRASH_POINT("commit.durable");
    note_latency(commit, TRIB_COMMIT_LEDGER, &began_us);
    return err;
}

static void *thread_main(void *user)
{
    struct trib_commit *commit = user;
    for (bool is_over = false; !is_over;) {
        struct trib_commit_op *ops[TRIB_COMMIT_BATCH_MAX];
        size_t count = 0;
        uint64_t wait = UINT64_MAX;
        while (count < TRIB_COMMIT_BATCH_MAX && !is_over) {
            struct trib_commit_op *op =
                (struct trib_commit_op *)trib_queue_take(&commit->queue, wait);
            if (!op)
                break;
            if (op == &commit->stop)
                is_over = true;
            else
                ops[count++] = op;
            wait = 0;
        }
        if (count == 0)
            continue;
        if (!commit->is_dead && commit_batch(commit, ops, count)) {
            TRIB_ERROR(
                "id=store-failed cannot make a batch durable; stopping to recover from disk");
            commit->is_dead = true;
            commit->fatal(commit->user);
        }
        for (size_t i = 0; i < count; i++) {
            if (commit->is_dead)
                ops[i]->result = TRIB_ERR_IO; // nobody may act on it
            ops[i]->done(ops[i]);
        }
    }
    return NULL;
}

enum trib_err trib_commit_create(struct trib_store *store, void (*fatal)(void *user), void *user,
                                 struct trib_commit **ret_commit)
{
    struct trib_commit *commit = trib_alloc(sizeof(*commit));
    if (!commit)
        return TRIB_ERR_NOMEM;
    commit->store = store;
    commit->fatal = fatal;
    commit->user = user;
    (void)pthread_mutex_init(&commit->lock, NULL);
    enum trib_err err = trib_queue_init(&commit->queue, false);
    if (!err) {
        int failed = pthread_create(&commit->thread, NULL, thread_main, commit);
        if (failed) {
            TRIB_ERROR("pthread_create: %s", strerror(failed));
            trib_queue_fini(&commit->queue);
            err = TRIB_ERR_IO;
        }
    }
    if (err) {
        (void)pthread_mutex_destroy(&commit->lock);
        free(commit);
        return err;
    }
    *ret_commit = commit;
    return TRIB_OK;
}

void trib_commit_submit(struct trib_commit *commit, struct trib_commit_op *op)
{
    trib_queue_put(&commit->queue, &op->node);
}

void trib_commit_destroy(struct trib_commit *commit)
{
    if (!commit)
        return;
    trib_queue_put(&commit->queue, &commit->stop.node);
    (void)pthread_join(commit->thread, NULL);
    trib_queue_fini(&commit->queue);
    (void)pthread_mutex_destroy(&commit->lock);
    free(commit);
}
