// prepare.h - the preparation pipeline: what is done to rows between the columns of a schema and
// the features of a model, as a text that goes with the model (docs/data.md).
//
//     [step impute]                  one section for each step, in their order
//     columns = age | hours          which variables; at first these are the columns
//     with = mean
//
//     [step standardise]
//     columns = age | hours
//
// Some steps want statistics of the whole fleet. They are found in passes: in each, every device
// adds up a vector from its rows (trib_prepare_gather), the vectors are added, and the total brings
// the pipeline one pass further (trib_prepare_advance). What the passes have found is a part of the
// pipeline's text, so that the text is all of its state: written, sent, parsed, it goes on.
//
//     parse --> [ gather on each device --> merge --> advance ] until fitted --> row by row: apply
//
// The number of features follows from the text and the schema alone, never from data.
// Threads: a pipeline that is not being advanced may be used by many; a run belongs to one.
#ifndef TRIB_DATA_PREPARE_H
#define TRIB_DATA_PREPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/data/schema.h"
#include "tributary/err.h"

enum {
    TRIB_PREPARE_STEPS_MAX = 64,
    TRIB_PREPARE_VARIABLES_MAX = 1 << 14,
    TRIB_PREPARE_SUMS_MAX = 1 << 20, // coordinates of one pass: what a tally holds
    TRIB_PREPARE_PASSES_MAX = 64,    // of all steps, one after the other
};

struct trib_prepare;

// ---- The text

// `name` is for messages; the schema is borrowed and must outlive the pipeline. TRIB_ERR_INVAL with
// "name:line: ..." in `why`: no pipeline, one for another schema, or numbers that do not fit it.
TRIB_CHECKED enum trib_err trib_prepare_parse(const char *text, size_t size, const char *name,
                                              const struct trib_schema *schema,
                                              struct trib_prepare **ret_prepare, char *why,
                                              size_t why_size);
// From a file; TRIB_ERR_IO too: it cannot be read.
TRIB_CHECKED enum trib_err trib_prepare_load(const char *path, const struct trib_schema *schema,
                                             struct trib_prepare **ret_prepare, char *why,
                                             size_t why_size);
void trib_prepare_destroy(struct trib_prepare *prepare); // NULL is fine

// The canonical text, with the digest of the schema and everything found so far: every key is
// written, numbers read back as the same bits. Parsed and written again it is the same text.
void trib_prepare_write(const struct trib_prepare *prepare, struct trib_buf *text);

// Bytes that the text has at most when everything is found. TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_prepare_text_most(const struct trib_prepare *prepare,
                                                  size_t *ret_size);

// BLAKE2b-256 of the canonical text. TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_prepare_digest(const struct trib_prepare *prepare,
                                               uint8_t ret_digest[static TRIB_DIGEST_SIZE]);

// Numbers a row becomes, and what each is called, in their order.
size_t trib_prepare_features(const struct trib_prepare *prepare);
const char *trib_prepare_feature_name(const struct trib_prepare *prepare, size_t feature);

// ---- Statistics

// Sums that can be added in any order: each is kept with what its additions rounded away (Neumaier
// 1974), so that the total of a thousand parts and that of the whole agree to 1e-12 and better.
struct trib_prepare_sums {
    double *sums, *rests; // (count), owned
    size_t count;
    uint64_t rows; // that were added
};

// Room for the pass at hand, zero.
TRIB_CHECKED enum trib_err trib_prepare_sums_init(struct trib_prepare_sums *sums,
                                                  const struct trib_prepare *prepare);
void trib_prepare_sums_fini(struct trib_prepare_sums *sums);
void trib_prepare_sums_add(struct trib_prepare_sums *sums, size_t index, double value);
void trib_prepare_sums_merge(struct trib_prepare_sums *into, const struct trib_prepare_sums *from);
// As plain numbers: ret_totals[count].
void trib_prepare_sums_total(const struct trib_prepare_sums *sums, double *ret_totals);

