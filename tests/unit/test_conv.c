#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/model.h"
#include "common/math/net.h"
#include "tests/unit/allocations.h"
#include "tests/unit/reference_net.h"

#define FEDAVG                                                               \
    "1x28x28 - conv 32 5x5 same relu - maxpool 2 - conv 64 5x5 same relu - " \
    "maxpool 2 - dense 512 relu - dense 10 softmax"

// ---- the language

static void the_network_of_the_fedavg_paper_has_its_size(void **state)
{
    (void)state;
    const struct trib_model model = parsed(FEDAVG);
    static const uint32_t first[4] = {32, 1, 5, 5}, second[4] = {64, 32, 5, 5};
    assert_int_equal(model.param_count, 1663370); // McMahan et al. 2017, section 3
    assert_string_equal(model.spec, FEDAVG);
    assert_int_equal(model.layer_count, 6);
    assert_int_equal(model.layers[0].outputs, 32 * 28 * 28);
    assert_int_equal(model.layers[1].outputs, 32 * 14 * 14);
    assert_int_equal(model.layers[2].outputs, 64 * 14 * 14);
    assert_int_equal(model.layers[3].outputs, 3136);
    assert_int_equal(model.layers[4].inputs, 3136);
    assert_int_equal(model.layers[0].tensors[0].dimensions, 4);
    assert_memory_equal(model.layers[0].tensors[0].shape, first, sizeof(first));
    assert_memory_equal(model.layers[2].tensors[0].shape, second, sizeof(second));
    assert_int_equal(model.layers[2].weight, 832);
    assert_int_equal(model.layers[2].bias, 832 + 51200);
    assert_int_equal(model.layers[4].weight, 832 + 51264);
    assert_int_equal(model.layers[1].tensor_count, 0);
}

static void padding_and_activation_are_always_written(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *canonical;
    } cases[] = {
        {"1x5x5-conv 2 3x3-dense 1", "1x5x5 - conv 2 3x3 valid linear - dense 1 linear"},
        {"1x5x5 - conv 2 3x3 relu - dense 1", "1x5x5 - conv 2 3x3 valid relu - dense 1 linear"},
        {"1x5x5 - conv 2 3x3 same - dense 1", "1x5x5 - conv 2 3x3 same linear - dense 1 linear"},
        {"1x5x5 -  conv 2  1x4 same\ttanh-maxpool  2 - dense 1",
         "1x5x5 - conv 2 1x4 same tanh - maxpool 2 - dense 1 linear"},
        {"1x5x5 - conv 2 5x5 valid sigmoid - dropout 0.50 - maxpool 1 - dense 1",
         "1x5x5 - conv 2 5x5 valid sigmoid - dropout 0.5 - maxpool 1 - dense 1 linear"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct trib_model model = parsed(cases[i].spec);
        const struct trib_model again = parsed(model.spec);
        assert_string_equal(model.spec, cases[i].canonical);
        assert_string_equal(again.spec, cases[i].canonical);
        assert_memory_equal(model.arch_digest, again.arch_digest, TRIB_DIGEST_SIZE);
    }
    // Valid: what the kernel fits into; pooling drops the edges.
    const struct trib_model model = parsed("2x9x12 - conv 3 4x3 - maxpool 4 - dense 1");
    assert_int_equal(model.layers[0].out.height, 6);
    assert_int_equal(model.layers[0].out.width, 10);
    assert_int_equal(model.layers[1].out.height, 1);
    assert_int_equal(model.layers[1].out.width, 2);
    assert_int_equal(model.layers[1].outputs, 6);
}

