#include "common/privacy/ledger.h"
#include "tests/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/privacy/ledger_file.h"

#ifdef __SANITIZE_ADDRESS__ // every file that is tried is a slow one
enum {
    FLIP_STEP = 7
};
#else
enum {
    FLIP_STEP = 1
};
#endif

enum {
    RECORD = TRIB_LEDGER_RECORD_SIZE,
};

static const uint64_t DAY_MS = 86400000;
static const uint64_t START_MS = 1790000000000;

static char dir[TEST_FOLDER_SIZE];
static char path[TRIB_PATH_MAX + 1], head_path[TRIB_PATH_MAX + 1];
static const uint8_t secret[TRIB_LEDGER_SECRET_SIZE] = {1, 2, 3};
static uint64_t wall, mono; // the test's clocks, ms

static uint64_t wall_ms(void)
{
    return wall;
}

static uint64_t mono_ms(void)
{
    return mono;
}

// Pure epsilon of a round: s1 / 2^grid_bits = 0.5
static const struct trib_encoding encoding = {.mode = TRIB_PRIVACY_LOCAL,
                                              .grid = 1e-4,
                                              .grid_bits = 12,
                                              .s1 = 2048,
                                              .s2 = 512,
                                              .sinf = 512,
                                              .word_bits = 24};

static int set_up(void **state)
{
    (void)state;
    wall = START_MS;
    mono = 5000;
    return test_folder(dir) && !trib_path_join(path, dir, "privacy.ledger") &&
                   !trib_path_join(head_path, dir, "privacy.head")
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char tmp[TRIB_PATH_MAX + 1];
    (void)unlink(path);
    (void)unlink(head_path);
    if (trib_path_join(tmp, dir, "privacy.head.tmp"))
        return -1;
    (void)unlink(tmp);
    (void)rmdir(tmp);
    return rmdir(dir);
}

static enum trib_err try_open(const struct trib_budget *budget, struct trib_ledger **ret_ledger)
{
    const struct trib_ledger_options options = {
        .dir = dir,
        .secret = secret,
        .budget = budget ? *budget : (struct trib_budget){.rho = 0},
        .wall_ms = wall_ms,
        .mono_ms = mono_ms,
    };
    return trib_ledger_open(&options, ret_ledger);
}

static struct trib_ledger *opened(const struct trib_budget *budget)
{
    struct trib_ledger *ledger;
    assert_int_equal(try_open(budget, &ledger), TRIB_OK);
    return ledger;
}

static struct trib_ledger *in_memory(const struct trib_budget *budget)
{
    const struct trib_ledger_options options = {
        .budget = *budget, .wall_ms = wall_ms, .mono_ms = mono_ms};
    struct trib_ledger *ledger;
    assert_int_equal(trib_ledger_open(&options, &ledger), TRIB_OK);
    return ledger;
}

static enum trib_err reserve(struct trib_ledger *ledger, uint64_t job, uint64_t *ret_reservation)
{
    const uint8_t whom[TRIB_LEDGER_WHOM_SIZE] = {(uint8_t)job};
    struct trib_charge charge;
    trib_ledger_charge(&encoding, job, 100 + job, whom, &charge);
    return trib_ledger_reserve(ledger, &charge, ret_reservation);
}

static void must_reserve(struct trib_ledger *ledger, uint64_t times)
{
    uint64_t reservation;
    for (uint64_t i = 0; i < times; i++)
        assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
}

static struct trib_ledger_totals totals_of(struct trib_ledger *ledger)
{
    struct trib_ledger_totals totals;
    trib_ledger_totals(ledger, &totals);
    return totals;
}

// Three reservations, the second taken back: four records.
static void write_some(void)
{
    struct trib_ledger *ledger = opened(NULL);
    uint64_t reservation;
    must_reserve(ledger, 1);
    assert_int_equal(reserve(ledger, 2, &reservation), TRIB_OK);
    assert_int_equal(trib_ledger_refund(ledger, reservation), TRIB_OK);
    must_reserve(ledger, 1);
    trib_ledger_close(ledger);
}

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

// ---- Accounts

static void what_was_spent_is_there_after_a_restart(void **state)
{
    (void)state;
    struct stat info;
    write_some();
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 4 * RECORD);
    assert_int_equal(info.st_mode & 0777, 0600);
    struct trib_ledger *ledger = opened(NULL);
    const struct trib_ledger_totals totals = totals_of(ledger);
    assert_int_equal(totals.entries, 4);
    assert_int_equal(totals.all.rounds, 2);
    assert_true(totals.all.epsilon_pure == 1.0);
    assert_true(totals.all.rho > 1.999 * trib_rho_of(&encoding));
    assert_true(totals.all.rho < 2.001 * trib_rho_of(&encoding));
    trib_ledger_close(ledger);
}

