#include "common/data/row_store.h"
#include "tests/unit/files.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/base/rand.h"

static char store_dir[TRIB_PATH_MAX + 1];
static struct trib_row_store *store;

static struct trib_row_store_options options_of(uint64_t bytes_max)
{
    struct trib_row_store_options options = {.dir = store_dir, .bytes_max = bytes_max};
    memset(options.columns, 7, sizeof(options.columns));
    return options;
}

// An empty folder for each test.
static int begin(void **state)
{
    (void)state;
    assert_int_equal(trib_path_join(store_dir, files_dir, "rows"), TRIB_OK);
    return 0;
}

static uint64_t bytes_on_disk(void)
{
    char path[TRIB_PATH_MAX + 1];
    const struct dirent *entry;
    struct stat info;
    uint64_t bytes = 0;
    DIR *entries = opendir(store_dir);
    assert_non_null(entries);
    while ((entry = readdir(entries))) {
        if (entry->d_name[0] != '.' && !trib_path_join(path, store_dir, entry->d_name) &&
            stat(path, &info) == 0)
            bytes += (uint64_t)info.st_size;
    }
    (void)closedir(entries);
    return bytes;
}

static int end(void **state)
{
    (void)state;
    char path[TRIB_PATH_MAX + 1];
    const struct dirent *entry;
    trib_row_store_close(store);
    store = NULL;
    DIR *entries = opendir(store_dir);
    while (entries && (entry = readdir(entries))) {
        if (entry->d_name[0] != '.' && !trib_path_join(path, store_dir, entry->d_name))
            (void)unlink(path);
    }
    if (entries)
        (void)closedir(entries);
    return rmdir(store_dir) && errno != ENOENT ? -1 : 0;
}

static void open_store(const struct trib_row_store_options *options, uint64_t now_ms)
{
    assert_int_equal(trib_row_store_open(options, now_ms, &store), TRIB_OK);
}

static void close_store(void)
{
    assert_int_equal(trib_row_store_flush(store), TRIB_OK);
    trib_row_store_close(store);
    store = NULL;
}

// Row number n reads "row n", padded to `size`.
static void append(uint64_t number, size_t size, uint64_t now_ms)
{
    char text[TRIB_ROW_SIZE_MAX + 1];
    int used = snprintf(text, sizeof(text), "row %llu ", (unsigned long long)number);
    memset(text + used, '.', sizeof(text) - (size_t)used);
    assert_int_equal(trib_row_store_append(store, text, size, now_ms), TRIB_OK);
}

// What is read: rows with consecutive numbers whose text tells the same number.
struct seen {
    uint64_t first, next, arrival_ms;
};

static enum trib_err see(void *user, const struct trib_row *row)
{
    struct seen *seen = user;
    char text[32];
    int size = snprintf(text, sizeof(text), "row %llu ", (unsigned long long)row->sequence);
    if (seen->next == 0)
        seen->first = row->sequence;
    else
        assert_int_equal(row->sequence, seen->next);
    assert_memory_equal(row->text, text, size);
    seen->next = row->sequence + 1;
    seen->arrival_ms = row->arrival_ms;
    return TRIB_OK;
}

static struct seen read_rows(uint64_t after, uint64_t oldest_ms)
{
    struct seen seen = {.next = 0};
    uint8_t columns[TRIB_DIGEST_SIZE];
    memset(columns, 7, sizeof(columns));
    const struct trib_row_query query = {
        .dir = store_dir, .after = after, .oldest_ms = oldest_ms, .columns = columns};
    assert_int_equal(trib_row_store_read(&query, see, &seen), TRIB_OK);
    return seen;
}

static void rows_come_back_in_their_order_and_numbers_go_on(void **state)
{
    (void)state;
    const struct trib_row_store_options options = options_of(TRIB_ROW_STORE_BYTES_MIN);
    struct trib_row_store *second;
    assert_int_equal(read_rows(0, 0).next, 0); // there is no folder yet
    open_store(&options, 1000);
    assert_int_equal(trib_row_store_open(&options, 1000, &second), TRIB_ERR_STATE);
    files_assert_logged("another process writes to this store");
    for (uint64_t i = 1; i <= 3; i++)
        append(i, 40, 1000 + i);
    close_store();
    open_store(&options, 2000);
    append(4, TRIB_ROW_SIZE_MAX, 500); // a clock that was set back
    close_store();
    struct seen seen = read_rows(0, 0);
    assert_int_equal(seen.first, 1);
    assert_int_equal(seen.next, 5);
    assert_int_equal(seen.arrival_ms, 1003);
    assert_int_equal(read_rows(2, 0).first, 3);
    assert_int_equal(read_rows(4, 0).next, 0);
    assert_int_equal(read_rows(0, 1003).first, 3);
}

