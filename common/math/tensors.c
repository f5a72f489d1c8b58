#include "common/math/tensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

struct reason {
    char *text;
    size_t size;
};

static enum trib_err wrong(struct reason why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum trib_err wrong(struct reason why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why.text, why.size, format, args);
    va_end(args);
    return TRIB_ERR_DATA;
}

void trib_tensors_fini(struct trib_tensors *tensors)
{
    for (size_t i = 0; i < tensors->text_count; i++) {
        free(tensors->texts[i].name);
        free(tensors->texts[i].value);
    }
    tensors->text_count = 0;
    tensors->count = 0;
}

static const struct trib_tensor *find(const struct trib_tensors *tensors, const char *name)
{
    for (size_t i = 0; i < tensors->count; i++) {
        if (strcmp(tensors->tensors[i].name, name) == 0)
            return &tensors->tensors[i];
    }
    return NULL;
}

enum trib_err trib_tensors_add(struct trib_tensors *tensors, const struct trib_tensor *tensor,
                               char *why, size_t why_size)
{
    const struct reason reason = {why, why_size};
    if (tensors->count == TRIB_TENSORS_MAX)
        return wrong(reason, "holds more than %d arrays", TRIB_TENSORS_MAX);
    if (find(tensors, tensor->name))
        return wrong(reason, "holds '%s' twice", tensor->name);
    tensors->tensors[tensors->count++] = *tensor;
    return TRIB_OK;
}

enum trib_err trib_tensors_add_text(struct trib_tensors *tensors, const char *name,
                                    const char *value, size_t size, char *why, size_t why_size)
{
    const struct reason reason = {why, why_size};
    if (tensors->text_count == TRIB_TENSOR_TEXTS_MAX)
        return wrong(reason, "holds more than %d texts", TRIB_TENSOR_TEXTS_MAX);
    if (trib_tensors_text(tensors, name))
        return wrong(reason, "holds the text '%s' twice", name);
    if (strlen(name) > TRIB_TENSOR_TEXT_NAME_MAX)
        return wrong(reason, "the name of a text has at most %d bytes", TRIB_TENSOR_TEXT_NAME_MAX);
    struct trib_tensor_text text = {.name = trib_alloc_text(name), .value = trib_alloc(size + 1)};
    if (!text.name || !text.value) {
        free(text.name);
        free(text.value);
        return TRIB_ERR_NOMEM;
    }
    memcpy(text.value, value, size);
    tensors->texts[tensors->text_count++] = text;
    return TRIB_OK;
}

const char *trib_tensors_text(const struct trib_tensors *tensors, const char *name)
{
    for (size_t i = 0; i < tensors->text_count; i++) {
        if (strcmp(tensors->texts[i].name, name) == 0)
            return tensors->texts[i].value;
    }
    return NULL;
}

// ---- The parameters

// N of "N.weight"; false for any other name.
static bool weight_number(const char *name, uint64_t *ret_number)
{
    char *end;
    if (name[0] < '0' || name[0] > '9' || strlen(name) > 16)
        return false;
    *ret_number = strtoull(name, &end, 10);
    return strcmp(end, ".weight") == 0;
}

// The weight with the smallest number from `from` on.
static const struct trib_tensor *next_weight(const struct trib_tensors *tensors, uint64_t from,
                                             uint64_t *ret_number)
{
    const struct trib_tensor *best = NULL;
    for (size_t i = 0; i < tensors->count; i++) {
        uint64_t number;
        if (weight_number(tensors->tensors[i].name, &number) && number >= from &&
            (!best || number < *ret_number)) {
            best = &tensors->tensors[i];
            *ret_number = number;
        }
    }
    return best;
}

static void shape_text(const uint64_t *shape, size_t dimensions, char *text, size_t size)
{
    int used = snprintf(text, size, "(");
    for (size_t d = 0; d < dimensions && used >= 0 && (size_t)used < size; d++)
        used += snprintf(text + used, size - (size_t)used, d ? ", %" PRIu64 : "%" PRIu64, shape[d]);
    if (used >= 0 && (size_t)used < size)
        (void)snprintf(text + used, size - (size_t)used, ")");
}

static enum trib_err take(const struct trib_tensor *tensor, const struct trib_layer_tensor *wanted,
                          float *params, struct reason why)
{
    char has[112];
    char wants[112];
    uint64_t shape[TRIB_LAYER_DIMENSIONS_MAX];
    for (uint32_t d = 0; d < wanted->dimensions; d++)
        shape[d] = wanted->shape[d];
    if (tensor->dimensions != wanted->dimensions ||
        memcmp(tensor->shape, shape, wanted->dimensions * sizeof(*shape)) != 0) {
        shape_text(tensor->shape, tensor->dimensions, has, sizeof(has));
        shape_text(shape, wanted->dimensions, wants, sizeof(wants));
        return wrong(why, "'%s' has the shape %s, the model wants %s", tensor->name, has, wants);
    }
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "parameters are taken as they lie");
    memcpy(params + wanted->offset, tensor->data, tensor->count * sizeof(float));
    for (size_t i = 0; i < tensor->count; i++) {
        if (!isfinite(params[wanted->offset + i]))
            return wrong(why, "'%s' holds a value that is not finite", tensor->name);
    }
    return TRIB_OK;
}

