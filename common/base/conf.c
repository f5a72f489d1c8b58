#include "common/base/conf.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/json.h"

// The entry of a key, or NULL.
static struct trib_conf_entry *find(struct trib_conf *conf, const char *section, const char *name)
{
    for (size_t i = 0; i < conf->count; i++) {
        struct trib_conf_entry *entry = &conf->entries[i];
        if (strcmp(entry->key->section, section) == 0 && strcmp(entry->key->name, name) == 0)
            return entry;
    }
    return NULL;
}

// The number of choices `value` comes after, or -1.
static int choice_index(const char *choices, const char *value)
{
    size_t length = strlen(value);
    for (int index = 0;; index++) {
        size_t word = strcspn(choices, "|");
        if (word == length && strncmp(choices, value, word) == 0)
            return index;
        if (!choices[word])
            return -1;
        choices += word + 1;
    }
}

void trib_conf_choice_text(const char *choices, int index, char *text, size_t size)
{
    for (; index > 0; index--)
        choices += strcspn(choices, "|") + 1;
    (void)snprintf(text, size, "%.*s", (int)strcspn(choices, "|"), choices);
}

static const char *set_number(const struct trib_conf_key *key, const char *value, void *field)
{
    static __thread char text[160];
    char *end;
    bool bounded = key->min != 0 || key->max != 0;

    errno = 0;
    if (key->type == TRIB_CONF_INT) {
        uint64_t number = strtoull(value, &end, 10);
        if (value[0] < '0' || value[0] > '9' || *end || errno)
            return "is not a whole number";
        if (bounded && ((double)number < key->min || (double)number > key->max)) {
            (void)snprintf(text, sizeof(text), "must be between %.0f and %.0f", key->min, key->max);
            return text;
        }
        *(uint64_t *)field = number;
        return NULL;
    }
    double number = strtod(value, &end);
    if (end == value || *end || !isfinite(number))
        return "is not a number";
    if (bounded && (number < key->min || number > key->max)) {
        (void)snprintf(text, sizeof(text), "must be between %g and %g", key->min, key->max);
        return text;
    }
    *(double *)field = number;
    return NULL;
}

static const char *set_path(const char *value, const char *dir, char *field)
{
    int size;
    if (value[0] == '/' || value[0] == '\0' || strcmp(dir, ".") == 0)
        size = snprintf(field, TRIB_CONF_TEXT_MAX + 1, "%s", value);
    else
        size = snprintf(field, TRIB_CONF_TEXT_MAX + 1, "%s/%s", dir, value);
    return size > TRIB_CONF_TEXT_MAX ? "is too long a path" : NULL;
}

// NULL, or what is wrong with the value.
static const char *set_value(const struct trib_conf_entry *entry, const char *value,
                             const char *dir)
{
    static __thread char text[256];
    const struct trib_conf_key *key = entry->key;

    switch (key->type) {
    case TRIB_CONF_TEXT:
        if (snprintf(entry->field, TRIB_CONF_TEXT_MAX + 1, "%s", value) > TRIB_CONF_TEXT_MAX)
            return "is too long";
        return NULL;
    case TRIB_CONF_PATH: return set_path(value, dir, entry->field);
    case TRIB_CONF_INT:
    case TRIB_CONF_REAL: return set_number(key, value, entry->field);
    case TRIB_CONF_BOOL:
        if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
            return "must be yes or no";
        *(bool *)entry->field = value[0] == 'y';
        return NULL;
    case TRIB_CONF_CHOICE: {
        int index = choice_index(key->choices, value);
        if (index < 0) {
            (void)snprintf(text, sizeof(text), "must be one of %s", key->choices);
            return text;
        }
        *(int *)entry->field = index;
        return NULL;
    }
    }
    return "has no type";
}

static void set_default(const struct trib_conf_entry *entry)
{
    switch (entry->key->type) {
    case TRIB_CONF_TEXT:
    case TRIB_CONF_PATH: *(char *)entry->field = '\0'; break;
    case TRIB_CONF_INT: *(uint64_t *)entry->field = 0; break;
    case TRIB_CONF_REAL: *(double *)entry->field = 0; break;
    case TRIB_CONF_BOOL: *(bool *)entry->field = false; break;
    case TRIB_CONF_CHOICE: *(int *)entry->field = 0; break;
    }
    if (entry->key->fallback && *entry->key->fallback) {
        const char *wrong = set_value(entry, entry->key->fallback, ".");
        assert(!wrong);
        (void)wrong;
    }
}

void trib_conf_init(struct trib_conf *conf)
{
    *conf = (struct trib_conf){.count = 0};
}

void trib_conf_add(struct trib_conf *conf, const struct trib_conf_key *keys, size_t count,
                   void *target)
{
    assert(conf->count + count <= TRIB_CONF_KEYS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert(!find(conf, keys[i].section, keys[i].name));
        struct trib_conf_entry *entry = &conf->entries[conf->count++];
        *entry =
            (struct trib_conf_entry){.key = &keys[i], .field = (char *)target + keys[i].offset};
        set_default(entry);
    }
}

