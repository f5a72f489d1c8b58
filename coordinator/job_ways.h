// job_ways.h - the keys of [round] about sampling, augmentation and layers, checked.
#ifndef TRIB_COORDINATOR_JOB_WAYS_H
#define TRIB_COORDINATOR_JOB_WAYS_H

#include "coordinator/job.h"
#include "tributary/err.h"

// Set what they say in `train`. TRIB_ERR_INVAL with conf->error naming file, line and key.
TRIB_CHECKED enum trib_err trib_job_check_ways(struct trib_conf *conf,
                                               const struct trib_job_config *config,
                                               const struct trib_model *model,
                                               struct trib_train_options *train);

#endif // TRIB_COORDINATOR_JOB_WAYS_H
