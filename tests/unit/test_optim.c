#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/train.h"
#include "tests/unit/allocations.h"
#include "tests/unit/models.h"

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

// ---- Dropout

static void a_dropped_value_is_zero_and_the_others_are_raised(void **state)
{
    (void)state;
    enum {
        WIDTH = 20000
    };
    const struct trib_model model = parsed("20000 - dropout 0.3 - dense 1 linear");
    struct trib_net *net;
    float *memory = calloc(4 * (WIDTH + 1), sizeof(*memory));
    assert_non_null(memory);
    float *x = memory, *params = x + WIDTH + 1, *g = params + WIDTH + 1, *again = g + WIDTH + 1;
    const float y = 1; // outputs are 0, so the bias has the slope -1 and x the slope -mask
    const struct trib_batch batch = {x, &y, NULL, 1};
    assert_int_equal(model.param_count, WIDTH + 1);
    for (int i = 0; i < WIDTH; i++)
        x[i] = 1;
    assert_int_equal(trib_net_create(&model, 1, &net), TRIB_OK);
    struct trib_rng rng, other;
    trib_rng_init(&rng, 1, "train", 0, NULL);
    other = rng;
    (void)trib_net_gradient_weighted(net, params, &batch, &rng, g);
    (void)trib_net_gradient_weighted(net, params, &batch, &other, again);
    assert_memory_equal(g, again, (WIDTH + 1) * sizeof(*g)); // the same stream, the same values
    int dropped = 0;
    for (int i = 0; i < WIDTH; i++) {
        dropped += g[i] == 0;
        if (g[i] != 0)
            assert_float_equal(g[i], -1 / 0.7f, 1e-6);
    }
    assert_true(abs(dropped - 6000) < 5 * 65); // the standard deviation is 64.8
    (void)trib_net_gradient_weighted(net, params, &batch, &rng, again);
    assert_memory_not_equal(g, again, (WIDTH + 1) * sizeof(*g)); // drawn anew for each batch
    (void)trib_net_gradient(net, params, x, &y, 1, g);
    for (int i = 0; i <= WIDTH; i++)
        assert_true(g[i] == -1); // off: nothing is dropped
    trib_net_destroy(net);
    free(memory);
}

static void evaluation_is_that_of_the_model_without_dropout(void **state)
{
    (void)state;
    const struct trib_model with = parsed("6 - dropout 0.2 - dense 9 tanh - dropout 0.5 - "
                                          "dense 5 relu - dropout 0.9 - dense 3 softmax");
    const struct trib_model without = parsed("6 - dense 9 tanh - dense 5 relu - dense 3 softmax");
    float params[256], x[4 * 6], gradients[2][256];
    const float y[4] = {0, 1, 2, 1};
    uint64_t seed = 3;
    struct trib_net *nets[2];
    assert_int_equal(with.param_count, without.param_count);
    assert_true(with.param_count <= 256);
    for (size_t i = 0; i < with.param_count; i++)
        params[i] = small(&seed);
    for (int i = 0; i < 24; i++)
        x[i] = small(&seed);
    assert_int_equal(trib_net_create(&with, 4, &nets[0]), TRIB_OK);
    assert_int_equal(trib_net_create(&without, 4, &nets[1]), TRIB_OK);
    const float *a = trib_net_forward(nets[0], params, x, 4);
    const float *b = trib_net_forward(nets[1], params, x, 4);
    assert_memory_equal(a, b, 4 * 3 * sizeof(float));
    for (int i = 0; i < 2; i++)
        (void)trib_net_gradient(nets[i], params, x, y, 4, gradients[i]);
    assert_memory_equal(gradients[0], gradients[1], with.param_count * sizeof(float));
    trib_net_destroy(nets[0]);
    trib_net_destroy(nets[1]);
}

static void check_dropout_gradient(const char *spec, uint64_t seed)
{
    enum {
        ROWS = 5
    };
    const struct trib_model model = parsed(spec);
    const double h = 0x1p-7;
    struct trib_net *net;
    float params[256], gradient[256], unused[256], x[ROWS * 8], y[ROWS], weights[ROWS];
    const struct trib_batch batch = {x, y, weights, ROWS};
    struct trib_rng rng, start;
    assert_true(model.param_count <= 256 && model.inputs <= 8);
    trib_rng_init(&start, seed, "train", 0, NULL);
    for (size_t i = 0; i < model.param_count; i++)
        params[i] = small(&seed);
    for (size_t i = 0; i < ROWS * model.inputs; i++)
        x[i] = small(&seed);
    for (int r = 0; r < ROWS; r++) {
        y[r] = model.classes ? (float)(test_rand(&seed) % model.classes) : small(&seed);
        weights[r] = 1 + small(&seed);
    }
    assert_int_equal(trib_net_create(&model, ROWS, &net), TRIB_OK);
    rng = start;
    (void)trib_net_gradient_weighted(net, params, &batch, &rng, gradient);
    for (size_t i = 0; i < model.param_count; i++) {
        const float here = params[i];
        params[i] = here + (float)h; // the same stream drops the same values
        rng = start;
        double above = trib_net_gradient_weighted(net, params, &batch, &rng, unused);
        params[i] = here - (float)h;
        rng = start;
        double below = trib_net_gradient_weighted(net, params, &batch, &rng, unused);
        params[i] = here;
        const double slope = (above - below) / (2 * h);
        if (fabs((double)gradient[i] - slope) > 2e-3 * fabs(slope) + 1e-4)
            fail_msg("%s: parameter %zu: %g, differences say %g", spec, i, (double)gradient[i],
                     slope);
    }
    trib_net_destroy(net);
}

