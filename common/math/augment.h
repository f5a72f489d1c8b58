// augment.h - training rows that are never twice the same: pictures moved and turned, numbers
// jittered, pairs mixed. Only ever applied to copies of rows that are learnt from.
//
// In this order:
//     shift, rotate, crop   one resampling of each channel: output pixel p takes the value at
//         c + s R (p - c) + t of the input, bilinear, 0 outside. c is the centre, R turns by an angle
//         uniform in +-rotate degrees, t = whole pixels uniform in -shift .. shift per axis, and a
//         crop shows a window of side s uniform in [crop, 1] of the picture's at a uniform place
//     jitter                x + sigma N(0, 1), but for features that are 0 or 1 in every row
//     mixup                 l x + (1 - l) x' with another row; both labels count, l and 1 - l
//         (Zhang et al. 2018, equation 1), l from Beta(alpha, alpha)
#ifndef TRIB_MATH_AUGMENT_H
#define TRIB_MATH_AUGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rand.h"
#include "common/math/model.h"
#include "common/math/net.h"
#include "tributary/err.h"

// All 0: none. The same bounds as in proto.
struct trib_augment_options {
    double jitter;  // standard deviation, at least 0
    double mixup;   // alpha, [0, 1]; 0: none
    uint32_t shift; // pixels, at most TRIB_AUGMENT_SHIFT_MAX
    double rotate;  // degrees, [0, 180]
    double crop;    // smallest side of the window, (0, 1]; 0 and 1: none
};

enum {
    TRIB_AUGMENT_SHIFT_MAX = 1000,
};

bool trib_augment_is_on(const struct trib_augment_options *options);
// Does it move pictures, so that the model's input must be CxHxW?
bool trib_augment_is_of_pictures(const struct trib_augment_options *options);

// "jitter:0.1, mixup:0.2, shift:2": pairs in any order. TRIB_ERR_INVAL with a text in `why`.
TRIB_CHECKED enum trib_err trib_augment_parse(const char *text,
                                              struct trib_augment_options *ret_options, char *why,
                                              size_t why_size);

struct trib_augment;

// Nothing is allocated after create. With options of pictures the model begins with a picture.
TRIB_CHECKED enum trib_err trib_augment_create(const struct trib_augment_options *options,
                                               const struct trib_model *model,
                                               struct trib_augment **ret_augment);
void trib_augment_destroy(struct trib_augment *augment); // NULL is fine

// Look at the rows that are learnt from, `rows` (count) in samples: which features are 0 or 1 in
// all.
void trib_augment_begin(struct trib_augment *augment, const struct trib_samples *samples,
                        const uint32_t *rows, size_t count);

// Pictures and jitter, in place: x (inputs).
void trib_augment_row(struct trib_augment *augment, struct trib_rng *rng, float *x);

// mixup: draw l from Beta(alpha, alpha) (Johnk's method, in Devroye 1986, IX.3.5), then
// x = l x + (1 - l) other, (inputs). Returns l.
float trib_augment_mix(const struct trib_augment *augment, struct trib_rng *rng, const float *other,
                       float *x);

#endif // TRIB_MATH_AUGMENT_H
