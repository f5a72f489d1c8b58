// conv N KxK [same|valid] [ACTIVATION]: weight w (out, in, kh, kw), bias b (out).
//
//     z(o, y, x) = b(o) + sum over i, p, q of w(o, i, p, q) in(i, y + p - top, x + q - left)
//
// where `in` is 0 outside of the picture; valid: top = left = 0 and the kernel stays inside; same:
// top = (kh - 1) / 2, left = (kw - 1) / 2, rounded down, and z is as high and wide as the picture.
// (The convolution of LeCun et al. 1998, section II.A, with a kernel that is not mirrored.)
//
// Inside, the channels come last: a picture with its border of zeros, and the weights as
// (kh, kw, in, out), so that what one output adds up is kh runs of kw * in numbers that lie one
// behind the other. No picture is copied out window by window: the products walk over the windows.

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "common/math/activation.h"
#include "common/math/kernels.h"
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
    size_t padded_w;
    size_t out_h, out_w;
    size_t run;     // numbers of a window that lie one behind the other: kernel_w * in
    size_t taps;    // numbers of a window
    size_t pixels;  // of the output
    size_t padded;  // numbers of a picture with its border
    size_t delta_w; // of delta with a border, for the products backward
    size_t delta;   // numbers of that
};

// The parts of the layer's space.
struct space {
    float *weight;   // (kh, kw, in, out)
    float *mirrored; // (kh, kw, out, in), rows and columns from the last to the first
    float *gradient; // (kh, kw, in, out)
    float *z;        // of one row, (pixels, out), where the layer's outputs do not lie so
    float *delta;    // of one row with a border, which stays 0
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
    const size_t padded_h = p.out_h + p.kernel_h - 1;
    p.padded_w = p.out_w + p.kernel_w - 1;
    p.top = (padded_h - layer->in.height) / 2;
    p.left = (p.padded_w - layer->in.width) / 2;
    p.run = p.kernel_w * p.in;
    p.taps = p.kernel_h * p.run;
    p.pixels = p.out_h * p.out_w;
    p.padded = padded_h * p.padded_w * p.in;
    p.delta_w = layer->in.width + p.kernel_w - 1;
    p.delta = (layer->in.height + p.kernel_h - 1) * p.delta_w * p.out;
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
    return 3 * p.taps * p.out + p.pixels * p.out + p.delta + rows * p.padded + 6 * 16;
}

static struct space space_of(const struct plan *p, float *space)
{
    struct space s;
    s.weight = cut(&space, p->taps * p->out);
    s.mirrored = cut(&space, p->taps * p->out);
    s.gradient = cut(&space, p->taps * p->out);
    s.z = cut(&space, p->pixels * p->out);
    s.delta = cut(&space, p->delta);
    s.pictures = space;
    return s;
}

// ---- From one order to the other

enum {
    BLOCK = 16, // channels at a time: a cache line
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

// weight (kh, kw, in, out) from (out, in, kh, kw)
static void lay_weight(const struct plan *p, const float *from, float *to)
{
    const size_t places = p->kernel_h * p->kernel_w;
    for (size_t first = 0; first < p->out; first += BLOCK) {
        const size_t end = smaller(first + BLOCK, p->out);
        for (size_t i = 0; i < p->in; i++) {
            for (size_t k = 0; k < places; k++) {
                for (size_t o = first; o < end; o++)
                    to[(k * p->in + i) * p->out + o] = from[(o * p->in + i) * places + k];
            }
        }
    }
}

// to (out, in, kh, kw) = keep * to + factor * gradient (kh, kw, in, out)
static void lay_gradient(const struct plan *p, const float *from,
                         const struct trib_layer_pass *pass)
{
    const size_t places = p->kernel_h * p->kernel_w;
    const float factor = pass->factor, keep = pass->keep;
    float *to = pass->gradient + pass->layer->weight;
    for (size_t first = 0; first < p->out; first += BLOCK) {
        const size_t end = smaller(first + BLOCK, p->out);
        for (size_t i = 0; i < p->in; i++) {
            for (size_t k = 0; k < places; k++) {
                const float *g = from + (k * p->in + i) * p->out;
                float *w = to + i * places + k;
                for (size_t o = first; o < end; o++) {
                    float *at = w + o * p->taps;
                    *at = keep == 0 ? factor * g[o] : factor * g[o] + keep * *at;
                }
            }
        }
    }
}

// mirrored (kh, kw, out, in) from weight (kh, kw, in, out)
static void lay_mirrored(const struct plan *p, const float *weight, float *to)
{
    const size_t size = p->in * p->out;
    for (size_t k = p->kernel_h * p->kernel_w; k-- > 0; to += size)
        trib_transpose(weight + k * size, p->in, p->out, to);
}

// Put a picture inside its border.
static void pad(const struct plan *p, const struct trib_shape *shape, const float *picture,
                float *padded)
{
    const size_t area = (size_t)shape->height * shape->width;
    for (size_t y = 0; y < shape->height; y++) {
        float *to = padded + ((y + p->top) * p->padded_w + p->left) * p->in;
        if (shape->is_channels_last || p->in == 1) {
            memcpy(to, picture + y * shape->width * p->in, shape->width * p->in * sizeof(*to));
            continue;
        }
        for (size_t x = 0; x < shape->width; x++) {
            for (size_t i = 0; i < p->in; i++)
                *to++ = picture[i * area + y * shape->width + x];
        }
    }
}

// ---- Passes

// A row of z (out_w, out) = sum over the rows k of the window of
//     windows (out_w, run) at (y + k) times weight (run, out) at k, + b
static void forward_row(const struct plan *p, const struct space *s, const float *padded,
                        const float *bias, bool is_relu, float *z)
{
    struct trib_product product = {
        .m = (int)p->out_w,
        .n = (int)p->out,
        .k = (int)p->run,
        .k2 = (int)p->kernel_h,
        .a_row = (ptrdiff_t)p->in,
        .a_step = 1,
        .a_step2 = (ptrdiff_t)(p->padded_w * p->in),
        .b = s->weight,
        .b_row = (ptrdiff_t)p->out,
        .b_row2 = (ptrdiff_t)(p->run * p->out),
        .c_row = (ptrdiff_t)p->out,
        .alpha = 1,
        .bias = bias,
        .is_relu = is_relu,
    };
    for (size_t y = 0; y < p->out_h; y++) {
        product.a = padded + y * p->padded_w * p->in;
        product.c = z + y * p->out_w * p->out;
        trib_kernels()->products(&product);
    }
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
        forward_row(&p, &s, padded, pass->params + layer->bias,
                    layer->activation == TRIB_ACTIVATION_RELU,
                    layer->out.is_channels_last ? z : s.z);
        if (!layer->out.is_channels_last)
            trib_transpose(s.z, p.pixels, p.out, z);
    }
}

