// KIND metrics: columns id, fn, params, a, b, expected, rtol, note (see csv.c for the file).
//
// Classes go through the product's own evaluation: the predictions of a row become the inputs of a
// model that hands them on. Regressions and rankings go through its sums and its ordering, in
// double. Every value that the product does not compute is skipped.
#include "tests/golden/golden.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/data/dataset.h"
#include "common/math/metrics.h"
#include "common/math/ranking.h"
#include "common/math/residuals.h"
#include "common/math/scores.h"

enum {
    VALUES_MAX = 1 << 16,
    NAME_MAX = 63,
};

// ---- reading a row

struct values {
    double *items; // owned
    size_t count;
};

// Numbers separated by blanks, up to `end`.
static bool read_values(const char *text, const char *end, struct values *values)
{
    char word[64];
    values->items = trib_alloc_array(VALUES_MAX, sizeof(*values->items));
    for (values->count = 0; values->items; values->count++) {
        text += strspn(text, " ");
        if (text >= end)
            return true;
        size_t size = strcspn(text, " |;");
        if (size == 0 || size >= sizeof(word) || values->count == VALUES_MAX)
            return false;
        (void)snprintf(word, sizeof(word), "%.*s", (int)size, text);
        if (!golden_number(word, &values->items[values->count]))
            return false;
        text += size;
    }
    return false;
}

// The number after "<name>=" in "k=v;k=v".
static bool read_param(const char *params, const char *name, double *ret_value)
{
    char word[64];
    size_t size = strlen(name);
    for (const char *at = params; at; at = strchr(at, ';') ? strchr(at, ';') + 1 : NULL) {
        if (strncmp(at, name, size) == 0 && at[size] == '=') {
            (void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(at + size + 1, ";"),
                           at + size + 1);
            return golden_number(word, ret_value);
        }
    }
    return false;
}

static bool expects_refusal(const char *expected)
{
    const char *value = strrchr(expected, '=');
    return strcmp(value ? value + 1 : expected, "error") == 0;
}

// ---- running one

struct outcome {
    enum trib_err err;
    struct trib_evaluation evaluation;
    struct trib_confusion confusion;
    struct trib_residual_scores residuals;
    struct trib_ranking_scores ranking;
};

// Evaluate predictions of true values `truth`: row r of x is what the model passes on.
static enum trib_err evaluate(const struct trib_model *model, const float *params,
                              struct trib_dataset *rows, struct outcome *outcome)
{
    struct trib_net *net = NULL;
    const struct trib_samples samples = trib_dataset_samples(rows);
    char why[256];

    outcome->err = trib_dataset_check(rows, model, why, sizeof(why));
    if (outcome->err)
        return TRIB_OK; // refused, which may be what is expected
    enum trib_err err = trib_confusion_init(&outcome->confusion, model->classes);
    if (!err)
        err = trib_net_create(model, 7, &net); // batches that do not divide the rows
    if (!err)
        outcome->err =
            trib_evaluate(net, params, &samples, &outcome->confusion, &outcome->evaluation);
    trib_net_destroy(net);
    return err;
}

// A model whose output for the unit vector of class c is class c; `truth` and `predicted` are
// class numbers.
static enum trib_err run_classify(size_t classes, const struct values *truth,
                                  const struct values *predicted, struct outcome *outcome)
{
    char spec[64];
    char why[256];
    struct trib_model model;
    struct trib_dataset *rows = NULL;
    float *params = NULL;

    (void)snprintf(spec, sizeof(spec), "%zu - dense %zu softmax", classes, classes);
    enum trib_err err = trib_model_parse(spec, &model, why, sizeof(why));
    if (!err)
        err = trib_dataset_create(truth->count, classes, false, "golden", &rows);
    if (err)
        goto out;
    params = trib_alloc_array(model.param_count, sizeof(*params));
    if (!params) {
        err = TRIB_ERR_NOMEM;
        goto out;
    }
    for (size_t c = 0; c < classes; c++)
        params[c * classes + c] = 1;
    for (size_t r = 0; r < truth->count; r++) {
        rows->y[r] = (float)truth->items[r];
        if (!(predicted->items[r] >= 0 && predicted->items[r] < (double)classes)) {
            outcome->err = TRIB_ERR_DATA; // no model of so many classes predicts that
            goto out;
        }
        rows->x[r * classes + (size_t)predicted->items[r]] = 1;
    }
    err = evaluate(&model, params, rows, outcome);

out:
    free(params);
    trib_dataset_free(rows);
    return err;
}