static void gradients_through_dropout_agree_with_differences(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "6 - dropout 0.25 - dense 3 softmax",
        "6 - dense 7 tanh - dropout 0.5 - dense 3 softmax",
        "6 - dropout 0.1 - dense 7 sigmoid - dropout 0.3 - dense 1 sigmoid",
        "5 - dense 6 tanh - dropout 0.4 - dropout 0.2 - dense 4 tanh - dropout 0.5 - dense 1",
    };
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++)
        for (uint64_t seed = 1; seed <= 5; seed++)
            check_dropout_gradient(specs[i], seed);
}

static void a_share_has_one_canonical_text(void **state)
{
    (void)state;
    const struct trib_model model = parsed("4 -dropout 0.5000 - dense 2 softmax");
    assert_string_equal(model.spec, "4 - dropout 0.5 - dense 2 softmax");
    assert_string_equal(parsed("4 - dropout .25 - dense 2 softmax").spec,
                        "4 - dropout 0.25 - dense 2 softmax");
    assert_string_equal(parsed("4 - dropout 0.0001 - dense 2 softmax").spec,
                        "4 - dropout 0.0001 - dense 2 softmax");
    assert_int_equal(model.param_count, 10);
    const struct trib_model other = parsed("4 - dropout 0.4 - dense 2 softmax");
    assert_memory_not_equal(model.arch_digest, other.arch_digest, TRIB_DIGEST_SIZE);
}

// ---- Rows kept aside

enum {
    NOISE_ROWS = 120,
    NOISE_INPUTS = 10,
};
#define NOISE_SPEC "10 - dense 24 tanh - dense 2 softmax"

static float noise_x[NOISE_ROWS * NOISE_INPUTS], noise_y[NOISE_ROWS];
static const struct trib_samples noise = {
    .x = noise_x, .y = noise_y, .rows = NOISE_ROWS, .inputs = NOISE_INPUTS};

// One input of ten says something of the class, and that not always: what begins as learning ends
// as learning by heart.
static void make_noise(void)
{
    uint64_t seed = 8;
    for (int i = 0; i < NOISE_ROWS * NOISE_INPUTS; i++)
        noise_x[i] = small(&seed);
    for (int r = 0; r < NOISE_ROWS; r++)
        noise_y[r] = noise_x[r * NOISE_INPUTS] + 0.5f * small(&seed) > 0;
}

static struct trib_train_report train_noise(const struct trib_train_options *options, float *params)
{
    const struct trib_model model = parsed(NOISE_SPEC);
    struct trib_trainer_space *space;
    struct trib_rng rng;
    double loss;
    trib_rng_init(&rng, 2, "train", 0, NULL);
    trib_model_init(&model, 2, params);
    assert_int_equal(trib_train_space_create(&model, options, NOISE_ROWS, &space), TRIB_OK);
    assert_int_equal(trib_train(space, &noise, &rng, params, NULL, NULL, &loss), TRIB_OK);
    struct trib_train_report report = trib_train_report(space);
    trib_train_space_destroy(space);
    return report;
}

static double kept_loss(const float *params, double fraction, size_t *ret_kept)
{
    const struct trib_model model = parsed(NOISE_SPEC);
    struct trib_net *net;
    const float *outputs;
    double sum = 0;
    *ret_kept = 0;
    assert_int_equal(trib_net_create(&model, 1, &net), TRIB_OK);
    for (size_t r = 0; r < NOISE_ROWS; r++) {
        if (!trib_train_validates(r, fraction))
            continue;
        sum += trib_net_loss_sum(net, params, noise_x + r * NOISE_INPUTS, noise_y + r, 1, &outputs);
        ++*ret_kept;
    }
    trib_net_destroy(net);
    return sum / (double)*ret_kept;
}

