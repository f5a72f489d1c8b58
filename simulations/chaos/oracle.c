#include "simulations/chaos/oracle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/spool.h"
#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "coordinator/server_state.h"
#include "simulations/chaos/chaos.h"
#include "simulations/chaos/disk.h"
#include "simulations/chaos/oracle_parts.h"
#include "simulations/chaos/posix.h"

struct trib_seen trib_seen;

static uint64_t stamp;     // of the look at the store
static uint64_t looked_at; // trib_disk_commits() of it
static struct trib_identity identity;

enum {
    ID_TEXT_SIZE = 2 * TRIB_MSG_ID_SIZE + 1
};

static const char *id_text(const uint8_t id[static TRIB_MSG_ID_SIZE],
                           char text[static ID_TEXT_SIZE])
{
    trib_hex_encode(id, TRIB_MSG_ID_SIZE, text);
    return text;
}

static const char *name_of(int member)
{
    return trib_chaos.members[member]->name;
}

// ---- Updates

struct trib_seen_update *trib_seen_find(const uint8_t id[static TRIB_MSG_ID_SIZE])
{
    struct trib_seen_update *update = trib_seen.updates;
    while (update && memcmp(update->begin.update_id, id, TRIB_MSG_ID_SIZE) != 0)
        update = update->next;
    return update;
}

static struct trib_seen_update *remember(int member, const struct trib_msg_upload_begin *begin,
                                         const uint8_t *packed)
{
    struct trib_seen_update *update = trib_alloc(sizeof(*update));
    if (!update || (packed && !(update->packed = trib_alloc(begin->size))))
        abort();
    update->member = member;
    update->begin = *begin;
    if (packed)
        memcpy(update->packed, packed, begin->size);
    update->next = trib_seen.updates;
    trib_seen.updates = update;
    return update;
}

struct trib_seen_update *trib_seen_spool(int member)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_spool spool;
    (void)snprintf(path, sizeof(path), "%s/spool.update", name_of(member));
    if (!trib_file_exists(path) || trib_spool_read(name_of(member), &spool))
        return NULL;
    struct trib_seen_update *update = trib_seen_find(spool.begin.update_id);
    if (!update)
        update = remember(member, &spool.begin, spool.packed);
    else if (memcmp(update->begin.digest, spool.begin.digest, TRIB_DIGEST_SIZE) != 0)
        trib_chaos_fail("kept", "%s keeps other bytes under an old id", name_of(member));
    trib_spool_fini(&spool);
    return update;
}

void trib_oracle_offer(const struct trib_process *process,
                       const struct trib_msg_upload_begin *begin, const uint8_t *packed,
                       bool is_lie)
{
    struct trib_seen_update *update = trib_seen_find(begin->update_id);
    if (!update)
        update = remember(trib_chaos_member(process->name), begin, packed);
    update->is_lie = update->is_lie || is_lie;
}

bool trib_oracle_foreign(const struct trib_process *process,
                         uint8_t ret_id[static TRIB_MSG_ID_SIZE])
{
    const int member = trib_chaos_member(process->name);
    for (const struct trib_seen_update *update = trib_seen.updates; update; update = update->next) {
        if (update->stamp && update->member != member) {
            memcpy(ret_id, update->begin.update_id, TRIB_MSG_ID_SIZE);
            return true;
        }
    }
    return false;
}

// Masked words are never written down: they and their masks go with the process.
static bool is_masked(void)
{
    return trib_chaos.mode == TRIB_PRIVACY_DISTRIBUTED;
}

// Its first byte has left.
static void release(struct trib_seen_update *update)
{
    if (update->is_released)
        return;
    update->is_released = true;
    trib_oracle_budget(update);
}

// What honest devices are sending now, as the coordinator sees it.
static void look_at_uploads(const struct trib_server *server)
{
    const struct trib_round_run *run = server->run;
    for (uint32_t i = 0; run && i < run->round.member_count; i++) {
        const struct trib_peer *peer = trib_peers_by_id(server->peers, run->members[i].device);
        const int member = peer ? trib_chaos_member(peer->row.name) : -1;
        if (run->uploads[i].begin.size == 0 || member < 0 || // none, or from before a restart
            member >= TRIB_CHAOS_DEVICES || trib_seen_find(run->uploads[i].begin.update_id))
            continue;
        struct trib_seen_update *update =
            is_masked() ? remember(member, &run->uploads[i].begin, NULL) : trib_seen_spool(member);
        char text[ID_TEXT_SIZE];
        if (!update ||
            memcmp(update->begin.update_id, run->uploads[i].begin.update_id, TRIB_MSG_ID_SIZE) != 0)
            trib_chaos_fail("kept", "%s sends update %s, which is not in its spool",
                            name_of(member), id_text(run->uploads[i].begin.update_id, text));
        release(update);
    }
}

// ---- The store, whenever it has changed

struct rows {
    uint64_t ids[TRIB_CHAOS_MEMBERS]; // of members, in the store
};

