#include "simulations/scenario.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/privacy/mode.h"
#include "simulations/prepare.h"

#define TRIB_LOG_MODULE "scenario"

#define KEY(section, name, type, member, ...)                                           \
    {                                                                                   \
        section, name, type, offsetof(struct trib_scenario_config, member), __VA_ARGS__ \
    }

static const struct trib_conf_key split_keys[] = {
    KEY("data", "stratified", TRIB_CONF_BOOL, stratified, "no",
        "each label has its share of the held-out rows, to the nearest row", 0, 0, NULL),
    KEY("data", "validation_fraction", TRIB_CONF_REAL, validation_fraction, "0",
        "share of the rows held out to choose by, besides those of test_fraction, which then only "
        "report",
        0, 0.9, NULL),
    KEY("data", "test_on", TRIB_CONF_CHOICE, test_on, "coordinator",
        "devices: rows are dealt out first, and each device measures on some of its own", 0, 0,
        "coordinator|devices"),
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
        "column: name or number from 1; never a feature", 0, 0, NULL),
    KEY("partition", "seed", TRIB_CONF_INT, partition_seed, "1", "seed of the dealing", 0, 0, NULL),

    KEY("faults", "dropout", TRIB_CONF_REAL, faults.dropout, "0",
        "probability that a device falls silent in a round", 0, 1, NULL),
    KEY("faults", "straggle", TRIB_CONF_REAL, faults.straggle, "0",
        "probability that a device is late in a round", 0, 1, NULL),
    KEY("faults", "straggle_ms", TRIB_CONF_INT, faults.straggle_ms, "1000",
        "milliseconds by which it is", 1, 604800000, NULL),
    KEY("faults", "kill", TRIB_CONF_REAL, faults.kill, "0",
        "probability that a device's process is killed in a round, after training, and started again",
        0, 1, NULL),
    KEY("faults", "liars", TRIB_CONF_REAL, faults.liars, "0",
        "share of the devices whose updates are not true", 0, 1, NULL),
    KEY("faults", "lie", TRIB_CONF_CHOICE, faults.lie, "mixed", "what is not true in them", 0, 0,
        TRIB_LIE_CHOICES),
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
    trib_conf_add(conf, trib_data_keys_fallback, trib_data_keys_fallback_count, &scenario->data);
    trib_conf_add(conf, trib_data_keys_train, trib_data_keys_train_count, &scenario->data);
    trib_conf_add(conf, trib_data_keys_test, trib_data_keys_test_count, &scenario->data);
    trib_conf_add(conf, trib_data_keys_split, trib_data_keys_split_count, &scenario->data);
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
    trib_partition_fini(&scenario->held_out);
    trib_dataset_free(scenario->train);
    trib_dataset_free(scenario->test);
    trib_prepare_destroy(scenario->prepare);
    trib_budgets_destroy(scenario->budgets);
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
    if (has_test && s->data.test_fraction > 0)
        return trib_conf_reject(&s->conf, "data", "test_fraction",
                                "must be 0 when there is a test file");
    if (s->job_config.stratify_by)
        return trib_conf_reject(&s->conf, "round", "stratify_by",
                                "the devices of a simulation have no groups");
    if (s->config.test_on == TRIB_TEST_ON_DEVICES &&
        s->job_config.beat_baseline == TRIB_JOB_BEAT_YES)
        return trib_conf_reject(&s->conf, "round", "beat_baseline",
                                "wants data.test_on = coordinator, which measures the baseline");
    if (s->config.test_on == TRIB_TEST_ON_DEVICES &&
        s->job_config.baseline == TRIB_JOB_BASELINE_LINEAR)
        return trib_conf_reject(&s->conf, "round", "baseline",
                                "linear wants data.test_on = coordinator");
    if (s->config.test_on == TRIB_TEST_ON_DEVICES && s->job_config.keep == TRIB_JOB_KEEP_BEST)
        return trib_conf_reject(&s->conf, "round", "keep", "best wants data.test_on = coordinator");
    if (has_test && s->config.test_on == TRIB_TEST_ON_DEVICES)
        return trib_conf_reject(&s->conf, "data", "test_on",
                                "devices wants a test_fraction instead of a test file");
    if (s->config.test_on == TRIB_TEST_ON_DEVICES && s->data.prepare[0])
        return trib_conf_reject(&s->conf, "data", "test_on", "devices works without data.prepare");
    if (s->config.validation_fraction > 0 &&
        (s->data.test_fraction == 0 || s->config.test_on == TRIB_TEST_ON_DEVICES ||
         s->data.prepare[0] || s->job_config.test_share > 0))
        return trib_conf_reject(&s->conf, "data", "validation_fraction",
                                "goes with a test_fraction, and without test_on = devices, "
                                "data.prepare and round.test_share");
    if (s->config.validation_fraction + s->data.test_fraction > 0.95)
        return trib_conf_reject(&s->conf, "data", "validation_fraction",
                                "and test_fraction leave too little to learn from");
    if (s->config.stratified && s->data.test_fraction == 0)
        return trib_conf_reject(&s->conf, "data", "stratified", "is for a test_fraction above 0");
    if (s->data.split_by == TRIB_SPLIT_BY_ID && !s->data.schema[0])
        return trib_conf_reject(&s->conf, "data", "split_by",
                                "id wants a data.schema with a column of the role id");
    if (!has_test && s->data.test_fraction == 0)
        return trib_conf_reject(&s->conf, "data", "test",
                                "is missing: name a file, or set test_fraction");
    if (is_idx && has_test && !s->data.test_labels[0])
        return trib_conf_reject(&s->conf, "data", "test_labels", "is missing: idx files want it");
    return trib_data_check_join(&s->conf, &s->data);
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
    if (kind == TRIB_PARTITION_COLUMN && s->data.format == TRIB_DATA_IDX)
        return trib_conf_reject(&s->conf, "partition", "kind", "column is not for idx data");
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

