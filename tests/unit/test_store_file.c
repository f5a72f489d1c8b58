#include "tests/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "tests/unit/store_poke.h"
#include "tests/unit/store_rig.h"

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

static void devices_of_an_older_store_were_there_when_it_was_upgraded(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    struct devices devices = {.count = 0};
    (void)add_device(store, "d0001", 1);
    trib_store_close(store);
    assert_true(store_poke(place->path, "ALTER TABLE device DROP COLUMN seen_ms; DROP TABLE audit;"
                                        "DROP TABLE audit_checkpoint;"
                                        "ALTER TABLE round DROP COLUMN phases;"
                                        "ALTER TABLE lease DROP COLUMN changed_ms;"
                                        "ALTER TABLE version DROP COLUMN dropped_ms;"
                                        "ALTER TABLE device DROP COLUMN next_key;"
                                        "ALTER TABLE device DROP COLUMN next_sign_key;"
                                        "PRAGMA user_version=3"));
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
    trib_store_close(open_store(place));
    assert_true(store_poke(place->path, "PRAGMA user_version=99"));
    assert_int_equal(trib_store_open(place->path, &again), TRIB_ERR_STATE);
    assert_null(again);
    assert_non_null(strstr(logged, "99"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(a_rollback_undoes_all_and_an_undo_its_part),
        IN_PLACE(closing_forgets_what_was_not_committed),
        IN_PLACE(a_kill_between_statements_leaves_the_committed_prefix),
        IN_PLACE(a_kill_at_any_time_loses_nothing_that_was_acknowledged),
        IN_PLACE(a_second_coordinator_is_refused_until_the_first_is_gone),
        IN_PLACE(a_damaged_file_is_refused_by_name),
        IN_PLACE(devices_of_an_older_store_were_there_when_it_was_upgraded),
        IN_PLACE(a_store_of_a_newer_program_is_refused),
    };
    return RUN_TESTS(tests);
}
