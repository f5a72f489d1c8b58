#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/ranking.h"
#include "common/math/train.h"
#include "coordinator/evaluate.h"
#include "tests/unit/models.h"

enum {
    ROWS = 400
};

// One feature that leans to the side of the label.
static struct trib_dataset *drawn(size_t rows, uint64_t seed)
{
    struct trib_dataset *dataset;
    assert_int_equal(trib_dataset_create(rows, 1, false, "rows.csv", &dataset), TRIB_OK);
    for (size_t r = 0; r < rows; r++) {
        dataset->y[r] = test_rand(&seed) % 4 == 0;
        dataset->x[r] = (float)(test_rand(&seed) % 1000) / 250 - 3 + dataset->y[r];
    }
    return dataset;
}

static struct trib_evaluator *taken(struct trib_dataset *dataset, const struct trib_model *model,
                                    const struct trib_evaluator_plan *plan)
{
    struct trib_evaluator *evaluator;
    char why[256];
    assert_int_equal(trib_evaluator_take(dataset, model, plan, &evaluator, why, sizeof(why)),
                     TRIB_OK);
    return evaluator;
}

static const float params[2] = {1, 0};

static void the_threshold_is_chosen_on_validation_rows_only(void **state)
{
    (void)state;
    const struct trib_model model = parsed("1 - dense 1 sigmoid");
    const struct trib_evaluator_plan plan = {.goal = {TRIB_GOAL_F1, 0}, .test_share = 0.4};
    struct trib_dataset *dataset = drawn(ROWS, 5);
    struct trib_scored validation[ROWS];
    size_t validation_count = 0, test_count = 0;
    double score[ROWS], truth[ROWS], threshold, right = 0;

    for (size_t r = 0; r < ROWS; r++) {
        score[r] = 1 / (1 + exp(-(double)dataset->x[r]));
        truth[r] = (double)dataset->y[r];
        if (trib_train_validates(r, 0.4))
            test_count++;
        else
            validation[validation_count++] = (struct trib_scored){score[r], truth[r] > 0};
    }
    assert_in_range(test_count, ROWS / 4, ROWS / 2);
    assert_int_equal(trib_threshold_choose(validation, validation_count, &plan.goal, &threshold),
                     TRIB_OK);
    for (size_t r = 0; r < ROWS; r++) {
        if (trib_train_validates(r, 0.4))
            right += (score[r] >= threshold) == (truth[r] > 0);
    }

    struct trib_evaluator *evaluator = taken(dataset, &model, &plan);
    struct trib_held_out held_out;
    assert_int_equal(trib_evaluator_run(evaluator, params, &held_out), TRIB_OK);
    assert_true(held_out.validation.rows == validation_count && held_out.test.rows == test_count);
    assert_true(fabs(held_out.validation.threshold - threshold) < 1e-6);
    assert_true(held_out.test.threshold == held_out.validation.threshold);
    assert_true(fabs(held_out.test.accuracy - right / (double)test_count) < 1e-12);
    char *text = trib_evaluator_text(evaluator, &held_out);
    assert_non_null(strstr(text, "\"test\":{\"rows\":"));
    const char *first = strstr(text, "\"confusion\"");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "\"confusion\"")); // one each
    free(text);
    trib_evaluator_destroy(evaluator);
}

// Other test rows, however they score, change nothing of what is chosen.
static void test_rows_choose_nothing(void **state)
{
    (void)state;
    const struct trib_model model = parsed("1 - dense 1 sigmoid");
    const struct trib_evaluator_plan plan = {.goal = {TRIB_GOAL_YOUDEN, 0}, .test_share = 0.5};
    struct trib_dataset *one = drawn(ROWS, 7), *other = drawn(ROWS, 7);
    struct trib_held_out a, b;
    for (size_t r = 0; r < ROWS; r++) {
        if (trib_train_validates(r, 0.5))
            other->y[r] = 1 - other->y[r];
    }
    struct trib_evaluator *first = taken(one, &model, &plan);
    struct trib_evaluator *second = taken(other, &model, &plan);
    assert_int_equal(trib_evaluator_run(first, params, &a), TRIB_OK);
    assert_int_equal(trib_evaluator_run(second, params, &b), TRIB_OK);
    assert_memory_equal(&a.validation, &b.validation, sizeof(a.validation));
    assert_true(fabs(a.test.accuracy - (1 - b.test.accuracy)) < 1e-12);
    trib_evaluator_destroy(first);
    trib_evaluator_destroy(second);
}

