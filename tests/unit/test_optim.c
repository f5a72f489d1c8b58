#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/train.h"
#include "tests/unit/allocations.h"
#include "tests/unit/models.h"
#include "tests/unit/noise_rows.h"

// ---- The golden trajectories, and whatever shall hold for all of these

enum {
    PARAMS = 17,
    STEPS = 10,
};
#define GOLDEN_SPEC "2 - dense 3 tanh - dense 2 softmax"

static const float four_x[8] = {0.5f, -1.0f, 1.5f, 0.25f, -0.75f, 2.0f, -1.25f, -0.5f};
static const float four_y[4] = {0, 1, 1, 0};
static const float four_weights[4] = {0.5f, 2.0f, 0.25f, 1.25f};

#define NESTEROV .optimizer = TRIB_OPTIMIZER_NESTEROV
#define ADAM     .optimizer = TRIB_OPTIMIZER_ADAM
#define COMMON   .epochs = STEPS

static const struct {
    const char *name; // in vectors/optim.csv
    bool is_weighted;
    struct trib_train_options options;
} cases[] = {
    {"sgd", false, {COMMON, .learning_rate = 0.1}},
    {"weighted", true, {COMMON, .learning_rate = 0.1}},
    {"momentum_l2", false, {COMMON, .learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.01}},
    {"nesterov", false, {COMMON, NESTEROV, .learning_rate = 0.1, .momentum = 0.9}},
    {"nesterov_l2",
     false,
     {COMMON, NESTEROV, .learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.1}},
    {"adam", false, {COMMON, ADAM, .learning_rate = 0.05}},
    {"adam_l2", false, {COMMON, ADAM, .learning_rate = 0.05, .weight_decay = 0.1}},
    {"adamw",
     false,
     {COMMON, ADAM, .learning_rate = 0.05, .weight_decay = 0.1, .decoupled_decay = true}},
    {"l1", false, {COMMON, .learning_rate = 0.1, .l1 = 0.2}},
    {"momentum_l1", false, {COMMON, .learning_rate = 0.1, .momentum = 0.5, .l1 = 0.05}},
    {"adam_l1", false, {COMMON, ADAM, .learning_rate = 0.02, .l1 = 0.02}},
    {"proximal", false, {COMMON, .learning_rate = 0.1, .proximal_mu = 2}},
    {"adam_proximal", false, {COMMON, ADAM, .learning_rate = 0.05, .proximal_mu = 0.5}},
    {"clip", false, {COMMON, .learning_rate = 0.1, .momentum = 0.9, .clip_norm = 0.1}},
    {"all",
     true,
     {COMMON, NESTEROV, .learning_rate = 0.1, .momentum = 0.8, .weight_decay = 0.02, .l1 = 0.01,
      .proximal_mu = 0.3, .clip_norm = 0.25}},
};
enum {
    CASES = sizeof(cases) / sizeof(cases[0])
};

static double golden[CASES][STEPS][PARAMS];

static int read_golden(void **state)
{
    (void)state;
    char line[1024];
    size_t count = 0;
    FILE *file = fopen(TEST_VECTORS "/optim.csv", "r");
    if (!file || !fgets(line, sizeof(line), file))
        return -1;
    for (; fgets(line, sizeof(line), file) && count < (size_t)CASES * STEPS; count++) {
        const size_t c = count / STEPS, step = count % STEPS;
        const size_t length = strcspn(line, ",");
        char *next = line + length + 1;
        if (length != strlen(cases[c].name) || strncmp(line, cases[c].name, length) != 0 ||
            strtoul(next, &next, 10) != step + 1)
            return -1;
        for (int i = 0; i < PARAMS; i++)
            golden[c][step][i] = strtod(next + 1, &next);
    }
    bool is_whole = count == (size_t)CASES * STEPS && feof(file);
    (void)fclose(file);
    return is_whole ? 0 : -1;
}

static void start_golden(float params[PARAMS])
{
    for (int i = 0; i < PARAMS; i++)
        params[i] = (float)((i * 7 % 11 - 5) / 10.0);
}

static void expect(size_t c, size_t step, const float params[PARAMS])
{
    for (int i = 0; i < PARAMS; i++) {
        const double wanted = golden[c][step][i];
        if (fabs((double)params[i] - wanted) > 1e-6 || (wanted == 0) != (params[i] == 0))
            fail_msg("%s: step %zu: parameter %d: %.9g, not %.9g", cases[c].name, step + 1, i,
                     (double)params[i], wanted);
    }
}