// The weight says which number the layer has in the file, the others have the same.
static enum trib_err take_layer(const struct trib_tensors *tensors, const struct trib_layer *layer,
                                uint32_t index, uint64_t *number, float *params, struct reason why)
{
    char name[TRIB_TENSOR_NAME_MAX + 1];
    const struct trib_tensor *weight = next_weight(tensors, *number, number);
    if (!weight)
        return wrong(why, "the model wants a weight for its layer %" PRIu32 ", there is none",
                     index + 1);
    for (uint32_t t = 1; t < layer->tensor_count; t++) {
        (void)snprintf(name, sizeof(name), "%.*s.%s", (int)strcspn(weight->name, "."), weight->name,
                       layer->tensors[t].name);
        if (!find(tensors, name))
            return wrong(why, "there is no '%s'", name);
    }
    enum trib_err err = take(weight, &layer->tensors[0], params, why);
    for (uint32_t t = 1; t < layer->tensor_count && !err; t++) {
        (void)snprintf(name, sizeof(name), "%.*s.%s", (int)strcspn(weight->name, "."), weight->name,
                       layer->tensors[t].name);
        err = take(find(tensors, name), &layer->tensors[t], params, why);
    }
    ++*number;
    return err;
}

enum trib_err trib_tensors_params(const struct trib_tensors *tensors,
                                  const struct trib_model *model, float *ret_params, char *why,
                                  size_t why_size)
{
    const struct reason reason = {why, why_size};
    const char *spec = trib_tensors_text(tensors, "spec");
    uint64_t number = 0;
    size_t arrays = 0;
    if (spec && strcmp(spec, model->spec) != 0)
        return wrong(reason, "is of the model '%.200s', not of '%s'", spec, model->spec);
    for (uint32_t l = 0; l < model->layer_count; l++) {
        if (model->layers[l].tensor_count == 0)
            continue;
        arrays += model->layers[l].tensor_count;
        enum trib_err err = take_layer(tensors, &model->layers[l], l, &number, ret_params, reason);
        if (err)
            return err;
    }
    if (tensors->count != arrays)
        return wrong(reason, "holds %zu arrays, the model has %zu", tensors->count, arrays);
    return trib_model_check_params(model, ret_params, why, why_size);
}

// ---- Another architecture

// "OLD:NEW" at the beginning of *map, and behind it nothing, a blank or a comma.
static bool take_pair(const char **map, uint64_t *ret_old, uint64_t *ret_new)
{
    char *end;
    if (**map < '0' || **map > '9')
        return false;
    *ret_old = strtoull(*map, &end, 10);
    if (*end != ':' || end[1] < '0' || end[1] > '9')
        return false;
    *ret_new = strtoull(end + 1, &end, 10);
    *map = end;
    return strchr(" ,", *end) != NULL;
}

static enum trib_err map_layer(const struct trib_tensors *tensors, uint64_t from,
                               const struct trib_layer *layer, uint64_t to, float *params,
                               struct reason why)
{
    for (uint32_t t = 0; t < layer->tensor_count; t++) {
        char name[TRIB_TENSOR_NAME_MAX + 1];
        (void)snprintf(name, sizeof(name), "%" PRIu64 ".%s", from, layer->tensors[t].name);
        const struct trib_tensor *tensor = find(tensors, name);
        if (!tensor)
            return wrong(why, "there is no '%s' for layer %" PRIu64, name, to);
        enum trib_err err = take(tensor, &layer->tensors[t], params, why);
        if (err)
            return err;
    }
    return TRIB_OK;
}

enum trib_err trib_tensors_map(const struct trib_tensors *tensors, const struct trib_model *model,
                               const char *map, float *params, char *why, size_t why_size)
{
    const struct reason reason = {why, why_size};
    uint64_t done = 0, from, to;
    _Static_assert(TRIB_LAYERS_MAX <= 64, "a bit for each layer");
    while (map[strspn(map, " ,")]) {
        map += strspn(map, " ,");
        if (!take_pair(&map, &from, &to)) {
            (void)wrong(reason, "the map wants pairs OLD:NEW like 0:0,1:2");
            return TRIB_ERR_INVAL;
        }
        if (to >= model->layer_count || model->layers[to].tensor_count == 0) {
            (void)wrong(reason,
                        "the map names layer %" PRIu64 ", where the model has nothing to "
                        "learn",
                        to);
            return TRIB_ERR_INVAL;
        }
        if (done >> to & 1) {
            (void)wrong(reason, "the map names layer %" PRIu64 " twice", to);
            return TRIB_ERR_INVAL;
        }
        done |= UINT64_C(1) << to;
        enum trib_err err = map_layer(tensors, from, &model->layers[to], to, params, reason);
        if (err)
            return err;
    }
    return TRIB_OK;
}
