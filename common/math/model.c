#include "common/math/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/json.h"
#include "common/base/rand.h"

static const char *const activation_names[] = {
    [TRIB_ACTIVATION_LINEAR] = "linear",   [TRIB_ACTIVATION_RELU] = "relu",
    [TRIB_ACTIVATION_TANH] = "tanh",       [TRIB_ACTIVATION_SIGMOID] = "sigmoid",
    [TRIB_ACTIVATION_SOFTMAX] = "softmax",
};

struct parser {
    const char *next; // what is left of the text
    struct trib_model *model;
    size_t spec_used;
    char *why;
    size_t why_size;
};

static enum trib_err wrong(struct parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum trib_err wrong(struct parser *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->why, p->why_size, format, args);
    va_end(args);
    return TRIB_ERR_INVAL;
}

// The next word, ended by a blank or a dash; empty at the end of the text.
static void take_word(struct parser *p, char *word, size_t size)
{
    p->next += strspn(p->next, " \t");
    size_t length = *p->next == '-' ? 1 : strcspn(p->next, " \t-");
    (void)snprintf(word, size, "%.*s", (int)length, p->next);
    p->next += length;
}

// The next word without taking it.
static void peek_word(const struct parser *p, char *word, size_t size)
{
    struct parser copy = *p;
    take_word(&copy, word, size);
}

static bool parse_count(const char *text, uint32_t max, uint32_t *ret_count)
{
    char *end;
    if (text[0] < '1' || text[0] > '9' || strlen(text) > 9)
        return false;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || value > max)
        return false;
    *ret_count = (uint32_t)value;
    return true;
}

// Append to the canonical text.
static bool write_spec(struct parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool write_spec(struct parser *p, const char *format, ...)
{
    size_t room = sizeof(p->model->spec) - p->spec_used;
    va_list args;
    va_start(args, format);
    int size = vsnprintf(p->model->spec + p->spec_used, room, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= room)
        return false;
    p->spec_used += (size_t)size;
    return true;
}

// N, or CxHxW for models that begin with a picture.
static enum trib_err parse_input(struct parser *p)
{
    char word[64];
    uint32_t count;
    uint64_t product = 1;
    take_word(p, word, sizeof(word));
    (void)write_spec(p, "%s", word);
    char *part = word;
    for (int parts = 1;; parts++) {
        char *times = strchr(part, 'x');
        if (times)
            *times = '\0';
        if (parts > 3 || !parse_count(part, TRIB_LAYER_UNITS_MAX, &count))
            return wrong(p, "begins with the number of inputs, N or CxHxW, each 1 to %d",
                         TRIB_LAYER_UNITS_MAX);
        product *= count;
        if (product > TRIB_LAYER_UNITS_MAX)
            return wrong(p, "has more than %d inputs", TRIB_LAYER_UNITS_MAX);
        if (!times) {
            if (parts == 2)
                return wrong(p, "the input is N or CxHxW");
            break;
        }
        part = times + 1;
    }
    p->model->inputs = (uint32_t)product;
    p->model->outputs = p->model->inputs; // of what is there so far
    return TRIB_OK;
}

static bool find_activation(const char *word, enum trib_activation *ret_activation)
{
    for (int i = 0; i <= TRIB_ACTIVATION_SOFTMAX; i++) {
        if (strcmp(word, activation_names[i]) == 0) {
            *ret_activation = (enum trib_activation)i;
            return true;
        }
    }
    return false;
}

static enum trib_err parse_dense(struct parser *p)
{
    char word[64];
    struct trib_model *model = p->model;
    struct trib_layer layer = {.inputs = model->outputs, .weight = model->param_count};

    take_word(p, word, sizeof(word));
    if (!parse_count(word, TRIB_LAYER_UNITS_MAX, &layer.outputs))
        return wrong(p, "layer %" PRIu32 ": dense wants a number of units from 1 to %d, not '%s'",
                     model->layer_count + 1, TRIB_LAYER_UNITS_MAX, word);
    peek_word(p, word, sizeof(word));
    if (*word && *word != '-') {
        take_word(p, word, sizeof(word));
        if (!find_activation(word, &layer.activation))
            return wrong(p, "layer %" PRIu32 ": '%s' is not relu, tanh, sigmoid, softmax or linear",
                         model->layer_count + 1, word);
    }
    uint64_t params = ((uint64_t)layer.inputs + 1) * layer.outputs; // below 2^49
    if (model->param_count + params > TRIB_PARAMS_MAX)
        return wrong(p, "has more than %d parameters", TRIB_PARAMS_MAX);
    layer.bias = layer.weight + (size_t)layer.inputs * layer.outputs;
    model->param_count += (size_t)params;
    model->outputs = layer.outputs;
    model->layers[model->layer_count++] = layer;
    if (!write_spec(p, " - dense %" PRIu32 " %s", layer.outputs,
                    activation_names[layer.activation]))
        return wrong(p, "is longer than %d bytes", TRIB_SPEC_MAX);
    return TRIB_OK;
}

// The share is written with the fewest digits that say it: one canonical text for one model.
static enum trib_err parse_dropout(struct parser *p)
{
    char word[64], text[TRIB_REAL_TEXT_SIZE];
    struct trib_model *model = p->model;
    struct trib_layer layer = {.kind = TRIB_LAYER_DROPOUT,
                               .inputs = model->outputs,
                               .outputs = model->outputs,
                               .weight = model->param_count,
                               .bias = model->param_count};
    take_word(p, word, sizeof(word));
    char *end;
    layer.drop = strtod(word, &end);
    if (strspn(word, "0123456789.") != strlen(word) || *end || layer.drop < 1e-4 ||
        layer.drop > 0.9999)
        return wrong(p, "layer %" PRIu32 ": dropout wants a share from 0.0001 to 0.9999, not '%s'",
                     model->layer_count + 1, word);
    trib_real_text(layer.drop, text);
    model->layers[model->layer_count++] = layer;
    if (!write_spec(p, " - dropout %s", text))
        return wrong(p, "is longer than %d bytes", TRIB_SPEC_MAX);
    return TRIB_OK;
}

static enum trib_err parse_layer(struct parser *p)
{
    static const char *const later[] = {"conv", "maxpool", "bilinear"};
    char word[64];
    uint32_t number = p->model->layer_count + 1;

    take_word(p, word, sizeof(word));
    if (strcmp(word, "-") != 0)
        return wrong(p, "'%s' where ' - ' and a layer should follow", word);
    if (p->model->layer_count == TRIB_LAYERS_MAX)
        return wrong(p, "has more than %d layers", TRIB_LAYERS_MAX);
    take_word(p, word, sizeof(word));
    if (strcmp(word, "dense") == 0)
        return parse_dense(p);
    if (strcmp(word, "dropout") == 0)
        return parse_dropout(p);
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        if (strcmp(word, later[i]) == 0)
            return wrong(p, "layer %" PRIu32 ": this version has no %s layers", number, word);
    }
    return wrong(p, "layer %" PRIu32 ": '%s' is not a kind of layer", number, word);
}

