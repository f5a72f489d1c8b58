// The rows that were pushed into a store: opening it to write, and reading it.
#include <string.h>

#include "common/base/log.h"
#include "common/data/intake.h"
#include "common/data/row_store.h"
#include "common/data/source_read.h"

#define TRIB_LOG_MODULE "data"

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

enum trib_err trib_data_read_store(const struct trib_data_config *config, uint64_t after,
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
        .after = prepare && trib_prepare_remembers(prepare) ? 0 : after,
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
