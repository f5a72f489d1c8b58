#include "common/privacy/polya.h"

#include <assert.h>

#include "common/privacy/draw.h"

__extension__ typedef unsigned __int128 uint128;

// NB(1/m, l) is compound Poisson: jumps of size x >= 1 arrive with intensity (1/m) l^x / x, and
// their sum is the variable (docs/privacy-math.md 3.3). Over m neighbouring coordinates and one
// sign the intensities add up to l^x / x, and each jump falls on one of the m, all alike. So a
// vector is cut into segments of m coordinates, and jumps are drawn for a segment at a time: by
// proposing too many from a simpler measure, and keeping each with the ratio of the two measures
// (thinning keeps a Poisson process one). The measure proposed from has mean 1 on each of the
// blocks [2^j, 2^(j+1)), j < k, where it is flat, and mean 1 on the tail [t, infinity).
//
// Sizes: a jump is below 2^64 unless a run of 2^40 successes of probability 1/e came up; it is
// counted modulo 2^32.

static inline bool bern_2e(struct trib_noise *noise)
{
    // P(K >= n) = 2/n!, and 2/e is the sum of 2/n! - 2/(n+1)! over even n.
    uint32_t n = 2;
    while (trib_draw_below(noise, n + 1) == 0)
        n++;
    return !(n & 1);
}

static inline uint32_t poisson_one(struct trib_noise *noise)
{
    // Propose with weights 4, 4, 2 and 1 of 16 for 0, 1, 2 and all that is larger; 4/n! of 16 must
    // be kept. Beyond 2 a geometric run with weights (3/4) (1/4)^(n-3) has to become 4/n!, which is
    // to keep 8/9 at n = 3 and 4/j of that for every j from 4 to n.
    static const uint8_t small[10] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2};

    for (;;) {
        uint32_t nibble = trib_draw_bits(noise, 4);
        if (nibble < sizeof(small))
            return small[nibble];
        if (nibble > sizeof(small))
            continue;
        uint32_t n = 3;
        while (trib_draw_bits(noise, 2) == 0)
            n++;
        bool keep = trib_draw_below(noise, 9) < 8;
        for (uint32_t j = 4; keep && j <= n; j++)
            keep = trib_draw_below(noise, j) < 4;
        if (keep)
            return n;
    }
}

static uint64_t below(struct trib_noise *noise, uint64_t bound)
{
    // As trib_draw_below, in words twice as wide.
    uint128 product = (uint128)trib_draw_take(noise, 8) * bound;
    if ((uint64_t)product < bound) {
        uint64_t floor = -bound % bound;
        while ((uint64_t)product < floor)
            product = (uint128)trib_draw_take(noise, 8) * bound;
    }
    return (uint64_t)(product >> 64);
}

// A jump proposed in the block of 2^j, or 0 if it is not kept.
static inline uint32_t jump_in_block(struct trib_noise *noise, unsigned j, unsigned grid_bits)
{
    // Proposed with density 2^-j, wanted is exp(-x/t) / x: keep with 2^j/x, and with exp(-x/t).
    const uint32_t low = UINT32_C(1) << j;
    const uint32_t x = low + trib_draw_bits(noise, j);
    if (j > 0 && trib_draw_below(noise, x) >= low)
        return 0;
    return trib_draw_bern_exp(noise, x, grid_bits) ? x : 0;
}

// A jump of t or more, or 0 if it is not kept.
static inline uint64_t jump_in_tail(struct trib_noise *noise, unsigned grid_bits)
{
    // x = high * t + low. Proposed with density 2^-high / t: keep with (2/e)^high, exp(-low/t) and
    // t/x. The first is decided while `high` is counted.
    uint64_t high = 0;
    do {
        high++;
        if (!bern_2e(noise))
            return 0;
    } while (trib_draw_bits(noise, 1));
    const uint32_t low = trib_draw_bits(noise, grid_bits);
    if (!trib_draw_bern_exp(noise, low, grid_bits))
        return 0;
    const uint64_t x = (high << grid_bits) + low;
    return below(noise, x) >> grid_bits ? 0 : x;
}

// All jumps of one segment: `shares` coordinates, of which the last may lie beyond the vector. What
// falls there is dropped, which leaves the others as they are: jumps of different coordinates are
// independent.
static void add_segment(struct trib_noise *noise, int32_t *words, size_t count, unsigned grid_bits,
                        uint32_t shares)
{
    for (unsigned j = 0; j <= grid_bits; j++) {
        for (uint32_t sign = 0; sign < 2; sign++) {
            for (uint32_t left = poisson_one(noise); left > 0; left--) {
                uint32_t x = j < grid_bits ? jump_in_block(noise, j, grid_bits)
                                           : (uint32_t)jump_in_tail(noise, grid_bits);
                if (x == 0)
                    continue;
                uint32_t at = trib_draw_below(noise, shares);
                if (at < count)
                    words[at] = (int32_t)((uint32_t)words[at] + (sign ? -x : x));
            }
        }
    }
}

void trib_polya_add(struct trib_noise *noise, int32_t *words, size_t count, unsigned grid_bits,
                    uint32_t shares)
{
    assert(grid_bits <= TRIB_NOISE_GRID_BITS_MAX);
    assert(shares >= 1 && shares <= TRIB_POLYA_SHARES_MAX);
    if (shares == 1) {
        // NB(1, l) is the geometric law, and the difference of two is discrete Laplace: the same
        // law from one short draw instead of 2 (k + 1) proposals.
        for (size_t i = 0; i < count; i++)
            words[i] = (int32_t)((uint32_t)words[i] + (uint32_t)trib_noise_dlap(noise, grid_bits));
        return;
    }
    for (size_t i = 0; i < count; i += shares)
        add_segment(noise, words + i, count - i, grid_bits, shares);
}

uint32_t trib_polya_poisson_one(struct trib_noise *noise)
{
    return poisson_one(noise);
}

bool trib_polya_bern_2e(struct trib_noise *noise)
{
    return bern_2e(noise);
}

uint64_t trib_polya_below(struct trib_noise *noise, uint64_t bound)
{
    assert(bound > 0);
    return below(noise, bound);
}
