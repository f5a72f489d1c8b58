#include "common/data/row_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/data/json_row.h"
#include "common/data/record.h"

struct trib_row_stream {
    struct trib_row_stream_options options;
    struct trib_findings findings;
    struct trib_record_reader reader; // CSV
    struct trib_json_row json;
    struct trib_field *fields; // of a row, in the schema's order; owned
    size_t *places;            // CSV: the field of each column; owned
    size_t file_columns;       // CSV: fields a record must have
    float *x;                  // features of the row at hand: a check's by-product; owned
    bool has_begun;            // the header is behind us
    bool skips;                // up to the end of a line that is too long
    size_t line;               // that `held` begins in, from 1
    struct trib_buf held;      // bytes that make no whole row yet
    struct trib_buf text;      // the row as it is stored
    char why[256];
};

enum trib_err trib_row_stream_create(const struct trib_row_stream_options *options,
                                     struct trib_row_stream **ret_stream)
{
    const size_t columns = options->schema->count;
    struct trib_row_stream *stream = trib_alloc(sizeof(*stream));
    if (!stream)
        return TRIB_ERR_NOMEM;
    stream->options = *options;
    stream->line = 1;
    stream->file_columns = columns;
    stream->fields = trib_alloc_array(columns, sizeof(*stream->fields));
    stream->places = trib_alloc_array(columns, sizeof(*stream->places));
    stream->x = trib_alloc_array(options->schema->features + 1, sizeof(*stream->x));
    enum trib_err err = TRIB_ERR_NOMEM;
    if (stream->fields && stream->places && stream->x)
        err = trib_findings_init(&stream->findings, options->schema);
    if (!err)
        err = trib_json_row_init(&stream->json, options->schema);
    if (err) {
        trib_row_stream_destroy(stream);
        return err;
    }
    for (size_t i = 0; i < columns; i++)
        stream->places[i] = i;
    stream->has_begun = options->is_json_lines || options->header == TRIB_CSV_HEADER_NO;
    const struct trib_record_options record = {.separator = options->schema->separator,
                                               .trim = options->schema->trim,
                                               .comment = options->schema->comment};
    trib_record_reader_init(&stream->reader, &record, NULL, 0);
    *ret_stream = stream;
    return TRIB_OK;
}

void trib_row_stream_destroy(struct trib_row_stream *stream)
{
    if (!stream)
        return;
    trib_findings_fini(&stream->findings);
    trib_record_reader_fini(&stream->reader);
    trib_json_row_fini(&stream->json);
    trib_buf_fini(&stream->held);
    trib_buf_fini(&stream->text);
    free(stream->fields);
    free(stream->places);
    free(stream->x);
    free(stream);
}

const struct trib_findings *trib_row_stream_findings(const struct trib_row_stream *stream)
{
    return &stream->findings;
}

const char *trib_row_stream_why(const struct trib_row_stream *stream)
{
    return stream->why;
}

// ---- Rows

static void count_bad(struct trib_row_stream *s, enum trib_rule rule, size_t line, size_t place)
{
    s->findings.rows++;
    s->findings.bad_rows++;
    trib_findings_count(&s->findings, s->options.schema->count, rule, line, place);
}

// The row in `fields`.
static enum trib_err take_row(struct trib_row_stream *s, size_t line, uint64_t now_ms)
{
    const struct trib_schema *schema = s->options.schema;
    float y, weight;
    if (!trib_schema_row(schema, s->fields, &s->findings, s->x, &y, &weight))
        return TRIB_OK;
    trib_buf_clear(&s->text);
    trib_record_write(s->fields, schema->count, schema->separator, &s->text);
    if (s->text.failed)
        return TRIB_ERR_NOMEM;
    if (s->text.size > TRIB_ROW_SIZE_MAX) { // it was short with its blanks, but has many quotes
        s->findings.bad_rows++;
        trib_findings_count(&s->findings, schema->count, TRIB_RULE_SYNTAX, line, 0);
        return TRIB_OK;
    }
    return trib_row_store_append(s->options.store, s->text.data, s->text.size, now_ms);
}

static enum trib_err take_header(struct trib_row_stream *s)
{
    const struct trib_schema *schema = s->options.schema;
    s->has_begun = true;
    if (s->options.header == TRIB_CSV_HEADER_SKIP)
        return TRIB_OK;
    const size_t lacking = trib_schema_places(schema, s->reader.fields, s->reader.count, s->places);
    s->file_columns = s->reader.count;
    if (lacking == SIZE_MAX)
        return TRIB_OK;
    (void)snprintf(s->why, sizeof(s->why), "line %zu: no column is named '%s'",
                   s->reader.record_line, schema->columns[lacking].name);
    return TRIB_ERR_INVAL;
}

static enum trib_err take_record(struct trib_row_stream *s, uint64_t now_ms)
{
    const struct trib_record_reader *r = &s->reader;
    if (!s->has_begun)
        return take_header(s);
    if (r->count != s->file_columns) {
        const size_t place = r->count < s->file_columns ? r->count + 1 : s->file_columns + 1;
        count_bad(s, TRIB_RULE_COLUMNS, r->record_line, place);
        return TRIB_OK;
    }
    for (size_t i = 0; i < s->options.schema->count; i++)
        s->fields[i] = r->fields[s->places[i]];
    return take_row(s, r->record_line, now_ms);
}

