// conv N KxK [same|valid] [ACTIVATION]: weight w (out, in, kh, kw), bias b (out).
//
//     z(o, y, x) = b(o) + sum over i, p, q of w(o, i, p, q) in(i, y + p - top, x + q - left)
//
// where `in` is 0 outside of the picture; valid: top = left = 0 and the kernel stays inside; same:
// top = (kh - 1) / 2, left = (kw - 1) / 2, rounded down, and z is as high and wide as the picture.
// (The convolution of LeCun et al. 1998, section II.A, with a kernel that is not mirrored.)
//
// Inside, the channels come last: a picture with its border of zeros, and the weights as
// (kh, kw, in, out), so that what one output adds up is kh runs of kw * in numbers.

#include <inttypes.h>
#include <string.h>

#include "common/math/activation.h"
#include "common/math/blas.h"
#include "common/math/layer.h"

// ---- The language

static enum trib_err parse_kernel(struct trib_spec *spec, struct trib_layer *layer)
{
    char word[TRIB_SPEC_WORD_SIZE], sides[TRIB_SPEC_WORD_SIZE];
    trib_spec_take(spec, word);
    memcpy(sides, word, sizeof(sides));
    char *times = strchr(sides, 'x');
    if (times)
        *times = '\0';
    if (!times || !trib_spec_count(sides, TRIB_LAYER_UNITS_MAX, &layer->kernel_height) ||
        !trib_spec_count(times + 1, TRIB_LAYER_UNITS_MAX, &layer->kernel_width))
        return trib_spec_wrong_layer(spec, "conv wants a kernel like 5x5, not '%s'", word);
    if (layer->kernel_height > layer->in.height || layer->kernel_width > layer->in.width)
        return trib_spec_wrong_layer(
            spec, "the kernel %s is larger than the picture, %" PRIu32 "x%" PRIu32, word,
            layer->in.height, layer->in.width);
    return TRIB_OK;
}

static enum trib_err add_tensors(struct trib_spec *spec, struct trib_layer *layer, uint32_t out)
{
    const uint32_t shape[4] = {out, layer->in.channels, layer->kernel_height, layer->kernel_width};
    const double taps = (double)layer->kernel_height * layer->kernel_width;
    enum trib_err err = trib_spec_add_tensor(spec, layer, "weight", shape, 4);
    if (!err)
        err = trib_spec_add_tensor(spec, layer, "bias", &out, 1);
    layer->out = (struct trib_shape){.is_picture = true, .channels = out};
    layer->out.height =
        layer->is_same ? layer->in.height : layer->in.height - layer->kernel_height + 1;
    layer->out.width = layer->is_same ? layer->in.width : layer->in.width - layer->kernel_width + 1;
    layer->fan_in = taps * layer->in.channels;
    layer->fan_out = taps * out;
    layer->products = layer->fan_in * out * layer->out.height * layer->out.width;
    return err;
}

static enum trib_err parse(struct trib_spec *spec, struct trib_layer *layer)
{
    char word[TRIB_SPEC_WORD_SIZE];
    uint32_t out;

    if (!layer->in.is_picture)
        return trib_spec_wrong_layer(spec, "conv wants a picture: the model begins with CxHxW, and "
                                           "no dense layer comes before");
    trib_spec_take(spec, word);
    if (!trib_spec_count(word, TRIB_LAYER_UNITS_MAX, &out))
        return trib_spec_wrong_layer(spec, "conv wants a number of channels from 1 to %d, not '%s'",
                                     TRIB_LAYER_UNITS_MAX, word);
    enum trib_err err = parse_kernel(spec, layer);
    if (err)
        return err;
    if (trib_spec_peek(spec, word) && (strcmp(word, "same") == 0 || strcmp(word, "valid") == 0)) {
        layer->is_same = strcmp(word, "same") == 0;
        trib_spec_take(spec, word);
    }
    err = trib_spec_activation(spec, &layer->activation);
    if (!err)
        err = add_tensors(spec, layer, out);
    if (err)
        return err;
    return trib_spec_write(spec, " - conv %" PRIu32 " %" PRIu32 "x%" PRIu32 " %s %s", out,
                           layer->kernel_height, layer->kernel_width,
                           layer->is_same ? "same" : "valid",
                           trib_activation_text(layer->activation));
}

// ---- Where everything lies

struct plan {
    size_t in, out; // channels
    size_t kernel_h, kernel_w;
    size_t top, left; // of the picture within its border
    size_t padded_h, padded_w;
    size_t out_h, out_w;
    size_t taps;   // numbers that one output adds up
    size_t pixels; // of the output
    size_t padded; // numbers of a picture with its border
};

