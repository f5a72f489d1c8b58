// dense N [ACTIVATION]: weight w (out, in), bias b (out).

#include <inttypes.h>

#include "common/math/activation.h"
#include "common/math/kernels.h"
#include "common/math/layer.h"

static enum trib_err parse(struct trib_spec *spec, struct trib_layer *layer)
{
    char word[TRIB_SPEC_WORD_SIZE];
    uint32_t units;

    trib_spec_take(spec, word);
    if (!trib_spec_count(word, TRIB_LAYER_UNITS_MAX, &units))
        return trib_spec_wrong_layer(spec, "dense wants a number of units from 1 to %d, not '%s'",
                                     TRIB_LAYER_UNITS_MAX, word);
    enum trib_err err = trib_spec_activation(spec, &layer->activation);
    if (!err)
        err = trib_spec_add_tensor(spec, layer, "weight", (const uint32_t[]){units, layer->inputs},
                                   2);
    if (!err)
        err = trib_spec_add_tensor(spec, layer, "bias", &units, 1);
    if (err)
        return err;
    layer->out = (struct trib_shape){.channels = units, .height = 1, .width = 1};
    layer->fan_in = layer->inputs;
    layer->fan_out = units;
    layer->products = (double)layer->inputs * units;
    return trib_spec_write(spec, " - dense %" PRIu32 " %s", units,
                           trib_activation_text(layer->activation));
}

// z (rows, out) = x (rows, in) w^T + b, and relu of it
static void forward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    trib_kernels()->dots(&(struct trib_product){
        .m = (int)pass->rows,
        .n = (int)layer->outputs,
        .k = (int)layer->inputs,
        .k2 = 1,
        .a = pass->x,
        .a_row = layer->inputs,
        .a_step = 1,
        .b = pass->params + layer->weight,
        .b_row = layer->inputs,
        .c = pass->z,
        .c_row = layer->outputs,
        .alpha = 1,
        .bias = pass->params + layer->bias,
        .is_relu = layer->activation == TRIB_ACTIVATION_RELU,
    });
}

// dw (out, in) = delta^T (out, rows) x (rows, in);  db (out) = column sums of delta
static void gradient(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    static const float one = 1;
    struct trib_product product = {
        .m = (int)layer->outputs,
        .n = (int)layer->inputs,
        .k = (int)pass->rows,
        .k2 = 1,
        .a = pass->delta,
        .a_row = 1,
        .a_step = layer->outputs,
        .b = pass->x,
        .b_row = layer->inputs,
        .c = pass->gradient + layer->weight,
        .c_row = layer->inputs,
        .alpha = pass->factor,
        .beta = pass->keep,
    };
    trib_kernels()->products(&product);
    product.m = 1;
    product.n = (int)layer->outputs;
    product.a = &one;
    product.a_row = product.a_step = 0;
    product.b = pass->delta;
    product.b_row = layer->outputs;
    product.c = pass->gradient + layer->bias;
    trib_kernels()->products(&product);
}

// dx (rows, in) = delta (rows, out) w (out, in); before w may change
static void backward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    if (pass->below)
        trib_kernels()->products(&(struct trib_product){
            .m = (int)pass->rows,
            .n = (int)layer->inputs,
            .k = (int)layer->outputs,
            .k2 = 1,
            .a = pass->delta,
            .a_row = layer->outputs,
            .a_step = 1,
            .b = pass->params + layer->weight,
            .b_row = layer->inputs,
            .c = pass->below,
            .c_row = layer->inputs,
            .alpha = 1,
            .gate = pass->gate,
        });
    gradient(pass);
}

const struct trib_layer_ops trib_layer_dense = {
    .word = "dense",
    .is_for_last = true,
    .takes_steps = true,
    .fuses_relu = true,
    .parse = parse,
    .forward = forward,
    .backward = backward,
};
