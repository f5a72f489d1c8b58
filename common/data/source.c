#include "common/data/source.h"

#include "common/base/log.h"
#include "common/data/csv.h"
#include "common/data/idx.h"
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

static enum trib_err open_table(const struct trib_data_config *config, const char *path,
                                double scale, struct trib_dataset **ret_dataset)
{
    char why[TRIB_PATH_MAX + 512];
    struct trib_schema *schema;
    const struct trib_table_options options = {
        .is_json_lines = config->format == TRIB_DATA_JSON_LINES,
        .header = (enum trib_csv_header)config->header,
        .scale = scale,
        .limit = config->limit,
        .max_bad_share = config->max_bad_share,
    };
    enum trib_err err = trib_schema_load(config->schema, &schema, why, sizeof(why));
    if (err) {
        TRIB_ERROR("%s", why);
        return err;
    }
    err = trib_table_read(path, schema, &options, NULL, ret_dataset);
    trib_schema_destroy(schema);
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
    if (config->schema[0])
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
