#include "client/predict_reader.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/data/csv.h"
#include "common/data/join.h"
#include "common/data/json_row.h"
#include "common/data/prepare_dataset.h"

#define TRIB_LOG_MODULE "predict"

static enum trib_err init_schema(struct trib_predict_reader *r)
{
    const struct trib_predictor *p = r->predictor;
    enum trib_err err = trib_findings_init(&r->findings, p->schema);
    r->fields = trib_alloc_array(p->schema->count, sizeof(*r->fields));
    r->places = trib_alloc_array(p->schema->count, sizeof(*r->places));
    r->raw = trib_alloc_array(p->schema->count, sizeof(*r->raw));
    if (!err && !(r->fields && r->places && r->raw))
        err = TRIB_ERR_NOMEM;
    if (!err && p->prepare)
        err = trib_prepare_run_create(p->prepare, trib_prepare_today(), &r->run);
    if (!err)
        err = trib_data_open_join(&p->settings.data, p->schema, &r->join);
    return err;
}

enum trib_err trib_predict_reader_init(struct trib_predict_reader *reader,
                                       struct trib_predictor *predictor, const char *name)
{
    const struct trib_predictor *p = predictor;
    const bool is_job = p->settings.data.pipeline == TRIB_PIPELINE_JOB;
    *reader = (struct trib_predict_reader){.predictor = predictor, .name = name};
    if (p->net)
        reader->features = p->slot.model.inputs;
    else if (p->prepare)
        reader->features = trib_prepare_features(p->prepare);
    else if (p->schema)
        reader->features = is_job ? 0 : p->schema->features;
    else if (p->fallback)
        reader->features = p->fallback->features;
    enum trib_err err = p->schema ? init_schema(reader) : TRIB_OK;
    if (reader->features > 0) {
        reader->x = trib_alloc_array(reader->features, TRIB_PREDICT_BATCH * sizeof(*reader->x));
        if (!reader->x)
            err = TRIB_ERR_NOMEM;
    }
    if (p->fallback && p->fallback->column_count > 0) {
        reader->values = trib_alloc_array(p->fallback->column_count,
                                          TRIB_PREDICT_BATCH * sizeof(*reader->values));
        if (!reader->values)
            err = TRIB_ERR_NOMEM;
    }
    if (err)
        trib_predict_reader_fini(reader);
    return err;
}

void trib_predict_reader_fini(struct trib_predict_reader *reader)
{
    trib_prepare_run_destroy(reader->run);
    trib_join_close(reader->join);
    trib_findings_fini(&reader->findings);
    free(reader->fields);
    free(reader->places);
    free(reader->raw);
    free(reader->values);
    free(reader->x);
    *reader = (struct trib_predict_reader){.used = 0};
}

// ---- A row

static struct trib_predict_row *begin_row(struct trib_predict_reader *r, size_t line)
{
    struct trib_predict_row *row = &r->rows[r->used];
    *row = (struct trib_predict_row){.number = r->next_row++, .line = line};
    if (r->features > 0)
        memset(r->x + r->used * r->features, 0, r->features * sizeof(*r->x));
    return row;
}

static void end_row(struct trib_predict_reader *r)
{
    const struct trib_predictor *p = r->predictor;
    struct trib_predict_row *row = &r->rows[r->used];
    if (row->has_features && p->net && !trib_predictor_takes(p, r->x + r->used * r->features)) {
        row->is_bad = true;
        (void)snprintf(row->error, sizeof(row->error),
                       "a feature is not finite, or not one of the model's items");
    }
    if (row->is_bad) { // whoever runs the batch looks at all of it
        row->has_features = false;
        if (r->features > 0)
            memset(r->x + r->used * r->features, 0, r->features * sizeof(*r->x));
    }
    if (++r->used == TRIB_PREDICT_BATCH)
        trib_predict_flush(r);
}

