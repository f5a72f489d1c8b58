#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/wipe.h"
#include "common/math/evaluation.h"
#include "common/math/probabilities.h"
#include "common/math/ranking.h"
#include "common/math/scores.h"
#include "tests/unit/models.h"

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

static void a_probability_from_one_half_on_is_class_one(void **state)
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
    assert_true(confusion.counts[0] == 1 && confusion.counts[1] == 2); // exactly 0.5 is class 1
    assert_true(confusion.counts[2] == 0 && confusion.counts[3] == 1);
    assert_near(e.accuracy, 0.5);
    assert_near(e.balanced_accuracy, (1.0 / 3 + 1) / 2);
    assert_near(e.mcc, 1 / sqrt(9)); // of the counts: (1 1 - 2 0) / sqrt(1 3 3 1)
    assert_near(e.positive_precision, 1.0 / 3);
    assert_near(e.positive_recall, 1);
    assert_near(e.positive_f1, 0.5);
    assert_near(e.auc, 2.0 / 3); // 0.88 of class 0 is above 0.73 of class 1
    assert_near(e.average_precision, 0.5);
    const double s1 = 1 / (1 + exp(-1)), s2 = 1 / (1 + exp(-2));
    assert_true(fabs(e.brier - (2 * (1 - s1) * (1 - s1) + s2 * s2 + 0.25) / 4) < 1e-7);
    assert_true(fabs(e.log_loss - (-2 * log(s1) - log(1 - s2) - log(0.5)) / 4) < 1e-6);
    assert_true(fabs(e.log_loss - e.loss) < 1e-6); // differs where it is clipped, and by float32
    assert_true(fabs(e.ece - ((1 - s1) + (1 - s1) + s2 + 0.5) / 4) < 1e-7); // a bin each
    assert_true(e.threshold == 0.5 && isnan(e.top5_accuracy));
    assert_near(e.intervals.accuracy.low, trib_interval_share(0.5, 4).low);
    assert_near(e.intervals.positive_precision.high, trib_interval_share(1.0 / 3, 3).high);
    assert_near(e.intervals.positive_recall.low, trib_interval_share(1, 1).low);
    // Of shares 2/4 and 1/4 with the slopes -1/2 and 1: 0.5 -+ 1.96 sqrt(0.375 / 4), which is cut.
    assert_true(e.intervals.positive_f1.low == 0 && e.intervals.positive_f1.high == 1);
    assert_true(e.intervals.mcc.low < e.mcc && e.mcc < e.intervals.mcc.high);
    assert_near(e.intervals.auc.low, trib_interval_auc(2.0 / 3, 1, 3).low);
    assert_true(e.intervals.brier.low <= e.brier && e.brier <= e.intervals.brier.high);
    assert_string_equal(trib_evaluation_primary(&e, &value, &higher), "accuracy");
    assert_true(value == e.accuracy && higher && trib_metric_higher_is_better("accuracy"));
    struct trib_buf json = {0};
    trib_evaluation_json(&e, &confusion, NULL, &json);
    assert_non_null(strstr((const char *)json.data, ",\"confusion\":[[1,2],[0,1]]}"));
    assert_non_null(strstr((const char *)json.data, ",\"intervals\":{\"accuracy\":[0.15"));
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

