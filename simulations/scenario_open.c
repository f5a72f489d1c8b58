// A scenario's data: which rows are held out, and who has the others.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "coordinator/job_fallback.h"
#include "simulations/prepare.h"
#include "simulations/rows.h"
#include "simulations/scenario.h"

#define TRIB_LOG_MODULE "scenario"

// A scenario while its data are being opened. Arrays have as many elements as there are rows.
struct opening {
    struct trib_scenario *s;
    struct trib_rows all;
    uint8_t *sides; // enum trib_side, or CUT
    uint32_t *rows; // some of their numbers
    double scale;
    bool is_scaled;
};

enum {
    CUT = 100 // a row of the fold that is measured on
};

// ---- Sides

static enum trib_err find_sides(struct opening *o)
{
    const struct trib_scenario *s = o->s;
    const struct trib_split split = {.seed = s->data.split_seed,
                                     .test = s->data.test_fraction,
                                     .validation = s->config.validation_fraction};
    struct trib_dataset *dataset = o->all.dataset;
    enum trib_err err = trib_data_identify(&s->data, TRIB_SPLIT_BY_PLACE, dataset);
    if (err)
        return err;
    if (s->config.stratified)
        return trib_split_stratified(&split, dataset->ids, dataset->y, dataset->rows, o->sides);
    for (size_t row = 0; row < dataset->rows; row++)
        o->sides[row] = (uint8_t)trib_split_side(&split, dataset->ids[row]);
    return TRIB_OK;
}

// Numbers of the rows on a side, to o->rows.
static size_t take_side(struct opening *o, uint8_t side)
{
    size_t count = 0;
    for (size_t row = 0; row < o->all.dataset->rows; row++) {
        if (o->sides[row] == side)
            o->rows[count++] = (uint32_t)row;
    }
    return count;
}

// Rows to choose by, and behind them those that only report.
static size_t take_held_out(struct opening *o)
{
    size_t count = take_side(o, TRIB_SIDE_VALIDATION);
    const size_t choosing = count;
    for (size_t row = 0; row < o->all.dataset->rows; row++) {
        if (o->sides[row] == TRIB_SIDE_TEST)
            o->rows[count++] = (uint32_t)row;
    }
    if (o->s->config.validation_fraction > 0)
        o->s->job_config.test_last = count - choosing;
    return count;
}

// Rows of the fold that is measured on leave the training rows.
static void cut_rows(struct opening *o)
{
    const struct trib_scenario *s = o->s;
    const uint64_t *ids = o->all.dataset->ids;
    for (size_t row = 0; row < o->all.dataset->rows; row++) {
        if (o->sides[row] == TRIB_SIDE_TRAIN &&
            trib_split_fold(s->data.split_seed, ids[row], s->cut.folds) == s->cut.fold)
            o->sides[row] = CUT;
    }
}

static enum trib_err open_test(struct opening *o)
{
    struct trib_scenario *s = o->s;
    char why[TRIB_PATH_MAX + 256];
    enum trib_err err;
    if (s->cut.folds > 0 || s->data.test_fraction > 0) {
        size_t count = s->cut.folds > 0 ? take_side(o, CUT) : take_held_out(o);
        err = trib_dataset_select(o->all.dataset, o->rows, count, o->scale, &s->test);
    } else {
        err = trib_rows_open_test(&s->data, s->config.kind == TRIB_PARTITION_FILES, &s->job.model,
                                  &o->all, o->scale, &s->test);
    }
    if (!err && trib_dataset_check(s->test, &s->job.model, why, sizeof(why))) {
        TRIB_ERROR("%s", why);
        err = TRIB_ERR_DATA;
    }
    if (!err && s->test->rows == 0) {
        TRIB_ERROR("there are no held-out rows to evaluate on");
        err = TRIB_ERR_DATA;
    }
    return err;
}

// ---- Devices

