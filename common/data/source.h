// source.h - the [data] section: which files, how they are written, where the label is.
//
// A device uses the common keys and the training ones, a coordinator the common and the held-out
// ones, the simulator all.
#ifndef TRIB_DATA_SOURCE_H
#define TRIB_DATA_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/conf.h"
#include "common/data/dataset.h"
#include "common/data/prepare.h"
#include "tributary/err.h"

enum trib_data_format {
    TRIB_DATA_CSV,
    TRIB_DATA_IDX,
    TRIB_DATA_JSON_LINES, // wants a schema
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
    trib_conf_text train, train_labels;
    trib_conf_text test, test_labels;
    bool keeps_values; // no key: data sets hold values for a pipeline that is not fitted yet
};

extern const struct trib_conf_key trib_data_keys_common[];
extern const size_t trib_data_keys_common_count;
extern const struct trib_conf_key trib_data_keys_train[];
extern const size_t trib_data_keys_train_count;
extern const struct trib_conf_key trib_data_keys_test[];
extern const size_t trib_data_keys_test_count;

// Read the rows of one file (or pair of files). `scale` of 0 takes the configured one; 1 keeps the
// values as they are written. With a pipeline, which must be fitted, the features are what it makes
// of the rows. Errors are logged with file, line and column.
TRIB_CHECKED enum trib_err trib_data_open(const struct trib_data_config *config, const char *path,
                                          const char *labels_path, double scale,
                                          struct trib_dataset **ret_dataset);

// The schema and the pipeline that the keys name; NULL: none. The caller destroys the pipeline first.
// Errors are logged with file and line; TRIB_ERR_INVAL also: a pipeline without a schema.
TRIB_CHECKED enum trib_err trib_data_load(const struct trib_data_config *config,
                                          struct trib_schema **ret_schema,
                                          struct trib_prepare **ret_prepare);

#endif // TRIB_DATA_SOURCE_H
