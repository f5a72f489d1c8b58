#include "common/data/source.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/data/csv.h"
#include "common/data/idx.h"
#include "common/data/intake.h"
#include "common/data/prepare_dataset.h"
#include "common/data/row_store.h"
#include "common/data/table.h"

#define TRIB_LOG_MODULE "data"

#define KEY(name, type, member, fallback, help, ...)                                               \
    {                                                                                              \
        "data", name, type, offsetof(struct trib_data_config, member), fallback, help, __VA_ARGS__ \
    }

const struct trib_conf_key trib_data_keys_common[] = {
    KEY("format", TRIB_CONF_CHOICE, format, "csv", "of the rows; store and sqlite: on devices", 0,
        0, "csv|idx|jsonl|store|sqlite"),
    KEY("scale", TRIB_CONF_REAL, scale, "1", "features are divided by it", 1e-30, 1e30, NULL),
    KEY("label", TRIB_CONF_TEXT, label, "last", "csv: column name, number from 1, or last", 0, 0,
        NULL),
    KEY("header", TRIB_CONF_CHOICE, header, "no", "csv: is the first line names, a row, or neither",
        0, 0, "no|yes|skip"),
    KEY("schema", TRIB_CONF_PATH, schema, "",
        "file that declares the columns of csv or jsonl: types, roles, rules", 0, 0, NULL),
    KEY("prepare", TRIB_CONF_PATH, prepare, "",
        "with a schema: file of the steps that make features of its columns", 0, 0, NULL),
    KEY("join", TRIB_CONF_PATH, join, "",
        "csv with header = yes and a schema: a second csv file, of the columns that the first lacks",
        0, 0, NULL),
    KEY("join_on", TRIB_CONF_TEXT, join_on, "", "join: the column of the key, in both files", 0, 0,
        NULL),
    KEY("join_time", TRIB_CONF_TEXT, join_time, "",
        "join: the second file's column of times, for rows of the schema's role time; empty: a key "
        "is there once",
        0, 0, NULL),
    KEY("join_tolerance_s", TRIB_CONF_REAL, join_tolerance_s, "0",
        "join: how far a partner may be away in time; 0: however far", 0, 1e12, NULL),
    KEY("join_direction", TRIB_CONF_CHOICE, join_direction, "before",
        "join: the last partner that is not later, or the nearest", 0, 0, "before|nearest"),
    KEY("max_bad_share", TRIB_CONF_REAL, max_bad_share, "0",
        "with a schema: with a larger share of bad rows the device sits out", 0, 1, NULL),
    KEY("limit", TRIB_CONF_INT, limit, "0", "read at most this many rows; 0: all", 0, 0, NULL),
};
const size_t trib_data_keys_common_count =
    sizeof(trib_data_keys_common) / sizeof(trib_data_keys_common[0]);

const struct trib_conf_key trib_data_keys_train[] = {
    KEY("train", TRIB_CONF_PATH, train, "", "rows to learn from", 0, 0, NULL),
    KEY("train_labels", TRIB_CONF_PATH, train_labels, "", "idx: their labels", 0, 0, NULL),
    KEY("rows_per_round", TRIB_CONF_INT, rows_per_round, "0",
        "a rehearsal: a device has so many rows more in each round; 0: all at once", 0,
        TRIB_ROWS_MAX, NULL),
};
const size_t trib_data_keys_train_count =
    sizeof(trib_data_keys_train) / sizeof(trib_data_keys_train[0]);

const struct trib_conf_key trib_data_keys_device[] = {
    KEY("store", TRIB_CONF_PATH, store, "",
        "store: the folder of the rows that were pushed; empty: rows, beside this file", 0, 0,
        NULL),
    KEY("push_format", TRIB_CONF_CHOICE, push_format, "csv", "store: how rows are pushed", 0, 0,
        "csv|jsonl"),
    KEY("store_max_bytes", TRIB_CONF_INT, store_max_bytes, "67108864",
        "store: it never has more; the oldest rows go", TRIB_ROW_STORE_BYTES_MIN, 1e12, NULL),
    KEY("store_max_age_s", TRIB_CONF_INT, store_max_age_s, "0",
        "store: rows that arrived longer ago are not used, and go; 0: any age", 0, 1e9, NULL),
    KEY("socket", TRIB_CONF_PATH, socket, "",
        "store: Unix socket on which the running client takes rows; empty: none", 0, 0, NULL),
    KEY("pipeline", TRIB_CONF_CHOICE, pipeline, "own",
        "with a schema: rows go through prepare, or through the pipeline that a job's tasks bring",
        0, 0, "own|job"),
    KEY("fallback", TRIB_CONF_PATH, fallback, "",
        "predict: file of the clusters, rules and default that answer where no model does", 0, 0,
        NULL),
    KEY("file", TRIB_CONF_PATH, file, "", "sqlite: the database", 0, 0, NULL),
    KEY("query", TRIB_CONF_TEXT, query, "", "sqlite: a SELECT", 0, 0, NULL),
    KEY("query_max_ms", TRIB_CONF_INT, query_max_ms, "10000",
        "sqlite: milliseconds after which a query is given up", 1, 3600000, NULL),
};
const size_t trib_data_keys_device_count =
    sizeof(trib_data_keys_device) / sizeof(trib_data_keys_device[0]);

