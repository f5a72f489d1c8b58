#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/wipe.h"
#include "common/math/model.h"
#include "common/math/net.h"
#include "common/math/safetensors.h"
#include "tests/unit/reference_net.h"

// ---- the language

static void a_spec_has_one_canonical_text(void **state)
{
    (void)state;
    static const char *const same[] = {
        "784 - dense 200 relu - dense 10 softmax",
        "  784 -  dense 200\trelu -dense  10 softmax  ",
        "784-dense 200 relu-dense 10 softmax",
    };
    const struct trib_model first = parsed(same[0]);
    assert_string_equal(first.spec, same[0]);
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct trib_model model = parsed(same[i]);
        assert_string_equal(model.spec, same[0]);
        assert_memory_equal(model.arch_digest, first.arch_digest, TRIB_DIGEST_SIZE);
    }
    // An activation left out is linear, and is written.
    assert_string_equal(parsed("3 - dense 4 - dense 1").spec,
                        "3 - dense 4 linear - dense 1 linear");
    struct trib_model other = parsed("784 - dense 200 tanh - dense 10 softmax");
    assert_memory_not_equal(other.arch_digest, first.arch_digest, TRIB_DIGEST_SIZE);
    struct trib_model again = parsed(other.spec); // canonical text is its own canonical text
    assert_string_equal(again.spec, other.spec);
}

static void layers_lie_one_after_another(void **state)
{
    (void)state;
    struct trib_model model = parsed("1x8x8 - dense 5 sigmoid - dense 3 softmax");
    assert_int_equal(model.inputs, 64);
    assert_int_equal(model.outputs, 3);
    assert_int_equal(model.layer_count, 2);
    assert_int_equal(model.layers[0].weight, 0);
    assert_int_equal(model.layers[0].bias, 320);
    assert_int_equal(model.layers[1].weight, 325);
    assert_int_equal(model.layers[1].bias, 340);
    assert_int_equal(model.param_count, 343);
    assert_int_equal(model.classes, 3);
    assert_string_equal(model.spec, "1x8x8 - dense 5 sigmoid - dense 3 softmax");
}

static void the_last_activation_fixes_the_loss(void **state)
{
    (void)state;
    assert_int_equal(parsed("2 - dense 3 softmax").loss, TRIB_LOSS_CROSS_ENTROPY);
    assert_int_equal(parsed("2 - dense 1 sigmoid").loss, TRIB_LOSS_BINARY_CROSS_ENTROPY);
    assert_int_equal(parsed("2 - dense 1 sigmoid").classes, 2);
    assert_int_equal(parsed("2 - dense 1 linear").loss, TRIB_LOSS_HALF_MSE);
    assert_int_equal(parsed("2 - dense 1 linear").classes, 0);
}

static void what_is_not_a_model_is_refused_with_a_text(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        const char *why;
    } cases[] = {
        {"", "begins with the number of inputs"},
        {"0 - dense 2 softmax", "begins with the number of inputs"},
        {"012 - dense 2 softmax", "begins with the number of inputs"},
        {"+4 - dense 2 softmax", "begins with the number of inputs"},
        {"x - dense 2 softmax", "begins with the number of inputs"},
        {"2x3 - dense 2 softmax", "N or CxHxW"},
        {"1x2x3x4 - dense 2 softmax", "begins with the number of inputs"},
        {"4096x4096x2 - dense 2 softmax", "more than 16777216 inputs"},
        {"99999999999 - dense 2 softmax", "begins with the number of inputs"},
        {"4", "has no layer"},
        {"4 dense 2 softmax", "where ' - ' and a layer should follow"},
        {"4 -", "'' is not a kind of layer"},
        {"4 - - dense 2 softmax", "'-' is not a kind of layer"},
        {"4 - denser 2", "'denser' is not a kind of layer"},
        {"4 - dense", "dense wants a number of units"},
        {"4 - dense 0 softmax", "dense wants a number of units"},
        {"4 - dense -2 softmax", "dense wants a number of units"},
        {"4 - dense 2.5 softmax", "dense wants a number of units"},
        {"4 - dense 2 swish", "layer 1: 'swish' is not relu"},
        {"4 - dense 2 softmax softmax", "where ' - ' and a layer should follow"},
        {"4 - dense 2 softmax - dense 2 softmax", "layer 1: softmax is for the last layer"},
        {"4 - dense 2 relu", "the last layer is softmax, sigmoid or linear"},
        {"4 - dense 2 tanh", "the last layer is softmax, sigmoid or linear"},
        {"4 - dense 2 sigmoid", "has 1 unit"},
        {"4 - dense 2", "has 1 unit"},
        {"4 - dense 1 softmax", "softmax wants 2 to 4096 units"},
        {"4 - dense 5000 softmax", "softmax wants 2 to 4096 units"},
        {"16777216 - dense 16777216 - dense 1", "more than 67108864 parameters"},
        {"4 - dropout - dense 2 softmax", "layer 1: dropout wants a share from"},
        {"4 - dropout 0 - dense 2 softmax", "layer 1: dropout wants a share from"},
        {"4 - dropout 1 - dense 2 softmax", "layer 1: dropout wants a share from"},
        {"4 - dropout .5.5 - dense 2 softmax", "layer 1: dropout wants a share from"},
        {"4 - dropout nan - dense 2 softmax", "layer 1: dropout wants a share from"},
        {"4 - dropout 5e-1 - dense 2 softmax", "layer 1: dropout wants a share from"},
        {"4 - dense 3 relu - dropout 0.5", "dropout is not for the last layer"},
        {"4 - bilinear 2 - dense 2 softmax", "bilinear wants UxI"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_model model;
        char why[256] = "";
        assert_int_equal(trib_model_parse(cases[i].spec, &model, why, sizeof(why)), TRIB_ERR_INVAL);
        if (!strstr(why, cases[i].why))
            fail_msg("'%s' says: %s", cases[i].spec, why);
    }
}

