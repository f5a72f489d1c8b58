#include "common/math/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/math/residuals.h"
#include "common/math/scores.h"

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

static uint32_t predicted_class(const struct trib_model *model, const float *outputs)
{
    if (model->outputs == 1)
        return outputs[0] > 0.5f ? 1 : 0;
    uint32_t best = 0;
    for (uint32_t i = 1; i < model->outputs; i++)
        best = outputs[i] > outputs[best] ? i : best;
    return best;
}

static enum trib_err finish_classes(const struct trib_confusion *confusion,
                                    struct trib_evaluation *evaluation)
{
    struct trib_class_scores scores;
    enum trib_err err = trib_class_scores(confusion, &scores);
    if (err)
        return err;
    evaluation->accuracy = scores.accuracy;
    evaluation->precision = scores.macro.precision;
    evaluation->recall = scores.macro.recall;
    evaluation->f1 = scores.macro.f1;
    evaluation->balanced_accuracy = scores.balanced_accuracy;
    evaluation->mcc = scores.mcc;
    return TRIB_OK;
}

static enum trib_err finish_regression(const struct trib_residuals *sums,
                                       struct trib_evaluation *evaluation)
{
    struct trib_residual_scores scores;
    enum trib_err err = trib_residuals_scores(sums, &scores);
    if (err)
        return err;
    evaluation->mse = scores.mse;
    evaluation->mae = scores.mae;
    evaluation->rmse = scores.rmse;
    evaluation->r2 = scores.r2;
    evaluation->mape = scores.mape;
    return TRIB_OK;
}

enum trib_err trib_evaluate(struct trib_net *net, const float *params,
                            const struct trib_samples *samples, struct trib_confusion *confusion,
                            struct trib_evaluation *ret_evaluation)
{
    const struct trib_model *model = trib_net_model(net);
    const size_t batch = trib_net_batch_max(net);
    struct trib_confusion own = {0};
    struct trib_residuals sums = {0};
    enum trib_err err = TRIB_OK;
    struct trib_evaluation evaluation = {.rows = samples->rows, .classes = model->classes};
    double loss = 0;

    if (!confusion) {
        err = trib_confusion_init(&own, model->classes);
        if (err)
            return err;
        confusion = &own;
    } else if (model->classes) {
        memset(confusion->counts, 0,
               (size_t)model->classes * model->classes * sizeof(*confusion->counts));
    }
    for (size_t first = 0; first < samples->rows && !err; first += batch) {
        size_t count = samples->rows - first < batch ? samples->rows - first : batch;
        const float *y = samples->y + first;
        const float *outputs;
        loss += trib_net_loss_sum(net, params, samples->x + first * samples->inputs, y, count,
                                  &outputs);
        for (size_t r = 0; r < count && !err; r++) {
            const float *output = outputs + r * model->outputs;
            if (model->classes)
                confusion->counts[(size_t)y[r] * model->classes + predicted_class(model, output)]++;
            else
                err = trib_residuals_add(&sums, (double)output[0], (double)y[r]);
        }
    }
    evaluation.loss = loss / (double)samples->rows;
    if (!err)
        err = model->classes ? finish_classes(confusion, &evaluation)
                             : finish_regression(&sums, &evaluation);
    trib_confusion_fini(&own);
    if (err)
        return err;
    if (!isfinite(evaluation.loss))
        return TRIB_ERR_DATA;
    *ret_evaluation = evaluation;
    return TRIB_OK;
}

const char *trib_evaluation_primary(const struct trib_evaluation *evaluation, double *ret_value,
                                    bool *ret_higher_is_better)
{
    bool classifies = evaluation->classes > 0;
    *ret_value = classifies ? evaluation->accuracy : evaluation->mse;
    *ret_higher_is_better = classifies;
    return classifies ? "accuracy" : "mse";
}

bool trib_metric_higher_is_better(const char *name)
{
    return strcmp(name, "mse") != 0;
}

size_t trib_evaluation_values(const struct trib_evaluation *evaluation,
                              struct trib_evaluation_value values[static TRIB_EVALUATION_VALUES])
{
    const struct trib_evaluation *e = evaluation;
    const struct trib_evaluation_value classification[] = {
        {"loss", e->loss},
        {"accuracy", e->accuracy},
        {"precision", e->precision},
        {"recall", e->recall},
        {"f1", e->f1},
        {"balanced_accuracy", e->balanced_accuracy},
        {"mcc", e->mcc}};
    const struct trib_evaluation_value regression[] = {{"loss", e->loss}, {"mse", e->mse},
                                                       {"mae", e->mae},   {"rmse", e->rmse},
                                                       {"r2", e->r2},     {"mape", e->mape}};
    if (e->classes) {
        memcpy(values, classification, sizeof(classification));
        return sizeof(classification) / sizeof(classification[0]);
    }
    memcpy(values, regression, sizeof(regression));
    return sizeof(regression) / sizeof(regression[0]);
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

void trib_evaluation_json(const struct trib_evaluation *evaluation,
                          const struct trib_confusion *confusion, const char *key,
                          struct trib_buf *buf)
{
    struct trib_evaluation_value values[TRIB_EVALUATION_VALUES];
    size_t count = trib_evaluation_values(evaluation, values);
    trib_json_open(buf, key, '{');
    for (size_t i = 0; i < count; i++)
        trib_json_real(buf, values[i].name, values[i].value);
    if (confusion && confusion->classes > 0 && confusion->classes <= TRIB_CONFUSION_SHOWN_MAX)
        confusion_json(confusion, buf);
    trib_json_close(buf, '}');
}
