#include "common/math/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"

enum trib_err trib_confusion_init(struct trib_confusion *confusion, uint32_t classes)
{
    *confusion = (struct trib_confusion){.classes = classes};
    if (classes == 0)
        return TRIB_OK;
    confusion->counts = trib_alloc_array((size_t)classes * classes, sizeof(*confusion->counts));
    return confusion->counts ? TRIB_OK : TRIB_ERR_NOMEM;
}

void trib_confusion_fini(struct trib_confusion *confusion)
{
    free(confusion->counts);
    *confusion = (struct trib_confusion){0};
}

enum trib_problem trib_problem_of(uint32_t classes)
{
    if (classes == 0)
        return TRIB_PROBLEM_REGRESSION;
    return classes == 2 ? TRIB_PROBLEM_BINARY : TRIB_PROBLEM_MULTICLASS;
}

const char *trib_problem_text(enum trib_problem problem)
{
    switch (problem) {
    case TRIB_PROBLEM_BINARY: return "binary classification";
    case TRIB_PROBLEM_MULTICLASS: return "classification";
    case TRIB_PROBLEM_REGRESSION: return "regression";
    }
    return "";
}

// ---- The metrics by name

enum {
    BINARY = 1 << TRIB_PROBLEM_BINARY,
    MULTI = 1 << TRIB_PROBLEM_MULTICLASS,
    REGRESSION = 1 << TRIB_PROBLEM_REGRESSION,
    CLASSES = BINARY | MULTI,
    ALL = CLASSES | REGRESSION,
    // The models that may be recommenders; these metrics are there only where users are ranked.
    RANKING = 1 << 8,
    RANKED = BINARY | REGRESSION | RANKING,
};

struct metric {
    const char *name;
    size_t value;    // offset in struct trib_evaluation
    size_t interval; // the same; 0: none
    unsigned problems;
    bool higher_is_better;
    unsigned headline; // problems whose manifests have it
};

#define VALUE(name) #name, offsetof(struct trib_evaluation, name), 0
#define WITH_INTERVAL(name) \
#name, offsetof(struct trib_evaluation, name), offsetof(struct trib_evaluation, intervals.name)

static const struct metric metrics[] = {
    {VALUE(loss), ALL, false, ALL},
    {WITH_INTERVAL(accuracy), CLASSES, true, CLASSES},
    {WITH_INTERVAL(precision), CLASSES, true, MULTI},
    {WITH_INTERVAL(recall), CLASSES, true, MULTI},
    {WITH_INTERVAL(f1), CLASSES, true, CLASSES},
    {WITH_INTERVAL(balanced_accuracy), CLASSES, true, CLASSES},
    {WITH_INTERVAL(mcc), CLASSES, true, CLASSES},
    {WITH_INTERVAL(kappa), CLASSES, true, CLASSES},
    {WITH_INTERVAL(positive_precision), BINARY, true, BINARY},
    {WITH_INTERVAL(positive_recall), BINARY, true, BINARY},
    {WITH_INTERVAL(positive_f1), BINARY, true, BINARY},
    {WITH_INTERVAL(auc), CLASSES, true, CLASSES},
    {WITH_INTERVAL(average_precision), BINARY, true, BINARY},
    {WITH_INTERVAL(log_loss), CLASSES, false, CLASSES},
    {WITH_INTERVAL(brier), CLASSES, false, CLASSES},
    {VALUE(ece), CLASSES, false, CLASSES},
    {WITH_INTERVAL(top5_accuracy), MULTI, true, MULTI},
    {VALUE(threshold), BINARY, true, BINARY},
    {WITH_INTERVAL(mse), REGRESSION, false, REGRESSION},
    {WITH_INTERVAL(mae), REGRESSION, false, REGRESSION},
    {WITH_INTERVAL(rmse), REGRESSION, false, REGRESSION},
    {WITH_INTERVAL(r2), REGRESSION, true, REGRESSION},
    {WITH_INTERVAL(mape), REGRESSION, false, REGRESSION},
    {VALUE(ranking_k), RANKED, true, RANKED},
    {VALUE(ranking_users), RANKED, true, RANKED},
    {WITH_INTERVAL(hit_rate_at_k), RANKED, true, RANKED},
    {WITH_INTERVAL(recall_at_k), RANKED, true, RANKED},
    {WITH_INTERVAL(ndcg_at_k), RANKED, true, RANKED},
};

enum {
    METRIC_COUNT = sizeof(metrics) / sizeof(metrics[0])
};

static const struct metric *find(const char *name)
{
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        if (strcmp(metrics[i].name, name) == 0)
            return &metrics[i];
    }
    return NULL;
}

static double value_of(const struct trib_evaluation *evaluation, const struct metric *metric)
{
    double value;
    memcpy(&value, (const char *)evaluation + metric->value, sizeof(value));
    return value;
}

