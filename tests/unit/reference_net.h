// reference_net.h - the loss of a model in double, as the definitions have it and with no thought
// for speed, and a check of gradients against differences of it.
#ifndef TRIB_TESTS_UNIT_REFERENCE_NET_H
#define TRIB_TESTS_UNIT_REFERENCE_NET_H

#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/math/net.h"
#include "tests/unit/models.h"

enum {
    REFERENCE_WIDTH = 1024,
    REFERENCE_ROWS_MAX = 8,
};

struct reference {
    struct trib_model model;
    struct trib_net *net;
    float *params, *gradient; // (total)
    float *x, *y;             // (rows, inputs), (rows)
    size_t rows;
    const float *weights;           // (rows); NULL: all 1
    double *exact;                  // (total) parameters
    bool drops;                     // dropout layers drop
    double *masks[TRIB_LAYERS_MAX]; // of dropout layers, (rows, outputs)
};

static inline float *floats(size_t count)
{
    float *values = trib_alloc_array(count, sizeof(*values));
    assert_non_null(values);
    return values;
}

// ---- The loss

static inline double reference_activation(enum trib_activation activation, double z)
{
    switch (activation) {
    case TRIB_ACTIVATION_RELU: return z > 0 ? z : 0;
    case TRIB_ACTIVATION_TANH: return tanh(z);
    case TRIB_ACTIVATION_SIGMOID: return 1 / (1 + exp(-z));
    case TRIB_ACTIVATION_LINEAR:
    case TRIB_ACTIVATION_SOFTMAX: break;
    }
    return z;
}

// Where a layer's own numbers are: all are local, if it is.
static inline const double *reference_tensor(const struct trib_layer *l, const double *params,
                                             uint32_t tensor)
{
    return params + (l->tensor_count > 0 ? l->tensors : l->locals)[tensor].offset;
}

// One output at (o, y, x), a picture flattened as (channels, height, width).
static inline double reference_conv(const struct trib_layer *l, const double *params,
                                    const double *a, const uint32_t at[3])
{
    const int height = (int)l->in.height, width = (int)l->in.width;
    const int top = l->is_same ? ((int)l->kernel_height - 1) / 2 : 0;
    const int left = l->is_same ? ((int)l->kernel_width - 1) / 2 : 0;
    const double *w = reference_tensor(l, params, 0) +
                      (size_t)at[0] * l->in.channels * l->kernel_height * l->kernel_width;
    double z = reference_tensor(l, params, 1)[at[0]];
    for (int i = 0; i < (int)l->in.channels; i++) {
        for (int p = 0; p < (int)l->kernel_height; p++) {
            for (int q = 0; q < (int)l->kernel_width; q++, w++) {
                const int v = (int)at[1] + p - top, h = (int)at[2] + q - left;
                if (v >= 0 && v < height && h >= 0 && h < width)
                    z += *w * a[(i * height + v) * width + h];
            }
        }
    }
    return z;
}

static inline double reference_pool(const struct trib_layer *l, const double *a,
                                    const uint32_t at[3])
{
    double best = -(double)INFINITY;
    for (uint32_t p = 0; p < l->kernel_height; p++) {
        for (uint32_t q = 0; q < l->kernel_width; q++)
            best =
                fmax(best, a[(at[0] * l->in.height + at[1] * l->kernel_height + p) * l->in.width +
                             at[2] * l->kernel_width + q]);
    }
    return best;
}

static inline double reference_dense(const struct trib_layer *l, const double *params,
                                     const double *a, uint32_t o)
{
    double z = reference_tensor(l, params, 1)[o];
    for (uint32_t i = 0; i < l->inputs; i++)
        z += reference_tensor(l, params, 0)[o * l->inputs + i] * a[i];
    return z;
}

// u^T W v
static inline double reference_bilinear(const struct trib_layer *l, const double *params,
                                        const double *a)
{
    double z = l->has_bias ? *reference_tensor(l, params, 1) : 0;
    for (uint32_t u = 0; u < l->users; u++) {
        for (uint32_t i = 0; i < l->items; i++)
            z += a[u] * reference_tensor(l, params, 0)[u * l->items + i] * a[l->users + i];
    }
    return z;
}

