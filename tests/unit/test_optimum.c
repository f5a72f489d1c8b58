// Where training ends, against solvers in double that share nothing with it: closed forms, Newton
// for a softmax of three classes, coordinate descent for the lasso.
//
// Parameters are float32. Full-batch descent stops where a step, rate times gradient, is below half
// a unit in the last place of a parameter, 2^-24 of it: where the least curvature is c, that is up
// to 2^-24 |w| / (rate c) from the optimum, and the gradient's own rounding is of that size. So
// 1e-8 cannot be had for parameters: they are held to 1e-6 or 2e-6 here, as c allows. It can for
// the loss, in which a distance counts squared. What is to be better than float32 can have it is
// fitted by Newton's method (test_newton.c).
#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/train.h"
#include "tests/unit/models.h"

enum {
    ROWS = 60,
    FEATURES_MAX = 8,
    CLASSES = 3,
    PARAMS_MAX = 32,
};

static float x[ROWS * FEATURES_MAX], y[ROWS];

// Rows whose features go with the one before them.
static struct trib_samples correlated(size_t features, uint64_t seed)
{
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < features; i++) {
            float *at = x + r * features + i;
            *at = i > 0 ? 0.7f * at[-1] + 0.7f * small(&seed) : small(&seed);
        }
    }
    return (struct trib_samples){.x = x, .y = y, .rows = ROWS, .inputs = features};
}

// Train with all rows in each step, from zeros.
static void fit(const char *spec, const struct trib_samples *samples,
                struct trib_train_options options, float *ret_params)
{
    const struct trib_model model = parsed(spec);
    struct trib_trainer_space *space;
    struct trib_rng rng;
    double loss;
    assert_true(model.param_count <= PARAMS_MAX);
    memset(ret_params, 0, model.param_count * sizeof(*ret_params));
    trib_rng_init(&rng, 1, "train", 0, NULL);
    assert_int_equal(trib_train_space_create(&model, &options, ROWS, &space), TRIB_OK);
    assert_int_equal(trib_train(space, samples, &rng, ret_params, NULL, NULL, &loss), TRIB_OK);
    trib_train_space_destroy(space);
}

// a (n, n) d = b by Gauss with pivots; a and b are used up, b becomes d.
static void solve(double a[PARAMS_MAX][PARAMS_MAX], double *b, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        size_t best = k;
        for (size_t i = k + 1; i < n; i++)
            best = fabs(a[i][k]) > fabs(a[best][k]) ? i : best;
        for (size_t j = 0; j < n; j++) {
            const double other = a[k][j];
            a[k][j] = a[best][j];
            a[best][j] = other;
        }
        const double other = b[k];
        b[k] = b[best];
        b[best] = other;
        for (size_t i = 0; i < n; i++) {
            const double factor = i == k ? 0 : a[i][k] / a[k][k];
            for (size_t j = k; j < n; j++)
                a[i][j] -= factor * a[k][j];
            b[i] -= factor * b[k];
        }
    }
    for (size_t k = 0; k < n; k++)
        b[k] /= a[k][k];
}

// Feature i of a row; behind them a 1 for the bias.
static double input(size_t row, size_t i, size_t features)
{
    return i < features ? (double)x[row * features + i] : 1;
}

// ---- Least squares

static double half_mse(const double *w, size_t features)
{
    double sum = 0;
    for (size_t r = 0; r < ROWS; r++) {
        double e = -(double)y[r];
        for (size_t i = 0; i <= features; i++)
            e += w[i] * input(r, i, features);
        sum += e * e / 2;
    }
    return sum / ROWS;
}

