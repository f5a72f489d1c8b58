#include "common/math/model_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/math/c_export.h"
#include "common/math/npz.h"
#include "common/math/onnx.h"
#include "common/math/safetensors.h"
#include "common/math/tensors.h"

static const char *const format_words[] = {
    [TRIB_MODEL_SAFETENSORS] = "safetensors",
    [TRIB_MODEL_NPZ] = "npz",
    [TRIB_MODEL_ONNX] = "onnx",
    [TRIB_MODEL_C] = "c",
};

bool trib_model_format_find(const char *word, enum trib_model_format *ret_format)
{
    for (size_t i = 0; i < sizeof(format_words) / sizeof(format_words[0]); i++) {
        if (strcmp(word, format_words[i]) == 0) {
            *ret_format = (enum trib_model_format)i;
            return true;
        }
    }
    return false;
}

const char *trib_model_format_text(enum trib_model_format format)
{
    return format_words[format];
}

static enum trib_err read_tensors(const struct trib_buf *file, struct trib_tensors *ret_tensors,
                                  char *why, size_t why_size)
{
    return trib_npz_is(file->data, file->size)
               ? trib_npz_read(file->data, file->size, ret_tensors, why, why_size)
               : trib_safetensors_read(file->data, file->size, ret_tensors, why, why_size);
}

// The other formats carry the text itself.
static void put_threshold(const struct trib_tensors *tensors, const char *name,
                          struct trib_buf *file)
{
    const char *text = trib_tensors_text(tensors, "threshold");
    char *end;
    const double threshold = text ? strtod(text, &end) : -1;
    if (text && end != text && !*end && threshold >= 0 && threshold <= 1)
        trib_c_export_threshold(name, threshold, file);
}

static void write_file(const struct trib_tensors *tensors, const struct trib_model *model,
                       const float *params, enum trib_model_format format, const char *name,
                       struct trib_buf *file)
{
    struct trib_safetensors_text texts[TRIB_TENSOR_TEXTS_MAX];
    const size_t count = tensors->text_count;
    for (size_t i = 0; i < count; i++) {
        texts[i].name = tensors->texts[i].name;
        texts[i].value = tensors->texts[i].value;
    }
    switch (format) {
    case TRIB_MODEL_SAFETENSORS:
        trib_safetensors_header(model, texts, count, file);
        trib_buf_append(file, params, model->param_count * sizeof(*params));
        break;
    case TRIB_MODEL_NPZ: trib_npz_write(model, params, texts, count, file); break;
    case TRIB_MODEL_ONNX: trib_onnx_write(model, params, texts, count, file); break;
    case TRIB_MODEL_C:
        trib_c_export_write(model, params, name, file);
        put_threshold(tensors, name, file);
        break;
    }
}

// The model that a file says it is of.
static enum trib_err find_model(const struct trib_tensors *tensors, struct trib_model *ret_model,
                                char *why, size_t why_size)
{
    char wrong[256];
    const char *spec = trib_tensors_text(tensors, "spec");
    if (!spec) {
        (void)snprintf(why, why_size, "does not say of what model it is (the text 'spec')");
        return TRIB_ERR_DATA;
    }
    if (trib_model_parse_version(spec, ret_model, wrong, sizeof(wrong))) {
        (void)snprintf(why, why_size, "its model '%.100s' %s", spec, wrong);
        return TRIB_ERR_DATA;
    }
    return TRIB_OK;
}

// A program computes what the model says; a model with a local part says nothing without a
// device's.
static enum trib_err check_whole(const struct trib_model *model, enum trib_model_format format,
                                 char *why, size_t why_size)
{
    const bool is_program = format == TRIB_MODEL_ONNX || format == TRIB_MODEL_C;
    if (format == TRIB_MODEL_ONNX && model->member_count > 0) {
        (void)snprintf(why, why_size,
                       "is an ensemble, which is not written as onnx: safetensors, npz and c take "
                       "it");
        return TRIB_ERR_DATA;
    }
    if (!is_program || model->local_count == 0)
        return TRIB_OK;
    (void)snprintf(
        why, why_size,
        "its model '%.100s' has a part that stays on each device and is not in the file: "
        "only safetensors and npz take the common part alone",
        model->spec);
    return TRIB_ERR_DATA;
}

