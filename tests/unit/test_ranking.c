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

static void average_precision_is_that_worked_out_by_hand(void **state)
{
    (void)state;
    struct trib_scored rows[5] = {
        {0.2, true}, {0.9, true}, {0.5, false}, {0.5, true}, {0.1, false}};
    struct trib_ranking_scores s;
    assert_int_equal(trib_ranking_scores(rows, 5, &s), TRIB_OK);
    assert_true(fabs(s.average_precision - (1 + 2.0 / 3 + 3.0 / 4) / 3) < 1e-12);
}

static void one_class_nothing_and_nan_are_refused(void **state)
{
    (void)state;
    struct trib_scored rows[3] = {{0.2, true}, {0.9, true}, {(double)NAN, false}};
    struct trib_ranking_scores s = {.roc_auc = 77};
    assert_int_equal(trib_ranking_scores(rows, 0, &s), TRIB_ERR_DATA);
    assert_int_equal(trib_ranking_scores(rows, 2, &s), TRIB_ERR_DATA);
    assert_int_equal(trib_ranking_scores(rows, 3, &s), TRIB_ERR_DATA);
    assert_true(s.roc_auc == 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auc_is_the_share_of_pairs_in_order),
        cmocka_unit_test(average_precision_is_that_worked_out_by_hand),
        cmocka_unit_test(one_class_nothing_and_nan_are_refused),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
