// Uploads: from UPLOAD_BEGIN to the receipt.
//
//     NONE -> WAITING -> ACTIVE -> HELD -> PENDING -> (counted, receipt)
//                ^          |  |
//                +- BROKEN <+  +-> OVER -> (refused or too late, receipt)
//
// BEGIN takes a slot of the round's segment; chunks are written at their offset by the workers, who
// work out their checksums and norms on the way (arrival.h); what is whole and within its bounds is
// made durable with its ledger row, and only then is the receipt sent. That it does not count is made durable before the receipt too: with its
// lease (server_lease.c), or with the seal or the end of its round.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "upload"

static void count_receipt(struct trib_server *server, enum trib_code code)
{
    server->counters.receipts[code]++;
}

// Answer a member's upload for good; the device may be away, then it asks again.
void trib_upload_answer(struct trib_server *server, uint32_t member, enum trib_code code)
{
    struct trib_member_upload *upload = &server->run->uploads[member];
    struct trib_peer *peer =
        trib_peers_by_id(server->peers, server->run->round.members[member].device);
    count_receipt(server, code);
    if (peer && peer->live)
        trib_server_send_receipt(peer->live, upload->begin.update_id, code);
}

// ---- The sink: where a connection's chunks go

static void sink_open(struct trib_session_link *session, const struct trib_member_upload *upload,
                      struct trib_segment *segment)
{
    struct trib_upload_sink *sink = &session->sink;
    (void)pthread_mutex_lock(&sink->lock);
    sink->is_open = true;
    sink->has_failed = false;
    sink->stream = upload->stream;
    sink->segment = trib_segment_ref(segment);
    sink->slot = upload->slot;
    sink->arrival = trib_arrival_ref(upload->arrival);
    sink->size = upload->begin.size;
    sink->received = upload->received;
    sink->moved_ms = trib_clock_mono_ms();
    sink->limit = upload->received + TRIB_SERVER_CREDIT;
    sink->limit = sink->limit < sink->size ? sink->limit : sink->size;
    memcpy(sink->update_id, upload->begin.update_id, TRIB_MSG_ID_SIZE);
    (void)pthread_mutex_unlock(&sink->lock);
}

// After this no worker writes to the slot any more. Returns the bytes it has.
static size_t sink_close(struct trib_session_link *session)
{
    struct trib_upload_sink *sink = &session->sink;
    (void)pthread_mutex_lock(&sink->lock);
    struct trib_segment *segment = sink->is_open ? sink->segment : NULL;
    struct trib_arrival *arrival = sink->is_open ? sink->arrival : NULL;
    size_t received = sink->is_open ? sink->received : 0;
    sink->is_open = false;
    sink->segment = NULL;
    sink->arrival = NULL;
    (void)pthread_mutex_unlock(&sink->lock);
    trib_segment_unref(segment);
    trib_arrival_unref(arrival);
    return received;
}

static void send_credit(struct trib_channel *channel, const uint8_t *update_id, size_t offset,
                        size_t limit)
{
    struct trib_msg_credit credit = {.offset = offset, .limit = limit};
    struct trib_buf packed = {0};
    memcpy(credit.update_id, update_id, TRIB_MSG_ID_SIZE);
    trib_msg_credit_pack(&credit, &packed);
    if (packed.failed)
        trib_channel_close(channel, TRIB_CLOSE_NOMEM); // else the device would wait for it
    else
        (void)!trib_channel_send(channel, TRIB_RECORD_CREDIT, 0, packed.data, packed.size);
    trib_buf_fini(&packed);
}

bool trib_upload_chunk(struct trib_session_link *session, const struct trib_record *record)
{
    struct trib_upload_sink *sink = &session->sink;
    bool is_good = true;
    bool wants_credit = false;

    (void)pthread_mutex_lock(&sink->lock);
    if (!sink->is_open || record->stream != sink->stream) {
        // What was under way when an upload ended is normal, and dropped.
    } else if (record->offset != sink->received || record->payload_size == 0 ||
               record->payload_size > sink->limit - sink->received) {
        is_good = false;
    } else {
        if (trib_segment_write(sink->segment, sink->slot, record->offset, record->payload,
                               record->payload_size))
            sink->has_failed = true; // logged; told when the upload ends
        trib_arrival_take(sink->arrival, record->payload, record->payload_size);
        sink->received += record->payload_size;
        sink->moved_ms = trib_clock_mono_ms();
        wants_credit =
            sink->limit < sink->size && sink->limit - sink->received < TRIB_SERVER_CREDIT / 2;
        if (wants_credit) {
            sink->limit = sink->received + TRIB_SERVER_CREDIT;
            sink->limit = sink->limit < sink->size ? sink->limit : sink->size;
        }
    }
    size_t received = sink->received;
    size_t limit = sink->limit;
    (void)pthread_mutex_unlock(&sink->lock);
    if (wants_credit)
        send_credit(session->channel, sink->update_id, received, limit);
    return is_good;
}

