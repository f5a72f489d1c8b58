#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/math/aside.h"
#include "common/math/ask.h"
#include "common/math/evaluation.h"
#include "common/math/train.h"
#include "tests/unit/models.h"

enum {
    ROWS = 700,
    INPUTS = 3,
    SHARDS = 9,
};

static const double fraction = 0.3;
static const struct trib_aside_way half = {0.5, true};
static float x[ROWS][INPUTS], y[ROWS];

static void fill(uint64_t seed, uint32_t classes)
{
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < INPUTS; j++)
            x[i][j] = (float)draw(&seed);
        const double score = (double)x[i][0] - (double)x[i][1] + 0.5 * draw(&seed);
        y[i] = (float)(classes ? (double)(score * classes > 0.3) + (classes > 2 && score > 0.8)
                               : score);
    }
}

static double *gather(const struct trib_model *model, const float *params, double threshold)
{
    struct trib_ask ask = {
        .kind = TRIB_TALLY_EVALUATION, .model = model, .kept.fraction = fraction, .is_exact = true};
    trib_ask_decide(&ask, threshold);
    const size_t count = trib_ask_values(&ask);
    const size_t words = trib_tally_packed(trib_ask_layout(&ask), count);
    int64_t *sums = calloc(words, sizeof(*sums));
    int32_t *packed = calloc(words, sizeof(*packed));
    double *values = calloc(count, sizeof(*values));
    struct trib_tally tally;
    size_t index;
    assert_true(sums && packed && values);
    assert_int_equal(trib_tally_init(&tally, count), TRIB_OK);
    tally.layout = trib_ask_layout(&ask);
    assert_int_equal(tally.layout, model->classes ? TRIB_TALLY_CELLS : TRIB_TALLY_WHOLE);
    for (size_t s = 0; s < SHARDS; s++) {
        const size_t first = s * ROWS / SHARDS, last = (s + 1) * ROWS / SHARDS;
        const struct trib_samples samples = {
            .x = x[first], .y = y + first, .rows = last - first, .inputs = INPUTS};
        trib_tally_reset(&tally);
        assert_int_equal(trib_ask_count(&ask, params, &samples, &tally), TRIB_OK);
        assert_int_equal(trib_tally_pack(&tally, packed, &index), TRIB_OK);
        for (size_t w = 0; w < words; w++)
            sums[w] += packed[w];
    }
    trib_tally_take(&tally, sums);
    for (size_t v = 0; v < count; v++)
        values[v] = trib_tally_value(&tally, v);
    trib_tally_fini(&tally);
    free(sums);
    free(packed);
    return values;
}

// The coordinator's own evaluation of the rows of one side of all shards, gathered on one machine.
static struct trib_evaluation pooled(const struct trib_model *model, const float *params,
                                     double threshold, bool is_aside)
{
    const struct trib_decision decision = {.threshold = threshold};
    static float px[ROWS][INPUTS], py[ROWS];
    uint32_t order[ROWS];
    size_t count = 0;
    struct trib_evaluation evaluation;
    struct trib_net *net;
    for (size_t s = 0; s < SHARDS; s++) {
        const size_t first = s * ROWS / SHARDS, rows = (s + 1) * ROWS / SHARDS - first;
        const size_t learnt =
            trib_train_split(&(const struct trib_samples){.rows = rows},
                             &(const struct trib_kept_rows){.fraction = fraction}, order);
        for (size_t i = is_aside ? learnt : 0; i < (is_aside ? rows : learnt); i++) {
            memcpy(px[count], x[first + order[i]], sizeof(px[0]));
            py[count++] = y[first + order[i]];
        }
    }
    const struct trib_samples samples = {.x = px[0], .y = py, .rows = count, .inputs = INPUTS};
    assert_int_equal(trib_net_create(model, 100, &net), TRIB_OK);
    assert_int_equal(trib_evaluate_decided(net, params, &samples, &decision, NULL, &evaluation),
                     TRIB_OK);
    trib_net_destroy(net);
    return evaluation;
}

