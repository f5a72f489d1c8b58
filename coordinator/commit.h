// commit.h - the thread that owns the store and every fsync.
//
// The state thread hands in operations and gets them back, in order, when what they ask for is
// durable. Operations that wait together share one transaction (group commit): while one batch is
// being synced the next one gathers, so nobody waits on purpose.
//
// An operation's `prepare` runs before the transaction (files: write, fsync, rename), its `apply`
// inside it. An `apply` that fails with TRIB_ERR_STATE is undone alone and says so in `result`;
// any other failure, and a failed fsync or COMMIT, ends the process: what is on disk is the truth,
// and a restart begins from it (docs/durability.md).
#ifndef TRIB_COORDINATOR_COMMIT_H
#define TRIB_COORDINATOR_COMMIT_H

#include "common/base/queue.h"
#include "coordinator/latency.h"
#include "coordinator/store.h"
#include "tributary/err.h"

enum {
    TRIB_COMMIT_BATCH_MAX = 64 // operations in one transaction
};

struct trib_commit;

struct trib_commit_op {
    struct trib_node node; // first; the commit thread's until `done`
    // Both optional. `prepare` may fail with any error, which is then the operation's result.
    enum trib_err (*prepare)(struct trib_commit_op *op);
    enum trib_err (*apply)(struct trib_commit_op *op, struct trib_store *store);
    // On the commit thread, after the transaction: hand the operation back.
    void (*done)(struct trib_commit_op *op);
    enum trib_err result;
};

// What a group commit waits for: files that are to be durable first, then the transaction.
enum trib_commit_part {
    TRIB_COMMIT_FILES,
    TRIB_COMMIT_LEDGER,
    TRIB_COMMIT_PARTS,
};

// Takes the store into its thread. `fatal` is called on that thread when it cannot go on.
TRIB_CHECKED enum trib_err trib_commit_create(struct trib_store *store, void (*fatal)(void *user),
                                              void *user, struct trib_commit **ret_commit);
void trib_commit_submit(struct trib_commit *commit, struct trib_commit_op *op);
// How long batches took so far. Any thread.
void trib_commit_latencies(struct trib_commit *commit,
                           struct trib_latency ret_latencies[static TRIB_COMMIT_PARTS]);
// Finishes what was submitted, then ends the thread. The store is the caller's again.
void trib_commit_destroy(struct trib_commit *commit);

#endif // TRIB_COORDINATOR_COMMIT_H
