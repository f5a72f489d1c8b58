// rows.h - the rows of a scenario's files: one file, a file for each device, or a file whose
// column says the device.
#ifndef TRIB_SIMULATIONS_ROWS_H
#define TRIB_SIMULATIONS_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/data/dataset.h"
#include "common/data/source.h"
#include "tributary/err.h"

struct trib_rows {
    struct trib_dataset *dataset; // owned; features as they are written
    float *groups;                // (rows) the file's number or the column's value; owned, or NULL
    size_t dropped;               // index of the feature that was the column; SIZE_MAX: none
};

// Read data.train. `is_glob`: it is a pattern, and each file a device, in the order of their names.
// `column` (csv, jsonl; NULL: none) becomes the groups and is removed from the features; with a
// schema it has a role that is none. Errors are logged; the rows fit the model.
TRIB_CHECKED enum trib_err trib_rows_open(const struct trib_data_config *config, bool is_glob,
                                          const char *column, const struct trib_model *model,
                                          struct trib_rows *ret_rows);
void trib_rows_close(struct trib_rows *rows);

// Read data.test (with `is_glob` all files of the pattern), remove the column that was removed from
// `rows`, and divide by `scale`.
TRIB_CHECKED enum trib_err trib_rows_open_test(const struct trib_data_config *config, bool is_glob,
                                               const struct trib_model *model,
                                               const struct trib_rows *rows, double scale,
                                               struct trib_dataset **ret_test);

#endif // TRIB_SIMULATIONS_ROWS_H
