// json.h - writing JSON (RFC 8259) into a buffer. Commas are put by themselves.
//
//     trib_json_open(&buf, NULL, '{');
//     trib_json_text(&buf, "event", "round");
//     trib_json_real(&buf, "loss", loss);   // null when it is not finite
//     trib_json_close(&buf, '}');
//
// `key` is NULL inside an array and at the top.
#ifndef TRIB_BASE_JSON_H
#define TRIB_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

void trib_json_open(struct trib_buf *buf, const char *key, char bracket);      // '{' or '['
void trib_json_close(struct trib_buf *buf, char bracket);                      // '}' or ']'
void trib_json_text(struct trib_buf *buf, const char *key, const char *value); // NULL is null
void trib_json_int(struct trib_buf *buf, const char *key, int64_t value);
void trib_json_uint(struct trib_buf *buf, const char *key, uint64_t value);
void trib_json_real(struct trib_buf *buf, const char *key, double value);
void trib_json_bool(struct trib_buf *buf, const char *key, bool value);
void trib_json_null(struct trib_buf *buf, const char *key);
// `json` is already JSON text.
void trib_json_raw(struct trib_buf *buf, const char *key, const char *json);

enum {
    TRIB_REAL_TEXT_SIZE = 32
};
// The shortest of %.15g, %.16g, %.17g that reads back as the same double; "null" if not finite.
void trib_real_text(double value, char text[static TRIB_REAL_TEXT_SIZE]);

#endif // TRIB_BASE_JSON_H
