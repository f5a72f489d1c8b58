#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/math/recommend.h"

enum {
    ITEMS = 6
};

static void assert_near(double got, double expected)
{
    assert_true(fabs(got - expected) < 1e-12);
}

static void scores_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    // In order of score: relevance 0, 3, 0, 1, 2.
    const struct trib_ranked_item items[5] = {{0.5, 0}, {0.9, 0}, {0.8, 3}, {0.1, 2}, {0.4, 1}};
    struct trib_ranked_item copy[5];
    struct trib_recommend_scores s;

    memcpy(copy, items, sizeof(items));
    assert_int_equal(trib_recommend_scores(copy, 5, 2, TRIB_GAIN_LINEAR, &s), TRIB_OK);
    assert_near(s.hit, 1);
    assert_near(s.recall, 1.0 / 3);
    assert_near(s.precision, 0.5);
    assert_near(s.ndcg, (3 / log2(3)) / (3 + 2 / log2(3)));
    memcpy(copy, items, sizeof(items));
    assert_int_equal(trib_recommend_scores(copy, 5, 0, TRIB_GAIN_EXPONENTIAL, &s), TRIB_OK);
    assert_near(s.recall, 1);
    assert_near(s.ndcg,
                (7 / log2(3) + 1 / log2(5) + 3 / log2(6)) / (7 + 3 / log2(3) + 1 / log2(4)));
    memcpy(copy, items, sizeof(items));
    assert_int_equal(trib_recommend_scores(copy, 5, 1, TRIB_GAIN_LINEAR, &s), TRIB_OK);
    assert_true(s.hit == 0 && s.recall == 0 && s.precision == 0 && s.ndcg == 0);
}

// All orders of `items`, in which ties are broken by place: the scores of distinct scores.
static void add_orders(struct trib_ranked_item *items, size_t fixed, size_t k,
                       struct trib_recommend_scores *sum, double *orders)
{
    if (fixed == ITEMS) {
        struct trib_ranked_item copy[ITEMS];
        struct trib_recommend_scores s;
        for (size_t i = 0; i < ITEMS; i++)
            copy[i] =
                (struct trib_ranked_item){items[i].score - 1e-6 * (double)i, items[i].relevance};
        assert_int_equal(trib_recommend_scores(copy, ITEMS, k, TRIB_GAIN_LINEAR, &s), TRIB_OK);
        sum->hit += s.hit;
        sum->recall += s.recall;
        sum->precision += s.precision;
        sum->ndcg += s.ndcg;
        (*orders)++;
        return;
    }
    for (size_t i = fixed; i < ITEMS; i++) {
        const struct trib_ranked_item swap = items[fixed];
        items[fixed] = items[i];
        items[i] = swap;
        add_orders(items, fixed + 1, k, sum, orders);
        items[i] = items[fixed];
        items[fixed] = swap;
    }
}

static void ties_give_the_mean_over_all_orders(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (size_t trial = 0; trial < 30; trial++) {
        struct trib_ranked_item items[ITEMS];
        struct trib_recommend_scores s, sum = {0};
        const size_t k = 1 + trial % ITEMS;
        double orders = 0;
        for (size_t i = 0; i < ITEMS; i++)
            items[i] = (struct trib_ranked_item){(double)(test_rand(&seed) % 3),
                                                 (double)(test_rand(&seed) % 3)};
        add_orders(items, 0, k, &sum, &orders);
        assert_int_equal(trib_recommend_scores(items, ITEMS, k, TRIB_GAIN_LINEAR, &s), TRIB_OK);
        assert_true(orders == 720);
        assert_near(s.hit, sum.hit / orders);
        assert_near(s.recall, sum.recall / orders);
        assert_near(s.precision, sum.precision / orders);
        assert_near(s.ndcg, sum.ndcg / orders);
    }
}

static void nothing_relevant_counts_as_zero(void **state)
{
    (void)state;
    struct trib_ranked_item items[2] = {{1, 0}, {2, 0}};
    struct trib_recommend_scores s;
    assert_int_equal(trib_recommend_scores(items, 2, 1, TRIB_GAIN_LINEAR, &s), TRIB_OK);
    assert_true(s.hit == 0 && s.recall == 0 && s.precision == 0 && s.ndcg == 0);
}

static void what_has_no_order_is_refused(void **state)
{
    (void)state;
    static const struct trib_ranked_item bad[] = {
        {(double)NAN, 1}, {(double)INFINITY, 1}, {1, -1}, {1, (double)NAN}, {1, (double)INFINITY}};
    struct trib_recommend_scores s = {.ndcg = 77};
    struct trib_ranked_item item = {1, 2000}; // 2^2000 is too much
    assert_int_equal(trib_recommend_scores(&item, 0, 1, TRIB_GAIN_LINEAR, &s), TRIB_ERR_DATA);
    assert_int_equal(trib_recommend_scores(&item, 1, 1, TRIB_GAIN_EXPONENTIAL, &s), TRIB_ERR_DATA);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        item = bad[i];
        assert_int_equal(trib_recommend_scores(&item, 1, 1, TRIB_GAIN_LINEAR, &s), TRIB_ERR_DATA);
    }
    assert_true(s.ndcg == 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_worked_out_by_hand),
        cmocka_unit_test(ties_give_the_mean_over_all_orders),
        cmocka_unit_test(nothing_relevant_counts_as_zero),
        cmocka_unit_test(what_has_no_order_is_refused),
    };
    return RUN_TESTS(tests);
}
