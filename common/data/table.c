#include "common/data/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/json_read.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "data"

enum {
    FILE_SIZE_MAX = 0x7fffffff, // 2 GiB of text
};

struct table {
    const char *path;
    const struct trib_schema *schema;
    const struct trib_table_options *options;
    struct trib_findings *findings;
    struct trib_dataset *dataset; // rows: those that are good so far
    struct trib_field *fields;    // of a row, in the schema's order; owned
    size_t file_columns;          // CSV: fields a record must have
    size_t *places;               // CSV: the field of each column, from 0; owned
};

static void count_bad_row(struct table *t, enum trib_rule rule, size_t line, size_t place)
{
    t->findings->rows++;
    t->findings->bad_rows++;
    trib_findings_count(t->findings, t->schema->count, rule, line, place);
}

static bool is_full(const struct table *t)
{
    return t->options->limit > 0 && t->findings->rows >= t->options->limit;
}

// Check the row in `fields` and add it to the data set if it is good.
static void take_row(struct table *t, size_t line)
{
    struct trib_dataset *d = t->dataset;
    float *x = d->x + d->rows * d->inputs;
    float weight;
    if (!trib_schema_row(t->schema, t->fields, t->findings, x, &d->y[d->rows], &weight))
        return;
    const float scale = (float)t->options->scale;
    for (size_t i = 0; i < d->inputs; i++) {
        x[i] /= scale;
        if (!isfinite(x[i])) {
            t->findings->bad_rows++;
            trib_findings_count(t->findings, t->schema->count, TRIB_RULE_RANGE, line, 0);
            return;
        }
    }
    if (d->weights)
        d->weights[d->rows] = weight;
    d->lines[d->rows++] = (uint32_t)line;
}

// ---- CSV

// The record that names the columns.
static enum trib_err take_names(struct table *t, const struct trib_record_reader *r)
{
    for (size_t i = 0; i < t->schema->count; i++) {
        const char *name = t->schema->columns[i].name;
        size_t at = 0;
        while (at < r->count && strcmp(r->fields[at].text, name) != 0)
            at++;
        if (at == r->count) {
            TRIB_ERROR("%s:%zu: no column is named '%s', which the schema declares", t->path,
                       r->record_line, name);
            return TRIB_ERR_INVAL;
        }
        t->places[i] = at;
    }
    if (r->count > t->schema->count)
        TRIB_INFO("%s: %zu columns that the schema does not declare are not used", t->path,
                  r->count - t->schema->count);
    t->file_columns = r->count;
    return TRIB_OK;
}

static enum trib_err take_header(struct table *t, struct trib_record_reader *r)
{
    enum trib_record_event event;
    for (size_t i = 0; i < t->schema->count; i++)
        t->places[i] = i;
    t->file_columns = t->schema->count;
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
    const struct trib_record_options options = {
        .separator = t->schema->separator, .trim = t->schema->trim, .comment = t->schema->comment};
    struct trib_record_reader r;
    enum trib_record_event event;
    trib_record_reader_init(&r, &options, text, size);
    t->places = trib_alloc_array(t->schema->count, sizeof(*t->places));
    enum trib_err err = t->places ? take_header(t, &r) : TRIB_ERR_NOMEM;
    while (!err && !is_full(t)) {
        err = trib_record_next(&r, &event);
        if (err || event == TRIB_RECORD_END)
            break;
        if (event == TRIB_RECORD_BROKEN) {
            count_bad_row(t, TRIB_RULE_SYNTAX, r.record_line, r.count);
        } else if (r.count != t->file_columns) {
            const size_t place = r.count < t->file_columns ? r.count + 1 : t->file_columns + 1;
            count_bad_row(t, TRIB_RULE_COLUMNS, r.record_line, place);
        } else {
            for (size_t i = 0; i < t->schema->count; i++)
                t->fields[i] = r.fields[t->places[i]];
            take_row(t, r.record_line);
        }
    }
    if (err == TRIB_ERR_LIMIT)
        TRIB_ERROR("%s:%zu: more than %d columns", t->path, r.record_line, TRIB_COLUMNS_MAX);
    trib_record_reader_fini(&r);
    return err;
}

// ---- JSON Lines

// The members of a line that the schema declares. Texts go to `texts`, each with its NUL; offsets
// stand in for pointers, because the buffer moves: `place` of a column that is not there is 0.
static bool take_members(struct table *t, struct trib_json_reader *json, struct trib_buf *texts,
                         size_t *offsets, size_t line)
{
    if (trib_json_next(json) != TRIB_JSON_OPEN_OBJECT)
        return false;
    for (;;) {
        const enum trib_json_event event = trib_json_next(json);
        if (event == TRIB_JSON_CLOSE_OBJECT)
            return trib_json_next(json) == TRIB_JSON_END;
        if (event == TRIB_JSON_WRONG || event == TRIB_JSON_END)
            return false;
        const size_t column = trib_schema_find(t->schema, (const char *)json->key.data);
        const size_t place = (size_t)(json->value - json->begin) + 1;
        const bool is_nested = event == TRIB_JSON_OPEN_OBJECT || event == TRIB_JSON_OPEN_ARRAY;
        if (is_nested && !trib_json_skip(json))
            return false;
        if (column == SIZE_MAX)
            continue;
        struct trib_field *field = &t->fields[column];
        if (field->place != 0 || is_nested)
            return false; // twice, or not a value that a column has
        const char *text = event == TRIB_JSON_TRUE    ? "true"
                           : event == TRIB_JSON_FALSE ? "false"
                           : event == TRIB_JSON_NULL  ? ""
                                                      : (const char *)json->text.data;
        *field = (struct trib_field){.size = strlen(text), .line = line, .place = place};
        field->is_quoted = event == TRIB_JSON_TEXT && *text; // markers are for plain CSV
        offsets[column] = texts->size;
        trib_buf_append(texts, text, field->size + 1);
    }
}

