// json_row.h - one line of JSON Lines as the fields of a row.
#ifndef TRIB_DATA_JSON_ROW_H
#define TRIB_DATA_JSON_ROW_H

#include <stdbool.h>
#include <stddef.h>

#include "common/data/schema.h"
#include "tributary/err.h"

struct trib_json_row {
    size_t *offsets;       // of the columns in `texts`; owned
    struct trib_buf texts; // each with its NUL
    size_t wrong_at;       // after TRIB_ERR_DATA: the byte in the line, from 1
};

TRIB_CHECKED enum trib_err trib_json_row_init(struct trib_json_row *row,
                                              const struct trib_schema *schema);
void trib_json_row_fini(struct trib_json_row *row);

// The members of an object that the schema declares, as `fields` (schema->count); their texts are
// good until the next call. A member that is not there has no text. TRIB_ERR_DATA: the line is not
// an object, a declared member is there twice, or is an array or object; TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_json_row_parse(struct trib_json_row *row,
                                               const struct trib_schema *schema, const char *text,
                                               size_t size, size_t line, struct trib_field *fields);

#endif // TRIB_DATA_JSON_ROW_H