static enum trib_err run_regress(const struct values *truth, const struct values *predicted,
                                 struct outcome *outcome)
{
    struct trib_residuals sums = {0};
    for (size_t r = 0; r < truth->count && !outcome->err; r++)
        outcome->err = trib_residuals_add(&sums, predicted->items[r], truth->items[r]);
    if (!outcome->err)
        outcome->err = trib_residuals_scores(&sums, &outcome->residuals);
    return TRIB_OK; // refused, which may be what is expected
}

static enum trib_err run_rank(const struct values *truth, const struct values *predicted,
                              struct outcome *outcome)
{
    struct trib_scored *rows = trib_alloc_array(truth->count, sizeof(*rows));
    if (!rows)
        return TRIB_ERR_NOMEM;
    for (size_t r = 0; r < truth->count; r++) {
        if (truth->items[r] != 0 && truth->items[r] != 1)
            outcome->err = TRIB_ERR_DATA;
        rows[r] = (struct trib_scored){predicted->items[r], truth->items[r] > 0};
    }
    if (!outcome->err)
        outcome->err = trib_ranking_scores(rows, truth->count, &outcome->ranking);
    free(rows);
    return TRIB_OK;
}

// ---- comparing

static bool find_named(const struct trib_evaluation_value *values, size_t count, const char *name,
                       double *ret_value)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, values[i].name) == 0) {
            *ret_value = values[i].value;
            return true;
        }
    }
    return false;
}

static bool find_class_value(const struct outcome *outcome, const char *name, double *ret_value)
{
    struct trib_class_scores s;
    if (trib_class_scores(&outcome->confusion, &s))
        return false;
    const struct trib_evaluation_value values[] = {
        {"accuracy", s.accuracy},
        {"precision_macro", s.macro.precision},
        {"recall_macro", s.macro.recall},
        {"f1_macro", s.macro.f1},
        {"precision_micro", s.micro.precision},
        {"recall_micro", s.micro.recall},
        {"f1_micro", s.micro.f1},
        {"precision_weighted", s.weighted.precision},
        {"recall_weighted", s.weighted.recall},
        {"f1_weighted", s.weighted.f1},
        {"balanced_accuracy", s.balanced_accuracy},
        {"mcc", s.mcc},
        {"kappa", s.kappa},
    };
    return find_named(values, sizeof(values) / sizeof(values[0]), name, ret_value);
}

static bool find_value(const struct outcome *outcome, const char *fn, const char *name,
                       double *ret_value)
{
    const struct trib_residual_scores *r = &outcome->residuals;
    const struct trib_evaluation_value values[] = {
        {"mse", r->mse},
        {"rmse", r->rmse},
        {"mae", r->mae},
        {"mape", r->mape},
        {"max_error", r->max_error},
        {"r2", r->r2},
        {"explained_variance", r->explained_variance},
    };
    const struct trib_evaluation_value ranks[] = {
        {"roc_auc", outcome->ranking.roc_auc},
        {"average_precision", outcome->ranking.average_precision},
    };
    if (strcmp(fn, "binary_rank") == 0)
        return find_named(ranks, sizeof(ranks) / sizeof(ranks[0]), name, ret_value);
    if (strcmp(fn, "classify") == 0)
        return find_class_value(outcome, name, ret_value);
    return find_named(values, sizeof(values) / sizeof(values[0]), name, ret_value);
}

