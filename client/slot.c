#include "client/slot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/math/safetensors.h"

#define TRIB_LOG_MODULE "slot"

#define MODEL_FILE      "model.safetensors"

void trib_slot_fini(struct trib_slot *slot)
{
    free(slot->params);
    *slot = (struct trib_slot){.prepare_digest = slot->prepare_digest};
}

static bool is_newer(const struct trib_msg_manifest *manifest, const struct trib_slot *slot)
{
    const struct trib_msg_manifest *have = &slot->manifest;
    if (manifest->generation != have->generation)
        return manifest->generation > have->generation;
    return manifest->version > have->version;
}

// Does it call what we have its parent, and mean another model? A generation gives no number twice.
static bool is_of_another(const struct trib_msg_manifest *manifest,
                          const struct trib_msg_manifest *have)
{
    static const uint8_t none[TRIB_DIGEST_SIZE];
    return have->version > 0 && manifest->generation == have->generation &&
           manifest->parent == have->version &&
           memcmp(manifest->parent_digest, none, TRIB_DIGEST_SIZE) != 0 && // it does not say
           memcmp(manifest->parent_digest, have->digest, TRIB_DIGEST_SIZE) != 0;
}

enum trib_code trib_slot_judge(const struct trib_slot *slot,
                               const struct trib_state_enrolment *enrolment,
                               const struct trib_msg_new_version *announcement,
                               struct trib_msg_manifest *ret_manifest, struct trib_model *ret_model)
{
    struct trib_msg_manifest manifest;
    struct trib_model model;
    char why[256];

    if (!trib_sign_verify(enrolment->release_key, TRIB_MANIFEST_CONTEXT, announcement->manifest,
                          announcement->manifest_size, announcement->signature))
        return TRIB_CODE_MODEL_UNSIGNED;
    const enum trib_err err =
        trib_msg_manifest_unpack(announcement->manifest, announcement->manifest_size, &manifest);
    if (err == TRIB_ERR_NOMEM)
        return TRIB_CODE_RETRY_LATER;
    if (err)
        return TRIB_CODE_MODEL_ARCH; // signed, but of a kind that this version cannot read
    *ret_manifest = manifest;        // a refusal names it too
    if (strcmp(manifest.population, enrolment->population) != 0)
        return TRIB_CODE_MODEL_FOREIGN;
    if (trib_model_parse_version(manifest.spec, &model, why, sizeof(why)) ||
        model.param_count != manifest.params || strcmp(model.spec, manifest.spec) != 0 ||
        memcmp(model.arch_digest, manifest.arch_digest, TRIB_DIGEST_SIZE) != 0)
        return TRIB_CODE_MODEL_ARCH;
    if (slot->prepare_digest &&
        memcmp(manifest.prepare_digest, slot->prepare_digest, TRIB_DIGEST_SIZE) != 0)
        return TRIB_CODE_MODEL_PIPELINE;
    bool is_same = manifest.generation == slot->manifest.generation &&
                   manifest.version == slot->manifest.version;
    if (is_same && memcmp(manifest.digest, slot->manifest.digest, TRIB_DIGEST_SIZE) != 0)
        return TRIB_CODE_MODEL_FORKED;
    if (is_of_another(&manifest, &slot->manifest))
        return TRIB_CODE_MODEL_FORKED;
    if (!is_newer(&manifest, slot))
        return TRIB_CODE_MODEL_OLDER;
    *ret_model = model;
    return TRIB_CODE_MODEL_INSTALLED;
}

// ---- Reading

static enum trib_err read_header(int fd, const char *path, char **ret_header, uint64_t *ret_offset)
{
    uint8_t first[TRIB_SAFETENSORS_LENGTH_SIZE];
    enum trib_err err = trib_file_read_open(fd, path, 0, first, sizeof(first));
    if (!err)
        err = trib_safetensors_data_offset(first, ret_offset);
    if (err)
        return err;
    size_t size = (size_t)*ret_offset - sizeof(first);
    char *header = trib_alloc(size + 1);
    if (!header)
        return TRIB_ERR_NOMEM;
    err = trib_file_read_open(fd, path, sizeof(first), header, size);
    if (err)
        free(header);
    else
        *ret_header = header;
    return err;
}

// It was installed under the key before the one that is pinned.
static enum trib_code judge_former(const struct trib_slot *empty,
                                   const struct trib_state_enrolment *enrolment,
                                   const struct trib_msg_new_version *card, struct trib_slot *slot)
{
    struct trib_state_enrolment then = *enrolment;
    memcpy(then.release_key, enrolment->model_key, sizeof(then.release_key));
    slot->is_former = true;
    return trib_slot_judge(empty, &then, card, &slot->manifest, &slot->model);
}