// May more bytes make another record of it?
static bool is_unfinished(const struct trib_record_reader *r, enum trib_record_event event,
                          size_t left)
{
    return r->next[-1] != '\n' ||
           (event == TRIB_RECORD_BROKEN && r->is_open && left <= TRIB_ROW_SIZE_MAX);
}

// Take the records that are whole; *ret_taken bytes are done with.
static enum trib_err take_csv(struct trib_row_stream *s, bool is_end, uint64_t now_ms,
                              size_t *ret_taken)
{
    struct trib_record_reader *r = &s->reader;
    const char *const text = (const char *)s->held.data;
    const char *const end = text + s->held.size;
    r->next = text;
    r->end = end;
    r->line = s->line;
    for (;;) {
        enum trib_record_event event;
        const char *const begin = r->next;
        enum trib_err err = trib_record_next(r, &event);
        if (err)
            return err;
        if (event == TRIB_RECORD_END) { // blank lines and comments; the last may go on
            const char *newline = memrchr(text, '\n', s->held.size);
            *ret_taken = newline ? (size_t)(newline - text) + 1 : 0;
            s->line = r->line;
            return TRIB_OK;
        }
        if (!is_end && is_unfinished(r, event, (size_t)(end - begin)))
            return TRIB_OK;
        if (event == TRIB_RECORD_BROKEN)
            count_bad(s, TRIB_RULE_SYNTAX, r->record_line, r->count);
        else
            err = take_record(s, now_ms);
        if (err)
            return err;
        *ret_taken = (size_t)(r->next - text);
        s->line = r->line;
    }
}

static enum trib_err take_json(struct trib_row_stream *s, bool is_end, uint64_t now_ms,
                               size_t *ret_taken)
{
    const char *text = (const char *)s->held.data;
    const char *const end = text + s->held.size;
    const char *next = text;
    enum trib_err err = TRIB_OK;
    while (!err && next < end) {
        const char *newline = memchr(next, '\n', (size_t)(end - next));
        if (!newline && !is_end)
            break;
        const char *stop = newline ? newline : end;
        const char *begin = next;
        while (begin < stop && (*begin == ' ' || *begin == '\t' || *begin == '\r'))
            begin++;
        if (begin < stop) { // blank lines are no rows
            err = trib_json_row_parse(&s->json, s->options.schema, next, (size_t)(stop - next),
                                      s->line, s->fields);
            if (err == TRIB_ERR_DATA) {
                count_bad(s, TRIB_RULE_SYNTAX, s->line, s->json.wrong_at);
                err = TRIB_OK;
            } else if (!err) {
                err = take_row(s, s->line, now_ms);
            }
        }
        next = newline ? newline + 1 : end;
        s->line++;
    }
    *ret_taken = (size_t)(next - text);
    return err;
}

static enum trib_err take_held(struct trib_row_stream *s, bool is_end, uint64_t now_ms)
{
    size_t taken = 0;
    if (s->held.failed)
        return TRIB_ERR_NOMEM;
    if (s->held.size == 0)
        return TRIB_OK;
    enum trib_err err = s->options.is_json_lines ? take_json(s, is_end, now_ms, &taken)
                                                 : take_csv(s, is_end, now_ms, &taken);
    memmove(s->held.data, s->held.data + taken, s->held.size - taken);
    s->held.size -= taken;
    if (!err && s->held.size > TRIB_ROW_SIZE_MAX) { // one line, and no end in sight
        count_bad(s, TRIB_RULE_SYNTAX, s->line, 0);
        trib_buf_clear(&s->held);
        s->skips = true;
    }
    return err;
}

enum trib_err trib_row_stream_put(struct trib_row_stream *stream, const void *data, size_t size,
                                  uint64_t now_ms)
{
    const char *next = data;
    const char *const end = next + size;
    enum trib_err err = stream->why[0] ? TRIB_ERR_INVAL : TRIB_OK;
    while (!err && next < end) {
        size_t piece = (size_t)(end - next);
        if (stream->skips) {
            const char *newline = memchr(next, '\n', piece);
            stream->skips = !newline;
            stream->line += newline != NULL;
            next = newline ? newline + 1 : end;
            continue;
        }
        if (piece > TRIB_ROW_SIZE_MAX)
            piece = TRIB_ROW_SIZE_MAX;
        trib_buf_append(&stream->held, next, piece);
        next += piece;
        if (memchr(next - piece, '\n', piece) || stream->held.size > TRIB_ROW_SIZE_MAX)
            err = take_held(stream, false, now_ms);
    }
    return err;
}

enum trib_err trib_row_stream_end(struct trib_row_stream *stream, uint64_t now_ms)
{
    return stream->why[0] ? TRIB_ERR_INVAL : take_held(stream, true, now_ms);
}
