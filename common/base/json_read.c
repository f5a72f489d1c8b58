#include "common/base/json_read.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void trib_json_reader_init(struct trib_json_reader *reader, const char *text, size_t size)
{
    *reader = (struct trib_json_reader){.begin = text, .next = text, .end = text + size};
}

void trib_json_reader_fini(struct trib_json_reader *reader)
{
    trib_buf_fini(&reader->key);
    trib_buf_fini(&reader->text);
}

static enum trib_json_event wrong(struct trib_json_reader *r, const char *why)
{
    if (!r->why)
        r->why = why;
    return TRIB_JSON_WRONG;
}

static void skip_blanks(struct trib_json_reader *r)
{
    while (r->next < r->end &&
           (*r->next == ' ' || *r->next == '\t' || *r->next == '\n' || *r->next == '\r'))
        r->next++;
}

static bool take(struct trib_json_reader *r, char c)
{
    skip_blanks(r);
    if (r->next == r->end || *r->next != c)
        return false;
    r->next++;
    return true;
}

// ---- Texts

static bool take_hex4(struct trib_json_reader *r, uint32_t *ret_unit)
{
    uint32_t unit = 0;
    if (r->end - r->next < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        const char c = *r->next++;
        if (c >= '0' && c <= '9')
            unit = unit << 4 | (uint32_t)(c - '0');
        else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
            unit = unit << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    *ret_unit = unit;
    return true;
}

// RFC 3629 section 3.
static void put_utf8(struct trib_buf *buf, uint32_t c)
{
    uint8_t bytes[4];
    size_t count;
    if (c < 0x80) {
        bytes[0] = (uint8_t)c;
        count = 1;
    } else if (c < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | c >> 6);
        count = 2;
    } else if (c < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | c >> 12);
        count = 3;
    } else {
        bytes[0] = (uint8_t)(0xf0 | c >> 18);
        count = 4;
    }
    for (size_t i = 1; i < count; i++)
        bytes[i] = (uint8_t)(0x80 | (c >> 6 * (count - 1 - i) & 0x3f));
    trib_buf_append(buf, bytes, count);
}

// Behind "\u". RFC 8259 section 7: characters above U+FFFF are two units, and one alone is none.
static bool take_unicode(struct trib_json_reader *r, struct trib_buf *buf)
{
    uint32_t c;
    uint32_t low;
    if (!take_hex4(r, &c) || c == 0)
        return false;
    if (c >= 0xdc00 && c <= 0xdfff)
        return false;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (r->end - r->next < 6 || r->next[0] != '\\' || r->next[1] != 'u')
            return false;
        r->next += 2;
        if (!take_hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
            return false;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(buf, c);
    return true;
}

static bool take_escape(struct trib_json_reader *r, struct trib_buf *buf)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    if (r->next == r->end)
        return false;
    const char c = *r->next++;
    if (c == 'u')
        return take_unicode(r, buf);
    const char *found = c ? strchr(letters, c) : NULL;
    if (!found)
        return false;
    trib_buf_append(buf, &meant[found - letters], 1);
    return true;
}

// Behind the opening quote.
static bool take_text(struct trib_json_reader *r, struct trib_buf *buf)
{
    trib_buf_clear(buf);
    trib_buf_text(buf, ""); // there is a NUL, also behind an empty text
    while (r->next < r->end) {
        const char *start = r->next;
        while (r->next < r->end && *r->next != '"' && *r->next != '\\' &&
               (unsigned char)*r->next >= ' ')
            r->next++;
        trib_buf_append(buf, start, (size_t)(r->next - start));
        if (r->next == r->end || (unsigned char)*r->next < ' ')
            break;
        if (*r->next++ == '"')
            return !buf->failed && buf->data;
        if (!take_escape(r, buf))
            break;
    }
    return false;
}

// ---- Numbers and words

static size_t digits_at(const struct trib_json_reader *r, const char *at)
{
    size_t count = 0;
    while (at + count < r->end && at[count] >= '0' && at[count] <= '9')
        count++;
    return count;
}