// ---- Ends of an upload

void trib_upload_release(struct trib_server *server, uint32_t member)
{
    struct trib_round_run *run = server->run;
    struct trib_member_upload *upload = &run->uploads[member];
    struct trib_peer *peer = trib_peers_by_id(server->peers, run->round.members[member].device);
    if (upload->state == TRIB_UPLOAD_ACTIVE && peer && peer->live)
        (void)sink_close(peer->live);
    if (upload->slot != UINT32_MAX)
        run->slots[upload->slot].is_used = false;
    trib_arrival_unref(upload->arrival);
    upload->arrival = NULL;
    upload->slot = UINT32_MAX;
    upload->state = TRIB_UPLOAD_NONE;
    upload->received = 0;
}

// It does not count: answer it, at once or when whoever dies now would still know.
static void end_upload(struct trib_server *server, uint32_t member, enum trib_code code)
{
    struct trib_member_upload *upload = &server->run->uploads[member];
    trib_upload_release(server, member);
    const bool must_wait = trib_leases_must_wait(server->run, member);
    if (!must_wait || TRIB_PLANT("refuse-early")) {
        trib_upload_answer(server, member, code);
        if (must_wait)
            trib_clock_sleep_ms(100); // it is on its way before anybody can die of the commit
        return;
    }
    upload->state = TRIB_UPLOAD_OVER;
    upload->code = code;
    TRIB_CRASH_POINT("refuse.waiting");
}

// Refuse a member's upload: lease, slot, receipt.
void trib_upload_refuse(struct trib_server *server, uint32_t member, enum trib_code code)
{
    const struct trib_peer *peer =
        trib_peers_by_id(server->peers, server->run->round.members[member].device);
    TRIB_INFO("round=%" PRIu64 " round_id=%" PRIu64 " device=%s refused code=%s",
              server->run->number, server->run->id, peer ? peer->row.name : "",
              trib_code_text(code));
    (void)!trib_rounds_step(
        server,
        &(struct trib_round_input){.event = TRIB_ROUND_EV_REFUSE, .member = member, .code = code});
    end_upload(server, member, code);
}

// ---- Begin

static bool is_under_way(enum trib_upload_state state)
{
    return state == TRIB_UPLOAD_HELD || state == TRIB_UPLOAD_PENDING || state == TRIB_UPLOAD_OVER;
}

// Whether it counts is not known yet, also when its round has been given up meanwhile.
static bool is_being_accepted(const struct trib_server *server,
                              const uint8_t id[static TRIB_MSG_ID_SIZE])
{
    const struct trib_accepting *accepting = server->accepting;
    while (accepting && memcmp(accepting->id, id, TRIB_MSG_ID_SIZE) != 0)
        accepting = accepting->next;
    return accepting != NULL;
}

// `known` is what is durable under its id, in whichever round.
static enum trib_code judge_begin(struct trib_server *server, struct trib_peer *peer,
                                  const struct trib_msg_upload_begin *begin,
                                  const struct trib_known_row *known)
{
    struct trib_round_run *run = server->run;
    const struct trib_admit_known durable = {.device = known->device, .digest = known->digest};
    const struct trib_admit_claim claim = {
        .round_id = begin->round_id,
        .size = begin->size,
        .has_weight = begin->has_weight,
        .weight = begin->weight,
        .base_digest = begin->base_digest,
        .arch_digest = begin->arch_digest,
        .digest = begin->digest,
    };
    const struct trib_admit_round none = {.round_id = 0};
    // Ids of so long ago are forgotten: nobody can tell whether it was counted.
    if (!known->is_found && server->last_round_id > TRIB_SERVER_LEDGER_ROUNDS &&
        begin->round_id < server->last_round_id - TRIB_SERVER_LEDGER_ROUNDS)
        return TRIB_CODE_STALE;
    enum trib_code code = trib_admit_begin(run ? &run->rule : &none, run ? &run->round : NULL,
                                           trib_rounds_member(server, peer), peer->row.id, &claim,
                                           known->is_found ? &durable : NULL);
    if (code == TRIB_CODE_CONFLICT)
        trib_audit_conflict(server, peer, begin->round_id);
    return code;
}

