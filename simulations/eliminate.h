// eliminate.h - tributary-sim eliminate: recursive feature elimination, as a series of jobs.
//
// Each job trains the model on the features that are left, without the rows of one fold of the
// training rows, and is measured on these. The features of which the first dense layer makes least
// are removed, the model shrinks by them, and the next job begins anew. The set of the best job is
// trained once more on all training rows, and only then the held-out rows are opened.
//
// What the layer makes of feature i is  s_i = d_i sqrt(sum_o w_oi^2), with w (outputs, features) its
// weights and d_i the deviation of the feature in the training rows: the weight that it would have
// if it were standardised. For a linear model with one output this is the square root of the
// criterion c_i = w_i^2 of Guyon, Weston, Barnhill, Vapnik 2002, "Gene selection for cancer
// classification using support vector machines", section 4 (SVM RFE).
#ifndef TRIB_SIMULATIONS_ELIMINATE_H
#define TRIB_SIMULATIONS_ELIMINATE_H

#include "common/base/args.h"
#include "common/data/dataset.h"
#include "common/math/model.h"

int trib_eliminate(const struct trib_command *command, int argc, char **argv);

// The scores s_i above: ret_scores[inputs of `layer`]. `train` NULL: every d_i is 1.
void trib_eliminate_scores(const struct trib_layer *layer, const float *params,
                           const struct trib_dataset *train, double *ret_scores);

#endif // TRIB_SIMULATIONS_ELIMINATE_H
