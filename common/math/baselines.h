// baselines.h - what a recommender must be better than: the mean, item means, and biases.
//
// All of them come from sums over ratings, one for each item: those of many devices add up, and a
// user's bias is found on the user's device alone.
#ifndef TRIB_MATH_BASELINES_H
#define TRIB_MATH_BASELINES_H

#include <stddef.h>
#include <stdint.h>

#include "common/math/net.h"
#include "tributary/err.h"

// Ratings are samples whose one input is the number of an item, below `items`.
struct trib_rating_sums {
    uint32_t items;
    double *sums;     // (items) of the ratings, owned
    uint64_t *counts; // (items), owned
};

TRIB_CHECKED enum trib_err trib_rating_sums_init(struct trib_rating_sums *sums, uint32_t items);
void trib_rating_sums_fini(struct trib_rating_sums *sums);
// Those of one device.
void trib_rating_sums_add(struct trib_rating_sums *sums, const struct trib_samples *ratings);
// `from` has as many items.
void trib_rating_sums_merge(struct trib_rating_sums *sums, const struct trib_rating_sums *from);

enum trib_baseline {
    TRIB_BASELINE_MEAN,      // of all ratings
    TRIB_BASELINE_ITEM_MEAN, // of the item; of all for an item without ratings
    TRIB_BASELINE_BIASES,    // mean + item's bias + user's bias
    TRIB_BASELINE_COUNT,
};
const char *trib_baseline_text(enum trib_baseline baseline);

// What each baseline says.
struct trib_baselines {
    uint32_t items;
    double mean;
    double shrink;      // ratings of the mean that each bias begins with
    double *item_means; // (items), owned
    double *item_biases;
};

// TRIB_ERR_DATA: there are no ratings. `shrink` is at least 0.
TRIB_CHECKED enum trib_err trib_baselines_init(struct trib_baselines *baselines,
                                               const struct trib_rating_sums *sums, double shrink);
void trib_baselines_fini(struct trib_baselines *baselines);

// A user's bias: sum (r - mean - b_i) / (shrink + ratings), with b_i = sum (r - mean) / (shrink +
// ratings of the item) (Koren 2010, section 2.1).
double trib_baselines_user(const struct trib_baselines *baselines,
                           const struct trib_samples *ratings);

// The sum over a user's held-out ratings of the squared miss of each baseline.
void trib_baselines_miss(const struct trib_baselines *baselines, double user_bias,
                         const struct trib_samples *held_out,
                         double ret_squares[static TRIB_BASELINE_COUNT]);

#endif // TRIB_MATH_BASELINES_H
