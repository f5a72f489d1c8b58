// The files of a privacy ledger: damaged, cut short, exchanged, or not to be written.
#include "tests/unit/ledger_rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifdef __SANITIZE_ADDRESS__ // every file that is tried is a slow one
enum {
    FLIP_STEP = 7
};
#else
enum {
    FLIP_STEP = 1
};
#endif

static struct trib_buf read_file(const char *name)
{
    struct trib_buf buf = {0};
    assert_int_equal(trib_file_read(name, 1 << 20, &buf), TRIB_OK);
    return buf;
}

// Not durable: the tests have no time for that.
static void write_file(const char *name, const void *data, size_t size)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void assert_corrupt(void)
{
    struct trib_ledger *ledger = NULL;
    assert_int_equal(try_open(NULL, &ledger), TRIB_ERR_CORRUPT);
    assert_null(ledger);
}

static void every_flip_of_a_record_or_of_the_head_is_found(void **state)
{
    (void)state;
    write_some();
    const char *const names[] = {path, head_path};
    for (int n = 0; n < 2; n++) {
        struct trib_buf whole = read_file(names[n]);
        for (size_t bit = 0; bit < 8 * whole.size; bit += FLIP_STEP) {
            whole.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            write_file(names[n], whole.data, whole.size);
            assert_corrupt();
            whole.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        write_file(names[n], whole.data, whole.size);
        trib_buf_fini(&whole);
    }
    trib_ledger_close(opened(NULL));
}

static void every_truncation_is_found(void **state)
{
    (void)state;
    write_some();
    const char *const names[] = {path, head_path};
    for (int n = 0; n < 2; n++) {
        struct trib_buf whole = read_file(names[n]);
        for (size_t size = 0; size < whole.size; size++) {
            write_file(names[n], whole.data, size);
            assert_corrupt();
        }
        assert_int_equal(unlink(names[n]), 0);
        assert_corrupt();
        write_file(names[n], whole.data, whole.size);
        trib_buf_fini(&whole);
    }
    trib_ledger_close(opened(NULL));
}

static void records_that_change_places_or_come_twice_are_found(void **state)
{
    (void)state;
    write_some();
    struct trib_buf whole = read_file(path);
    uint8_t bad[5 * RECORD];
    for (size_t a = 0; a < 4; a++) {
        for (size_t b = 0; b < 4; b++) {
            if (a == b)
                continue;
            memcpy(bad, whole.data, whole.size);
            memcpy(bad + a * RECORD, whole.data + b * RECORD, RECORD);
            memcpy(bad + b * RECORD, whole.data + a * RECORD, RECORD);
            write_file(path, bad, whole.size);
            assert_corrupt();
            memcpy(bad, whole.data, whole.size);
            memcpy(bad + a * RECORD, whole.data + b * RECORD, RECORD);
            write_file(path, bad, whole.size);
            assert_corrupt();
        }
    }
    trib_buf_fini(&whole);
}

static void files_of_another_device_or_another_time_are_found(void **state)
{
    (void)state;
    struct trib_ledger *ledger = opened(NULL);
    must_reserve(ledger, 1);
    struct trib_buf old_head = read_file(head_path);
    struct trib_buf old = read_file(path);
    must_reserve(ledger, 2);
    trib_ledger_close(ledger);
    struct trib_buf head = read_file(head_path);
    write_file(head_path, old_head.data, old_head.size); // two more records than it knows
    assert_corrupt();
    write_file(head_path, head.data, head.size);
    write_file(path, old.data, old.size);
    assert_corrupt();
    const uint8_t other[TRIB_LEDGER_SECRET_SIZE] = {9};
    const struct trib_ledger_options options = {.dir = dir, .secret = other};
    write_file(head_path, old_head.data, old_head.size);
    assert_int_equal(trib_ledger_open(&options, &ledger), TRIB_ERR_CORRUPT);
    trib_buf_fini(&old_head);
    trib_buf_fini(&old);
    trib_buf_fini(&head);
}

// What kill -9 leaves behind the promised records: any part of one more, with the head before it.
static void an_entry_that_a_crash_cut_short_is_dropped_and_a_whole_one_counts(void **state)
{
    (void)state;
    struct trib_ledger *ledger = opened(NULL);
    must_reserve(ledger, 2);
    struct trib_buf head = read_file(head_path);
    must_reserve(ledger, 1);
    trib_ledger_close(ledger);
    struct trib_buf whole = read_file(path);
    for (size_t size = 2 * RECORD; size <= 3 * RECORD; size++) {
        write_file(head_path, head.data, head.size);
        write_file(path, whole.data, size);
        for (int opening = 0; opening < 2; opening++) {
            ledger = opened(NULL);
            assert_int_equal(totals_of(ledger).entries, size == 3 * RECORD ? 3 : 2);
            trib_ledger_close(ledger);
        }
        ledger = opened(NULL); // and it goes on from there
        must_reserve(ledger, 1);
        trib_ledger_close(ledger);
        trib_ledger_close(opened(NULL));
    }
    // Power that failed may leave a record of zeros: nobody was promised that one either.
    memset(whole.data + 2 * RECORD, 0, RECORD);
    write_file(head_path, head.data, head.size);
    write_file(path, whole.data, 3 * RECORD);
    ledger = opened(NULL);
    assert_int_equal(totals_of(ledger).entries, 2);
    trib_ledger_close(ledger);
    trib_buf_fini(&head);
    trib_buf_fini(&whole);
}

static void a_crash_between_the_first_head_and_its_ledger_is_fine(void **state)
{
    (void)state;
    trib_ledger_close(opened(NULL));
    assert_int_equal(unlink(path), 0);
    struct trib_ledger *ledger = opened(NULL);
    must_reserve(ledger, 1);
    trib_ledger_close(ledger);
    assert_int_equal(unlink(path), 0);
    assert_corrupt();
}

static void what_cannot_be_written_is_refused_and_counts(void **state)
{
    (void)state;
    char tmp[TRIB_PATH_MAX + 1];
    uint64_t reservation;
    struct trib_ledger *ledger = opened(NULL);
    must_reserve(ledger, 1);
    assert_int_equal(trib_path_join(tmp, dir, "privacy.head.tmp"), TRIB_OK);
    assert_int_equal(mkdir(tmp, 0700), 0); // the head cannot be replaced
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_IO);
    assert_int_equal(rmdir(tmp), 0);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_IO); // and not tried again
    assert_int_equal(totals_of(ledger).all.rounds, 2);
    trib_ledger_close(ledger);
    ledger = opened(NULL);
    assert_int_equal(totals_of(ledger).all.rounds, 2);
    trib_ledger_close(ledger);
}

