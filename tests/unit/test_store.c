#include "tests/test.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "coordinator/store.h"

// ---- A folder of its own for each test, and what was logged there

struct place {
    char dir[64];
    char path[96];
};

static char logged[4096];

static void keep_line(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    size_t used = strlen(logged);
    (void)snprintf(logged + used, sizeof(logged) - used, "%s\n", line);
}

static int make_place(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    if (!place)
        return -1;
    (void)snprintf(place->dir, sizeof(place->dir), "/tmp/trib-store-XXXXXX");
    if (!mkdtemp(place->dir)) {
        free(place);
        return -1;
    }
    (void)snprintf(place->path, sizeof(place->path), "%s/store.db", place->dir);
    logged[0] = '\0';
    trib_log_set_sink(keep_line, NULL);
    *state = place;
    return 0;
}

static int drop_place(void **state)
{
    struct place *place = *state;
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char path[128];
    trib_log_set_sink(NULL, NULL);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", place->path, suffixes[i]);
        (void)unlink(path);
    }
    int failed = rmdir(place->dir);
    free(place);
    return failed;
}

static struct trib_store *open_store(const struct place *place)
{
    struct trib_store *store = NULL;
    assert_int_equal(trib_store_open(place->path, &store), TRIB_OK);
    assert_non_null(store);
    return store;
}

// What is read below has been through the file, not only through the connection's memory.
static struct trib_store *reopen(const struct place *place, struct trib_store *store)
{
    trib_store_close(store);
    return open_store(place);
}

static struct trib_store_device device_of(const char *name, uint8_t mark)
{
    struct trib_store_device device = {.enrolled_ms = 1000u + mark};
    (void)snprintf(device.name, sizeof(device.name), "%s", name);
    (void)snprintf(device.group, sizeof(device.group), "group-%u", mark);
    memset(device.key, mark, sizeof(device.key));
    memset(device.sign_key, 0x80 | mark, sizeof(device.sign_key));
    return device;
}

static uint64_t add_device(struct trib_store *store, const char *name, uint8_t mark)
{
    struct trib_store_device device = device_of(name, mark);
    uint64_t id = 0;
    assert_int_equal(trib_store_device_insert(store, &device, &id), TRIB_OK);
    return id;
}

static uint64_t add_job(struct trib_store *store, const char *name)
{
    const struct trib_store_job job = {
        .name = name, .config = "[round]\nrounds = 3\n", .state = 1, .submitted_ms = 5};
    uint64_t id = 0;
    assert_int_equal(trib_store_job_insert(store, &job, &id), TRIB_OK);
    return id;
}

static void add_round(struct trib_store *store, uint64_t id, uint64_t job, uint64_t number)
{
    const struct trib_store_round round = {.id = id,
                                           .job = job,
                                           .number = number,
                                           .state = 1,
                                           .base_version = 7,
                                           .opened_ms = 100 + id};
    assert_int_equal(trib_store_round_insert(store, &round), TRIB_OK);
}

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

// ---- Devices, tokens, meta

struct devices {
    size_t count;
    struct trib_store_device rows[8];
};

static void keep_device(void *user, const struct trib_store_device *row)
{
    struct devices *devices = user;
    assert_true(devices->count < 8);
    devices->rows[devices->count++] = *row;
}

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
                                      .seconds = 3.25};
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
        {.round = 1, .device = b, .order = 0, .state = 4, .code = 22}, // again: it replaces
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
    assert_string_equal(leases.names[1], "a");
    assert_int_equal(leases.rows[1].order, 1);
    assert_int_equal(leases.rows[1].state, 0);
    trib_store_close(store);
}

// ---- The ledger of updates

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

// ---- Transactions

static uint64_t meta_of(struct trib_store *store, const char *key)
{
    uint64_t value = 0;
    assert_int_equal(trib_store_meta_get(store, key, 0, &value), TRIB_OK);
    return value;
}

