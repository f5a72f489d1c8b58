// metrics.h - how good a model is on held-out rows: the metrics by name, and which problem has
// which.
//
// docs/models.md has the formula of each. Counts are integers and long sums are double in row
// order, so that the same rows always give the same numbers.
#ifndef TRIB_MATH_METRICS_H
#define TRIB_MATH_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/math/intervals.h"
#include "tributary/err.h"

// Rows by true class (row) and predicted class (column).
struct trib_confusion {
    uint32_t classes;
    uint64_t *counts; // (classes, classes), owned
};

// What a model is for. It follows from its last activation and outputs, by way of its classes.
enum trib_problem {
    TRIB_PROBLEM_BINARY,
    TRIB_PROBLEM_MULTICLASS,
    TRIB_PROBLEM_REGRESSION,
};
enum trib_problem trib_problem_of(uint32_t classes); // 0: regression
const char *trib_problem_text(enum trib_problem problem);

// What does not exist is NaN.
struct trib_evaluation {
    uint64_t rows;
    const char *primary; // static; NULL: accuracy, or mse for regression
    double loss;         // mean over the rows
    uint32_t classes;    // 0: regression
    // classification
    double accuracy;
    double precision, recall, f1;                            // scores.h: the macro means
    double balanced_accuracy, mcc, kappa;                    // scores.h
    double positive_precision, positive_recall, positive_f1; // of class 1 of two classes
    double auc;                                              // ranking.h; more classes: ovr, macro
    double average_precision;                                // of two classes
    double log_loss, brier;                                  // probabilities.h
    double ece;                                              // score_sums.h
    double top5_accuracy;                                    // of more than five classes
    double threshold; // two classes: class 1 is predicted from this probability on
    // regression
    double mse, mae, rmse, r2; // r2 of targets that do not vary: 1 if all are met, else 0
    double mape;               // residuals.h
    // recommenders whose users are ranked (ranked_users.h), beside the others; NaN: they are not
    double ranking_k, ranking_users;
    double hit_rate_at_k, recall_at_k, ndcg_at_k;
    // Of confidence `confidence`; 0: none were computed.
    double confidence;
    struct {
        struct trib_interval accuracy, top5_accuracy;
        struct trib_interval precision, recall, f1, balanced_accuracy, mcc, kappa;
        struct trib_interval positive_precision, positive_recall, positive_f1; // of two classes
        struct trib_interval auc, average_precision;
        struct trib_interval log_loss, brier, mse, mae, rmse, r2, mape;
        struct trib_interval hit_rate_at_k, recall_at_k, ndcg_at_k;
    } intervals;
};

TRIB_CHECKED enum trib_err trib_confusion_init(struct trib_confusion *confusion, uint32_t classes);
void trib_confusion_fini(struct trib_confusion *confusion);

// Nothing measured yet: every metric is NaN, and there are no intervals.
void trib_evaluation_init(struct trib_evaluation *evaluation, uint32_t classes);

// The metric that stands for the model.
const char *trib_evaluation_primary(const struct trib_evaluation *evaluation, double *ret_value,
                                    bool *ret_higher_is_better);

// A metric by its name; false: there is none, or not of this problem.
bool trib_metric_fits(const char *name, enum trib_problem problem);
// Is it one of recommenders, which there is only where users are ranked?
bool trib_metric_is_ranking(const char *name);
// Is a larger value the better one?
bool trib_metric_higher_is_better(const char *name);
// The value of a metric; NaN if the evaluation has none of that name.
double trib_evaluation_find(const struct trib_evaluation *evaluation, const char *name);
// Sets it, as when it is read back from a manifest; nothing if there is none of that name.
void trib_evaluation_set(struct trib_evaluation *evaluation, const char *name, double value);

enum {
    TRIB_EVALUATION_VALUES = 24,
    TRIB_CONFUSION_SHOWN_MAX = 100, // classes: a matrix of more is no reading matter
};
struct trib_evaluation_value {
    const char *name;
    double value;
    bool is_headline; // goes into the manifest of a version, which has room for 24
};
// All named values of the problem, at most TRIB_EVALUATION_VALUES; returns how many.
size_t trib_evaluation_values(const struct trib_evaluation *evaluation,
                              struct trib_evaluation_value values[static TRIB_EVALUATION_VALUES]);

// The values as members of the JSON object that is open: "loss":...,"accuracy":..., and
// "intervals":{"accuracy":[0.8,0.9],...} if there are any. With a `confusion` of few enough classes
// also its rows: "confusion":[[5,1],[2,3]]. NULL: without.
void trib_evaluation_members(const struct trib_evaluation *evaluation,
                             const struct trib_confusion *confusion, struct trib_buf *buf);

// The same as an object.
void trib_evaluation_json(const struct trib_evaluation *evaluation,
                          const struct trib_confusion *confusion, const char *key,
                          struct trib_buf *buf);

#endif // TRIB_MATH_METRICS_H
