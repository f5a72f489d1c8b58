#include "simulations/own_client.h"
#include "tests/test.h"

#include <stdio.h>

static void device_name(char name[static 16], unsigned i)
{
    (void)snprintf(name, 16, "d%04u", i);
}

// How many of 100 devices are silent in 100 rounds.
static unsigned silent(double dropout, uint64_t seed)
{
    unsigned count = 0;
    for (unsigned i = 0; i < 100; i++) {
        char name[16];
        device_name(name, i);
        for (uint64_t round = 1; round <= 100; round++)
            count += trib_faults_drop(dropout, seed, round, name);
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
        const bool drops = trib_faults_drop(0.5, 1, 1, name);
        assert_int_equal(drops, trib_faults_drop(0.5, 1, 1, name));
        by_seed += drops != trib_faults_drop(0.5, 2, 1, name);
        by_round += drops != trib_faults_drop(0.5, 1, 2, name);
        by_name += drops != trib_faults_drop(0.5, 1, 1, other);
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
        if (trib_faults_drop(0.2, 1, 1, name))
            assert_true(trib_faults_drop(0.4, 1, 1, name));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_share_of_silent_rounds_is_what_was_asked),
        cmocka_unit_test(it_depends_on_seed_round_and_name_and_on_nothing_else),
        cmocka_unit_test(who_is_silent_rarely_is_silent_when_it_is_more_often),
    };
    return RUN_TESTS(tests);
}