static void take_device(void *user, const struct trib_store_device *device)
{
    struct rows *rows = user;
    const int member = trib_chaos_member(device->name);
    if (member >= 0)
        rows->ids[member] = device->id;
}

static void hold_row(const struct trib_seen_update *seen, const struct trib_store_update *row)
{
    char text[ID_TEXT_SIZE];
    if (seen->is_lie)
        trib_chaos_fail("liar", "a lie of %s counts: update %s", name_of(seen->member),
                        id_text(row->id, text));
    const uint32_t weight = seen->begin.has_weight ? seen->begin.weight : 1;
    if (row->round != seen->begin.round_id || row->weight != weight ||
        memcmp(row->digest, seen->begin.digest, TRIB_DIGEST_SIZE) != 0)
        trib_chaos_fail("lost", "the row of update %s says something else", id_text(row->id, text));
    for (const struct trib_seen_update *other = trib_seen.updates; other; other = other->next) {
        if (other != seen && other->stamp == stamp && other->member == seen->member &&
            other->begin.round_id == row->round)
            trib_chaos_fail("twice", "%s counts twice in round %" PRIu64, name_of(seen->member),
                            row->round);
    }
}

static struct trib_seen_update *remember_row(int member, const struct trib_store_update *row)
{
    struct trib_msg_upload_begin begin = {.round_id = row->round};
    memcpy(begin.update_id, row->id, TRIB_MSG_ID_SIZE);
    memcpy(begin.digest, row->digest, TRIB_DIGEST_SIZE);
    return remember(member, &begin, NULL);
}

static void take_row(void *user, const struct trib_store_update *row)
{
    struct rows *rows = user;
    char text[ID_TEXT_SIZE];
    struct trib_seen_update *seen = trib_seen_find(row->id);
    int member = 0;
    while (member < TRIB_CHAOS_MEMBERS && rows->ids[member] != row->device)
        member++;
    if (!seen && member < TRIB_CHAOS_DEVICES)
        seen = is_masked() ? remember_row(member, row) : trib_seen_spool(member);
    if (!seen || seen->member != member ||
        memcmp(seen->begin.update_id, row->id, TRIB_MSG_ID_SIZE) != 0)
        trib_chaos_fail("kept", "update %s counts, which nobody has in his spool",
                        id_text(row->id, text));
    if (!seen->stamp) {
        trib_chaos.accepted++;
        trib_chaos_say("durable: update %s of %s in round %" PRIu64, id_text(row->id, text),
                       name_of(member), row->round);
        if (member < TRIB_CHAOS_DEVICES)
            release(seen);
    }
    hold_row(seen, row);
    seen->stamp = stamp;
}

static void hold_version(const struct trib_store_version *row)
{
    struct trib_version *version;
    enum trib_err err = trib_version_read(trib_chaos.coordinator->name, &identity, row->manifest,
                                          row->manifest_size, row->signature, &version);
    if (err)
        trib_chaos_fail("head", "version %" PRIu64 " cannot be verified: %s", row->version,
                        trib_err_text(err));
    trib_chaos_say("durable: version %" PRIu64 " of round %" PRIu64, row->version, row->round);
    trib_oracle_sum(row, version);
    trib_version_destroy(version);
}

static void take_version(void *user, const struct trib_store_version *row)
{
    struct trib_seen_version *seen = trib_seen.versions;
    (void)user;
    while (seen && seen->version != row->version)
        seen = seen->next;
    if (!seen) {
        if (trib_seen.versions && trib_seen.versions->version >= row->version)
            trib_chaos_fail("head", "version %" PRIu64 " comes after %" PRIu64, row->version,
                            trib_seen.versions->version);
        hold_version(row);
        seen = trib_seen.versions; // it is there now
    } else if (memcmp(seen->digest, row->digest, TRIB_DIGEST_SIZE) != 0) {
        trib_chaos_fail("head", "version %" PRIu64 " has another digest", row->version);
    }
    seen->stamp = stamp;
}

static void look_at_store(const struct trib_server *server)
{
    struct rows rows = {.ids = {0}};
    stamp++;
    enum trib_err err = trib_store_devices(server->store, take_device, &rows);
    if (!err)
        err = trib_store_updates(server->store, 0, take_row, &rows);
    if (!err)
        err = trib_oracle_leases(server->store);
    if (!err)
        err = trib_store_versions(server->store, 0, UINT64_MAX >> 1, take_version, &rows);
    if (err)
        trib_chaos_fail("store", "cannot be read: %s", trib_err_text(err));
    for (const struct trib_seen_update *u = trib_seen.updates; u; u = u->next) {
        char text[ID_TEXT_SIZE];
        if (u->stamp && u->stamp != stamp)
            trib_chaos_fail("lost", "the row of update %s is gone",
                            id_text(u->begin.update_id, text));
    }
    for (const struct trib_seen_version *v = trib_seen.versions; v; v = v->next) {
        if (v->stamp != stamp)
            trib_chaos_fail("head", "version %" PRIu64 " is gone", v->version);
    }
}

