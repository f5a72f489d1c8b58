// Uploads as they come in, up to the receipt: many devices, and no network.
#include "coordinator/server_state.h"
#include "tests/unit/files.h"

#include <pthread.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/map.h"

enum {
    DEVICES = 10000,
    SIZE = 30, // bytes of an update: ten parameters of 24 bits
    ROUND = 5,
};

static const uint8_t base[TRIB_DIGEST_SIZE] = {1};
static const uint8_t ours[TRIB_DIGEST_SIZE] = {2};
static const uint8_t theirs[TRIB_DIGEST_SIZE] = {9};

static struct fixture {
    struct trib_encoding encoding;
    struct trib_round_member members[DEVICES];
    struct trib_member_upload uploads[DEVICES];
    struct trib_peer peers[DEVICES];
    struct trib_session_link sessions[DEVICES];
    struct trib_slot_use slots[DEVICES];
    uint64_t changed_ms[DEVICES];
    struct trib_round_run run;
    struct trib_server server;
    uint64_t answered[TRIB_CODE_MAX]; // receipts that were sent
} fixture;

// What would go over the network.
void __wrap_trib_server_send_receipt(struct trib_session_link *session,
                                     const uint8_t update_id[static TRIB_MSG_ID_SIZE],
                                     enum trib_code code);
void __wrap_trib_server_send_receipt(struct trib_session_link *session,
                                     const uint8_t update_id[static TRIB_MSG_ID_SIZE],
                                     enum trib_code code)
{
    assert_int_equal(trib_load_le64(update_id), session->peer->row.id);
    fixture.answered[code]++;
}

enum trib_err __wrap_trib_channel_send(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                       const void *data, size_t size);
enum trib_err __wrap_trib_channel_send(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                       const void *data, size_t size)
{
    (void)channel;
    (void)stream;
    (void)data;
    (void)size;
    assert_int_equal(type, TRIB_RECORD_CREDIT);
    return TRIB_OK;
}

struct trib_peer *__wrap_trib_peers_by_id(const struct trib_peers *peers, uint64_t id);
struct trib_peer *__wrap_trib_peers_by_id(const struct trib_peers *peers, uint64_t id)
{
    (void)peers;
    return &fixture.peers[id - 100];
}

// The round alone, without what a coordinator makes of its end.
enum trib_err __wrap_trib_rounds_step(struct trib_server *server,
                                      const struct trib_round_input *input);
enum trib_err __wrap_trib_rounds_step(struct trib_server *server,
                                      const struct trib_round_input *input)
{
    return trib_round_step(&server->run->round, input, 0);
}

// What would be made durable: the last of it, until a test says that it is.
static struct trib_server_op *submitted;
void __wrap_trib_server_submit(struct trib_server *server, struct trib_server_op *op);
void __wrap_trib_server_submit(struct trib_server *server, struct trib_server_op *op)
{
    (void)server;
    submitted = op;
}

// The store: what it has under any id, and that it takes none.
static struct trib_store_update row;
static bool is_stored;
enum trib_err __wrap_trib_store_update_get(struct trib_store *store, const uint8_t id[static 16],
                                           trib_store_update_fn take, void *user);
enum trib_err __wrap_trib_store_update_get(struct trib_store *store, const uint8_t id[static 16],
                                           trib_store_update_fn take, void *user)
{
    (void)store;
    (void)id;
    if (is_stored)
        take(user, &row);
    return TRIB_OK;
}

enum trib_err __wrap_trib_store_update_insert(struct trib_store *store,
                                              const struct trib_store_update *update);
enum trib_err __wrap_trib_store_update_insert(struct trib_store *store,
                                              const struct trib_store_update *update)
{
    (void)store;
    (void)update;
    return TRIB_ERR_STATE;
}

// The disk under the slots from this one on takes nothing.
static uint32_t broken_from;
enum trib_err __real_trib_segment_write(struct trib_segment *segment, uint32_t slot, size_t offset,
                                        const void *data, size_t size);
enum trib_err __wrap_trib_segment_write(struct trib_segment *segment, uint32_t slot, size_t offset,
                                        const void *data, size_t size);
