#include "common/base/rand.h"

#include <assert.h>
#include <math.h>
#include <sodium.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"

void trib_random_bytes(void *data, size_t size)
{
    randombytes_buf(data, size);
}

void trib_rng_init(struct trib_rng *rng, uint64_t seed, const char *purpose, uint64_t index,
                   const char *name)
{
    struct trib_hash hash;
    uint8_t number[8];
    uint8_t state[32];

    trib_hash_init(&hash, NULL, 0, sizeof(state));
    trib_store_le64(number, seed);
    trib_hash_update(&hash, number, sizeof(number));
    trib_hash_update(&hash, purpose, strlen(purpose) + 1); // the NUL ends it: no two names run
    trib_store_le64(number, index);                        // into each other
    trib_hash_update(&hash, number, sizeof(number));
    if (name)
        trib_hash_update(&hash, name, strlen(name) + 1);
    trib_hash_final(&hash, state, sizeof(state));
    for (int i = 0; i < 4; i++)
        rng->s[i] = trib_load_le64(state + 8 * i);
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t trib_rng_next(struct trib_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t trib_rng_below(struct trib_rng *rng, uint64_t bound)
{
    assert(bound > 0);
    // Lemire 2019, Alg. 5: multiply, and reject the few values that would be too frequent.
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)trib_rng_next(rng) * bound;
    if ((uint64_t)product < bound) {
        uint64_t floor = -bound % bound;
        while ((uint64_t)product < floor)
            product = (wide)trib_rng_next(rng) * bound;
    }
    return (uint64_t)(product >> 64);
}

double trib_rng_real(struct trib_rng *rng)
{
    return (double)(trib_rng_next(rng) >> 11) * 0x1p-53;
}

double trib_rng_normal(struct trib_rng *rng)
{
    // Marsaglia's polar method; the second value is dropped so that there is no hidden state.
    double u, v, square;
    do {
        u = 2 * trib_rng_real(rng) - 1;
        v = 2 * trib_rng_real(rng) - 1;
        square = u * u + v * v;
    } while (square >= 1 || square == 0);
    return u * sqrt(-2 * log(square) / square);
}

void trib_rng_shuffle(struct trib_rng *rng, uint32_t *items, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = trib_rng_below(rng, i);
        uint32_t item = items[i - 1];
        items[i - 1] = items[j];
        items[j] = item;
    }
}
