#include "common/privacy/noise.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"

_Static_assert(TRIB_NOISE_SEED_SIZE == crypto_stream_chacha20_KEYBYTES, "the seed is a key");

static void refill(struct trib_noise *noise)
{
    // A key makes one block only, so the nonce need not change.
    static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES] = {0};

    crypto_stream_chacha20(noise->block, sizeof(noise->block), nonce, noise->key);
    memcpy(noise->key, noise->block, sizeof(noise->key));
    memset(noise->block, 0, sizeof(noise->key));
    noise->used = sizeof(noise->key);
}

void trib_noise_init_seed(struct trib_noise *noise, const uint8_t seed[static TRIB_NOISE_SEED_SIZE])
{
    memcpy(noise->key, seed, sizeof(noise->key));
    noise->bits = 0;
    noise->bit_count = 0;
    refill(noise);
}

void trib_noise_init(struct trib_noise *noise)
{
    uint8_t seed[TRIB_NOISE_SEED_SIZE];

    trib_random_bytes(seed, sizeof(seed));
    trib_noise_init_seed(noise, seed);
    trib_wipe(seed, sizeof(seed));
}

void trib_noise_fini(struct trib_noise *noise)
{
    if (noise)
        trib_wipe(noise, sizeof(*noise));
}

// The next `size` bytes of the stream, 4 or 8, little-endian, erased behind us. Bytes at the end
// of a block that are too few are dropped. The plain stores that erase cannot be dropped by the
// compiler: refill() and trib_wipe() are calls that might read them.
static inline uint64_t take(struct trib_noise *noise, size_t size)
{
    if (noise->used + size > sizeof(noise->block))
        refill(noise);
    uint8_t *at = noise->block + noise->used;
    uint64_t value = size == 8 ? trib_load_le64(at) : trib_load_le32(at);
    memset(at, 0, size);
    noise->used += size;
    return value;
}

static inline uint32_t bits(struct trib_noise *noise, unsigned count)
{
    if (noise->bit_count < count) {
        noise->bits = take(noise, 8); // the left-over bits are dropped: still uniform
        noise->bit_count = 64;
    }
    uint64_t value = noise->bits & ((UINT64_C(1) << count) - 1);
    noise->bits >>= count;
    noise->bit_count -= count;
    return (uint32_t)value;
}

static inline uint32_t below(struct trib_noise *noise, uint32_t bound)
{
    // Lemire 2019, Alg. 5: multiply, and reject the few values that would be too frequent.
    uint64_t product = take(noise, 4) * bound;
    if ((uint32_t)product < bound) {
        uint32_t floor = -bound % bound;
        while ((uint32_t)product < floor)
            product = take(noise, 4) * bound;
    }
    return (uint32_t)(product >> 32);
}

// Canonne, Kamath & Steinke 2020, Alg. 1. Heads at step j come with probability (u/2^k)/j; the
// first tails at step j happens with (x^(j-1)/(j-1)! - x^j/j!), x = u/2^k, and these alternate
// sum to exp(-x) over odd j. The two factors of step j are separate exact events.
static inline bool bern_exp(struct trib_noise *noise, uint32_t u, unsigned grid_bits)
{
    for (uint32_t j = 1;; j++) {
        bool heads = u >> grid_bits || bits(noise, grid_bits) < u;
        if (heads && j > 1)
            heads = below(noise, j) == 0;
        if (!heads)
            return j & 1;
    }
}

// P(x) = (1 - l) l^x, x >= 0, l = exp(-1/2^k): the low k bits by rejection, and the rest, which is
// independent of them, by counting successes of probability exp(-1).
static inline uint64_t geo(struct trib_noise *noise, unsigned grid_bits)
{
    uint32_t low;
    do {
        low = bits(noise, grid_bits);
    } while (!bern_exp(noise, low, grid_bits));
    uint64_t high = 0;
    while (bern_exp(noise, 1, 0))
        high++;
    return low + (high << grid_bits);
}

uint32_t trib_noise_bits(struct trib_noise *noise, unsigned count)
{
    assert(count <= 32);
    return bits(noise, count);
}

uint32_t trib_noise_below(struct trib_noise *noise, uint32_t bound)
{
    assert(bound > 0);
    return below(noise, bound);
}

bool trib_noise_bern_exp(struct trib_noise *noise, uint32_t u, unsigned grid_bits)
{
    assert(grid_bits <= TRIB_NOISE_GRID_BITS_MAX && u <= UINT32_C(1) << grid_bits);
    return bern_exp(noise, u, grid_bits);
}

int64_t trib_noise_dlap(struct trib_noise *noise, unsigned grid_bits)
{
    assert(grid_bits <= TRIB_NOISE_GRID_BITS_MAX);
    for (;;) {
        bool negative = bits(noise, 1);
        int64_t size = (int64_t)geo(noise, grid_bits);
        if (negative && size == 0)
            continue; // or zero would come twice as often
        return negative ? -size : size;
    }
}
