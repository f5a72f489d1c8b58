#include "common/math/resample.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/math/train.h"

enum {
    ROWS = 100,
    INPUTS = 3,
};

// 80 rows of class 0, 15 of class 1, 5 of class 2, mixed up; class 3 is not there.
static float x[ROWS * INPUTS], y[ROWS];
static uint32_t rows[ROWS];
static const struct trib_samples samples = {.x = x, .y = y, .rows = ROWS, .inputs = INPUTS};

static int make_rows(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (uint32_t i = 0; i < ROWS; i++) {
        const uint32_t place = i * 37 % ROWS;
        y[i] = place < 80 ? 0 : place < 95 ? 1 : 2;
        rows[i] = i;
        for (int j = 0; j < INPUTS; j++)
            x[i * INPUTS + j] = 10 * y[i] + (float)((double)(int64_t)test_rand(&seed) * 0x1p-63);
    }
    return 0;
}

static size_t begin(const struct trib_resample_options *options, size_t count,
                    struct trib_resample **ret_resample, struct trib_visit **ret_visits)
{
    assert_int_equal(trib_resample_create(options, 4, ROWS, INPUTS, ret_resample), TRIB_OK);
    const size_t visits = trib_resample_begin(*ret_resample, &samples, rows, count);
    assert_true(visits <= trib_resample_visits_max(options, 4, count));
    *ret_visits = trib_alloc_array(visits, sizeof(**ret_visits));
    assert_non_null(*ret_visits);
    return visits;
}

static void count_classes(const struct trib_visit *visits, size_t count, size_t classes[4])
{
    memset(classes, 0, 4 * sizeof(*classes));
    for (size_t i = 0; i < count; i++)
        classes[(size_t)y[visits[i].row]]++;
}

static void the_shares_of_the_classes_are_those_asked_for(void **state)
{
    (void)state;
    static const struct {
        struct trib_resample_options options;
        size_t classes[4];
    } cases[] = {
        {{TRIB_SAMPLING_OVER, 1, 0}, {80, 80, 80, 0}},
        {{TRIB_SAMPLING_OVER, 0.5, 0}, {80, 40, 40, 0}},
        {{TRIB_SAMPLING_OVER, 0.1, 0}, {80, 15, 8, 0}},
        {{TRIB_SAMPLING_SMOTE, 1, 5}, {80, 80, 80, 0}},
        {{TRIB_SAMPLING_SMOTE, 0.25, 5}, {80, 20, 20, 0}},
        {{TRIB_SAMPLING_UNDER, 1, 0}, {5, 5, 5, 0}},
        {{TRIB_SAMPLING_UNDER, 0.5, 0}, {10, 10, 5, 0}},
        {{TRIB_SAMPLING_UNDER, 0.1, 0}, {50, 15, 5, 0}},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct trib_resample *resample;
        struct trib_visit *visits;
        struct trib_rng rng;
        size_t classes[4];
        const size_t count = begin(&cases[c].options, ROWS, &resample, &visits);
        trib_rng_init(&rng, 1, "test", c, NULL);
        for (int epoch = 0; epoch < 3; epoch++) {
            trib_resample_epoch(resample, &rng, visits);
            count_classes(visits, count, classes);
            assert_memory_equal(classes, cases[c].classes, sizeof(classes));
        }
        free(visits);
        trib_resample_destroy(resample);
    }
}

static void rows_are_drawn_evenly(void **state)
{
    (void)state;
    static const struct trib_resample_options over = {TRIB_SAMPLING_OVER, 1, 0};
    static const struct trib_resample_options under = {TRIB_SAMPLING_UNDER, 1, 0};
    struct trib_resample *resample;
    struct trib_visit *visits;
    struct trib_rng rng;
    size_t times[ROWS], all[ROWS] = {0};
    trib_rng_init(&rng, 1, "test", 0, NULL);
    size_t count = begin(&over, ROWS, &resample, &visits);
    trib_resample_epoch(resample, &rng, visits);
    memset(times, 0, sizeof(times));
    for (size_t i = 0; i < count; i++)
        times[visits[i].row]++;
    for (size_t r = 0; r < ROWS; r++) { // 80 visits of 15 rows: 5 or 6 each
        const size_t least = y[r] == 0 ? 1 : y[r] == 1 ? 5 : 16;
        assert_true(times[r] == least || (y[r] == 1 && times[r] == 6));
    }
    free(visits);
    trib_resample_destroy(resample);

    count = begin(&under, ROWS, &resample, &visits);
    for (int epoch = 0; epoch < 200; epoch++) {
        memset(times, 0, sizeof(times));
        trib_resample_epoch(resample, &rng, visits);
        for (size_t i = 0; i < count; i++)
            times[visits[i].row]++;
        for (size_t r = 0; r < ROWS; r++) {
            assert_true(times[r] <= 1); // without repetition
            all[r] += times[r];
        }
    }
    for (size_t r = 0; r < ROWS; r++) // each epoch another five of 80: all have their turn
        assert_true(all[r] > 0);
    free(visits);
    trib_resample_destroy(resample);
}

