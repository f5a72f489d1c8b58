#include "common/math/train.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/data/dataset.h"
#include "tests/unit/reference_net.h"

enum {
    ROWS = 6,
    TOTAL_MAX = 256,
};

static void a_local_layer_is_not_among_the_parameters(void **state)
{
    (void)state;
    struct trib_model model = parsed("5-dense 4 tanh-dense 3 softmax  local");
    assert_string_equal(model.spec, "5 - dense 4 tanh - dense 3 softmax local");
    assert_int_equal(model.param_count, 24);
    assert_int_equal(model.local_count, 15);
    assert_int_equal(trib_model_total(&model), 39);
    assert_int_equal(model.layers[1].tensor_count, 0);
    assert_int_equal(model.layers[1].locals[0].offset, 24);
    assert_int_equal(model.layers[1].locals[1].offset, 36);
    // An activation may be left out before the word, and locals lie in the order of the layers.
    model = parsed("2 - dense 3 local - dense 2 relu - bilinear 1x1 local");
    assert_string_equal(model.spec,
                        "2 - dense 3 linear local - dense 2 relu - bilinear 1x1 linear local");
    assert_int_equal(model.param_count, 8);
    assert_int_equal(model.local_count, 10);
    assert_int_equal(model.layers[0].locals[1].offset, 8 + 6);
    assert_int_equal(model.layers[2].locals[0].offset, 8 + 9);
    // It is another architecture than the same without the word.
    struct trib_model other = parsed("5 - dense 4 tanh - dense 3 softmax");
    model = parsed("5 - dense 4 tanh - dense 3 softmax local");
    assert_memory_not_equal(model.arch_digest, other.arch_digest, sizeof(other.arch_digest));
}

static void factors_have_a_common_and_a_local_part(void **state)
{
    (void)state;
    struct trib_model model = parsed("1-factors 7x3");
    assert_string_equal(model.spec, "1 - factors 7x3 linear");
    assert_int_equal(model.param_count, 7 * 3 + 7 + 1);
    assert_int_equal(model.local_count, 3 + 1);
    assert_int_equal(model.items, 7);
    assert_int_equal(model.loss, TRIB_LOSS_HALF_MSE);
    assert_int_equal(parsed("1 - factors 7x3 sigmoid").loss, TRIB_LOSS_BINARY_CROSS_ENTROPY);
}

static void what_cannot_be_local_is_refused_with_a_text(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        const char *why;
    } cases[] = {
        {"5 - dense 3 softmax local", "has nothing to learn together: every layer is local"},
        {"5 - dropout 0.5 local - dense 3 softmax", "layer 1: there is nothing in it to be local"},
        {"1 - factors 7x3 linear local", "layer 1: a part of it is local by itself"},
        {"5 - dense local 3 softmax", "dense wants a number of units"},
        {"5 - dense 3 local softmax", "where ' - ' and a layer should follow"},
        {"1 - factors 7", "layer 1: factors wants ITEMSxFACTORS"},
        {"2 - factors 7x3", "layer 1: factors is a model by itself, of one input"},
        {"1 - dense 1 linear - factors 7x3", "layer 2: factors is a model by itself"},
        {"1 - factors 7x3 linear - factors 7x3", "layer 2: factors is a model by itself"},
        {"1 - factors 7x3 relu", "the last layer is softmax, sigmoid or linear"},
        {"1 - factors 16777216x4", "has more than 67108864 parameters"},
        {"1 - dense 33554432 - dense 1", "dense wants a number of units"},
        {"3 - dense 16777216 relu local - dense 1 linear", "has more than 67108864 parameters"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_model model;
        char why[256] = "";
        assert_int_equal(trib_model_parse(cases[i].spec, &model, why, sizeof(why)), TRIB_ERR_INVAL);
        if (!strstr(why, cases[i].why))
            fail_msg("'%s' says: %s", cases[i].spec, why);
    }
}

