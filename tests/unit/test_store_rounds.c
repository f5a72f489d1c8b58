#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "tests/unit/store_rig.h"

// ---- Rounds and leases

struct rounds {
    size_t count;
    struct trib_store_round rows[8];
};

static void keep_round(void *user, const struct trib_store_round *row)
{
    struct rounds *rounds = user;
    assert_true(rounds->count < 8);
    rounds->rows[rounds->count++] = *row;
}

// Of a round that was evaluated with privacy on: no field is like another.
static struct trib_round_result full_result(void)
{
    return (struct trib_round_result){.version = 8,
                                      .state = "committed",
                                      .asked = 13,
                                      .accepted = 10,
                                      .refused = 2,
                                      .loss = 0.1,
                                      .metric = "accuracy",
                                      .value = 0.7,
                                      .metrics = "{\"accuracy\":0.7}",
                                      .privacy = "{\"mode\":\"local\"}",
                                      .epsilon_pure = 64.0,
                                      .epsilon = 12.5,
                                      .delta = 1e-6,
                                      .bytes_up = 1u << 31,
                                      .bytes_down = 5000000000u,
                                      .seconds = 3.25,
                                      .phases = "{\"select\":3.25}"};
}

static void a_round_that_ended_comes_back_with_its_result(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct rounds rounds = {0};
    const struct trib_round_result wanted = full_result();
    uint64_t job = add_job(store, "one");
    add_round(store, 12, job, 2);
    assert_int_equal(trib_store_round_end(store, 12, 5, 212, &wanted), TRIB_OK);
    store = reopen(place, store);

    assert_int_equal(trib_store_round_get(store, 12, keep_round, &rounds), TRIB_OK);
    assert_int_equal(rounds.count, 1);
    const struct trib_store_round *row = &rounds.rows[0];
    assert_int_equal(row->id, 12);
    assert_int_equal(row->job, job);
    assert_int_equal(row->number, 2);
    assert_int_equal(row->state, 5);
    assert_int_equal(row->base_version, 7);
    assert_int_equal(row->opened_ms, 112);
    assert_int_equal(row->ended_ms, 212);
    const struct trib_round_result *got = &row->result;
    assert_int_equal(got->id, 12); // these two are the row's own
    assert_int_equal(got->round, 2);
    assert_int_equal(got->version, wanted.version);
    assert_string_equal(got->state, wanted.state);
    assert_string_equal(got->reason, "");
    assert_int_equal(got->asked, wanted.asked);
    assert_int_equal(got->accepted, wanted.accepted);
    assert_int_equal(got->refused, wanted.refused);
    assert_string_equal(got->metric, wanted.metric);
    assert_string_equal(got->metrics, wanted.metrics);
    assert_string_equal(got->privacy, wanted.privacy);
    assert_string_equal(got->phases, wanted.phases);
    assert_true(got->loss == wanted.loss && got->value == wanted.value); // stored as doubles
    assert_true(got->epsilon_pure == wanted.epsilon_pure && got->epsilon == wanted.epsilon);
    assert_true(got->delta == wanted.delta && got->seconds == wanted.seconds);
    assert_true(got->bytes_up == wanted.bytes_up && got->bytes_down == wanted.bytes_down);
    trib_store_close(store);
}

static void numbers_that_do_not_exist_are_not_invented(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct rounds rounds = {0};
    const double none = (double)NAN;
    const struct trib_round_result wanted = {.state = "abandoned",
                                             .reason = "few_reported",
                                             .loss = none,
                                             .value = none,
                                             .epsilon_pure = none,
                                             .epsilon = none,
                                             .delta = none};
    uint64_t job = add_job(store, "one");
    add_round(store, 1, job, 1);
    assert_int_equal(trib_store_round_end(store, 1, 6, 9, &wanted), TRIB_OK);
    store = reopen(place, store);
    assert_int_equal(trib_store_round_get(store, 1, keep_round, &rounds), TRIB_OK);
    const struct trib_round_result *got = &rounds.rows[0].result;
    assert_string_equal(got->state, "abandoned");
    assert_string_equal(got->reason, "few_reported");
    assert_string_equal(got->metric, "");
    assert_string_equal(got->metrics, "");
    assert_true(isnan(got->loss) && isnan(got->value) && isnan(got->delta));
    assert_true(isnan(got->epsilon_pure) && isnan(got->epsilon));
    trib_store_close(store);
}

static void only_rounds_that_ended_are_listed(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct rounds rounds = {0};
    const struct trib_round_result result = full_result();
    uint64_t one = add_job(store, "one");
    uint64_t two = add_job(store, "two");
    add_round(store, 10, one, 1);
    add_round(store, 11, two, 1);
    add_round(store, 12, one, 2);
    add_round(store, 13, one, 3);
    for (uint64_t id = 10; id <= 12; id++)
        assert_int_equal(trib_store_round_end(store, id, 5, 200 + id, &result), TRIB_OK);

    assert_int_equal(trib_store_rounds(store, 0, 0, 100, keep_round, &rounds), TRIB_OK);
    assert_int_equal(rounds.count, 3);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(rounds.rows[i].id, 10 + i);
    rounds.count = 0;
    assert_int_equal(trib_store_rounds(store, one, 10, 100, keep_round, &rounds), TRIB_OK);
    assert_int_equal(rounds.count, 1);
    assert_int_equal(rounds.rows[0].id, 12);
    rounds.count = 0;
    assert_int_equal(trib_store_rounds(store, 0, 0, 2, keep_round, &rounds), TRIB_OK);
    assert_int_equal(rounds.count, 2);
    trib_store_close(store);
}

