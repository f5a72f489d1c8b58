// source.h - the [data] section: which files, how they are written, where the label is.
//
// A device uses the common keys and the training ones, a coordinator the common and the held-out
// ones, the simulator all.
#ifndef TRIB_DATA_SOURCE_H
#define TRIB_DATA_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/hash.h"
#include "common/data/dataset.h"
#include "common/data/prepare.h"
#include "common/data/split.h"
#include "tributary/err.h"

enum trib_data_format {
    TRIB_DATA_CSV,
    TRIB_DATA_IDX,
    TRIB_DATA_JSON_LINES, // wants a schema
    TRIB_DATA_STORE,      // rows that were pushed (row_store.h); wants a schema; on devices
    TRIB_DATA_SQLITE,     // the client's own (client/source_sqlite.h); wants a schema
};

enum trib_push_format {
    TRIB_PUSH_CSV,
    TRIB_PUSH_JSON_LINES,
};

enum trib_pipeline_source {
    TRIB_PIPELINE_OWN, // data.prepare, or none
    TRIB_PIPELINE_JOB, // comes with each task
};

struct trib_data_config {
    int format; // enum trib_data_format
    double scale;
    trib_conf_text label;
    int header; // enum trib_csv_header
    uint64_t limit;
    trib_conf_text schema;  // a file that declares the columns; empty: strict numeric CSV
    trib_conf_text prepare; // a pipeline of the schema's columns (prepare.h); empty: none
    double max_bad_share;   // with a schema: more bad rows than this share, and none is used
    trib_conf_text join;    // a second file of columns (join.h); empty: none
    trib_conf_text join_on, join_time;
    double join_tolerance_s;
    int join_direction; // 0: not later; 1: nearest
    trib_conf_text train, train_labels;
    uint64_t rows_per_round; // a rehearsal: so many rows arrive before each round; 0: all are there
    trib_conf_text test, test_labels;
    // Of format store
    trib_conf_text store; // its folder
    int push_format;      // enum trib_push_format
    uint64_t store_max_bytes, store_max_age_s;
    trib_conf_text socket; // where programs push rows; empty: nowhere
    // Of format sqlite
    trib_conf_text file, query;
    uint64_t query_max_ms;
    int pipeline; // enum trib_pipeline_source
    trib_conf_text
        fallback; // what answers where no model does (common/data/fallback.h); empty: nothing
    trib_conf_text online_copy; // of mode online (client/online_file.h); empty: nowhere
    bool keeps_values;    // no key: data sets hold values for a pipeline that is not fitted yet
    double test_fraction; // rows of `train` held out
    uint64_t split_seed;
    int split_by;      // enum trib_split_by
    const char *owner; // no key: trib_data_open_owned
};

extern const struct trib_conf_key trib_data_keys_common[];
extern const size_t trib_data_keys_common_count;
extern const struct trib_conf_key trib_data_keys_train[];
extern const size_t trib_data_keys_train_count;
// What only a device has.
extern const struct trib_conf_key trib_data_keys_device[];
extern const size_t trib_data_keys_device_count;
extern const struct trib_conf_key trib_data_keys_fallback[]; // of devices, jobs and scenarios
extern const size_t trib_data_keys_fallback_count;
extern const struct trib_conf_key trib_data_keys_test[];
extern const size_t trib_data_keys_test_count;
extern const struct trib_conf_key trib_data_keys_split[]; // of devices and scenarios
extern const size_t trib_data_keys_split_count;

// Read the rows of one file (or pair of files). `scale` of 0 takes the configured one; 1 keeps the
// values as they are written. With a pipeline, which must be fitted, the features are what it makes
// of the rows. Errors are logged with file, line and column.
TRIB_CHECKED enum trib_err trib_data_open(const struct trib_data_config *config, const char *path,
                                          const char *labels_path, double scale,
                                          struct trib_dataset **ret_dataset);

// The same for a file with a schema, with whom each row belongs to (dataset.h) by the column that
// is called `owner`, or has that number from 1. TRIB_ERR_INVAL: there is no such column, it is a
// feature or the label, or a pipeline makes the features, logged.
TRIB_CHECKED enum trib_err trib_data_open_owned(const struct trib_data_config *config,
                                                const char *path, const char *owner, double scale,
                                                struct trib_dataset **ret_dataset);
// The formats that a file has by itself: what a coordinator or a simulator can read.
bool trib_data_is_file(const struct trib_data_config *config);

// Do the keys of data.join go with the others? TRIB_ERR_INVAL: one does not, in conf->error.
TRIB_CHECKED enum trib_err trib_data_check_join(struct trib_conf *conf,
                                                const struct trib_data_config *config);
// The file that data.join names, for rows of the schema (join.h), or NULL.
struct trib_join;
struct trib_schema;
TRIB_CHECKED enum trib_err trib_data_open_join(const struct trib_data_config *config,
                                               const struct trib_schema *schema,
                                               struct trib_join **ret_join);

