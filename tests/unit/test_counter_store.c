#include "client/counter_store.h"
#include "tests/unit/files.h"

#include <math.h>

static struct trib_counter_list declared(const char *text)
{
    struct trib_counter_list counters;
    char why[256];
    assert_int_equal(trib_counters_parse(text, &counters, why, sizeof(why)), TRIB_OK);
    return counters;
}

static void declare(const char *text, uint64_t version)
{
    const struct trib_counter_list counters = declared(text);
    assert_int_equal(trib_counter_store_declare(files_dir, &counters, version), TRIB_OK);
}

static void count(const char *name, uint64_t successes, uint64_t trials)
{
    char why[256];
    assert_int_equal(
        trib_counter_store_trials(files_dir, name, successes, trials, why, sizeof(why)), TRIB_OK);
}

// A total of a version, `back` before `newest`; -1: the devices that counted.
static double total(const char *text, uint64_t newest, size_t back, size_t counter, int place)
{
    const struct trib_counter_list counters = declared(text);
    struct trib_tally tally;
    assert_int_equal(trib_tally_init(&tally, trib_counters_values(&counters)), TRIB_OK);
    assert_int_equal(trib_counter_store_sum(files_dir, &counters, newest, &tally), TRIB_OK);
    const size_t at = trib_counters_place(&counters, back, place < 0 ? 0 : counter);
    const double value = trib_tally_value(&tally, place < 0 ? at - 1 : at + (size_t)place);
    trib_tally_fini(&tally);
    return value;
}

static int begin(void **state)
{
    (void)state;
    return unlink(files_put(0, "counters", NULL, 0)), 0;
}

#define TWO "clicks:rate,minutes:sum:-1:60"

static void counts_go_to_the_version_that_is_installed(void **state)
{
    (void)state;
    char why[256];
    declare(TWO, 7);
    count("clicks", 1, 4);
    count("clicks", 2, 2);
    assert_int_equal(trib_counter_store_number(files_dir, "minutes", -0.5, why, sizeof(why)),
                     TRIB_OK);
    assert_int_equal(trib_counter_store_number(files_dir, "minutes", 3, why, sizeof(why)), TRIB_OK);
    assert_int_equal(trib_counter_store_version(files_dir, 9), TRIB_OK);
    count("clicks", 0, 1);
    for (int again = 0; again < 2; again++) { // a collection takes nothing away
        assert_true(total(TWO, 9, 2, 0, 0) == 6 && total(TWO, 9, 2, 0, 1) == 3);
        assert_true(total(TWO, 9, 2, 1, 0) == 2 && total(TWO, 9, 2, 1, 1) == 2.5 &&
                    total(TWO, 9, 2, 1, 2) == 9.25);
        assert_true(total(TWO, 9, 0, 0, 0) == 1 && total(TWO, 9, 0, 0, 1) == 0);
    }
    assert_true(total(TWO, 9, 2, 0, -1) == 1 && total(TWO, 9, 1, 0, -1) == 0);
    // Too far back, or of a version that the coordinator does not speak of yet
    assert_true(total(TWO, 11, 3, 0, 0) == 0 && total(TWO, 8, 0, 0, 0) == 0);
    assert_true(total(TWO, 8, 1, 0, 0) == 6);
}

