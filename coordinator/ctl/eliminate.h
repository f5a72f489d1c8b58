// eliminate.h - tributaryctl eliminate: recursive feature elimination as a series of jobs on a fleet
// (series.h, elimination.h).
//
// Each job has a pipeline that drops the features that went before it, and a model that shrank by
// them; its devices measure it on a part of their rows that it did not learn from. Deviations of
// features stay on the devices: scores are of the weights alone, so the pipeline should standardise.
#ifndef TRIB_COORDINATOR_CTL_ELIMINATE_H
#define TRIB_COORDINATOR_CTL_ELIMINATE_H

#include "common/base/args.h"

// The command; `dir` is the coordinator's. Returns the exit code.
int trib_ctl_eliminate(const char *dir, const struct trib_command *command, int argc, char **argv);

#endif // TRIB_COORDINATOR_CTL_ELIMINATE_H
