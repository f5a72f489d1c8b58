#include "common/math/loss.h"

#include <math.h>

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

double trib_loss_sum(const struct trib_model *model, const float *logits,
                     const struct trib_batch *batch)
{
    double sum = 0;
    for (size_t r = 0; r < batch->rows; r++) {
        const double loss = row_loss(model, logits + r * model->outputs, batch->y[r]);
        sum += batch->weights ? (double)batch->weights[r] * loss : loss;
    }
    return sum;
}