enum trib_err trib_model_file_convert(const struct trib_buf *from, enum trib_model_format format,
                                      const char *name, struct trib_buf *ret_file, char *why,
                                      size_t why_size)
{
    struct trib_model model;
    struct trib_buf file = {0};
    float *params = NULL;
    struct trib_tensors *tensors = trib_alloc(sizeof(*tensors));
    if (!tensors)
        return TRIB_ERR_NOMEM;
    enum trib_err err = read_tensors(from, tensors, why, why_size);
    if (!err)
        err = find_model(tensors, &model, why, why_size);
    if (!err)
        err = check_whole(&model, format, why, why_size);
    if (err)
        goto out;
    params = trib_alloc_aligned(model.param_count, sizeof(*params));
    err = params ? trib_tensors_params(tensors, &model, params, why, why_size) : TRIB_ERR_NOMEM;
    if (err)
        goto out;
    write_file(tensors, &model, params, format, name, &file);
    if (file.failed) {
        err = TRIB_ERR_NOMEM;
        goto out;
    }
    *ret_file = file;
    file = (struct trib_buf){0};

out:
    if (err == TRIB_ERR_NOMEM)
        (void)snprintf(why, why_size, "out of memory");
    trib_buf_fini(&file);
    free(params);
    trib_tensors_fini(tensors);
    free(tensors);
    return err;
}

enum trib_err trib_model_file_export(const struct trib_buf *from, enum trib_model_format format,
                                     const char *path, char *why, size_t why_size)
{
    char name[TRIB_NAME_MAX + 1];
    struct trib_buf file = {0};
    (void)snprintf(name, sizeof(name), "%s", trib_path_base(path));
    name[strcspn(name, ".")] = '\0';
    if (why_size > 0)
        why[0] = '\0';
    enum trib_err err = trib_model_file_convert(from, format, name, &file, why, why_size);
    if (!err)
        err = trib_file_write(path, file.data, file.size, 0644);
    trib_buf_fini(&file);
    return err;
}

// What is done with the arrays of a file.
typedef enum trib_err (*use_fn)(void *user, const struct trib_tensors *tensors, char *why,
                                size_t why_size);

// Texts in `why` begin with the path.
static enum trib_err open_file(const char *path, use_fn use, void *user, char *why, size_t why_size)
{
    struct trib_buf file = {0};
    struct trib_tensors *tensors = trib_alloc(sizeof(*tensors));
    int used = snprintf(why, why_size, "%s: ", path);
    const size_t start = used > 0 && (size_t)used < why_size ? (size_t)used : 0;
    if (!tensors) {
        (void)snprintf(why + start, why_size - start, "out of memory");
        return TRIB_ERR_NOMEM;
    }
    enum trib_err err = trib_file_read(path, TRIB_MODEL_FILE_SIZE_MAX, &file);
    if (err)
        (void)snprintf(why + start, why_size - start, "cannot be read: %s", trib_err_text(err));
    if (!err)
        err = read_tensors(&file, tensors, why + start, why_size - start);
    if (!err)
        err = use(user, tensors, why + start, why_size - start);
    trib_tensors_fini(tensors);
    free(tensors);
    trib_buf_fini(&file);
    return err;
}

struct loading {
    const struct trib_model *model;
    const char *map; // NULL: the same architecture
    float *params;
};

static enum trib_err take_params(void *user, const struct trib_tensors *tensors, char *why,
                                 size_t why_size)
{
    const struct loading *loading = user;
    if (loading->map)
        return trib_tensors_map(tensors, loading->model, loading->map, loading->params, why,
                                why_size);
    return trib_tensors_params(tensors, loading->model, loading->params, why, why_size);
}

enum trib_err trib_model_file_load(const char *path, const struct trib_model *model,
                                   float *ret_params, char *why, size_t why_size)
{
    struct loading loading = {.model = model, .params = ret_params};
    return open_file(path, take_params, &loading, why, why_size);
}

struct opening {
    struct trib_model *model;
    float *params;
};

