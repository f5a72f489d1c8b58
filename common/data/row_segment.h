// row_segment.h - a file of rows that were pushed, one behind the other, each with its checksum.
//
//     offset  size  header (little-endian)
//     0       8     "TRIBROW1"
//     8       4     CRC32C of what is behind it, up to 64
//     12      4     zero
//     16      8     sequence number of the first row
//     24      8     when the file was begun: milliseconds since 1970
//     32      32    digest of the columns (trib_row_columns_digest)
//     64            rows
//
//     offset  size  row
//     0       4     n, size of the text: 1 to TRIB_ROW_SIZE_MAX
//     4       4     CRC32C of the rest, with n before it
//     8       8     sequence number: one more than that of the row before
//     16      8     arrival: milliseconds since 1970
//     24      n     the row: its fields in the order of the schema, as a CSV record without line end
//
// A process that is killed while it writes leaves a row that is cut short: reading ends there.
#ifndef TRIB_DATA_ROW_SEGMENT_H
#define TRIB_DATA_ROW_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/data/schema.h"
#include "tributary/err.h"

enum {
    TRIB_ROW_SEGMENT_HEADER_SIZE = 64,
    TRIB_ROW_HEADER_SIZE = 24,
    TRIB_ROW_SIZE_MAX = 65536, // bytes of a row's text
};

struct trib_row_segment_header {
    uint64_t first;
    uint64_t created_ms;
    uint8_t columns[TRIB_DIGEST_SIZE];
};

struct trib_row {
    uint64_t sequence;
    uint64_t arrival_ms;
    const uint8_t *text; // borrowed
    size_t size;
};

// Of the columns' names in their order and the separator: rows of one schema have one digest.
void trib_row_columns_digest(const struct trib_schema *schema,
                             uint8_t ret_digest[static TRIB_DIGEST_SIZE]);

void trib_row_segment_pack(const struct trib_row_segment_header *header,
                           uint8_t ret_bytes[static TRIB_ROW_SEGMENT_HEADER_SIZE]);
// False: it is no header.
bool trib_row_segment_unpack(const uint8_t *data, size_t size,
                             struct trib_row_segment_header *ret_header);

void trib_row_pack(const struct trib_row *row, struct trib_buf *buf); // appends

enum trib_row_event {
    TRIB_ROW_WHOLE,
    TRIB_ROW_END,  // exactly behind a row
    TRIB_ROW_TORN, // what follows is no row, or not the next one
};

struct trib_row_reader {
    const uint8_t *data; // the file, borrowed
    size_t size, at;     // `at`: behind the last whole row
    uint64_t next;       // its sequence number
};

// `data` has a header that unpacked to `header`.
void trib_row_reader_init(struct trib_row_reader *reader,
                          const struct trib_row_segment_header *header, const uint8_t *data,
                          size_t size);
enum trib_row_event trib_row_next(struct trib_row_reader *reader, struct trib_row *ret_row);

#endif // TRIB_DATA_ROW_SEGMENT_H