// dw at row k of the kernel (run, out) += sum over the rows y of delta of
//     windows (out_w, run) at (y + k), transposed, times delta (out_w, out) at y
// and db (out) += column sums of delta: of row number r of the batch.
static void gradient_row(const struct plan *p, const struct space *s,
                         const struct trib_layer_pass *pass, size_t r, const float *delta)
{
    static const float one = 1;
    const float *padded = s->pictures + r * p->padded;
    struct trib_product product = {
        .m = (int)p->run,
        .n = (int)p->out,
        .k = (int)p->out_w,
        .k2 = (int)p->out_h,
        .a_row = 1,
        .a_step = (ptrdiff_t)p->in,
        .a_step2 = (ptrdiff_t)(p->padded_w * p->in),
        .b = delta,
        .b_row = (ptrdiff_t)p->out,
        .b_row2 = (ptrdiff_t)(p->out_w * p->out),
        .c_row = (ptrdiff_t)p->out,
        .alpha = 1,
        .beta = r > 0 ? 1 : 0,
    };
    for (size_t k = 0; k < p->kernel_h; k++) {
        product.a = padded + k * p->padded_w * p->in;
        product.c = s->gradient + k * p->run * p->out;
        trib_kernels()->products(&product);
    }
    product.m = 1;
    product.a = &one;
    product.a_step = product.a_step2 = 0;
    product.c = pass->gradient + pass->layer->bias;
    product.alpha = pass->factor;
    product.beta = r > 0 ? 1 : pass->keep;
    trib_kernels()->products(&product);
}

// The rows of dx (width, in) = sum over the rows k of the window of
//     windows (width, kw * out) of delta with its border, at (y + k), times mirrored at k
// and 0 where `gate`, of the same shape, is not positive.
static void below_row(const struct plan *p, const struct space *s, const struct trib_shape *in,
                      const float *gate, float *below)
{
    const ptrdiff_t row = (ptrdiff_t)in->width * (ptrdiff_t)p->in;
    struct trib_product product = {
        .m = (int)in->width,
        .n = (int)p->in,
        .k = (int)(p->kernel_w * p->out),
        .k2 = (int)p->kernel_h,
        .a = s->delta,
        .a_row = (ptrdiff_t)p->out,
        .a_step = 1,
        .a_step2 = (ptrdiff_t)(p->delta_w * p->out),
        .b = s->mirrored,
        .b_row = (ptrdiff_t)p->in,
        .b_row2 = (ptrdiff_t)(p->kernel_w * p->out * p->in),
        .c = below,
        .c_row = (ptrdiff_t)p->in,
        .alpha = 1,
        .gate = gate,
    };
    for (uint32_t y = 0; y < in->height; y++) {
        trib_kernels()->products(&product);
        product.a += product.a_step2;
        product.c += row;
        if (gate)
            product.gate += row;
    }
}

// Put delta inside its border.
static void pad_delta(const struct plan *p, const struct space *s, const float *delta)
{
    const size_t top = p->kernel_h - 1 - p->top, left = p->kernel_w - 1 - p->left;
    for (size_t y = 0; y < p->out_h; y++)
        memcpy(s->delta + ((y + top) * p->delta_w + left) * p->out, delta + y * p->out_w * p->out,
               p->out_w * p->out * sizeof(*delta));
}

static void backward(const struct trib_layer_pass *pass)
{
    const struct trib_layer *layer = pass->layer;
    const struct plan p = plan_of(layer);
    const struct space s = space_of(&p, pass->space);
    if (pass->below)
        lay_mirrored(&p, s.weight, s.mirrored);
    // What is below learns, so it is a layer of pictures, and gives its channels last.
    assert(!pass->below || layer->in.is_channels_last);
    for (size_t r = 0; r < pass->rows; r++) {
        const size_t at = r * layer->inputs;
        const float *delta = pass->delta + r * layer->outputs;
        if (!layer->out.is_channels_last) {
            trib_transpose(delta, p.out, p.pixels, s.z);
            delta = s.z;
        }
        gradient_row(&p, &s, pass, r, delta);
        if (!pass->below)
            continue;
        pad_delta(&p, &s, delta);
        below_row(&p, &s, &layer->in, pass->gate ? pass->gate + at : NULL, pass->below + at);
    }
    lay_gradient(&p, s.gradient, pass);
}

const struct trib_layer_ops trib_layer_conv = {
    .word = "conv",
    .is_for_pictures = true,
    .takes_steps = true,
    .fuses_relu = true,
    .parse = parse,
    .space_count = space_count,
    .forward = forward,
    .backward = backward,
};