static void long_and_deep_specs_meet_their_limits(void **state)
{
    (void)state;
    char spec[2 * TRIB_SPEC_MAX];
    char why[256];
    struct trib_model model;

    (void)snprintf(spec, sizeof(spec), "%*s", TRIB_SPEC_MAX + 1, "4 - dense 1");
    assert_int_equal(trib_model_parse(spec, &model, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, "longer than"));
    size_t used = (size_t)snprintf(spec, sizeof(spec), "1");
    for (int layer = 0; layer < TRIB_LAYERS_MAX + 1; layer++)
        used += (size_t)snprintf(spec + used, sizeof(spec) - used, "-dense 1");
    assert_int_equal(trib_model_parse(spec, &model, why, sizeof(why)), TRIB_ERR_INVAL);
    // Fits as it is written, but not with every activation written out.
    assert_true(strlen(spec) < TRIB_SPEC_MAX);
    assert_non_null(strstr(why, "longer than"));
}

// ---- parameters

static void initial_parameters_are_the_same_on_every_machine(void **state)
{
    (void)state;
    // Computed from the definitions with another implementation of BLAKE2b and of the generator.
    static const uint32_t first[4] = {0xbe35a628, 0x3f95cca3, 0xbe35d844, 0xbe53d859};
    struct trib_model model = parsed("4 - dense 3 relu - dense 2 softmax");
    uint8_t digest[TRIB_DIGEST_SIZE];
    char text[TRIB_DIGEST_TEXT_SIZE];
    float params[23], other[23];

    assert_int_equal(model.param_count, 23);
    trib_model_init(&model, 42, params);
    assert_memory_equal(params, first, sizeof(first));
    trib_digest(params, sizeof(params), digest);
    trib_hex_encode(digest, sizeof(digest), text);
    assert_string_equal(text, "0212120d90340f231bf0233b21a84ef13179a2d65b503226183829e9aab48879");
    trib_hex_encode(model.arch_digest, sizeof(digest), text);
    assert_string_equal(text, "cd183eccaa180c40e92a0084d3439e432dbf8ee2c0b50b705861e64c90b74474");
    trib_model_digest(&model, params, digest);
    trib_hex_encode(digest, sizeof(digest), text);
    assert_string_equal(text, "246dd277b9bf38a7ae9322cb5eae77f0e83dc003fd87e81c29614c09d2ad34b6");
    trib_model_init(&model, 43, other);
    assert_memory_not_equal(params, other, sizeof(params));
}

