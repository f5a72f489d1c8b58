#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/math/ensemble.h"
#include "common/math/evaluation.h"
#include "common/math/probabilities.h"
#include "tests/unit/models.h"

enum {
    ROWS = 2000,
    MEMBERS = 3,
};

static double p[ROWS * MEMBERS]; // of the label

static double log_loss(const double *weights)
{
    double sum = 0;
    for (size_t r = 0; r < ROWS; r++) {
        double mix = 0;
        for (size_t k = 0; k < MEMBERS; k++)
            mix += weights[k] * fmax(p[r * MEMBERS + k], TRIB_PROBABILITY_CLIP);
        sum -= log(mix) / ROWS;
    }
    return sum;
}

static void is_on_simplex(const double *weights, size_t members)
{
    double sum = 0;
    for (size_t k = 0; k < members; k++) {
        assert_true(weights[k] >= 0);
        sum += weights[k];
    }
    assert_true(fabs(sum - 1) < 1e-12);
}

// The first member knows the even rows, the second the odd ones, the third nothing.
static void plant(uint64_t seed)
{
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t k = 0; k < 2; k++)
            p[r * MEMBERS + k] =
                r % 2 == k ? 0.9 + 0.09 * (double)small(&seed) : 0.3 + 0.2 * (double)small(&seed);
        p[r * MEMBERS + 2] = 0.1 + 0.05 * (double)small(&seed);
    }
}

static void planted_members_are_better_together(void **state)
{
    (void)state;
    double weights[MEMBERS];
    plant(7);
    assert_int_equal(trib_ensemble_fit_likelihood(p, ROWS, MEMBERS, weights), TRIB_OK);
    is_on_simplex(weights, MEMBERS);
    const double together = log_loss(weights);
    for (size_t k = 0; k < MEMBERS; k++) {
        const double alone[MEMBERS] = {k == 0, k == 1, k == 2};
        assert_true(together < log_loss(alone));
    }
    assert_true(weights[2] < 1e-6);
    assert_true(weights[0] > 0.4 && weights[1] > 0.4);
}

static void no_other_weights_are_better(void **state)
{
    (void)state;
    double weights[MEMBERS];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t draws = seed;
        for (size_t i = 0; i < ROWS * MEMBERS; i++)
            p[i] = 0.5 + 0.5 * (double)small(&draws);
        assert_int_equal(trib_ensemble_fit_likelihood(p, ROWS, MEMBERS, weights), TRIB_OK);
        is_on_simplex(weights, MEMBERS);
        const double best = log_loss(weights);
        for (int i = 0; i <= 50; i++) {
            for (int j = 0; j <= 50 - i; j++) {
                const double grid[MEMBERS] = {i / 50.0, j / 50.0, (50 - i - j) / 50.0};
                assert_true(best <= log_loss(grid) + 1e-9);
            }
        }
    }
}

static void probabilities_of_zero_and_bad_numbers(void **state)
{
    (void)state;
    double weights[2];
    const double sure[] = {0, 1, 0, 1, 0, 0};
    assert_int_equal(trib_ensemble_fit_likelihood(sure, 3, 2, weights), TRIB_OK);
    assert_true(weights[1] > 1 - 1e-6);
    static const double bad[] = {-0.1, 1.1, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const double row[] = {0.5, bad[i]};
        assert_int_equal(trib_ensemble_fit_likelihood(row, 1, 2, weights), TRIB_ERR_DATA);
    }
    const double huge[] = {1e200, 1};
    assert_int_equal(trib_ensemble_fit_squares(huge, 1, 2, weights), TRIB_ERR_DATA);
    assert_int_equal(trib_ensemble_fit_likelihood(sure, 0, 2, weights), TRIB_ERR_DATA);
    assert_int_equal(trib_ensemble_fit_squares(sure, 0, 2, weights), TRIB_ERR_DATA);
}

static double squares(const double *errors, const double *weights)
{
    double sum = 0;
    for (size_t r = 0; r < ROWS; r++) {
        double mix = 0;
        for (size_t k = 0; k < MEMBERS; k++)
            mix += weights[k] * errors[r * MEMBERS + k];
        sum += mix * mix / ROWS;
    }
    return sum;
}

