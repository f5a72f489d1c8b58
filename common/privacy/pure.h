// pure.h - epsilon-DP mechanisms of which nothing else is known: how they compose and amplify.
#ifndef TRIB_PRIVACY_PURE_H
#define TRIB_PRIVACY_PURE_H

#include <stdint.h>

// ln(1 + q (e^epsilon - 1)): one epsilon-DP release to a Poisson sample of share q.
double trib_pure_sampled(double epsilon, double q);

// Advanced composition (Dwork, Rothblum & Vadhan 2010, Theorem III.3) of `rounds` epsilon-DP
// releases at delta.
double trib_pure_advanced(double epsilon, uint64_t rounds, double delta);

// The exact worst case of the same (Kairouz, Oh & Viswanath 2015, Theorem 3.3): the smallest total
// epsilon at delta that holds for all of them. O(rounds) per step of a bisection.
double trib_pure_optimal(double epsilon, uint64_t rounds, double delta);

#endif // TRIB_PRIVACY_PURE_H
