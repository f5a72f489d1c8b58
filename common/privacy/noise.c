#include "common/privacy/noise.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/privacy/draw.h"

_Static_assert(TRIB_NOISE_SEED_SIZE == crypto_stream_chacha20_KEYBYTES, "the seed is a key");

void trib_draw_refill(struct trib_noise *noise)
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
    trib_draw_refill(noise);
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

// P(x) = (1 - l) l^x, x >= 0, l = exp(-1/2^k): the low k bits by rejection, and the rest, which is
// independent of them, by counting successes of probability exp(-1).
static inline uint64_t geo(struct trib_noise *noise, unsigned grid_bits)
{
    uint32_t low;
    do {
        low = trib_draw_bits(noise, grid_bits);
    } while (!trib_draw_bern_exp(noise, low, grid_bits));
    uint64_t high = 0;
    while (trib_draw_bern_exp(noise, 1, 0))
        high++;
    return low + (high << grid_bits);
}

uint32_t trib_noise_bits(struct trib_noise *noise, unsigned count)
{
    assert(count <= 32);
    return trib_draw_bits(noise, count);
}

uint32_t trib_noise_below(struct trib_noise *noise, uint32_t bound)
{
    assert(bound > 0);
    return trib_draw_below(noise, bound);
}

bool trib_noise_bern_exp(struct trib_noise *noise, uint32_t u, unsigned grid_bits)
{
    assert(grid_bits <= TRIB_NOISE_GRID_BITS_MAX && u <= UINT32_C(1) << grid_bits);
    return trib_draw_bern_exp(noise, u, grid_bits);
}

int64_t trib_noise_dlap(struct trib_noise *noise, unsigned grid_bits)
{
    assert(grid_bits <= TRIB_NOISE_GRID_BITS_MAX);
    for (;;) {
        bool negative = trib_draw_bits(noise, 1);
        int64_t size = (int64_t)geo(noise, grid_bits);
        if (negative && size == 0)
            continue; // or zero would come twice as often
        return negative ? -size : size;
    }
}

void trib_noise_central_add(struct trib_noise *noise, int64_t *sums, size_t count,
                            unsigned grid_bits)
{
    for (size_t i = 0; i < count; i++)
        sums[i] += trib_noise_dlap(noise, grid_bits);
}