static void bytes_never_exceed_the_bound(void **state)
{
    (void)state;
    const struct trib_row_store_options options = options_of(TRIB_ROW_STORE_BYTES_MIN);
    struct trib_rng rng;
    trib_rng_init(&rng, 1, "rows", 0, NULL);
    open_store(&options, 0);
    for (uint64_t i = 1; i <= 20000; i++) {
        append(i, 30 + trib_rng_below(&rng, i % 100 == 0 ? 60000 : 300), i);
        assert_true(trib_row_store_state(store).bytes <= options.bytes_max);
        if (i % 50 == 0)
            assert_true(bytes_on_disk() <= options.bytes_max);
        if (i % 5000 == 0) {
            close_store();
            assert_int_equal(read_rows(0, 0).next, i + 1);
            open_store(&options, i);
        }
    }
    struct trib_row_store_state state_now = trib_row_store_state(store);
    assert_true(state_now.bytes > options.bytes_max / 2 && state_now.first > 15000);
    close_store();
    assert_int_equal(bytes_on_disk(), state_now.bytes);
    assert_int_equal(read_rows(0, 0).first, state_now.first);
    struct trib_row_store_state looked;
    assert_int_equal(trib_row_store_look(store_dir, &looked), TRIB_OK);
    assert_int_equal(looked.bytes, state_now.bytes);
    assert_int_equal(looked.first, state_now.first);
    assert_int_equal(looked.next, state_now.next);
}

// Every prefix of the last segment, as a kill may leave it, and every flipped byte.
static void a_torn_tail_is_cut_off_and_its_number_used_again(void **state)
{
    (void)state;
    const struct trib_row_store_options options = options_of(TRIB_ROW_STORE_BYTES_MIN);
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf whole = {0};
    open_store(&options, 9);
    append(1, 30, 10);
    append(2, 31, 11);
    close_store();
    assert_int_equal(trib_path_join(path, store_dir, "0000000000000001.rows"), TRIB_OK);
    assert_int_equal(trib_file_read(path, 1 << 20, &whole), TRIB_OK);
    const size_t first = TRIB_ROW_SEGMENT_HEADER_SIZE + TRIB_ROW_HEADER_SIZE + 30;
    for (size_t cut = TRIB_ROW_SEGMENT_HEADER_SIZE; cut < whole.size; cut++) {
        assert_int_equal(trib_file_write(path, whole.data, cut, 0600), TRIB_OK);
        const uint64_t next = cut < first ? 1 : 2;
        assert_int_equal(read_rows(0, 0).next, cut < first ? 0 : 2);
        open_store(&options, 12);
        assert_int_equal(trib_row_store_state(store).next, next);
        append(next, 50, 12);
        close_store();
        assert_int_equal(read_rows(0, 0).next, next + 1);
    }
    for (size_t at = TRIB_ROW_SEGMENT_HEADER_SIZE; at < whole.size; at++) {
        whole.data[at] ^= 0x10;
        assert_int_equal(trib_file_write(path, whole.data, whole.size, 0600), TRIB_OK);
        whole.data[at] ^= 0x10;
        open_store(&options, 12);
        assert_int_equal(trib_row_store_state(store).next, at < first ? 1 : 2);
        close_store();
    }
    trib_buf_fini(&whole);
}

static void a_broken_header_loses_its_rows_but_no_number_comes_twice(void **state)
{
    (void)state;
    const struct trib_row_store_options options = options_of(TRIB_ROW_STORE_BYTES_MIN);
    char path[TRIB_PATH_MAX + 1];
    open_store(&options, 1);
    for (uint64_t i = 1; i <= 10; i++)
        append(i, 60000, i);
    close_store();
    const uint64_t last = 9; // two in each segment of 128 KiB
    char name[32];
    (void)snprintf(name, sizeof(name), "%016llx.rows", (unsigned long long)last);
    assert_int_equal(trib_path_join(path, store_dir, name), TRIB_OK);
    assert_true(trib_file_exists(path));
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(read_rows(0, 0).next, last);
    open_store(&options, 20);
    assert_int_equal(trib_row_store_state(store).next, last);
    append(last, 50, 20);
    close_store();
    assert_int_equal(read_rows(0, 0).next, last + 1);
}

