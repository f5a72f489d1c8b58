#include "simulations/faults.h"
#include "tests/test.h"

#include <stdio.h>

static void device_name(char name[static 16], unsigned i)
{
    (void)snprintf(name, 16, "d%04u", i);
}

static bool drops_in(double dropout, uint64_t seed, uint64_t round, const char *name)
{
    const struct trib_faults faults = {.dropout = dropout};
    return trib_faults_hit(&faults, TRIB_FAULT_DROPOUT, seed, round, name);
}

// How many of 100 devices are silent in 100 rounds.
static unsigned silent(double dropout, uint64_t seed)
{
    unsigned count = 0;
    for (unsigned i = 0; i < 100; i++) {
        char name[16];
        device_name(name, i);
        for (uint64_t round = 1; round <= 100; round++)
            count += drops_in(dropout, seed, round, name);
    }
    return count;
}

static void the_share_of_silent_rounds_is_what_was_asked(void **state)
{
    (void)state;
    assert_int_equal(silent(0, 1), 0);
    assert_int_equal(silent(1, 1), 10000);
    // Five standard deviations, sqrt(10000 p (1 - p)), to each side
    assert_in_range(silent(0.3, 1), 3000 - 230, 3000 + 230);
    assert_in_range(silent(0.01, 2), 100 - 50, 100 + 50);
}

static void it_depends_on_seed_round_and_name_and_on_nothing_else(void **state)
{
    (void)state;
    unsigned by_seed = 0, by_round = 0, by_name = 0;
    for (unsigned i = 0; i < 1000; i++) {
        char name[16], other[16];
        device_name(name, i);
        device_name(other, i + 1);
        const bool drops = drops_in(0.5, 1, 1, name);
        assert_int_equal(drops, drops_in(0.5, 1, 1, name));
        by_seed += drops != drops_in(0.5, 2, 1, name);
        by_round += drops != drops_in(0.5, 1, 2, name);
        by_name += drops != drops_in(0.5, 1, 1, other);
    }
    assert_in_range(by_seed, 420, 580); // five standard deviations of a fair coin
    assert_in_range(by_round, 420, 580);
    assert_in_range(by_name, 420, 580);
}

static void who_is_silent_rarely_is_silent_when_it_is_more_often(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        char name[16];
        device_name(name, i);
        if (drops_in(0.2, 1, 1, name))
            assert_true(drops_in(0.4, 1, 1, name));
    }
}

static void faults_fall_on_others(void **state)
{
    const struct trib_faults faults = {.dropout = 0.5, .straggle = 0.5, .kill = 0.5, .liars = 0.5};
    unsigned differ = 0, liars = 0, lies[TRIB_LIE_COUNT] = {0};
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        char name[16];
        enum trib_lie lie;
        device_name(name, i);
        const bool drops = trib_faults_hit(&faults, TRIB_FAULT_DROPOUT, 1, 1, name);
        const bool is_late = trib_faults_hit(&faults, TRIB_FAULT_STRAGGLE, 1, 1, name);
        differ += drops != is_late;
        differ += is_late != trib_faults_hit(&faults, TRIB_FAULT_KILL, 1, 1, name);
        if (!trib_faults_lies(&faults, 1, name, &lie))
            continue;
        liars++;
        lies[lie]++;
    }
    assert_in_range(differ, 2 * 420, 2 * 580);
    assert_in_range(liars, 420, 580);
    assert_int_equal(lies[TRIB_LIE_MIXED], 0);
    for (int lie = TRIB_LIE_NORM; lie < TRIB_LIE_COUNT; lie++)
        assert_in_range(lies[lie], 55, 145); // five standard deviations of 500 x 1/5
}

static void a_liar_lies_about_what_it_is_told_to(void **state)
{
    const struct trib_faults faults = {.liars = 1, .lie = TRIB_LIE_SIZE};
    enum trib_lie lie = TRIB_LIE_MIXED;
    (void)state;
    assert_true(trib_faults_lies(&faults, 1, "d0001", &lie));
    assert_int_equal(lie, TRIB_LIE_SIZE);
    assert_string_equal(trib_lie_text(lie), "size");
    assert_false(trib_faults_lies(&(struct trib_faults){.lie = TRIB_LIE_SIZE}, 1, "d0001", &lie));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_share_of_silent_rounds_is_what_was_asked),
        cmocka_unit_test(it_depends_on_seed_round_and_name_and_on_nothing_else),
        cmocka_unit_test(who_is_silent_rarely_is_silent_when_it_is_more_often),
        cmocka_unit_test(faults_fall_on_others),
        cmocka_unit_test(a_liar_lies_about_what_it_is_told_to),
    };
    return RUN_TESTS(tests);
}
