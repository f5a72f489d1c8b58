#include "common/math/linear.h"

#include <assert.h>
#include <string.h>

#include "common/math/activation.h"
#include "common/math/loss.h"

bool trib_model_is_linear(const struct trib_model *model)
{
    return model->layer_count == 1 && model->outputs == 1 &&
           model->layers[0].kind == TRIB_LAYER_DENSE;
}

double trib_linear_step(const struct trib_model *model, float *params, const struct trib_rows *x,
                        const struct trib_batch *batch, const struct trib_net_step *step,
                        float *space)
{
    const struct trib_layer *layer = &model->layers[0];
    float *w = params + layer->weight;
    float *b = params + layer->bias;
    const float scale = 1.0f / (float)batch->rows;
    float bias_step = 0;

    assert((size_t)x->count == batch->rows && (size_t)x->width == model->inputs);
    trib_kernels()->row_dots(x, w, space);
    for (size_t r = 0; r < batch->rows; r++)
        space[r] += *b;
    const double loss = trib_loss_sum(model, space, batch);
    trib_activate(layer->activation, space, batch->rows, 1);
    for (size_t r = 0; r < batch->rows; r++) { // dLoss/dz, times what is to become of it
        space[r] = (space[r] - batch->y[r]) * (batch->weights ? scale * batch->weights[r] : scale) *
                   -step->rate;
        bias_step += space[r];
    }
    *b = step->keep * *b + bias_step;
    trib_kernels()->row_steps(x, space, step->keep, w);
    return loss / (double)batch->rows;
}