static void a_quadratic_reaches_its_closed_form(void **state)
{
    (void)state;
    enum {
        FEATURES = 4
    };
    double a[PARAMS_MAX][PARAMS_MAX] = {{0}}, w[PARAMS_MAX] = {0}, found[PARAMS_MAX];
    float params[PARAMS_MAX];
    uint64_t seed = 5;
    const struct trib_samples samples = correlated(FEATURES, 4);
    for (size_t r = 0; r < ROWS; r++) {
        y[r] = 0.3f * small(&seed) - 0.75f; // what is left over is not nothing
        for (size_t i = 0; i < FEATURES; i++)
            y[r] += (float)(i + 1) / 4 * x[r * FEATURES + i];
    }
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i <= FEATURES; i++) {
            w[i] += input(r, i, FEATURES) * (double)y[r];
            for (size_t j = 0; j <= FEATURES; j++)
                a[i][j] += input(r, i, FEATURES) * input(r, j, FEATURES);
        }
    }
    solve(a, w, FEATURES + 1);
    fit("4 - dense 1 linear", &samples,
        (struct trib_train_options){.epochs = 2000, .learning_rate = 1}, params);
    for (size_t i = 0; i <= FEATURES; i++) {
        found[i] = (double)params[i];
        if (fabs(found[i] - w[i]) > 2e-6) // found: 1.0e-6
            fail_msg("parameter %zu is %.9g, not %.9g", i, found[i], w[i]);
    }
    const double least = half_mse(w, FEATURES), loss = half_mse(found, FEATURES);
    assert_true(least > 1e-3 && loss - least < 1e-8 && loss > least - 1e-12);
}

// ---- Softmax of three classes

enum {
    INPUTS = 4,
    WIDTH = INPUTS + 1, // with the bias
    COUNT = CLASSES * WIDTH,
};

static const double RIDGE = 0.1;

// Where a class's weight of feature i, or its bias, is among the model's parameters.
static size_t place(size_t c, size_t i)
{
    return i < INPUTS ? c * INPUTS + i : CLASSES * INPUTS + c;
}

static void add_row(const double *w, size_t r, double h[PARAMS_MAX][PARAMS_MAX], double *g)
{
    double p[CLASSES], sum = 0;
    for (size_t c = 0; c < CLASSES; c++) {
        double z = 0;
        for (size_t i = 0; i < WIDTH; i++)
            z += w[place(c, i)] * input(r, i, INPUTS);
        p[c] = exp(z);
        sum += p[c];
    }
    for (size_t c = 0; c < CLASSES; c++)
        p[c] /= sum;
    for (size_t c = 0; c < CLASSES; c++) {
        for (size_t i = 0; i < WIDTH; i++) {
            const double u = input(r, i, INPUTS) / ROWS;
            g[place(c, i)] += (p[c] - ((size_t)y[r] == c)) * u;
            for (size_t d = 0; d < CLASSES; d++) {
                for (size_t j = 0; j < WIDTH; j++)
                    h[place(c, i)][place(d, j)] +=
                        p[c] * ((c == d) - p[d]) * u * input(r, j, INPUTS);
            }
        }
    }
}

// Newton on the mean cross-entropy with RIDGE / 2 |w|^2, which makes the optimum unique.
static void newton(double *w)
{
    double step = 1;
    memset(w, 0, COUNT * sizeof(*w));
    for (int round = 0; round < 30 && step > 1e-13; round++) {
        double h[PARAMS_MAX][PARAMS_MAX] = {{0}}, g[PARAMS_MAX];
        for (size_t i = 0; i < COUNT; i++) {
            g[i] = RIDGE * w[i];
            h[i][i] = RIDGE;
        }
        for (size_t r = 0; r < ROWS; r++)
            add_row(w, r, h, g);
        solve(h, g, COUNT);
        step = 0;
        for (size_t i = 0; i < COUNT; i++) {
            w[i] -= g[i];
            step = fmax(step, fabs(g[i]));
        }
    }
    assert_true(step <= 1e-13);
}

