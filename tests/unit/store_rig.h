// store_rig.h - a store in a folder of its own for each test, and what was logged there.
#ifndef TRIB_TESTS_STORE_RIG_H
#define TRIB_TESTS_STORE_RIG_H

#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "coordinator/store.h"

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, drop_place)

struct place {
    char dir[TEST_FOLDER_SIZE];
    char path[96];
};

static char logged[4096];

static inline void keep_line(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    size_t used = strlen(logged);
    (void)snprintf(logged + used, sizeof(logged) - used, "%s\n", line);
}

static inline int make_place(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    if (!place)
        return -1;
    if (!test_folder(place->dir)) {
        free(place);
        return -1;
    }
    (void)snprintf(place->path, sizeof(place->path), "%s/store.db", place->dir);
    logged[0] = '\0';
    trib_log_set_sink(keep_line, NULL);
    *state = place;
    return 0;
}

static inline int drop_place(void **state)
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

static inline struct trib_store *open_store(const struct place *place)
{
    struct trib_store *store = NULL;
    assert_int_equal(trib_store_open(place->path, &store), TRIB_OK);
    assert_non_null(store);
    return store;
}

// What is read below has been through the file, not only through the connection's memory.
static inline struct trib_store *reopen(const struct place *place, struct trib_store *store)
{
    trib_store_close(store);
    return open_store(place);
}

static inline struct trib_store_device device_of(const char *name, uint8_t mark)
{
    struct trib_store_device device = {.enrolled_ms = 1000u + mark};
    (void)snprintf(device.name, sizeof(device.name), "%s", name);
    (void)snprintf(device.group, sizeof(device.group), "group-%u", mark);
    memset(device.key, mark, sizeof(device.key));
    memset(device.sign_key, 0x80 | mark, sizeof(device.sign_key));
    return device;
}

static inline uint64_t add_device(struct trib_store *store, const char *name, uint8_t mark)
{
    struct trib_store_device device = device_of(name, mark);
    uint64_t id = 0;
    assert_int_equal(trib_store_device_insert(store, &device, &id), TRIB_OK);
    return id;
}

static inline uint64_t add_job(struct trib_store *store, const char *name)
{
    const struct trib_store_job job = {
        .name = name, .config = "[round]\nrounds = 3\n", .state = 1, .submitted_ms = 5};
    uint64_t id = 0;
    assert_int_equal(trib_store_job_insert(store, &job, &id), TRIB_OK);
    return id;
}

static inline void add_round(struct trib_store *store, uint64_t id, uint64_t job, uint64_t number)
{
    const struct trib_store_round round = {.id = id,
                                           .job = job,
                                           .number = number,
                                           .state = 1,
                                           .base_version = 7,
                                           .opened_ms = 100 + id};
    assert_int_equal(trib_store_round_insert(store, &round), TRIB_OK);
}

// ---- What came back

struct devices {
    size_t count;
    struct trib_store_device rows[8];
};

static inline void keep_device(void *user, const struct trib_store_device *row)
{
    struct devices *devices = user;
    assert_true(devices->count < 8);
    devices->rows[devices->count++] = *row;
}

#endif // TRIB_TESTS_STORE_RIG_H