static void check_confusion(const struct outcome *outcome, const char *expected,
                            const struct golden_row *row, struct golden_tally *tally)
{
    struct trib_buf text = {0};
    size_t cells = (size_t)outcome->confusion.classes * outcome->confusion.classes;
    for (size_t i = 0; i < cells; i++)
        trib_buf_printf(&text, "%s%" PRIu64, i ? " " : "", outcome->confusion.counts[i]);
    golden_check_text(tally, row, "confusion", expected, text.data ? (const char *)text.data : "");
    trib_buf_fini(&text);
}

// One of the "k=v" of `expected`.
static void check_value(const struct outcome *outcome, const char *name, const char *text,
                        double rtol, const struct golden_row *row, struct golden_tally *tally)
{
    double expected, got;
    if (outcome->evaluation.classes && strcmp(name, "confusion") == 0)
        check_confusion(outcome, text, row, tally);
    else if (!find_value(outcome, golden_field(row, "fn"), name, &got))
        golden_skip(tally, row, name);
    else if (!golden_number(text, &expected))
        golden_fail(tally, row, "an expected value is not a number");
    else
        golden_check(tally, row, name, expected, got, rtol);
}

static void check_outcome(const struct outcome *outcome, const struct golden_row *row,
                          struct golden_tally *tally)
{
    const char *expected = golden_field(row, "expected");
    double rtol;

    if (expects_refusal(expected) || outcome->err) {
        golden_check_text(tally, row, golden_field(row, "fn"),
                          expects_refusal(expected) ? "refused" : "values",
                          outcome->err ? "refused" : "values");
        return;
    }
    if (!golden_number(golden_field(row, "rtol"), &rtol)) {
        golden_fail(tally, row, "the tolerance is not a number");
        return;
    }
    while (*expected) {
        char name[NAME_MAX + 1];
        char text[4096];
        size_t name_size = strcspn(expected, "=;");
        size_t size = strcspn(expected, ";");
        size_t text_size = size > name_size ? size - name_size - 1 : 0;
        if (name_size > NAME_MAX || text_size >= sizeof(text)) {
            golden_fail(tally, row, "an expected value is too long");
            return;
        }
        (void)snprintf(name, sizeof(name), "%.*s", (int)name_size, expected);
        (void)snprintf(text, sizeof(text), "%.*s", (int)text_size, expected + name_size + 1);
        check_value(outcome, name, text, rtol, row, tally);
        expected += size + (expected[size] == ';');
    }
}

void golden_metrics(const struct golden_row *row, struct golden_tally *tally)
{
    const char *fn = golden_field(row, "fn");
    const char *a = golden_field(row, "a");
    const char *bar = strchr(a, '|');
    struct values truth = {0};
    struct values predicted = {0};
    struct outcome outcome = {.err = TRIB_OK};
    enum trib_err err = TRIB_OK;
    double classes = 0;
    bool classifies = strcmp(fn, "classify") == 0;
    bool ranks = strcmp(fn, "binary_rank") == 0;

    if (!classifies && !ranks && strcmp(fn, "regress") != 0) {
        golden_skip(tally, row, fn);
        return;
    }
    bool is_read = bar && read_values(a, bar, &truth) &&
                   read_values(bar + 1, a + strlen(a), &predicted) &&
                   truth.count == predicted.count && truth.count > 0;
    if (classifies)
        is_read = is_read && read_param(golden_field(row, "params"), "classes", &classes) &&
                  classes >= 2 && classes <= TRIB_CLASSES_MAX;
    if (!is_read) {
        golden_fail(tally, row, "the row cannot be read");
    } else {
        if (classifies)
            err = run_classify((size_t)classes, &truth, &predicted, &outcome);
        else
            err = ranks ? run_rank(&truth, &predicted, &outcome)
                        : run_regress(&truth, &predicted, &outcome);
        if (err)
            golden_fail(tally, row, trib_err_text(err));
        else
            check_outcome(&outcome, row, tally);
    }
    trib_confusion_fini(&outcome.confusion);
    free(truth.items);
    free(predicted.items);
}
