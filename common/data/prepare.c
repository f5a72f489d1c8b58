#include "common/data/prepare.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/log.h"
#include "common/data/prepare_step.h"

#define TRIB_LOG_MODULE "prepare"

// ---- Variables

static void *grown(void *items, size_t size, size_t count, size_t *capacity)
{
    const size_t wanted = *capacity ? 2 * *capacity : 32;
    if (count < *capacity)
        return items;
    void *more = trib_alloc_array(wanted, size);
    if (!more)
        return NULL;
    if (items)
        memcpy(more, items, count * size);
    free(items);
    *capacity = wanted;
    return more;
}

static enum trib_err put_in_order(struct trib_prepare *p, size_t variable, size_t after)
{
    size_t at = p->order_count;
    for (size_t i = 0; after != SIZE_MAX && i < p->order_count; i++) {
        if (p->order[i] == after)
            at = i + 1;
    }
    size_t *order = grown(p->order, sizeof(*order), p->order_count, &p->order_capacity);
    if (!order)
        return TRIB_ERR_NOMEM;
    memmove(order + at + 1, order + at, (p->order_count - at) * sizeof(*order));
    order[at] = variable;
    p->order = order;
    p->order_count++;
    return TRIB_OK;
}

enum trib_err trib_prepare_add(struct trib_prepare *p, const struct trib_variable *variable,
                               size_t after, const char *format, ...)
{
    char name[3 * TRIB_SCHEMA_NAME_MAX];
    va_list args;
    if (p->variable_count == TRIB_PREPARE_VARIABLES_MAX)
        return TRIB_ERR_LIMIT;
    va_start(args, format);
    (void)vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    struct trib_variable *variables =
        grown(p->variables, sizeof(*variables), p->variable_count, &p->variable_capacity);
    if (!variables)
        return TRIB_ERR_NOMEM;
    p->variables = variables;
    variables[p->variable_count] = *variable;
    variables[p->variable_count].name = trib_alloc_text(name);
    if (!variables[p->variable_count].name)
        return TRIB_ERR_NOMEM;
    return put_in_order(p, p->variable_count++, after);
}

void trib_prepare_remove(struct trib_prepare *p, size_t variable)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->order_count; i++) {
        if (p->order[i] != variable)
            p->order[kept++] = p->order[i];
    }
    p->order_count = kept;
}

const char *trib_prepare_name(const struct trib_prepare *p, const struct trib_prepare_step *step,
                              size_t input)
{
    return p->variables[step->inputs[input]].name;
}

void trib_prepare_destroy(struct trib_prepare *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->step_count; i++) {
        free(p->steps[i].options.edges);
        free(p->steps[i].inputs);
        free(p->steps[i].was);
        free(p->steps[i].fitted);
        free(p->steps[i].given);
    }
    for (size_t i = 0; i < p->variable_count; i++)
        free(p->variables[i].name);
    free(p->steps);
    free(p->variables);
    free(p->order);
    free(p);
}

size_t trib_prepare_features(const struct trib_prepare *p)
{
    return p->order_count;
}

const char *trib_prepare_feature_name(const struct trib_prepare *p, size_t feature)
{
    assert(feature < p->order_count);
    return p->variables[p->order[feature]].name;
}

size_t trib_prepare_step_count(const struct trib_prepare *p)
{
    return p->step_count;
}

const char *trib_prepare_step_kind(const struct trib_prepare *p, size_t step)
{
    assert(step < p->step_count);
    return p->steps[step].kind->name;
}

bool trib_prepare_remembers(const struct trib_prepare *p)
{
    for (size_t i = 0; i < p->step_count; i++) {
        const struct trib_prepare_step *step = &p->steps[i];
        if (step->kind->state_size && step->kind->state_size(step) > 0)
            return true;
    }
    return trib_prepare_looks_ahead(p);
}

bool trib_prepare_looks_ahead(const struct trib_prepare *p)
{
    for (size_t i = 0; i < p->step_count; i++) {
        const struct trib_prepare_step *step = &p->steps[i];
        if (step->kind->looks_ahead && step->kind->looks_ahead(step))
            return true;
    }
    return false;
}

// ---- The canonical text

static void write_columns(const struct trib_prepare *p, const struct trib_prepare_step *step,
                          struct trib_buf *text)
{
    size_t width = 0;
    for (size_t i = 0; i < step->input_count; i++) {
        const char *name = trib_prepare_name(p, step, i);
        const bool is_first = width == 0 || width + strlen(name) > 80;
        trib_buf_printf(text, "%s%s", !is_first ? " | " : i ? "\ncolumns = " : "columns = ", name);
        width = (is_first ? 0 : width) + strlen(name) + 3;
    }
    if (step->input_count)
        trib_buf_text(text, "\n");
}

