// rdp.h - Renyi differential privacy (Mironov 2017): a bound at each order alpha that adds up over
// rounds and turns into (epsilon, delta) at the end.
//
// alpha > 1 is the order, R(alpha) the divergence in nats. docs/privacy-math.md 5.
#ifndef TRIB_PRIVACY_RDP_H
#define TRIB_PRIVACY_RDP_H

#include <stdint.h>

#include "common/privacy/mechanism.h"

enum {
    TRIB_RDP_ORDERS = 73,
    TRIB_RDP_ORDER_MAX = 1024,
};
// 2 .. 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024
extern const uint16_t trib_rdp_orders[TRIB_RDP_ORDERS];

// One release to everybody; `loss` is 1/scale. Laplace: Mironov 2017, Prop. 6.
double trib_rdp_laplace(double loss, double order);
double trib_rdp_gaussian(double scale, double order);

// One release of a checked mechanism with its sampling: the larger of the two directions. Exact,
// but for sampled Gaussian noise at a fractional order: an upper bound, infinite where it converges
// too slowly (the ledger uses integer orders). order in (1, 1024]; Laplace: 1/scale at most
// TRIB_MECHANISM_LOSS_MAX.
double trib_rdp_of(const struct trib_mechanism *mechanism, double order);

// One release to a Poisson sample of share q of any mechanism with RDP `curve` (Zhu & Wang 2019,
// Theorem 6 with the general factor 3). `order` is an integer of 2 to 1024; `curve` is asked for
// the orders 2 .. order.
typedef double (*trib_rdp_curve_fn)(void *user, double order);
double trib_rdp_sampled_any(double q, unsigned order, trib_rdp_curve_fn curve, void *user);

// The epsilon at delta that a total R at one order gives (Canonne, Kamath & Steinke 2020, Prop.
// 12); may be negative.
double trib_rdp_epsilon(double rdp, double order, double delta);
// The smallest over trib_rdp_orders, at least 0, of `rounds` releases with this RDP per round.
double trib_rdp_epsilon_best(const double rdp[TRIB_RDP_ORDERS], uint64_t rounds, double delta);

#endif // TRIB_PRIVACY_RDP_H