// Deal out the first `count` rows of o->rows.
static enum trib_err deal(struct opening *o, size_t count)
{
    struct trib_scenario *s = o->s;
    char why[256];
    const struct trib_partition_config config = {
        .kind = (enum trib_partition_kind)s->config.kind,
        .clients = s->config.clients,
        .shards_per_client = s->config.shards_per_client,
        .alpha = s->config.alpha,
        .min_rows = s->config.min_rows,
        .seed = s->config.partition_seed,
    };
    const struct trib_partition_rows from = {
        .rows = o->rows,
        .count = count,
        .labels = o->all.dataset->y,
        .groups = o->all.groups,
    };
    enum trib_err err = trib_partition_make(&config, &from, &s->partition, why, sizeof(why));
    if (err == TRIB_ERR_INVAL) // the key that asks for too much, if one does
        return trib_conf_reject(&s->conf, "partition",
                                trib_conf_is_set(&s->conf, "partition", "min_rows")  ? "min_rows"
                                : trib_conf_is_set(&s->conf, "partition", "clients") ? "clients"
                                                                                     : "kind",
                                "%s", why);
    return err;
}

// One side of what every device was dealt.
static enum trib_err part_devices(const struct opening *o, const struct trib_partition *dealt,
                                  uint8_t side, struct trib_partition *ret_part)
{
    struct trib_partition part = {.clients = dealt->clients};
    part.rows = trib_alloc_array(dealt->starts[dealt->clients], sizeof(*part.rows));
    part.starts = trib_alloc_array(dealt->clients + 1, sizeof(*part.starts));
    if (!part.rows || !part.starts) {
        trib_partition_fini(&part);
        return TRIB_ERR_NOMEM;
    }
    size_t count = 0;
    for (size_t d = 0; d < dealt->clients; d++) {
        for (size_t i = dealt->starts[d]; i < dealt->starts[d + 1]; i++) {
            if (o->sides[dealt->rows[i]] == side)
                part.rows[count++] = dealt->rows[i];
        }
        part.starts[d + 1] = count;
    }
    *ret_part = part;
    return TRIB_OK;
}

// Deal out all rows, and then set some of each device's aside. Which they are is the same as
// without.
static enum trib_err open_on_devices(struct opening *o)
{
    struct trib_scenario *s = o->s;
    const uint8_t aside = s->cut.folds > 0 ? CUT : TRIB_SIDE_TEST;
    if (s->cut.folds > 0 && s->cut.by_device)
        return trib_conf_reject(&s->conf, "data", "test_on",
                                "devices has no folds of devices: what stays on them learns there");
    for (size_t row = 0; row < o->all.dataset->rows; row++)
        o->rows[row] = (uint32_t)row;
    enum trib_err err = deal(o, o->all.dataset->rows);
    if (err)
        return err;
    struct trib_partition dealt = s->partition;
    s->partition = (struct trib_partition){.clients = 0};
    err = part_devices(o, &dealt, TRIB_SIDE_TRAIN, &s->partition);
    if (!err)
        err = part_devices(o, &dealt, aside, &s->held_out);
    trib_partition_fini(&dealt);
    if (err)
        return err;
    const size_t count = s->held_out.starts[s->held_out.clients];
    if (count == 0) {
        TRIB_ERROR("there are no held-out rows to evaluate on");
        return TRIB_ERR_DATA;
    }
    return trib_dataset_select(o->all.dataset, s->held_out.rows, count, o->scale, &s->test);
}

static enum trib_err find_device_folds(const struct trib_scenario *s, uint32_t *ret_folds)
{
    const size_t clients = s->partition.clients;
    enum trib_err err = TRIB_ERR_NOMEM;
    char(*names)[TRIB_PARTITION_NAME_SIZE] = trib_alloc_array(clients, sizeof(*names));
    const char **list = trib_alloc_array(clients, sizeof(*list));
    if (!names || !list)
        goto out;
    for (size_t device = 0; device < clients; device++) {
        trib_partition_name(device, names[device]);
        list[device] = names[device];
    }
    err = trib_split_device_folds(s->data.split_seed, list, clients, s->cut.folds, ret_folds);

out:
    free(names);
    free(list);
    return err;
}

