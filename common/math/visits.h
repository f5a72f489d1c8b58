// visits.h - what an epoch looks at when that is not just its rows: rows drawn more or less often
// or made up (resample.h), and changed on the way (augment.h).
//
// Rows that are kept aside to measure on never come here.
#ifndef TRIB_MATH_VISITS_H
#define TRIB_MATH_VISITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rand.h"
#include "common/math/augment.h"
#include "common/math/model.h"
#include "common/math/net.h"
#include "common/math/resample.h"
#include "tributary/err.h"

struct trib_visits_options {
    struct trib_resample_options resample;
    struct trib_augment_options augment;
    uint64_t batch; // visits per step; 0: all rows, not with over and smote
};

// Is there anything to do that plain rows do not?
bool trib_visits_are_wanted(const struct trib_visits_options *options);

struct trib_visits;

// For at most `rows_max` rows; nothing is allocated after create. `model` is not kept.
TRIB_CHECKED enum trib_err trib_visits_create(const struct trib_visits_options *options,
                                              const struct trib_model *model, size_t rows_max,
                                              struct trib_visits **ret_visits);
void trib_visits_destroy(struct trib_visits *visits); // NULL is fine

// Rows that a batch of them has at most: mixup makes two of each.
size_t trib_visits_batch_max(const struct trib_visits *visits);

size_t trib_visits_step(const struct trib_visits *visits); // visits per step

// From now on it is about these `rows` (count) of samples; `classes` are weights by label, or NULL.
// All are borrowed until the next begin. Returns the visits of an epoch.
size_t trib_visits_begin(struct trib_visits *visits, const struct trib_samples *samples,
                         const uint32_t *rows, size_t count, const float *classes,
                         struct trib_rng *rng);

// A new epoch, in a fresh order. How a visit is changed depends on what `rng` gave at begin, the
// number of the epoch and the place of the visit in it, and on nothing else.
void trib_visits_epoch(struct trib_visits *visits, struct trib_rng *rng);

// The step from visit `first` on. Borrowed until the next call.
struct trib_batch trib_visits_batch(struct trib_visits *visits, size_t first);

#endif // TRIB_MATH_VISITS_H
