// json_read.h - reading JSON (RFC 8259), one event at a time, strictly.
//
//     trib_json_reader_init(&reader, text, size);
//     while ((event = trib_json_next(&reader)) != TRIB_JSON_END) ...
//
// Memory is bounded by the longest text in it, depth by TRIB_JSON_DEPTH_MAX. After TRIB_JSON_WRONG
// every further event is TRIB_JSON_WRONG; `why` and `next` say what is wrong and where.
#ifndef TRIB_BASE_JSON_READ_H
#define TRIB_BASE_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

enum {
    TRIB_JSON_DEPTH_MAX = 32,
};

enum trib_json_event {
    TRIB_JSON_END, // of the document: nothing but blanks was left
    TRIB_JSON_WRONG,
    TRIB_JSON_OPEN_OBJECT,
    TRIB_JSON_CLOSE_OBJECT,
    TRIB_JSON_OPEN_ARRAY,
    TRIB_JSON_CLOSE_ARRAY,
    TRIB_JSON_TEXT,   // `text`, decoded
    TRIB_JSON_NUMBER, // `text`, as it stands
    TRIB_JSON_TRUE,
    TRIB_JSON_FALSE,
    TRIB_JSON_NULL,
};

struct trib_json_reader {
    const char *begin, *next, *end; // the document, borrowed; what is left of it
    const char *value;              // where the value of this event begins
    uint64_t arrays;                // bit d: the container at depth d is an array
    unsigned depth;                 // open containers
    bool is_first;                  // nothing has been read in the innermost container
    bool is_done;                   // the document's value is complete
    const char *why;                // what is wrong, or NULL
    struct trib_buf key;            // of the value in an object, decoded, NUL-terminated
    struct trib_buf text;           // of TEXT and NUMBER, NUL-terminated
};

void trib_json_reader_init(struct trib_json_reader *reader, const char *text, size_t size);
void trib_json_reader_fini(struct trib_json_reader *reader);

// The next value, or the end of a container. Texts hold no NUL: \u0000 is refused, so that a text
// is never longer than it looks.
enum trib_json_event trib_json_next(struct trib_json_reader *reader);

// After an OPEN event: go to behind the matching CLOSE. False when something is wrong in there.
bool trib_json_skip(struct trib_json_reader *reader);

// The text of a number as a double that is finite.
bool trib_json_number(const struct trib_json_reader *reader, double *ret_value);
// A whole number from 0 on.
bool trib_json_whole(const struct trib_json_reader *reader, uint64_t *ret_value);

#endif // TRIB_BASE_JSON_READ_H
