// Rows against their schema: checks, numbers, and the counts of what was wrong.
#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/data/schema.h"

#define TRIB_LOG_MODULE "data"

enum {
    NUMBER_SIZE_MAX = 63,
    VALUE_SIZE_MAX = 1 << 16, // longer texts match no pattern
};

const char *trib_rule_text(enum trib_rule rule)
{
    switch (rule) {
    case TRIB_RULE_SYNTAX: return "syntax";
    case TRIB_RULE_COLUMNS: return "columns";
    case TRIB_RULE_MISSING: return "missing";
    case TRIB_RULE_TYPE: return "type";
    case TRIB_RULE_RANGE: return "range";
    case TRIB_RULE_ENUM: return "enum";
    case TRIB_RULE_PATTERN: return "pattern";
    case TRIB_RULE_COUNT: break;
    }
    return "unknown";
}

// Is it a column that rows to predict need not have?
static bool is_passed_over(const struct trib_schema *schema, const struct trib_column *c)
{
    return schema->is_unlabelled && (c->role == TRIB_ROLE_LABEL || c->role == TRIB_ROLE_WEIGHT);
}

size_t trib_schema_places(const struct trib_schema *schema, const struct trib_field *names,
                          size_t count, size_t *ret_places)
{
    for (size_t i = 0; i < schema->count; i++) {
        size_t at = 0;
        if (is_passed_over(schema, &schema->columns[i])) {
            ret_places[i] = SIZE_MAX;
            continue;
        }
        while (at < count && strcmp(names[at].text, schema->columns[i].name) != 0)
            at++;
        if (at == count)
            return i;
        ret_places[i] = at;
    }
    return SIZE_MAX;
}

// ---- Findings

enum trib_err trib_findings_init(struct trib_findings *findings, const struct trib_schema *schema)
{
    *findings = (struct trib_findings){.schema = schema};
    findings->violations =
        trib_alloc_array((schema->count + 1) * TRIB_RULE_COUNT, sizeof(*findings->violations));
    return findings->violations ? TRIB_OK : TRIB_ERR_NOMEM;
}

void trib_findings_fini(struct trib_findings *findings)
{
    free(findings->violations);
    *findings = (struct trib_findings){.rows = 0};
}

void trib_findings_count(struct trib_findings *findings, size_t column, enum trib_rule rule,
                         size_t line, size_t place)
{
    struct trib_violation *v = &findings->violations[column * TRIB_RULE_COUNT + rule];
    if (v->count++ == 0) {
        v->line = line;
        v->place = place;
    }
}

const struct trib_violation *trib_findings_find(const struct trib_findings *findings, size_t column,
                                                enum trib_rule rule)
{
    return &findings->violations[column * TRIB_RULE_COUNT + rule];
}

void trib_findings_log(const struct trib_findings *f, const char *name)
{
    for (size_t c = 0; c <= f->schema->count; c++) {
        for (int rule = 0; rule < TRIB_RULE_COUNT; rule++) {
            const struct trib_violation *v = trib_findings_find(f, c, (enum trib_rule)rule);
            if (v->count == 0)
                continue;
            TRIB_WARN("%s: column=%s rule=%s count=%" PRIu64 " first at line %zu column %zu", name,
                      c < f->schema->count ? f->schema->columns[c].name : "(row)",
                      trib_rule_text((enum trib_rule)rule), v->count, v->line, v->place);
        }
    }
}

// ---- Values

// A decimal number and nothing else: no hexadecimal, no words, no blanks.
static bool parse_real(const char *text, double *ret_value)
{
    char *end;
    const size_t size = strlen(text);
    if (size == 0 || size > NUMBER_SIZE_MAX || strspn(text, "0123456789+-.eE") != size)
        return false;
    *ret_value = strtod(text, &end);
    return *end == '\0' && isfinite(*ret_value);
}

