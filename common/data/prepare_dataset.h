// prepare_dataset.h - the rows of one device through a pipeline, as data sets.
//
// Both want a data set that holds values (trib_intake_options.keeps_values) of the pipeline's
// schema.
#ifndef TRIB_DATA_PREPARE_DATASET_H
#define TRIB_DATA_PREPARE_DATASET_H

#include "common/data/dataset.h"
#include "common/data/prepare.h"
#include "tributary/err.h"

// What became of rows; reports of many devices add up.
struct trib_prepare_report {
    uint64_t rows, kept, dropped, incomplete;
    uint64_t devices, empty, one_class; // devices without a row, with rows of one label only
    struct trib_prepare_tally tallies[TRIB_PREPARE_STEPS_MAX + 1];
    uint64_t *missing; // (features) rows that lacked this one first; owned
};
void trib_prepare_report_fini(struct trib_prepare_report *report);

// Today, as time columns count: days since 1970-01-01 UTC.
double trib_prepare_today(void);

// What a device adds to the pass at hand: ret_totals[trib_prepare_sum_count]. Without rows it is 0.
TRIB_CHECKED enum trib_err trib_prepare_totals(const struct trib_prepare *prepare,
                                               const struct trib_dataset *values, double today,
                                               double *ret_totals);

// The same for a sum with noise: each divided by what a row can add to it, so that one clip fits
// them all. TRIB_ERR_INVAL: a coordinate has no bound; `why` as trib_prepare_bounds gives it.
TRIB_CHECKED enum trib_err trib_prepare_shares(const struct trib_prepare *prepare,
                                               const struct trib_dataset *values, double today,
                                               double *ret_shares, char *why, size_t why_size);

// The features of its rows, those that are left out missing; `unfit` says when none is left. The
// weight of a row is that of its column times what steps make of it. `report`: what happened is
// added to it.
TRIB_CHECKED enum trib_err trib_prepare_dataset(const struct trib_prepare *prepare,
                                                const struct trib_dataset *values, double today,
                                                struct trib_prepare_report *report,
                                                struct trib_dataset **ret_dataset);

// A line for each step that changed or dropped something, and for what is special about the rows.
void trib_prepare_report_log(const struct trib_prepare_report *report,
                             const struct trib_prepare *prepare, const char *name);

#endif // TRIB_DATA_PREPARE_DATASET_H
