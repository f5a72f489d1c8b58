#include "common/data/schema.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

enum {
    FILE_SIZE_MAX = TRIB_CONF_FILE_MAX,
};

struct parser {
    struct trib_schema *schema;
    const char *name;
    size_t line;
    struct trib_column *column; // of the open section; NULL: [file]
    bool has_section;
    char *why;
    size_t why_size;
};

static enum trib_err wrong(const struct parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum trib_err wrong(const struct parser *p, const char *format, ...)
{
    va_list args;
    int used = snprintf(p->why, p->why_size, "%s:%zu: ", p->name, p->line);
    va_start(args, format);
    if (used >= 0 && (size_t)used < p->why_size)
        (void)vsnprintf(p->why + used, p->why_size - (size_t)used, format, args);
    va_end(args);
    return TRIB_ERR_INVAL;
}

// ---- The keys of a column: each returns NULL or what is wrong

static const char *const type_words[] = {"real", "int", "category", "text", "bool", "time"};
static const char *const role_words[] = {"feature", "label", "weight", "id", "local-only", "time"};

static int find_word(const char *const *words, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], word) == 0)
            return (int)i;
    }
    return -1;
}

static const char *set_type(struct trib_column *c, const char *value)
{
    int found = find_word(type_words, sizeof(type_words) / sizeof(type_words[0]), value);
    if (found < 0)
        return "wants real, int, category, text, bool or time";
    c->type = (enum trib_column_type)found;
    return NULL;
}

static const char *set_role(struct trib_column *c, const char *value)
{
    int found = find_word(role_words, sizeof(role_words) / sizeof(role_words[0]), value);
    if (found < 0)
        return "wants feature, label, weight, id, local-only or time";
    c->role = (enum trib_column_role)found;
    return NULL;
}

static const char *set_real(double *field, const char *value)
{
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !isfinite(number))
        return "wants a number";
    *field = number;
    return NULL;
}

static const char *set_min(struct trib_column *c, const char *value)
{
    return set_real(&c->min, value);
}

static const char *set_max(struct trib_column *c, const char *value)
{
    return set_real(&c->max, value);
}

static const char *set_offset(struct trib_column *c, const char *value)
{
    return set_real(&c->offset, value);
}

static const char *set_scale(struct trib_column *c, const char *value)
{
    const char *complaint = set_real(&c->scale, value);
    return complaint ? complaint : c->scale > 0 ? NULL : "must be above 0";
}

static const char *set_word(char field[static TRIB_SCHEMA_WORD_MAX + 1], const char *value)
{
    if (strlen(value) > TRIB_SCHEMA_WORD_MAX)
        return "is too long";
    memcpy(field, value, strlen(value) + 1);
    return NULL;
}

static const char *set_unit(struct trib_column *c, const char *value)
{
    return set_word(c->unit, value);
}

static const char *set_strip_end(struct trib_column *c, const char *value)
{
    return set_word(c->strip_end, value);
}

static const char *set_text(char **field, const char *value)
{
    free(*field);
    *field = trib_alloc_text(value);
    return *field ? NULL : "does not fit in memory";
}

static const char *set_fill(struct trib_column *c, const char *value)
{
    return set_text(&c->fill, value);
}

static const char *set_glob(struct trib_column *c, const char *value)
{
    return set_text(&c->glob, value);
}

static const char *set_pattern(struct trib_column *c, const char *value)
{
    if (c->has_regex)
        return "is there twice";
    if (regcomp(&c->regex, value, REG_EXTENDED | REG_NOSUB))
        return "is not a POSIX extended regular expression";
    c->has_regex = true;
    return NULL;
}

static const char *set_other(struct trib_column *c, const char *value)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return "must be yes or no";
    c->has_other = value[0] == 'y';
    return NULL;
}

static bool has_value(const struct trib_column *c, const char *text)
{
    for (size_t i = 0; i < c->value_count; i++) {
        if (strcmp(c->values[i], text) == 0)
            return true;
    }
    return false;
}

