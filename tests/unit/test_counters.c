#include "common/math/counters.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

static void declarations_are_read_and_others_refused_by_name(void **state)
{
    (void)state;
    struct trib_counter_list c;
    char why[256];
    assert_int_equal(trib_counters_parse("clicks:rate, minutes:sum:-0.5:60", &c, why, sizeof(why)),
                     TRIB_OK);
    assert_int_equal(c.count, 2);
    assert_false(trib_counters_find(&c, "clicks")->is_sum);
    const struct trib_counter *minutes = trib_counters_find(&c, "minutes");
    assert_true(minutes->is_sum && minutes->low == -0.5 && minutes->high == 60);
    assert_null(trib_counters_find(&c, "click"));
    assert_int_equal(trib_counters_values(&c), TRIB_COUNTER_VERSIONS * 7);
    assert_int_equal(trib_counters_place(&c, 1, 1), 7 + 4);
    assert_int_equal(trib_counters_parse("", &c, why, sizeof(why)), TRIB_OK);
    assert_int_equal(c.count, 0);
    assert_int_equal(trib_counters_values(&c), 0);
    static const char *const wrongs[] = {
        "clicks",
        "Clicks:rate",
        "clicks:rates",
        "1a:rate",
        ":rate",
        "a:sum",
        "a:sum:1",
        "a:sum:2:1",
        "a:sum:0:nan",
        "a:sum:0:1e10",
        "a:sum:0:1:2",
        "a:rate,",
        "a:rate,a:rate",
        "a:rate;b:rate",
        "a:rate,,b:rate",
        "a b:rate",
        "abcdefghijklmnopqrstuvwx:rate",
        "a:rate,b:rate,c:rate,d:rate,e:rate,f:rate,g:rate,h:rate,i:rate",
        "a:sum:0.0000000000000000000000000000000000000000000000000000000000000001:1",
    };
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        why[0] = '\0';
        if (trib_counters_parse(wrongs[i], &c, why, sizeof(why)) != TRIB_ERR_INVAL || !why[0])
            fail_msg("%s is taken", wrongs[i]);
    }
}

static void assert_near(double value, double wanted)
{
    if (!(fabs(value - wanted) < 5e-5))
        fail_msg("%.9g, wanted %.9g", value, wanted);
}

// Newcombe 1998, table II, method 10: (a) 56/70 less 48/80, (e) 9/10 less 3/10, (h) 10/10 less
// 0/10.
static void differences_of_rates_are_those_of_the_paper(void **state)
{
    (void)state;
    static const struct trib_counter rate = {.name = "clicks", .high = 1};
    static const struct {
        struct trib_arm arm, from;
        double low, high;
    } cases[] = {
        {{70, 56, 56}, {80, 48, 48}, 0.0524, 0.3339},
        {{10, 9, 9}, {10, 3, 3}, 0.1705, 0.8090},
        {{10, 10, 10}, {10, 0, 0}, 0.6075, 1.0000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct trib_interval d = trib_arm_difference(&rate, &cases[i].arm, &cases[i].from);
        assert_near(d.low, cases[i].low);
        assert_near(d.high, cases[i].high);
    }
    const struct trib_arm nothing = {0, 0, 0};
    assert_true(isnan(trib_arm_value(&nothing)));
    assert_true(isnan(trib_arm_interval(&rate, &nothing).low));
    assert_true(isnan(trib_arm_difference(&rate, &cases[0].arm, &nothing).low));
}

static void intervals_of_means_hold_what_they_say(void **state)
{
    (void)state;
    static const struct trib_counter sum = {.name = "minutes", .is_sum = true, .high = 10};
    uint64_t seed = 5;
    size_t held = 0, apart = 0;
    enum {
        TRIALS = 2000,
        NUMBERS = 60
    };
    for (size_t t = 0; t < TRIALS; t++) {
        struct trib_arm arms[2] = {{0, 0, 0}, {0, 0, 0}};
        for (size_t i = 0; i < NUMBERS; i++) {
            for (size_t a = 0; a < 2; a++) {
                const double x = (double)(test_rand(&seed) >> 11) * 0x1p-53 * 4 - 2 + (double)a;
                const struct trib_arm one = {1, x, x * x};
                trib_arm_add(&arms[a], &one);
            }
        }
        const struct trib_interval mean = trib_arm_interval(&sum, &arms[0]);
        const struct trib_interval d = trib_arm_difference(&sum, &arms[1], &arms[0]);
        held += mean.low <= 0 && mean.high >= 0; // not cut at 0
        apart += d.low <= 1 && d.high >= 1;
    }
    // 95 % of 2000 are 1900, and 4 standard deviations of that 39; the normal law is a little
    // short.
    assert_in_range(held, 1850, 1950);
    assert_in_range(apart, 1850, 1950);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(declarations_are_read_and_others_refused_by_name),
        cmocka_unit_test(differences_of_rates_are_those_of_the_paper),
        cmocka_unit_test(intervals_of_means_hold_what_they_say),
    };
    return RUN_TESTS(tests);
}