static void the_cap_is_met_exactly_and_never_passed(void **state)
{
    (void)state;
    const double rho = trib_rho_of(&encoding);
    const struct trib_privacy_spent ten = {.rounds = 10, .epsilon_pure = 5, .rho = 10 * rho};
    const struct trib_budget budgets[] = {
        {.epsilon_pure = 5},
        {.epsilon_pure = 5.49},
        {.rho = 10 * rho},
        {.epsilon = trib_privacy_epsilon(&ten, 1e-6), .delta = 1e-6},
        {.epsilon_pure = 5, .rho = 100, .epsilon = 100, .delta = 1e-6},
    };
    for (size_t i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++) {
        struct trib_ledger *ledger = in_memory(&budgets[i]);
        uint64_t reservation;
        for (int round = 0; round < 10; round++) {
            assert_true(trib_ledger_allows(ledger, &encoding));
            assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
        }
        assert_false(trib_ledger_allows(ledger, &encoding));
        assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
        assert_int_equal(totals_of(ledger).all.rounds, 10);
        trib_ledger_close(ledger);
    }
}

static void jobs_and_populations_share_one_budget(void **state)
{
    (void)state;
    const struct trib_budget budget = {.epsilon_pure = 1};
    uint64_t reservation;
    struct trib_ledger *ledger = opened(&budget);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
    trib_ledger_close(ledger);
    ledger = opened(&budget);
    assert_int_equal(reserve(ledger, 2, &reservation), TRIB_OK);
    assert_int_equal(reserve(ledger, 3, &reservation), TRIB_ERR_PRIVACY);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    trib_ledger_close(ledger);
}

static void mode_off_costs_nothing_and_writes_nothing(void **state)
{
    (void)state;
    const struct trib_budget budget = {.epsilon_pure = 1e-9, .rho = 1e-9};
    const uint8_t whom[TRIB_LEDGER_WHOM_SIZE] = {0};
    struct trib_encoding off = encoding;
    struct trib_charge charge;
    uint64_t reservation = 77;
    struct trib_ledger *ledger = opened(&budget);
    off.mode = TRIB_PRIVACY_OFF;
    trib_ledger_charge(&off, 1, 2, whom, &charge);
    assert_true(trib_ledger_allows(ledger, &off));
    assert_int_equal(trib_ledger_reserve(ledger, &charge, &reservation), TRIB_OK);
    assert_int_equal(reservation, 0);
    assert_int_equal(trib_ledger_refund(ledger, reservation), TRIB_OK);
    assert_int_equal(totals_of(ledger).entries, 0);
    trib_ledger_close(ledger);
}

static void a_refund_gives_back_what_was_reserved_once(void **state)
{
    (void)state;
    const struct trib_budget budget = {.epsilon_pure = 0.5};
    uint64_t reservation, again;
    struct trib_ledger *ledger = opened(&budget);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
    assert_int_equal(trib_ledger_refund(ledger, reservation + 1), TRIB_ERR_STATE);
    assert_int_equal(reserve(ledger, 1, &again), TRIB_ERR_PRIVACY);
    assert_int_equal(trib_ledger_refund(ledger, reservation), TRIB_OK);
    assert_int_equal(trib_ledger_refund(ledger, reservation), TRIB_ERR_STATE);
    assert_true(totals_of(ledger).all.epsilon_pure == 0);
    assert_int_equal(reserve(ledger, 1, &again), TRIB_OK);
    trib_ledger_close(ledger);

    ledger = opened(&budget); // unknown after a restart: spent
    assert_int_equal(trib_ledger_refund(ledger, again), TRIB_ERR_STATE);
    assert_true(totals_of(ledger).all.epsilon_pure == 0.5);
    trib_ledger_close(ledger);
}

static void kept(void *user, const struct trib_ledger_entry *entry)
{
    *(struct trib_ledger_entry *)user = *entry;
}

static void what_was_promised_is_read_back(void **state)
{
    (void)state;
    const uint8_t whom[TRIB_LEDGER_WHOM_SIZE] = {7};
    struct trib_charge charge;
    struct trib_ledger_entry entry = {.sequence = 0};
    struct trib_ledger *ledger = opened(NULL);
    uint64_t reservation;
    trib_ledger_charge(&encoding, 1, 2, whom, &charge);
    charge.cohort = (struct trib_privacy_cohort){60, 6, true};
    assert_int_equal(trib_ledger_reserve(ledger, &charge, &reservation), TRIB_OK);
    trib_ledger_close(ledger);
    const struct trib_ledger_options options = {
        .dir = dir, .secret = secret, .is_reader = true, .visit = kept, .user = &entry};
    assert_int_equal(trib_ledger_open(&options, &ledger), TRIB_OK);
    trib_ledger_close(ledger);
    assert_int_equal(entry.sequence, 1);
    assert_int_equal(entry.charge.cohort.members, 60);
    assert_int_equal(entry.charge.cohort.colluders, 6);
    assert_true(entry.charge.cohort.is_vouched_apart);
}

