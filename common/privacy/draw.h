// draw.h - the draws that noise.c and polya.c are made of, inline: each is a few nanoseconds.
//
// Only the samplers of this folder include it; everybody else calls noise.h, which checks its
// arguments. Nothing here looks at a bound twice.
//
// Counters of runs of successes are not bounded by a type but by chance: a run that filled 32 bits
// would have a probability below 2^-(2^32).
#ifndef TRIB_PRIVACY_DRAW_H
#define TRIB_PRIVACY_DRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/privacy/noise.h"

// Make the next block of the stream.
void trib_draw_refill(struct trib_noise *noise);

// The next `size` bytes of the stream, 4 or 8, little-endian, erased behind us. Bytes at the end
// of a block that are too few are dropped. The plain stores that erase cannot be dropped by the
// compiler: trib_draw_refill() and trib_wipe() are calls that might read them.
static inline uint64_t trib_draw_take(struct trib_noise *noise, size_t size)
{
    if (noise->used + size > sizeof(noise->block))
        trib_draw_refill(noise);
    uint8_t *at = noise->block + noise->used;
    uint64_t value = size == 8 ? trib_load_le64(at) : trib_load_le32(at);
    memset(at, 0, size);
    noise->used += size;
    return value;
}

// `count` fresh bits, 0 <= count <= 32.
static inline uint32_t trib_draw_bits(struct trib_noise *noise, unsigned count)
{
    if (noise->bit_count < count) {
        noise->bits = trib_draw_take(noise, 8); // the left-over bits are dropped: still uniform
        noise->bit_count = 64;
    }
    uint64_t value = noise->bits & ((UINT64_C(1) << count) - 1);
    noise->bits >>= count;
    noise->bit_count -= count;
    return (uint32_t)value;
}

// Uniform in [0, bound), bound > 0.
static inline uint32_t trib_draw_below(struct trib_noise *noise, uint32_t bound)
{
    // Lemire 2019, Alg. 5: multiply, and reject the few values that would be too frequent.
    uint64_t product = trib_draw_take(noise, 4) * bound;
    if ((uint32_t)product < bound) {
        uint32_t floor = -bound % bound;
        while ((uint32_t)product < floor)
            product = trib_draw_take(noise, 4) * bound;
    }
    return (uint32_t)(product >> 32);
}

// True with probability exp(-u / 2^grid_bits), 0 <= u <= 2^grid_bits, grid_bits <= 24.
//
// Canonne, Kamath & Steinke 2020, Alg. 1. Heads at step j come with probability (u/2^k)/j; the
// first tails at step j happens with (x^(j-1)/(j-1)! - x^j/j!), x = u/2^k, and these alternate
// sum to exp(-x) over odd j. The two factors of step j are separate exact events.
static inline bool trib_draw_bern_exp(struct trib_noise *noise, uint32_t u, unsigned grid_bits)
{
    for (uint32_t j = 1;; j++) {
        bool heads = u >> grid_bits || trib_draw_bits(noise, grid_bits) < u;
        if (heads && j > 1)
            heads = trib_draw_below(noise, j) == 0;
        if (!heads)
            return j & 1;
    }
}

#endif // TRIB_PRIVACY_DRAW_H