// The store of rows that were pushed, open to write. `ret_schema` is the caller's to destroy.
// TRIB_ERR_STATE: another process writes. Logged.
struct trib_row_store;
TRIB_CHECKED enum trib_err trib_data_open_store(const struct trib_data_config *config,
                                                uint64_t now_ms, struct trib_schema **ret_schema,
                                                struct trib_row_store **ret_store);

// For readers of rows: do they keep the values (intake.h) for a pipeline, the file's or a job's?
bool trib_data_keeps_values(const struct trib_data_config *config,
                            const struct trib_prepare *prepare);

// What a reader of rows ends with: features of the values where the pipeline is there (NULL: none),
// and for a pipeline that comes with a job the schema to read it with, which is then the data
// set's.
TRIB_CHECKED enum trib_err trib_data_finish(const struct trib_data_config *config,
                                            const struct trib_prepare *prepare, const char *path,
                                            struct trib_schema **schema,
                                            struct trib_dataset **dataset);

// ---- Rows that are new

// How far a source was used. All zero: not at all.
struct trib_data_mark {
    uint64_t position; // of the last row: its number in a store or query; else lines
    uint8_t
        digest[TRIB_DIGEST_SIZE]; // csv, jsonl: of so many lines of the file; else: which source
};

struct trib_data_news {
    struct trib_dataset *dataset;     // owned
    size_t first;                     // rows from here on are behind the mark
    size_t end;                       // and before this one
    uint8_t source[TRIB_DIGEST_SIZE]; // not of csv and jsonl: trib_data_source_digest
    struct trib_buf text;             // csv, jsonl: the file up to its last line end
    // Of features that a pipeline made, which may have left rows out: the mark of all rows it was
    // given.
    bool has_whole;
    struct trib_data_mark whole;
};

// Read a device's training rows (not of sqlite), and find those behind the mark. Of a csv or jsonl
// file only lines that have their end count: the last may be still in the writing. When the file no
// longer begins with what the mark was made of, it was rotated or written anew: all its rows are
// new (logged with id=data-rotated). Of a store the rows before the mark are left out, unless
// `wants_used`.
TRIB_CHECKED enum trib_err trib_data_news_open(const struct trib_data_config *config,
                                               const struct trib_data_mark *mark, bool wants_used,
                                               uint64_t now_ms, struct trib_data_news *ret_news);
// A mark of another source than this counts for nothing (logged with id=data-changed).
void trib_data_source_digest(const struct trib_data_config *config,
                             uint8_t ret_digest[static TRIB_DIGEST_SIZE]);
void trib_data_news_fini(struct trib_data_news *news);
// Take a data set (owned from now on) whose rows have positions.
void trib_data_news_take(struct trib_data_news *news, const struct trib_data_config *config,
                         struct trib_dataset *dataset, const struct trib_data_mark *mark);
// A rehearsal: rows that come only after round `round_number` are not there.
void trib_data_news_hide(struct trib_data_news *news, uint64_t rows_per_round,
                         uint64_t round_number);
struct trib_samples trib_data_news_samples(const struct trib_data_news *news); // the new rows
size_t trib_data_news_count(const struct trib_data_news *news);                // of new rows
// Features (owned from now on) take the place of the rows they were made of, which go: all before
// `end`, and what steps dropped is missing. `is_borrowed`: neither of them is owned.
void trib_data_news_replace(struct trib_data_news *news, struct trib_dataset *features,
                            bool is_borrowed);
// Where the first `count` new rows end. `count` is at least 1.
void trib_data_news_mark(const struct trib_data_news *news, size_t count,
                         struct trib_data_mark *ret_mark);
// The schema and the pipeline that the keys name; NULL: none. The caller destroys the pipeline
// first. Errors are logged with file and line; TRIB_ERR_INVAL also: a pipeline without a schema.
TRIB_CHECKED enum trib_err trib_data_load(const struct trib_data_config *config,
                                          struct trib_schema **ret_schema,
                                          struct trib_prepare **ret_prepare);
// Give the rows of `dataset` their identities, as split_by says; `fallback` is what `auto` is when
// the schema has no id column. TRIB_ERR_INVAL, logged: there is no such column.
TRIB_CHECKED enum trib_err trib_data_identify(const struct trib_data_config *config,
                                              enum trib_split_by fallback,
                                              struct trib_dataset *dataset);

// The digest of the pipeline that data.prepare names, all 0 if it names none. It must be fitted.
// TRIB_ERR_INVAL with a text in `why`.
TRIB_CHECKED enum trib_err trib_data_pipeline(const struct trib_data_config *config,
                                              uint8_t ret_digest[static TRIB_DIGEST_SIZE],
                                              char *why, size_t why_size);

#endif // TRIB_DATA_SOURCE_H
