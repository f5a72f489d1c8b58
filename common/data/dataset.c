#include "common/data/dataset.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/data/schema.h"

enum trib_err trib_dataset_create(size_t rows, size_t inputs, bool with_lines, const char *name,
                                  struct trib_dataset **ret_dataset)
{
    size_t count;
    struct trib_dataset *dataset = trib_alloc(sizeof(*dataset));
    if (!dataset)
        return TRIB_ERR_NOMEM;
    if (__builtin_mul_overflow(rows, inputs, &count))
        goto failed;
    dataset->rows = rows;
    dataset->inputs = inputs;
    (void)snprintf(dataset->name, sizeof(dataset->name), "%s", name);
    dataset->x = trib_alloc_aligned(count, sizeof(*dataset->x));
    dataset->y = trib_alloc_aligned(rows, sizeof(*dataset->y));
    if (with_lines)
        dataset->lines = trib_alloc_array(rows, sizeof(*dataset->lines));
    if (!dataset->x || !dataset->y || (with_lines && !dataset->lines))
        goto failed;
    *ret_dataset = dataset;
    return TRIB_OK;

failed:
    trib_dataset_free(dataset);
    return TRIB_ERR_NOMEM;
}

enum trib_err trib_dataset_add_weights(struct trib_dataset *dataset)
{
    assert(!dataset->weights);
    dataset->weights = trib_alloc_aligned(dataset->rows, sizeof(*dataset->weights));
    if (!dataset->weights)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < dataset->rows; i++)
        dataset->weights[i] = 1;
    return TRIB_OK;
}

enum trib_err trib_dataset_add_positions(struct trib_dataset *dataset)
{
    assert(!dataset->positions);
    dataset->positions = trib_alloc_aligned(dataset->rows, sizeof(*dataset->positions));
    return dataset->positions ? TRIB_OK : TRIB_ERR_NOMEM;
}

enum trib_err trib_dataset_add_owners(struct trib_dataset *dataset)
{
    assert(!dataset->owners);
    dataset->owners = trib_alloc_aligned(dataset->rows, sizeof(*dataset->owners));
    return dataset->owners ? TRIB_OK : TRIB_ERR_NOMEM;
}

enum trib_err trib_dataset_add_values(struct trib_dataset *dataset, size_t columns)
{
    size_t count;
    assert(!dataset->values && dataset->inputs == 0);
    if (__builtin_mul_overflow(dataset->rows, columns, &count))
        return TRIB_ERR_NOMEM;
    dataset->columns = columns;
    dataset->values = trib_alloc_aligned(count, sizeof(*dataset->values));
    return dataset->values ? TRIB_OK : TRIB_ERR_NOMEM;
}

// `*values` with room for `count` others of `size` bytes, the first `kept` of them as they were.
static bool move_values(void *values, size_t kept, size_t count, size_t size)
{
    void *from, *to;
    memcpy(&from, values, sizeof(from));
    if (!from)
        return true;
    to = trib_alloc_aligned(count, size);
    if (!to)
        return false;
    memcpy(to, from, kept * size);
    free(from);
    memcpy(values, &to, sizeof(to));
    return true;
}

enum trib_err trib_dataset_resize(struct trib_dataset *dataset, size_t rows)
{
    size_t count;
    size_t value_count;
    const size_t kept = dataset->rows < rows ? dataset->rows : rows;
    if (__builtin_mul_overflow(rows, dataset->inputs, &count) ||
        __builtin_mul_overflow(rows, dataset->columns, &value_count) ||
        !move_values(&dataset->values, kept * dataset->columns, value_count,
                     sizeof(*dataset->values)) ||
        !move_values(&dataset->x, kept * dataset->inputs, count, sizeof(*dataset->x)) ||
        !move_values(&dataset->y, kept, rows, sizeof(*dataset->y)) ||
        !move_values(&dataset->weights, kept, rows, sizeof(*dataset->weights)) ||
        !move_values(&dataset->positions, kept, rows, sizeof(*dataset->positions)) ||
        !move_values(&dataset->lines, kept, rows, sizeof(*dataset->lines)) ||
        !move_values(&dataset->ids, kept, rows, sizeof(*dataset->ids)) ||
        !move_values(&dataset->owners, kept, rows, sizeof(*dataset->owners)))
        return TRIB_ERR_NOMEM;
    dataset->rows = kept;
    return TRIB_OK;
}

void trib_dataset_free(struct trib_dataset *dataset)
{
    if (!dataset)
        return;
    free(dataset->x);
    free(dataset->y);
    if (dataset->online)
        dataset->online_free(dataset->online);
    free(dataset->origin);
    free(dataset->weights);
    free(dataset->positions);
    free(dataset->values);
    trib_schema_destroy(dataset->schema);
    trib_dataset_free(dataset->prepared);
    free(dataset->lines);
    free(dataset->ids);
    free(dataset->owners);
    free(dataset);
}

