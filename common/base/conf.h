// conf.h - INI files and --set overrides, from one table of keys.
//
// A program declares its keys once (struct trib_conf_key); the table reads files, checks values,
// applies overrides, prints the resolved file and prints the help. Unknown and duplicate keys,
// lines that are too long, and values out of range are errors that name file, line and key.
//
// Values land in fields of the caller's struct: TEXT and PATH in char[TRIB_CONF_TEXT_MAX + 1],
// INT in uint64_t, REAL in double, BOOL in bool, CHOICE in int (the index of the word).
#ifndef TRIB_BASE_CONF_H
#define TRIB_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/limits.h"
#include "tributary/err.h"

typedef char trib_conf_text[TRIB_CONF_TEXT_MAX + 1];

enum trib_conf_type {
    TRIB_CONF_TEXT,
    TRIB_CONF_PATH, // relative ones are taken from the file's folder, or the --set's working one
    TRIB_CONF_INT,
    TRIB_CONF_REAL,
    TRIB_CONF_BOOL, // yes or no
    TRIB_CONF_CHOICE,
};

struct trib_conf_key {
    const char *section;
    const char *name;
    enum trib_conf_type type;
    size_t offset;        // of the field in the target
    const char *fallback; // the default, as one would write it; NULL or "": zero or empty
    const char *help;     // one line
    double min, max;      // INT, REAL: inclusive bounds; both 0: any (INT: any >= 0)
    const char *choices;  // CHOICE: "idx|csv"
};

enum {
    TRIB_CONF_KEYS_MAX = 160,
    TRIB_CONF_ERROR_SIZE = 2048,
};

struct trib_conf_entry {
    const struct trib_conf_key *key; // borrowed from the caller of trib_conf_add
    void *field;                     // in that caller's target
    uint32_t line;                   // where it was set; 0: default; UINT32_MAX: by override
};

struct trib_conf {
    struct trib_conf_entry entries[TRIB_CONF_KEYS_MAX];
    size_t count;
    char name[TRIB_CONF_TEXT_MAX + 1]; // of the file read, for messages
    char error[TRIB_CONF_ERROR_SIZE];  // what was wrong, after TRIB_ERR_INVAL
};

// Empty: every key is unknown until tables are added.
void trib_conf_init(struct trib_conf *conf);

// Add a table whose values go to `target`, and set the target's fields to their defaults. Tables
// may share a section, but not a key. Asserts that the defaults are valid.
void trib_conf_add(struct trib_conf *conf, const struct trib_conf_key *keys, size_t count,
                   void *target);

// TRIB_ERR_INVAL with conf->error: what is wrong where, or that it cannot be read at all.
TRIB_CHECKED enum trib_err trib_conf_load(struct trib_conf *conf, const char *path);

// The same from memory; `name` is for messages, `dir` for relative paths.
TRIB_CHECKED enum trib_err trib_conf_parse(struct trib_conf *conf, const char *text, size_t size,
                                           const char *name, const char *dir);

// One value of a text without a table, "" when it is not there: for who only wants to know what
// another program will be told. Nothing is checked.
void trib_conf_find(const char *text, size_t size, const char *section, const char *name,
                    char *ret_value, size_t value_size);

// "section.key=value"; the section may hold dots itself.
TRIB_CHECKED enum trib_err trib_conf_override(struct trib_conf *conf, const char *assignment);

bool trib_conf_is_set(struct trib_conf *conf, const char *section, const char *name);

// Where it was set: 0: nowhere, UINT32_MAX: by an override.
uint32_t trib_conf_line(struct trib_conf *conf, const char *section, const char *name);

// Fill conf->error for a mistake found later: "file:line: section.key: <message>".
// Always returns TRIB_ERR_INVAL.
enum trib_err trib_conf_reject(struct trib_conf *conf, const char *section, const char *name,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));

// The word of a CHOICE.
void trib_conf_choice_text(const char *choices, int index, char *text, size_t size);

// The resolved configuration as an INI file, section by section in the order in which sections
// first appear. Keys that equal their default are written too, texts that are empty by default
// and still are, are not.
void trib_conf_write(const struct trib_conf *conf, FILE *file);

// "section.key  default  help", for `tributary-sim keys`, --help and the manual.
void trib_conf_print_keys(const struct trib_conf *conf, FILE *file);

#endif // TRIB_BASE_CONF_H