// mean + b_i + c + q_i . p
static inline double reference_factors(const struct trib_layer *l, const double *params, double a)
{
    const size_t item = (size_t)a;
    double z = params[l->tensors[2].offset] + params[l->tensors[1].offset + item] +
               params[l->locals[1].offset];
    for (uint32_t k = 0; k < l->factors; k++)
        z += params[l->tensors[0].offset + item * l->factors + k] * params[l->locals[0].offset + k];
    return z;
}

// Output `o` of layer `at` for one row, before the activation.
static inline double reference_output(const struct reference *reference, uint32_t at, size_t row,
                                      const double *a, uint32_t o)
{
    const struct trib_layer *l = &reference->model.layers[at];
    const uint32_t area = l->out.height * l->out.width;
    const uint32_t place[3] = {o / area, o % area / l->out.width, o % l->out.width};
    switch (l->kind) {
    case TRIB_LAYER_CONV: return reference_conv(l, reference->exact, a, place);
    case TRIB_LAYER_MAXPOOL: return reference_pool(l, a, place);
    case TRIB_LAYER_BILINEAR: return reference_bilinear(l, reference->exact, a);
    case TRIB_LAYER_FACTORS: return reference_factors(l, reference->exact, a[0]);
    case TRIB_LAYER_DENSE: return reference_dense(l, reference->exact, a, o);
    case TRIB_LAYER_ENSEMBLE: // nobody trains it
    case TRIB_LAYER_DROPOUT: break;
    }
    return a[o] * (reference->drops ? reference->masks[at][row * l->outputs + o] : 1);
}

// The loss of one row; z are the logits (outputs).
static inline double reference_row_loss(const struct trib_model *model, const double *z, float y)
{
    const double target = (double)y;
    double sum = 0;
    switch (model->loss) {
    case TRIB_LOSS_HALF_MSE: return (z[0] - target) * (z[0] - target) / 2;
    case TRIB_LOSS_BINARY_CROSS_ENTROPY: return log1p(exp(z[0])) - target * z[0];
    case TRIB_LOSS_CROSS_ENTROPY: break;
    }
    for (uint32_t o = 0; o < model->outputs; o++)
        sum += exp(z[o]);
    return log(sum) - z[(size_t)y];
}

// The mean loss with the parameters `exact`.
static inline double reference_mean(const struct reference *reference)
{
    const struct trib_model *model = &reference->model;
    double sum = 0;
    for (size_t r = 0; r < reference->rows; r++) {
        double a[REFERENCE_WIDTH], z[REFERENCE_WIDTH];
        for (uint32_t i = 0; i < model->inputs; i++)
            a[i] = (double)reference->x[r * model->inputs + i];
        for (uint32_t l = 0; l < model->layer_count; l++) {
            const struct trib_layer *layer = &model->layers[l];
            for (uint32_t o = 0; o < layer->outputs; o++)
                z[o] = reference_output(reference, l, r, a, o);
            for (uint32_t o = 0; o < layer->outputs; o++)
                a[o] = reference_activation(layer->activation, z[o]);
        }
        sum += (reference->weights ? (double)reference->weights[r] : 1) *
               reference_row_loss(model, z, reference->y[r]);
    }
    return sum / (double)reference->rows;
}

// ---- Begin and end

static inline void reference_begin(struct reference *reference, const char *spec, size_t rows,
                                   uint64_t seed)
{
    *reference = (struct reference){.model = parsed(spec), .rows = rows};
    const struct trib_model *model = &reference->model;
    const size_t total = trib_model_total(model);
    reference->params = floats(total);
    reference->gradient = floats(total);
    reference->exact = trib_alloc_array(total, sizeof(*reference->exact));
    reference->x = floats(rows * model->inputs);
    reference->y = floats(rows);
    assert_non_null(reference->exact);
    trib_model_init(model, seed, reference->params);
    trib_model_init_local(model, seed, "d", reference->params + model->param_count);
    for (size_t i = 0; i < total; i++) {
        reference->params[i] += 0.1f * small(&seed); // biases too
        reference->exact[i] = (double)reference->params[i];
        reference->gradient[i] = NAN; // all of it is written
    }
    for (size_t i = 0; i < rows * model->inputs; i++)
        reference->x[i] =
            model->items ? (float)(test_rand(&seed) % model->items) : 2 * small(&seed);
    for (size_t r = 0; r < rows; r++)
        reference->y[r] =
            model->classes ? (float)(test_rand(&seed) % model->classes) : 3 * small(&seed);
    // Room for more rows than there are: what was there of an earlier batch must not matter.
    assert_int_equal(trib_net_create(model, rows + 2, &reference->net), TRIB_OK);
    assert_true(rows <= REFERENCE_ROWS_MAX && model->inputs <= REFERENCE_WIDTH);
    for (uint32_t l = 0; l < model->layer_count; l++)
        assert_true(model->layers[l].outputs <= REFERENCE_WIDTH);
}

