// pipeline.h - the preparation pipeline of a job (common/data/prepare.h): its text, which goes with
// every task, and what becomes of it when a pass of its statistics has been counted.
//
// A pass is a tally round (TRIB_PASS_PREPARE). Its values take the pipeline one pass further; the
// new text is a part of the round's report, so that it is durable with the round and a restart goes
// on from the last one.
#ifndef TRIB_COORDINATOR_PIPELINE_H
#define TRIB_COORDINATOR_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/data/prepare.h"
#include "common/data/source.h"
#include "tributary/err.h"

struct trib_pipeline {
    struct trib_schema *schema;    // owned
    struct trib_prepare *prepare;  // owned
    char *text;                    // canonical, at most TRIB_PIPELINE_TEXT_MAX; owned
    struct trib_dataset *held_out; // values that wait until it is fitted; owned, or NULL
    size_t passes;                 // that it has in all
};

// One pass further.
struct trib_pipeline_step {
    struct trib_prepare *prepare;
    char *text;
    struct trib_dataset *held_out; // its features, when it is fitted and values waited; or NULL
};

// What `config` names; *ret_pipeline is NULL when it names none. `has_test`: held-out rows are
// wanted. An error with a text in `why`.
TRIB_CHECKED enum trib_err trib_pipeline_open(const struct trib_data_config *config, bool has_test,
                                              struct trib_pipeline **ret_pipeline, char *why,
                                              size_t why_size);
void trib_pipeline_close(struct trib_pipeline *pipeline); // NULL is fine

// From the values of a pass (`noise`: see trib_prepare_advance). The pipeline stays as it is. TRIB_ERR_DATA: they cannot be used,
// logged.
TRIB_CHECKED enum trib_err trib_pipeline_count(const struct trib_pipeline *pipeline,
                                               const double *values, double noise,
                                               struct trib_pipeline_step *ret_step);
void trib_pipeline_step_fini(struct trib_pipeline_step *step);
// Go that step. `ret_held_out`: features to evaluate on, the caller's; NULL: there are none.
void trib_pipeline_take(struct trib_pipeline *pipeline, struct trib_pipeline_step *step,
                        struct trib_dataset **ret_held_out);

// What a round's report says: an object.
void trib_pipeline_report(const struct trib_pipeline_step *step, struct trib_buf *json);
// The step that a report tells of, after a restart. TRIB_ERR_CORRUPT: it tells of none.
TRIB_CHECKED enum trib_err trib_pipeline_recall(const struct trib_pipeline *pipeline,
                                                const char *report,
                                                struct trib_pipeline_step *ret_step);

#endif // TRIB_COORDINATOR_PIPELINE_H
