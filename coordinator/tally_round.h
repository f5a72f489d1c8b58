// tally_round.h - rounds in which devices do not train but count (docs/protocol.md, Tally rounds):
// what their updates look like, what their sums are, and what is made of them.
//
// A tally round is a round like any other: the same leases, uploads, segment, seal, sum and commit.
// Only the task (a kind, and how many values), the update (sums instead of a delta) and the use of
// the result differ. With privacy off an update is the limbs of tally.h, weight 1, so that the
// sums are exact; with privacy on the values go, divided by privacy.tally_scale, through the same
// clipping, rounding and noise as a delta, and cost what such a round costs. What a pipeline counts
// is divided by its bounds first (common/data/prepare.h).
//
// A job's rounds come in passes, so that a round which makes no version does not take a number away
// from one that does. In the store a round's number is trib_round_key.
#ifndef TRIB_COORDINATOR_TALLY_ROUND_H
#define TRIB_COORDINATOR_TALLY_ROUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/math/ask.h"
#include "common/math/metrics.h"
#include "coordinator/job.h"
#include "coordinator/newton_path.h"
#include "coordinator/pipeline.h"
#include "tributary/err.h"

// Stored as numbers: never renumber.
enum trib_round_pass {
    TRIB_PASS_MAIN = 0,       // makes the version of its number, 1 .. rounds
    TRIB_PASS_EVALUATION = 1, // measures that version on devices; no version comes of it
    TRIB_PASS_PREPARE =
        2, // a pass of the pipeline's statistics, before all others; numbers count tries
    TRIB_PASS_BASELINE = 3, // counts what a linear baseline is made of; numbers count tries
    TRIB_PASS_COUNTERS = 4, // collects what applications counted, when that version is there
    TRIB_PASS_CLASSES = 5,  // counts labels, after those of the pipeline; numbers count tries
};
uint64_t trib_round_key(enum trib_round_pass pass, uint64_t number);
enum trib_round_pass trib_round_key_pass(uint64_t key);
uint64_t trib_round_key_number(uint64_t key);

// What an update of a round is.
struct trib_round_shape {
    enum trib_tally_kind kind;
    size_t values;                 // sums of a tally; 0: training
    size_t words;                  // coordinates of an update
    enum trib_tally_layout layout; // of an exact tally
    uint32_t weight_max;
    const struct trib_privacy_plan *privacy; // borrowed from the job
};
struct trib_round_shape trib_job_shape(const struct trib_job *job, enum trib_tally_kind kind);

// The tallies that the job will ask for: their values and what they cost, from job->asked.
// TRIB_ERR_INVAL with conf->error.
TRIB_CHECKED enum trib_err trib_job_check_tallies(struct trib_conf *conf, struct trib_job *job);

// Can the passes of this pipeline be counted as the job's privacy wants it, and rows be prepared as
// its mode wants them? TRIB_ERR_INVAL with a text in `why`.
TRIB_CHECKED enum trib_err trib_job_check_prepare(const struct trib_job *job,
                                                  const struct trib_prepare *prepare, char *why,
                                                  size_t why_size);
// The next pass of the job's pipeline is the one that this is at; fitted: there is none any more.
TRIB_CHECKED enum trib_err trib_job_set_prepare(struct trib_job *job,
                                                const struct trib_prepare *prepare);
// What a pass comes to when `counted` devices are in `values`, which are given as devices add them
// up with privacy on, each divided by its bound: multiplied again. *ret_noise is for
// trib_prepare_advance. With privacy off nothing happens.
TRIB_CHECKED enum trib_err trib_job_pass_totals(const struct trib_job *job,
                                                const struct trib_prepare *prepare,
                                                uint64_t counted, double *values,
                                                double *ret_noise);

// The kind of a round of this pass. `newton_is_off`: an earlier round of the job refused a step.
enum trib_tally_kind trib_job_kind(const struct trib_job *job, enum trib_round_pass pass,
                                   bool newton_is_off);

// From the sums of words over devices (shape->words; without masks, with noise) to the values
// (shape->values): exact with privacy off.
TRIB_CHECKED enum trib_err trib_tally_round_values(const struct trib_job *job,
                                                   const struct trib_round_shape *shape,
                                                   const int64_t *sums, double *ret_values);
// Root mean square over the coordinates of the mean of `counted` vectors as they were encoded.
double trib_tally_round_rms(const struct trib_round_shape *shape, const int64_t *sums,
                            uint64_t counted);

// What came of the values.
struct trib_tally_use {
    bool has_version;               // `next` holds the parameters of the next version
    bool newton_is_off;             // refused: the round is abandoned, and the job goes on without
    struct trib_pipeline_step step; // of a pass of the pipeline; owned
    struct trib_buf json;           // for the round's report; owned
};
void trib_tally_use_fini(struct trib_tally_use *use);

// The values of a part of the devices.
struct trib_tally_slice {
    const char *group;    // borrowed
    const double *values; // (shape->values), borrowed
};

// What the values were counted at.
struct trib_tally_base {
    uint64_t version;
    const float *params;                  // (param_count)
    const struct trib_pipeline *pipeline; // of the job; NULL: none
    struct trib_evaluator *evaluator;     // of the job; NULL: none
    struct trib_newton_path *newton;      // of a job with newton; else NULL
    // What the coordinator measured of it on rows of its own, to be reported beside.
    const struct trib_evaluation_value *values; // (value_count), borrowed
    size_t value_count;
    const struct trib_tally_slice *slices; // (slice_count), borrowed
    size_t slice_count;
    uint64_t counted; // devices that are in the values
};

// Use the values of a round with this shape; they may be changed. The same values always give the same result.
// `ret_next` may be the base's parameters.
TRIB_CHECKED enum trib_err trib_tally_round_use(const struct trib_job *job,
                                                const struct trib_round_shape *shape,
                                                double *values, const struct trib_tally_base *base,
                                                float *ret_next, struct trib_tally_use *ret_use);

#endif // TRIB_COORDINATOR_TALLY_ROUND_H