static bool parse_int(const char *text, double *ret_value)
{
    const size_t sign = *text == '-' || *text == '+';
    const size_t size = strlen(text);
    if (size <= sign || size - sign > 15) // below 2^53: exact as a double
        return false;
    return strspn(text + sign, "0123456789") == size - sign && parse_real(text, ret_value);
}

static bool parse_bool(const char *text, double *ret_value)
{
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "f", "t", "n", "y"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(words[i], text) == 0) {
            *ret_value = (double)(i % 2);
            return true;
        }
    }
    return false;
}

// `count` digits as a number, or -1; moves on.
static int take_digits(const char **text, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++, ++*text) {
        if (**text < '0' || **text > '9')
            return -1;
        value = value * 10 + (**text - '0');
    }
    return value;
}

// Days from 1970-01-01 in the proleptic Gregorian calendar, or false: there is no such day. Years
// are counted from March, so that the leap day is the last of them.
static bool days_of(int year, int month, int day, double *ret_days)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1 || day > lengths[month - 1] + (month == 2 && is_leap))
        return false;
    const int y = month > 2 ? year : year - 1;
    const int m = month > 2 ? month - 3 : month + 9; // 0: March
    if (y < 0)
        return false;
    *ret_days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
    return true;
}

// "hh:mm[:ss[.fff]]" to seconds; moves on.
static bool take_clock(const char **text, double *ret_seconds)
{
    const int hours = take_digits(text, 2);
    if (hours < 0 || hours > 23 || *(*text)++ != ':')
        return false;
    const int minutes = take_digits(text, 2);
    if (minutes < 0 || minutes > 59)
        return false;
    *ret_seconds = hours * 3600.0 + minutes * 60.0;
    if (**text != ':')
        return true;
    ++*text;
    const int seconds = take_digits(text, 2);
    if (seconds < 0 || seconds > 60) // 60: a leap second
        return false;
    *ret_seconds += seconds;
    if (**text == '.') {
        double unit = 0.1;
        for (++*text; **text >= '0' && **text <= '9'; ++*text, unit /= 10)
            *ret_seconds += (**text - '0') * unit;
    }
    return true;
}

// ISO 8601: YYYY-MM-DD, or with T or a blank a time of day, and Z or +hh:mm; without one it is UTC.
bool trib_schema_time(const char *text, double *ret_days)
{
    double days;
    double seconds = 0;
    double zone = 0;
    const int year = take_digits(&text, 4);
    if (year < 0 || *text++ != '-')
        return false;
    const int month = take_digits(&text, 2);
    if (month < 0 || *text++ != '-' || !days_of(year, month, take_digits(&text, 2), &days))
        return false;
    if (*text == 'T' || *text == ' ') {
        text++;
        if (!take_clock(&text, &seconds))
            return false;
        if (*text == 'Z') {
            text++;
        } else if (*text == '+' || *text == '-') {
            const double sign = *text++ == '+' ? 1 : -1;
            if (!take_clock(&text, &zone))
                return false;
            zone *= sign;
        }
    }
    if (*text)
        return false;
    *ret_days = days + (seconds - zone) / 86400;
    return true;
}

static bool parse_value(const struct trib_column *c, const char *text, double *ret_value)
{
    switch (c->type) {
    case TRIB_COLUMN_REAL: return parse_real(text, ret_value);
    case TRIB_COLUMN_INT: return parse_int(text, ret_value);
    case TRIB_COLUMN_BOOL: return parse_bool(text, ret_value);
    case TRIB_COLUMN_TIME: return trib_schema_time(text, ret_value);
    case TRIB_COLUMN_CATEGORY:
    case TRIB_COLUMN_TEXT: break;
    }
    *ret_value = 0;
    return true;
}

// ---- A field

bool trib_schema_is_missing(const struct trib_schema *schema, const struct trib_field *field)
{
    if (!field->text || (field->size == 0 && !field->is_quoted))
        return true;
    for (size_t i = 0; !field->is_quoted && i < schema->missing_count; i++) {
        if (strcmp(schema->missing[i], field->text) == 0)
            return true;
    }
    return false;
}