static struct trib_aside_metric metric_of(const struct trib_aside_report *report, const char *name)
{
    for (size_t i = 0; i < report->metric_count; i++) {
        if (strcmp(report->metrics[i].name, name) == 0)
            return report->metrics[i];
    }
    fail_msg("no metric %s", name);
    return report->metrics[0];
}

static double named(const struct trib_aside_report *report, const char *name,
                    struct trib_interval *interval)
{
    const struct trib_aside_metric metric = metric_of(report, name);
    if (interval)
        *interval = metric.interval;
    return metric.value;
}

static void assert_close(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("%.17g is not %.17g", got, expected);
}

static void assert_same_intervals(const struct trib_aside_report *report,
                                  const struct trib_evaluation *e)
{
    const struct {
        const char *name;
        struct trib_interval interval;
    } expected[] = {{"precision", e->intervals.precision},
                    {"recall", e->intervals.recall},
                    {"f1", e->intervals.f1},
                    {"balanced_accuracy", e->intervals.balanced_accuracy},
                    {"mcc", e->intervals.mcc},
                    {"kappa", e->intervals.kappa},
                    {"positive_precision", e->intervals.positive_precision},
                    {"positive_recall", e->intervals.positive_recall},
                    {"positive_f1", e->intervals.positive_f1}};
    for (size_t i = 0; i < (e->classes == 2 ? 9 : 6); i++) {
        const struct trib_interval got = metric_of(report, expected[i].name).interval;
        assert_true(got.low < got.high);
        assert_close(got.low, expected[i].interval.low, 1e-12);
        assert_close(got.high, expected[i].interval.high, 1e-12);
    }
}

static void assert_same_intervals_of_misses(const struct trib_aside_report *report,
                                            const struct trib_evaluation *e)
{
    const struct {
        const char *name;
        struct trib_interval interval;
    } expected[] = {{"mse", e->intervals.mse},
                    {"mae", e->intervals.mae},
                    {"r2", e->intervals.r2},
                    {"mape", e->intervals.mape}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        const struct trib_aside_metric got = metric_of(report, expected[i].name);
        assert_true(got.interval.low < got.value && got.value < got.interval.high);
        assert_close(got.interval.low, expected[i].interval.low, 1e-6 * fabs(got.interval.low));
        assert_close(got.interval.high, expected[i].interval.high, 1e-6 * fabs(got.interval.high));
    }
}

