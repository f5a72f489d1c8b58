// dense N [ACTIVATION]: weight w (out, in), bias b (out).

#include <inttypes.h>
#include <string.h>

#include "common/math/activation.h"
#include "common/math/blas.h"
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

// z (rows, out) = x (rows, in) w^T + b
static void forward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    const float *bias = pass->params + layer->bias;
    for (size_t r = 0; r < pass->rows; r++)
        memcpy(pass->z + r * layer->outputs, bias, layer->outputs * sizeof(*bias));
    trib_gemm(&(struct trib_gemm){
        .transpose_b = true,
        .m = (int)pass->rows,
        .n = (int)layer->outputs,
        .k = (int)layer->inputs,
        .alpha = 1,
        .beta = 1,
        .a = pass->x,
        .lda = (int)layer->inputs,
        .b = pass->params + layer->weight,
        .ldb = (int)layer->inputs,
        .c = pass->z,
        .ldc = (int)layer->outputs,
    });
}

// dw (out, in) = delta^T (out, rows) x (rows, in);  db (out) = column sums of delta
static void gradient(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    float *bias = pass->gradient + layer->bias;
    trib_gemm(&(struct trib_gemm){
        .transpose_a = true,
        .m = (int)layer->outputs,
        .n = (int)layer->inputs,
        .k = (int)pass->rows,
        .alpha = 1,
        .beta = 0,
        .a = pass->delta,
        .lda = (int)layer->outputs,
        .b = pass->x,
        .ldb = (int)layer->inputs,
        .c = pass->gradient + layer->weight,
        .ldc = (int)layer->inputs,
    });
    memset(bias, 0, layer->outputs * sizeof(*bias));
    for (size_t r = 0; r < pass->rows; r++) {
        for (uint32_t i = 0; i < layer->outputs; i++)
            bias[i] += pass->delta[r * layer->outputs + i];
    }
}

// dx (rows, in) = delta (rows, out) w (out, in)
static void backward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    gradient(pass);
    if (!pass->below)
        return;
    trib_gemm(&(struct trib_gemm){
        .m = (int)pass->rows,
        .n = (int)layer->inputs,
        .k = (int)layer->outputs,
        .alpha = 1,
        .beta = 0,
        .a = pass->delta,
        .lda = (int)layer->outputs,
        .b = pass->params + layer->weight,
        .ldb = (int)layer->inputs,
        .c = pass->below,
        .ldc = (int)layer->inputs,
    });
}

const struct trib_layer_ops trib_layer_dense = {
    .word = "dense",
    .is_for_last = true,
    .parse = parse,
    .forward = forward,
    .backward = backward,
};