static void what_cannot_be_is_refused_with_a_text(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *why;
    } cases[] = {
        {"784 - conv 32 5x5 relu - dense 10 softmax", "layer 1: conv wants a picture"},
        {"1x8x8 - dense 64 relu - conv 2 3x3 - dense 2 softmax", "layer 2: conv wants a picture"},
        {"784 - maxpool 2 - dense 10 softmax", "layer 1: maxpool wants a picture"},
        {"1x8x8 - conv - dense 2 softmax", "layer 1: conv wants a number of channels"},
        {"1x8x8 - conv 0 3x3 - dense 2 softmax", "layer 1: conv wants a number of channels"},
        {"1x8x8 - conv 3x3 2 - dense 2 softmax", "layer 1: conv wants a number of channels"},
        {"1x8x8 - conv 2 - dense 2 softmax", "layer 1: conv wants a kernel like 5x5, not '-'"},
        {"1x8x8 - conv 2 relu - dense 2 softmax", "layer 1: conv wants a kernel like 5x5"},
        {"1x8x8 - conv 2 3 relu - dense 2 softmax", "a kernel like 5x5, not '3'"},
        {"1x8x8 - conv 2 3x relu - dense 2 softmax", "a kernel like 5x5, not '3x'"},
        {"1x8x8 - conv 2 0x3 - dense 2 softmax", "a kernel like 5x5, not '0x3'"},
        {"1x8x8 - conv 2 3x3x3 - dense 2 softmax", "a kernel like 5x5, not '3x3x3'"},
        {"1x8x8 - conv 2 9x3 - dense 2 softmax", "the kernel 9x3 is larger than the picture, 8x8"},
        {"1x8x8 - conv 2 9x9 same - dense 2 softmax", "the kernel 9x9 is larger than the picture"},
        {"1x8x8 - maxpool 4 - conv 2 3x3 - dense 2 softmax", "layer 2: the kernel 3x3 is larger"},
        {"1x8x8 - conv 2 3x3 full - dense 2 softmax", "layer 1: 'full' is not relu"},
        {"1x8x8 - conv 2 3x3 same valid - dense 2 softmax", "layer 1: 'valid' is not relu"},
        {"1x8x8 - conv 2 3x3 relu same - dense 2 softmax", "where ' - ' and a layer should"},
        {"1x8x8 - conv 2 3x3 softmax - dense 2 softmax", "layer 1: softmax is for the last layer"},
        {"1x8x8 - maxpool - dense 2 softmax", "layer 1: maxpool wants the side of a square"},
        {"1x8x8 - maxpool 2x2 - dense 2 softmax", "maxpool wants the side of a square, not '2x2'"},
        {"1x8x8 - maxpool 0 - dense 2 softmax", "maxpool wants the side of a square"},
        {"1x8x6 - maxpool 7 - dense 2 softmax", "7x7 is larger than the picture, 8x6"},
        {"1x8x8 - maxpool 2 relu - dense 2 softmax", "where ' - ' and a layer should"},
        {"1x8x8 - conv 2 8x8 softmax", "conv is not for the last layer"},
        {"1x8x8 - maxpool 8", "maxpool is not for the last layer"},
        {"1x4096x4096 - conv 2 1x1 - dense 2 softmax", "layer 1: gives more than 16777216"},
        {"1x4096x4096 - conv 9 4096x4096 - dense 1", "has more than 67108864 parameters"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_model model;
        char why[256] = "";
        assert_int_equal(trib_model_parse(cases[i].spec, &model, why, sizeof(why)), TRIB_ERR_INVAL);
        if (!strstr(why, cases[i].why))
            fail_msg("'%s' says: %s", cases[i].spec, why);
    }
}

static void weights_begin_within_the_range_of_their_fans(void **state)
{
    (void)state;
    // in kh kw is 75; out kh kw 250
    static const struct {
        const char *spec;
        double limit;
    } cases[] = {
        {"3x9x9 - conv 10 5x5 relu - dense 1", 0.28284271},      // sqrt(6 / 75)
        {"3x9x9 - conv 10 5x5 same tanh - dense 1", 0.13587324}, // sqrt(6 / 325)
    };
    for (size_t i = 0; i < 2; i++) {
        const struct trib_model model = parsed(cases[i].spec);
        float *params = floats(model.param_count);
        double largest = 0;
        trib_model_init(&model, 7, params);
        for (size_t w = 0; w < 750; w++)
            largest = fmax(largest, fabs((double)params[w]));
        assert_true(largest <= cases[i].limit && largest > 0.98 * cases[i].limit);
        for (size_t b = 750; b < 760; b++)
            assert_true(params[b] == 0);
        free(params);
    }
}

