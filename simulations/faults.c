#include "simulations/faults.h"

#include "common/base/rand.h"

const char *trib_lie_text(enum trib_lie lie)
{
    static const char *const names[TRIB_LIE_COUNT] = {"mixed", "norm", "weight",
                                                      "size",  "base", "model"};
    return names[lie];
}

bool trib_faults_hit(const struct trib_faults *faults, enum trib_fault fault, uint64_t seed,
                     uint64_t round_number, const char *name)
{
    static const char *const streams[] = {"dropout", "straggle", "kill"};
    const double shares[] = {faults->dropout, faults->straggle, faults->kill};
    struct trib_rng rng;
    trib_rng_init(&rng, seed, streams[fault], round_number, name);
    return trib_rng_real(&rng) < shares[fault];
}

bool trib_faults_lies(const struct trib_faults *faults, uint64_t seed, const char *name,
                      enum trib_lie *ret_lie)
{
    struct trib_rng rng;
    trib_rng_init(&rng, seed, "liar", 0, name);
    if (trib_rng_real(&rng) >= faults->liars)
        return false;
    *ret_lie = faults->lie == TRIB_LIE_MIXED
                   ? (enum trib_lie)(TRIB_LIE_NORM + trib_rng_below(&rng, TRIB_LIE_COUNT - 1))
                   : (enum trib_lie)faults->lie;
    return true;
}
