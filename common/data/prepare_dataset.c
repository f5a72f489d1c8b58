#include "common/data/prepare_dataset.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "prepare"

static const double SHARE_MAX = 1e18; // more rows than there are

void trib_prepare_report_fini(struct trib_prepare_report *report)
{
    free(report->missing);
    report->missing = NULL;
}

double trib_prepare_today(void)
{
    return (double)trib_clock_wall_ms() / 86400e3;
}

static const double *row_of(const struct trib_dataset *values, size_t row)
{
    return values->values + row * values->columns;
}

enum trib_err trib_prepare_totals(const struct trib_prepare *prepare,
                                  const struct trib_dataset *values, double today,
                                  double *ret_totals)
{
    struct trib_prepare_sums sums;
    struct trib_prepare_run *run = NULL;
    enum trib_err err = trib_prepare_sums_init(&sums, prepare);
    if (!err)
        err = trib_prepare_run_create(prepare, today, &run);
    if (!err)
        err = trib_prepare_foresee(run, values->values, values->rows);
    for (size_t r = 0; !err && r < values->rows; r++)
        trib_prepare_gather(run, row_of(values, r), &sums);
    if (!err)
        trib_prepare_sums_total(&sums, ret_totals);
    trib_prepare_run_destroy(run);
    trib_prepare_sums_fini(&sums);
    return err;
}

enum trib_err trib_prepare_shares(const struct trib_prepare *prepare,
                                  const struct trib_dataset *values, double today,
                                  double *ret_shares, char *why, size_t why_size)
{
    const size_t count = trib_prepare_sum_count(prepare);
    double *bounds = trib_alloc_array(count, sizeof(*bounds));
    enum trib_err err =
        bounds ? trib_prepare_bounds(prepare, bounds, why, why_size) : TRIB_ERR_NOMEM;
    if (!err)
        err = trib_prepare_totals(prepare, values, today, ret_shares);
    // Whatever the text makes of the rows, the device answers: the clip comes behind this.
    for (size_t i = 0; !err && i < count; i++) {
        const double share = bounds[i] > 0 ? ret_shares[i] / bounds[i] : 0;
        ret_shares[i] = isnan(share) ? 0 : fmin(fmax(share, -SHARE_MAX), SHARE_MAX);
    }
    free(bounds);
    return err;
}

static void note_classes(const struct trib_dataset *dataset, struct trib_prepare_report *report)
{
    size_t same = 0;
    while (same < dataset->rows && dataset->y[same] == dataset->y[0])
        same++;
    report->devices++;
    report->empty += dataset->rows == 0;
    report->one_class += dataset->rows > 0 && same == dataset->rows;
}

static void take_report(const struct trib_prepare *prepare, const struct trib_prepare_run *run,
                        struct trib_prepare_report *report)
{
    for (size_t i = 0; i < trib_prepare_step_count(prepare); i++) {
        const struct trib_prepare_tally tally = trib_prepare_run_tally(run, i);
        report->tallies[i].values += tally.values;
        report->tallies[i].touched += tally.touched;
        report->tallies[i].dropped += tally.dropped;
    }
    for (size_t i = 0; i < trib_prepare_features(prepare); i++)
        report->missing[i] += trib_prepare_run_missing(run, i);
}