static void a_promise_that_was_not_noted_is_the_weaker_one(void **state)
{
    (void)state;
    char text[160];
    struct trib_privacy_cohort cohort = {.members = 0};
    trib_privacy_against(TRIB_PRIVACY_DISTRIBUTED, &cohort, text, sizeof(text));
    assert_string_equal(text,
                        "a coordinator that is honest about who its devices are, under secure "
                        "aggregation (with how many devices was not noted)");
    cohort = (struct trib_privacy_cohort){UINT32_MAX, UINT32_MAX, false}; // it fits all the same
    trib_privacy_against(TRIB_PRIVACY_DISTRIBUTED, &cohort, text, sizeof(text));
    assert_non_null(strstr(text, "under secure aggregation"));
    cohort = (struct trib_privacy_cohort){60, 6, true};
    trib_privacy_against(TRIB_PRIVACY_DISTRIBUTED, &cohort, text, sizeof(text));
    assert_string_equal(text, "a coordinator that may lie with up to 6 of 60 devices, under secure "
                              "aggregation");
}

// ---- Clocks

static const struct trib_budget daily = {.epsilon_pure = 0.5, .window_ms = 86400000};

static void a_window_frees_what_is_older(void **state)
{
    (void)state;
    uint64_t reservation;
    struct trib_ledger *ledger = opened(&daily);
    must_reserve(ledger, 1);
    mono += DAY_MS - 1;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    mono += 1;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    assert_int_equal(totals_of(ledger).all.rounds, 2);
    assert_int_equal(totals_of(ledger).window.rounds, 1);
    trib_ledger_close(ledger);
    wall = START_MS + 3 * DAY_MS; // it was off for a while
    ledger = opened(&daily);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
    trib_ledger_close(ledger);
}

static void a_clock_that_jumps_frees_nothing(void **state)
{
    (void)state;
    uint64_t reservation;
    struct trib_ledger *ledger = opened(&daily);
    must_reserve(ledger, 1);
    wall += 400 * DAY_MS; // forward, while it runs
    mono += 1000;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    wall = 0; // and back to 1970
    mono += 1000;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    trib_ledger_close(ledger);
    ledger = opened(&daily); // started without a clock
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    wall = START_MS + 9 * DAY_MS; // which is then set
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    mono += DAY_MS;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
    trib_ledger_close(ledger);
}

static void a_window_of_many_rounds_keeps_its_sum(void **state)
{
    (void)state;
    const struct trib_budget budget = {.epsilon_pure = 50, .window_ms = DAY_MS};
    struct trib_ledger *ledger = in_memory(&budget);
    for (int i = 0; i < 1000; i++) { // 100 fit; one leaves as one comes
        mono += DAY_MS / 100;
        must_reserve(ledger, 1);
    }
    assert_int_equal(totals_of(ledger).window.rounds, 100);
    assert_true(totals_of(ledger).window.epsilon_pure == 50);
    assert_int_equal(totals_of(ledger).all.rounds, 1000);
    trib_ledger_close(ledger);
}

static void lifetime_totals_do_not_look_at_the_clock(void **state)
{
    (void)state;
    const struct trib_budget budget = {.epsilon_pure = 1};
    uint64_t reservation;
    struct trib_ledger *ledger = opened(&budget);
    must_reserve(ledger, 2);
    wall += 40000 * DAY_MS;
    mono += 40000 * DAY_MS;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    trib_ledger_close(ledger);
}

// ---- Files

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
#define LEDGER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        LEDGER_TEST(what_was_spent_is_there_after_a_restart),
        LEDGER_TEST(the_cap_is_met_exactly_and_never_passed),
        LEDGER_TEST(jobs_and_populations_share_one_budget),
        LEDGER_TEST(mode_off_costs_nothing_and_writes_nothing),
        LEDGER_TEST(a_refund_gives_back_what_was_reserved_once),
        LEDGER_TEST(what_was_promised_is_read_back),
        LEDGER_TEST(a_promise_that_was_not_noted_is_the_weaker_one),
        LEDGER_TEST(a_window_frees_what_is_older),
        LEDGER_TEST(a_clock_that_jumps_frees_nothing),
        LEDGER_TEST(a_window_of_many_rounds_keeps_its_sum),
        LEDGER_TEST(lifetime_totals_do_not_look_at_the_clock),
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
