// Rounds under secure aggregation: what is sent when a phase of round.h begins, and what comes
// back.
//
//     KEYS         OPEN to all that train; ADVERT from each
//     SHARES       KEYS (everybody's adverts) to U1; SHARES from each
//     COLLECTING   SEALED (what the others sealed for it) to U2; an upload of masked words from each
//     CONSISTENCY  SURVIVORS to U3; CONSENT from at least T
//     UNMASKING    CONSENTS to U3; UNMASK from enough of them, durable one by one
//
// Before the seal everything is in memory: a coordinator that dies abandons the round. The seal
// makes the hub durable with the set of survivors, which never changes afterwards.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/privacy/secagg_bytes.h"
#include "common/wire/training.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "secagg"

static void blob_drop(struct trib_blob **blob)
{
    trib_blob_unref(*blob);
    *blob = NULL;
}

void trib_secagg_free(struct trib_round_secagg *secagg)
{
    if (!secagg)
        return;
    trib_secagg_hub_destroy(secagg->hub);
    blob_drop(&secagg->keys);
    blob_drop(&secagg->survivors);
    blob_drop(&secagg->consents);
    free(secagg);
}

// ---- Who may be a member

bool trib_secagg_is_rostered(const struct trib_server *server, const struct trib_peer *peer)
{
    return !server->config.roster_is_offline || peer->row.has_roster;
}

void trib_secagg_count_roster(const struct trib_server *server, struct trib_roster_count *ret_count)
{
    struct trib_roster_count count = {.rostered = 0};
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        bool is_rostered = trib_secagg_is_rostered(server, peer);
        count.rostered += !peer->row.is_revoked && is_rostered;
        count.unrostered += !peer->row.is_revoked && !is_rostered;
    }
    *ret_count = count;
}

void trib_secagg_check_roster(struct trib_server *server)
{
    size_t foreign = 0;
    for (size_t i = 0; server->config.roster_is_offline && i < trib_peers_count(server->peers);
         i++) {
        struct trib_store_device *row = &trib_peers_at(server->peers, i)->row;
        if (!row->has_roster || row->is_revoked ||
            trib_roster_verify(server->config.roster_key, server->config.population, row->name,
                               row->sign_key, row->roster))
            continue;
        row->has_roster = false; // the store keeps it: the key may come back
        foreign++;
    }
    if (foreign > 0)
        TRIB_WARN("id=roster-foreign devices=%zu were signed by another key than "
                  "secagg.roster_pk: they are UNROSTERED until a roster by this one is loaded",
                  foreign);
}

bool trib_secagg_roster_is_short(const struct trib_server *server, const struct trib_job *job,
                                 char *text, size_t size)
{
    struct trib_roster_count count;
    if (!server->config.roster_is_offline || job->privacy.encoding.mode != TRIB_PRIVACY_DISTRIBUTED)
        return false;
    trib_secagg_count_roster(server, &count);
    if (count.rostered >= job->accepted_min)
        return false;
    (void)snprintf(text, size,
                   "the job waits for the roster: a round wants %" PRIu32
                   " devices, %zu are rostered and %zu are UNROSTERED (roster export, sign, load)",
                   job->accepted_min, count.rostered, count.unrostered);
    return true;
}

struct trib_peer *trib_secagg_peer(struct trib_server *server, uint32_t member)
{
    return trib_peers_by_id(server->peers, server->run->round.members[member].device);
}

bool trib_secagg_fill_entry(struct trib_server *server, uint32_t member,
                            struct trib_secagg_entry *entry)
{
    const struct trib_peer *peer = trib_secagg_peer(server, member);
    if (!peer || !trib_secagg_is_rostered(server, peer))
        return false;
    memcpy(entry->name, peer->row.name, sizeof(entry->name));
    memcpy(entry->sign_key, peer->row.sign_key, sizeof(entry->sign_key));
    if (server->config.roster_is_offline)
        memcpy(entry->roster_signature, peer->row.roster, sizeof(entry->roster_signature));
    else
        trib_roster_sign(server->identity.roster_seed, server->config.population, entry->name,
                         entry->sign_key, entry->roster_signature);
    return true;
}

// ---- Sending

static void cancel(struct trib_server *server, enum trib_round_reason reason)
{
    (void)!trib_rounds_step(
        server, &(struct trib_round_input){.event = TRIB_ROUND_EV_CANCEL, .reason = reason});
}

void trib_secagg_send(struct trib_server *server, uint32_t member, enum trib_secagg_step_kind kind,
                      struct trib_blob *blob)
{
    const struct trib_peer *peer = trib_secagg_peer(server, member);
    if (!peer || !peer->live || !peer->live->is_ready)
        return; // it is told when it comes back
    struct trib_session_link *session = peer->live;
    if (trib_step_send(session->channel, ++session->secagg_stream, server->run->id, kind, blob) ==
        TRIB_ERR_NOMEM)
        trib_server_close(session, TRIB_CLOSE_NOMEM);
}

