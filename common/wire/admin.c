#include "common/wire/admin.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"

// ---- Building

struct trib_admin_row *trib_admin_row_add(struct trib_admin_reply *reply)
{
    if (reply->failed || reply->row_count == TRIB_ADMIN_ROWS_MAX) {
        reply->failed = true;
        return NULL;
    }
    if (reply->row_count == reply->row_capacity) {
        size_t capacity = reply->row_capacity ? reply->row_capacity * 2 : 8;
        struct trib_admin_row *rows = trib_alloc_array(capacity, sizeof(*rows));
        if (!rows) {
            reply->failed = true;
            return NULL;
        }
        if (reply->rows)
            memcpy(rows, reply->rows, reply->row_count * sizeof(*rows));
        free(reply->rows);
        reply->rows = rows;
        reply->row_capacity = capacity;
    }
    return &reply->rows[reply->row_count++];
}

// The next field of the last row, named; NULL when memory ran out.
static struct trib_admin_field *field_add(struct trib_admin_reply *reply, const char *name,
                                          enum trib_admin_kind kind)
{
    if (reply->failed || reply->row_count == 0)
        return NULL;
    struct trib_admin_row *row = &reply->rows[reply->row_count - 1];
    char *copy = row->count < TRIB_ADMIN_FIELDS_MAX ? trib_alloc_text(name) : NULL;
    if (!copy) {
        reply->failed = true;
        return NULL;
    }
    struct trib_admin_field *field = &row->fields[row->count++];
    field->name = copy;
    field->kind = kind;
    return field;
}

static void text_add(struct trib_admin_reply *reply, const char *name, const char *value,
                     enum trib_admin_kind kind)
{
    struct trib_admin_field *field = field_add(reply, name, value ? kind : TRIB_ADMIN_NULL);
    if (!field || !value)
        return;
    field->text = trib_alloc_text(value);
    if (!field->text) {
        field->kind = TRIB_ADMIN_NULL;
        reply->failed = true;
    }
}

void trib_admin_text(struct trib_admin_reply *reply, const char *name, const char *value)
{
    text_add(reply, name, value, TRIB_ADMIN_TEXT);
}

void trib_admin_json(struct trib_admin_reply *reply, const char *name, const char *json)
{
    text_add(reply, name, json, TRIB_ADMIN_JSON);
}

void trib_admin_number(struct trib_admin_reply *reply, const char *name, uint64_t value)
{
    struct trib_admin_field *field = field_add(reply, name, TRIB_ADMIN_NUMBER);
    if (field)
        field->number = value;
}

void trib_admin_real(struct trib_admin_reply *reply, const char *name, double value)
{
    struct trib_admin_field *field =
        field_add(reply, name, isfinite(value) ? TRIB_ADMIN_REAL : TRIB_ADMIN_NULL);
    if (field)
        field->real = value;
}

void trib_admin_flag(struct trib_admin_reply *reply, const char *name, bool value)
{
    struct trib_admin_field *field = field_add(reply, name, TRIB_ADMIN_FLAG);
    if (field)
        field->flag = value;
}

void trib_admin_fail(struct trib_admin_reply *reply, uint32_t exit_code, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    reply->exit_code = exit_code;
    free(reply->error);
    reply->error = trib_alloc_text(text);
}

void trib_admin_reply_fini(struct trib_admin_reply *reply)
{
    for (size_t i = 0; i < reply->row_count; i++) {
        for (size_t j = 0; j < reply->rows[i].count; j++) {
            free(reply->rows[i].fields[j].name);
            free(reply->rows[i].fields[j].text);
        }
    }
    free(reply->rows);
    free(reply->error);
    free(reply->body);
    *reply = (struct trib_admin_reply){0};
}

// ---- Reading

const struct trib_admin_field *trib_admin_find(const struct trib_admin_row *row, const char *name)
{
    for (size_t i = 0; i < row->count; i++) {
        if (strcmp(row->fields[i].name, name) == 0)
            return &row->fields[i];
    }
    return NULL;
}

uint64_t trib_admin_find_number(const struct trib_admin_row *row, const char *name)
{
    const struct trib_admin_field *field = trib_admin_find(row, name);
    return field && field->kind == TRIB_ADMIN_NUMBER ? field->number : 0;
}

double trib_admin_find_real(const struct trib_admin_row *row, const char *name)
{
    const struct trib_admin_field *field = trib_admin_find(row, name);
    if (field && field->kind == TRIB_ADMIN_NUMBER)
        return (double)field->number;
    return field && field->kind == TRIB_ADMIN_REAL ? field->real : (double)NAN;
}

const char *trib_admin_find_text(const struct trib_admin_row *row, const char *name)
{
    const struct trib_admin_field *field = trib_admin_find(row, name);
    return field && field->text ? field->text : "";
}

// ---- Showing

void trib_admin_row_json(const struct trib_admin_row *row, struct trib_buf *buf)
{
    trib_json_open(buf, NULL, '{');
    for (size_t i = 0; i < row->count; i++) {
        const struct trib_admin_field *field = &row->fields[i];
        switch (field->kind) {
        case TRIB_ADMIN_NULL: trib_json_null(buf, field->name); break;
        case TRIB_ADMIN_TEXT: trib_json_text(buf, field->name, field->text); break;
        case TRIB_ADMIN_NUMBER: trib_json_uint(buf, field->name, field->number); break;
        case TRIB_ADMIN_REAL: trib_json_real(buf, field->name, field->real); break;
        case TRIB_ADMIN_FLAG: trib_json_bool(buf, field->name, field->flag); break;
        case TRIB_ADMIN_JSON: trib_json_raw(buf, field->name, field->text); break;
        }
    }
    trib_json_close(buf, '}');
    trib_buf_text(buf, "\n");
}

