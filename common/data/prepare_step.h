// prepare_step.h - inside the pipeline: variables, steps, and what a kind of step has to bring.
//
// A pipeline works on a vector of variables. The first are the columns of the schema; a step
// changes variables in place, or takes some out and puts others in their place. `order` lists those
// that are features, in the order that they have in the model.
#ifndef TRIB_DATA_PREPARE_STEP_H
#define TRIB_DATA_PREPARE_STEP_H

#include "common/data/prepare.h"

enum trib_prepare_key_type {
    TRIB_PREPARE_REAL,
    TRIB_PREPARE_INT, // uint64_t
    TRIB_PREPARE_BOOL,
    TRIB_PREPARE_CHOICE,
    TRIB_PREPARE_TEXT,
    TRIB_PREPARE_EDGES, // numbers that do not fall, separated by |
};

enum {
    TRIB_PREPARE_TEXT_MAX = 127,
    TRIB_PREPARE_EDGES_MAX = 1024,
};

struct trib_prepare_key {
    const char *name;
    enum trib_prepare_key_type type;
    size_t offset;        // in struct trib_prepare_options
    const char *fallback; // as one would write it
    double min, max;      // REAL, INT: inclusive
    const char *choices;
};

// The values of all keys; each kind uses its own.
struct trib_prepare_options {
    int with, by, act, from;
    bool indicator, squares, hour, weekday, month, yearday;
    double limit, lower, upper, alpha, low, high, clip, exponent, half_life, ttl;
    double min_variance, max_correlation, min_label_correlation, weight;
    uint64_t window, buckets, bins, components, dims, seed;
    char text[TRIB_PREPARE_TEXT_MAX + 1];
    double *edges; // owned
    size_t edge_count;
};

struct trib_variable {
    char *name;      // owned
    size_t column;   // of the schema; SIZE_MAX: made or changed by a step
    size_t levels;   // a category's values, `other` included; 0: a number
    bool has_other;  // the last level takes what is missing
    double min, max; // range of a number; infinite: not known
};

struct trib_prepare_row {
    const struct trib_prepare *prepare;
    double *values;       // (variables); NaN: missing
    const double *source; // (columns), as it was read
    const double *ahead;  // (inputs) what stands for those that are missing, from rows that come
                          // behind it; of a step that looks ahead, when they are known; else NULL
    double weight;
    double today;
    struct trib_prepare_tally *tally; // of the step at hand
};

enum trib_prepare_state {
    TRIB_PREPARE_DONE,    // fitted, and everything it depends on is
    TRIB_PREPARE_ACTIVE,  // wants the pass at hand
    TRIB_PREPARE_BLOCKED, // depends on a step that is not fitted
};

struct trib_prepare_kind;

struct trib_prepare_step {
    const struct trib_prepare_kind *kind;
    size_t line;
    struct trib_prepare_options options;
    size_t *inputs; // variables, owned
    size_t input_count, input_capacity;
    struct trib_variable *was; // (input_count + 1) the inputs as they were, names borrowed; owned
    size_t first_output, output_count;
    bool drops_rows; // what comes behind depends on it whatever its columns are
    size_t pass, pass_count;
    double *fitted; // owned; what the passes found
    size_t fitted_count;
    double *given; // numbers that the text brings; owned; NULL: none
    size_t given_count, given_capacity;
    size_t given_pass;
    enum trib_prepare_state state;
};

struct trib_prepare {
    const struct trib_schema *schema; // borrowed
    uint8_t schema_digest[TRIB_DIGEST_SIZE];
    struct trib_prepare_step *steps; // owned
    size_t step_count;
    struct trib_variable *variables; // owned
    size_t variable_count, variable_capacity;
    size_t *order; // features, owned
    size_t order_count, order_capacity;
    size_t passes_left;
};

