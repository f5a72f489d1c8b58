#include "coordinator/seen.h"
#include "tests/test.h"

enum {
    DAY_MS = 86400000,
};

static void a_device_is_stale_when_it_was_away_for_longer(void **state)
{
    (void)state;
    const uint64_t seen_ms = 1700000000000u;
    const uint64_t limit_ms = seen_ms + 30ull * DAY_MS;
    assert_false(trib_seen_is_stale(seen_ms, seen_ms, 30));
    assert_false(trib_seen_is_stale(seen_ms, limit_ms, 30));
    assert_true(trib_seen_is_stale(seen_ms, limit_ms + 1, 30));
    assert_true(trib_seen_is_stale(seen_ms, seen_ms + DAY_MS / 2 + 1, 0.5));
    assert_false(trib_seen_is_stale(seen_ms, seen_ms + DAY_MS / 2, 0.5));
    assert_false(trib_seen_is_stale(seen_ms, seen_ms - 1, 1e-9)); // a clock that was set back
    assert_false(trib_seen_is_stale(0, UINT64_MAX, 0));           // never
}

static void what_is_written_is_late_by_a_thirtieth_and_an_hour_at_most(void **state)
{
    (void)state;
    assert_int_equal(trib_seen_step_ms(30), DAY_MS);
    assert_int_equal(trib_seen_step_ms(3), DAY_MS / 10);
    assert_int_equal(trib_seen_step_ms(0), DAY_MS);
    assert_int_equal(trib_seen_sweep_ms(30), TRIB_SEEN_SWEEP_MS);
    assert_int_equal(trib_seen_sweep_ms(0), TRIB_SEEN_SWEEP_MS);
    assert_int_equal(trib_seen_sweep_ms(0.5), DAY_MS / 60);
}

static void a_time_that_lay_ahead_is_written_over(void **state)
{
    (void)state;
    const uint64_t now_ms = 1700000000000u;
    assert_false(trib_seen_is_news(now_ms, now_ms, 30));
    assert_false(trib_seen_is_news(now_ms + DAY_MS, now_ms, 30));
    assert_true(trib_seen_is_news(now_ms + DAY_MS + 1, now_ms, 30));
    assert_false(trib_seen_is_news(now_ms - DAY_MS, now_ms, 30));
    assert_true(trib_seen_is_news(now_ms, now_ms + 365ull * DAY_MS, 30)); // a clock a year ahead
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_is_stale_when_it_was_away_for_longer),
        cmocka_unit_test(a_time_that_lay_ahead_is_written_over),
        cmocka_unit_test(what_is_written_is_late_by_a_thirtieth_and_an_hour_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