// The parts of the layer's space.
struct space {
    float *weight;   // (taps, out)
    float *gradient; // (taps, out)
    float *columns;  // of one row: what each output adds up, (pixels, taps)
    float *z;        // of one row, (pixels, out), where the layer's outputs do not lie so
    float *border;   // one row's padded picture, in the backward pass
    float *pictures; // (rows, padded): borders stay 0
};

static struct plan plan_of(const struct trib_layer *layer)
{
    struct plan p = {
        .in = layer->in.channels,
        .out = layer->out.channels,
        .kernel_h = layer->kernel_height,
        .kernel_w = layer->kernel_width,
        .out_h = layer->out.height,
        .out_w = layer->out.width,
    };
    p.padded_h = p.out_h + p.kernel_h - 1;
    p.padded_w = p.out_w + p.kernel_w - 1;
    p.top = (p.padded_h - layer->in.height) / 2;
    p.left = (p.padded_w - layer->in.width) / 2;
    p.taps = p.kernel_h * p.kernel_w * p.in;
    p.pixels = p.out_h * p.out_w;
    p.padded = p.padded_h * p.padded_w * p.in;
    return p;
}

static float *cut(float **rest, size_t count)
{
    float *part = *rest;
    *rest += (count + 15) / 16 * 16; // each on a cache line of its own
    return part;
}

static size_t space_count(const struct trib_layer *layer, size_t rows)
{
    const struct plan p = plan_of(layer);
    const size_t parts = 2 * p.taps * p.out + p.pixels * (p.taps + p.out) + p.padded;
    return parts + rows * p.padded + 6 * 16;
}

static struct space space_of(const struct plan *p, float *space)
{
    struct space s;
    s.weight = cut(&space, p->taps * p->out);
    s.gradient = cut(&space, p->taps * p->out);
    s.columns = cut(&space, p->pixels * p->taps);
    s.z = cut(&space, p->pixels * p->out);
    s.border = cut(&space, p->padded);
    s.pictures = space;
    return s;
}

// ---- From one order to the other

// (out, in, kh, kw) -> (kh, kw, in, out)
static void lay_weight(const struct plan *p, const float *from, float *to)
{
    const size_t places = p->kernel_h * p->kernel_w;
    for (size_t o = 0; o < p->out; o++) {
        for (size_t i = 0; i < p->in; i++) {
            for (size_t k = 0; k < places; k++)
                to[(k * p->in + i) * p->out + o] = *from++;
        }
    }
}

// (kh, kw, in, out) -> (out, in, kh, kw)
static void lay_gradient(const struct plan *p, const float *from, float *to)
{
    const size_t places = p->kernel_h * p->kernel_w;
    for (size_t o = 0; o < p->out; o++) {
        for (size_t i = 0; i < p->in; i++) {
            for (size_t k = 0; k < places; k++)
                *to++ = from[(k * p->in + i) * p->out + o];
        }
    }
}

// (count, channels) -> (channels, count), and back with the two swapped
static void transpose(const float *from, size_t count, size_t channels, float *to)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < channels; c++)
            to[c * count + i] = from[i * channels + c];
    }
}

// Put a picture inside its border.
static void pad(const struct plan *p, const struct trib_shape *shape, const float *picture,
                float *padded)
{
    const size_t area = (size_t)shape->height * shape->width;
    for (size_t y = 0; y < shape->height; y++) {
        float *to = padded + ((y + p->top) * p->padded_w + p->left) * p->in;
        if (shape->is_channels_last) {
            memcpy(to, picture + y * shape->width * p->in, shape->width * p->in * sizeof(*to));
            continue;
        }
        for (size_t x = 0; x < shape->width; x++) {
            for (size_t i = 0; i < p->in; i++)
                *to++ = picture[i * area + y * shape->width + x];
        }
    }
}

// And take it out again.
static void unpad(const struct plan *p, const struct trib_shape *shape, const float *padded,
                  float *picture)
{
    const size_t area = (size_t)shape->height * shape->width;
    for (size_t y = 0; y < shape->height; y++) {
        const float *from = padded + ((y + p->top) * p->padded_w + p->left) * p->in;
        if (shape->is_channels_last) {
            memcpy(picture + y * shape->width * p->in, from, shape->width * p->in * sizeof(*from));
            continue;
        }
        for (size_t x = 0; x < shape->width; x++) {
            for (size_t i = 0; i < p->in; i++)
                picture[i * area + y * shape->width + x] = *from++;
        }
    }
}

// columns (pixels, taps): for each output what it adds up.
static void gather(const struct plan *p, const float *padded, float *columns)
{
    const size_t run = p->kernel_w * p->in;
    for (size_t y = 0; y < p->out_h; y++) {
        for (size_t x = 0; x < p->out_w; x++) {
            for (size_t k = 0; k < p->kernel_h; k++, columns += run)
                memcpy(columns, padded + ((y + k) * p->padded_w + x) * p->in,
                       run * sizeof(*columns));
        }
    }
}

