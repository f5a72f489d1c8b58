// The file of a fall-back.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/data/fallback.h"

struct parser {
    struct trib_fallback *f;
    const struct trib_schema *schema; // NULL: there is none
    size_t line;
    struct trib_fallback_entry *entry; // of the open section; NULL: [fallback], or none yet
    bool is_head;                      // in [fallback]
    bool has_head, has_default;
    size_t entries_max;
    char *why;
    size_t why_size;
};

static enum trib_err wrong(const struct parser *p, size_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum trib_err wrong(const struct parser *p, size_t line, const char *format, ...)
{
    va_list args;
    int used = snprintf(p->why, p->why_size, "%s:%zu: ", p->f->name, line);
    va_start(args, format);
    if (used >= 0 && (size_t)used < p->why_size)
        (void)vsnprintf(p->why + used, p->why_size - (size_t)used, format, args);
    va_end(args);
    return TRIB_ERR_INVAL;
}

// `text` without the blanks around it, which are cut off in place.
static char *trimmed(char *text)
{
    text += strspn(text, " \t");
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\r", text[size - 1]))
        text[--size] = '\0';
    return text;
}

static bool read_number(const char *text, double *ret_value)
{
    char *end;
    *ret_value = strtod(text, &end);
    return end != text && !*end && isfinite(*ret_value);
}

// "a | b | c" into as many floats, owned by the caller; it ends what was there before.
static enum trib_err read_list(const struct parser *p, const char *key, char *value,
                               float **ret_values, size_t *ret_count)
{
    size_t count = 1;
    for (const char *at = value; (at = strchr(at, '|')); at++)
        count++;
    float *values = trib_alloc_array(count, sizeof(*values));
    if (!values)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        double number;
        char *bar = strchr(value, '|');
        if (bar)
            *bar = '\0';
        const char *text = trimmed(value);
        if (!read_number(text, &number) || !isfinite((float)number)) {
            free(values);
            return wrong(p, p->line, "%s: '%s' is not a finite number", key, text);
        }
        values[i] = (float)number;
        value = bar ? bar + 1 : value;
    }
    *ret_values = values;
    *ret_count = count;
    return TRIB_OK;
}

// ---- Rules

// The number that stands for `text` in a column: a rule may ask for what no row may have, but not
// for another type.
static bool read_value(const struct trib_schema *schema, size_t column, const char *text,
                       double *ret_value)
{
    struct trib_schema one = *schema; // with this column alone
    struct trib_column copy = schema->columns[column];
    struct trib_findings findings;
    const struct trib_field field = {.text = text, .size = strlen(text), .is_quoted = true};
    copy.min = -(double)INFINITY;
    copy.max = (double)INFINITY;
    copy.glob = NULL;
    copy.has_regex = false;
    copy.has_other = false; // a value that is not listed is a slip of the pen
    if (copy.type == TRIB_COLUMN_INT)
        copy.type = TRIB_COLUMN_REAL; // 2.5 is between two of its values
    if (copy.type != TRIB_COLUMN_CATEGORY)
        copy.value_count = 0;
    one.columns = &copy;
    one.count = 1;
    if (trib_findings_init(&findings, &one))
        return false;
    const bool is_good = trib_schema_values(&one, &field, &findings, ret_value);
    trib_findings_fini(&findings);
    return is_good;
}

// Its place in `columns`, where it is put if it is not there yet.
static enum trib_err find_column(const struct parser *p, const char *name, size_t *ret_column)
{
    struct trib_fallback *f = p->f;
    size_t place = SIZE_MAX;
    for (size_t i = 0; i < f->column_count; i++) {
        if (strcmp(f->columns[i].name, name) == 0) {
            *ret_column = i;
            return TRIB_OK;
        }
    }
    if (!*name || strlen(name) > TRIB_SCHEMA_NAME_MAX)
        return wrong(p, p->line, "when: a column's name has 1 to %d bytes", TRIB_SCHEMA_NAME_MAX);
    if (p->schema) {
        place = trib_schema_find(p->schema, name);
        if (place == SIZE_MAX)
            return wrong(p, p->line, "when: there is no column '%s'", name);
        const enum trib_column_role role = p->schema->columns[place].role;
        if (role == TRIB_ROLE_LABEL || role == TRIB_ROLE_WEIGHT)
            return wrong(p, p->line, "when: column '%s' is the %s, which nobody knows yet", name,
                         role == TRIB_ROLE_LABEL ? "label" : "weight");
    }
    struct trib_fallback_column *column = &f->columns[f->column_count];
    *column = (struct trib_fallback_column){.place = place, .line = p->line};
    (void)snprintf(column->name, sizeof(column->name), "%s", name);
    *ret_column = f->column_count++;
    return TRIB_OK;
}