// The word changes where parameters lie, and nothing else: `order` says where the first `count`
// parameters of `plain` are in the model with local layers.
static void assert_alike(const char *plain, const char *local, size_t swap)
{
    struct trib_model a = parsed(plain), b = parsed(local);
    const size_t total = a.param_count;
    float x[ROWS * 8], y[ROWS], p[TOTAL_MAX], q[TOTAL_MAX], gp[TOTAL_MAX], gq[TOTAL_MAX];
    struct trib_net *net;
    uint64_t seed = 5;
    assert_int_equal(trib_model_total(&b), total);
    for (size_t i = 0; i < total; i++) {
        p[i] = small(&seed);
        q[(i + total - swap) % total] = p[i]; // the first `swap` go behind the others
    }
    for (size_t i = 0; i < ROWS * a.inputs; i++)
        x[i] = small(&seed);
    for (int r = 0; r < ROWS; r++)
        y[r] = (float)(test_rand(&seed) % 2);
    assert_int_equal(trib_net_create(&a, ROWS, &net), TRIB_OK);
    const double loss = trib_net_gradient(net, p, x, y, ROWS, gp);
    trib_net_destroy(net);
    assert_int_equal(trib_net_create(&b, ROWS, &net), TRIB_OK);
    assert_true(trib_net_gradient(net, q, x, y, ROWS, gq) == loss);
    trib_net_destroy(net);
    for (size_t i = 0; i < total; i++)
        assert_true(gp[i] == gq[(i + total - swap) % total]);
}

static void local_layers_compute_what_others_do(void **state)
{
    (void)state;
    assert_alike("5 - dense 4 tanh - dense 3 softmax", "5 - dense 4 tanh - dense 3 softmax local",
                 0);
    assert_alike("5 - dense 4 tanh - dense 3 softmax", "5 - dense 4 tanh local - dense 3 softmax",
                 24);
    assert_alike("4 - dense 5 relu - bilinear 2x3 bias sigmoid",
                 "4 - dense 5 relu - bilinear 2x3 bias sigmoid local", 0);
}

static void each_device_begins_with_a_local_part_of_its_own(void **state)
{
    (void)state;
    struct trib_model model =
        parsed("5 - dense 4 relu local - dense 3 tanh - dense 2 softmax local");
    float a[64], b[64], again[64], common[64];
    assert_int_equal(model.local_count, 24 + 8);
    trib_model_init_local(&model, 9, "d0000", a);
    trib_model_init_local(&model, 9, "d0000", again);
    trib_model_init_local(&model, 9, "d0001", b);
    assert_memory_equal(a, again, model.local_count * sizeof(*a));
    assert_memory_not_equal(a, b, model.local_count * sizeof(*a));
    const double limit = sqrt(6.0 / 5);
    double largest = 0;
    for (size_t i = 0; i < 20; i++)
        largest = fmax(largest, fabs((double)a[i]));
    assert_true(largest <= limit && largest > 0.7 * limit);
    for (size_t i = 20; i < 24; i++)
        assert_true(a[i] == 0); // biases
    // The common part is what it would be: the two are drawn apart.
    trib_model_init(&model, 9, common);
    for (size_t i = 0; i < 12; i++)
        assert_true(common[i] != 0);

    // Of a user of whom nothing is known nothing is said.
    struct trib_model factors = parsed("1 - factors 7x3 linear");
    trib_model_init_local(&factors, 9, "d0000", a);
    for (size_t i = 0; i < 4; i++)
        assert_true(a[i] == 0);
}

// ---- factors

static void gradients_of_factors_agree_with_differences(void **state)
{
    (void)state;
    static const char *const specs[] = {"1 - factors 7x3 linear", "1 - factors 7x3 sigmoid"};
    static const float items[ROWS] = {0, 6, 3, 3, 1, 6}; // some twice, some never
    static const float weights[ROWS] = {0.5f, 2, 0, 1.25f, 0.75f, 1};
    for (int i = 0; i < 4; i++) {
        struct reference reference;
        reference_begin(&reference, specs[i / 2], ROWS, 17);
        memcpy(reference.x, items, sizeof(items));
        reference.weights = i % 2 ? weights : NULL;
        assert_gradients(&reference, NULL);
        for (size_t k = 0; k < 3; k++)
            assert_true(reference.gradient[3 * 2 + k] == 0); // item 2 was not rated
        reference_end(&reference);
    }
}

