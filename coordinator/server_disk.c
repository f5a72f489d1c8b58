// Room on the disk: what a round needs, the reserve of a start, and whether there is room again for a
// coordinator whose disk was full and that has no job that would try.
#include <stdlib.h>

#include "common/base/alloc.h"
#include "coordinator/reserve.h"
#include "coordinator/server_state.h"

enum {
    TRY_MS = 3000,
    ROOM_BESIDE = 1 << 20,
};

// Model file and moments, old and new ones at once, and what else is written meanwhile.
uint64_t trib_disk_room_of_version(const struct trib_active_job *active)
{
    const uint64_t params = active->job.model.param_count;
    return ROOM_BESIDE + params * sizeof(float) +
           (active->moments ? 2 * params * sizeof(double) : 0);
}

void trib_disk_begin(struct trib_server *server)
{
    const uint64_t size = server->config.reserve;
    const bool is_needed =
        server->run && !trib_reserve_is_made(server->dir, size) &&
        trib_reserve_room(server->dir) < size + trib_disk_room_of_version(server->job);
    if (is_needed || trib_reserve_make(server->dir, size) == TRIB_ERR_LIMIT)
        server->disk_is_full = true; // it serves; rounds wait for room
}

static enum trib_err try_prepare(struct trib_commit_op *commit_op)
{
    const struct trib_server *server = ((struct trib_server_op *)commit_op)->server;
    return trib_reserve_make(server->dir, server->config.reserve);
}

static void try_finish(struct trib_server *server, struct trib_server_op *op)
{
    server->disk_is_full = op->op.result == TRIB_ERR_LIMIT;
    free(op);
}

void trib_disk_tick(struct trib_server *server, uint64_t now_ms)
{
    if (!server->disk_is_full || server->job || now_ms < server->disk_next_ms)
        return;
    server->disk_next_ms = now_ms + TRY_MS;
    struct trib_server_op *op = trib_alloc(sizeof(*op));
    if (!op)
        return; // in a while
    op->op.prepare = try_prepare;
    op->finish = try_finish;
    trib_server_submit(server, op);
}