// The rows of the same class in `among` that are nearer to `row` than `limit`.
static size_t nearer(uint32_t row, uint32_t other, const uint32_t *among, size_t count)
{
    double limit = 0;
    size_t found = 0;
    for (int j = 0; j < INPUTS; j++)
        limit += pow((double)(x[row * INPUTS + j] - x[other * INPUTS + j]), 2);
    for (size_t i = 0; i < count; i++) {
        double d = 0;
        for (int j = 0; j < INPUTS; j++)
            d += pow((double)(x[row * INPUTS + j] - x[among[i] * INPUTS + j]), 2);
        found += among[i] != row && y[among[i]] == y[row] && d < limit * (1 - 1e-5);
    }
    return found;
}

static void made_up_rows_lie_on_segments_to_near_neighbours(void **state)
{
    (void)state;
    static const struct trib_resample_options options = {TRIB_SAMPLING_SMOTE, 1, 3};
    enum {
        LEARNT = 70 // the others are kept aside: no made-up row comes of them
    };
    struct trib_resample *resample;
    struct trib_visit *visits;
    struct trib_rng rng;
    size_t made_up = 0;
    const size_t count = begin(&options, LEARNT, &resample, &visits);
    trib_rng_init(&rng, 2, "test", 0, NULL);
    for (int epoch = 0; epoch < 5; epoch++) {
        trib_resample_epoch(resample, &rng, visits);
        for (size_t i = 0; i < count; i++) {
            const struct trib_visit *v = &visits[i];
            const float *a = x + v->row * INPUTS, *b = x + v->neighbour * INPUTS;
            float point[INPUTS];
            trib_visit_features(v, &samples, point);
            assert_true(v->row < LEARNT && v->neighbour < LEARNT);
            if (v->row == v->neighbour) {
                assert_memory_equal(point, a, sizeof(point));
                continue;
            }
            made_up++;
            assert_true(y[v->row] == y[v->neighbour] && y[v->row] > 0);
            assert_true(nearer(v->row, v->neighbour, rows, LEARNT) < 3);
            assert_true(v->gap >= 0 && v->gap < 1);
            for (int j = 0; j < INPUTS; j++) // float32: 1e-5 is some ten roundings of 20
                assert_true(fabsf(point[j] - (a[j] + v->gap * (b[j] - a[j]))) < 1e-5f);
        }
    }
    assert_true(made_up > 300);
    free(visits);
    trib_resample_destroy(resample);
}

static void a_row_alone_in_its_class_is_only_repeated(void **state)
{
    (void)state;
    static const struct trib_resample_options options = {TRIB_SAMPLING_SMOTE, 1, 5};
    static const float few_x[4] = {1, 2, 3, 9}, few_y[4] = {0, 0, 0, 1};
    static const struct trib_samples few = {.x = few_x, .y = few_y, .rows = 4, .inputs = 1};
    struct trib_resample *resample;
    struct trib_visit visits[8];
    struct trib_rng rng;
    trib_rng_init(&rng, 2, "test", 0, NULL);
    assert_int_equal(trib_resample_create(&options, 2, 4, 1, &resample), TRIB_OK);
    assert_int_equal(trib_resample_begin(resample, &few, rows, 4), 6);
    trib_resample_epoch(resample, &rng, visits);
    for (int i = 3; i < 6; i++)
        assert_true(visits[i].row == 3 && visits[i].neighbour == 3);
    trib_resample_destroy(resample);
    trib_resample_destroy(NULL);
}

