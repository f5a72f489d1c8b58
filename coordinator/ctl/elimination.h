// elimination.h - recursive feature elimination: which features are left, and which go next.
//
// What the first dense layer makes of feature i is sqrt(sum_o w_oi^2), with w (outputs, features) its
// weights, times whatever the caller knows of the feature's spread. For a linear model with one
// output this is the square root of the criterion c_i = w_i^2 of Guyon, Weston, Barnhill, Vapnik
// 2002, "Gene selection for cancer classification using support vector machines", section 4.
#ifndef TRIB_COORDINATOR_CTL_ELIMINATION_H
#define TRIB_COORDINATOR_CTL_ELIMINATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/math/model.h"
#include "tributary/err.h"

// Some of the features, by their numbers in the whole model, ascending.
struct trib_feature_set {
    size_t *items; // room for all
    size_t count;
};

struct trib_ranked_feature {
    double score;
    size_t feature;
};

struct trib_elimination {
    uint64_t keep;        // go on until so many are left, at least 1
    uint64_t step;        // so many go after each job,
    bool step_is_percent; // or such a share of those that are left
    struct trib_feature_set left, best;
    double best_value;
    double *scores;                     // of `left`, for trib_elimination_rank
    struct trib_ranked_feature *ranked; // the least first
};

// "3", or "10%" of those that are left. False: it is neither.
bool trib_elimination_take_step(struct trib_elimination *e, const char *text);

// Room for `count` features, which are all left; keep is at most that. Free it with _fini, after an
// error too.
TRIB_CHECKED enum trib_err trib_elimination_begin(struct trib_elimination *e, size_t count);
void trib_elimination_fini(struct trib_elimination *e);

// The set that is left has this value. Of equals the smaller set is the better one, which comes
// later. True: it is the best now.
bool trib_elimination_note(struct trib_elimination *e, double value, bool higher_is_better);

// Order `left` by e->scores to e->ranked, of equals the one that stands last first. Returns how many
// are to go, from the least on; 0: it is over.
size_t trib_elimination_rank(struct trib_elimination *e);
void trib_elimination_remove(struct trib_elimination *e, size_t count);

// The layer that the features go into; NULL: it is not one whose weights belong to features.
const struct trib_layer *trib_elimination_layer(const struct trib_model *model);

// The norms above: ret_scores[inputs of `layer`].
void trib_elimination_norms(const struct trib_layer *layer, const float *params,
                            double *ret_scores);

// "N - ..." for the layers of a model's canonical text. ret_spec: TRIB_SPEC_MAX + 1 bytes.
void trib_elimination_spec(const char *spec, size_t features, char *ret_spec);

#endif // TRIB_COORDINATOR_CTL_ELIMINATION_H