static const char *add_value(struct trib_column *c, const char *text, size_t size)
{
    while (size > 0 && (text[0] == ' ' || text[0] == '\t')) {
        text++;
        size--;
    }
    while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\t'))
        size--;
    if (size == 0)
        return "holds an empty value";
    if (c->value_count == TRIB_SCHEMA_VALUES_MAX)
        return "holds too many values";
    if (!c->values)
        c->values = trib_alloc_array(TRIB_SCHEMA_VALUES_MAX, sizeof(*c->values));
    char *copy = c->values ? strndup(text, size) : NULL;
    if (!copy)
        return "does not fit in memory";
    const bool is_double = has_value(c, copy);
    c->values[c->value_count++] = copy;
    return is_double ? "holds a value twice" : NULL;
}

// "A | B | C"; more of them on another line that begins with `values` too.
static const char *set_values(struct trib_column *c, const char *value)
{
    for (;;) {
        const size_t size = strcspn(value, "|");
        const char *complaint = add_value(c, value, size);
        if (complaint || !value[size])
            return complaint;
        value += size + 1;
    }
}

static const struct {
    const char *name;
    const char *(*set)(struct trib_column *column, const char *value);
} column_keys[] = {
    {"type", set_type},
    {"role", set_role},
    {"min", set_min},
    {"max", set_max},
    {"offset", set_offset},
    {"scale", set_scale},
    {"unit", set_unit},
    {"values", set_values},
    {"other", set_other},
    {"fill", set_fill},
    {"glob", set_glob},
    {"pattern", set_pattern},
    {"strip_end", set_strip_end},
};

// ---- The keys of [file]

static const char *add_missing(struct trib_schema *s, const char *value)
{
    while (*value) {
        value += strspn(value, " \t");
        const size_t size = strcspn(value, " \t");
        if (size == 0)
            break;
        if (s->missing_count == TRIB_SCHEMA_MISSING_MAX || size > TRIB_SCHEMA_WORD_MAX)
            return "holds too many markers, or one that is too long";
        memcpy(s->missing[s->missing_count++], value, size);
        value += size;
    }
    return NULL;
}

static const char *set_file_key(struct trib_schema *s, const char *key, const char *value)
{
    if (strcmp(key, "separator") == 0) {
        if (strcmp(value, "tab") != 0 && (strlen(value) != 1 || value[0] == '"'))
            return "wants one byte that is not a quote, or tab";
        s->separator = strcmp(value, "tab") == 0 ? '\t' : value[0];
        return NULL;
    }
    if (strcmp(key, "trim") == 0) {
        if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
            return "must be yes or no";
        s->trim = value[0] == 'y';
        return NULL;
    }
    if (strcmp(key, "comment") == 0)
        return set_word(s->comment, value);
    if (strcmp(key, "missing") == 0)
        return add_missing(s, value);
    return "is not a key of [file]: separator, trim, comment or missing";
}

// ---- Columns as a whole

static bool is_number(enum trib_column_type type)
{
    return type != TRIB_COLUMN_CATEGORY && type != TRIB_COLUMN_TEXT;
}

static enum trib_err check_column(const struct parser *p, const struct trib_column *c)
{
    const bool is_used = c->role == TRIB_ROLE_FEATURE || c->role == TRIB_ROLE_LABEL;
    if (is_used && c->type == TRIB_COLUMN_TEXT)
        return wrong(p,
                     "column '%s': a text is neither feature nor label; make it a category, or "
                     "give it the role id, local-only or time",
                     c->name);
    if (c->role == TRIB_ROLE_WEIGHT && c->type != TRIB_COLUMN_REAL && c->type != TRIB_COLUMN_INT)
        return wrong(p, "column '%s': a weight is real or int", c->name);
    if (c->type == TRIB_COLUMN_CATEGORY && c->value_count == 0 && is_used)
        return wrong(p, "column '%s': a category wants its values", c->name);
    if (c->value_count > 0 && c->type != TRIB_COLUMN_CATEGORY && c->type != TRIB_COLUMN_TEXT &&
        c->type != TRIB_COLUMN_INT)
        return wrong(p, "column '%s': values are for categories, texts and whole numbers", c->name);
    if (c->min > c->max)
        return wrong(p, "column '%s': min is above max", c->name);
    if (!is_number(c->type) && (isfinite(c->min) || isfinite(c->max)))
        return wrong(p, "column '%s': only numbers have a range", c->name);
    if (!is_number(c->type) && (c->offset != 0 || c->scale != 1))
        return wrong(p, "column '%s': only numbers have an offset and a scale", c->name);
    if (c->fill && c->role != TRIB_ROLE_FEATURE)
        return wrong(p, "column '%s': fill is for features", c->name);
    return TRIB_OK;
}

