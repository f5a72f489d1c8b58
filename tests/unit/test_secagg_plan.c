#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/privacy/secagg_plan.h"

static struct trib_secagg_plan plan_of(uint64_t members, double threshold, double colluders)
{
    struct trib_secagg_plan plan;
    char why[512];
    if (trib_secagg_plan_make(members, threshold, colluders, &plan, why, sizeof(why)))
        fail_msg("%d members refused: %s", (int)members, why);
    assert_int_equal(trib_secagg_plan_check(&plan), TRIB_OK);
    return plan;
}

static void the_example_of_the_design_comes_out(void **state)
{
    (void)state;
    const struct trib_secagg_plan plan = plan_of(100, 0.75, 0.10);
    assert_int_equal(plan.threshold, 75);
    assert_int_equal(plan.drop_max, 25);
    assert_int_equal(plan.colluders, 10);
    assert_int_equal(plan.shares, 65);
    assert_int_equal(plan.neighbours, 0);
    assert_int_equal(plan.neighbour_threshold, 75);
}

static void shares_of_a_hundredth_are_not_rounded_by_their_last_bit(void **state)
{
    (void)state;
    for (uint64_t n = 100; n <= 10000; n += 100) {
        for (uint64_t percent = 60; percent <= 100; percent++) {
            struct trib_secagg_plan plan;
            char why[512];
            double frac = (double)percent / 100;
            if (trib_secagg_plan_make(n, frac, 0.05, &plan, why, sizeof(why)))
                continue;
            assert_int_equal(plan.threshold, n * percent / 100);
            assert_int_equal(plan.colluders, n * 5 / 100);
        }
    }
}

static void every_plan_keeps_its_promises(void **state)
{
    (void)state;
    uint64_t seed = 10;
    int made = 0;
    for (int trial = 0; trial < 20000; trial++) {
        struct trib_secagg_plan p;
        char why[512] = "";
        uint64_t n = trial % 2 ? 1 + test_rand(&seed) % 200 : 1 + test_rand(&seed) % 11000;
        double threshold = (double)(test_rand(&seed) % 1001) / 1000;
        double colluders = (double)(test_rand(&seed) % 400) / 1000;
        if (trib_secagg_plan_make(n, threshold, colluders, &p, why, sizeof(why))) {
            assert_true(strlen(why) > 20);
            continue;
        }
        made++;
        assert_int_equal(trib_secagg_plan_check(&p), TRIB_OK);
        assert_true(p.threshold >= threshold * (double)n - 1e-6);
        assert_true(p.colluders >= colluders * (double)n - 1e-6);
        assert_true(2 * p.threshold > n + p.colluders);
        assert_true(p.threshold + p.drop_max == n);
        assert_true(p.shares >= 1 && p.shares + p.colluders == p.threshold);
        assert_true(p.neighbours < n - 1 || n == 1);
        assert_true(p.neighbours == 0 || (n > 128 && p.neighbour_threshold < p.neighbours));
        assert_true(p.neighbours != 0 || p.neighbour_threshold == p.threshold);
    }
    assert_true(made > 3000);
}

// ln of the probability that `draws` of `all`, without putting back, hold at least `at_least` of
// the `marked` ones.
static double log_tail(double all, double marked, double draws, double at_least)
{
    double sum = 0;
    for (double j = at_least; j <= fmin(marked, draws); j++) {
        if (draws - j > all - marked)
            continue;
        sum += exp(lgamma(marked + 1) - lgamma(j + 1) - lgamma(marked - j + 1) +
                   lgamma(all - marked + 1) - lgamma(draws - j + 1) -
                   lgamma(all - marked - draws + j + 1) - lgamma(all + 1) + lgamma(draws + 1) +
                   lgamma(all - draws + 1));
    }
    return log(sum);
}

// The table's entries keep their two probabilities at every size they are used for, with the
// largest numbers of colluders and dropouts that the fractions of a column allow.
static void every_graph_keeps_its_probabilities(void **state)
{
    (void)state;
    static const double columns[][2] = {
        {0.05, 0.9}, {0.10, 0.9}, {0.10, 0.8}, {0.10, 0.7}, {0.33, 0.9}};
    int graphs = 0;
    for (uint64_t n = 129; n <= TRIB_SECAGG_MEMBERS_MAX; n += n < 1000 ? 1 : 83) {
        for (int c = 0; c < 5; c++) {
            const struct trib_secagg_plan p = plan_of(n, columns[c][1], columns[c][0]);
            if (p.neighbours == 0)
                continue;
            graphs++;
            const double k = p.neighbours;
            const double t = p.neighbour_threshold;
            const double others = (double)n - 1;
            const double security = log((double)n) + log_tail(others, p.colluders, k, 2 * t - k);
            const double failure = log((double)n) + log_tail(others, p.drop_max, k, k - t + 1);
            assert_true(security <= -40 * log(2));
            assert_true(failure <= -19.95 * log(2)); // the table rounds 2^-20
        }
    }
    assert_true(graphs > 3000);
    const struct trib_secagg_plan largest = plan_of(10000, 0.75, 0.10);
    assert_int_equal(largest.neighbours, 778);
    assert_int_equal(largest.neighbour_threshold, 465);
    const struct trib_secagg_plan small = plan_of(129, 0.9, 0.10);
    assert_int_equal(small.neighbours, 96);
    assert_int_equal(plan_of(400, 0.75, 0.10).neighbours, 0); // 414 neighbours are everybody
}

