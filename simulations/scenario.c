#include "simulations/scenario.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/privacy/mode.h"
#include "simulations/own_client.h"
#include "simulations/prepare.h"
#include "simulations/rows.h"

#define TRIB_LOG_MODULE "scenario"

#define KEY(section, name, type, member, ...)                                           \
    {                                                                                   \
        section, name, type, offsetof(struct trib_scenario_config, member), __VA_ARGS__ \
    }

static const struct trib_conf_key split_keys[] = {
    KEY("data", "test_fraction", TRIB_CONF_REAL, test_fraction, "0",
        "share of the rows held out, when there is no test file", 0, 0.9, NULL),
    KEY("data", "split_seed", TRIB_CONF_INT, split_seed, "1", "which rows are held out", 0, 0,
        NULL),
};

static const struct trib_conf_key own_keys[] = {
    KEY("partition", "kind", TRIB_CONF_CHOICE, kind, "iid", "how rows are dealt to devices", 0, 0,
        "iid|shards|dirichlet|column|files"),
    KEY("partition", "clients", TRIB_CONF_INT, clients, "0",
        "devices; column and files make as many as there are values or files", 0, TRIB_DEVICES_MAX,
        NULL),
    KEY("partition", "shards_per_client", TRIB_CONF_INT, shards_per_client, "2",
        "shards: pieces of the rows sorted by label that a device gets", 1, TRIB_ROWS_MAX, NULL),
    KEY("partition", "alpha", TRIB_CONF_REAL, alpha, "0.5",
        "dirichlet: evenness of the labels on a device", 1e-3, 1e6, NULL),
    KEY("partition", "min_rows", TRIB_CONF_INT, min_rows, "1", "rows a device has at least", 0,
        TRIB_ROWS_MAX, NULL),
    KEY("partition", "column", TRIB_CONF_TEXT, column, "",
        "column: name or number from 1; removed from the features", 0, 0, NULL),
    KEY("partition", "seed", TRIB_CONF_INT, partition_seed, "1", "seed of the dealing", 0, 0, NULL),

    KEY("faults", "dropout", TRIB_CONF_REAL, dropout, "0",
        "probability that a device falls silent in a round", 0, 1, NULL),
    KEY("secagg", "inprocess_masks", TRIB_CONF_BOOL, inprocess_masks, "yes",
        "no: leave out the masks, which cancel (only --mode inprocess): the same bytes, sooner", 0,
        0, NULL),
};

static void add_tables(struct trib_scenario *scenario)
{
    struct trib_conf *conf = &scenario->conf;
    trib_conf_init(conf);
    trib_job_conf_add(conf, &scenario->job_config);
    trib_conf_add(conf, trib_data_keys_common, trib_data_keys_common_count, &scenario->data);
    trib_conf_add(conf, trib_data_keys_train, trib_data_keys_train_count, &scenario->data);
    trib_conf_add(conf, trib_data_keys_test, trib_data_keys_test_count, &scenario->data);
    trib_conf_add(conf, split_keys, sizeof(split_keys) / sizeof(split_keys[0]), &scenario->config);
    trib_conf_add(conf, own_keys, sizeof(own_keys) / sizeof(own_keys[0]), &scenario->config);
    trib_policy_conf_add(conf, &scenario->policy);
}

enum trib_err trib_scenario_create(struct trib_scenario **ret_scenario)
{
    struct trib_scenario *scenario = trib_alloc(sizeof(*scenario));
    if (!scenario)
        return TRIB_ERR_NOMEM;
    add_tables(scenario);
    *ret_scenario = scenario;
    return TRIB_OK;
}

void trib_scenario_destroy(struct trib_scenario *scenario)
{
    if (!scenario)
        return;
    trib_partition_fini(&scenario->partition);
    trib_dataset_free(scenario->train);
    trib_dataset_free(scenario->test);
    trib_prepare_destroy(scenario->prepare);
    trib_schema_destroy(scenario->schema);
    free(scenario);
}

enum trib_err trib_scenario_print_keys(FILE *file)
{
    struct trib_scenario *scenario;
    enum trib_err err = trib_scenario_create(&scenario);
    if (err)
        return err;
    trib_conf_print_keys(&scenario->conf, file);
    trib_scenario_destroy(scenario);
    return TRIB_OK;
}

// ---- Checks without data

static enum trib_err check_data_keys(struct trib_scenario *s)
{
    const bool is_idx = s->data.format == TRIB_DATA_IDX;
    const bool has_test = s->data.test[0] != '\0';