static size_t find_value(const struct trib_column *c, const char *text)
{
    for (size_t i = 0; i < c->value_count; i++) {
        if (strcmp(c->values[i], text) == 0)
            return i;
    }
    return SIZE_MAX;
}

static bool matches(const struct trib_column *c, const char *text)
{
    if ((c->glob || c->has_regex) && strlen(text) > VALUE_SIZE_MAX)
        return false;
    return (!c->glob || fnmatch(c->glob, text, 0) == 0) &&
           (!c->has_regex || regexec(&c->regex, text, 0, NULL, 0) == 0);
}

// What a text is worth: a number, or the index of a value (value_count: other). TRIB_RULE_COUNT:
// nothing is wrong with it.
static enum trib_rule judge(const struct trib_column *c, const char *text, double *ret_value)
{
    if (!parse_value(c, text, ret_value))
        return TRIB_RULE_TYPE;
    if (*ret_value < c->min || *ret_value > c->max)
        return TRIB_RULE_RANGE;
    if (!matches(c, text))
        return TRIB_RULE_PATTERN;
    if (c->value_count > 0) {
        const size_t index = find_value(c, text);
        const bool may_be_other =
            c->has_other && c->role == TRIB_ROLE_FEATURE && c->type == TRIB_COLUMN_CATEGORY;
        if (index == SIZE_MAX && !may_be_other)
            return TRIB_RULE_ENUM;
        if (c->type == TRIB_COLUMN_CATEGORY)
            *ret_value = (double)(index == SIZE_MAX ? c->value_count : index);
    }
    return TRIB_RULE_COUNT;
}

// `text` without the declared ending.
static const char *strip(const struct trib_column *c, const char *text, char *copy, size_t size)
{
    const size_t length = strlen(text);
    const size_t ending = strlen(c->strip_end);
    if (ending == 0 || length < ending || length >= size ||
        memcmp(text + length - ending, c->strip_end, ending) != 0)
        return text;
    memcpy(copy, text, length - ending);
    copy[length - ending] = '\0';
    return copy;
}

static enum trib_rule read_field(const struct trib_schema *schema, const struct trib_column *c,
                                 const struct trib_field *field, double *ret_value)
{
    char copy[512];
    if (!trib_schema_is_missing(schema, field))
        return judge(c, strip(c, field->text, copy, sizeof(copy)), ret_value);
    if (c->fill)
        return judge(c, c->fill, ret_value);
    if (c->role == TRIB_ROLE_FEATURE && c->type == TRIB_COLUMN_CATEGORY && c->has_other) {
        *ret_value = (double)c->value_count;
        return TRIB_RULE_COUNT;
    }
    // What nothing is learnt from may be missing.
    const bool is_needed =
        c->role == TRIB_ROLE_FEATURE || c->role == TRIB_ROLE_LABEL || c->role == TRIB_ROLE_WEIGHT;
    *ret_value = 0;
    return is_needed ? TRIB_RULE_MISSING : TRIB_RULE_COUNT;
}

float trib_schema_label(const struct trib_schema *schema, double value)
{
    const struct trib_column *c = &schema->columns[schema->label];
    return (float)((value - c->offset) / c->scale);
}

// False: it does not fit a float.
static bool put_feature(const struct trib_column *c, double value, float *x)
{
    if (c->type != TRIB_COLUMN_CATEGORY) {
        const float number = (float)((value - c->offset) / c->scale);
        x[c->first] = number;
        return isfinite(number);
    }
    for (size_t i = 0; i < c->width; i++)
        x[c->first + i] = (size_t)value == i ? 1 : 0;
    return true;
}

