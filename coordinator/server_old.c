// Files of old versions go, when store.keep_versions says so. Rows first (store_old.h); files only
// when nobody can need them: no backup is running, which copies files that an older store names, and
// no version is being made, whose parameters may be those of an old one. What a device fetches is the
// newest version, from memory.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "coordinator/newton_path.h"
#include "coordinator/server_state.h"
#include "coordinator/strategy.h"

#define TRIB_LOG_MODULE "store"

struct old_op {
    struct trib_server_op op;
    struct trib_store_pins pins;
    struct trib_store_old old;
    uint64_t head;
};

static enum trib_err drop_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct old_op *op = (struct old_op *)commit_op;
    enum trib_err err = trib_store_old_drop(store, &op->pins, trib_clock_wall_ms(), &op->old);
    TRIB_CRASH_POINT("old.rows");
    return err;
}

static void drop_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct old_op *op = (struct old_op *)server_op;
    TRIB_CRASH_POINT("old.durable");
    server->old_in_flight = false;
    if (!op->op.op.result) {
        server->old = op->old;
        const uint64_t job = server->job ? server->job->id : 0; // one that has ended holds nothing
        if (op->old.count < TRIB_STORE_OLD_MAX && op->pins.job == job)
            server->old_seen = op->head;
    }
    free(op);
}

static enum trib_err sweep_prepare(struct trib_commit_op *commit_op)
{
    struct old_op *op = (struct old_op *)commit_op;
    const struct trib_server *server = op->op.server;
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < op->old.count && !err; i++) {
        char path[TRIB_PATH_MAX + 1];
        bool is_kept = true;
        err = trib_store_digest_is_kept(server->store, op->old.digests[i], &is_kept);
        if (!err && !is_kept)
            err = trib_version_path(server->dir, op->old.digests[i], path);
        if (!err && !is_kept)
            err = trib_file_remove(path);
        TRIB_CRASH_POINT("old.file");
    }
    return err;
}

static void sweep_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct old_op *op = (struct old_op *)server_op;
    server->old_in_flight = false;
    TRIB_DEBUG("files of %zu versions are gone or shared", op->old.count);
    free(op);
}

// Is a version on its way to the disk, or a copy on its way from it?
static bool is_busy(const struct trib_server *server)
{
    const struct trib_active_job *job = server->job;
    return server->backups > 0 || (server->run && server->run->is_ending) ||
           (job && (job->is_starting || job->is_ending));
}

static struct trib_store_pins pins_of(const struct trib_server *server)
{
    const struct trib_active_job *active = server->job;
    struct trib_store_pins pins = {.keep = server->config.keep_versions};
    if (!active)
        return pins;
    const struct trib_job *job = &active->job;
    const uint64_t tail = trib_job_tail(job);
    const uint64_t start = active->row.start_version;
    pins.versions[0] = start; // what the gate brings back, or the one before it
    pins.versions[1] = start > 0 ? start - 1 : 0;
    pins.versions[2] = job->config.model_init_version;
    pins.versions[3] = active->newton ? active->newton->good.version : 0;
    pins.job = active->id;
    pins.higher_is_better = trib_job_higher_is_better(job);
    pins.tail_from = tail > 0 ? job->config.rounds - tail + 1 : INT64_MAX;
    return pins;
}

void trib_old_tick(struct trib_server *server)
{
    const uint64_t head = server->head ? server->head->manifest.version : 0;
    const bool sweeps = server->old.count > 0;
    if (server->config.keep_versions == 0 || server->old_in_flight ||
        (sweeps ? is_busy(server) : server->old_seen == head))
        return;
    struct old_op *op = trib_alloc(sizeof(*op));
    if (!op)
        return; // with the next tick
    if (sweeps) {
        op->old = server->old;
        server->old.count = 0;
        op->op.op.prepare = sweep_prepare;
        op->op.finish = sweep_finish;
    } else {
        op->pins = pins_of(server);
        op->head = head;
        op->op.op.apply = drop_apply;
        op->op.finish = drop_finish;
    }
    server->old_in_flight = true;
    trib_server_submit(server, &op->op);
}