static void bad_row(struct trib_predict_row *row, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void bad_row(struct trib_predict_row *row, const char *format, ...)
{
    va_list args;
    row->is_bad = true;
    va_start(args, format);
    (void)vsnprintf(row->error, sizeof(row->error), format, args);
    va_end(args);
}

// ---- With a schema

// The first rule that the row at hand broke; the findings are empty after it.
static void name_rule(struct trib_predict_reader *r, struct trib_predict_row *row)
{
    const struct trib_schema *schema = r->predictor->schema;
    const size_t size = (schema->count + 1) * TRIB_RULE_COUNT;
    bad_row(row, "breaks a rule of the schema");
    for (size_t i = 0; i < size; i++) {
        if (r->findings.violations[i].count == 0)
            continue;
        bad_row(row, "column '%s' breaks the rule %s", schema->columns[i / TRIB_RULE_COUNT].name,
                trib_rule_text((enum trib_rule)(i % TRIB_RULE_COUNT)));
        break;
    }
    memset(r->findings.violations, 0, size * sizeof(*r->findings.violations));
}

// Through the pipeline: a row that it leaves out is not bad, but the model cannot be asked.
static void prepare_row(struct trib_predict_reader *r, struct trib_predict_row *row)
{
    float weight;
    const enum trib_prepare_fate fate =
        trib_prepare_row(r->run, r->raw, r->x + r->used * r->features, &weight);
    row->has_features = fate == TRIB_PREPARE_KEPT;
    if (!row->has_features) {
        (void)snprintf(row->error, sizeof(row->error), "the pipeline %s",
                       fate == TRIB_PREPARE_DROPPED ? "drops the row"
                                                    : "has no value for one of its features");
        memset(r->x + r->used * r->features, 0, r->features * sizeof(*r->x));
    }
}

// Without one the features are those of the schema. False: it breaks a rule.
static bool take_features(struct trib_predict_reader *r)
{
    float y, weight;
    const struct trib_predictor *p = r->predictor;
    float *x = r->x + r->used * r->features;
    if (!trib_schema_row(p->schema, r->fields, &r->findings, x, &y, &weight))
        return false;
    for (size_t i = 0; i < r->features; i++)
        x[i] /= (float)p->settings.data.scale;
    return true;
}

// The row in `fields`.
static void take_fields(struct trib_predict_reader *r, struct trib_predict_row *row)
{
    const struct trib_predictor *p = r->predictor;
    const bool has_plain_features = !r->run && r->features > 0;
    const bool wants_values = !has_plain_features || r->values;
    if (has_plain_features) {
        row->has_features = take_features(r);
        if (!row->has_features)
            name_rule(r, row);
    }
    if (!row->is_bad && wants_values &&
        !trib_schema_values(p->schema, r->fields, &r->findings, r->raw))
        name_rule(r, row);
    if (!row->is_bad && r->run)
        prepare_row(r, row);
    for (size_t i = 0; !row->is_bad && p->fallback && i < p->fallback->column_count; i++)
        r->values[r->used * p->fallback->column_count + i] = r->raw[p->fallback->columns[i].place];
}

// CSV without names: all columns, or all but the label, or but label and weight. False: neither.
static bool place_columns(struct trib_predict_reader *r, size_t count)
{
    const struct trib_schema *schema = r->predictor->schema;
    const bool has_weight = schema->weight != SIZE_MAX;
    const size_t absent = count <= schema->count ? schema->count - count : SIZE_MAX;
    size_t next = 0;
    if (absent > 1 && !(absent == 2 && has_weight))
        return false;
    for (size_t i = 0; i < schema->count; i++) {
        const bool is_absent =
            (absent > 0 && i == schema->label) || (absent == 2 && i == schema->weight);
        r->places[i] = is_absent ? SIZE_MAX : next++;
    }
    return true;
}

static void take_schema_record(struct trib_predict_reader *r, const struct trib_record_reader *in,
                               struct trib_predict_row *row)
{
    const size_t columns = r->predictor->schema->count;
    const bool fits = r->name_count ? in->count == r->name_count : place_columns(r, in->count);
    if (!fits) {
        bad_row(row, "%zu fields where there are %zu columns, the label's counted", in->count,
                r->name_count ? r->name_count : columns);
        return;
    }
    for (size_t i = 0; i < columns; i++)
        r->fields[i] = r->places[i] == SIZE_MAX ? (struct trib_field){.line = in->record_line}
                                                : in->fields[r->places[i]];
    if (r->join)
        trib_join_fill(r->join, r->fields, in->record_line);
    take_fields(r, row);
}

// ---- Strict numeric CSV

// Where the label is among `count` fields; SIZE_MAX: nowhere.
static size_t label_of(const struct trib_predict_reader *r, size_t count)
{
    const char *label = r->predictor->settings.data.label;
    char *end;
    if (r->has_names)
        return r->label;
    if (r->features > 0 && count != r->features + 1)
        return SIZE_MAX;
    const unsigned long number = strtoul(label, &end, 10);
    if (*label >= '1' && *label <= '9' && !*end && number <= count)
        return number - 1;
    return strcmp(label, "last") == 0 ? count - 1 : SIZE_MAX;
}

// The fields that rules look at, as they are written.
static void take_rule_values(struct trib_predict_reader *r, const struct trib_record_reader *in,
                             struct trib_predict_row *row)
{
    const struct trib_fallback *f = r->predictor->fallback;
    for (size_t i = 0; f && i < f->column_count; i++) {
        const size_t place = f->columns[i].place;
        float number;
        char *end;
        if (place >= in->count ||
            !trib_csv_number(in->fields[place].text, in->fields[place].size, &number)) {
            bad_row(row, "column '%s' is not a finite number", f->columns[i].name);
            return;
        }
        r->values[r->used * f->column_count + i] = strtod(in->fields[place].text, &end);
    }
}

static void take_plain_record(struct trib_predict_reader *r, const struct trib_record_reader *in,
                              struct trib_predict_row *row)
{
    const size_t label = label_of(r, in->count);
    const size_t width = in->count - (label < in->count);
    const float scale = (float)r->predictor->settings.data.scale;
    float *x = r->features ? r->x + r->used * r->features : NULL;
    if (r->name_count && in->count != r->name_count)
        bad_row(row, "%zu fields, and the header names %zu", in->count, r->name_count);
    else if (r->features && width != r->features)
        bad_row(row, "%zu fields, and the model takes %zu features, with or without the label",
                in->count, r->features);
    for (size_t i = 0; x && !row->is_bad && i < in->count; i++) {
        const struct trib_field *field = &in->fields[i];
        if (i == label)
            continue;
        if (field->is_quoted || !trib_csv_number(field->text, field->size, x) ||
            !isfinite(*x / scale))
            bad_row(row, "column %zu: not a finite number", i + 1);
        else
            *x++ /= scale;
    }
    if (!row->is_bad)
        take_rule_values(r, in, row);
    row->has_features = !row->is_bad && r->features > 0;
}

// ---- CSV

// Where the columns of rules are: by name, or by number from 1.
static enum trib_err place_rules(struct trib_predict_reader *r, const struct trib_record_reader *in)
{
    struct trib_fallback *f = r->predictor->fallback;
    for (size_t i = 0; f && i < f->column_count; i++) {
        struct trib_fallback_column *column = &f->columns[i];
        char *end;
        column->place = SIZE_MAX;
        for (size_t at = 0; in && at < in->count && column->place == SIZE_MAX; at++) {
            if (strcmp(in->fields[at].text, column->name) == 0)
                column->place = at;
        }
        const unsigned long number = strtoul(column->name, &end, 10);
        if (column->place == SIZE_MAX && *column->name >= '1' && *column->name <= '9' && !*end)
            column->place = number - 1;
        if (column->place == SIZE_MAX) {
            TRIB_ERROR("%s: no column is named '%s', which %s:%zu looks at", r->name, column->name,
                       f->name, column->line);
            return TRIB_ERR_DATA;
        }
    }
    return TRIB_OK;
}

// The record that names the columns; NULL: there is none.
static enum trib_err take_names(struct trib_predict_reader *r, const struct trib_record_reader *in)
{
    const struct trib_schema *schema = r->predictor->schema;
    const char *label = r->predictor->settings.data.label;
    if (in)
        r->name_count = in->count;
    if (!schema) {
        for (size_t i = 0; in && i < in->count && !r->has_names; i++) {
            r->has_names = strcmp(in->fields[i].text, label) == 0;
            r->label = i;
        }
        return place_rules(r, in);
    }
    if (in && r->join)
        return trib_join_places(r->join, r->name, in, r->places) ? TRIB_ERR_DATA : TRIB_OK;
    const size_t lacking =
        in ? trib_schema_places(schema, in->fields, in->count, r->places) : SIZE_MAX;
    if (lacking == SIZE_MAX)
        return TRIB_OK;
    TRIB_ERROR("%s:%zu: no column is named '%s', which the schema declares", r->name,
               in->record_line, schema->columns[lacking].name);
    return TRIB_ERR_DATA;
}

static enum trib_err take_header(struct trib_predict_reader *r, struct trib_record_reader *in)
{
    const int header = r->predictor->settings.data.header;
    enum trib_record_event event;
    if (header == TRIB_CSV_HEADER_NO)
        return take_names(r, NULL);
    enum trib_err err = trib_record_next(in, &event);
    if (err || event == TRIB_RECORD_END)
        return err;
    if (header == TRIB_CSV_HEADER_SKIP)
        return take_names(r, NULL);
    if (event == TRIB_RECORD_WHOLE)
        return take_names(r, in);
    TRIB_ERROR("%s:%zu: the line with the names of the columns is not CSV", r->name,
               in->record_line);
    return TRIB_ERR_DATA;
}

static enum trib_err read_csv(struct trib_predict_reader *r, const char *text, size_t size)
{
    const struct trib_schema *schema = r->predictor->schema;
    const struct trib_record_options options = {.separator = schema ? schema->separator : ',',
                                                .trim = schema ? schema->trim : true,
                                                .comment = schema ? schema->comment : NULL};
    struct trib_record_reader in;
    enum trib_record_event event = TRIB_RECORD_WHOLE;
    trib_record_reader_init(&in, &options, text, size);
    enum trib_err err = take_header(r, &in);
    while (!err) {
        err = trib_record_next(&in, &event);
        if (err || event == TRIB_RECORD_END)
            break;
        struct trib_predict_row *row = begin_row(r, in.record_line);
        if (event == TRIB_RECORD_BROKEN)
            bad_row(row, "it is not CSV");
        else if (schema)
            take_schema_record(r, &in, row);
        else
            take_plain_record(r, &in, row);
        end_row(r);
    }
    if (err == TRIB_ERR_LIMIT) {
        TRIB_ERROR("%s:%zu: more than %d columns", r->name, in.record_line, TRIB_COLUMNS_MAX);
        err = TRIB_ERR_DATA;
    }
    trib_record_reader_fini(&in);
    return err;
}

// ---- JSON Lines

static enum trib_err read_json_lines(struct trib_predict_reader *r, const char *text, size_t size)
{
    const char *const end = text + size;
    struct trib_json_row json;
    enum trib_err err = trib_json_row_init(&json, r->predictor->schema);
    for (size_t line = 1; !err && text < end; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        const char *begin = text;
        while (begin < stop && (*begin == ' ' || *begin == '\t' || *begin == '\r'))
            begin++;
        if (begin < stop) { // blank lines are no rows
            struct trib_predict_row *row = begin_row(r, line);
            err = trib_json_row_parse(&json, r->predictor->schema, text, (size_t)(stop - text),
                                      line, r->fields);
            if (err == TRIB_ERR_DATA) {
                bad_row(row, "it is not a JSON object of the columns: byte %zu", json.wrong_at);
                err = TRIB_OK;
            } else if (!err) {
                take_fields(r, row);
            }
            end_row(r);
        }
        text = newline ? newline + 1 : end;
    }
    trib_json_row_fini(&json);
    return err;
}

// ---- The whole

enum trib_err trib_predict_read(struct trib_predict_reader *reader, const char *text, size_t size)
{
    static const uint8_t none[TRIB_DIGEST_SIZE];
    const struct trib_predictor *p = reader->predictor;
    const struct trib_data_config *data = &p->settings.data;
    const bool is_json =
        data->format == TRIB_DATA_JSON_LINES ||
        (data->format == TRIB_DATA_STORE && data->push_format == TRIB_PUSH_JSON_LINES);
    if (data->format == TRIB_DATA_IDX) {
        TRIB_ERROR("client.ini: data.format = idx: rows to predict are csv or jsonl");
        return TRIB_ERR_INVAL;
    }
    if (is_json && !p->schema) {
        TRIB_ERROR("client.ini: data.format: jsonl rows want a data.schema");
        return TRIB_ERR_INVAL;
    }
    if (p->net && !p->prepare && memcmp(p->slot.manifest.prepare_digest, none, sizeof(none)) != 0) {
        TRIB_ERROR("client.ini: data.prepare is missing: the features of version %" PRIu64
                   " come from a pipeline",
                   p->slot.manifest.version);
        return TRIB_ERR_INVAL;
    }
    return is_json ? read_json_lines(reader, text, size) : read_csv(reader, text, size);
}
