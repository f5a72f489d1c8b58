// intake.h - rows of fields, wherever they come from, become a data set as a schema says.
//
//     trib_intake_begin(&intake, ...);
//     for each row: fill intake.fields; trib_intake_row(&intake, line);
//     err = trib_intake_end(&intake, &dataset);
//
// Rows that break a rule of the schema are left out and counted; what was found is logged at the
// end, a line for each column and rule with the place of the first.
#ifndef TRIB_DATA_INTAKE_H
#define TRIB_DATA_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/data/dataset.h"
#include "common/data/owners.h"
#include "common/data/schema.h"
#include "tributary/err.h"

struct trib_intake_options {
    const char *name;     // of the source, for messages; borrowed
    double scale;         // features are divided by it
    size_t limit;         // take at most this many rows, good or bad; 0: all
    double max_bad_share; // of the rows: with more the data set has no rows and `unfit` says why
    bool keeps_values;    // for a pipeline: values (trib_schema_values) in the place of features
    bool has_positions;   // rows have a 64-bit number of their own (`position`)
    // Fill the data set's `owners` by this column of the schema; a row without a value there is
    // bad. NULL: there are none.
    const struct trib_column *owner;
};

struct trib_intake {
    struct trib_intake_options options;
    const struct trib_schema *schema; // borrowed
    struct trib_findings *findings;   // borrowed
    struct trib_dataset *dataset;     // rows: those that are good so far
    size_t capacity;                  // rows there is room for
    struct trib_owners *owners;       // owned; NULL: nobody asks for them
    struct trib_field *fields;        // of the row at hand, (schema->count) in its order; owned
    uint64_t position;                // of the row at hand
};

// `rows` is a guess: the data set grows. `findings` is initialised. End it with _end or _fini.
TRIB_CHECKED enum trib_err trib_intake_begin(struct trib_intake *intake,
                                             const struct trib_intake_options *options,
                                             const struct trib_schema *schema,
                                             struct trib_findings *findings, size_t rows);
void trib_intake_fini(struct trib_intake *intake);

// Has it taken options.limit rows?
bool trib_intake_is_full(const struct trib_intake *intake);

// Check the row in `fields` and keep it if it is good. TRIB_ERR_NOMEM, or TRIB_ERR_LIMIT: more than
// TRIB_ROWS_MAX rows, logged.
TRIB_CHECKED enum trib_err trib_intake_row(struct trib_intake *intake, size_t line);

// Count a row that is none: `rule` is what it breaks as a whole.
void trib_intake_bad(struct trib_intake *intake, enum trib_rule rule, size_t line, size_t place);

// Log what was found and hand over the data set. The intake is empty after it.
void trib_intake_end(struct trib_intake *intake, struct trib_dataset **ret_dataset);

#endif // TRIB_DATA_INTAKE_H
