#include "simulations/prepare.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/data/prepare_dataset.h"

#define TRIB_LOG_MODULE "scenario"

enum trib_err trib_scenario_load_pipeline(struct trib_scenario *s)
{
    if (!s->data.prepare[0])
        return TRIB_OK;
    enum trib_err err = trib_data_load(&s->data, &s->schema, &s->prepare);
    if (err)
        return err == TRIB_ERR_IO ? TRIB_ERR_INVAL : err;
    s->data.keeps_values = true;
    s->passes = trib_prepare_passes_left(s->prepare);
    if (s->data.rows_per_round > 0 && trib_prepare_looks_ahead(s->prepare))
        return trib_conf_reject(&s->conf, "data", "rows_per_round",
                                "cannot go with impute with = interpolate, which looks at rows "
                                "that come later");
    if (trib_prepare_features(s->prepare) == s->job.model.inputs)
        return TRIB_OK;
    return trib_conf_reject(&s->conf, "data", "prepare", "makes %zu features, the model takes %u",
                            trib_prepare_features(s->prepare), s->job.model.inputs);
}

struct trib_dataset trib_scenario_device_rows(const struct trib_scenario *s, size_t device)
{
    struct trib_dataset view = *s->train;
    const size_t first = s->partition.starts[device];
    view.rows = trib_partition_size(&s->partition, device);
    view.values += first * view.columns;
    view.y += first;
    if (view.weights)
        view.weights += first;
    if (view.lines)
        view.lines += first;
    if (view.ids)
        view.ids += first;
    return view;
}

// ---- Applying

// Append rows to a data set that has room for them.
static void append(struct trib_dataset *to, const struct trib_dataset *from)
{
    memcpy(to->x + to->rows * to->inputs, from->x, from->rows * from->inputs * sizeof(*to->x));
    memcpy(to->y + to->rows, from->y, from->rows * sizeof(*to->y));
    if (from->weights)
        memcpy(to->weights + to->rows, from->weights, from->rows * sizeof(*to->weights));
    memcpy(to->ids + to->rows, from->ids, from->rows * sizeof(*to->ids));
    memcpy(to->positions + to->rows, from->positions, from->rows * sizeof(*to->positions));
    to->rows += from->rows;
}

// Room for the features of all devices' rows.
static enum trib_err create_train(const struct trib_scenario *s, struct trib_dataset **ret_train)
{
    struct trib_dataset *train;
    enum trib_err err = trib_dataset_create(s->train->rows, trib_prepare_features(s->prepare),
                                            false, s->train->name, &train);
    if (err)
        return err;
    err = trib_dataset_add_weights(train);
    if (!err)
        err = trib_dataset_add_positions(train);
    train->ids = trib_alloc_array(s->train->rows + 1, sizeof(*train->ids));
    if (!err && !train->ids)
        err = TRIB_ERR_NOMEM;
    train->rows = 0;
    if (err)
        trib_dataset_free(train);
    else
        *ret_train = train;
    return err;
}

// `kept`: rows that are left of each device.
static enum trib_err apply_train(struct trib_scenario *s, double today,
                                 struct trib_prepare_report *report, size_t *kept)
{
    struct trib_dataset *train;
    uint64_t *places = trib_alloc_array(s->train->rows + 1, sizeof(*places));
    enum trib_err err = places ? create_train(s, &train) : TRIB_ERR_NOMEM;
    for (size_t i = 0; !err && i < s->train->rows; i++)
        places[i] = i + 1;
    if (err) {
        free(places);
        return err;
    }
    for (size_t d = 0; !err && d < s->partition.clients; d++) {
        struct trib_dataset view = trib_scenario_device_rows(s, d);
        struct trib_dataset *part;
        view.positions = places;
        err = trib_prepare_dataset(s->prepare, &view, today, report, &part);
        if (err)
            break;
        kept[d] = part->rows;
        append(train, part);
        trib_dataset_free(part);
    }
    free(places);
    if (err) {
        trib_dataset_free(train);
        return err;
    }
    trib_dataset_free(s->train);
    s->train = train;
    return TRIB_OK;
}

enum trib_err trib_scenario_apply(struct trib_scenario *s)
{
    struct trib_prepare_report report = {.rows = 0};
    struct trib_prepare_report test_report = {.rows = 0};
    struct trib_dataset *test;
    const double today = trib_prepare_today();
    size_t *kept = trib_alloc_array(s->partition.clients, sizeof(*kept));
    enum trib_err err = kept ? apply_train(s, today, &report, kept) : TRIB_ERR_NOMEM;
    if (!err)
        err = trib_prepare_dataset(s->prepare, s->test, today, &test_report, &test);
    if (err)
        goto out;
    size_t rows = 0;
    for (size_t d = 0; d < s->partition.clients; d++) {
        s->partition.starts[d] = rows;
        rows += kept[d];
    }
    s->partition.starts[s->partition.clients] = rows;
    trib_prepare_report_log(&report, s->prepare, s->train->name);
    trib_dataset_free(s->test);
    s->test = test;
    if (test->rows == 0) {
        TRIB_ERROR("%s: the pipeline leaves no held-out rows", test->name);
        err = TRIB_ERR_DATA;
    }

out:
    free(kept);
    trib_prepare_report_fini(&report);
    trib_prepare_report_fini(&test_report);
    return err;
}