// What the dropout layers drop from this stream (layer_dropout.c): for each value of 32 bits, the
// lower ones of a draw first.
static inline void reference_drop(struct reference *reference, struct trib_rng rng)
{
    reference->drops = true;
    for (uint32_t l = 0; l < reference->model.layer_count; l++) {
        const struct trib_layer *layer = &reference->model.layers[l];
        const size_t count = reference->rows * layer->outputs;
        uint64_t bits = 0;
        if (layer->kind != TRIB_LAYER_DROPOUT)
            continue;
        reference->masks[l] = trib_alloc_array(count, sizeof(double));
        assert_non_null(reference->masks[l]);
        for (size_t i = 0; i < count; i++) {
            bits = i % 2 == 0 ? trib_rng_next(&rng) : bits >> 32;
            const bool is_kept = (double)(uint32_t)bits >= floor(layer->drop * 0x1p32);
            reference->masks[l][i] = is_kept ? 1 / (1 - layer->drop) : 0;
        }
    }
}

static inline void reference_end(struct reference *reference)
{
    trib_net_destroy(reference->net);
    free(reference->params);
    free(reference->gradient);
    free(reference->exact);
    free(reference->x);
    free(reference->y);
    for (uint32_t l = 0; l < reference->model.layer_count; l++)
        free(reference->masks[l]);
}

// ---- Gradients

static inline double reference_slope(struct reference *reference, size_t i)
{
    const double h = 1e-6, here = reference->exact[i];
    reference->exact[i] = here + h;
    const double above = reference_mean(reference);
    reference->exact[i] = here - h;
    const double below = reference_mean(reference);
    reference->exact[i] = here;
    return (above - below) / (2 * h);
}

static inline void assert_tensor_gradient(struct reference *reference, uint32_t layer,
                                          const struct trib_layer_tensor *tensor)
{
    double off = 0, length = 0;
    for (size_t i = tensor->offset; i < tensor->offset + tensor->count; i++) {
        const double slope = reference_slope(reference, i);
        const double difference = (double)reference->gradient[i] - slope;
        off += difference * difference;
        length += slope * slope;
    }
    if (!(length > 1e-8 && sqrt(off) <= 1e-5 * sqrt(length)))
        fail_msg("%s: %s of layer %u: off by %g of %g", reference->model.spec, tensor->name, layer,
                 sqrt(off), sqrt(length));
}

// Of each tensor, as vectors: |gradient - differences| <= 1e-5 |differences|. A difference quotient
// in double is good to 1e-9 here, the gradient in float32 to a few 1e-7 of the largest terms.
// `drops`: the stream of what is dropped; NULL: nothing is.
static inline void assert_gradients(struct reference *reference, const struct trib_rng *drops)
{
    const struct trib_model *model = &reference->model;
    const struct trib_batch batch = {reference->x, reference->y, reference->weights,
                                     reference->rows};
    struct trib_rng rng;
    if (drops) {
        rng = *drops;
        reference_drop(reference, rng);
    }
    const double loss = trib_net_gradient_weighted(reference->net, reference->params, &batch,
                                                   drops ? &rng : NULL, reference->gradient);
    assert_true(fabs(loss - reference_mean(reference)) < 1e-5 * (1 + loss));
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        for (uint32_t t = 0; t < layer->tensor_count; t++)
            assert_tensor_gradient(reference, l, &layer->tensors[t]);
        for (uint32_t t = 0; t < layer->local_count; t++)
            assert_tensor_gradient(reference, l, &layer->locals[t]);
    }
}

#endif // TRIB_TESTS_UNIT_REFERENCE_NET_H