static void a_fleet_measures_what_one_machine_does(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        double threshold;
    } cases[] = {{"3 - dense 1 sigmoid", 0.5},
                 {"3 - dense 3 softmax", 0.5},
                 {"3 - dense 7 tanh - dense 1 linear", 0.5},
                 {"3 - dense 1 sigmoid", 0.3},
                 {"3 - dense 2 softmax", 0.62}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct trib_model model = parsed(cases[i].spec);
        const double threshold = cases[i].threshold;
        const struct trib_aside_way way = {threshold, true};
        float *params = calloc(model.param_count, sizeof(*params));
        struct trib_aside_report report;
        assert_non_null(params);
        trib_model_init(&model, 3 + i, params);
        fill(17 + i, model.classes);
        double *values = gather(&model, params, threshold);
        assert_int_equal(trib_aside_read(&model, &way, values, &report), TRIB_OK);
        const struct trib_evaluation aside = pooled(&model, params, threshold, true);
        const struct trib_evaluation learnt = pooled(&model, params, threshold, false);
        struct trib_evaluation_value named_values[TRIB_EVALUATION_VALUES];
        const size_t count = trib_evaluation_values(&aside, named_values);
        assert_true(report.rows == (double)aside.rows);
        assert_true(report.train_rows == (double)learnt.rows);
        assert_true(aside.rows + learnt.rows == ROWS && aside.rows > 150 && aside.rows < 270);
        for (size_t k = 0; k < count; k++) {
            // Losses of the batches are of float32 outputs in both, but summed another way; what
            // ranks rows comes out of bins, and the report bounds what that loses.
            const char *name = named_values[k].name;
            if (isnan(named_values[k].value)) // of more classes than these
                continue;
            const bool ranks = strcmp(name, "auc") == 0 || strcmp(name, "average_precision") == 0;
            const struct trib_interval exact = metric_of(&report, name).exact;
            assert_true(isfinite(exact.low) == ranks && isfinite(exact.high) == ranks);
            if (ranks) {
                assert_true(exact.low - 1e-12 <= named_values[k].value);
                assert_true(exact.high + 1e-12 >= named_values[k].value);
                assert_true(exact.high - exact.low > 0 && exact.high - exact.low < 0.02);
            }
            assert_close(named(&report, name, NULL), named_values[k].value,
                         (ranks ? 0.02 : 1e-6) * fmax(1, fabs(named_values[k].value)));
        }
        if (model.classes > 0)
            assert_same_intervals(&report, &aside);
        else
            assert_same_intervals_of_misses(&report, &aside);
        assert_close(report.validation, model.classes ? aside.accuracy : aside.r2, 1e-9);
        assert_close(report.train, model.classes ? learnt.accuracy : learnt.r2, 1e-9);
        free(params);
        free(values);
    }
}

static void only_an_evaluation_of_two_classes_is_decided(void **state)
{
    (void)state;
    const struct trib_model two = parsed("3 - dense 1 sigmoid"),
                            three = parsed("3 - dense 3 softmax");
    struct trib_ask ask = {.kind = TRIB_TALLY_EVALUATION, .model = &two};
    trib_ask_decide(&ask, 0.3);
    assert_true(ask.is_decided && trib_ask_values(&ask) > 0);
    assert_close(ask.threshold, 0.3, 0);
    trib_ask_decide(&ask, 0.5); // asked as it always was, so that older devices can answer
    assert_false(ask.is_decided);
    trib_ask_decide(&ask, (double)NAN);
    assert_false(ask.is_decided);
    ask = (struct trib_ask){.kind = TRIB_TALLY_EVALUATION, .model = &three};
    trib_ask_decide(&ask, 0.3);
    assert_false(ask.is_decided);
    ask.is_decided = true; // a task that a device does not understand
    assert_int_equal(trib_ask_values(&ask), 0);
    ask = (struct trib_ask){.kind = TRIB_TALLY_BASELINE, .model = &two, .is_decided = true};
    assert_int_equal(trib_ask_values(&ask), 0);
}

static void intervals_hold_the_value_and_narrow_with_the_rows(void **state)
{
    (void)state;
    const struct trib_model model = parsed("3 - dense 1 sigmoid");
    const float params[4] = {2, -2, 0, 0};
    struct trib_aside_report report;
    struct trib_interval interval = {(double)NAN, (double)NAN};
    fill(5, 2);
    double *values = gather(&model, params, 0.5);
    assert_int_equal(trib_aside_read(&model, &half, values, &report), TRIB_OK);
    static const char *const names[] = {"accuracy", "loss", "brier", "auc"};
    double widths[4];
    for (size_t i = 0; i < 4; i++) {
        const double value = named(&report, names[i], &interval);
        assert_true(interval.low < value && value < interval.high);
        widths[i] = interval.high - interval.low;
    }
    for (size_t v = 0; v < trib_aside_values(&model); v++)
        values[v] *= 100;
    assert_int_equal(trib_aside_read(&model, &half, values, &report), TRIB_OK);
    for (size_t i = 0; i < 4; i++) {
        (void)named(&report, names[i], &interval);
        assert_close((interval.high - interval.low) / widths[i], 0.1, 0.02); // root of 100
    }
    free(values);
}

