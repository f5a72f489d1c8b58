#include "common/math/model.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/base/rand.h"
#include "common/math/layer.h"
#include "common/math/spec.h"

static uint64_t count_of(const struct trib_shape *shape)
{
    return (uint64_t)shape->channels * shape->height * shape->width;
}

// N, or CxHxW for models that begin with a picture.
static enum trib_err parse_input(struct trib_spec *spec)
{
    char word[TRIB_SPEC_WORD_SIZE];
    uint32_t counts[3] = {1, 1, 1};
    uint64_t product = 1;
    int parts = 0;
    trib_spec_take(spec, word);
    enum trib_err err = trib_spec_write(spec, "%s", word);
    for (char *part = word, *times; part; part = times ? times + 1 : NULL) {
        times = strchr(part, 'x');
        if (times)
            *times = '\0';
        if (parts == 3 || !trib_spec_count(part, TRIB_LAYER_UNITS_MAX, &counts[parts]))
            return trib_spec_wrong(spec,
                                   "begins with the number of inputs, N or CxHxW, each 1 to %d",
                                   TRIB_LAYER_UNITS_MAX);
        product *= counts[parts++];
        if (product > TRIB_LAYER_UNITS_MAX)
            return trib_spec_wrong(spec, "has more than %d inputs", TRIB_LAYER_UNITS_MAX);
    }
    if (parts == 2)
        return trib_spec_wrong(spec, "the input is N or CxHxW");
    spec->model->shape = (struct trib_shape){
        .is_picture = parts == 3, .channels = counts[0], .height = counts[1], .width = counts[2]};
    spec->model->inputs = (uint32_t)product;
    return err;
}

// `local` behind a layer: what it would learn is its device's.
static enum trib_err take_local(struct trib_spec *spec, struct trib_layer *layer)
{
    char word[TRIB_SPEC_WORD_SIZE];
    struct trib_model *model = spec->model;
    if (!trib_spec_peek(spec, word) || strcmp(word, "local") != 0)
        return TRIB_OK;
    trib_spec_take(spec, word);
    if (layer->local_count > 0 || layer->tensor_count == 0)
        return trib_spec_wrong_layer(spec, layer->local_count > 0
                                               ? "a part of it is local by itself"
                                               : "there is nothing in it to be local");
    const size_t first = layer->tensors[0].offset;
    for (uint32_t t = 0; t < layer->tensor_count; t++) {
        layer->locals[t] = layer->tensors[t];
        layer->locals[t].offset += model->local_count - first;
    }
    model->local_count += model->param_count - first;
    model->param_count = first;
    layer->local_count = layer->tensor_count;
    layer->tensor_count = 0;
    return trib_spec_write(spec, " local");
}

static enum trib_err parse_layer(struct trib_spec *spec)
{
    char word[TRIB_SPEC_WORD_SIZE];
    struct trib_model *model = spec->model;
    struct trib_layer layer = {.in = model->shape};

    trib_spec_take(spec, word);
    if (strcmp(word, "-") != 0)
        return trib_spec_wrong(spec, "'%s' where ' - ' and a layer should follow", word);
    if (model->layer_count == TRIB_LAYERS_MAX)
        return trib_spec_wrong(spec, "has more than %d layers", TRIB_LAYERS_MAX);
    trib_spec_take(spec, word);
    if (!trib_layer_find(word, &layer.kind))
        return trib_spec_wrong_layer(spec, "'%s' is not a kind of layer", word);
    if (model->layer_count > 0)
        layer.in = model->layers[model->layer_count - 1].out;
    layer.inputs = (uint32_t)count_of(&layer.in);
    layer.weight = layer.bias = model->param_count;
    enum trib_err err = trib_layer_ops(layer.kind)->parse(spec, &layer);
    if (!err)
        err = take_local(spec, &layer);
    if (err)
        return err;
    if (count_of(&layer.out) > TRIB_LAYER_UNITS_MAX)
        return trib_spec_wrong_layer(spec, "gives more than %d outputs", TRIB_LAYER_UNITS_MAX);
    layer.outputs = (uint32_t)count_of(&layer.out);
    model->outputs = layer.outputs;
    model->layers[model->layer_count++] = layer;
    return TRIB_OK;
}

// Pictures lie with their channels last between layers that want them so, and else flattened as the
// language says.
static void settle_layouts(struct trib_model *model)
{
    for (uint32_t l = 0; l + 1 < model->layer_count; l++) {
        struct trib_layer *layer = &model->layers[l];
        uint32_t next = l + 1;
        while (next + 1 < model->layer_count &&
               trib_layer_ops(model->layers[next].kind)->is_elementwise)
            next++;
        layer->out.is_channels_last =
            trib_layer_ops(layer->kind)->is_elementwise
                ? layer->in.is_channels_last
                : trib_layer_ops(model->layers[next].kind)->is_for_pictures;
        model->layers[l + 1].in.is_channels_last = layer->out.is_channels_last;
    }
}

// Now that it is known where the local part begins.
static enum trib_err settle_local(struct trib_spec *spec)
{
    struct trib_model *model = spec->model;
    if (model->param_count == 0)
        return trib_spec_wrong(spec, "has nothing to learn together: every layer is local");
    if (trib_model_total(model) > TRIB_PARAMS_MAX)
        return trib_spec_wrong(spec, "has more than %d parameters", TRIB_PARAMS_MAX);
    for (uint32_t l = 0; l < model->layer_count; l++) {
        struct trib_layer *layer = &model->layers[l];
        for (uint32_t t = 0; t < layer->local_count; t++)
            layer->locals[t].offset += model->param_count;
        if (layer->local_count == 0 || layer->tensor_count > 0)
            continue;
        layer->bias += layer->locals[0].offset - layer->weight;
        layer->weight = layer->locals[0].offset;
    }
    return TRIB_OK;
}