static void initial_weights_fill_their_range(void **state)
{
    (void)state;
    struct trib_model model = parsed("100 - dense 200 relu - dense 100 tanh - dense 10 softmax");
    static const double limits[3] = {0.24494897, 0.14142136,
                                     0.23354968}; // sqrt(6/100), (6/300), (6/110)
    float *params = trib_alloc_array(model.param_count, sizeof(*params));
    assert_non_null(params);
    trib_model_init(&model, 1, params);
    for (uint32_t l = 0; l < 3; l++) {
        const struct trib_layer *layer = &model.layers[l];
        double largest = 0, sum = 0;
        for (size_t i = layer->weight; i < layer->bias; i++) {
            largest = fmax(largest, fabs((double)params[i]));
            sum += (double)params[i];
        }
        size_t count = layer->bias - layer->weight;
        assert_true(largest <= limits[l] && largest > 0.99 * limits[l]);
        assert_true(fabs(sum) < 5 * limits[l] * sqrt((double)count / 3)); // five deviations
        for (size_t i = 0; i < layer->outputs; i++)
            assert_true(params[layer->bias + i] == 0);
    }
    free(params);
}

// ---- passes, against a plain forward pass in double

static void assert_gradient(const char *spec, uint64_t seed, bool is_weighted)
{
    enum {
        ROWS = 5
    };
    static const float weights[ROWS] = {0.5f, 2, 0, 1.25f, 0.75f};
    struct reference reference;
    reference_begin(&reference, spec, ROWS, seed);
    reference.weights = is_weighted ? weights : NULL;
    assert_gradients(&reference, NULL);
    // The training loss has exponentials in float32 (kernels.h gives the bound), evaluation in
    // double.
    const struct trib_batch batch = {reference.x, reference.y, reference.weights, ROWS};
    const double loss = trib_net_gradient_weighted(reference.net, reference.params, &batch, NULL,
                                                   reference.gradient);
    assert_true(fabs(loss * ROWS - trib_net_loss_weighted(reference.net, reference.params,
                                                          &batch)) < 1e-6 * ROWS);
    reference_end(&reference);
}

static void gradients_agree_with_differences(void **state)
{
    (void)state;
    static const char *const hidden[] = {"linear", "relu", "tanh", "sigmoid"};
    static const char *const last[] = {"1 linear", "1 sigmoid", "4 softmax"};
    char spec[128];
    for (int o = 0; o < 3; o++) {
        (void)snprintf(spec, sizeof(spec), "6 - dense %s", last[o]);
        assert_gradient(spec, 11, false);
        assert_gradient(spec, 11, true);
        for (int h = 0; h < 4; h++) {
            (void)snprintf(spec, sizeof(spec), "5 - dense 7 %s - dense %s", hidden[h], last[o]);
            assert_gradient(spec, 12, false);
            assert_gradient(spec, 12, true);
            (void)snprintf(spec, sizeof(spec), "4 - dense 9 %s - dense 6 %s - dense %s", hidden[h],
                           hidden[(h + 1) % 4], last[o]);
            assert_gradient(spec, 13, false);
            assert_gradient(spec, 13, true);
        }
    }
}

static void rows_of_a_batch_do_not_touch_each_other(void **state)
{
    (void)state;
    struct trib_model model = parsed("6 - dense 9 relu - dense 4 softmax");
    struct trib_net *net;
    float params[128], x[8 * 6], together[8 * 4];
    uint64_t seed = 5;
    assert_true(model.param_count <= 128);
    trib_model_init(&model, 5, params);
    for (int i = 0; i < 8 * 6; i++)
        x[i] = small(&seed);
    assert_int_equal(trib_net_create(&model, 8, &net), TRIB_OK);
    memcpy(together, trib_net_forward(net, params, x, 8), sizeof(together));
    for (int r = 0; r < 8; r++) {
        const float *alone = trib_net_forward(net, params, x + r * 6, 1);
        double sum = 0;
        for (int o = 0; o < 4; o++) {
            assert_float_equal(alone[o], together[r * 4 + o], 1e-6);
            sum += (double)alone[o];
        }
        assert_true(fabs(sum - 1) < 1e-6); // probabilities
    }
    trib_net_destroy(net);
    trib_net_destroy(NULL);
}