static void a_rollback_undoes_all_and_an_undo_its_part(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    assert_int_equal(trib_store_begin(store), TRIB_OK);
    assert_int_equal(trib_store_meta_set(store, "a", 1), TRIB_OK);
    trib_store_rollback(store);
    assert_int_equal(meta_of(store, "a"), 0);

    assert_int_equal(trib_store_begin(store), TRIB_OK);
    assert_int_equal(trib_store_meta_set(store, "a", 2), TRIB_OK);
    assert_int_equal(trib_store_savepoint(store), TRIB_OK);
    assert_int_equal(trib_store_meta_set(store, "b", 3), TRIB_OK);
    trib_store_undo(store);
    assert_int_equal(trib_store_savepoint(store), TRIB_OK);
    assert_int_equal(trib_store_meta_set(store, "c", 4), TRIB_OK);
    assert_int_equal(trib_store_release(store), TRIB_OK);
    assert_int_equal(trib_store_commit(store), TRIB_OK);
    store = reopen(place, store);
    assert_int_equal(meta_of(store, "a"), 2);
    assert_int_equal(meta_of(store, "b"), 0);
    assert_int_equal(meta_of(store, "c"), 4);
    trib_store_close(store);
}

static void closing_forgets_what_was_not_committed(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    assert_int_equal(trib_store_begin(store), TRIB_OK);
    assert_int_equal(trib_store_meta_set(store, "a", 1), TRIB_OK);
    store = reopen(place, store);
    assert_int_equal(meta_of(store, "a"), 0);
    trib_store_close(store);
}

// Two keys that every transaction sets to the same number, so that a torn one shows.
static enum trib_err write_pair(struct trib_store *store, uint64_t value, bool dies_between)
{
    enum trib_err err = trib_store_begin(store);
    if (!err)
        err = trib_store_meta_set(store, "left", value);
    if (dies_between)
        (void)kill(getpid(), SIGKILL);
    if (!err)
        err = trib_store_meta_set(store, "right", value);
    return err ? err : trib_store_commit(store);
}

// Never returns. Writes pairs 1, 2, ... and each number to `fd` once it is committed; is killed in
// the middle of pair `dies_at`, or else by the parent.
static void writer_main(const struct place *place, int fd, uint64_t dies_at)
{
    struct trib_store *store = NULL;
    if (trib_store_open(place->path, &store))
        _exit(1);
    for (uint64_t value = 1;; value++) {
        if (write_pair(store, value, value == dies_at))
            _exit(2);
        if (write(fd, &value, sizeof(value)) != (ssize_t)sizeof(value))
            _exit(3);
    }
}

// Starts a writer, kills it after `acks` commits if it has not died, and returns the last number it
// said was committed.
static uint64_t run_writer(const struct place *place, uint64_t acks, uint64_t dies_at)
{
    int ends[2];
    int status = 0;
    uint64_t last = 0;
    uint64_t value;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        writer_main(place, ends[1], dies_at);
    }
    (void)close(ends[1]);
    while (last < acks && read(ends[0], &value, sizeof(value)) == (ssize_t)sizeof(value))
        last = value;
    (void)kill(child, SIGKILL);
    while (read(ends[0], &value, sizeof(value)) == (ssize_t)sizeof(value))
        last = value; // acknowledged before the signal came
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return last;
}

static void a_kill_between_statements_leaves_the_committed_prefix(void **state)
{
    const struct place *place = *state;
    uint64_t last = run_writer(place, UINT64_MAX, 6);
    assert_int_equal(last, 5);
    struct trib_store *store = open_store(place);
    assert_int_equal(meta_of(store, "left"), 5);
    assert_int_equal(meta_of(store, "right"), 5);
    trib_store_close(store);
}

static void a_kill_at_any_time_loses_nothing_that_was_acknowledged(void **state)
{
    const struct place *place = *state;
    for (uint64_t acks = 1; acks <= 12; acks++) {
        uint64_t last = run_writer(place, acks, UINT64_MAX);
        struct trib_store *store = open_store(place);
        uint64_t left = meta_of(store, "left");
        assert_int_equal(left, meta_of(store, "right"));
        assert_true(last >= acks && left >= last && left <= last + 1);
        trib_store_close(store);
    }
}

// ---- Who may open it, and what

