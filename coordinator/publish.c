#include "coordinator/publish.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/math/safetensors.h"
#include "coordinator/keys.h"

#define TRIB_LOG_MODULE "publish"

enum {
    SEALED_MS = 10000, // that a sealed version is kept for the next device that asks
};

enum trib_err trib_version_path(const char *dir, const uint8_t digest[static TRIB_DIGEST_SIZE],
                                char path[static TRIB_PATH_MAX + 1])
{
    char hex[TRIB_DIGEST_TEXT_SIZE];
    char name[128];
    trib_hex_encode(digest, TRIB_DIGEST_SIZE, hex);
    (void)snprintf(name, sizeof(name), "models/%s.safetensors", hex);
    return trib_path_join(path, dir, name);
}

void trib_manifest_set_evaluation(struct trib_msg_manifest *manifest,
                                  const struct trib_evaluation *evaluation)
{
    struct trib_evaluation_value values[TRIB_EVALUATION_VALUES];
    size_t count = trib_evaluation_values(evaluation, values);
    manifest->metric_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct trib_msg_metric *metric = &manifest->metrics[manifest->metric_count];
        if (!values[i].is_headline || !isfinite(values[i].value))
            continue;
        assert(manifest->metric_count < TRIB_METRICS_MAX);
        (void)snprintf(metric->name, sizeof(metric->name), "%s", values[i].name);
        metric->value = values[i].value;
        manifest->metric_count++;
    }
}

void trib_manifest_get_evaluation(const struct trib_msg_manifest *manifest, uint32_t classes,
                                  struct trib_evaluation *ret_evaluation)
{
    trib_evaluation_init(ret_evaluation, classes);
    for (uint32_t i = 0; i < manifest->metric_count; i++)
        trib_evaluation_set(ret_evaluation, manifest->metrics[i].name, manifest->metrics[i].value);
}

enum trib_err trib_version_take(const struct trib_identity *identity,
                                const struct trib_model *model, float *params,
                                const struct trib_msg_manifest *manifest,
                                struct trib_version **ret_version)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "parameters are sent as they lie");
    enum trib_err err = TRIB_ERR_NOMEM;
    struct trib_buf packed = {0};
    struct trib_version *version = trib_alloc(sizeof(*version));
    struct trib_blob *blob =
        trib_blob_take((uint8_t *)params, model->param_count * sizeof(*params));
    if (!version || !blob) {
        trib_blob_unref(blob);
        free(version);
        return TRIB_ERR_NOMEM;
    }
    version->params = blob;
    version->model = *model;
    version->manifest = *manifest;
    memcpy(version->manifest.arch_digest, model->arch_digest, TRIB_DIGEST_SIZE);
    memcpy(version->manifest.spec, model->spec, sizeof(model->spec));
    version->manifest.params = model->param_count;
    trib_model_digest(model, params, version->manifest.digest);

    trib_msg_manifest_pack(&version->manifest, &packed);
    if (packed.failed || packed.size > TRIB_MSG_MANIFEST_MAX)
        goto out;
    memcpy(version->announcement.manifest, packed.data, packed.size);
    version->announcement.manifest_size = packed.size;
    trib_sign(identity->release_seed, TRIB_MANIFEST_CONTEXT, packed.data, packed.size,
              version->announcement.signature);
    err = TRIB_OK;
    *ret_version = version;
    version = NULL;

out:
    trib_buf_fini(&packed);
    trib_version_destroy(version);
    return err;
}

enum trib_err trib_version_make(const struct trib_identity *identity,
                                const struct trib_model *model, const float *params,
                                const struct trib_msg_manifest *manifest,
                                struct trib_version **ret_version)
{
    float *copy = trib_alloc_unset(model->param_count, sizeof(*copy));
    if (!copy)
        return TRIB_ERR_NOMEM;
    memcpy(copy, params, model->param_count * sizeof(*copy));
    return trib_version_take(identity, model, copy, manifest, ret_version);
}

void trib_version_destroy(struct trib_version *version)
{
    if (!version)
        return;
    trib_blob_unref(version->params);
    trib_sealed_unref(version->sealed);
    free(version);
}

enum trib_err trib_version_seal(struct trib_version *version, uint64_t now_ms,
                                struct trib_sealed **ret_sealed)
{
    enum trib_err err =
        version->sealed ? TRIB_OK : trib_sealed_create(version->params, &version->sealed);
    version->sealed_ms = now_ms;
    *ret_sealed = version->sealed;
    return err;
}

