#include "common/data/source.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/data/csv.h"
#include "common/data/idx.h"
#include "common/data/prepare_dataset.h"
#include "common/data/source_read.h"
#include "common/data/table.h"

#define TRIB_LOG_MODULE "data"

enum trib_err trib_data_load(const struct trib_data_config *config, struct trib_schema **ret_schema,
                             struct trib_prepare **ret_prepare)
{
    char why[TRIB_PATH_MAX + 512] = "data.prepare wants a data.schema, which declares the columns";
    struct trib_schema *schema = NULL;
    *ret_prepare = NULL;
    enum trib_err err = config->prepare[0] && !config->schema[0] ? TRIB_ERR_INVAL : TRIB_OK;
    if (!err && config->schema[0])
        err = trib_schema_load(config->schema, &schema, why, sizeof(why));
    if (!err && config->prepare[0])
        err = trib_prepare_load(config->prepare, schema, ret_prepare, why, sizeof(why));
    const bool is_from_job = config->pipeline == TRIB_PIPELINE_JOB;
    if (!err && (config->prepare[0] || is_from_job) && config->scale != 1) {
        (void)snprintf(why, sizeof(why), "data.scale must be 1 with a pipeline, which scales");
        err = TRIB_ERR_INVAL;
    }
    if (!err && is_from_job && (config->prepare[0] || !schema)) {
        (void)snprintf(why, sizeof(why),
                       "data.pipeline = job wants a data.schema, and no data.prepare");
        err = TRIB_ERR_INVAL;
    }
    if (err) {
        TRIB_ERROR("%s", why);
        trib_prepare_destroy(*ret_prepare);
        trib_schema_destroy(schema);
        *ret_prepare = NULL;
        schema = NULL;
    }
    *ret_schema = schema;
    return err;
}

enum trib_err trib_data_pipeline(const struct trib_data_config *config,
                                 uint8_t ret_digest[static TRIB_DIGEST_SIZE], char *why,
                                 size_t why_size)
{
    struct trib_schema *schema;
    struct trib_prepare *prepare;
    memset(ret_digest, 0, TRIB_DIGEST_SIZE);
    if (!config->prepare[0])
        return TRIB_OK;
    (void)snprintf(why, why_size, "data.prepare: %s cannot be used; see the log", config->prepare);
    enum trib_err err = trib_data_load(config, &schema, &prepare);
    if (err)
        return err == TRIB_ERR_IO ? TRIB_ERR_INVAL : err;
    if (!trib_prepare_is_fitted(prepare)) {
        (void)snprintf(why, why_size, "data.prepare: %s lacks the statistics of %zu passes",
                       config->prepare, trib_prepare_passes_left(prepare));
        err = TRIB_ERR_INVAL;
    }
    if (!err)
        err = trib_prepare_digest(prepare, ret_digest);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
    return err;
}

bool trib_data_keeps_values(const struct trib_data_config *config,
                            const struct trib_prepare *prepare)
{
    return config->keeps_values || prepare || config->pipeline == TRIB_PIPELINE_JOB;
}

static enum trib_err prepare_rows(const struct trib_data_config *config,
                                  const struct trib_prepare *prepare, const char *path,
                                  struct trib_dataset **dataset)
{
    struct trib_prepare_report report = {.rows = 0};
    struct trib_dataset *features;
    if (!trib_prepare_is_fitted(prepare)) {
        TRIB_ERROR("%s: the pipeline lacks the statistics of %zu passes, so that it makes no "
                   "features of %s yet",
                   config->prepare, trib_prepare_passes_left(prepare), path);
        return TRIB_ERR_INVAL;
    }
    enum trib_err err =
        trib_prepare_dataset(prepare, *dataset, trib_prepare_today(), &report, &features);
    if (!err) {
        trib_prepare_report_log(&report, prepare, path);
        trib_dataset_free(*dataset);
        *dataset = features;
        err = trib_prepare_digest(prepare, features->prepared_digest);
    }
    trib_prepare_report_fini(&report);
    return err;
}

enum trib_err trib_data_finish(const struct trib_data_config *config,
                               const struct trib_prepare *prepare, const char *path,
                               struct trib_schema **schema, struct trib_dataset **dataset)
{
    if (prepare && !config->keeps_values)
        return prepare_rows(config, prepare, path, dataset);
    if (config->pipeline == TRIB_PIPELINE_JOB) {
        (*dataset)->schema = *schema;
        *schema = NULL;
    }
    return TRIB_OK;
}

bool trib_data_is_file(const struct trib_data_config *config)
{
    return config->format != TRIB_DATA_STORE && config->format != TRIB_DATA_SQLITE;
}

// ---- Text

// The column that says whom a row belongs to, by its name or number. NULL: it cannot, logged.
static const struct trib_column *find_owner(const struct trib_data_config *config,
                                            const struct trib_schema *schema)
{
    const char *name = config->owner;
    char *end;
    size_t index = trib_schema_find(schema, name);
    if (index == SIZE_MAX && *name >= '1' && *name <= '9') {
        const unsigned long number = strtoul(name, &end, 10);
        index = *end ? SIZE_MAX : number - 1;
    }
    if (index >= schema->count) {
        TRIB_ERROR("%s: there is no column '%s' to say whose the rows are", config->schema, name);
        return NULL;
    }
    const struct trib_column *column = &schema->columns[index];
    if (config->prepare[0]) {
        TRIB_ERROR("%s: column '%s' cannot say whose the rows are that a pipeline makes",
                   config->prepare, column->name);
        return NULL;
    }
    if (column->role != TRIB_ROLE_FEATURE && column->role != TRIB_ROLE_LABEL)
        return column;
    TRIB_ERROR("%s: column '%s' says whose the rows are, so it cannot be learnt from too: give it "
               "role = id",
               config->schema, column->name);
    return NULL;
}