static void send_open(struct trib_server *server, uint32_t member)
{
    const struct trib_peer *peer = trib_secagg_peer(server, member);
    struct trib_msg_secagg_open open = {.round_id = server->run->id};
    struct trib_buf packed = {0};
    if (!peer || !peer->live || !peer->live->is_ready)
        return;
    memcpy(open.invited, server->run->secagg->header.invited, sizeof(open.invited));
    memcpy(open.roster_key, server->run->secagg->header.roster_key, sizeof(open.roster_key));
    trib_msg_secagg_open_pack(&open, &packed);
    trib_server_send(peer->live, TRIB_RECORD_SECAGG_OPEN, &packed);
}

static struct trib_blob *blob_of(struct trib_buf *buf)
{
    if (buf->failed || buf->size == 0) {
        trib_buf_fini(buf);
        return NULL;
    }
    return trib_blob_take(buf->data, buf->size);
}

// What `member` (of the hub) is sent in SEALED: U2, and the boxes that are for it.
static struct trib_blob *sealed_blob(const struct trib_round_secagg *secagg, uint32_t member)
{
    struct trib_buf buf = {0};
    trib_buf_append(&buf, trib_secagg_hub_shared_set(secagg->hub),
                    trib_secagg_set_size(trib_secagg_hub_count(secagg->hub)));
    (void)trib_secagg_hub_sealed_for(secagg->hub, member, &buf);
    return blob_of(&buf);
}

static void send_sealed(struct trib_server *server, uint32_t member)
{
    const struct trib_round_secagg *secagg = server->run->secagg;
    uint32_t index = trib_secagg_hub_find(secagg->hub, member);
    struct trib_blob *blob = index == UINT32_MAX ? NULL : sealed_blob(secagg, index);
    if (blob)
        trib_secagg_send(server, member, TRIB_SECAGG_STEP_SEALED, blob);
    trib_blob_unref(blob);
}

static bool has_signed(const struct trib_round_secagg *secagg, uint32_t member)
{
    uint32_t index = trib_secagg_hub_find(secagg->hub, member);
    return index != UINT32_MAX && trib_secagg_has(trib_secagg_hub_signer_set(secagg->hub), index);
}

// Tell one member what the present phase wants of it; nothing when it has done its part. One that
// was away when the others signed has not heard who survived: it is told that first, and the
// consents when it has signed too.
void trib_secagg_tell(struct trib_server *server, uint32_t member)
{
    struct trib_round_secagg *secagg = server->run->secagg;
    const struct trib_round_member *m = &server->run->members[member];
    const bool is_taken = m->lease == TRIB_LEASE_TAKEN;
    const bool is_counted = m->lease == TRIB_LEASE_COUNTED;
    const enum trib_round_state phase = server->run->round.state;
    if (server->run->secagg_told != phase)
        return; // all are told when it begins
    if (phase == TRIB_ROUND_KEYS && is_taken && m->steps == 0)
        send_open(server, member);
    else if (phase == TRIB_ROUND_SHARES && is_taken && m->steps == 1)
        trib_secagg_send(server, member, TRIB_SECAGG_STEP_KEYS, secagg->keys);
    else if (phase == TRIB_ROUND_COLLECTING && is_taken && m->steps == 2)
        send_sealed(server, member);
    else if (is_counted && (phase == TRIB_ROUND_CONSISTENCY ||
                            (phase == TRIB_ROUND_UNMASKING && !has_signed(secagg, member))))
        trib_secagg_send(server, member, TRIB_SECAGG_STEP_SURVIVORS, secagg->survivors);
    else if (phase == TRIB_ROUND_UNMASKING && is_counted)
        trib_secagg_send(server, member, TRIB_SECAGG_STEP_CONSENTS, secagg->consents);
}

static void tell_all(struct trib_server *server)
{
    const bool is_last = server->run->round.state == TRIB_ROUND_UNMASKING;
    for (uint32_t i = 0; i < server->run->round.member_count; i++) {
        if (!is_last || has_signed(server->run->secagg, i)) // else its signature is on its way
            trib_secagg_tell(server, i);
    }
}

// ---- Phases

static void hash_invited(struct trib_server *server, uint8_t hash[static TRIB_DIGEST_SIZE])
{
    const uint32_t count = server->run->round.member_count;
    struct trib_secagg_entry *entries = trib_alloc_array(count, sizeof(*entries));
    const struct trib_secagg_entry **list = trib_alloc_array(count, sizeof(*list));
    uint32_t invited = 0;
    memset(hash, 0, TRIB_DIGEST_SIZE);
    for (uint32_t i = 0; i < count && entries && list; i++) {
        if (server->run->members[i].lease == TRIB_LEASE_TAKEN &&
            trib_secagg_fill_entry(server, i, &entries[invited])) {
            list[invited] = &entries[invited];
            invited++;
        }
    }
    if (invited > 0)
        trib_secagg_invited_hash(list, invited, hash);
    free(list);
    free(entries);
}

