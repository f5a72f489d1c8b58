// The text of a pipeline: sections, keys, columns, and what earlier passes have found.
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/map.h"
#include "common/data/prepare_step.h"

enum {
    FILE_SIZE_MAX = 64 << 20, // a large projection is 16 MiB of numbers as text
};

static const struct trib_prepare_kind *const kinds[] = {
    &trib_prepare_impute,      &trib_prepare_outlier, &trib_prepare_smooth, &trib_prepare_minmax,
    &trib_prepare_standardise, &trib_prepare_log1p,   &trib_prepare_expm1,  &trib_prepare_power,
    &trib_prepare_onehot,      &trib_prepare_hash,    &trib_prepare_bin,    &trib_prepare_interact,
    &trib_prepare_pca,         &trib_prepare_select,  &trib_prepare_drop,   &trib_prepare_dedup,
    &trib_prepare_time,        &trib_prepare_recency, &trib_prepare_group,  &trib_prepare_fuse,
};
enum {
    KIND_COUNT = sizeof(kinds) / sizeof(kinds[0])
};

enum trib_err trib_prepare_wrong(const struct trib_prepare_parser *p, const char *format, ...)
{
    va_list args;
    int used = snprintf(p->why, p->why_size, "%s:%zu: ", p->name, p->line);
    va_start(args, format);
    if (used >= 0 && (size_t)used < p->why_size)
        (void)vsnprintf(p->why + used, p->why_size - (size_t)used, format, args);
    va_end(args);
    return TRIB_ERR_INVAL;
}
#define wrong trib_prepare_wrong

// ---- Columns

static bool is_feature(const struct trib_prepare *prepare, size_t variable)
{
    for (size_t i = 0; i < prepare->order_count; i++) {
        if (prepare->order[i] == variable)
            return true;
    }
    return false;
}

// A feature of this name, or else a column that is none; SIZE_MAX: neither.
static size_t find_variable(const struct trib_prepare *prepare, const char *name)
{
    for (size_t i = 0; i < prepare->order_count; i++) {
        if (strcmp(prepare->variables[prepare->order[i]].name, name) == 0)
            return prepare->order[i];
    }
    for (size_t i = 0; i < prepare->schema->count; i++) {
        if (strcmp(prepare->variables[i].name, name) == 0)
            return i;
    }
    return SIZE_MAX;
}

static enum trib_err add_input(struct trib_prepare_step *step, size_t variable)
{
    if (step->input_count == step->input_capacity) {
        const size_t capacity = step->input_capacity ? 2 * step->input_capacity : 16;
        size_t *inputs = trib_alloc_array(capacity, sizeof(*inputs));
        if (!inputs)
            return TRIB_ERR_NOMEM;
        if (step->inputs)
            memcpy(inputs, step->inputs, step->input_count * sizeof(*inputs));
        free(step->inputs);
        step->inputs = inputs;
        step->input_capacity = capacity;
    }
    step->inputs[step->input_count++] = variable;
    return TRIB_OK;
}

static bool has_input(const struct trib_prepare_step *step, size_t variable)
{
    for (size_t i = 0; i < step->input_count; i++) {
        if (step->inputs[i] == variable)
            return true;
    }
    return false;
}

static bool may_use(const struct trib_prepare_kind *kind, const struct trib_variable *variable)
{
    return variable->levels ? kind->may_use_category : kind->may_use_number;
}

// Every feature that a step of this kind can use.
static enum trib_err add_all(const struct trib_prepare *prepare, struct trib_prepare_step *step,
                             bool numbers, bool categories)
{
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; !err && i < prepare->order_count; i++) {
        const struct trib_variable *v = &prepare->variables[prepare->order[i]];
        const bool is_meant = v->levels ? categories : numbers;
        if (is_meant && may_use(step->kind, v) && !has_input(step, prepare->order[i]))
            err = add_input(step, prepare->order[i]);
    }
    return err;
}

static enum trib_err check_role(const struct trib_prepare_parser *p, size_t variable,
                                const struct trib_prepare_step *step)
{
    const struct trib_prepare *prepare = p->prepare;
    const char *name = prepare->variables[variable].name;
    if (is_feature(prepare, variable))
        return TRIB_OK;
    const enum trib_column_role role = prepare->schema->columns[variable].role;
    if (role == TRIB_ROLE_FEATURE)
        return wrong(p, "column '%s' was taken by a step before this one", name);
    if (role == TRIB_ROLE_LABEL)
        return wrong(p, "column '%s' is the label, which no step may use", name);
    if (!step->kind->may_use_any_role)
        return wrong(p, "column '%s' is not a feature", name);
    if (role == TRIB_ROLE_LOCAL_ONLY && !step->kind->may_use_local)
        return wrong(p, "column '%s' is local-only: %s would make features of it", name,
                     step->kind->name);
    return TRIB_OK;
}