// ---- Files: inih calls back for each value; the reader counts lines, which inih does not pass on

struct source {
    struct trib_conf *conf; // NULL: nobody asks what is wrong
    const char *name;
    const char *dir;
    const char *text; // what is left to read
    size_t left;
    uint32_t line; // of the line last handed to inih
    bool rejected;
};

static char *read_line(char *line, int size, void *user)
{
    struct source *source = user;
    if (source->left == 0 || source->rejected)
        return NULL;
    const char *newline = memchr(source->text, '\n', source->left);
    size_t length = newline ? (size_t)(newline - source->text) + 1 : source->left;
    source->line++;
    if (length >= (size_t)size || length > TRIB_CONF_LINE_MAX ||
        memchr(source->text, '\0', length)) {
        if (source->conf)
            (void)snprintf(source->conf->error, sizeof(source->conf->error),
                           "%s:%" PRIu32 ": a line may have at most %d bytes and no NUL",
                           source->name, source->line, TRIB_CONF_LINE_MAX);
        source->rejected = true;
        return NULL;
    }
    // inih takes a line that begins with a blank for more of the one before: no key of ours has more.
    size_t blanks = 0;
    while (blanks < length && (source->text[blanks] == ' ' || source->text[blanks] == '\t'))
        blanks++;
    memcpy(line, source->text + blanks, length - blanks);
    line[length - blanks] = '\0';
    source->text += length;
    source->left -= length;
    return line;
}

static int take_value(void *user, const char *section, const char *name, const char *value)
{
    struct source *source = user;
    struct trib_conf *conf = source->conf;
    if (source->rejected)
        return 0;

    const char *wrong = NULL;
    struct trib_conf_entry *entry = find(conf, section, name);
    if (!entry)
        wrong = "is not a key this file may have";
    else if (entry->line != 0)
        wrong = "is given twice";
    else
        wrong = set_value(entry, value, source->dir);
    if (wrong) {
        (void)snprintf(conf->error, sizeof(conf->error), "%s:%" PRIu32 ": %s%s%s %s", source->name,
                       source->line, section, *section ? "." : "", name, wrong);
        source->rejected = true;
        return 0;
    }
    entry->line = source->line;
    return 1;
}

enum trib_err trib_conf_parse(struct trib_conf *conf, const char *text, size_t size,
                              const char *name, const char *dir)
{
    struct source source = {
        .conf = conf, .name = name, .dir = dir, .text = text, .left = size, .line = 0};
    (void)snprintf(conf->name, sizeof(conf->name), "%s", name);

    int failed = ini_parse_stream(read_line, &source, take_value, &source);
    if (source.rejected)
        return TRIB_ERR_INVAL;
    if (failed) {
        (void)snprintf(conf->error, sizeof(conf->error), "%s:%d: neither [section] nor key = value",
                       name, failed);
        return TRIB_ERR_INVAL;
    }
    return TRIB_OK;
}

struct wanted {
    struct source source; // first: read_line's
    const char *section, *name;
    char *value;
    size_t size;
};

static int take_wanted(void *user, const char *section, const char *name, const char *value)
{
    const struct wanted *wanted = user;
    if (strcmp(section, wanted->section) == 0 && strcmp(name, wanted->name) == 0)
        (void)snprintf(wanted->value, wanted->size, "%s", value);
    return 1;
}

void trib_conf_find(const char *text, size_t size, const char *section, const char *name,
                    char *ret_value, size_t value_size)
{
    struct wanted wanted = {.source = {.text = text, .left = size},
                            .section = section,
                            .name = name,
                            .value = ret_value,
                            .size = value_size};
    ret_value[0] = '\0';
    (void)ini_parse_stream(read_line, &wanted, take_wanted, &wanted);
}

enum trib_err trib_conf_load(struct trib_conf *conf, const char *path)
{
    struct trib_buf buf = {0};
    char dir[TRIB_PATH_MAX + 1];

    enum trib_err err = trib_path_dir(dir, path);
    if (!err)
        err = trib_file_read(path, TRIB_CONF_FILE_MAX, &buf);
    if (err) {
        (void)snprintf(conf->error, sizeof(conf->error), "%s: cannot be read", path);
        return err == TRIB_ERR_IO ? TRIB_ERR_INVAL : err; // a mistake of who wrote the path
    }
    err = trib_conf_parse(conf, (const char *)buf.data, buf.size, path, dir);
    trib_buf_fini(&buf);
    return err;
}

// inih strips blanks around a value and takes " ;" for a comment, and knows no quotes.
static bool fits_a_file(const char *value)
{
    size_t size = strlen(value);
    for (size_t i = 0; i < size; i++) {
        bool is_blank = isspace((unsigned char)value[i]);
        bool is_edge = i == 0 || i == size - 1;
        if (value[i] == '\n' || (is_blank && is_edge) ||
            (value[i] == ';' && (i == 0 || isspace((unsigned char)value[i - 1]))))
            return false;
    }
    return true;
}

enum trib_err trib_conf_override(struct trib_conf *conf, const char *assignment)
{
    trib_conf_text section;
    const char *wrong = NULL;