static void answer_begin(struct trib_server *server, const struct trib_peer *peer,
                         const struct trib_msg_upload_begin *begin, enum trib_code code)
{
    TRIB_INFO("round_id=%" PRIu64 " device=%s answered code=%s", begin->round_id, peer->row.name,
              trib_code_text(code));
    count_receipt(server, code);
    if (peer->live)
        trib_server_send_receipt(peer->live, begin->update_id, code);
}

void trib_upload_answer_old(struct trib_server *server, struct trib_peer *peer,
                            const struct trib_msg_upload_begin *begin,
                            const struct trib_known_row *known)
{
    const bool has_opened = server->run && server->run->id == begin->round_id; // in the meantime
    const bool is_open =
        !known->is_found && (has_opened || is_being_accepted(server, begin->update_id));
    answer_begin(server, peer, begin,
                 is_open ? TRIB_CODE_RETRY_LATER : judge_begin(server, peer, begin, known));
}

// What is in memory under its id, which is of the open round.
static struct trib_known_row find_known(const struct trib_server *server,
                                        const uint8_t id[static TRIB_MSG_ID_SIZE])
{
    struct trib_known_row row = {.is_found = false};
    const struct trib_known_update *known =
        TRIB_PLANT("no-idempotency") ? NULL : trib_map_get(server->known, id, TRIB_MSG_ID_SIZE);
    if (known) {
        row.is_found = true;
        row.device = known->device;
        memcpy(row.digest, known->digest, sizeof(row.digest));
    }
    return row;
}

// What a device says of its update shows that it cannot be counted in this round, whatever comes.
static bool is_hopeless(enum trib_code code)
{
    return code == TRIB_CODE_ARCH_MISMATCH || code == TRIB_CODE_BASE_MISMATCH ||
           code == TRIB_CODE_OVERSIZE || code == TRIB_CODE_SHAPE_OR_DECODE ||
           code == TRIB_CODE_BAD_WEIGHT || code == TRIB_CODE_MALFORMED;
}

// Its lease ends, so that the round does not wait for it; one begun before is cut.
static void end_hopeless(struct trib_session_link *session, uint32_t member,
                         const struct trib_msg_upload_begin *begin, enum trib_code code)
{
    struct trib_server *server = session->server;
    struct trib_member_upload *upload = &server->run->uploads[member];
    server->counters.cut +=
        upload->state == TRIB_UPLOAD_WAITING || upload->state == TRIB_UPLOAD_ACTIVE;
    if (upload->state == TRIB_UPLOAD_ACTIVE)
        (void)sink_close(session);
    upload->state = TRIB_UPLOAD_WAITING;
    upload->begin = *begin;
    trib_upload_refuse(server, member, code);
}

// The bytes that an upload has so far. True: the slot did not take all of them.
static bool stop_sink(struct trib_session_link *session, struct trib_member_upload *upload)
{
    upload->received = sink_close(session);
    const bool has_failed = session->sink.has_failed;
    if (has_failed)
        trib_slots_fail(session->server, upload->slot);
    return has_failed;
}

// There are as many slots as offers; but where some cannot be written the round goes on without it.
static void end_without_slot(struct trib_server *server, uint32_t member)
{
    const struct trib_round_run *run = server->run;
    if (trib_slots_usable(run) < run->plan.goal) {
        trib_upload_refuse(server, member, TRIB_CODE_ROUND_CLOSED);
        return;
    }
    trib_upload_answer(server, member, TRIB_CODE_RETRY_LATER);
    trib_upload_release(server, member);
}