enum trib_err __wrap_trib_segment_write(struct trib_segment *segment, uint32_t slot, size_t offset,
                                        const void *data, size_t size)
{
    return slot < broken_from ? __real_trib_segment_write(segment, slot, offset, data, size)
                              : TRIB_ERR_IO;
}

// Leases that are written: how many, and the last one.
static uint32_t leases_put;
static struct trib_store_lease last_lease;
enum trib_err __wrap_trib_store_lease_put(struct trib_store *store,
                                          const struct trib_store_lease *lease);
enum trib_err __wrap_trib_store_lease_put(struct trib_store *store,
                                          const struct trib_store_lease *lease)
{
    (void)store;
    leases_put++;
    last_lease = *lease;
    return TRIB_OK;
}

void __wrap_trib_audit_conflict(struct trib_server *server, struct trib_peer *peer,
                                uint64_t round_id);
void __wrap_trib_audit_conflict(struct trib_server *server, struct trib_peer *peer,
                                uint64_t round_id)
{
    (void)server;
    (void)peer;
    assert_int_equal(round_id, ROUND);
}

static void step(enum trib_round_event event, uint64_t device, uint32_t member)
{
    assert_int_equal(
        trib_round_step(
            &fixture.run.round,
            &(struct trib_round_input){.event = event, .device = device, .member = member}, 0),
        TRIB_OK);
}

// A round that collects, of devices that all took their task.
static int set_up(void **state)
{
    struct fixture *f = &fixture;
    const struct trib_round_plan plan = {.goal = DEVICES,
                                         .offers = DEVICES,
                                         .accepted_min = 1,
                                         .select_ms = 1000,
                                         .report_ms = 1000};
    (void)state;
    memset(f, 0, sizeof(*f)); // larger than a stack
    f->encoding.mode = TRIB_PRIVACY_OFF;
    f->encoding.grid = 0x1p-20;
    f->encoding.word_bits = 24;
    f->run.id = ROUND;
    f->run.uploads = f->uploads;
    f->run.members = f->members;
    f->run.slots = f->slots;
    f->run.plan = plan;
    broken_from = DEVICES;
    f->run.changed_ms = f->changed_ms;
    f->run.capacity = DEVICES;
    f->run.rule = (struct trib_admit_round){.round_id = ROUND,
                                            .base_digest = base,
                                            .arch_digest = ours,
                                            .params = SIZE / 3,
                                            .packed_size = SIZE,
                                            .weight_max = 100,
                                            .encoding = &f->encoding};
    f->server.run = &f->run;
    if (trib_round_init(&f->run.round, &plan, f->members, DEVICES) ||
        trib_map_create(&f->server.known) || trib_peers_create(1, 1, &f->server.peers) ||
        trib_segment_create(files_dir, ROUND, SIZE, DEVICES, &f->run.segment))
        return -1;
    step(TRIB_ROUND_EV_OPENED, 0, 0);
    for (uint32_t i = 0; i < DEVICES; i++) {
        f->uploads[i].slot = UINT32_MAX;
        f->peers[i].row.id = 100 + i;
        f->sessions[i].server = &f->server;
        f->sessions[i].peer = &f->peers[i];
        f->peers[i].live = &f->sessions[i];
        if (pthread_mutex_init(&f->sessions[i].sink.lock, NULL))
            return -1;
        step(TRIB_ROUND_EV_OFFER, 100 + i, 0);
    }
    for (uint32_t i = 0; i < DEVICES; i++)
        step(TRIB_ROUND_EV_TAKE, 0, i);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DEVICES; i++) {
        (void)pthread_mutex_destroy(&fixture.sessions[i].sink.lock);
        trib_arrival_unref(fixture.uploads[i].arrival);
    }
    trib_segment_unref(fixture.run.segment);
    trib_map_destroy(fixture.server.known);
    trib_peers_destroy(fixture.server.peers);
    return trib_segment_remove(files_dir, ROUND) ? -1 : 0;
}