// Unrelated errors of variances v_k: the best weights go as 1 / v_k (Bates & Granger 1969).
static void errors_weigh_by_their_precision(void **state)
{
    (void)state;
    static double errors[ROWS * MEMBERS];
    uint64_t seed = 3;
    double weights[MEMBERS];
    for (size_t r = 0; r < ROWS; r++) {
        errors[r * MEMBERS] = (double)small(&seed);
        errors[r * MEMBERS + 1] = 2 * (double)small(&seed);
        errors[r * MEMBERS + 2] = 20 + (double)small(&seed); // always far too high
    }
    assert_int_equal(trib_ensemble_fit_squares(errors, ROWS, MEMBERS, weights), TRIB_OK);
    is_on_simplex(weights, MEMBERS);
    assert_true(fabs(weights[0] - 0.8) < 0.03 && fabs(weights[1] - 0.2) < 0.03);
    assert_true(weights[2] < 0.01);
    for (int i = 0; i <= 50; i++) {
        for (int j = 0; j <= 50 - i; j++) {
            const double grid[MEMBERS] = {i / 50.0, j / 50.0, (50 - i - j) / 50.0};
            assert_true(squares(errors, weights) <= squares(errors, grid) + 1e-9);
        }
    }
}

// Two members are unsure of class 0 and one is sure of class 1. Labels would vote 2 to 1 for class
// 0.
static void probabilities_are_averaged_and_not_labels(void **state)
{
    (void)state;
    const float a[] = {0.51F, 0.49F}, b[] = {0.55F, 0.45F}, c[] = {0.05F, 0.95F};
    const float *const outputs[] = {a, b, c};
    const double weights[] = {1 / 3.0, 1 / 3.0, 1 / 3.0};
    float mix[2];
    trib_ensemble_mix(outputs, weights, 3, 2, mix);
    assert_true(fabsf(mix[0] - 0.37F) < 1e-6F && fabsf(mix[1] - 0.63F) < 1e-6F);
}

// What a net says of rows, measured as outputs, is what it is measured as by itself.
static void outputs_measure_as_their_model(void **state)
{
    (void)state;
    static const char *const specs[] = {"6 - dense 4 softmax", "6 - dense 1 sigmoid",
                                        "6 - dense 2 softmax", "6 - dense 1"};
    enum {
        COUNT = 64
    };
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        const struct trib_model model = parsed(specs[i]);
        float x[COUNT * 6], y[COUNT], params[64];
        struct trib_evaluation whole, outputs;
        struct trib_net *net;
        uint64_t seed = 5 + i;
        for (size_t k = 0; k < COUNT * 6; k++)
            x[k] = small(&seed);
        for (size_t k = 0; k < COUNT; k++)
            y[k] = model.classes ? (float)(k % model.classes) : small(&seed);
        trib_model_init(&model, 3, params);
        const struct trib_samples samples = {.x = x, .y = y, .rows = COUNT, .inputs = 6};
        assert_int_equal(trib_net_create(&model, COUNT, &net), TRIB_OK);
        assert_int_equal(trib_evaluate(net, params, &samples, NULL, &whole), TRIB_OK);
        const float *said = trib_net_forward(net, params, x, COUNT);
        assert_int_equal(trib_evaluate_outputs(&model, said, &samples, &outputs), TRIB_OK);
        assert_true(fabs(outputs.loss - whole.loss) < 1e-6);
        struct trib_evaluation_value a[TRIB_EVALUATION_VALUES], b[TRIB_EVALUATION_VALUES];
        const size_t count = trib_evaluation_values(&whole, a);
        assert_int_equal(trib_evaluation_values(&outputs, b), count);
        for (size_t v = 0; v < count; v++)
            if (a[v].name && strcmp(a[v].name, "loss") != 0)
                assert_true(a[v].value == b[v].value || (isnan(a[v].value) && isnan(b[v].value)));
        trib_net_destroy(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_members_are_better_together),
        cmocka_unit_test(no_other_weights_are_better),
        cmocka_unit_test(probabilities_of_zero_and_bad_numbers),
        cmocka_unit_test(errors_weigh_by_their_precision),
        cmocka_unit_test(probabilities_are_averaged_and_not_labels),
        cmocka_unit_test(outputs_measure_as_their_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