static void training_stops_early_and_the_best_parameters_come_back(void **state)
{
    (void)state;
    struct trib_train_options options = {.epochs = 400,
                                         .batch = 8,
                                         .learning_rate = 0.3,
                                         .momentum = 0.5,
                                         .validation_fraction = 0.25,
                                         .patience = 20};
    float params[512], shorter[512];
    size_t kept;
    make_noise();
    const struct trib_train_report report = train_noise(&options, params);
    const double loss = kept_loss(params, 0.25, &kept);
    assert_int_equal(report.rows, NOISE_ROWS - kept);
    assert_int_equal(report.epochs, report.best_epoch + 20);
    assert_true(report.epochs < 400 && report.best_epoch > 1);
    assert_true(fabs(report.validation_loss - loss) < 1e-5);

    options.patience = 0; // all epochs, and the best of them
    options.epochs = report.epochs;
    assert_int_equal(train_noise(&options, shorter).epochs, report.epochs);
    assert_memory_equal(params, shorter, sizeof(float) * parsed(NOISE_SPEC).param_count);
    options.epochs = report.best_epoch; // the way there is the same without what followed
    assert_int_equal(train_noise(&options, shorter).best_epoch, report.best_epoch);
    assert_memory_equal(params, shorter, sizeof(float) * parsed(NOISE_SPEC).param_count);
}

static void rows_kept_aside_teach_nothing(void **state)
{
    (void)state;
    const struct trib_train_options options = {
        .epochs = 1, .batch = 8, .learning_rate = 0.3, .validation_fraction = 0.25};
    float params[2][512];
    make_noise();
    (void)train_noise(&options, params[0]);
    for (size_t r = 0; r < NOISE_ROWS; r++) {
        if (trib_train_validates(r, 0.25))
            noise_y[r] = 1 - noise_y[r];
    }
    (void)train_noise(&options, params[1]);
    assert_memory_equal(params[0], params[1], sizeof(float) * parsed(NOISE_SPEC).param_count);
}

static void a_row_keeps_its_side_and_the_share_is_met(void **state)
{
    (void)state;
    size_t kept = 0;
    for (size_t r = 0; r < 100000; r++) {
        const bool is_kept = trib_train_validates(r, 0.2);
        kept += is_kept;
        assert_false(trib_train_validates(r, 0));
        assert_true(!is_kept ||
                    trib_train_validates(r, 0.3)); // a larger share has all of a smaller
    }
    assert_true(kept > 19300 && kept < 20700); // five deviations of 126
}

static void too_few_rows_to_keep_any_are_all_learnt_from(void **state)
{
    (void)state;
    const struct trib_model model = parsed(GOLDEN_SPEC);
    const struct trib_train_options options = {
        .epochs = 3, .learning_rate = 0.1, .validation_fraction = 1e-9, .patience = 1};
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

static void train_rows(const struct trib_samples *samples, bool are_equal, float params[PARAMS])
{
    const struct trib_model model = parsed(GOLDEN_SPEC);
    const struct trib_train_options options = {
        .epochs = 5, .learning_rate = 0.5, .are_classes_equal = are_equal};
    struct trib_trainer_space *space;
    struct trib_rng rng;
    double loss;
    trib_rng_init(&rng, 1, "train", 0, NULL);
    start_golden(params);
    assert_int_equal(trib_train_space_create(&model, &options, samples->rows, &space), TRIB_OK);
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
    train_rows(&few, true, balanced);
    train_rows(&few, false, plain);
    for (int copy = 0; copy < 2; copy++) {
        memcpy(x + 16 + 4 * copy, x + 12, 4 * sizeof(float));
        y[8 + 2 * copy] = y[9 + 2 * copy] = 1;
    }
    const struct trib_samples many = {.x = x, .y = y, .rows = 12, .inputs = 2};
    train_rows(&many, false, repeated);
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
    train_rows(&rows, true, balanced);
    train_rows(&rows, false, plain);
    assert_memory_equal(balanced, plain, sizeof(plain));
}

static void a_row_of_weight_zero_is_like_no_row(void **state)
{
    (void)state;
    const float weights[4] = {4.0f / 3, 4.0f / 3, 0, 4.0f / 3};
    const float x[6] = {0.5f, -1.0f, 1.5f, 0.25f, -1.25f, -0.5f}, y[3] = {0, 1, 0};
    const struct trib_samples four = {four_x, four_y, 4, 2, weights, NULL};
    const struct trib_samples three = {x, y, 3, 2, NULL, NULL};
    float weighted[PARAMS], fewer[PARAMS];
    train_rows(&four, false, weighted);
    train_rows(&three, false, fewer);
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
        options.validation_fraction = 0.2;
        options.are_classes_equal = c % 2 == 0;
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
        cmocka_unit_test(a_dropped_value_is_zero_and_the_others_are_raised),
        cmocka_unit_test(evaluation_is_that_of_the_model_without_dropout),
        cmocka_unit_test(gradients_through_dropout_agree_with_differences),
        cmocka_unit_test(a_share_has_one_canonical_text),
        cmocka_unit_test(training_stops_early_and_the_best_parameters_come_back),
        cmocka_unit_test(rows_kept_aside_teach_nothing),
        cmocka_unit_test(a_row_keeps_its_side_and_the_share_is_met),
        cmocka_unit_test(too_few_rows_to_keep_any_are_all_learnt_from),
        cmocka_unit_test(balanced_classes_are_like_repeated_rows),
        cmocka_unit_test(balanced_classes_count_the_weights_of_rows),
        cmocka_unit_test(a_row_of_weight_zero_is_like_no_row),
        cmocka_unit_test(nothing_is_allocated_while_training),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
