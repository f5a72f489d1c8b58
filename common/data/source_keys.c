// The keys of the [data] section.
#include <stddef.h>

#include "common/data/row_store.h"
#include "common/data/source.h"

#define KEY(name, type, member, fallback, help, ...)                                               \
    {                                                                                              \
        "data", name, type, offsetof(struct trib_data_config, member), fallback, help, __VA_ARGS__ \
    }

const struct trib_conf_key trib_data_keys_common[] = {
    KEY("format", TRIB_CONF_CHOICE, format, "csv", "of the rows; store and sqlite: on devices", 0,
        0, "csv|idx|jsonl|store|sqlite"),
    KEY("scale", TRIB_CONF_REAL, scale, "1", "features are divided by it", 1e-30, 1e30, NULL),
    KEY("label", TRIB_CONF_TEXT, label, "last", "csv: column name, number from 1, or last", 0, 0,
        NULL),
    KEY("header", TRIB_CONF_CHOICE, header, "no", "csv: is the first line names, a row, or neither",
        0, 0, "no|yes|skip"),
    KEY("schema", TRIB_CONF_PATH, schema, "",
        "file that declares the columns of csv or jsonl: types, roles, rules", 0, 0, NULL),
    KEY("prepare", TRIB_CONF_PATH, prepare, "",
        "with a schema: file of the steps that make features of its columns", 0, 0, NULL),
    KEY("join", TRIB_CONF_PATH, join, "",
        "csv with header = yes and a schema: a second csv file, of the columns that the first lacks",
        0, 0, NULL),
    KEY("join_on", TRIB_CONF_TEXT, join_on, "", "join: the column of the key, in both files", 0, 0,
        NULL),
    KEY("join_time", TRIB_CONF_TEXT, join_time, "",
        "join: the second file's column of times, for rows of the schema's role time; empty: a key "
        "is there once",
        0, 0, NULL),
    KEY("join_tolerance_s", TRIB_CONF_REAL, join_tolerance_s, "0",
        "join: how far a partner may be away in time; 0: however far", 0, 1e12, NULL),
    KEY("join_direction", TRIB_CONF_CHOICE, join_direction, "before",
        "join: the last partner that is not later, or the nearest", 0, 0, "before|nearest"),
    KEY("max_bad_share", TRIB_CONF_REAL, max_bad_share, "0",
        "with a schema: with a larger share of bad rows the device sits out", 0, 1, NULL),
    KEY("limit", TRIB_CONF_INT, limit, "0", "read at most this many rows; 0: all", 0, 0, NULL),
};
const size_t trib_data_keys_common_count =
    sizeof(trib_data_keys_common) / sizeof(trib_data_keys_common[0]);

const struct trib_conf_key trib_data_keys_train[] = {
    KEY("train", TRIB_CONF_PATH, train, "", "rows to learn from", 0, 0, NULL),
    KEY("train_labels", TRIB_CONF_PATH, train_labels, "", "idx: their labels", 0, 0, NULL),
    KEY("rows_per_round", TRIB_CONF_INT, rows_per_round, "0",
        "a rehearsal: a device has so many rows more in each round; 0: all at once", 0,
        TRIB_ROWS_MAX, NULL),
};
const size_t trib_data_keys_train_count =
    sizeof(trib_data_keys_train) / sizeof(trib_data_keys_train[0]);

const struct trib_conf_key trib_data_keys_device[] = {
    KEY("store", TRIB_CONF_PATH, store, "",
        "store: the folder of the rows that were pushed; empty: rows, beside this file", 0, 0,
        NULL),
    KEY("push_format", TRIB_CONF_CHOICE, push_format, "csv", "store: how rows are pushed", 0, 0,
        "csv|jsonl"),
    KEY("store_max_bytes", TRIB_CONF_INT, store_max_bytes, "67108864",
        "store: it never has more; the oldest rows go", TRIB_ROW_STORE_BYTES_MIN, 1e12, NULL),
    KEY("store_max_age_s", TRIB_CONF_INT, store_max_age_s, "0",
        "store: rows that arrived longer ago are not used, and go; 0: any age", 0, 1e9, NULL),
    KEY("socket", TRIB_CONF_PATH, socket, "",
        "store: Unix socket on which the running client takes rows; empty: none", 0, 0, NULL),
    KEY("pipeline", TRIB_CONF_CHOICE, pipeline, "own",
        "with a schema: rows go through prepare, or through the pipeline that a job's tasks bring",
        0, 0, "own|job"),
    KEY("online_copy", TRIB_CONF_PATH, online_copy, "",
        "mode online: file that the device's own copy of the model is written to as rows arrive, "
        "for predict --online; empty: none",
        0, 0, NULL),
    KEY("file", TRIB_CONF_PATH, file, "", "sqlite: the database", 0, 0, NULL),
    KEY("query", TRIB_CONF_TEXT, query, "", "sqlite: a SELECT", 0, 0, NULL),
    KEY("query_max_ms", TRIB_CONF_INT, query_max_ms, "10000",
        "sqlite: milliseconds after which a query is given up", 1, 3600000, NULL),
};
const size_t trib_data_keys_device_count =
    sizeof(trib_data_keys_device) / sizeof(trib_data_keys_device[0]);

const struct trib_conf_key trib_data_keys_fallback[] = {
    KEY("fallback", TRIB_CONF_PATH, fallback, "",
        "predict: file of the clusters, rules and default that answer where no model does; a "
        "job's goes with its versions, and a device's own comes before it",
        0, 0, NULL),
};
const size_t trib_data_keys_fallback_count =
    sizeof(trib_data_keys_fallback) / sizeof(trib_data_keys_fallback[0]);

const struct trib_conf_key trib_data_keys_test[] = {
    KEY("test", TRIB_CONF_PATH, test, "", "held-out rows to evaluate on", 0, 0, NULL),
    KEY("test_labels", TRIB_CONF_PATH, test_labels, "", "idx: their labels", 0, 0, NULL),
};
const size_t trib_data_keys_test_count =
    sizeof(trib_data_keys_test) / sizeof(trib_data_keys_test[0]);

const struct trib_conf_key trib_data_keys_split[] = {
    KEY("test_fraction", TRIB_CONF_REAL, test_fraction, "0",
        "share of the rows held out: nothing learns from them", 0, 0.9, NULL),
    KEY("split_seed", TRIB_CONF_INT, split_seed, "1", "which rows are held out", 0, 0, NULL),
    KEY("split_by", TRIB_CONF_CHOICE, split_by, "auto",
        "what a row is known by: the schema's id column, its values, its place in the file; auto: "
        "id where there is one, else row on a device and place in a scenario",
        0, 0, "auto|id|row|place"),
};
const size_t trib_data_keys_split_count =
    sizeof(trib_data_keys_split) / sizeof(trib_data_keys_split[0]);