// Devices of the fold that is measured on leave the fleet, and their rows with them. The others
// move up: the names of the devices are those of their new places.
static enum trib_err cut_devices(struct opening *o)
{
    struct trib_scenario *s = o->s;
    struct trib_partition *p = &s->partition;
    size_t kept = 0, used = 0, begin = 0;
    uint32_t *folds = trib_alloc_array(p->clients, sizeof(*folds));
    enum trib_err err = folds ? find_device_folds(s, folds) : TRIB_ERR_NOMEM;
    for (size_t device = 0; !err && device < p->clients; device++) {
        const size_t end = p->starts[device + 1];
        for (size_t i = begin; i < end; i++) {
            if (folds[device] == s->cut.fold)
                o->sides[p->rows[i]] = CUT;
            else
                p->rows[used++] = p->rows[i];
        }
        begin = end;
        if (folds[device] != s->cut.fold)
            p->starts[++kept] = used;
    }
    free(folds);
    if (err)
        return err;
    p->clients = kept;
    if (s->job_config.cohort > kept)
        s->job_config.cohort = kept;
    if (s->job_config.min_accepted > kept)
        s->job_config.min_accepted = kept;
    if (kept > 0)
        return TRIB_OK;
    TRIB_ERROR("with %llu folds of devices none is left to learn",
               (unsigned long long)s->cut.folds);
    return TRIB_ERR_DATA;
}

static enum trib_err ask_policy(const struct trib_scenario *s)
{
    const struct trib_privacy_plan *plan = &s->job.privacy;
    char why[256];
    if (trib_policy_allows(&s->policy, &plan->encoding, why, sizeof(why)) &&
        (plan->encoding.mode != TRIB_PRIVACY_DISTRIBUTED ||
         trib_policy_allows_plan(&s->policy, &plan->secagg, why, sizeof(why))))
        return TRIB_OK;
    TRIB_ERROR("the simulated devices refuse this job: %s", why);
    return TRIB_ERR_PRIVACY;
}

static enum trib_err check_initial(struct trib_scenario *s)
{
    char why[TRIB_CONF_TEXT_MAX + 512];
    if (s->job.config.model_init_version > 0)
        return trib_conf_reject(
            &s->conf, "model", "init_version",
            "a simulation begins without versions: start from a file with init");
    if (!trib_job_check_initial(&s->job, why, sizeof(why)))
        return TRIB_OK;
    return trib_conf_reject(&s->conf, "model", "init", "%s", why);
}

// The held-out rows, and who has the others.
static enum trib_err split_and_deal(struct opening *o)
{
    struct trib_scenario *s = o->s;
    const bool cuts = s->cut.folds > 0;
    enum trib_err err = find_sides(o);
    if (err)
        return err;
    if (cuts && !s->cut.by_device)
        cut_rows(o);
    if (s->config.test_on == TRIB_TEST_ON_DEVICES)
        return open_on_devices(o);
    err = deal(o, take_side(o, TRIB_SIDE_TRAIN));
    if (!err && cuts && s->cut.by_device)
        err = cut_devices(o);
    return err ? err : open_test(o);
}

static enum trib_err deal_and_select(struct opening *o)
{
    struct trib_scenario *s = o->s;
    enum trib_err err = split_and_deal(o);
    if (!err)
        err = trib_scenario_check_job(s, s->partition.clients);
    if (!err && s->job.asked.mode != TRIB_PRIVACY_OFF)
        err = trib_budgets_create(&s->policy, s->partition.clients, &s->budgets);
    if (!err)
        err = trib_dataset_select(o->all.dataset, s->partition.rows,
                                  s->partition.starts[s->partition.clients], o->scale, &s->train);
    // As the devices' own programs do: they know nothing of ids and places in the scenario's files,
    // and know a row by its values before a pipeline made features of them.
    if (!err)
        err = trib_split_identify(s->train, TRIB_SPLIT_BY_ROW);
    if (!err && s->prepare && o->is_scaled) {
        err = trib_scenario_fit(s);
        if (!err)
            err = trib_scenario_apply(s);
    }
    return err;
}