// All of a device's update, as one sends it that does not wait to be let.
static void upload(uint32_t device, const uint8_t *arch_digest)
{
    static const uint8_t bytes[SIZE] = {1, 2, 3};
    struct trib_session_link *session = &fixture.sessions[device];
    struct trib_msg_upload_begin begin = {
        .round_id = ROUND, .size = SIZE, .has_weight = true, .weight = 20};
    struct trib_msg_upload_end end;
    struct trib_buf packed = {0};
    const struct trib_record chunk = {
        .type = TRIB_RECORD_UPLOAD_CHUNK, .stream = 1, .payload = bytes, .payload_size = SIZE};

    memset(begin.update_id, 0, sizeof(begin.update_id));
    trib_store_le64(begin.update_id, session->peer->row.id);
    memcpy(begin.base_digest, base, TRIB_DIGEST_SIZE);
    memcpy(begin.arch_digest, arch_digest, TRIB_DIGEST_SIZE);
    trib_msg_upload_begin_pack(&begin, &packed);
    assert_false(packed.failed);
    trib_upload_begin(session, 1, packed.data, packed.size);
    trib_buf_fini(&packed);

    assert_true(trib_upload_chunk(session, &chunk));
    memcpy(end.update_id, begin.update_id, TRIB_MSG_ID_SIZE);
    trib_msg_upload_end_pack(&end, &packed);
    trib_upload_end(session, packed.data, packed.size);
    trib_buf_fini(&packed);
}

static uint64_t answered(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < TRIB_CODE_MAX; i++) {
        assert_int_equal(fixture.server.counters.receipts[i], fixture.answered[i]);
        sum += fixture.answered[i];
    }
    return sum;
}

// What is over becomes durable, all of it in one transaction.
static void save_leases(uint32_t count)
{
    const uint64_t before = answered();
    submitted = NULL;
    leases_put = 0;
    trib_leases_save(&fixture.server);
    assert_non_null(submitted);
    assert_int_equal(answered(), before); // not before it is durable
    submitted->op.result = submitted->op.apply(&submitted->op, NULL);
    assert_int_equal(answered(), before);
    assert_int_equal(leases_put, count);
    submitted->finish(&fixture.server, submitted);
}

static void no_update_of_another_architecture_counts(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DEVICES; i++)
        upload(i, theirs);
    assert_int_equal(answered(), 0);
    assert_int_equal(trib_server_uploads_in_flight(&fixture.server), DEVICES);
    save_leases(DEVICES);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], DEVICES);
    assert_int_equal(answered(), DEVICES);
    assert_int_equal(fixture.server.counters.begins, DEVICES);
    const struct trib_round *round = &fixture.run.round;
    assert_int_equal(round->state, TRIB_ROUND_ABANDONED); // nobody is left to wait for
    assert_int_equal(round->leases[TRIB_LEASE_COUNTED] + round->leases[TRIB_LEASE_PENDING], 0);
    assert_int_equal(round->leases[TRIB_LEASE_REFUSED], DEVICES);
    trib_upload_pump(&fixture.server); // nor is anything on its way to be counted
    for (uint32_t i = 0; i < DEVICES; i++) {
        assert_int_equal(fixture.uploads[i].state, TRIB_UPLOAD_NONE);
        assert_false(fixture.slots[i].is_used);
        assert_false(fixture.sessions[i].sink.is_open);
    }
}

static void those_of_this_architecture_are_let_in_beside_them(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DEVICES; i++)
        upload(i, i % 2 ? ours : theirs);
    save_leases(DEVICES / 2);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], DEVICES / 2);
    assert_int_equal(answered(), DEVICES / 2);
    for (uint32_t i = 0; i < DEVICES; i++)
        assert_int_equal(fixture.uploads[i].state, i % 2 ? TRIB_UPLOAD_WAITING : TRIB_UPLOAD_NONE);
}

static void assert_books_balance(uint64_t in_flight)
{
    const struct trib_server *server = &fixture.server;
    assert_int_equal(trib_server_uploads_in_flight(server), in_flight);
    assert_int_equal(server->counters.begins, answered() + server->counters.cut + in_flight);
}

// Nobody waits for it, so that it is too late for another one; nor is it told before it is durable.
static void one_that_was_refused_is_out_of_the_round(void **state)
{
    (void)state;
    upload(7, theirs);
    assert_int_equal(fixture.run.round.leases[TRIB_LEASE_REFUSED], 1);
    assert_books_balance(1);
    upload(7, ours);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 1);
    assert_books_balance(1);
    trib_upload_session_gone(&fixture.sessions[7]);
    assert_books_balance(1); // it is answered, whether it is there or not
    save_leases(1);
    assert_int_equal(last_lease.device, 107);
    assert_int_equal(last_lease.state, TRIB_LEASE_REFUSED);
    assert_int_equal(last_lease.code, TRIB_CODE_ARCH_MISMATCH);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], 1);
    assert_books_balance(0);
    upload(7, ours);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_NONE);
    assert_int_equal(fixture.answered[TRIB_CODE_NO_LEASE], 1);
    assert_books_balance(0);
}

