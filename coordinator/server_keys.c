// Other keys: devices are told of them, and the ones before are answered until they are retired.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "coordinator/keys.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "keys"

enum {
    LOOK_MS = 1000
};

void trib_server_keys_open(struct trib_server *server)
{
    const struct trib_identity *identity = &server->identity;
    for (uint32_t i = 0; i < identity->former_count; i++)
        trib_session_key_add(&server->former, identity->former[i].secret,
                             identity->former[i].public);
    if (identity->chain.count > 0)
        TRIB_INFO("keys statement=%u former=%u", identity->chain.count, identity->former_count);
}

// ---- Devices

void trib_server_keys_push(struct trib_session_link *session, uint64_t sequence)
{
    const struct trib_server *server = session->server;
    const struct trib_msg_keys *chain = &server->identity.chain;
    struct trib_peer *peer = session->peer;
    struct trib_buf packed = {0};
    peer->has_key_sequence = true;
    peer->key_sequence = sequence;
    if (sequence > chain->count && peer->keys_code != TRIB_CODE_KEYS_OLD) {
        TRIB_WARN("id=keys-ahead device=%s pins the keys of statement %" PRIu64 ", ours are those "
                  "of %u: was an older copy of this coordinator's keys put back?",
                  peer->row.name, sequence, chain->count);
        peer->keys_code = TRIB_CODE_KEYS_OLD;
    }
    if (sequence >= chain->count)
        return;
    struct trib_msg_keys *rest = trib_alloc(sizeof(*rest));
    if (!rest) {
        trib_server_close(session, TRIB_CLOSE_NOMEM);
        return;
    }
    rest->count = chain->count - (uint32_t)sequence;
    memcpy(rest->links, chain->links + sequence, rest->count * sizeof(rest->links[0]));
    trib_msg_keys_pack(rest, &packed);
    free(rest);
    trib_server_send(session, TRIB_RECORD_KEYS, &packed);
}

void trib_server_keys_reply(struct trib_session_link *session, const uint8_t *data, size_t size)
{
    struct trib_msg_keys_reply reply;
    struct trib_peer *peer = session->peer;
    if (trib_msg_keys_reply_unpack(data, size, &reply)) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    peer->has_key_sequence = true;
    peer->key_sequence = reply.sequence;
    peer->keys_code = reply.code;
    if (trib_code_is_known(reply.code))
        session->server->counters.keys_refused[reply.code]++;
    if (reply.code == TRIB_CODE_ACCEPTED)
        TRIB_INFO("device=%s pins the keys of statement %" PRIu64, peer->row.name, reply.sequence);
    else
        TRIB_WARN("id=keys-refused device=%s code=%s: it pins the keys of statement %" PRIu64,
                  peer->row.name, trib_code_text(reply.code), reply.sequence);
}

bool trib_server_keys_is_retired(const struct trib_session_link *session)
{
    const struct trib_server *server = session->server;
    for (uint32_t i = 0; session->pins && i < server->identity.former_count; i++) {
        if (memcmp(session->pins->coordinator_key, server->former.keys[i].public,
                   sizeof(session->pins->coordinator_key)) == 0)
            return trib_session_key_is_void(&server->former.keys[i]);
    }
    return false;
}

// ---- Retirement

// The file first: without it nobody can answer under that key, whatever becomes of the record.
enum trib_err trib_server_keys_remove(const struct trib_server *server, uint32_t former)
{
    char path[TRIB_PATH_MAX + 1];
    char name[TRIB_KEYS_NAME_SIZE];
    trib_keys_former_name(server->identity.former[former].id, name);
    enum trib_err err = trib_path_join(path, server->dir, name);
    if (!err)
        err = trib_file_remove(path);
    TRIB_CRASH_POINT("keys.retired");
    return err;
}

void trib_server_keys_void(struct trib_server *server, uint32_t former)
{
    const struct trib_former_key *key = &server->identity.former[former];
    size_t closed = 0;
    trib_session_key_void(&server->former.keys[former]);
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        struct trib_session_link *session = trib_peers_at(server->peers, i)->live;
        if (session && trib_server_keys_is_retired(session)) {
            trib_server_close(session, TRIB_CLOSE_RETIRED);
            closed++;
        }
    }
    TRIB_WARN("id=key-retired the key that statement %" PRIu64 " replaced is answered no more; "
              "%zu sessions under it are closed",
              key->id, closed);
}

struct expire_op {
    struct trib_server_op op;
    uint32_t former;
};

static enum trib_err expire_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct expire_op *op = (struct expire_op *)commit_op;
    char subject[64];
    enum trib_err err = trib_server_keys_remove(op->op.server, op->former);
    (void)snprintf(subject, sizeof(subject), "%" PRIu64 ": its days are over",
                   op->op.server->identity.former[op->former].id);
    const struct trib_audit_record record = {.time_ms = trib_clock_wall_ms(),
                                             .actor = "coordinator",
                                             .role = "coordinator",
                                             .action = "keys retire",
                                             .subject = subject,
                                             .outcome = "ok"};
    return err ? err : trib_store_audit(store, &record);
}

static void expire_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct expire_op *op = (struct expire_op *)server_op;
    server->keys_in_flight = false;
    if (op->op.op.result)
        trib_server_stop_failed(server);
    else
        trib_server_keys_void(server, op->former);
    free(op);
}

void trib_server_keys_tick(struct trib_server *server, uint64_t now_ms)
{
    if (server->keys_in_flight || now_ms < server->keys_next_ms)
        return;
    server->keys_next_ms = now_ms + LOOK_MS;
    for (uint32_t i = 0; i < server->identity.former_count; i++) {
        if (trib_session_key_is_void(&server->former.keys[i]) ||
            trib_clock_wall_ms() < server->identity.former[i].keep_until_ms)
            continue;
        struct expire_op *op = trib_alloc(sizeof(*op));
        if (!op)
            return; // with a later tick
        op->former = i;
        op->op.op.apply = expire_apply;
        op->op.finish = expire_finish;
        server->keys_in_flight = true;
        trib_server_submit(server, &op->op);
        return;
    }
}
