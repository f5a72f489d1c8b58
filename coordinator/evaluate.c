#include "coordinator/evaluate.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/math/train.h"
#include "common/math/yardstick.h"

enum {
    BATCH = 256
};

struct trib_evaluator {
    struct trib_evaluator_plan plan;
    struct trib_dataset *dataset; // owned: validation rows
    struct trib_dataset *test;    // owned; NULL: none
    struct trib_net *net;
    struct trib_confusion confusion, test_confusion;
    const struct trib_model *model; // borrowed
    struct trib_yardstick baseline;
    struct trib_ranked_users *ranked, *test_ranked; // NULL: users are not ranked
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

// Rows of one side of the split, copied.
static enum trib_err select_side(const struct trib_dataset *dataset,
                                 const struct trib_evaluator_plan *plan, bool is_test,
                                 struct trib_dataset **ret_side)
{
    size_t count = 0;
    uint32_t *rows = trib_alloc_array(dataset->rows, sizeof(*rows));
    if (!rows)
        return TRIB_ERR_NOMEM;
    for (size_t r = 0; r < dataset->rows; r++) {
        const bool reports = plan->test_last > 0 ? r + plan->test_last >= dataset->rows
                                                 : trib_train_validates(r, plan->test_share);
        if (reports == is_test)
            rows[count++] = (uint32_t)r;
    }
    enum trib_err err =
        count ? trib_dataset_select(dataset, rows, count, 1, ret_side) : TRIB_ERR_DATA;
    free(rows);
    return err;
}

// Two classes must both be there for a threshold to be chosen.
static bool has_two_classes(const struct trib_dataset *dataset)
{
    bool differs = false;
    for (size_t r = 1; r < dataset->rows; r++)
        differs = differs || dataset->y[r] > dataset->y[0] || dataset->y[r] < dataset->y[0];
    return differs;
}

// Takes the dataset apart, if that is the plan.
static enum trib_err take_rows(struct trib_evaluator *evaluator, struct trib_dataset **dataset,
                               char *why, size_t why_size)
{
    const struct trib_evaluator_plan *plan = &evaluator->plan;
    enum trib_err err = TRIB_OK;
    if (plan->test_share > 0 || plan->test_last > 0) {
        err = select_side(*dataset, plan, true, &evaluator->test);
        if (!err)
            err = select_side(*dataset, plan, false, &evaluator->dataset);
    } else {
        evaluator->dataset = *dataset;
        *dataset = NULL;
    }
    if (err == TRIB_ERR_DATA)
        (void)snprintf(why, why_size, "%s: %zu held-out rows are too few to keep %g of them apart",
                       (*dataset)->name, (*dataset)->rows,
                       plan->test_last > 0 ? (double)plan->test_last : plan->test_share);
    if (!err && plan->goal.goal != TRIB_GOAL_NONE && !has_two_classes(evaluator->dataset)) {
        (void)snprintf(why, why_size, "%s: no threshold can be chosen on rows of one class",
                       evaluator->dataset->name);
        err = TRIB_ERR_DATA;
    }
    return err;
}

// Users of one side of the rows.
static enum trib_err rank_side(const struct trib_evaluator *evaluator,
                               const struct trib_dataset *judging, const struct trib_dataset *seen,
                               struct trib_ranked_users **ret_users)
{
    const size_t rows = judging->rows + (seen ? seen->rows : 0);
    const struct trib_samples held = trib_dataset_samples(judging);
    enum trib_err err = trib_ranked_users_create(trib_net_model(evaluator->net),
                                                 &evaluator->plan.ranking, rows, ret_users);
    if (err)
        return err;
    trib_ranked_users_add_all(*ret_users, &held, true);
    if (seen) {
        const struct trib_samples others = trib_dataset_samples(seen);
        trib_ranked_users_add_all(*ret_users, &others, false);
    }
    return TRIB_OK;
}

static enum trib_err rank_sides(struct trib_evaluator *e)
{
    if (e->plan.ranking.k == 0)
        return TRIB_OK;
    enum trib_err err = rank_side(e, e->dataset, e->test, &e->ranked);
    if (!err && e->test)
        err = rank_side(e, e->test, e->dataset, &e->test_ranked);
    return err;
}

enum trib_err trib_evaluator_take(struct trib_dataset *dataset, const struct trib_model *model,
                                  const struct trib_evaluator_plan *plan,
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
    evaluator->plan = *plan;
    evaluator->model = model;
    err = trib_net_create(model, dataset->rows < BATCH ? dataset->rows : BATCH, &evaluator->net);
    if (!err)
        err = trib_confusion_init(&evaluator->confusion, model->classes);
    if (!err)
        err = trib_confusion_init(&evaluator->test_confusion, model->classes);
    if (!err)
        err = take_rows(evaluator, &dataset, why, why_size);
    if (!err)
        err = rank_sides(evaluator);
    if (err)
        goto failed;
    trib_dataset_free(dataset);
    *ret_evaluator = evaluator;
    return TRIB_OK;

failed:
    trib_evaluator_destroy(evaluator);
    trib_dataset_free(dataset);
    return err;
}

enum trib_err trib_held_out_open(const struct trib_data_config *data,
                                 struct trib_dataset **ret_dataset, char *why, size_t why_size)
{
    char line[TRIB_CONF_ERROR_SIZE];
    if (!data->test[0]) {
        (void)snprintf(
            why, why_size,
            "data.test is missing: held-out rows are needed unless round.eval_every = 0");
        return TRIB_ERR_INVAL;
    }
    trib_log_keep(line, sizeof(line));
    const enum trib_err err = trib_data_open(data, data->test, data->test_labels, 0, ret_dataset);
    trib_log_keep_end();
    if (!err)
        return TRIB_OK;
    if (!trib_file_exists(data->test))
        (void)snprintf(why, why_size, "%s: held-out data cannot be read (%s)", data->test,
                       strerror(errno));
    else if (line[0]) // it names the file that it is about, which may be that of the labels
        (void)snprintf(why, why_size, "held-out data cannot be used: %s", line);
    else
        (void)snprintf(why, why_size, "%s: held-out data cannot be used (%s)", data->test,
                       trib_err_text(err));
    return err == TRIB_ERR_IO ? TRIB_ERR_DATA : err; // a file that is not there is no use either
}

enum trib_err trib_evaluator_create(const struct trib_data_config *data,
                                    const struct trib_model *model,
                                    const struct trib_evaluator_plan *plan,
                                    struct trib_evaluator **ret_evaluator, char *why,
                                    size_t why_size)
{
    struct trib_dataset *dataset;
    if (model->local_count > 0) {
        (void)snprintf(why, why_size,
                       "the model has a part that stays on the devices, so that the coordinator "
                       "cannot evaluate it: round.eval_every must be 0");
        return TRIB_ERR_INVAL;
    }
    enum trib_err err = trib_held_out_open(data, &dataset, why, why_size);
    if (err)
        return err;
    return trib_evaluator_take(dataset, model, plan, ret_evaluator, why, why_size);
}

void trib_evaluator_destroy(struct trib_evaluator *evaluator)
{
    if (!evaluator)
        return;
    trib_net_destroy(evaluator->net);
    trib_ranked_users_destroy(evaluator->ranked);
    trib_ranked_users_destroy(evaluator->test_ranked);
    trib_confusion_fini(&evaluator->confusion);
    trib_confusion_fini(&evaluator->test_confusion);
    trib_dataset_free(evaluator->dataset);
    trib_dataset_free(evaluator->test);
    free(evaluator);
}

const struct trib_dataset *trib_evaluator_rows(const struct trib_evaluator *evaluator, bool is_test)
{
    return is_test ? evaluator->test : evaluator->dataset;
}

static enum trib_err measure_users(const struct trib_evaluator *evaluator,
                                   struct trib_ranked_users *users, const float *params,
                                   struct trib_evaluation *evaluation)
{
    struct trib_ranked_sums sums = {.users = 0};
    if (!users)
        return TRIB_OK;
    enum trib_err err = trib_ranked_users_measure(users, evaluator->net, params, &sums);
    if (!err)
        trib_ranked_sums_fill(&sums, evaluator->plan.ranking.k, evaluation);
    return err;
}

enum trib_err trib_evaluator_run(struct trib_evaluator *evaluator, const float *params,
                                 struct trib_held_out *ret_held_out)
{
    struct trib_samples samples = trib_dataset_samples(evaluator->dataset);
    struct trib_decision decision = {evaluator->plan.goal, 0.5};
    struct trib_held_out held_out = {.test = {.rows = 0}};
    enum trib_err err = trib_evaluate_decided(evaluator->net, params, &samples, &decision,
                                              &evaluator->confusion, &held_out.validation);
    if (!err && evaluator->test) {
        samples = trib_dataset_samples(evaluator->test);
        decision = (struct trib_decision){{TRIB_GOAL_NONE, 0}, held_out.validation.threshold};
        err = trib_evaluate_decided(evaluator->net, params, &samples, &decision,
                                    &evaluator->test_confusion, &held_out.test);
    }
    if (!err)
        err = measure_users(evaluator, evaluator->ranked, params, &held_out.validation);
    if (!err)
        err = measure_users(evaluator, evaluator->test_ranked, params, &held_out.test);
    held_out.validation.primary = held_out.test.primary = evaluator->plan.primary;
    held_out.baseline = evaluator->baseline;
    if (!err)
        *ret_held_out = held_out;
    return err;
}

// ---- Baselines

// With the decision of the model's own evaluations.
static enum trib_err measure_linear(const struct trib_evaluator *evaluator,
                                    const struct trib_model *linear, const float *params,
                                    const char *name, struct trib_yardstick *ret_baseline)
{
    const struct trib_samples samples = trib_dataset_samples(evaluator->dataset);
    const struct trib_decision decision = {evaluator->plan.goal, 0.5};
    struct trib_evaluation evaluation;
    struct trib_net *net;
    bool higher_is_better;
    enum trib_err err = trib_net_create(linear, samples.rows < BATCH ? samples.rows : BATCH, &net);
    if (err)
        return err;
    err = trib_evaluate_decided(net, params, &samples, &decision, NULL, &evaluation);
    trib_net_destroy(net);
    if (err)
        return err;
    evaluation.primary = evaluator->plan.primary;
    *ret_baseline = (struct trib_yardstick){.name = name, .loss = evaluation.loss};
    (void)trib_evaluation_primary(&evaluation, &ret_baseline->value, &higher_is_better);
    return TRIB_OK;
}

static double gain(const struct trib_evaluator *evaluator, double value, double before)
{
    struct trib_evaluation evaluation;
    bool higher_is_better;
    double unknown;
    trib_evaluation_init(&evaluation, evaluator->model->classes);
    evaluation.primary = evaluator->plan.primary;
    (void)trib_evaluation_primary(&evaluation, &unknown, &higher_is_better);
    return higher_is_better ? value - before : before - value;
}

void trib_evaluator_take_baseline(struct trib_evaluator *evaluator,
                                  const struct trib_yardstick *baseline)
{
    const struct trib_yardstick *before = &evaluator->baseline;
    if (!before->name || !isfinite(before->value) ||
        gain(evaluator, baseline->value, before->value) > 0)
        evaluator->baseline = *baseline;
}

enum trib_err trib_evaluator_add_prior(struct trib_evaluator *evaluator)
{
    const struct trib_samples samples = trib_dataset_samples(evaluator->dataset);
    struct trib_yardstick baseline;
    struct trib_model linear;
    enum trib_err err = trib_yardstick_model(evaluator->model, &linear);
    if (err)
        return err;
    float *params = trib_alloc_aligned(linear.param_count, sizeof(*params));
    if (!params)
        return TRIB_ERR_NOMEM;
    trib_yardstick_prior(&linear, &samples, params);
    err = measure_linear(evaluator, &linear, params, "prior", &baseline);
    if (!err)
        trib_evaluator_take_baseline(evaluator, &baseline);
    free(params);
    return err;
}

enum trib_err trib_evaluator_add_linear(struct trib_evaluator *evaluator, const float *params,
                                        struct trib_yardstick *ret_measured)
{
    struct trib_model linear;
    enum trib_err err = trib_yardstick_model(evaluator->model, &linear);
    if (!err)
        err = measure_linear(evaluator, &linear, params, "linear", ret_measured);
    if (!err)
        trib_evaluator_take_baseline(evaluator, ret_measured);
    return err;
}

double trib_held_out_lift(const struct trib_held_out *held_out)
{
    bool higher_is_better;
    double value;
    if (!held_out->baseline.name)
        return (double)NAN;
    (void)trib_evaluation_primary(&held_out->validation, &value, &higher_is_better);
    return higher_is_better ? value - held_out->baseline.value : held_out->baseline.value - value;
}

// ---- As text

static void put_baseline(const struct trib_held_out *held_out, struct trib_buf *buf)
{
    const struct trib_yardstick *baseline = &held_out->baseline;
    bool higher_is_better;
    double value;
    trib_json_open(buf, "baseline", '{');
    trib_json_text(buf, "name", baseline->name);
    trib_json_text(buf, "metric",
                   trib_evaluation_primary(&held_out->validation, &value, &higher_is_better));
    trib_json_real(buf, "value", baseline->value);
    trib_json_real(buf, "loss", baseline->loss);
    trib_json_real(buf, "lift", trib_held_out_lift(held_out));
    trib_json_close(buf, '}');
}

static void held_out_json(const struct trib_held_out *held_out,
                          const struct trib_confusion *confusion,
                          const struct trib_confusion *test_confusion, struct trib_buf *buf)
{
    trib_json_open(buf, NULL, '{');
    trib_evaluation_members(&held_out->validation, confusion, buf);
    if (held_out->test.rows > 0) {
        trib_json_open(buf, "test", '{');
        trib_json_uint(buf, "rows", held_out->test.rows);
        trib_evaluation_members(&held_out->test, test_confusion, buf);
        trib_json_close(buf, '}');
    }
    if (held_out->baseline.name)
        put_baseline(held_out, buf);
    trib_json_close(buf, '}');
}

void trib_held_out_json(const struct trib_held_out *held_out, struct trib_buf *buf)
{
    held_out_json(held_out, NULL, NULL, buf);
}

char *trib_evaluator_text(const struct trib_evaluator *evaluator,
                          const struct trib_held_out *held_out)
{
    struct trib_buf json = {0};
    held_out_json(held_out, &evaluator->confusion, &evaluator->test_confusion, &json);
    char *text = json.failed ? NULL : trib_alloc_text((const char *)json.data);
    trib_buf_fini(&json);
    return text;
}
