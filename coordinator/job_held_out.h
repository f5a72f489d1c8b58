// job_held_out.h - what of a job's configuration says how a version is measured, and what is
// counted under it.
#ifndef TRIB_COORDINATOR_JOB_HELD_OUT_H
#define TRIB_COORDINATOR_JOB_HELD_OUT_H

#include "coordinator/job.h"

// Fills in job->held_out and job->counters; job->model is parsed. TRIB_ERR_INVAL with conf->error.
TRIB_CHECKED enum trib_err trib_job_check_held_out(struct trib_conf *conf,
                                                   const struct trib_job_config *config,
                                                   struct trib_job *job);

#endif // TRIB_COORDINATOR_JOB_HELD_OUT_H
