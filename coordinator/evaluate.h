// evaluate.h - held-out data, loaded once when a job starts, and the model measured on it.
//
// Everything that is chosen (the threshold, the best version, when to stop) is chosen on the
// validation rows. The test rows, if some are kept aside for that, only report.
#ifndef TRIB_COORDINATOR_EVALUATE_H
#define TRIB_COORDINATOR_EVALUATE_H

#include "common/data/source.h"
#include "common/math/evaluation.h"
#include "common/math/ranked_users.h"
#include "tributary/err.h"

struct trib_evaluator;

struct trib_evaluator_plan {
    const char *primary;             // metric, static; NULL: the usual one (metrics.h)
    struct trib_threshold_goal goal; // of two classes; TRIB_GOAL_NONE: one half
    double test_share;               // of the held-out rows that only report, in [0, 1)
    uint64_t test_last;              // or so many, the last of them; 0: test_share says it
    // Of a recommender. Validation rows judge with the test rows seen, and the other way about; the
    // coordinator does not know the rows that devices learn from.
    struct trib_ranking_plan ranking;
};

// What a model must be better than, on the same rows.
struct trib_yardstick {
    const char *name; // "prior", "linear" (yardstick.h); NULL: there is none
    double loss;
    double value; // of the primary metric
};

struct trib_held_out {
    struct trib_evaluation validation;
    struct trib_evaluation test;    // with the same threshold; rows = 0: there are no such rows
    struct trib_yardstick baseline; // on the validation rows
};

// Reads the held-out rows and checks that they fit the model: a mistake shows when the job is
// submitted, not in its first round. `model` is borrowed and must outlive the evaluator.
// Which rows are for the test follows from a row's number alone. TRIB_ERR_DATA or TRIB_ERR_INVAL
// with a text in `why`.
TRIB_CHECKED enum trib_err trib_evaluator_create(const struct trib_data_config *data,
                                                 const struct trib_model *model,
                                                 const struct trib_evaluator_plan *plan,
                                                 struct trib_evaluator **ret_evaluator, char *why,
                                                 size_t why_size);
// The same over rows that are already there; takes the dataset, also when it fails.
TRIB_CHECKED enum trib_err trib_evaluator_take(struct trib_dataset *dataset,
                                               const struct trib_model *model,
                                               const struct trib_evaluator_plan *plan,
                                               struct trib_evaluator **ret_evaluator, char *why,
                                               size_t why_size);
// Read the file of held-out rows, or say in `why` what is wrong with it, by file and line: who submits
// a job does not see the log. TRIB_ERR_DATA or TRIB_ERR_INVAL.
TRIB_CHECKED enum trib_err trib_held_out_open(const struct trib_data_config *data,
                                              struct trib_dataset **ret_dataset, char *why,
                                              size_t why_size);
void trib_evaluator_destroy(struct trib_evaluator *evaluator); // NULL is fine
// The rows of one side, borrowed; of the test NULL when none are kept aside for it.
const struct trib_dataset *trib_evaluator_rows(const struct trib_evaluator *evaluator,
                                               bool is_test);

// From now on what is measured stands beside a baseline: the best constant, made from the
// validation rows. A linear one with these parameters (trib_yardstick_model) takes its place when
// it is better by the primary metric. TRIB_ERR_DATA: not finite.
TRIB_CHECKED enum trib_err trib_evaluator_add_prior(struct trib_evaluator *evaluator);
TRIB_CHECKED enum trib_err trib_evaluator_add_linear(struct trib_evaluator *evaluator,
                                                     const float *params,
                                                     struct trib_yardstick *ret_measured);
// The same with what was measured before.
void trib_evaluator_take_baseline(struct trib_evaluator *evaluator,
                                  const struct trib_yardstick *baseline);

// How much better than the baseline, by the primary metric: above 0 is better, whatever its
// direction. NaN: there is no baseline.
double trib_held_out_lift(const struct trib_held_out *held_out);

// One thread at a time. TRIB_ERR_DATA: the model's outputs are not finite.
TRIB_CHECKED enum trib_err trib_evaluator_run(struct trib_evaluator *evaluator, const float *params,
                                              struct trib_held_out *ret_held_out);
// What the last run found, as JSON with the confusion matrix; the caller frees it. NULL: no memory.
char *trib_evaluator_text(const struct trib_evaluator *evaluator,
                          const struct trib_held_out *held_out);

// The same without matrices: {"loss":...,"test":{"rows":...,"loss":...},"baseline":{...}}, the
// latter two if there are rows for it, and a baseline.
void trib_held_out_json(const struct trib_held_out *held_out, struct trib_buf *buf);

#endif // TRIB_COORDINATOR_EVALUATE_H