struct trib_samples trib_dataset_samples(const struct trib_dataset *dataset)
{
    return (struct trib_samples){.x = dataset->x,
                                 .y = dataset->y,
                                 .weights = dataset->weights,
                                 .ids = dataset->ids,
                                 .rows = dataset->rows,
                                 .inputs = dataset->inputs};
}

// Where the input is the number of an item, it is one.
static enum trib_err check_items(const struct trib_dataset *dataset, const struct trib_model *model,
                                 char *why, size_t why_size)
{
    char where[32] = "";
    for (size_t r = 0; model->items && r < dataset->rows; r++) {
        const float x = dataset->x[r];
        if (x >= 0 && x < (float)model->items && floorf(x) == x)
            continue;
        if (dataset->lines)
            (void)snprintf(where, sizeof(where), ":%u", dataset->lines[r]);
        else
            (void)snprintf(where, sizeof(where), ": row %zu", r + 1);
        (void)snprintf(why, why_size, "%s%s: %g is not one of the model's items, 0 to %u",
                       dataset->name, where, (double)x, model->items - 1);
        return TRIB_ERR_DATA;
    }
    return TRIB_OK;
}

enum trib_err trib_dataset_check(const struct trib_dataset *dataset, const struct trib_model *model,
                                 char *why, size_t why_size)
{
    if (dataset->unfit[0]) {
        (void)snprintf(why, why_size, "%s: %s", dataset->name, dataset->unfit);
        return TRIB_ERR_DATA;
    }
    if (dataset->rows > 0 && !dataset->values && dataset->inputs != model->inputs) {
        (void)snprintf(why, why_size, "%s: rows have %zu features, the model takes %u",
                       dataset->name, dataset->inputs, model->inputs);
        return TRIB_ERR_DATA;
    }
    enum trib_err err = check_items(dataset, model, why, why_size);
    if (err)
        return err;
    for (size_t r = 0; model->classes && r < dataset->rows; r++) {
        const float y = dataset->y[r];
        if (y >= 0 && y < (float)model->classes && floorf(y) == y)
            continue;
        if (dataset->lines)
            (void)snprintf(why, why_size,
                           "%s:%u: column %zu: label %g is not one of the %u classes of the model",
                           dataset->name, dataset->lines[r], dataset->label_column, (double)y,
                           model->classes);
        else
            (void)snprintf(why, why_size,
                           "%s: label %g of item %zu is not one of the %u classes of the model",
                           dataset->name, (double)y, r, model->classes);
        return TRIB_ERR_DATA;
    }
    return TRIB_OK;
}

enum trib_err trib_dataset_select(const struct trib_dataset *dataset, const uint32_t *rows,
                                  size_t count, double scale, struct trib_dataset **ret_dataset)
{
    struct trib_dataset *part;
    const float divisor = (float)scale;
    enum trib_err err =
        trib_dataset_create(count, dataset->inputs, dataset->lines != NULL, dataset->name, &part);
    if (err)
        return err;
    if (dataset->weights)
        err = trib_dataset_add_weights(part);
    if (!err && dataset->values)
        err = trib_dataset_add_values(part, dataset->columns);
    if (err) {
        trib_dataset_free(part);
        return err;
    }
    part->label_column = dataset->label_column;
    if (dataset->ids) {
        part->ids = trib_alloc_array(count, sizeof(*part->ids));
        if (!part->ids) {
            trib_dataset_free(part);
            return TRIB_ERR_NOMEM;
        }
    }
    for (size_t i = 0; i < count; i++) {
        const float *from = dataset->x + (size_t)rows[i] * dataset->inputs;
        float *to = part->x + i * dataset->inputs;
        for (size_t j = 0; j < dataset->inputs; j++)
            to[j] = from[j] / divisor;
        if (part->values)
            memcpy(part->values + i * part->columns,
                   dataset->values + (size_t)rows[i] * part->columns,
                   part->columns * sizeof(*part->values));
        part->y[i] = dataset->y[rows[i]];
        if (part->lines)
            part->lines[i] = dataset->lines[rows[i]];
        if (part->weights)
            part->weights[i] = dataset->weights[rows[i]];
        if (part->ids)
            part->ids[i] = dataset->ids[rows[i]];
    }
    *ret_dataset = part;
    return TRIB_OK;
}

void trib_dataset_narrow(struct trib_dataset *dataset, const size_t *features, size_t count)
{
    assert(!dataset->values && count <= dataset->inputs);
    float *to = dataset->x; // never beyond what is still to be read
    for (size_t row = 0; row < dataset->rows; row++) {
        const float *from = dataset->x + row * dataset->inputs;
        for (size_t i = 0; i < count; i++)
            *to++ = from[features[i]];
    }
    dataset->inputs = count;
}
