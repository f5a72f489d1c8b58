// A coordinator whose disk was full, and that has no job that would try: is there room again?
#include <stdlib.h>

#include "common/base/alloc.h"
#include "coordinator/reserve.h"
#include "coordinator/server_state.h"

enum {
    TRY_MS = 3000
};

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
