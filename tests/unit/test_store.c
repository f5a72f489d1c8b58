#include "tests/test.h"

#include <string.h>

#include "tests/unit/store_rig.h"

// ---- Devices, tokens, meta

static void devices_come_back_in_the_order_of_names(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct devices devices = {0};
    uint64_t second = add_device(store, "d0002", 2);
    uint64_t first = add_device(store, "d0001", 1);
    assert_int_not_equal(first, second);
    assert_int_equal(trib_store_device_revoke(store, second, 9999), TRIB_OK);
    store = reopen(place, store);

    assert_int_equal(trib_store_devices(store, keep_device, &devices), TRIB_OK);
    assert_int_equal(devices.count, 2);
    const struct trib_store_device wanted = device_of("d0001", 1);
    const struct trib_store_device *row = &devices.rows[0];
    assert_int_equal(row->id, first);
    assert_string_equal(row->name, wanted.name);
    assert_string_equal(row->group, wanted.group);
    assert_memory_equal(row->key, wanted.key, sizeof(wanted.key));
    assert_memory_equal(row->sign_key, wanted.sign_key, sizeof(wanted.sign_key));
    assert_int_equal(row->enrolled_ms, wanted.enrolled_ms);
    assert_false(row->is_revoked);
    assert_int_equal(row->revoked_ms, 0);
    assert_int_equal(devices.rows[1].id, second);
    assert_true(devices.rows[1].is_revoked);
    assert_int_equal(devices.rows[1].revoked_ms, 9999);
    trib_store_close(store);
}

static void a_device_was_there_when_it_enrolled_and_when_it_was_seen(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct devices devices = {.count = 0};
    const uint64_t id = add_device(store, "d0001", 1);
    (void)add_device(store, "d0002", 2);
    assert_int_equal(trib_store_device_seen(store, id, 777777), TRIB_OK);
    store = reopen(place, store);
    assert_int_equal(trib_store_devices(store, keep_device, &devices), TRIB_OK);
    assert_int_equal(devices.rows[0].seen_ms, 777777);
    assert_int_equal(devices.rows[1].seen_ms, devices.rows[1].enrolled_ms);
    trib_store_close(store);
}

struct tokens {
    size_t count;
    struct trib_store_token last;
    size_t use_count;
    uint8_t used[8];
    uint64_t used_by;
};

static void keep_token(void *user, const struct trib_store_token *row)
{
    struct tokens *tokens = user;
    tokens->count++;
    tokens->last = *row;
}

static void keep_use(void *user, const uint8_t token[8], uint64_t device)
{
    struct tokens *tokens = user;
    tokens->use_count++;
    memcpy(tokens->used, token, 8);
    tokens->used_by = device;
}

static void a_token_gives_as_many_uses_as_it_has(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct trib_store_token token = {
        .id = {1, 2, 3, 4, 5, 6, 7, 0}, .name = "gate", .uses_left = 1, .expires_ms = 77};
    struct tokens tokens = {0};
    memset(token.secret_hash, 0xab, sizeof(token.secret_hash));
    assert_int_equal(trib_store_token_insert(store, &token), TRIB_OK);
    uint64_t first = add_device(store, "d1", 1);
    uint64_t second = add_device(store, "d2", 2);
    assert_int_equal(trib_store_token_use(store, token.id, first), TRIB_OK);
    assert_int_equal(trib_store_token_use(store, token.id, second), TRIB_ERR_STATE);
    store = reopen(place, store);

    assert_int_equal(trib_store_tokens(store, keep_token, &tokens), TRIB_OK);
    assert_int_equal(tokens.count, 1);
    assert_memory_equal(tokens.last.id, token.id, sizeof(token.id));
    assert_memory_equal(tokens.last.secret_hash, token.secret_hash, sizeof(token.secret_hash));
    assert_string_equal(tokens.last.name, "gate");
    assert_int_equal(tokens.last.uses_left, 0);
    assert_int_equal(tokens.last.expires_ms, 77);
    assert_int_equal(trib_store_token_uses(store, keep_use, &tokens), TRIB_OK);
    assert_int_equal(tokens.use_count, 1);
    assert_memory_equal(tokens.used, token.id, sizeof(token.id));
    assert_int_equal(tokens.used_by, first);
    trib_store_close(store);
}

