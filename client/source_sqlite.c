#include "client/source_sqlite.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/data/intake.h"
#include "common/data/prepare.h"
#include "common/data/row_segment.h"

#define TRIB_LOG_MODULE "sqlite"

enum {
    STEPS = 1000, // of SQLite's machine between two looks at the clock
    NUMBER_SIZE = 32,
};

struct query {
    const struct trib_data_config *config;
    const struct trib_schema *schema;
    sqlite3 *db;
    sqlite3_stmt *stmt;
    int *columns;                 // of the result, (schema->count); owned
    char (*numbers)[NUMBER_SIZE]; // texts of real values, (schema->count); owned
    int position_column;          // -1: none
    uint64_t until_ms;
    struct trib_intake intake;
};

static int authorize(void *user, int action, const char *first, const char *second,
                     const char *database, const char *trigger)
{
    (void)user;
    (void)first;
    (void)database;
    (void)trigger;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE: return SQLITE_OK;
    case SQLITE_FUNCTION:
        return second && strcmp(second, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    default: return SQLITE_DENY;
    }
}

// Not 0: the query is given up.
static int is_too_late(void *user)
{
    const struct query *q = user;
    return trib_clock_mono_ms() >= q->until_ms;
}

static enum trib_err failure(const struct query *q, const char *what)
{
    const int code = sqlite3_errcode(q->db);
    if (code == SQLITE_INTERRUPT) {
        TRIB_ERROR("data.query: gave up after data.query_max_ms = %llu",
                   (unsigned long long)q->config->query_max_ms);
        return TRIB_ERR_TIMEOUT;
    }
    TRIB_ERROR("%s: %s: %s", q->config->file, what, sqlite3_errmsg(q->db));
    if (code == SQLITE_NOMEM)
        return TRIB_ERR_NOMEM;
    return code == SQLITE_ERROR || code == SQLITE_AUTH ? TRIB_ERR_INVAL : TRIB_ERR_IO;
}

static enum trib_err open_database(struct query *q)
{
    const int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(q->config->file, &q->db, flags, NULL) != SQLITE_OK) {
        TRIB_ERROR("%s: cannot open: %s", q->config->file,
                   q->db ? sqlite3_errmsg(q->db) : "out of memory");
        return q->db ? TRIB_ERR_IO : TRIB_ERR_NOMEM;
    }
    (void)sqlite3_busy_timeout(q->db, (int)q->config->query_max_ms);
    (void)sqlite3_limit(q->db, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_limit(q->db, SQLITE_LIMIT_LENGTH, 16 * TRIB_ROW_SIZE_MAX);
    (void)sqlite3_set_authorizer(q->db, authorize, q);
    sqlite3_progress_handler(q->db, STEPS, is_too_late, q);
    return TRIB_OK;
}

static int find_column(const struct query *q, const char *name)
{
    const int count = sqlite3_column_count(q->stmt);
    for (int i = 0; i < count; i++) {
        if (strcmp(sqlite3_column_name(q->stmt, i), name) == 0)
            return i;
    }
    return -1;
}

static enum trib_err prepare(struct query *q, uint64_t after, bool wants_positions)
{
    const char *tail = NULL;
    if (sqlite3_prepare_v2(q->db, q->config->query, -1, &q->stmt, &tail) != SQLITE_OK)
        return failure(q, "data.query");
    if (!q->stmt || tail[strspn(tail, " \t\r\n;")] != '\0' || !sqlite3_stmt_readonly(q->stmt)) {
        TRIB_ERROR("data.query: must be a SELECT, and one only");
        return TRIB_ERR_INVAL;
    }
    for (size_t i = 0; i < q->schema->count; i++) {
        q->columns[i] = find_column(q, q->schema->columns[i].name);
        if (q->columns[i] < 0) {
            TRIB_ERROR("data.query: no column is named '%s', which the schema declares",
                       q->schema->columns[i].name);
            return TRIB_ERR_INVAL;
        }
    }
    q->position_column = find_column(q, "position");
    if (wants_positions && q->position_column < 0) {
        TRIB_ERROR("data.query: the mode of the job wants a column `position` that numbers the "
                   "rows, for example: rowid AS position");
        return TRIB_ERR_INVAL;
    }
    const int parameter = sqlite3_bind_parameter_index(q->stmt, ":after");
    if (parameter > 0 && sqlite3_bind_int64(q->stmt, parameter, (sqlite3_int64)after) != SQLITE_OK)
        return failure(q, "data.query");
    return TRIB_OK;
}