// All of a group that are features still, in their order.
static enum trib_err add_group(const struct trib_prepare_parser *p, struct trib_prepare_step *step,
                               const struct trib_prepare_step *group)
{
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; !err && i < group->output_count; i++) {
        const size_t variable = group->first_output + i;
        if (!is_feature(p->prepare, variable))
            return wrong(p, "group '%s' was taken by a step before this one", group->options.text);
        if (has_input(step, variable))
            return wrong(p, "group '%s' is there twice", group->options.text);
        err = add_input(step, variable);
    }
    return err;
}

// Features of the right kind whose names begin so; `name` ends with a '*'.
static enum trib_err add_beginning(const struct trib_prepare_parser *p,
                                   struct trib_prepare_step *step, const char *name)
{
    const struct trib_prepare *prepare = p->prepare;
    const size_t before = step->input_count;
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; !err && i < prepare->order_count; i++) {
        const struct trib_variable *v = &prepare->variables[prepare->order[i]];
        if (strncmp(v->name, name, strlen(name) - 1) == 0 && may_use(step->kind, v) &&
            !has_input(step, prepare->order[i]))
            err = add_input(step, prepare->order[i]);
    }
    if (!err && step->input_count == before)
        return wrong(p, "no feature that %s takes begins as '%s' does", step->kind->name, name);
    return err;
}

static enum trib_err add_column(const struct trib_prepare_parser *p, struct trib_prepare_step *step,
                                const char *name)
{
    const struct trib_prepare *prepare = p->prepare;
    const size_t variable = find_variable(prepare, name);
    const struct trib_prepare_step *group = trib_prepare_find_group(prepare, name);
    if (variable == SIZE_MAX && group)
        return add_group(p, step, group);
    if (variable == SIZE_MAX && *name && name[strlen(name) - 1] == '*')
        return add_beginning(p, step, name);
    if (variable == SIZE_MAX) {
        const bool is_all = strcmp(name, "all") == 0;
        if (is_all || strcmp(name, "numbers") == 0 || strcmp(name, "categories") == 0)
            return add_all(prepare, step, is_all || name[0] == 'n', is_all || name[0] == 'c');
        return wrong(p, "there is no column '%s'", name);
    }
    enum trib_err err = check_role(p, variable, step);
    if (err)
        return err;
    if (!may_use(step->kind, &prepare->variables[variable]))
        return wrong(p, "column '%s' is a %s, which %s does not take", name,
                     prepare->variables[variable].levels ? "category" : "number", step->kind->name);
    if (has_input(step, variable))
        return wrong(p, "column '%s' is there twice", name);
    return add_input(step, variable);
}

static enum trib_err add_columns(const struct trib_prepare_parser *p,
                                 struct trib_prepare_step *step, char *value)
{
    enum trib_err err = TRIB_OK;
    for (char *part; !err && (part = trib_prepare_part(&value, '|'));)
        err = add_column(p, step, part);
    return err;
}

// ---- What was found before

static enum trib_err add_given(const struct trib_prepare_parser *p, struct trib_prepare_step *step,
                               char *value)
{
    for (char *part; (part = trib_prepare_part(&value, ' '));) {
        if (step->given_count == step->given_capacity) {
            const size_t capacity = step->given_capacity ? 2 * step->given_capacity : 64;
            double *given = trib_alloc_array(capacity, sizeof(*given));
            if (!given)
                return TRIB_ERR_NOMEM;
            if (step->given)
                memcpy(given, step->given, step->given_count * sizeof(*given));
            free(step->given);
            step->given = given;
            step->given_capacity = capacity;
        }
        if (!trib_prepare_number(part, &step->given[step->given_count++]))
            return wrong(p, "fitted wants numbers with blanks between them, not '%s'", part);
    }
    return TRIB_OK;
}

static enum trib_err take_given(const struct trib_prepare_parser *p, struct trib_prepare_step *step)
{
    const size_t wanted = step->given_pass ? step->fitted_count : 0;
    if (step->given_pass > step->pass_count)
        return wrong(p, "step %s has %zu passes, not %zu", step->kind->name, step->pass_count,
                     step->given_pass);
    if (step->given_count != wanted)
        return wrong(p, "step %s after %zu passes has found %zu numbers, not %zu", step->kind->name,
                     step->given_pass, wanted, step->given_count);
    step->fitted = trib_alloc_array(step->fitted_count + 1, sizeof(*step->fitted));
    if (!step->fitted)
        return TRIB_ERR_NOMEM;
    if (wanted)
        memcpy(step->fitted, step->given, wanted * sizeof(*step->fitted));
    step->pass = step->given_pass;
    return TRIB_OK;
}

