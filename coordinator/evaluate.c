#include "coordinator/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"

enum {
    BATCH = 256
};

struct trib_evaluator {
    struct trib_dataset *dataset; // owned
    struct trib_net *net;
    struct trib_confusion confusion;
};

// Held-out rows must be usable as a whole: one bad number would poison every evaluation.
static enum trib_err check_rows(const struct trib_dataset *dataset, const struct trib_model *model,
                                char *why, size_t why_size)
{
    if (dataset->rows == 0) {
        (void)snprintf(why, why_size, "%s: %s", dataset->name,
                       dataset->unfit[0] ? dataset->unfit : "no held-out rows");
        return TRIB_ERR_DATA;
    }
    for (size_t i = 0; i < dataset->rows * dataset->inputs; i++) {
        if (!isfinite(dataset->x[i])) {
            (void)snprintf(why, why_size, "%s: row %zu is not finite", dataset->name,
                           i / dataset->inputs + 1);
            return TRIB_ERR_DATA;
        }
    }
    return trib_dataset_check(dataset, model, why, why_size);
}

enum trib_err trib_evaluator_take(struct trib_dataset *dataset, const struct trib_model *model,
                                  struct trib_evaluator **ret_evaluator, char *why, size_t why_size)
{
    enum trib_err err = check_rows(dataset, model, why, why_size);
    struct trib_evaluator *evaluator = NULL;
    if (err)
        goto failed;
    (void)snprintf(why, why_size, "out of memory");
    err = TRIB_ERR_NOMEM;
    evaluator = trib_alloc(sizeof(*evaluator));
    if (!evaluator)
        goto failed;
    err = trib_net_create(model, dataset->rows < BATCH ? dataset->rows : BATCH, &evaluator->net);
    if (!err)
        err = trib_confusion_init(&evaluator->confusion, model->classes);
    if (err)
        goto failed;
    evaluator->dataset = dataset;
    *ret_evaluator = evaluator;
    return TRIB_OK;

failed:
    trib_evaluator_destroy(evaluator);
    trib_dataset_free(dataset);
    return err;
}

enum trib_err trib_evaluator_create(const struct trib_data_config *data,
                                    const struct trib_model *model,
                                    struct trib_evaluator **ret_evaluator, char *why,
                                    size_t why_size)
{
    struct trib_dataset *dataset;
    if (!data->test[0]) {
        (void)snprintf(
            why, why_size,
            "data.test is missing: held-out rows are needed unless round.eval_every = 0");
        return TRIB_ERR_INVAL;
    }
    enum trib_err err = trib_data_open(data, data->test, data->test_labels, 0, &dataset);
    if (err) {
        (void)snprintf(why, why_size, "%s: held-out data cannot be read (%s)", data->test,
                       trib_err_text(err));
        return err == TRIB_ERR_IO ? TRIB_ERR_DATA
                                  : err; // a file that is not there is no use either
    }
    return trib_evaluator_take(dataset, model, ret_evaluator, why, why_size);
}

void trib_evaluator_destroy(struct trib_evaluator *evaluator)
{
    if (!evaluator)
        return;
    trib_net_destroy(evaluator->net);
    trib_confusion_fini(&evaluator->confusion);
    trib_dataset_free(evaluator->dataset);
    free(evaluator);
}

enum trib_err trib_evaluator_run(struct trib_evaluator *evaluator, const float *params,
                                 struct trib_evaluation *ret_evaluation)
{
    const struct trib_samples samples = trib_dataset_samples(evaluator->dataset);
    return trib_evaluate(evaluator->net, params, &samples, &evaluator->confusion, ret_evaluation);
}

char *trib_evaluator_text(const struct trib_evaluator *evaluator,
                          const struct trib_evaluation *evaluation)
{
    struct trib_buf json = {0};
    trib_evaluation_json(evaluation, &evaluator->confusion, NULL, &json);
    char *text = json.failed ? NULL : trib_alloc_text((const char *)json.data);
    trib_buf_fini(&json);
    return text;
}