// The comparison at `at`, and how many bytes it has.
static bool read_comparison(const char *at, enum trib_comparison *ret_comparison, size_t *ret_size)
{
    static const char *const texts[] = {"<", "<=", ">", ">=", "=", "!="};
    *ret_size = at[0] && at[1] == '=' ? 2 : 1;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strlen(texts[i]) == *ret_size && strncmp(texts[i], at, *ret_size) == 0) {
            *ret_comparison = (enum trib_comparison)i;
            return true;
        }
    }
    return false;
}

static enum trib_err read_condition(const struct parser *p, char *text,
                                    struct trib_fallback_condition *ret_condition)
{
    struct trib_fallback_condition condition;
    size_t size;
    char *at = text + strcspn(text, "<>=!");
    if (!*at || !read_comparison(at, &condition.comparison, &size))
        return wrong(p, p->line,
                     "when: '%s' is not COLUMN < VALUE, or with <=, >, >=, = or !=", trimmed(text));
    const char *value = trimmed(at + size);
    *at = '\0';
    const char *name = trimmed(text);
    enum trib_err err = find_column(p, name, &condition.column);
    if (err)
        return err;
    const size_t place = p->f->columns[condition.column].place;
    const enum trib_column_type type =
        p->schema ? p->schema->columns[place].type : TRIB_COLUMN_REAL;
    const bool is_word = type == TRIB_COLUMN_CATEGORY || type == TRIB_COLUMN_TEXT;
    if (is_word && condition.comparison < TRIB_COMPARE_EQUAL)
        return wrong(p, p->line, "when: column '%s' holds words: only = and != compare them", name);
    if (p->schema ? !read_value(p->schema, place, value, &condition.value)
                  : !read_number(value, &condition.value))
        return wrong(p, p->line, "when: '%s' is not a value of column '%s'", value, name);
    *ret_condition = condition;
    return TRIB_OK;
}

static enum trib_err read_rule(const struct parser *p, char *value)
{
    struct trib_fallback_entry *rule = p->entry;
    if (rule->condition_count > 0)
        return wrong(p, p->line, "when is there twice");
    for (char *next; value; value = next) {
        next = strchr(value, '&');
        if (next)
            *next++ = '\0';
        if (rule->condition_count == TRIB_FALLBACK_CONDITIONS_MAX)
            return wrong(p, p->line, "when: more than %d conditions", TRIB_FALLBACK_CONDITIONS_MAX);
        enum trib_err err = read_condition(p, value, &rule->conditions[rule->condition_count]);
        if (err)
            return err;
        rule->condition_count++;
    }
    return TRIB_OK;
}

// ---- Keys

static enum trib_err set_head(const struct parser *p, const char *key, const char *value)
{
    if (strcmp(key, "min_probability") == 0) {
        if (!read_number(value, &p->f->min_probability) || p->f->min_probability < 0 ||
            p->f->min_probability > 1)
            return wrong(p, p->line, "min_probability must be between 0 and 1");
        return TRIB_OK;
    }
    if (strcmp(key, "outputs_are") != 0)
        return wrong(p, p->line, "%s is not a key of [fallback]", key);
    if (strcmp(value, "probabilities") != 0 && strcmp(value, "values") != 0)
        return wrong(p, p->line, "outputs_are must be probabilities or values");
    p->f->are_values = value[0] == 'v';
    return TRIB_OK;
}

// A list that all entries have of one length.
static enum trib_err set_list(const struct parser *p, const char *key, char *value, float **list,
                              size_t *common)
{
    size_t count = 0;
    if (*list)
        return wrong(p, p->line, "%s is there twice", key);
    enum trib_err err = read_list(p, key, value, list, &count);
    if (err)
        return err;
    if (*common && *common != count)
        return wrong(p, p->line, "%s has %zu numbers, and %zu before", key, count, *common);
    *common = count;
    return TRIB_OK;
}

