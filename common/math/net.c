#include "common/math/net.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/math/blas.h"

struct trib_net {
    const struct trib_model *model; // borrowed
    size_t batch_max;
    uint32_t lowest;                 // layer with parameters
    float *outputs[TRIB_LAYERS_MAX]; // of each layer, (batch_max, layer outputs)
    float *masks[TRIB_LAYERS_MAX];   // of dropout layers: 0 or 1 / (1 - P), of the same shape
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
    while (model->layers[net->lowest].kind == TRIB_LAYER_DROPOUT)
        net->lowest++; // the last layer is a dense one
    for (uint32_t l = 0; l < model->layer_count; l++) {
        size_t width = model->layers[l].outputs;
        widest = width > widest ? width : widest;
        net->outputs[l] = trib_alloc_aligned(batch_max * width, sizeof(float));
        if (!net->outputs[l])
            goto failed;
        if (model->layers[l].kind != TRIB_LAYER_DROPOUT)
            continue;
        net->masks[l] = trib_alloc_aligned(batch_max * width, sizeof(float));
        if (!net->masks[l])
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
        free(net->masks[l]);
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

// ---- Activations, in place over z (count)

static float sigmoid(float z)
{
    // Both forms are exact; each is used where its exponential cannot overflow.
    if (z >= 0)
        return 1 / (1 + expf(-z));
    float e = expf(z);
    return e / (1 + e);
}

// softmax(z)_i = e^(z_i - max z) / sum_j e^(z_j - max z), row by row; z (rows, width)
static void softmax_rows(float *z, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++, z += width) {
        float max = z[0];
        for (size_t i = 1; i < width; i++)
            max = z[i] > max ? z[i] : max;
        float sum = 0;
        for (size_t i = 0; i < width; i++) {
            z[i] = expf(z[i] - max);
            sum += z[i];
        }
        for (size_t i = 0; i < width; i++)
            z[i] /= sum;
    }
}

static void activate(enum trib_activation activation, float *z, size_t rows, size_t width)
{
    size_t count = rows * width;
    switch (activation) {
    case TRIB_ACTIVATION_LINEAR: break;
    case TRIB_ACTIVATION_RELU:
        for (size_t i = 0; i < count; i++)
            z[i] = z[i] > 0 ? z[i] : 0;
        break;
    case TRIB_ACTIVATION_TANH:
        for (size_t i = 0; i < count; i++)
            z[i] = tanhf(z[i]);
        break;
    case TRIB_ACTIVATION_SIGMOID:
        for (size_t i = 0; i < count; i++)
            z[i] = sigmoid(z[i]);
        break;
    case TRIB_ACTIVATION_SOFTMAX: softmax_rows(z, rows, width); break;
    }
}

// delta *= f'(z), with f' written in terms of a = f(z); the last layer never comes here.
static void times_derivative(enum trib_activation activation, const float *a, float *delta,
                             size_t count)
{
    switch (activation) {
    case TRIB_ACTIVATION_LINEAR:
    case TRIB_ACTIVATION_SOFTMAX: break;
    case TRIB_ACTIVATION_RELU:
        for (size_t i = 0; i < count; i++)
            delta[i] = a[i] > 0 ? delta[i] : 0;
        break;
    case TRIB_ACTIVATION_TANH: // 1 - a^2
        for (size_t i = 0; i < count; i++)
            delta[i] *= 1 - a[i] * a[i];
        break;
    case TRIB_ACTIVATION_SIGMOID: // a (1 - a)
        for (size_t i = 0; i < count; i++)
            delta[i] *= a[i] * (1 - a[i]);
        break;
    }
}

// ---- Passes

// z (rows, out) = x (rows, in) w^T + b,  w (out, in)
static void dense_forward(const struct trib_layer *layer, const float *params, const float *x,
                          size_t rows, float *z)
{
    const float *bias = params + layer->bias;
    for (size_t r = 0; r < rows; r++)
        memcpy(z + r * layer->outputs, bias, layer->outputs * sizeof(*z));
    trib_gemm(&(struct trib_gemm){
        .transpose_b = true,
        .m = (int)rows,
        .n = (int)layer->outputs,
        .k = (int)layer->inputs,
        .alpha = 1,
        .beta = 1,
        .a = x,
        .lda = (int)layer->inputs,
        .b = params + layer->weight,
        .ldb = (int)layer->inputs,
        .c = z,
        .ldc = (int)layer->outputs,
    });
}

// dw (out, in) = delta^T (out, rows) x (rows, in);  db (out) = column sums of delta
static void dense_gradient(const struct trib_layer *layer, const float *x, const float *delta,
                           size_t rows, float *gradient)
{
    float *bias = gradient + layer->bias;
    trib_gemm(&(struct trib_gemm){
        .transpose_a = true,
        .m = (int)layer->outputs,
        .n = (int)layer->inputs,
        .k = (int)rows,
        .alpha = 1,
        .beta = 0,
        .a = delta,
        .lda = (int)layer->outputs,
        .b = x,
        .ldb = (int)layer->inputs,
        .c = gradient + layer->weight,
        .ldc = (int)layer->inputs,
    });
    memset(bias, 0, layer->outputs * sizeof(*bias));
    for (size_t r = 0; r < rows; r++) {
        for (uint32_t i = 0; i < layer->outputs; i++)
            bias[i] += delta[r * layer->outputs + i];
    }
}

// dx (rows, in) = delta (rows, out) w (out, in)
static void dense_below(const struct trib_layer *layer, const float *params, const float *delta,
                        size_t rows, float *delta_below)
{
    trib_gemm(&(struct trib_gemm){
        .m = (int)rows,
        .n = (int)layer->inputs,
        .k = (int)layer->outputs,
        .alpha = 1,
        .beta = 0,
        .a = delta,
        .lda = (int)layer->outputs,
        .b = params + layer->weight,
        .ldb = (int)layer->inputs,
        .c = delta_below,
        .ldc = (int)layer->inputs,
    });
}

// Inverted dropout (Srivastava et al. 2014, section 10): a value stays with probability 1 - P and is
// then divided by it, so that evaluation needs no factor. Two values from each draw of 64 bits.
static void draw_mask(float *mask, size_t count, double drop, struct trib_rng *rng)
{
    const uint64_t limit = (uint64_t)(drop * 0x1p32);
    const float kept = (float)(1 / (1 - drop));
    uint64_t bits = 0;
    for (size_t i = 0; i < count; i++) {
        bits = i % 2 == 0 ? trib_rng_next(rng) : bits >> 32;
        mask[i] = (bits & UINT32_MAX) < limit ? 0 : kept;
    }
}

static void times_mask(const float *mask, const float *values, size_t count, float *ret_values)
{
    for (size_t i = 0; i < count; i++)
        ret_values[i] = mask[i] * values[i];
}

// `dropout` NULL: nothing is dropped, and a dropout layer passes on what it gets.
static const float *forward(struct trib_net *net, const float *params, const float *x, size_t rows,
                            struct trib_rng *dropout)
{
    const struct trib_model *model = net->model;
    assert(rows <= net->batch_max);
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        float *a = net->outputs[l];
        if (layer->kind == TRIB_LAYER_DROPOUT) {
            if (!dropout)
                continue;
            draw_mask(net->masks[l], rows * layer->outputs, layer->drop, dropout);
            times_mask(net->masks[l], x, rows * layer->outputs, a);
            x = a;
            continue;
        }
        dense_forward(layer, params, x, rows, a);
        if (l + 1 == model->layer_count)
            memcpy(net->logits, a, rows * layer->outputs * sizeof(*a));
        activate(layer->activation, a, rows, layer->outputs);
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

static const float *layer_input(const struct trib_net *net, uint32_t l, const float *x, bool drops)
{
    while (l > 0 && !drops && net->model->layers[l - 1].kind == TRIB_LAYER_DROPOUT)
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
    for (uint32_t l = model->layer_count; l-- > 0;) {
        const struct trib_layer *layer = &model->layers[l];
        if (layer->kind == TRIB_LAYER_DENSE) {
            const float *input = layer_input(net, l, batch->x, dropout != NULL);
            dense_gradient(layer, input, delta, rows, ret_gradient);
            if (l == net->lowest)
                break;
            dense_below(layer, params, delta, rows, below);
            float *swap = delta;
            delta = below;
            below = swap;
        } else if (dropout) {
            times_mask(net->masks[l], delta, rows * layer->outputs, delta);
        }
        if (model->layers[l - 1].kind == TRIB_LAYER_DENSE)
            times_derivative(model->layers[l - 1].activation, net->outputs[l - 1], delta,
                             rows * layer->inputs);
    }
    return loss_sum(net, batch) / (double)rows;
}

double trib_net_gradient(struct trib_net *net, const float *params, const float *x, const float *y,
                         size_t rows, float *ret_gradient)
{
    const struct trib_batch batch = {.x = x, .y = y, .rows = rows};
    return trib_net_gradient_weighted(net, params, &batch, NULL, ret_gradient);
}