void trib_upload_begin(struct trib_session_link *session, uint16_t stream, const uint8_t *data,
                       size_t size)
{
    struct trib_server *server = session->server;
    struct trib_msg_upload_begin begin;

    if (trib_msg_upload_begin_unpack(data, size, &begin)) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    server->counters.begins++;
    const struct trib_known_row known = find_known(server, begin.update_id);
    const bool is_accepting = is_being_accepted(server, begin.update_id);
    if (!known.is_found && !is_accepting && !(server->run && server->run->id == begin.round_id)) {
        if (!trib_known_ask(server, session->peer, &begin))
            answer_begin(server, session->peer, &begin, TRIB_CODE_RETRY_LATER);
        return;
    }
    uint32_t member = trib_rounds_member(server, session->peer);
    struct trib_member_upload *upload = member == UINT32_MAX ? NULL : &server->run->uploads[member];
    enum trib_code code = judge_begin(server, session->peer, &begin, &known);
    bool is_same = upload && upload->state != TRIB_UPLOAD_NONE &&
                   memcmp(upload->begin.update_id, begin.update_id, TRIB_MSG_ID_SIZE) == 0 &&
                   memcmp(upload->begin.digest, begin.digest, TRIB_DIGEST_SIZE) == 0;
    if (upload && is_under_way(upload->state) &&
        (code == TRIB_CODE_NONE || code == TRIB_CODE_ALREADY_COUNTED || is_hopeless(code))) {
        // It is about to be answered, or counts but is not durable: another one waits for that.
        const bool counts = server->run->members[member].lease == TRIB_LEASE_COUNTED;
        code = is_same || !counts ? TRIB_CODE_RETRY_LATER : TRIB_CODE_ALREADY_COUNTED;
    }
    if (is_accepting ||
        (code && !known.is_found && upload && trib_leases_must_wait(server->run, member)))
        code = TRIB_CODE_RETRY_LATER;
    if (code && upload && is_hopeless(code) && !is_under_way(upload->state)) {
        end_hopeless(session, member, &begin, code);
        return;
    }
    if (code || !upload) { // who is no member has a code
        answer_begin(server, session->peer, &begin, code);
        return;
    }
    if (upload->state != TRIB_UPLOAD_NONE) { // begun before: go on with the same, drop another
        server->counters.cut += upload->state != TRIB_UPLOAD_BROKEN;
        const bool has_lost = upload->state == TRIB_UPLOAD_ACTIVE && stop_sink(session, upload);
        if (has_lost || !is_same)
            trib_upload_release(server, member);
    }
    if (upload->slot == UINT32_MAX)
        upload->slot = trib_slots_take(server);
    upload->begin = begin;
    upload->stream = stream;
    upload->state = TRIB_UPLOAD_WAITING;
    if (upload->slot == UINT32_MAX) {
        end_without_slot(server, member);
        return;
    }
    // It is there, so it has its task: after a restart nothing else says so, and what is only offered
    // is not waited for.
    (void)!trib_rounds_step(
        server, &(struct trib_round_input){.event = TRIB_ROUND_EV_TAKE, .member = member});
}

// ---- End

// All of it has come: may it count?
static void judge_whole(struct trib_server *server, uint32_t member)
{
    struct trib_member_upload *upload = &server->run->uploads[member];
    enum trib_code code = trib_admit_numbers(&server->run->rule, &upload->arrival->norms);
    if (code)
        trib_upload_refuse(server, member, code);
    else
        upload->state = TRIB_UPLOAD_HELD;
}

void trib_upload_end(struct trib_session_link *session, const uint8_t *data, size_t size)
{
    struct trib_server *server = session->server;
    struct trib_msg_upload_end end;
    if (trib_msg_upload_end_unpack(data, size, &end)) {
        trib_server_close(session, TRIB_CLOSE_MALFORMED);
        return;
    }
    uint32_t member = trib_rounds_member(server, session->peer);
    if (member == UINT32_MAX)
        return; // the round ended meanwhile; RoundEnd is on its way
    struct trib_member_upload *upload = &server->run->uploads[member];
    if (upload->state != TRIB_UPLOAD_ACTIVE ||
        memcmp(upload->begin.update_id, end.update_id, TRIB_MSG_ID_SIZE) != 0)
        return;
    const bool has_failed = stop_sink(session, upload);
    if (upload->received != upload->begin.size) {
        trib_upload_refuse(server, member, TRIB_CODE_SHAPE_OR_DECODE);
    } else if (has_failed) { // our disk, not the device's fault: again, into another slot
        trib_upload_answer(server, member, TRIB_CODE_RETRY_LATER);
        trib_upload_release(server, member);
    } else {
        judge_whole(server, member);
    }
}

