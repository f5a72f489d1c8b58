// noise.h - exact samplers for privacy noise: integers and random bits only, no floating point.
//
// The generator is a ChaCha20 stream cut into blocks. The first 32 bytes of a block become the key
// of the next one, and bytes are erased as they are handed out ("fast key erasure"): whoever reads
// the memory later learns nothing about noise already used.
//
// The samplers never round, so their laws hold exactly if the stream is uniform; that is what the
// proof of docs/privacy-math.md 2.3 needs. Their running time depends on what they draw: nothing
// may be sent before a whole vector is drawn.
//
// A struct trib_noise belongs to one thread. It is a secret: finish with trib_noise_fini.
#ifndef TRIB_PRIVACY_NOISE_H
#define TRIB_PRIVACY_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_NOISE_SEED_SIZE = 32,
    TRIB_NOISE_BLOCK_SIZE = 8192, // one call of the cipher: 7 ns a word, where 8 bytes cost 400
    TRIB_NOISE_GRID_BITS_MAX = 24,
};

struct trib_noise {
    uint8_t key[TRIB_NOISE_SEED_SIZE]; // of the block after this one
    uint8_t block[TRIB_NOISE_BLOCK_SIZE];
    size_t used;        // bytes of the block handed out, all zero by now
    uint64_t bits;      // random bits not yet handed out, lowest first
    unsigned bit_count; // how many
};

// A seed from the operating system.
void trib_noise_init(struct trib_noise *noise);

// A known seed gives known noise, which hides nothing: for tests, and for programs built with
// TRIB_WITH_TEST_NOISE.
void trib_noise_init_seed(struct trib_noise *noise,
                          const uint8_t seed[static TRIB_NOISE_SEED_SIZE]);

void trib_noise_fini(struct trib_noise *noise);

// `count` fresh random bits, 0 <= count <= 32.
uint32_t trib_noise_bits(struct trib_noise *noise, unsigned count);

// Uniform in [0, bound), bound > 0.
uint32_t trib_noise_below(struct trib_noise *noise, uint32_t bound);

// True with probability exp(-u / 2^grid_bits), 0 <= u <= 2^grid_bits.
bool trib_noise_bern_exp(struct trib_noise *noise, uint32_t u, unsigned grid_bits);

// Discrete Laplace noise of scale t = 2^grid_bits, grid_bits <= TRIB_NOISE_GRID_BITS_MAX:
// P(x) = (1 - l) / (1 + l) * l^|x| with l = exp(-1/t). Variance 2 l / (1 - l)^2, about 2 t^2.
int64_t trib_noise_dlap(struct trib_noise *noise, unsigned grid_bits);

// All of the noise of mode central: discrete Laplace noise of scale 2^grid_bits on each of `count`
// sums. |sum| < 2^62 on entry: then no sum overflows (noise of 2^62 has probability e^-(2^38)).
void trib_noise_central_add(struct trib_noise *noise, int64_t *sums, size_t count,
                            unsigned grid_bits);

#endif // TRIB_PRIVACY_NOISE_H
