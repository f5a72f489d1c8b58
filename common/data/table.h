// table.h - a file of rows with a declared schema: CSV (record.h) or JSON Lines.
//
// Rows that break a rule of the schema are left out and counted; what was found is logged, a line
// for each column and rule with the place of the first. When more than `max_bad_share` of the rows
// are bad, the data set has no rows and `unfit` says why: whoever holds it sits the round out.
#ifndef TRIB_DATA_TABLE_H
#define TRIB_DATA_TABLE_H

#include <stdbool.h>

#include "common/data/csv.h"
#include "common/data/dataset.h"
#include "common/data/join.h"
#include "common/data/schema.h"
#include "tributary/err.h"

struct trib_table_options {
    bool is_json_lines;              // an object a line, else CSV
    enum trib_csv_header header;     // CSV: with YES columns are found by name, else by their order
    double scale;                    // features are divided by it
    size_t limit;                    // read at most this many rows, good or bad; 0: all
    double max_bad_share;            // of the rows that were read
    bool keeps_values;               // for a pipeline (intake.h)
    const struct trib_column *owner; // intake.h
    // CSV with names: columns that the file lacks are taken from another one; borrowed, NULL: none.
    struct trib_join *join;
};

// `ret_findings` is initialised here and the caller's to end, also after an error; NULL: not
// wanted.
// TRIB_ERR_INVAL: the header does not name every column, logged; TRIB_ERR_IO: unreadable.
TRIB_CHECKED enum trib_err trib_table_read(const char *path, const struct trib_schema *schema,
                                           const struct trib_table_options *options,
                                           struct trib_findings *ret_findings,
                                           struct trib_dataset **ret_dataset);

// The same from memory; `findings` is initialised.
struct trib_table_text {
    const char *name; // for messages
    const char *data;
    size_t size;
};
TRIB_CHECKED enum trib_err trib_table_parse(const struct trib_table_text *text,
                                            const struct trib_schema *schema,
                                            const struct trib_table_options *options,
                                            struct trib_findings *findings,
                                            struct trib_dataset **ret_dataset);

#endif // TRIB_DATA_TABLE_H
