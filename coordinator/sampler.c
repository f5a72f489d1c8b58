#include "coordinator/sampler.h"

#include "common/base/rand.h"

void trib_sampler_draw(uint64_t seed, uint64_t round_number, uint32_t *order, size_t count)
{
    struct trib_rng rng;
    trib_rng_init(&rng, seed, "cohort", round_number, NULL);
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    trib_rng_shuffle(&rng, order, count);
}
