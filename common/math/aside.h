// aside.h - a model measured by many devices, each on its own rows, as sums that add up.
//
// Each device has rows that it learns from and rows that it keeps aside (trib_train_split). It
// counts both: the rows kept aside for everything that is reported, those learnt from for the one
// metric whose difference shows a model that has learnt its rows by heart.
//
// Layout of the values (tally.h), every one of them a sum over rows; the log-loss of a row and the
// like are rounded once (score_sums.h), so that the sums do not depend on who has which rows:
//
//     classification   learnt from: rows, hits, log-loss | kept aside: the cells of score_sums.h,
//                      losses, scores and squares in natural units: multiples of 2^-30 that are
//                      not negative, which TRIB_TALLY_CELLS has room for
//     regression       rows, e^2, y, y^2 of those learnt from | rows, e^2, e^4, |e|, |e|/max(|y|,
//                      2^-52), y, y^2 of those kept aside; e = output - y | for their intervals the
//                      same relative error squared, rows left out of it, y^3, y^4, e^2 y, e^2 y^2,
//                      rows left out of these four: a term of 2^82 and more is. With privacy on
//                      these seven stay 0: what is clipped with them would be cut for their sake
#ifndef TRIB_MATH_ASIDE_H
#define TRIB_MATH_ASIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/math/intervals.h"
#include "common/math/model.h"
#include "common/math/net.h"
#include "common/math/tally.h"
#include "tributary/err.h"

// 0: too many classes for a tally.
size_t trib_aside_values(const struct trib_model *model);

struct trib_aside_way {
    double threshold; // of two classes, class 1 is predicted from this probability on
    bool is_exact;    // no privacy: the sums arrive as they are
};

// Count the rows of `samples`: order[0..learnt) are learnt from, order[learnt..rows) kept aside.
// TRIB_ERR_DATA: an output is not finite.
TRIB_CHECKED enum trib_err trib_aside_count(const struct trib_model *model,
                                            const struct trib_aside_way *way, const float *params,
                                            const struct trib_samples *samples,
                                            const uint32_t *order, size_t learnt,
                                            struct trib_tally *tally);

enum {
    TRIB_ASIDE_METRICS_MAX = 18
};

struct trib_aside_metric {
    const char *name; // a constant
    double value;     // NaN: it does not exist for these rows
    struct trib_interval interval;
    // Of auc and average_precision, which come from bins (score_sums.h): the value of these very rows
    // on one machine lies in here. None: `value` is that value.
    struct trib_interval exact;
};

// What the sums of a fleet tell.
struct trib_aside_report {
    double rows, train_rows;
    size_t metric_count;
    struct trib_aside_metric metrics[TRIB_ASIDE_METRICS_MAX];
    // accuracy, or R2: of the rows learnt from, of those kept aside. NaN: there are none.
    const char *gap_metric;
    double train, validation;
    bool is_gap; // train - validation is above TRIB_ASIDE_GAP
};

// Above such a difference of accuracy or R2 a model is said to know its rows by heart.
#define TRIB_ASIDE_GAP 0.05

// Noise may have made counts negative, or not whole: they are cut and rounded. TRIB_ERR_DATA: no
// rows were kept aside. way: as the rows were counted.
TRIB_CHECKED enum trib_err trib_aside_read(const struct trib_model *model,
                                           const struct trib_aside_way *way, const double *values,
                                           struct trib_aside_report *ret_report);

#endif // TRIB_MATH_ASIDE_H
