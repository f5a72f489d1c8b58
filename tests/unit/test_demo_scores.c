// How much the bins of a fleet lose on data that people know: the answer is to be within 0.002.
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/wipe.h"
#include "common/data/csv.h"
#include "common/data/source.h"
#include "common/math/evaluation.h"
#include "common/math/score_sums.h"
#include "common/math/train.h"

#define DEMO_DATA TEST_VECTORS "/../../simulations/data/"

// Every fourth row of a file is held out.
static struct trib_dataset *side(const struct trib_dataset *all, bool is_test)
{
    struct trib_dataset *part;
    size_t count = 0;
    uint32_t *rows = trib_alloc_array(all->rows, sizeof(*rows));
    assert_non_null(rows);
    for (uint32_t r = 0; r < all->rows; r++) {
        if ((r % 4 == 0) == is_test)
            rows[count++] = r;
    }
    assert_int_equal(trib_dataset_select(all, rows, count, 1, &part), TRIB_OK);
    free(rows);
    return part;
}

static void assert_bins_are_near(const char *name, const struct trib_model *model,
                                 const struct trib_dataset *test, const float *params)
{
    const struct trib_samples samples = trib_dataset_samples(test);
    const uint32_t classes = model->classes;
    struct trib_evaluation exact;
    struct trib_score_values binned;
    struct trib_score_sums sums;
    struct trib_net *net;
    double p[10];

    assert_int_equal(trib_net_create(model, test->rows, &net), TRIB_OK);
    assert_int_equal(trib_evaluate(net, params, &samples, NULL, &exact), TRIB_OK);
    assert_int_equal(trib_score_sums_init(&sums, classes, 5), TRIB_OK);
    const float *outputs = trib_net_forward(net, params, samples.x, samples.rows);
    for (size_t r = 0; r < samples.rows; r++) {
        if (model->outputs == 1) {
            p[1] = (double)outputs[r];
            p[0] = 1 - p[1];
        }
        for (uint32_t c = 0; model->outputs > 1 && c < classes; c++)
            p[c] = (double)outputs[r * classes + c];
        trib_score_sums_add(&sums, p, (uint32_t)samples.y[r]);
    }
    assert_int_equal(trib_score_sums_values(&sums, &binned), TRIB_OK);
    print_message("%s: auc %.5f, from bins %.5f (bound %.5f); average precision %.5f, %.5f\n", name,
                  exact.auc, binned.roc_auc, binned.roc_auc_bound, exact.average_precision,
                  binned.average_precision);
    assert_true(fabs(binned.roc_auc - exact.auc) <= binned.roc_auc_bound + 1e-12);
    assert_true(fabs(binned.roc_auc - exact.auc) <= 0.002);
    if (classes == 2)
        assert_true(fabs(binned.average_precision - exact.average_precision) <= 0.002);
    assert_true(exact.auc > 0.8);
    trib_score_sums_fini(&sums);
    trib_net_destroy(net);
}

static void check_demo(const char *name, const char *spec, const struct trib_train_options *options,
                       const struct trib_dataset *learn_rows, const struct trib_dataset *test_rows)
{
    struct trib_model model;
    struct trib_trainer_space *space;
    struct trib_rng rng;
    char why[256];
    double loss;
    const struct trib_samples learn = trib_dataset_samples(learn_rows);
    assert_int_equal(trib_model_parse(spec, &model, why, sizeof(why)), TRIB_OK);
    float *params = trib_alloc_aligned(model.param_count, sizeof(*params));
    assert_non_null(params);
    trib_model_init(&model, 1, params);
    trib_rng_init(&rng, 1, "demo", 0, NULL);
    assert_int_equal(trib_train_space_create(&model, options, learn.rows, &space), TRIB_OK);
    assert_int_equal(trib_train(space, &learn, &rng, params, NULL, NULL, &loss), TRIB_OK);
    trib_train_space_destroy(space);
    assert_bins_are_near(name, &model, test_rows, params);
    free(params);
}

static void tumours_lose_little(void **state)
{
    (void)state;
    const struct trib_csv_options csv = {
        .header = TRIB_CSV_HEADER_YES, .label = "benign", .scale = 100};
    const struct trib_train_options options = {
        .epochs = 3000, .learning_rate = 0.1, .momentum = 0.9}; // full batches, as the scenario
    struct trib_dataset *all;
    assert_int_equal(trib_csv_read(DEMO_DATA "breast_cancer.csv", &csv, &all), TRIB_OK);
    struct trib_dataset *learn = side(all, false), *test = side(all, true);
    check_demo("breast cancer", "30 - dense 1 sigmoid", &options, learn, test);
    trib_dataset_free(learn);
    trib_dataset_free(test);
    trib_dataset_free(all);
}

static void digits_lose_little(void **state)
{
    (void)state;
    const struct trib_csv_options csv = {
        .header = TRIB_CSV_HEADER_NO, .label = "last", .scale = 16};
    const struct trib_train_options options = {.epochs = 15, .batch = 10, .learning_rate = 0.1};
    struct trib_dataset *all;
    assert_int_equal(trib_csv_read(DEMO_DATA "digits.csv.gz", &csv, &all), TRIB_OK);
    struct trib_dataset *learn = side(all, false), *test = side(all, true);
    check_demo("digits", "64 - dense 10 softmax", &options, learn, test);
    trib_dataset_free(learn);
    trib_dataset_free(test);
    trib_dataset_free(all);
}

static void incomes_lose_little(void **state)
{
    (void)state;
    const char *dir = getenv("TRIBUTARY_DATA");
    struct trib_data_config data = {.format = TRIB_DATA_CSV, .scale = 1, .max_bad_share = 1};
    const struct trib_train_options options = {.epochs = 3, .batch = 32, .learning_rate = 0.1};
    struct trib_dataset *learn, *test;
    char path[4096];
    dir = dir && *dir ? dir : TEST_DATA_DEFAULT;
    (void)snprintf(path, sizeof(path), "%s/adult/adult.data", dir);
    if (!trib_file_exists(path)) {
        print_message("skipped: no Adult in %s (TRIBUTARY_DATA says where)\n", dir);
        return;
    }
    (void)snprintf(data.schema, sizeof(data.schema), "%s", DEMO_DATA "adult.schema.ini");
    assert_int_equal(trib_data_open(&data, path, NULL, 1, &learn), TRIB_OK);
    (void)snprintf(path, sizeof(path), "%s/adult/adult.test", dir);
    assert_int_equal(trib_data_open(&data, path, NULL, 1, &test), TRIB_OK);
    check_demo("adult", "113 - dense 1 sigmoid", &options, learn, test);
    trib_dataset_free(learn);
    trib_dataset_free(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tumours_lose_little),
        cmocka_unit_test(digits_lose_little),
        cmocka_unit_test(incomes_lose_little),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
