#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/math/ensemble.h"
#include "common/math/evaluation.h"
#include "common/math/model_file.h"
#include "common/math/probabilities.h"
#include "common/math/safetensors.h"
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

// ---- An ensemble as a model

#define ENSEMBLE "ensemble: 3 - dense 2 softmax | 3 - dense 4 tanh - dropout 0.5 - dense 2 softmax"

static struct trib_model parsed_version(const char *spec)
{
    struct trib_model model;
    char why[256] = "";
    if (trib_model_parse_version(spec, &model, why, sizeof(why)))
        fail_msg("%s: %s", spec, why);
    return model;
}

static void fill(float *params, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++)
        params[i] = small(&seed);
}

// The net of an ensemble says the mean of what its members say, of classes and of values.
static void an_ensemble_says_the_mean_of_its_members(void **state)
{
    (void)state;
    static const char *const specs[][2] = {
        {"3 - dense 2 softmax", "3 - dense 4 tanh - dropout 0.5 - dense 2 softmax"},
        {"3 - dense 1 sigmoid", "3 - dense 2 relu - dense 1 sigmoid"},
        {"3 - dense 1 linear", "3 - dropout 0.5 - dense 5 tanh - dense 1 linear"}};
    enum {
        COUNT = 5
    };
    float x[COUNT * 3], params[128];
    fill(x, COUNT * 3, 9);
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        char text[TRIB_SPEC_MAX + 1], why[128];
        const struct trib_model first = parsed(specs[i][0]), second = parsed(specs[i][1]);
        const struct trib_model *const members[] = {&first, &second};
        assert_int_equal(trib_model_ensemble_spec(members, 2, text, why, sizeof(why)), TRIB_OK);
        const struct trib_model both = parsed_version(text);
        assert_string_equal(both.spec, text);
        assert_int_equal(both.param_count, first.param_count + second.param_count + 2);
        fill(params, both.param_count, 4 + i);
        params[both.param_count - 2] = 0.25F;
        params[both.param_count - 1] = 0.75F;
        float outputs[2][COUNT * 2];
        const struct trib_samples samples = {.x = x, .rows = COUNT, .inputs = 3};
        assert_int_equal(trib_ensemble_ask(&first, params, &samples, outputs[0]), TRIB_OK);
        assert_int_equal(
            trib_ensemble_ask(&second, params + first.param_count, &samples, outputs[1]), TRIB_OK);
        struct trib_net *net;
        assert_int_equal(trib_net_create(&both, COUNT, &net), TRIB_OK);
        const float *said = trib_net_forward(net, params, x, COUNT);
        for (size_t k = 0; k < COUNT * both.outputs; k++)
            assert_true(fabsf(said[k] - 0.25F * outputs[0][k] - 0.75F * outputs[1][k]) < 1e-6F);
        // And its loss is that of this mean.
        const float y[COUNT] = {0, 1, 0, 1, 1};
        struct trib_evaluation whole, mixed;
        const struct trib_samples labelled = {.x = x, .y = y, .rows = COUNT, .inputs = 3};
        assert_int_equal(trib_evaluate(net, params, &labelled, NULL, &whole), TRIB_OK);
        said = trib_net_forward(net, params, x, COUNT);
        assert_int_equal(trib_evaluate_outputs(&both, said, &labelled, &mixed), TRIB_OK);
        assert_true(fabs(whole.loss - mixed.loss) < 1e-6);
        trib_net_destroy(net);
    }
}

