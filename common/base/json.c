#include "common/base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void put_string(struct trib_buf *buf, const char *text)
{
    trib_buf_text(buf, "\"");
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            trib_buf_printf(buf, "\\%c", *c);
        else if (*c < ' ')
            trib_buf_printf(buf, "\\u%04x", *c);
        else
            trib_buf_append(buf, c, 1);
    }
    trib_buf_text(buf, "\"");
}

static void begin(struct trib_buf *buf, const char *key)
{
    uint8_t last = buf->size ? buf->data[buf->size - 1] : '\n';
    if (last != '{' && last != '[' && last != '\n')
        trib_buf_text(buf, ",");
    if (key) {
        put_string(buf, key);
        trib_buf_text(buf, ":");
    }
}

void trib_json_open(struct trib_buf *buf, const char *key, char bracket)
{
    begin(buf, key);
    trib_buf_append(buf, &bracket, 1);
}

void trib_json_close(struct trib_buf *buf, char bracket)
{
    trib_buf_append(buf, &bracket, 1);
}

void trib_json_text(struct trib_buf *buf, const char *key, const char *value)
{
    begin(buf, key);
    if (value)
        put_string(buf, value);
    else
        trib_buf_text(buf, "null");
}

void trib_json_int(struct trib_buf *buf, const char *key, int64_t value)
{
    begin(buf, key);
    trib_buf_printf(buf, "%" PRId64, value);
}

void trib_json_uint(struct trib_buf *buf, const char *key, uint64_t value)
{
    begin(buf, key);
    trib_buf_printf(buf, "%" PRIu64, value);
}

void trib_real_text(double value, char text[static TRIB_REAL_TEXT_SIZE])
{
    if (!isfinite(value)) {
        (void)snprintf(text, TRIB_REAL_TEXT_SIZE, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, TRIB_REAL_TEXT_SIZE, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

void trib_json_real(struct trib_buf *buf, const char *key, double value)
{
    char text[TRIB_REAL_TEXT_SIZE];
    begin(buf, key);
    trib_real_text(value, text);
    trib_buf_text(buf, text);
}

void trib_json_bool(struct trib_buf *buf, const char *key, bool value)
{
    begin(buf, key);
    trib_buf_text(buf, value ? "true" : "false");
}

void trib_json_null(struct trib_buf *buf, const char *key)
{
    begin(buf, key);
    trib_buf_text(buf, "null");
}

void trib_json_raw(struct trib_buf *buf, const char *key, const char *json)
{
    begin(buf, key);
    trib_buf_text(buf, json);
}