static enum trib_err check_faults(struct trib_scenario *s)
{
    if (s->config.faults.liars == 0)
        return TRIB_OK;
    if (s->job_config.privacy_mode == TRIB_PRIVACY_DISTRIBUTED)
        return trib_conf_reject(&s->conf, "faults", "liars",
                                "must be 0 with privacy.mode = distributed: nobody sees an update "
                                "by itself, so that none is refused");
    if (s->data.prepare[0])
        return trib_conf_reject(&s->conf, "faults", "liars",
                                "must be 0 with data.prepare: they do not know the pipeline");
    return TRIB_OK;
}

enum trib_err trib_scenario_check_job(struct trib_scenario *s, uint64_t devices)
{
    if (devices && s->job_config.cohort > devices)
        return trib_conf_reject(&s->conf, "round", "cohort", "is more than the %llu devices",
                                (unsigned long long)devices);
    if (!trib_conf_is_set(&s->conf, "privacy", "send_tick_ms"))
        s->job_config.send_tick_ms = 0; // nobody watches the clock of a simulation
    enum trib_err err = trib_job_check(&s->conf, &s->job_config, devices, s->passes, &s->job);
    if (!err && s->job_config.counters[0])
        return trib_conf_reject(
            &s->conf, "round", "counters",
            "are for a job of real devices: simulated ones have no application");
    return err;
}

static enum trib_err check_measuring(struct trib_scenario *s)
{
    if (s->job.model.local_count == 0 || s->job_config.eval_every == 0 ||
        s->config.test_on == TRIB_TEST_ON_DEVICES)
        return TRIB_OK;
    return trib_conf_reject(&s->conf, "data", "test_on",
                            "must be devices: a part of the model stays on them");
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
        err = make_absolute(s, "data", "join", s->data.join);
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
    for (size_t i = 0; !err && i < override_count; i++)
        err = trib_conf_override(&scenario->conf, overrides[i]);
    if (!err)
        err = check_data_keys(scenario);
    if (!err)
        err = check_partition_keys(scenario);
    if (!err)
        err = trib_scenario_check_job(scenario, scenario->config.clients);
    if (!err)
        err = check_measuring(scenario);
    if (!err)
        err = check_faults(scenario);
    if (!err)
        err = check_policy(scenario);
    if (!err)
        err = make_paths_absolute(scenario);
    return err;
}