void trib_prepare_write(const struct trib_prepare *p, struct trib_buf *text)
{
    char digest[TRIB_DIGEST_TEXT_SIZE];
    trib_hex_encode(p->schema_digest, TRIB_DIGEST_SIZE, digest);
    trib_buf_printf(text, "[schema]\ndigest = %s\n", digest);
    for (size_t i = 0; i < p->step_count; i++) {
        const struct trib_prepare_step *step = &p->steps[i];
        trib_buf_printf(text, "\n[step %s]\n", step->kind->name);
        write_columns(p, step, text);
        for (size_t k = 0; k < step->kind->key_count; k++)
            trib_prepare_write_key(&step->kind->keys[k], &step->options, text);
        if (step->pass == 0)
            continue;
        trib_buf_printf(text, "passes = %zu\n", step->pass);
        trib_prepare_write_numbers("fitted", " ", step->fitted, step->fitted_count, text);
    }
}

enum trib_err trib_prepare_text_most(const struct trib_prepare *p, size_t *ret_size)
{
    // "-1.2345678901234567e-308" and what is between two; and for each step "passes = 64" and the
    // key again on each line of eight.
    const size_t number = 26, step = 64;
    struct trib_buf text = {0};
    trib_prepare_write(p, &text);
    const enum trib_err err = text.failed ? TRIB_ERR_NOMEM : TRIB_OK;
    *ret_size = text.size;
    for (size_t i = 0; i < p->step_count; i++) {
        if (p->steps[i].pass < p->steps[i].pass_count)
            *ret_size += step + p->steps[i].fitted_count * (number + sizeof("fitted = ") / 8 + 1);
    }
    trib_buf_fini(&text);
    return err;
}

enum trib_err trib_prepare_digest(const struct trib_prepare *p,
                                  uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    struct trib_buf text = {0};
    trib_prepare_write(p, &text);
    const enum trib_err err = text.failed ? TRIB_ERR_NOMEM : TRIB_OK;
    if (!err)
        trib_digest(text.data, text.size, ret_digest);
    trib_buf_fini(&text);
    return err;
}

// ---- Passes

static bool is_blocked(const bool *blocked, const struct trib_prepare_step *step)
{
    for (size_t i = 0; i < step->input_count; i++) {
        if (blocked[step->inputs[i]])
            return true;
    }
    return false;
}

enum trib_err trib_prepare_schedule(struct trib_prepare *p)
{
    bool *blocked = trib_alloc_array(p->variable_count, sizeof(*blocked));
    bool is_everything_blocked = false;
    if (!blocked)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < p->step_count; i++) {
        struct trib_prepare_step *step = &p->steps[i];
        const bool waits = is_everything_blocked || is_blocked(blocked, step);
        step->state = waits                           ? TRIB_PREPARE_BLOCKED
                      : step->pass < step->pass_count ? TRIB_PREPARE_ACTIVE
                                                      : TRIB_PREPARE_DONE;
        if (step->state == TRIB_PREPARE_DONE)
            continue;
        is_everything_blocked |= step->drops_rows;
        for (size_t k = 0; k < step->input_count; k++)
            blocked[step->inputs[k]] = true;
        for (size_t k = 0; k < step->output_count; k++)
            blocked[step->first_output + k] = true;
    }
    free(blocked);
    return TRIB_OK;
}

const char *trib_prepare_nothing(double noise)
{
    return noise > 0 ? "has nothing that stands out of the noise" : "has no value on any device";
}

bool trib_prepare_is_fitted(const struct trib_prepare *p)
{
    for (size_t i = 0; i < p->step_count; i++) {
        if (p->steps[i].state != TRIB_PREPARE_DONE)
            return false;
    }
    return true;
}

size_t trib_prepare_sum_count(const struct trib_prepare *p)
{
    size_t count = 0;
    for (size_t i = 0; i < p->step_count; i++) {
        if (p->steps[i].state == TRIB_PREPARE_ACTIVE)
            count += p->steps[i].kind->sum_count(&p->steps[i]);
    }
    return count;
}

enum trib_err trib_prepare_bounds(const struct trib_prepare *p, double *ret_bounds, char *why,
                                  size_t why_size)
{
    size_t first = 0;
    for (size_t i = 0; i < p->step_count; i++) {
        const struct trib_prepare_step *step = &p->steps[i];
        if (step->state != TRIB_PREPARE_ACTIVE)
            continue;
        const size_t count = step->kind->sum_count(step);
        step->kind->bounds(step, ret_bounds + first);
        for (size_t k = 0; k < count; k++) {
            if (isfinite(ret_bounds[first + k]))
                continue;
            (void)snprintf(why, why_size,
                           "step %zu (%s) adds up values that have no bound, which noise needs: "
                           "declare min and max of its columns in the schema, or clip them in a "
                           "step before it",
                           i + 1, step->kind->name);
            return TRIB_ERR_INVAL;
        }
        first += count;
    }
    return TRIB_OK;
}

