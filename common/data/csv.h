// csv.h - strict numeric CSV: every field a finite number, every row as long as the first.
//
// Comma-separated, LF or CRLF, plain or gzip. Blank lines are allowed at the end only. An error is
// logged as "file:line: column N: ..." and nothing is returned: a device never trains on half of
// what it was given.
#ifndef TRIB_DATA_CSV_H
#define TRIB_DATA_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "common/data/dataset.h"
#include "tributary/err.h"

enum trib_csv_header {
    TRIB_CSV_HEADER_NO,   // the first line is a row
    TRIB_CSV_HEADER_YES,  // the first line names the columns
    TRIB_CSV_HEADER_SKIP, // the first line is something else
};

struct trib_csv_options {
    enum trib_csv_header header;
    const char *label; // a column's name, its number from 1, or "last"
    double scale;      // features are divided by it
    size_t limit;      // read at most this many rows; 0: all
};

// TRIB_ERR_DATA: malformed; TRIB_ERR_INVAL: there is no such label column; TRIB_ERR_IO: unreadable.
TRIB_CHECKED enum trib_err trib_csv_read(const char *path, const struct trib_csv_options *options,
                                         struct trib_dataset **ret_dataset);

// The same from memory; `name` is for messages.
TRIB_CHECKED enum trib_err trib_csv_parse(const char *name, const char *text, size_t size,
                                          const struct trib_csv_options *options,
                                          struct trib_dataset **ret_dataset);

// A field of such a file: a finite number and nothing else, blanks around it apart.
bool trib_csv_number(const char *field, size_t size, float *ret_value);

// Write rows as features, the weight if the data set has them, and the label; no header. Every
// float reads back as the same bits.
TRIB_CHECKED enum trib_err trib_csv_write(const char *path, const struct trib_dataset *dataset,
                                          const uint32_t *rows, size_t count);

#endif // TRIB_DATA_CSV_H
