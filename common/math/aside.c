#include "common/math/aside.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/math/residuals.h"
#include "common/math/score_intervals.h"
#include "common/math/score_sums.h"
#include "common/math/scores.h"

enum {
    BATCH = 256,
    // Of a classification: what stands before the cells.
    TRAIN_ROWS = 0,
    TRAIN_HITS,
    TRAIN_LOSS,
    CELLS,
    // Of a regression.
    TRAIN_SQUARE = 1,
    TRAIN_TARGET,
    TRAIN_TARGET_SQUARE,
    ROWS,
    SQUARE,
    FOURTH,
    ABSOLUTE,
    RELATIVE,
    TARGET,
    TARGET_SQUARE,
    RELATIVE_SQUARE,
    RELATIVE_BEYOND,
    TARGET_CUBE,
    TARGET_FOURTH,
    SQUARE_TARGET,
    SQUARE_TARGET_SQUARE,
    POWERS_BEYOND,
    REGRESSION_VALUES,
    // Cells of score_sums.h that are not counts.
    CELL_LOSS = 3,
    CELL_LOSS_SQUARE,
    CELL_BRIER,
    CELL_BRIER_SQUARE,
};

// A sum of as many rows as there may be still fits.
#define POWER_MAX 0x1p82

static uint32_t top_k(const struct trib_model *model)
{
    return model->classes > 5 ? 5 : 1;
}

size_t trib_aside_values(const struct trib_model *model)
{
    if (model->classes == 0)
        return REGRESSION_VALUES;
    const size_t count = CELLS + trib_score_sums_count(model->classes);
    return count <= TRIB_TALLY_VALUES_MAX ? count : 0;
}

// What one of a cell is in natural units: the last cells are sums of scores.
static double unit_of(const struct trib_model *model, size_t cell)
{
    const size_t last = trib_score_sums_count(model->classes) - TRIB_SCORE_BINS;
    if (cell == CELL_LOSS_SQUARE || cell == CELL_BRIER_SQUARE)
        return 0x1p-20;
    return cell == CELL_LOSS || cell == CELL_BRIER || cell >= last ? 0x1p-30 : 1;
}

// ---- Counting

struct counting {
    const struct trib_model *model;
    struct trib_net *net;
    float *x, *y;                         // a batch: (BATCH, inputs), (BATCH)
    double *p;                            // (classes)
    struct trib_score_sums learnt, aside; // of a classification
    struct trib_tally *tally;
    bool is_exact;
};

static void counting_fini(struct counting *c)
{
    trib_net_destroy(c->net);
    trib_score_sums_fini(&c->learnt);
    trib_score_sums_fini(&c->aside);
    free(c->x);
    free(c->y);
    free(c->p);
}

static enum trib_err counting_init(struct counting *c, double threshold)
{
    const struct trib_model *model = c->model;
    enum trib_err err = trib_net_create(model, BATCH, &c->net);
    c->x = trib_alloc_aligned((size_t)BATCH * model->inputs, sizeof(*c->x));
    c->y = trib_alloc_aligned(BATCH, sizeof(*c->y));
    c->p = trib_alloc_array(model->classes + 1, sizeof(*c->p));
    if (!err && (!c->x || !c->y || !c->p))
        err = TRIB_ERR_NOMEM;
    if (!err && model->classes > 0)
        err = trib_score_sums_init(&c->learnt, model->classes, top_k(model));
    if (!err && model->classes > 0)
        err = trib_score_sums_init(&c->aside, model->classes, top_k(model));
    c->learnt.threshold = c->aside.threshold = threshold;
    return err;
}

static void classify(struct counting *c, const float *output, float y, bool is_aside)
{
    const uint32_t classes = c->model->classes;
    if (c->model->outputs == 1) {
        c->p[1] = (double)output[0];
        c->p[0] = 1 - c->p[1];
    } else {
        for (uint32_t k = 0; k < classes; k++)
            c->p[k] = (double)output[k];
    }
    trib_score_sums_add(is_aside ? &c->aside : &c->learnt, c->p, (uint32_t)y);
}

