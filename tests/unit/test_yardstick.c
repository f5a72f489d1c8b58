#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/math/ask.h"
#include "common/math/evaluation.h"
#include "common/math/yardstick.h"
#include "tests/unit/models.h"

enum {
    ROWS = 3000,
    INPUTS = 4,
    SHARDS = 7,
};

static float x[ROWS][INPUTS], y[ROWS];

static double normal(uint64_t *seed) // about: a sum of twelve
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += (double)small(seed) / 2;
    return sum;
}

// Classes of one covariance about means on the axes; the last column never varies.
static void fill_classes(uint32_t classes)
{
    uint64_t seed = 3;
    for (size_t i = 0; i < ROWS; i++) {
        const size_t k = test_rand(&seed) % 4 == 0 ? 0 : test_rand(&seed) % classes;
        y[i] = (float)k;
        for (size_t j = 0; j + 1 < INPUTS; j++)
            x[i][j] = (float)(normal(&seed) + (j == k ? 2 : 0));
        x[i][1] += x[i][0] / 2; // so that the covariance matters
        x[i][INPUTS - 1] = 0;
    }
}

static struct trib_samples rows_of(size_t first, size_t last)
{
    return (struct trib_samples){
        .rows = last - first, .inputs = INPUTS, .x = x[first], .y = y + first};
}

// As a fleet of `shards` devices counts.
static double *gathered(const struct trib_model *model, size_t shards)
{
    const struct trib_ask ask = {.kind = TRIB_TALLY_BASELINE, .model = model};
    const size_t count = trib_ask_values(&ask);
    const size_t words = trib_tally_words(count);
    int64_t *sums = calloc(words, sizeof(*sums));
    int32_t *packed = calloc(words, sizeof(*packed));
    double *values = calloc(count, sizeof(*values));
    struct trib_tally tally;
    size_t index;
    assert_true(sums && packed && values && count > 0);
    assert_int_equal(trib_tally_init(&tally, count), TRIB_OK);
    for (size_t s = 0; s < shards; s++) {
        const struct trib_samples samples = rows_of(s * ROWS / shards, (s + 1) * ROWS / shards);
        trib_tally_reset(&tally);
        assert_int_equal(trib_ask_count(&ask, NULL, &samples, &tally), TRIB_OK);
        assert_int_equal(trib_tally_pack(&tally, packed, &index), TRIB_OK);
        for (size_t w = 0; w < words; w++)
            sums[w] += packed[w];
    }
    trib_tally_take(&tally, sums);
    for (size_t i = 0; i < count; i++)
        values[i] = trib_tally_value(&tally, i);
    trib_tally_fini(&tally);
    free(sums);
    free(packed);
    return values;
}

static struct trib_evaluation measured(const struct trib_model *linear, const float *params)
{
    const struct trib_samples samples = rows_of(0, ROWS);
    struct trib_evaluation evaluation;
    struct trib_net *net;
    assert_int_equal(trib_net_create(linear, 256, &net), TRIB_OK);
    assert_int_equal(trib_evaluate(net, params, &samples, NULL, &evaluation), TRIB_OK);
    trib_net_destroy(net);
    return evaluation;
}

// The prior's loss is the entropy of the labels, and no constant near it has a smaller one.
static void check_prior(const char *spec)
{
    const struct trib_model model = parsed(spec);
    const struct trib_samples samples = rows_of(0, ROWS);
    struct trib_model linear;
    float params[64];
    double counts[8] = {0};
    double entropy = 0, largest = 0;
    assert_int_equal(trib_yardstick_model(&model, &linear), TRIB_OK);
    assert_true(linear.param_count <= 64);
    trib_yardstick_prior(&linear, &samples, params);
    for (size_t i = 0; i < ROWS; i++)
        counts[(size_t)y[i]]++;
    for (size_t k = 0; k < model.classes; k++) {
        entropy -= counts[k] > 0 ? counts[k] / ROWS * log(counts[k] / ROWS) : 0;
        largest = fmax(largest, counts[k] / ROWS);
    }
    const struct trib_evaluation best = measured(&linear, params);
    assert_true(fabs(best.loss - entropy) < 1e-5);
    assert_true(fabs(best.accuracy - largest) < 1e-12);
    for (size_t i = linear.layers[0].bias; i < linear.param_count; i++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            const float kept = params[i];
            params[i] += 0.05f * (float)sign;
            assert_true(measured(&linear, params).loss > best.loss);
            params[i] = kept;
        }
    }
}

static void the_prior_is_the_best_constant(void **state)
{
    (void)state;
    fill_classes(3);
    check_prior("4 - dense 7 relu - dense 3 softmax");
    fill_classes(2);
    check_prior("4 - dense 7 relu - dense 1 sigmoid");
    check_prior("4 - dense 2 softmax");
}

