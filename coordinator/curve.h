// curve.h - what the learning curve of a job says, in one word and one sentence of advice.
//
// From the rounds' reports: the held-out loss of each evaluated round, the loss of the baseline
// beside it (gate.h), and what devices measured last on the rows they learn from and those they
// keep aside (aside.h). Judged in this order:
//
//     too_short      fewer than 4 evaluated rounds
//     overfitting    train - validation is above 0.05; or the loss ends more than a tenth of all that
//                    was gained above its least, and has been above it for 3 evaluations or more
//     improving      the last quarter of the evaluations brought more than a twentieth of the gain
//     underfitting   skill, 1 - loss / loss of the baseline, is below 0.1 (of classes McFadden's
//                    pseudo R2, 1974; of a regression R2)
//     fine           none of these
#ifndef TRIB_COORDINATOR_CURVE_H
#define TRIB_COORDINATOR_CURVE_H

#include <stddef.h>

#include "coordinator/result.h"
#include "tributary/err.h"

enum trib_curve_shape {
    TRIB_CURVE_TOO_SHORT,
    TRIB_CURVE_OVERFITTING,
    TRIB_CURVE_IMPROVING,
    TRIB_CURVE_UNDERFITTING,
    TRIB_CURVE_FINE,
};
const char *trib_curve_text(enum trib_curve_shape shape);   // "too_short", ...
const char *trib_curve_advice(enum trib_curve_shape shape); // one sentence

struct trib_curve {
    double *losses; // of evaluated rounds, in their order, (count), owned
    size_t count, capacity;
    double baseline_loss;     // NaN: there is no baseline
    double train, validation; // accuracy or R2, as devices measured them last; NaN: never
};

void trib_curve_init(struct trib_curve *curve);
void trib_curve_fini(struct trib_curve *curve);
// A round has ended; what it did not measure is passed over.
TRIB_CHECKED enum trib_err trib_curve_observe(struct trib_curve *curve,
                                              const struct trib_round_result *result);
enum trib_curve_shape trib_curve_judge(const struct trib_curve *curve);

#endif // TRIB_COORDINATOR_CURVE_H
