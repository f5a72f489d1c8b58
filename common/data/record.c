#include "common/data/record.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/limits.h"

void trib_record_reader_init(struct trib_record_reader *reader,
                             const struct trib_record_options *options, const char *text,
                             size_t size)
{
    if (!text)
        text = ""; // no text yet: nothing may be added to a null pointer, not even 0
    *reader = (struct trib_record_reader){
        .options = *options, .next = text, .end = text + size, .line = 1};
}

void trib_record_reader_fini(struct trib_record_reader *reader)
{
    free(reader->fields);
    trib_buf_fini(&reader->text);
    *reader = (struct trib_record_reader){.line = 1};
}

static bool is_at_line_end(const struct trib_record_reader *r)
{
    return r->next == r->end || *r->next == '\n' ||
           (*r->next == '\r' && (r->next + 1 == r->end || r->next[1] == '\n'));
}

static void take_line_end(struct trib_record_reader *r)
{
    if (r->next < r->end && *r->next == '\r')
        r->next++;
    if (r->next < r->end && *r->next == '\n') {
        r->next++;
        r->line++;
    }
}

static void skip_line(struct trib_record_reader *r)
{
    const char *newline = memchr(r->next, '\n', (size_t)(r->end - r->next));
    r->next = newline ? newline : r->end;
    take_line_end(r);
}

static bool is_blank(const struct trib_record_reader *r, char c)
{
    return (c == ' ' || c == '\t') && c != r->options.separator;
}

static void skip_blanks(struct trib_record_reader *r)
{
    while (r->options.trim && r->next < r->end && is_blank(r, *r->next))
        r->next++;
}

// A line that holds no record.
static bool is_passed_over(const struct trib_record_reader *r)
{
    const char *comment = r->options.comment;
    const size_t size = comment ? strlen(comment) : 0;
    if (size > 0 && (size_t)(r->end - r->next) >= size && memcmp(r->next, comment, size) == 0)
        return true;
    struct trib_record_reader ahead = *r;
    skip_blanks(&ahead);
    return is_at_line_end(&ahead);
}

// Behind the opening quote, up to behind the closing one. False: there is none.
static bool take_quoted(struct trib_record_reader *r)
{
    for (;;) {
        const char *quote = memchr(r->next, '"', (size_t)(r->end - r->next));
        if (!quote)
            return false;
        for (const char *c = r->next; c < quote; c++)
            r->line += *c == '\n';
        trib_buf_append(&r->text, r->next, (size_t)(quote - r->next));
        r->next = quote + 1;
        if (r->next == r->end || *r->next != '"')
            return true;
        trib_buf_text(&r->text, "\""); // two stand for one
        r->next++;
    }
}

// RFC 4180 section 2, rule 5: a plain field holds no quote.
static bool take_plain(struct trib_record_reader *r)
{
    const char *start = r->next;
    while (!is_at_line_end(r) && *r->next != r->options.separator && *r->next != '"')
        r->next++;
    size_t size = (size_t)(r->next - start);
    while (r->options.trim && size > 0 && is_blank(r, start[size - 1]))
        size--;
    trib_buf_append(&r->text, start, size);
    return is_at_line_end(r) || *r->next == r->options.separator;
}

static enum trib_err add_field(struct trib_record_reader *r, struct trib_field **ret_field)
{
    if (r->count == TRIB_COLUMNS_MAX)
        return TRIB_ERR_LIMIT;
    if (r->count == r->capacity) {
        const size_t capacity = r->capacity ? 2 * r->capacity : 64;
        struct trib_field *fields = trib_alloc_array(capacity, sizeof(*fields));
        if (!fields)
            return TRIB_ERR_NOMEM;
        if (r->count > 0)
            memcpy(fields, r->fields, r->count * sizeof(*fields));
        free(r->fields);
        r->fields = fields;
        r->capacity = capacity;
    }
    *ret_field = &r->fields[r->count++];
    **ret_field = (struct trib_field){.line = r->line, .place = r->count};
    return TRIB_OK;
}

// A field and its NUL go to `text`; pointers are set when the record is whole, since it may move.
static enum trib_err take_field(struct trib_record_reader *r, bool *ret_is_good)
{
    struct trib_field *field;
    enum trib_err err = add_field(r, &field);
    if (err)
        return err;
    const size_t start = r->text.size;
    skip_blanks(r);
    field->is_quoted = r->next < r->end && *r->next == '"';
    if (field->is_quoted) {
        r->next++;
        *ret_is_good = take_quoted(r);
        r->is_open = !*ret_is_good;
        skip_blanks(r);
        *ret_is_good = *ret_is_good && (is_at_line_end(r) || *r->next == r->options.separator);
    } else {
        *ret_is_good = take_plain(r);
    }
    field->size = r->text.size - start;
    *ret_is_good = *ret_is_good && !r->text.failed &&
                   (field->size == 0 || !memchr(r->text.data + start, '\0', field->size));
    trib_buf_append(&r->text, "", 1);
    return r->text.failed ? TRIB_ERR_NOMEM : TRIB_OK;
}

static void set_texts(struct trib_record_reader *r)
{
    const char *text = (const char *)r->text.data;
    for (size_t i = 0; i < r->count; i++) {
        r->fields[i].text = text;
        text += r->fields[i].size + 1;
    }
}

enum trib_err trib_record_next(struct trib_record_reader *r, enum trib_record_event *ret_event)
{
    bool is_good;
    while (r->next < r->end && is_passed_over(r))
        skip_line(r);
    r->count = 0;
    r->is_open = false;
    r->record_line = r->line;
    trib_buf_clear(&r->text);
    if (r->next == r->end) {
        *ret_event = TRIB_RECORD_END;
        return TRIB_OK;
    }
    const struct trib_record_reader start = *r;
    for (;;) {
        enum trib_err err = take_field(r, &is_good);
        if (err)
            return err;
        if (!is_good) { // a quote that is never closed shall not cost the rest of the file
            r->next = start.next;
            r->line = start.line;
            skip_line(r);
            *ret_event = TRIB_RECORD_BROKEN;
            return TRIB_OK;
        }
        if (is_at_line_end(r))
            break;
        r->next++; // the separator
    }
    take_line_end(r);
    set_texts(r);
    *ret_event = TRIB_RECORD_WHOLE;
    return TRIB_OK;
}

void trib_record_write(const struct trib_field *fields, size_t count, char separator,
                       struct trib_buf *buf)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = fields[i].text ? fields[i].text : "";
        if (i > 0)
            trib_buf_append(buf, &separator, 1);
        if (!fields[i].is_quoted) { // then it holds nothing that wants quotes
            trib_buf_text(buf, text);
            continue;
        }
        trib_buf_text(buf, "\"");
        for (const char *quote; (quote = strchr(text, '"')); text = quote + 1) {
            trib_buf_append(buf, text, (size_t)(quote - text) + 1);
            trib_buf_text(buf, "\"");
        }
        trib_buf_text(buf, text);
        trib_buf_text(buf, "\"");
    }
}