static enum trib_err set_entry(const struct parser *p, const char *key, char *value)
{
    struct trib_fallback_entry *entry = p->entry;
    const bool is_cluster = entry->kind == TRIB_FALLBACK_CLUSTER;
    if (strcmp(key, "outputs") == 0)
        return set_list(p, key, value, &entry->outputs, &p->f->output_count);
    if (is_cluster && strcmp(key, "centre") == 0)
        return set_list(p, key, value, &entry->centre, &p->f->features);
    if (is_cluster && strcmp(key, "radius") == 0) {
        if (!read_number(value, &entry->radius) || entry->radius < 0)
            return wrong(p, p->line, "radius must be a number of at least 0");
        return TRIB_OK;
    }
    if (entry->kind == TRIB_FALLBACK_RULE && strcmp(key, "when") == 0)
        return read_rule(p, value);
    return wrong(p, p->line, "%s is not a key of [%s]", key, entry->by);
}

// ---- Sections

// Is what the section at hand must have there?
static enum trib_err end_section(const struct parser *p)
{
    const struct trib_fallback_entry *entry = p->entry;
    if (!entry)
        return TRIB_OK;
    const char *lacks = !entry->outputs                                                ? "outputs"
                        : entry->kind == TRIB_FALLBACK_CLUSTER && !entry->centre       ? "centre"
                        : entry->kind == TRIB_FALLBACK_RULE && !entry->condition_count ? "when"
                                                                                       : NULL;
    return lacks ? wrong(p, entry->line, "[%s]: %s is missing", entry->by, lacks) : TRIB_OK;
}

static enum trib_err open_entry(struct parser *p, enum trib_fallback_kind kind, const char *section)
{
    for (size_t i = 0; i < p->f->count; i++) {
        if (strcmp(p->f->entries[i].by, section) == 0)
            return wrong(p, p->line, "[%s] is there twice", section);
    }
    if (p->f->count == p->entries_max)
        return wrong(p, p->line, "more than %d clusters and rules", TRIB_FALLBACK_ENTRIES_MAX);
    p->entry = &p->f->entries[p->f->count++];
    *p->entry =
        (struct trib_fallback_entry){.kind = kind, .line = p->line, .radius = (double)INFINITY};
    (void)snprintf(p->entry->by, sizeof(p->entry->by), "%s", section);
    return TRIB_OK;
}

static enum trib_err open_section(struct parser *p, char *text)
{
    enum trib_err err = end_section(p);
    char *close = strchr(text, ']');
    if (err)
        return err;
    if (!close || close[1])
        return wrong(p, p->line, "a section ends with ']'");
    *close = '\0';
    text = trimmed(text);
    p->entry = NULL;
    p->is_head = strcmp(text, "fallback") == 0;
    if (p->is_head) {
        if (p->has_head)
            return wrong(p, p->line, "[fallback] is there twice");
        p->has_head = true;
        return TRIB_OK;
    }
    if (strcmp(text, "default") == 0) {
        p->has_default = true;
        return open_entry(p, TRIB_FALLBACK_DEFAULT, text);
    }
    const bool is_cluster = strncmp(text, "cluster ", 8) == 0;
    if (!is_cluster && strncmp(text, "rule ", 5) != 0)
        return wrong(
            p, p->line,
            "section [%s]: there are [fallback], [cluster NAME], [rule NAME] and [default]", text);
    const size_t size = strlen(trimmed(text + (is_cluster ? 8 : 5)));
    if (size == 0 || size > TRIB_FALLBACK_NAME_MAX || strlen(text) >= TRIB_FALLBACK_BY_SIZE)
        return wrong(p, p->line, "section [%s]: a name has 1 to %d bytes", text,
                     TRIB_FALLBACK_NAME_MAX);
    return open_entry(p, is_cluster ? TRIB_FALLBACK_CLUSTER : TRIB_FALLBACK_RULE, text);
}

