// schema.h - what the columns of a data file are, as an INI file declares them (docs/data.md).
//
//     [file]                    how it is written: separator, trim, comment, missing
//     [column age]              one for each column, in the order of the file
//     type = int
//     min = 0
//
// A row becomes features: a number for each real, int, bool and time column, and for each category
// a one-hot block in the order of `values` with `other` behind them. Only the role `feature` gives
// features; columns of every role are checked. A value that breaks its declaration is counted under
// its rule, with the place of the first one, and its row is left out. Values are never logged.
#ifndef TRIB_DATA_SCHEMA_H
#define TRIB_DATA_SCHEMA_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/data/record.h"
#include "tributary/err.h"

enum {
    TRIB_SCHEMA_COLUMNS_MAX = 4096,
    TRIB_SCHEMA_NAME_MAX = 127,
    TRIB_SCHEMA_VALUES_MAX = TRIB_CLASSES_MAX, // of one category
    TRIB_SCHEMA_MISSING_MAX = 8,               // markers
    TRIB_SCHEMA_WORD_MAX = 31,                 // bytes of a marker, a unit or the like
};

enum trib_column_type {
    TRIB_COLUMN_REAL,
    TRIB_COLUMN_INT,
    TRIB_COLUMN_CATEGORY,
    TRIB_COLUMN_TEXT,
    TRIB_COLUMN_BOOL,
    TRIB_COLUMN_TIME, // ISO 8601 date or date and time; as a number: days since 1970-01-01 UTC
};

enum trib_column_role {
    TRIB_ROLE_FEATURE,
    TRIB_ROLE_LABEL,
    TRIB_ROLE_WEIGHT,
    TRIB_ROLE_ID,
    TRIB_ROLE_LOCAL_ONLY,
    TRIB_ROLE_TIME,
};

// Rules that a row can break.
enum trib_rule {
    TRIB_RULE_SYNTAX,  // the record is not CSV, the line not JSON
    TRIB_RULE_COLUMNS, // another number of fields than there are columns
    TRIB_RULE_MISSING,
    TRIB_RULE_TYPE,
    TRIB_RULE_RANGE,
    TRIB_RULE_ENUM,
    TRIB_RULE_PATTERN,
    TRIB_RULE_COUNT,
};
const char *trib_rule_text(enum trib_rule rule);

struct trib_column {
    char name[TRIB_SCHEMA_NAME_MAX + 1];
    enum trib_column_type type;
    enum trib_column_role role;
    char unit[TRIB_SCHEMA_WORD_MAX + 1];
    double min, max; // inclusive; -INFINITY, INFINITY: none
    double offset, scale;
    char **values; // owned; category: the values; text and int: those that are allowed, if any
    size_t value_count;
    bool has_other; // category features: unlisted and missing values have a place of their own
    char *fill;     // owned; what stands for a missing value; NULL: nothing does
    char *glob;     // owned
    regex_t regex;
    bool has_regex;
    char strip_end[TRIB_SCHEMA_WORD_MAX + 1]; // taken from the end of a value, if it is there
    size_t first, width;                      // features: first one and how many
};

struct trib_schema {
    struct trib_column *columns; // owned
    size_t count;
    size_t features;
    size_t label;  // index of the column
    size_t weight; // SIZE_MAX: none
    char separator;
    bool trim;
    char comment[TRIB_SCHEMA_WORD_MAX + 1];
    char missing[TRIB_SCHEMA_MISSING_MAX][TRIB_SCHEMA_WORD_MAX + 1]; // besides the empty field
    size_t missing_count;
    // Rows to predict: labels and weights need not be there, and nobody looks at them if they are.
    bool is_unlabelled;
};

// `name` is for messages. TRIB_ERR_INVAL with "name:line: ..." in `why`.
TRIB_CHECKED enum trib_err trib_schema_parse(const char *text, size_t size, const char *name,
                                             struct trib_schema **ret_schema, char *why,
                                             size_t why_size);
TRIB_CHECKED enum trib_err trib_schema_load(const char *path, struct trib_schema **ret_schema,
                                            char *why, size_t why_size);
void trib_schema_destroy(struct trib_schema *schema);

// SIZE_MAX if there is no such column.
size_t trib_schema_find(const struct trib_schema *schema, const char *name);

// Which of `count` fields, the names in a header, each column is (ret_places: schema->count, from
// 0). SIZE_MAX, or the first column that none of them names. Columns that nobody looks at
// (is_unlabelled) have the place SIZE_MAX, there or not.
size_t trib_schema_places(const struct trib_schema *schema, const struct trib_field *names,
                          size_t count, size_t *ret_places);

// How often a rule was broken, and where first.
struct trib_violation {
    uint64_t count;
    size_t line, place; // place: see struct trib_field; 0: the whole line
};

struct trib_findings {
    const struct trib_schema *schema;  // borrowed
    struct trib_violation *violations; // [(count + 1) * TRIB_RULE_COUNT], the last for whole rows
    uint64_t rows, bad_rows;
};
TRIB_CHECKED enum trib_err trib_findings_init(struct trib_findings *findings,
                                              const struct trib_schema *schema);
void trib_findings_fini(struct trib_findings *findings);
// `column` is schema->count for what is wrong with a whole row.
void trib_findings_count(struct trib_findings *findings, size_t column, enum trib_rule rule,
                         size_t line, size_t place);
// Log each violation in a line: "NAME: column=... rule=... count=... first at line N column N".
void trib_findings_log(const struct trib_findings *findings, const char *name);
const struct trib_violation *trib_findings_find(const struct trib_findings *findings, size_t column,
                                                enum trib_rule rule);

// Does it stand for a missing value: not there, empty without quotes, or one of the markers?
bool trib_schema_is_missing(const struct trib_schema *schema, const struct trib_field *field);

// What is learnt for a label of this value, or class: (value - offset) / scale of its column.
float trib_schema_label(const struct trib_schema *schema, double value);

// Check a row's fields (schema->count, in its order) and make numbers of them: ret_x has room for
// schema->features. False: the row breaks a rule; it was counted. Without labels *ret_y is NaN.
bool trib_schema_row(const struct trib_schema *schema, const struct trib_field *fields,
                     struct trib_findings *findings, float *ret_x, float *ret_y, float *ret_weight);

// The same check for a pipeline (prepare.h), which decides itself what becomes of the values: of
// every column (schema->count) the number as it is written, without offset and scale; the index of
// a category's value (value_count: unlisted); a text's number (below); NaN: missing, which only
// labels and weights must not be.
bool trib_schema_values(const struct trib_schema *schema, const struct trib_field *fields,
                        struct trib_findings *findings, double *ret_values);

// A date or time of a column of times, as days since 1970-01-01 UTC; false: it is none.
bool trib_schema_time(const char *text, double *ret_days);

// A whole number below 2^53 that stands for a text: the first 53 bits of its BLAKE2b-64.
double trib_schema_text_number(const char *text);

#endif // TRIB_DATA_SCHEMA_H
