#include "common/data/source.h"

#include "common/base/log.h"
#include "common/data/csv.h"
#include "common/data/idx.h"

#define TRIB_LOG_MODULE "data"

#define KEY(name, type, member, fallback, help, ...)                                               \
    {                                                                                              \
        "data", name, type, offsetof(struct trib_data_config, member), fallback, help, __VA_ARGS__ \
    }

const struct trib_conf_key trib_data_keys_common[] = {
    KEY("format", TRIB_CONF_CHOICE, format, "csv", "of the files", 0, 0, "csv|idx"),
    KEY("scale", TRIB_CONF_REAL, scale, "1", "features are divided by it", 1e-30, 1e30, NULL),
    KEY("label", TRIB_CONF_TEXT, label, "last", "csv: column name, number from 1, or last", 0, 0,
        NULL),
    KEY("header", TRIB_CONF_CHOICE, header, "no", "csv: is the first line names, a row, or neither",
        0, 0, "no|yes|skip"),
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
    const struct trib_csv_options options = {
        .header = (enum trib_csv_header)config->header,
        .label = config->label,
        .scale = scale,
        .limit = config->limit,
    };
    return trib_csv_read(path, &options, ret_dataset);
}
