// evaluation.h - a model measured on held-out rows.
#ifndef TRIB_MATH_EVALUATION_H
#define TRIB_MATH_EVALUATION_H

#include "common/math/metrics.h"
#include "common/math/net.h"
#include "common/math/threshold.h"
#include "tributary/err.h"

// From which probability on a row of two classes is taken for class 1.
struct trib_decision {
    struct trib_threshold_goal goal; // chosen on the rows for this goal
    double threshold;                // with TRIB_GOAL_NONE: this one
};

// Evaluate on all samples, in batches of what the net holds, with the threshold one half.
// `confusion` may be NULL; otherwise it was initialised with the model's classes and is filled
// (classification only). TRIB_ERR_DATA if the outputs are not finite.
TRIB_CHECKED enum trib_err trib_evaluate(struct trib_net *net, const float *params,
                                         const struct trib_samples *samples,
                                         struct trib_confusion *confusion,
                                         struct trib_evaluation *ret_evaluation);

// The same with a decision, which models of more than two classes, and regressions, leave alone.
// Rows of one class only cannot tell a threshold: it is one half.
TRIB_CHECKED enum trib_err trib_evaluate_decided(struct trib_net *net, const float *params,
                                                 const struct trib_samples *samples,
                                                 const struct trib_decision *decision,
                                                 struct trib_confusion *confusion,
                                                 struct trib_evaluation *ret_evaluation);

// The same, with the threshold one half, over rows that lie with several owners, each with
// parameters of its own: as one set of rows, in the order of the parts. `parts` fills in the rows
// of a part (0 or more) and returns its parameters, both good until the next call; it is asked
// twice for each part. `ret_losses` (count): the mean loss of each part, NaN for one without rows;
// NULL: not wanted.
// TRIB_ERR_DATA: there are no rows at all, or outputs are not finite.
typedef const float *(*trib_part_fn)(void *user, size_t part, struct trib_samples *ret_samples);
TRIB_CHECKED enum trib_err trib_evaluate_parts(struct trib_net *net, trib_part_fn parts, void *user,
                                               size_t count, struct trib_confusion *confusion,
                                               double *ret_losses,
                                               struct trib_evaluation *ret_evaluation);

// The same of outputs (rows, outputs of the model) that are there already, probabilities or values,
// with the threshold one half. The loss is that of these outputs: -log of the label's probability,
// which counts as TRIB_PROBABILITY_CLIP if it is below, or half the squared error.
TRIB_CHECKED enum trib_err trib_evaluate_outputs(const struct trib_model *model,
                                                 const float *outputs,
                                                 const struct trib_samples *samples,
                                                 struct trib_evaluation *ret_evaluation);

#endif // TRIB_MATH_EVALUATION_H
