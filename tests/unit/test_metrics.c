#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/metrics.h"
#include "common/math/scores.h"

static struct trib_model parsed(const char *spec)
{
    struct trib_model model;
    char why[256];
    assert_int_equal(trib_model_parse(spec, &model, why, sizeof(why)), TRIB_OK);
    return model;
}

static void assert_near(double got, double expected)
{
    assert_true(fabs(got - expected) < 1e-12);
}

static void scores_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    //          predicted 0  1  2
    uint64_t counts[9] = {5, 1, 0,  // true 0
                          2, 3, 0,  // true 1
                          1, 0, 0}; // true 2, never predicted: its precision is 0/0
    const struct trib_confusion confusion = {.classes = 3, .counts = counts};
    struct trib_class_scores scores;
    assert_int_equal(trib_class_scores(&confusion, &scores), TRIB_OK);
    assert_near(scores.accuracy, 8.0 / 12);
    assert_near(scores.macro.precision, (5.0 / 8 + 3.0 / 4 + 0) / 3);
    assert_near(scores.macro.recall, (5.0 / 6 + 3.0 / 5 + 0) / 3);
    assert_near(scores.macro.f1, (10.0 / 14 + 6.0 / 9 + 0) / 3);
}

// A model whose outputs for the unit vector of class c is class c.
static const float identity3[12] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0};

static void batches_do_not_change_what_is_counted(void **state)
{
    (void)state;
    enum {
        ROWS = 50
    };
    struct trib_model model = parsed("3 - dense 3 softmax");
    float x[ROWS * 3] = {0}, y[ROWS];
    const struct trib_samples samples = {.x = x, .y = y, .rows = ROWS, .inputs = 3};
    uint64_t expected[9] = {0};
    uint64_t seed = 1;

    for (int r = 0; r < ROWS; r++) {
        uint64_t truth = test_rand(&seed) % 3, predicted = test_rand(&seed) % 3;
        y[r] = (float)truth;
        x[r * 3 + predicted] = 1;
        expected[truth * 3 + predicted]++;
    }
    for (size_t batch = 1; batch <= ROWS + 1; batch += 7) {
        struct trib_confusion confusion;
        struct trib_evaluation e;
        struct trib_net *net;
        assert_int_equal(trib_confusion_init(&confusion, 3), TRIB_OK);
        memset(confusion.counts, 0xff, 9 * sizeof(uint64_t)); // what was there is forgotten
        assert_int_equal(trib_net_create(&model, batch, &net), TRIB_OK);
        assert_int_equal(trib_evaluate(net, identity3, &samples, &confusion, &e), TRIB_OK);
        assert_memory_equal(confusion.counts, expected, sizeof(expected));
        assert_true(e.rows == ROWS && e.classes == 3);
        // The loss of a row: log(e + 2), less 1 where it is right.
        double right = (double)(expected[0] + expected[4] + expected[8]);
        assert_true(fabs(e.loss - (log(exp(1) + 2) - right / ROWS)) < 1e-6);
        assert_near(e.accuracy, right / ROWS);
        trib_net_destroy(net);
        trib_confusion_fini(&confusion);
    }
}

