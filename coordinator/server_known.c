// Updates that are durable. Those of the open round are in memory, since it is made of them; of those
// before it the store knows, and is asked by the commit thread when a device comes with one once more.
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/map.h"
#include "coordinator/server_state.h"

struct trib_known_update *trib_known_add(struct trib_server *server,
                                         const struct trib_store_update *update)
{
    struct trib_known_update *known = trib_alloc(sizeof(*known));
    size_t count = update->checksums_size / sizeof(uint32_t);
    if (!known)
        return NULL;
    known->checksums = trib_alloc_array(count, sizeof(*known->checksums));
    if (!known->checksums || trib_map_put(server->known, update->id, sizeof(update->id), known)) {
        free(known->checksums);
        free(known);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        known->checksums[i] = trib_load_le32(update->checksums + 4 * i);
    memcpy(known->id, update->id, sizeof(known->id));
    memcpy(known->digest, update->digest, sizeof(known->digest));
    known->device = update->device;
    known->slot = update->slot;
    known->weight = update->weight;
    known->next = server->known_list;
    server->known_list = known;
    return known;
}

void trib_known_forget(struct trib_server *server)
{
    while (server->known_list) {
        struct trib_known_update *known = server->known_list;
        server->known_list = known->next;
        (void)trib_map_remove(server->known, known->id, sizeof(known->id));
        free(known->checksums);
        free(known);
    }
}

// ---- Asking the store

struct ask_op {
    struct trib_server_op op;
    struct trib_msg_upload_begin begin;
    uint64_t device;
    struct trib_known_row row;
};

static void take_row(void *user, const struct trib_store_update *update)
{
    struct trib_known_row *row = user;
    row->is_found = true;
    row->device = update->device;
    memcpy(row->digest, update->digest, sizeof(row->digest));
}

enum trib_err trib_known_find(struct trib_store *store, const uint8_t id[static TRIB_MSG_ID_SIZE],
                              struct trib_known_row *ret_row)
{
    *ret_row = (struct trib_known_row){.is_found = false};
    if (TRIB_PLANT("no-idempotency"))
        return TRIB_OK;
    return trib_store_update_get(store, id, take_row, ret_row);
}

static enum trib_err ask_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct ask_op *op = (struct ask_op *)commit_op;
    return trib_known_find(store, op->begin.update_id, &op->row);
}

static void ask_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct ask_op *op = (struct ask_op *)server_op;
    struct trib_peer *peer = trib_peers_by_id(server->peers, op->device);
    peer->is_asking = false;
    server->asks_in_flight--;
    if (op->op.op.result != TRIB_OK)
        trib_server_stop_failed(server);
    else
        trib_upload_answer_old(server, peer, &op->begin, &op->row);
    free(op);
}

bool trib_known_ask(struct trib_server *server, struct trib_peer *peer,
                    const struct trib_msg_upload_begin *begin)
{
    struct ask_op *op = peer->is_asking ? NULL : trib_alloc(sizeof(*op));
    if (!op)
        return false; // one at a time: it asks again
    op->begin = *begin;
    op->device = peer->row.id;
    op->op.op.apply = ask_apply;
    op->op.finish = ask_finish;
    peer->is_asking = true;
    server->asks_in_flight++;
    trib_server_submit(server, &op->op);
    return true;
}