// All of it from one open file: a client that runs beside us may rename a newer one over it.
static enum trib_err load(const char *path, const struct trib_state_enrolment *enrolment,
                          struct trib_slot *slot)
{
    const struct trib_slot empty = {.prepare_digest = slot->prepare_digest};
    uint8_t digest[TRIB_DIGEST_SIZE];
    char why[128];
    char *header = NULL;
    uint64_t offset;
    uint64_t size;
    int fd = -1;
    struct trib_msg_new_version *card = trib_alloc(sizeof(*card));
    if (!card)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_file_open(path, &fd, &size);
    if (!err)
        err = read_header(fd, path, &header, &offset);
    if (!err)
        err = trib_model_file_card(header, card->manifest, sizeof(card->manifest),
                                   &card->manifest_size, card->signature);
    if (err)
        goto out;
    enum trib_code code = trib_slot_judge(&empty, enrolment, card, &slot->manifest, &slot->model);
    if (code == TRIB_CODE_MODEL_UNSIGNED && enrolment->has_model_key)
        code = judge_former(&empty, enrolment, card, slot);
    if (code != TRIB_CODE_MODEL_INSTALLED) {
        err = code == TRIB_CODE_MODEL_PIPELINE ? TRIB_ERR_REFUSED : TRIB_ERR_CORRUPT;
        err = code == TRIB_CODE_RETRY_LATER ? TRIB_ERR_NOMEM : err;
        goto out;
    }
    if (size != offset + slot->model.param_count * sizeof(float)) {
        err = TRIB_ERR_CORRUPT; // cut short, or bytes behind it that other readers stumble over
        goto out;
    }
    slot->params = trib_alloc_unset(slot->model.param_count, sizeof(float));
    err = slot->params ? trib_file_read_open(fd, path, offset, slot->params,
                                             slot->model.param_count * sizeof(float))
                       : TRIB_ERR_NOMEM;
    if (err)
        goto out;
    trib_model_digest(&slot->model, slot->params, digest);
    if (memcmp(digest, slot->manifest.digest, sizeof(digest)) != 0 ||
        trib_model_check_params(&slot->model, slot->params, why, sizeof(why)))
        err = TRIB_ERR_CORRUPT;

out:
    if (fd >= 0)
        (void)close(fd);
    free(header);
    free(card);
    return err;
}

enum trib_err trib_slot_load(const char *dir, const struct trib_state_enrolment *enrolment,
                             const uint8_t *prepare_digest, struct trib_slot *ret_slot)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_slot slot = {.prepare_digest = prepare_digest};
    enum trib_err err = trib_path_join(path, dir, MODEL_FILE);
    if (err)
        return err;
    if (trib_file_exists(path)) {
        err = load(path, enrolment, &slot);
        if (err == TRIB_ERR_NOMEM || err == TRIB_ERR_IO) {
            trib_slot_fini(&slot);
            return err;
        }
        if (err == TRIB_ERR_REFUSED) {
            TRIB_WARN("id=model-pipeline %s: its features come from another pipeline than this "
                      "device's rows; not used",
                      path);
            trib_slot_fini(&slot);
        } else if (err) {
            TRIB_ERROR("id=model-corrupt %s: damaged or not ours; not used, to be fetched again",
                       path);
            trib_slot_fini(&slot);
        }
    }
    *ret_slot = slot;
    return TRIB_OK;
}

// ---- Installing

enum trib_err trib_slot_install(struct trib_slot *slot, const char *dir,
                                const struct trib_msg_new_version *announcement,
                                const struct trib_msg_manifest *manifest,
                                const struct trib_model *model, float *params)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t digest[TRIB_DIGEST_SIZE];
    char why[128];
    struct trib_buf header = {0};

    trib_model_digest(model, params, digest);
    if (memcmp(digest, manifest->digest, sizeof(digest)) != 0 ||
        trib_model_check_params(model, params, why, sizeof(why)))
        return TRIB_ERR_CORRUPT;
    enum trib_err err = trib_path_join(path, dir, MODEL_FILE);
    const struct trib_model_card card = {
        .version = manifest->version,
        .kind = manifest->kind,
        .digest = manifest->digest,
        .manifest = announcement->manifest,
        .manifest_size = announcement->manifest_size,
        .signature = announcement->signature,
        .threshold = trib_msg_manifest_metric(manifest, "threshold"),
        .prepare_digest = manifest->prepare_digest,
    };
    if (!err)
        err = trib_model_file_header(model, &card, &header);
    TRIB_CRASH_POINT("slot.before");
    if (!err)
        err = trib_file_write_two(path, header.data, header.size, params,
                                  model->param_count * sizeof(float), 0644);
    TRIB_CRASH_POINT("slot.installed");
    trib_buf_fini(&header);
    if (err)
        return err;
    if (!slot->is_lent)
        free(slot->params);
    slot->is_lent = false;
    slot->is_former = false;
    slot->manifest = *manifest;
    slot->model = *model;
    slot->params = params;
    TRIB_INFO("installed version=%" PRIu64 " kind=%s", manifest->version, manifest->kind);
    return TRIB_OK;
}
