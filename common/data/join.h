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

#include "common/data/record.h"
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

// From the first file's line of names: `ret_places` (schema->count) are the fields of the columns in
// its records. SIZE_MAX: it lacks the column, so that the second file gives it, or nobody has to
// (schema->is_unlabelled). TRIB_ERR_INVAL, logged with `name` and line: it lacks the key or the
// time, or a column that is in neither file.
TRIB_CHECKED enum trib_err trib_join_places(struct trib_join *join, const char *name,
                                            const struct trib_record_reader *names,
                                            size_t *ret_places);
// Fill the columns that the first file lacks; the others are those of a row of it.
void trib_join_fill(struct trib_join *join, struct trib_field *fields, size_t line);

#endif // TRIB_DATA_JOIN_H
