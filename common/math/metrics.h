// metrics.h - how good a model is on held-out rows.
//
// Counts are integers and long sums are double in row order, so that the same rows always give the
// same numbers.
#ifndef TRIB_MATH_METRICS_H
#define TRIB_MATH_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/math/net.h"
#include "tributary/err.h"

// Rows by true class (row) and predicted class (column).
struct trib_confusion {
    uint32_t classes;
    uint64_t *counts; // (classes, classes), owned
};

struct trib_evaluation {
    uint64_t rows;
    double loss;      // mean over the rows
    uint32_t classes; // 0: regression
    // classification
    double accuracy;
    double precision, recall, f1;  // scores.h: the macro means
    double balanced_accuracy, mcc; // scores.h
    // regression
    double mse, mae, rmse, r2; // r2 of targets that do not vary: 1 if all are met, else 0
    double mape;               // residuals.h
};

TRIB_CHECKED enum trib_err trib_confusion_init(struct trib_confusion *confusion, uint32_t classes);
void trib_confusion_fini(struct trib_confusion *confusion);

// Evaluate on all samples, in batches of what the net holds. `confusion` may be NULL; otherwise it
// was initialised with the model's classes and is filled (classification only).
// TRIB_ERR_DATA if the outputs are not finite.
TRIB_CHECKED enum trib_err trib_evaluate(struct trib_net *net, const float *params,
                                         const struct trib_samples *samples,
                                         struct trib_confusion *confusion,
                                         struct trib_evaluation *ret_evaluation);

// The metric that stands for the model: accuracy, or mse for regression.
const char *trib_evaluation_primary(const struct trib_evaluation *evaluation, double *ret_value,
                                    bool *ret_higher_is_better);
// Is a larger value of this primary metric the better one?
bool trib_metric_higher_is_better(const char *name);

enum {
    TRIB_EVALUATION_VALUES = 7,
    TRIB_CONFUSION_SHOWN_MAX = 100, // classes: a matrix of more is no reading matter
};
struct trib_evaluation_value {
    const char *name;
    double value;
};
// All named values, at most TRIB_EVALUATION_VALUES; returns how many.
size_t trib_evaluation_values(const struct trib_evaluation *evaluation,
                              struct trib_evaluation_value values[static TRIB_EVALUATION_VALUES]);

// The values as a JSON object: {"loss":...,"accuracy":...}. With a `confusion` of few enough classes
// also its rows: "confusion":[[5,1],[2,3]]. NULL: without.
void trib_evaluation_json(const struct trib_evaluation *evaluation,
                          const struct trib_confusion *confusion, const char *key,
                          struct trib_buf *buf);

#endif // TRIB_MATH_METRICS_H
