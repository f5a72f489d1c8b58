#include "common/math/augment.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

struct trib_augment {
    struct trib_augment_options options;
    struct trib_shape picture;
    size_t inputs;
    float *channel; // (height, width) before it is moved; NULL: no pictures
    uint8_t *flags; // (inputs) 1: the feature is 0 or 1 in every row; NULL: no jitter
};

bool trib_augment_is_of_pictures(const struct trib_augment_options *options)
{
    return options->shift > 0 || options->rotate > 0 || (options->crop > 0 && options->crop < 1);
}

bool trib_augment_is_on(const struct trib_augment_options *options)
{
    return options->jitter > 0 || options->mixup > 0 || trib_augment_is_of_pictures(options);
}

// ---- Text

static bool take_amount(const char *text, double max, double *ret_value)
{
    char *end;
    if (!*text || strspn(text, "0123456789.e-") != strlen(text))
        return false;
    *ret_value = strtod(text, &end);
    return *end == '\0' && *ret_value > 0 && *ret_value <= max;
}

static enum trib_err take_pair(const char *name, const char *value,
                               struct trib_augment_options *options, char *why, size_t why_size)
{
    double shift = 0;
    const struct {
        const char *name;
        double max;
        double *field;
    } kinds[] = {
        {"jitter", 1e6, &options->jitter},
        {"mixup", 1, &options->mixup},
        {"shift", TRIB_AUGMENT_SHIFT_MAX, &shift},
        {"rotate", 180, &options->rotate},
        {"crop", 1, &options->crop},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(name, kinds[i].name) != 0)
            continue;
        if (*kinds[i].field > 0 || (kinds[i].field == &shift && options->shift > 0)) {
            (void)snprintf(why, why_size, "says %s twice", name);
            return TRIB_ERR_INVAL;
        }
        if (!take_amount(value, kinds[i].max, kinds[i].field) ||
            (kinds[i].field == &shift && shift != floor(shift))) {
            (void)snprintf(why, why_size, "%s wants %s above 0 and up to %g, not '%s'", name,
                           kinds[i].field == &shift ? "whole pixels" : "a number", kinds[i].max,
                           value);
            return TRIB_ERR_INVAL;
        }
        if (kinds[i].field == &shift)
            options->shift = (uint32_t)shift;
        return TRIB_OK;
    }
    (void)snprintf(why, why_size, "'%s' is not jitter, mixup, shift, rotate or crop", name);
    return TRIB_ERR_INVAL;
}

enum trib_err trib_augment_parse(const char *text, struct trib_augment_options *ret_options,
                                 char *why, size_t why_size)
{
    struct trib_augment_options options = {.jitter = 0};
    enum trib_err err = TRIB_OK;
    while (!err && text[strspn(text, " ,")]) {
        char pair[64];
        text += strspn(text, " ,");
        const size_t length = strcspn(text, " ,");
        (void)snprintf(pair, sizeof(pair), "%.*s", (int)(length < 63 ? length : 63), text);
        char *colon = strchr(pair, ':');
        if (!colon) {
            (void)snprintf(why, why_size, "'%s' is not name:amount", pair);
            return TRIB_ERR_INVAL;
        }
        *colon = '\0';
        err = take_pair(pair, colon + 1, &options, why, why_size);
        text += length;
    }
    if (!err)
        *ret_options = options;
    return err;
}

// ---- Rows

enum trib_err trib_augment_create(const struct trib_augment_options *options,
                                  const struct trib_model *model, struct trib_augment **ret_augment)
{
    const bool moves = trib_augment_is_of_pictures(options);
    const struct trib_shape picture = model->shape;
    assert(!moves || picture.is_picture);
    struct trib_augment *augment = trib_alloc(sizeof(*augment));
    if (!augment)
        return TRIB_ERR_NOMEM;
    augment->options = *options;
    augment->picture = picture;
    augment->inputs = model->inputs;
    if (moves)
        augment->channel = trib_alloc_array((size_t)picture.height * picture.width, sizeof(float));
    if (options->jitter > 0)
        augment->flags = trib_alloc_array(model->inputs, sizeof(*augment->flags));
    if ((moves && !augment->channel) || (options->jitter > 0 && !augment->flags)) {
        trib_augment_destroy(augment);
        return TRIB_ERR_NOMEM;
    }
    *ret_augment = augment;
    return TRIB_OK;
}

void trib_augment_destroy(struct trib_augment *augment)
{
    if (!augment)
        return;
    free(augment->channel);
    free(augment->flags);
    free(augment);
}

