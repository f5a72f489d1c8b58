// prepare_rig.h - pipelines of a few columns, fitted over any number of shards.
#ifndef TRIB_TESTS_PREPARE_RIG_H
#define TRIB_TESTS_PREPARE_RIG_H

#include "common/data/prepare.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"

#define RIG_LABEL  "[column y]\ntype = bool\nrole = label\n"
#define RIG_NAN    ((double)NAN)

#define RIG_NUMBER "[column a]\ntype = real\n"
#define RIG_THREE  "[column a]\n[column b]\n[column c]\ntype = category\nvalues = red | blue\n"

static char rig_why[1024];
static char rig_log[8192]; // what was said since rig_listen

static inline void rig_hear(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    const size_t used = strlen(rig_log);
    (void)snprintf(rig_log + used, sizeof(rig_log) - used, "%s\n", line);
}

static inline void rig_listen(void)
{
    rig_log[0] = '\0';
    trib_log_set_sink(rig_hear, NULL);
}

// `columns` and behind them a label.
static inline struct trib_schema *rig_schema(const char *columns)
{
    struct trib_schema *schema;
    char text[4096];
    (void)snprintf(text, sizeof(text), "%s\n" RIG_LABEL, columns);
    if (trib_schema_parse(text, strlen(text), "s.ini", &schema, rig_why, sizeof(rig_why)))
        fail_msg("refused: %s", rig_why);
    return schema;
}

static inline struct trib_prepare *rig_parse(const struct trib_schema *schema, const char *text)
{
    struct trib_prepare *prepare;
    if (trib_prepare_parse(text, strlen(text), "p.ini", schema, &prepare, rig_why, sizeof(rig_why)))
        fail_msg("refused: %s", rig_why);
    return prepare;
}

// `rows` of schema->count values each, dealt to shards in pieces; every pass until it is fitted.
static inline void rig_fit(struct trib_prepare *prepare, const double *values, size_t rows,
                           size_t columns, size_t shards)
{
    while (!trib_prepare_is_fitted(prepare)) {
        struct trib_prepare_sums all;
        const size_t left = trib_prepare_passes_left(prepare);
        assert_int_equal(trib_prepare_sums_init(&all, prepare), TRIB_OK);
        for (size_t s = 0; s < shards; s++) {
            struct trib_prepare_sums part;
            struct trib_prepare_run *run;
            assert_int_equal(trib_prepare_sums_init(&part, prepare), TRIB_OK);
            assert_int_equal(trib_prepare_run_create(prepare, 0, &run), TRIB_OK);
            assert_int_equal(trib_prepare_foresee(run, values + rows * s / shards * columns,
                                                  rows * (s + 1) / shards - rows * s / shards),
                             TRIB_OK);
            for (size_t r = rows * s / shards; r < rows * (s + 1) / shards; r++)
                trib_prepare_gather(run, values + r * columns, &part);
            trib_prepare_sums_merge(&all, &part);
            trib_prepare_run_destroy(run);
            trib_prepare_sums_fini(&part);
        }
        double *totals = calloc(all.count, sizeof(*totals));
        trib_prepare_sums_total(&all, totals);
        assert_int_equal(trib_prepare_advance(prepare, totals, 0), TRIB_OK);
        assert_int_equal(trib_prepare_passes_left(prepare), left - 1);
        free(totals);
        trib_prepare_sums_fini(&all);
    }
    assert_int_equal(trib_prepare_passes_left(prepare), 0);
    assert_int_equal(trib_prepare_sum_count(prepare), 0);
}

// All rows in one run, as one device would have them. Returns how many are kept.
static inline size_t rig_apply(const struct trib_prepare *prepare, const double *values,
                               size_t rows, size_t columns, float *ret_x)
{
    struct trib_prepare_run *run;
    size_t kept = 0;
    float weight;
    assert_int_equal(trib_prepare_run_create(prepare, 0, &run), TRIB_OK);
    assert_int_equal(trib_prepare_foresee(run, values, rows), TRIB_OK);
    for (size_t r = 0; r < rows; r++) {
        float *x = ret_x + kept * trib_prepare_features(prepare);
        kept += trib_prepare_row(run, values + r * columns, x, &weight) == TRIB_PREPARE_KEPT;
    }
    trib_prepare_run_destroy(run);
    return kept;
}

#endif // TRIB_TESTS_PREPARE_RIG_H
