// When devices were last there: noted as they come and go, and written from time to time.
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "coordinator/seen.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "seen"

struct seen_row {
    uint64_t id;
    uint64_t seen_ms;
};

struct seen_op {
    struct trib_server_op op;
    struct seen_row *rows; // owned
    size_t count;
};

void trib_seen_note(struct trib_peer *peer)
{
    peer->seen_ms = trib_clock_wall_ms();
}

uint64_t trib_seen_ms(const struct trib_peer *peer, uint64_t wall_ms)
{
    return peer->live && peer->live->is_ready ? wall_ms : peer->seen_ms;
}

bool trib_peer_is_stale(const struct trib_server *server, const struct trib_peer *peer,
                        uint64_t wall_ms)
{
    return !peer->row.is_revoked &&
           trib_seen_is_stale(trib_seen_ms(peer, wall_ms), wall_ms, server->config.stale_days);
}

static enum trib_err seen_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct seen_op *op = (struct seen_op *)commit_op;
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; !err && i < op->count; i++)
        err = trib_store_device_seen(store, op->rows[i].id, op->rows[i].seen_ms);
    return err;
}

static void seen_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct seen_op *op = (struct seen_op *)server_op;
    for (size_t i = 0; op->op.op.result == TRIB_OK && i < op->count; i++)
        trib_peers_by_id(server->peers, op->rows[i].id)->row.seen_ms = op->rows[i].seen_ms;
    free(op->rows);
    free(op);
}

static void write_seen(struct trib_server *server)
{
    const uint64_t wall_ms = trib_clock_wall_ms();
    const size_t devices = trib_peers_count(server->peers);
    struct seen_op *op = trib_alloc(sizeof(*op));
    struct seen_row *rows = trib_alloc_array(devices + 1, sizeof(*rows));
    if (!op || !rows) {
        free(op);
        free(rows);
        return; // the next look finds them again
    }
    op->rows = rows;
    for (size_t i = 0; i < devices; i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        const uint64_t seen_ms = trib_seen_ms(peer, wall_ms);
        if (trib_seen_is_news(seen_ms, peer->row.seen_ms, server->config.stale_days))
            rows[op->count++] = (struct seen_row){peer->row.id, seen_ms};
    }
    op->op.op.apply = seen_apply;
    op->op.finish = seen_finish;
    if (op->count > 0) {
        trib_server_submit(server, &op->op);
    } else {
        free(rows);
        free(op);
    }
}

void trib_seen_tick(struct trib_server *server, uint64_t now_ms)
{
    if (now_ms < server->seen_next_ms)
        return;
    if (server->seen_next_ms > 0) // not while the coordinator starts
        write_seen(server);
    server->seen_next_ms = now_ms + trib_seen_sweep_ms(server->config.stale_days);
}
