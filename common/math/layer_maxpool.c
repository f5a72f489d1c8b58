// maxpool K: the largest of each K x K square of each channel; no parameters.
//
// Squares do not overlap, and rows and columns at the far edges that fill no square are dropped.
// The derivative goes to the largest, of several equal ones to the first in row-major order (the
// subsampling of LeCun et al. 1998, with a maximum in place of a mean).

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "common/math/kernels.h"
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

// A picture that does not lie with its channels last is turned round in the layer's space.
struct space {
    float *x;     // of a row, (height, width, channels)
    float *a;     // (out height, out width, channels)
    float *delta; // (out height, out width, channels)
};

static size_t space_count(const struct trib_layer *layer, size_t rows)
{
    (void)rows;
    return (size_t)layer->inputs + 2 * (size_t)layer->outputs;
}

static struct space space_of(const struct trib_layer_pass *pass)
{
    float *a = pass->space + pass->layer->inputs;
    return (struct space){.x = pass->space, .a = a, .delta = a + pass->layer->outputs};
}

// `picture` of that shape, with the channels last; `turned` is where it may be put.
static const float *channels_last(const struct trib_shape *shape, const float *picture,
                                  float *turned)
{
    if (shape->is_channels_last)
        return picture;
    trib_transpose(picture, shape->channels, (size_t)shape->height * shape->width, turned);
    return turned;
}

static struct trib_pool pool_of(const struct trib_layer *layer)
{
    return (struct trib_pool){
        .count = (int)layer->out.width,
        .side = (int)layer->kernel_height,
        .channels = (int)layer->out.channels,
        .x_row = (ptrdiff_t)layer->in.width * layer->in.channels,
    };
}

static void forward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    const struct space space = space_of(pass);
    const size_t area = (size_t)layer->out.height * layer->out.width;
    struct trib_pool pool = pool_of(layer);
    for (size_t r = 0; r < pass->rows; r++) {
        const float *x = channels_last(&layer->in, pass->x + r * layer->inputs, space.x);
        float *z = pass->z + r * layer->outputs;
        float *largest = layer->out.is_channels_last ? z : space.a;
        for (uint32_t h = 0; h < layer->out.height; h++) {
            pool.x = x + (ptrdiff_t)h * pool.side * pool.x_row;
            trib_kernels()->pool(&pool, largest + (ptrdiff_t)h * pool.count * pool.channels);
        }
        if (!layer->out.is_channels_last)
            trib_transpose(space.a, area, layer->out.channels, z);
    }
}

static void backward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    const struct space space = space_of(pass);
    struct trib_unpool unpool = {.pool = pool_of(layer), .is_gated = pass->gate != NULL};
    struct trib_pool *pool = &unpool.pool;
    if (!pass->below)
        return;
    assert(layer->in.is_channels_last); // what is below learns, so it is a layer of pictures
    if (layer->in.height % layer->kernel_height != 0 || layer->in.width % layer->kernel_width != 0)
        memset(pass->below, 0, pass->rows * layer->inputs * sizeof(*pass->below)); // the edges
    for (size_t r = 0; r < pass->rows; r++) {
        const size_t at = r * layer->outputs;
        const float *a = channels_last(&layer->out, pass->a + at, space.a);
        const float *delta = channels_last(&layer->out, pass->delta + at, space.delta);
        for (uint32_t h = 0; h < layer->out.height; h++) {
            const ptrdiff_t first = (ptrdiff_t)h * pool->side * pool->x_row;
            const ptrdiff_t row = (ptrdiff_t)h * pool->count * pool->channels;
            pool->x = pass->x + r * layer->inputs + first;
            unpool.largest = a + row;
            unpool.delta = delta + row;
            unpool.below = pass->below + r * layer->inputs + first;
            trib_kernels()->unpool(&unpool);
        }
    }
}

const struct trib_layer_ops trib_layer_maxpool = {
    .word = "maxpool",
    .is_for_pictures = true,
    .fuses_relu = true, // it has none, and heeds the gate
    .parse = parse,
    .space_count = space_count,
    .forward = forward,
    .backward = backward,
};
