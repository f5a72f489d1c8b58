// dataset.h - rows in memory: features, one label or target each, and where they came from.
#ifndef TRIB_DATA_DATASET_H
#define TRIB_DATA_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/math/net.h"
#include "tributary/err.h"

struct trib_data_config;
struct trib_online;
struct trib_schema;

struct trib_dataset {
    float *x;            // (rows, inputs) row-major, owned
    float *y;            // (rows), owned
    float *weights;      // (rows), above 0 and finite, owned; NULL: all rows weigh the same
    uint64_t *positions; // (rows) number of each row in a growing source, ascending, owned; or NULL
    uint32_t *lines;     // (rows) line of each row in a CSV file, owned; NULL for IDX
    uint32_t *owners; // (rows) ranks of their values in the owner column (intake.h), owned; or NULL
    double *values;   // (rows, columns) what a pipeline makes features of, owned; or NULL
    uint64_t *ids;    // (rows) what each row is known by (split.h), owned; NULL: not known
    size_t rows;
    size_t inputs;              // 0 while there are values
    size_t columns;             // of the schema, while there are values
    struct trib_schema *schema; // of the values, owned; NULL: whoever reads them has it
    struct trib_dataset
        *prepared; // what the pipeline of `prepared_digest` made of them, owned; or NULL
    uint8_t prepared_digest[32]; // of the pipeline that made `prepared`, or these features; or 0
    size_t label_column;         // 1-based column of the label in a CSV file, for messages
    struct trib_online *online;  // what a client learnt of its rows (client/online.h), or NULL
    void (*online_free)(struct trib_online *online);
    struct trib_data_config *origin; // what it can be read from again (source.h), owned; or NULL
    char name[TRIB_PATH_MAX + 1];    // the file, for messages
    char unfit[160];                 // why its rows are not to be used (there are none then), or ""
};

// Room for rows x inputs; contents zero. `with_lines`: also for line numbers.
TRIB_CHECKED enum trib_err trib_dataset_create(size_t rows, size_t inputs, bool with_lines,
                                               const char *name, struct trib_dataset **ret_dataset);
// Make room for weights, all 1.
TRIB_CHECKED enum trib_err trib_dataset_add_weights(struct trib_dataset *dataset);
TRIB_CHECKED enum trib_err trib_dataset_add_positions(struct trib_dataset *dataset); // all 0
TRIB_CHECKED enum trib_err trib_dataset_add_owners(struct trib_dataset *dataset);    // all 0
// Make room for the values of a schema's columns, in the place of features.
TRIB_CHECKED enum trib_err trib_dataset_add_values(struct trib_dataset *dataset, size_t columns);
// Change how many rows there is room for; those that stay keep their values.
TRIB_CHECKED enum trib_err trib_dataset_resize(struct trib_dataset *dataset, size_t rows);
void trib_dataset_free(struct trib_dataset *dataset); // NULL is fine

struct trib_samples trib_dataset_samples(const struct trib_dataset *dataset);

// Do the rows fit the model: not `unfit`, as many features (or values still), every label one of
// its classes? TRIB_ERR_DATA with a text that names file, line and column.
TRIB_CHECKED enum trib_err trib_dataset_check(const struct trib_dataset *dataset,
                                              const struct trib_model *model, char *why,
                                              size_t why_size);

// A copy of some rows, in the order of `rows`. Features are divided by `scale`.
TRIB_CHECKED enum trib_err trib_dataset_select(const struct trib_dataset *dataset,
                                               const uint32_t *rows, size_t count, double scale,
                                               struct trib_dataset **ret_dataset);

// Keep only these features of every row: `features` holds `count` of their numbers, ascending.
// There are no values in the place of features.
void trib_dataset_narrow(struct trib_dataset *dataset, const size_t *features, size_t count);

#endif // TRIB_DATA_DATASET_H
