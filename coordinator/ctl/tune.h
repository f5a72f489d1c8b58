// tune.h - tributaryctl tune: which values of a job's keys are best, by cross-validation over the
// devices (a series of jobs, series.h).
#ifndef TRIB_COORDINATOR_CTL_TUNE_H
#define TRIB_COORDINATOR_CTL_TUNE_H

#include "common/base/args.h"

// The command; `dir` is the coordinator's. Returns the exit code.
int trib_ctl_tune(const char *dir, const struct trib_command *command, int argc, char **argv);

#endif // TRIB_COORDINATOR_CTL_TUNE_H
