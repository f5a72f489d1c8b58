#include "common/math/net.h"
#include "tests/test.h"

#include "tests/unit/models.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ROWS = 5,
    WIDTH = 16,
    PARAMS_MAX = 256,
};

static void a_bilinear_layer_has_a_matrix_and_maybe_a_bias(void **state)
{
    (void)state;
    struct trib_model model = parsed("5-bilinear 2x3");
    assert_string_equal(model.spec, "5 - bilinear 2x3 linear");
    assert_int_equal(model.param_count, 6);
    assert_int_equal(model.outputs, 1);
    assert_int_equal(model.loss, TRIB_LOSS_HALF_MSE);
    assert_int_equal(model.layers[0].tensors[0].shape[0], 2);
    assert_int_equal(model.layers[0].tensors[0].shape[1], 3);
    model = parsed("5 -  bilinear 3x2 bias  sigmoid");
    assert_string_equal(model.spec, "5 - bilinear 3x2 bias sigmoid");
    assert_int_equal(model.param_count, 7);
    assert_int_equal(model.layers[0].bias, 6);
    assert_int_equal(model.loss, TRIB_LOSS_BINARY_CROSS_ENTROPY);
    static const struct {
        const char *spec;
        const char *why;
    } wrongs[] = {
        {"5 - bilinear", "layer 1: bilinear wants UxI, each from 1 to 16777216, not ''"},
        {"5 - bilinear 5", "layer 1: bilinear wants UxI"},
        {"5 - bilinear 0x5", "layer 1: bilinear wants UxI"},
        {"5 - bilinear 2x3x1", "layer 1: bilinear wants UxI"},
        {"5 - bilinear x5", "layer 1: bilinear wants UxI"},
        {"5 - bilinear 2x4", "layer 1: bilinear 2x4 takes 6 numbers, there are 5"},
        {"5 - bilinear 2x3 swish", "layer 1: 'swish' is not relu"},
        {"16384 - bilinear 8192x8192 bias", "has more than 67108864 parameters"},
        {"5 - bilinear 2x3 softmax", "softmax wants 2 to 4096 units"},
    };
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        char why[256] = "";
        assert_int_equal(trib_model_parse(wrongs[i].spec, &model, why, sizeof(why)),
                         TRIB_ERR_INVAL);
        if (!strstr(why, wrongs[i].why))
            fail_msg("'%s' says: %s", wrongs[i].spec, why);
    }
}

// u^T W v by hand: u = (1, 2), v = (3, 4, 5), W = (1 0 2; 0 3 1): 1*3 + 2*5 + 2*3*4 + 2*1*5 = 47
static void an_output_is_the_sum_over_all_pairs(void **state)
{
    (void)state;
    struct trib_model model = parsed("5 - bilinear 2x3 bias linear");
    const float params[] = {1, 0, 2, 0, 3, 1, -7};
    const float x[] = {1, 2, 3, 4, 5, 0, 1, 1, 0, 0};
    struct trib_net *net;
    assert_int_equal(trib_net_create(&model, 2, &net), TRIB_OK);
    const float *out = trib_net_forward(net, params, x, 2);
    assert_true(out[0] == 40);
    assert_true(out[1] == -7);
    trib_net_destroy(net);
}

// ---- Gradients, against differences of a reference in double

static double activated(enum trib_activation activation, double z)
{
    return activation == TRIB_ACTIVATION_TANH      ? tanh(z)
           : activation == TRIB_ACTIVATION_SIGMOID ? 1 / (1 + exp(-z))
                                                   : z;
}

static double cell(const struct trib_layer *layer, const double *p, const double *a, uint32_t o)
{
    double z = 0;
    if (layer->kind == TRIB_LAYER_BILINEAR) {
        for (uint32_t u = 0; u < layer->users; u++) {
            for (uint32_t i = 0; i < layer->items; i++)
                z += a[u] * p[layer->weight + u * layer->items + i] * a[layer->users + i];
        }
        return z + (layer->has_bias ? p[layer->bias] : 0);
    }
    for (uint32_t i = 0; i < layer->inputs; i++)
        z += p[layer->weight + o * layer->inputs + i] * a[i];
    return z + p[layer->bias + o];
}