// One comes while others are on their way to the disk: it goes with the next transaction.
static void refusals_go_together(void **state)
{
    (void)state;
    upload(1, theirs);
    upload(2, theirs);
    submitted = NULL;
    trib_leases_save(&fixture.server);
    struct trib_server_op *first = submitted;
    upload(3, theirs);
    submitted = NULL;
    trib_leases_save(&fixture.server);
    assert_null(submitted);
    first->op.result = TRIB_OK;
    first->finish(&fixture.server, first);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], 2);
    save_leases(1);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], 3);
    assert_books_balance(0);
}

// A masked round does not go on after a restart: nobody is asked again.
static void those_of_a_masked_round_are_told_at_once(void **state)
{
    (void)state;
    fixture.run.plan.is_masked = true;
    upload(1, theirs);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], 1);
    upload(2, ours);
    fixture.run.round.state = TRIB_ROUND_SEALED;
    trib_upload_finish_all(&fixture.server);
    assert_int_equal(fixture.answered[TRIB_CODE_ROUND_CLOSED], 1);
    assert_books_balance(0);
}

// Its update with credit, as one sends it that waits to be let.
static void upload_whole(uint32_t device)
{
    struct trib_msg_upload_end end = {.update_id = {0}};
    struct trib_buf packed = {0};
    static const uint8_t bytes[SIZE] = {1, 2, 3};
    const struct trib_record chunk = {
        .type = TRIB_RECORD_UPLOAD_CHUNK, .stream = 1, .payload = bytes, .payload_size = SIZE};
    upload(device, ours); // begins, and is not let yet
    trib_upload_pump(&fixture.server);
    assert_true(trib_upload_chunk(&fixture.sessions[device], &chunk));
    memcpy(end.update_id, fixture.uploads[device].begin.update_id, sizeof(end.update_id));
    trib_msg_upload_end_pack(&end, &packed);
    trib_upload_end(&fixture.sessions[device], packed.data, packed.size);
    trib_buf_fini(&packed);
}

// The other slots are taken.
static void leave_slots(uint32_t count)
{
    for (uint32_t i = count; i < DEVICES; i++)
        fixture.slots[i] = (struct trib_slot_use){.is_used = true};
}

static void a_slot_that_cannot_be_written_is_left_for_another(void **state)
{
    (void)state;
    leave_slots(3);
    fixture.slots[0].is_used = true;
    broken_from = 2;
    fixture.slots[1].is_used = true; // for now
    upload_whole(7);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 1);
    assert_int_equal(fixture.slots[2].failures, 1);
    assert_false(fixture.slots[2].is_used);
    fixture.slots[1].is_used = false;
    upload_whole(7);
    assert_int_equal(fixture.uploads[7].slot, 1);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_HELD);
    assert_int_equal(answered(), 1);
    assert_books_balance(1);
}

// Another may need it more than once: then it is not used any more, and the round does without.
static void one_that_finds_no_slot_is_out_of_the_round(void **state)
{
    (void)state;
    leave_slots(1);
    broken_from = 0;
    for (uint32_t i = 1; i <= 3; i++) {
        upload_whole(7);
        assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], i);
        assert_int_equal(fixture.slots[0].failures, i);
    }
    assert_int_equal(trib_slots_usable(&fixture.run), DEVICES - 1);
    upload(7, ours);
    assert_int_equal(fixture.run.members[7].lease, TRIB_LEASE_REFUSED);
    save_leases(1);
    assert_int_equal(fixture.answered[TRIB_CODE_ROUND_CLOSED], 1);
    assert_int_equal(fixture.run.round.state, TRIB_ROUND_COLLECTING);
    assert_books_balance(0);
}

