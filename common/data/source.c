#include "common/data/source.h"

#include <stdio.h>

#include "common/base/log.h"
#include "common/data/csv.h"
#include "common/data/idx.h"
#include "common/data/prepare_dataset.h"
#include "common/data/table.h"

#define TRIB_LOG_MODULE "data"

#define KEY(name, type, member, fallback, help, ...)                                               \
    {                                                                                              \
        "data", name, type, offsetof(struct trib_data_config, member), fallback, help, __VA_ARGS__ \
    }

const struct trib_conf_key trib_data_keys_common[] = {
    KEY("format", TRIB_CONF_CHOICE, format, "csv", "of the files", 0, 0, "csv|idx|jsonl"),
    KEY("scale", TRIB_CONF_REAL, scale, "1", "features are divided by it", 1e-30, 1e30, NULL),
    KEY("label", TRIB_CONF_TEXT, label, "last", "csv: column name, number from 1, or last", 0, 0,
        NULL),
    KEY("header", TRIB_CONF_CHOICE, header, "no", "csv: is the first line names, a row, or neither",
        0, 0, "no|yes|skip"),
    KEY("schema", TRIB_CONF_PATH, schema, "",
        "file that declares the columns of csv or jsonl: types, roles, rules", 0, 0, NULL),
    KEY("prepare", TRIB_CONF_PATH, prepare, "",
        "with a schema: file of the steps that make features of its columns", 0, 0, NULL),
    KEY("max_bad_share", TRIB_CONF_REAL, max_bad_share, "0",
        "with a schema: with a larger share of bad rows the device sits out", 0, 1, NULL),
    KEY("limit", TRIB_CONF_INT, limit, "0", "read at most this many rows; 0: all", 0, 0, NULL),
};
const size_t trib_data_keys_common_count =
    sizeof(trib_data_keys_common) / sizeof(trib_data_keys_common[0]);

const struct trib_conf_key trib_data_keys_train[] = {
    KEY("train", TRIB_CONF_PATH, train, "", "rows to learn from", 0, 0, NULL),
    KEY("train_labels", TRIB_CONF_PATH, train_labels, "", "idx: their labels", 0, 0, NULL),
};
const size_t trib_data_keys_train_count =
    sizeof(trib_data_keys_train) / sizeof(trib_data_keys_train[0]);

const struct trib_conf_key trib_data_keys_test[] = {
    KEY("test", TRIB_CONF_PATH, test, "", "held-out rows to evaluate on", 0, 0, NULL),
    KEY("test_labels", TRIB_CONF_PATH, test_labels, "", "idx: their labels", 0, 0, NULL),
};
const size_t trib_data_keys_test_count =
    sizeof(trib_data_keys_test) / sizeof(trib_data_keys_test[0]);

enum trib_err trib_data_load(const struct trib_data_config *config, struct trib_schema **ret_schema,
                             struct trib_prepare **ret_prepare)
{
    char why[TRIB_PATH_MAX + 512] = "data.prepare wants a data.schema, which declares the columns";
    struct trib_schema *schema = NULL;
    *ret_prepare = NULL;
    enum trib_err err = config->prepare[0] && !config->schema[0] ? TRIB_ERR_INVAL : TRIB_OK;
    if (!err && config->schema[0])
        err = trib_schema_load(config->schema, &schema, why, sizeof(why));
    if (!err && config->prepare[0])
        err = trib_prepare_load(config->prepare, schema, ret_prepare, why, sizeof(why));
    if (!err && config->prepare[0] && config->scale != 1) {
        (void)snprintf(why, sizeof(why), "data.scale must be 1 with data.prepare, which scales");
        err = TRIB_ERR_INVAL;
    }
    if (err) {
        TRIB_ERROR("%s", why);
        trib_prepare_destroy(*ret_prepare);
        trib_schema_destroy(schema);
        *ret_prepare = NULL;
        schema = NULL;
    }
    *ret_schema = schema;
    return err;
}

static enum trib_err prepare_rows(const struct trib_data_config *config,
                                  const struct trib_prepare *prepare, const char *path,
                                  struct trib_dataset **dataset)
{
    struct trib_prepare_report report = {.rows = 0};
    struct trib_dataset *features;
    if (!trib_prepare_is_fitted(prepare)) {
        TRIB_ERROR("%s: the pipeline lacks the statistics of %zu passes, so that it makes no "
                   "features of %s yet",
                   config->prepare, trib_prepare_passes_left(prepare), path);
        return TRIB_ERR_INVAL;
    }
    enum trib_err err =
        trib_prepare_dataset(prepare, *dataset, trib_prepare_today(), &report, &features);
    if (!err) {
        trib_prepare_report_log(&report, prepare, path);
        trib_dataset_free(*dataset);
        *dataset = features;
    }
    trib_prepare_report_fini(&report);
    return err;
}

static enum trib_err open_table(const struct trib_data_config *config, const char *path,
                                double scale, struct trib_dataset **ret_dataset)
{
    struct trib_schema *schema;
    struct trib_prepare *prepare;
    struct trib_dataset *dataset = NULL;
    enum trib_err err = trib_data_load(config, &schema, &prepare);
    if (err)
        return err;
    const struct trib_table_options options = {
        .is_json_lines = config->format == TRIB_DATA_JSON_LINES,
        .header = (enum trib_csv_header)config->header,
        .scale = scale,
        .limit = config->limit,
        .max_bad_share = config->max_bad_share,
        .keeps_values = config->keeps_values || prepare,
    };
    err = trib_table_read(path, schema, &options, NULL, &dataset);
    if (!err && prepare && !config->keeps_values)
        err = prepare_rows(config, prepare, path, &dataset);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
    if (err)
        trib_dataset_free(dataset);
    else
        *ret_dataset = dataset;
    return err;
}

enum trib_err trib_data_open(const struct trib_data_config *config, const char *path,
                             const char *labels_path, double scale,
                             struct trib_dataset **ret_dataset)
{
    if (scale == 0)
        scale = config->scale;
    if (config->format == TRIB_DATA_IDX) {
        if (!labels_path[0]) {
            TRIB_ERROR("%s: idx files want their labels too (data.train_labels, data.test_labels)",
                       path);
            return TRIB_ERR_INVAL;
        }
        return trib_idx_read(path, labels_path, scale, config->limit, ret_dataset);
    }
    if (config->schema[0] || config->prepare[0])
        return open_table(config, path, scale, ret_dataset);
    if (config->format == TRIB_DATA_JSON_LINES) {
        TRIB_ERROR("%s: jsonl files want a data.schema", path);
        return TRIB_ERR_INVAL;
    }
    const struct trib_csv_options options = {
        .header = (enum trib_csv_header)config->header,
        .label = config->label,
        .scale = scale,
        .limit = config->limit,
    };
    return trib_csv_read(path, &options, ret_dataset);
}
