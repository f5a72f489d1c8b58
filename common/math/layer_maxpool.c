// maxpool K: the largest of each K x K square of each channel; no parameters.
//
// Squares do not overlap, and rows and columns at the far edges that fill no square are dropped. The
// derivative goes to the largest, of several equal ones to the first in row-major order (the
// subsampling of LeCun et al. 1998, with a maximum in place of a mean).

#include <assert.h>
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

// The parts of the layer's space.
struct space {
    float *pixel;     // (channels), where the layer's outputs do not lie so
    uint32_t *places; // (rows, height, width, channels): where in its square each output came from
};

static size_t space_count(const struct trib_layer *layer, size_t rows)
{
    _Static_assert(sizeof(uint32_t) == sizeof(float), "places lie in the space of floats");
    return layer->out.channels + rows * layer->outputs;
}

static struct space space_of(const struct trib_layer_pass *pass, size_t row)
{
    const struct trib_layer *layer = pass->layer;
    float *places = pass->space + layer->out.channels + row * layer->outputs;
    return (struct space){.pixel = pass->space, .places = (uint32_t *)(void *)places};
}

// The largest of a square in each channel, and its place. Written so that a compiler makes vectors
// of it where neighbours in `x` are `apart` = 1.
static inline void pool_square(const struct trib_layer *layer, const float *x, size_t apart,
                               float *restrict largest, uint32_t *restrict places)
{
    const struct strides in = strides_of(&layer->in);
    const size_t channels = layer->out.channels;
    const uint32_t side = layer->kernel_height;
    for (size_t c = 0; c < channels; c++) {
        largest[c] = x[c * apart];
        places[c] = 0;
    }
    for (uint32_t i = 1; i < side * side; i++) {
        const float *at = x + i / side * in.y + i % side * in.x;
        for (size_t c = 0; c < channels; c++) {
            const float now = at[c * apart];
            places[c] = now > largest[c] ? i : places[c];
            largest[c] = now > largest[c] ? now : largest[c];
        }
    }
}

static void forward_row(const struct trib_layer *layer, const float *x, const struct space *space,
                        float *z)
{
    const struct strides in = strides_of(&layer->in);
    const struct strides out = strides_of(&layer->out);
    const size_t channels = layer->out.channels, side = layer->kernel_height;
    uint32_t *places = space->places;
    for (size_t h = 0; h < layer->out.height; h++) {
        for (size_t w = 0; w < layer->out.width; w++, places += channels) {
            const float *square = x + h * side * in.y + w * side * in.x;
            float *to = z + h * out.y + w * out.x;
            float *largest = out.channel == 1 ? to : space->pixel;
            if (in.channel == 1)
                pool_square(layer, square, 1, largest, places);
            else
                pool_square(layer, square, in.channel, largest, places);
            for (size_t c = 0; c < channels && largest != to; c++)
                to[c * out.channel] = largest[c];
        }
    }
}

static void forward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    for (size_t r = 0; r < pass->rows; r++) {
        const struct space space = space_of(pass, r);
        forward_row(layer, pass->x + r * layer->inputs, &space, pass->z + r * layer->outputs);
    }
}

// To each place of a square what comes from its output, or 0.
static void unpool_square(const struct trib_layer *layer, const float *restrict delta,
                          const uint32_t *restrict places, float *restrict below)
{
    const struct strides in = strides_of(&layer->in);
    const size_t channels = layer->out.channels;
    const uint32_t side = layer->kernel_height;
    for (uint32_t i = 0; i < side * side; i++) {
        float *at = below + i / side * in.y + i % side * in.x;
        for (size_t c = 0; c < channels; c++)
            at[c] = places[c] == i ? delta[c] : 0;
    }
}

static void backward_row(const struct trib_layer *layer, const float *delta,
                         const struct space *space, float *below)
{
    const struct strides in = strides_of(&layer->in);
    const struct strides out = strides_of(&layer->out);
    const size_t channels = layer->out.channels, side = layer->kernel_height;
    const uint32_t *places = space->places;
    if (layer->in.height % side != 0 || layer->in.width % side != 0)
        memset(below, 0, layer->inputs * sizeof(*below)); // the edges that were dropped
    for (size_t h = 0; h < layer->out.height; h++) {
        for (size_t w = 0; w < layer->out.width; w++, places += channels) {
            const float *from = delta + h * out.y + w * out.x;
            for (size_t c = 0; c < channels && out.channel != 1; c++)
                space->pixel[c] = from[c * out.channel];
            unpool_square(layer, out.channel == 1 ? from : space->pixel, places,
                          below + h * side * in.y + w * side * in.x);
        }
    }
}

static void backward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    if (!pass->below)
        return;
    assert(layer->in.is_channels_last); // what is below learns, so it is a layer of pictures
    for (size_t r = 0; r < pass->rows; r++) {
        const struct space space = space_of(pass, r);
        backward_row(layer, pass->delta + r * layer->outputs, &space,
                     pass->below + r * layer->inputs);
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
