// tributaryctl keys ...: which keys this coordinator had, and which it answers to still.
#include "coordinator/server_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "coordinator/keys.h"

// The place of the key that this statement replaced among those that are answered; -1: it is not.
static int find_former(const struct trib_server *server, uint64_t id)
{
    for (uint32_t i = 0; i < server->identity.former_count; i++) {
        if (server->identity.former[i].id == id &&
            !trib_session_key_is_void(&server->former.keys[i]))
            return (int)i;
    }
    return -1;
}

static bool is_same(const uint8_t a[static 32], const uint8_t b[static 32])
{
    return memcmp(a, b, 32) == 0;
}

// How many devices have come so far, by what they said since the coordinator started.
static void put_devices(struct trib_admin_reply *reply, const struct trib_server *server,
                        uint64_t sequence)
{
    uint64_t followed = 0, behind = 0, unheard = 0;
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        if (peer->row.is_revoked)
            continue;
        if (!peer->has_key_sequence)
            unheard++;
        else if (peer->key_sequence >= sequence)
            followed++;
        else
            behind++;
    }
    trib_admin_number(reply, "followed", followed);
    trib_admin_number(reply, "behind", behind);
    trib_admin_number(reply, "unheard", unheard);
}

static void put_link(struct trib_admin_reply *reply, const struct trib_server *server,
                     uint32_t link, const struct trib_msg_key_statement *statement)
{
    char when[TRIB_CLOCK_TEXT_SIZE];
    char text[TRIB_KEY_TEXT_SIZE];
    const bool is_signing = !is_same(statement->release_key, statement->old_release_key);
    const bool is_transport = !is_same(statement->coordinator_key, statement->old_coordinator_key);
    const bool is_answered = find_former(server, link + 1) >= 0;
    (void)trib_admin_row_add(reply);
    trib_admin_number(reply, "id", link + 1);
    trib_clock_text(statement->made_ms, when);
    trib_admin_text(reply, "made", when);
    trib_admin_text(reply, "changed",
                    is_signing && is_transport ? "signing transport"
                    : is_signing               ? "signing"
                                               : "transport");
    trib_admin_text(reply, "former", !is_transport ? NULL : is_answered ? "answered" : "retired");
    trib_clock_text(statement->keep_until_ms, when);
    trib_admin_text(reply, "until", is_answered ? when : NULL);
    put_devices(reply, server, link + 1);
    trib_base64_encode(statement->coordinator_key, 32, text);
    trib_admin_text(reply, "coordinator_key", text);
    trib_base64_encode(statement->release_key, 32, text);
    trib_admin_text(reply, "release_key", text);
}

void trib_cmd_keys_list(struct trib_admin_call *call)
{
    const struct trib_server *server = trib_admin_server(call);
    const struct trib_msg_keys *chain = &server->identity.chain;
    struct trib_admin_reply reply = {.exit_code = 0};
    for (uint32_t i = 0; i < chain->count; i++) {
        struct trib_msg_key_statement statement;
        if (trib_msg_key_statement_unpack(chain->links[i].statement, chain->links[i].statement_size,
                                          &statement))
            trib_admin_fail(&reply, TRIB_EXIT_INTERNAL, "out of memory"); // it was read before
        else
            put_link(&reply, server, i, &statement);
    }
    trib_admin_answer(call, &reply);
}

// ---- retire

static enum trib_err ask_retire(struct trib_query *q, struct trib_store *store)
{
    (void)store;
    return trib_server_keys_remove(q->op.server, (uint32_t)q->a);
}

static void retire_finish(struct trib_server *server, struct trib_server_op *op)
{
    struct trib_query *q = (struct trib_query *)op;
    if (op->op.result) {
        trib_admin_fail(&q->reply, TRIB_EXIT_INTERNAL, "%s", trib_err_text(op->op.result));
    } else {
        trib_server_keys_void(server, (uint32_t)q->a);
        (void)trib_admin_row_add(&q->reply);
        trib_admin_number(&q->reply, "retired", q->b);
    }
    trib_admin_answer(q->call, &q->reply);
    trib_query_free(q);
}

void trib_cmd_keys_retire(struct trib_admin_call *call)
{
    const struct trib_server *server = trib_admin_server(call);
    uint64_t id;
    if (!trib_command_parse(trib_command_word(call, 2), &id)) {
        trib_command_fail(call, TRIB_EXIT_USAGE, "which one? keys list says the ids");
        return;
    }
    const int former = find_former(server, id);
    if (former < 0) {
        char text[128];
        (void)snprintf(text, sizeof(text),
                       "no key is answered that statement %" PRIu64 " replaced (keys list)", id);
        trib_command_fail(call, TRIB_EXIT_USAGE, text);
        return;
    }
    struct trib_query *q = trib_query_create(call, ask_retire);
    if (!q)
        return;
    q->a = (uint64_t)former;
    q->b = id;
    q->op.finish = retire_finish;
    trib_query_submit(q);
}
