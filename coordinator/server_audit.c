// What the coordinator itself puts in the audit log.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "audit"

enum {
    TEXT_SIZE = 256,
};

static enum trib_err record_own(struct trib_store *store, const char *action, const char *subject,
                                const char *outcome)
{
    const struct trib_audit_record record = {.time_ms = trib_clock_wall_ms(),
                                             .actor = "coordinator",
                                             .role = "coordinator",
                                             .action = action,
                                             .subject = subject,
                                             .outcome = outcome};
    return trib_store_audit(store, &record);
}

enum trib_err trib_audit_version(struct trib_store *store, const struct trib_store_version *row)
{
    char subject[TEXT_SIZE];
    char digest[TRIB_DIGEST_TEXT_SIZE];
    trib_hex_encode(row->digest, TRIB_DIGEST_SIZE, digest);
    (void)snprintf(subject, sizeof(subject),
                   "%" PRIu64 ".%" PRIu64 " kind=%s job=%" PRIu64 " round=%" PRIu64 " digest=%s",
                   row->generation, row->version, row->kind, row->job, row->round_number, digest);
    return record_own(store, "version published", subject, "ok");
}

enum trib_err trib_audit_abandoned(struct trib_store *store, const struct trib_round_result *result)
{
    char subject[TEXT_SIZE];
    (void)snprintf(subject, sizeof(subject),
                   "id=%" PRIu64 " round=%" PRIu64 " accepted=%" PRIu64 "/%" PRIu64, result->id,
                   result->round, result->accepted, result->asked);
    return record_own(store, "round abandoned", subject, result->reason);
}

enum trib_err trib_audit_enrolment(struct trib_store *store, const struct trib_store_device *row,
                                   const char *how)
{
    char subject[TEXT_SIZE];
    char key[TRIB_KEY_TEXT_SIZE];
    trib_base64_encode(row->key, sizeof(row->key), key);
    (void)snprintf(subject, sizeof(subject), "%s key=%s by=%s", row->name, key, how);
    const struct trib_audit_record record = {.time_ms = trib_clock_wall_ms(),
                                             .actor = row->name,
                                             .role = "device",
                                             .action = "enrol",
                                             .subject = subject,
                                             .outcome = "ok"};
    return trib_store_audit(store, &record);
}

// ---- What no transaction belongs to

struct device_op {
    struct trib_server_op op;
    char device[TRIB_NAME_MAX + 1];
    const char *action, *outcome;
    char subject[TEXT_SIZE];
};

static enum trib_err device_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct device_op *op = (struct device_op *)commit_op;
    const struct trib_audit_record record = {.time_ms = trib_clock_wall_ms(),
                                             .actor = op->device,
                                             .role = "device",
                                             .action = op->action,
                                             .subject = op->subject,
                                             .outcome = op->outcome};
    return trib_store_audit(store, &record);
}

static void device_finish(struct trib_server *server, struct trib_server_op *op)
{
    (void)server;
    free(op);
}

bool trib_audit_device(struct trib_server *server, const struct trib_peer *peer, const char *action,
                       const char *subject, const char *outcome)
{
    struct device_op *op = trib_alloc(sizeof(*op));
    if (!op)
        return false;
    memcpy(op->device, peer->row.name, sizeof(op->device));
    (void)snprintf(op->subject, sizeof(op->subject), "%s", subject);
    op->action = action;
    op->outcome = outcome;
    op->op.op.apply = device_apply;
    op->op.finish = device_finish;
    trib_server_submit(server, &op->op);
    return true;
}

void trib_audit_conflict(struct trib_server *server, struct trib_peer *peer, uint64_t round_id)
{
    char subject[TEXT_SIZE];
    TRIB_WARN("id=update-conflict device=%s sends other bytes under an old update id",
              peer->row.name);
    if (peer->conflict_round == server->last_round_id)
        return; // a device cannot fill the log
    (void)snprintf(subject, sizeof(subject), "round id=%" PRIu64, round_id);
    if (trib_audit_device(server, peer, "upload", subject, "CONFLICT: other bytes under an old id"))
        peer->conflict_round = server->last_round_id; // without memory the next one is recorded
}

enum trib_err trib_audit_life(struct trib_server *server, const char *action)
{
    char subject[TEXT_SIZE];
    (void)snprintf(subject, sizeof(subject), "version=%" PRIu64 ".%" PRIu64, server->generation,
                   server->head ? server->head->manifest.version : (uint64_t)0);
    enum trib_err err = trib_store_begin(server->store);
    if (!err)
        err = record_own(server->store, action, subject, "ok");
    if (!err)
        err = trib_store_audit_checkpoint(server->store);
    return err ? err : trib_store_commit(server->store);
}