void trib_secagg_fill_header(struct trib_server *server, struct trib_secagg_header *header)
{
    const struct trib_round_run *run = server->run;
    *header = (struct trib_secagg_header){
        .job = server->job->id,
        .round_id = run->id,
        .round_number = run->number,
        .params = run->shape.words,
        .encoding = run->shape.privacy->encoding,
        .plan = run->shape.privacy->secagg,
    };
    memcpy(header->base_digest, server->head->manifest.digest, TRIB_DIGEST_SIZE);
    trib_training_digest(&run->task, header->training);
    memcpy(header->roster_key,
           server->config.roster_is_offline ? server->config.roster_key
                                            : server->identity.roster_key,
           TRIB_SIGN_KEY_SIZE);
}

// The cohort is complete: everybody learns what it is.
static enum trib_err begin_keys(struct trib_server *server)
{
    struct trib_round_run *run = server->run;
    run->secagg = trib_alloc(sizeof(*run->secagg));
    if (!run->secagg)
        return TRIB_ERR_NOMEM;
    trib_secagg_fill_header(server, &run->secagg->header);
    hash_invited(server, run->secagg->header.invited);
    return trib_secagg_hub_create(&run->secagg->header, server->config.population,
                                  &run->secagg->hub);
}

static enum trib_err begin_shares(struct trib_server *server)
{
    struct trib_round_secagg *secagg = server->run->secagg;
    struct trib_buf buf = {0};
    enum trib_err err = trib_secagg_hub_close_keys(secagg->hub);
    if (err)
        return err;
    for (uint32_t i = 0; i < trib_secagg_hub_count(secagg->hub); i++)
        trib_secagg_entry_pack(trib_secagg_hub_entry(secagg->hub, i), &buf);
    secagg->keys = blob_of(&buf);
    return secagg->keys ? TRIB_OK : TRIB_ERR_NOMEM;
}

static enum trib_err begin_consistency(struct trib_round_secagg *secagg)
{
    struct trib_buf buf = {0};
    trib_buf_append(&buf, trib_secagg_hub_survivor_set(secagg->hub),
                    trib_secagg_set_size(trib_secagg_hub_count(secagg->hub)));
    secagg->survivors = blob_of(&buf);
    return secagg->survivors ? TRIB_OK : TRIB_ERR_NOMEM;
}

static enum trib_err begin_unmasking(struct trib_round_secagg *secagg)
{
    struct trib_buf buf = {0};
    trib_buf_append(&buf, trib_secagg_hub_signer_set(secagg->hub),
                    trib_secagg_set_size(trib_secagg_hub_count(secagg->hub)));
    trib_secagg_hub_signatures(secagg->hub, &buf);
    secagg->consents = blob_of(&buf);
    return secagg->consents ? TRIB_OK : TRIB_ERR_NOMEM;
}

static enum trib_err begin_phase(struct trib_server *server)
{
    struct trib_round_secagg *secagg = server->run->secagg;
    switch (server->run->round.state) {
    case TRIB_ROUND_KEYS: return begin_keys(server);
    case TRIB_ROUND_SHARES: return begin_shares(server);
    case TRIB_ROUND_COLLECTING: return trib_secagg_hub_close_shares(secagg->hub);
    case TRIB_ROUND_CONSISTENCY: return begin_consistency(secagg);
    case TRIB_ROUND_UNMASKING: return begin_unmasking(secagg);
    case TRIB_ROUND_PLANNED:
    case TRIB_ROUND_SELECTING:
    case TRIB_ROUND_SEALED:
    case TRIB_ROUND_AGGREGATING:
    case TRIB_ROUND_COMMITTED:
    case TRIB_ROUND_ABANDONED: break;
    }
    return TRIB_OK;
}

enum trib_err trib_secagg_hub_take(struct trib_secagg_hub *hub,
                                   const struct trib_store_secagg *piece)
{
    if (piece->kind == TRIB_STORE_SECAGG_SHARES)
        return trib_secagg_hub_unmask(hub, piece->member, piece->data, piece->size);
    if (piece->size != TRIB_SIGNATURE_SIZE)
        return TRIB_ERR_DATA;
    return trib_secagg_hub_consent(hub, piece->member, piece->data);
}

// Has the phase what it needs?
void trib_secagg_settle(struct trib_server *server)
{
    const struct trib_round_run *run = server->run;
    const enum trib_round_state phase = run->round.state;
    bool is_enough =
        (phase == TRIB_ROUND_CONSISTENCY && trib_secagg_hub_has_consent(run->secagg->hub)) ||
        (phase == TRIB_ROUND_UNMASKING && trib_secagg_hub_can_open(run->secagg->hub));
    if (is_enough)
        (void)!trib_rounds_step(server, &(struct trib_round_input){.event = TRIB_ROUND_EV_ENOUGH});
}

