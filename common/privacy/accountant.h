// accountant.h - what a round and a job cost in privacy, and which noise meets a target.
//
// Unit: one device (zero-out adjacency). Two ledgers with proven reductions (docs/privacy-math.md 1.3, 5):
// pure epsilon adds up; rho of zero-concentrated differential privacy (Bun & Steinke 2016) adds up
// and turns into (epsilon, delta) at the end. Discrete Laplace noise of scale t on integers with
// sum |q| <= s1 and sum q^2 <= s2^2 costs pure epsilon s1/t and, by the dual-norm bound, rho.
#ifndef TRIB_PRIVACY_ACCOUNTANT_H
#define TRIB_PRIVACY_ACCOUNTANT_H

#include <stddef.h>
#include <stdint.h>

#include "common/privacy/encode.h"
#include "common/privacy/secagg_plan.h"
#include "tributary/err.h"

// rho of continuous Laplace noise for L1 norm d1 and L2 norm d2 (in noise scales):
// d1 h(d2^2/d1), h(u) = 1 - (1 - e^-u)/u (docs/privacy-math.md 1.3). d1, d2 >= 0.
double trib_zcdp_laplace(double d1, double d2);
// The same for discrete Laplace noise of scale t on integers. Also at most d2^2/2.
double trib_zcdp_discrete_laplace(double t, double d1, double d2);
// KL divergence of discrete Laplace noise of scale t from itself shifted by `shift` >= 0.
double trib_zcdp_discrete_shift(double t, double shift);
// The smallest epsilon with rho-zCDP => (epsilon, delta)-DP (CKS20, Prop. 12): the minimum over
// alpha > 1 of rho alpha + ln(1 - 1/alpha) - ln(delta alpha)/(alpha - 1).
double trib_zcdp_epsilon(double rho, double delta);
// The largest rho with trib_zcdp_epsilon(rho, delta) <= epsilon.
double trib_zcdp_rho(double epsilon, double delta);

// Of one round with this encoding; 0 with mode off.
double trib_epsilon_pure(const struct trib_encoding *encoding);
double trib_rho_of(const struct trib_encoding *encoding);

// What was spent so far.
struct trib_privacy_spent {
    uint64_t rounds;
    double epsilon_pure;
    double rho;
};
void trib_privacy_spend(struct trib_privacy_spent *spent, const struct trib_encoding *encoding,
                        uint64_t rounds);
// (epsilon, delta): the smaller of the two ledgers, which both hold.
double trib_privacy_epsilon(const struct trib_privacy_spent *spent, double delta);

// ---- Planning a job

struct trib_privacy_config {
    enum trib_privacy_mode mode;
    double clip_l1, clip_l2, clip_linf; // 0: from the others; with privacy on clip_l2 > 0
    double noise_multiplier;            // b / clip_l2; 0: from target_epsilon
    double target_epsilon;              // of the whole job
    double target_delta;                // 0: min(1e-6, 1/(10 population))
    uint32_t grid_bits;                 // 0: the smallest that keeps rounding harmless
    uint32_t word_bits;                 // 0: the smallest that fits
    uint64_t params;                    // P
    uint64_t cohort;                    // devices counted in a round
    uint64_t rounds;
    uint64_t population; // devices that could be asked
};

struct trib_privacy_plan {
    struct trib_encoding encoding;
    struct trib_secagg_plan secagg; // zero unless distributed
    double noise_multiplier;        // z
    double delta;
    double epsilon_pure_round;
    double rho_round;
    double epsilon_pure_total;
    double epsilon_total; // at delta
    double snr; // predicted, per coordinate of the mean and round (docs/privacy-math.md 7)
};

// TRIB_ERR_INVAL with a text for people in `why`.
TRIB_CHECKED enum trib_err trib_privacy_plan_make(const struct trib_privacy_config *config,
                                                  struct trib_privacy_plan *ret_plan, char *why,
                                                  size_t why_size);

#endif // TRIB_PRIVACY_ACCOUNTANT_H
