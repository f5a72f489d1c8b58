#include "coordinator/strategy.h"
#include "tests/test.h"

#include <float.h>
#include <math.h>

enum {
    COUNT = 3
};

static void a_step_is_the_base_plus_the_scaled_mean(void **state)
{
    (void)state;
    const float base[COUNT] = {1, -2, 0.5f};
    const float mean[COUNT] = {0.25f, 4, -0.5f};
    const float want[COUNT] = {1.125f, 0, 0.25f};
    float next[COUNT];
    assert_int_equal(trib_strategy_fedavg(base, mean, COUNT, 0.5, next), TRIB_OK);
    assert_memory_equal(next, want, sizeof(want));
    assert_int_equal(trib_strategy_fedavg(base, mean, COUNT, 0, next), TRIB_OK);
    assert_memory_equal(next, base, sizeof(base));
}

static void the_next_version_may_lie_where_the_base_does(void **state)
{
    (void)state;
    float base[COUNT] = {1, -2, 0.5f};
    const float mean[COUNT] = {0.25f, 4, -0.5f};
    const float want[COUNT] = {1.25f, 2, 0};
    assert_int_equal(trib_strategy_fedavg(base, mean, COUNT, 1, base), TRIB_OK);
    assert_memory_equal(base, want, sizeof(want));
}

static void the_sum_is_rounded_once(void **state)
{
    (void)state;
    // In float the product 3 x (1 + 2^-23) would be rounded before the sum, and the sum again.
    const float base = -3;
    const float mean = 1 + 0x1p-23f;
    float next;
    assert_int_equal(trib_strategy_fedavg(&base, &mean, 1, 3, &next), TRIB_OK);
    assert_true(next == 0x3p-23f);
}

static void a_version_that_is_not_finite_is_refused(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY, FLT_MAX}; // the last one overflows with the rate
    for (size_t at = 0; at < COUNT; at++) {
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            const float base[COUNT] = {1, 2, 3};
            float mean[COUNT] = {0};
            float next[COUNT];
            mean[at] = bad[i];
            assert_int_equal(trib_strategy_fedavg(base, mean, COUNT, 2, next), TRIB_ERR_DATA);
        }
    }
}

static void the_tail_is_averaged_in_double(void **state)
{
    (void)state;
    // In float, 2^24 + 1 + 1 + 1 + 1 would stay 2^24.
    const float versions[5][2] = {{0x1p24f, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 5}};
    double sums[2] = {0};
    float mean[2];
    for (size_t i = 0; i < 5; i++)
        trib_strategy_tail_add(sums, versions[i], 2);
    trib_strategy_tail_finish(sums, 2, 5, mean);
    assert_true(mean[0] == (float)(16777220.0 / 5));
    assert_true(mean[1] == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_the_base_plus_the_scaled_mean),
        cmocka_unit_test(the_next_version_may_lie_where_the_base_does),
        cmocka_unit_test(the_sum_is_rounded_once),
        cmocka_unit_test(a_version_that_is_not_finite_is_refused),
        cmocka_unit_test(the_tail_is_averaged_in_double),
    };
    return RUN_TESTS(tests);
}