static void gradients_of_local_layers_agree_with_differences(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "5 - dense 4 tanh - dense 3 softmax local",
        "5 - dense 4 tanh local - dense 3 softmax",
        "4 - dense 5 relu - bilinear 2x3 bias sigmoid local",
    };
    for (uint64_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        struct reference reference;
        reference_begin(&reference, specs[i], ROWS, 23 + i);
        assert_gradients(&reference, NULL);
        reference_end(&reference);
    }
}

static void rows_must_name_items_of_the_model(void **state)
{
    (void)state;
    struct trib_model model = parsed("1 - factors 7x3 linear");
    static const float wrongs[] = {7, -1, 2.5f, NAN, 1e9f};
    struct trib_dataset *dataset;
    char why[256];
    assert_int_equal(trib_dataset_create(2, 1, true, "r.csv", &dataset), TRIB_OK);
    dataset->x[0] = 6;
    dataset->lines[1] = 3;
    assert_int_equal(trib_dataset_check(dataset, &model, why, sizeof(why)), TRIB_OK);
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        dataset->x[1] = wrongs[i];
        assert_int_equal(trib_dataset_check(dataset, &model, why, sizeof(why)), TRIB_ERR_DATA);
        assert_non_null(strstr(why, "is not one of the model's items, 0 to 6"));
        assert_non_null(strstr(why, "r.csv:3: "));
    }
    trib_dataset_free(dataset);
}

// ---- Training

static void train(const struct trib_model *model, const struct trib_train_options *options,
                  float *params)
{
    const float x[ROWS] = {0, 6, 3, 2, 1, 5};
    const float y[ROWS] = {3, 4, 5, 3, 4, 5};
    const struct trib_samples samples = {.x = x, .y = y, .rows = ROWS, .inputs = 1};
    struct trib_trainer_space *space;
    struct trib_rng rng;
    double loss;
    trib_rng_init(&rng, 1, "test", 0, NULL);
    assert_int_equal(trib_train_space_create(model, options, ROWS, &space), TRIB_OK);
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
    trib_train_space_destroy(space);
}

static void both_parts_learn_and_personal_epochs_move_the_local_one_alone(void **state)
{
    (void)state;
    struct trib_model model = parsed("1 - factors 7x3 linear");
    float start[33], joint[33], first[33];
    struct trib_train_options options = {
        .epochs = 2, .batch = 2, .learning_rate = 0.1}; // p is 0 until the first epoch moves it
    trib_model_init(&model, 3, start);
    trib_model_init_local(&model, 3, "d", start + model.param_count);
    memcpy(joint, start, sizeof(start));
    train(&model, &options, joint);
    for (size_t i = 0; i < 33; i++) {
        const bool is_unrated = i / 3 == 4 || i == 21 + 4; // item 4
        if ((joint[i] == start[i]) != is_unrated)
            fail_msg("parameter %zu was %g and is %g", i, (double)start[i], (double)joint[i]);
    }
    options.personal_epochs = 400;
    options.epochs = 1;
    options.batch = 0; // one joint step
    memcpy(first, start, sizeof(start));
    train(&model, &options, first);
    // The personal epochs have fitted p and c as far as they can: what is left of the residuals has
    // no mean, so that the joint step does not move the mean.
    assert_true(fabs((double)(first[28] - start[28])) < 1e-3);
    assert_true(fabs((double)first[32] - 4) < 1);
    assert_true(fabs((double)(joint[28] - start[28])) > 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_local_layer_is_not_among_the_parameters),
        cmocka_unit_test(factors_have_a_common_and_a_local_part),
        cmocka_unit_test(what_cannot_be_local_is_refused_with_a_text),
        cmocka_unit_test(local_layers_compute_what_others_do),
        cmocka_unit_test(each_device_begins_with_a_local_part_of_its_own),
        cmocka_unit_test(gradients_of_factors_agree_with_differences),
        cmocka_unit_test(gradients_of_local_layers_agree_with_differences),
        cmocka_unit_test(rows_must_name_items_of_the_model),
        cmocka_unit_test(both_parts_learn_and_personal_epochs_move_the_local_one_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