void trib_version_rest(struct trib_version *version, uint64_t now_ms)
{
    if (!version->sealed || trib_sealed_is_shared(version->sealed) ||
        now_ms < version->sealed_ms + SEALED_MS)
        return;
    trib_sealed_unref(version->sealed);
    version->sealed = NULL;
}

static enum trib_err file_header(const struct trib_version *version, struct trib_buf *ret_header)
{
    const struct trib_model_card card = {
        .version = version->manifest.version,
        .kind = version->manifest.kind,
        .digest = version->manifest.digest,
        .manifest = version->announcement.manifest,
        .manifest_size = version->announcement.manifest_size,
        .signature = version->announcement.signature,
        .threshold = trib_msg_manifest_metric(&version->manifest, "threshold"),
        .prepare_digest = version->manifest.prepare_digest,
    };
    return trib_model_file_header(&version->model, &card, ret_header);
}

enum trib_err trib_version_header(const uint8_t *manifest, size_t manifest_size,
                                  const uint8_t signature[static TRIB_SIGNATURE_SIZE],
                                  struct trib_buf *ret_header)
{
    char why[256];
    struct trib_version *version = trib_alloc(sizeof(*version));
    if (!version)
        return TRIB_ERR_NOMEM;
    struct trib_msg_new_version *announcement = &version->announcement;
    enum trib_err err = TRIB_ERR_CORRUPT;
    if (manifest_size > sizeof(announcement->manifest) ||
        trib_msg_manifest_unpack(manifest, manifest_size, &version->manifest) ||
        trib_model_parse_version(version->manifest.spec, &version->model, why, sizeof(why)))
        goto out;
    memcpy(announcement->manifest, manifest, manifest_size);
    announcement->manifest_size = manifest_size;
    memcpy(announcement->signature, signature, TRIB_SIGNATURE_SIZE);
    err = file_header(version, ret_header);

out:
    trib_version_destroy(version);
    return err;
}

enum trib_err trib_version_write(const char *dir, const struct trib_version *version)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf header = {0};
    enum trib_err err = trib_version_path(dir, version->manifest.digest, path);
    if (!err)
        err = file_header(version, &header);
    if (!err)
        err = trib_file_write_two(path, header.data, header.size, version->params->data,
                                  version->params->size, 0644);
    TRIB_CRASH_POINT("version.written");
    trib_buf_fini(&header);
    return err;
}

// The parameters, as they were signed. What else is in the file is nobody's business here.
static enum trib_err read_params(const char *dir, const struct trib_model *model,
                                 const struct trib_msg_manifest *manifest, float *params)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t first[TRIB_SAFETENSORS_LENGTH_SIZE];
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t offset;
    enum trib_err err = trib_version_path(dir, manifest->digest, path);
    if (err)
        return err;
    err = trib_file_read_at(path, 0, first, sizeof(first));
    if (!err)
        err = trib_safetensors_data_offset(first, &offset);
    if (!err)
        err = trib_file_read_at(path, offset, params, manifest->params * sizeof(float));
    if (!err) {
        trib_model_digest(model, params, digest);
        if (memcmp(digest, manifest->digest, sizeof(digest)) != 0)
            err = TRIB_ERR_CORRUPT;
    }
    if (err == TRIB_ERR_CORRUPT)
        TRIB_ERROR("id=model-corrupt %s: version=%" PRIu64 " does not match its digest; not used",
                   path, manifest->version);
    return err;
}

enum trib_err trib_version_read(const char *dir, const struct trib_identity *identity,
                                const uint8_t *manifest, size_t manifest_size,
                                const uint8_t signature[static TRIB_SIGNATURE_SIZE],
                                struct trib_version **ret_version)
{
    struct trib_msg_manifest read;
    struct trib_model model;
    char why[256];
    float *params = NULL;

    enum trib_err err = TRIB_ERR_CORRUPT;
    if (trib_keys_verify(identity, TRIB_MANIFEST_CONTEXT, manifest, manifest_size, signature))
        err = trib_msg_manifest_unpack(manifest, manifest_size, &read);
    if (err == TRIB_ERR_NOMEM)
        return err;
    if (err || trib_model_parse_version(read.spec, &model, why, sizeof(why)) ||
        model.param_count != read.params) {
        TRIB_ERROR("id=manifest-corrupt a stored manifest is not ours or does not parse");
        return TRIB_ERR_CORRUPT;
    }
    params = trib_alloc_unset(model.param_count, sizeof(float));
    if (!params)
        return TRIB_ERR_NOMEM;
    err = read_params(dir, &model, &read, params);
    if (!err) // packs to equal bytes
        return trib_version_take(identity, &model, params, &read, ret_version);
    free(params);
    return err;
}
