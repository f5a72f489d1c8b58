#include "common/data/json_row.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json_read.h"

enum trib_err trib_json_row_init(struct trib_json_row *row, const struct trib_schema *schema)
{
    *row = (struct trib_json_row){.wrong_at = 0};
    row->offsets = trib_alloc_array(schema->count, sizeof(*row->offsets));
    return row->offsets ? TRIB_OK : TRIB_ERR_NOMEM;
}

void trib_json_row_fini(struct trib_json_row *row)
{
    free(row->offsets);
    trib_buf_fini(&row->texts);
    *row = (struct trib_json_row){.wrong_at = 0};
}

// Offsets stand in for pointers, because the buffer moves: `place` of a column that is not there
// is 0.
static bool take_members(struct trib_json_row *row, const struct trib_schema *schema,
                         struct trib_json_reader *json, size_t line, struct trib_field *fields)
{
    if (trib_json_next(json) != TRIB_JSON_OPEN_OBJECT)
        return false;
    for (;;) {
        const enum trib_json_event event = trib_json_next(json);
        if (event == TRIB_JSON_CLOSE_OBJECT)
            return trib_json_next(json) == TRIB_JSON_END;
        if (event == TRIB_JSON_WRONG || event == TRIB_JSON_END)
            return false;
        const size_t column = trib_schema_find(schema, (const char *)json->key.data);
        const size_t place = (size_t)(json->value - json->begin) + 1;
        const bool is_nested = event == TRIB_JSON_OPEN_OBJECT || event == TRIB_JSON_OPEN_ARRAY;
        if (is_nested && !trib_json_skip(json))
            return false;
        if (column == SIZE_MAX)
            continue;
        struct trib_field *field = &fields[column];
        if (field->place != 0 || is_nested)
            return false; // twice, or not a value that a column has
        const char *text = event == TRIB_JSON_TRUE    ? "true"
                           : event == TRIB_JSON_FALSE ? "false"
                           : event == TRIB_JSON_NULL  ? ""
                                                      : (const char *)json->text.data;
        *field = (struct trib_field){.size = strlen(text), .line = line, .place = place};
        field->is_quoted = event == TRIB_JSON_TEXT && *text; // markers are for plain CSV
        row->offsets[column] = row->texts.size;
        trib_buf_append(&row->texts, text, field->size + 1);
    }
}

enum trib_err trib_json_row_parse(struct trib_json_row *row, const struct trib_schema *schema,
                                  const char *text, size_t size, size_t line,
                                  struct trib_field *fields)
{
    struct trib_json_reader json;
    for (size_t i = 0; i < schema->count; i++)
        fields[i] = (struct trib_field){.line = line};
    trib_buf_clear(&row->texts);
    trib_json_reader_init(&json, text, size);
    const bool is_good = take_members(row, schema, &json, line, fields);
    row->wrong_at = (size_t)(json.next - json.begin) + 1;
    trib_json_reader_fini(&json);
    if (row->texts.failed)
        return TRIB_ERR_NOMEM;
    if (!is_good)
        return TRIB_ERR_DATA;
    for (size_t i = 0; i < schema->count; i++) {
        if (fields[i].place)
            fields[i].text = (const char *)row->texts.data + row->offsets[i];
    }
    return TRIB_OK;
}
