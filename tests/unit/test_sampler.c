#include "coordinator/sampler.h"
#include "tests/test.h"

#include <stdbool.h>
#include <string.h>

#include "tests/unit/chi_square.h"

// Drawn by another implementation of the documented generator (rand.h): a run can be repeated.
static void draws_are_those_of_the_documented_generator(void **state)
{
    (void)state;
    const struct {
        uint64_t seed, round;
        uint32_t order[10];
    } known[] = {
        {1, 1, {6, 1, 4, 0, 9, 3, 8, 2, 5, 7}},
        {1, 2, {1, 5, 2, 3, 6, 9, 0, 7, 4, 8}},
        {UINT64_MAX, 1000000, {4, 3, 9, 8, 0, 2, 1, 5, 7, 6}},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        uint32_t order[10] = {77}; // what was there does not matter
        trib_sampler_draw(known[i].seed, known[i].round, order, 10);
        assert_memory_equal(order, known[i].order, sizeof(order));
    }
}

static void every_draw_asks_each_device_once(void **state)
{
    (void)state;
    enum {
        MOST = 300
    };
    for (size_t count = 0; count <= MOST; count++) {
        uint32_t order[MOST];
        bool seen[MOST] = {false};
        trib_sampler_draw(count, 3, order, count);
        for (size_t i = 0; i < count; i++) {
            assert_in_range(order[i], 0, count - 1);
            assert_false(seen[order[i]]);
            seen[order[i]] = true;
        }
    }
}

// Each device comes to each place equally often: nobody is favoured by the name it has.
static void every_device_is_equally_likely_at_every_place(void **state)
{
    (void)state;
    enum {
        DEVICES = 12,
        ROUNDS = 24000
    };
    uint64_t counted[DEVICES][DEVICES] = {{0}};
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        uint32_t order[DEVICES];
        trib_sampler_draw(1, round, order, DEVICES);
        for (size_t place = 0; place < DEVICES; place++)
            counted[place][order[place]]++;
    }
    for (size_t place = 0; place < DEVICES; place++) {
        struct chi_square chi = {.cells = 0};
        for (size_t device = 0; device < DEVICES; device++)
            chi_square_add(&chi, (double)ROUNDS / DEVICES, counted[place][device]);
        assert_true(chi_square_deviate(&chi) < CHI_SQUARE_MAX);
    }
}

// Groups of 70, 20 and 10 of a hundred, by the device's number.
static uint32_t group_of(uint32_t device)
{
    return device % 10 < 7 ? 0 : device % 10 < 9 ? 1 : 2;
}

enum {
    FLEET = 1000
};

static void stratified(uint64_t round, bool is_equal, uint32_t order[static FLEET])
{
    uint32_t groups[FLEET];
    trib_sampler_draw(5, round, order, FLEET);
    for (size_t i = 0; i < FLEET; i++)
        groups[i] = group_of(order[i]);
    assert_int_equal(trib_sampler_stratify(order, groups, FLEET, 3, is_equal), TRIB_OK);
}

static void groups_have_their_shares_of_every_cohort(void **state)
{
    (void)state;
    static const double shares[2][3] = {{0.7, 0.2, 0.1}, {1 / 3.0, 1 / 3.0, 1 / 3.0}};
    bool seen[FLEET] = {false};
    uint32_t order[FLEET], plain[FLEET], groups[FLEET];
    for (uint64_t round = 1; round <= 20; round++) {
        for (int is_equal = 0; is_equal < 2; is_equal++) {
            size_t counted[3] = {0};
            stratified(round, is_equal, order);
            for (size_t i = 0; i < 300; i++) { // as long as the smallest has devices left
                counted[group_of(order[i])]++;
                for (int g = 0; g < 3 && i >= 99; g++) {
                    const double share = (double)counted[g] / (double)(i + 1);
                    assert_true(share < shares[is_equal][g] + 0.01);
                    assert_true(share > shares[is_equal][g] - 0.01);
                }
            }
        }
    }
    for (size_t i = 0; i < FLEET;
         i++) { // and everyone has a place, the smallest group used up or not
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
    }
    // Within a group the order is that of the draw.
    trib_sampler_draw(5, 20, plain, FLEET);
    for (uint32_t g = 0; g < 3; g++) {
        size_t at = 0;
        for (size_t i = 0; i < FLEET; i++) {
            if (group_of(plain[i]) != g)
                continue;
            while (group_of(order[at]) != g)
                at++;
            assert_int_equal(order[at++], plain[i]);
        }
    }
    memset(groups, 0, sizeof(groups)); // one group: nothing changes
    memcpy(order, plain, sizeof(order));
    assert_int_equal(trib_sampler_stratify(order, groups, FLEET, 1, false), TRIB_OK);
    assert_memory_equal(order, plain, sizeof(order));
    assert_int_equal(trib_sampler_stratify(order, groups, 0, 0, false), TRIB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_those_of_the_documented_generator),
        cmocka_unit_test(every_draw_asks_each_device_once),
        cmocka_unit_test(every_device_is_equally_likely_at_every_place),
        cmocka_unit_test(groups_have_their_shares_of_every_cohort),
    };
    return RUN_TESTS(tests);
}