static void a_round_with_too_few_slots_is_given_up(void **state)
{
    (void)state;
    fixture.run.plan.accepted_min = DEVICES;
    leave_slots(1);
    broken_from = 0;
    for (uint32_t i = 1; i <= 3; i++)
        upload_whole(7);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 3);
    assert_int_equal(fixture.run.round.state, TRIB_ROUND_ABANDONED);
    assert_int_equal(fixture.run.round.reason, TRIB_ROUND_REASON_STORAGE);
    assert_books_balance(0);
}

// The connection goes after a write that failed: what the slot has is not gone on with.
static void a_failed_write_is_not_forgotten_with_its_connection(void **state)
{
    (void)state;
    const struct trib_record chunk = {.type = TRIB_RECORD_UPLOAD_CHUNK,
                                      .stream = 1,
                                      .payload = (const uint8_t *)"123",
                                      .payload_size = 3};
    broken_from = 0;
    upload(7, ours);
    trib_upload_pump(&fixture.server);
    assert_true(trib_upload_chunk(&fixture.sessions[7], &chunk));
    trib_upload_session_gone(&fixture.sessions[7]);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_NONE);
    assert_int_equal(fixture.uploads[7].received, 0);
    assert_int_equal(fixture.slots[0].failures, 1);
    assert_books_balance(0);
    broken_from = DEVICES;
    upload_whole(7);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_HELD);
    assert_int_equal(fixture.uploads[7].slot, 1);
}

// Whatever becomes of an upload: begun = answered + cut + in flight.
static void every_upload_that_begins_ends_once(void **state)
{
    (void)state;
    enum {
        SOME = 40
    };
    for (uint32_t i = 0; i < SOME; i++)
        upload(i, i % 4 ? ours : theirs);
    assert_books_balance(SOME);
    save_leases(SOME / 4);
    assert_books_balance(SOME * 3 / 4);
    for (uint32_t i = 0; i < SOME; i += 2) // half of them go, some of those with an answer
        trib_upload_session_gone(&fixture.sessions[i]);
    assert_books_balance(SOME / 2);
    assert_int_equal(fixture.server.counters.cut, SOME / 4);
    for (uint32_t i = 0; i < SOME; i++) // they come back, and those that stayed begin anew
        upload(i, ours);
    assert_books_balance(SOME * 3 / 4);
    trib_upload_session_gone(&fixture.sessions[1]);
    assert_books_balance(SOME * 3 / 4 - 1);
    fixture.run.round.state = TRIB_ROUND_ABANDONED; // in memory
    trib_upload_finish_all(&fixture.server);        // nobody is there any more to be told
    assert_int_equal(fixture.server.counters.receipts[TRIB_CODE_ROUND_CLOSED], 0);
    assert_books_balance(SOME * 3 / 4 - 1);
    upload(2, ours); // asks once more
    assert_books_balance(SOME * 3 / 4 - 1);
    trib_leases_tell(&fixture.server); // on the disk
    assert_books_balance(0);
    assert_int_equal(fixture.server.counters.receipts[TRIB_CODE_ROUND_CLOSED], SOME * 3 / 4 - 1);
    assert_int_equal(trib_server_uploads_in_flight(&fixture.server), 0);
}

// It sends its update again when the round is over, and the store says so of it; what it is told.
static enum trib_code ask(uint32_t device, bool is_found, uint64_t owner)
{
    uint64_t before[TRIB_CODE_MAX];
    const uint64_t begins = fixture.server.counters.begins;
    memcpy(before, fixture.answered, sizeof(before));
    submitted = NULL;
    upload(device, ours);
    assert_int_equal(memcmp(before, fixture.answered, sizeof(before)), 0); // not before it said so
    assert_non_null(submitted);
    assert_int_equal(trib_server_uploads_in_flight(&fixture.server), 1);

    struct trib_server_op *op = submitted;
    upload(device, ours); // while it waits it is asked to wait, and nobody is asked again
    assert_ptr_equal(submitted, op);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], before[TRIB_CODE_RETRY_LATER] + 1);
    before[TRIB_CODE_RETRY_LATER]++;
    assert_int_equal(fixture.server.counters.begins, begins + 2);

    row = (struct trib_store_update){.device = owner};
    is_stored = is_found;
    op->op.result = op->op.apply(&op->op, NULL);
    op->finish(&fixture.server, op);
    assert_int_equal(trib_server_uploads_in_flight(&fixture.server), 0);
    for (int i = 0; i < TRIB_CODE_MAX; i++) {
        if (fixture.answered[i] != before[i])
            return (enum trib_code)i;
    }
    return TRIB_CODE_MAX;
}