static void texts_that_are_no_ensemble_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"ensemble", "begins with 'ensemble: '"},
        {"ensemble of 3 - dense 2 softmax", "begins with 'ensemble: '"},
        {"ensemble: ", "its member ' ' begins with the number of inputs"},
        {"ensemble: 3 - dense 2 softmax |", "its member '' begins with"},
        {"ensemble: 3 - dense 2 softmax | 4 - dense 2 softmax", "has not the inputs and outputs"},
        {"ensemble: 3 - dense 2 softmax | 3 - dense 1 sigmoid", "has not the inputs and outputs"},
        {"ensemble: 3 - dense 2 softmax local - dense 2 softmax", "layer 1: softmax"},
        {"ensemble: 3 - dense 2 tanh local - dense 2 softmax", "not whole without a device"},
        {"ensemble: ensemble: 3 - dense 2 softmax", "is an ensemble"},
        {"3 - ensemble", "ensemble is no layer"}};
    struct trib_model model;
    char why[256];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        why[0] = '\0';
        assert_int_equal(trib_model_parse_version(cases[i][0], &model, why, sizeof(why)),
                         TRIB_ERR_INVAL);
        if (!strstr(why, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], why);
    }
    // Nobody trains one.
    assert_int_equal(trib_model_parse(ENSEMBLE, &model, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, "not trained"));
    // The whole has a length and a number of layers like every other.
    const struct trib_model deep =
        parsed("3 - dense 3 relu - dense 3 relu - dense 3 relu - dense 2 softmax");
    const struct trib_model *members[TRIB_ENSEMBLE_MAX];
    char text[TRIB_SPEC_MAX + 1];
    for (size_t k = 0; k < TRIB_ENSEMBLE_MAX; k++)
        members[k] = &deep;
    assert_int_equal(trib_model_ensemble_spec(members, 7, text, why, sizeof(why)), TRIB_OK);
    assert_int_equal(trib_model_parse_version(text, &model, why, sizeof(why)), TRIB_OK);
    assert_int_equal(trib_model_ensemble_spec(members, 32, text, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, "longer together"));
}

static void it_goes_through_a_file_and_bad_ones_are_named(void **state)
{
    (void)state;
    char dir[TEST_FOLDER_SIZE];
    char path[TEST_FOLDER_SIZE + 32];
    assert_true(test_folder(dir));
    (void)snprintf(path, sizeof(path), "%s/ensemble.safetensors", dir);
    const struct trib_model both = parsed_version(ENSEMBLE);
    const struct trib_safetensors_text spec = {"spec", both.spec};
    float params[64];
    const size_t at = both.param_count - 2;
    static const struct {
        float weights[2];
        const char *why; // NULL: it is good
    } cases[] = {{{0.25F, 0.75F}, NULL},
                 {{0, 1}, NULL},
                 {{-0.25F, 1.25F}, "the weight of member 1 of the ensemble is not 0 to 1"},
                 {{0.25F, 0.5F}, "the weights of the ensemble add up to 0.75, not to 1"}};
    assert_true(both.param_count <= 64);
    fill(params, both.param_count, 8);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_buf file = {0};
        struct trib_model model;
        float *read = NULL;
        char why[1024] = "";
        memcpy(params + at, cases[i].weights, sizeof(cases[i].weights));
        trib_safetensors_header(&both, &spec, 1, &file);
        trib_buf_append(&file, params, both.param_count * sizeof(*params));
        assert_int_equal(trib_file_write(path, file.data, file.size, 0600), TRIB_OK);
        const enum trib_err err = trib_model_file_open(path, &model, &read, why, sizeof(why));
        assert_int_equal(err, cases[i].why ? TRIB_ERR_DATA : TRIB_OK);
        if (cases[i].why) {
            assert_non_null(strstr(why, path));
            assert_non_null(strstr(why, cases[i].why));
        } else {
            assert_memory_equal(read, params, both.param_count * sizeof(*params));
            assert_int_equal(model.member_count, 2);
        }
        free(read);
        trib_buf_fini(&file);
    }
    assert_int_equal(trib_file_remove(path), TRIB_OK);
    assert_int_equal(rmdir(dir), 0);
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
        cmocka_unit_test(an_ensemble_says_the_mean_of_its_members),
        cmocka_unit_test(texts_that_are_no_ensemble_are_refused),
        cmocka_unit_test(it_goes_through_a_file_and_bad_ones_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