static void three_classes_have_the_coefficients_of_newton(void **state)
{
    (void)state;
    double w[COUNT], largest = 0;
    float params[PARAMS_MAX];
    uint64_t seed = 8;
    const struct trib_samples samples = correlated(INPUTS, 7);
    for (size_t r = 0; r < ROWS; r++) { // classes by a feature, with some that are another
        const float z = x[r * INPUTS] + x[r * INPUTS + 2] + 0.5f * small(&seed);
        y[r] = z < -0.3f ? 0 : z < 0.3f ? 1 : 2;
    }
    newton(w);
    fit("4 - dense 3 softmax", &samples,
        (struct trib_train_options){.epochs = 3000, .learning_rate = 2, .weight_decay = RIDGE},
        params);
    for (size_t i = 0; i < COUNT; i++) {
        largest = fmax(largest, fabs(w[i]));
        if (fabs((double)params[i] - w[i]) > 1e-6) // found: 1.6e-7; c is at least RIDGE
            fail_msg("parameter %zu is %.9g, not %.9g", i, (double)params[i], w[i]);
    }
    assert_true(largest > 0.5);
}

// ---- The lasso

// Least of half_mse + l1 |w|, biases too: one coordinate after another has a closed form.
static void descend(double *w, size_t features, double l1)
{
    double change = 1;
    memset(w, 0, (features + 1) * sizeof(*w));
    for (int round = 0; round < 100000 && change > 1e-15; round++) {
        change = 0;
        for (size_t k = 0; k <= features; k++) {
            double slope = 0, curve = 0;
            for (size_t r = 0; r < ROWS; r++) {
                double e = (double)y[r];
                for (size_t i = 0; i <= features; i++)
                    e -= i == k ? 0 : w[i] * input(r, i, features);
                slope += e * input(r, k, features) / ROWS;
                curve += input(r, k, features) * input(r, k, features) / ROWS;
            }
            const double next = copysign(fmax(fabs(slope) - l1, 0) / curve, slope);
            change = fmax(change, fabs(next - w[k]));
            w[k] = next;
        }
    }
    assert_true(change <= 1e-15);
}

static void the_lasso_has_the_zeros_of_coordinate_descent(void **state)
{
    (void)state;
    static const double penalties[] = {0.003, 0.01, 0.03, 0.06, 0.1, 1};
    static const enum trib_optimizer ways[] = {TRIB_OPTIMIZER_SGD, TRIB_OPTIMIZER_NESTEROV};
    uint64_t seed = 3;
    size_t zeros_before = 0, steps = 0;
    const struct trib_samples samples = correlated(FEATURES_MAX, 2);
    for (size_t r = 0; r < ROWS; r++)
        y[r] = x[r * 8] - 0.8f * x[r * 8 + 3] + 0.5f * x[r * 8 + 6] + 0.4f * small(&seed) + 0.2f;
    for (size_t p = 0; p < sizeof(penalties) / sizeof(penalties[0]); p++) {
        double w[FEATURES_MAX + 1];
        size_t zeros = 0;
        descend(w, FEATURES_MAX, penalties[p]);
        for (size_t i = 0; i <= FEATURES_MAX; i++)
            zeros += w[i] == 0;
        steps += zeros > zeros_before;
        zeros_before = zeros;
        for (size_t o = 0; o < 2; o++) {
            float params[PARAMS_MAX];
            fit("8 - dense 1 linear", &samples,
                (struct trib_train_options){.epochs = 3000,
                                            .learning_rate = 0.3,
                                            .optimizer = ways[o],
                                            .momentum = 0.5,
                                            .l1 = penalties[p]},
                params);
            for (size_t i = 0; i <= FEATURES_MAX; i++) {
                if ((params[i] == 0) != (w[i] == 0) || fabs((double)params[i] - w[i]) > 1e-5)
                    fail_msg("l1 %g: parameter %zu is %.9g, not %.9g", penalties[p], i,
                             (double)params[i], w[i]);
            }
        }
    }
    assert_true(steps >= 4 && zeros_before == FEATURES_MAX + 1); // some, more, all
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quadratic_reaches_its_closed_form),
        cmocka_unit_test(three_classes_have_the_coefficients_of_newton),
        cmocka_unit_test(the_lasso_has_the_zeros_of_coordinate_descent),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