static void cell_text(const struct trib_admin_field *field, char *text, size_t size)
{
    switch (field->kind) {
    case TRIB_ADMIN_NULL: (void)snprintf(text, size, "-"); break;
    case TRIB_ADMIN_TEXT:
    case TRIB_ADMIN_JSON: (void)snprintf(text, size, "%s", *field->text ? field->text : "-"); break;
    case TRIB_ADMIN_NUMBER: (void)snprintf(text, size, "%" PRIu64, field->number); break;
    case TRIB_ADMIN_REAL: (void)snprintf(text, size, "%.6g", field->real); break;
    case TRIB_ADMIN_FLAG: (void)snprintf(text, size, "%s", field->flag ? "yes" : "no"); break;
    }
}

static bool is_numeric(const struct trib_admin_field *field)
{
    return field->kind == TRIB_ADMIN_NUMBER || field->kind == TRIB_ADMIN_REAL;
}

enum {
    CELL_SIZE = 256,
    LIST_NAME_WIDTH = 22,
};

// JSON whole, each member of the object on a line of its own.
static void list_json(const char *text, struct trib_buf *buf)
{
    unsigned depth = 0;
    bool is_quoted = false;
    const char *from = text;
    for (const char *at = text; *at; at++) {
        if (is_quoted && *at == '\\' && at[1]) {
            at++;
            continue;
        }
        if (*at == '"')
            is_quoted = !is_quoted;
        if (is_quoted)
            continue;
        depth += *at == '{' || *at == '[';
        depth -= depth > 0 && (*at == '}' || *at == ']');
        if (*at == ',' && depth == 1) {
            trib_buf_printf(buf, "%.*s\n%*s", (int)(at + 1 - from), from, LIST_NAME_WIDTH + 2, "");
            from = at + 1;
        }
    }
    trib_buf_printf(buf, "%s\n", *from ? from : "-");
}

void trib_admin_list(const struct trib_admin_row *row, struct trib_buf *buf)
{
    char cell[CELL_SIZE * 4];
    for (size_t i = 0; i < row->count; i++) {
        const struct trib_admin_field *field = &row->fields[i];
        trib_buf_printf(buf, "%-*s ", LIST_NAME_WIDTH, field->name);
        if (field->kind == TRIB_ADMIN_JSON) {
            list_json(field->text, buf);
            continue;
        }
        cell_text(field, cell, sizeof(cell));
        trib_buf_printf(buf, "%s\n", cell);
    }
}

// A table is for people: JSON texts and the kind of event are for --json, and so is a column in
// which no row has anything.
static bool is_shown(const struct trib_admin_reply *reply, const char *name)
{
    bool has_value = false;
    if (strcmp(name, "event") == 0)
        return false;
    for (size_t i = 0; i < reply->row_count; i++) {
        const struct trib_admin_field *field = trib_admin_find(&reply->rows[i], name);
        if (field && field->kind == TRIB_ADMIN_JSON)
            return false;
        has_value = has_value || (field && field->kind != TRIB_ADMIN_NULL);
    }
    return has_value;
}

// No blanks behind the last column.
static void end_line(struct trib_buf *buf)
{
    while (buf->size > 0 && buf->data[buf->size - 1] == ' ')
        buf->size--;
    trib_buf_text(buf, "\n");
}

void trib_admin_table(const struct trib_admin_reply *reply, struct trib_buf *buf)
{
    if (reply->row_count == 0)
        return;
    const struct trib_admin_row *head = &reply->rows[0];
    int width[TRIB_ADMIN_FIELDS_MAX];
    bool shown[TRIB_ADMIN_FIELDS_MAX];
    char cell[CELL_SIZE];

    for (size_t j = 0; j < head->count; j++) {
        shown[j] = is_shown(reply, head->fields[j].name);
        width[j] = (int)strlen(head->fields[j].name);
        for (size_t i = 0; i < reply->row_count; i++) {
            const struct trib_admin_field *field =
                trib_admin_find(&reply->rows[i], head->fields[j].name);
            if (!field)
                continue;
            cell_text(field, cell, sizeof(cell));
            if ((int)strlen(cell) > width[j])
                width[j] = (int)strlen(cell);
        }
    }
    for (size_t j = 0; j < head->count; j++) {
        if (shown[j])
            trib_buf_printf(buf, "%*s  ", is_numeric(&head->fields[j]) ? width[j] : -width[j],
                            head->fields[j].name);
    }
    end_line(buf);
    for (size_t i = 0; i < reply->row_count; i++) {
        for (size_t j = 0; j < head->count; j++) {
            const struct trib_admin_field *field =
                trib_admin_find(&reply->rows[i], head->fields[j].name);
            if (!shown[j])
                continue;
            (void)snprintf(cell, sizeof(cell), "-");
            if (field)
                cell_text(field, cell, sizeof(cell));
            trib_buf_printf(buf, "%*s  ", is_numeric(&head->fields[j]) ? width[j] : -width[j],
                            cell);
        }
        end_line(buf);
    }
}