static void meta_keeps_all_64_bits_and_falls_back_when_absent(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    uint64_t value = 0;
    assert_int_equal(trib_store_meta_get(store, "generation", 3, &value), TRIB_OK);
    assert_int_equal(value, 3);
    assert_int_equal(trib_store_meta_set(store, "generation", 1), TRIB_OK);
    assert_int_equal(trib_store_meta_set(store, "generation", UINT64_MAX - 1), TRIB_OK);
    store = reopen(place, store);
    assert_int_equal(trib_store_meta_get(store, "generation", 3, &value), TRIB_OK);
    assert_true(value == UINT64_MAX - 1);
    trib_store_close(store);
}

// ---- Jobs

struct jobs {
    size_t count;
    struct trib_store_job rows[4];
    char config[4][64];
    char reason[4][64];
};

static void keep_job(void *user, const struct trib_store_job *row)
{
    struct jobs *jobs = user;
    assert_true(jobs->count < 4);
    (void)snprintf(jobs->config[jobs->count], 64, "%s", row->config);
    (void)snprintf(jobs->reason[jobs->count], 64, "%s", row->reason);
    jobs->rows[jobs->count++] = *row;
}

static void a_job_changes_alone(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct jobs jobs = {0};
    uint64_t first = add_job(store, "one");
    uint64_t second = add_job(store, "two");
    const struct trib_store_job change = {.id = second,
                                          .state = 4,
                                          .ended_ms = 60,
                                          .start_version = 12,
                                          .rounds_done = 9,
                                          .epsilon_pure = 1.25,
                                          .rho = 0.1,
                                          .reason = "disk full"};
    assert_int_equal(trib_store_job_update(store, &change), TRIB_OK);
    store = reopen(place, store);

    assert_int_equal(trib_store_jobs(store, keep_job, &jobs), TRIB_OK);
    assert_int_equal(jobs.count, 2);
    assert_int_equal(jobs.rows[0].id, first);
    assert_int_equal(jobs.rows[0].state, 1);
    assert_int_equal(jobs.rows[0].submitted_ms, 5);
    assert_int_equal(jobs.rows[0].ended_ms, 0);
    assert_int_equal(jobs.rows[0].rounds_done, 0);
    assert_string_equal(jobs.config[0], "[round]\nrounds = 3\n");
    assert_string_equal(jobs.reason[0], "");
    assert_int_equal(jobs.rows[1].id, second);
    assert_int_equal(jobs.rows[1].state, 4);
    assert_int_equal(jobs.rows[1].ended_ms, 60);
    assert_int_equal(jobs.rows[1].start_version, 12);
    assert_int_equal(jobs.rows[1].rounds_done, 9);
    assert_true(jobs.rows[1].epsilon_pure == 1.25 && jobs.rows[1].rho == 0.1); // stored as doubles
    assert_string_equal(jobs.reason[1], "disk full");
    trib_store_close(store);
}

// ---- Versions

struct versions {
    size_t count;
    struct trib_store_version rows[8];
    char metrics[8][32];
    uint8_t manifest[8][8];
};

static void keep_version(void *user, const struct trib_store_version *row)
{
    struct versions *versions = user;
    size_t i = versions->count++;
    assert_true(i < 8);
    assert_string_equal(row->kind, "round");
    assert_string_equal(row->spec, "4 - dense 2 softmax");
    assert_true(row->manifest_size <= sizeof(versions->manifest[i]));
    memcpy(versions->manifest[i], row->manifest, row->manifest_size);
    (void)snprintf(versions->metrics[i], 32, "%s", row->metrics ? row->metrics : "none");
    versions->rows[i] = *row;
}

static void add_version(struct trib_store *store, uint64_t generation, uint64_t version,
                        const double *value)
{
    static const uint8_t manifest[5] = {9, 0, 8, 0, 7};
    struct trib_store_version row = {.version = version,
                                     .generation = generation,
                                     .parent = version - 1,
                                     .job = 1,
                                     .round = 40 + version,
                                     .round_number = version + 2,
                                     .kind = "round",
                                     .spec = "4 - dense 2 softmax",
                                     .params = 10,
                                     .manifest = manifest,
                                     .manifest_size = sizeof(manifest),
                                     .created_ms = 500,
                                     .metrics = value ? "{\"loss\":1}" : NULL,
                                     .has_value = value != NULL,
                                     .value = value ? *value : 0};
    memset(row.digest, (int)version, sizeof(row.digest));
    memset(row.signature, (int)version + 1, sizeof(row.signature));
    assert_int_equal(trib_store_version_insert(store, &row), TRIB_OK);
}

