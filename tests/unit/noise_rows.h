// noise_rows.h - rows that are easily learnt by heart.
#ifndef TRIB_TESTS_NOISE_ROWS_H
#define TRIB_TESTS_NOISE_ROWS_H

#include "common/math/train.h"
#include "tests/unit/models.h"

enum {
    NOISE_ROWS = 120,
    NOISE_INPUTS = 10,
};

static float noise_x[NOISE_ROWS * NOISE_INPUTS], noise_y[NOISE_ROWS];
static const struct trib_samples noise = {
    .x = noise_x, .y = noise_y, .rows = NOISE_ROWS, .inputs = NOISE_INPUTS};

// One input of ten says something of the class, and that not always: what begins as learning ends
// as learning by heart.
static inline void make_noise(void)
{
    uint64_t seed = 8;
    for (int i = 0; i < NOISE_ROWS * NOISE_INPUTS; i++)
        noise_x[i] = small(&seed);
    for (int r = 0; r < NOISE_ROWS; r++)
        noise_y[r] = noise_x[r * NOISE_INPUTS] + 0.5f * small(&seed) > 0;
}

#endif // TRIB_TESTS_NOISE_ROWS_H