    const char *equals = strchr(assignment, '=');
    const char *dot = equals ? memrchr(assignment, '.', (size_t)(equals - assignment)) : NULL;
    if (!dot || (size_t)(equals - assignment) > TRIB_CONF_TEXT_MAX) {
        (void)snprintf(conf->error, sizeof(conf->error), "--set %s: want section.key=value",
                       assignment);
        return TRIB_ERR_INVAL;
    }
    trib_conf_text name;
    (void)snprintf(section, sizeof(section), "%.*s", (int)(dot - assignment), assignment);
    (void)snprintf(name, sizeof(name), "%.*s", (int)(equals - dot - 1), dot + 1);

    struct trib_conf_entry *entry = find(conf, section, name);
    if (!entry)
        wrong = "is not a key";
    else if (!fits_a_file(equals + 1)) // the run's scenario.ini would not read back the same
        wrong = "may not begin or end with a blank, nor hold a line end or a comment (;)";
    else
        wrong = set_value(entry, equals + 1, ".");
    if (wrong) {
        (void)snprintf(conf->error, sizeof(conf->error), "--set %s: %s.%s %s", assignment, section,
                       name, wrong);
        return TRIB_ERR_INVAL;
    }
    entry->line = UINT32_MAX;
    return TRIB_OK;
}

bool trib_conf_is_set(struct trib_conf *conf, const char *section, const char *name)
{
    return trib_conf_line(conf, section, name) != 0;
}

uint32_t trib_conf_line(struct trib_conf *conf, const char *section, const char *name)
{
    const struct trib_conf_entry *entry = find(conf, section, name);
    assert(entry);
    return entry->line;
}

enum trib_err trib_conf_reject(struct trib_conf *conf, const char *section, const char *name,
                               const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);

    const struct trib_conf_entry *entry = find(conf, section, name);
    assert(entry);
    if (entry->line == UINT32_MAX)
        (void)snprintf(conf->error, sizeof(conf->error), "--set: %s.%s: %s", section, name,
                       message);
    else if (entry->line == 0)
        (void)snprintf(conf->error, sizeof(conf->error), "%s: %s.%s: %s", conf->name, section, name,
                       message);
    else
        (void)snprintf(conf->error, sizeof(conf->error), "%s:%" PRIu32 ": %s.%s: %s", conf->name,
                       entry->line, section, name, message);
    return TRIB_ERR_INVAL;
}

// ---- Printing

static void print_value(const struct trib_conf_entry *entry, FILE *file)
{
    const void *field = entry->field;
    char text[128];
    switch (entry->key->type) {
    case TRIB_CONF_TEXT:
    case TRIB_CONF_PATH: (void)fputs(field, file); break;
    case TRIB_CONF_INT: (void)fprintf(file, "%" PRIu64, *(const uint64_t *)field); break;
    case TRIB_CONF_REAL:
        trib_real_text(*(const double *)field, text);
        (void)fputs(text, file);
        break;
    case TRIB_CONF_BOOL: (void)fputs(*(const bool *)field ? "yes" : "no", file); break;
    case TRIB_CONF_CHOICE:
        trib_conf_choice_text(entry->key->choices, *(const int *)field, text, sizeof(text));
        (void)fputs(text, file);
        break;
    }
}

// An empty text is one when the default is not: left out, it would come back as the default.
static bool has_value(const struct trib_conf_entry *entry)
{
    const struct trib_conf_key *key = entry->key;
    bool is_text = key->type == TRIB_CONF_TEXT || key->type == TRIB_CONF_PATH;
    return !is_text || *(const char *)entry->field || (key->fallback && *key->fallback);
}

// Is this the first entry of its section?
static bool opens_section(const struct trib_conf *conf, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(conf->entries[i].key->section, conf->entries[index].key->section) == 0)
            return false;
    }
    return true;
}

void trib_conf_write(const struct trib_conf *conf, FILE *file)
{
    for (size_t first = 0; first < conf->count; first++) {
        const char *section = conf->entries[first].key->section;
        if (!opens_section(conf, first))
            continue;
        (void)fprintf(file, "%s[%s]\n", first ? "\n" : "", section);
        for (size_t i = first; i < conf->count; i++) {
            const struct trib_conf_entry *entry = &conf->entries[i];
            if (strcmp(entry->key->section, section) != 0 || !has_value(entry))
                continue;
            (void)fprintf(file, "%s = ", entry->key->name);
            print_value(entry, file);
            (void)fputc('\n', file);
        }
    }
}

void trib_conf_print_keys(const struct trib_conf *conf, FILE *file)
{
    for (size_t i = 0; i < conf->count; i++) {
        const struct trib_conf_key *key = conf->entries[i].key;
        char name[128];
        (void)snprintf(name, sizeof(name), "%s.%s", key->section, key->name);
        const char *fallback = key->fallback && *key->fallback ? key->fallback : "-";
        if (key->type == TRIB_CONF_CHOICE)
            (void)fprintf(file, "%-30s %-12s %s (%s)\n", name, fallback, key->help, key->choices);
        else
            (void)fprintf(file, "%-30s %-12s %s\n", name, fallback, key->help);
    }
}
