// rand.h - two kinds of randomness that must not be confused.
//
// trib_random_bytes: from the operating system, for keys, identifiers and seeds of noise.
// struct trib_rng: xoshiro256** 1.0 (Blackman & Vigna 2021), reproducible, for shuffles,
// initialisation, cohorts and jitter. Never for anything secret.
#ifndef TRIB_BASE_RAND_H
#define TRIB_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

void trib_random_bytes(void *data, size_t size);

struct trib_rng {
    uint64_t s[4];
};

// The stream named by (seed, purpose, index, name): BLAKE2b of them all, so that streams with
// different names are unrelated and the same name gives the same bytes on every machine.
// `name` may be NULL.
void trib_rng_init(struct trib_rng *rng, uint64_t seed, const char *purpose, uint64_t index,
                   const char *name);

uint64_t trib_rng_next(struct trib_rng *rng);
uint64_t trib_rng_below(struct trib_rng *rng, uint64_t bound); // uniform in [0, bound), bound > 0
double trib_rng_real(struct trib_rng *rng);                    // uniform in [0, 1), 53 bits
double trib_rng_normal(struct trib_rng *rng);                  // mean 0, variance 1

// Fisher-Yates: every order equally likely.
void trib_rng_shuffle(struct trib_rng *rng, uint32_t *items, size_t count);

#endif // TRIB_BASE_RAND_H
