// job_fallback.h - the table that goes with the versions of a job: what answers on a device where
// the model does not (common/data/fallback.h).
#ifndef TRIB_COORDINATOR_JOB_FALLBACK_H
#define TRIB_COORDINATOR_JOB_FALLBACK_H

#include "common/data/source.h"
#include "common/math/model.h"
#include "tributary/err.h"

// Read the file that data.fallback names, and check it against the model and the schema that
// data.schema names. `ret_text` gets a copy, the caller's; without a file it is NULL.
// TRIB_ERR_INVAL: it cannot be read, is no such table, does not go with the model, or has more text
// than a manifest holds; the reason is in `why`.
TRIB_CHECKED enum trib_err trib_job_fallback(const struct trib_data_config *config,
                                             const struct trib_model *model, char **ret_text,
                                             char *why, size_t why_size);

#endif // TRIB_COORDINATOR_JOB_FALLBACK_H