    if (!trib_data_is_file(&s->data))
        return trib_conf_reject(&s->conf, "data", "format",
                                "must be csv, idx or jsonl: the others "
                                "are of real devices");
    if (!s->data.train[0])
        return trib_conf_reject(&s->conf, "data", "train", "is missing: a file with rows");
    if (s->data.format == TRIB_DATA_JSON_LINES && !s->data.schema[0])
        return trib_conf_reject(&s->conf, "data", "schema", "is missing: jsonl files want it");
    if (is_idx && s->data.schema[0])
        return trib_conf_reject(&s->conf, "data", "schema", "is for csv and jsonl, not for idx");
    if (s->data.prepare[0] && !s->data.schema[0])
        return trib_conf_reject(&s->conf, "data", "prepare",
                                "wants a data.schema, which declares the columns");
    if (s->data.prepare[0] && s->data.scale != 1)
        return trib_conf_reject(&s->conf, "data", "scale", "must be 1 with data.prepare");
    if (is_idx && !s->data.train_labels[0])
        return trib_conf_reject(&s->conf, "data", "train_labels", "is missing: idx files want it");
    if (has_test && s->config.test_fraction > 0)
        return trib_conf_reject(&s->conf, "data", "test_fraction",
                                "must be 0 when there is a test file");
    if (!has_test && s->config.test_fraction == 0)
        return trib_conf_reject(&s->conf, "data", "test",
                                "is missing: name a file, or set test_fraction");
    if (is_idx && has_test && !s->data.test_labels[0])
        return trib_conf_reject(&s->conf, "data", "test_labels", "is missing: idx files want it");
    return TRIB_OK;
}

static enum trib_err check_partition_keys(struct trib_scenario *s)
{
    const enum trib_partition_kind kind = (enum trib_partition_kind)s->config.kind;

    if (!trib_partition_finds_devices(kind) && s->config.clients == 0)
        return trib_conf_reject(&s->conf, "partition", "clients", "is missing: how many devices");
    if (trib_partition_finds_devices(kind) && s->config.clients != 0)
        return trib_conf_reject(&s->conf, "partition", "clients",
                                "must be left out: the data say how many devices there are");
    if (kind == TRIB_PARTITION_COLUMN && !s->config.column[0])
        return trib_conf_reject(&s->conf, "partition", "column", "is missing");
    if (kind == TRIB_PARTITION_COLUMN && (s->data.format == TRIB_DATA_IDX || s->data.schema[0]))
        return trib_conf_reject(&s->conf, "partition", "kind",
                                "column wants csv data without a schema");
    return TRIB_OK;
}

// The simulated devices allow what the scenario asks, unless it says what they allow.
static enum trib_err check_policy(struct trib_scenario *s)
{
    const enum trib_privacy_mode mode = (enum trib_privacy_mode)s->job_config.privacy_mode;
    char word[64];

    if (!trib_conf_is_set(&s->conf, "client.policy", "allowed_modes")) {
        (void)snprintf(s->policy.allowed_modes, sizeof(s->policy.allowed_modes), "%s",
                       trib_privacy_mode_text(mode));
        if (mode == TRIB_PRIVACY_OFF || mode == TRIB_PRIVACY_CENTRAL)
            TRIB_WARN("the simulated devices allow privacy mode %s, which a real device does not "
                      "unless its client.policy.allowed_modes says so",
                      trib_privacy_mode_text(mode));
    }
    if (!trib_policy_check(&s->policy, word, sizeof(word)))
        return trib_conf_reject(&s->conf, "client.policy", "allowed_modes",
                                "'%s' is not a privacy mode", word);
    return TRIB_OK;
}

// With `devices` of 0 their number is not known yet.
static enum trib_err check_job(struct trib_scenario *s, uint64_t devices)
{
    if (devices && s->job_config.cohort > devices)
        return trib_conf_reject(&s->conf, "round", "cohort", "is more than the %llu devices",
                                (unsigned long long)devices);
    if (!trib_conf_is_set(&s->conf, "privacy", "send_tick_ms"))
        s->job_config.send_tick_ms = 0; // nobody watches the clock of a simulation
    return trib_job_check(&s->conf, &s->job_config, devices, &s->job);
}

// "digits" of "simulations/scenarios/digits.ini", with blanks and the like replaced.
static void take_name(const char *path, char name[static TRIB_NAME_MAX + 1])
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    (void)snprintf(name, TRIB_NAME_MAX + 1, "%s", trib_path_base(path));
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = '\0';
    for (char *c = name; *c; c++) {
        if (!strchr(plain, *c))
            *c = '_';
    }
}

// So that the resolved scenario can be run again from anywhere.
static enum trib_err make_absolute(struct trib_scenario *s, const char *section, const char *key,
                                   char *path)
{
    char dir[TRIB_PATH_MAX + 1];
    trib_conf_text whole;
    if (path[0] == '\0' || path[0] == '/')
        return TRIB_OK;
    if (!getcwd(dir, sizeof(dir)) ||
        snprintf(whole, sizeof(whole), "%s/%s", dir, path) >= (int)sizeof(whole))
        return trib_conf_reject(&s->conf, section, key, "is too long a path");
    memcpy(path, whole, sizeof(whole));
    return TRIB_OK;
}

static enum trib_err make_paths_absolute(struct trib_scenario *s)
{
    enum trib_err err = make_absolute(s, "data", "train", s->data.train);
    if (!err)
        err = make_absolute(s, "model", "init", s->job_config.model_init);
    if (!err)
        err = make_absolute(s, "data", "train_labels", s->data.train_labels);
    if (!err)
        err = make_absolute(s, "data", "schema", s->data.schema);
    if (!err)
        err = make_absolute(s, "data", "prepare", s->data.prepare);
    if (!err)
        err = make_absolute(s, "data", "test", s->data.test);
    if (!err)
        err = make_absolute(s, "data", "test_labels", s->data.test_labels);
    return err;
}