static enum trib_err add_terms(struct trib_tally *tally, size_t at, const double *terms,
                               size_t count)
{
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < count && !err; i++)
        err = trib_tally_add(tally, at + i, terms[i]);
    return err;
}

// What only intervals want does not keep a device from counting: the terms from `at` on, or one at
// `beyond` where one of them is too large.
static enum trib_err add_powers(struct trib_tally *tally, size_t at, const double *powers,
                                size_t count, size_t beyond)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabs(powers[i]) < POWER_MAX))
            return trib_tally_add(tally, beyond, 1);
    }
    return add_terms(tally, at, powers, count);
}

static enum trib_err regress(struct counting *c, double output, double y, bool is_aside)
{
    const double e = output - y;
    const double relative = fabs(e) / fmax(fabs(y), 0x1p-52);
    const double learnt[] = {1, e * e, y, y * y};
    const double aside[] = {1, e * e, e * e * e * e, fabs(e), relative, y, y * y};
    if (!is_aside)
        return add_terms(c->tally, TRAIN_ROWS, learnt, sizeof(learnt) / sizeof(learnt[0]));
    enum trib_err err = add_terms(c->tally, ROWS, aside, sizeof(aside) / sizeof(aside[0]));
    if (err || !c->is_exact)
        return err;
    const double square = relative * relative;
    const double powers[] = {y * y * y, y * y * y * y, e * e * y, e * e * y * y};
    err = add_powers(c->tally, RELATIVE_SQUARE, &square, 1, RELATIVE_BEYOND);
    return err ? err
               : add_powers(c->tally, TARGET_CUBE, powers, sizeof(powers) / sizeof(powers[0]),
                            POWERS_BEYOND);
}

static enum trib_err count_batch(struct counting *c, const float *params, size_t rows,
                                 bool is_aside)
{
    const struct trib_model *model = c->model;
    const float *outputs = trib_net_forward(c->net, params, c->x, rows);
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < rows && !err; i++) {
        const float *output = outputs + i * model->outputs;
        for (size_t k = 0; k < model->outputs; k++) {
            if (!isfinite(output[k]))
                return TRIB_ERR_DATA;
        }
        if (model->classes > 0)
            classify(c, output, c->y[i], is_aside);
        else
            err = regress(c, (double)output[0], (double)c->y[i], is_aside);
    }
    return err;
}

// Cells may pass 2^53: exact in two parts.
static enum trib_err add_cell(struct trib_tally *tally, size_t index, uint64_t cell, double unit)
{
    enum trib_err err = trib_tally_add(tally, index, (double)(cell >> 32) * 0x1p32 * unit);
    return err ? err : trib_tally_add(tally, index, (double)(cell & UINT32_MAX) * unit);
}

static enum trib_err add_scores(struct counting *c)
{
    const struct trib_confusion hits = trib_score_sums_confusion(&c->learnt);
    const double loss_unit = unit_of(c->model, CELL_LOSS);
    uint64_t right = 0;
    for (size_t k = 0; k < c->model->classes; k++)
        right += hits.counts[k * c->model->classes + k];
    enum trib_err err = add_cell(c->tally, TRAIN_ROWS, c->learnt.cells[0], 1);
    if (!err)
        err = add_cell(c->tally, TRAIN_HITS, right, 1);
    if (!err)
        err = add_cell(c->tally, TRAIN_LOSS, c->learnt.cells[CELL_LOSS], loss_unit);
    for (size_t i = 0; i < c->aside.count && !err; i++)
        err = add_cell(c->tally, CELLS + i, c->aside.cells[i], unit_of(c->model, i));
    return err;
}

enum trib_err trib_aside_count(const struct trib_model *model, const struct trib_aside_way *way,
                               const float *params, const struct trib_samples *samples,
                               const uint32_t *order, size_t learnt, struct trib_tally *tally)
{
    struct counting c = {.model = model, .tally = tally, .is_exact = way->is_exact};
    assert(tally->count >= trib_aside_values(model)); // others may stand behind
    enum trib_err err = counting_init(&c, way->threshold);
    for (size_t first = 0; first < samples->rows && !err;) {
        const bool is_aside = first >= learnt;
        const size_t end = is_aside ? samples->rows : learnt; // a batch is of one side
        const size_t rows = end - first < BATCH ? end - first : BATCH;
        for (size_t i = 0; i < rows; i++) {
            const size_t row = order[first + i];
            memcpy(c.x + i * samples->inputs, samples->x + row * samples->inputs,
                   samples->inputs * sizeof(*c.x));
            c.y[i] = samples->y[row];
        }
        err = count_batch(&c, params, rows, is_aside);
        first += rows;
    }
    if (!err && model->classes > 0)
        err = add_scores(&c);
    counting_fini(&c);
    return err;
}

