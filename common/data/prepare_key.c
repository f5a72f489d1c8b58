// The keys of a step: their values read and written.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/conf.h"
#include "common/base/json.h"
#include "common/data/prepare_step.h"

#define wrong trib_prepare_wrong

enum {
    NUMBER_SIZE_MAX = 40,
};

// ---- Values

bool trib_prepare_number(const char *text, double *ret_value)
{
    char *end;
    if (!*text || strlen(text) > NUMBER_SIZE_MAX || strspn(text, "0123456789+-.eE") != strlen(text))
        return false;
    const double value = strtod(text, &end);
    if (*end || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

char *trib_prepare_part(char **list, char separator)
{
    char *part = *list;
    if (!part)
        return NULL;
    char *cut = strchr(part, separator);
    *list = cut ? cut + 1 : NULL;
    if (cut)
        *cut = '\0';
    part += strspn(part, " \t");
    for (size_t size = strlen(part); size > 0 && strchr(" \t", part[size - 1]); size--)
        part[size - 1] = '\0';
    return part;
}

static enum trib_err set_edges(const struct trib_prepare_parser *p,
                               struct trib_prepare_options *options, char *value)
{
    if (!options->edges)
        options->edges = trib_alloc_array(TRIB_PREPARE_EDGES_MAX, sizeof(double));
    if (!options->edges)
        return TRIB_ERR_NOMEM;
    for (char *part; (part = trib_prepare_part(&value, '|'));) {
        double *edge = &options->edges[options->edge_count];
        if (options->edge_count == TRIB_PREPARE_EDGES_MAX)
            return wrong(p, "edges holds more than %d numbers", TRIB_PREPARE_EDGES_MAX);
        if (!trib_prepare_number(part, edge))
            return wrong(p, "edges wants numbers with | between them, not '%s'", part);
        if (options->edge_count > 0 && *edge < edge[-1])
            return wrong(p, "edges must not fall: %s stands behind a larger one", part);
        options->edge_count++;
    }
    return TRIB_OK;
}

static enum trib_err set_choice(const struct trib_prepare_parser *p,
                                const struct trib_prepare_key *key, int *field, const char *value)
{
    const char *at = key->choices;
    for (int i = 0;; i++) {
        const size_t size = strcspn(at, "|");
        if (strlen(value) == size && strncmp(at, value, size) == 0) {
            *field = i;
            return TRIB_OK;
        }
        if (!at[size])
            return wrong(p, "%s must be one of %s", key->name, key->choices);
        at += size + 1;
    }
}

enum trib_err trib_prepare_set(const struct trib_prepare_parser *p,
                               const struct trib_prepare_key *key,
                               struct trib_prepare_options *options, char *value)
{
    void *field = (char *)options + key->offset;
    double number = 0;
    switch (key->type) {
    case TRIB_PREPARE_REAL:
    case TRIB_PREPARE_INT:
        if (!trib_prepare_number(value, &number))
            return wrong(p, "%s wants a number", key->name);
        if (number < key->min || number > key->max)
            return wrong(p, "%s must be from %g to %g", key->name, key->min, key->max);
        if (key->type == TRIB_PREPARE_REAL)
            *(double *)field = number;
        else if (floor(number) == number)
            *(uint64_t *)field = (uint64_t)number;
        else
            return wrong(p, "%s wants a whole number", key->name);
        return TRIB_OK;
    case TRIB_PREPARE_BOOL:
        if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
            return wrong(p, "%s must be yes or no", key->name);
        *(bool *)field = value[0] == 'y';
        return TRIB_OK;
    case TRIB_PREPARE_CHOICE: return set_choice(p, key, field, value);
    case TRIB_PREPARE_TEXT:
        if (strlen(value) > TRIB_PREPARE_TEXT_MAX)
            return wrong(p, "%s is too long", key->name);
        (void)snprintf(field, TRIB_PREPARE_TEXT_MAX + 1, "%s", value);
        return TRIB_OK;
    case TRIB_PREPARE_EDGES: return set_edges(p, options, value);
    }
    return TRIB_ERR_STATE;
}

// ---- Written

void trib_prepare_write_numbers(const char *key, const char *between, const double *numbers,
                                size_t count, struct trib_buf *text)
{
    enum {
        A_LINE = 8
    };
    char number[TRIB_REAL_TEXT_SIZE];
    for (size_t i = 0; i < count; i++) {
        trib_real_text(numbers[i], number);
        trib_buf_printf(text, "%s%s%s%s", i % A_LINE ? between : key, i % A_LINE ? "" : " = ",
                        number, i % A_LINE == A_LINE - 1 || i + 1 == count ? "\n" : "");
    }
}

void trib_prepare_write_key(const struct trib_prepare_key *key,
                            const struct trib_prepare_options *options, struct trib_buf *text)
{
    const char *field = (const char *)options + key->offset;
    char number[TRIB_REAL_TEXT_SIZE];
    char word[64];
    switch (key->type) {
    case TRIB_PREPARE_REAL:
        trib_real_text(*(const double *)(const void *)field, number);
        trib_buf_printf(text, "%s = %s\n", key->name, number);
        break;
    case TRIB_PREPARE_INT:
        trib_buf_printf(text, "%s = %" PRIu64 "\n", key->name,
                        *(const uint64_t *)(const void *)field);
        break;
    case TRIB_PREPARE_BOOL:
        trib_buf_printf(text, "%s = %s\n", key->name,
                        *(const bool *)(const void *)field ? "yes" : "no");
        break;
    case TRIB_PREPARE_CHOICE:
        trib_conf_choice_text(key->choices, *(const int *)(const void *)field, word, sizeof(word));
        trib_buf_printf(text, "%s = %s\n", key->name, word);
        break;
    case TRIB_PREPARE_TEXT:
        if (*field)
            trib_buf_printf(text, "%s = %s\n", key->name, field);
        break;
    case TRIB_PREPARE_EDGES:
        trib_prepare_write_numbers(key->name, " | ", options->edges, options->edge_count, text);
        break;
    }
}
