#include "common/math/net.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/math/activation.h"
#include "common/math/layer.h"

struct trib_net {
    const struct trib_model *model; // borrowed
    size_t batch_max;
    uint32_t lowest;                 // layer with parameters
    float *outputs[TRIB_LAYERS_MAX]; // of each layer, (batch_max, layer outputs)
    float *spaces[TRIB_LAYERS_MAX];  // of each layer for itself (layer.h)
    float *logits;                   // of the last layer before its activation
    float *delta;                    // dLoss/dz of the layer at hand, (batch_max, widest)
    float *delta_below;              // of the one below it
};

enum trib_err trib_net_create(const struct trib_model *model, size_t batch_max,
                              struct trib_net **ret_net)
{
    assert(batch_max > 0);
    size_t widest = 0;
    struct trib_net *net = trib_alloc(sizeof(*net));
    if (!net)
        return TRIB_ERR_NOMEM;
    net->model = model;
    net->batch_max = batch_max;
    while (model->layers[net->lowest].tensor_count == 0)
        net->lowest++; // the last layer has parameters
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        const struct trib_layer_ops *ops = trib_layer_ops(layer->kind);
        widest = layer->outputs > widest ? layer->outputs : widest;
        net->outputs[l] = trib_alloc_aligned(batch_max * layer->outputs, sizeof(float));
        if (!net->outputs[l])
            goto failed;
        if (!ops->space_count)
            continue;
        net->spaces[l] = trib_alloc_aligned(ops->space_count(layer, batch_max), sizeof(float));
        if (!net->spaces[l])
            goto failed;
    }
    net->logits = trib_alloc_aligned(batch_max * model->outputs, sizeof(float));
    net->delta = trib_alloc_aligned(batch_max * widest, sizeof(float));
    net->delta_below = trib_alloc_aligned(batch_max * widest, sizeof(float));
    if (!net->logits || !net->delta || !net->delta_below)
        goto failed;
    *ret_net = net;
    return TRIB_OK;

failed:
    trib_net_destroy(net);
    return TRIB_ERR_NOMEM;
}

void trib_net_destroy(struct trib_net *net)
{
    if (!net)
        return;
    for (uint32_t l = 0; l < TRIB_LAYERS_MAX; l++) {
        free(net->outputs[l]);
        free(net->spaces[l]);
    }
    free(net->logits);
    free(net->delta);
    free(net->delta_below);
    free(net);
}

size_t trib_net_batch_max(const struct trib_net *net)
{
    return net->batch_max;
}

const struct trib_model *trib_net_model(const struct trib_net *net)
{
    return net->model;
}

// ---- Passes

static bool is_skipped(const struct trib_layer *layer, const struct trib_rng *drops)
{
    return !drops && trib_layer_ops(layer->kind)->is_training_only;
}

// `drops` NULL: nothing is dropped, and a dropout layer passes on what it gets.
static const float *forward(struct trib_net *net, const float *params, const float *x, size_t rows,
                            struct trib_rng *drops)
{
    const struct trib_model *model = net->model;
    assert(rows <= net->batch_max);
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        float *a = net->outputs[l];
        if (is_skipped(layer, drops))
            continue;
        const struct trib_layer_pass pass = {.layer = layer,
                                             .params = params,
                                             .x = x,
                                             .rows = rows,
                                             .space = net->spaces[l],
                                             .drops = drops,
                                             .z = a};
        trib_layer_ops(layer->kind)->forward(&pass);
        if (l + 1 == model->layer_count)
            memcpy(net->logits, a, rows * layer->outputs * sizeof(*a));
        trib_activate(layer->activation, a, rows, layer->outputs);
        x = a;
    }
    return x;
}

const float *trib_net_forward(struct trib_net *net, const float *params, const float *x,
                              size_t rows)
{
    return forward(net, params, x, rows, NULL);
}

// ---- Losses, from logits z so that nothing overflows or takes the logarithm of 0

static double cross_entropy(const float *z, size_t width, size_t label)
{
    // -log softmax(z)_label = log sum_j e^(z_j - max) + max - z_label
    float max = z[0];
    double sum = 0;
    for (size_t i = 1; i < width; i++)
        max = z[i] > max ? z[i] : max;
    for (size_t i = 0; i < width; i++)
        sum += exp((double)z[i] - (double)max);
    return log(sum) + (double)max - (double)z[label];
}

