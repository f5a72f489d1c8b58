#include "common/wire/presence.h"
#include "tests/test.h"

#include <stdbool.h>
#include <stdio.h>

static enum trib_presence due(uint64_t created_ms, uint64_t heard_ms, uint64_t pinged_ms,
                              uint64_t now_ms)
{
    const struct trib_presence_times times = {.created_ms = created_ms,
                                              .heard_ms = heard_ms,
                                              .pinged_ms = pinged_ms,
                                              .ask_ms = TRIB_PRESENCE_DEVICE_MS};
    return trib_presence_due(&times, now_ms);
}

// From a last sound on, second by second: what happens, and when.
static void silence_is_asked_about_and_then_given_up(void **state)
{
    (void)state;
    uint64_t pinged_ms = 0;
    unsigned pings = 0;
    const uint64_t heard_ms = 5000;
    for (uint64_t now_ms = heard_ms; now_ms <= heard_ms + TRIB_PRESENCE_IDLE_MS; now_ms += 1000) {
        enum trib_presence presence = due(1000, heard_ms, pinged_ms, now_ms);
        if (presence == TRIB_PRESENCE_PING) {
            pings++;
            pinged_ms = now_ms;
        } else {
            assert_int_equal(presence, TRIB_PRESENCE_FINE);
        }
    }
    assert_int_equal(pings, 3);
    assert_int_equal(due(1000, heard_ms, pinged_ms, heard_ms + TRIB_PRESENCE_IDLE_MS + 1),
                     TRIB_PRESENCE_IDLE);
}

// Of two that know of each other as of the same moment only the coordinator asks: a device hears it
// in time, though only those are asked whose time came within the last few seconds.
static void a_device_only_asks_a_coordinator_that_does_not(void **state)
{
    (void)state;
    struct trib_presence_times times = {.created_ms = 1, .heard_ms = 1000};
    times.ask_ms = TRIB_PRESENCE_COORDINATOR_MS;
    const uint64_t slack_ms = 10000;
    assert_true(TRIB_PRESENCE_COORDINATOR_MS + slack_ms < TRIB_PRESENCE_DEVICE_MS);
    assert_true(3 * TRIB_PRESENCE_DEVICE_MS < TRIB_PRESENCE_IDLE_MS);
    assert_int_equal(trib_presence_due(&times, 1000 + TRIB_PRESENCE_COORDINATOR_MS),
                     TRIB_PRESENCE_FINE);
    assert_int_equal(trib_presence_due(&times, 1001 + TRIB_PRESENCE_COORDINATOR_MS),
                     TRIB_PRESENCE_PING);
}

static void an_answer_ends_the_asking(void **state)
{
    (void)state;
    assert_int_equal(due(0, 1000, 0, 61001), TRIB_PRESENCE_PING);
    assert_int_equal(due(0, 1000, 61001, 61002), TRIB_PRESENCE_FINE);
    assert_int_equal(due(0, 61010, 61001, 121000), TRIB_PRESENCE_FINE);
    assert_int_equal(due(0, 61010, 61001, 121011), TRIB_PRESENCE_PING);
}

static void a_sound_from_the_future_is_no_silence(void **state)
{
    (void)state;
    assert_int_equal(due(0, 5001, 0, 5000), TRIB_PRESENCE_FINE);
    assert_int_equal(due(5001, 5001, 0, 5000), TRIB_PRESENCE_FINE);
}

static void a_session_ages_in_a_day_unless_it_is_dead_before(void **state)
{
    (void)state;
    const uint64_t day_ms = TRIB_SESSION_AGE_MS;
    assert_int_equal(due(1, day_ms, 0, day_ms + 1), TRIB_PRESENCE_FINE);
    assert_int_equal(due(1, day_ms, 0, day_ms + 2), TRIB_PRESENCE_AGED);
    assert_int_equal(due(1, 1, 0, day_ms + 2), TRIB_PRESENCE_IDLE);
}

// Does the pause reach both ends of its range, never leave it, and fall on either half alike?
static void assert_uniform(const struct trib_pace *pace, uint64_t low_ms, uint64_t high_ms)
{
    struct trib_rng rng;
    enum {
        DRAWS = 20000
    };
    uint64_t least = UINT64_MAX, most = 0;
    unsigned upper = 0;
    trib_rng_init(&rng, 7, "pace", pace->failures, NULL);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t pause_ms = trib_pace_pause_ms(pace, &rng);
        assert_in_range(pause_ms, low_ms, high_ms);
        least = pause_ms < least ? pause_ms : least;
        most = pause_ms > most ? pause_ms : most;
        upper += pause_ms > low_ms + (high_ms - low_ms) / 2;
    }
    const uint64_t slack_ms = (high_ms - low_ms) / 100;
    assert_true(least <= low_ms + slack_ms);
    assert_true(most >= high_ms - slack_ms);
    assert_in_range(upper, DRAWS * 48 / 100, DRAWS * 52 / 100); // 5.6 standard deviations
}

static void pauses_are_spread_over_a_range_that_doubles_up_to_the_cap(void **state)
{
    (void)state;
    struct trib_pace pace = {.cap_ms = 60000};
    uint64_t span_ms = TRIB_RECONNECT_BASE_MS;
    for (pace.failures = 0; pace.failures < 40; pace.failures++) {
        assert_uniform(&pace, 0, span_ms);
        span_ms = 2 * span_ms < pace.cap_ms ? 2 * span_ms : pace.cap_ms;
    }
    pace = (struct trib_pace){.failures = 3, .cap_ms = 11};
    assert_uniform(&pace, 0, 11);
}

static void the_coordinators_window_comes_before_ones_own(void **state)
{
    (void)state;
    struct trib_pace pace = {
        .retry_min_ms = 30000, .retry_max_ms = 120000, .failures = 9, .cap_ms = 1000};
    assert_uniform(&pace, 30000, 120000);
    pace.retry_min_ms = pace.retry_max_ms = UINT32_MAX; // no width, and no overflow
    struct trib_rng rng;
    trib_rng_init(&rng, 1, "pace", 0, NULL);
    assert_true(trib_pace_pause_ms(&pace, &rng) == UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_is_asked_about_and_then_given_up),
        cmocka_unit_test(a_device_only_asks_a_coordinator_that_does_not),
        cmocka_unit_test(an_answer_ends_the_asking),
        cmocka_unit_test(a_sound_from_the_future_is_no_silence),
        cmocka_unit_test(a_session_ages_in_a_day_unless_it_is_dead_before),
        cmocka_unit_test(pauses_are_spread_over_a_range_that_doubles_up_to_the_cap),
        cmocka_unit_test(the_coordinators_window_comes_before_ones_own),
    };
    return RUN_TESTS(tests);
}