static void a_decision_moves_the_threshold(void **state)
{
    (void)state;
    static const float x[4] = {-1, 1, 2, 0}, y[4] = {0, 1, 0, 0};
    static const float params[2] = {1, 0};
    const struct trib_samples samples = {.x = x, .y = y, .rows = 4, .inputs = 1};
    const struct trib_samples one_class = {.x = x + 2, .y = y + 2, .rows = 2, .inputs = 1};
    const struct trib_decision f1 = {.goal = {TRIB_GOAL_F1, 0}};
    const struct trib_decision given = {.threshold = 0.9};
    const double s1 = 1 / (1 + exp(-1));
    struct trib_model model = parsed("1 - dense 1 sigmoid");
    struct trib_evaluation e;
    struct trib_net *net;

    assert_int_equal(trib_net_create(&model, 3, &net), TRIB_OK);
    assert_int_equal(trib_evaluate_decided(net, params, &samples, &f1, NULL, &e), TRIB_OK);
    assert_true(fabs(e.threshold - (s1 + 0.5) / 2) < 1e-7);
    assert_near(e.positive_f1, 2.0 / 3);
    assert_near(e.accuracy, 0.75);
    assert_int_equal(trib_evaluate_decided(net, params, &samples, &given, NULL, &e), TRIB_OK);
    assert_true(e.threshold == 0.9 && e.positive_recall == 0 && e.positive_precision == 0);
    assert_near(e.accuracy, 0.75);
    assert_true(isnan(e.intervals.positive_precision.low)); // of no row
    assert_int_equal(trib_evaluate_decided(net, params, &one_class, &f1, NULL, &e), TRIB_OK);
    assert_true(e.threshold == 0.5 && isnan(e.auc)); // nothing to choose by
    trib_net_destroy(net);
}

// What the library says of the model's outputs, of a softmax over six classes and of one over two.
static void probabilities_go_to_the_library_as_they_are(void **state)
{
    (void)state;
    enum {
        ROWS = 60
    };
    uint64_t seed = 3;
    for (uint32_t classes = 2; classes <= 6; classes += 4) {
        float x[ROWS * 6], y[ROWS], params[42] = {0};
        double p[ROWS * 6], brier = 0, log_loss = 0;
        uint32_t labels[ROWS];
        struct trib_scored scored[ROWS];
        struct trib_model model =
            parsed(classes == 2 ? "2 - dense 2 softmax" : "6 - dense 6 softmax");
        const struct trib_samples samples = {.x = x, .y = y, .rows = ROWS, .inputs = classes};
        struct trib_evaluation e;
        struct trib_net *net;

        for (uint32_t c = 0; c < classes; c++)
            params[c * classes + c] = 1;
        for (size_t i = 0; i < (size_t)ROWS * classes; i++)
            x[i] = (float)(test_rand(&seed) % 1000) / 300;
        for (size_t r = 0; r < ROWS; r++)
            y[r] = (float)(labels[r] = (uint32_t)(r < classes ? r : test_rand(&seed) % classes));
        assert_int_equal(trib_net_create(&model, ROWS, &net), TRIB_OK);
        const float *outputs = trib_net_forward(net, params, x, ROWS);
        for (size_t i = 0; i < (size_t)ROWS * classes; i++)
            p[i] = (double)outputs[i];
        for (size_t r = 0; r < ROWS; r++) {
            brier += trib_brier(p + r * classes, classes, labels[r]) / ROWS;
            log_loss +=
                trib_log_loss(p + r * classes, classes, labels[r], TRIB_PROBABILITY_CLIP) / ROWS;
            scored[r] = (struct trib_scored){p[r * classes + 1], labels[r] == 1};
        }
        assert_int_equal(trib_evaluate(net, params, &samples, NULL, &e), TRIB_OK);
        assert_true(fabs(e.brier - brier) < 1e-6 && fabs(e.log_loss - log_loss) < 1e-6);
        if (classes == 2) {
            struct trib_ranking_scores exact;
            assert_int_equal(trib_ranking_scores(scored, ROWS, &exact), TRIB_OK);
            assert_near(e.auc, exact.roc_auc);
            assert_near(e.average_precision, exact.average_precision);
        } else {
            const struct trib_multi_scored multi = {p, labels, ROWS, classes};
            struct trib_multi_auc exact;
            assert_int_equal(trib_multi_auc_ovr(&multi, &exact), TRIB_OK);
            assert_near(e.auc, exact.ovr_macro);
            assert_true(e.top5_accuracy > e.accuracy && e.top5_accuracy <= 1);
        }
        trib_net_destroy(net);
    }
}

