// evaluate.h - held-out data, loaded once when a job starts, and the model measured on it.
#ifndef TRIB_COORDINATOR_EVALUATE_H
#define TRIB_COORDINATOR_EVALUATE_H

#include "common/data/source.h"
#include "common/math/metrics.h"
#include "tributary/err.h"

struct trib_evaluator;

// Reads the held-out rows and checks that they fit the model: a mistake shows when the job is
// submitted, not in its first round. `model` is borrowed and must outlive the evaluator.
// TRIB_ERR_DATA or TRIB_ERR_INVAL with a text in `why`.
TRIB_CHECKED enum trib_err trib_evaluator_create(const struct trib_data_config *data,
                                                 const struct trib_model *model,
                                                 struct trib_evaluator **ret_evaluator, char *why,
                                                 size_t why_size);
// The same over rows that are already there; takes the dataset, also when it fails.
TRIB_CHECKED enum trib_err trib_evaluator_take(struct trib_dataset *dataset,
                                               const struct trib_model *model,
                                               struct trib_evaluator **ret_evaluator, char *why,
                                               size_t why_size);
void trib_evaluator_destroy(struct trib_evaluator *evaluator); // NULL is fine

// One thread at a time. TRIB_ERR_DATA: the model's outputs are not finite.
TRIB_CHECKED enum trib_err trib_evaluator_run(struct trib_evaluator *evaluator, const float *params,
                                              struct trib_evaluation *ret_evaluation);
// What the last run found, as JSON with the confusion matrix; the caller frees it. NULL: no memory.
char *trib_evaluator_text(const struct trib_evaluator *evaluator,
                          const struct trib_evaluation *evaluation);

#endif // TRIB_COORDINATOR_EVALUATE_H
