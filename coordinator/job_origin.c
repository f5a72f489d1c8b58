#include "coordinator/job_origin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/math/model_file.h"
#include "coordinator/publish.h"

const char *const trib_job_origin_keys[TRIB_JOB_ORIGIN_KEYS] = {"init", "init_version", "init_map"};

struct finding {
    const struct trib_job_versions *versions;
    uint64_t number;
    bool is_found, is_dropped;
    enum trib_err err;
    struct trib_version *version; // owned
};

static void take_version(void *user, const struct trib_store_version *row)
{
    struct finding *f = user;
    if (row->version != f->number)
        return;
    f->is_found = true;
    f->is_dropped = row->is_dropped;
    if (row->is_dropped) {
        f->err = TRIB_ERR_INVAL;
        return;
    }
    f->err = trib_version_read(f->versions->dir, f->versions->identity, row->manifest,
                               row->manifest_size, row->signature, &f->version);
}

enum trib_err trib_job_find_version(uint64_t number, const struct trib_job_versions *versions,
                                    struct trib_version **ret_version, char *why, size_t why_size)
{
    struct finding f = {.versions = versions, .number = number};
    enum trib_err err = trib_store_versions(versions->store, f.number - 1, 1, take_version, &f);
    if (!err)
        err = f.is_found ? f.err : TRIB_ERR_INVAL;
    if (err && f.is_dropped)
        (void)snprintf(why, why_size,
                       "the file of version %" PRIu64 " was removed (store.keep_versions)",
                       f.number);
    else if (err)
        (void)snprintf(why, why_size, "there is no version %" PRIu64 "%s", f.number,
                       f.is_found ? " that can be read any more" : "");
    // An I/O error would mean that something of ours is not durable.
    *ret_version = f.version;
    return err == TRIB_ERR_IO ? TRIB_ERR_CORRUPT : err;
}

static enum trib_err map_version(const struct trib_job *job, const char *dir,
                                 const struct trib_version *version, float *params, char *why,
                                 size_t why_size)
{
    char path[TRIB_PATH_MAX + 1];
    char wrong[TRIB_PATH_MAX + 512];
    enum trib_err err = trib_version_path(dir, version->manifest.digest, path);
    if (err)
        return err;
    trib_model_init(&job->model, job->config.model_seed, params);
    err = trib_model_file_map(path, &job->model, job->config.model_init_map, params, wrong,
                              sizeof(wrong));
    if (err)
        (void)snprintf(why, why_size, "model.init_map: %s", wrong);
    return err;
}

static enum trib_err start_from_version(const struct trib_job *job, uint64_t number,
                                        const struct trib_job_versions *versions, float *params,
                                        struct trib_job_origin *origin, char *why, size_t why_size)
{
    struct trib_version *version = NULL;
    char wrong[128];
    enum trib_err err = trib_job_find_version(number, versions, &version, wrong, sizeof(wrong));
    if (err) {
        (void)snprintf(why, why_size, "model.init_version: %s", wrong);
        return err;
    }
    if (version->model.member_count > 0) {
        (void)snprintf(why, why_size,
                       "model.init_version: version %" PRIu64 " is an ensemble, which is not "
                       "trained: begin with one of its members (models show)",
                       number);
        trib_version_destroy(version);
        return TRIB_ERR_INVAL;
    }
    origin->version = version->manifest.version;
    memcpy(origin->digest, version->manifest.digest, TRIB_DIGEST_SIZE);
    if (job->config.model_init_map[0]) {
        err = map_version(job, versions->dir, version, params, why, why_size);
    } else if (memcmp(version->model.arch_digest, job->model.arch_digest, TRIB_DIGEST_SIZE) == 0) {
        memcpy(params, trib_version_params(version), job->model.param_count * sizeof(*params));
    } else {
        (void)snprintf(why, why_size,
                       "model.init_version: version %" PRIu64 " is of the model '%s', the job of "
                       "'%s': say with model.init_map which layers go where",
                       version->manifest.version, version->model.spec, job->model.spec);
        err = TRIB_ERR_INVAL;
    }
    trib_version_destroy(version);
    return err;
}

static bool take_digest(const char *text, uint8_t *digest)
{
    if (strlen(text) == TRIB_DIGEST_TEXT_SIZE - 1 &&
        trib_hex_decode(text, digest, TRIB_DIGEST_SIZE))
        return true;
    memset(digest, 0, TRIB_DIGEST_SIZE);
    return false;
}

// A file that is taken whole hands on its own parent, if it names one; with a map the file is the
// parent. One of another program says nothing.
static bool find_digest(const struct trib_job *job, uint8_t *digest)
{
    const char *path = job->config.model_init;
    char text[TRIB_DIGEST_TEXT_SIZE];
    char why[TRIB_PATH_MAX + 512];
    if (!job->config.model_init_map[0] && !trib_model_file_parent(path, text, why, sizeof(why)) &&
        take_digest(text, digest))
        return true;
    return !trib_model_file_digest(path, text, why, sizeof(why)) && take_digest(text, digest);
}

static void take_number(void *user, const struct trib_store_version *row)
{
    struct trib_job_origin *origin = user;
    if (origin->version == 0 && memcmp(row->digest, origin->digest, TRIB_DIGEST_SIZE) == 0)
        origin->version = row->version;
}

// The earliest of our versions that is the parent, if one is.
static enum trib_err find_number(struct trib_store *store, struct trib_job_origin *origin,
                                 char *why, size_t why_size)
{
    enum trib_err err = trib_store_versions(store, 0, UINT32_MAX, take_number, origin);
    if (err)
        (void)snprintf(why, why_size, "model.init: the versions cannot be read: %s",
                       trib_err_text(err));
    return err;
}

enum trib_err trib_job_start(const struct trib_job *job, uint64_t version,
                             const struct trib_job_versions *versions, float *ret_params,
                             struct trib_job_origin *ret_origin, char *why, size_t why_size)
{
    char wrong[TRIB_PATH_MAX + 512];
    *ret_origin = (struct trib_job_origin){0};
    if (version > 0)
        return start_from_version(job, version, versions, ret_params, ret_origin, why, why_size);
    enum trib_err err = trib_job_initial(job, ret_params, wrong, sizeof(wrong));
    if (err)
        (void)snprintf(why, why_size, "model.init: %s", wrong);
    else if (job->config.model_init[0] && find_digest(job, ret_origin->digest))
        err = find_number(versions->store, ret_origin, why, why_size);
    return err == TRIB_ERR_IO ? TRIB_ERR_DATA : err;
}

enum trib_err trib_job_check_start(const struct trib_job *job,
                                   const struct trib_job_versions *versions, char *why,
                                   size_t why_size)
{
    struct trib_job_origin origin;
    if (!job->config.model_init[0] && job->config.model_init_version == 0)
        return TRIB_OK;
    float *params = trib_alloc_aligned(job->model.param_count, sizeof(*params));
    if (!params) {
        (void)snprintf(why, why_size, "out of memory");
        return TRIB_ERR_NOMEM;
    }
    enum trib_err err = trib_job_start(job, job->config.model_init_version, versions, params,
                                       &origin, why, why_size);
    free(params);
    return err;
}
