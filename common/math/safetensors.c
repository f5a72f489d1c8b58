#include "common/math/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/json.h"

static void put_tensor(struct trib_buf *buf, uint32_t layer, const struct trib_layer_tensor *tensor)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".%s", layer, tensor->name);
    trib_json_open(buf, name, '{');
    trib_json_text(buf, "dtype", "F32");
    trib_json_open(buf, "shape", '[');
    for (uint32_t d = 0; d < tensor->dimensions; d++)
        trib_json_uint(buf, NULL, tensor->shape[d]);
    trib_json_close(buf, ']');
    trib_json_open(buf, "data_offsets", '[');
    trib_json_uint(buf, NULL, tensor->offset * sizeof(float));
    trib_json_uint(buf, NULL, (tensor->offset + tensor->count) * sizeof(float));
    trib_json_close(buf, ']');
    trib_json_close(buf, '}');
}

void trib_safetensors_header(const struct trib_model *model,
                             const struct trib_safetensors_text *metadata, size_t metadata_count,
                             struct trib_buf *buf)
{
    struct trib_buf json = {0};
    trib_json_open(&json, NULL, '{');
    trib_json_open(&json, "__metadata__", '{');
    for (size_t i = 0; i < metadata_count; i++)
        trib_json_text(&json, metadata[i].name, metadata[i].value);
    trib_json_close(&json, '}');
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        for (uint32_t t = 0; t < layer->tensor_count; t++)
            put_tensor(&json, l, &layer->tensors[t]);
    }
    trib_json_close(&json, '}');
    while (json.size % 8 != 0 && !json.failed)
        trib_buf_text(&json, " ");

    uint8_t *length = trib_buf_extend(buf, TRIB_SAFETENSORS_LENGTH_SIZE);
    if (length)
        trib_store_le64(length, json.size);
    trib_buf_append(buf, json.data, json.size);
    buf->failed = buf->failed || json.failed;
    trib_buf_fini(&json);
}

enum trib_err trib_safetensors_data_offset(const uint8_t first[static TRIB_SAFETENSORS_LENGTH_SIZE],
                                           uint64_t *ret_offset)
{
    uint64_t length = trib_load_le64(first);
    if (length < 2 || length > TRIB_SAFETENSORS_HEADER_MAX)
        return TRIB_ERR_CORRUPT;
    *ret_offset = TRIB_SAFETENSORS_LENGTH_SIZE + length;
    return TRIB_OK;
}

enum trib_err trib_safetensors_find(const char *header, const char *name, char *ret_value,
                                    size_t capacity)
{
    char key[80];
    if (snprintf(key, sizeof(key), "\"%s\":\"", name) >= (int)sizeof(key))
        return TRIB_ERR_CORRUPT;
    const char *value = strstr(header, key);
    if (!value)
        return TRIB_ERR_CORRUPT;
    value += strlen(key);
    size_t size = strcspn(value, "\"\\");
    if (value[size] != '"' || size >= capacity)
        return TRIB_ERR_CORRUPT;
    memcpy(ret_value, value, size);
    ret_value[size] = '\0';
    return TRIB_OK;
}

enum trib_err trib_model_file_header(const struct trib_model *model,
                                     const struct trib_model_card *card, struct trib_buf *buf)
{
    char number[24];
    static const uint8_t none[TRIB_DIGEST_SIZE];
    const bool has_pipeline = memcmp(card->prepare_digest, none, sizeof(none)) != 0;
    char digest[TRIB_DIGEST_TEXT_SIZE];
    char pipeline[TRIB_DIGEST_TEXT_SIZE];
    char signature[TRIB_BASE64_TEXT_SIZE(64)];
    char threshold[TRIB_REAL_TEXT_SIZE];
    char *manifest = trib_alloc(TRIB_BASE64_TEXT_SIZE(card->manifest_size));
    if (!manifest)
        return TRIB_ERR_NOMEM;
    (void)snprintf(number, sizeof(number), "%" PRIu64, card->version);
    trib_hex_encode(card->digest, TRIB_DIGEST_SIZE, digest);
    trib_hex_encode(card->prepare_digest, TRIB_DIGEST_SIZE, pipeline);
    trib_base64_encode(card->manifest, card->manifest_size, manifest);
    trib_base64_encode(card->signature, 64, signature);
    struct trib_safetensors_text metadata[8] = {
        {"spec", model->spec}, {"version", number},    {"digest", digest},
        {"kind", card->kind},  {"manifest", manifest}, {"signature", signature},
    };
    size_t count = 6;
    trib_real_text(card->threshold, threshold);
    if (!isnan(card->threshold))
        metadata[count++] = (struct trib_safetensors_text){"threshold", threshold};
    if (has_pipeline)
        metadata[count++] = (struct trib_safetensors_text){"pipeline", pipeline};
    trib_safetensors_header(model, metadata, count, buf);
    free(manifest);
    return buf->failed ? TRIB_ERR_NOMEM : TRIB_OK;
}

enum trib_err trib_model_file_card(const char *header, uint8_t *ret_manifest, size_t capacity,
                                   size_t *ret_manifest_size, uint8_t ret_signature[static 64])
{
    char signature[TRIB_BASE64_TEXT_SIZE(64)];
    size_t size = 0;
    size_t text_size = TRIB_BASE64_TEXT_SIZE(capacity);
    char *manifest = trib_alloc(text_size);
    if (!manifest)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_safetensors_find(header, "manifest", manifest, text_size);
    if (!err)
        err = trib_safetensors_find(header, "signature", signature, sizeof(signature));
    if (!err && (!trib_base64_decode(manifest, ret_manifest, capacity, ret_manifest_size) ||
                 !trib_base64_decode(signature, ret_signature, 64, &size) || size != 64))
        err = TRIB_ERR_CORRUPT;
    free(manifest);
    return err;
}