static void what_is_not_declared_or_cannot_be_is_refused(void **state)
{
    (void)state;
    char why[256] = "";
    assert_int_equal(trib_counter_store_trials(files_dir, "clicks", 1, 1, why, sizeof(why)),
                     TRIB_ERR_REFUSED);
    assert_non_null(strstr(why, "'clicks'"));
    declare(TWO, 1);
    static const struct {
        const char *name;
        uint64_t successes, trials;
        enum trib_err err;
    } cases[] = {{"click", 1, 1, TRIB_ERR_REFUSED},
                 {"minutes", 1, 1, TRIB_ERR_INVAL},
                 {"clicks", 2, 1, TRIB_ERR_INVAL},
                 {"clicks", 0, 0, TRIB_ERR_INVAL},
                 {"clicks", 1, 1ull << 32, TRIB_ERR_INVAL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(trib_counter_store_trials(files_dir, cases[i].name, cases[i].successes,
                                                   cases[i].trials, why, sizeof(why)),
                         cases[i].err);
    static const double numbers[] = {-1.5, 60.5, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(
            trib_counter_store_number(files_dir, "minutes", numbers[i], why, sizeof(why)),
            TRIB_ERR_INVAL);
    assert_int_equal(trib_counter_store_number(files_dir, "clicks", 1, why, sizeof(why)),
                     TRIB_ERR_INVAL);
    assert_true(total(TWO, 1, 0, 0, -1) == 0);
}

static void another_declaration_keeps_what_is_the_same(void **state)
{
    (void)state;
    char why[256];
    declare(TWO, 1);
    count("clicks", 3, 5);
    assert_int_equal(trib_counter_store_number(files_dir, "minutes", 2, why, sizeof(why)), TRIB_OK);
    // Another range is another counter: neither is in the other's totals.
    static const char other[] = "stars:sum:1:5,minutes:sum:0:60,clicks:rate";
    assert_true(total(other, 1, 0, 2, 0) == 5 && total(other, 1, 0, 1, 0) == 0);
    declare(other, 1);
    assert_true(total(other, 1, 0, 2, 1) == 3 && total(other, 1, 0, 1, 0) == 0);
    declare(TWO, 1);
    assert_true(total(TWO, 1, 0, 0, 1) == 3 && total(TWO, 1, 0, 1, 0) == 0);
}

static void the_oldest_versions_make_room(void **state)
{
    (void)state;
    declare("clicks:rate", 1);
    for (uint64_t version = 1; version <= TRIB_COUNTER_STORE_VERSIONS + 2; version++) {
        assert_int_equal(trib_counter_store_version(files_dir, version), TRIB_OK);
        count("clicks", 0, version);
    }
    assert_true(total("clicks:rate", 2, 0, 0, 0) == 0);
    assert_true(total("clicks:rate", 3, 0, 0, 0) == 3);
    assert_true(total("clicks:rate", TRIB_COUNTER_STORE_VERSIONS + 2, 0, 0, 0) ==
                TRIB_COUNTER_STORE_VERSIONS + 2);
}

static void a_damaged_file_counts_as_none(void **state)
{
    (void)state;
    char path[TRIB_PATH_MAX + 1], why[256];
    struct trib_buf good;
    declare("clicks:rate", 1);
    count("clicks", 1, 1);
    assert_int_equal(trib_path_join(path, files_dir, "counters"), TRIB_OK);
    assert_int_equal(trib_file_read(path, 1 << 16, &good), TRIB_OK);
    for (size_t i = 0; i < good.size; i++) {
        good.data[i] ^= 1;
        assert_int_equal(trib_file_write(path, good.data, good.size, 0600), TRIB_OK);
        good.data[i] ^= 1;
        assert_int_equal(trib_counter_store_trials(files_dir, "clicks", 1, 1, why, sizeof(why)),
                         TRIB_ERR_REFUSED);
    }
    for (size_t size = 0; size < good.size; size += 7) {
        assert_int_equal(trib_file_write(path, good.data, size, 0600), TRIB_OK);
        assert_true(total("clicks:rate", 1, 0, 0, 0) == 0);
    }
    assert_int_equal(trib_file_write(path, good.data, good.size, 0600), TRIB_OK);
    assert_true(total("clicks:rate", 1, 0, 0, 0) == 1);
    trib_buf_fini(&good);
}

static int teardown(void **state)
{
    static const char *const names[] = {"counters", "counters.lock", NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(counts_go_to_the_version_that_is_installed, begin),
        cmocka_unit_test_setup(what_is_not_declared_or_cannot_be_is_refused, begin),
        cmocka_unit_test_setup(another_declaration_keeps_what_is_the_same, begin),
        cmocka_unit_test_setup(the_oldest_versions_make_room, begin),
        cmocka_unit_test_setup(a_damaged_file_counts_as_none, begin),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
