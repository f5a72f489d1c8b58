#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/json_read.h"
#include "common/math/safetensors.h"
#include "common/math/tensors.h"

struct reading {
    struct trib_json_reader json;
    const uint8_t *data; // behind the header
    size_t data_size;
    size_t used; // bytes of it that arrays hold
    struct trib_tensors *tensors;
    char *why;
    size_t why_size;
};

static enum trib_err wrong(struct reading *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum trib_err wrong(struct reading *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(r->why, r->why_size, format, args);
    va_end(args);
    return TRIB_ERR_DATA;
}

static enum trib_err not_json(struct reading *r)
{
    return wrong(r, "its header is not what a safetensors file has at byte %zu: %s",
                 (size_t)(r->json.next - r->json.begin) + TRIB_SAFETENSORS_LENGTH_SIZE,
                 r->json.why ? r->json.why : "another value is expected");
}

// "__metadata__", behind its brace: texts only.
static enum trib_err take_metadata(struct reading *r)
{
    enum trib_json_event event;
    while ((event = trib_json_next(&r->json)) == TRIB_JSON_TEXT) {
        enum trib_err err = trib_tensors_add_text(r->tensors, (const char *)r->json.key.data,
                                                  (const char *)r->json.text.data,
                                                  r->json.text.size, r->why, r->why_size);
        if (err)
            return err;
    }
    return event == TRIB_JSON_CLOSE_OBJECT ? TRIB_OK : not_json(r);
}

// Whole numbers up to the end of an array that is open.
static bool take_numbers(struct reading *r, uint64_t *ret_numbers, size_t max, size_t *ret_count)
{
    size_t count = 0;
    enum trib_json_event event;
    while ((event = trib_json_next(&r->json)) == TRIB_JSON_NUMBER) {
        if (count == max || !trib_json_whole(&r->json, &ret_numbers[count]))
            return false;
        count++;
    }
    *ret_count = count;
    return event == TRIB_JSON_CLOSE_ARRAY;
}

struct description {
    struct trib_tensor tensor;
    char type[16];
    uint64_t offsets[2];
    size_t offset_count;
    bool has_shape;
};

// The members of an array's description, in any order.
static bool take_members(struct reading *r, struct description *d)
{
    for (;;) {
        const enum trib_json_event event = trib_json_next(&r->json);
        const char *key = (const char *)r->json.key.data;
        if (event == TRIB_JSON_CLOSE_OBJECT)
            return d->type[0] && d->has_shape && d->offset_count == 2;
        if (event == TRIB_JSON_TEXT && strcmp(key, "dtype") == 0) {
            (void)snprintf(d->type, sizeof(d->type), "%s", (const char *)r->json.text.data);
        } else if (event == TRIB_JSON_OPEN_ARRAY && strcmp(key, "shape") == 0) {
            d->has_shape =
                take_numbers(r, d->tensor.shape, TRIB_TENSOR_DIMENSIONS_MAX, &d->tensor.dimensions);
            if (!d->has_shape)
                return false;
        } else if (event != TRIB_JSON_OPEN_ARRAY || strcmp(key, "data_offsets") != 0 ||
                   !take_numbers(r, d->offsets, 2, &d->offset_count)) {
            return false;
        }
    }
}

static bool count_elements(struct trib_tensor *tensor)
{
    tensor->count = 1;
    for (size_t i = 0; i < tensor->dimensions; i++) {
        if (tensor->shape[i] > TRIB_PARAMS_MAX ||
            tensor->count * tensor->shape[i] > TRIB_PARAMS_MAX)
            return false;
        tensor->count *= tensor->shape[i];
    }
    return true;
}

static enum trib_err take_tensor(struct reading *r)
{
    struct description d = {.offset_count = 0};
    const char *name = (const char *)r->json.key.data;
    if (r->json.key.size > TRIB_TENSOR_NAME_MAX)
        return wrong(r, "'%.40s...': a name has at most %d bytes", name, TRIB_TENSOR_NAME_MAX);
    (void)snprintf(d.tensor.name, sizeof(d.tensor.name), "%s", name);
    name = d.tensor.name;
    if (!take_members(r, &d))
        return r->json.why ? not_json(r) : wrong(r, "'%s' is not described as an array is", name);
    if (strcmp(d.type, "F32") != 0)
        return wrong(r, "'%s' is of the type '%s'; it wants to be F32", name, d.type);
    if (!count_elements(&d.tensor))
        return wrong(r, "'%s' is larger than a model may be", name);
    if (d.offsets[0] > d.offsets[1] || d.offsets[1] > r->data_size ||
        d.offsets[1] - d.offsets[0] != d.tensor.count * sizeof(float))
        return wrong(r, "'%s' has other bytes than its shape wants, or is cut short", name);
    d.tensor.data = r->data + d.offsets[0];
    r->used += d.tensor.count * sizeof(float);
    return trib_tensors_add(r->tensors, &d.tensor, r->why, r->why_size);
}

static enum trib_err take_header(struct reading *r)
{
    if (trib_json_next(&r->json) != TRIB_JSON_OPEN_OBJECT)
        return not_json(r);
    for (;;) {
        const enum trib_json_event event = trib_json_next(&r->json);
        enum trib_err err;
        if (event == TRIB_JSON_CLOSE_OBJECT)
            break;
        if (event != TRIB_JSON_OPEN_OBJECT)
            return not_json(r);
        if (strcmp((const char *)r->json.key.data, "__metadata__") == 0)
            err = take_metadata(r);
        else
            err = take_tensor(r);
        if (err)
            return err;
    }
    if (trib_json_next(&r->json) != TRIB_JSON_END)
        return not_json(r);
    if (r->used != r->data_size)
        return wrong(r, "has %zu bytes of data, its arrays hold %zu", r->data_size, r->used);
    return TRIB_OK;
}

enum trib_err trib_safetensors_read(const uint8_t *data, size_t size,
                                    struct trib_tensors *ret_tensors, char *why, size_t why_size)
{
    struct reading r = {.tensors = ret_tensors, .why = why, .why_size = why_size};
    uint64_t offset;
    if (size < TRIB_SAFETENSORS_LENGTH_SIZE || trib_safetensors_data_offset(data, &offset) ||
        offset > size)
        return wrong(&r, "is neither a safetensors nor an npz file");
    r.data = data + offset;
    r.data_size = size - (size_t)offset;
    trib_json_reader_init(&r.json, (const char *)data + TRIB_SAFETENSORS_LENGTH_SIZE,
                          (size_t)offset - TRIB_SAFETENSORS_LENGTH_SIZE);
    enum trib_err err = take_header(&r);
    trib_json_reader_fini(&r.json);
    return err;
}