static void the_newest_round_is_found_whatever_its_state(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct rounds rounds = {0};
    const struct trib_round_result result = full_result();
    assert_int_equal(trib_store_round_get(store, 0, keep_round, &rounds), TRIB_OK);
    assert_int_equal(rounds.count, 0);
    uint64_t job = add_job(store, "one");
    add_round(store, 3, job, 1);
    add_round(store, 4, job, 2);
    assert_int_equal(trib_store_round_end(store, 3, 6, 9, &result), TRIB_OK);
    assert_int_equal(trib_store_round_state(store, 4, 3), TRIB_OK);
    store = reopen(place, store);
    assert_int_equal(trib_store_round_get(store, 0, keep_round, &rounds), TRIB_OK);
    assert_int_equal(trib_store_round_get(store, 5, keep_round, &rounds), TRIB_OK);
    assert_int_equal(rounds.count, 1); // there is no round 5
    assert_int_equal(rounds.rows[0].id, 4);
    assert_int_equal(rounds.rows[0].state, 3);
    assert_int_equal(rounds.rows[0].ended_ms, 0);
    trib_store_close(store);
}

struct leases {
    size_t count;
    struct trib_store_lease rows[8];
    char names[8][TRIB_NAME_MAX + 1];
};

static void keep_lease(void *user, const struct trib_store_lease *row, const char *device_name)
{
    struct leases *leases = user;
    assert_true(leases->count < 8);
    (void)snprintf(leases->names[leases->count], TRIB_NAME_MAX + 1, "%s", device_name);
    leases->rows[leases->count++] = *row;
}