static void the_store_says_what_became_of_old_ones(void **state)
{
    (void)state;
    fixture.server.run = NULL;
    assert_int_equal(ask(7, true, 107), TRIB_CODE_DUPLICATE);
    assert_int_equal(ask(7, true, 108), TRIB_CODE_CONFLICT); // another device's
    assert_int_equal(ask(7, false, 0), TRIB_CODE_ROUND_CLOSED);
    fixture.server.last_round_id = ROUND + TRIB_SERVER_LEDGER_ROUNDS + 1;
    assert_int_equal(ask(7, true, 107), TRIB_CODE_DUPLICATE); // it still knows
    assert_int_equal(ask(7, false, 0), TRIB_CODE_STALE);
    assert_books_balance(0);
}

// Its round opens while the store is asked: it begins anew.
static void one_that_was_asked_about_too_early_begins_anew(void **state)
{
    (void)state;
    fixture.server.run = NULL;
    upload(7, ours);
    struct trib_server_op *op = submitted;
    fixture.server.run = &fixture.run;
    is_stored = false;
    op->op.result = op->op.apply(&op->op, NULL);
    op->finish(&fixture.server, op);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 1);
}

// An id of before, sent with the open round: only the store knows it, at the end.
static void an_old_id_in_the_open_round_is_told_what_it_is(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        upload(i, ours);
        fixture.uploads[i].state = TRIB_UPLOAD_HELD;
        fixture.uploads[i].arrival = trib_arrival_create(SIZE, 24);
        trib_upload_pump(&fixture.server);
        row = (struct trib_store_update){.device = i == 1 ? 999 : 100 + i};
        is_stored = i < 2; // the last one: its device counts already
        submitted->op.result = submitted->op.apply(&submitted->op, NULL);
        assert_int_equal(submitted->op.result, TRIB_ERR_STATE);
        submitted->finish(&fixture.server, submitted);
    }
    save_leases(3);
    assert_int_equal(fixture.answered[TRIB_CODE_DUPLICATE], 1);
    assert_int_equal(fixture.answered[TRIB_CODE_CONFLICT], 1);
    assert_int_equal(fixture.answered[TRIB_CODE_ALREADY_COUNTED], 1);
}

// An update is being made durable when its round is given up, and the device, which heard nothing,
// sends it again: nobody may tell it that it does not count.
static void one_that_is_being_made_durable_outlives_its_round(void **state)
{
    (void)state;
    upload(7, ours);
    fixture.uploads[7].state = TRIB_UPLOAD_HELD; // as when all of it has come
    fixture.uploads[7].arrival = trib_arrival_create(SIZE, 24);
    trib_upload_pump(&fixture.server);
    assert_non_null(submitted);
    assert_int_equal(fixture.server.accepts_in_flight, 1);
    fixture.run.round.state = TRIB_ROUND_ABANDONED;
    upload(7, ours);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 1);
    fixture.server.run = NULL; // it is over and forgotten
    upload(7, ours);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 2);
    submitted->op.result = TRIB_OK;
    submitted->finish(&fixture.server, submitted);
    assert_null(fixture.server.accepting);
    assert_null(fixture.server.known_list); // nothing is remembered of rounds that are over
    assert_int_equal(ask(7, true, 107), TRIB_CODE_DUPLICATE);
    assert_int_equal(fixture.answered[TRIB_CODE_ROUND_CLOSED], 0);
}

static int remove_all(void **state)
{
    static const char *const names[] = {NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_update_of_another_architecture_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(those_of_this_architecture_are_let_in_beside_them, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_was_refused_is_out_of_the_round, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(refusals_go_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_of_a_masked_round_are_told_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_slot_that_cannot_be_written_is_left_for_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_finds_no_slot_is_out_of_the_round, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_round_with_too_few_slots_is_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_write_is_not_forgotten_with_its_connection, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_upload_that_begins_ends_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_being_made_durable_outlives_its_round, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_store_says_what_became_of_old_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_was_asked_about_too_early_begins_anew, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_old_id_in_the_open_round_is_told_what_it_is, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, files_setup, remove_all);
}
