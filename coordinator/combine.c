#include "coordinator/combine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/json.h"
#include "common/math/metrics.h"
#include "common/math/train.h"

void trib_combination_fini(struct trib_combination *combination)
{
    for (size_t k = 0; k < combination->count; k++)
        trib_version_destroy(combination->members[k]);
    free(combination->params);
    trib_dataset_free(combination->choosing);
    trib_evaluator_destroy(combination->evaluator);
    *combination = (struct trib_combination){.count = 0};
}

// ---- Do they go together?

static enum trib_err check_member(const struct trib_version *member,
                                  const struct trib_version *first, char *why, size_t why_size)
{
    const struct trib_model *model = &member->model;
    const uint64_t number = member->manifest.version;
    if (model->member_count > 0)
        (void)snprintf(why, why_size,
                       "version %" PRIu64 " is an ensemble itself: name its members instead",
                       number);
    else if (model->local_count > 0)
        (void)snprintf(why, why_size,
                       "version %" PRIu64 ": its model '%.100s' is not whole without a device",
                       number, model->spec);
    else if (model->inputs != first->model.inputs || model->outputs != first->model.outputs ||
             model->loss != first->model.loss)
        (void)snprintf(why, why_size,
                       "version %" PRIu64 ": its model '%.100s' has not the inputs and outputs of "
                       "'%.100s' of version %" PRIu64,
                       number, model->spec, first->model.spec, first->manifest.version);
    else if (memcmp(member->manifest.prepare_digest, first->manifest.prepare_digest,
                    TRIB_DIGEST_SIZE) != 0)
        (void)snprintf(why, why_size,
                       "version %" PRIu64 ": its features come from another pipeline than those of "
                       "version %" PRIu64 ", and a device makes them once for all members",
                       number, first->manifest.version);
    else
        return TRIB_OK;
    return TRIB_ERR_INVAL;
}

enum trib_err trib_combine_check(struct trib_combination *c, char *why, size_t why_size)
{
    const struct trib_model *models[TRIB_ENSEMBLE_MAX];
    char spec[TRIB_SPEC_MAX + 1];
    for (size_t k = 0; k < c->count; k++) {
        enum trib_err err = check_member(c->members[k], c->members[0], why, why_size);
        if (err)
            return err;
        for (size_t l = 0; l < k; l++) {
            if (c->members[l]->manifest.version != c->members[k]->manifest.version)
                continue;
            (void)snprintf(why, why_size, "version %" PRIu64 " is named twice",
                           c->members[k]->manifest.version);
            return TRIB_ERR_INVAL;
        }
        models[k] = &c->members[k]->model;
    }
    enum trib_err err = trib_model_ensemble_spec(models, c->count, spec, why, why_size);
    return err ? err : trib_model_parse_version(spec, &c->model, why, why_size);
}

// ---- Rows

static enum trib_err select_rows(const struct trib_dataset *all, double measured, bool is_to_choose,
                                 struct trib_dataset **ret_rows)
{
    size_t count = 0;
    uint32_t *numbers = trib_alloc_array(all->rows + 1, sizeof(*numbers));
    if (!numbers)
        return TRIB_ERR_NOMEM;
    for (size_t r = 0; r < all->rows; r++) {
        if (measured >= 1 || trib_train_validates(r, measured) != is_to_choose)
            numbers[count++] = (uint32_t)r;
    }
    enum trib_err err =
        count ? trib_dataset_select(all, numbers, count, 1, ret_rows) : TRIB_ERR_DATA;
    free(numbers);
    return err;
}

static enum trib_err split_rows(struct trib_combination *c, const struct trib_evaluator *evaluator,
                                double share, struct trib_dataset **ret_measuring, char *why,
                                size_t why_size)
{
    const struct trib_dataset *first = trib_evaluator_rows(evaluator, false);
    const struct trib_dataset *test = trib_evaluator_rows(evaluator, true);
    enum trib_err err = select_rows(first, test ? 1 : 1 - share, true, &c->choosing);
    if (!err)
        err = test ? select_rows(test, 1, false, ret_measuring)
                   : select_rows(first, 1 - share, false, ret_measuring);
    if (err == TRIB_ERR_DATA)
        (void)snprintf(why, why_size,
                       "%s: %zu held-out rows are too few to choose weights by some and measure on "
                       "the others",
                       first->name, first->rows);
    return err;
}

// ---- Weights

static enum trib_err ask_members(const struct trib_combination *c,
                                 const struct trib_samples *samples,
                                 float *ret_outputs[static TRIB_ENSEMBLE_MAX])
{
    enum trib_err err = TRIB_OK;
    for (size_t k = 0; k < c->count && !err; k++) {
        const struct trib_version *member = c->members[k];
        ret_outputs[k] = trib_alloc_array(samples->rows * c->model.outputs, sizeof(float));
        err = ret_outputs[k] ? trib_ensemble_ask(&member->model, trib_version_params(member),
                                                 samples, ret_outputs[k])
                             : TRIB_ERR_NOMEM;
    }
    return err;
}

