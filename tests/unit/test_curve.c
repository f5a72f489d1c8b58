#include "coordinator/curve.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct trib_curve curve;

static int begin(void **state)
{
    (void)state;
    trib_curve_init(&curve);
    return 0;
}

static int end(void **state)
{
    (void)state;
    trib_curve_fini(&curve);
    return 0;
}

static struct trib_round_result reported(double loss, double baseline)
{
    struct trib_round_result result;
    trib_result_init(&result);
    result.loss = loss;
    (void)snprintf(result.metrics, sizeof(result.metrics),
                   "{\"loss\":%.17g,\"baseline\":{\"name\":\"prior\",\"loss\":%.17g}}", loss,
                   baseline);
    return result;
}

static enum trib_curve_shape judged(const double *losses, size_t count)
{
    trib_curve_fini(&curve);
    for (size_t i = 0; i < count; i++) {
        const struct trib_round_result result = reported(losses[i], 2.3);
        assert_int_equal(trib_curve_observe(&curve, &result), TRIB_OK);
    }
    return trib_curve_judge(&curve);
}

// One curve of each kind.
static void canned_curves_are_told_apart(void **state)
{
    (void)state;
    double losses[200];
    for (int i = 0; i < 40; i++)
        losses[i] = 0.3 + 2 * exp(-i / 4.0);
    assert_int_equal(judged(losses, 40), TRIB_CURVE_FINE);
    assert_int_equal(judged(losses, 8), TRIB_CURVE_IMPROVING);
    assert_int_equal(judged(losses, 3), TRIB_CURVE_TOO_SHORT);
    for (int i = 0; i < 40; i++) // down, and up again
        losses[i] = 0.3 + 2 * exp(-i / 4.0) + (i > 12 ? 0.05 * (i - 12) : 0);
    assert_int_equal(judged(losses, 40), TRIB_CURVE_OVERFITTING);
    for (int i = 0; i < 200; i++) // never far from the prior's 2.3, noise on it
        losses[i] = 2.25 + 0.1 * exp(-i / 4.0) + (i % 2 ? 0.002 : 0);
    assert_int_equal(judged(losses, 200), TRIB_CURVE_UNDERFITTING);
    for (int i = 0; i < 40; i++) // a ripple is no rise
        losses[i] = 0.3 + 2 * exp(-i / 4.0) + (i % 2 ? 0.01 : 0);
    assert_int_equal(judged(losses, 40), TRIB_CURVE_FINE);
}

// What devices measured says it too, by the same 0.05 as their own alert (aside.h).
static void a_gap_is_overfitting(void **state)
{
    (void)state;
    double losses[40];
    struct trib_round_result result;
    for (int i = 0; i < 40; i++)
        losses[i] = 0.3 + 2 * exp(-i / 4.0);
    assert_int_equal(judged(losses, 40), TRIB_CURVE_FINE);
    trib_result_init(&result);
    (void)snprintf(result.kind, sizeof(result.kind), "evaluation");
    (void)snprintf(result.tally, sizeof(result.tally),
                   "{\"metrics\":[{\"value\":1}],\"gap\":{\"train\":0.9,\"validation\":0.86}}");
    assert_int_equal(trib_curve_observe(&curve, &result), TRIB_OK);
    assert_int_equal(trib_curve_judge(&curve), TRIB_CURVE_FINE);
    (void)snprintf(result.tally, sizeof(result.tally),
                   "{\"metrics\":[],\"gap\":{\"train\":0.9,\"validation\":0.84}}");
    assert_int_equal(trib_curve_observe(&curve, &result), TRIB_OK);
    assert_int_equal(trib_curve_judge(&curve), TRIB_CURVE_OVERFITTING);
}

static void without_a_baseline_nothing_is_underfitting(void **state)
{
    (void)state;
    struct trib_round_result result = reported(2.29, 2.3);
    (void)snprintf(result.metrics, sizeof(result.metrics), "{\"loss\":2.29}");
    for (int i = 0; i < 10; i++)
        assert_int_equal(trib_curve_observe(&curve, &result), TRIB_OK);
    assert_int_equal(trib_curve_judge(&curve), TRIB_CURVE_FINE);
    for (int shape = TRIB_CURVE_TOO_SHORT; shape <= TRIB_CURVE_FINE; shape++) {
        assert_true(strlen(trib_curve_text((enum trib_curve_shape)shape)) > 3);
        assert_true(strlen(trib_curve_advice((enum trib_curve_shape)shape)) > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(canned_curves_are_told_apart, begin, end),
        cmocka_unit_test_setup_teardown(a_gap_is_overfitting, begin, end),
        cmocka_unit_test_setup_teardown(without_a_baseline_nothing_is_underfitting, begin, end),
    };
    return RUN_TESTS(tests);
}