// Messages of a parse, with the line of a step.
struct trib_prepare_parser {
    struct trib_prepare *prepare;
    const char *name;
    size_t line;
    char *why;
    size_t why_size;
};
enum trib_err trib_prepare_wrong(const struct trib_prepare_parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// What a kind of step has to bring. Functions that are NULL have nothing to do.
struct trib_prepare_kind {
    const char *name;
    const struct trib_prepare_key *keys;
    size_t key_count;
    bool wants_columns;    // `columns` must be there; else none: all features
    bool may_use_any_role; // columns of every role but the label; else features only
    bool may_use_local;    // of the role local-only too: nothing of them becomes a number
    bool may_use_category; // variables that are categories
    bool may_use_number;   //
    // Check the step, put its outputs into the pipeline, set pass_count and fitted_count.
    enum trib_err (*settle)(const struct trib_prepare_parser *p, struct trib_prepare_step *step);
    // Coordinates of the pass at hand; bounds of each, NaN for those that have none.
    size_t (*sum_count)(const struct trib_prepare_step *step);
    void (*bounds)(const struct trib_prepare_step *step, double *ret_bounds);
    void (*gather)(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                   struct trib_prepare_sums *sums, size_t first);
    enum trib_err (*advance)(const struct trib_prepare *prepare, struct trib_prepare_step *step,
                             const double *totals, double noise);
    // Does it look at the rows that come behind one? From its inputs (rows, inputs) in all of them,
    // NaN where one is missing, and where the rows are (rows; rising, NaN: the row did not come so
    // far) to what stands for those that are missing.
    bool (*looks_ahead)(const struct trib_prepare_step *step);
    void (*foresee)(const struct trib_prepare_step *step, double *inputs, const double *places,
                    size_t rows);
    // Bytes that a run keeps for the step, zero at first.
    size_t (*state_size)(const struct trib_prepare_step *step);
    // False: the row is dropped.
    bool (*apply)(const struct trib_prepare_step *step, void *state, struct trib_prepare_row *row);
};

extern const struct trib_prepare_kind trib_prepare_impute, trib_prepare_outlier;
extern const struct trib_prepare_kind trib_prepare_minmax, trib_prepare_standardise;
extern const struct trib_prepare_kind trib_prepare_log1p, trib_prepare_expm1;
extern const struct trib_prepare_kind trib_prepare_power;
extern const struct trib_prepare_kind trib_prepare_onehot, trib_prepare_hash, trib_prepare_bin;
extern const struct trib_prepare_kind trib_prepare_interact, trib_prepare_smooth;
extern const struct trib_prepare_kind trib_prepare_pca, trib_prepare_select;
extern const struct trib_prepare_kind trib_prepare_drop;
extern const struct trib_prepare_kind trib_prepare_dedup, trib_prepare_time, trib_prepare_recency;

extern const struct trib_prepare_kind trib_prepare_group, trib_prepare_fuse;
// The group of this name, its outputs behind each other; NULL: there is none.
const struct trib_prepare_step *trib_prepare_find_group(const struct trib_prepare *prepare,
                                                        const char *name);

#define TRIB_PREPARE_KEY(name, type, member, ...)                              \
    {                                                                          \
        name, type, offsetof(struct trib_prepare_options, member), __VA_ARGS__ \
    }

// A finite decimal number and nothing else.
bool trib_prepare_number(const char *text, double *ret_value);
// Cut the next part off a list, without the blanks around it; NULL: there are no more.
char *trib_prepare_part(char **list, char separator);
TRIB_CHECKED enum trib_err trib_prepare_set(const struct trib_prepare_parser *p,
                                            const struct trib_prepare_key *key,
                                            struct trib_prepare_options *options, char *value);
void trib_prepare_write_key(const struct trib_prepare_key *key,
                            const struct trib_prepare_options *options, struct trib_buf *text);
// Eight to a line, each of which begins with the key.
void trib_prepare_write_numbers(const char *key, const char *between, const double *numbers,
                                size_t count, struct trib_buf *text);

// Add a variable; its features come behind `after` in the order, or last (SIZE_MAX). The name is
// made of a format.
TRIB_CHECKED enum trib_err trib_prepare_add(struct trib_prepare *prepare,
                                            const struct trib_variable *variable, size_t after,
                                            const char *format, ...)
    __attribute__((format(printf, 4, 5)));
// Take a variable out of the features.
void trib_prepare_remove(struct trib_prepare *prepare, size_t variable);
// Set the state of every step from the passes that each has had.
TRIB_CHECKED enum trib_err trib_prepare_schedule(struct trib_prepare *prepare);
// And passes_left from the states; *ret_sums: the coordinates of the largest pass to come.
TRIB_CHECKED enum trib_err trib_prepare_count_passes(struct trib_prepare *prepare,
                                                     size_t *ret_sums);
// What a column is said to have that has no values.
const char *trib_prepare_nothing(double noise);
const char *trib_prepare_name(const struct trib_prepare *prepare,
                              const struct trib_prepare_step *step, size_t input);

#endif // TRIB_DATA_PREPARE_STEP_H