static void the_prior_of_a_regression_is_the_mean(void **state)
{
    (void)state;
    const struct trib_model model = parsed("4 - dense 5 relu - dense 1 linear");
    const struct trib_samples samples = rows_of(0, ROWS);
    struct trib_model linear;
    float params[8];
    fill_classes(3);
    assert_int_equal(trib_yardstick_model(&model, &linear), TRIB_OK);
    trib_yardstick_prior(&linear, &samples, params);
    const struct trib_evaluation constant = measured(&linear, params);
    assert_true(fabs(constant.r2) < 1e-6);
}

// Devices' sums are those of all rows on one machine, to the last bit.
static void sums_do_not_depend_on_who_has_the_rows(void **state)
{
    (void)state;
    static const char *const specs[] = {"4 - dense 3 softmax", "4 - dense 1 linear"};
    fill_classes(3);
    for (size_t s = 0; s < 2; s++) {
        const struct trib_model model = parsed(specs[s]);
        double *one = gathered(&model, 1), *many = gathered(&model, SHARDS);
        assert_memory_equal(one, many, trib_yardstick_values(&model) * sizeof(*one));
        free(one);
        free(many);
    }
}

static struct trib_evaluation linear_of(const char *spec, float params[static 64])
{
    const struct trib_model model = parsed(spec);
    struct trib_model linear;
    double rows;
    double *values = gathered(&model, SHARDS);
    assert_int_equal(trib_yardstick_model(&model, &linear), TRIB_OK);
    assert_int_equal(trib_yardstick_fit(&model, values, params, &rows), TRIB_OK);
    assert_true(rows == ROWS);
    free(values);
    return measured(&linear, params);
}

// Of two classes with means 2 e_0 and 2 e_1 (+ e_1 for x_0 / 2), one covariance and known shares
// the rule of Bayes is linear: what is fitted must come near it, weights and constant.
static void classes_are_told_apart_as_well_as_can_be(void **state)
{
    (void)state;
    float params[64];
    double right = 0, loss = 0;
    fill_classes(2);
    const struct trib_evaluation fitted = linear_of("4 - dense 9 relu - dense 1 sigmoid", params);
    for (size_t i = 0; i < ROWS; i++) {
        const double u = (double)x[i][0], v = (double)x[i][1] - u / 2;
        const double share = 0.75 * 0.5;
        const double score = log(share / (1 - share)) + 2 * v - 2 * u;
        right += (score >= 0) == (y[i] > 0);
        loss += log1p(exp(y[i] > 0 ? -score : score)) / ROWS;
    }
    assert_true(fabs(fitted.accuracy - right / ROWS) < 0.005);
    assert_true(fabs(fitted.loss - loss) < 0.005);
    assert_true(fabs((double)params[0] + 3) < 0.3); // -2 u + 2 (x_1 - u / 2)
    assert_true(fabs((double)params[1] - 2) < 0.2);
    assert_true(params[3] == 0); // never varied

    fill_classes(3);
    const struct trib_evaluation three = linear_of("4 - dense 9 relu - dense 3 softmax", params);
    assert_true(three.accuracy > 0.85 && three.loss < 0.4);
}

static void a_regression_is_least_squares(void **state)
{
    (void)state;
    float params[64];
    uint64_t seed = 9;
    fill_classes(3);
    for (size_t i = 0; i < ROWS; i++)
        y[i] = 5 + 2 * x[i][0] - x[i][2] + small(&seed) / 10;
    const struct trib_evaluation fitted = linear_of("4 - dense 9 relu - dense 1 linear", params);
    static const double wanted[5] = {2, 0, -1, 0, 5};
    for (size_t j = 0; j < 5; j++)
        assert_true(fabs((double)params[j] - wanted[j]) < 0.02);
    assert_true(fitted.r2 > 0.998);
}

static void what_cannot_be_counted(void **state)
{
    (void)state;
    const struct trib_model wide = parsed("512 - dense 3 softmax");
    const struct trib_model items = parsed("1 - factors 20x3 linear");
    const struct trib_model model = parsed("4 - dense 3 softmax");
    double values[15 + 15] = {0};
    float params[15];
    double rows;
    assert_int_equal(trib_yardstick_values(&wide), 0);
    assert_int_equal(trib_yardstick_values(&items), 0);
    assert_int_equal(trib_yardstick_values(&model), 15 + 15);
    assert_int_equal(trib_yardstick_fit(&model, values, params, &rows), TRIB_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_prior_is_the_best_constant),
        cmocka_unit_test(the_prior_of_a_regression_is_the_mean),
        cmocka_unit_test(sums_do_not_depend_on_who_has_the_rows),
        cmocka_unit_test(classes_are_told_apart_as_well_as_can_be),
        cmocka_unit_test(a_regression_is_least_squares),
        cmocka_unit_test(what_cannot_be_counted),
    };
    return RUN_TESTS(tests);
}
