// gate.h - what a job's version must be better than, and which version stays when the job ends.
//
// [round] baseline = prior is measured by the coordinator alone; linear is counted once by the
// devices of a tally round before the first one (yardstick.h). Whichever is better on the
// validation rows stands beside every evaluation.
//
// When a job is done the version that is to stay is the last one (with privacy on the mean of the
// last ones), or with keep = best the best evaluated one. With beat_baseline = yes it must be
// better than the baseline, by baseline_margin or more; if it is not, what was there before the job
// stays.
//
// beat_baseline = auto, the default, is that wherever it can be fair: held-out rows are evaluated,
// there is a baseline, the primary metric says something of it (no ranking of users), no target is
// set by another metric, and the job does not give up accuracy (class_weights, a threshold_goal)
// while it is measured by an accuracy that nobody named. With equal values the smaller loss is the
// better one.
#ifndef TRIB_COORDINATOR_GATE_H
#define TRIB_COORDINATOR_GATE_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/conf.h"
#include "coordinator/evaluate.h"
#include "coordinator/job.h"
#include "tributary/err.h"

// TRIB_ERR_INVAL with conf->error: the keys do not go together.
TRIB_CHECKED enum trib_err trib_job_check_gate(struct trib_conf *conf,
                                               const struct trib_job_config *config,
                                               const struct trib_model *model);

// Is there a gate? Of a checked configuration.
bool trib_gate_is_on(const struct trib_job_config *config);

// Must a round of the job count what a linear baseline is made of?
bool trib_job_wants_linear(const struct trib_job *job);

// An evaluator of the job knows its baseline from here on. NULL is fine.
TRIB_CHECKED enum trib_err trib_gate_begin(const struct trib_job *job,
                                           struct trib_evaluator *evaluator);
// The linear one from the sums of its round, with what the round's report says of it. When nothing
// can be solved the prior stays the baseline, and the report says so.
TRIB_CHECKED enum trib_err trib_gate_use_linear(const struct trib_job *job, const double *values,
                                                struct trib_evaluator *evaluator,
                                                struct trib_buf *json);
// The same again from that report, after a restart.
void trib_gate_recall_linear(struct trib_evaluator *evaluator, const char *report);

// Is what was measured good enough for the version to stay? Without a gate everything is.
bool trib_gate_passes(const struct trib_job *job, const struct trib_held_out *held_out);

// Does this evaluation's value (of the primary metric) beat `other`?
bool trib_gate_is_better(const struct trib_job *job, double value, double other);

extern const char trib_gate_reason[]; // why such a job ended
extern const char trib_gate_advice[]; // and what to do about it

#endif // TRIB_COORDINATOR_GATE_H
