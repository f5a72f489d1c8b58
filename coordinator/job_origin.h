// job_origin.h - what the first parameters of a job come from: a version of this coordinator, a
// file, or nothing but a seed.
#ifndef TRIB_COORDINATOR_JOB_ORIGIN_H
#define TRIB_COORDINATOR_JOB_ORIGIN_H

#include "coordinator/identity.h"
#include "coordinator/job.h"
#include "coordinator/publish.h"
#include "coordinator/store.h"
#include "tributary/err.h"

// The keys of [model] that say so.
enum {
    TRIB_JOB_ORIGIN_KEYS = 3
};
extern const char *const trib_job_origin_keys[TRIB_JOB_ORIGIN_KEYS];

// Whose child the first version is.
struct trib_job_origin {
    uint64_t version; // 0: none of ours
    uint8_t digest
        [TRIB_DIGEST_SIZE]; // of the model it began from; 0: none, or a file that does not say it
};

// Where versions are.
struct trib_job_versions {
    struct trib_store *store;
    const char *dir; // the coordinator's
    const struct trib_identity *identity;
};

// A version by its number, on the thread of the store. TRIB_ERR_INVAL, TRIB_ERR_CORRUPT with a text
// in `why`: there is none, or its file is gone or broken.
TRIB_CHECKED enum trib_err trib_job_find_version(uint64_t number,
                                                 const struct trib_job_versions *versions,
                                                 struct trib_version **ret_version, char *why,
                                                 size_t why_size);

// The parameters that the job starts from (param_count), and what they come from: this version, or
// with 0 what model.init and model.seed say. On the thread of the store. TRIB_ERR_INVAL,
// TRIB_ERR_DATA, TRIB_ERR_CORRUPT with a text in `why` that begins with the key: model.init or
// model.init_version is not there, is broken, or does not fit the model.
TRIB_CHECKED enum trib_err trib_job_start(const struct trib_job *job, uint64_t version,
                                          const struct trib_job_versions *versions,
                                          float *ret_params, struct trib_job_origin *ret_origin,
                                          char *why, size_t why_size);

// The same without the result, to tell early.
TRIB_CHECKED enum trib_err trib_job_check_start(const struct trib_job *job,
                                                const struct trib_job_versions *versions, char *why,
                                                size_t why_size);

#endif // TRIB_COORDINATOR_JOB_ORIGIN_H