// On the coordinator's own thread, after a COMMIT and before anybody can act on it.
static void look_after_commit(void)
{
    struct trib_server *server = trib_chaos.server;
    if (!server || trib_machine_current() != trib_chaos.coordinator || trib_disk_is_committing() ||
        trib_disk_commits() == looked_at)
        return;
    looked_at = trib_disk_commits();
    trib_oracle_noise();
    look_at_store(server);
}

void trib_oracle_init(void)
{
    trib_posix_on_unlock(look_after_commit);
}

void trib_oracle_started(void)
{
    if (trib_identity_load(trib_chaos.coordinator->name, &identity))
        trib_chaos_fail("restart", "the coordinator's keys are gone");
    look_at_store(trib_chaos.server);
    const struct trib_version *head = trib_chaos.server->head;
    const uint64_t newest = trib_seen.versions ? trib_seen.versions->version : 0;
    if ((head ? head->manifest.version : 0) != newest)
        trib_chaos_fail("head", "the coordinator starts with another than version %" PRIu64,
                        newest);
}

// ---- Receipts

// "info client: update round_id=N update_id=HEX receipt=CODE"
void trib_oracle_told(const struct trib_process *process, const char *line)
{
    const char *at = strstr(line, " update_id=");
    const char *code = strstr(line, " receipt=");
    uint8_t id[TRIB_MSG_ID_SIZE];
    char text[ID_TEXT_SIZE];
    if (strstr(line, "enrolment refused"))
        trib_chaos_fail("enrol", "%s has a good token, and is refused", process->name);
    if (!at || !code || !strstr(line, "client: update round_id="))
        return;
    (void)snprintf(text, sizeof(text), "%s", at + strlen(" update_id="));
    code += strlen(" receipt=");
    if (!trib_hex_decode(text, id, sizeof(id)))
        return;
    struct trib_seen_update *update = trib_seen_find(id);
    const bool has_row = update && update->stamp;
    const bool is_counted = strcmp(code, "ACCEPTED") == 0 || strcmp(code, "DUPLICATE") == 0;
    const bool is_to_wait = strcmp(code, "RETRY_LATER") == 0 || strcmp(code, "SLOW") == 0 ||
                            strcmp(code, "RATE_LIMITED") == 0;
    if (is_counted && !has_row)
        trib_chaos_fail("told", "%s was told %s of update %s: no row", process->name, code, text);
    if (!is_counted && !is_to_wait && has_row)
        trib_chaos_fail("told", "%s was told %s of update %s, which counts", process->name, code,
                        text);
    for (int i = 0; update && i < TRIB_CODE_MAX; i++) {
        if (strcmp(code, trib_code_text((enum trib_code)i)) == 0)
            trib_oracle_final(update->member, update->begin.round_id, (enum trib_code)i);
    }
}

// ---- The coordinator's books

static void look_at_books(const struct trib_server *server)
{
    const struct trib_counters *c = &server->counters;
    uint64_t closed = 0;
    uint64_t answered = 0;
    for (int i = 0; i < TRIB_CLOSE_REASONS; i++)
        closed += c->closed[i];
    for (int i = 0; i < TRIB_CODE_MAX; i++)
        answered += c->receipts[i];
    if (c->accepted != closed + c->open)
        trib_chaos_fail("books", "%" PRIu64 " connections, %" PRIu64 " closed and %" PRIu64 " open",
                        c->accepted, closed, c->open);
    const uint64_t in_flight = trib_server_uploads_in_flight(server);
    if (c->begins != answered + c->cut + in_flight)
        trib_chaos_fail("books",
                        "%" PRIu64 " uploads, %" PRIu64 " answered, %" PRIu64 " cut and %" PRIu64
                        " in flight",
                        c->begins, answered, c->cut, in_flight);
}

static bool is_idle(struct trib_server *server)
{
    return server && trib_machine_is_waiting(&server->events.filled);
}

void trib_oracle_look(void)
{
    struct trib_server *server = trib_chaos.server;
    if (!is_idle(server))
        return; // in the middle of something
    if (server->job && !trib_seen.has_encoding) {
        trib_seen.encoding = server->job->job.privacy.encoding;
        trib_seen.has_encoding = true;
    }
    look_at_books(server);
    look_at_uploads(server);
}

bool trib_oracle_is_settled(void)
{
    const struct trib_server *server = trib_chaos.server;
    if (!server || !server->head || server->job || server->run)
        return false;
    unsigned settled = 0;
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        const int member = trib_chaos_member(peer->row.name);
        settled += member >= 0 && member < TRIB_CHAOS_DEVICES && peer->live &&
                   peer->version == server->head->manifest.version;
    }
    return settled == TRIB_CHAOS_DEVICES;
}

void trib_oracle_finish(void)
{
    look_at_store(trib_chaos.server);
    if (trib_store_verify(trib_chaos.server->store))
        trib_chaos_fail("store", "the database is damaged");
    if (trib_seen.versions == NULL)
        trib_chaos_fail("quiet", "no version was made");
}
