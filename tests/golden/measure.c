// Classes go through the product's own evaluation: the predictions of a row become the inputs of a
// model that hands them on. Everything else goes through the library in double.
#include "tests/golden/measure.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/data/dataset.h"
#include "common/math/evaluation.h"
#include "common/math/intervals.h"
#include "common/math/probabilities.h"
#include "common/math/ranking.h"
#include "common/math/recommend.h"
#include "common/math/residuals.h"
#include "common/math/score_sums.h"
#include "common/math/scores.h"
#include "common/math/threshold.h"
#include "tests/golden/golden.h"

struct named {
    const char *name;
    double value;
};

static enum measure_status find(const struct named *values, size_t count, const char *name,
                                double *ret_value)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, values[i].name) == 0) {
            *ret_value = values[i].value;
            return MEASURE_VALUE;
        }
    }
    return MEASURE_UNKNOWN;
}

static enum measure_status status_of(enum trib_err err)
{
    if (err == TRIB_ERR_NOMEM)
        return MEASURE_BROKEN;
    return err ? MEASURE_REFUSED : MEASURE_VALUE;
}

// The text after "<name>=" in "k=v;k=v", "" if there is none.
static void find_param(const char *params, const char *name, char *text, size_t text_size)
{
    const size_t size = strlen(name);
    text[0] = '\0';
    for (const char *at = params; at; at = strchr(at, ';') ? strchr(at, ';') + 1 : NULL) {
        if (strncmp(at, name, size) == 0 && at[size] == '=') {
            at += size + 1;
            (void)snprintf(text, text_size, "%.*s", (int)strcspn(at, ";"), at);
            return;
        }
    }
}

static double number_param(const struct measure_input *input, const char *name, double otherwise)
{
    char text[64];
    double value;
    find_param(input->params, name, text, sizeof(text));
    return golden_number(text, &value) ? value : otherwise;
}

// Every value is a class number below `classes`.
static bool are_labels(const struct measure_values *values, double classes)
{
    for (size_t i = 0; i < values->count; i++) {
        const double label = values->items[i];
        if (!(label >= 0 && label < classes && label == floor(label)))
            return false;
    }
    return values->count > 0;
}

// ---- classify

static enum trib_err evaluate(const struct trib_model *model, const float *params,
                              struct trib_dataset *rows, struct trib_confusion *confusion)
{
    struct trib_net *net = NULL;
    struct trib_evaluation evaluation;
    const struct trib_samples samples = trib_dataset_samples(rows);
    char why[256];
    enum trib_err err = trib_dataset_check(rows, model, why, sizeof(why));
    if (!err)
        err = trib_net_create(model, 7, &net); // batches that do not divide the rows
    if (!err)
        err = trib_evaluate(net, params, &samples, confusion, &evaluation);
    trib_net_destroy(net);
    return err;
}

// A model whose output for the unit vector of class c is class c.
static enum trib_err count_classes(const struct measure_input *input, size_t classes,
                                   struct trib_confusion *confusion)
{
    char spec[64];
    char why[256];
    struct trib_model model;
    struct trib_dataset *rows = NULL;
    float *params = NULL;
    const size_t count = input->truth.count;

    (void)snprintf(spec, sizeof(spec), "%zu - dense %zu softmax", classes, classes);
    enum trib_err err = trib_model_parse(spec, &model, why, sizeof(why));
    if (!err)
        err = trib_dataset_create(count, classes, false, "golden", &rows);
    if (!err)
        err = trib_confusion_init(confusion, model.classes);
    if (err)
        goto out;
    params = trib_alloc_array(model.param_count, sizeof(*params));
    if (!params) {
        err = TRIB_ERR_NOMEM;
        goto out;
    }
    for (size_t c = 0; c < classes; c++)
        params[c * classes + c] = 1;
    for (size_t r = 0; r < count; r++) {
        rows->y[r] = (float)input->truth.items[r];
        rows->x[r * classes + (size_t)input->predicted.items[r]] = 1;
    }
    err = evaluate(&model, params, rows, confusion);

out:
    free(params);
    trib_dataset_free(rows);
    return err;
}

static enum measure_status classify(const struct measure_input *input,
                                    struct trib_confusion *confusion)
{
    const double classes = number_param(input, "classes", 0);
    *confusion = (struct trib_confusion){0};
    if (!(classes >= 2 && classes <= TRIB_CLASSES_MAX) ||
        input->truth.count != input->predicted.count || !are_labels(&input->predicted, classes))
        return MEASURE_REFUSED; // no model of so many classes predicts that
    return status_of(count_classes(input, (size_t)classes, confusion));
}