static enum trib_err take_model(void *user, const struct trib_tensors *tensors, char *why,
                                size_t why_size)
{
    struct opening *opening = user;
    enum trib_err err = find_model(tensors, opening->model, why, why_size);
    if (err)
        return err;
    float *params = trib_alloc_aligned(opening->model->param_count, sizeof(*params));
    if (!params) {
        (void)snprintf(why, why_size, "out of memory");
        return TRIB_ERR_NOMEM;
    }
    err = trib_tensors_params(tensors, opening->model, params, why, why_size);
    if (err)
        free(params);
    else
        opening->params = params;
    return err;
}

enum trib_err trib_model_file_open(const char *path, struct trib_model *ret_model,
                                   float **ret_params, char *why, size_t why_size)
{
    struct opening opening = {.model = ret_model};
    enum trib_err err = open_file(path, take_model, &opening, why, why_size);
    if (!err)
        *ret_params = opening.params;
    return err;
}

enum trib_err trib_model_file_map(const char *path, const struct trib_model *model, const char *map,
                                  float *params, char *why, size_t why_size)
{
    struct loading loading = {.model = model, .map = map, .params = params};
    return open_file(path, take_params, &loading, why, why_size);
}

static void write_derived(const struct trib_model *model, const float *params, const char *parent,
                          const char *map, struct trib_buf *file)
{
    uint8_t digest[TRIB_DIGEST_SIZE];
    char hex[TRIB_DIGEST_TEXT_SIZE];
    trib_model_digest(model, params, digest);
    trib_hex_encode(digest, sizeof(digest), hex);
    const struct trib_safetensors_text texts[] = {
        {"spec", model->spec}, {"digest", hex}, {"map", map}, {"parent", parent ? parent : ""}};
    trib_safetensors_header(model, texts, parent ? 4 : 3, file);
    trib_buf_append(file, params, model->param_count * sizeof(*params));
}

enum trib_err trib_model_file_derive(const struct trib_buf *from, const char *spec, const char *map,
                                     uint64_t seed, struct trib_buf *ret_file, char *why,
                                     size_t why_size)
{
    struct trib_model model;
    struct trib_buf file = {0};
    float *params = NULL;
    struct trib_tensors *tensors = NULL;
    if (trib_model_parse(spec, &model, why, why_size))
        return TRIB_ERR_INVAL;
    (void)snprintf(why, why_size, "out of memory");
    enum trib_err err = TRIB_ERR_NOMEM;
    params = trib_alloc_aligned(model.param_count, sizeof(*params));
    tensors = trib_alloc(sizeof(*tensors));
    if (!params || !tensors)
        goto out;
    err = read_tensors(from, tensors, why, why_size);
    if (err)
        goto out;
    trib_model_init(&model, seed, params);
    err = trib_tensors_map(tensors, &model, map, params, why, why_size);
    if (err)
        goto out;
    write_derived(&model, params, trib_tensors_text(tensors, "digest"), map, &file);
    err = file.failed ? TRIB_ERR_NOMEM : TRIB_OK;
    if (!err) {
        *ret_file = file;
        file = (struct trib_buf){0};
    }

out:
    trib_buf_fini(&file);
    free(params);
    if (tensors)
        trib_tensors_fini(tensors);
    free(tensors);
    return err;
}

struct asked_text {
    const char *name;
    char *text; // TRIB_DIGEST_TEXT_SIZE
};

static enum trib_err take_text(void *user, const struct trib_tensors *tensors, char *why,
                               size_t why_size)
{
    const struct asked_text *asked = user;
    const char *text = trib_tensors_text(tensors, asked->name);
    (void)why;
    (void)why_size;
    (void)snprintf(asked->text, TRIB_DIGEST_TEXT_SIZE, "%s", text ? text : "");
    return TRIB_OK;
}

enum trib_err trib_model_file_digest(const char *path,
                                     char ret_digest[static TRIB_DIGEST_TEXT_SIZE], char *why,
                                     size_t why_size)
{
    struct asked_text asked = {"digest", ret_digest};
    return open_file(path, take_text, &asked, why, why_size);
}

enum trib_err trib_model_file_parent(const char *path,
                                     char ret_digest[static TRIB_DIGEST_TEXT_SIZE], char *why,
                                     size_t why_size)
{
    struct asked_text asked = {"parent", ret_digest};
    return open_file(path, take_text, &asked, why, why_size);
}
