// admin.h - what travels over the admin socket: one request, one reply made of rows.
//
// A row is a list of named values; tributaryctl shows rows as a table or as JSON lines, and the
// simulator reads them by name. On the socket each packed message stands behind a u32 big-endian
// length. proto/tributary.proto: AdminRequest, AdminReply.
#ifndef TRIB_WIRE_ADMIN_H
#define TRIB_WIRE_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "tributary/err.h"

enum {
    TRIB_ADMIN_WORDS_MAX = 64,
    TRIB_ADMIN_FIELDS_MAX = 32,
    TRIB_ADMIN_ROWS_MAX = 100000, // of one reply: a row is 2 bytes packed and 1.8 kB in memory
    TRIB_ADMIN_LENGTH_SIZE = 4,   // of the prefix
};

struct trib_admin_request {
    size_t word_count;
    const char *words[TRIB_ADMIN_WORDS_MAX];
    const char *body_name;
    const char *body_dir;
    const uint8_t *body;
    size_t body_size;
    void *memory; // what the pointers point into, after unpacking
};

enum trib_admin_kind {
    TRIB_ADMIN_NULL,
    TRIB_ADMIN_TEXT,
    TRIB_ADMIN_NUMBER,
    TRIB_ADMIN_REAL,
    TRIB_ADMIN_FLAG,
    TRIB_ADMIN_JSON,
};

struct trib_admin_field {
    char *name; // owned
    enum trib_admin_kind kind;
    char *text; // owned; TEXT, JSON
    uint64_t number;
    double real;
    bool flag;
};

struct trib_admin_row {
    size_t count;
    struct trib_admin_field fields[TRIB_ADMIN_FIELDS_MAX];
};

struct trib_admin_reply {
    uint32_t exit_code;
    char *error; // owned; NULL if there is none
    size_t row_count;
    size_t row_capacity;
    struct trib_admin_row *rows; // owned
    uint8_t *body;               // owned; a piece of an exported file, or NULL
    size_t body_size;
    bool failed; // no memory, too many rows or fields: answer an error instead
};

// ---- Building a reply. Names are copied; a row pointer is good until the next trib_admin_row_add.
struct trib_admin_row *trib_admin_row_add(
    struct trib_admin_reply *reply); // NULL: no memory, or full
// On a NULL row the following do nothing. A NULL or non-finite value becomes null.
void trib_admin_text(struct trib_admin_reply *reply, const char *name, const char *value);
void trib_admin_number(struct trib_admin_reply *reply, const char *name, uint64_t value);
void trib_admin_real(struct trib_admin_reply *reply, const char *name, double value);
void trib_admin_flag(struct trib_admin_reply *reply, const char *name, bool value);
void trib_admin_json(struct trib_admin_reply *reply, const char *name, const char *json);
void trib_admin_fail(struct trib_admin_reply *reply, uint32_t exit_code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void trib_admin_reply_fini(struct trib_admin_reply *reply);

// ---- Reading a row
const struct trib_admin_field *trib_admin_find(const struct trib_admin_row *row, const char *name);
uint64_t trib_admin_find_number(const struct trib_admin_row *row, const char *name);  // 0: absent
double trib_admin_find_real(const struct trib_admin_row *row, const char *name);      // NaN: absent
const char *trib_admin_find_text(const struct trib_admin_row *row, const char *name); // "": absent

// ---- The wire. Pack appends the length and the message.
void trib_admin_request_pack(const struct trib_admin_request *request, struct trib_buf *buf);
TRIB_CHECKED enum trib_err trib_admin_request_unpack(const uint8_t *data, size_t size,
                                                     struct trib_admin_request *ret_request);
void trib_admin_request_fini(struct trib_admin_request *request);
void trib_admin_reply_pack(const struct trib_admin_reply *reply, struct trib_buf *buf);
TRIB_CHECKED enum trib_err trib_admin_reply_unpack(const uint8_t *data, size_t size,
                                                   struct trib_admin_reply *ret_reply);

// ---- Showing rows
// One JSON object with a newline.
void trib_admin_row_json(const struct trib_admin_row *row, struct trib_buf *buf);
// One row as lines "name  value".
void trib_admin_list(const struct trib_admin_row *row, struct trib_buf *buf);
// All rows as one aligned table: columns are the fields of the first row.
void trib_admin_table(const struct trib_admin_reply *reply, struct trib_buf *buf);

#endif // TRIB_WIRE_ADMIN_H