// Its transpose: add to each input what comes from the outputs it went to.
static void scatter(const struct plan *p, const float *columns, float *padded)
{
    const size_t run = p->kernel_w * p->in;
    memset(padded, 0, p->padded * sizeof(*padded));
    for (size_t y = 0; y < p->out_h; y++) {
        for (size_t x = 0; x < p->out_w; x++) {
            for (size_t k = 0; k < p->kernel_h; k++, columns += run) {
                float *to = padded + ((y + k) * p->padded_w + x) * p->in;
                for (size_t i = 0; i < run; i++)
                    to[i] += columns[i];
            }
        }
    }
}

// ---- Passes

// z (pixels, out) = columns (pixels, taps) w (taps, out) + b
static void forward_row(const struct plan *p, const struct space *s, const float *bias, float *z)
{
    for (size_t i = 0; i < p->pixels; i++)
        memcpy(z + i * p->out, bias, p->out * sizeof(*bias));
    trib_gemm(&(struct trib_gemm){
        .m = (int)p->pixels,
        .n = (int)p->out,
        .k = (int)p->taps,
        .alpha = 1,
        .beta = 1,
        .a = s->columns,
        .lda = (int)p->taps,
        .b = s->weight,
        .ldb = (int)p->out,
        .c = z,
        .ldc = (int)p->out,
    });
}

static void forward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    const struct plan p = plan_of(layer);
    const struct space s = space_of(&p, pass->space);
    lay_weight(&p, pass->params + layer->weight, s.weight);
    for (size_t r = 0; r < pass->rows; r++) {
        float *padded = s.pictures + r * p.padded;
        float *z = pass->z + r * layer->outputs;
        pad(&p, &layer->in, pass->x + r * layer->inputs, padded);
        gather(&p, padded, s.columns);
        forward_row(&p, &s, pass->params + layer->bias, layer->out.is_channels_last ? z : s.z);
        if (!layer->out.is_channels_last)
            transpose(s.z, p.pixels, p.out, z);
    }
}

// dw (taps, out) += columns^T (taps, pixels) delta (pixels, out);  db (out) += column sums of delta
static void gradient_row(const struct plan *p, const struct space *s, const float *delta,
                         float *bias)
{
    trib_gemm(&(struct trib_gemm){
        .transpose_a = true,
        .m = (int)p->taps,
        .n = (int)p->out,
        .k = (int)p->pixels,
        .alpha = 1,
        .beta = 1,
        .a = s->columns,
        .lda = (int)p->taps,
        .b = delta,
        .ldb = (int)p->out,
        .c = s->gradient,
        .ldc = (int)p->out,
    });
    for (size_t i = 0; i < p->pixels; i++) {
        for (size_t o = 0; o < p->out; o++)
            bias[o] += delta[i * p->out + o];
    }
}

// dcolumns (pixels, taps) = delta (pixels, out) w^T (out, taps)
static void below_row(const struct plan *p, const struct space *s, const float *delta)
{
    trib_gemm(&(struct trib_gemm){
        .transpose_b = true,
        .m = (int)p->pixels,
        .n = (int)p->taps,
        .k = (int)p->out,
        .alpha = 1,
        .beta = 0,
        .a = delta,
        .lda = (int)p->out,
        .b = s->weight,
        .ldb = (int)p->out,
        .c = s->columns,
        .ldc = (int)p->taps,
    });
    scatter(p, s->columns, s->border);
}

static void backward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    const struct plan p = plan_of(layer);
    const struct space s = space_of(&p, pass->space);
    float *bias = pass->gradient + layer->bias;
    memset(s.gradient, 0, p.taps * p.out * sizeof(*s.gradient));
    memset(bias, 0, p.out * sizeof(*bias));
    for (size_t r = 0; r < pass->rows; r++) {
        const float *delta = pass->delta + r * layer->outputs;
        if (!layer->out.is_channels_last) {
            transpose(delta, p.out, p.pixels, s.z);
            delta = s.z;
        }
        gather(&p, s.pictures + r * p.padded, s.columns);
        gradient_row(&p, &s, delta, bias);
        if (!pass->below)
            continue;
        below_row(&p, &s, delta);
        unpad(&p, &layer->in, s.border, pass->below + r * layer->inputs);
    }
    lay_gradient(&p, s.gradient, pass->gradient + layer->weight);
}

const struct trib_layer_ops trib_layer_conv = {
    .word = "conv",
    .is_for_pictures = true,
    .parse = parse,
    .space_count = space_count,
    .forward = forward,
    .backward = backward,
};