// A model that predicts the sign of the one feature; labels of the rows learnt from follow it,
// those kept aside do so in `share` of the cases.
static struct trib_aside_report gap_of(double share, bool classifies)
{
    const struct trib_model model =
        parsed(classifies ? "3 - dense 1 sigmoid" : "3 - dense 1 linear");
    const float params[4] = {1, 0, 0, 0};
    uint32_t order[ROWS];
    struct trib_aside_report report;
    uint64_t seed = 9;
    fill(5, 2);
    for (size_t s = 0; s < SHARDS; s++) {
        const size_t first = s * ROWS / SHARDS, rows = (s + 1) * ROWS / SHARDS - first;
        const size_t learnt =
            trib_train_split(&(const struct trib_samples){.rows = rows},
                             &(const struct trib_kept_rows){.fraction = fraction}, order);
        for (size_t i = 0; i < rows; i++) {
            const float feature = x[first + order[i]][0];
            const bool follows = i < learnt || (draw(&seed) + 1) / 2 < share;
            y[first + order[i]] =
                classifies ? (float)((feature > 0) == follows) : (follows ? feature : -feature);
        }
    }
    double *values = gather(&model, params, 0.5);
    assert_int_equal(trib_aside_read(&model, &half, values, &report), TRIB_OK);
    free(values);
    return report;
}

static void a_model_that_knows_its_rows_by_heart_is_flagged(void **state)
{
    (void)state;
    for (int classifies = 0; classifies <= 1; classifies++) {
        const struct trib_aside_report honest = gap_of(1, classifies);
        assert_false(honest.is_gap);
        assert_close(honest.train, 1, 1e-9);
        assert_close(honest.validation, 1, 1e-9);
        const struct trib_aside_report memoriser = gap_of(0.85, classifies);
        assert_true(memoriser.is_gap);
        assert_close(memoriser.train, 1, 1e-9);
        assert_true(memoriser.validation < 0.95);
        assert_string_equal(memoriser.gap_metric, classifies ? "accuracy" : "r2");
    }
}

// What only intervals want is left out where it is too large, and with privacy on, without a word
// against the rest.
static void powers_are_left_out_where_they_do_not_fit(void **state)
{
    (void)state;
    const struct trib_model model = parsed("3 - dense 1 linear");
    const float params[4] = {1, -1, 0, 0};
    struct trib_aside_report report;
    fill(8, 0);
    for (int large = 0; large < 3; large++) { // a miss of a 0, and powers of a large target
        if (large == 1)
            memset(y, 0, sizeof(y) / 2);
        for (size_t r = 0; large == 2 && r < ROWS; r++) {
            y[r] += 3e7F;
            x[r][0] += 3e7F;
        }
        double *values = gather(&model, params, 0.5);
        assert_int_equal(trib_aside_read(&model, &half, values, &report), TRIB_OK);
        assert_true(isfinite(metric_of(&report, "mse").interval.low));
        assert_true(isfinite(metric_of(&report, "mape").value));
        assert_int_equal(isnan(metric_of(&report, "mape").interval.low), large == 1);
        assert_int_equal(isnan(metric_of(&report, "r2").interval.low), large == 2);
        const struct trib_aside_way noised = {0.5, false};
        assert_int_equal(trib_aside_read(&model, &noised, values, &report), TRIB_OK);
        assert_true(isnan(metric_of(&report, "r2").interval.low));
        assert_true(isfinite(metric_of(&report, "mae").interval.low));
        free(values);
    }
}