static void every_optimizer_goes_the_known_path(void **state)
{
    (void)state;
    const struct trib_model model = parsed(GOLDEN_SPEC);
    struct trib_net *net;
    assert_int_equal(model.param_count, PARAMS);
    assert_int_equal(trib_net_create(&model, 4, &net), TRIB_OK);
    for (size_t c = 0; c < CASES; c++) {
        const struct trib_train_options *o = &cases[c].options;
        const struct trib_optim_options options = {o->optimizer,       o->momentum, o->weight_decay,
                                                   o->decoupled_decay, o->l1,       o->proximal_mu,
                                                   o->clip_norm};
        const struct trib_batch batch = {four_x, four_y, cases[c].is_weighted ? four_weights : NULL,
                                         4};
        float params[PARAMS], gradient[PARAMS];
        struct trib_optim *optim;
        assert_int_equal(trib_optim_create(&options, PARAMS, &optim), TRIB_OK);
        start_golden(params);
        trib_optim_begin(optim, params);
        for (size_t step = 0; step < STEPS; step++) {
            (void)trib_net_gradient_weighted(net, params, &batch, NULL, gradient);
            trib_optim_step(optim, o->learning_rate, gradient, params);
            expect(c, step, params);
        }
        trib_optim_destroy(optim);
    }
    trib_optim_destroy(NULL);
    trib_net_destroy(net);
}

static void train_case(size_t c, struct trib_trainer_space *space, float params[PARAMS])
{
    const struct trib_samples samples = {
        four_x, four_y, 4, 2, cases[c].is_weighted ? four_weights : NULL, NULL};
    struct trib_rng rng;
    double loss;
    trib_rng_init(&rng, 1, "train", 0, NULL);
    start_golden(params);
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
}

static void training_takes_the_same_steps_and_the_same_bits_each_time(void **state)
{
    (void)state;
    const struct trib_model model = parsed(GOLDEN_SPEC);
    for (size_t c = 0; c < CASES; c++) {
        float params[3][PARAMS];
        for (int run = 0; run < 2; run++) {
            struct trib_trainer_space *space;
            assert_int_equal(
                trib_train_space_create(&model, &cases[c].options, 4 + (size_t)run, &space),
                TRIB_OK);
            train_case(c, space, params[run]);
            expect(c, STEPS - 1, params[run]);
            train_case(c, space, params[2]); // nothing is left in the space from before
            assert_memory_equal(params[run], params[2], sizeof(params[run]));
            trib_train_space_destroy(space);
        }
        assert_memory_equal(params[0], params[1], sizeof(params[0]));
    }
}

// ---- Penalties, where the answer is known

static void a_lasso_ends_at_the_soft_threshold(void **state)
{
    (void)state;
    // (w - 0.3)^2 / 2 + l1 |w| is least at w = max(0.3 - l1, 0); the bias has nothing to do.
    static const float x[2] = {1, -1}, y[2] = {0.3f, -0.3f};
    const struct trib_samples samples = {.x = x, .y = y, .rows = 2, .inputs = 1};
    const struct trib_model model = parsed("1 - dense 1 linear");
    for (int kind = 0; kind < TRIB_OPTIMIZER_COUNT; kind++) {
        for (int sparse = 0; sparse < 2; sparse++) {
            const struct trib_train_options options = {
                .epochs = 3000,
                .learning_rate = kind == TRIB_OPTIMIZER_ADAM ? 0.001 : 0.05,
                .optimizer = (enum trib_optimizer)kind,
                .momentum = kind == TRIB_OPTIMIZER_ADAM ? 0 : 0.5,
                .l1 = sparse ? 0.5 : 0.1};
            struct trib_trainer_space *space;
            struct trib_rng rng;
            float params[2] = {0.8f, 0};
            double loss;
            trib_rng_init(&rng, 1, "train", 0, NULL);
            assert_int_equal(trib_train_space_create(&model, &options, 2, &space), TRIB_OK);
            assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
            trib_train_space_destroy(space);
            if (sparse)
                assert_true(params[0] == 0);
            else
                assert_float_equal(params[0], 0.2, 1e-3);
            assert_true(params[1] == 0);
        }
    }
}

