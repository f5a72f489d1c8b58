#include "common/math/train.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

static const char spec[] = "4 - dense 5 tanh - dropout 0.25 - dense 3 relu - dense 2 softmax";

static struct trib_model parsed(void)
{
    struct trib_model model;
    char why[256];
    assert_int_equal(trib_model_parse(spec, &model, why, sizeof(why)), TRIB_OK);
    return model;
}

static void lists_of_layers_become_bits_or_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"x", "wants numbers of layers"},
        {"0;2", "wants numbers of layers"},
        {"-1", "wants numbers of layers"},
        {"4", "names layer 4; the model has 0 to 3"},
        {"0,99999999999999999999", "names layer"},
        {"1", "names layer 1, which has nothing to learn"},
    };
    const struct trib_model model = parsed();
    uint64_t layers;
    char why[256];
    assert_int_equal(trib_train_layers_parse("", &model, &layers, why, sizeof(why)), TRIB_OK);
    assert_int_equal(layers, 0);
    assert_int_equal(trib_train_layers_parse(" 3, 0", &model, &layers, why, sizeof(why)), TRIB_OK);
    assert_int_equal(layers, 9);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(trib_train_layers_parse(bad[i].text, &model, &layers, why, sizeof(why)),
                         TRIB_ERR_INVAL);
        if (!strstr(why, bad[i].says))
            fail_msg("%s: '%s' is not in '%s'", bad[i].text, bad[i].says, why);
    }
}

enum {
    ROWS = 40,
    PARAMS_MAX = 64,
};

static float x[ROWS * 4], y[ROWS];

static void train(const struct trib_train_options *options, float *params)
{
    const struct trib_model model = parsed();
    const struct trib_samples samples = {.x = x, .y = y, .rows = ROWS, .inputs = 4};
    struct trib_trainer_space *space;
    struct trib_rng rng;
    uint64_t seed = 12;
    double loss;
    for (int i = 0; i < ROWS * 4; i++)
        x[i] = (float)((double)(int64_t)test_rand(&seed) * 0x1p-63);
    for (int r = 0; r < ROWS; r++)
        y[r] = x[4 * r] + x[4 * r + 1] > 0;
    assert_true(model.param_count <= PARAMS_MAX);
    trib_rng_init(&rng, 1, "train", 0, NULL);
    trib_model_init(&model, 3, params);
    assert_int_equal(trib_train_space_create(&model, options, ROWS, &space), TRIB_OK);
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
    trib_train_space_destroy(space);
}

static void frozen_layers_keep_their_bits_whatever_the_optimizer(void **state)
{
    (void)state;
    static const struct trib_train_options ways[] = {
        {.learning_rate = 0.1},
        {.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.1},
        {.learning_rate = 0.1, .optimizer = TRIB_OPTIMIZER_NESTEROV, .momentum = 0.5, .l1 = 0.01},
        {.learning_rate = 0.01, .optimizer = TRIB_OPTIMIZER_ADAM, .l1 = 0.01, .weight_decay = 0.1},
        {.learning_rate = 0.01,
         .optimizer = TRIB_OPTIMIZER_ADAM,
         .decoupled_decay = true,
         .weight_decay = 0.1},
        {.learning_rate = 0.1, .proximal_mu = 0.5, .clip_norm = 0.1},
        {.learning_rate = 0.1, .kept.fraction = 0.25, .patience = 2},
    };
    const struct trib_model model = parsed();
    float start[PARAMS_MAX], end[PARAMS_MAX];
    trib_model_init(&model, 3, start);
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
        struct trib_train_options options = ways[w];
        options.epochs = 5;
        options.batch = 8;
        options.frozen = 1 | 4; // the first and the second dense layer
        train(&options, end);
        for (uint32_t l = 0; l < model.layer_count; l++) {
            const struct trib_layer *layer = &model.layers[l];
            for (uint32_t t = 0; t < layer->tensor_count; t++) {
                const size_t at = layer->tensors[t].offset;
                const size_t size = layer->tensors[t].count * sizeof(float);
                if (options.frozen >> l & 1)
                    assert_memory_equal(start + at, end + at, size);
                else
                    assert_memory_not_equal(start + at, end + at, size);
            }
        }
    }
}

