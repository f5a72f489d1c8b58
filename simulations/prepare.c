#include "simulations/prepare.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/log.h"
#include "common/data/prepare_dataset.h"
#include "common/math/tally.h"
#include "coordinator/sampler.h"

#define TRIB_LOG_MODULE "scenario"

enum trib_err trib_scenario_load_pipeline(struct trib_scenario *s)
{
    if (!s->data.prepare[0])
        return TRIB_OK;
    enum trib_err err = trib_data_load(&s->data, &s->schema, &s->prepare);
    if (err)
        return err == TRIB_ERR_IO ? TRIB_ERR_INVAL : err;
    s->data.keeps_values = true;
    if (!trib_prepare_is_fitted(s->prepare) && s->job_config.privacy_mode != TRIB_PRIVACY_OFF)
        return trib_conf_reject(&s->conf, "data", "prepare",
                                "wants statistics of the fleet, which would leave the devices "
                                "without noise: with privacy on name a pipeline that is fitted, or "
                                "steps that need none");
    if (trib_prepare_features(s->prepare) == s->job.model.inputs)
        return TRIB_OK;
    return trib_conf_reject(&s->conf, "data", "prepare", "makes %zu features, the model takes %u",
                            trib_prepare_features(s->prepare), s->job.model.inputs);
}

// The rows of a device as a data set of its own, borrowed.
static struct trib_dataset view_device(const struct trib_scenario *s, size_t device)
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

// ---- Fitting

// A pass is a round (coordinator/pipeline.h), so its devices are those that are drawn for a round
// of this number; who has no rows declines, and another takes its place.
static enum trib_err add_devices(const struct trib_scenario *s, const uint32_t *order, double today,
                                 double *totals, struct trib_tally *tally)
{
    enum trib_err err = TRIB_OK;
    uint32_t counted = 0;
    for (size_t d = 0; !err && d < s->partition.clients && counted < s->job.goal; d++) {
        const struct trib_dataset view = view_device(s, order[d]);
        if (view.rows == 0)
            continue;
        err = trib_prepare_totals(s->prepare, &view, today, totals);
        for (size_t i = 0; !err && i < tally->count; i++)
            err = trib_tally_add(tally, i, totals[i]);
        counted++;
    }
    if (!err && counted < s->job.accepted_min) {
        TRIB_ERROR("%u devices have rows for the pipeline's statistics; round.min_accepted is %u",
                   counted, s->job.accepted_min);
        err = TRIB_ERR_DATA;
    }
    return err;
}

// The devices in the order drawn for a pass.
static uint32_t *draw(const struct trib_scenario *s, uint64_t pass)
{
    const size_t clients = s->partition.clients;
    uint32_t *by_name = trib_alloc_array(clients, sizeof(*by_name));
    uint32_t *order = trib_alloc_array(clients, sizeof(*order));
    if (by_name && order) {
        trib_partition_by_name(by_name, clients);
        trib_sampler_draw(s->job_config.round_seed, pass, order, clients);
        for (size_t i = 0; i < clients; i++)
            order[i] = by_name[order[i]];
    } else {
        free(order);
        order = NULL;
    }
    free(by_name);
    return order;
}

static enum trib_err fit_pass(struct trib_scenario *s, uint64_t pass, double today)
{
    struct trib_tally tally = {.count = 0};
    const size_t count = trib_prepare_sum_count(s->prepare);
    double *totals = trib_alloc_array(count, sizeof(*totals));
    uint32_t *order = draw(s, pass);
    enum trib_err err = totals && order ? trib_tally_init(&tally, count) : TRIB_ERR_NOMEM;
    if (!err)
        err = add_devices(s, order, today, totals, &tally);
    for (size_t i = 0; !err && i < count; i++)
        totals[i] = trib_tally_value(&tally, i);
    if (!err)
        err = trib_prepare_advance(s->prepare, totals);
    trib_tally_fini(&tally);
    free(totals);
    free(order);
    return err;
}

enum trib_err trib_scenario_fit(struct trib_scenario *s)
{
    const size_t passes = trib_prepare_passes_left(s->prepare);
    const double today = trib_prepare_today();
    char text[TRIB_DIGEST_TEXT_SIZE];
    uint8_t digest[TRIB_DIGEST_SIZE];
    enum trib_err err = TRIB_OK;
    for (uint64_t pass = 1; !err && !trib_prepare_is_fitted(s->prepare); pass++)
        err = fit_pass(s, pass, today);
    if (!err)
        err = trib_prepare_digest(s->prepare, digest);
    if (err)
        return err;
    trib_hex_encode(digest, sizeof(digest), text);
    TRIB_INFO("pipeline %.16s... fitted in %zu passes over %zu devices: %zu features", text, passes,
              s->partition.clients, trib_prepare_features(s->prepare));
    return TRIB_OK;
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
    to->rows += from->rows;
}

// `kept`: rows that are left of each device.
static enum trib_err apply_train(struct trib_scenario *s, double today,
                                 struct trib_prepare_report *report, size_t *kept)
{
    struct trib_dataset *train;
    enum trib_err err = trib_dataset_create(s->train->rows, trib_prepare_features(s->prepare),
                                            false, s->train->name, &train);
    if (err)
        return err;
    err = trib_dataset_add_weights(train);
    train->ids = trib_alloc_array(s->train->rows + 1, sizeof(*train->ids));
    if (!train->ids)
        err = TRIB_ERR_NOMEM;
    train->rows = 0;
    for (size_t d = 0; !err && d < s->partition.clients; d++) {
        const struct trib_dataset view = view_device(s, d);
        struct trib_dataset *part;
        err = trib_prepare_dataset(s->prepare, &view, today, report, &part);
        if (err)
            break;
        kept[d] = part->rows;
        append(train, part);
        trib_dataset_free(part);
    }
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