static enum measure_status classify_value(const struct measure_input *input, const char *name,
                                          double *ret_value)
{
    struct trib_confusion confusion;
    struct trib_class_scores s = {0};
    enum measure_status status = classify(input, &confusion);
    if (status == MEASURE_VALUE)
        status = status_of(trib_class_scores(&confusion, &s));
    const struct named values[] = {
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
        {"precision_binary", s.binary.precision},
        {"recall_binary", s.binary.recall},
        {"f1_binary", s.binary.f1},
        {"balanced_accuracy", s.balanced_accuracy},
        {"mcc", s.mcc},
        {"kappa", s.kappa},
    };
    if (status == MEASURE_VALUE)
        status = find(values, sizeof(values) / sizeof(values[0]), name, ret_value);
    trib_confusion_fini(&confusion);
    return status;
}

enum measure_status measure_confusion(const struct measure_input *input, struct trib_buf *text)
{
    struct trib_confusion confusion;
    if (strcmp(input->fn, "classify") != 0)
        return MEASURE_UNKNOWN;
    const enum measure_status status = classify(input, &confusion);
    const size_t cells = (size_t)confusion.classes * confusion.classes;
    for (size_t i = 0; status == MEASURE_VALUE && i < cells; i++)
        trib_buf_printf(text, "%s%" PRIu64, i ? " " : "", confusion.counts[i]);
    trib_confusion_fini(&confusion);
    return status;
}

// ---- regress

static enum measure_status regress_value(const struct measure_input *input, const char *name,
                                         double *ret_value)
{
    struct trib_residuals sums = {0};
    struct trib_residual_scores s = {0};
    double median = 0;
    const size_t count = input->truth.count;
    enum trib_err err = count == input->predicted.count ? TRIB_OK : TRIB_ERR_DATA;
    double *misses = trib_alloc_array(count + 1, sizeof(*misses));
    if (!misses)
        return MEASURE_BROKEN;
    for (size_t r = 0; r < count && !err; r++) {
        misses[r] = input->predicted.items[r] - input->truth.items[r];
        err = trib_residuals_add(&sums, input->predicted.items[r], input->truth.items[r]);
    }
    if (!err)
        err = trib_residuals_scores(&sums, &s);
    if (!err)
        err = trib_residuals_median(misses, count, &median);
    free(misses);
    const struct named values[] = {
        {"mse", s.mse},
        {"rmse", s.rmse},
        {"mae", s.mae},
        {"mape", s.mape},
        {"max_error", s.max_error},
        {"r2", s.r2},
        {"median_ae", median},
        {"explained_variance", s.explained_variance},
    };
    return err ? status_of(err) : find(values, sizeof(values) / sizeof(values[0]), name, ret_value);
}

// ---- binary_rank

static enum measure_status rank_value(const struct measure_input *input, const char *name,
                                      double *ret_value)
{
    struct trib_ranking_scores s;
    const size_t count = input->truth.count;
    if (count != input->predicted.count || !are_labels(&input->truth, 2))
        return MEASURE_REFUSED;
    struct trib_scored *rows = trib_alloc_array(count, sizeof(*rows));
    if (!rows)
        return MEASURE_BROKEN;
    for (size_t r = 0; r < count; r++)
        rows[r] = (struct trib_scored){input->predicted.items[r], input->truth.items[r] > 0};
    const enum trib_err err = trib_ranking_scores(rows, count, &s);
    free(rows);
    if (err)
        return status_of(err);
    const struct named values[] = {{"roc_auc", s.roc_auc},
                                   {"average_precision", s.average_precision}};
    return find(values, sizeof(values) / sizeof(values[0]), name, ret_value);
}

// ---- binary_prob, multi_prob

// Rows of probabilities; those of two classes are 1 - p, p.
struct table {
    double *p; // (rows, classes), owned
    size_t rows, classes;
};

static enum measure_status read_table(const struct measure_input *input, bool is_binary,
                                      struct table *table)
{
    const double classes = is_binary ? 2 : number_param(input, "classes", 0);
    const size_t rows = input->truth.count;
    const size_t given = input->predicted.count;
    if (!(classes >= 2 && classes <= TRIB_CLASSES_MAX) || !are_labels(&input->truth, classes))
        return MEASURE_REFUSED;
    *table = (struct table){.rows = rows, .classes = (size_t)classes};
    if (given != (is_binary ? rows : rows * table->classes))
        return MEASURE_REFUSED;
    table->p = trib_alloc_array(rows * table->classes, sizeof(*table->p));
    if (!table->p)
        return MEASURE_BROKEN;
    enum trib_err err = TRIB_OK;
    for (size_t r = 0; r < rows && !err; r++) {
        double *p = table->p + r * table->classes;
        if (is_binary) {
            p[1] = input->predicted.items[r];
            p[0] = 1 - p[1];
        } else {
            memcpy(p, input->predicted.items + r * table->classes, table->classes * sizeof(*p));
        }
        err = trib_probabilities_check(p, table->classes);
    }
    return status_of(err);
}

