// The audit log is read through by the coordinator itself: from the start on, and again each day. A part
// at a time, so that nobody waits for it: 1,000 records a second are a few milliseconds of each.
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "coordinator/keys.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "audit"

enum {
    PART = 1000,    // records
    PART_MS = 1000, // from part to part
    PASS_MS = 86400000,
};

struct check_op {
    struct trib_server_op op;
    bool is_over;
};

// On the commit thread, which has `audit_check` while the operation is in flight.
static enum trib_err check_prepare(struct trib_commit_op *commit_op)
{
    struct check_op *op = (struct check_op *)commit_op;
    struct trib_server *server = op->op.server;
    return trib_store_audit_check_part(server->store, &server->audit_check, PART, &op->is_over);
}

static void check_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct check_op *op = (struct check_op *)server_op;
    const struct trib_audit_check *check = &server->audit_check;
    server->audit_in_flight = false;
    if (op->op.op.result) {
        trib_server_stop_failed(server);
    } else if (op->is_over) {
        if (check->is_broken)
            TRIB_ERROR("id=audit-broken %s", check->what);
        server->audit_is_broken = check->is_broken;
        server->audit_checked = check->records;
        server->audit_has_begun = false;
        server->audit_next_ms += PASS_MS;
    }
    free(op);
}

void trib_audit_tick(struct trib_server *server, uint64_t now_ms)
{
    if (server->audit_in_flight || now_ms < server->audit_next_ms)
        return;
    struct check_op *op = trib_alloc(sizeof(*op));
    if (!op)
        return; // with the next tick
    if (!server->audit_has_begun)
        trib_keys_audit_check(&server->identity, &server->audit_check);
    server->audit_has_begun = true;
    server->audit_in_flight = true;
    server->audit_next_ms = now_ms + PART_MS;
    op->op.op.prepare = check_prepare;
    op->op.finish = check_finish;
    trib_server_submit(server, &op->op);
}