static void a_device_sends_no_powers_with_privacy_on(void **state)
{
    (void)state;
    const struct trib_model model = parsed("3 - dense 1 linear");
    const float params[4] = {1, 0, 0, 0};
    struct trib_ask ask = {
        .kind = TRIB_TALLY_EVALUATION, .model = &model, .kept.fraction = fraction};
    const struct trib_samples samples = {.x = x[0], .y = y, .rows = 100, .inputs = INPUTS};
    struct trib_tally tally;
    fill(8, 0);
    for (int is_exact = 0; is_exact < 2; is_exact++) {
        double sum = 0;
        ask.is_exact = is_exact;
        assert_int_equal(trib_tally_init(&tally, trib_ask_values(&ask)), TRIB_OK);
        assert_int_equal(trib_ask_count(&ask, params, &samples, &tally), TRIB_OK);
        for (size_t v = 11; v < tally.count; v++)
            sum += fabs(trib_tally_value(&tally, v));
        assert_int_equal(sum > 0, is_exact);
        trib_tally_fini(&tally);
    }
}

// Equal targets have no spread, and what rounding leaves of it is none either.
static void constant_targets_have_no_spread(void **state)
{
    (void)state;
    const struct trib_model model = parsed("3 - dense 1 linear");
    float params[4] = {0, 0, 0, 1};
    fill(1, 0);
    for (int i = 0; i < 200; i++) {
        for (size_t r = 0; r < ROWS; r++)
            y[r] = 0.1F + (float)i * 0.37F;
        double *values = gather(&model, params, 0.5);
        struct trib_aside_report report;
        assert_int_equal(trib_aside_read(&model, &half, values, &report), TRIB_OK);
        for (size_t m = 0; m < report.metric_count; m++)
            if (strcmp(report.metrics[m].name, "r2") == 0)
                assert_true(report.metrics[m].value >= 0 && report.metrics[m].value <= 1);
        free(values);
    }
}

static void noise_does_not_make_counts_negative_and_no_rows_are_said(void **state)
{
    (void)state;
    static const char *const specs[] = {"3 - dense 1 sigmoid", "3 - dense 1 linear"};
    for (size_t i = 0; i < 2; i++) {
        const struct trib_model model = parsed(specs[i]);
        const size_t count = trib_aside_values(&model);
        double *values = calloc(count, sizeof(*values));
        struct trib_aside_report report;
        assert_non_null(values);
        assert_int_equal(trib_aside_read(&model, &half, values, &report), TRIB_ERR_DATA);
        for (size_t v = 0; v < count; v++)
            values[v] = -1.5;
        assert_int_equal(trib_aside_read(&model, &half, values, &report), TRIB_ERR_DATA);
        free(values);
    }
    const struct trib_model wide = parsed("3 - dense 4000 softmax"); // 16 million counts
    assert_int_equal(trib_aside_values(&wide), 0);
}

static void outputs_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    const struct trib_model model = parsed("3 - dense 1 linear");
    const struct trib_ask ask = {
        .kind = TRIB_TALLY_EVALUATION, .model = &model, .kept.fraction = fraction};
    const float params[4] = {(float)NAN, 0, 0, 0};
    const struct trib_samples samples = {.x = x[0], .y = y, .rows = ROWS, .inputs = INPUTS};
    struct trib_tally tally;
    assert_int_equal(trib_tally_init(&tally, trib_ask_values(&ask)), TRIB_OK);
    assert_int_equal(trib_ask_count(&ask, params, &samples, &tally), TRIB_ERR_DATA);
    trib_tally_fini(&tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fleet_measures_what_one_machine_does),
        cmocka_unit_test(only_an_evaluation_of_two_classes_is_decided),
        cmocka_unit_test(powers_are_left_out_where_they_do_not_fit),
        cmocka_unit_test(a_device_sends_no_powers_with_privacy_on),
        cmocka_unit_test(intervals_hold_the_value_and_narrow_with_the_rows),
        cmocka_unit_test(a_model_that_knows_its_rows_by_heart_is_flagged),
        cmocka_unit_test(constant_targets_have_no_spread),
        cmocka_unit_test(noise_does_not_make_counts_negative_and_no_rows_are_said),
        cmocka_unit_test(outputs_that_are_not_finite_are_refused),
    };
    return RUN_TESTS(tests);
}
