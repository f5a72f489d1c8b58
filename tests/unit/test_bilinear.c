#include "common/math/net.h"
#include "tests/test.h"

#include "tests/unit/reference_net.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ROWS = 5
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

static void assert_gradient(const char *spec, uint64_t seed, bool is_weighted)
{
    static const float weights[ROWS] = {0.5f, 2, 0, 1.25f, 0.75f};
    struct reference reference;
    reference_begin(&reference, spec, ROWS, seed);
    reference.weights = is_weighted ? weights : NULL;
    assert_gradients(&reference, NULL);
    reference_end(&reference);
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
