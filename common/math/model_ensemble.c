// The text of an ensemble, and its layers: those of its members and one that mixes.
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/math/ensemble.h"
#include "common/math/layer.h"
#include "common/math/model.h"
#include "common/math/spec.h"

#define WORD      "ensemble"
#define BEGINNING WORD ": "

// The sum of weights that were rounded to float, each.
#define SUM_SLACK 1e-4

bool trib_model_is_ensemble(const char *text)
{
    text += strspn(text, " \t");
    return strncmp(text, WORD, sizeof(WORD) - 1) == 0;
}

static void shift(struct trib_layer *layer, size_t by)
{
    layer->weight += by;
    layer->bias += by;
    for (uint32_t t = 0; t < layer->tensor_count; t++)
        layer->tensors[t].offset += by;
}

static enum trib_err check_member(struct trib_spec *spec, const struct trib_model *member,
                                  const struct trib_model *first)
{
    if (member->local_count > 0)
        return trib_spec_wrong(spec, "its member '%.100s' is not whole without a device",
                               member->spec);
    if (member->inputs != first->inputs || member->outputs != first->outputs ||
        member->loss != first->loss)
        return trib_spec_wrong(spec,
                               "its member '%.100s' has not the inputs and outputs of '%.100s'",
                               member->spec, first->spec);
    return TRIB_OK;
}

// Its layers behind those that are there.
static enum trib_err add_member(struct trib_spec *spec, const struct trib_model *member)
{
    struct trib_model *model = spec->model;
    if (model->member_count == TRIB_ENSEMBLE_MAX)
        return trib_spec_wrong(spec, "has more than %d members", TRIB_ENSEMBLE_MAX);
    if (model->layer_count + member->layer_count >= TRIB_LAYERS_MAX)
        return trib_spec_wrong(spec, "has more than %d layers in all, of which one mixes",
                               TRIB_LAYERS_MAX);
    if (model->param_count + member->param_count > TRIB_PARAMS_MAX - TRIB_ENSEMBLE_MAX)
        return trib_spec_wrong(spec, "has more than %d parameters", TRIB_PARAMS_MAX);
    for (uint32_t l = 0; l < member->layer_count; l++) {
        struct trib_layer *layer = &model->layers[model->layer_count++];
        *layer = member->layers[l];
        layer->takes_rows = l == 0;
        shift(layer, model->param_count);
    }
    model->param_count += member->param_count;
    model->member_count++;
    return trib_spec_write(spec, "%s%s", model->member_count > 1 ? " | " : BEGINNING, member->spec);
}

static enum trib_err parse_member(struct trib_spec *spec, const char *text, size_t size,
                                  struct trib_model *ret_member)
{
    char one[TRIB_SPEC_MAX + 1];
    char wrong[256];
    (void)snprintf(one, sizeof(one), "%.*s", (int)size, text);
    if (trib_model_parse(one, ret_member, wrong, sizeof(wrong)))
        return trib_spec_wrong(spec, "its member '%.100s' %s", one, wrong);
    return TRIB_OK;
}

// What the whole is, as its members are; the layer that mixes.
static enum trib_err add_mix(struct trib_spec *spec, const struct trib_model *first)
{
    struct trib_model *model = spec->model;
    const struct trib_layer *last = &first->layers[first->layer_count - 1];
    struct trib_layer mix = {.kind = TRIB_LAYER_ENSEMBLE,
                             .in = last->out,
                             .out = last->out,
                             .inputs = first->outputs,
                             .outputs = first->outputs,
                             .activation = last->activation,
                             .fan_in = model->member_count,
                             .fan_out = 1,
                             .products = (double)model->member_count * first->outputs};
    model->shape = first->shape;
    model->inputs = first->inputs;
    model->outputs = first->outputs;
    model->items = first->items;
    model->loss = first->loss;
    model->classes = first->classes;
    enum trib_err err = trib_spec_add_tensor(spec, &mix, "weight", &model->member_count, 1);
    model->layers[model->layer_count++] = mix;
    return err;
}

static enum trib_err parse_ensemble(struct trib_spec *spec)
{
    struct trib_model first, member;
    const char *text = spec->next + strspn(spec->next, " \t") + sizeof(WORD) - 1;
    if (*text != ':')
        return trib_spec_wrong(spec, "begins with '" BEGINNING "' if it is an ensemble");
    for (bool goes_on = true; goes_on;) {
        text++;
        const size_t size = strcspn(text, "|");
        enum trib_err err = parse_member(spec, text, size, &member);
        if (!err && spec->model->member_count == 0)
            first = member;
        if (!err)
            err = check_member(spec, &member, &first);
        if (!err)
            err = add_member(spec, &member);
        if (err)
            return err;
        text += size;
        goes_on = *text == '|';
    }
    return add_mix(spec, &first);
}

enum trib_err trib_model_parse_version(const char *text, struct trib_model *ret_model, char *why,
                                       size_t why_size)
{
    struct trib_model model = {.param_count = 0};
    struct trib_spec spec = {.next = text, .model = &model, .why = why, .why_size = why_size};
    if (!trib_model_is_ensemble(text))
        return trib_model_parse(text, ret_model, why, why_size);
    if (strlen(text) > TRIB_SPEC_MAX)
        return trib_spec_wrong(&spec, "is longer than %d bytes", TRIB_SPEC_MAX);
    enum trib_err err = parse_ensemble(&spec);
    if (err)
        return err;
    trib_digest(model.spec, strlen(model.spec), model.arch_digest);
    *ret_model = model;
    return TRIB_OK;
}

enum trib_err trib_model_ensemble_spec(const struct trib_model *const *members, size_t count,
                                       char ret_spec[static TRIB_SPEC_MAX + 1], char *why,
                                       size_t why_size)
{
    size_t used = 0;
    assert(count >= 1);
    for (size_t k = 0; k < count; k++) {
        const int size = snprintf(ret_spec + used, TRIB_SPEC_MAX + 1 - used, "%s%s",
                                  k > 0 ? " | " : BEGINNING, members[k]->spec);
        if (size < 0 || (size_t)size > TRIB_SPEC_MAX - used) {
            (void)snprintf(why, why_size,
                           "the texts of the members' models are longer together than %d bytes",
                           TRIB_SPEC_MAX);
            return TRIB_ERR_INVAL;
        }
        used += (size_t)size;
    }
    return TRIB_OK;
}

enum trib_err trib_model_check_params(const struct trib_model *model, const float *params,
                                      char *why, size_t why_size)
{
    double sum = 0;
    if (model->member_count == 0)
        return TRIB_OK;
    const float *weights = params + model->layers[model->layer_count - 1].weight;
    for (uint32_t k = 0; k < model->member_count; k++) {
        if (!(weights[k] >= 0 && weights[k] <= 1)) {
            (void)snprintf(why, why_size, "the weight of member %u of the ensemble is not 0 to 1",
                           k + 1);
            return TRIB_ERR_DATA;
        }
        sum += (double)weights[k];
    }
    if (fabs(sum - 1) <= SUM_SLACK)
        return TRIB_OK;
    (void)snprintf(why, why_size, "the weights of the ensemble add up to %.6g, not to 1", sum);
    return TRIB_ERR_DATA;
}