const struct trib_conf_key trib_data_keys_test[] = {
    KEY("test", TRIB_CONF_PATH, test, "", "held-out rows to evaluate on", 0, 0, NULL),
    KEY("test_labels", TRIB_CONF_PATH, test_labels, "", "idx: their labels", 0, 0, NULL),
};
const size_t trib_data_keys_test_count =
    sizeof(trib_data_keys_test) / sizeof(trib_data_keys_test[0]);

const struct trib_conf_key trib_data_keys_split[] = {
    KEY("test_fraction", TRIB_CONF_REAL, test_fraction, "0",
        "share of the rows held out: nothing learns from them", 0, 0.9, NULL),
    KEY("split_seed", TRIB_CONF_INT, split_seed, "1", "which rows are held out", 0, 0, NULL),
    KEY("split_by", TRIB_CONF_CHOICE, split_by, "auto",
        "what a row is known by: the schema's id column, its values, its place in the file; auto: "
        "id where there is one, else row on a device and place in a scenario",
        0, 0, "auto|id|row|place"),
};
const size_t trib_data_keys_split_count =
    sizeof(trib_data_keys_split) / sizeof(trib_data_keys_split[0]);

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
    if (!err && is_from_job && config->rows_per_round > 0) {
        (void)snprintf(why, sizeof(why), "data.rows_per_round cannot go with data.pipeline = job");
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

static enum trib_err parse_text(const struct trib_data_config *config,
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

// ---- The store

static enum trib_err load_schema(const struct trib_data_config *config,
                                 struct trib_schema **ret_schema)
{
    char why[TRIB_PATH_MAX + 512];
    enum trib_err err = trib_schema_load(config->schema, ret_schema, why, sizeof(why));
    if (err)
        TRIB_ERROR("%s", why);
    return err;
}

enum trib_err trib_data_open_store(const struct trib_data_config *config, uint64_t now_ms,
                                   struct trib_schema **ret_schema,
                                   struct trib_row_store **ret_store)
{
    struct trib_schema *schema;
    struct trib_row_store_options options = {
        .dir = config->store,
        .bytes_max = config->store_max_bytes,
        .age_max_ms = config->store_max_age_s * 1000,
    };
    enum trib_err err = load_schema(config, &schema);
    if (err)
        return err;
    trib_row_columns_digest(schema, options.columns);
    err = trib_row_store_open(&options, now_ms, ret_store);
    if (err) {
        trib_schema_destroy(schema);
        return err;
    }
    *ret_schema = schema;
    return TRIB_OK;
}

struct store_reading {
    struct trib_intake intake;
    struct trib_record_reader record;
};

// A row that was pushed is whole, but the schema's rules may have changed since.
static enum trib_err take_row(void *user, const struct trib_row *row)
{
    struct store_reading *r = user;
    struct trib_intake *intake = &r->intake;
    enum trib_record_event event;
    r->record.next = (const char *)row->text;
    r->record.end = r->record.next + row->size;
    r->record.line = 1;
    intake->position = row->sequence;
    if (trib_intake_is_full(intake))
        return TRIB_OK;
    enum trib_err err = trib_record_next(&r->record, &event);
    if (err)
        return err;
    if (event != TRIB_RECORD_WHOLE || r->record.count != intake->schema->count) {
        trib_intake_bad(intake, TRIB_RULE_COLUMNS, row->sequence, 0);
        return TRIB_OK;
    }
    for (size_t i = 0; i < intake->schema->count; i++) {
        intake->fields[i] = r->record.fields[i];
        intake->fields[i].line = row->sequence;
    }
    return trib_intake_row(intake, row->sequence);
}

static enum trib_err read_store(const struct trib_data_config *config, uint64_t after,
                                uint64_t now_ms, double scale, struct trib_dataset **ret_dataset)
{
    struct trib_schema *schema;
    struct trib_prepare *prepare;
    struct trib_dataset *dataset = NULL;
    struct trib_findings findings = {.rows = 0};
    struct store_reading reading = {.intake.capacity = 0};
    uint8_t columns[TRIB_DIGEST_SIZE];
    const uint64_t age_ms = config->store_max_age_s * 1000;
    enum trib_err err = trib_data_load(config, &schema, &prepare);
    if (err)
        return err;
    const struct trib_intake_options options = {.name = config->store,
                                                .scale = scale,
                                                .limit = config->limit,
                                                .max_bad_share = config->max_bad_share,
                                                .has_positions = true,
                                                .keeps_values =
                                                    trib_data_keeps_values(config, prepare)};
    const struct trib_row_query query = {
        .dir = config->store,
        .after = after,
        .oldest_ms = age_ms && now_ms > age_ms ? now_ms - age_ms : 0,
        .columns = columns,
    };
    trib_row_columns_digest(schema, columns);
    const struct trib_record_options record = {.separator = schema->separator};
    trib_record_reader_init(&reading.record, &record, NULL, 0);
    err = trib_findings_init(&findings, schema);
    if (!err)
        err = trib_intake_begin(&reading.intake, &options, schema, &findings, 1024);
    if (!err)
        err = trib_row_store_read(&query, take_row, &reading);
    if (!err)
        trib_intake_end(&reading.intake, &dataset);
    if (!err)
        err = trib_data_finish(config, prepare, config->store, &schema, &dataset);
    trib_intake_fini(&reading.intake);
    trib_record_reader_fini(&reading.record);
    trib_findings_fini(&findings);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
    if (err)
        trib_dataset_free(dataset);
    else
        *ret_dataset = dataset;
    return err;
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
        return read_store(config, 0, trib_clock_wall_ms(), scale, ret_dataset);
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
        err = parse_text(config, &text, scale, ret_dataset);
    }
    trib_buf_fini(&file);
    return err;
}

// ---- New rows

// Bytes of the first `lines` lines, or SIZE_MAX: there are fewer.
static size_t size_of_lines(const struct trib_buf *text, uint64_t lines)
{
    const uint8_t *next = text->data;
    const uint8_t *const end = next + text->size;
    for (; lines > 0; lines--) {
        const uint8_t *newline = next < end ? memchr(next, '\n', (size_t)(end - next)) : NULL;
        if (!newline)
            return SIZE_MAX;
        next = newline + 1;
    }
    return (size_t)(next - text->data);
}

static bool begins_as_marked(const struct trib_buf *text, const struct trib_data_mark *mark)
{
    uint8_t digest[TRIB_DIGEST_SIZE];
    const size_t size = size_of_lines(text, mark->position);
    if (size == SIZE_MAX)
        return false;
    trib_digest(text->data, size, digest);
    return memcmp(digest, mark->digest, sizeof(digest)) == 0;
}

static enum trib_err open_text(const struct trib_data_config *config,
                               const struct trib_data_mark *mark, struct trib_data_news *news)
{
    enum trib_err err = trib_file_read(config->train, TRIB_DATA_FILE_SIZE_MAX, &news->text);
    if (err)
        return err;
    const uint8_t *newline =
        news->text.size ? memrchr(news->text.data, '\n', news->text.size) : NULL;
    news->text.size = newline ? (size_t)(newline - news->text.data) + 1 : 0;
    const struct trib_table_text text = {.name = config->train,
                                         .data =
                                             news->text.data ? (const char *)news->text.data : "",
                                         .size = news->text.size};
    err = parse_text(config, &text, config->scale, &news->dataset);
    if (err || mark->position == 0)
        return err;
    if (!begins_as_marked(&news->text, mark)) {
        TRIB_WARN("id=data-rotated %s: it no longer begins with the %" PRIu64 " lines that were "
                  "used; all of its rows count as new",
                  config->train, mark->position);
        return TRIB_OK;
    }
    while (news->first < news->dataset->rows && news->dataset->lines[news->first] <= mark->position)
        news->first++;
    return TRIB_OK;
}

void trib_data_source_digest(const struct trib_data_config *config,
                             uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    static const char *const names[] = {"csv", "idx", "jsonl", "store", "sqlite"};
    const char *const texts[] = {names[config->format], config->train, config->store, config->file,
                                 config->query};
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        trib_hash_update(&hash, texts[i], strlen(texts[i]) + 1);
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}

// The mark, or an empty one: it was made of another source.
static struct trib_data_mark own_mark(const struct trib_data_config *config,
                                      const struct trib_data_mark *mark)
{
    uint8_t digest[TRIB_DIGEST_SIZE];
    trib_data_source_digest(config, digest);
    if (mark->position == 0 || memcmp(digest, mark->digest, sizeof(digest)) == 0)
        return *mark;
    TRIB_WARN("id=data-changed client.ini names another source than the one that was used up to "
              "position %" PRIu64 "; all of its rows count as new",
              mark->position);
    return (struct trib_data_mark){.position = 0};
}

// The rows of an idx file have no lines: they are counted.
static enum trib_err open_items(const struct trib_data_config *config,
                                const struct trib_data_mark *mark, struct trib_data_news *news)
{
    enum trib_err err =
        trib_data_open(config, config->train, config->train_labels, 0, &news->dataset);
    if (!err)
        news->first = mark->position < news->dataset->rows ? mark->position : news->dataset->rows;
    trib_data_source_digest(config, news->source);
    return err;
}

void trib_data_news_take(struct trib_data_news *news, const struct trib_data_config *config,
                         struct trib_dataset *dataset, const struct trib_data_mark *mark)
{
    const struct trib_data_mark own = own_mark(config, mark);
    *news = (struct trib_data_news){.dataset = dataset, .end = dataset->rows};
    trib_data_source_digest(config, news->source);
    while (news->first < dataset->rows && dataset->positions[news->first] <= own.position)
        news->first++;
}

// A store whose numbers have not come as far as the mark was made anew.
static void check_store(const struct trib_data_config *config, struct trib_data_mark *mark)
{
    struct trib_row_store_state state;
    if (mark->position == 0 || trib_row_store_look(config->store, &state) ||
        state.next > mark->position)
        return;
    TRIB_WARN("id=data-changed %s: its rows end at %" PRIu64
              ", and were used up to position %" PRIu64
              ": it was made anew, and all of its rows count as new",
              config->store, state.next - 1, mark->position);
    *mark = (struct trib_data_mark){.position = 0};
}

enum trib_err trib_data_news_open(const struct trib_data_config *config,
                                  const struct trib_data_mark *mark, uint64_t now_ms,
                                  struct trib_data_news *ret_news)
{
    struct trib_data_news news = {.dataset = NULL};
    struct trib_dataset *dataset;
    enum trib_err err;
    assert(config->format != TRIB_DATA_SQLITE);
    if (config->format == TRIB_DATA_STORE) {
        struct trib_data_mark own = own_mark(config, mark);
        check_store(config, &own);
        err = read_store(config, own.position, now_ms, config->scale, &dataset);
        if (!err)
            trib_data_news_take(&news, config, dataset, &own);
    } else if (config->format == TRIB_DATA_IDX) {
        const struct trib_data_mark own = own_mark(config, mark);
        err = open_items(config, &own, &news);
    } else {
        err = open_text(config, mark, &news);
    }
    if (err) {
        trib_data_news_fini(&news);
        return err;
    }
    news.end = news.dataset->rows;
    *ret_news = news;
    return TRIB_OK;
}

void trib_data_news_fini(struct trib_data_news *news)
{
    trib_dataset_free(news->dataset);
    trib_buf_fini(&news->text);
    *news = (struct trib_data_news){.dataset = NULL};
}

void trib_data_news_hide(struct trib_data_news *news, uint64_t rows_per_round,
                         uint64_t round_number)
{
    uint64_t rows;
    if (rows_per_round == 0 || __builtin_mul_overflow(rows_per_round, round_number, &rows) ||
        rows >= news->end)
        return;
    news->end = rows;
    if (news->first > rows)
        news->first = rows;
}

struct trib_samples trib_data_news_samples(const struct trib_data_news *news)
{
    struct trib_samples samples = trib_dataset_samples(news->dataset);
    samples.x += news->first * samples.inputs;
    samples.y += news->first;
    if (samples.weights)
        samples.weights += news->first;
    if (samples.ids)
        samples.ids += news->first;
    samples.rows = trib_data_news_count(news);
    return samples;
}

size_t trib_data_news_count(const struct trib_data_news *news)
{
    return news->end - news->first;
}

void trib_data_news_mark(const struct trib_data_news *news, size_t count,
                         struct trib_data_mark *ret_mark)
{
    const struct trib_dataset *d = news->dataset;
    const size_t next = news->first + count;
    struct trib_data_mark mark = {.position = next};
    memcpy(mark.digest, news->source, sizeof(mark.digest));
    assert(count >= 1 && next <= news->end);
    if (d->positions) {
        mark.position = d->positions[next - 1];
    } else if (news->text.data) {
        // A record may have several lines: it ends before the next one begins.
        size_t size = news->text.size;
        if (next < d->rows) {
            mark.position = d->lines[next] - 1;
            size = size_of_lines(&news->text, mark.position);
        } else {
            mark.position = 0;
            for (size_t i = 0; i < size; i++)
                mark.position += news->text.data[i] == '\n';
        }
        trib_digest(news->text.data, size, mark.digest);
    }
    *ret_mark = mark;
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
