#include "common/math/baselines.h"
#include "tests/test.h"

#include <math.h>

// Two users, four items; item 3 has no rating.
static const float items_a[] = {0, 1, 2}, ratings_a[] = {5, 3, 4};
static const float items_b[] = {0, 1}, ratings_b[] = {4, 1};
static const struct trib_samples first = {.x = items_a, .y = ratings_a, .rows = 3, .inputs = 1};
static const struct trib_samples second = {.x = items_b, .y = ratings_b, .rows = 2, .inputs = 1};

static void make(struct trib_baselines *baselines, double shrink)
{
    struct trib_rating_sums all, own;
    assert_int_equal(trib_rating_sums_init(&all, 4), TRIB_OK);
    assert_int_equal(trib_rating_sums_init(&own, 4), TRIB_OK);
    trib_rating_sums_add(&all, &first);
    trib_rating_sums_add(&own, &second);
    trib_rating_sums_merge(&all, &own);
    assert_int_equal(all.counts[0], 2);
    assert_true(all.sums[0] == 9);
    assert_int_equal(trib_baselines_init(baselines, &all, shrink), TRIB_OK);
    trib_rating_sums_fini(&all);
    trib_rating_sums_fini(&own);
}

static void assert_near(double value, double wanted)
{
    if (!(fabs(value - wanted) < 1e-12))
        fail_msg("%.17g, wanted %.17g", value, wanted);
}

// By hand: the mean is 17/5 = 3.4.
static void baselines_are_those_of_the_formulas(void **state)
{
    (void)state;
    struct trib_baselines b;
    make(&b, 2);
    assert_near(b.mean, 3.4);
    assert_near(b.item_means[0], 4.5);
    assert_near(b.item_means[3], 3.4);
    assert_near(b.item_biases[0], (9 - 6.8) / 4);
    assert_near(b.item_biases[1], (4 - 6.8) / 4);
    assert_near(b.item_biases[2], (4 - 3.4) / 3);
    assert_near(b.item_biases[3], 0);
    const double user = trib_baselines_user(&b, &first);
    assert_near(user, (12 - 3 * 3.4 - 0.55 + 0.7 - 0.2) / 5);
    assert_near(trib_baselines_user(&b, &(struct trib_samples){.inputs = 1}), 0);

    const float x[] = {0, 3}, y[] = {5, 3};
    const struct trib_samples held_out = {.x = x, .y = y, .rows = 2, .inputs = 1};
    double squares[TRIB_BASELINE_COUNT];
    trib_baselines_miss(&b, user, &held_out, squares);
    assert_near(squares[TRIB_BASELINE_MEAN], 1.6 * 1.6 + 0.4 * 0.4);
    assert_near(squares[TRIB_BASELINE_ITEM_MEAN], 0.5 * 0.5 + 0.4 * 0.4);
    assert_near(squares[TRIB_BASELINE_BIASES],
                (3.95 + user - 5) * (3.95 + user - 5) + (0.4 + user) * (0.4 + user));
    trib_baselines_fini(&b);
}

static void without_shrinking_biases_are_means_of_what_is_left(void **state)
{
    (void)state;
    struct trib_baselines b;
    make(&b, 0);
    assert_near(b.item_biases[0], 4.5 - 3.4);
    assert_near(b.item_biases[3], 0);
    assert_near(trib_baselines_user(&b, &second), 2.5 - 3.4 - (1.1 - 1.4) / 2);
    trib_baselines_fini(&b);
}

static void no_ratings_are_no_baseline(void **state)
{
    (void)state;
    struct trib_rating_sums sums;
    struct trib_baselines b;
    assert_int_equal(trib_rating_sums_init(&sums, 4), TRIB_OK);
    assert_int_equal(trib_baselines_init(&b, &sums, 5), TRIB_ERR_DATA);
    trib_rating_sums_fini(&sums);
    assert_string_equal(trib_baseline_text(TRIB_BASELINE_ITEM_MEAN), "item_mean");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(baselines_are_those_of_the_formulas),
        cmocka_unit_test(without_shrinking_biases_are_means_of_what_is_left),
        cmocka_unit_test(no_ratings_are_no_baseline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