// ---- Reading

static const struct trib_interval none = {(double)NAN, (double)NAN};

static void put(struct trib_aside_report *report, const char *name, double value,
                struct trib_interval interval)
{
    assert(report->metric_count < TRIB_ASIDE_METRICS_MAX);
    report->metrics[report->metric_count++] = (struct trib_aside_metric){
        .name = name, .value = value, .interval = interval, .exact = none};
}

// The last one put is not exact.
static void bound(struct trib_aside_report *report, double low, double high)
{
    report->metrics[report->metric_count - 1].exact =
        (struct trib_interval){fmax(low, 0), fmin(high, 1)};
}

static void bound_auc(struct trib_aside_report *report, const struct trib_score_values *s)
{
    if (isfinite(s->roc_auc)) // else a class has no rows
        bound(report, s->roc_auc - s->roc_auc_bound, s->roc_auc + s->roc_auc_bound);
}

static void find_gap(struct trib_aside_report *report, const char *metric, double train,
                     double validation)
{
    report->gap_metric = metric;
    report->train = train;
    report->validation = validation;
    report->is_gap = train - validation > TRIB_ASIDE_GAP; // never with NaN
}

static uint64_t to_count(double value)
{
    return value > 0 ? (uint64_t)llround(value) : 0;
}

static enum trib_err read_classes(const struct trib_model *model, const double *values,
                                  struct trib_score_sums *sums, struct trib_aside_report *report)
{
    struct trib_score_values s;
    struct trib_class_scores c;
    struct trib_score_intervals i;
    for (size_t cell = 0; cell < sums->count; cell++)
        sums->cells[cell] = to_count(values[CELLS + cell] / unit_of(model, cell));
    const struct trib_confusion confusion = trib_score_sums_confusion(sums);
    enum trib_err err = trib_score_sums_values(sums, &s);
    if (!err)
        err = trib_class_scores(&confusion, &c);
    if (!err)
        err = trib_score_intervals(&confusion, &c, &i);
    if (err)
        return err;
    report->rows = (double)s.rows;
    report->train_rows = fmax(values[TRAIN_ROWS], 0);
    put(report, "accuracy", c.accuracy, trib_interval_share(c.accuracy, report->rows));
    put(report, "loss", s.log_loss, trib_interval_mean(s.log_loss, s.log_loss_error));
    put(report, "precision", c.macro.precision, i.precision);
    put(report, "recall", c.macro.recall, i.recall);
    put(report, "f1", c.macro.f1, i.f1);
    put(report, "balanced_accuracy", c.balanced_accuracy, i.balanced_accuracy);
    put(report, "mcc", c.mcc, i.mcc);
    put(report, "kappa", c.kappa, i.kappa);
    put(report, "log_loss", s.log_loss, trib_interval_mean(s.log_loss, s.log_loss_error));
    put(report, "brier", s.brier, trib_interval_mean(s.brier, s.brier_error));
    put(report, "ece", s.ece, none);
    if (model->classes == 2) {
        const double positives = (double)confusion.counts[2] + (double)confusion.counts[3];
        put(report, "auc", s.roc_auc,
            trib_interval_auc(s.roc_auc, positives, report->rows - positives));
        bound_auc(report, &s);
        put(report, "average_precision", s.average_precision,
            trib_interval_precision(s.average_precision, positives));
        bound(report, s.average_precision_low, s.average_precision_high);
        put(report, "positive_precision", c.binary.precision, i.positive_precision);
        put(report, "positive_recall", c.binary.recall, i.positive_recall);
        put(report, "positive_f1", c.binary.f1, i.positive_f1);
        put(report, "threshold", sums->threshold, none);
    } else {
        put(report, "auc", s.roc_auc, trib_interval_below_one(s.roc_auc, s.roc_auc_error, 0));
        bound_auc(report, &s);
    }
    if (top_k(model) > 1)
        put(report, "top5_accuracy", s.top_k, trib_interval_share(s.top_k, report->rows));
    const double train = values[TRAIN_HITS] / values[TRAIN_ROWS];
    find_gap(report, "accuracy", values[TRAIN_ROWS] > 0 ? train : (double)NAN, c.accuracy);
    return TRIB_OK;
}

