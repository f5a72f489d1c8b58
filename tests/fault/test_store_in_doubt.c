// A store whose log could not be written or synced: nothing of it is copied into the database.
#include "tests/unit/store_rig.h"

#include <errno.h>

#include "common/base/wipe.h"
#include "tests/fault/fault.h"

static unsigned database_writes; // to store.db itself

static void take_op(void *user, const struct fault_op *op)
{
    (void)user;
    database_writes += op->kind == FAULT_OP_WRITE && strcmp(op->path, "store.db") == 0;
}

// Close it, and count what that writes to the database.
static unsigned writes_of_close(const struct place *place, struct trib_store *store)
{
    database_writes = 0;
    fault_watch(place->dir);
    fault_trace(take_op, NULL);
    trib_store_close(store);
    fault_trace(NULL, NULL);
    fault_watch(NULL);
    return database_writes;
}

static void a_sound_log_is_worked_off_at_the_end(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    (void)add_device(store, "d0", 1);
    assert_true(writes_of_close(place, store) > 0); // or the other test tells nothing
}

static void fail_at_commit(const struct place *place, enum fault_kind kind)
{
    struct trib_store *store = open_store(place);
    struct devices devices = {.count = 0};
    const struct trib_store_device lost = device_of("lost", 9);
    uint64_t id;
    (void)add_device(store, kind == FAULT_SYNC ? "d0" : "d1", (uint8_t)kind);
    fault_watch(place->dir);
    fault_arm(&(struct fault){.kind = kind, .nth = 1, .code = EIO});
    assert_int_equal(trib_store_device_insert(store, &lost, &id), TRIB_ERR_IO);
    assert_int_equal(fault_fired(), 1);
    fault_disarm();
    assert_int_equal(writes_of_close(place, store), 0);

    store = open_store(place); // what was committed before is there
    assert_int_equal(trib_store_verify(store), TRIB_OK);
    assert_int_equal(trib_store_devices(store, keep_device, &devices), TRIB_OK);
    assert_true(devices.count >= 1);
    trib_store_close(store);
}

static void a_log_in_doubt_is_not(void **state)
{
    fail_at_commit(*state, FAULT_SYNC);
}

static void nor_is_one_that_could_not_be_written(void **state)
{
    fail_at_commit(*state, FAULT_WRITE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(a_sound_log_is_worked_off_at_the_end),
        IN_PLACE(a_log_in_doubt_is_not),
        IN_PLACE(nor_is_one_that_could_not_be_written),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