enum row_value {
    ROW_LOG_LOSS,
    ROW_BRIER,
    ROW_TOP_K,
    ROW_AT_THRESHOLD,
};

// Is the name "<before>NUMBER<after>"?
static bool take_number(const char *name, const char *before, const char *after, double *ret_value)
{
    char text[64];
    const size_t size = strlen(name), head = strlen(before), tail = strlen(after);
    if (size <= head + tail || size - head - tail >= sizeof(text) ||
        strncmp(name, before, head) != 0 || strcmp(name + size - tail, after) != 0)
        return false;
    (void)snprintf(text, sizeof(text), "%.*s", (int)(size - head - tail), name + head);
    return golden_number(text, ret_value);
}

static enum measure_status mean_of(const struct measure_input *input, const struct table *table,
                                   enum row_value what, double argument, double *ret_value)
{
    double sum = 0;
    for (size_t r = 0; r < table->rows; r++) {
        const double *p = table->p + r * table->classes;
        const size_t label = (size_t)input->truth.items[r];
        switch (what) {
        case ROW_LOG_LOSS: sum += trib_log_loss(p, table->classes, label, argument); break;
        case ROW_BRIER: sum += trib_brier(p, table->classes, label); break;
        case ROW_TOP_K: sum += trib_is_in_top(p, table->classes, label, (size_t)argument); break;
        case ROW_AT_THRESHOLD: sum += (p[1] >= argument) == (label == 1); break;
        }
    }
    *ret_value = sum / (double)table->rows;
    return MEASURE_VALUE;
}

static enum measure_status auc_value(const struct measure_input *input, const struct table *table,
                                     const char *name, double *ret_value)
{
    struct trib_multi_auc auc = {0};
    uint32_t *labels = trib_alloc_array(table->rows, sizeof(*labels));
    if (!labels)
        return MEASURE_BROKEN;
    for (size_t r = 0; r < table->rows; r++)
        labels[r] = (uint32_t)input->truth.items[r];
    const struct trib_multi_scored scored = {table->p, labels, table->rows, table->classes};
    enum trib_err err = trib_multi_auc_ovr(&scored, &auc);
    if (!err)
        err = trib_multi_auc_ovo(&scored, &auc);
    free(labels);
    if (err)
        return status_of(err);
    const struct named values[] = {
        {"auc_ovr_macro", auc.ovr_macro},
        {"auc_ovr_weighted", auc.ovr_weighted},
        {"auc_ovo_macro", auc.ovo_macro},
        {"auc_ovo_weighted", auc.ovo_weighted},
    };
    return find(values, sizeof(values) / sizeof(values[0]), name, ret_value);
}

static enum measure_status calibration_value(const struct measure_input *input,
                                             const struct table *table, double *ret_value)
{
    struct trib_score_sums sums;
    struct trib_score_values values = {0};
    enum trib_err err = trib_score_sums_init(&sums, (uint32_t)table->classes, 1);
    if (err)
        return status_of(err);
    for (size_t r = 0; r < table->rows; r++)
        trib_score_sums_add(&sums, table->p + r * table->classes, (uint32_t)input->truth.items[r]);
    err = trib_score_sums_values(&sums, &values);
    trib_score_sums_fini(&sums);
    *ret_value = values.ece;
    return status_of(err);
}

static enum measure_status table_value(const struct measure_input *input, const char *name,
                                       const struct table *table, double *ret_value)
{
    const double clip = number_param(input, "clip", TRIB_PROBABILITY_CLIP);
    double argument;
    if (strcmp(name, "log_loss") == 0)
        return mean_of(input, table, ROW_LOG_LOSS, clip, ret_value);
    if (strcmp(name, "brier") == 0)
        return mean_of(input, table, ROW_BRIER, 0, ret_value);
    if (strcmp(name, "ece") == 0)
        return calibration_value(input, table, ret_value);
    if (strcmp(name, "accuracy") == 0)
        return mean_of(input, table, ROW_TOP_K, 1, ret_value);
    if (take_number(name, "top", "_accuracy", &argument) && argument >= 1)
        return mean_of(input, table, ROW_TOP_K, argument, ret_value);
    if (table->classes == 2 && take_number(name, "accuracy_at_", "", &argument))
        return mean_of(input, table, ROW_AT_THRESHOLD, argument, ret_value);
    return auc_value(input, table, name, ret_value);
}