// The last activation fixes the loss; softmax makes sense only there.
static enum trib_err settle_loss(struct parser *p)
{
    struct trib_model *model = p->model;
    if (model->layer_count == 0)
        return wrong(p, "has no layer");
    for (uint32_t i = 0; i + 1 < model->layer_count; i++) {
        if (model->layers[i].activation == TRIB_ACTIVATION_SOFTMAX)
            return wrong(p, "layer %" PRIu32 ": softmax is for the last layer", i + 1);
    }
    if (model->layers[model->layer_count - 1].kind == TRIB_LAYER_DROPOUT)
        return wrong(p, "dropout is not for the last layer");
    switch (model->layers[model->layer_count - 1].activation) {
    case TRIB_ACTIVATION_SOFTMAX:
        if (model->outputs < 2 || model->outputs > TRIB_CLASSES_MAX)
            return wrong(p, "softmax wants 2 to %d units", TRIB_CLASSES_MAX);
        model->loss = TRIB_LOSS_CROSS_ENTROPY;
        model->classes = model->outputs;
        return TRIB_OK;
    case TRIB_ACTIVATION_SIGMOID:
        if (model->outputs != 1)
            return wrong(p, "a last sigmoid layer has 1 unit in this version");
        model->loss = TRIB_LOSS_BINARY_CROSS_ENTROPY;
        model->classes = 2;
        return TRIB_OK;
    case TRIB_ACTIVATION_LINEAR:
        if (model->outputs != 1)
            return wrong(p, "a last linear layer has 1 unit in this version");
        model->loss = TRIB_LOSS_HALF_MSE;
        return TRIB_OK;
    case TRIB_ACTIVATION_RELU:
    case TRIB_ACTIVATION_TANH: break;
    }
    return wrong(p, "the last layer is softmax, sigmoid or linear: that fixes the loss");
}

enum trib_err trib_model_parse(const char *text, struct trib_model *ret_model, char *why,
                               size_t why_size)
{
    struct trib_model model = {.param_count = 0};
    struct parser parser = {.next = text, .model = &model, .why = why, .why_size = why_size};

    if (strlen(text) > TRIB_SPEC_MAX)
        return wrong(&parser, "is longer than %d bytes", TRIB_SPEC_MAX);
    enum trib_err err = parse_input(&parser);
    while (!err && parser.next[strspn(parser.next, " \t")])
        err = parse_layer(&parser);
    if (!err)
        err = settle_loss(&parser);
    if (err)
        return err;
    trib_digest(model.spec, strlen(model.spec), model.arch_digest);
    *ret_model = model;
    return TRIB_OK;
}

void trib_model_init(const struct trib_model *model, uint64_t seed, float *ret_params)
{
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        if (layer->kind == TRIB_LAYER_DROPOUT)
            continue;
        const bool is_he = layer->activation == TRIB_ACTIVATION_RELU;
        const double fan = is_he ? layer->inputs : (double)layer->inputs + layer->outputs;
        const double limit = sqrt(6.0 / fan); // IEEE division and root: the same everywhere
        struct trib_rng rng;
        trib_rng_init(&rng, seed, "init", l, NULL);
        for (size_t i = layer->weight; i < layer->bias; i++)
            ret_params[i] = (float)((2.0 * trib_rng_real(&rng) - 1.0) * limit);
        memset(ret_params + layer->bias, 0, layer->outputs * sizeof(*ret_params));
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
