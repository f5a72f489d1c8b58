// upload_rig.h - an open round of 10,000 devices without a network, store or coordinator around it.
#ifndef TRIB_TESTS_UNIT_UPLOAD_RIG_H
#define TRIB_TESTS_UNIT_UPLOAD_RIG_H

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

static inline void step(enum trib_round_event event, uint64_t device, uint32_t member)
{
    assert_int_equal(
        trib_round_step(
            &fixture.run.round,
            &(struct trib_round_input){.event = event, .device = device, .member = member}, 0),
        TRIB_OK);
}

// A round that collects, of devices that all took their task.
static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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
static inline void upload(uint32_t device, const uint8_t *arch_digest)
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

static inline uint64_t answered(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < TRIB_CODE_MAX; i++) {
        assert_int_equal(fixture.server.counters.receipts[i], fixture.answered[i]);
        sum += fixture.answered[i];
    }
    return sum;
}

// What is over becomes durable, all of it in one transaction.
static inline void save_leases(uint32_t count)
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

static inline void assert_books_balance(uint64_t in_flight)
{
    const struct trib_server *server = &fixture.server;
    assert_int_equal(trib_server_uploads_in_flight(server), in_flight);
    assert_int_equal(server->counters.begins, answered() + server->counters.cut + in_flight);
}

static inline int remove_all(void **state)
{
    static const char *const names[] = {NULL};
    (void)state;
    return files_teardown(names);
}

#endif // TRIB_TESTS_UNIT_UPLOAD_RIG_H
