#include "tests/test.h"

#include <math.h>

#include "common/privacy/pure.h"

static void assert_close(double got, double expected, double relative)
{
    assert_true(fabs(got - expected) <= relative * fabs(expected));
}

static void sampling_amplifies_and_keeps_small_digits(void **state)
{
    (void)state;
    assert_true(trib_pure_sampled(2, 1) == 2);
    assert_close(trib_pure_sampled(2, 0.1), log(1 + 0.1 * (exp(2) - 1)), 1e-14);
    assert_close(trib_pure_sampled(1e-12, 0.5), 0.5e-12, 1e-11);
    assert_close(trib_pure_sampled(5000, 0.5), 5000 + log(0.5), 1e-14); // e^5000 is no double
    double before = 0;
    for (double q = 0.01; q <= 1; q += 0.01) {
        double epsilon = trib_pure_sampled(3, q);
        assert_true(epsilon > before && epsilon <= 3);
        before = epsilon;
    }
}

static void one_round_composed_is_its_closed_form(void **state)
{
    (void)state;
    // One round of randomised response: delta = (e^e0 - e^e) / (1 + e^e0).
    for (double e0 = 0.1; e0 < 20; e0 *= 1.7) {
        double expected = log(exp(e0) - 1e-5 * (1 + exp(e0)));
        assert_close(trib_pure_optimal(e0, 1, 1e-5), expected, 1e-12);
    }
}

static void the_optimal_bound_is_below_every_other(void **state)
{
    (void)state;
    for (double e0 = 0.01; e0 < 5; e0 *= 2) {
        double before = 0;
        for (uint64_t rounds = 1; rounds <= 4096; rounds *= 4) {
            double optimal = trib_pure_optimal(e0, rounds, 1e-6);
            assert_true(optimal >= before);
            assert_true(optimal <= e0 * (double)rounds);
            assert_true(optimal <= trib_pure_advanced(e0, rounds, 1e-6));
            assert_true(optimal <= trib_pure_optimal(e0, rounds, 1e-7));
            before = optimal;
        }
    }
    assert_true(trib_pure_optimal(0.001, 1, 0.5) == 0); // nothing is left to bound
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampling_amplifies_and_keeps_small_digits),
        cmocka_unit_test(one_round_composed_is_its_closed_form),
        cmocka_unit_test(the_optimal_bound_is_below_every_other),
    };
    return RUN_TESTS(tests);
}
