// combine.h - several versions as one: an ensemble (ensemble.h in common/math), which is a version
// like every other.
//
// The held-out rows are those of the first member's job, through its pipeline. Where the job keeps
// some apart for a test, its validation rows choose the weights and the test rows measure; else the
// rows are split by their numbers. What measures, and what the gate goes by, chose no weight.
#ifndef TRIB_COORDINATOR_COMBINE_H
#define TRIB_COORDINATOR_COMBINE_H

#include "common/math/ensemble.h"
#include "coordinator/evaluate.h"
#include "coordinator/job.h"
#include "coordinator/publish.h"
#include "tributary/err.h"

// Zeros: nothing is there yet.
struct trib_combination {
    struct trib_version *members[TRIB_ENSEMBLE_MAX]; // owned
    size_t count;
    struct trib_model model; // of all together
    float *params;           // (model.param_count), owned
    double weights[TRIB_ENSEMBLE_MAX];
    struct trib_dataset *choosing;                   // rows, owned
    struct trib_evaluator *evaluator;                // of the rows that measure, owned
    struct trib_held_out held_out;                   // of all together
    struct trib_evaluation alone[TRIB_ENSEMBLE_MAX]; // each member on the same rows
};
void trib_combination_fini(struct trib_combination *combination);

// Do the members go together? Then `model` is filled in. TRIB_ERR_INVAL with a text in `why` that
// names the version which is in the way.
TRIB_CHECKED enum trib_err trib_combine_check(struct trib_combination *combination, char *why,
                                              size_t why_size);

// Choose the weights, make the parameters, and measure. `evaluator` has the held-out rows of `job`.
// `share` of them choose, where none are kept apart for a test; in (0, 1). TRIB_ERR_DATA,
// TRIB_ERR_INVAL with a text in `why`.
TRIB_CHECKED enum trib_err trib_combine(struct trib_combination *combination,
                                        const struct trib_job *job,
                                        const struct trib_evaluator *evaluator, double share,
                                        char *why, size_t why_size);

// The evaluation as a JSON object, with a member "members" that says which and how much; NULL: out
// of memory. The caller frees it.
char *trib_combination_text(const struct trib_combination *combination);

#endif // TRIB_COORDINATOR_COMBINE_H
