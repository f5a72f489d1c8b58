// encode_rig.h - encodings and vectors for the tests of encode.h.
#ifndef TRIB_TESTS_ENCODE_RIG_H
#define TRIB_TESTS_ENCODE_RIG_H

#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/privacy/encode.h"

static struct trib_noise noise;

static inline void start_noise(uint8_t first)
{
    uint8_t seed[TRIB_NOISE_SEED_SIZE] = {first};
    trib_noise_init_seed(&noise, seed);
}

static inline double uniform(uint64_t *seed) // (0, 1)
{
    return ((double)(test_rand(seed) >> 11) + 0.5) * 0x1p-53;
}

static const struct trib_encoding off24 = {
    .mode = TRIB_PRIVACY_OFF, .grid = 0x1p-20, .word_bits = 24};

// What trib_encode makes where the floats lie.
static inline void assert_same_in_place(const struct trib_encoding *e, const float *x, size_t count,
                                        uint8_t seed, const int32_t *words)
{
    struct trib_encode_report report;
    void *memory = trib_alloc_array(count, sizeof(*x));
    assert_non_null(memory);
    memcpy(memory, x, count * sizeof(*x));
    start_noise(seed);
    assert_int_equal(trib_encode(e, &noise, memory, count, memory, &report), TRIB_OK);
    assert_memory_equal(memory, words, count * sizeof(*words));
    free(memory);
}

#endif // TRIB_TESTS_ENCODE_RIG_H
