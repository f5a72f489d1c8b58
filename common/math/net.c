#include "common/math/net.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/math/activation.h"
#include "common/math/ensemble.h"
#include "common/math/kernels.h"
#include "common/math/layer.h"
#include "common/math/loss.h"

struct trib_net {
    const struct trib_model *model; // borrowed
    size_t batch_max;
    uint32_t lowest;                 // layer with parameters
    bool steps_in_place;             // every layer that learns takes steps itself
    float *arena;                    // of all that follow
    float *outputs[TRIB_LAYERS_MAX]; // of each layer, (batch_max, layer outputs)
    float *spaces[TRIB_LAYERS_MAX];  // of each layer for itself (layer.h)
    float *logits;                   // of the last layer before its activation
    float *delta;                    // dLoss/dz of the layer at hand, (batch_max, widest)
    float *delta_below;              // of the one below it
};

// The next `count` floats of the arena, on cache lines of their own. Without an arena only their
// place is counted.
static float *take(float *arena, size_t *used, size_t count)
{
    float *taken = arena ? arena + *used : NULL;
    *used += (count + 15) / 16 * 16;
    return taken;
}

// Give out the arena, which may not be there yet; returns its size.
static size_t lay_out(struct trib_net *net)
{
    const struct trib_model *model = net->model;
    size_t widest = 0, used = 0;
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        const struct trib_layer_ops *ops = trib_layer_ops(layer->kind);
        widest = layer->outputs > widest ? layer->outputs : widest;
        net->outputs[l] = take(net->arena, &used, net->batch_max * layer->outputs);
        if (ops->space_count)
            net->spaces[l] = take(net->arena, &used, ops->space_count(layer, net->batch_max));
    }
    net->logits = take(net->arena, &used, net->batch_max * model->outputs);
    net->delta = take(net->arena, &used, net->batch_max * widest);
    net->delta_below = take(net->arena, &used, net->batch_max * widest);
    return used;
}

static bool has_parameters(const struct trib_layer *layer)
{
    return layer->tensor_count + layer->local_count > 0;
}

enum trib_err trib_net_create(const struct trib_model *model, size_t batch_max,
                              struct trib_net **ret_net)
{
    assert(batch_max > 0);
    struct trib_net *net = trib_alloc(sizeof(*net));
    if (!net)
        return TRIB_ERR_NOMEM;
    net->model = model;
    net->batch_max = batch_max;
    net->steps_in_place = true;
    while (!has_parameters(&model->layers[net->lowest]))
        net->lowest++; // the last layer has parameters
    for (uint32_t l = net->lowest; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        if (has_parameters(layer) && !trib_layer_ops(layer->kind)->takes_steps)
            net->steps_in_place = false;
    }
    net->arena = trib_alloc_aligned(lay_out(net), sizeof(*net->arena));
    if (!net->arena) {
        trib_net_destroy(net);
        return TRIB_ERR_NOMEM;
    }
    (void)lay_out(net);
    *ret_net = net;
    return TRIB_OK;
}

void trib_net_destroy(struct trib_net *net)
{
    if (!net)
        return;
    free(net->arena);
    free(net);
}

bool trib_net_steps_in_place(const struct trib_net *net)
{
    return net->steps_in_place;
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

// `drops` NULL: nothing is dropped, and a dropout layer passes on what it gets. The last layer's
// outputs are left as z, its logits.
static void forward_to_logits(struct trib_net *net, const float *params, const float *x,
                              size_t rows, struct trib_rng *drops)
{
    const struct trib_model *model = net->model;
    const float *const of_rows = x;
    const float *said[TRIB_ENSEMBLE_MAX];
    size_t members = 0;
    assert(rows <= net->batch_max);
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        float *a = net->outputs[l];
        if (layer->takes_rows)
            x = of_rows;
        if (is_skipped(layer, drops))
            continue;
        const struct trib_layer_pass pass = {.layer = layer,
                                             .params = params,
                                             .x = x,
                                             .said = said,
                                             .rows = rows,
                                             .space = net->spaces[l],
                                             .drops = drops,
                                             .z = a};
        const struct trib_layer_ops *ops = trib_layer_ops(layer->kind);
        ops->forward(&pass);
        const bool is_done = layer->activation == TRIB_ACTIVATION_RELU && ops->fuses_relu;
        if (l + 1 < model->layer_count && !is_done)
            trib_activate(layer->activation, a, rows, layer->outputs);
        if (trib_layer_ends_member(model, l))
            said[members++] = a;
        x = a;
    }
}

// The outputs, of the last layer; the logits are kept beside them.
static const float *forward(struct trib_net *net, const float *params, const float *x, size_t rows,
                            struct trib_rng *drops)
{
    const uint32_t last = net->model->layer_count - 1;
    const struct trib_layer *layer = &net->model->layers[last];
    float *a = net->outputs[last];
    forward_to_logits(net, params, x, rows, drops);
    memcpy(net->logits, a, rows * layer->outputs * sizeof(*a));
    trib_activate(layer->activation, a, rows, layer->outputs);
    return a;
}

const float *trib_net_forward(struct trib_net *net, const float *params, const float *x,
                              size_t rows)
{
    return forward(net, params, x, rows, NULL);
}

// ---- Losses

double trib_net_loss_sum(struct trib_net *net, const float *params, const float *x, const float *y,
                         size_t rows, const float **ret_outputs)
{
    *ret_outputs = forward(net, params, x, rows, NULL);
    return trib_loss_sum(net->model, net->logits,
                         &(const struct trib_batch){.x = x, .y = y, .rows = rows});
}

