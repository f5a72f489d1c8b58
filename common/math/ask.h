// ask.h - what the devices of a tally round are asked to count, kind by kind.
//
// A tally round (docs/protocol.md) does not train: each device adds numbers up over its rows, and
// the sums of all devices are the round's result. A new kind has a number here and in proto, a
// branch in ask.c, and a use in coordinator/tally_round.c.
#ifndef TRIB_MATH_ASK_H
#define TRIB_MATH_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/math/counters.h"
#include "common/math/model.h"
#include "common/math/net.h"
#include "common/math/ranked_users.h"
#include "common/math/tally.h"
#include "common/math/train.h"
#include "tributary/err.h"

// On the wire and in the store: never renumber.
enum trib_tally_kind {
    TRIB_TALLY_NONE = 0, // not a tally round: train
    TRIB_TALLY_NEWTON = 1,
    TRIB_TALLY_EVALUATION = 2, // aside.h, ranked_users.h
    TRIB_TALLY_PREPARE = 3,  // a pass of a pipeline, which says itself what to count (common/data)
    TRIB_TALLY_BASELINE = 4, // yardstick.h
    TRIB_TALLY_COUNTERS = 5, // counters.h; not of rows: whoever keeps the totals adds them
    TRIB_TALLY_CLASSES = 6,  // class_weights.h
};
enum {
    TRIB_TALLY_KINDS = 7
};
const char *trib_tally_kind_text(enum trib_tally_kind kind); // "train", "newton", ...

struct trib_ask {
    enum trib_tally_kind kind;
    const struct trib_model *model;   // borrowed
    struct trib_kept_rows kept;       // rows that are not learnt from
    struct trib_ranking_plan ranking; // of an evaluation: behind its other values stand the sums of
                                      // the device's users; k = 0: no
    const struct trib_counter_list *counters; // of counters, borrowed; NULL: none
    // Of an evaluation of two classes: class 1 is predicted from this probability on, 0 to 1.
    bool is_decided; // false: from one half on
    double threshold;
    bool is_exact; // privacy is off: of an evaluation, as in aside.h
};

// An evaluation goes by the threshold of the version that is measured; NaN: it has none. What that
// changes nothing of stays as it is, so that it is asked as it always was.
void trib_ask_decide(struct trib_ask *ask, double threshold);

// How many values it has; 0: a kind that we do not know, or not for such a model.
size_t trib_ask_values(const struct trib_ask *ask);

// How its sums go over the wire with privacy off; whoever asks may still want them whole.
enum trib_tally_layout trib_ask_layout(const struct trib_ask *ask);

// Count the rows. `tally` has that many values, all 0. TRIB_ERR_REFUSED: there is no row to count;
// TRIB_ERR_DATA, TRIB_ERR_LIMIT: a number is not finite, or out of range (tally.h).
TRIB_CHECKED enum trib_err trib_ask_count(const struct trib_ask *ask, const float *params,
                                          const struct trib_samples *samples,
                                          struct trib_tally *tally);

#endif // TRIB_MATH_ASK_H
