// Rows through a pipeline: sums for its statistics, and features.
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/data/prepare_step.h"

// ---- Sums

enum trib_err trib_prepare_sums_init(struct trib_prepare_sums *sums,
                                     const struct trib_prepare *prepare)
{
    *sums = (struct trib_prepare_sums){.count = trib_prepare_sum_count(prepare)};
    sums->sums = trib_alloc_array(sums->count, sizeof(*sums->sums));
    sums->rests = trib_alloc_array(sums->count, sizeof(*sums->rests));
    if (sums->sums && sums->rests)
        return TRIB_OK;
    trib_prepare_sums_fini(sums);
    return TRIB_ERR_NOMEM;
}

void trib_prepare_sums_fini(struct trib_prepare_sums *sums)
{
    free(sums->sums);
    free(sums->rests);
    *sums = (struct trib_prepare_sums){.count = 0};
}

void trib_prepare_sums_add(struct trib_prepare_sums *sums, size_t index, double value)
{
    assert(index < sums->count);
    const double sum = sums->sums[index];
    const double next = sum + value;
    // What the addition rounded away: the low part of the smaller of the two.
    sums->rests[index] += fabs(sum) >= fabs(value) ? (sum - next) + value : (value - next) + sum;
    sums->sums[index] = next;
}

void trib_prepare_sums_merge(struct trib_prepare_sums *into, const struct trib_prepare_sums *from)
{
    assert(into->count == from->count);
    for (size_t i = 0; i < into->count; i++) {
        trib_prepare_sums_add(into, i, from->sums[i]);
        trib_prepare_sums_add(into, i, from->rests[i]);
    }
    into->rows += from->rows;
}

void trib_prepare_sums_total(const struct trib_prepare_sums *sums, double *ret_totals)
{
    for (size_t i = 0; i < sums->count; i++)
        ret_totals[i] = sums->sums[i] + sums->rests[i];
}

// ---- Runs

struct trib_prepare_run {
    const struct trib_prepare *prepare; // borrowed
    double *values;                     // (variables)
    void *states[TRIB_PREPARE_STEPS_MAX + 1];
    struct trib_prepare_tally tallies[TRIB_PREPARE_STEPS_MAX + 1];
    uint64_t *missing; // (features)
    double today;
    double *ahead[TRIB_PREPARE_STEPS_MAX + 1]; // (foreseen, inputs) of steps that look ahead; owned
    size_t foreseen;                           // rows
    size_t next;                               // of them
};

enum trib_err trib_prepare_run_create(const struct trib_prepare *prepare, double today,
                                      struct trib_prepare_run **ret_run)
{
    struct trib_prepare_run *run = trib_alloc(sizeof(*run));
    if (!run)
        return TRIB_ERR_NOMEM;
    run->prepare = prepare;
    run->today = today;
    run->values = trib_alloc_array(prepare->variable_count, sizeof(*run->values));
    run->missing = trib_alloc_array(prepare->order_count, sizeof(*run->missing));
    bool is_whole = run->values && run->missing;
    for (size_t i = 0; is_whole && i < prepare->step_count; i++) {
        const struct trib_prepare_step *step = &prepare->steps[i];
        const size_t size = step->kind->state_size ? step->kind->state_size(step) : 0;
        if (size == 0)
            continue;
        run->states[i] = trib_alloc_aligned(size, 1);
        is_whole = run->states[i] != NULL;
    }
    if (!is_whole) {
        trib_prepare_run_destroy(run);
        return TRIB_ERR_NOMEM;
    }
    *ret_run = run;
    return TRIB_OK;
}

void trib_prepare_run_destroy(struct trib_prepare_run *run)
{
    if (!run)
        return;
    for (size_t i = 0; i < run->prepare->step_count; i++) {
        free(run->states[i]);
        free(run->ahead[i]);
    }
    free(run->values);
    free(run->missing);
    free(run);
}

// Through the steps before `end` that are fitted; `sums` take what the active ones see, NULL: they
// are passed by.
static bool pass_through(struct trib_prepare_run *run, const double *values, size_t end,
                         struct trib_prepare_sums *sums, float *ret_weight)
{
    const struct trib_prepare *p = run->prepare;
    struct trib_prepare_row row = {
        .prepare = p, .values = run->values, .source = values, .weight = 1, .today = run->today};
    const size_t number = run->next++;
    size_t first = 0;
    memcpy(run->values, values, p->schema->count * sizeof(*values));
    for (size_t i = 0; i < end; i++) {
        const struct trib_prepare_step *step = &p->steps[i];
        row.tally = &run->tallies[i];
        row.ahead = run->ahead[i] && number < run->foreseen
                        ? run->ahead[i] + number * step->input_count
                        : NULL;
        const bool is_applied = step->state == TRIB_PREPARE_DONE && step->kind->apply;
        if (is_applied && !step->kind->apply(step, run->states[i], &row)) {
            row.tally->dropped++;
            return false;
        }
        if (step->state == TRIB_PREPARE_ACTIVE && sums) {
            step->kind->gather(step, &row, sums, first);
            first += step->kind->sum_count(step);
        }
    }
    *ret_weight = (float)row.weight;
    return true;
}