static void every_problem_has_its_metrics_and_a_manifest_room_for_them(void **state)
{
    (void)state;
    static const uint32_t classes[3] = {0, 2, 10};
    for (size_t i = 0; i < 3; i++) {
        const struct trib_evaluation e = {.classes = classes[i]};
        struct trib_evaluation_value values[TRIB_EVALUATION_VALUES];
        const size_t count = trib_evaluation_values(&e, values);
        size_t headlines = 0;
        for (size_t v = 0; v < count; v++) {
            headlines += values[v].is_headline;
            assert_true(trib_metric_fits(values[v].name, trib_problem_of(classes[i])));
        }
        assert_in_range(headlines, 1, TRIB_METRICS_MAX);
    }
    assert_true(trib_metric_fits("auc", TRIB_PROBLEM_BINARY));
    assert_true(trib_metric_fits("auc", TRIB_PROBLEM_MULTICLASS));
    assert_false(trib_metric_fits("average_precision", TRIB_PROBLEM_MULTICLASS));
    assert_false(trib_metric_fits("auc", TRIB_PROBLEM_REGRESSION));
    assert_false(trib_metric_fits("mse", TRIB_PROBLEM_BINARY));
    assert_false(trib_metric_fits("astrology", TRIB_PROBLEM_BINARY));
    static const char *const lower[] = {"loss", "log_loss", "brier", "ece",
                                        "mse",  "mae",      "rmse",  "mape"};
    for (size_t i = 0; i < sizeof(lower) / sizeof(lower[0]); i++)
        assert_false(trib_metric_higher_is_better(lower[i]));
    static const char *const higher[] = {"auc", "average_precision", "kappa",  "mcc",
                                         "r2",  "positive_f1",       "recall", "top5_accuracy"};
    for (size_t i = 0; i < sizeof(higher) / sizeof(higher[0]); i++)
        assert_true(trib_metric_higher_is_better(higher[i]));
}

static const float *part_of(void *user, size_t part, struct trib_samples *ret_samples)
{
    // Two parts, and one without rows between them; each has a slope of its own.
    static const float slopes[3][2] = {{1, 0}, {9, 9}, {2, 0}};
    static const float y[2] = {2, 3};
    const float *x = user;
    *ret_samples = (struct trib_samples){
        .x = x + (part > 0), .y = y + (part > 0), .rows = part != 1, .inputs = 1};
    return slopes[part];
}

static void parts_with_parameters_of_their_own_are_measured_together(void **state)
{
    (void)state;
    struct trib_model model = parsed("1 - dense 1 linear");
    struct trib_net *net;
    float x[2] = {1, 2}; // predicted 1 and 4 for 2 and 3
    double losses[3];
    struct trib_evaluation e;
    assert_int_equal(trib_net_create(&model, 2, &net), TRIB_OK);
    assert_int_equal(trib_evaluate_parts(net, part_of, x, 3, NULL, losses, &e), TRIB_OK);
    assert_int_equal(e.rows, 2);
    assert_true(e.mse == 1 && e.loss == 0.5 && e.mae == 1);
    assert_true(losses[0] == 0.5 && isnan(losses[1]) && losses[2] == 0.5);
    x[1] = 1; // predicted 2 for 3
    assert_int_equal(trib_evaluate_parts(net, part_of, x, 3, NULL, NULL, &e), TRIB_OK);
    assert_true(e.mse == 1);
    assert_int_equal(trib_evaluate_parts(net, part_of, x, 0, NULL, NULL, &e), TRIB_ERR_DATA);
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
        cmocka_unit_test(a_probability_from_one_half_on_is_class_one),
        cmocka_unit_test(parts_with_parameters_of_their_own_are_measured_together),
        cmocka_unit_test(regression_has_its_sums),
        cmocka_unit_test(a_decision_moves_the_threshold),
        cmocka_unit_test(probabilities_go_to_the_library_as_they_are),
        cmocka_unit_test(every_problem_has_its_metrics_and_a_manifest_room_for_them),
        cmocka_unit_test(outputs_that_are_not_finite_are_refused),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