static void many_classes_do_not_grow_without_bound(void **state)
{
    (void)state;
    enum {
        CLASSES = 1000,
        MANY = 2000
    };
    static const struct trib_resample_options options = {TRIB_SAMPLING_OVER, 1, 0};
    static float labels[MANY];
    static uint32_t all[MANY];
    const struct trib_samples many = {.x = labels, .y = labels, .rows = MANY, .inputs = 1};
    struct trib_resample *resample;
    for (uint32_t i = 0; i < MANY; i++) {
        labels[i] = i < MANY / 2 ? 0 : (float)(i - MANY / 2);
        all[i] = i;
    }
    assert_int_equal(trib_resample_create(&options, CLASSES, MANY, 1, &resample), TRIB_OK);
    const size_t visits = trib_resample_begin(resample, &many, all, MANY);
    assert_true(visits > MANY && visits <= (size_t)TRIB_SAMPLING_GROWTH_MAX * MANY);
    trib_resample_destroy(resample);
}

// ---- A device of which one row in ten is of the class that matters

enum {
    DEMO = 600,
};

static float demo_x[DEMO * 2], demo_y[DEMO], test_x[DEMO * 2], test_y[DEMO];

// Two clouds that overlap, 90 to 10.
static void make_demo(uint64_t seed, float *to_x, float *to_y)
{
    struct trib_rng rng;
    trib_rng_init(&rng, seed, "demo", 0, NULL);
    for (int i = 0; i < DEMO; i++) {
        to_y[i] = i % 10 == 0;
        to_x[2 * i] = (float)(trib_rng_normal(&rng) + (to_y[i] > 0 ? 1.5 : 0));
        to_x[2 * i + 1] = (float)(trib_rng_normal(&rng) + (to_y[i] > 0 ? 1.0 : 0));
    }
}

// Recall of the rare class on other rows, and balanced accuracy.
static void learn(const struct trib_resample_options *resample, double *ret_recall,
                  double *ret_balanced)
{
    const struct trib_train_options options = {
        .epochs = 20, .batch = 16, .learning_rate = 0.1, .resample = *resample};
    const struct trib_samples train = {.x = demo_x, .y = demo_y, .rows = DEMO, .inputs = 2};
    struct trib_model model;
    struct trib_trainer_space *space;
    struct trib_net *net;
    struct trib_rng rng;
    float params[3] = {0};
    char why[128];
    double loss;
    trib_rng_init(&rng, 7, "train", 0, NULL);
    assert_int_equal(trib_model_parse("2 - dense 1 sigmoid", &model, why, sizeof(why)), TRIB_OK);
    assert_int_equal(trib_train_space_create(&model, &options, DEMO, &space), TRIB_OK);
    assert_int_equal(trib_train(space, &train, &rng, params, NULL, NULL, &loss), TRIB_OK);
    assert_int_equal(trib_train_report(space).rows, DEMO); // made-up rows are no examples
    trib_train_space_destroy(space);
    assert_int_equal(trib_net_create(&model, 64, &net), TRIB_OK);
    size_t hit[2] = {0}, all[2] = {0};
    for (int i = 0; i < DEMO; i++) {
        const float p = *trib_net_forward(net, params, test_x + 2 * i, 1);
        const size_t label = test_y[i] > 0;
        all[label]++;
        hit[label] += label == (p > 0.5f);
    }
    *ret_recall = (double)hit[1] / (double)all[1];
    *ret_balanced = (*ret_recall + (double)hit[0] / (double)all[0]) / 2;
    trib_net_destroy(net);
}

static void the_rare_class_is_found_more_often(void **state)
{
    (void)state;
    static const struct trib_resample_options ways[] = {
        {TRIB_SAMPLING_OVER, 1, 0}, {TRIB_SAMPLING_UNDER, 1, 0}, {TRIB_SAMPLING_SMOTE, 1, 5}};
    double recall, balanced, plain_recall, plain_balanced;
    make_demo(1, demo_x, demo_y);
    make_demo(2, test_x, test_y);
    learn(&(struct trib_resample_options){.kind = TRIB_SAMPLING_NONE}, &plain_recall,
          &plain_balanced);
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
        learn(&ways[w], &recall, &balanced);
        print_message("sampling %d: recall %.3f, before %.3f; balanced %.3f, before %.3f\n",
                      (int)ways[w].kind, recall, plain_recall, balanced, plain_balanced);
        assert_true(recall > plain_recall + 0.3);
        assert_true(balanced > plain_balanced + 0.1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shares_of_the_classes_are_those_asked_for),
        cmocka_unit_test(rows_are_drawn_evenly),
        cmocka_unit_test(made_up_rows_lie_on_segments_to_near_neighbours),
        cmocka_unit_test(a_row_alone_in_its_class_is_only_repeated),
        cmocka_unit_test(many_classes_do_not_grow_without_bound),
        cmocka_unit_test(the_rare_class_is_found_more_often),
    };
    return cmocka_run_group_tests(tests, make_rows, NULL);
}
