// ensemble.h - several models as one: the weighted mean of what they say.
//
// Of classes it is the mean of the probabilities (a linear opinion pool, Stone 1961), never a vote
// by labels, which would throw away how sure each model is; of a regression the mean of the values.
// Weights are at least 0 and add up to 1, and are chosen on rows that no member has learnt from
// (stacking, Wolpert 1992; with these constraints Breiman 1996, "Stacked Regressions").
#ifndef TRIB_MATH_ENSEMBLE_H
#define TRIB_MATH_ENSEMBLE_H

#include <stddef.h>

#include "common/math/net.h"
#include "tributary/err.h"

enum {
    TRIB_ENSEMBLE_MAX = 32 // members
};

// The weights of the smallest log-loss: they maximise the mean over rows of log(sum_k w_k p_k),
// which is concave, by expectation-maximisation from equal weights (Dempster, Laird & Rubin 1977,
// section
// 4.3 with known densities). `likelihoods` (rows, members): the probability that a member gave the
// label of the row; below TRIB_PROBABILITY_CLIP it counts as that. Ends when no weights can be
// better by more than 1e-9 a row. TRIB_ERR_DATA: no rows, or a number that is not in [0, 1].
TRIB_CHECKED enum trib_err trib_ensemble_fit_likelihood(const double *likelihoods, size_t rows,
                                                        size_t members, double *ret_weights);

// The weights of the smallest mean of squared errors. `errors` (rows, members): value less target.
// Since the weights add up to 1 the error of the mean is the mean of the errors, and what is
// minimised is w' G w, G = errors' errors / rows, by moving weight between the pair that gains most
// (Platt 1998's step).
// TRIB_ERR_DATA: no rows, or a number that is not finite.
TRIB_CHECKED enum trib_err trib_ensemble_fit_squares(const double *errors, size_t rows,
                                                     size_t members, double *ret_weights);

// The same of what members say of all rows of `samples`: outputs[k] (rows, outputs of the model).
TRIB_CHECKED enum trib_err trib_ensemble_fit(const struct trib_model *model,
                                             const float *const *outputs, size_t members,
                                             const struct trib_samples *samples,
                                             double *ret_weights);

// What a member says of all rows of `samples`: ret_outputs (rows, outputs).
TRIB_CHECKED enum trib_err trib_ensemble_ask(const struct trib_model *member, const float *params,
                                             const struct trib_samples *samples,
                                             float *ret_outputs);

// mix[i] = sum over k of weights[k] * outputs[k][i], in double, in the order of the members.
void trib_ensemble_mix(const float *const *outputs, const double *weights, size_t members,
                       size_t count, float *ret_mix);

#endif // TRIB_MATH_ENSEMBLE_H
