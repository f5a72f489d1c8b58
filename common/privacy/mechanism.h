// mechanism.h - one number with noise, released again and again: what the ledgers are computed of.
//
// A release adds noise of `scale` (in units of the sensitivity) to a number; each device takes part
// in a release with probability `sampling`, by a coin of its own (Poisson sampling, adjacency by
// adding or removing one device). Laplace noise of a vector within an L1 ball of radius 1 is no
// worse in pure epsilon and zCDP; for the other ledgers see docs/privacy-math.md 5.
#ifndef TRIB_PRIVACY_MECHANISM_H
#define TRIB_PRIVACY_MECHANISM_H

#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

enum trib_mechanism_kind {
    TRIB_MECHANISM_LAPLACE,  // scale b over the L1 sensitivity
    TRIB_MECHANISM_GAUSSIAN, // standard deviation over the L2 sensitivity
};

struct trib_mechanism {
    enum trib_mechanism_kind kind;
    double scale;    // above 0
    double sampling; // q in (0, 1]; 1: everybody, every time
    uint64_t rounds; // 1 .. TRIB_ROUNDS_MAX
};

enum {
    // RDP and PLD of a release that may multiply a probability by e^100 say nothing that pure
    // epsilon does not; they are not computed, which keeps e^loss well inside a double.
    TRIB_MECHANISM_LOSS_MAX = 100,
};

// TRIB_ERR_INVAL with a text for people in `why` that names the field.
TRIB_CHECKED enum trib_err trib_mechanism_check(const struct trib_mechanism *mechanism, char *why,
                                                size_t why_size);
// The same for a delta: in (0, 1).
TRIB_CHECKED enum trib_err trib_delta_check(double delta, char *why, size_t why_size);

// ln(1 - q + q e^loss): the loss of a sampled release from that of one that was not. Any finite
// loss; q in (0, 1].
double trib_loss_sampled(double q, double loss);
// Its inverse, for values above ln(1 - q).
double trib_loss_unsampled(double q, double sampled);

#endif // TRIB_PRIVACY_MECHANISM_H