enum trib_err trib_scenario_load(struct trib_scenario *scenario, const char *path,
                                 const char *const *overrides, size_t override_count)
{
    take_name(path, scenario->name);
    enum trib_err err = trib_conf_load(&scenario->conf, path);
    if (err == TRIB_ERR_IO) // a wrong path is the user's mistake like any other
        err = TRIB_ERR_INVAL;
    for (size_t i = 0; !err && i < override_count; i++)
        err = trib_conf_override(&scenario->conf, overrides[i]);
    if (!err)
        err = check_data_keys(scenario);
    if (!err)
        err = check_partition_keys(scenario);
    if (!err)
        err = check_job(scenario, scenario->config.clients);
    if (!err)
        err = check_policy(scenario);
    if (!err)
        err = make_paths_absolute(scenario);
    return err;
}

// ---- With data

// Which rows are held out depends on the row's number and the seed alone: a row keeps its side
// when others are added.
static bool is_held_out(const struct trib_scenario *s, uint32_t row)
{
    struct trib_rng rng;
    trib_rng_init(&rng, s->config.split_seed, "split", row, NULL);
    return trib_rng_real(&rng) < s->config.test_fraction;
}

// Numbers of the rows on one side of the split; `ret_rows` has room for all.
static size_t take_side(const struct trib_scenario *s, size_t rows, bool held_out,
                        uint32_t *ret_rows)
{
    size_t count = 0;
    for (size_t row = 0; row < rows; row++) {
        if (is_held_out(s, (uint32_t)row) == held_out)
            ret_rows[count++] = (uint32_t)row;
    }
    return count;
}

static enum trib_err open_test(struct trib_scenario *s, const struct trib_rows *all, uint32_t *rows,
                               double scale)
{
    char why[TRIB_PATH_MAX + 256];
    enum trib_err err;
    if (s->config.test_fraction > 0) {
        size_t count = take_side(s, all->dataset->rows, true, rows);
        err = trib_dataset_select(all->dataset, rows, count, scale, &s->test);
    } else {
        err = trib_rows_open_test(&s->data, s->config.kind == TRIB_PARTITION_FILES, &s->job.model,
                                  all, scale, &s->test);
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

// Deal out the rows that are not held out.
static enum trib_err deal(struct trib_scenario *s, const struct trib_rows *all, uint32_t *rows)
{
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
        .rows = rows,
        .count = take_side(s, all->dataset->rows, false, rows),
        .labels = all->dataset->y,
        .groups = all->groups,
    };
    enum trib_err err = trib_partition_make(&config, &from, &s->partition, why, sizeof(why));
    if (err == TRIB_ERR_INVAL)
        return trib_conf_reject(&s->conf, "partition", "kind", "%s", why);
    return err;
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
    if (!trib_job_check_initial(&s->job, why, sizeof(why)))
        return TRIB_OK;
    return trib_conf_reject(&s->conf, "model", "init", "%s", why);
}

enum trib_err trib_scenario_open(struct trib_scenario *scenario, bool is_scaled)
{
    struct trib_scenario *s = scenario;
    struct trib_rows all = {0};
    uint32_t *rows = NULL;
    const double scale = is_scaled ? s->data.scale : 1;
    const char *column = s->config.kind == TRIB_PARTITION_COLUMN ? s->config.column : NULL;
    const bool is_glob = s->config.kind == TRIB_PARTITION_FILES;

    assert(!s->train && !s->test);
    enum trib_err err = ask_policy(s);
    if (!err)
        err = check_initial(s);
    if (!err)
        err = trib_scenario_load_pipeline(s);
    if (!err && s->prepare && is_glob && !is_scaled)
        err = trib_conf_reject(&s->conf, "partition", "kind",
                               "files with data.prepare runs with --mode inprocess only");
    if (!err)
        err = trib_rows_open(&s->data, is_glob, column, &s->job.model, &all);
    if (err)
        goto out;
    rows = trib_alloc_array(all.dataset->rows, sizeof(*rows));
    err = rows ? open_test(s, &all, rows, scale) : TRIB_ERR_NOMEM;
    if (!err)
        err = deal(s, &all, rows);
    if (!err)
        err = check_job(s, s->partition.clients);
    if (err)
        goto out;
    err = trib_dataset_select(all.dataset, s->partition.rows,
                              s->partition.starts[s->partition.clients], scale, &s->train);
    if (!err && s->prepare && is_scaled) {
        err = trib_scenario_fit(s);
        if (!err)
            err = trib_scenario_apply(s);
    }

out:
    free(rows);
    trib_rows_close(&all);
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
    };
}

bool trib_scenario_drops(const struct trib_scenario *scenario, uint64_t round_number,
                         const char *name)
{
    return trib_faults_drop(scenario->config.dropout, scenario->job_config.round_seed, round_number,
                            name);
}
