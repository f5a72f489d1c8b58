#include "client/local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/wipe.h"

#define TRIB_LOG_MODULE "local"

enum {
    HEADER_SIZE = 88,
    DIGEST_START = 40, // the digest covers everything from here on
    FILE_MODE = 0600,
};

static const char magic[8] = {'T', 'R', 'I', 'B', 'L', 'O', 'C', '1'};

static enum trib_err create(size_t count, struct trib_local *ret_local)
{
    struct trib_local local = {.count = count};
    local.before = trib_alloc_aligned(count, sizeof(*local.before));
    local.after = trib_alloc_aligned(count, sizeof(*local.after));
    if (!local.before || !local.after) {
        trib_local_fini(&local);
        return TRIB_ERR_NOMEM;
    }
    *ret_local = local;
    return TRIB_OK;
}

void trib_local_fini(struct trib_local *local)
{
    if (local->before)
        trib_wipe(local->before, local->count * sizeof(*local->before));
    if (local->after)
        trib_wipe(local->after, local->count * sizeof(*local->after));
    free(local->before);
    free(local->after);
    *local = (struct trib_local){.count = 0};
}

// Is this a whole and undamaged file? Then also: is it of this architecture?
static bool is_whole(const struct trib_buf *file, const struct trib_model *model, bool *ret_is_ours)
{
    uint8_t digest[TRIB_DIGEST_SIZE];
    if (file->size < HEADER_SIZE || memcmp(file->data, magic, sizeof(magic)) != 0)
        return false;
    trib_digest(file->data + DIGEST_START, file->size - DIGEST_START, digest);
    if (memcmp(digest, file->data + 8, sizeof(digest)) != 0)
        return false;
    *ret_is_ours = memcmp(file->data + 40, model->arch_digest, TRIB_DIGEST_SIZE) == 0 &&
                   trib_load_le64(file->data + 80) == model->local_count &&
                   file->size == HEADER_SIZE + 2 * model->local_count * sizeof(float);
    return true;
}

static bool are_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            return false;
    }
    return true;
}

// False: there is nothing in the file to go on from.
static bool take_file(const char *path, const struct trib_buf *file, const struct trib_model *model,
                      struct trib_local *local)
{
    bool is_ours = false;
    const size_t size = local->count * sizeof(float);
    if (!is_whole(file, model, &is_ours)) {
        TRIB_ERROR("id=local-corrupt %s: does not match its digest; it begins anew", path);
        return false;
    }
    if (!is_ours) {
        TRIB_INFO("%s: is of another model; it begins anew", path);
        return false;
    }
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "parameters are kept as they lie");
    local->round_id = trib_load_le64(file->data + 72);
    memcpy(local->before, file->data + HEADER_SIZE, size);
    memcpy(local->after, file->data + HEADER_SIZE + size, size);
    if (are_finite(local->before, local->count) && are_finite(local->after, local->count))
        return true;
    TRIB_ERROR("id=local-corrupt %s: has values that are not finite; it begins anew", path);
    return false;
}

enum trib_err trib_local_load(const char *dir, const struct trib_model *model, uint64_t seed,
                              const char *device, struct trib_local *ret_local)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_local local;
    struct trib_buf file = {0};
    bool is_there = false;

    enum trib_err err = trib_path_join(path, dir, "local.part");
    if (!err)
        err = create(model->local_count, &local);
    if (err)
        return err;
    if (trib_file_exists(path)) {
        err =
            trib_file_read(path, HEADER_SIZE + 2 * (size_t)TRIB_PARAMS_MAX * sizeof(float), &file);
        is_there = !err && take_file(path, &file, model, &local);
    }
    if (file.data)
        trib_wipe(file.data, file.size);
    trib_buf_fini(&file);
    if (err) { // a file that cannot be read is not one that is not there
        trib_local_fini(&local);
        return err;
    }
    if (!is_there) {
        local.round_id = 0;
        trib_model_init_local(model, seed, device, local.after);
    }
    *ret_local = local;
    return TRIB_OK;
}

const float *trib_local_start(const struct trib_local *local, uint64_t round_id)
{
    return round_id == local->round_id ? local->before : local->after;
}

enum trib_err trib_local_save(struct trib_local *local, const char *dir,
                              const struct trib_model *model, uint64_t round_id,
                              const float *trained)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t header[HEADER_SIZE] = {0};
    const size_t size = local->count * sizeof(float);
    enum trib_err err = trib_path_join(path, dir, "local.part");
    uint8_t *body = trib_alloc_aligned(2 * size, 1);
    if (!err && !body)
        err = TRIB_ERR_NOMEM;
    if (err)
        goto out;
    if (round_id != local->round_id)
        memcpy(local->before, local->after, size);
    memcpy(local->after, trained, size);
    local->round_id = round_id;
    memcpy(body, local->before, size);
    memcpy(body + size, local->after, size);
    memcpy(header, magic, sizeof(magic));
    memcpy(header + 40, model->arch_digest, TRIB_DIGEST_SIZE);
    trib_store_le64(header + 72, round_id);
    trib_store_le64(header + 80, local->count);
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, header + DIGEST_START, HEADER_SIZE - DIGEST_START);
    trib_hash_update(&hash, body, 2 * size);
    trib_hash_final(&hash, header + 8, TRIB_DIGEST_SIZE);
    err = trib_file_write_two(path, header, sizeof(header), body, 2 * size, FILE_MODE);
    TRIB_CRASH_POINT("local.durable");

out:
    if (body)
        trib_wipe(body, 2 * size);
    free(body);
    return err;
}
