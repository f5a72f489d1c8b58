#include "simulations/rows.h"

#include <assert.h>
#include <glob.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "data"

static enum trib_err check_fit(const struct trib_dataset *dataset, const struct trib_model *model)
{
    char why[TRIB_PATH_MAX + 256];
    if (!trib_dataset_check(dataset, model, why, sizeof(why)))
        return TRIB_OK;
    TRIB_ERROR("%s", why);
    return TRIB_ERR_DATA;
}

// ---- A column that says the device

// Close the gap that a feature leaves. The memory stays as it is.
static void drop_feature(struct trib_dataset *dataset, size_t feature)
{
    float *to = dataset->x;
    const float *from = dataset->x;
    for (size_t r = 0; r < dataset->rows; r++) {
        for (size_t j = 0; j < dataset->inputs; j++, from++) {
            if (j != feature)
                *to++ = *from;
        }
    }
    dataset->inputs--;
}

// Read the file a second time with the column in the label's place: that is its values, and
// where it stands.
static enum trib_err read_column(const struct trib_data_config *config, const char *column,
                                 struct trib_rows *rows)
{
    struct trib_dataset *dataset = rows->dataset;
    struct trib_dataset *again;
    struct trib_data_config other = *config;
    (void)snprintf(other.label, sizeof(other.label), "%s", column);

    enum trib_err err = trib_data_open(&other, config->train, "", 1, &again);
    if (err)
        return err;
    if (again->label_column == dataset->label_column) {
        TRIB_ERROR("%s: column '%s' is the label, so it cannot say the device", dataset->name,
                   column);
        err = TRIB_ERR_INVAL;
        goto out;
    }
    if (dataset->inputs < 2) {
        TRIB_ERROR("%s: no features are left without column '%s'", dataset->name, column);
        err = TRIB_ERR_DATA;
        goto out;
    }
    rows->groups = again->y;
    again->y = NULL;
    // Columns count from 1 and with the label, features from 0 and without.
    rows->dropped = again->label_column - 1 - (again->label_column > dataset->label_column);
    drop_feature(dataset, rows->dropped);

out:
    trib_dataset_free(again);
    return err;
}

// With a schema the column has a role of its own and is no feature: nothing is removed.
static enum trib_err read_owned(const struct trib_data_config *config, const char *column,
                                struct trib_rows *rows)
{
    enum trib_err err = trib_data_open_owned(config, config->train, column, 1, &rows->dataset);
    if (err)
        return err;
    const struct trib_dataset *dataset = rows->dataset;
    rows->groups = trib_alloc_array(dataset->rows, sizeof(*rows->groups));
    if (!rows->groups)
        return TRIB_ERR_NOMEM;
    for (size_t r = 0; r < dataset->rows; r++) {
        if (dataset->owners[r] >= TRIB_DEVICES_MAX) {
            TRIB_ERROR("%s: column '%s' has more than %d values", dataset->name, column,
                       TRIB_DEVICES_MAX);
            return TRIB_ERR_LIMIT;
        }
        rows->groups[r] = (float)dataset->owners[r]; // exact: fewer than 2^24 devices
    }
    return TRIB_OK;
}

// ---- A file for each device

struct part_files {
    glob_t items;
    glob_t labels; // idx only
};

static enum trib_err expand(const char *pattern, glob_t *ret_files)
{
    int failed = glob(pattern, 0, NULL, ret_files); // sorted; programs here stay in the C locale
    if (failed == 0)
        return TRIB_OK;
    TRIB_ERROR("%s: %s", pattern, failed == GLOB_NOMATCH ? "no such file" : "cannot be searched");
    return failed == GLOB_NOSPACE ? TRIB_ERR_NOMEM : TRIB_ERR_DATA;
}

static enum trib_err find_files(const struct trib_data_config *config, const char *items,
                                const char *labels, struct part_files *files)
{
    enum trib_err err = expand(items, &files->items);
    if (!err && config->format == TRIB_DATA_IDX)
        err = expand(labels, &files->labels);
    if (err)
        return err;
    if (config->format == TRIB_DATA_IDX && files->labels.gl_pathc != files->items.gl_pathc) {
        TRIB_ERROR("%s: %zu files, but %zu with labels", items, files->items.gl_pathc,
                   files->labels.gl_pathc);
        return TRIB_ERR_DATA;
    }
    if (files->items.gl_pathc > TRIB_DEVICES_MAX) {
        TRIB_ERROR("%s: more than %d files", items, TRIB_DEVICES_MAX);
        return TRIB_ERR_LIMIT;
    }
    return TRIB_OK;
}

// The identities of all parts, when they all have some.
static enum trib_err join_ids(struct trib_dataset *const *parts, size_t count,
                              struct trib_dataset *whole)
{
    size_t row = 0;
    for (size_t p = 0; p < count; p++) {
        if (!parts[p]->ids)
            return TRIB_OK;
    }
    whole->ids = trib_alloc_array(whole->rows, sizeof(*whole->ids));
    if (!whole->ids)
        return TRIB_ERR_NOMEM;
    for (size_t p = 0; p < count; p++) {
        memcpy(whole->ids + row, parts[p]->ids, parts[p]->rows * sizeof(*whole->ids));
        row += parts[p]->rows;
    }
    return TRIB_OK;
}

