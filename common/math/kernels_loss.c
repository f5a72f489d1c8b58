// Exponentials and what ends a classifier. Compiled once for each instruction set.
#include "common/math/kernels_sets.h"

#include <math.h>

#include "common/math/lanes.h"

// e^z for z <= 0: with n = z / ln 2 rounded and f = z - n ln 2, |f| <= ln 2 / 2, it is 2^n e^f, and
// e^f = 1 + f + f^2 P(f). P is of degree 4, fitted by us for the least greatest relative error,
// which is 3.1e-9; rounding adds about 2^-23.
ALWAYS_INLINE vec exp_of(vec z)
{
    const vec to_integer = splat(0x1.8p23f); // adding it leaves no bits for a fraction
    const vec least = splat(-87);            // 2^n is a normal number from here
    z = larger(least, z);                    // in this order a NaN stays
    const vec shifted = fused(z, splat(0x1.715476p0f), to_integer); // 1 / ln 2
    const vec n = shifted - to_integer;
    vec f = fused(n, splat(-0x1.62e4p-1f), z); // ln 2 in two parts: n times the first is exact
    f = fused(n, splat(-0x1.7f7d1cp-20f), f);
    vec p = fused(splat(0x1.6a241cp-10f), f, splat(0x1.123a1ap-7f));
    p = fused(p, f, splat(0x1.5558f2p-5f));
    p = fused(p, f, splat(0x1.555492p-3f));
    p = fused(p, f, splat(0x1.fffffcp-2f));
    p = fused(p * f, f, f) + splat(1);
    const bits power = ((bits)shifted + 127) << 23; // what is above n is shifted out
    return p * (vec)power;
}

ALWAYS_INLINE vec sigmoid_of(vec z)
{
    // For z > 0 it is 1 / (1 + e^-z), else e^z / (1 + e^z): nothing overflows.
    const vec one = splat(1);
    const vec e = exp_of((vec)((bits)z | 0x80000000U));
    const bits is_positive = (bits)(z > splat(0));
    const vec above = (vec)(((bits)one & is_positive) | ((bits)e & ~is_positive));
    return above / (one + e);
}

#define EACH(z, count, function)                                             \
    do {                                                                     \
        size_t at = 0;                                                       \
        for (; at + LANES <= (count); at += LANES)                           \
            store((z) + at, function(load((z) + at)));                       \
        if (at < (count)) {                                                  \
            const part rest = part_of((int)((count)-at));                    \
            store_part((z) + at, rest, function(load_part((z) + at, rest))); \
        }                                                                    \
    } while (0)

void TRIB_LANES(trib_exps)(float *z, size_t count)
{
    EACH(z, count, exp_of);
}

void TRIB_LANES(trib_sigmoids)(float *z, size_t count)
{
    EACH(z, count, sigmoid_of);
}

// -log softmax(z)_label = log sum_j e^(z_j - max) - (z_label - max)
double TRIB_LANES(trib_softmax_loss)(const struct trib_softmax *s)
{
    const size_t width = (size_t)s->width;
    double loss = 0;
    for (int r = 0; r < s->rows; r++) {
        float *z = s->z + (size_t)r * width;
        float max = z[0];
        for (size_t i = 1; i < width; i++)
            max = z[i] > max ? z[i] : max;
        for (size_t i = 0; i < width; i++)
            z[i] -= max;
        loss -= (s->weights ? (double)s->weights[r] : 1) * (double)z[(size_t)s->labels[r]];
    }
    TRIB_LANES(trib_exps)(s->z, (size_t)s->rows * width);
    for (int r = 0; r < s->rows; r++) {
        float *z = s->z + (size_t)r * width;
        const float weight = s->weights ? s->weights[r] : 1;
        double sum = 0;
        for (size_t i = 0; i < width; i++)
            sum += (double)z[i];
        loss += (double)weight * log(sum);
        const float scale = weight * s->scale;
        const float factor = (float)((double)scale / sum);
        for (size_t i = 0; i < width; i++)
            z[i] *= factor;
        z[(size_t)s->labels[r]] -= scale;
    }
    return loss;
}