// ---- golden values, from a program that shares nothing with this one

enum {
    GOLDEN_ROWS = 3,
    GOLDEN_PARAMS_MAX = 512,
};

static float golden_weight(size_t i)
{
    return (float)((int)(i * 37 % 41) - 20) / 32;
}

static float golden_input(size_t row, size_t i)
{
    return (float)((int)((row * 31 + i * 17) % 23) - 11) / 8;
}

static void fill_golden(const struct trib_model *model, float *params, float *x, float *y)
{
    for (size_t i = 0; i < model->param_count; i++)
        params[i] = golden_weight(i);
    for (size_t r = 0; r < GOLDEN_ROWS; r++) {
        for (size_t i = 0; i < model->inputs; i++)
            x[r * model->inputs + i] = golden_input(r, i);
        y[r] = model->classes ? (float)(r % model->classes) : (float)r - 1;
    }
}

// What the line's last words, `values`, say, is what the net finds.
static void check_golden(const char *spec, const char *name, char *values)
{
    const struct trib_model model = parsed(spec);
    float params[GOLDEN_PARAMS_MAX], gradient[GOLDEN_PARAMS_MAX], y[GOLDEN_ROWS];
    float *x = floats(GOLDEN_ROWS * model.inputs);
    struct trib_net *net;
    float loss;
    size_t count = 1;
    const float *found = &loss;

    assert_string_equal(model.spec, spec);
    assert_true(model.param_count <= GOLDEN_PARAMS_MAX);
    fill_golden(&model, params, x, y);
    assert_int_equal(trib_net_create(&model, GOLDEN_ROWS, &net), TRIB_OK);
    loss = (float)trib_net_gradient(net, params, x, y, GOLDEN_ROWS, gradient);
    if (strcmp(name, "outputs") == 0) {
        found = trib_net_forward(net, params, x, GOLDEN_ROWS);
        count = GOLDEN_ROWS * model.outputs;
    } else if (strcmp(name, "gradient") == 0) {
        found = gradient;
        count = model.param_count;
    }
    for (size_t i = 0; i < count; i++) {
        const double wanted = strtod(values, &values);
        assert_true(*values == (i + 1 < count ? ',' : '\n'));
        values++;
        if (fabs((double)found[i] - wanted) > 1e-5 * (1 + fabs(wanted)))
            fail_msg("%s: %s %zu is %.9g, not %.9g", spec, name, i, (double)found[i], wanted);
    }
    trib_net_destroy(net);
    free(x);
}

static void passes_agree_with_golden_values(void **state)
{
    (void)state;
    char line[8192];
    size_t count = 0;
    FILE *file = fopen(TEST_VECTORS "/conv.csv", "r");
    assert_non_null(file);
    for (; fgets(line, sizeof(line), file); count++) {
        char *name = strchr(line, ',');
        assert_non_null(name);
        *name++ = '\0';
        char *values = strchr(name, ',');
        assert_non_null(values);
        *values++ = '\0';
        check_golden(line, name, values);
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(count, 15);
}

// ---- gradients, against differences of a plain forward pass in double

enum {
    ROWS = 3
};

static void gradients_agree_with_differences(void **state)
{
    (void)state;
    static const char *const activations[] = {"linear", "relu", "tanh", "sigmoid"};
    static const char *const patterns[] = {
        // The activation stands for %s. Alone; two in a row; odd and even kernels; pooling at each
        // place, with edges that are dropped; several channels at both ends.
        "1x5x6 - conv 2 3x3 same %s - dense 3 softmax",
        "2x5x4 - conv 3 2x3 valid %s - dense 3 softmax",
        "3x4x5 - conv 4 4x2 same %s - conv 2 2x2 %s - dense 2 softmax",
        "2x7x6 - conv 3 3x3 same %s - maxpool 2 - conv 4 2x2 %s - maxpool 2 - dense 3 softmax",
        "2x6x7 - maxpool 2 - conv 5 3x2 same %s - dense 3 softmax",
        "2x7x7 - conv 3 1x1 %s - maxpool 3 - dense 5 tanh - dense 2 softmax",
        "1x6x6 - conv 17 3x3 same %s - maxpool 2 - conv 19 3x3 same %s - dense 2 softmax",
    };
    char spec[256];
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        for (size_t a = 0; a < 4; a++) {
            char *to = spec;
            for (const char *from = patterns[i]; *from; from++) {
                if (from[0] == '%') {
                    to += snprintf(to, 16, "%s", activations[a]);
                    from++;
                } else {
                    *to++ = *from;
                }
            }
            *to = '\0';
            struct reference reference;
            reference_begin(&reference, spec, ROWS, 21 + i);
            assert_gradients(&reference, NULL);
            reference_end(&reference);
        }
    }
}

