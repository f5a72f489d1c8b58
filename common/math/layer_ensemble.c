// The last layer of an ensemble: the weighted mean of what its members say (ensemble.h), and of that
// the logits, so that loss and last activation go on from there as with every other model.
//
// softmax(log p) is p for probabilities that add up to 1, and sigmoid(log(p / (1 - p))) is p.

#include <assert.h>
#include <math.h>

#include "common/math/ensemble.h"
#include "common/math/layer.h"

// Less is not told from it: its logarithm is that of a member that is sure of something else.
#define SMALLEST 1e-30

static enum trib_err parse(struct trib_spec *spec, struct trib_layer *layer)
{
    (void)layer;
    return trib_spec_wrong_layer(spec, "ensemble is no layer: an ensemble begins with 'ensemble: "
                                       "'");
}

static float logarithm(double p)
{
    return (float)log(fmax(p, SMALLEST));
}

static void find_logits(enum trib_activation activation, float *z, size_t count)
{
    if (activation == TRIB_ACTIVATION_LINEAR)
        return;
    for (size_t i = 0; i < count; i++) {
        const double p = (double)z[i];
        z[i] = logarithm(p);
        if (activation == TRIB_ACTIVATION_SIGMOID)
            z[i] -= logarithm(1 - p);
    }
}

static void forward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    const size_t members = layer->tensors[0].count;
    double weights[TRIB_ENSEMBLE_MAX];
    double sum = 0;
    assert(members <= TRIB_ENSEMBLE_MAX);
    for (size_t k = 0; k < members; k++)
        sum += weights[k] = (double)pass->params[layer->weight + k];
    for (size_t k = 0; k < members; k++)
        weights[k] /= sum; // 1 but for what float rounds
    trib_ensemble_mix(pass->said, weights, members, pass->rows * layer->outputs, pass->z);
    find_logits(layer->activation, pass->z, pass->rows * layer->outputs);
}

// Nobody trains an ensemble: trib_model_parse refuses it.
const struct trib_layer_ops trib_layer_ensemble = {
    .word = "ensemble",
    .is_for_last = true,
    .parse = parse,
    .forward = forward,
};