// False: it is a blob, or holds a NUL.
static bool take_field(struct query *q, size_t column, size_t line)
{
    const int at = q->columns[column];
    struct trib_field *field = &q->intake.fields[column];
    *field = (struct trib_field){.line = line, .place = (size_t)at + 1};
    switch (sqlite3_column_type(q->stmt, at)) {
    case SQLITE_NULL: return true;
    case SQLITE_FLOAT:
        (void)snprintf(q->numbers[column], NUMBER_SIZE, "%.17g",
                       sqlite3_column_double(q->stmt, at));
        field->text = q->numbers[column];
        break;
    case SQLITE_BLOB: return false;
    case SQLITE_TEXT: // an empty one is missing, as in JSON
        field->is_quoted = sqlite3_column_bytes(q->stmt, at) > 0;
        __attribute__((fallthrough));
    default: field->text = (const char *)sqlite3_column_text(q->stmt, at); break;
    }
    if (!field->text)
        return false;
    field->size = strlen(field->text);
    return sqlite3_column_type(q->stmt, at) != SQLITE_TEXT ||
           field->size == (size_t)sqlite3_column_bytes(q->stmt, at);
}

static enum trib_err take_row(struct query *q, size_t line)
{
    bool is_good = true;
    if (q->position_column >= 0) {
        const sqlite3_int64 position = sqlite3_column_int64(q->stmt, q->position_column);
        if (position <= 0 || (uint64_t)position <= q->intake.position) {
            TRIB_ERROR("data.query: row %zu: position %lld is not above the one before; say ORDER "
                       "BY",
                       line, (long long)position);
            return TRIB_ERR_DATA;
        }
        q->intake.position = (uint64_t)position;
    }
    for (size_t i = 0; i < q->schema->count; i++)
        is_good = take_field(q, i, line) && is_good;
    if (is_good)
        return trib_intake_row(&q->intake, line);
    trib_intake_bad(&q->intake, TRIB_RULE_SYNTAX, line, 0);
    return TRIB_OK;
}

static enum trib_err run(struct query *q, uint64_t after, bool wants_positions)
{
    enum trib_err err = open_database(q);
    if (!err)
        err = prepare(q, after, wants_positions);
    for (size_t line = 1; !err && !trib_intake_is_full(&q->intake); line++) {
        const int code = sqlite3_step(q->stmt);
        if (code == SQLITE_DONE)
            break;
        err = code == SQLITE_ROW ? take_row(q, line) : failure(q, "data.query");
    }
    (void)sqlite3_finalize(q->stmt);
    (void)sqlite3_close(q->db);
    return err;
}

enum trib_err trib_sqlite_read(const struct trib_data_config *config, uint64_t after,
                               bool wants_positions, struct trib_dataset **ret_dataset)
{
    struct trib_schema *schema;
    struct trib_prepare *prepare;
    struct trib_dataset *dataset = NULL;
    struct trib_findings findings = {.rows = 0};
    struct query q = {.config = config,
                      .position_column = -1,
                      .until_ms = trib_clock_mono_ms() + config->query_max_ms};
    enum trib_err err = trib_data_load(config, &schema, &prepare);
    if (err)
        return err;
    const struct trib_intake_options options = {.name = config->file,
                                                .scale = config->scale,
                                                .limit = config->limit,
                                                .max_bad_share = config->max_bad_share,
                                                .has_positions = true,
                                                .keeps_values =
                                                    trib_data_keeps_values(config, prepare)};
    q.schema = schema;
    q.columns = trib_alloc_array(schema->count, sizeof(*q.columns));
    q.numbers = trib_alloc_array(schema->count, sizeof(*q.numbers));
    err = q.columns && q.numbers ? trib_findings_init(&findings, schema) : TRIB_ERR_NOMEM;
    if (!err)
        err = trib_intake_begin(&q.intake, &options, schema, &findings, 1024);
    if (!err)
        err = run(&q, prepare && trib_prepare_remembers(prepare) ? 0 : after, wants_positions);
    if (!err)
        trib_intake_end(&q.intake, &dataset);
    if (!err)
        err = trib_data_finish(config, prepare, config->file, &schema, &dataset);
    trib_intake_fini(&q.intake);
    trib_findings_fini(&findings);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
    free(q.columns);
    free(q.numbers);
    if (err)
        trib_dataset_free(dataset);
    else
        *ret_dataset = dataset;
    return err;
}