static void rows_that_are_too_old_are_dropped_and_never_read(void **state)
{
    (void)state;
    struct trib_row_store_options options = options_of(TRIB_ROW_STORE_BYTES_MIN);
    options.age_max_ms = 800;
    open_store(&options, 1000);
    for (uint64_t i = 1; i <= 100; i++)
        append(i, 40, 1000 + 10 * i);
    close_store();
    const struct seen seen = read_rows(0, 2000 - 800);
    assert_int_equal(seen.first, 20);
    assert_int_equal(seen.next, 101);
    open_store(&options, 2000);
    const struct trib_row_store_state at = trib_row_store_state(store);
    assert_true(at.first > 1 && at.first <= 20); // whole segments
    assert_int_equal(trib_row_store_expire(store, 9000), TRIB_OK);
    assert_int_equal(trib_row_store_state(store).first, 101);
    assert_int_equal(trib_row_store_state(store).bytes, TRIB_ROW_SEGMENT_HEADER_SIZE);
    append(101, 40, 9001);
    close_store();
    assert_int_equal(read_rows(0, 0).first, 101);
}

static void other_columns_begin_a_segment_and_old_rows_are_left_out(void **state)
{
    (void)state;
    struct trib_row_store_options options = options_of(TRIB_ROW_STORE_BYTES_MIN);
    options.columns[0] = 1;
    open_store(&options, 1);
    append(1, 40, 1);
    append(2, 40, 1);
    close_store();
    options.columns[0] = 7;
    open_store(&options, 2);
    append(3, 40, 2);
    close_store();
    const struct seen seen = read_rows(0, 0);
    assert_int_equal(seen.first, 3);
    assert_int_equal(seen.next, 4);
    files_assert_logged("id=rows-foreign");
}

static void a_smaller_bound_is_kept_at_once(void **state)
{
    (void)state;
    struct trib_row_store_options options = options_of(4 * TRIB_ROW_STORE_BYTES_MIN);
    open_store(&options, 1);
    for (uint64_t i = 1; i <= 60; i++)
        append(i, 50000, i);
    close_store();
    options.bytes_max = TRIB_ROW_STORE_BYTES_MIN;
    open_store(&options, 100);
    assert_true(bytes_on_disk() <= options.bytes_max);
    append(61, 50, 100);
    close_store();
    assert_int_equal(read_rows(0, 0).next, 62);
}

// A child adds rows as fast as it can and is killed in the middle.
static void a_kill_loses_what_was_not_flushed_and_nothing_twice(void **state)
{
    (void)state;
    const struct trib_row_store_options options = options_of(TRIB_ROW_STORE_BYTES_MIN);
    uint64_t next = 1;
    for (int run = 0; run < 12; run++) {
        int told[2];
        uint64_t flushed = next, got;
        assert_int_equal(pipe(told), 0);
        pid_t child = fork();
        if (child == 0) {
            (void)close(told[0]);
            if (trib_row_store_open(&options, 1, &store))
                _exit(1);
            for (uint64_t i = next;; i++) {
                append(i, 40 + i % 500, i);
                if (i % 97 == 0 && (trib_row_store_flush(store) ||
                                    write(told[1], &i, sizeof(i)) != (ssize_t)sizeof(i)))
                    _exit(1);
            }
        }
        (void)close(told[1]);
        for (int i = 0; i < 3 + 5 * run && read(told[0], &got, sizeof(got)) == sizeof(got); i++)
            flushed = got + 1;
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(told[0], &got, sizeof(got)) == sizeof(got))
            flushed = got + 1;
        (void)close(told[0]);
        open_store(&options, 1);
        next = trib_row_store_state(store).next;
        assert_true(next >= flushed);
        close_store();
        assert_int_equal(read_rows(0, 0).next, next); // every number once
        assert_true(bytes_on_disk() <= options.bytes_max);
    }
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {NULL};
    return files_teardown(names);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(rows_come_back_in_their_order_and_numbers_go_on),
        STORE_TEST(bytes_never_exceed_the_bound),
        STORE_TEST(a_torn_tail_is_cut_off_and_its_number_used_again),
        STORE_TEST(a_broken_header_loses_its_rows_but_no_number_comes_twice),
        STORE_TEST(rows_that_are_too_old_are_dropped_and_never_read),
        STORE_TEST(other_columns_begin_a_segment_and_old_rows_are_left_out),
        STORE_TEST(a_smaller_bound_is_kept_at_once),
        STORE_TEST(a_kill_loses_what_was_not_flushed_and_nothing_twice),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
