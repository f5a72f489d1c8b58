// pld.h - the privacy loss distribution: the law of the loss of one release, convolved with itself
// over the rounds; the tightest ledger for one number with noise, and a numerical one.
//
// The law is put on a grid so that no delta(epsilon) gets smaller (connect the dots: Doroshenko,
// Ghazi, Kamath, Kumar & Manurangsi 2022), and composed by a transform of exponentially tilted
// masses, which keeps the digits where the answer lies. What is cut off is added to delta. Rounding
// errors of double arithmetic are not: the result is pessimistic up to about 1e-9 of itself.
// docs/privacy-math.md 5.2.
#ifndef TRIB_PRIVACY_PLD_H
#define TRIB_PRIVACY_PLD_H

#include <stdint.h>

#include "common/privacy/mechanism.h"
#include "tributary/err.h"

enum {
    TRIB_PLD_CELLS_MAX = 1 << 16, // of one release's grid
};

// The smallest epsilon >= 0 at delta of a checked mechanism and delta, the larger of both
// directions. cells: of the grid over the losses of one release, at most TRIB_PLD_CELLS_MAX; 0: as
// many as keep the excess near 2e-4 of epsilon (below 2e-3). TRIB_ERR_LIMIT: a release leaks more
// than TRIB_MECHANISM_LOSS_MAX, or the rounds do not fit the largest transform. TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_pld_epsilon(const struct trib_mechanism *mechanism, uint32_t cells,
                                            double delta, double *ret_epsilon);

#endif // TRIB_PRIVACY_PLD_H