static enum trib_err take_line(struct parser *p, char *line)
{
    line = trimmed(line);
    if (!*line || *line == '#' || *line == ';')
        return TRIB_OK;
    if (*line == '[')
        return open_section(p, line + 1);
    char *equals = strchr(line, '=');
    if (!equals || equals == line)
        return wrong(p, p->line, "neither a section nor 'key = value'");
    *equals = '\0';
    const char *key = trimmed(line);
    char *value = trimmed(equals + 1);
    if (p->is_head)
        return set_head(p, key, value);
    return p->entry ? set_entry(p, key, value)
                    : wrong(p, p->line, "%s: a key before the first section", key);
}

// ---- The whole

static enum trib_err check_outputs(const struct parser *p, const struct trib_fallback_entry *entry)
{
    double sum = 0;
    const size_t count = p->f->output_count;
    for (size_t i = 0; i < count; i++) {
        if (entry->outputs[i] < 0 || entry->outputs[i] > 1)
            return wrong(p, entry->line, "[%s]: outputs: a probability is between 0 and 1",
                         entry->by);
        sum += (double)entry->outputs[i];
    }
    if (count > 1 && fabs(sum - 1) > 1e-3)
        return wrong(p, entry->line, "[%s]: outputs: probabilities add up to 1, not to %g",
                     entry->by, sum);
    return TRIB_OK;
}

static enum trib_err settle(const struct parser *p)
{
    struct trib_fallback *f = p->f;
    enum trib_err err = end_section(p);
    if (err)
        return err;
    if (!p->has_default)
        return wrong(p, p->line, "[default]: outputs is missing: what is answered in the end?");
    if (f->are_values && f->min_probability > 0)
        return wrong(p, p->line, "min_probability: values have no probability");
    for (size_t i = 0; !err && !f->are_values && i < f->count; i++)
        err = check_outputs(p, &f->entries[i]);
    return err;
}

// Room for as many as the text can have.
static enum trib_err make_room(struct parser *p, const char *text)
{
    size_t sections = 1;
    size_t conditions = 1;
    for (const char *at = text; *at; at++) {
        sections += *at == '[';
        conditions += *at == '&' || *at == '\n';
    }
    p->entries_max =
        sections < TRIB_FALLBACK_ENTRIES_MAX + 1 ? sections : TRIB_FALLBACK_ENTRIES_MAX + 1;
    p->f->entries = trib_alloc_array(p->entries_max, sizeof(*p->f->entries));
    p->f->columns = trib_alloc_array(conditions, sizeof(*p->f->columns));
    return p->f->entries && p->f->columns ? TRIB_OK : TRIB_ERR_NOMEM;
}

static enum trib_err parse(struct parser *p, char *text, size_t size)
{
    if (memchr(text, '\0', size))
        return wrong(p, 1, "holds a NUL");
    enum trib_err err = make_room(p, text);
    for (char *next; !err && text; text = next) {
        next = strchr(text, '\n');
        if (next)
            *next++ = '\0';
        p->line++;
        err = take_line(p, text);
    }
    return err ? err : settle(p);
}

enum trib_err trib_fallback_parse(const char *text, size_t size, const char *name,
                                  const struct trib_schema *schema,
                                  struct trib_fallback **ret_fallback, char *why, size_t why_size)
{
    struct parser p = {.schema = schema, .why = why, .why_size = why_size};
    enum trib_err err = TRIB_ERR_NOMEM;
    char *copy = trib_alloc(size + 1);
    (void)snprintf(why, why_size, "%s: out of memory", name);
    p.f = trib_alloc(sizeof(*p.f));
    if (copy && p.f) {
        if (size > 0)
            memcpy(copy, text, size);
        (void)snprintf(p.f->name, sizeof(p.f->name), "%s", name);
        err = parse(&p, copy, size);
    }
    if (err)
        trib_fallback_destroy(p.f);
    else
        *ret_fallback = p.f;
    free(copy);
    return err;
}

enum trib_err trib_fallback_load(const char *path, const struct trib_schema *schema,
                                 struct trib_fallback **ret_fallback, char *why, size_t why_size)
{
    struct trib_buf file = {0};
    enum trib_err err = trib_file_read(path, TRIB_CONF_FILE_MAX, &file);
    if (err)
        (void)snprintf(why, why_size, "%s: cannot be read", path);
    else
        err = trib_fallback_parse((const char *)file.data, file.size, path, schema, ret_fallback,
                                  why, why_size);
    trib_buf_fini(&file);
    return err;
}
