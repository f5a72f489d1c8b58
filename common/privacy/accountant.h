// accountant.h - what a round and a job cost in privacy, by the two ledgers that are proven for
// fleets.
//
// Unit: one device (zero-out adjacency). Two ledgers with proven reductions (docs/privacy-math.md
// 1.3, 5): pure epsilon adds up; rho of zero-concentrated differential privacy (Bun & Steinke 2016)
// adds up and turns into (epsilon, delta) at the end. Discrete Laplace noise of scale t on integers
// with sum |q| <= s1 and sum q^2 <= s2^2 costs pure epsilon s1/t and, by the dual-norm bound, rho.
#ifndef TRIB_PRIVACY_ACCOUNTANT_H
#define TRIB_PRIVACY_ACCOUNTANT_H

#include <stdint.h>

#include "common/privacy/encode.h"

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
// Which of them that is: "pure" or "zcdp"; a constant.
const char *trib_privacy_ledger(const struct trib_privacy_spent *spent, double delta);

#endif // TRIB_PRIVACY_ACCOUNTANT_H