static void leases_keep_the_order_of_offers_and_their_last_state(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct leases leases = {0};
    uint64_t job = add_job(store, "one");
    add_round(store, 1, job, 1);
    add_round(store, 2, job, 2);
    uint64_t a = add_device(store, "a", 1);
    uint64_t b = add_device(store, "b", 2);
    const struct trib_store_lease rows[] = {
        {.round = 1, .device = b, .order = 0},
        {.round = 1, .device = a, .order = 1},
        {.round = 2, .device = a, .order = 0},
        // Again: it replaces
        {.round = 1, .device = b, .order = 0, .state = 4, .code = 22, .changed_ms = 1700000000123},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(trib_store_lease_put(store, &rows[i]), TRIB_OK);
    store = reopen(place, store);

    assert_int_equal(trib_store_leases(store, 1, keep_lease, &leases), TRIB_OK);
    assert_int_equal(leases.count, 2);
    assert_string_equal(leases.names[0], "b");
    assert_int_equal(leases.rows[0].device, b);
    assert_int_equal(leases.rows[0].order, 0);
    assert_int_equal(leases.rows[0].state, 4);
    assert_int_equal(leases.rows[0].code, 22);
    assert_int_equal(leases.rows[0].changed_ms, 1700000000123);
    assert_string_equal(leases.names[1], "a");
    assert_int_equal(leases.rows[1].order, 1);
    assert_int_equal(leases.rows[1].state, 0);
    assert_int_equal(leases.rows[1].changed_ms, 0);
    trib_store_close(store);
}

// ---- The ledger of updates

static struct trib_store_update update_of(uint8_t mark, uint64_t round, uint64_t device,
                                          uint32_t slot)
{
    static const uint8_t checksums[8] = {1, 2, 3, 4, 0xff, 0xfe, 0xfd, 0};
    struct trib_store_update update = {.round = round,
                                       .device = device,
                                       .slot = slot,
                                       .weight = 4000000000u + mark,
                                       .checksums = checksums,
                                       .checksums_size = sizeof(checksums)};
    memset(update.id, mark, sizeof(update.id));
    memset(update.digest, mark + 1, sizeof(update.digest));
    return update;
}

struct updates {
    size_t count;
    struct trib_store_update rows[8];
    uint8_t checksums[8][16];
};

static void keep_update(void *user, const struct trib_store_update *row)
{
    struct updates *updates = user;
    size_t i = updates->count++;
    assert_true(i < 8);
    assert_true(row->checksums_size <= sizeof(updates->checksums[i]));
    memcpy(updates->checksums[i], row->checksums, row->checksums_size);
    updates->rows[i] = *row;
}

// A store with rounds 1 to 3 and devices of which the later has the earlier name.
static struct trib_store *store_with_rounds(const struct place *place, uint64_t *ret_late,
                                            uint64_t *ret_early)
{
    struct trib_store *store = open_store(place);
    uint64_t job = add_job(store, "one");
    for (uint64_t id = 1; id <= 3; id++)
        add_round(store, id, job, id);
    *ret_late = add_device(store, "zebra", 1);
    *ret_early = add_device(store, "ant", 2);
    return store;
}

static void updates_come_by_round_and_device_name_until_they_are_pruned(void **state)
{
    const struct place *place = *state;
    uint64_t zebra, ant;
    struct trib_store *store = store_with_rounds(place, &zebra, &ant);
    struct updates updates = {0};
    const struct trib_store_update rows[] = {update_of(1, 2, zebra, 0), update_of(2, 2, ant, 1),
                                             update_of(3, 1, ant, 0), update_of(4, 3, ant, 0)};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(trib_store_update_insert(store, &rows[i]), TRIB_OK);
    store = reopen(place, store);

    assert_int_equal(trib_store_updates(store, 2, keep_update, &updates), TRIB_OK);
    assert_int_equal(updates.count, 3);
    assert_memory_equal(updates.rows[0].id, rows[1].id, sizeof(rows[1].id));
    assert_int_equal(updates.rows[0].round, 2);
    assert_int_equal(updates.rows[0].device, ant);
    assert_int_equal(updates.rows[0].slot, 1);
    assert_int_equal(updates.rows[0].weight, 4000000002u);
    assert_memory_equal(updates.rows[0].digest, rows[1].digest, sizeof(rows[1].digest));
    assert_int_equal(updates.rows[0].checksums_size, 8);
    assert_memory_equal(updates.checksums[0], rows[1].checksums, 8);
    assert_memory_equal(updates.rows[1].id, rows[0].id, sizeof(rows[0].id));
    assert_memory_equal(updates.rows[2].id, rows[3].id, sizeof(rows[3].id));

    updates.count = 0;
    assert_int_equal(trib_store_updates_prune(store, 3), TRIB_OK);
    assert_int_equal(trib_store_updates(store, 0, keep_update, &updates), TRIB_OK);
    assert_int_equal(updates.count, 1);
    assert_int_equal(updates.rows[0].round, 3);
    trib_store_close(store);
}

static void an_update_cannot_be_counted_twice(void **state)
{
    const struct place *place = *state;
    uint64_t zebra, ant;
    struct trib_store *store = store_with_rounds(place, &zebra, &ant);
    struct updates updates = {0};
    const struct trib_store_update first = update_of(1, 1, zebra, 0);
    const struct trib_store_update refused[] = {
        update_of(1, 1, ant, 1),   // the same id
        update_of(2, 1, zebra, 1), // the same device in the round
        update_of(3, 1, ant, 0),   // the same slot
        update_of(4, 99, ant, 1),  // no such round
        update_of(5, 1, 99, 1),    // no such device
    };
    assert_int_equal(trib_store_begin(store), TRIB_OK);
    assert_int_equal(trib_store_update_insert(store, &first), TRIB_OK);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(trib_store_update_insert(store, &refused[i]), TRIB_ERR_STATE);
    assert_int_equal(trib_store_commit(store), TRIB_OK); // the rest of the group is unharmed
    assert_int_equal(trib_store_updates(store, 0, keep_update, &updates), TRIB_OK);
    assert_int_equal(updates.count, 1);
    assert_memory_equal(updates.rows[0].id, first.id, sizeof(first.id));
    trib_store_close(store);
}

static void names_keys_and_round_numbers_are_unique(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    uint64_t id = 12345;
    (void)add_device(store, "one", 1);
    const struct trib_store_device same_name = device_of("one", 2);
    const struct trib_store_device same_key = device_of("two", 1);
    assert_int_equal(trib_store_device_insert(store, &same_name, &id), TRIB_ERR_STATE);
    assert_int_equal(trib_store_device_insert(store, &same_key, &id), TRIB_ERR_STATE);
    assert_int_equal(id, 12345); // ret_ is untouched by a failure

    uint64_t job = add_job(store, "job");
    add_round(store, 1, job, 1);
    const struct trib_store_round same_number = {.id = 2, .job = job, .number = 1};
    const struct trib_store_round no_job = {.id = 3, .job = job + 1, .number = 1};
    assert_int_equal(trib_store_round_insert(store, &same_number), TRIB_ERR_STATE);
    assert_int_equal(trib_store_round_insert(store, &no_job), TRIB_ERR_STATE);
    trib_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(a_round_that_ended_comes_back_with_its_result),
        IN_PLACE(numbers_that_do_not_exist_are_not_invented),
        IN_PLACE(only_rounds_that_ended_are_listed),
        IN_PLACE(the_newest_round_is_found_whatever_its_state),
        IN_PLACE(leases_keep_the_order_of_offers_and_their_last_state),
        IN_PLACE(updates_come_by_round_and_device_name_until_they_are_pruned),
        IN_PLACE(an_update_cannot_be_counted_twice),
        IN_PLACE(names_keys_and_round_numbers_are_unique),
    };
    return RUN_TESTS(tests);
}