static void take_json_line(struct table *t, const char *text, size_t size, size_t line,
                           struct trib_buf *texts)
{
    struct trib_json_reader json;
    for (size_t i = 0; i < t->schema->count; i++)
        t->fields[i] = (struct trib_field){.line = line};
    trib_buf_clear(texts);
    trib_json_reader_init(&json, text, size);
    if (take_members(t, &json, texts, t->places, line) && !texts->failed) {
        for (size_t i = 0; i < t->schema->count; i++) {
            if (t->fields[i].place)
                t->fields[i].text = (const char *)texts->data + t->places[i];
        }
        take_row(t, line);
    } else {
        count_bad_row(t, TRIB_RULE_SYNTAX, line, (size_t)(json.next - json.begin) + 1);
    }
    trib_json_reader_fini(&json);
}

static enum trib_err read_json_lines(struct table *t, const char *text, size_t size)
{
    const char *const end = text + size;
    struct trib_buf texts = {0};
    t->places = trib_alloc_array(t->schema->count, sizeof(*t->places));
    if (!t->places)
        return TRIB_ERR_NOMEM;
    for (size_t line = 1; text < end && !is_full(t) && !texts.failed; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        const char *begin = text;
        while (begin < stop && strchr(" \t\r", *begin) && *begin)
            begin++;
        if (begin < stop) // blank lines are no rows
            take_json_line(t, text, (size_t)(stop - text), line, &texts);
        text = newline ? newline + 1 : end;
    }
    enum trib_err err = texts.failed ? TRIB_ERR_NOMEM : TRIB_OK;
    trib_buf_fini(&texts);
    return err;
}

// ---- What was found

static void log_violations(const struct table *t)
{
    for (size_t c = 0; c <= t->schema->count; c++) {
        for (int rule = 0; rule < TRIB_RULE_COUNT; rule++) {
            const struct trib_violation *v =
                trib_findings_find(t->findings, c, (enum trib_rule)rule);
            if (v->count == 0)
                continue;
            TRIB_WARN("%s: column=%s rule=%s count=%" PRIu64 " first at line %zu column %zu",
                      t->path, c < t->schema->count ? t->schema->columns[c].name : "(row)",
                      trib_rule_text((enum trib_rule)rule), v->count, v->line, v->place);
        }
    }
}

static void judge(struct table *t)
{
    const struct trib_findings *f = t->findings;
    const double share = f->rows ? (double)f->bad_rows / (double)f->rows : 0;
    log_violations(t);
    if (share <= t->options->max_bad_share)
        return;
    t->dataset->rows = 0;
    (void)snprintf(t->dataset->unfit, sizeof(t->dataset->unfit),
                   "%" PRIu64 " of %" PRIu64 " rows break the schema (%.4g; data.max_bad_share is "
                   "%.4g)",
                   f->bad_rows, f->rows, share, t->options->max_bad_share);
    TRIB_ERROR("%s: id=data-unfit %s", t->path, t->dataset->unfit);
}

// Rows there can be at most: each begins a line.
static size_t rows_at_most(const struct trib_buf *file, size_t limit)
{
    size_t lines = 1;
    for (size_t i = 0; i < file->size; i++)
        lines += file->data[i] == '\n';
    return limit && limit < lines ? limit : lines;
}

enum trib_err trib_table_read(const char *path, const struct trib_schema *schema,
                              const struct trib_table_options *options,
                              struct trib_findings *ret_findings, struct trib_dataset **ret_dataset)
{
    struct trib_findings own = {.rows = 0};
    struct table t = {.path = path,
                      .schema = schema,
                      .options = options,
                      .findings = ret_findings ? ret_findings : &own};
    struct trib_buf file = {0};
    enum trib_err err = trib_findings_init(t.findings, schema);
    if (!err)
        err = trib_file_read(path, FILE_SIZE_MAX, &file);
    if (err)
        goto out;
    const size_t rows = rows_at_most(&file, options->limit);
    if (rows > TRIB_ROWS_MAX) {
        TRIB_ERROR("%s: more than %d rows", path, TRIB_ROWS_MAX);
        err = TRIB_ERR_LIMIT;
        goto out;
    }
    t.fields = trib_alloc_array(schema->count, sizeof(*t.fields));
    err = t.fields ? trib_dataset_create(rows, schema->features, true, path, &t.dataset)
                   : TRIB_ERR_NOMEM;
    if (!err && schema->weight != SIZE_MAX)
        err = trib_dataset_add_weights(t.dataset);
    if (err)
        goto out;
    t.dataset->rows = 0;
    t.dataset->label_column = schema->label + 1;
    const char *text = file.data ? (const char *)file.data : "";
    err = options->is_json_lines ? read_json_lines(&t, text, file.size)
                                 : read_csv(&t, text, file.size);
    if (err)
        goto out;
    judge(&t);
    *ret_dataset = t.dataset;
    t.dataset = NULL;

out:
    trib_dataset_free(t.dataset);
    trib_findings_fini(&own);
    free(t.fields);
    free(t.places);
    trib_buf_fini(&file);
    return err;
}
