// golden.h - rows of reference values, and what became of them.
//
// A kind of file is a function that is given one row after another. Every value it compares is
// counted once: passed or failed.
#ifndef TRIB_TESTS_GOLDEN_H
#define TRIB_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>

#include "tributary/err.h"

enum {
    GOLDEN_COLUMNS_MAX = 32,
    GOLDEN_FILE_MAX = 64 << 20,
};

struct golden_row {
    size_t line;              // in the file, from 1
    size_t count;             // of fields
    const char *const *names; // of the columns, borrowed from the file's text like the fields
    const char *const *fields;
};

struct golden_tally {
    size_t passed;
    size_t failed;
};

typedef void (*golden_row_fn)(const struct golden_row *row, struct golden_tally *tally);

// Hand each row of the file to `run`. The first line names the columns; fields may be quoted.
// TRIB_ERR_IO: cannot be read; TRIB_ERR_DATA: a row with more or fewer fields than names (logged).
TRIB_CHECKED enum trib_err golden_read(const char *path, golden_row_fn run,
                                       struct golden_tally *tally);

// The field of a column, "" if there is no such column.
const char *golden_field(const struct golden_row *row, const char *column);

// A number and nothing else.
bool golden_number(const char *text, double *ret_value);

// Compare, count, and print what differs. Relative tolerance; absolute where 0 is expected. A NaN
// or an infinity wants its like.
void golden_check(struct golden_tally *tally, const struct golden_row *row, const char *what,
                  double expected, double got, double rtol);
void golden_check_text(struct golden_tally *tally, const struct golden_row *row, const char *what,
                       const char *expected, const char *got);
// A row that cannot be understood is a failure, not nothing.
void golden_fail(struct golden_tally *tally, const struct golden_row *row, const char *why);

// The kinds.
void golden_accounting(const struct golden_row *row, struct golden_tally *tally);
void golden_rdp(const struct golden_row *row, struct golden_tally *tally);
void golden_privacy(const struct golden_row *row, struct golden_tally *tally);
void golden_metrics(const struct golden_row *row, struct golden_tally *tally);

#endif // TRIB_TESTS_GOLDEN_H
