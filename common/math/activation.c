#include "common/math/activation.h"

#include <math.h>
#include <string.h>

#include "common/math/kernels.h"

static const char *const names[] = {
    [TRIB_ACTIVATION_LINEAR] = "linear",   [TRIB_ACTIVATION_RELU] = "relu",
    [TRIB_ACTIVATION_TANH] = "tanh",       [TRIB_ACTIVATION_SIGMOID] = "sigmoid",
    [TRIB_ACTIVATION_SOFTMAX] = "softmax",
};

const char *trib_activation_text(enum trib_activation activation)
{
    return names[activation];
}

bool trib_activation_find(const char *word, enum trib_activation *ret_activation)
{
    for (int i = 0; i <= TRIB_ACTIVATION_SOFTMAX; i++) {
        if (strcmp(word, names[i]) == 0) {
            *ret_activation = (enum trib_activation)i;
            return true;
        }
    }
    return false;
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

void trib_activate(enum trib_activation activation, float *z, size_t rows, size_t width)
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
    case TRIB_ACTIVATION_SIGMOID: trib_kernels()->sigmoids(z, count); break;
    case TRIB_ACTIVATION_SOFTMAX: softmax_rows(z, rows, width); break;
    }
}

void trib_activation_derivative(enum trib_activation activation, const float *a, float *delta,
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
