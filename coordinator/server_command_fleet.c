// tributaryctl devices ...
#include "coordinator/server_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/rand.h"

#define TRIB_LOG_MODULE "command"

enum {
    TOKEN_USES_MAX = 1000000,
};

// ---- devices

// Somebody who asked to be let in; the same columns as a device.
static void put_pending(struct trib_admin_reply *reply, const struct trib_pending *pending)
{
    char key[TRIB_KEY_TEXT_SIZE];
    char when[TRIB_CLOCK_TEXT_SIZE];
    trib_base64_encode(pending->key, sizeof(pending->key), key);
    trib_clock_text(pending->asked_ms, when);
    (void)trib_admin_row_add(reply);
    trib_admin_text(reply, "name", pending->name);
    trib_admin_text(reply, "group", "");
    trib_admin_text(reply, "state", "pending");
    trib_admin_text(reply, "rostered", NULL);
    trib_admin_number(reply, "version", 0);
    trib_admin_text(reply, "install", NULL);
    trib_admin_text(reply, "declined", NULL);
    trib_admin_number(reply, "in_two_places", 0);
    trib_admin_text(reply, "enrolled", when);
    trib_admin_text(reply, "seen", NULL);
    trib_admin_flag(reply, "stale", false);
    trib_admin_text(reply, "key", key);
}

// Who vouches for it as a member of secure aggregation.
static const char *rostered_text(const struct trib_server *server, const struct trib_peer *peer)
{
    if (peer->row.is_revoked)
        return NULL;
    if (!server->config.roster_is_offline)
        return "by coordinator";
    return trib_secagg_is_rostered(server, peer) ? "yes" : "UNROSTERED";
}

void trib_cmd_devices_ls(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct trib_admin_reply reply = {.exit_code = 0};
    const uint64_t wall_ms = trib_clock_wall_ms();
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        char key[TRIB_KEY_TEXT_SIZE];
        char when[TRIB_CLOCK_TEXT_SIZE];
        char seen[TRIB_CLOCK_TEXT_SIZE];
        const char *state = peer->row.is_revoked                 ? "revoked"
                            : peer->live && peer->live->is_ready ? "connected"
                                                                 : "away";
        trib_base64_encode(peer->row.key, sizeof(peer->row.key), key);
        trib_clock_text(peer->row.enrolled_ms, when);
        trib_clock_text(trib_seen_ms(peer, wall_ms), seen);
        (void)trib_admin_row_add(&reply);
        trib_admin_text(&reply, "name", peer->row.name);
        trib_admin_text(&reply, "group", peer->row.group);
        trib_admin_text(&reply, "state", state);
        trib_admin_text(&reply, "rostered", rostered_text(server, peer));
        trib_admin_number(&reply, "version", peer->version);
        trib_admin_text(&reply, "install",
                        peer->install_code ? trib_code_text(peer->install_code) : NULL);
        trib_admin_text(&reply, "declined", peer->declined ? trib_code_text(peer->declined) : NULL);
        trib_admin_number(&reply, "in_two_places", peer->twins);
        trib_admin_text(&reply, "enrolled", when);
        trib_admin_text(&reply, "seen", seen);
        trib_admin_flag(&reply, "stale", trib_peer_is_stale(server, peer, wall_ms));
        trib_admin_text(&reply, "key", key);
    }
    for (size_t i = 0; i < trib_peers_pending_count(server->peers); i++)
        put_pending(&reply, trib_peers_pending_at(server->peers, i));
    trib_admin_answer(call, &reply);
}

#define HAS_DEVICE "there is a device of that name already"

static enum trib_err ask_token(struct trib_query *q, struct trib_store *store)
{
    const enum trib_err err =
        q->is_again ? trib_store_tokens_void_named(store, q->row.token.name) : TRIB_OK;
    return err ? err : trib_store_token_insert(store, &q->row.token);
}

