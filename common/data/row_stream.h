// row_stream.h - bytes as they arrive, in pieces of any size, become checked rows in a store.
//
// CSV records and JSON Lines as table.h reads them from files. A row that breaks a rule of the
// schema is counted under it, with line and column of the first, and not kept. A line (or a quoted
// CSV record of several) is at most TRIB_ROW_SIZE_MAX bytes long: a longer one breaks `syntax`.
#ifndef TRIB_DATA_ROW_STREAM_H
#define TRIB_DATA_ROW_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/data/csv.h"
#include "common/data/row_store.h"
#include "common/data/schema.h"
#include "tributary/err.h"

struct trib_row_stream_options {
    bool is_json_lines;
    enum trib_csv_header header;      // CSV: of the first record of the stream
    const struct trib_schema *schema; // borrowed
    struct trib_row_store *store;     // borrowed
};

struct trib_row_stream;
TRIB_CHECKED enum trib_err trib_row_stream_create(const struct trib_row_stream_options *options,
                                                  struct trib_row_stream **ret_stream);
void trib_row_stream_destroy(struct trib_row_stream *stream);

// Take the next bytes. TRIB_ERR_INVAL: the header does not name every column (trib_row_stream_why);
// TRIB_ERR_IO: the store failed. The rows that were whole are in the store then, and wait for the
// next flush.
TRIB_CHECKED enum trib_err trib_row_stream_put(struct trib_row_stream *stream, const void *data,
                                               size_t size, uint64_t now_ms);
// No more bytes come: a last line without its end is a row.
TRIB_CHECKED enum trib_err trib_row_stream_end(struct trib_row_stream *stream, uint64_t now_ms);

// What was found so far: `rows` and `bad_rows`, and each violation.
const struct trib_findings *trib_row_stream_findings(const struct trib_row_stream *stream);
const char *trib_row_stream_why(const struct trib_row_stream *stream); // "" if nothing is wrong

#endif // TRIB_DATA_ROW_STREAM_H
