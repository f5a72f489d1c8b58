#include "tests/test.h"

#include <math.h>

#include "common/base/wipe.h"
#include "common/math/ranking.h"

enum {
    ROWS = 200
};

static void auc_is_the_share_of_pairs_in_order(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int trial = 0; trial < 50; trial++) {
        struct trib_scored rows[ROWS];
        struct trib_ranking_scores s;
        double won = 0, pairs = 0;
        for (int i = 0; i < ROWS; i++) // few distinct scores: many ties
            rows[i] = (struct trib_scored){(double)(test_rand(&seed) % 20) / 20,
                                           i < 2 ? i == 1 : test_rand(&seed) % 3 == 0};
        for (int i = 0; i < ROWS; i++) {
            for (int j = 0; j < ROWS; j++) {
                if (!rows[i].positive || rows[j].positive)
                    continue;
                pairs++;
                won += rows[i].score > rows[j].score;
                won += rows[i].score < rows[j].score ? 0 : 0.5 * !(rows[i].score > rows[j].score);
            }
        }
        assert_int_equal(trib_ranking_scores(rows, ROWS, &s), TRIB_OK);
        assert_true(fabs(s.roc_auc - won / pairs) < 1e-12);
    }
}

// Long lists are sorted in another way: of any sign, of floats and doubles, with ties and two zeroes.
static void long_lists_are_sorted_too(void **state)
{
    enum {
        MANY = 2000
    };
    static struct trib_scored rows[MANY];
    static const double some[] = {0.0, -0.0, 1.0, -1.0, 1e300, -1e300, 5e-324, 0.1};
    (void)state;
    uint64_t seed = 11;
    for (int kind = 0; kind < 3; kind++) {
        struct trib_ranking_scores s;
        double won = 0, pairs = 0;
        uint64_t positives = 0, left = 0;
        for (int i = 0; i < MANY; i++) {
            const double real = (double)(int64_t)test_rand(&seed) / 1e18;
            const double score = kind == 0   ? real
                                 : kind == 1 ? (double)(float)real
                                             : some[(i * 7) % 8];
            rows[i] = (struct trib_scored){score, test_rand(&seed) % 3 == 0};
            positives += rows[i].positive;
        }
        for (int i = 0; i < MANY; i++) {
            for (int j = 0; rows[i].positive && j < MANY; j++) {
                if (rows[j].positive)
                    continue;
                pairs++;
                won += rows[i].score > rows[j].score ? 1 : rows[i].score < rows[j].score ? 0 : 0.5;
            }
        }
        assert_int_equal(trib_ranking_scores(rows, MANY, &s), TRIB_OK);
        assert_true(fabs(s.roc_auc - won / pairs) < 1e-12);
        for (int i = 0; i < MANY; i++) {
            left += rows[i].positive;
            assert_true(i == 0 || rows[i - 1].score >= rows[i].score);
        }
        assert_int_equal(left, positives);
    }
}

static void average_precision_is_that_worked_out_by_hand(void **state)
{
    (void)state;
    struct trib_scored rows[5] = {
        {0.2, true}, {0.9, true}, {0.5, false}, {0.5, true}, {0.1, false}};
    struct trib_ranking_scores s;
    assert_int_equal(trib_ranking_scores(rows, 5, &s), TRIB_OK);
    assert_true(fabs(s.average_precision - (1 + 2.0 / 3 + 3.0 / 4) / 3) < 1e-12);
}

static void one_class_has_no_auc_and_what_is_no_number_is_refused(void **state)
{
    (void)state;
    struct trib_scored rows[3] = {{0.2, true}, {0.9, true}, {(double)NAN, false}};
    struct trib_scored negatives[2] = {{0.2, false}, {0.9, false}};
    struct trib_ranking_scores s = {.roc_auc = 77};
    assert_int_equal(trib_ranking_scores(rows, 0, &s), TRIB_ERR_DATA);
    assert_int_equal(trib_ranking_scores(rows, 3, &s), TRIB_ERR_DATA);
    assert_true(s.roc_auc == 77);
    assert_int_equal(trib_ranking_scores(rows, 2, &s), TRIB_OK);
    assert_true(isnan(s.roc_auc) && s.average_precision == 1);
    assert_int_equal(trib_ranking_scores(negatives, 2, &s), TRIB_OK);
    assert_true(isnan(s.roc_auc) && s.average_precision == 0);
}

// Column 0 orders 3 of 4 pairs of class 0 against the rest, and so on, counted by hand.
static const double three[4 * 3] = {0.5, 0.3, 0.2,  // class 0
                                    0.6, 0.3, 0.1,  // class 1
                                    0.1, 0.2, 0.7,  // class 2
                                    0.4, 0.1, 0.5}; // class 2

static void classes_are_ranked_against_the_rest_and_in_pairs(void **state)
{
    (void)state;
    static const uint32_t labels[4] = {0, 1, 2, 2};
    const struct trib_multi_scored scored = {three, labels, 4, 3};
    // Against the rest: 0: 2/3, 1: (1/2 + 1 + 1)/3, 2: 4/4.
    const double zero = 2.0 / 3, one = 2.5 / 3, two = 1;
    // Pairs (column of the first, of the second): 0-1: 0, 1/2; 0-2: 1, 1; 1-2: 1, 1.
    const double pairs[3] = {0.25, 1, 1};
    struct trib_multi_auc auc = {0};
    assert_int_equal(trib_multi_auc_ovr(&scored, &auc), TRIB_OK);
    assert_int_equal(trib_multi_auc_ovo(&scored, &auc), TRIB_OK);
    assert_true(fabs(auc.ovr_macro - (zero + one + two) / 3) < 1e-12);
    assert_true(fabs(auc.ovr_weighted - (zero + one + 2 * two) / 4) < 1e-12);
    assert_true(fabs(auc.ovo_macro - (pairs[0] + pairs[1] + pairs[2]) / 3) < 1e-12);
    assert_true(fabs(auc.ovo_weighted - (2 * pairs[0] + 3 * pairs[1] + 3 * pairs[2]) / 8) < 1e-12);
}

static void a_class_without_rows_leaves_no_mean(void **state)
{
    (void)state;
    static const uint32_t labels[4] = {0, 2, 2, 0};
    const struct trib_multi_scored scored = {three, labels, 4, 3};
    const struct trib_multi_scored none = {three, labels, 0, 3};
    struct trib_multi_auc auc = {0};
    assert_int_equal(trib_multi_auc_ovr(&scored, &auc), TRIB_OK);
    assert_int_equal(trib_multi_auc_ovo(&scored, &auc), TRIB_OK);
    assert_true(isnan(auc.ovr_macro) && isnan(auc.ovr_weighted));
    assert_true(isnan(auc.ovo_macro) && isnan(auc.ovo_weighted));
    assert_int_equal(trib_multi_auc_ovr(&none, &auc), TRIB_ERR_DATA);
    assert_int_equal(trib_multi_auc_ovo(&none, &auc), TRIB_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auc_is_the_share_of_pairs_in_order),
        cmocka_unit_test(long_lists_are_sorted_too),
        cmocka_unit_test(average_precision_is_that_worked_out_by_hand),
        cmocka_unit_test(one_class_has_no_auc_and_what_is_no_number_is_refused),
        cmocka_unit_test(classes_are_ranked_against_the_rest_and_in_pairs),
        cmocka_unit_test(a_class_without_rows_leaves_no_mean),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