bool trib_prepare_is_fitted(const struct trib_prepare *prepare);
// Passes that are still to come, the one at hand included; 0: it is fitted.
size_t trib_prepare_passes_left(const struct trib_prepare *prepare);
// Coordinates of the pass at hand; 0: it is fitted.
size_t trib_prepare_sum_count(const struct trib_prepare *prepare);

// How much one row can add to each coordinate at most: ret_bounds[sum_count]. It follows from what
// the schema declares and from the steps that are fitted. TRIB_ERR_INVAL: a coordinate has no
// bound; `why` names the column and says what to declare.
TRIB_CHECKED enum trib_err trib_prepare_bounds(const struct trib_prepare *prepare,
                                               double *ret_bounds, char *why, size_t why_size);

// Every pass that is still to come: ret_counts[TRIB_PREPARE_PASSES_MAX] gets the coordinates of
// each. Errors as above, of any of them.
TRIB_CHECKED enum trib_err trib_prepare_check_bounds(const struct trib_prepare *prepare,
                                                     size_t *ret_counts, char *why,
                                                     size_t why_size);

// The totals of all devices (sum_count). `noise`: the standard deviation of what was added to each
// for privacy, in multiples of its bound; 0: nothing was. What deserves a word is logged with the
// name of its column: constant, without any value. TRIB_ERR_DATA: totals are not finite, or so
// large that what is found is not, logged; the pipeline is then of no more use.
TRIB_CHECKED enum trib_err trib_prepare_advance(struct trib_prepare *prepare, const double *totals,
                                                double noise);

// ---- Rows

enum trib_prepare_fate {
    TRIB_PREPARE_KEPT,
    TRIB_PREPARE_DROPPED,    // by a step
    TRIB_PREPARE_INCOMPLETE, // a feature has no value that is a finite float32
};

// What a step did to the rows of a run.
struct trib_prepare_tally {
    uint64_t values;  // that it was given
    uint64_t touched; // of these: filled, clipped, found to be outliers, ...
    uint64_t dropped; // rows
};

// The passage of one device's rows, in their order: smoothing, forward fill and the search for
// duplicates remember rows that went before. `today`: days since 1970-01-01 UTC, for steps that
// compare times with the present and do not name it themselves.
struct trib_prepare_run;
TRIB_CHECKED enum trib_err trib_prepare_run_create(const struct trib_prepare *prepare, double today,
                                                   struct trib_prepare_run **ret_run);
void trib_prepare_run_destroy(struct trib_prepare_run *run); // NULL is fine

// These rows (rows, columns of the schema) are the ones that will come, in this order and all of
// them once, so that steps which look ahead can. Without it they know the rows before only. Rows
// are borrowed for the call.
TRIB_CHECKED enum trib_err trib_prepare_foresee(struct trib_prepare_run *run, const double *rows,
                                                size_t count);

// Add a row to the statistics of the pass at hand. `values`: trib_schema_values.
void trib_prepare_gather(struct trib_prepare_run *run, const double *values,
                         struct trib_prepare_sums *sums);

// Make features of a row: ret_x[features]. The pipeline must be fitted. `ret_weight`: what the row
// counts in training, 1 without a step that says otherwise.
enum trib_prepare_fate trib_prepare_row(struct trib_prepare_run *run, const double *values,
                                        float *ret_x, float *ret_weight);

// Does what becomes of a row hang on the rows before it, or on those behind it? Only then do rows
// that are new want the others beside them.
bool trib_prepare_remembers(const struct trib_prepare *prepare);
bool trib_prepare_looks_ahead(const struct trib_prepare *prepare);

// Steps count from 0.
size_t trib_prepare_step_count(const struct trib_prepare *prepare);
const char *trib_prepare_step_kind(const struct trib_prepare *prepare, size_t step);
struct trib_prepare_tally trib_prepare_run_tally(const struct trib_prepare_run *run, size_t step);
// Rows that were incomplete for want of this feature first.
uint64_t trib_prepare_run_missing(const struct trib_prepare_run *run, size_t feature);

#endif // TRIB_DATA_PREPARE_H
