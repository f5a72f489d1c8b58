// resample.h - against imbalance: which rows an epoch visits, and rows made up between neighbours.
//
// All of it is of one device's own rows, those it learns from. A class that is there with n rows
// gets a number of visits t in each epoch, with `ratio` r in (0, 1] and n_max, n_min of the largest
// and smallest class:
//
//     over    t = max(n, round(r n_max)); each row n times into t, what is left over drawn anew
//     smote   the same, but what exceeds n are points between a row and one of its nearest
//             neighbours of the same class (Chawla et al. 2002, section 4.2)
//     under   t = min(n, round(n_min / r)), drawn anew each epoch without repetition
#ifndef TRIB_MATH_RESAMPLE_H
#define TRIB_MATH_RESAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rand.h"
#include "common/math/net.h"
#include "tributary/err.h"

// The same numbers as in proto: never renumber.
enum trib_sampling {
    TRIB_SAMPLING_NONE = 0,
    TRIB_SAMPLING_OVER = 1,
    TRIB_SAMPLING_UNDER = 2,
    TRIB_SAMPLING_SMOTE = 3,
};

enum {
    TRIB_SAMPLING_COUNT = 4,
    TRIB_NEIGHBOURS_MAX = 64,
    TRIB_SAMPLING_GROWTH_MAX = 64, // visits of an epoch are at most so many times the rows
    TRIB_SMOTE_POOL_MAX = 2048,    // rows of a class among which neighbours are looked for
};

struct trib_resample_options {
    enum trib_sampling kind;
    double ratio;        // (0, 1]
    uint32_t neighbours; // of smote: 1 .. TRIB_NEIGHBOURS_MAX
};

struct trib_resample;

// For at most `rows_max` rows of `inputs` features and `classes` classes; kind is not NONE. Nothing
// is allocated after create.
TRIB_CHECKED enum trib_err trib_resample_create(const struct trib_resample_options *options,
                                                uint32_t classes, size_t rows_max, size_t inputs,
                                                struct trib_resample **ret_resample);
void trib_resample_destroy(struct trib_resample *resample); // NULL is fine

// Visits that an epoch over `rows` rows has at most.
size_t trib_resample_visits_max(const struct trib_resample_options *options, uint32_t classes,
                                size_t rows);

// From now on it is about these rows: `rows` (count, at least 1) are numbers in `samples`, both
// borrowed until the next begin. Returns the visits of an epoch, the same for each. With more
// classes than TRIB_SAMPLING_GROWTH_MAX the ratio is lowered until they fit.
size_t trib_resample_begin(struct trib_resample *resample, const struct trib_samples *samples,
                           const uint32_t *rows, size_t count);

// A visit: a row, and of smote perhaps the neighbour that it is mixed with.
struct trib_visit {
    uint32_t row;       // in samples
    uint32_t neighbour; // likewise; the row itself: the row as it is
    float gap;          // in [0, 1): how far from the row to the neighbour
};

// The visits of an epoch, in no particular order; `ret_visits` has room for them.
void trib_resample_epoch(struct trib_resample *resample, struct trib_rng *rng,
                         struct trib_visit *ret_visits);

// x = row + gap (neighbour - row), (inputs).
void trib_visit_features(const struct trib_visit *visit, const struct trib_samples *samples,
                         float *ret_x);

#endif // TRIB_MATH_RESAMPLE_H