bool trib_schema_row(const struct trib_schema *schema, const struct trib_field *fields,
                     struct trib_findings *findings, float *ret_x, float *ret_y, float *ret_weight)
{
    bool is_good = true;
    *ret_weight = 1;
    if (schema->is_unlabelled)
        *ret_y = NAN;
    findings->rows++;
    for (size_t i = 0; i < schema->count; i++) {
        const struct trib_column *c = &schema->columns[i];
        double value = 0;
        if (is_passed_over(schema, c))
            continue;
        enum trib_rule rule = read_field(schema, c, &fields[i], &value);
        if (rule == TRIB_RULE_COUNT && c->role == TRIB_ROLE_FEATURE &&
            !put_feature(c, value, ret_x))
            rule = TRIB_RULE_RANGE;
        const bool is_weight = c->role == TRIB_ROLE_WEIGHT;
        if (rule == TRIB_RULE_COUNT && (is_weight || c->role == TRIB_ROLE_LABEL) &&
            (!isfinite(is_weight ? (float)value : trib_schema_label(schema, value)) ||
             (is_weight && value <= 0)))
            rule = TRIB_RULE_RANGE;
        if (rule != TRIB_RULE_COUNT) {
            trib_findings_count(findings, i, rule, fields[i].line, fields[i].place);
            is_good = false;
        } else if (c->role == TRIB_ROLE_LABEL) {
            *ret_y = trib_schema_label(schema, value);
        } else if (c->role == TRIB_ROLE_WEIGHT) {
            *ret_weight = (float)value;
        }
    }
    findings->bad_rows += !is_good;
    return is_good;
}

// ---- Rows for a pipeline

double trib_schema_text_number(const char *text)
{
    uint8_t hash[8];
    struct trib_hash state;
    trib_hash_init(&state, NULL, 0, sizeof(hash));
    trib_hash_update(&state, text, strlen(text));
    trib_hash_final(&state, hash, sizeof(hash));
    return (double)(trib_load_le64(hash) >> 11); // 53 bits: exact
}

static enum trib_rule read_value(const struct trib_schema *schema, const struct trib_column *c,
                                 const struct trib_field *field, double *ret_value)
{
    char copy[512];
    const bool is_gone = trib_schema_is_missing(schema, field) && !c->fill;
    *ret_value = (double)NAN;
    if (is_gone)
        return c->role == TRIB_ROLE_LABEL || c->role == TRIB_ROLE_WEIGHT ? TRIB_RULE_MISSING
                                                                         : TRIB_RULE_COUNT;
    const char *text =
        trib_schema_is_missing(schema, field) ? c->fill : strip(c, field->text, copy, sizeof(copy));
    const enum trib_rule rule = judge(c, text, ret_value);
    if (rule == TRIB_RULE_COUNT && c->type == TRIB_COLUMN_TEXT)
        *ret_value = trib_schema_text_number(text);
    return rule;
}

bool trib_schema_values(const struct trib_schema *schema, const struct trib_field *fields,
                        struct trib_findings *findings, double *ret_values)
{
    bool is_good = true;
    findings->rows++;
    for (size_t i = 0; i < schema->count; i++) {
        const struct trib_column *c = &schema->columns[i];
        ret_values[i] = (double)NAN;
        if (is_passed_over(schema, c))
            continue;
        enum trib_rule rule = read_value(schema, c, &fields[i], &ret_values[i]);
        const double value = ret_values[i];
        if (rule == TRIB_RULE_COUNT && c->role == TRIB_ROLE_WEIGHT && value <= 0)
            rule = TRIB_RULE_RANGE;
        if (rule == TRIB_RULE_COUNT && !isnan(value) && !isfinite((float)value))
            rule = TRIB_RULE_RANGE; // as without a pipeline: no float32
        if (rule == TRIB_RULE_COUNT)
            continue;
        trib_findings_count(findings, i, rule, fields[i].line, fields[i].place);
        is_good = false;
    }
    findings->bad_rows += !is_good;
    return is_good;
}
