#include "common/math/spec.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/math/activation.h"

enum trib_err trib_spec_wrong(struct trib_spec *spec, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(spec->why, spec->why_size, format, args);
    va_end(args);
    return TRIB_ERR_INVAL;
}

enum trib_err trib_spec_wrong_layer(struct trib_spec *spec, const char *format, ...)
{
    int used =
        snprintf(spec->why, spec->why_size, "layer %" PRIu32 ": ", spec->model->layer_count + 1);
    va_list args;
    va_start(args, format);
    if (used > 0 && (size_t)used < spec->why_size)
        (void)vsnprintf(spec->why + used, spec->why_size - (size_t)used, format, args);
    va_end(args);
    return TRIB_ERR_INVAL;
}

void trib_spec_take(struct trib_spec *spec, char word[static TRIB_SPEC_WORD_SIZE])
{
    spec->next += strspn(spec->next, " \t");
    size_t length = *spec->next == '-' ? 1 : strcspn(spec->next, " \t-");
    (void)snprintf(word, TRIB_SPEC_WORD_SIZE, "%.*s", (int)length, spec->next);
    spec->next += length;
}

bool trib_spec_peek(const struct trib_spec *spec, char word[static TRIB_SPEC_WORD_SIZE])
{
    struct trib_spec copy = *spec;
    trib_spec_take(&copy, word);
    return *word && *word != '-';
}

bool trib_spec_count(const char *word, uint32_t max, uint32_t *ret_count)
{
    char *end;
    if (word[0] < '1' || word[0] > '9' || strlen(word) > 9)
        return false;
    unsigned long value = strtoul(word, &end, 10);
    if (*end || value > max)
        return false;
    *ret_count = (uint32_t)value;
    return true;
}

bool trib_spec_pair(const char *word, uint32_t max, uint32_t *ret_first, uint32_t *ret_second)
{
    char first[TRIB_SPEC_WORD_SIZE];
    const char *times = strchr(word, 'x');
    if (!times)
        return false;
    (void)snprintf(first, sizeof(first), "%.*s", (int)(times - word), word);
    return trib_spec_count(first, max, ret_first) && trib_spec_count(times + 1, max, ret_second);
}

enum trib_err trib_spec_activation(struct trib_spec *spec, enum trib_activation *ret_activation)
{
    char word[TRIB_SPEC_WORD_SIZE];
    if (!trib_spec_peek(spec, word) || strcmp(word, "local") == 0) {
        *ret_activation = TRIB_ACTIVATION_LINEAR;
        return TRIB_OK;
    }
    trib_spec_take(spec, word);
    if (!trib_activation_find(word, ret_activation))
        return trib_spec_wrong_layer(spec, "'%s' is not relu, tanh, sigmoid, softmax or linear",
                                     word);
    return TRIB_OK;
}

enum trib_err trib_spec_write(struct trib_spec *spec, const char *format, ...)
{
    size_t room = sizeof(spec->model->spec) - spec->used;
    va_list args;
    va_start(args, format);
    int size = vsnprintf(spec->model->spec + spec->used, room, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= room)
        return trib_spec_wrong(spec, "is longer than %d bytes", TRIB_SPEC_MAX);
    spec->used += (size_t)size;
    return TRIB_OK;
}

// A tensor at `offset`, behind which there are `used` parameters of both parts.
static enum trib_err make_tensor(struct trib_spec *spec, const char *name, const uint32_t *shape,
                                 uint32_t dimensions, size_t offset,
                                 struct trib_layer_tensor *ret_tensor)
{
    const size_t used = trib_model_total(spec->model);
    uint64_t count = 1;
    assert(dimensions <= TRIB_LAYER_DIMENSIONS_MAX);
    for (uint32_t d = 0; d < dimensions; d++) {
        count *= shape[d]; // each below 2^25
        if (used + count > TRIB_PARAMS_MAX)
            return trib_spec_wrong(spec, "has more than %d parameters", TRIB_PARAMS_MAX);
    }
    *ret_tensor = (struct trib_layer_tensor){
        .name = name, .offset = offset, .count = (size_t)count, .dimensions = dimensions};
    memcpy(ret_tensor->shape, shape, dimensions * sizeof(*shape));
    return TRIB_OK;
}

enum trib_err trib_spec_add_tensor(struct trib_spec *spec, struct trib_layer *layer,
                                   const char *name, const uint32_t *shape, uint32_t dimensions)
{
    struct trib_model *model = spec->model;
    struct trib_layer_tensor *tensor = &layer->tensors[layer->tensor_count];
    assert(layer->tensor_count < TRIB_LAYER_TENSORS_MAX);
    enum trib_err err = make_tensor(spec, name, shape, dimensions, model->param_count, tensor);
    if (err)
        return err;
    if (strcmp(name, "bias") == 0)
        layer->bias = tensor->offset;
    if (layer->tensor_count == 0)
        layer->weight = tensor->offset;
    layer->tensor_count++;
    model->param_count += tensor->count;
    return TRIB_OK;
}

enum trib_err trib_spec_add_local(struct trib_spec *spec, struct trib_layer *layer,
                                  const char *name, const uint32_t *shape, uint32_t dimensions)
{
    struct trib_model *model = spec->model;
    struct trib_layer_tensor *tensor = &layer->locals[layer->local_count];
    assert(layer->local_count < TRIB_LAYER_LOCALS_MAX);
    enum trib_err err = make_tensor(spec, name, shape, dimensions, model->local_count, tensor);
    if (err)
        return err;
    layer->local_count++;
    model->local_count += tensor->count;
    return TRIB_OK;
}