static double reference_mean(const struct trib_model *model, const double *params,
                             const struct trib_batch *batch)
{
    double sum = 0;
    for (size_t r = 0; r < batch->rows; r++) {
        double a[WIDTH], z[WIDTH];
        for (uint32_t i = 0; i < model->inputs; i++)
            a[i] = (double)batch->x[r * model->inputs + i];
        for (uint32_t l = 0; l < model->layer_count; l++) {
            const struct trib_layer *layer = &model->layers[l];
            for (uint32_t o = 0; o < layer->outputs; o++)
                z[o] = activated(layer->activation, cell(layer, params, a, o));
            memcpy(a, z, layer->outputs * sizeof(*a));
        }
        const double y = (double)batch->y[r];
        const double weight = batch->weights ? (double)batch->weights[r] : 1;
        sum +=
            weight * (model->classes ? -log(y > 0 ? a[0] : 1 - a[0]) : (a[0] - y) * (a[0] - y) / 2);
    }
    return sum / (double)batch->rows;
}

static void assert_gradient(const char *spec, uint64_t seed, bool is_weighted)
{
    struct trib_model model = parsed(spec);
    struct trib_net *net;
    float params[PARAMS_MAX], gradient[PARAMS_MAX], x[ROWS * WIDTH], y[ROWS];
    const float weights[ROWS] = {0.5f, 2, 0, 1.25f, 0.75f};
    const struct trib_batch batch = {x, y, is_weighted ? weights : NULL, ROWS};
    double exact[PARAMS_MAX];

    assert_true(model.param_count <= PARAMS_MAX && model.inputs <= WIDTH);
    for (size_t i = 0; i < model.param_count; i++) {
        params[i] = 0.5f * small(&seed);
        exact[i] = (double)params[i];
        gradient[i] = NAN; // all of it is written
    }
    for (size_t i = 0; i < ROWS * model.inputs; i++)
        x[i] = 2 * small(&seed);
    for (int r = 0; r < ROWS; r++)
        y[r] = model.classes ? (float)(test_rand(&seed) % 2) : 3 * small(&seed);
    assert_int_equal(trib_net_create(&model, ROWS + 2, &net), TRIB_OK);
    const double loss = trib_net_gradient_weighted(net, params, &batch, NULL, gradient);
    assert_true(fabs(loss - reference_mean(&model, exact, &batch)) < 1e-5 * (1 + loss));
    for (size_t i = 0; i < model.param_count; i++) {
        const double h = 1e-6, here = exact[i];
        exact[i] = here + h;
        const double above = reference_mean(&model, exact, &batch);
        exact[i] = here - h;
        const double below = reference_mean(&model, exact, &batch);
        exact[i] = here;
        const double slope = (above - below) / (2 * h);
        // Differences are exact to 1e-9 here, a sum of float32 to some 1e-6.
        if (!(fabs((double)gradient[i] - slope) <= 1e-4 * fabs(slope) + 3e-6))
            fail_msg("%s: parameter %zu: %g, differences say %g", spec, i, (double)gradient[i],
                     slope);
    }
    trib_net_destroy(net);
}

static void gradients_agree_with_differences(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "7 - bilinear 3x4 linear",
        "7 - bilinear 4x3 bias linear",
        "7 - bilinear 1x6 sigmoid",
        "7 - bilinear 6x1 bias sigmoid",
        "6 - dense 9 tanh - bilinear 4x5 bias linear", // through the layer to what is below it
        "6 - dense 5 linear - bilinear 2x3 sigmoid",
        "7 - bilinear 3x4 bias tanh - dense 3 sigmoid - bilinear 1x2 linear",
    };
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        assert_gradient(specs[i], 21 + i, false);
        assert_gradient(specs[i], 21 + i, true);
    }
}

// With J = 1/2 sum e^2 and e = R - u^T W v: dJ/dW = -sum e u v^T.
static void the_gradient_is_that_of_the_formula(void **state)
{
    (void)state;
    struct trib_model model = parsed("5 - bilinear 2x3 linear");
    const float params[] = {1, 0, 2, 0, 3, 1};
    const float x[] = {1, 2, 3, 4, 5};
    const float y[] = {50}; // the model says 47
    float gradient[6];
    struct trib_net *net;
    assert_int_equal(trib_net_create(&model, 1, &net), TRIB_OK);
    assert_true(trib_net_gradient(net, params, x, y, 1, gradient) == 4.5);
    const float wanted[] = {-9, -12, -15, -18, -24, -30}; // -3 u v^T
    assert_memory_equal(gradient, wanted, sizeof(wanted));
    trib_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bilinear_layer_has_a_matrix_and_maybe_a_bias),
        cmocka_unit_test(an_output_is_the_sum_over_all_pairs),
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(the_gradient_is_that_of_the_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
