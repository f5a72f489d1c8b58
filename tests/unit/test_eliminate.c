#include "tests/test.h"

#include <math.h>

#include "common/data/dataset.h"
#include "common/math/model.h"
#include "simulations/eliminate.h"

enum {
    FEATURES = 4,
    ROWS = 5,
};

static struct trib_model parse(const char *spec)
{
    struct trib_model model;
    char why[256];
    assert_int_equal(trib_model_parse(spec, &model, why, sizeof(why)), TRIB_OK);
    return model;
}

static struct trib_dataset *make_rows(void)
{
    static const float x[ROWS * FEATURES] = {
        // deviation 2; 0; 0.5, far from 0; 20
        1, 3, 1000,   -10, //
        5, 3, 1001,   30,  //
        1, 3, 1000,   -10, //
        5, 3, 1001,   30,  //
        3, 3, 1000.5, 10,
    };
    struct trib_dataset *rows;
    assert_int_equal(trib_dataset_create(ROWS, FEATURES, false, "made", &rows), TRIB_OK);
    for (size_t i = 0; i < ROWS * FEATURES; i++)
        rows->x[i] = x[i];
    for (size_t i = 0; i < ROWS; i++)
        rows->y[i] = (float)i;
    return rows;
}

// Two outputs: the weights of feature i are params[i] and params[FEATURES + i].
static const float params[] = {3, 1, 0, -0.5f, 4, 0, -2, 0, 100, 100};

static void a_score_is_the_norm_of_a_features_weights_times_its_deviation(void **state)
{
    (void)state;
    const struct trib_model model = parse("4 - dense 2 softmax");
    struct trib_dataset *rows = make_rows();
    const double shrunk = sqrt(4.0 / 5); // the last row lies on the mean
    const double expected[FEATURES] = {5 * 2 * shrunk, 0, 2 * 0.5 * shrunk, 0.5 * 20 * shrunk};
    const double plain[FEATURES] = {5, 1, 2, 0.5};
    double scores[FEATURES];
    trib_eliminate_scores(&model.layers[0], params, rows, scores);
    for (size_t i = 0; i < FEATURES; i++)
        assert_true(fabs(scores[i] - expected[i]) < 1e-9);
    trib_eliminate_scores(&model.layers[0], params, NULL, scores);
    for (size_t i = 0; i < FEATURES; i++)
        assert_true(fabs(scores[i] - plain[i]) < 1e-12);
    trib_dataset_free(rows);
}

static void rows_keep_the_features_that_are_named(void **state)
{
    (void)state;
    const size_t some[] = {0, 3}, last[] = {1}, none[] = {0};
    struct trib_dataset *rows = make_rows();
    trib_dataset_narrow(rows, some, 2);
    assert_int_equal(rows->inputs, 2);
    for (size_t r = 0; r < ROWS; r++) {
        assert_true(rows->y[r] == (float)r);
        assert_true(rows->x[2 * r] == (r == 4 ? 3.0f : r % 2 ? 5.0f : 1.0f));
        assert_true(rows->x[2 * r + 1] == (r == 4 ? 10.0f : r % 2 ? 30.0f : -10.0f));
    }
    trib_dataset_narrow(rows, last, 1);
    assert_int_equal(rows->inputs, 1);
    for (size_t r = 0; r < ROWS; r++)
        assert_true(rows->x[r] == (r == 4 ? 10.0f : r % 2 ? 30.0f : -10.0f));
    trib_dataset_narrow(rows, none, 1); // all of them stay
    assert_true(rows->x[1] == 30);
    trib_dataset_free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_score_is_the_norm_of_a_features_weights_times_its_deviation),
        cmocka_unit_test(rows_keep_the_features_that_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