double trib_net_loss_weighted(struct trib_net *net, const float *params,
                              const struct trib_batch *batch)
{
    (void)forward(net, params, batch->x, batch->rows, NULL);
    return trib_loss_sum(net->model, net->logits, batch);
}

// Turn the logits of the last layer into its delta: for each of the three pairs of last activation
// and loss, dLoss/dz = weight (a - target) / rows. Returns the weighted sum of the losses.
static double output_delta(const struct trib_net *net, const struct trib_batch *batch)
{
    const struct trib_model *model = net->model;
    float *z = net->outputs[model->layer_count - 1];
    const float scale = 1.0f / (float)batch->rows;
    if (model->loss == TRIB_LOSS_CROSS_ENTROPY)
        return trib_kernels()->softmax_loss(&(struct trib_softmax){.rows = (int)batch->rows,
                                                                   .width = (int)model->outputs,
                                                                   .z = z,
                                                                   .labels = batch->y,
                                                                   .weights = batch->weights,
                                                                   .scale = scale});
    const double loss = trib_loss_sum(model, z, batch);
    trib_activate(model->layers[model->layer_count - 1].activation, z, batch->rows, model->outputs);
    for (size_t r = 0; r < batch->rows; r++) {
        float *row = z + r * model->outputs;
        row[0] -= batch->y[r];
        for (uint32_t i = 0; i < model->outputs; i++)
            row[i] *= batch->weights ? scale * batch->weights[r] : scale;
    }
    return loss;
}

// The layer whose outputs `l` gets, or -1: the rows themselves.
static int layer_under(const struct trib_net *net, uint32_t l, const struct trib_rng *drops)
{
    while (l > 0 && is_skipped(&net->model->layers[l - 1], drops))
        l--; // it passed on what it got
    return (int)l - 1;
}

// What becomes of the gradient: vector = keep * vector + factor * gradient, and where that vector
// is not the parameters but they are to move, `params` do so.
struct destination {
    float *vector;
    float factor, keep;
    float *params; // NULL: they stay
};

static void step_tensors(const struct trib_layer_tensor *tensors, uint32_t count,
                         const struct destination *to)
{
    for (uint32_t t = 0; t < count; t++) {
        const float *g = to->vector + tensors[t].offset;
        float *w = to->params + tensors[t].offset;
        for (size_t i = 0; i < tensors[t].count; i++)
            w[i] = to->keep * w[i] + to->factor * g[i];
    }
}

// For a layer that cannot do so itself.
static void step_layer(const struct trib_layer *layer, const struct destination *to)
{
    step_tensors(layer->tensors, layer->tensor_count, to);
    step_tensors(layer->locals, layer->local_count, to);
}

static double backward(struct trib_net *net, const float *params, const struct trib_batch *batch,
                       struct trib_rng *drops, const struct destination *to)
{
    const struct trib_model *model = net->model;
    const size_t rows = batch->rows;
    float *delta = net->outputs[model->layer_count - 1];
    float *below = net->delta, *spare = net->delta_below;
    bool is_gated = true; // the loss has dealt with the last activation
    assert(model->member_count == 0);
    const double loss = output_delta(net, batch);

    for (uint32_t l = model->layer_count; l-- > net->lowest;) {
        const struct trib_layer *layer = &model->layers[l];
        const struct trib_layer_ops *ops = trib_layer_ops(layer->kind);
        const int under = layer_under(net, l, drops);
        const bool is_moved_after = to->params && !ops->takes_steps;
        if (is_skipped(layer, drops))
            continue;
        if (!is_gated)
            trib_activation_derivative(layer->activation, net->outputs[l], delta,
                                       rows * layer->outputs);
        is_gated = ops->fuses_relu && under >= 0 &&
                   model->layers[under].activation == TRIB_ACTIVATION_RELU;
        const struct trib_layer_pass pass = {
            .layer = layer,
            .params = params,
            .x = under >= 0 ? net->outputs[under] : batch->x,
            .rows = rows,
            .space = net->spaces[l],
            .drops = drops,
            .a = net->outputs[l],
            .delta = delta,
            .below = l == net->lowest ? NULL : below,
            .gradient = to->params && !is_moved_after ? to->params : to->vector,
            .factor = is_moved_after ? 1 : to->factor,
            .keep = is_moved_after ? 0 : to->keep,
            .gate = is_gated ? net->outputs[under] : NULL,
        };
        ops->backward(&pass);
        if (is_moved_after)
            step_layer(layer, to);
        delta = below;
        below = spare;
        spare = delta;
    }
    return loss / (double)rows;
}

double trib_net_gradient_weighted(struct trib_net *net, const float *params,
                                  const struct trib_batch *batch, struct trib_rng *dropout,
                                  float *ret_gradient)
{
    const struct destination to = {.vector = ret_gradient, .factor = 1};
    forward_to_logits(net, params, batch->x, batch->rows, dropout);
    return backward(net, params, batch, dropout, &to);
}

double trib_net_gradient(struct trib_net *net, const float *params, const float *x, const float *y,
                         size_t rows, float *ret_gradient)
{
    const struct trib_batch batch = {.x = x, .y = y, .rows = rows};
    return trib_net_gradient_weighted(net, params, &batch, NULL, ret_gradient);
}

double trib_net_step(struct trib_net *net, float *params, const struct trib_batch *batch,
                     struct trib_rng *dropout, const struct trib_net_step *step)
{
    const struct destination to = {
        .vector = step->space, .factor = -step->rate, .keep = step->keep, .params = params};
    assert(step->space || net->steps_in_place);
    forward_to_logits(net, params, batch->x, batch->rows, dropout);
    return backward(net, params, batch, dropout, &to);
}