// ---- Steps

static enum trib_err set_defaults(const struct trib_prepare_parser *p,
                                  struct trib_prepare_step *step)
{
    for (size_t i = 0; i < step->kind->key_count; i++) {
        char value[64];
        if (!step->kind->keys[i].fallback[0])
            continue;
        (void)snprintf(value, sizeof(value), "%s", step->kind->keys[i].fallback);
        enum trib_err err = trib_prepare_set(p, &step->kind->keys[i], &step->options, value);
        assert(!err);
    }
    return TRIB_OK;
}

static enum trib_err open_step(struct trib_prepare_parser *p, const char *kind)
{
    struct trib_prepare *prepare = p->prepare;
    char list[512] = "";
    if (prepare->step_count == TRIB_PREPARE_STEPS_MAX)
        return wrong(p, "more than %d steps", TRIB_PREPARE_STEPS_MAX);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        const size_t used = strlen(list);
        (void)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", kinds[i]->name);
        if (strcmp(kinds[i]->name, kind) != 0)
            continue;
        struct trib_prepare_step *step = &prepare->steps[prepare->step_count++];
        *step = (struct trib_prepare_step){.kind = kinds[i], .line = p->line};
        return set_defaults(p, step);
    }
    return wrong(p, "there is no step '%s'; there are %s", kind, list);
}

// A feature is known by its name: what a step makes must not have that of another.
static enum trib_err check_names(const struct trib_prepare_parser *p,
                                 const struct trib_prepare_step *step)
{
    const struct trib_prepare *prepare = p->prepare;
    struct trib_map *names = NULL;
    enum trib_err err = step->output_count > 0 ? trib_map_create(&names) : TRIB_OK;
    for (size_t i = 0; !err && names && i < prepare->order_count; i++) {
        char *name = prepare->variables[prepare->order[i]].name;
        if (trib_map_get(names, name, strlen(name)))
            err = wrong(p, "step %s makes '%s', which is there already", step->kind->name, name);
        else
            err = trib_map_put(names, name, strlen(name), name);
    }
    trib_map_destroy(names);
    return err;
}

// The section has ended: its variables, and what it makes of them.
static enum trib_err close_step(struct trib_prepare_parser *p, struct trib_prepare_step *step)
{
    struct trib_prepare *prepare = p->prepare;
    p->line = step->line;
    enum trib_err err = TRIB_OK;
    if (step->input_count == 0 && step->kind->wants_columns)
        return wrong(p, "step %s wants columns", step->kind->name);
    if (step->input_count == 0)
        err = add_all(prepare, step, true, true);
    if (err)
        return err;
    step->was = trib_alloc_array(step->input_count + 1, sizeof(*step->was));
    if (!step->was)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < step->input_count; i++)
        step->was[i] = prepare->variables[step->inputs[i]];
    step->first_output = prepare->variable_count;
    err = step->kind->settle(p, step);
    step->output_count = prepare->variable_count - step->first_output;
    if (err == TRIB_ERR_LIMIT)
        return wrong(p, "more than %d variables", TRIB_PREPARE_VARIABLES_MAX);
    if (!err)
        err = check_names(p, step);
    return err ? err : take_given(p, step);
}

static enum trib_err close_last(struct trib_prepare_parser *p)
{
    struct trib_prepare *prepare = p->prepare;
    return prepare->step_count ? close_step(p, &prepare->steps[prepare->step_count - 1]) : TRIB_OK;
}

static enum trib_err take_step_key(const struct trib_prepare_parser *p,
                                   struct trib_prepare_step *step, const char *key, char *value)
{
    double number;
    if (strcmp(key, "columns") == 0)
        return add_columns(p, step, value);
    if (strcmp(key, "fitted") == 0)
        return add_given(p, step, value);
    if (strcmp(key, "passes") == 0) {
        if (!trib_prepare_number(value, &number) || number < 0 ||
            number > TRIB_PREPARE_PASSES_MAX || floor(number) != number)
            return wrong(p, "passes wants a whole number up to %d", TRIB_PREPARE_PASSES_MAX);
        step->given_pass = (size_t)number;
        return TRIB_OK;
    }
    for (size_t i = 0; i < step->kind->key_count; i++) {
        if (strcmp(step->kind->keys[i].name, key) == 0)
            return trib_prepare_set(p, &step->kind->keys[i], &step->options, value);
    }
    return wrong(p, "%s is not a key of step %s", key, step->kind->name);
}

