#include "common/data/table.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/data/intake.h"
#include "common/data/json_row.h"

#define TRIB_LOG_MODULE "data"

struct table {
    const char *path;
    const struct trib_table_options *options;
    struct trib_intake intake;
    size_t file_columns; // CSV: fields a record must have
    size_t *places;      // CSV: the field of each column, from 0; SIZE_MAX: of a join; owned
};

// ---- CSV

// The record that names the columns.
static enum trib_err take_names(struct table *t, const struct trib_record_reader *r)
{
    const struct trib_schema *schema = t->intake.schema;
    t->file_columns = r->count;
    if (t->options->join)
        return trib_join_places(t->options->join, t->path, r, t->places);
    const size_t lacking = trib_schema_places(schema, r->fields, r->count, t->places);
    if (lacking != SIZE_MAX) {
        TRIB_ERROR("%s:%zu: no column is named '%s', which the schema declares", t->path,
                   r->record_line, schema->columns[lacking].name);
        return TRIB_ERR_INVAL;
    }
    if (r->count > schema->count)
        TRIB_INFO("%s: %zu columns that the schema does not declare are not used", t->path,
                  r->count - schema->count);
    return TRIB_OK;
}

static enum trib_err take_header(struct table *t, struct trib_record_reader *r)
{
    enum trib_record_event event;
    for (size_t i = 0; i < t->intake.schema->count; i++)
        t->places[i] = i;
    t->file_columns = t->intake.schema->count;
    if (t->options->header == TRIB_CSV_HEADER_NO)
        return TRIB_OK;
    enum trib_err err = trib_record_next(r, &event);
    if (err || event == TRIB_RECORD_END || t->options->header == TRIB_CSV_HEADER_SKIP)
        return err;
    if (event == TRIB_RECORD_BROKEN) {
        TRIB_ERROR("%s:%zu: the line with the names of the columns is not CSV", t->path,
                   r->record_line);
        return TRIB_ERR_INVAL;
    }
    return take_names(t, r);
}

static enum trib_err read_csv(struct table *t, const char *text, size_t size)
{
    const struct trib_record_options options = {.separator = t->intake.schema->separator,
                                                .trim = t->intake.schema->trim,
                                                .comment = t->intake.schema->comment};
    struct trib_record_reader r;
    enum trib_record_event event;
    trib_record_reader_init(&r, &options, text, size);
    t->places = trib_alloc_array(t->intake.schema->count, sizeof(*t->places));
    enum trib_err err = t->places ? take_header(t, &r) : TRIB_ERR_NOMEM;
    while (!err && !trib_intake_is_full(&t->intake)) {
        err = trib_record_next(&r, &event);
        if (err || event == TRIB_RECORD_END)
            break;
        if (event == TRIB_RECORD_BROKEN) {
            trib_intake_bad(&t->intake, TRIB_RULE_SYNTAX, r.record_line, r.count);
        } else if (r.count != t->file_columns) {
            const size_t place = r.count < t->file_columns ? r.count + 1 : t->file_columns + 1;
            trib_intake_bad(&t->intake, TRIB_RULE_COLUMNS, r.record_line, place);
        } else {
            for (size_t i = 0; i < t->intake.schema->count; i++) {
                if (t->places[i] != SIZE_MAX)
                    t->intake.fields[i] = r.fields[t->places[i]];
            }
            if (t->options->join)
                trib_join_fill(t->options->join, t->intake.fields, r.record_line);
            err = trib_intake_row(&t->intake, r.record_line);
        }
    }
    if (err == TRIB_ERR_LIMIT && r.count == TRIB_COLUMNS_MAX)
        TRIB_ERROR("%s:%zu: more than %d columns", t->path, r.record_line, TRIB_COLUMNS_MAX);
    trib_record_reader_fini(&r);
    return err;
}

// ---- JSON Lines

static enum trib_err take_json_line(struct table *t, struct trib_json_row *row, const char *text,
                                    size_t size, size_t line)
{
    enum trib_err err =
        trib_json_row_parse(row, t->intake.schema, text, size, line, t->intake.fields);
    if (err == TRIB_ERR_DATA) {
        trib_intake_bad(&t->intake, TRIB_RULE_SYNTAX, line, row->wrong_at);
        return TRIB_OK;
    }
    return err ? err : trib_intake_row(&t->intake, line);
}

static enum trib_err read_json_lines(struct table *t, const char *text, size_t size)
{
    const char *const end = text + size;
    struct trib_json_row row;
    enum trib_err err = trib_json_row_init(&row, t->intake.schema);
    for (size_t line = 1; !err && text < end && !trib_intake_is_full(&t->intake); line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        const char *begin = text;
        while (begin < stop && strchr(" \t\r", *begin) && *begin)
            begin++;
        if (begin < stop) // blank lines are no rows
            err = take_json_line(t, &row, text, (size_t)(stop - text), line);
        text = newline ? newline + 1 : end;
    }
    trib_json_row_fini(&row);
    return err;
}

// Rows there can be at most: each begins a line.
static size_t rows_at_most(const char *text, size_t size, size_t limit)
{
    size_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    return limit && limit < lines ? limit : lines;
}

enum trib_err trib_table_parse(const struct trib_table_text *text, const struct trib_schema *schema,
                               const struct trib_table_options *options,
                               struct trib_findings *findings, struct trib_dataset **ret_dataset)
{
    struct table t = {.path = text->name, .options = options};
    const struct trib_intake_options intake = {
        .name = text->name,
        .scale = options->scale,
        .limit = options->limit,
        .max_bad_share = options->max_bad_share,
        .keeps_values = options->keeps_values,
        .owner = options->owner,
    };
    const size_t rows = rows_at_most(text->data, text->size, options->limit);
    if (rows > TRIB_ROWS_MAX) {
        TRIB_ERROR("%s: more than %d rows", text->name, TRIB_ROWS_MAX);
        return TRIB_ERR_LIMIT;
    }
    enum trib_err err = trib_intake_begin(&t.intake, &intake, schema, findings, rows);
    if (err)
        return err;
    err = options->is_json_lines ? read_json_lines(&t, text->data, text->size)
                                 : read_csv(&t, text->data, text->size);
    if (!err)
        trib_intake_end(&t.intake, ret_dataset);
    trib_intake_fini(&t.intake);
    free(t.places);
    return err;
}

enum trib_err trib_table_read(const char *path, const struct trib_schema *schema,
                              const struct trib_table_options *options,
                              struct trib_findings *ret_findings, struct trib_dataset **ret_dataset)
{
    struct trib_findings own = {.rows = 0};
    struct trib_findings *findings = ret_findings ? ret_findings : &own;
    struct trib_buf file = {0};
    enum trib_err err = trib_findings_init(findings, schema);
    if (!err)
        err = trib_file_read(path, TRIB_DATA_FILE_SIZE_MAX, &file);
    if (!err) {
        const struct trib_table_text text = {
            .name = path, .data = file.data ? (const char *)file.data : "", .size = file.size};
        err = trib_table_parse(&text, schema, options, findings, ret_dataset);
    }
    trib_findings_fini(&own);
    trib_buf_fini(&file);
    return err;
}