// R2 of sums (residuals.h: targets that do not vary).
static double r2_of(double rows, double square, double target, double target_square)
{
    if (!(rows > 1))
        return (double)NAN;
    const double rounding =
        rows * DBL_EPSILON * target_square; // of equal targets that is all there is
    const double spread = target_square - target * target / rows;
    return spread > rounding ? 1 - square / spread : (square > 0 ? 0 : 1);
}

// Standard error of a mean, as in residuals.c.
static double error_of_mean(double square, double mean, double rows)
{
    return rows > 1 ? sqrt(fmax(square - mean * mean, 0) / (rows - 1)) : (double)NAN;
}

static double r2_error(const double *values)
{
    const struct trib_r2_sums sums = {
        values[ROWS],          values[SQUARE],        values[FOURTH],
        values[TARGET],        values[TARGET_SQUARE], values[TARGET_CUBE],
        values[TARGET_FOURTH], values[SQUARE_TARGET], values[SQUARE_TARGET_SQUARE]};
    return trib_r2_error(&sums);
}

static enum trib_err read_regression(const double *values, bool is_exact,
                                     struct trib_aside_report *report)
{
    const double n = values[ROWS];
    if (!(n > 0))
        return TRIB_ERR_DATA;
    const double mse = fmax(values[SQUARE], 0) / n;
    const double mae = values[ABSOLUTE] / n;
    const double mse_error = error_of_mean(values[FOURTH] / n, mse, n);
    const double mae_error = error_of_mean(mse, mae, n);
    const struct trib_interval interval = trib_interval_mean(mse, mse_error);
    const double r2 = r2_of(n, values[SQUARE], values[TARGET], values[TARGET_SQUARE]);
    report->rows = n;
    report->train_rows = fmax(values[TRAIN_ROWS], 0);
    put(report, "mse", mse, interval);
    put(report, "loss", mse / 2, (struct trib_interval){interval.low / 2, interval.high / 2});
    put(report, "mae", mae, trib_interval_mean(mae, mae_error));
    put(report, "rmse", sqrt(mse),
        (struct trib_interval){sqrt(fmax(interval.low, 0)), sqrt(interval.high)});
    const double mape = values[RELATIVE] / n;
    put(report, "r2", r2,
        is_exact && values[POWERS_BEYOND] == 0
            ? trib_interval_below_one(r2, r2_error(values), -(double)INFINITY)
            : none);
    put(report, "mape", mape,
        is_exact && values[RELATIVE_BEYOND] == 0
            ? trib_interval_mean(mape, error_of_mean(values[RELATIVE_SQUARE] / n, mape, n))
            : none);
    find_gap(report, "r2",
             r2_of(values[TRAIN_ROWS], values[TRAIN_SQUARE], values[TRAIN_TARGET],
                   values[TRAIN_TARGET_SQUARE]),
             r2);
    return TRIB_OK;
}

enum trib_err trib_aside_read(const struct trib_model *model, const struct trib_aside_way *way,
                              const double *values, struct trib_aside_report *ret_report)
{
    struct trib_aside_report report = {.metric_count = 0};
    struct trib_score_sums sums = {0};
    enum trib_err err = TRIB_OK;
    if (model->classes == 0) {
        err = read_regression(values, way->is_exact, &report);
    } else {
        err = trib_score_sums_init(&sums, model->classes, top_k(model));
        sums.threshold = way->threshold;
        if (!err)
            err = read_classes(model, values, &sums, &report);
        trib_score_sums_fini(&sums);
    }
    if (!err)
        *ret_report = report;
    return err;
}
