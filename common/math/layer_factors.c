// factors NxK [ACTIVATION]: N items with K factors each; the first and only layer.
//
// The input is the number of an item, 0 to N-1; the output is
//
//     mean + b_i + c + q_i . p            (Koren, Bell & Volinsky 2009, equation 4)
//
// with q, b of the item and the mean common to all devices, and p (K) and c of the device's user
// local: weight q (N, K), bias b (N), mean (1); local user.weight p (K), user.bias c (1). p and c
// begin at 0, so that a user of whom nothing is known yet gets what is known of the item.

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "common/math/activation.h"
#include "common/math/layer.h"

enum {
    MEAN = 2,      // of the tensors
    USER_BIAS = 1, // of the locals
};

static enum trib_err parse(struct trib_spec *spec, struct trib_layer *layer)
{
    char word[TRIB_SPEC_WORD_SIZE];
    uint32_t items, factors;
    const uint32_t one = 1;

    trib_spec_take(spec, word);
    if (!trib_spec_pair(word, TRIB_LAYER_UNITS_MAX, &items, &factors))
        return trib_spec_wrong_layer(spec,
                                     "factors wants ITEMSxFACTORS, each from 1 to %d, not '%s'",
                                     TRIB_LAYER_UNITS_MAX, word);
    if (spec->model->layer_count > 0 || layer->inputs != 1)
        return trib_spec_wrong_layer(
            spec, "factors is a model by itself, of one input: the number of an item");
    layer->items = items;
    layer->factors = factors;
    enum trib_err err = trib_spec_activation(spec, &layer->activation);
    if (!err)
        err = trib_spec_add_tensor(spec, layer, "weight", (const uint32_t[]){items, factors}, 2);
    if (!err)
        err = trib_spec_add_tensor(spec, layer, "bias", &items, 1);
    if (!err)
        err = trib_spec_add_tensor(spec, layer, "mean", &one, 1);
    if (!err)
        err = trib_spec_add_local(spec, layer, "user.weight", &factors, 1);
    if (!err)
        err = trib_spec_add_local(spec, layer, "user.bias", &one, 1);
    if (err)
        return err;
    layer->out = (struct trib_shape){.channels = 1, .height = 1, .width = 1};
    layer->fan_in = factors;
    layer->fan_out = items;
    layer->products = factors;
    spec->model->items = items;
    return trib_spec_write(spec, " - factors %" PRIu32 "x%" PRIu32 " %s", items, factors,
                           trib_activation_text(layer->activation));
}

static size_t item_of(const struct trib_layer_pass *pass, size_t row)
{
    const float x = pass->x[row];
    assert(x >= 0 && x < (float)pass->layer->items); // trib_dataset_check
    return (size_t)x;
}

static void forward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    const float *user = pass->params + layer->locals[0].offset;
    const float common =
        pass->params[layer->tensors[MEAN].offset] + pass->params[layer->locals[USER_BIAS].offset];
    for (size_t r = 0; r < pass->rows; r++) {
        const size_t item = item_of(pass, r);
        const float *factors = pass->params + layer->weight + item * layer->factors;
        float sum = common + pass->params[layer->bias + item];
        for (uint32_t k = 0; k < layer->factors; k++)
            sum += factors[k] * user[k];
        pass->z[r] = sum;
    }
}

// dq_i += delta p,  dp += delta q_i,  and delta for each of the three that are added. Items without
// a row have the gradient 0.
static void backward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    const float *user = pass->params + layer->locals[0].offset;
    float *user_gradient = pass->gradient + layer->locals[0].offset;
    float sum = 0;
    assert(!pass->below); // the first layer
    for (uint32_t t = 0; t < layer->tensor_count; t++)
        memset(pass->gradient + layer->tensors[t].offset, 0,
               layer->tensors[t].count * sizeof(*pass->gradient));
    memset(user_gradient, 0, layer->factors * sizeof(*user_gradient));
    for (size_t r = 0; r < pass->rows; r++) {
        const size_t item = item_of(pass, r);
        const size_t at = layer->weight + item * layer->factors;
        const float delta = pass->delta[r];
        for (uint32_t k = 0; k < layer->factors; k++) {
            pass->gradient[at + k] += delta * user[k];
            user_gradient[k] += delta * pass->params[at + k];
        }
        pass->gradient[layer->bias + item] += delta;
        sum += delta;
    }
    pass->gradient[layer->tensors[MEAN].offset] = sum;
    pass->gradient[layer->locals[USER_BIAS].offset] = sum;
}

const struct trib_layer_ops trib_layer_factors = {
    .word = "factors",
    .is_for_last = true,
    .parse = parse,
    .forward = forward,
    .backward = backward,
};