void trib_augment_begin(struct trib_augment *augment, const struct trib_samples *samples,
                        const uint32_t *rows, size_t count)
{
    if (!augment->flags)
        return;
    memset(augment->flags, 1, augment->inputs);
    for (size_t r = 0; r < count; r++) {
        const float *x = samples->x + rows[r] * samples->inputs;
        for (size_t i = 0; i < augment->inputs; i++)
            augment->flags[i] &= x[i] == 0 || x[i] == 1;
    }
}

// Where an output pixel takes its value from: (x, y) = origin + matrix (column, row).
struct move {
    double origin_x, origin_y;
    double cos, sin; // of the angle, times the scale
};

static struct move draw_move(const struct trib_augment *augment, struct trib_rng *rng)
{
    const struct trib_augment_options *o = &augment->options;
    const double pi = 3.14159265358979323846;
    const double x_mid = (augment->picture.width - 1) / 2.0;
    const double y_mid = (augment->picture.height - 1) / 2.0;
    double angle = 0, scale = 1, x = 0, y = 0;
    if (o->shift > 0) {
        x = (double)trib_rng_below(rng, 2 * o->shift + 1) - o->shift;
        y = (double)trib_rng_below(rng, 2 * o->shift + 1) - o->shift;
    }
    if (o->rotate > 0)
        angle = (2 * trib_rng_real(rng) - 1) * o->rotate * pi / 180;
    if (o->crop > 0 && o->crop < 1) {
        scale = o->crop + (1 - o->crop) * trib_rng_real(rng);
        x += (2 * trib_rng_real(rng) - 1) * (1 - scale) * x_mid;
        y += (2 * trib_rng_real(rng) - 1) * (1 - scale) * y_mid;
    }
    const struct move move = {.cos = scale * cos(angle), .sin = scale * sin(angle)};
    return (struct move){.origin_x = x_mid + x - move.cos * x_mid + move.sin * y_mid,
                         .origin_y = y_mid + y - move.sin * x_mid - move.cos * y_mid,
                         .cos = move.cos,
                         .sin = move.sin};
}

static double pixel(const float *channel, const struct trib_shape *picture, double row,
                    double column)
{
    if (row < 0 || column < 0 || row >= picture->height || column >= picture->width)
        return 0;
    return (double)channel[(size_t)row * picture->width + (size_t)column];
}

// Bilinear; at whole coordinates exactly the pixel.
static double look(const float *channel, const struct trib_shape *picture, double y, double x)
{
    const double row = floor(y), column = floor(x), v = y - row, u = x - column;
    const double above = (1 - u) * pixel(channel, picture, row, column) +
                         (u > 0 ? u * pixel(channel, picture, row, column + 1) : 0);
    if (v == 0)
        return above;
    const double below = (1 - u) * pixel(channel, picture, row + 1, column) +
                         (u > 0 ? u * pixel(channel, picture, row + 1, column + 1) : 0);
    return (1 - v) * above + v * below;
}

static void move_picture(struct trib_augment *augment, struct trib_rng *rng, float *x)
{
    const struct trib_shape *picture = &augment->picture;
    const size_t size = (size_t)picture->height * picture->width;
    const struct move move = draw_move(augment, rng);
    for (uint32_t c = 0; c < picture->channels; c++, x += size) {
        memcpy(augment->channel, x, size * sizeof(*x));
        for (uint32_t row = 0; row < picture->height; row++) {
            for (uint32_t column = 0; column < picture->width; column++)
                x[(size_t)row * picture->width + column] = (float)look(
                    augment->channel, picture, move.origin_y + move.sin * column + move.cos * row,
                    move.origin_x + move.cos * column - move.sin * row);
        }
    }
}

void trib_augment_row(struct trib_augment *augment, struct trib_rng *rng, float *x)
{
    if (augment->channel)
        move_picture(augment, rng, x);
    for (size_t i = 0; augment->flags && i < augment->inputs; i++) {
        if (!augment->flags[i])
            x[i] += (float)(augment->options.jitter * trib_rng_normal(rng));
    }
}

float trib_augment_mix(const struct trib_augment *augment, struct trib_rng *rng, const float *other,
                       float *x)
{
    // Of the powers only logarithms, which do not vanish: the sum of both is at most 1.
    const double alpha = augment->options.mixup;
    double a, b, sum;
    do {
        a = log(trib_rng_real(rng)) / alpha;
        b = log(trib_rng_real(rng)) / alpha;
        sum = fmax(a, b) + log1p(exp(-fabs(a - b)));
    } while (!(sum <= 0));
    const float share = (float)(1 / (1 + exp(b - a)));
    for (size_t i = 0; i < augment->inputs; i++)
        x[i] = other[i] + share * (x[i] - other[i]);
    return share;
}
