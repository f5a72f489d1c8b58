// polya.h - one device's share of discrete Laplace noise, exact, in integers (mode distributed).
//
// With l = exp(-1/t), t = 2^grid_bits, and m = shares, a share is X - Y per coordinate, X and Y
// independent with the negative binomial (Polya) law NB(1/m, l). The sum of m independent shares is
// discrete Laplace noise of scale t, exactly; with more than m there is more noise, never less.
// With fewer, the guarantee is gone, not a little weaker: whoever asks for a share makes sure that
// at least m honest ones are in the sum (docs/privacy-math.md 3).
//
// Needs about 2 (grid_bits + 1) / m short draws a coordinate: a share of a large cohort's noise is
// zero nearly everywhere. The running time depends on the noise drawn: nothing may be sent before
// the whole vector is done.
#ifndef TRIB_PRIVACY_POLYA_H
#define TRIB_PRIVACY_POLYA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/privacy/noise.h"

enum {
    TRIB_POLYA_SHARES_MAX = TRIB_COHORT_MAX,
};

// Add a share to each of `count` words, modulo 2^32 (the caller cuts the word to its width: that
// is a reduction modulo a divisor). 1 <= shares <= TRIB_POLYA_SHARES_MAX, grid_bits <=
// TRIB_NOISE_GRID_BITS_MAX; any count, none included.
void trib_polya_add(struct trib_noise *noise, int32_t *words, size_t count, unsigned grid_bits,
                    uint32_t shares);

// ---- Its parts, for tests

// Poisson with mean 1: P(n) = 1 / (e n!).
uint32_t trib_polya_poisson_one(struct trib_noise *noise);

// True with probability 2/e.
bool trib_polya_bern_2e(struct trib_noise *noise);

// Uniform in [0, bound), bound > 0, for bounds that do not fit 32 bits.
uint64_t trib_polya_below(struct trib_noise *noise, uint64_t bound);

#endif // TRIB_PRIVACY_POLYA_H