// The last activation fixes the loss; softmax makes sense only there.
static enum trib_err settle_loss(struct trib_spec *spec)
{
    struct trib_model *model = spec->model;
    if (model->layer_count == 0)
        return trib_spec_wrong(spec, "has no layer");
    for (uint32_t i = 0; i + 1 < model->layer_count; i++) {
        if (model->layers[i].activation == TRIB_ACTIVATION_SOFTMAX)
            return trib_spec_wrong(spec, "layer %" PRIu32 ": softmax is for the last layer", i + 1);
    }
    const struct trib_layer *last = &model->layers[model->layer_count - 1];
    const struct trib_layer_ops *ops = trib_layer_ops(last->kind);
    if (!ops->is_for_last)
        return trib_spec_wrong(spec, "%s is not for the last layer", ops->word);
    switch (last->activation) {
    case TRIB_ACTIVATION_SOFTMAX:
        if (model->outputs < 2 || model->outputs > TRIB_CLASSES_MAX)
            return trib_spec_wrong(spec, "softmax wants 2 to %d units", TRIB_CLASSES_MAX);
        model->loss = TRIB_LOSS_CROSS_ENTROPY;
        model->classes = model->outputs;
        return TRIB_OK;
    case TRIB_ACTIVATION_SIGMOID:
        if (model->outputs != 1)
            return trib_spec_wrong(spec, "a last sigmoid layer has 1 unit in this version");
        model->loss = TRIB_LOSS_BINARY_CROSS_ENTROPY;
        model->classes = 2;
        return TRIB_OK;
    case TRIB_ACTIVATION_LINEAR:
        if (model->outputs != 1)
            return trib_spec_wrong(spec, "a last linear layer has 1 unit in this version");
        model->loss = TRIB_LOSS_HALF_MSE;
        return TRIB_OK;
    case TRIB_ACTIVATION_RELU:
    case TRIB_ACTIVATION_TANH: break;
    }
    return trib_spec_wrong(spec,
                           "the last layer is softmax, sigmoid or linear: that fixes the loss");
}

enum trib_err trib_model_parse(const char *text, struct trib_model *ret_model, char *why,
                               size_t why_size)
{
    struct trib_model model = {.param_count = 0};
    struct trib_spec spec = {.next = text, .model = &model, .why = why, .why_size = why_size};

    if (strlen(text) > TRIB_SPEC_MAX)
        return trib_spec_wrong(&spec, "is longer than %d bytes", TRIB_SPEC_MAX);
    if (trib_model_is_ensemble(text))
        return trib_spec_wrong(&spec, "is an ensemble, which is made of versions (tributaryctl "
                                      "models ensemble) and not trained");
    enum trib_err err = parse_input(&spec);
    while (!err && spec.next[strspn(spec.next, " \t")])
        err = parse_layer(&spec);
    if (!err)
        err = settle_loss(&spec);
    if (!err)
        err = settle_local(&spec);
    if (err)
        return err;
    settle_layouts(&model);
    trib_digest(model.spec, strlen(model.spec), model.arch_digest);
    *ret_model = model;
    return TRIB_OK;
}

size_t trib_model_total(const struct trib_model *model)
{
    return model->param_count + model->local_count;
}

// The first tensor by the layer's fans, the others 0. `params` begins at `base` of the flat vector.
static void init_tensors(const struct trib_layer *layer, const struct trib_layer_tensor *tensors,
                         uint32_t count, struct trib_rng *rng, float *params, size_t base)
{
    const bool is_he = layer->activation == TRIB_ACTIVATION_RELU;
    const double fan = is_he ? layer->fan_in : layer->fan_in + layer->fan_out;
    const double limit = sqrt(6.0 / fan); // IEEE division and root: the same everywhere
    for (size_t i = 0; i < tensors[0].count; i++)
        params[tensors[0].offset - base + i] = (float)((2.0 * trib_rng_real(rng) - 1.0) * limit);
    for (uint32_t t = 1; t < count; t++)
        memset(params + (tensors[t].offset - base), 0, tensors[t].count * sizeof(*params));
}

void trib_model_init(const struct trib_model *model, uint64_t seed, float *ret_params)
{
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        struct trib_rng rng;
        if (layer->tensor_count == 0)
            continue;
        trib_rng_init(&rng, seed, "init", l, NULL);
        init_tensors(layer, layer->tensors, layer->tensor_count, &rng, ret_params, 0);
    }
}

void trib_model_init_local(const struct trib_model *model, uint64_t seed, const char *device,
                           float *ret_local)
{
    memset(ret_local, 0, model->local_count * sizeof(*ret_local));
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        struct trib_rng rng;
        if (layer->local_count == 0 || layer->tensor_count > 0)
            continue; // a layer of both parts: the local one begins at 0
        trib_rng_init(&rng, seed, "init local", l, device);
        init_tensors(layer, layer->locals, layer->local_count, &rng, ret_local, model->param_count);
    }
}

void trib_model_digest(const struct trib_model *model, const float *params,
                       uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "parameters are hashed as they lie");
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, model->spec, strlen(model->spec) + 1); // with its NUL
    trib_hash_update(&hash, params, model->param_count * sizeof(*params));
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}