static int child_result(const struct place *place)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct trib_store *store = NULL;
        enum trib_err err = trib_store_open(place->path, &store);
        trib_store_close(store);
        bool is_named = strstr(logged, "another coordinator") != NULL;
        _exit(err == TRIB_ERR_STATE && is_named ? 100 : (int)err);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_second_coordinator_is_refused_until_the_first_is_gone(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    assert_int_equal(child_result(place), 100); // also before anything was written
    assert_int_equal(trib_store_meta_set(store, "a", 1), TRIB_OK);
    assert_int_equal(child_result(place), 100);
    trib_store_close(store);
    assert_int_equal(child_result(place), TRIB_OK);
}

static void overwrite(const char *path, off_t at, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, size, at), (ssize_t)size);
    assert_int_equal(close(fd), 0);
}

static void a_damaged_file_is_refused_by_name(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct trib_store *again = NULL;
    struct stat info;
    uint8_t junk[512];
    char name[TRIB_NAME_MAX + 1];
    assert_int_equal(trib_store_begin(store), TRIB_OK);
    for (uint8_t i = 0; i < 200; i++) { // enough for a tree of several pages
        (void)snprintf(name, sizeof(name), "device-%u", i);
        (void)add_device(store, name, i);
    }
    assert_int_equal(trib_store_commit(store), TRIB_OK);
    trib_store_close(store); // which moves everything from the log into the file
    assert_int_equal(stat(place->path, &info), 0);
    memset(junk, 0xff, sizeof(junk));

    overwrite(place->path, info.st_size - 4096, junk, sizeof(junk)); // the head of the last page
    assert_int_equal(trib_store_open(place->path, &again), TRIB_ERR_CORRUPT);
    assert_null(again);
    assert_non_null(strstr(logged, place->path));

    overwrite(place->path, 0, junk, sizeof(junk)); // and the head of the file
    assert_int_equal(trib_store_open(place->path, &again), TRIB_ERR_CORRUPT);
    assert_null(again);
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

static void devices_of_an_older_store_were_there_when_it_was_upgraded(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct devices devices = {.count = 0};
    sqlite3 *db = NULL;
    (void)add_device(store, "d0001", 1);
    trib_store_close(store);
    assert_int_equal(sqlite3_open(place->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "ALTER TABLE device DROP COLUMN seen_ms; PRAGMA user_version=3",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    store = open_store(place);
    assert_int_equal(trib_store_devices(store, keep_device, &devices), TRIB_OK);
    const uint64_t now_ms = trib_clock_wall_ms();
    assert_true(devices.rows[0].seen_ms <= now_ms && devices.rows[0].seen_ms + 60000 > now_ms);
    trib_store_close(store);
}

static void a_store_of_a_newer_program_is_refused(void **state)
{
    const struct place *place = *state;
    struct trib_store *again = NULL;
    sqlite3 *db = NULL;
    trib_store_close(open_store(place));
    assert_int_equal(sqlite3_open(place->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(trib_store_open(place->path, &again), TRIB_ERR_STATE);
    assert_null(again);
    assert_non_null(strstr(logged, "99"));
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, drop_place)

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
        IN_PLACE(a_round_that_ended_comes_back_with_its_result),
        IN_PLACE(numbers_that_do_not_exist_are_not_invented),
        IN_PLACE(only_rounds_that_ended_are_listed),
        IN_PLACE(the_newest_round_is_found_whatever_its_state),
        IN_PLACE(leases_keep_the_order_of_offers_and_their_last_state),
        IN_PLACE(updates_come_by_round_and_device_name_until_they_are_pruned),
        IN_PLACE(an_update_cannot_be_counted_twice),
        IN_PLACE(names_keys_and_round_numbers_are_unique),
        IN_PLACE(a_rollback_undoes_all_and_an_undo_its_part),
        IN_PLACE(closing_forgets_what_was_not_committed),
        IN_PLACE(a_kill_between_statements_leaves_the_committed_prefix),
        IN_PLACE(a_kill_at_any_time_loses_nothing_that_was_acknowledged),
        IN_PLACE(a_second_coordinator_is_refused_until_the_first_is_gone),
        IN_PLACE(a_damaged_file_is_refused_by_name),
        IN_PLACE(a_device_was_there_when_it_enrolled_and_when_it_was_seen),
        IN_PLACE(devices_of_an_older_store_were_there_when_it_was_upgraded),
        IN_PLACE(a_store_of_a_newer_program_is_refused),
    };
    return RUN_TESTS(tests);
}