static void huge_logits_neither_overflow_nor_vanish(void **state)
{
    (void)state;
    static const float sizes[] = {800, -800, 1e30f, -1e30f};
    for (int i = 0; i < 4; i++) {
        const float x = sizes[i];
        for (int kind = 0; kind < 2; kind++) {
            struct trib_model model = parsed(kind ? "1 - dense 2 softmax" : "1 - dense 1 sigmoid");
            const float params[4] = {1, kind ? -1.0f : 0.0f, 0, 0};
            float gradient[4];
            struct trib_net *net;
            assert_int_equal(trib_net_create(&model, 1, &net), TRIB_OK);
            for (int label = 0; label < 2; label++) {
                const float y = (float)label;
                double loss = trib_net_gradient(net, params, &x, &y, 1, gradient);
                // The loss is the distance to the other class where this one is wrong, else 0.
                bool is_wrong = kind ? (x > 0) == label : (x > 0) != label;
                double distance = fabs((double)x) * (kind ? 2 : 1);
                assert_true(fabs(loss - (is_wrong ? distance : 0)) <= 1e-6 * distance);
                for (size_t p = 0; p < model.param_count; p++)
                    assert_true(isfinite(gradient[p]));
            }
            const float *outputs = trib_net_forward(net, params, &x, 1);
            for (uint32_t o = 0; o < model.outputs; o++)
                assert_true(outputs[o] >= 0 && outputs[o] <= 1);
            trib_net_destroy(net);
        }
    }
}

// ---- the model file

static void a_model_file_begins_with_its_header(void **state)
{
    (void)state;
    struct trib_model model = parsed("4 - dense 3 relu - dense 2 softmax");
    const struct trib_safetensors_text metadata[] = {{"spec", model.spec}, {"version", "7"}};
    struct trib_buf buf = {0};
    uint64_t offset;
    char value[64];

    trib_safetensors_header(&model, metadata, 2, &buf);
    assert_false(buf.failed);
    assert_int_equal(trib_safetensors_data_offset(buf.data, &offset), TRIB_OK);
    assert_int_equal(offset, buf.size);
    assert_int_equal(offset % 8, 0);
    const char *json = (const char *)buf.data + TRIB_SAFETENSORS_LENGTH_SIZE;
    assert_true(json[0] == '{');
    assert_non_null(
        strstr(json, "\"0.weight\":{\"dtype\":\"F32\",\"shape\":[3,4],\"data_offsets\":[0,48]}"));
    assert_non_null(
        strstr(json, "\"0.bias\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[48,60]}"));
    assert_non_null(
        strstr(json, "\"1.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[60,84]}"));
    assert_non_null(
        strstr(json, "\"1.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[84,92]}"));
    assert_int_equal(trib_safetensors_find(json, "spec", value, sizeof(value)), TRIB_OK);
    assert_string_equal(value, model.spec);
    assert_int_equal(trib_safetensors_find(json, "version", value, sizeof(value)), TRIB_OK);
    assert_string_equal(value, "7");
    assert_int_equal(trib_safetensors_find(json, "spec", value, 8), TRIB_ERR_CORRUPT);
    assert_int_equal(trib_safetensors_find(json, "absent", value, 64), TRIB_ERR_CORRUPT);
    trib_buf_fini(&buf);
}

static void a_header_length_that_cannot_be_is_corrupt(void **state)
{
    (void)state;
    static const uint64_t bad[] = {0, 1, TRIB_SAFETENSORS_HEADER_MAX + 1, UINT64_MAX};
    uint8_t first[TRIB_SAFETENSORS_LENGTH_SIZE];
    uint64_t offset = 99;
    for (int i = 0; i < 4; i++) {
        trib_store_le64(first, bad[i]);
        assert_int_equal(trib_safetensors_data_offset(first, &offset), TRIB_ERR_CORRUPT);
        assert_int_equal(offset, 99);
    }
    trib_store_le64(first, TRIB_SAFETENSORS_HEADER_MAX);
    assert_int_equal(trib_safetensors_data_offset(first, &offset), TRIB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spec_has_one_canonical_text),
        cmocka_unit_test(layers_lie_one_after_another),
        cmocka_unit_test(the_last_activation_fixes_the_loss),
        cmocka_unit_test(what_is_not_a_model_is_refused_with_a_text),
        cmocka_unit_test(long_and_deep_specs_meet_their_limits),
        cmocka_unit_test(initial_parameters_are_the_same_on_every_machine),
        cmocka_unit_test(initial_weights_fill_their_range),
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(rows_of_a_batch_do_not_touch_each_other),
        cmocka_unit_test(huge_logits_neither_overflow_nor_vanish),
        cmocka_unit_test(a_model_file_begins_with_its_header),
        cmocka_unit_test(a_header_length_that_cannot_be_is_corrupt),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