// ---- what else must hold

static void the_first_of_equal_ones_is_the_largest(void **state)
{
    (void)state;
    // The convolution is the identity; all four values of a square are equal but in the last one.
    const struct trib_model model = parsed("1x2x4 - conv 1 1x1 linear - maxpool 2 - dense 1");
    const float params[5] = {1, 0, 2, 3, 0}, y = 0;
    const float x[8] = {5, 5, 7, 7, 5, 5, 7, 8};
    float gradient[5];
    struct trib_net *net;
    assert_int_equal(trib_net_create(&model, 1, &net), TRIB_OK);
    assert_true(*trib_net_forward(net, params, x, 1) == 34); // 2 5 + 3 8
    (void)trib_net_gradient(net, params, x, &y, 1, gradient);
    assert_true(gradient[0] == 34 * (2 * 5 + 3 * 8)); // each square's derivative goes to one value
    assert_true(gradient[1] == 34 * (2 + 3));
    assert_true(gradient[2] == 34 * 5 && gradient[3] == 34 * 8);
    trib_net_destroy(net);
}

static void rows_of_a_batch_do_not_touch_each_other(void **state)
{
    (void)state;
    enum {
        MANY = 6
    };
    const struct trib_model model = parsed("3x6x6 - conv 4 3x3 same relu - maxpool 2 - "
                                           "conv 5 2x2 tanh - dense 3 softmax");
    float *params = floats(model.param_count), *gradient = floats(model.param_count);
    float *x = floats(MANY * model.inputs), together[MANY * 3], y[MANY] = {0, 1, 2, 0, 1, 2};
    double sum = 0;
    uint64_t seed = 5;
    struct trib_net *net;
    trib_model_init(&model, 5, params);
    for (size_t i = 0; i < MANY * model.inputs; i++)
        x[i] = small(&seed);
    assert_int_equal(trib_net_create(&model, MANY, &net), TRIB_OK);
    const double mean = trib_net_gradient(net, params, x, y, MANY, gradient);
    memcpy(together, trib_net_forward(net, params, x, MANY), sizeof(together));
    for (size_t r = 0; r < MANY; r++) {
        const float *alone = trib_net_forward(net, params, x + r * model.inputs, 1);
        for (size_t o = 0; o < 3; o++)
            assert_float_equal(alone[o], together[r * 3 + o], 1e-6);
        sum += trib_net_gradient(net, params, x + r * model.inputs, y + r, 1, gradient);
    }
    assert_true(fabs(sum / MANY - mean) < 1e-6);
    trib_net_destroy(net);
    free(params);
    free(gradient);
    free(x);
}