static void a_gradient_is_clipped_to_its_bound_and_no_shorter_one_is(void **state)
{
    (void)state;
    const struct trib_optim_options options = {.clip_norm = 5};
    struct trib_optim *optim;
    float params[2] = {0, 0}, gradient[2] = {30, -40};
    assert_int_equal(trib_optim_create(&options, 2, &optim), TRIB_OK);
    trib_optim_begin(optim, params);
    trib_optim_step(optim, 1, gradient, params);
    assert_float_equal(params[0], -3, 1e-6);
    assert_float_equal(params[1], 4, 1e-6);
    gradient[0] = 3;
    gradient[1] = -4;
    params[0] = params[1] = 0;
    trib_optim_step(optim, 1, gradient, params);
    assert_true(params[0] == -3 && params[1] == 4);
    trib_optim_destroy(optim);
}

static void values_within_the_threshold_are_exactly_zero(void **state)
{
    (void)state;
    assert_true(trib_soft_threshold(0.5f, 0.5f) == 0);
    assert_true(trib_soft_threshold(-0.25f, 0.5f) == 0);
    assert_true(trib_soft_threshold(0.75f, 0.5f) == 0.25f);
    assert_true(trib_soft_threshold(-2, 0.5f) == -1.5f);
    assert_true(trib_soft_threshold(-2, (float)INFINITY) == 0);
}

// ---- Learning rates

static void assert_near(double value, double wanted)
{
    if (fabs(value - wanted) > 1e-12)
        fail_msg("%.15g, not %.15g", value, wanted);
}

static void schedules_fall_as_they_say(void **state)
{
    (void)state;
    const struct trib_schedule constant = {.kind = TRIB_SCHEDULE_CONSTANT};
    const struct trib_schedule step = {TRIB_SCHEDULE_STEP, 3, 0.5, 0.03};
    const struct trib_schedule cosine = {.kind = TRIB_SCHEDULE_COSINE, .min = 0.01};
    static const double steps[] = {0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.03, 0.03};
    for (uint64_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        assert_near(trib_schedule_rate(&constant, 0.2, i, 12, NULL), 0.2);
        assert_near(trib_schedule_rate(&step, 0.2, i, 12, NULL), steps[i]);
    }
    assert_near(trib_schedule_rate(&cosine, 0.21, 0, 12, NULL), 0.21);
    assert_near(trib_schedule_rate(&cosine, 0.21, 4, 12, NULL), 0.16); // cos 60 degrees: 1/2
    assert_near(trib_schedule_rate(&cosine, 0.21, 6, 12, NULL), 0.11);
    assert_near(trib_schedule_rate(&cosine, 0.21, 12, 12, NULL), 0.01);
    assert_near(trib_schedule_rate(&cosine, 0.001, 7, 12, NULL), 0.001); // never risen to `min`
}

static void a_plateau_cuts_once_in_each_window_without_a_better_value(void **state)
{
    (void)state;
    const struct trib_schedule schedule = {TRIB_SCHEDULE_PLATEAU, 2, 0.1, 1e-4};
    static const double values[] = {0.5, 0.6, 0.6, 0.55, 0.7, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6};
    static const int cuts[] = {0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4};
    for (int lower = 0; lower < 2; lower++) {
        struct trib_plateau plateau = {0};
        assert_near(trib_schedule_rate(&schedule, 0.1, 0, 20, &plateau), 0.1);
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            trib_plateau_observe(&plateau, &schedule, lower ? -values[i] : values[i], !lower);
            const double wanted = 0.1 * pow(0.1, cuts[i]);
            assert_near(trib_schedule_rate(&schedule, 0.1, i, 20, &plateau),
                        wanted > 1e-4 ? wanted : 1e-4);
        }
    }
}

static void training_goes_through_a_schedule_step_by_step(void **state)
{
    (void)state;
    // With a gradient of always 1 a parameter falls by the sum of the rates.
    static const float x[6] = {0}, y[6] = {-1e4f, -1e4f, -1e4f, -1e4f, -1e4f, -1e4f};
    const struct trib_samples samples = {.x = x, .y = y, .rows = 6, .inputs = 1};
    const struct trib_model model = parsed("1 - dense 1 linear");
    const struct trib_train_options options = {
        .epochs = 2,
        .batch = 4, // two steps an epoch, the second of two rows
        .learning_rate = 1,
        .clip_norm = 1,
        .schedule = {.kind = TRIB_SCHEDULE_STEP, .every = 1, .gamma = 0.5}};
    struct trib_trainer_space *space;
    struct trib_rng rng;
    float params[2] = {0, 0};
    double loss;
    trib_rng_init(&rng, 1, "train", 0, NULL);
    assert_int_equal(trib_train_space_create(&model, &options, 6, &space), TRIB_OK);
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
    assert_float_equal(params[1], -1.875, 1e-6);
    trib_train_set_rate(space, 2);
    params[1] = 0;
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
    assert_float_equal(params[1], -3.75, 1e-6);
    trib_train_space_destroy(space);
}

