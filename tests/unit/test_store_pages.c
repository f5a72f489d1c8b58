// Bits that flip in the store's database and in its log, wherever they are.
#include "tests/test.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/file.h"
#include "coordinator/store_log.h"
#include "coordinator/store_pages.h"
#include "tests/unit/store_poke.h"
#include "tests/unit/store_rig.h"

enum {
    PAGE = 4096,
    FRAME = 24 + PAGE,
    LOG_HEADER = 32,
    FILE_MAX = 1 << 20,
};

static struct trib_buf slurp(const char *path)
{
    struct trib_buf data = {0};
    assert_int_equal(trib_file_read(path, FILE_MAX, &data), TRIB_OK);
    return data;
}

static void spill(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void flip(uint8_t *data, uint64_t bit)
{
    data[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void log_path(const struct place *place, char path[static 128])
{
    (void)snprintf(path, 128, "%s-wal", place->path);
}

// ---- The database

// A store with rows in it, closed: all is in its file.
static struct trib_buf made(const struct place *place)
{
    struct trib_store *store = open_store(place);
    char name[TRIB_NAME_MAX + 1];
    for (uint8_t i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof(name), "device-%u", i);
        (void)add_device(store, name, i);
    }
    (void)add_job(store, "job");
    add_round(store, 1, 1, 1);
    trib_store_close(store);
    return slurp(place->path);
}

static void assert_is_named(const struct place *place)
{
    struct trib_store *store = NULL;
    logged[0] = '\0';
    assert_int_equal(trib_store_open(place->path, &store), TRIB_ERR_CORRUPT);
    assert_null(store);
    assert_non_null(strstr(logged, "id=store-corrupt"));
    assert_non_null(strstr(logged, place->path));
}

static void a_bit_that_flips_in_the_database_is_found_by_its_page(void **state)
{
    const struct place *place = *state;
    struct trib_buf whole = made(place);
    char page[64];
    assert_true(whole.size > 12 * PAGE);
    for (size_t at = 0; at < whole.size; at += at < 100 ? 1 : 331) {
        flip(whole.data, at * 8 + at * 5 % 8);
        spill(place->path, whole.data, whole.size);
        assert_is_named(place);
        (void)snprintf(page, sizeof(page), ": page %zu is not", at / PAGE + 1);
        if (at >= 100) // SQLite looks at some of the header itself
            assert_non_null(strstr(logged, page));
        flip(whole.data, at * 8 + at * 5 % 8);
    }
    spill(place->path, whole.data, whole.size);
    trib_store_close(open_store(place));
    trib_buf_fini(&whole);
}

static void a_page_in_the_place_of_another_is_found(void **state)
{
    const struct place *place = *state;
    struct trib_buf whole = made(place);
    memcpy(whole.data + 9 * PAGE, whole.data + 7 * PAGE, PAGE);
    spill(place->path, whole.data, whole.size);
    assert_is_named(place);
    assert_non_null(strstr(logged, "page 10 "));
    trib_buf_fini(&whole);
}

static void a_page_that_another_program_wrote_is_found(void **state)
{
    const struct place *place = *state;
    sqlite3 *db = NULL;
    struct trib_buf whole = made(place);
    trib_buf_fini(&whole);
    assert_int_equal(sqlite3_open(place->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE device SET revoked=1", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_is_named(place);
}

static void a_copy_has_checksums(void **state)
{
    const struct place *place = *state;
    struct place copy = *place;
    struct devices devices = {.count = 0};
    struct trib_store *store = open_store(place);
    (void)snprintf(copy.path, sizeof(copy.path), "%s/copy.db", place->dir);
    (void)add_device(store, "d0001", 1);
    assert_int_equal(trib_store_copy(store, copy.path), TRIB_OK);
    trib_store_close(store);
    struct trib_buf whole = slurp(copy.path);
    assert_int_equal(whole.data[20], TRIB_STORE_PAGES_RESERVE);
    store = open_store(&copy);
    assert_int_equal(trib_store_verify(store), TRIB_OK);
    assert_int_equal(trib_store_devices(store, keep_device, &devices), TRIB_OK);
    assert_int_equal(devices.count, 1);
    trib_store_close(store);
    flip(whole.data, (whole.size - 1) * 8);
    spill(copy.path, whole.data, whole.size);
    assert_is_named(&copy);
    trib_buf_fini(&whole);
    assert_int_equal(unlink(copy.path), 0);
    (void)snprintf(copy.path, sizeof(copy.path), "%s/copy.db-wal", place->dir);
    (void)unlink(copy.path);
}

// As programs before made them: every table and row in a file without room for checksums.
static void make_old(const struct place *place)
{
    char sql[512];
    char old[128];
    sqlite3 *db = NULL;
    (void)snprintf(old, sizeof(old), "%s.old", place->path);
    (void)snprintf(sql, sizeof(sql),
                   "ATTACH '%s' AS s; CREATE TABLE device AS SELECT * FROM s.device;"
                   "CREATE TABLE meta AS SELECT * FROM s.meta; PRAGMA user_version=8;"
                   "PRAGMA application_id=0x54524942",
                   place->path);
    assert_int_equal(sqlite3_open(old, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(rename(old, place->path), 0);
}

static void a_store_of_before_is_given_checksums(void **state)
{
    const struct place *place = *state;
    struct devices devices = {.count = 0};
    struct trib_store *store = open_store(place);
    (void)add_device(store, "d0001", 1);
    (void)add_device(store, "d0002", 2);
    trib_store_close(store);
    make_old(place);
    struct trib_buf whole = slurp(place->path);
    assert_int_equal(whole.data[20], 0);
    trib_buf_fini(&whole);

    store = open_store(place);
    assert_int_equal(trib_store_devices(store, keep_device, &devices), TRIB_OK);
    assert_int_equal(devices.count, 2);
    trib_store_close(store);
    whole = slurp(place->path);
    assert_int_equal(whole.data[20], TRIB_STORE_PAGES_RESERVE);
    flip(whole.data, (whole.size - 100) * 8);
    spill(place->path, whole.data, whole.size);
    assert_is_named(place);
    trib_buf_fini(&whole);
}

// ---- The log

// What a coordinator leaves that dies after `commits` transactions of three frames or so; the
// database is as it was before them.
static void leave(const struct place *place, uint64_t commits, struct trib_buf *ret_database,
                  struct trib_buf *ret_log)
{
    char path[128];
    char name[TRIB_NAME_MAX + 1];
    struct trib_store *store = open_store(place);
    log_path(place, path);
    for (uint64_t i = 1; i <= commits; i++) {
        assert_int_equal(trib_store_begin(store), TRIB_OK);
        assert_int_equal(trib_store_meta_set(store, "a", i), TRIB_OK);
        (void)snprintf(name, sizeof(name), "d%" PRIu64, i);
        (void)add_device(store, name, (uint8_t)i);
        assert_int_equal(trib_store_device_revoke(store, i, 5), TRIB_OK);
        assert_int_equal(trib_store_commit(store), TRIB_OK);
        if (i % 2 == 0)
            assert_int_equal(trib_store_meta_set(store, "b", i), TRIB_OK);
    }
    *ret_database = slurp(place->path);
    *ret_log = slurp(path);
    trib_store_close(store);
}

static enum trib_err read_memory(void *user, void *data, uint32_t size, uint64_t at)
{
    const struct trib_buf *log = user;
    assert_true(at + size <= log->size);
    memcpy(data, log->data + at, size);
    return TRIB_OK;
}

static struct trib_store_log_damage check(struct trib_buf *log)
{
    struct trib_store_log_damage damage;
    const struct trib_store_log asked = {
        .size = log->size, .read = read_memory, .user = log, .page_size = PAGE};
    assert_int_equal(trib_store_log_check(&asked, &damage), TRIB_OK);
    return damage;
}

static void a_bit_that_flips_in_the_log_is_found_by_its_frame(void **state)
{
    struct trib_buf database, log;
    leave(*state, 2, &database, &log);
    const uint64_t frames = (log.size - LOG_HEADER) / FRAME;
    assert_true(frames >= 5 && log.size == LOG_HEADER + frames * FRAME);
    assert_false(check(&log).is_damaged);
    for (uint64_t at = 0; at < log.size; at++) {
        const uint64_t in_frame = at < LOG_HEADER ? 0 : (at - LOG_HEADER) % FRAME;
        const uint64_t frame = at < LOG_HEADER ? 0 : (at - LOG_HEADER) / FRAME + 1;
        // Every bit of headers, some of the pages.
        for (uint64_t bit = 0; bit < 8; bit++) {
            if (in_frame >= 24 && (at % 37 != 0 || bit != at * 5 % 8))
                continue;
            flip(log.data, at * 8 + bit);
            const struct trib_store_log_damage damage = check(&log);
            flip(log.data, at * 8 + bit);
            assert_true(damage.is_damaged);
            assert_int_equal(damage.frame, frame);
        }
    }
    trib_buf_fini(&database);
    trib_buf_fini(&log);
}

// A sector that is lost, where later commits show that it had been there.
static void a_log_that_goes_on_behind_what_is_lost_is_damaged(void **state)
{
    struct trib_buf database, log;
    leave(*state, 2, &database, &log);
    for (uint64_t at = LOG_HEADER + 512; at + 512 < log.size; at += 512) {
        uint8_t kept[512];
        memcpy(kept, log.data + at, sizeof(kept));
        memset(log.data + at, 0x5a, sizeof(kept));
        const struct trib_store_log_damage damage = check(&log);
        const uint64_t frame = (at - LOG_HEADER) / FRAME + 1;
        const uint64_t frames = (log.size - LOG_HEADER) / FRAME;
        if (frame + 4 < frames) // not the last transactions
            assert_true(damage.is_damaged && damage.frame == frame);
        memcpy(log.data + at, kept, sizeof(kept));
    }
    trib_buf_fini(&database);
    trib_buf_fini(&log);
}

// A last transaction that was cut off anywhere is none: SQLite drops it.
static void a_log_that_was_cut_off_is_whole(void **state)
{
    struct trib_buf database, log;
    leave(*state, 3, &database, &log);
    const size_t size = log.size;
    uint64_t last = (size - LOG_HEADER) / FRAME; // its commit, and where the one before it ended
    uint64_t before = last - 1;
    while (before > 1 && trib_load_be32(log.data + LOG_HEADER + (before - 1) * FRAME + 4) == 0)
        before--;
    for (log.size = 0; log.size < size; log.size += 509) // shorter
        assert_false(check(&log).is_damaged);
    log.size = size;
    for (uint64_t at = LOG_HEADER + before * FRAME; at < size; at += 512) { // pieces of it missing
        uint8_t *kept = malloc(size);
        assert_non_null(kept);
        memcpy(kept, log.data, size);
        memset(log.data + at, 0, size - at < 512 ? size - at : 512);
        assert_false(check(&log).is_damaged);
        memset(log.data + LOG_HEADER + before * FRAME, 0, at - LOG_HEADER - before * FRAME);
        assert_false(check(&log).is_damaged);
        memcpy(log.data, kept, size);
        free(kept);
    }
    log.size = size;
    trib_buf_fini(&database);
    trib_buf_fini(&log);
}

static void a_store_with_a_damaged_log_is_refused(void **state)
{
    const struct place *place = *state;
    struct trib_buf database, log;
    char path[128];
    log_path(place, path);
    leave(place, 2, &database, &log);
    const uint64_t ats[] = {17, LOG_HEADER + 4, LOG_HEADER + FRAME / 2, log.size - 9};
    for (size_t i = 0; i < sizeof(ats) / sizeof(ats[0]); i++) {
        flip(log.data, ats[i] * 8);
        spill(place->path, database.data, database.size);
        spill(path, log.data, log.size);
        assert_is_named(place);
        assert_non_null(strstr(logged, "-wal: frame "));
        flip(log.data, ats[i] * 8);
    }
    spill(place->path, database.data, database.size);
    spill(path, log.data, log.size);
    struct trib_store *store = open_store(place);
    uint64_t value = 0;
    assert_int_equal(trib_store_meta_get(store, "b", 0, &value), TRIB_OK);
    assert_int_equal(value, 2);
    trib_store_close(store);
    trib_buf_fini(&database);
    trib_buf_fini(&log);
}

// What flips in the log while the program runs never comes into the database.
static void a_log_that_is_damaged_under_way_is_not_copied(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    char path[128];
    uint64_t id;
    const struct trib_store_device late = device_of("late", 9);
    log_path(place, path);
    (void)add_device(store, "d0001", 1);
    struct trib_buf log = slurp(path);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    uint8_t byte = log.data[log.size - 20] ^ 1;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)log.size - 20), 1);
    assert_int_equal(close(fd), 0);
    assert_int_equal(trib_store_checkpoint(store), TRIB_ERR_CORRUPT);
    assert_non_null(strstr(logged, "-wal: frame "));
    assert_int_equal(trib_store_device_insert(store, &late, &id), TRIB_ERR_CORRUPT);
    trib_store_close(store);
    assert_is_named(place); // the log is there still, and says the same
    assert_non_null(strstr(logged, "-wal: frame "));
    trib_buf_fini(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(a_bit_that_flips_in_the_database_is_found_by_its_page),
        IN_PLACE(a_page_in_the_place_of_another_is_found),
        IN_PLACE(a_page_that_another_program_wrote_is_found),
        IN_PLACE(a_copy_has_checksums),
        IN_PLACE(a_store_of_before_is_given_checksums),
        IN_PLACE(a_bit_that_flips_in_the_log_is_found_by_its_frame),
        IN_PLACE(a_log_that_goes_on_behind_what_is_lost_is_damaged),
        IN_PLACE(a_log_that_was_cut_off_is_whole),
        IN_PLACE(a_store_with_a_damaged_log_is_refused),
        IN_PLACE(a_log_that_is_damaged_under_way_is_not_copied),
    };
    return RUN_TESTS(tests);
}
