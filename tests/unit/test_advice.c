#include "common/math/advice.h"
#include "tests/test.h"

static enum trib_advice_mode mode_of(double rows, double new_per_day, double params,
                                     enum trib_advice_drift drift)
{
    const struct trib_advice_facts facts = {rows, new_per_day, params, drift};
    const struct trib_advice advice = trib_advise(&facts);
    assert_true(advice.why && advice.stability && advice.bias && advice.overhead);
    assert_true(advice.epoch_flops == 6 * rows * params);
    return advice.mode;
}

// The three profiles of docs/models.md.
static void profiles_have_the_documented_answers(void **state)
{
    (void)state;
    assert_int_equal(mode_of(2000, 10, 650, TRIB_DRIFT_NONE), TRIB_ADVICE_BATCH);
    assert_int_equal(mode_of(50000, 1000, 200000, TRIB_DRIFT_NONE), TRIB_ADVICE_INCREMENTAL);
    assert_int_equal(mode_of(500, 5000, 5000, TRIB_DRIFT_NONE), TRIB_ADVICE_ONLINE);
}

// Each line of the table, at both of its sides.
static void each_line_of_the_table_decides(void **state)
{
    (void)state;
    assert_int_equal(mode_of(1000, 999, 100, TRIB_DRIFT_NONE), TRIB_ADVICE_BATCH);
    assert_int_equal(mode_of(1000, 1000, 100, TRIB_DRIFT_NONE), TRIB_ADVICE_ONLINE);
    assert_int_equal(mode_of(1000, 0, 1e6, TRIB_DRIFT_FAST), TRIB_ADVICE_ONLINE);
    assert_int_equal(mode_of(1000, 0, 1e6 + 1, TRIB_DRIFT_FAST), TRIB_ADVICE_INCREMENTAL);
    assert_int_equal(mode_of(1000, 0, 100, TRIB_DRIFT_SLOW), TRIB_ADVICE_INCREMENTAL);
    assert_int_equal(mode_of(1e5, 1e3, 1e5, TRIB_DRIFT_NONE), TRIB_ADVICE_INCREMENTAL);
    assert_int_equal(mode_of(1e5, 999, 1e5, TRIB_DRIFT_NONE), TRIB_ADVICE_BATCH);
    assert_int_equal(mode_of(1e4, 1e3, 1e5, TRIB_DRIFT_NONE), TRIB_ADVICE_BATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_have_the_documented_answers),
        cmocka_unit_test(each_line_of_the_table_decides),
    };
    return RUN_TESTS(tests);
}