static void free_outputs(float *outputs[static TRIB_ENSEMBLE_MAX])
{
    for (size_t k = 0; k < TRIB_ENSEMBLE_MAX; k++)
        free(outputs[k]);
}

static enum trib_err choose(struct trib_combination *c, char *why, size_t why_size)
{
    float *outputs[TRIB_ENSEMBLE_MAX] = {NULL};
    const struct trib_samples samples = trib_dataset_samples(c->choosing);
    enum trib_err err = ask_members(c, &samples, outputs);
    if (!err)
        err = trib_ensemble_fit(&c->model, (const float *const *)outputs, c->count, &samples,
                                c->weights);
    if (err == TRIB_ERR_DATA)
        (void)snprintf(why, why_size, "what a member says of the held-out rows is not finite");
    free_outputs(outputs);
    return err;
}

// The members' parameters, one behind the other, and the weights.
static enum trib_err make_params(struct trib_combination *c)
{
    c->params = trib_alloc_aligned(c->model.param_count, sizeof(*c->params));
    if (!c->params)
        return TRIB_ERR_NOMEM;
    float *to = c->params;
    for (size_t k = 0; k < c->count; k++) {
        const size_t count = c->members[k]->model.param_count;
        memcpy(to, trib_version_params(c->members[k]), count * sizeof(*to));
        to += count;
    }
    for (size_t k = 0; k < c->count; k++)
        to[k] = (float)c->weights[k];
    return TRIB_OK;
}

// ---- Measuring

// Users are not ranked: members may see them as different ones.
static struct trib_evaluator_plan plan_of(const struct trib_job *job)
{
    struct trib_evaluator_plan plan = {.primary = job->held_out.primary,
                                       .goal = job->held_out.goal};
    if (plan.primary && trib_metric_is_ranking(plan.primary))
        plan.primary = NULL;
    return plan;
}

static enum trib_err measure_alone(struct trib_combination *c, const char *primary)
{
    float *outputs[TRIB_ENSEMBLE_MAX] = {NULL};
    const struct trib_samples samples =
        trib_dataset_samples(trib_evaluator_rows(c->evaluator, false));
    enum trib_err err = ask_members(c, &samples, outputs);
    for (size_t k = 0; k < c->count && !err; k++) {
        err = trib_evaluate_outputs(&c->model, outputs[k], &samples, &c->alone[k]);
        c->alone[k].primary = primary;
    }
    free_outputs(outputs);
    return err;
}

enum trib_err trib_combine(struct trib_combination *c, const struct trib_job *job,
                           const struct trib_evaluator *evaluator, double share, char *why,
                           size_t why_size)
{
    const struct trib_evaluator_plan plan = plan_of(job);
    struct trib_dataset *measuring = NULL;
    enum trib_err err =
        trib_dataset_check(trib_evaluator_rows(evaluator, false), &c->model, why, why_size);
    if (!err)
        err = split_rows(c, evaluator, share, &measuring, why, why_size);
    if (!err)
        err = choose(c, why, why_size);
    if (!err)
        err = make_params(c);
    if (err) {
        trib_dataset_free(measuring);
        return err;
    }
    err = trib_evaluator_take(measuring, &c->model, &plan, &c->evaluator, why, why_size);
    if (!err && job->config.baseline != TRIB_JOB_BASELINE_NONE)
        err = trib_evaluator_add_prior(c->evaluator);
    if (!err)
        err = trib_evaluator_run(c->evaluator, c->params, &c->held_out);
    return err ? err : measure_alone(c, plan.primary);
}

char *trib_combination_text(const struct trib_combination *c)
{
    struct trib_buf json = {0};
    char hex[TRIB_DIGEST_TEXT_SIZE];
    char *text = trib_evaluator_text(c->evaluator, &c->held_out);
    if (!text)
        return NULL;
    trib_buf_append(&json, text, strlen(text) - 1); // without the last brace
    free(text);
    trib_json_uint(&json, "weights_rows", c->choosing->rows);
    trib_json_open(&json, "members", '[');
    for (size_t k = 0; k < c->count; k++) {
        trib_hex_encode(c->members[k]->manifest.digest, TRIB_DIGEST_SIZE, hex);
        trib_json_open(&json, NULL, '{');
        trib_json_uint(&json, "version", c->members[k]->manifest.version);
        trib_json_text(&json, "digest", hex);
        trib_json_real(&json, "weight", c->weights[k]);
        trib_json_real(&json, "loss", c->alone[k].loss);
        trib_json_close(&json, '}');
    }
    trib_json_close(&json, ']');
    trib_json_close(&json, '}');
    text = json.failed ? NULL : trib_alloc_text((const char *)json.data);
    trib_buf_fini(&json);
    return text;
}
