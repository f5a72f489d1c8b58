// Nothing is allocated in a training loop, whatever is trained and however: counted.
#include "tests/test.h"

#include <string.h>

#include "common/base/wipe.h"
#include "common/math/train.h"
#include "tests/unit/allocations.h"
#include "tests/unit/models.h"

enum {
    ROWS = 50, // the last batch is a smaller one
    INPUTS_MAX = 64,
    PARAMS_MAX = 2048,
};

// All kinds of layer, each end, and the models whose steps are taken where the rows lie.
static const char *const specs[] = {
    "6 - dense 1 linear",
    "6 - dense 1 sigmoid",
    "6 - dense 3 softmax",
    "6 - dense 9 tanh - dropout 0.5 - dense 1 sigmoid",
    "6 - bilinear 2x4 bias linear",
    "6 - dense 7 relu - bilinear 3x4 sigmoid",
    "1 - factors 9x4 linear",
    "1 - factors 9x4 sigmoid",
    "6 - dense 5 relu - dense 3 softmax local",
    "6 - dense 5 sigmoid local - dense 1 linear",
    "1x8x8 - conv 3 3x3 same relu - maxpool 2 - dropout 0.2 - conv 2 2x2 tanh - dense 2 softmax",
};

// Plain steps, in place where a model can, and those that want a vector or a state.
static const struct trib_train_options ways[] = {
    {.learning_rate = 0.01},
    {.learning_rate = 0.01, .weight_decay = 0.1},
    {.learning_rate = 0.01, .momentum = 0.9, .l1 = 0.01, .proximal_mu = 0.1, .clip_norm = 1},
    {.learning_rate = 0.01, .optimizer = TRIB_OPTIMIZER_NESTEROV, .momentum = 0.9},
    {.learning_rate = 0.01, .optimizer = TRIB_OPTIMIZER_ADAM, .decoupled_decay = true},
    {.learning_rate = 0.01, .trunk = 1, .trunk_rate = 0.5},
};

enum {
    SPECS = sizeof(specs) / sizeof(specs[0]),
    WAYS = sizeof(ways) / sizeof(ways[0]),
};

static float x[ROWS * INPUTS_MAX], y[ROWS], weights[ROWS], params[PARAMS_MAX];

static struct trib_samples samples_of(const struct trib_model *model, bool is_weighted)
{
    uint64_t seed = 9;
    assert_true(model->inputs <= INPUTS_MAX && trib_model_total(model) <= PARAMS_MAX);
    for (size_t i = 0; i < ROWS * model->inputs; i++)
        x[i] = model->items ? (float)(test_rand(&seed) % model->items) : small(&seed);
    for (size_t r = 0; r < ROWS; r++) {
        y[r] = model->classes ? (float)(r % model->classes) : small(&seed);
        weights[r] = 1 + small(&seed) / 2;
    }
    trib_model_init(model, 1, params);
    trib_model_init_local(model, 1, "d", params + model->param_count);
    return (struct trib_samples){.x = x,
                                 .y = y,
                                 .rows = ROWS,
                                 .inputs = model->inputs,
                                 .weights = is_weighted ? weights : NULL};
}

// The first call may have its kernels to load, the second has nothing to get.
static void assert_trains_without(const struct trib_model *model,
                                  const struct trib_train_options *options, bool is_weighted)
{
    const struct trib_samples samples = samples_of(model, is_weighted);
    struct trib_trainer_space *space;
    struct trib_rng rng;
    double loss;
    trib_rng_init(&rng, 1, "train", 0, NULL);
    const size_t before = allocations;
    assert_int_equal(trib_train_space_create(model, options, ROWS, &space), TRIB_OK);
    assert_true(allocations > before); // they are counted
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
    const size_t ready = allocations;
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
    if (allocations != ready)
        fail_msg("%s: %zu allocations", model->spec, allocations - ready);
    trib_train_space_destroy(space);
}

static void epochs_allocate_nothing(void **state)
{
    (void)state;
    for (size_t s = 0; s < SPECS; s++) {
        const struct trib_model model = parsed(specs[s]);
        for (size_t w = 0; w < WAYS; w++) {
            struct trib_train_options options = ways[w];
            options.epochs = 3;
            options.batch = 8;
            assert_trains_without(&model, &options, w % 2 == 1);
            options.kept.fraction = 0.3;
            options.patience = 1;
            options.batch = 0;
            assert_trains_without(&model, &options, w % 2 == 0);
        }
    }
}

static void personal_epochs_allocate_nothing(void **state)
{
    (void)state;
    size_t personal = 0;
    for (size_t s = 0; s < SPECS; s++) {
        const struct trib_model model = parsed(specs[s]);
        personal += model.local_count > 0;
        for (size_t w = 0; w < WAYS && model.local_count > 0; w++) {
            struct trib_train_options options = ways[w];
            options.epochs = 2;
            options.personal_epochs = 2;
            options.batch = 8;
            assert_trains_without(&model, &options, w % 2 == 1);
        }
    }
    assert_int_equal(personal, 4);
}

static void rows_that_arrive_are_learnt_without_allocating(void **state)
{
    (void)state;
    for (size_t s = 0; s < SPECS; s++) {
        const struct trib_model model = parsed(specs[s]);
        for (size_t w = 0; w < WAYS; w++) {
            struct trib_samples samples = samples_of(&model, w % 2 == 1);
            struct trib_train_options options = ways[w];
            struct trib_trainer_space *space;
            struct trib_rng rng;
            double loss;
            options.epochs = 1;
            options.batch = 1 + w;
            options.is_online = true;
            assert_true(trib_train_can_go_on(&options));
            trib_rng_init(&rng, 1, "train", 0, NULL);
            samples.rows = options.batch;
            assert_int_equal(trib_train_space_create(&model, &options, ROWS, &space), TRIB_OK);
            trib_train_begin(space, params);
            assert_int_equal(trib_train_partial(space, &samples, &rng, params, &loss), TRIB_OK);
            const size_t ready = allocations;
            for (; samples.rows <= ROWS; samples.rows += options.batch)
                assert_int_equal(trib_train_partial(space, &samples, &rng, params, &loss), TRIB_OK);
            if (allocations != ready)
                fail_msg("%s: %zu allocations", model.spec, allocations - ready);
            trib_train_space_destroy(space);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_allocate_nothing),
        cmocka_unit_test(personal_epochs_allocate_nothing),
        cmocka_unit_test(rows_that_arrive_are_learnt_without_allocating),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