// ---- Turns, time, ends

static void give_credit(struct trib_server *server, uint32_t member)
{
    struct trib_member_upload *upload = &server->run->uploads[member];
    struct trib_peer *peer =
        trib_peers_by_id(server->peers, server->run->round.members[member].device);
    if (!peer || !peer->live)
        return;
    if (!upload->arrival)
        upload->arrival =
            trib_arrival_create(upload->begin.size, server->run->rule.encoding->word_bits);
    if (!upload->arrival) {
        trib_upload_answer(server, member, TRIB_CODE_RETRY_LATER);
        trib_upload_release(server, member);
        return;
    }
    upload->state = TRIB_UPLOAD_ACTIVE;
    sink_open(peer->live, upload, server->run->segment);
    send_credit(peer->live->channel, upload->begin.update_id, upload->received,
                peer->live->sink.limit);
}

void trib_upload_pump(struct trib_server *server)
{
    struct trib_round_run *run = server->run;
    uint32_t active = 0;
    if (!run || !run->segment)
        return;
    for (uint32_t i = 0; i < run->round.member_count; i++)
        active += run->uploads[i].state == TRIB_UPLOAD_ACTIVE;
    for (uint32_t i = 0; i < run->round.member_count; i++) {
        struct trib_member_upload *upload = &run->uploads[i];
        if (upload->state == TRIB_UPLOAD_WAITING && active < TRIB_SERVER_UPLOADS_MAX) {
            give_credit(server, i);
            active++;
        }
        if (upload->state != TRIB_UPLOAD_HELD)
            continue;
        // LIMIT: enough are pending or counted; it waits until one failed or the round is sealed
        if (trib_rounds_step(server, &(struct trib_round_input){.event = TRIB_ROUND_EV_PEND,
                                                                .member = i}) == TRIB_OK)
            trib_upload_accept(server, i);
    }
}

void trib_upload_session_gone(struct trib_session_link *session)
{
    struct trib_server *server = session->server;
    size_t received = sink_close(session);
    if (!session->peer || session->peer->live != session)
        return;
    uint32_t member = trib_rounds_member(server, session->peer);
    if (member == UINT32_MAX)
        return;
    struct trib_member_upload *upload = &server->run->uploads[member];
    if (upload->state == TRIB_UPLOAD_ACTIVE || upload->state == TRIB_UPLOAD_WAITING) {
        const bool was_active = upload->state == TRIB_UPLOAD_ACTIVE;
        if (was_active)
            upload->received = received;
        upload->state = TRIB_UPLOAD_BROKEN;
        server->counters.cut++;
        if (was_active && session->sink.has_failed) { // it cannot go on from there
            trib_slots_fail(server, upload->slot);
            trib_upload_release(server, member);
        }
    }
}

void trib_upload_tick(struct trib_server *server, uint64_t now_ms)
{
    struct trib_round_run *run = server->run;
    for (uint32_t i = 0; run && i < run->round.member_count; i++) {
        struct trib_peer *peer = trib_peers_by_id(server->peers, run->round.members[i].device);
        if (run->uploads[i].state != TRIB_UPLOAD_ACTIVE || !peer || !peer->live)
            continue;
        (void)pthread_mutex_lock(&peer->live->sink.lock);
        bool is_slow = now_ms > peer->live->sink.moved_ms + TRIB_SERVER_UPLOAD_IDLE_MS;
        (void)pthread_mutex_unlock(&peer->live->sink.lock);
        if (is_slow) {
            trib_upload_answer(server, i, TRIB_CODE_SLOW);
            trib_upload_release(server, i);
        }
    }
}

void trib_upload_finish_all(struct trib_server *server)
{
    struct trib_round_run *run = server->run;
    for (uint32_t i = 0; i < run->round.member_count; i++) {
        switch (run->uploads[i].state) {
        case TRIB_UPLOAD_WAITING:
        case TRIB_UPLOAD_ACTIVE:
        case TRIB_UPLOAD_HELD: end_upload(server, i, TRIB_CODE_ROUND_CLOSED); break;
        case TRIB_UPLOAD_NONE:
        case TRIB_UPLOAD_BROKEN: trib_upload_release(server, i); break;
        case TRIB_UPLOAD_PENDING:
        case TRIB_UPLOAD_OVER: break;
        }
    }
}