static void token_answer(struct trib_server *server, struct trib_server_op *op)
{
    struct trib_query *q = (struct trib_query *)op;
    char text[TRIB_TOKEN_TEXT_SIZE];
    TRIB_CRASH_POINT("token.durable");
    if (q->is_again && op->op.result == TRIB_OK)
        trib_peers_tokens_void(server->peers, q->row.token.name);
    if (q->is_again && op->op.result == TRIB_ERR_STATE) { // it came while we were asked
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE, HAS_DEVICE);
    } else if (op->op.result || trib_peers_token_add(server->peers, &q->row.token)) {
        trib_admin_fail(&q->reply, TRIB_EXIT_INTERNAL,
                        "the token could not be stored" TRIB_UNSTORED);
    } else {
        trib_token_write(&q->secret, text);
        (void)trib_admin_row_add(&q->reply);
        trib_admin_text(&q->reply, "token", text);
    }
    trib_admin_answer(q->call, &q->reply);
    trib_query_free(q);
}

// "90s", "15m", "24h", "7d"; 0 if it is none of them.
static uint64_t parse_duration_ms(const char *text)
{
    char *end;
    if (text[0] < '1' || text[0] > '9' || strlen(text) > 9)
        return 0;
    uint64_t value = strtoull(text, &end, 10);
    switch (*end && !end[1] ? *end : '\0') {
    case 's': return value * 1000;
    case 'm': return value * 60000;
    case 'h': return value * 3600000;
    case 'd': return value * 86400000;
    default: return 0;
    }
}

static bool name_is_good(const char *name)
{
    size_t size = strlen(name);
    return size >= 1 && size <= TRIB_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               size;
}

void trib_cmd_devices_token(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    const char *name = trib_command_option(call, "--name");
    const char *ttl = trib_command_option(call, "--ttl");
    const bool is_again = trib_command_has(call, "--again");
    const uint64_t now_ms = trib_clock_wall_ms();
    uint64_t uses = trib_command_number(call, "--uses", 1);
    uint64_t ttl_ms = parse_duration_ms(ttl ? ttl : "24h");
    const char *wrong = NULL;

    if (name && uses != 1)
        wrong = "--name goes with --uses 1: names are unique";
    else if (name && !name_is_good(name))
        wrong = "a name has 1 to 63 letters, digits, dots, dashes or underscores";
    else if (is_again && !name)
        wrong = "--again goes with --name: it is about the token of that name";
    else if (name && trib_peers_by_name(server->peers, name))
        wrong = HAS_DEVICE;
    else if (name && !is_again && !trib_peers_name_is_free(server->peers, name, now_ms))
        wrong = "there is a token of that name already; --again makes another one in its place";
    else if (ttl_ms == 0)
        wrong = "--ttl wants a time like 90s, 15m, 24h or 7d";
    else if (uses == 0 || uses > TOKEN_USES_MAX)
        wrong = "--uses wants a number from 1 to 1000000";
    if (wrong) {
        trib_command_fail(call, TRIB_EXIT_USAGE, wrong);
        return;
    }
    struct trib_query *q = trib_query_create(call, ask_token);
    if (!q)
        return;
    struct trib_store_token *row = &q->row.token;
    trib_random_bytes(q->secret.id, sizeof(q->secret.id));
    trib_random_bytes(q->secret.secret, sizeof(q->secret.secret));
    memcpy(q->secret.coordinator, server->identity.public, sizeof(q->secret.coordinator));
    memcpy(q->secret.url, server->url, sizeof(q->secret.url));
    memcpy(row->id, q->secret.id, sizeof(row->id));
    trib_token_hash(q->secret.secret, row->secret_hash);
    (void)snprintf(row->name, sizeof(row->name), "%s", name ? name : "");
    row->uses_left = uses;
    row->expires_ms = now_ms + ttl_ms;
    q->is_again = is_again;
    q->op.finish = token_answer;
    trib_query_submit(q);
}

static enum trib_err ask_approve(struct trib_query *q, struct trib_store *store)
{
    return trib_store_device_insert(store, &q->row.device, &q->row.device.id);
}

