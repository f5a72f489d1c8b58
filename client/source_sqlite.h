// source_sqlite.h - rows from a query of a SQLite database of the device (meson option
// sqlite_source).
//
// The database is opened read-only, and only a SELECT runs: an authorizer refuses everything else,
// including ATTACH, PRAGMA and load_extension. After query_max_ms a query is given up. Columns are
// found by the names that the schema declares; others are not used, but one called `position`, a
// whole number above 0 that goes up from row to row, numbers the rows for the modes that want new
// ones. A parameter :after is bound to the number of the last row used, 0 at first.
//
//     query = SELECT age, colour, y, rowid AS position FROM log WHERE rowid > :after ORDER BY rowid
#ifndef TRIB_CLIENT_SOURCE_SQLITE_H
#define TRIB_CLIENT_SOURCE_SQLITE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/data/source.h"
#include "tributary/err.h"

// All rows of config->query. `wants_positions`: it is an error if there are none. TRIB_ERR_INVAL:
// the query is no single SELECT, lacks a column, or is refused; TRIB_ERR_DATA: positions that do
// not go up; TRIB_ERR_TIMEOUT; TRIB_ERR_IO: the database cannot be read. Each logged with its
// reason.
TRIB_CHECKED enum trib_err trib_sqlite_read(const struct trib_data_config *config, uint64_t after,
                                            bool wants_positions,
                                            struct trib_dataset **ret_dataset);

#endif // TRIB_CLIENT_SOURCE_SQLITE_H
