#include "common/math/ensemble.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/math/probabilities.h"

enum {
    STEPS_MAX = 100000,
    BATCH = 256,
};

#define LIKELIHOOD_GAP 1e-9  // nats a row
#define SQUARES_GAP    1e-12 // of the largest mean square

static void share_equally(size_t members, double *weights)
{
    for (size_t k = 0; k < members; k++)
        weights[k] = 1 / (double)members;
}

// ---- Classes

// ret_gains[k]: the derivative of the mean log-likelihood by weight k. Their weighted mean is 1.
static void find_gains(const double *likelihoods, size_t rows, size_t members,
                       const double *weights, double *ret_gains)
{
    for (size_t k = 0; k < members; k++)
        ret_gains[k] = 0;
    for (size_t r = 0; r < rows; r++) {
        const double *p = likelihoods + r * members;
        double mix = 0;
        for (size_t k = 0; k < members; k++)
            mix += weights[k] * fmax(p[k], TRIB_PROBABILITY_CLIP);
        for (size_t k = 0; k < members; k++)
            ret_gains[k] += fmax(p[k], TRIB_PROBABILITY_CLIP) / mix / (double)rows;
    }
}

enum trib_err trib_ensemble_fit_likelihood(const double *likelihoods, size_t rows, size_t members,
                                           double *ret_weights)
{
    double gains[TRIB_ENSEMBLE_MAX];
    assert(members >= 1 && members <= TRIB_ENSEMBLE_MAX);
    if (rows == 0)
        return TRIB_ERR_DATA;
    for (size_t i = 0; i < rows * members; i++)
        if (!(likelihoods[i] >= 0 && likelihoods[i] <= 1))
            return TRIB_ERR_DATA;
    share_equally(members, ret_weights);
    for (int step = 0; step < STEPS_MAX; step++) {
        double best = 0, sum = 0;
        find_gains(likelihoods, rows, members, ret_weights, gains);
        for (size_t k = 0; k < members; k++)
            best = fmax(best, gains[k]);
        if (best - 1 <= LIKELIHOOD_GAP) // by concavity a bound on what is left to gain
            break;
        for (size_t k = 0; k < members; k++)
            sum += ret_weights[k] *= gains[k];
        for (size_t k = 0; k < members; k++)
            ret_weights[k] /= sum;
    }
    return TRIB_OK;
}

// ---- Values

static void multiply_errors(const double *errors, size_t rows, size_t members,
                            double products[static TRIB_ENSEMBLE_MAX * TRIB_ENSEMBLE_MAX])
{
    for (size_t i = 0; i < members * members; i++)
        products[i] = 0;
    for (size_t r = 0; r < rows; r++) {
        const double *e = errors + r * members;
        for (size_t k = 0; k < members; k++)
            for (size_t l = 0; l < members; l++)
                products[k * members + l] += e[k] * e[l] / (double)rows;
    }
}

// Move weight from the member by which the error falls slowest to the one by which it falls
// fastest. False when that gains nothing more.
static bool move_weight(const double *products, size_t members, double *weights)
{
    double slopes[TRIB_ENSEMBLE_MAX];
    double scale = 0;
    size_t to = 0, from = members;
    for (size_t k = 0; k < members; k++) {
        slopes[k] = 0;
        for (size_t l = 0; l < members; l++)
            slopes[k] += products[k * members + l] * weights[l];
        scale = fmax(scale, products[k * members + k]);
    }
    for (size_t k = 0; k < members; k++) {
        if (slopes[k] < slopes[to])
            to = k;
        if (weights[k] > 0 && (from == members || slopes[k] > slopes[from]))
            from = k;
    }
    if (from == members || !(slopes[from] - slopes[to] > SQUARES_GAP * scale))
        return false;
    const double bend = products[from * members + from] + products[to * members + to] -
                        2 * products[from * members + to];
    double step = weights[from];
    if (bend > 0)
        step = fmin(step, (slopes[from] - slopes[to]) / bend);
    weights[from] -= step;
    weights[to] += step;
    return true;
}

enum trib_err trib_ensemble_fit_squares(const double *errors, size_t rows, size_t members,
                                        double *ret_weights)
{
    double products[TRIB_ENSEMBLE_MAX * TRIB_ENSEMBLE_MAX];
    assert(members >= 1 && members <= TRIB_ENSEMBLE_MAX);
    if (rows == 0)
        return TRIB_ERR_DATA;
    multiply_errors(errors, rows, members, products);
    for (size_t i = 0; i < members * members; i++)
        if (!isfinite(products[i]))
            return TRIB_ERR_DATA;
    share_equally(members, ret_weights);
    for (int step = 0; step < STEPS_MAX && move_weight(products, members, ret_weights); step++) {
    }
    return TRIB_OK;
}

// ---- Models

// The probability of the label, or how far off the value is.
static double judge(const struct trib_model *model, const float *output, float y)
{
    if (model->classes == 0)
        return (double)output[0] - (double)y;
    if (model->outputs == 1)
        return y > 0.5F ? (double)output[0] : 1 - (double)output[0];
    return (double)output[(size_t)y];
}

enum trib_err trib_ensemble_fit(const struct trib_model *model, const float *const *outputs,
                                size_t members, const struct trib_samples *samples,
                                double *ret_weights)
{
    double *judged = trib_alloc_array(samples->rows * members + 1, sizeof(*judged));
    if (!judged)
        return TRIB_ERR_NOMEM;
    for (size_t r = 0; r < samples->rows; r++)
        for (size_t k = 0; k < members; k++)
            judged[r * members + k] = judge(model, outputs[k] + r * model->outputs, samples->y[r]);
    enum trib_err err =
        model->classes ? trib_ensemble_fit_likelihood(judged, samples->rows, members, ret_weights)
                       : trib_ensemble_fit_squares(judged, samples->rows, members, ret_weights);
    free(judged);
    return err;
}

enum trib_err trib_ensemble_ask(const struct trib_model *member, const float *params,
                                const struct trib_samples *samples, float *ret_outputs)
{
    struct trib_net *net = NULL;
    const size_t width = member->outputs;
    enum trib_err err = trib_net_create(member, BATCH, &net);
    for (size_t first = 0; first < samples->rows && !err; first += BATCH) {
        const size_t count = samples->rows - first < BATCH ? samples->rows - first : BATCH;
        const float *said =
            trib_net_forward(net, params, samples->x + first * samples->inputs, count);
        memcpy(ret_outputs + first * width, said, count * width * sizeof(*said));
    }
    trib_net_destroy(net);
    return err;
}

void trib_ensemble_mix(const float *const *outputs, const double *weights, size_t members,
                       size_t count, float *ret_mix)
{
    for (size_t i = 0; i < count; i++) {
        double mix = 0;
        for (size_t k = 0; k < members; k++)
            mix += weights[k] * (double)outputs[k][i];
        ret_mix[i] = (float)mix;
    }
}