static double row_loss(const struct trib_model *model, const float *z, float y)
{
    switch (model->loss) {
    case TRIB_LOSS_CROSS_ENTROPY: return cross_entropy(z, model->outputs, (size_t)y);
    case TRIB_LOSS_BINARY_CROSS_ENTROPY: // log(1 + e^-|z|) + max(z, 0) - z y
        return log1p(exp(-fabs((double)z[0]))) + (z[0] > 0 ? (double)z[0] : 0) -
               (double)z[0] * (double)y;
    case TRIB_LOSS_HALF_MSE: return 0.5 * ((double)z[0] - (double)y) * ((double)z[0] - (double)y);
    }
    return (double)NAN;
}

// Of the rows whose logits are there.
static double loss_sum(const struct trib_net *net, const struct trib_batch *batch)
{
    const struct trib_model *model = net->model;
    double sum = 0;
    for (size_t r = 0; r < batch->rows; r++) {
        const double loss = row_loss(model, net->logits + r * model->outputs, batch->y[r]);
        sum += batch->weights ? (double)batch->weights[r] * loss : loss;
    }
    return sum;
}

double trib_net_loss_sum(struct trib_net *net, const float *params, const float *x, const float *y,
                         size_t rows, const float **ret_outputs)
{
    *ret_outputs = forward(net, params, x, rows, NULL);
    return loss_sum(net, &(const struct trib_batch){.x = x, .y = y, .rows = rows});
}

double trib_net_loss_weighted(struct trib_net *net, const float *params,
                              const struct trib_batch *batch)
{
    (void)forward(net, params, batch->x, batch->rows, NULL);
    return loss_sum(net, batch);
}

// For each of the three pairs of last activation and loss, dLoss/dz = weight (a - target) / rows.
static void output_delta(const struct trib_net *net, const float *a, const struct trib_batch *batch,
                         float *delta)
{
    const struct trib_model *model = net->model;
    const size_t rows = batch->rows;
    const float *y = batch->y;
    const float scale = 1.0f / (float)rows;
    size_t width = model->outputs;
    memcpy(delta, a, rows * width * sizeof(*delta));
    for (size_t r = 0; r < rows; r++) {
        if (model->loss == TRIB_LOSS_CROSS_ENTROPY)
            delta[r * width + (size_t)y[r]] -= 1;
        else
            delta[r * width] -= y[r];
    }
    if (!batch->weights) {
        for (size_t i = 0; i < rows * width; i++)
            delta[i] *= scale;
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < width; i++)
            delta[r * width + i] *= scale * batch->weights[r];
    }
}

static const float *layer_input(const struct trib_net *net, uint32_t l, const float *x,
                                const struct trib_rng *drops)
{
    while (l > 0 && is_skipped(&net->model->layers[l - 1], drops))
        l--; // it passed on what it got
    return l ? net->outputs[l - 1] : x;
}

double trib_net_gradient_weighted(struct trib_net *net, const float *params,
                                  const struct trib_batch *batch, struct trib_rng *dropout,
                                  float *ret_gradient)
{
    const struct trib_model *model = net->model;
    const size_t rows = batch->rows;
    const float *a = forward(net, params, batch->x, rows, dropout);
    float *delta = net->delta;
    float *below = net->delta_below;

    output_delta(net, a, batch, delta);
    for (uint32_t l = model->layer_count; l-- > net->lowest;) {
        const struct trib_layer *layer = &model->layers[l];
        if (is_skipped(layer, dropout))
            continue;
        if (l + 1 < model->layer_count) // the loss has dealt with the last
            trib_activation_derivative(layer->activation, net->outputs[l], delta,
                                       rows * layer->outputs);
        const struct trib_layer_pass pass = {.layer = layer,
                                             .params = params,
                                             .x = layer_input(net, l, batch->x, dropout),
                                             .rows = rows,
                                             .space = net->spaces[l],
                                             .drops = dropout,
                                             .a = net->outputs[l],
                                             .delta = delta,
                                             .gradient = ret_gradient,
                                             .below = l == net->lowest ? NULL : below};
        trib_layer_ops(layer->kind)->backward(&pass);
        float *swap = delta;
        delta = below;
        below = swap;
    }
    return loss_sum(net, batch) / (double)rows;
}

double trib_net_gradient(struct trib_net *net, const float *params, const float *x, const float *y,
                         size_t rows, float *ret_gradient)
{
    const struct trib_batch batch = {.x = x, .y = y, .rows = rows};
    return trib_net_gradient_weighted(net, params, &batch, NULL, ret_gradient);
}