// What stands for a missing value must be a good one.
static enum trib_err check_fill(const struct parser *p, size_t column)
{
    const struct trib_column *c = &p->schema->columns[column];
    struct trib_findings findings = {.rows = 0};
    struct trib_schema one = *p->schema; // with this column alone
    struct trib_column copy = *c;
    float *x = NULL;
    float y, weight;
    if (!c->fill)
        return TRIB_OK;
    copy.first = 0;
    one.columns = &copy;
    one.count = 1;
    one.label = one.weight = SIZE_MAX;
    const struct trib_field field = {.text = c->fill, .size = strlen(c->fill), .is_quoted = true};
    enum trib_err err = trib_findings_init(&findings, &one);
    x = err ? NULL : trib_alloc_array(c->width, sizeof(*x));
    if (!x)
        err = TRIB_ERR_NOMEM;
    else if (!trib_schema_row(&one, &field, &findings, x, &y, &weight))
        err = wrong(p, "column '%s': fill breaks the column's own rules", c->name);
    free(x);
    trib_findings_fini(&findings);
    return err;
}

// Where each column's features are, and that there is one label.
static enum trib_err settle(struct parser *p)
{
    struct trib_schema *s = p->schema;
    for (size_t i = 0; i < s->count; i++) {
        struct trib_column *c = &s->columns[i];
        size_t *single = c->role == TRIB_ROLE_LABEL    ? &s->label
                         : c->role == TRIB_ROLE_WEIGHT ? &s->weight
                                                       : NULL;
        enum trib_err err = check_column(p, c);
        if (err)
            return err;
        if (single && *single != SIZE_MAX)
            return wrong(p, "columns '%s' and '%s' have the same role, which only one can have",
                         s->columns[*single].name, c->name);
        if (single)
            *single = i;
        if (c->role == TRIB_ROLE_FEATURE) {
            c->first = s->features;
            c->width = c->type == TRIB_COLUMN_CATEGORY ? c->value_count + c->has_other : 1;
            s->features += c->width;
        }
        err = check_fill(p, i);
        if (err)
            return err;
    }
    if (s->label == SIZE_MAX)
        return wrong(p, "no column has the role label");
    if (s->features == 0 || s->features > TRIB_COLUMNS_MAX)
        return wrong(p, "the columns make %zu features; 1 to %d are possible", s->features,
                     TRIB_COLUMNS_MAX);
    return TRIB_OK;
}

// ---- The file

static enum trib_err open_section(struct parser *p, char *text)
{
    struct trib_schema *s = p->schema;
    char *close = strchr(text, ']');
    if (!close || close[1])
        return wrong(p, "a section ends with ']'");
    *close = '\0';
    p->has_section = true;
    p->column = NULL;
    if (strcmp(text, "file") == 0)
        return TRIB_OK;
    if (strncmp(text, "column ", 7) != 0)
        return wrong(p, "section [%s]: there are [file] and [column NAME]", text);
    text += 7 + strspn(text + 7, " ");
    if (!*text || strlen(text) > TRIB_SCHEMA_NAME_MAX)
        return wrong(p, "a column's name has 1 to %d bytes", TRIB_SCHEMA_NAME_MAX);
    if (trib_schema_find(s, text) != SIZE_MAX)
        return wrong(p, "column '%s' is there twice", text);
    if (s->count == TRIB_SCHEMA_COLUMNS_MAX)
        return wrong(p, "more than %d columns", TRIB_SCHEMA_COLUMNS_MAX);
    p->column = &s->columns[s->count++];
    *p->column = (struct trib_column){
        .min = -(double)INFINITY, .max = (double)INFINITY, .scale = 1, .has_other = true};
    (void)snprintf(p->column->name, sizeof(p->column->name), "%s", text);
    return TRIB_OK;
}