static void a_probability_above_one_half_is_class_one(void **state)
{
    (void)state;
    static const float x[4] = {-1, 1, 2, 0}, y[4] = {0, 1, 0, 0};
    static const float params[2] = {1, 0};
    const struct trib_samples samples = {.x = x, .y = y, .rows = 4, .inputs = 1};
    struct trib_model model = parsed("1 - dense 1 sigmoid");
    struct trib_confusion confusion;
    struct trib_evaluation e;
    struct trib_net *net;
    double value;
    bool higher;

    assert_int_equal(trib_confusion_init(&confusion, 2), TRIB_OK);
    assert_int_equal(trib_net_create(&model, 3, &net), TRIB_OK);
    assert_int_equal(trib_evaluate(net, params, &samples, &confusion, &e), TRIB_OK);
    assert_true(confusion.counts[0] == 2 && confusion.counts[1] == 1); // exactly 0.5 is class 0
    assert_true(confusion.counts[2] == 0 && confusion.counts[3] == 1);
    assert_near(e.accuracy, 0.75);
    assert_near(e.balanced_accuracy, (2.0 / 3 + 1) / 2);
    assert_near(e.mcc, 2 / sqrt(12)); // of the counts: (2 1 - 1 0) / sqrt(2 2 3 1)
    assert_string_equal(trib_evaluation_primary(&e, &value, &higher), "accuracy");
    assert_true(value == e.accuracy && higher && trib_metric_higher_is_better("accuracy"));
    struct trib_buf json = {0};
    trib_evaluation_json(&e, &confusion, NULL, &json);
    assert_non_null(strstr((const char *)json.data, ",\"confusion\":[[2,1],[0,1]]}"));
    trib_buf_fini(&json);
    trib_net_destroy(net);
    trib_confusion_fini(&confusion);
}

static void regression_has_its_sums(void **state)
{
    (void)state;
    static const float x[4] = {2.5f, 0, 2, 8}, y[4] = {3, -0.5f, 2, 7};
    static const float params[2] = {1, 0};
    const struct trib_samples samples = {.x = x, .y = y, .rows = 4, .inputs = 1};
    struct trib_model model = parsed("1 - dense 1 linear");
    struct trib_evaluation_value values[TRIB_EVALUATION_VALUES];
    struct trib_evaluation e;
    struct trib_net *net;
    struct trib_buf json = {0};
    double value;
    bool higher;

    assert_int_equal(trib_net_create(&model, 3, &net), TRIB_OK);
    assert_int_equal(trib_evaluate(net, params, &samples, NULL, &e), TRIB_OK);
    assert_near(e.mse, 0.375);
    assert_near(e.loss, 0.1875);
    assert_near(e.mae, 0.5);
    assert_near(e.rmse, sqrt(0.375));
    assert_near(e.r2, 1 - 1.5 / 29.1875); // targets: mean 2.875, squared differences 29.1875
    assert_string_equal(trib_evaluation_primary(&e, &value, &higher), "mse");
    assert_true(value == e.mse && !higher);
    assert_int_equal(trib_evaluation_values(&e, values), 6);
    assert_string_equal(values[4].name, "r2");
    assert_string_equal(values[5].name, "mape");
    assert_near(values[5].value, (0.5 / 3 + 1 + 1.0 / 7) / 4);
    assert_false(trib_metric_higher_is_better("mse"));
    trib_evaluation_json(&e, NULL, NULL, &json);
    assert_non_null(strstr((const char *)json.data, "\"mse\":0.375"));
    assert_non_null(strstr((const char *)json.data, "\"loss\":0.1875"));
    trib_buf_fini(&json);
    trib_net_destroy(net);
}

static void outputs_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const float y[2] = {1, 2};
    struct trib_model model = parsed("1 - dense 1 linear");
    struct trib_net *net;
    static const float params[2] = {1, 0};
    assert_int_equal(trib_net_create(&model, 2, &net), TRIB_OK);
    for (int i = 0; i < 3; i++) {
        const float x[2] = {1, bad[i]};
        const struct trib_samples samples = {.x = x, .y = y, .rows = 2, .inputs = 1};
        struct trib_evaluation e = {.rows = 77};
        assert_int_equal(trib_evaluate(net, params, &samples, NULL, &e), TRIB_ERR_DATA);
        assert_true(e.rows == 77);
    }
    trib_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_worked_out_by_hand),
        cmocka_unit_test(batches_do_not_change_what_is_counted),
        cmocka_unit_test(a_probability_above_one_half_is_class_one),
        cmocka_unit_test(regression_has_its_sums),
        cmocka_unit_test(outputs_that_are_not_finite_are_refused),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