// ---- The file

static enum trib_err open_section(struct trib_prepare_parser *p, char *text, bool *is_schema)
{
    char *close = strchr(text, ']');
    if (!close || close[1])
        return wrong(p, "a section ends with ']'");
    *close = '\0';
    const size_t line = p->line;
    enum trib_err err = close_last(p);
    if (err)
        return err;
    p->line = line;
    *is_schema = strcmp(text, "schema") == 0;
    if (*is_schema)
        return p->prepare->step_count ? wrong(p, "[schema] comes before the steps") : TRIB_OK;
    if (strncmp(text, "step ", 5) != 0)
        return wrong(p, "section [%s]: there are [schema] and [step KIND]", text);
    return open_step(p, text + 5 + strspn(text + 5, " "));
}

static enum trib_err take_schema_key(const struct trib_prepare_parser *p, const char *key,
                                     const char *value)
{
    char digest[TRIB_DIGEST_TEXT_SIZE];
    if (strcmp(key, "digest") != 0)
        return wrong(p, "%s is not a key of [schema], which is digest", key);
    trib_hex_encode(p->prepare->schema_digest, TRIB_DIGEST_SIZE, digest);
    if (strcmp(value, digest) != 0)
        return wrong(p, "the pipeline is for another schema: its digest is not %.16s...", digest);
    return TRIB_OK;
}

static enum trib_err take_line(struct trib_prepare_parser *p, char *line, bool *is_schema)
{
    struct trib_prepare *prepare = p->prepare;
    line += strspn(line, " \t");
    for (size_t size = strlen(line); size > 0 && strchr(" \t\r", line[size - 1]); size--)
        line[size - 1] = '\0';
    if (!*line || *line == '#' || *line == ';')
        return TRIB_OK;
    if (*line == '[')
        return open_section(p, line + 1, is_schema);
    char *equals = strchr(line, '=');
    if (!equals || equals == line)
        return wrong(p, "neither a section nor 'key = value'");
    char *value = equals + 1 + strspn(equals + 1, " \t");
    for (*equals = '\0'; equals > line && strchr(" \t", equals[-1]); equals--)
        equals[-1] = '\0';
    if (*is_schema)
        return take_schema_key(p, line, value);
    if (prepare->step_count == 0)
        return wrong(p, "a key before the first section");
    return take_step_key(p, &prepare->steps[prepare->step_count - 1], line, value);
}

// Categories that no step has encoded are one-hot, so that every feature is a number.
static enum trib_err encode_rest(struct trib_prepare_parser *p)
{
    const struct trib_prepare *prepare = p->prepare;
    bool has_category = false;
    for (size_t i = 0; i < prepare->order_count; i++)
        has_category |= prepare->variables[prepare->order[i]].levels > 0;
    if (!has_category)
        return TRIB_OK;
    enum trib_err err = open_step(p, trib_prepare_onehot.name);
    if (!err)
        err = add_all(prepare, &prepare->steps[prepare->step_count - 1], false, true);
    return err ? err : close_last(p);
}

// `sums`: of the largest pass to come.
static enum trib_err check_whole(struct trib_prepare_parser *p, size_t sums)
{
    struct trib_prepare *prepare = p->prepare;
    if (prepare->order_count == 0 || prepare->order_count > TRIB_COLUMNS_MAX)
        return wrong(p, "the pipeline makes %zu features; 1 to %d are possible",
                     prepare->order_count, TRIB_COLUMNS_MAX);
    for (size_t i = 0; i < prepare->step_count; i++) {
        const struct trib_prepare_step *step = &prepare->steps[i];
        if (step->pass > 0 && step->state == TRIB_PREPARE_BLOCKED)
            return wrong(p, "step %zu (%s) has had a pass before one that it depends on", i + 1,
                         step->kind->name);
    }
    if (sums > TRIB_PREPARE_SUMS_MAX)
        return wrong(p, "a pass would add up %zu numbers; %d are possible", sums,
                     TRIB_PREPARE_SUMS_MAX);
    if (prepare->passes_left > TRIB_PREPARE_PASSES_MAX)
        return wrong(p, "the steps want %zu passes one after the other; %d are possible",
                     prepare->passes_left, TRIB_PREPARE_PASSES_MAX);
    return TRIB_OK;
}

