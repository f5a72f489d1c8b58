// join.h - columns of a second file that go to the rows of the first: by a key, and by time.
//
// Both are CSV with a line of names. Columns of the schema that the first file does not have are
// taken from the second one, from the row with the same key; with times from the last such row
// that is not later than the row at hand, or the nearest, if it is within a tolerance (an as-of
// join). A row without a partner has none of these values: they are missing, and the schema or the
// pipeline says what becomes of it.
#ifndef TRIB_DATA_JOIN_H
#define TRIB_DATA_JOIN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/data/schema.h"
#include "tributary/err.h"

struct trib_join_options {
    const char *path;   // of the second file
    const char *on;     // the key's column, of the schema and of the file
    const char *time;   // the file's column of times; empty: a key is there once
    double tolerance_s; // 0: however far
    bool is_nearest;    // before or after; else not later
};

struct trib_join;

// Texts are borrowed; the schema too, which with a time must have a column of the role time. Errors
// are logged with file and line. TRIB_ERR_INVAL: a column is not there; TRIB_ERR_DATA: the file is
// no CSV, a time is none, or a key is there twice; TRIB_ERR_IO.
TRIB_CHECKED enum trib_err trib_join_open(const struct trib_join_options *options,
                                          const struct trib_schema *schema,
                                          struct trib_join **ret_join);
void trib_join_close(struct trib_join *join); // NULL is fine; logs how many rows had a partner

// Must the first file have this column of the schema: the key, or the time?
bool trib_join_wants(const struct trib_join *join, size_t column);
// Does the second file have this column?
bool trib_join_has(const struct trib_join *join, const char *name);
// The first file has these columns itself (schema->count): they are not taken from the second.
void trib_join_begin(struct trib_join *join, const bool *is_there);
// Fill the columns that the first file lacks; the others are those of a row of it.
void trib_join_fill(struct trib_join *join, struct trib_field *fields, size_t line);

#endif // TRIB_DATA_JOIN_H