static void only_what_learns_counts_for_the_bound_on_the_gradient(void **state)
{
    (void)state;
    // With the lower layers frozen the last one sees a gradient of its own norm: a bound between
    // that and the norm of all of them must not touch it.
    struct trib_train_options options = {
        .epochs = 1, .learning_rate = 0.1, .frozen = 1 | 4, .clip_norm = 1e9};
    float free_[PARAMS_MAX], bound[PARAMS_MAX], start[PARAMS_MAX], all[PARAMS_MAX];
    const struct trib_model model = parsed();
    double own = 0, every = 0;
    trib_model_init(&model, 3, start);
    train(&options, free_);
    options.frozen = 0;
    train(&options, all);
    for (size_t i = 0; i < model.param_count; i++) {
        own += pow(((double)free_[i] - (double)start[i]) / 0.1, 2);
        every += pow(((double)all[i] - (double)start[i]) / 0.1, 2);
    }
    assert_true(every > 1.1 * own);
    options.frozen = 1 | 4;
    options.clip_norm = sqrt((own + every) / 2);
    train(&options, bound);
    assert_memory_equal(free_, bound, model.param_count * sizeof(float));
}

static void the_trunk_moves_by_its_share_of_a_step(void **state)
{
    (void)state;
    static const enum trib_optimizer kinds[] = {TRIB_OPTIMIZER_SGD, TRIB_OPTIMIZER_ADAM};
    const struct trib_model model = parsed();
    float start[PARAMS_MAX], whole[PARAMS_MAX], part[PARAMS_MAX];
    const size_t border = model.layers[2].weight; // layer 0 lies below
    trib_model_init(&model, 3, start);
    for (size_t k = 0; k < 2; k++) {
        struct trib_train_options options = {
            .epochs = 1, .learning_rate = 0.5, .optimizer = kinds[k]}; // one step over all rows
        train(&options, whole);
        options.trunk = 1;
        options.trunk_rate = 0.125;
        train(&options, part);
        for (size_t i = 0; i < border; i++) // float32 near 1: 2e-7 is a few roundings
            assert_true(fabsf(part[i] - (start[i] + 0.125f * (whole[i] - start[i]))) < 2e-7f);
        assert_memory_equal(part + border, whole + border,
                            (model.param_count - border) * sizeof(float));
    }
}

static void cleared_layers_are_zero_and_no_others(void **state)
{
    (void)state;
    const struct trib_model model = parsed();
    float values[PARAMS_MAX];
    for (int i = 0; i < PARAMS_MAX; i++)
        values[i] = 1;
    trib_train_clear_layers(&model, 4, values);
    for (size_t i = 0; i < model.param_count; i++) {
        const bool is_in = i >= model.layers[2].weight && i < model.layers[3].weight;
        assert_true(values[i] == (is_in ? 0.0f : 1.0f));
    }
}

static void train_with_local_part(const struct trib_train_options *options, float *params)
{
    struct trib_model model;
    struct trib_trainer_space *space;
    struct trib_rng rng;
    char why[256];
    double loss;
    assert_int_equal(
        trib_model_parse("4 - dense 3 tanh - dense 2 softmax local", &model, why, sizeof(why)),
        TRIB_OK);
    assert_true(trib_model_total(&model) <= PARAMS_MAX && model.local_count == 8);
    const struct trib_samples samples = {.x = x, .y = y, .rows = ROWS, .inputs = 4};
    trib_rng_init(&rng, 1, "train", 0, NULL);
    trib_model_init(&model, 3, params);
    trib_model_init_local(&model, 3, "d", params + model.param_count);
    assert_int_equal(trib_train_space_create(&model, options, ROWS, &space), TRIB_OK);
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
    trib_train_space_destroy(space);
}

static void a_trunk_leaves_the_local_part_its_rate(void **state)
{
    (void)state;
    struct trib_train_options options = {
        .epochs = 3, .batch = 8, .learning_rate = 0.1, .momentum = 0.5};
    float plain[PARAMS_MAX] = {0}, trunk[PARAMS_MAX] = {0}, frozen[PARAMS_MAX] = {0};
    train_with_local_part(&options, plain);
    options.trunk = 1;
    options.trunk_rate = 1; // changes nothing
    train_with_local_part(&options, trunk);
    assert_memory_equal(plain, trunk, sizeof(plain));
    options.trunk = 0;
    options.frozen = 1;
    train_with_local_part(&options, frozen);
    assert_memory_not_equal(plain, frozen, sizeof(plain));
    options.epochs = 1;
    train_with_local_part(&options, plain); // another number of epochs, the same common part
    assert_memory_equal(plain, frozen, 15 * sizeof(*plain));
    assert_memory_not_equal(plain + 15, frozen + 15, 8 * sizeof(*plain));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_layers_become_bits_or_a_reason),
        cmocka_unit_test(frozen_layers_keep_their_bits_whatever_the_optimizer),
        cmocka_unit_test(only_what_learns_counts_for_the_bound_on_the_gradient),
        cmocka_unit_test(the_trunk_moves_by_its_share_of_a_step),
        cmocka_unit_test(cleared_layers_are_zero_and_no_others),
        cmocka_unit_test(a_trunk_leaves_the_local_part_its_rate),
    };
    return RUN_TESTS(tests);
}
