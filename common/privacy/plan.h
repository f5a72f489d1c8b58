// plan.h - from what an operator asks to an encoding: which noise meets a target, on which grid, in
// how wide words, and what comes out (docs/privacy-math.md 2.2, 3.4, 7).
#ifndef TRIB_PRIVACY_PLAN_H
#define TRIB_PRIVACY_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "common/privacy/accountant.h"
#include "common/privacy/encode.h"
#include "common/privacy/secagg_plan.h"
#include "tributary/err.h"

struct trib_privacy_config {
    enum trib_privacy_mode mode;
    double clip_l1, clip_l2, clip_linf; // 0: from the others; with privacy on clip_l2 > 0
    double noise_multiplier;            // b / clip_l2; 0: from target_epsilon
    double target_epsilon;              // of the whole job
    double target_delta;                // 0: min(1e-6, 1/(10 population))
    uint32_t grid_bits;                 // 0: the smallest that keeps rounding harmless
    uint32_t word_bits;                 // 0: the smallest that fits; not of mode distributed
    uint64_t params;                    // P
    uint64_t cohort;                    // n: devices counted in a round; distributed: asked
    uint64_t rounds;
    uint64_t population; // devices that could be asked; at least `cohort` is assumed
    // Mode distributed only (secagg_plan.h).
    double threshold_frac;
    double max_colluders_frac;
    uint32_t secagg_word_bits; // 0: the smallest that fits
};

struct trib_privacy_plan {
    struct trib_encoding encoding;
    struct trib_secagg_plan secagg; // zero unless distributed
    double noise_multiplier;        // z
    double delta;
    double epsilon_pure_round;
    double rho_round;
    double epsilon_pure_total;
    double epsilon_total; // at delta: the smallest of the ledgers that are proven
    const char *ledger;   // its name: "pure" or "zcdp", "none" with mode off; a constant
    double snr; // predicted, per coordinate of the mean and round (docs/privacy-math.md 7)
};

// TRIB_ERR_INVAL with a text for people in `why`.
TRIB_CHECKED enum trib_err trib_privacy_plan_make(const struct trib_privacy_config *config,
                                                  struct trib_privacy_plan *ret_plan, char *why,
                                                  size_t why_size);

// Standard deviation, in units of the parameters, of the noise on a coordinate of the mean of
// `count` updates; public. 0 with mode off. With mode distributed it is that of all shares that are
// in the sum, `count` of them, of which encoding->shares make up one whole noise.
double trib_privacy_noise_std(const struct trib_encoding *encoding, uint64_t count);

// The signal-to-noise ratio of a mean with this root mean square per coordinate: what is left of it
// when the noise is taken out, over the noise. Computed from what is published anyway.
double trib_privacy_snr_seen(const struct trib_encoding *encoding, uint64_t count, double rms);

#endif // TRIB_PRIVACY_PLAN_H