static bool are_finite(const double *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(numbers[i]))
            return false;
    }
    return true;
}

// What is found must be finite: sums of finite values
// can be so large that a variance is not.
static enum trib_err advance_step(const struct trib_prepare *p, struct trib_prepare_step *step,
                                  const double *totals, double noise)
{
    const size_t size = (step->fitted_count + 1) * sizeof(double);
    double *before = trib_alloc(size);
    if (!before)
        return TRIB_ERR_NOMEM;
    memcpy(before, step->fitted, size);
    enum trib_err err = step->kind->advance(p, step, totals, noise);
    if (!err && !are_finite(step->fitted, step->fitted_count)) {
        TRIB_ERROR("the statistics of the fleet are too large for step %s", step->kind->name);
        err = TRIB_ERR_DATA;
    }
    if (err) // another try finds it as it was
        memcpy(step->fitted, before, size);
    free(before);
    step->pass += !err;
    return err;
}

enum trib_err trib_prepare_advance(struct trib_prepare *p, const double *totals, double noise)
{
    size_t first = 0;
    const size_t all = trib_prepare_sum_count(p);
    if (!are_finite(totals, all)) {
        TRIB_ERROR("the statistics of the fleet are not finite");
        return TRIB_ERR_DATA;
    }
    for (size_t i = 0; i < p->step_count; i++) {
        struct trib_prepare_step *step = &p->steps[i];
        if (step->state != TRIB_PREPARE_ACTIVE)
            continue;
        const size_t count = step->kind->sum_count(step);
        enum trib_err err = advance_step(p, step, totals + first, noise);
        if (err)
            return err;
        first += count;
    }
    p->passes_left--;
    return trib_prepare_schedule(p);
}

// ---- The passes to come: as if each had been counted
//
// Steps alone are copied; what was found stays with the pipeline, and nothing here looks at it.

static enum trib_err begin_rehearsal(const struct trib_prepare *p, struct trib_prepare *ret_copy)
{
    *ret_copy = *p;
    ret_copy->passes_left = 0;
    ret_copy->steps = trib_alloc_array(p->step_count + 1, sizeof(*ret_copy->steps));
    if (!ret_copy->steps)
        return TRIB_ERR_NOMEM;
    memcpy(ret_copy->steps, p->steps, p->step_count * sizeof(*ret_copy->steps));
    return TRIB_OK;
}

// A step that is ready takes part in each pass until it has had all of its own.
static enum trib_err rehearse_pass(struct trib_prepare *copy)
{
    for (size_t i = 0; i < copy->step_count; i++)
        copy->steps[i].pass += copy->steps[i].state == TRIB_PREPARE_ACTIVE;
    copy->passes_left++;
    return trib_prepare_schedule(copy);
}

enum trib_err trib_prepare_count_passes(struct trib_prepare *p, size_t *ret_sums)
{
    struct trib_prepare copy;
    *ret_sums = 0;
    enum trib_err err = begin_rehearsal(p, &copy);
    if (err)
        return err;
    while (!err && !trib_prepare_is_fitted(&copy)) {
        const size_t sums = trib_prepare_sum_count(&copy);
        *ret_sums = sums > *ret_sums ? sums : *ret_sums;
        err = rehearse_pass(&copy);
    }
    free(copy.steps);
    p->passes_left = copy.passes_left;
    return err;
}

enum trib_err trib_prepare_check_bounds(const struct trib_prepare *p, size_t *ret_counts, char *why,
                                        size_t why_size)
{
    struct trib_prepare copy;
    (void)snprintf(why, why_size, "out of memory");
    enum trib_err err = begin_rehearsal(p, &copy);
    if (err)
        return err;
    while (!err && !trib_prepare_is_fitted(&copy)) {
        const size_t count = trib_prepare_sum_count(&copy);
        double *bounds = trib_alloc_array(count, sizeof(*bounds));
        err = bounds ? trib_prepare_bounds(&copy, bounds, why, why_size) : TRIB_ERR_NOMEM;
        free(bounds);
        ret_counts[copy.passes_left] = count;
        if (!err)
            err = rehearse_pass(&copy);
    }
    free(copy.steps);
    return err;
}

size_t trib_prepare_passes_left(const struct trib_prepare *p)
{
    return p->passes_left;
}
