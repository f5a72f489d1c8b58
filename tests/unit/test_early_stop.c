// Rows that a device keeps aside, and the end of training that they tell.
#include "tests/test.h"

#include <math.h>

#include "common/base/wipe.h"
#include "common/math/train.h"
#include "tests/unit/models.h"
#include "tests/unit/noise_rows.h"

#define NOISE_SPEC "10 - dense 24 tanh - dense 2 softmax"

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
                                         .kept.fraction = 0.25,
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
        .epochs = 1, .batch = 8, .learning_rate = 0.3, .kept.fraction = 0.25};
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

static void a_part_that_is_kept_aside_is_not_even_looked_at(void **state)
{
    (void)state;
    struct trib_train_options options = {.epochs = 60,
                                         .batch = 8,
                                         .learning_rate = 0.3,
                                         .momentum = 0.5,
                                         .kept = {.folds = 4, .fold = 1}};
    const size_t size = sizeof(float) * parsed(NOISE_SPEC).param_count;
    float params[2][512];
    size_t kept = 0;
    make_noise();
    const struct trib_train_report report = train_noise(&options, params[0]);
    for (size_t r = 0; r < NOISE_ROWS; r++) {
        if (trib_train_fold(r, 4) != 1)
            continue;
        kept++;
        noise_y[r] = 1 - noise_y[r];
    }
    assert_true(kept > 0);
    assert_int_equal(report.rows, NOISE_ROWS - kept);
    assert_int_equal(report.best_epoch, 60); // none was chosen by them
    assert_true(isnan(report.validation_loss));
    (void)train_noise(&options, params[1]);
    assert_memory_equal(params[0], params[1], size);
    options.kept.fold = 2;
    (void)train_noise(&options, params[1]);
    assert_memory_not_equal(params[0], params[1], size);
}

static void parts_are_disjoint_complete_and_alike(void **state)
{
    (void)state;
    enum {
        FOLDS = 5,
        ROWS = 100000
    };
    size_t counts[FOLDS] = {0}, of_share = 0;
    for (size_t r = 0; r < ROWS; r++) {
        const uint32_t fold = trib_train_fold(r, FOLDS);
        assert_true(fold < FOLDS);
        counts[fold]++;
        of_share += fold == 0 && trib_train_validates(r, 0.2);
    }
    for (size_t f = 0; f < FOLDS; f++)
        assert_true(counts[f] > ROWS / FOLDS - 600 && counts[f] < ROWS / FOLDS + 600);
    assert_true(of_share > ROWS / 25 - 300 && of_share < ROWS / 25 + 300); // unrelated to shares
}

static void who_has_only_rows_of_the_part_learns_nothing(void **state)
{
    (void)state;
    const struct trib_model model = parsed(NOISE_SPEC);
    const uint64_t id = 7;
    const struct trib_samples one = {
        .x = noise_x, .y = noise_y, .ids = &id, .rows = 1, .inputs = NOISE_INPUTS};
    const struct trib_train_options options = {
        .epochs = 1, .learning_rate = 0.1, .kept = {.folds = 3, .fold = trib_train_fold(id, 3)}};
    struct trib_trainer_space *space;
    struct trib_rng rng;
    float params[512] = {0};
    double loss;
    make_noise();
    trib_rng_init(&rng, 1, "train", 0, NULL);
    assert_int_equal(trib_train_space_create(&model, &options, 1, &space), TRIB_OK);
    assert_int_equal(trib_train(space, &one, &rng, params, NULL, NULL, &loss), TRIB_ERR_REFUSED);
    trib_train_space_destroy(space);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_stops_early_and_the_best_parameters_come_back),
        cmocka_unit_test(rows_kept_aside_teach_nothing),
        cmocka_unit_test(a_part_that_is_kept_aside_is_not_even_looked_at),
        cmocka_unit_test(parts_are_disjoint_complete_and_alike),
        cmocka_unit_test(who_has_only_rows_of_the_part_learns_nothing),
        cmocka_unit_test(a_row_keeps_its_side_and_the_share_is_met),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