static void versions_come_back_whole_and_without_a_value_when_they_have_none(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct versions versions = {0};
    const double value = -0.0625;
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint8_t signature[TRIB_SIGNATURE_SIZE];
    for (uint64_t v = 1; v <= 4; v++)
        add_version(store, 1, v, v == 3 ? &value : NULL);
    store = reopen(place, store);

    assert_int_equal(trib_store_versions(store, 1, 2, keep_version, &versions), TRIB_OK);
    assert_int_equal(versions.count, 2);
    assert_int_equal(versions.rows[0].version, 2);
    assert_false(versions.rows[0].has_value);
    assert_string_equal(versions.metrics[0], "none");
    const struct trib_store_version *row = &versions.rows[1];
    assert_int_equal(row->version, 3);
    assert_int_equal(row->generation, 1);
    assert_int_equal(row->parent, 2);
    assert_int_equal(row->job, 1);
    assert_int_equal(row->round, 43);
    assert_int_equal(row->round_number, 5);
    assert_int_equal(row->params, 10);
    assert_int_equal(row->created_ms, 500);
    assert_true(row->has_value && row->value == value);
    assert_string_equal(versions.metrics[1], "{\"loss\":1}");
    assert_int_equal(row->manifest_size, 5);
    assert_memory_equal(versions.manifest[1], "\x09\x00\x08\x00\x07", 5);
    memset(digest, 3, sizeof(digest));
    memset(signature, 4, sizeof(signature));
    assert_memory_equal(row->digest, digest, sizeof(digest));
    assert_memory_equal(row->signature, signature, sizeof(signature));
    trib_store_close(store);
}

static void the_head_is_the_last_of_the_last_generation(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct versions versions = {0};
    assert_int_equal(trib_store_version_head(store, keep_version, &versions), TRIB_OK);
    assert_int_equal(versions.count, 0);
    add_version(store, 1, 9, NULL); // from before a restore, with the higher number
    add_version(store, 2, 5, NULL);
    add_version(store, 2, 6, NULL);
    assert_int_equal(trib_store_version_head(store, keep_version, &versions), TRIB_OK);
    assert_int_equal(versions.count, 1);
    assert_int_equal(versions.rows[0].version, 6);
    trib_store_close(store);
}

static void the_best_version_follows_the_direction_and_the_earliest_wins(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct versions versions = {0};
    static const double values[] = {0.5, 0.75, 0.25, 0.75, 0.25};
    add_version(store, 1, 1, NULL);
    for (uint64_t i = 0; i < 5; i++)
        add_version(store, 1, 2 + i, &values[i]);
    assert_int_equal(trib_store_version_best(store, 1, true, keep_version, &versions), TRIB_OK);
    assert_int_equal(trib_store_version_best(store, 1, false, keep_version, &versions), TRIB_OK);
    assert_int_equal(trib_store_version_best(store, 2, false, keep_version, &versions), TRIB_OK);
    assert_int_equal(versions.count, 2); // job 2 has none
    assert_int_equal(versions.rows[0].version, 3);
    assert_int_equal(versions.rows[1].version, 4);
    trib_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(devices_come_back_in_the_order_of_names),
        IN_PLACE(a_token_gives_as_many_uses_as_it_has),
        IN_PLACE(meta_keeps_all_64_bits_and_falls_back_when_absent),
        IN_PLACE(a_job_changes_alone),
        IN_PLACE(versions_come_back_whole_and_without_a_value_when_they_have_none),
        IN_PLACE(the_head_is_the_last_of_the_last_generation),
        IN_PLACE(the_best_version_follows_the_direction_and_the_earliest_wins),
        IN_PLACE(a_device_was_there_when_it_enrolled_and_when_it_was_seen),
    };
    return RUN_TESTS(tests);
}