void trib_secagg_pump(struct trib_server *server)
{
    struct trib_round_run *run = server->run;
    while (run->secagg_told != run->round.state) {
        enum trib_err err = begin_phase(server);
        if (err) {
            TRIB_ERROR("id=secagg-failed round=%" PRIu64 " cannot begin %s: %s", run->number,
                       trib_round_state_name(run->round.state), trib_err_text(err));
            cancel(server, TRIB_ROUND_REASON_SECAGG);
            return;
        }
        run->secagg_told = run->round.state;
        tell_all(server);
        TRIB_CRASH_POINT("secagg.phase");
        trib_secagg_settle(server); // after a restart it may all be there already
    }
}

// ---- The seal

enum trib_err trib_secagg_seal(struct trib_server *server, struct trib_buf *ret_packed)
{
    struct trib_round_run *run = server->run;
    struct trib_secagg_hub *hub = run->secagg->hub;
    enum trib_err err = TRIB_OK;
    for (uint32_t i = 0; i < run->round.member_count && !err; i++) {
        if (run->members[i].lease == TRIB_LEASE_COUNTED)
            err = trib_secagg_hub_masked(hub, trib_secagg_hub_find(hub, i));
    }
    if (!err)
        err = trib_secagg_hub_close_masked(hub);
    if (!err) {
        trib_buf_append(ret_packed, run->secagg->header.invited, TRIB_DIGEST_SIZE);
        trib_secagg_hub_pack(hub, ret_packed);
    }
    if (!err && ret_packed->failed)
        err = TRIB_ERR_NOMEM;
    return err;
}

// ---- After a restart

struct secagg_recovery {
    struct trib_server *server;
    enum trib_err err;
};

static enum trib_err take_hub(struct trib_server *server, const uint8_t *data, size_t size)
{
    struct trib_round_secagg *secagg = server->run->secagg;
    if (size < TRIB_DIGEST_SIZE)
        return TRIB_ERR_CORRUPT;
    memcpy(secagg->header.invited, data, TRIB_DIGEST_SIZE);
    return trib_secagg_hub_unpack(data + TRIB_DIGEST_SIZE, size - TRIB_DIGEST_SIZE, &secagg->header,
                                  server->config.population, &secagg->hub);
}

static void take_piece(void *user, const struct trib_store_secagg *piece)
{
    struct secagg_recovery *recovery = user;
    struct trib_round_secagg *secagg = recovery->server->run->secagg;
    if (recovery->err)
        return;
    if (piece->kind == TRIB_STORE_SECAGG_HUB)
        recovery->err = take_hub(recovery->server, piece->data, piece->size);
    else if (!secagg->hub)
        recovery->err = TRIB_ERR_CORRUPT;
    else if (trib_secagg_hub_take(secagg->hub, piece))
        TRIB_WARN("id=secagg-piece member=%" PRIu32 " had sent what does not fit", piece->member);
}

enum trib_err trib_secagg_resume(struct trib_server *server)
{
    struct trib_round_run *run = server->run;
    struct secagg_recovery recovery = {.server = server};
    run->secagg = trib_alloc(sizeof(*run->secagg));
    if (!run->secagg)
        return TRIB_ERR_NOMEM;
    trib_secagg_fill_header(server, &run->secagg->header);
    enum trib_err err = trib_store_secagg(server->store, run->id, take_piece, &recovery);
    if (!err)
        err = recovery.err;
    if (!err && !run->secagg->hub)
        err = TRIB_ERR_CORRUPT;
    if (err == TRIB_ERR_CORRUPT)
        TRIB_ERROR("id=store-corrupt round=%" PRIu64 " was sealed, but its keys are not there",
                   run->number);
    return err;
}

// ---- Devices that come back

// True: the member was seen to, and needs no task.
bool trib_secagg_ready(struct trib_server *server, uint32_t member,
                       const struct trib_msg_ready *ready)
{
    struct trib_round_run *run = server->run;
    const bool holds = ready->secagg_round == run->id;
    const enum trib_lease_state lease = run->members[member].lease;
    if (lease == TRIB_LEASE_TAKEN && run->members[member].steps > 0 && !holds) {
        // It was started anew: its secrets are gone, and it must not make others for this round.
        (void)!trib_rounds_step(server,
                                &(struct trib_round_input){.event = TRIB_ROUND_EV_RELEASE,
                                                           .member = member,
                                                           .code = TRIB_CODE_DECLINED_FAILED});
        return true;
    }
    if (holds)
        trib_secagg_tell(server, member);
    return holds;
}
