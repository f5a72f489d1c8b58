// maxpool K: the largest of each K x K square of each channel; no parameters.
//
// Squares do not overlap, and rows and columns at the far edges that fill no square are dropped. The
// derivative goes to the largest, of several equal ones to the first in row-major order (the
// subsampling of LeCun et al. 1998, with a maximum in place of a mean).

#include <inttypes.h>
#include <string.h>

#include "common/math/layer.h"

static enum trib_err parse(struct trib_spec *spec, struct trib_layer *layer)
{
    char word[TRIB_SPEC_WORD_SIZE];
    uint32_t side;

    if (!layer->in.is_picture)
        return trib_spec_wrong_layer(spec, "maxpool wants a picture: the model begins with CxHxW, "
                                           "and no dense layer comes before");
    trib_spec_take(spec, word);
    if (!trib_spec_count(word, TRIB_LAYER_UNITS_MAX, &side))
        return trib_spec_wrong_layer(spec, "maxpool wants the side of a square, not '%s'", word);
    if (side > layer->in.height || side > layer->in.width)
        return trib_spec_wrong_layer(spec,
                                     "a square of %" PRIu32 "x%" PRIu32
                                     " is larger than the picture, %" PRIu32 "x%" PRIu32,
                                     side, side, layer->in.height, layer->in.width);
    layer->kernel_height = layer->kernel_width = side;
    layer->out = (struct trib_shape){.is_picture = true,
                                     .channels = layer->in.channels,
                                     .height = layer->in.height / side,
                                     .width = layer->in.width / side};
    return trib_spec_write(spec, " - maxpool %" PRIu32, side);
}

// How far apart neighbours lie.
struct strides {
    size_t channel, x, y;
};

static struct strides strides_of(const struct trib_shape *shape)
{
    if (shape->is_channels_last)
        return (struct strides){1, shape->channels, (size_t)shape->width * shape->channels};
    return (struct strides){(size_t)shape->height * shape->width, 1, shape->width};
}

// Of each output of a row the place of its largest input, as an offset in the input.
static void pool_row(const struct trib_layer *layer, const float *x, float *z, uint32_t *places)
{
    const struct strides in = strides_of(&layer->in);
    const struct strides out = strides_of(&layer->out);
    const size_t side = layer->kernel_height;
    for (size_t h = 0; h < layer->out.height; h++) {
        for (size_t w = 0; w < layer->out.width; w++) {
            for (size_t c = 0; c < layer->out.channels; c++) {
                const size_t first = h * side * in.y + w * side * in.x + c * in.channel;
                size_t best = first;
                for (size_t i = 0; i < side * side; i++) {
                    const size_t at = first + i / side * in.y + i % side * in.x;
                    best = x[at] > x[best] ? at : best;
                }
                const size_t to = h * out.y + w * out.x + c * out.channel;
                z[to] = x[best];
                places[to] = (uint32_t)best;
            }
        }
    }
}

static size_t space_count(const struct trib_layer *layer, size_t rows)
{
    _Static_assert(sizeof(uint32_t) == sizeof(float), "places lie in the space of floats");
    return rows * layer->outputs;
}

static uint32_t *places_of(const struct trib_layer_pass *pass, size_t row)
{
    return (uint32_t *)(void *)pass->space + row * pass->layer->outputs;
}

static void forward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    for (size_t r = 0; r < pass->rows; r++)
        pool_row(layer, pass->x + r * layer->inputs, pass->z + r * layer->outputs,
                 places_of(pass, r));
}

static void backward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    if (!pass->below)
        return;
    memset(pass->below, 0, pass->rows * layer->inputs * sizeof(*pass->below));
    for (size_t r = 0; r < pass->rows; r++) {
        const float *delta = pass->delta + r * layer->outputs;
        const uint32_t *places = places_of(pass, r);
        float *below = pass->below + r * layer->inputs;
        for (size_t i = 0; i < layer->outputs; i++)
            below[places[i]] = delta[i];
    }
}

const struct trib_layer_ops trib_layer_maxpool = {
    .word = "maxpool",
    .is_for_pictures = true,
    .parse = parse,
    .space_count = space_count,
    .forward = forward,
    .backward = backward,
};
