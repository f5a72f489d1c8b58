#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/scores.h"

enum {
    CLASSES = 4,
    CELLS = CLASSES * CLASSES,
};

static void assert_near(double got, double expected)
{
    assert_true(fabs(got - expected) < 1e-12);
}

static void scores_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    //                     predicted 0  1
    uint64_t counts[4] = {6, 2,  // true 0
                          1, 3}; // true 1
    const struct trib_confusion confusion = {.classes = 2, .counts = counts};
    struct trib_class_scores s;
    assert_int_equal(trib_class_scores(&confusion, &s), TRIB_OK);
    assert_near(s.accuracy, 9.0 / 12);
    assert_near(s.binary.precision, 3.0 / 5); // of class 1
    assert_near(s.binary.recall, 3.0 / 4);
    assert_near(s.binary.f1, 6.0 / 9);
    assert_near(s.macro.precision, (6.0 / 7 + 3.0 / 5) / 2);
    assert_near(s.micro.f1, 9.0 / 12);
    assert_near(s.weighted.recall, 9.0 / 12);
    assert_near(s.weighted.precision, (8 * 6.0 / 7 + 4 * 3.0 / 5) / 12);
    assert_near(s.balanced_accuracy, (6.0 / 8 + 3.0 / 4) / 2);
    assert_near(s.mcc, (6 * 3 - 2 * 1) / sqrt(7.0 * 5 * 8 * 4)); // of the four counts
    assert_near(s.kappa, (9.0 / 12 - 76.0 / 144) / (1 - 76.0 / 144));
}

static void matrices_of_random_shards_add_up_to_the_pooled_one_in_any_order(void **state)
{
    (void)state;
    static uint64_t shards[1000][CELLS];
    uint64_t seed = 7;
    for (int trial = 0; trial < 50; trial++) {
        const size_t count = 1 + test_rand(&seed) % 1000;
        const size_t step = count - 1; // backwards: another order of the same shards
        uint64_t pooled[CELLS] = {0}, forward[CELLS] = {0}, backward[CELLS] = {0};
        memset(shards, 0, sizeof(shards));
        for (int row = 0; row < 2000; row++) {
            size_t cell = test_rand(&seed) % CELLS;
            shards[test_rand(&seed) % count][cell]++;
            pooled[cell]++;
        }
        struct trib_confusion a = {.classes = CLASSES, .counts = forward};
        struct trib_confusion b = {.classes = CLASSES, .counts = backward};
        for (size_t i = 0; i < count; i++) {
            struct trib_confusion ahead = {.classes = CLASSES, .counts = shards[i]};
            struct trib_confusion behind = {.classes = CLASSES, .counts = shards[step - i]};
            assert_int_equal(trib_confusion_merge(&a, &ahead), TRIB_OK);
            assert_int_equal(trib_confusion_merge(&b, &behind), TRIB_OK);
        }
        assert_memory_equal(forward, pooled, sizeof(pooled));
        assert_memory_equal(backward, pooled, sizeof(pooled));
    }
}

static void a_merge_that_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    uint64_t counts[4] = {1, 2, 3, UINT64_MAX}, more[9] = {5, 5, 5, 1};
    const uint64_t before[4] = {1, 2, 3, UINT64_MAX};
    struct trib_confusion confusion = {.classes = 2, .counts = counts};
    struct trib_confusion overflowing = {.classes = 2, .counts = more};
    struct trib_confusion wider = {.classes = 3, .counts = more};
    assert_int_equal(trib_confusion_merge(&confusion, &overflowing), TRIB_ERR_DATA);
    assert_int_equal(trib_confusion_merge(&confusion, &wider), TRIB_ERR_DATA);
    assert_memory_equal(counts, before, sizeof(before));
}

static void no_rows_and_too_many_are_refused(void **state)
{
    (void)state;
    uint64_t none[4] = {0}, many[4] = {UINT64_MAX, 1, 0, 0};
    const struct trib_confusion empty = {.classes = 2, .counts = none};
    const struct trib_confusion full = {.classes = 2, .counts = many};
    struct trib_class_scores s = {.accuracy = 77};
    assert_int_equal(trib_class_scores(&empty, &s), TRIB_ERR_DATA);
    assert_int_equal(trib_class_scores(&full, &s), TRIB_ERR_DATA);
    assert_true(s.accuracy == 77);
}

static void a_single_class_has_no_correlation_and_no_kappa(void **state)
{
    (void)state;
    uint64_t met[4] = {9, 0, 0, 0}, missed[4] = {0, 9, 0, 0};
    const struct trib_confusion right = {.classes = 2, .counts = met};
    const struct trib_confusion wrong = {.classes = 2, .counts = missed};
    struct trib_class_scores s;
    assert_int_equal(trib_class_scores(&right, &s), TRIB_OK);
    assert_true(s.accuracy == 1 && s.balanced_accuracy == 1 && s.mcc == 0 && isnan(s.kappa));
    assert_true(s.binary.precision == 0 && s.binary.recall == 0 && s.binary.f1 == 0); // 0/0
    assert_true(s.macro.f1 == 0.5); // the class without rows counts as 0
    assert_int_equal(trib_class_scores(&wrong, &s), TRIB_OK);
    assert_true(s.accuracy == 0 && s.balanced_accuracy == 0 && s.mcc == 0 && s.kappa == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_worked_out_by_hand),
        cmocka_unit_test(matrices_of_random_shards_add_up_to_the_pooled_one_in_any_order),
        cmocka_unit_test(a_merge_that_does_not_fit_changes_nothing),
        cmocka_unit_test(no_rows_and_too_many_are_refused),
        cmocka_unit_test(a_single_class_has_no_correlation_and_no_kappa),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
