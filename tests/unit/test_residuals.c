#include "tests/test.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/residuals.h"

enum {
    ROWS = 5000
};

static void assert_close(double got, double expected)
{
    assert_true(fabs(got - expected) <= 1e-12 * fabs(expected));
}

static void scores_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    static const double y[4] = {3, -0.5, 2, 7}, output[4] = {2.5, 0, 2, 8};
    struct trib_residuals sums = {0};
    struct trib_residual_scores s;
    for (int i = 0; i < 4; i++)
        assert_int_equal(trib_residuals_add(&sums, output[i], y[i]), TRIB_OK);
    assert_int_equal(trib_residuals_scores(&sums, &s), TRIB_OK);
    assert_close(s.mse, 0.375);
    assert_close(s.rmse, sqrt(0.375));
    assert_close(s.mae, 0.5);
    assert_close(s.mape, (0.5 / 3 + 1 + 1.0 / 7) / 4);
    assert_close(s.max_error, 1);
    // Squares 0.25 0.25 0 1 and misses 0.5 0.5 0 1: their variances over 3, over 4 rows.
    assert_close(s.mse_error, sqrt((1.125 - 4 * 0.375 * 0.375) / 3 / 4));
    const double relative[] = {0.5 / 3, 1, 0, 1.0 / 7};
    double mape_square = 0;
    for (size_t i = 0; i < 4; i++)
        mape_square += (relative[i] - s.mape) * (relative[i] - s.mape);
    assert_close(s.mape_error, sqrt(mape_square / 3 / 4));
    assert_close(s.mae_error, sqrt((1.5 - 4 * 0.5 * 0.5) / 3 / 4));
    assert_close(s.r2, 1 - 1.5 / 29.1875);
    assert_close(s.explained_variance, 1 - 1.25 / 29.1875); // misses -0.5 0.5 0 1: mean 0.25
}

static double draw(uint64_t *seed)
{
    return (double)(test_rand(seed) % 1000000) / 1000.0 - 300;
}

static void merged_random_shards_equal_the_pooled_rows(void **state)
{
    (void)state;
    static struct trib_residuals shards[1000];
    uint64_t seed = 11;
    for (int trial = 0; trial < 20; trial++) {
        const size_t count = trial ? 1 + test_rand(&seed) % 1000 : 1000;
        struct trib_residuals pooled = {0}, merged = {0};
        struct trib_residual_scores a, b;
        memset(shards, 0, sizeof(shards));
        for (int row = 0; row < ROWS; row++) {
            double y = draw(&seed), output = y + draw(&seed) / 10;
            assert_int_equal(trib_residuals_add(&pooled, output, y), TRIB_OK);
            assert_int_equal(trib_residuals_add(&shards[test_rand(&seed) % count], output, y),
                             TRIB_OK);
        }
        for (size_t i = count; i > 0; i--)
            trib_residuals_merge(&merged, &shards[i - 1]);
        assert_true(merged.rows == ROWS && merged.largest == pooled.largest);
        assert_int_equal(trib_residuals_scores(&pooled, &a), TRIB_OK);
        assert_int_equal(trib_residuals_scores(&merged, &b), TRIB_OK);
        assert_close(b.mse, a.mse);
        assert_close(b.mae, a.mae);
        assert_close(b.mape, a.mape);
        assert_close(b.mape_error, a.mape_error);
        assert_close(b.r2, a.r2);
        assert_close(b.explained_variance, a.explained_variance);
        assert_close(b.mse_error, a.mse_error);
    }
}

static void targets_that_do_not_vary_are_met_or_not(void **state)
{
    (void)state;
    struct trib_residuals met = {0}, missed = {0};
    struct trib_residual_scores s;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(trib_residuals_add(&met, 2, 2), TRIB_OK);
        assert_int_equal(trib_residuals_add(&missed, i, 2), TRIB_OK);
    }
    assert_int_equal(trib_residuals_scores(&met, &s), TRIB_OK);
    assert_true(s.r2 == 1 && s.explained_variance == 1);
    assert_int_equal(trib_residuals_scores(&missed, &s), TRIB_OK);
    assert_true(s.r2 == 0 && s.explained_variance == 0);
}

static void nothing_and_numbers_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    const struct trib_residuals none = {.not_finite = 6};
    struct trib_residuals sums = {0};
    struct trib_residuals both = {.rows = 1, .square = 2, .not_finite = 1};
    struct trib_residual_scores s = {.mse = 77};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(trib_residuals_add(&sums, bad[i], 1), TRIB_ERR_DATA);
        assert_int_equal(trib_residuals_add(&sums, 1, bad[i]), TRIB_ERR_DATA);
    }
    assert_memory_equal(&sums, &none, sizeof(none)); // counted apart
    trib_residuals_merge(&both, &sums);
    assert_true(both.rows == 1 && both.square == 2 && both.not_finite == 7);
    assert_int_equal(trib_residuals_scores(&sums, &s), TRIB_ERR_DATA);
    assert_true(s.mse == 77);
}

static void the_r2_of_one_row_does_not_exist(void **state)
{
    (void)state;
    struct trib_residuals sums = {0};
    struct trib_residual_scores s;
    assert_int_equal(trib_residuals_add(&sums, 3, 4), TRIB_OK);
    assert_int_equal(trib_residuals_scores(&sums, &s), TRIB_OK);
    assert_true(isnan(s.r2) && isnan(s.mse_error) && s.mse == 1);
}

static void the_median_is_in_the_middle(void **state)
{
    (void)state;
    double odd[3] = {-5, 1, 2}, even[4] = {4, -1, 3, 0}, large[2] = {DBL_MAX, -DBL_MAX};
    double broken[2] = {1, (double)NAN};
    double median = 77;
    assert_int_equal(trib_residuals_median(broken, 2, &median), TRIB_ERR_DATA);
    assert_int_equal(trib_residuals_median(odd, 0, &median), TRIB_ERR_DATA);
    assert_true(median == 77);
    assert_int_equal(trib_residuals_median(odd, 3, &median), TRIB_OK);
    assert_true(median == 2);
    assert_int_equal(trib_residuals_median(even, 4, &median), TRIB_OK);
    assert_true(median == 2); // of 0 1 3 4
    assert_int_equal(trib_residuals_median(large, 2, &median), TRIB_OK);
    assert_true(median == DBL_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_worked_out_by_hand),
        cmocka_unit_test(merged_random_shards_equal_the_pooled_rows),
        cmocka_unit_test(targets_that_do_not_vary_are_met_or_not),
        cmocka_unit_test(the_r2_of_one_row_does_not_exist),
        cmocka_unit_test(the_median_is_in_the_middle),
        cmocka_unit_test(nothing_and_numbers_that_are_not_finite_are_refused),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
