// record.h - records and fields of CSV text (RFC 4180), one record at a time.
//
//     file   := { record EOL } [ record ]          EOL is LF or CRLF
//     record := field { SEPARATOR field }
//     field  := plain | '"' { any byte but '"' | '""' } '"'
//
// A quoted field may hold separators and line ends. Beyond the RFC: the separator is any byte but a
// quote or a line end, blanks around a field can be dropped, lines that begin with a comment mark
// and blank lines are passed over. A record that breaks the grammar is TRIB_RECORD_BROKEN and ends
// with its line; reading goes on behind it.
#ifndef TRIB_DATA_RECORD_H
#define TRIB_DATA_RECORD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "tributary/err.h"

struct trib_record_options {
    char separator;
    bool trim;           // drop blanks and tabs around fields, outside of the quotes
    const char *comment; // lines that begin with it are none; NULL or "": there are no comments
};

struct trib_field {
    const char *text; // decoded, NUL-terminated; good until the next record; NULL: not there
    size_t size;
    size_t line;  // where it begins, from 1
    size_t place; // CSV: the field's number in its record; JSON Lines: the byte in its line; from 1
    bool is_quoted; // then it is a value, even an empty one
};

enum trib_record_event {
    TRIB_RECORD_END,
    TRIB_RECORD_WHOLE,
    TRIB_RECORD_BROKEN, // a quote in the wrong place or without its pair, or a NUL
};

struct trib_record_reader {
    struct trib_record_options options; // texts borrowed
    const char *next, *end;             // what is left, borrowed
    size_t line;                        // of `next`
    struct trib_field *fields;          // of the record that was read; owned
    size_t count, capacity;
    size_t record_line; // where it began
    bool is_open;       // a BROKEN one: a quote is not closed before the end of the text
    struct trib_buf text;
};

void trib_record_reader_init(struct trib_record_reader *reader,
                             const struct trib_record_options *options, const char *text,
                             size_t size);
void trib_record_reader_fini(struct trib_record_reader *reader);

// Read a record. TRIB_ERR_NOMEM, or TRIB_ERR_LIMIT when it has more than TRIB_COLUMNS_MAX fields.
TRIB_CHECKED enum trib_err trib_record_next(struct trib_record_reader *reader,
                                            enum trib_record_event *ret_event);

// Append the fields as a record without line end that reads back as the same fields (without trim
// and comments). A field without a text is written as an empty one.
void trib_record_write(const struct trib_field *fields, size_t count, char separator,
                       struct trib_buf *buf);

#endif // TRIB_DATA_RECORD_H
