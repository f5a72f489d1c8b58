// bilinear UxI [bias] [ACTIVATION]: weight w (U, I), bias b (1) if asked for.
//
// The input is a vector u of U numbers (of a user) and then a vector v of I numbers (of an item);
// the one output is u^T w v + b: every pair of numbers has a weight (Chu & Park 2009, equation 2).

#include <inttypes.h>
#include <string.h>

#include "common/math/activation.h"
#include "common/math/kernels.h"
#include "common/math/layer.h"

static enum trib_err parse(struct trib_spec *spec, struct trib_layer *layer)
{
    char word[TRIB_SPEC_WORD_SIZE];
    uint32_t users, items;
    const uint32_t one = 1;

    trib_spec_take(spec, word);
    if (!trib_spec_pair(word, TRIB_LAYER_UNITS_MAX, &users, &items))
        return trib_spec_wrong_layer(spec, "bilinear wants UxI, each from 1 to %d, not '%s'",
                                     TRIB_LAYER_UNITS_MAX, word);
    if ((uint64_t)users + items != layer->inputs)
        return trib_spec_wrong_layer(
            spec, "bilinear %" PRIu32 "x%" PRIu32 " takes %" PRIu64 " numbers, there are %" PRIu32,
            users, items, (uint64_t)users + items, layer->inputs);
    layer->users = users;
    layer->items = items;
    const bool has_bias = trib_spec_peek(spec, word) && strcmp(word, "bias") == 0;
    if (has_bias)
        trib_spec_take(spec, word);
    enum trib_err err = trib_spec_activation(spec, &layer->activation);
    if (!err)
        err = trib_spec_add_tensor(spec, layer, "weight", (const uint32_t[]){users, items}, 2);
    if (!err && has_bias)
        err = trib_spec_add_tensor(spec, layer, "bias", &one, 1);
    if (err)
        return err;
    layer->has_bias = has_bias;
    layer->out = (struct trib_shape){.channels = 1, .height = 1, .width = 1};
    layer->fan_in = (double)users * items;
    layer->fan_out = 1;
    layer->products = (double)users * items + items;
    return trib_spec_write(spec, " - bilinear %" PRIu32 "x%" PRIu32 "%s %s", users, items,
                           has_bias ? " bias" : "", trib_activation_text(layer->activation));
}

// t (rows, I) = u w, and behind it delta_r u_r (rows, U)
static size_t space_count(const struct trib_layer *layer, size_t rows)
{
    return rows * layer->inputs;
}

// t (rows, I) = u (rows, U) w (U, I);  z_r = t_r . v_r + b
static void forward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    float *t = pass->space;
    trib_kernels()->products(&(const struct trib_product){
        .m = (int)pass->rows,
        .n = (int)layer->items,
        .k = (int)layer->users,
        .k2 = 1,
        .a = pass->x,
        .a_row = layer->inputs,
        .a_step = 1,
        .b = pass->params + layer->weight,
        .b_row = layer->items,
        .c = t,
        .c_row = layer->items,
        .alpha = 1,
    });
    for (size_t r = 0; r < pass->rows; r++) {
        const float *v = pass->x + r * layer->inputs + layer->users;
        float sum = layer->has_bias ? pass->params[layer->bias] : 0;
        for (uint32_t i = 0; i < layer->items; i++)
            sum += t[r * layer->items + i] * v[i];
        pass->z[r] = sum;
    }
}

// dw (U, I) = sum over rows of delta_r u_r v_r^T;  db = sum of delta
static void gradient(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    float *scaled = pass->space + pass->rows * layer->items;
    float bias = 0;
    for (size_t r = 0; r < pass->rows; r++) {
        for (uint32_t i = 0; i < layer->users; i++)
            scaled[r * layer->users + i] = pass->delta[r] * pass->x[r * layer->inputs + i];
        bias += pass->delta[r];
    }
    if (layer->has_bias)
        pass->gradient[layer->bias] = bias;
    trib_kernels()->products(&(const struct trib_product){
        .m = (int)layer->users,
        .n = (int)layer->items,
        .k = (int)pass->rows,
        .k2 = 1,
        .a = scaled, // transposed
        .a_row = 1,
        .a_step = layer->users,
        .b = pass->x + layer->users,
        .b_row = layer->inputs,
        .c = pass->gradient + layer->weight,
        .c_row = layer->items,
        .alpha = 1,
    });
}

// du = delta w v,  dv = delta w^T u, where w^T u is the t of the forward pass
static void backward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    const float *t = pass->space;
    gradient(pass);
    if (!pass->below)
        return;
    trib_kernels()->dots(&(const struct trib_product){
        .m = (int)pass->rows,
        .n = (int)layer->users,
        .k = (int)layer->items,
        .k2 = 1,
        .a = pass->x + layer->users,
        .a_row = layer->inputs,
        .a_step = 1,
        .b = pass->params + layer->weight,
        .b_row = layer->items,
        .c = pass->below,
        .c_row = layer->inputs,
        .alpha = 1,
    });
    for (size_t r = 0; r < pass->rows; r++) {
        float *below = pass->below + r * layer->inputs;
        for (uint32_t i = 0; i < layer->users; i++)
            below[i] *= pass->delta[r];
        for (uint32_t i = 0; i < layer->items; i++)
            below[layer->users + i] = pass->delta[r] * t[r * layer->items + i];
    }
}

const struct trib_layer_ops trib_layer_bilinear = {
    .word = "bilinear",
    .is_for_last = true,
    .parse = parse,
    .space_count = space_count,
    .forward = forward,
    .backward = backward,
};