static void a_write_that_fails_half_way_is_refused(void **state)
{
    (void)state;
    uint64_t reservation;
    struct rlimit old;
    struct trib_ledger *ledger = opened(NULL);
    must_reserve(ledger, 2);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const struct rlimit small = {.rlim_cur = 2 * RECORD + 50, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    const enum trib_err err = reserve(ledger, 1, &reservation);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, before);
    assert_int_equal(err, TRIB_ERR_IO);
    trib_ledger_close(ledger);
    ledger = opened(NULL); // the half is dropped: nothing was promised, and nothing was sent
    assert_int_equal(totals_of(ledger).all.rounds, 2);
    trib_ledger_close(ledger);
}

static void a_reader_looks_while_a_writer_writes(void **state)
{
    (void)state;
    const struct trib_ledger_options reading = {.dir = dir, .secret = secret, .is_reader = true};
    struct trib_ledger *reader;
    uint64_t reservation;
    assert_int_equal(trib_ledger_open(&reading, &reader), TRIB_OK); // nothing there yet
    assert_int_equal(totals_of(reader).entries, 0);
    trib_ledger_close(reader);
    assert_false(trib_file_exists(path) || trib_file_exists(head_path));
    struct trib_ledger *writer = opened(NULL);
    must_reserve(writer, 3);
    assert_int_equal(trib_ledger_open(&reading, &reader), TRIB_OK);
    must_reserve(writer, 1);
    assert_int_equal(totals_of(reader).entries, 3);
    assert_int_equal(reserve(reader, 1, &reservation), TRIB_ERR_IO);
    trib_ledger_close(reader);
    trib_ledger_close(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(every_flip_of_a_record_or_of_the_head_is_found),
        LEDGER_TEST(every_truncation_is_found),
        LEDGER_TEST(records_that_change_places_or_come_twice_are_found),
        LEDGER_TEST(files_of_another_device_or_another_time_are_found),
        LEDGER_TEST(an_entry_that_a_crash_cut_short_is_dropped_and_a_whole_one_counts),
        LEDGER_TEST(a_crash_between_the_first_head_and_its_ledger_is_fine),
        LEDGER_TEST(what_cannot_be_written_is_refused_and_counts),
        LEDGER_TEST(a_write_that_fails_half_way_is_refused),
        LEDGER_TEST(a_reader_looks_while_a_writer_writes),
    };
    return RUN_TESTS(tests);
}
