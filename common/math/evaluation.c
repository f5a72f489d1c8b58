#include "common/math/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/math/probabilities.h"
#include "common/math/ranking.h"
#include "common/math/residuals.h"
#include "common/math/score_intervals.h"
#include "common/math/score_sums.h"
#include "common/math/scores.h"

enum {
    TOP_K = 5,
    // Scores kept for an exact ROC-AUC of several classes, 32 MiB; with more it comes from bins.
    SCORES_MAX = 1 << 22,
};

// What becomes of the outputs, batch after batch.
struct tally {
    const struct trib_model *model;
    size_t rows;
    double loss;
    struct trib_residuals residuals; // regression
    struct trib_score_sums sums;     // classes
    double *p;                       // (classes), of the row at hand; owned
    struct trib_scored *scored;      // (rows), two classes; owned
    double *scores;                  // (rows, classes), several, or NULL; owned
    uint32_t *labels;                // (rows), with scores; owned
};

static enum trib_err tally_init(struct tally *tally, const struct trib_model *model, size_t rows)
{
    const uint32_t classes = model->classes;
    *tally = (struct tally){.model = model, .rows = rows};
    if (classes == 0)
        return TRIB_OK;
    enum trib_err err = trib_score_sums_init(&tally->sums, classes, TOP_K);
    if (err)
        return err;
    tally->p = trib_alloc_array(classes, sizeof(*tally->p));
    if (!tally->p)
        return TRIB_ERR_NOMEM;
    if (classes == 2) {
        tally->scored = trib_alloc_array(rows, sizeof(*tally->scored));
        return tally->scored ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    if (rows > SCORES_MAX / classes)
        return TRIB_OK;
    tally->scores = trib_alloc_array(rows * classes, sizeof(*tally->scores));
    tally->labels = trib_alloc_array(rows, sizeof(*tally->labels));
    return tally->scores && tally->labels ? TRIB_OK : TRIB_ERR_NOMEM;
}

static void tally_fini(struct tally *tally)
{
    trib_score_sums_fini(&tally->sums);
    free(tally->p);
    free(tally->scored);
    free(tally->scores);
    free(tally->labels);
}

static void add_classes(struct tally *tally, size_t row, const float *output, uint32_t label)
{
    const uint32_t classes = tally->model->classes;
    if (classes == 2) { // of a sigmoid the only output, of a softmax the second
        const double score = (double)output[tally->model->outputs - 1];
        tally->scored[row] = (struct trib_scored){score, label == 1};
        return; // counted when the threshold is known
    }
    for (uint32_t c = 0; c < classes; c++)
        tally->p[c] = (double)output[c];
    trib_score_sums_add(&tally->sums, tally->p, label);
    if (tally->scores) {
        memcpy(tally->scores + row * classes, tally->p, classes * sizeof(*tally->p));
        tally->labels[row] = label;
    }
}

// The outputs of `count` rows, which are those from `row` on.
static enum trib_err add_rows(struct tally *tally, const float *outputs, const float *y,
                              size_t count, size_t row)
{
    const struct trib_model *model = tally->model;
    enum trib_err err = TRIB_OK;
    for (size_t r = 0; r < count && !err; r++) {
        const float *output = outputs + r * model->outputs;
        if (model->classes)
            add_classes(tally, row + r, output, (uint32_t)y[r]);
        else
            err = trib_residuals_add(&tally->residuals, (double)output[0], (double)y[r]);
    }
    return err;
}

// The rows of `samples` are those from `row` on.
static enum trib_err run(struct tally *tally, struct trib_net *net, const float *params,
                         const struct trib_samples *samples, size_t row)
{
    const size_t batch = trib_net_batch_max(net);
    enum trib_err err = TRIB_OK;
    for (size_t first = 0; first < samples->rows && !err; first += batch) {
        size_t count = samples->rows - first < batch ? samples->rows - first : batch;
        const float *y = samples->y + first;
        const float *outputs;
        tally->loss += trib_net_loss_sum(net, params, samples->x + first * samples->inputs, y,
                                         count, &outputs);
        err = add_rows(tally, outputs, y, count, row + first);
    }
    return err;
}

// ---- Two classes

static enum trib_err finish_binary(struct tally *tally, const struct trib_decision *decision,
                                   struct trib_evaluation *evaluation)
{
    struct trib_ranking_scores ranking;
    enum trib_err err = trib_ranking_scores(tally->scored, tally->rows, &ranking);
    if (err)
        return err;
    evaluation->auc = ranking.roc_auc;
    evaluation->average_precision = ranking.average_precision;
    evaluation->threshold = 0.5;
    if (decision->goal.goal == TRIB_GOAL_NONE)
        evaluation->threshold = decision->threshold;
    else if (isfinite(ranking.roc_auc)) // there are rows of both classes
        err = trib_threshold_choose(tally->scored, tally->rows, &decision->goal,
                                    &evaluation->threshold);
    if (err)
        return err;
    tally->sums.threshold = evaluation->threshold;
    for (size_t r = 0; r < tally->rows; r++) {
        const double p[2] = {1 - tally->scored[r].score, tally->scored[r].score};
        trib_score_sums_add(&tally->sums, p, tally->scored[r].positive);
    }
    return TRIB_OK;
}

static void fill_positive(const struct trib_confusion *confusion,
                          const struct trib_class_scores *scores, struct trib_evaluation *e)
{
    const double negatives = (double)(confusion->counts[0] + confusion->counts[1]);
    const double positives = (double)(confusion->counts[2] + confusion->counts[3]);
    e->positive_precision = scores->binary.precision;
    e->positive_recall = scores->binary.recall;
    e->positive_f1 = scores->binary.f1;
    e->intervals.auc = trib_interval_auc(e->auc, positives, negatives);
    e->intervals.average_precision = trib_interval_precision(e->average_precision, positives);
}

// ---- Classes

static enum trib_err fill_multi_auc(const struct tally *tally,
                                    const struct trib_score_values *values,
                                    struct trib_evaluation *e)
{
    const struct trib_multi_scored scored = {tally->scores, tally->labels, tally->rows,
                                             tally->model->classes};
    struct trib_multi_auc auc = {.ovr_macro = values->roc_auc, .ovr_error = values->roc_auc_error};
    enum trib_err err = tally->scores ? trib_multi_auc_ovr(&scored, &auc) : TRIB_OK;
    if (err)
        return err;
    e->auc = auc.ovr_macro;
    e->intervals.auc = trib_interval_below_one(auc.ovr_macro, auc.ovr_error, 0);
    return TRIB_OK;
}

static void fill_intervals(const struct trib_score_intervals *intervals, struct trib_evaluation *e)
{
    e->intervals.precision = intervals->precision;
    e->intervals.recall = intervals->recall;
    e->intervals.f1 = intervals->f1;
    e->intervals.balanced_accuracy = intervals->balanced_accuracy;
    e->intervals.mcc = intervals->mcc;
    e->intervals.kappa = intervals->kappa;
    e->intervals.positive_precision = intervals->positive_precision;
    e->intervals.positive_recall = intervals->positive_recall;
    e->intervals.positive_f1 = intervals->positive_f1;
}

static enum trib_err fill_classes(const struct tally *tally, struct trib_evaluation *e)
{
    const struct trib_confusion confusion = trib_score_sums_confusion(&tally->sums);
    const bool is_binary = tally->model->classes == 2;
    const double rows = (double)tally->rows;
    struct trib_class_scores scores;
    struct trib_score_intervals intervals;
    struct trib_score_values values;
    enum trib_err err = trib_class_scores(&confusion, &scores);
    if (!err)
        err = trib_score_intervals(&confusion, &scores, &intervals);
    if (!err)
        err = trib_score_sums_values(&tally->sums, &values);
    if (!err && values.left_out > 0)
        err = TRIB_ERR_DATA;
    if (!err && !is_binary)
        err = fill_multi_auc(tally, &values, e);
    if (err)
        return err;
    e->accuracy = scores.accuracy;
    e->precision = scores.macro.precision;
    e->recall = scores.macro.recall;
    e->f1 = scores.macro.f1;
    e->balanced_accuracy = scores.balanced_accuracy;
    e->mcc = scores.mcc;
    e->kappa = scores.kappa;
    e->log_loss = values.log_loss;
    e->brier = values.brier;
    e->ece = values.ece;
    if (tally->model->classes > TOP_K)
        e->top5_accuracy = values.top_k;
    e->intervals.accuracy = trib_interval_share(e->accuracy, rows);
    e->intervals.top5_accuracy = trib_interval_share(e->top5_accuracy, rows);
    e->intervals.log_loss = trib_interval_mean(e->log_loss, values.log_loss_error);
    e->intervals.brier = trib_interval_mean(e->brier, values.brier_error);
    fill_intervals(&intervals, e);
    if (is_binary)
        fill_positive(&confusion, &scores, e);
    return TRIB_OK;
}

// ---- Regression

static enum trib_err fill_regression(const struct tally *tally, struct trib_evaluation *e)
{
    struct trib_residual_scores scores;
    enum trib_err err = trib_residuals_scores(&tally->residuals, &scores);
    if (err)
        return err;
    e->mse = scores.mse;
    e->mae = scores.mae;
    e->rmse = scores.rmse;
    e->r2 = scores.r2;
    e->mape = scores.mape;
    e->intervals.mse = trib_interval_mean(scores.mse, scores.mse_error);
    e->intervals.mae = trib_interval_mean(scores.mae, scores.mae_error);
    e->intervals.mape = trib_interval_mean(scores.mape, scores.mape_error);
    e->intervals.r2 = trib_interval_below_one(scores.r2, scores.r2_error, -(double)INFINITY);
    // The root keeps the order, so the ends of one are those of the other.
    e->intervals.rmse =
        (struct trib_interval){sqrt(e->intervals.mse.low), sqrt(e->intervals.mse.high)};
    return TRIB_OK;
}

// All rows are in.
static enum trib_err finish(struct tally *tally, const struct trib_decision *decision,
                            struct trib_confusion *confusion,
                            struct trib_evaluation *ret_evaluation)
{
    const uint32_t classes = tally->model->classes;
    struct trib_evaluation evaluation;
    trib_evaluation_init(&evaluation, classes);
    evaluation.rows = tally->rows;
    evaluation.confidence = TRIB_CONFIDENCE;
    evaluation.loss = tally->loss / (double)tally->rows;
    if (!isfinite(evaluation.loss))
        return TRIB_ERR_DATA;
    enum trib_err err = classes == 2 ? finish_binary(tally, decision, &evaluation) : TRIB_OK;
    if (!err)
        err = classes ? fill_classes(tally, &evaluation) : fill_regression(tally, &evaluation);
    if (err)
        return err;
    *ret_evaluation = evaluation;
    if (confusion && classes)
        memcpy(confusion->counts, trib_score_sums_confusion(&tally->sums).counts,
               (size_t)classes * classes * sizeof(*confusion->counts));
    return TRIB_OK;
}

enum trib_err trib_evaluate_decided(struct trib_net *net, const float *params,
                                    const struct trib_samples *samples,
                                    const struct trib_decision *decision,
                                    struct trib_confusion *confusion,
                                    struct trib_evaluation *ret_evaluation)
{
    struct tally tally;
    if (samples->rows == 0)
        return TRIB_ERR_DATA;
    enum trib_err err = tally_init(&tally, trib_net_model(net), samples->rows);
    if (!err)
        err = run(&tally, net, params, samples, 0);
    if (!err)
        err = finish(&tally, decision, confusion, ret_evaluation);
    tally_fini(&tally);
    return err;
}

enum trib_err trib_evaluate_parts(struct trib_net *net, trib_part_fn parts, void *user,
                                  size_t count, struct trib_confusion *confusion,
                                  double *ret_losses, struct trib_evaluation *ret_evaluation)
{
    const struct trib_decision half = {.threshold = 0.5};
    struct trib_samples samples;
    struct tally tally;
    size_t rows = 0;
    size_t row = 0;
    for (size_t part = 0; part < count; part++) {
        (void)parts(user, part, &samples);
        rows += samples.rows;
    }
    if (rows == 0)
        return TRIB_ERR_DATA;
    enum trib_err err = tally_init(&tally, trib_net_model(net), rows);
    for (size_t part = 0; part < count && !err; part++) {
        const double before = tally.loss;
        const float *params = parts(user, part, &samples);
        err = run(&tally, net, params, &samples, row);
        row += samples.rows;
        if (ret_losses)
            ret_losses[part] = (tally.loss - before) / (double)samples.rows; // 0 / 0: NaN
    }
    if (!err)
        err = finish(&tally, &half, confusion, ret_evaluation);
    tally_fini(&tally);
    return err;
}

enum trib_err trib_evaluate(struct trib_net *net, const float *params,
                            const struct trib_samples *samples, struct trib_confusion *confusion,
                            struct trib_evaluation *ret_evaluation)
{
    const struct trib_decision half = {.threshold = 0.5};
    return trib_evaluate_decided(net, params, samples, &half, confusion, ret_evaluation);
}

// What one row costs, by its outputs alone.
static double loss_of(const struct trib_model *model, const float *output, float y)
{
    if (model->classes == 0) {
        const double error = (double)output[0] - (double)y;
        return error * error / 2;
    }
    const double p = model->outputs > 1 ? (double)output[(size_t)y]
                     : y > 0.5F         ? (double)output[0]
                                        : 1 - (double)output[0];
    return -log(fmax(p, TRIB_PROBABILITY_CLIP));
}

enum trib_err trib_evaluate_outputs(const struct trib_model *model, const float *outputs,
                                    const struct trib_samples *samples,
                                    struct trib_evaluation *ret_evaluation)
{
    const struct trib_decision half = {.threshold = 0.5};
    struct tally tally;
    if (samples->rows == 0)
        return TRIB_ERR_DATA;
    enum trib_err err = tally_init(&tally, model, samples->rows);
    for (size_t r = 0; r < samples->rows && !err; r++)
        tally.loss += loss_of(model, outputs + r * model->outputs, samples->y[r]);
    if (!err)
        err = add_rows(&tally, outputs, samples->y, samples->rows, 0);
    if (!err)
        err = finish(&tally, &half, NULL, ret_evaluation);
    tally_fini(&tally);
    return err;
}