static void what_protects_nobody_is_refused_with_a_text(void **state)
{
    (void)state;
    const struct {
        uint64_t members;
        double threshold, colluders;
        const char *says;
    } bad[] = {
        {100, 0.55, 0.10, "twice the threshold"},
        {100, 0.5, 0, "twice the threshold"},
        {100, 0.1, 0.2, "no honest share"},
        {1, 1, 0.1, "no honest share"},
        {0, 0.75, 0.1, "a cohort of 0"},
        {TRIB_COHORT_MAX + 1, 0.75, 0.1, "a cohort of"},
        {10001, 0.75, 0.1, "no graph"},
        {1000, 0.75, 0.2, "no graph"},
        {100, (double)NAN, 0.1, "threshold_frac"},
        {100, 0, 0.1, "threshold_frac"},
        {100, 1.01, 0.1, "threshold_frac"},
        {100, 0.75, -0.1, "max_colluders_frac"},
        {100, 0.75, (double)NAN, "max_colluders_frac"},
        {100, 0.75, 1, "max_colluders_frac"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct trib_secagg_plan plan;
        char why[512] = "";
        assert_int_equal(trib_secagg_plan_make(bad[i].members, bad[i].threshold, bad[i].colluders,
                                               &plan, why, sizeof(why)),
                         TRIB_ERR_INVAL);
        if (!strstr(why, bad[i].says))
            fail_msg("said '%s', wanted '%s'", why, bad[i].says);
    }
}

static void a_device_takes_no_number_that_was_changed(void **state)
{
    (void)state;
    const struct trib_secagg_plan goods[] = {plan_of(100, 0.75, 0.10), plan_of(1000, 0.75, 0.10)};
    for (int g = 0; g < 2; g++) {
        const struct trib_secagg_plan good = goods[g];
#define REFUSED(field, bad)                                              \
    do {                                                                 \
        struct trib_secagg_plan plan = good;                             \
        plan.field = (uint32_t)(bad);                                    \
        assert_int_equal(trib_secagg_plan_check(&plan), TRIB_ERR_INVAL); \
    } while (0)
        REFUSED(members, 0);
        REFUSED(members, 2 * good.threshold - good.colluders); // 2T = n + c
        REFUSED(members, TRIB_COHORT_MAX + 1);
        REFUSED(members, UINT32_MAX);
        REFUSED(threshold, good.threshold - 1);
        REFUSED(threshold, good.threshold + 1);
        REFUSED(threshold, 0);
        REFUSED(threshold, UINT32_MAX);
        REFUSED(threshold, 0x80000000u); // twice that is 0
        REFUSED(drop_max, good.drop_max + 1);
        REFUSED(drop_max, UINT32_MAX);
        REFUSED(colluders, good.colluders + 1);
        REFUSED(colluders, good.colluders - 1);
        REFUSED(colluders, UINT32_MAX);
        REFUSED(shares, 0);
        REFUSED(shares, good.shares - 1);
        REFUSED(shares, good.shares + 1);
        REFUSED(neighbours, good.neighbours + 1);
        REFUSED(neighbours, good.neighbours - 1);
        REFUSED(neighbours, g == 0 ? 32 : 0);
        REFUSED(neighbour_threshold, good.neighbour_threshold - 1);
        REFUSED(neighbour_threshold, good.neighbour_threshold + 1);
#undef REFUSED
    }
    // A coordinator that claims fewer colluders promises more shares of smaller noise: with
    // coherent numbers that is for the device's own policy to judge.
    struct trib_secagg_plan bold = goods[0];
    bold.colluders = 0;
    bold.shares = bold.threshold;
    assert_int_equal(trib_secagg_plan_check(&bold), TRIB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_design_comes_out),
        cmocka_unit_test(shares_of_a_hundredth_are_not_rounded_by_their_last_bit),
        cmocka_unit_test(every_plan_keeps_its_promises),
        cmocka_unit_test(every_graph_keeps_its_probabilities),
        cmocka_unit_test(what_protects_nobody_is_refused_with_a_text),
        cmocka_unit_test(a_device_takes_no_number_that_was_changed),
    };
    return RUN_TESTS(tests);
}