// RFC 8259 section 6: [-] int [frac] [exp], without leading zeros.
static bool take_number(struct trib_json_reader *r)
{
    const char *at = r->next;
    at += *at == '-';
    size_t count = digits_at(r, at);
    if (count == 0 || (count > 1 && *at == '0'))
        return false;
    at += count;
    if (at < r->end && *at == '.') {
        count = digits_at(r, at + 1);
        if (count == 0)
            return false;
        at += 1 + count;
    }
    if (at < r->end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < r->end && (*at == '+' || *at == '-');
        count = digits_at(r, at);
        if (count == 0)
            return false;
        at += count;
    }
    trib_buf_clear(&r->text);
    trib_buf_append(&r->text, r->next, (size_t)(at - r->next));
    r->next = at;
    return !r->text.failed;
}

static bool take_word(struct trib_json_reader *r, const char *word)
{
    const size_t size = strlen(word);
    if ((size_t)(r->end - r->next) < size || memcmp(r->next, word, size) != 0)
        return false;
    r->next += size;
    return true;
}

static enum trib_json_event take_scalar(struct trib_json_reader *r)
{
    if (*r->next == '"') {
        r->next++;
        return take_text(r, &r->text) ? TRIB_JSON_TEXT : wrong(r, "a text that does not end well");
    }
    if (*r->next == '-' || (*r->next >= '0' && *r->next <= '9'))
        return take_number(r) ? TRIB_JSON_NUMBER : wrong(r, "not a number");
    if (take_word(r, "true"))
        return TRIB_JSON_TRUE;
    if (take_word(r, "false"))
        return TRIB_JSON_FALSE;
    if (take_word(r, "null"))
        return TRIB_JSON_NULL;
    return wrong(r, "not a value");
}

// ---- Containers

static bool is_in_array(const struct trib_json_reader *r)
{
    return r->depth > 0 && (r->arrays >> (r->depth - 1) & 1);
}

static enum trib_json_event open_container(struct trib_json_reader *r, bool is_array)
{
    if (r->depth == TRIB_JSON_DEPTH_MAX)
        return wrong(r, "nested too deeply");
    r->next++;
    r->arrays &= ~((uint64_t)1 << r->depth);
    r->arrays |= (uint64_t)is_array << r->depth;
    r->depth++;
    r->is_first = true;
    return is_array ? TRIB_JSON_OPEN_ARRAY : TRIB_JSON_OPEN_OBJECT;
}

static enum trib_json_event close_container(struct trib_json_reader *r)
{
    const bool was_array = is_in_array(r);
    r->depth--;
    r->is_first = false;
    r->is_done = r->depth == 0;
    return was_array ? TRIB_JSON_CLOSE_ARRAY : TRIB_JSON_CLOSE_OBJECT;
}

// The comma before a value and the name of a member. False: something is wrong.
static bool take_lead(struct trib_json_reader *r)
{
    if (!r->is_first && !take(r, ',')) {
        (void)wrong(r, "a comma is missing");
        return false;
    }
    if (!is_in_array(r)) {
        if (!take(r, '"') || !take_text(r, &r->key)) {
            (void)wrong(r, "a name in quotes is missing");
            return false;
        }
        if (!take(r, ':')) {
            (void)wrong(r, "a colon is missing");
            return false;
        }
    }
    return true;
}

enum trib_json_event trib_json_next(struct trib_json_reader *r)
{
    if (r->why)
        return TRIB_JSON_WRONG;
    skip_blanks(r);
    if (r->is_done)
        return r->next == r->end ? TRIB_JSON_END : wrong(r, "something behind the value");
    if (r->depth > 0) {
        if (take(r, is_in_array(r) ? ']' : '}'))
            return close_container(r);
        if (!take_lead(r))
            return TRIB_JSON_WRONG;
    }
    skip_blanks(r);
    if (r->next == r->end)
        return wrong(r, "it ends too early");
    r->value = r->next;
    if (*r->next == '{' || *r->next == '[')
        return open_container(r, *r->next == '[');
    r->is_first = false;
    r->is_done = r->depth == 0;
    return take_scalar(r);
}

bool trib_json_skip(struct trib_json_reader *r)
{
    const unsigned outer = r->depth - 1;
    while (r->depth > outer) {
        const enum trib_json_event event = trib_json_next(r);
        if (event == TRIB_JSON_WRONG || event == TRIB_JSON_END)
            return false;
    }
    return true;
}

bool trib_json_number(const struct trib_json_reader *r, double *ret_value)
{
    char *end;
    const char *text = (const char *)r->text.data;
    const double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

bool trib_json_whole(const struct trib_json_reader *r, uint64_t *ret_value)
{
    char *end;
    const char *text = (const char *)r->text.data;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno)
        return false;
    *ret_value = value;
    return true;
}