static enum measure_status probability_value(const struct measure_input *input, const char *name,
                                             double *ret_value)
{
    struct table table = {0};
    enum measure_status status = read_table(input, strcmp(input->fn, "binary_prob") == 0, &table);
    if (status == MEASURE_VALUE)
        status = table_value(input, name, &table, ret_value);
    free(table.p);
    return status;
}

// ---- ndcg

static enum measure_status recommend_value(const struct measure_input *input, const char *name,
                                           double *ret_value)
{
    struct trib_recommend_scores s;
    char gain[32];
    const size_t count = input->truth.count;
    const double k = number_param(input, "k", 0);
    find_param(input->params, "gain", gain, sizeof(gain));
    const bool is_exponential = strcmp(gain, "exponential") == 0 || strcmp(gain, "exp") == 0;
    if (count != input->predicted.count || !(k >= 0))
        return MEASURE_REFUSED;
    struct trib_ranked_item *items = trib_alloc_array(count + 1, sizeof(*items));
    if (!items)
        return MEASURE_BROKEN;
    for (size_t i = 0; i < count; i++)
        items[i] = (struct trib_ranked_item){input->predicted.items[i], input->truth.items[i]};
    const enum trib_err err =
        trib_recommend_scores(items, count, k < (double)count ? (size_t)k : count,
                              is_exponential ? TRIB_GAIN_EXPONENTIAL : TRIB_GAIN_LINEAR, &s);
    free(items);
    if (err)
        return status_of(err);
    const struct named values[] = {
        {"ndcg", s.ndcg}, {"hit_rate", s.hit}, {"recall", s.recall}, {"precision", s.precision}};
    return find(values, sizeof(values) / sizeof(values[0]), name, ret_value);
}

// ---- threshold, interval

static enum measure_status threshold_value(const struct measure_input *input, const char *name,
                                           double *ret_value)
{
    struct trib_threshold_goal goal;
    char text[64];
    double threshold;
    const size_t count = input->truth.count;
    find_param(input->params, "goal", text, sizeof(text));
    if (count != input->predicted.count || !are_labels(&input->truth, 2) ||
        trib_threshold_goal_parse(text, &goal))
        return MEASURE_REFUSED;
    struct trib_scored *rows = trib_alloc_array(count, sizeof(*rows));
    if (!rows)
        return MEASURE_BROKEN;
    for (size_t r = 0; r < count; r++)
        rows[r] = (struct trib_scored){input->predicted.items[r], input->truth.items[r] > 0};
    const enum trib_err err = trib_threshold_choose(rows, count, &goal, &threshold);
    free(rows);
    if (err)
        return status_of(err);
    const struct named values[] = {{"threshold", threshold}};
    return find(values, 1, name, ret_value);
}

// a: what was measured | rows, standard error, or positive and negative rows.
static enum measure_status interval_value(const struct measure_input *input, const char *name,
                                          double *ret_value)
{
    char of[32];
    struct trib_interval interval;
    const double *about = input->predicted.items;
    find_param(input->params, "of", of, sizeof(of));
    const bool is_auc = strcmp(of, "auc") == 0;
    if (input->truth.count != 1 || input->predicted.count != (is_auc ? 2 : 1))
        return MEASURE_REFUSED;
    if (is_auc)
        interval = trib_interval_auc(input->truth.items[0], about[0], about[1]);
    else if (strcmp(of, "share") == 0)
        interval = trib_interval_share(input->truth.items[0], about[0]);
    else if (strcmp(of, "mean") == 0)
        interval = trib_interval_mean(input->truth.items[0], about[0]);
    else
        return MEASURE_REFUSED;
    const struct named values[] = {{"low", interval.low}, {"high", interval.high}};
    return find(values, sizeof(values) / sizeof(values[0]), name, ret_value);
}

// ---- all

static const struct {
    const char *fn, *main_value;
    enum measure_status (*run)(const struct measure_input *input, const char *name,
                               double *ret_value);
} functions[] = {
    {"classify", "accuracy", classify_value},      {"regress", "mse", regress_value},
    {"binary_rank", "roc_auc", rank_value},        {"binary_prob", "log_loss", probability_value},
    {"multi_prob", "log_loss", probability_value}, {"ndcg", "ndcg", recommend_value},
    {"threshold", "threshold", threshold_value},   {"interval", "low", interval_value},
};

enum {
    FUNCTION_COUNT = sizeof(functions) / sizeof(functions[0])
};

const char *measure_main_value(const char *fn)
{
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        if (strcmp(fn, functions[i].fn) == 0)
            return functions[i].main_value;
    }
    return NULL;
}

enum measure_status measure_value(const struct measure_input *input, const char *name,
                                  double *ret_value)
{
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        if (strcmp(input->fn, functions[i].fn) == 0)
            return functions[i].run(input, name, ret_value);
    }
    return MEASURE_UNKNOWN;
}
