// class_round.h - the round in which devices count their labels, before the first one that trains:
// with [round] class_weights = balanced what a row of a class weighs comes from the counts of the
// whole fleet, so that it is the same on each device (docs/models.md, Weights).
#ifndef TRIB_COORDINATOR_CLASS_ROUND_H
#define TRIB_COORDINATOR_CLASS_ROUND_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/conf.h"
#include "coordinator/job.h"
#include "tributary/err.h"

// Must a round of a job with this configuration count labels?
bool trib_job_wants_classes(const struct trib_job_config *config);

// TRIB_ERR_INVAL with conf->error: the job's model cannot be counted.
TRIB_CHECKED enum trib_err trib_job_check_classes(struct trib_conf *conf,
                                                  const struct trib_job *job);

// From the sums of its round, over `counted` devices, to the round's report, which has the counts
// and the weights.
TRIB_CHECKED enum trib_err trib_class_round_use(const struct trib_job *job, const double *values,
                                                uint64_t counted, struct trib_buf *json);

// The weights (classes of the model) from that report, at once or after a restart. TRIB_ERR_DATA:
// it does not have them.
TRIB_CHECKED enum trib_err trib_class_round_weights(const struct trib_job *job, const char *report,
                                                    float *ret_weights);

#endif // TRIB_COORDINATOR_CLASS_ROUND_H