static void too_few_rows_to_keep_any_are_all_learnt_from(void **state)
{
    (void)state;
    const struct trib_model model = parsed(GOLDEN_SPEC);
    const struct trib_train_options options = {
        .epochs = 3, .learning_rate = 0.1, .kept.fraction = 1e-9, .patience = 1};
    struct trib_trainer_space *space;
    float params[PARAMS];
    assert_int_equal(trib_train_space_create(&model, &options, 4, &space), TRIB_OK);
    train_case(0, space, params);
    const struct trib_train_report report = trib_train_report(space);
    assert_int_equal(report.rows, 4);
    assert_int_equal(report.epochs, 3);
    assert_int_equal(report.best_epoch, 3);
    assert_true(isnan(report.validation_loss));
    trib_train_space_destroy(space);
}

// ---- Weights

static void train_rows(const struct trib_samples *samples, enum trib_class_weights kind,
                       const float *weights, float params[PARAMS])
{
    const struct trib_model model = parsed(GOLDEN_SPEC);
    const struct trib_train_options options = {
        .epochs = 5, .learning_rate = 0.5, .class_weights = kind};
    struct trib_trainer_space *space;
    struct trib_rng rng;
    double loss;
    trib_rng_init(&rng, 1, "train", 0, NULL);
    start_golden(params);
    assert_int_equal(trib_train_space_create(&model, &options, samples->rows, &space), TRIB_OK);
    if (weights)
        trib_train_set_class_weights(space, weights);
    assert_int_equal(trib_train(space, samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
    trib_train_space_destroy(space);
}

static void balanced_classes_are_like_repeated_rows(void **state)
{
    (void)state;
    float x[24], y[12], balanced[PARAMS], repeated[PARAMS], plain[PARAMS];
    uint64_t seed = 4;
    for (int i = 0; i < 16; i++)
        x[i] = small(&seed);
    for (int r = 0; r < 8; r++)
        y[r] = r >= 6; // six of one class and two of the other
    const struct trib_samples few = {.x = x, .y = y, .rows = 8, .inputs = 2};
    train_rows(&few, TRIB_CLASS_WEIGHTS_OWN, NULL, balanced);
    train_rows(&few, TRIB_CLASS_WEIGHTS_NONE, NULL, plain);
    for (int copy = 0; copy < 2; copy++) {
        memcpy(x + 16 + 4 * copy, x + 12, 4 * sizeof(float));
        y[8 + 2 * copy] = y[9 + 2 * copy] = 1;
    }
    const struct trib_samples many = {.x = x, .y = y, .rows = 12, .inputs = 2};
    train_rows(&many, TRIB_CLASS_WEIGHTS_NONE, NULL, repeated);
    double apart = 0;
    for (int i = 0; i < PARAMS; i++) {
        assert_float_equal(balanced[i], repeated[i], 1e-5);
        apart += fabs((double)(plain[i] - repeated[i]));
    }
    assert_true(apart > 0.01);
}

// A class weighs what its rows weigh: two rows of weight 3 are as much as six of 1.
static void balanced_classes_count_the_weights_of_rows(void **state)
{
    (void)state;
    float x[16], y[8], weights[8], balanced[PARAMS], plain[PARAMS];
    uint64_t seed = 4;
    for (int i = 0; i < 16; i++)
        x[i] = small(&seed);
    for (int r = 0; r < 8; r++) {
        y[r] = r >= 6;
        weights[r] = r >= 6 ? 3 : 1;
    }
    const struct trib_samples rows = {x, y, 8, 2, weights, NULL};
    train_rows(&rows, TRIB_CLASS_WEIGHTS_OWN, NULL, balanced);
    train_rows(&rows, TRIB_CLASS_WEIGHTS_NONE, NULL, plain);
    assert_memory_equal(balanced, plain, sizeof(plain));
}

// As a fleet's are: of one device's rows they are not what it would have given itself.
static void weights_that_are_given_are_used_as_they_are(void **state)
{
    (void)state;
    static const float given[2] = {0.5f, 2};
    const float weights[4] = {given[(int)four_y[0]], given[(int)four_y[1]], given[(int)four_y[2]],
                              given[(int)four_y[3]]};
    const struct trib_samples rows = {four_x, four_y, 4, 2, NULL, NULL};
    const struct trib_samples weighed = {four_x, four_y, 4, 2, weights, NULL};
    float by_class[PARAMS], by_row[PARAMS], own[PARAMS];
    train_rows(&rows, TRIB_CLASS_WEIGHTS_GIVEN, given, by_class);
    train_rows(&weighed, TRIB_CLASS_WEIGHTS_NONE, NULL, by_row);
    train_rows(&rows, TRIB_CLASS_WEIGHTS_OWN, NULL, own);
    assert_memory_equal(by_class, by_row, sizeof(by_row));
    assert_memory_not_equal(by_class, own, sizeof(own));
}

static void a_row_of_weight_zero_is_like_no_row(void **state)
{
    (void)state;
    const float weights[4] = {4.0f / 3, 4.0f / 3, 0, 4.0f / 3};
    const float x[6] = {0.5f, -1.0f, 1.5f, 0.25f, -1.25f, -0.5f}, y[3] = {0, 1, 0};
    const struct trib_samples four = {four_x, four_y, 4, 2, weights, NULL};
    const struct trib_samples three = {x, y, 3, 2, NULL, NULL};
    float weighted[PARAMS], fewer[PARAMS];
    train_rows(&four, TRIB_CLASS_WEIGHTS_NONE, NULL, weighted);
    train_rows(&three, TRIB_CLASS_WEIGHTS_NONE, NULL, fewer);
    for (int i = 0; i < PARAMS; i++)
        assert_float_equal(weighted[i], fewer[i], 1e-6);
}

// ---- The loop

static void nothing_is_allocated_while_training(void **state)
{
    (void)state;
    const struct trib_model model = parsed("1x2x5 - dropout 0.1 - dense 12 relu - dropout 0.5 - "
                                           "dense 2 softmax");
    float params[256], weights[NOISE_ROWS];
    struct trib_samples samples = noise;
    struct trib_trainer_space *space;
    struct trib_rng rng;
    double loss;
    make_noise();
    samples.weights = weights;
    for (int r = 0; r < NOISE_ROWS; r++)
        weights[r] = 1;
    assert_true(model.param_count <= 256);
    for (size_t c = 0; c < CASES; c++) {
        struct trib_train_options options = cases[c].options;
        options.batch = 7;
        options.kept.fraction = 0.2;
        options.class_weights = c % 2 == 0 ? TRIB_CLASS_WEIGHTS_OWN : TRIB_CLASS_WEIGHTS_NONE;
        if (c % 2 == 1)
            options.resample = (struct trib_resample_options){TRIB_SAMPLING_SMOTE, 1, 5};
        if (c % 3 > 0)
            options.augment = (struct trib_augment_options){
                .jitter = 0.1, .mixup = 0.3, .shift = 1, .rotate = 10, .crop = 0.8};
        options.schedule = (struct trib_schedule){.kind = TRIB_SCHEDULE_COSINE};
        trib_rng_init(&rng, 1, "train", 0, NULL);
        trib_model_init(&model, 1, params);
        assert_int_equal(trib_train_space_create(&model, &options, NOISE_ROWS, &space), TRIB_OK);
        assert_true(allocations > 0); // they are counted
        assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
        allocations = 0; // the first product may have had its kernels to load
        assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
        assert_int_equal(allocations, 0);
        trib_train_space_destroy(space);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_optimizer_goes_the_known_path, read_golden),
        cmocka_unit_test_setup(training_takes_the_same_steps_and_the_same_bits_each_time,
                               read_golden),
        cmocka_unit_test(a_lasso_ends_at_the_soft_threshold),
        cmocka_unit_test(a_gradient_is_clipped_to_its_bound_and_no_shorter_one_is),
        cmocka_unit_test(values_within_the_threshold_are_exactly_zero),
        cmocka_unit_test(schedules_fall_as_they_say),
        cmocka_unit_test(a_plateau_cuts_once_in_each_window_without_a_better_value),
        cmocka_unit_test(training_goes_through_a_schedule_step_by_step),
        cmocka_unit_test(too_few_rows_to_keep_any_are_all_learnt_from),
        cmocka_unit_test(balanced_classes_are_like_repeated_rows),
        cmocka_unit_test(balanced_classes_count_the_weights_of_rows),
        cmocka_unit_test(weights_that_are_given_are_used_as_they_are),
        cmocka_unit_test(a_row_of_weight_zero_is_like_no_row),
        cmocka_unit_test(nothing_is_allocated_while_training),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