// One data set of all parts; groups are the numbers of the parts.
static enum trib_err join(struct trib_dataset *const *parts, size_t count, const char *name,
                          struct trib_rows *ret_rows)
{
    size_t rows = 0;
    size_t inputs = 0;
    size_t columns = 0;
    bool has_weights = false;
    for (size_t p = 0; p < count; p++) {
        rows += parts[p]->rows;
        has_weights = has_weights || parts[p]->weights;
        inputs = parts[p]->rows ? parts[p]->inputs : inputs; // all the model's, were checked
        columns = parts[p]->rows ? parts[p]->columns : columns;
    }
    if (rows > TRIB_ROWS_MAX) {
        TRIB_ERROR("%s: more than %d rows", name, TRIB_ROWS_MAX);
        return TRIB_ERR_LIMIT;
    }
    enum trib_err err = trib_dataset_create(rows, inputs, false, name, &ret_rows->dataset);
    if (!err && has_weights)
        err = trib_dataset_add_weights(ret_rows->dataset);
    if (!err && columns > 0)
        err = trib_dataset_add_values(ret_rows->dataset, columns);
    if (err)
        return err;
    ret_rows->groups = trib_alloc_array(rows, sizeof(*ret_rows->groups));
    if (!ret_rows->groups)
        return TRIB_ERR_NOMEM;
    size_t row = 0;
    for (size_t p = 0; p < count; p++) {
        const struct trib_dataset *part = parts[p];
        memcpy(ret_rows->dataset->x + row * inputs, part->x,
               part->rows * inputs * sizeof(*part->x));
        if (part->values)
            memcpy(ret_rows->dataset->values + row * columns, part->values,
                   part->rows * columns * sizeof(*part->values));
        memcpy(ret_rows->dataset->y + row, part->y, part->rows * sizeof(*part->y));
        if (part->weights)
            memcpy(ret_rows->dataset->weights + row, part->weights,
                   part->rows * sizeof(*part->weights));
        for (size_t r = 0; r < part->rows; r++)
            ret_rows->groups[row + r] = (float)p; // exact: fewer than 2^24 devices
        row += part->rows;
    }
    return join_ids(parts, count, ret_rows->dataset);
}

// The files that match `items` (and `labels`, idx only), divided by `scale`.
static enum trib_err read_files(const struct trib_data_config *config, const char *items,
                                const char *labels, double scale, const struct trib_model *model,
                                struct trib_rows *rows)
{
    _Static_assert(TRIB_DEVICES_MAX < 1 << 24, "a float tells devices apart");
    struct part_files files = {0};
    struct trib_dataset **parts = NULL;
    size_t count = 0;

    enum trib_err err = find_files(config, items, labels, &files);
    if (err)
        goto out;
    parts = trib_alloc_array(files.items.gl_pathc, sizeof(struct trib_dataset *));
    if (!parts) {
        err = TRIB_ERR_NOMEM;
        goto out;
    }
    for (; count < files.items.gl_pathc; count++) {
        err = trib_data_open(config, files.items.gl_pathv[count],
                             files.labels.gl_pathc ? files.labels.gl_pathv[count] : "", scale,
                             &parts[count]);
        if (!err)
            err = check_fit(parts[count], model);
        if (err) {
            count++;
            goto out;
        }
    }
    err = join(parts, count, items, rows);

out:
    for (size_t p = 0; p < count; p++)
        trib_dataset_free(parts[p]);
    free(parts);
    globfree(&files.items);
    globfree(&files.labels);
    return err;
}

enum trib_err trib_rows_open(const struct trib_data_config *config, bool is_glob,
                             const char *column, const struct trib_model *model,
                             struct trib_rows *ret_rows)
{
    struct trib_rows rows = {.dropped = SIZE_MAX};
    enum trib_err err;

    assert(!is_glob || !column);
    const bool is_owned = column && config->schema[0];
    if (is_glob)
        err = read_files(config, config->train, config->train_labels, 1, model, &rows);
    else if (is_owned)
        err = read_owned(config, column, &rows);
    else
        err = trib_data_open(config, config->train, config->train_labels, 1, &rows.dataset);
    if (!err && column && !is_owned)
        err = read_column(config, column, &rows);
    if (!err && !is_glob)
        err = check_fit(rows.dataset, model);
    if (err) {
        trib_rows_close(&rows);
        return err;
    }
    *ret_rows = rows;
    return TRIB_OK;
}

void trib_rows_close(struct trib_rows *rows)
{
    trib_dataset_free(rows->dataset);
    free(rows->groups);
    *rows = (struct trib_rows){0};
}

enum trib_err trib_rows_open_test(const struct trib_data_config *config, bool is_glob,
                                  const struct trib_model *model, const struct trib_rows *rows,
                                  double scale, struct trib_dataset **ret_test)
{
    struct trib_rows test = {0};
    enum trib_err err;

    if (is_glob)
        err = read_files(config, config->test, config->test_labels, scale, model, &test);
    else
        err = trib_data_open(config, config->test, config->test_labels, scale, &test.dataset);
    if (err) {
        trib_rows_close(&test);
        return err;
    }
    free(test.groups); // who a held-out row is from does not matter
    if (rows->dropped < test.dataset->inputs)
        drop_feature(test.dataset, rows->dropped);
    *ret_test = test.dataset;
    return TRIB_OK;
}