// Where a row is: in time, if its schema has that, else each one place behind the last.
static double place_of(const struct trib_schema *schema, const double *row, size_t number,
                       double last)
{
    for (size_t i = 0; i < schema->count; i++) {
        if (schema->columns[i].role == TRIB_ROLE_TIME)
            return fmax(row[i], last); // not known: where the last one is
    }
    return (double)number;
}

// Of the first row that has one: rows before it are there too.
static double first_place(const struct trib_schema *schema, const double *rows, size_t count)
{
    for (size_t r = 0; r < count; r++) {
        const double place = place_of(schema, rows + r * schema->count, 0, -(double)INFINITY);
        if (isfinite(place))
            return place;
    }
    return 0;
}

// What step `index` is given in all rows, and what it makes of that. `run` has what the steps
// before it foresaw.
static enum trib_err look_ahead(struct trib_prepare_run *run, size_t index, const double *rows,
                                size_t count)
{
    const struct trib_prepare *p = run->prepare;
    const struct trib_prepare_step *step = &p->steps[index];
    const size_t width = step->input_count;
    struct trib_prepare_run *scout = NULL;
    double *inputs = trib_alloc_array(count * width + 1, sizeof(*inputs));
    double *places = trib_alloc_array(count + 1, sizeof(*places));
    enum trib_err err =
        inputs && places ? trib_prepare_run_create(p, run->today, &scout) : TRIB_ERR_NOMEM;
    if (err)
        goto out;
    for (size_t i = 0; i < index; i++)
        scout->ahead[i] = run->ahead[i]; // lent
    scout->foreseen = count;
    double last = first_place(p->schema, rows, count);
    for (size_t r = 0; r < count; r++) {
        float weight;
        const double *row = rows + r * p->schema->count;
        last = place_of(p->schema, row, r, last);
        const bool is_there = pass_through(scout, row, index, NULL, &weight);
        places[r] = is_there ? last : (double)NAN;
        for (size_t k = 0; k < width; k++)
            inputs[r * width + k] = is_there ? scout->values[step->inputs[k]] : (double)NAN;
    }
    memset(scout->ahead, 0, sizeof(scout->ahead));
    step->kind->foresee(step, inputs, places, count);
    run->ahead[index] = inputs;
    inputs = NULL;

out:
    trib_prepare_run_destroy(scout);
    free(inputs);
    free(places);
    return err;
}

enum trib_err trib_prepare_foresee(struct trib_prepare_run *run, const double *rows, size_t count)
{
    const struct trib_prepare *p = run->prepare;
    enum trib_err err = TRIB_OK;
    assert(run->next == 0 && run->foreseen == 0);
    for (size_t i = 0; !err && i < p->step_count; i++) {
        const struct trib_prepare_step *step = &p->steps[i];
        if (step->state == TRIB_PREPARE_DONE && step->kind->looks_ahead &&
            step->kind->looks_ahead(step))
            err = look_ahead(run, i, rows, count);
    }
    run->foreseen = count;
    return err;
}

void trib_prepare_gather(struct trib_prepare_run *run, const double *values,
                         struct trib_prepare_sums *sums)
{
    float weight;
    assert(sums->count == trib_prepare_sum_count(run->prepare));
    if (pass_through(run, values, run->prepare->step_count, sums, &weight))
        sums->rows++;
}

enum trib_prepare_fate trib_prepare_row(struct trib_prepare_run *run, const double *values,
                                        float *ret_x, float *ret_weight)
{
    const struct trib_prepare *p = run->prepare;
    assert(p->passes_left == 0);
    if (!pass_through(run, values, p->step_count, NULL, ret_weight))
        return TRIB_PREPARE_DROPPED;
    for (size_t i = 0; i < p->order_count; i++) {
        ret_x[i] = (float)run->values[p->order[i]];
        if (isfinite(ret_x[i]))
            continue;
        run->missing[i]++;
        return TRIB_PREPARE_INCOMPLETE;
    }
    return TRIB_PREPARE_KEPT;
}

struct trib_prepare_tally trib_prepare_run_tally(const struct trib_prepare_run *run, size_t step)
{
    assert(step < run->prepare->step_count);
    return run->tallies[step];
}

uint64_t trib_prepare_run_missing(const struct trib_prepare_run *run, size_t feature)
{
    assert(feature < run->prepare->order_count);
    return run->missing[feature];
}