enum trib_err trib_data_open_join(const struct trib_data_config *config,
                                  const struct trib_schema *schema, struct trib_join **ret_join)
{
    const struct trib_join_options options = {
        .path = config->join,
        .on = config->join_on,
        .time = config->join_time,
        .tolerance_s = config->join_tolerance_s,
        .is_nearest = config->join_direction == 1,
    };
    *ret_join = NULL;
    if (!config->join[0])
        return TRIB_OK;
    return trib_join_open(&options, schema, ret_join);
}

static enum trib_err parse_table(const struct trib_data_config *config,
                                 const struct trib_table_text *text, double scale,
                                 struct trib_dataset **ret_dataset)
{
    struct trib_schema *schema;
    struct trib_prepare *prepare;
    struct trib_dataset *dataset = NULL;
    struct trib_findings findings = {.rows = 0};
    enum trib_err err = trib_data_load(config, &schema, &prepare);
    if (err)
        return err;
    struct trib_join *join = NULL;
    struct trib_table_options options = {
        .is_json_lines = config->format == TRIB_DATA_JSON_LINES,
        .header = (enum trib_csv_header)config->header,
        .scale = scale,
        .limit = config->limit,
        .max_bad_share = config->max_bad_share,
        .keeps_values = trib_data_keeps_values(config, prepare),
        .owner = config->owner ? find_owner(config, schema) : NULL,
    };
    err = config->owner && !options.owner ? TRIB_ERR_INVAL : trib_findings_init(&findings, schema);
    if (!err)
        err = trib_data_open_join(config, schema, &join);
    options.join = join;
    if (!err)
        err = trib_table_parse(text, schema, &options, &findings, &dataset);
    if (!err)
        err = trib_data_finish(config, prepare, text->name, &schema, &dataset);
    trib_findings_fini(&findings);
    trib_join_close(join);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
    if (err)
        trib_dataset_free(dataset);
    else
        *ret_dataset = dataset;
    return err;
}

enum trib_err trib_data_parse_text(const struct trib_data_config *config,
                                   const struct trib_table_text *text, double scale,
                                   struct trib_dataset **ret_dataset)
{
    if (config->schema[0] || config->prepare[0] || config->pipeline == TRIB_PIPELINE_JOB)
        return parse_table(config, text, scale, ret_dataset);
    if (config->format == TRIB_DATA_JSON_LINES) {
        TRIB_ERROR("%s: jsonl files want a data.schema", text->name);
        return TRIB_ERR_INVAL;
    }
    const struct trib_csv_options options = {
        .header = (enum trib_csv_header)config->header,
        .label = config->label,
        .scale = scale,
        .limit = config->limit,
    };
    return trib_csv_parse(text->name, text->data, text->size, &options, ret_dataset);
}

// ---- All rows

enum trib_err trib_data_open(const struct trib_data_config *config, const char *path,
                             const char *labels_path, double scale,
                             struct trib_dataset **ret_dataset)
{
    struct trib_buf file = {0};
    if (scale == 0)
        scale = config->scale;
    if (config->format == TRIB_DATA_STORE)
        return trib_data_read_store(config, 0, trib_clock_wall_ms(), scale, ret_dataset);
    assert(config->format != TRIB_DATA_SQLITE);
    if (config->format == TRIB_DATA_IDX) {
        if (!labels_path[0]) {
            TRIB_ERROR("%s: idx files want their labels too (data.train_labels, data.test_labels)",
                       path);
            return TRIB_ERR_INVAL;
        }
        return trib_idx_read(path, labels_path, scale, config->limit, ret_dataset);
    }
    enum trib_err err = trib_file_read(path, TRIB_DATA_FILE_SIZE_MAX, &file);
    if (!err) {
        const struct trib_table_text text = {
            .name = path, .data = file.data ? (const char *)file.data : "", .size = file.size};
        err = trib_data_parse_text(config, &text, scale, ret_dataset);
    }
    trib_buf_fini(&file);
    return err;
}

enum trib_err trib_data_identify(const struct trib_data_config *config, enum trib_split_by fallback,
                                 struct trib_dataset *dataset)
{
    enum trib_split_by by = (enum trib_split_by)config->split_by;
    if (by == TRIB_SPLIT_BY_AUTO)
        by = dataset->ids ? TRIB_SPLIT_BY_ID : fallback;
    enum trib_err err = trib_split_identify(dataset, by);
    if (err == TRIB_ERR_INVAL)
        TRIB_ERROR("%s: data.split_by = id wants a schema with a column of the role id",
                   dataset->name);
    return err;
}

enum trib_err trib_data_open_owned(const struct trib_data_config *config, const char *path,
                                   const char *owner, double scale,
                                   struct trib_dataset **ret_dataset)
{
    struct trib_data_config owned = *config;
    owned.owner = owner;
    return trib_data_open(&owned, path, "", scale, ret_dataset);
}
