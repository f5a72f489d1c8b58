// A schema up to a NUL, a pipeline up to the next, and then doubles: the values of rows, and totals
// that a fleet might send. What parses is canonical, is fitted after the passes it says, and makes
// as many finite numbers as it says, whatever it is told.
#include <math.h>
#include <string.h>

#include "common/data/prepare.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    ROWS = 8,
    SUMS_MAX = 1 << 16, // larger passes are right, and slow here
};

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

// Numbers without end: those of the input over and over.
struct numbers {
    const uint8_t *data;
    size_t count, next;
};

static double next_number(struct numbers *numbers)
{
    double value = (double)(numbers->next % 5);
    if (numbers->count > 0)
        memcpy(&value, numbers->data + numbers->next % numbers->count * sizeof(value),
               sizeof(value));
    numbers->next++;
    return value;
}

// A value that a row can have: a category's index, a number in its range, or missing.
static double value_of(const struct trib_column *c, double number)
{
    const double size = fabs(number);
    if (!isfinite((float)number))
        return c->role == TRIB_ROLE_LABEL ? 0 : (double)NAN;
    if (c->type == TRIB_COLUMN_CATEGORY)
        return fmod(floor(size),
                    (double)(c->value_count + (c->role == TRIB_ROLE_FEATURE && c->has_other)));
    if (c->type == TRIB_COLUMN_BOOL)
        return size > 1;
    const double whole = c->type == TRIB_COLUMN_REAL ? number : floor(number);
    return whole < c->min ? c->min : whole > c->max ? c->max : whole;
}

static void make_row(const struct trib_schema *schema, struct numbers *numbers, double *row)
{
    for (size_t i = 0; i < schema->count; i++)
        row[i] = value_of(&schema->columns[i], next_number(numbers));
}

static struct trib_prepare *read_again(const struct trib_prepare *prepare,
                                       const struct trib_schema *schema)
{
    char why[512];
    struct trib_buf text = {0};
    struct trib_buf again = {0};
    struct trib_prepare *copy;
    trib_prepare_write(prepare, &text);
    require(trib_prepare_parse((const char *)text.data, text.size, "again", schema, &copy, why,
                               sizeof(why)) == TRIB_OK);
    trib_prepare_write(copy, &again);
    require(text.size == again.size && memcmp(text.data, again.data, text.size) == 0);
    require(trib_prepare_passes_left(copy) == trib_prepare_passes_left(prepare));
    require(trib_prepare_features(copy) == trib_prepare_features(prepare));
    trib_buf_fini(&text);
    trib_buf_fini(&again);
    return copy;
}

// One pass: the rows' sums, and now and then totals that have nothing to do with them.
static bool play_pass(struct trib_prepare *prepare, const struct trib_schema *schema,
                      struct numbers *numbers, double *row)
{
    struct trib_prepare_sums sums;
    struct trib_prepare_run *run;
    require(trib_prepare_sums_init(&sums, prepare) == TRIB_OK);
    require(trib_prepare_run_create(prepare, 20000, &run) == TRIB_OK);
    for (size_t r = 0; r < ROWS; r++) {
        make_row(schema, numbers, row);
        trib_prepare_gather(run, row, &sums);
    }
    double *totals = calloc(sums.count, sizeof(*totals));
    require(totals != NULL);
    trib_prepare_sums_total(&sums, totals);
    for (size_t i = 0; next_number(numbers) > 1 && i < sums.count; i++)
        totals[i] = next_number(numbers);
    const double number = next_number(numbers);
    const double noise = isfinite(number) ? fabs(number) : 0; // of whatever size
    const size_t left = trib_prepare_passes_left(prepare);
    const enum trib_err err = trib_prepare_advance(prepare, totals, noise);
    require(err == TRIB_OK || err == TRIB_ERR_DATA);
    require(trib_prepare_passes_left(prepare) == left - (err == TRIB_OK));
    free(totals);
    trib_prepare_run_destroy(run);
    trib_prepare_sums_fini(&sums);
    return err == TRIB_OK;
}

static void play(struct trib_prepare *prepare, const struct trib_schema *schema,
                 struct numbers *numbers)
{
    double *row = calloc(schema->count, sizeof(*row));
    float *x = calloc(trib_prepare_features(prepare), sizeof(*x));
    struct trib_prepare_run *run;
    bool is_good = true;
    require(row && x);
    while (is_good && !trib_prepare_is_fitted(prepare)) {
        require(trib_prepare_passes_left(prepare) > 0);
        if (trib_prepare_sum_count(prepare) > SUMS_MAX)
            break;
        is_good = play_pass(prepare, schema, numbers, row);
        if (is_good)
            trib_prepare_destroy(read_again(prepare, schema));
    }
    if (trib_prepare_is_fitted(prepare)) {
        double *rows = calloc(ROWS * schema->count, sizeof(*rows));
        require(rows && trib_prepare_run_create(prepare, 20000, &run) == TRIB_OK);
        for (size_t r = 0; r < ROWS; r++)
            make_row(schema, numbers, rows + r * schema->count);
        if (next_number(numbers) > 0)
            require(trib_prepare_foresee(run, rows, ROWS) == TRIB_OK);
        for (size_t r = 0; r < ROWS; r++) {
            float weight;
            if (trib_prepare_row(run, rows + r * schema->count, x, &weight) != TRIB_PREPARE_KEPT)
                continue;
            require(weight >= 0 && weight <= 1);
            for (size_t i = 0; i < trib_prepare_features(prepare); i++)
                require(isfinite(x[i]));
        }
        free(rows);
        trib_prepare_run_destroy(run);
    }
    free(x);
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[512] = "";
    struct trib_schema *schema;
    struct trib_prepare *prepare;
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    const uint8_t *text = end ? end + 1 : NULL;
    const uint8_t *stop = text ? memchr(text, 0, size - (size_t)(text - data)) : NULL;
    if (!stop)
        return 0;
    trib_log_set_sink(drop_line, NULL);
    if (trib_schema_parse((const char *)data, (size_t)(end - data), "s", &schema, why, sizeof(why)))
        return 0;
    const enum trib_err err = trib_prepare_parse((const char *)text, (size_t)(stop - text), "p",
                                                 schema, &prepare, why, sizeof(why));
    if (err) {
        require(why[0] != '\0');
    } else {
        struct numbers numbers = {.data = stop + 1,
                                  .count = (size - (size_t)(stop + 1 - data)) / sizeof(double)};
        struct trib_prepare *copy = read_again(prepare, schema);
        trib_prepare_destroy(prepare);
        play(copy, schema, &numbers);
        trib_prepare_destroy(copy);
    }
    trib_schema_destroy(schema);
    return 0;
}