static enum trib_err create_like(const struct trib_dataset *values, size_t features,
                                 struct trib_dataset **ret_dataset)
{
    struct trib_dataset *dataset;
    enum trib_err err =
        trib_dataset_create(values->rows, features, values->lines != NULL, values->name, &dataset);
    if (err)
        return err;
    err = trib_dataset_add_weights(dataset);
    if (!err && values->positions)
        err = trib_dataset_add_positions(dataset);
    if (!err && values->ids) {
        dataset->ids = trib_alloc_array(values->rows, sizeof(*dataset->ids));
        err = dataset->ids ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    if (err) {
        trib_dataset_free(dataset);
        return err;
    }
    memcpy(dataset->unfit, values->unfit, sizeof(dataset->unfit));
    dataset->label_column = values->label_column;
    dataset->rows = 0;
    *ret_dataset = dataset;
    return TRIB_OK;
}

// The row that was made is kept: what belongs to it goes with it.
static void keep(struct trib_dataset *to, const struct trib_dataset *values, size_t row,
                 float weight)
{
    to->y[to->rows] = values->y[row];
    to->weights[to->rows] = weight * (values->weights ? values->weights[row] : 1);
    if (to->lines)
        to->lines[to->rows] = values->lines[row];
    if (to->positions)
        to->positions[to->rows] = values->positions[row];
    if (to->ids)
        to->ids[to->rows] = values->ids[row];
    to->rows++;
}

// A data set in which all rows weigh 1 has no weights.
static void forget_plain_weights(struct trib_dataset *dataset, const struct trib_dataset *values)
{
    bool is_plain = !values->weights;
    for (size_t i = 0; is_plain && i < dataset->rows; i++)
        is_plain = dataset->weights[i] == 1;
    if (!is_plain)
        return;
    free(dataset->weights);
    dataset->weights = NULL;
}

enum trib_err trib_prepare_dataset(const struct trib_prepare *prepare,
                                   const struct trib_dataset *values, double today,
                                   struct trib_prepare_report *report,
                                   struct trib_dataset **ret_dataset)
{
    struct trib_dataset *dataset = NULL;
    struct trib_prepare_run *run = NULL;
    const size_t features = trib_prepare_features(prepare);
    if (!report->missing)
        report->missing = trib_alloc_array(features, sizeof(*report->missing));
    enum trib_err err = report->missing ? TRIB_OK : TRIB_ERR_NOMEM;
    if (!err)
        err = trib_prepare_run_create(prepare, today, &run);
    if (!err)
        err = trib_prepare_foresee(run, values->values, values->rows);
    if (!err)
        err = create_like(values, features, &dataset);
    for (size_t r = 0; !err && r < values->rows; r++) {
        float weight;
        switch (trib_prepare_row(run, row_of(values, r), dataset->x + dataset->rows * features,
                                 &weight)) {
        case TRIB_PREPARE_KEPT: keep(dataset, values, r, weight); break;
        case TRIB_PREPARE_DROPPED: report->dropped++; break;
        case TRIB_PREPARE_INCOMPLETE: report->incomplete++; break;
        }
    }
    if (!err) {
        report->rows += values->rows;
        report->kept += dataset->rows;
        note_classes(dataset, report);
        take_report(prepare, run, report);
        forget_plain_weights(dataset, values);
        if (values->rows > 0 && dataset->rows == 0)
            (void)snprintf(dataset->unfit, sizeof(dataset->unfit),
                           "the pipeline leaves none of %zu rows: they are stale, incomplete or "
                           "dropped by a step",
                           values->rows);
        *ret_dataset = dataset;
        dataset = NULL;
    }
    trib_dataset_free(dataset);
    trib_prepare_run_destroy(run);
    return err;
}

void trib_prepare_report_log(const struct trib_prepare_report *report,
                             const struct trib_prepare *prepare, const char *name)
{
    for (size_t i = 0; i < trib_prepare_step_count(prepare); i++) {
        const struct trib_prepare_tally *t = &report->tallies[i];
        if (t->touched || t->dropped)
            TRIB_INFO("%s: step %zu (%s) touched %" PRIu64 " of %" PRIu64 " values (%.4g) and "
                      "dropped %" PRIu64 " rows",
                      name, i + 1, trib_prepare_step_kind(prepare, i), t->touched, t->values,
                      t->values ? (double)t->touched / (double)t->values : 0, t->dropped);
    }
    for (size_t i = 0; report->missing && i < trib_prepare_features(prepare); i++) {
        if (report->missing[i])
            TRIB_WARN("id=prepare-incomplete %s: %" PRIu64 " rows are left out: they have no "
                      "feature '%s', and no step makes one",
                      name, report->missing[i], trib_prepare_feature_name(prepare, i));
    }
    if (report->empty)
        TRIB_WARN("id=prepare-empty %s: %" PRIu64 " of %" PRIu64 " devices have no rows", name,
                  report->empty, report->devices);
    if (report->one_class)
        TRIB_INFO("id=prepare-one-class %s: %" PRIu64 " of %" PRIu64 " devices have rows of one "
                  "label only",
                  name, report->one_class, report->devices);
}
