// ranked_users.h - a recommender measured user by user: the items it would show first, against
// those that a user liked.
//
// A recommender is a model of one output that begins with `factors`, where all rows are one user's,
// or with `bilinear UxI`, where the rows whose first U numbers are the same bits are one user's,
// and the other I numbers are the item.
//
// Rows are of two kinds. Held rows judge: an item is relevant to a user if a held row of both has a
// label of at least `relevant`. Seen rows are those that the model may have learnt from: their
// items are left out for that user. A user's candidates are all known items but those that it has
// seen. Known are all items of `factors`, and with `bilinear` those of all rows. Users without a
// relevant candidate are not counted.
//
// With `negatives` = n > 0 the candidates are the relevant ones and n of the others, drawn without
// replacement from the seed and the user's relevant items, the same for every version. Such numbers
// are higher than those of all candidates, and may order models in another way (Krichene & Rendle
// 2020).
//
// Items of equal score count with the mean over all their orders (recommend.h). The gain of a
// relevant item is 1.
#ifndef TRIB_MATH_RANKED_USERS_H
#define TRIB_MATH_RANKED_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/math/metrics.h"
#include "common/math/net.h"
#include "tributary/err.h"

struct trib_ranking_plan {
    uint32_t k;         // places that are looked at; 0: nothing is ranked
    uint32_t negatives; // 0: all candidates
    double relevant;    // labels from this on
    uint64_t seed;      // of the negatives
};

// Can such a model be measured?
bool trib_recommender_fits(const struct trib_model *model);

enum trib_ranked {
    TRIB_RANKED_HIT, // of recommend.h, each with its first k
    TRIB_RANKED_RECALL,
    TRIB_RANKED_NDCG,
    TRIB_RANKED_COUNT,
};

// Sums over users, each user's number rounded once, to 2^-30, and its square to 2^-20: they do not
// depend on the order of users, nor on who has which, up to 2^23 users.
struct trib_ranked_sums {
    double users;
    double sums[TRIB_RANKED_COUNT];
    double squares[TRIB_RANKED_COUNT];
};

enum {
    TRIB_RANKED_VALUES = 1 + 2 * TRIB_RANKED_COUNT, // the same as a row of numbers, in this order
};
void trib_ranked_sums_put(const struct trib_ranked_sums *sums,
                          double ret_values[static TRIB_RANKED_VALUES]);
void trib_ranked_sums_take(struct trib_ranked_sums *sums,
                           const double values[static TRIB_RANKED_VALUES]);
// Means over users and their intervals, with k, into the evaluation. NaN: no users.
void trib_ranked_sums_fill(const struct trib_ranked_sums *sums, uint32_t k,
                           struct trib_evaluation *evaluation);

struct trib_ranked_users;

// For at most `rows_max` rows. `model` fits, is borrowed and must outlive it.
TRIB_CHECKED enum trib_err trib_ranked_users_create(const struct trib_model *model,
                                                    const struct trib_ranking_plan *plan,
                                                    size_t rows_max,
                                                    struct trib_ranked_users **ret_users);
void trib_ranked_users_destroy(struct trib_ranked_users *users); // NULL is fine

// A row x (inputs), borrowed until it is destroyed, with label y.
void trib_ranked_users_add(struct trib_ranked_users *users, const float *x, float y, bool is_held);
void trib_ranked_users_add_all(struct trib_ranked_users *users, const struct trib_samples *samples,
                               bool is_held);

// Adds what the users come to with these parameters. TRIB_ERR_DATA: a score is not finite.
TRIB_CHECKED enum trib_err trib_ranked_users_measure(struct trib_ranked_users *users,
                                                     struct trib_net *net, const float *params,
                                                     struct trib_ranked_sums *sums);

#endif // TRIB_MATH_RANKED_USERS_H