static enum trib_err take_lines(struct trib_prepare_parser *p, char *text)
{
    enum trib_err err = TRIB_OK;
    bool is_schema = false;
    size_t sums = 0;
    for (char *line = text, *next; !err && line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        p->line++;
        err = take_line(p, line, &is_schema);
    }
    const size_t last = p->line;
    if (!err)
        err = close_last(p);
    p->line = err ? p->line : last;
    if (!err)
        err = encode_rest(p);
    if (!err)
        err = trib_prepare_schedule(p->prepare);
    if (!err)
        err = trib_prepare_count_passes(p->prepare, &sums);
    p->line = err ? p->line : last;
    return err ? err : check_whole(p, sums);
}

// ---- The variables that there are at first

static void hash_text(struct trib_hash *hash, const char *text)
{
    trib_hash_update(hash, text ? text : "", strlen(text ? text : "") + 1);
}

// Everything that decides what number a value becomes.
static void digest_schema(const struct trib_schema *schema, uint8_t *ret_digest)
{
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    hash_text(&hash, "trib-schema");
    for (size_t i = 0; i < schema->count; i++) {
        const struct trib_column *c = &schema->columns[i];
        const uint8_t head[] = {(uint8_t)c->type, (uint8_t)c->role, (uint8_t)c->has_other,
                                c->fill != NULL};
        char range[64];
        trib_hash_update(&hash, head, sizeof(head));
        hash_text(&hash, c->name);
        (void)snprintf(range, sizeof(range), "%a %a", c->min, c->max);
        hash_text(&hash, range);
        hash_text(&hash, c->fill);
        hash_text(&hash, c->strip_end);
        for (size_t v = 0; v < c->value_count; v++)
            hash_text(&hash, c->values[v]);
        hash_text(&hash, "");
    }
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}

static enum trib_err add_schema(struct trib_prepare *prepare)
{
    const struct trib_schema *schema = prepare->schema;
    for (size_t i = 0; i < schema->count; i++) {
        const struct trib_column *c = &schema->columns[i];
        const bool is_category = c->type == TRIB_COLUMN_CATEGORY;
        const struct trib_variable variable = {
            .column = i,
            .levels = is_category ? c->value_count + c->has_other : 0,
            .has_other = is_category && c->has_other,
            .min = c->type == TRIB_COLUMN_BOOL ? 0 : c->min,
            .max = c->type == TRIB_COLUMN_BOOL ? 1 : c->max,
        };
        enum trib_err err = trib_prepare_add(prepare, &variable, SIZE_MAX, "%s", c->name);
        if (err)
            return err;
        if (c->role != TRIB_ROLE_FEATURE)
            trib_prepare_remove(prepare, i);
    }
    digest_schema(schema, prepare->schema_digest);
    return TRIB_OK;
}

enum trib_err trib_prepare_parse(const char *text, size_t size, const char *name,
                                 const struct trib_schema *schema,
                                 struct trib_prepare **ret_prepare, char *why, size_t why_size)
{
    struct trib_prepare_parser p = {.name = name, .why = why, .why_size = why_size};
    char *copy = trib_alloc(size + 1);
    p.prepare = trib_alloc(sizeof(*p.prepare));
    enum trib_err err = TRIB_ERR_NOMEM;
    if (!copy || !p.prepare)
        goto out;
    p.prepare->schema = schema;
    memcpy(copy, text, size);
    // One more than there may be: for the categories at the end.
    p.prepare->steps = trib_alloc_array(TRIB_PREPARE_STEPS_MAX + 1, sizeof(*p.prepare->steps));
    if (!p.prepare->steps)
        goto out;
    err = add_schema(p.prepare);
    if (!err && memchr(copy, '\0', size))
        err = wrong(&p, "holds a NUL");
    if (!err)
        err = take_lines(&p, copy);
    if (err)
        goto out;
    *ret_prepare = p.prepare;
    p.prepare = NULL;

out:
    if (err && err != TRIB_ERR_INVAL)
        (void)snprintf(why, why_size, "%s: %s", name, trib_err_text(err));
    trib_prepare_destroy(p.prepare);
    free(copy);
    return err;
}

enum trib_err trib_prepare_load(const char *path, const struct trib_schema *schema,
                                struct trib_prepare **ret_prepare, char *why, size_t why_size)
{
    struct trib_buf file = {0};
    enum trib_err err = trib_file_read(path, FILE_SIZE_MAX, &file);
    if (err)
        (void)snprintf(why, why_size, "%s: cannot be read: %s", path, trib_err_text(err));
    else
        err = trib_prepare_parse(file.data ? (const char *)file.data : "", file.size, path, schema,
                                 ret_prepare, why, why_size);
    trib_buf_fini(&file);
    return err;
}