// What the versions would take along.
static enum trib_err check_fallback(struct trib_scenario *s)
{
    char why[TRIB_PATH_MAX + 600] = "out of memory";
    char *text;
    enum trib_err err = trib_job_fallback(&s->data, &s->job.model, &text, why, sizeof(why));
    if (!err)
        free(text);
    return err == TRIB_ERR_INVAL ? trib_conf_reject(&s->conf, "data", "fallback", "%s", why) : err;
}

enum trib_err trib_scenario_open(struct trib_scenario *scenario, bool is_scaled)
{
    struct trib_scenario *s = scenario;
    struct opening o = {.s = s, .scale = is_scaled ? s->data.scale : 1, .is_scaled = is_scaled};
    const char *column = s->config.kind == TRIB_PARTITION_COLUMN ? s->config.column : NULL;
    const bool is_glob = s->config.kind == TRIB_PARTITION_FILES;

    assert(!s->train && !s->test);
    enum trib_err err = ask_policy(s);
    if (!err)
        err = check_initial(s);
    if (!err)
        err = check_fallback(s);
    if (!err)
        err = trib_scenario_load_pipeline(s);
    if (!err && s->prepare && is_glob && !is_scaled)
        err = trib_conf_reject(&s->conf, "partition", "kind",
                               "files with data.prepare runs with --mode inprocess only");
    if (!err)
        err = trib_rows_open(&s->data, is_glob, column, &s->job.model, &o.all);
    const bool has_label = !s->data.schema[0] && s->data.format == TRIB_DATA_CSV;
    if (err == TRIB_ERR_INVAL && has_label && !s->conf.error[0])
        err = trib_conf_reject(&s->conf, "data", "label", "no such column in %s", s->data.train);
    if (!err && o.all.dataset->rows == 0) {
        TRIB_ERROR("%s: there are no rows", s->data.train);
        err = TRIB_ERR_DATA;
    }
    if (err)
        goto out;
    o.rows = trib_alloc_array(o.all.dataset->rows, sizeof(*o.rows));
    o.sides = trib_alloc_array(o.all.dataset->rows, sizeof(*o.sides));
    err = o.rows && o.sides ? deal_and_select(&o) : TRIB_ERR_NOMEM;

out:
    free(o.rows);
    free(o.sides);
    trib_rows_close(&o.all);
    return err == TRIB_ERR_IO ? TRIB_ERR_DATA : err; // a file that is not there is unusable data
}

struct trib_samples trib_scenario_samples(const struct trib_scenario *scenario, size_t device)
{
    const struct trib_dataset *train = scenario->train;
    const size_t first = scenario->partition.starts[device];
    return (struct trib_samples){
        .x = train->x + first * train->inputs,
        .y = train->y + first,
        .weights = train->weights ? train->weights + first : NULL,
        .rows = trib_partition_size(&scenario->partition, device),
        .inputs = train->inputs,
        .ids = train->ids ? train->ids + first : NULL,
    };
}

struct trib_samples trib_scenario_held_out(const struct trib_scenario *scenario, size_t device)
{
    const struct trib_dataset *test = scenario->test;
    const size_t first = scenario->held_out.starts[device];
    return (struct trib_samples){
        .x = test->x + first * test->inputs,
        .y = test->y + first,
        .rows = trib_partition_size(&scenario->held_out, device),
        .inputs = test->inputs,
    };
}

bool trib_scenario_is_late(const struct trib_scenario *scenario, uint64_t round_number,
                           const char *name)
{
    return trib_faults_hit(&scenario->config.faults, TRIB_FAULT_STRAGGLE,
                           scenario->job_config.round_seed, round_number, name);
}

bool trib_scenario_drops(const struct trib_scenario *scenario, uint64_t round_number,
                         const char *name)
{
    return trib_faults_hit(&scenario->config.faults, TRIB_FAULT_DROPOUT,
                           scenario->job_config.round_seed, round_number, name) ||
           (scenario->config.faults.straggle_ms >= scenario->job_config.report_ms &&
            trib_scenario_is_late(scenario, round_number, name));
}

bool trib_scenario_lies(const struct trib_scenario *scenario, const char *name,
                        enum trib_lie *ret_lie)
{
    return trib_faults_lies(&scenario->config.faults, scenario->job_config.round_seed, name,
                            ret_lie);
}
