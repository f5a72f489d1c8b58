#include "common/data/intake.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/data/split.h"

#define TRIB_LOG_MODULE "data"

// Is it a part of what a row is known by? The column that says whose the row is tells owners apart.
static bool is_id(const struct trib_intake_options *options, const struct trib_column *column)
{
    return column->role == TRIB_ROLE_ID && column != options->owner;
}

static bool has_ids(const struct trib_intake_options *options, const struct trib_schema *schema)
{
    for (size_t i = 0; i < schema->count; i++) {
        if (is_id(options, &schema->columns[i]))
            return true;
    }
    return false;
}

static enum trib_err begin_owners(struct trib_intake *intake)
{
    const enum trib_column_type type = intake->options.owner->type;
    const bool are_numbers = type == TRIB_COLUMN_REAL || type == TRIB_COLUMN_INT;
    enum trib_err err = trib_dataset_add_owners(intake->dataset);
    return err ? err : trib_owners_create(are_numbers, &intake->owners);
}

enum trib_err trib_intake_begin(struct trib_intake *intake,
                                const struct trib_intake_options *options,
                                const struct trib_schema *schema, struct trib_findings *findings,
                                size_t rows)
{
    *intake = (struct trib_intake){.options = *options, .schema = schema, .findings = findings};
    if (rows > TRIB_ROWS_MAX)
        rows = TRIB_ROWS_MAX;
    intake->capacity = rows ? rows : 1;
    intake->fields = trib_alloc_array(schema->count, sizeof(*intake->fields));
    enum trib_err err = intake->fields ? TRIB_OK : TRIB_ERR_NOMEM;
    if (!err)
        err = trib_dataset_create(intake->capacity, options->keeps_values ? 0 : schema->features,
                                  true, options->name, &intake->dataset);
    if (!err && options->keeps_values)
        err = trib_dataset_add_values(intake->dataset, schema->count);
    if (!err && schema->weight != SIZE_MAX)
        err = trib_dataset_add_weights(intake->dataset);
    if (!err && options->has_positions)
        err = trib_dataset_add_positions(intake->dataset);
    if (!err && has_ids(options, schema)) {
        intake->dataset->ids = trib_alloc_aligned(intake->capacity, sizeof(uint64_t));
        err = intake->dataset->ids ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    if (!err && options->owner)
        err = begin_owners(intake);
    if (err) {
        trib_intake_fini(intake);
        return err;
    }
    intake->dataset->rows = 0;
    intake->dataset->label_column = schema->label + 1;
    return TRIB_OK;
}

void trib_intake_fini(struct trib_intake *intake)
{
    trib_dataset_free(intake->dataset);
    trib_owners_destroy(intake->owners);
    free(intake->fields);
    *intake = (struct trib_intake){.capacity = 0};
}

bool trib_intake_is_full(const struct trib_intake *intake)
{
    return intake->options.limit > 0 && intake->findings->rows >= intake->options.limit;
}

static enum trib_err make_room(struct trib_intake *intake)
{
    if (intake->dataset->rows < intake->capacity)
        return TRIB_OK;
    if (intake->capacity == TRIB_ROWS_MAX) {
        TRIB_ERROR("%s: more than %d rows", intake->options.name, TRIB_ROWS_MAX);
        return TRIB_ERR_LIMIT;
    }
    size_t capacity = intake->capacity * 2;
    if (capacity > TRIB_ROWS_MAX)
        capacity = TRIB_ROWS_MAX;
    enum trib_err err = trib_dataset_resize(intake->dataset, capacity);
    if (!err)
        intake->capacity = capacity;
    return err;
}

// The identity of the row in `fields`, over all its id columns; when they are empty that of its
// values, which are those of row `at` of the data set.
static uint64_t identity_of(const struct trib_intake *intake, size_t at)
{
    struct trib_hash hash;
    uint8_t digest[8];
    bool is_empty = true;
    trib_hash_init(&hash, NULL, 0, sizeof(digest));
    for (size_t i = 0; i < intake->schema->count; i++) {
        const struct trib_field *field = &intake->fields[i];
        if (!is_id(&intake->options, &intake->schema->columns[i]))
            continue;
        is_empty = is_empty && field->size == 0;
        if (field->size > 0)
            trib_hash_update(&hash, field->text, field->size);
        trib_hash_update(&hash, "", 1); // "ab", "c" is another row than "a", "bc"
    }
    trib_hash_final(&hash, digest, sizeof(digest));
    return is_empty ? trib_split_identity_of_row(intake->dataset, at) : trib_load_le64(digest);
}

// False: the row breaks a rule; it was counted.
static bool take_values(struct trib_intake *intake, float *ret_weight)
{
    const struct trib_schema *schema = intake->schema;
    struct trib_dataset *d = intake->dataset;
    double *values = d->values + d->rows * d->columns;
    if (!trib_schema_values(schema, intake->fields, intake->findings, values))
        return false;
    d->y[d->rows] = trib_schema_label(schema, values[schema->label]);
    *ret_weight = schema->weight == SIZE_MAX ? 1 : (float)values[schema->weight];
    return true;
}

static bool take_features(struct trib_intake *intake, size_t line, float *ret_weight)
{
    struct trib_dataset *d = intake->dataset;
    float *x = d->x + d->rows * d->inputs;
    if (!trib_schema_row(intake->schema, intake->fields, intake->findings, x, &d->y[d->rows],
                         ret_weight))
        return false;
    const float scale = (float)intake->options.scale;
    for (size_t i = 0; i < d->inputs; i++) {
        x[i] /= scale;
        if (!isfinite(x[i])) {
            intake->findings->bad_rows++;
            trib_findings_count(intake->findings, intake->schema->count, TRIB_RULE_RANGE, line, 0);
            return false;
        }
    }
    return true;
}

// Whom the row belongs to. *ret_is_good: somebody; else it was counted as bad.
static enum trib_err take_owner(struct trib_intake *intake, bool *ret_is_good)
{
    struct trib_dataset *d = intake->dataset;
    *ret_is_good = true;
    if (!intake->owners)
        return TRIB_OK;
    const size_t column = (size_t)(intake->options.owner - intake->schema->columns);
    const struct trib_field *field = &intake->fields[column];
    const bool is_missing = trib_schema_is_missing(intake->schema, field) || field->size == 0;
    if (!is_missing && field->size <= TRIB_OWNER_TEXT_MAX)
        return trib_owners_place(intake->owners, field->text, &d->owners[d->rows]);
    *ret_is_good = false;
    intake->findings->bad_rows++;
    trib_findings_count(intake->findings, column, is_missing ? TRIB_RULE_MISSING : TRIB_RULE_RANGE,
                        field->line, field->place);
    return TRIB_OK;
}

enum trib_err trib_intake_row(struct trib_intake *intake, size_t line)
{
    enum trib_err err = make_room(intake);
    if (err)
        return err;
    struct trib_dataset *d = intake->dataset;
    float weight;
    bool is_good = intake->options.keeps_values ? take_values(intake, &weight)
                                                : take_features(intake, line, &weight);
    if (is_good)
        err = take_owner(intake, &is_good);
    if (err || !is_good)
        return err;
    if (d->weights)
        d->weights[d->rows] = weight;
    if (d->positions)
        d->positions[d->rows] = intake->position;
    if (d->ids)
        d->ids[d->rows] = identity_of(intake, d->rows);
    d->lines[d->rows++] = (uint32_t)line;
    return TRIB_OK;
}

void trib_intake_bad(struct trib_intake *intake, enum trib_rule rule, size_t line, size_t place)
{
    intake->findings->rows++;
    intake->findings->bad_rows++;
    trib_findings_count(intake->findings, intake->schema->count, rule, line, place);
}

static void judge(struct trib_intake *intake)
{
    const struct trib_findings *f = intake->findings;
    const double share = f->rows ? (double)f->bad_rows / (double)f->rows : 0;
    trib_findings_log(f, intake->options.name);
    if (share <= intake->options.max_bad_share)
        return;
    intake->dataset->rows = 0;
    (void)snprintf(intake->dataset->unfit, sizeof(intake->dataset->unfit),
                   "%" PRIu64 " of %" PRIu64 " rows break the schema (%.4g; data.max_bad_share is "
                   "%.4g)",
                   f->bad_rows, f->rows, share, intake->options.max_bad_share);
    TRIB_ERROR("id=data-unfit %s: %s", intake->options.name, intake->dataset->unfit);
}

void trib_intake_end(struct trib_intake *intake, struct trib_dataset **ret_dataset)
{
    if (intake->owners)
        trib_owners_rank(intake->owners, intake->dataset->owners, intake->dataset->rows);
    judge(intake);
    *ret_dataset = intake->dataset;
    intake->dataset = NULL;
    trib_intake_fini(intake);
}
