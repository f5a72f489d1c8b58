// fallback.h - what a device answers where its model does not: clusters, rules, a default (cold
// start; docs/models.md has the file). A file of the device's, or the text that came with a version.
//
// The order is that of the file's kinds, never of its lines: the nearest of the clusters in whose
// radius the row is, the first rule that holds, the default. There is always a default, so that
// every row that can be read has an answer.
#ifndef TRIB_DATA_FALLBACK_H
#define TRIB_DATA_FALLBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/data/schema.h"
#include "common/math/model.h"
#include "tributary/err.h"

enum {
    TRIB_FALLBACK_ENTRIES_MAX = 1024, // clusters and rules
    TRIB_FALLBACK_NAME_MAX = 63,
    TRIB_FALLBACK_BY_SIZE = TRIB_FALLBACK_NAME_MAX + 16,
    TRIB_FALLBACK_CONDITIONS_MAX = 32, // of a rule
};

enum trib_fallback_kind {
    TRIB_FALLBACK_CLUSTER,
    TRIB_FALLBACK_RULE,
    TRIB_FALLBACK_DEFAULT,
};

enum trib_comparison {
    TRIB_COMPARE_LESS,
    TRIB_COMPARE_AT_MOST,
    TRIB_COMPARE_MORE,
    TRIB_COMPARE_AT_LEAST,
    TRIB_COMPARE_EQUAL,
    TRIB_COMPARE_OTHER,
};

struct trib_fallback_condition {
    size_t column; // in trib_fallback.columns
    enum trib_comparison comparison;
    double value; // as trib_schema_values has it
};

struct trib_fallback_entry {
    enum trib_fallback_kind kind;
    char by[TRIB_FALLBACK_BY_SIZE]; // "cluster NAME", "rule NAME", "default"
    size_t line;                    // of its section
    float *outputs;                 // (output_count), owned
    float *centre;                  // (features), owned; NULL: no cluster
    double radius;                  // INFINITY: any distance will do
    struct trib_fallback_condition conditions[TRIB_FALLBACK_CONDITIONS_MAX];
    size_t condition_count;
    uint64_t answers; // that it gave; who counts sets it to 0 first
};

// A column that a rule looks at.
struct trib_fallback_column {
    char name[TRIB_SCHEMA_NAME_MAX + 1];
    size_t place; // in the schema; without one nobody here knows
    size_t line;  // of the rule that names it first
};

struct trib_fallback {
    char name[TRIB_PATH_MAX + 1]; // the file, for messages
    double min_probability;       // a model that is less sure does not answer
    bool are_values;              // outputs are values of a regression, not probabilities
    size_t output_count;
    size_t features;                     // of a centre; 0: there are no clusters
    struct trib_fallback_entry *entries; // (count) in the order of the file, owned
    size_t count;
    struct trib_fallback_column *columns; // (column_count), owned
    size_t column_count;
};

// `schema` is that of the rows; NULL: columns are found by their names or numbers, and hold numbers.
// TRIB_ERR_INVAL with "file:line: ..." in `why` (`name`: what stands for the file); TRIB_ERR_IO:
// cannot be read, in `why` too.
TRIB_CHECKED enum trib_err trib_fallback_parse(const char *text, size_t size, const char *name,
                                               const struct trib_schema *schema,
                                               struct trib_fallback **ret_fallback, char *why,
                                               size_t why_size);
TRIB_CHECKED enum trib_err trib_fallback_load(const char *path, const struct trib_schema *schema,
                                              struct trib_fallback **ret_fallback, char *why,
                                              size_t why_size);
void trib_fallback_destroy(struct trib_fallback *fallback); // NULL is fine

// Do its outputs go with the model's (NULL: there is none), its centres with rows of so many
// features (0: not known)? TRIB_ERR_INVAL, as above.
TRIB_CHECKED enum trib_err trib_fallback_check(const struct trib_fallback *fallback,
                                               const struct trib_model *model, size_t features,
                                               char *why, size_t why_size);

// Who answers for a row. `x`: its features; NULL: it has none, so that it is in no cluster.
// `values`: those of `columns`; NaN: missing, with which no comparison holds.
struct trib_fallback_entry *trib_fallback_find(const struct trib_fallback *fallback, const float *x,
                                               const double *values);

#endif // TRIB_DATA_FALLBACK_H