static void approve_answer(struct trib_server *server, struct trib_server_op *op)
{
    struct trib_query *q = (struct trib_query *)op;
    struct trib_peer *peer;
    if (op->op.result || trib_peers_add(server->peers, &q->row.device, NULL, &peer)) {
        trib_admin_fail(&q->reply, TRIB_EXIT_INTERNAL,
                        "the device could not be stored" TRIB_UNSTORED);
    } else {
        trib_peers_pending_drop(server->peers, peer->row.key);
        TRIB_INFO("device=%s enrolled by=approval", peer->row.name);
        (void)trib_admin_row_add(&q->reply);
        trib_admin_text(&q->reply, "name", peer->row.name);
    }
    trib_admin_answer(q->call, &q->reply);
    trib_query_free(q);
}

void trib_cmd_devices_approve(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    const struct trib_pending *pending =
        trib_peers_pending_find(server->peers, trib_command_word(call, 2));
    if (!pending) {
        trib_command_fail(
            call, TRIB_EXIT_USAGE,
            server->config.pending
                ? "nobody of that name, fingerprint or key waits; devices ls lists who does"
                : "nobody waits: the pending list is off (enrol.pending = no)");
        return;
    }
    struct trib_query *q = trib_query_create(call, ask_approve);
    if (!q)
        return;
    memcpy(q->row.device.name, pending->name, sizeof(q->row.device.name));
    memcpy(q->row.device.key, pending->key, sizeof(q->row.device.key));
    memcpy(q->row.device.sign_key, pending->sign_key, sizeof(q->row.device.sign_key));
    q->row.device.enrolled_ms = trib_clock_wall_ms();
    q->op.finish = approve_answer;
    trib_query_submit(q);
}

static enum trib_err ask_revoke(struct trib_query *q, struct trib_store *store)
{
    enum trib_err err = trib_store_device_revoke(store, q->a, q->b);
    TRIB_CRASH_POINT("revoke.stored");
    return err;
}

static void revoke_answer(struct trib_server *server, struct trib_server_op *op)
{
    struct trib_query *q = (struct trib_query *)op;
    struct trib_peer *peer = q->peer;
    TRIB_CRASH_POINT("revoke.durable");
    if (op->op.result) {
        trib_admin_fail(&q->reply, TRIB_EXIT_INTERNAL,
                        "the revocation could not be stored" TRIB_UNSTORED);
    } else {
        struct trib_session_link *session = peer->live;
        uint32_t member = trib_rounds_member(server, peer);
        trib_peers_revoke(server->peers, peer, q->b);
        TRIB_WARN("id=device-revoked device=%s", peer->row.name);
        if (member != UINT32_MAX && server->run->members[member].lease != TRIB_LEASE_COUNTED) {
            (void)!trib_rounds_step(server,
                                    &(struct trib_round_input){.event = TRIB_ROUND_EV_RELEASE,
                                                               .member = member,
                                                               .code = TRIB_CODE_REVOKED});
        }
        if (session) {
            (void)!trib_channel_send(session->channel, TRIB_RECORD_REVOKED, 0, NULL, 0);
            trib_channel_close_after(session->channel, TRIB_CLOSE_REVOKED);
            session->is_ready = false;
        }
    }
    trib_admin_answer(q->call, &q->reply);
    trib_query_free(q);
}

void trib_cmd_devices_revoke(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    struct trib_peer *peer = trib_peers_by_name(server->peers, trib_command_word(call, 2));
    if (!peer) {
        trib_command_fail(call, TRIB_EXIT_USAGE, "no device of that name; devices ls lists them");
        return;
    }
    struct trib_query *q = trib_query_create(call, ask_revoke);
    if (!q)
        return;
    q->a = peer->row.id;
    q->b = trib_clock_wall_ms();
    q->peer = peer;
    q->op.finish = revoke_answer;
    trib_query_submit(q);
}