static void dropout_keeps_its_place_between_pictures(void **state)
{
    (void)state;
    // Without drops it is not there, whatever way the numbers lie around it.
    const char *specs[] = {
        "2x6x6 - conv 3 3x3 same relu - maxpool 2 - conv 2 2x2 relu - dense 2 softmax",
        "2x6x6 - dropout 0.5 - conv 3 3x3 same relu - dropout 0.2 - maxpool 2 - dropout 0.3 - "
        "conv 2 2x2 relu - dropout 0.4 - dense 2 softmax"};
    float outputs[2][2];
    for (int i = 0; i < 2; i++) {
        const struct trib_model model = parsed(specs[i]);
        float *params = floats(model.param_count), *gradient = floats(model.param_count);
        float x[72], first[72], y = 1;
        struct trib_net *net;
        struct trib_rng rng;
        for (size_t p = 0; p < model.param_count; p++)
            params[p] = golden_weight(p);
        for (size_t p = 0; p < 72; p++)
            x[p] = golden_input(0, p);
        memcpy(first, x, sizeof(x));
        assert_int_equal(trib_net_create(&model, 1, &net), TRIB_OK);
        memcpy(outputs[i], trib_net_forward(net, params, x, 1), sizeof(outputs[i]));
        // With drops it is finite, and the input is as it was.
        trib_rng_init(&rng, 3, "drops", 0, NULL);
        const struct trib_batch batch = {.x = x, .y = &y, .rows = 1};
        assert_true(isfinite(trib_net_gradient_weighted(net, params, &batch, &rng, gradient)));
        assert_memory_equal(first, x, sizeof(x));
        trib_net_destroy(net);
        free(params);
        free(gradient);
    }
    assert_memory_equal(outputs[0], outputs[1], sizeof(outputs[0]));
}

static const char steps[] =
    "2x9x9 - conv 8 3x3 same relu - maxpool 2 - conv 4 2x2 tanh - dense 3 softmax";

static void a_step_is_the_gradient_times_the_rate(void **state)
{
    (void)state;
    const struct trib_net_step step = {.rate = 0.25f, .keep = 0.875f};
    struct reference rig;
    reference_begin(&rig, steps, ROWS, 4);
    const struct trib_batch batch = {.x = rig.x, .y = rig.y, .rows = ROWS};
    assert_true(trib_net_steps_in_place(rig.net));
    const double loss = trib_net_gradient(rig.net, rig.params, rig.x, rig.y, ROWS, rig.gradient);
    for (size_t i = 0; i < rig.model.param_count; i++)
        rig.exact[i] = 0.875 * (double)rig.params[i] - 0.25 * (double)rig.gradient[i];
    assert_true(trib_net_step(rig.net, rig.params, &batch, NULL, &step) == loss);
    for (size_t i = 0; i < rig.model.param_count; i++)
        assert_true(fabs((double)rig.params[i] - rig.exact[i]) < 3e-7);
    reference_end(&rig);
}

static void nothing_is_allocated_in_a_step(void **state)
{
    (void)state;
    struct reference rig;
    reference_begin(&rig, steps, ROWS, 3);
    (void)trib_net_gradient(rig.net, rig.params, rig.x, rig.y, ROWS, rig.gradient);
    const size_t before = allocations;
    for (int i = 0; i < 10; i++)
        (void)trib_net_gradient(rig.net, rig.params, rig.x, rig.y, ROWS, rig.gradient);
    assert_int_equal(allocations, before);
    assert_true(before > 0);
    reference_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_network_of_the_fedavg_paper_has_its_size),
        cmocka_unit_test(padding_and_activation_are_always_written),
        cmocka_unit_test(what_cannot_be_is_refused_with_a_text),
        cmocka_unit_test(weights_begin_within_the_range_of_their_fans),
        cmocka_unit_test(passes_agree_with_golden_values),
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(the_first_of_equal_ones_is_the_largest),
        cmocka_unit_test(rows_of_a_batch_do_not_touch_each_other),
        cmocka_unit_test(dropout_keeps_its_place_between_pictures),
        cmocka_unit_test(a_step_is_the_gradient_times_the_rate),
        cmocka_unit_test(nothing_is_allocated_in_a_step),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