static void the_last_rows_report(void **state)
{
    (void)state;
    const struct trib_model model = parsed("1 - dense 1 sigmoid");
    const struct trib_evaluator_plan plan = {.test_last = 100};
    const struct trib_evaluator_plan all = {.test_last = ROWS};
    struct trib_dataset *dataset = drawn(ROWS, 11);
    struct trib_held_out held_out;
    double right = 0;
    char why[256];
    for (size_t r = ROWS - 100; r < ROWS; r++)
        right += (dataset->x[r] >= 0) == (dataset->y[r] > 0);
    struct trib_evaluator *evaluator = taken(dataset, &model, &plan);
    assert_int_equal(trib_evaluator_run(evaluator, params, &held_out), TRIB_OK);
    assert_true(held_out.validation.rows == ROWS - 100 && held_out.test.rows == 100);
    assert_true(fabs(held_out.test.accuracy - right / 100) < 1e-12);
    trib_evaluator_destroy(evaluator);
    assert_int_equal(
        trib_evaluator_take(drawn(ROWS, 11), &model, &all, &evaluator, why, sizeof(why)),
        TRIB_ERR_DATA); // nothing to choose by
}

static void without_a_share_all_rows_validate(void **state)
{
    (void)state;
    const struct trib_model model = parsed("1 - dense 1 sigmoid");
    const struct trib_evaluator_plan plan = {.test_share = 0};
    struct trib_evaluator *evaluator = taken(drawn(ROWS, 9), &model, &plan);
    struct trib_held_out held_out;
    struct trib_buf json = {0};
    assert_int_equal(trib_evaluator_run(evaluator, params, &held_out), TRIB_OK);
    assert_true(held_out.validation.rows == ROWS && held_out.test.rows == 0);
    assert_true(held_out.validation.threshold == 0.5);
    trib_held_out_json(&held_out, &json);
    assert_null(strstr((const char *)json.data, "\"test\""));
    trib_buf_fini(&json);
    trib_evaluator_destroy(evaluator);
}

static void rows_that_cannot_be_used_so_are_refused(void **state)
{
    (void)state;
    const struct trib_model model = parsed("1 - dense 1 sigmoid");
    const struct trib_evaluator_plan f1 = {.goal = {TRIB_GOAL_F1, 0}};
    const struct trib_evaluator_plan share = {.test_share = 0.5};
    struct trib_evaluator *evaluator;
    struct trib_dataset *dataset = drawn(20, 11);
    char why[256];
    memset(dataset->y, 0, 20 * sizeof(*dataset->y));
    assert_int_equal(trib_evaluator_take(dataset, &model, &f1, &evaluator, why, sizeof(why)),
                     TRIB_ERR_DATA);
    assert_string_equal(why, "rows.csv: no threshold can be chosen on rows of one class");
    assert_int_equal(
        trib_evaluator_take(drawn(1, 11), &model, &share, &evaluator, why, sizeof(why)),
        TRIB_ERR_DATA);
    assert_non_null(strstr(why, "rows.csv: 1 held-out rows are too few"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_threshold_is_chosen_on_validation_rows_only),
        cmocka_unit_test(test_rows_choose_nothing),
        cmocka_unit_test(the_last_rows_report),
        cmocka_unit_test(without_a_share_all_rows_validate),
        cmocka_unit_test(rows_that_cannot_be_used_so_are_refused),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