void trib_evaluation_init(struct trib_evaluation *evaluation, uint32_t classes)
{
    *evaluation = (struct trib_evaluation){.classes = classes};
    for (size_t i = 0; i < METRIC_COUNT; i++)
        trib_evaluation_set(evaluation, metrics[i].name, (double)NAN);
}

bool trib_metric_fits(const char *name, enum trib_problem problem)
{
    const struct metric *metric = find(name);
    return metric && metric->problems & 1u << problem;
}

bool trib_metric_is_ranking(const char *name)
{
    const struct metric *metric = find(name);
    return metric && metric->problems & RANKING;
}

bool trib_metric_higher_is_better(const char *name)
{
    const struct metric *metric = find(name);
    return metric && metric->higher_is_better;
}

double trib_evaluation_find(const struct trib_evaluation *evaluation, const char *name)
{
    const struct metric *metric = find(name);
    return metric ? value_of(evaluation, metric) : (double)NAN;
}

void trib_evaluation_set(struct trib_evaluation *evaluation, const char *name, double value)
{
    const struct metric *metric = find(name);
    if (metric)
        memcpy((char *)evaluation + metric->value, &value, sizeof(value));
}

const char *trib_evaluation_primary(const struct trib_evaluation *evaluation, double *ret_value,
                                    bool *ret_higher_is_better)
{
    const char *name = evaluation->primary       ? evaluation->primary
                       : evaluation->classes > 0 ? "accuracy"
                                                 : "mse";
    *ret_value = trib_evaluation_find(evaluation, name);
    *ret_higher_is_better = trib_metric_higher_is_better(name);
    return name;
}

// Of this problem, and measured at all where that is not for every model of it.
static bool belongs(const struct metric *metric, const struct trib_evaluation *evaluation)
{
    if (metric->problems & RANKING && !isfinite(evaluation->ranking_k))
        return false;
    return metric->problems & 1u << trib_problem_of(evaluation->classes);
}

size_t trib_evaluation_values(const struct trib_evaluation *evaluation,
                              struct trib_evaluation_value values[static TRIB_EVALUATION_VALUES])
{
    const enum trib_problem problem = trib_problem_of(evaluation->classes);
    size_t count = 0;
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        if (!belongs(&metrics[i], evaluation))
            continue;
        assert(count < TRIB_EVALUATION_VALUES);
        values[count++] =
            (struct trib_evaluation_value){metrics[i].name, value_of(evaluation, &metrics[i]),
                                           metrics[i].headline & 1u << problem};
    }
    return count;
}

// ---- JSON

static void intervals_json(const struct trib_evaluation *evaluation, struct trib_buf *buf)
{
    trib_json_open(buf, "intervals", '{');
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        struct trib_interval interval;
        if (!metrics[i].interval || !belongs(&metrics[i], evaluation))
            continue;
        memcpy(&interval, (const char *)evaluation + metrics[i].interval, sizeof(interval));
        if (!isfinite(interval.low) || !isfinite(interval.high))
            continue;
        trib_json_open(buf, metrics[i].name, '[');
        trib_json_real(buf, NULL, interval.low);
        trib_json_real(buf, NULL, interval.high);
        trib_json_close(buf, ']');
    }
    trib_json_close(buf, '}');
}

static void confusion_json(const struct trib_confusion *confusion, struct trib_buf *buf)
{
    trib_json_open(buf, "confusion", '[');
    for (size_t row = 0; row < confusion->classes; row++) {
        trib_json_open(buf, NULL, '[');
        for (size_t column = 0; column < confusion->classes; column++)
            trib_json_uint(buf, NULL, confusion->counts[row * confusion->classes + column]);
        trib_json_close(buf, ']');
    }
    trib_json_close(buf, ']');
}

void trib_evaluation_members(const struct trib_evaluation *evaluation,
                             const struct trib_confusion *confusion, struct trib_buf *buf)
{
    struct trib_evaluation_value values[TRIB_EVALUATION_VALUES];
    size_t count = trib_evaluation_values(evaluation, values);
    for (size_t i = 0; i < count; i++)
        trib_json_real(buf, values[i].name, values[i].value);
    if (evaluation->confidence > 0)
        intervals_json(evaluation, buf);
    if (confusion && confusion->classes > 0 && confusion->classes <= TRIB_CONFUSION_SHOWN_MAX)
        confusion_json(confusion, buf);
}

void trib_evaluation_json(const struct trib_evaluation *evaluation,
                          const struct trib_confusion *confusion, const char *key,
                          struct trib_buf *buf)
{
    trib_json_open(buf, key, '{');
    trib_evaluation_members(evaluation, confusion, buf);
    trib_json_close(buf, '}');
}