static enum trib_err take_pair(struct parser *p, char *line)
{
    char *equals = strchr(line, '=');
    if (!equals || equals == line)
        return wrong(p, "neither a section nor 'key = value'");
    if (!p->has_section)
        return wrong(p, "a key before the first section");
    char *value = equals + 1 + strspn(equals + 1, " \t");
    for (*equals = '\0'; equals > line && (equals[-1] == ' ' || equals[-1] == '\t'); equals--)
        equals[-1] = '\0';
    const char *complaint = "is not a key of a column";
    if (!p->column) {
        complaint = set_file_key(p->schema, line, value);
    } else {
        for (size_t i = 0; i < sizeof(column_keys) / sizeof(column_keys[0]); i++) {
            if (strcmp(column_keys[i].name, line) == 0)
                complaint = column_keys[i].set(p->column, value);
        }
    }
    return complaint ? wrong(p, "%s %s", line, complaint) : TRIB_OK;
}

// A line without its end and the blanks around it.
static enum trib_err take_line(struct parser *p, char *line)
{
    size_t size = strlen(line);
    while (size > 0 && (line[size - 1] == ' ' || line[size - 1] == '\t' || line[size - 1] == '\r'))
        line[--size] = '\0';
    line += strspn(line, " \t");
    if (!*line || *line == '#' || *line == ';')
        return TRIB_OK;
    return *line == '[' ? open_section(p, line + 1) : take_pair(p, line);
}

// Columns are as many as lines that begin a section, at most.
static size_t count_sections(const char *text)
{
    size_t count = 0;
    for (const char *at = text; (at = strchr(at, '[')); at++)
        count++;
    return count < TRIB_SCHEMA_COLUMNS_MAX ? count : TRIB_SCHEMA_COLUMNS_MAX;
}

enum trib_err trib_schema_parse(const char *text, size_t size, const char *name,
                                struct trib_schema **ret_schema, char *why, size_t why_size)
{
    struct parser p = {.name = name, .why = why, .why_size = why_size};
    enum trib_err err = TRIB_ERR_NOMEM;
    char *copy = trib_alloc(size + 1);
    p.schema = trib_alloc(sizeof(*p.schema));
    (void)snprintf(why, why_size, "%s: out of memory", name);
    if (!copy || !p.schema)
        goto out;
    memcpy(copy, text, size);
    *p.schema =
        (struct trib_schema){.label = SIZE_MAX, .weight = SIZE_MAX, .separator = ',', .trim = true};
    if (memchr(copy, '\0', size)) {
        err = wrong(&p, "holds a NUL");
        goto out;
    }
    p.schema->columns = trib_alloc_array(count_sections(copy) + 1, sizeof(struct trib_column));
    if (!p.schema->columns)
        goto out;
    err = TRIB_OK;
    for (char *line = copy, *next; !err && line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        p.line++;
        err = take_line(&p, line);
    }
    if (!err)
        err = settle(&p);
    if (err)
        goto out;
    *ret_schema = p.schema;
    p.schema = NULL;

out:
    trib_schema_destroy(p.schema);
    free(copy);
    return err;
}

enum trib_err trib_schema_load(const char *path, struct trib_schema **ret_schema, char *why,
                               size_t why_size)
{
    struct trib_buf file = {0};
    enum trib_err err = trib_file_read(path, FILE_SIZE_MAX, &file);
    if (err)
        (void)snprintf(why, why_size, "%s: cannot be read: %s", path, trib_err_text(err));
    else
        err = trib_schema_parse(file.data ? (const char *)file.data : "", file.size, path,
                                ret_schema, why, why_size);
    trib_buf_fini(&file);
    return err;
}

void trib_schema_destroy(struct trib_schema *schema)
{
    if (!schema)
        return;
    for (size_t i = 0; i < schema->count; i++) {
        struct trib_column *c = &schema->columns[i];
        for (size_t v = 0; v < c->value_count; v++)
            free(c->values[v]);
        free(c->values);
        free(c->fill);
        free(c->glob);
        if (c->has_regex)
            regfree(&c->regex);
    }
    free(schema->columns);
    free(schema);
}

size_t trib_schema_find(const struct trib_schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->count; i++) {
        if (strcmp(schema->columns[i].name, name) == 0)
            return i;
    }
    return SIZE_MAX;
}
