#include "tests/test.h"

#include <math.h>

#include "common/math/probabilities.h"

static void assert_near(double got, double expected)
{
    assert_true(fabs(got - expected) < 1e-12);
}

static void numbers_of_a_row_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    static const double three[3] = {0.2, 0.5, 0.3};
    static const double two[2] = {0.25, 0.75};
    assert_near(trib_log_loss(three, 3, 2, TRIB_PROBABILITY_CLIP), -log(0.3));
    assert_near(trib_brier(three, 3, 2), 0.04 + 0.25 + 0.49);
    assert_near(trib_brier(two, 2, 1), 0.0625);
    assert_near(trib_brier(two, 2, 0), 0.5625);
}

static void log_loss_is_bounded_by_its_clip(void **state)
{
    (void)state;
    static const double sure[2] = {0, 1};
    assert_near(trib_log_loss(sure, 2, 0, TRIB_PROBABILITY_CLIP), 52 * log(2));
    assert_true(fabs(trib_log_loss(sure, 2, 1, TRIB_PROBABILITY_CLIP) - 0x1p-52) < 1e-30);
    assert_near(trib_log_loss(sure, 2, 0, 0.01), -log(0.01));
    assert_near(trib_log_loss(sure, 2, 1, 0.01), -log(0.99));
    static const double of_three[3] = {0, 1, 0}; // 0.01, 0.99, 0.01 before the division
    assert_near(trib_log_loss(of_three, 3, 1, 0.01), -log(0.99 / 1.01));
    assert_near(trib_log_loss(of_three, 3, 2, 0.01), -log(0.01 / 1.01));
}

static void of_equal_probabilities_the_lower_class_comes_first(void **state)
{
    (void)state;
    static const double p[4] = {0.2, 0.3, 0.3, 0.2};
    static const size_t place[4] = {3, 1, 2, 4};
    for (size_t label = 0; label < 4; label++) {
        for (size_t k = 0; k <= 5; k++)
            assert_int_equal(trib_is_in_top(p, 4, label, k), k >= place[label]);
    }
}

static void what_is_no_distribution_is_refused(void **state)
{
    (void)state;
    static const double bad[][2] = {
        {-0.1, 1.1}, {0.5, 0.6}, {0.4, 0.5}, {(double)NAN, 1}, {(double)INFINITY, 0}};
    static const double good[][2] = {{0, 1}, {0.5, 0.5}, {0.5, 0.500001}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(trib_probabilities_check(bad[i], 2), TRIB_ERR_DATA);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(trib_probabilities_check(good[i], 2), TRIB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_a_row_are_those_worked_out_by_hand),
        cmocka_unit_test(log_loss_is_bounded_by_its_clip),
        cmocka_unit_test(of_equal_probabilities_the_lower_class_comes_first),
        cmocka_unit_test(what_is_no_distribution_is_refused),
    };
    return RUN_TESTS(tests);
}
