#include "coordinator/store.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/alloc.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "store"

enum {
    SCHEMA_VERSION = 2,
    APPLICATION_ID = 0x54524942, // "TRIB"
    STATEMENTS_MAX = 64,
};

struct statement {
    const char *sql; // the constant it was prepared from
    sqlite3_stmt *stmt;
};

struct trib_store {
    sqlite3 *db;
    char path[TRIB_PATH_MAX + 1];
    struct statement statements[STATEMENTS_MAX];
    size_t statement_count;
};

static const char schema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE device(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, grp TEXT NOT NULL,"
    " key BLOB NOT NULL UNIQUE, sign_key BLOB NOT NULL, revoked INTEGER NOT NULL,"
    " enrolled_ms INTEGER NOT NULL, revoked_ms INTEGER NOT NULL);"
    "CREATE TABLE token(id BLOB PRIMARY KEY, secret_hash BLOB NOT NULL, name TEXT NOT NULL,"
    " uses_left INTEGER NOT NULL CHECK(uses_left >= 0), expires_ms INTEGER NOT NULL);"
    "CREATE TABLE token_use(token BLOB NOT NULL, device INTEGER NOT NULL REFERENCES device(id),"
    " PRIMARY KEY(token, device)) WITHOUT ROWID;"
    "CREATE TABLE job(id INTEGER PRIMARY KEY, name TEXT NOT NULL, config TEXT NOT NULL,"
    " state INTEGER NOT NULL, submitted_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,"
    " start_version INTEGER NOT NULL, rounds_done INTEGER NOT NULL, epsilon_pure REAL NOT NULL,"
    " rho REAL NOT NULL, reason TEXT NOT NULL);"
    "CREATE TABLE version(version INTEGER PRIMARY KEY, generation INTEGER NOT NULL,"
    " parent INTEGER NOT NULL, digest BLOB NOT NULL, job INTEGER NOT NULL, round INTEGER NOT NULL,"
    " round_number INTEGER NOT NULL, kind TEXT NOT NULL, spec TEXT NOT NULL,"
    " params INTEGER NOT NULL, manifest BLOB NOT NULL, signature BLOB NOT NULL,"
    " created_ms INTEGER NOT NULL, metrics TEXT, value REAL);"
    "CREATE TABLE round(id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES job(id),"
    " number INTEGER NOT NULL, state INTEGER NOT NULL, base_version INTEGER NOT NULL,"
    " opened_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, version INTEGER, state_text TEXT,"
    " reason TEXT, asked INTEGER, accepted INTEGER, refused INTEGER, loss REAL, metric TEXT,"
    " value REAL, metrics TEXT, epsilon_pure REAL, epsilon REAL, delta REAL, bytes_up INTEGER,"
    " bytes_down INTEGER, seconds REAL, UNIQUE(job, number));"
    "CREATE TABLE lease(round INTEGER NOT NULL REFERENCES round(id),"
    " device INTEGER NOT NULL REFERENCES device(id), ord INTEGER NOT NULL, state INTEGER NOT NULL,"
    " code INTEGER NOT NULL, PRIMARY KEY(round, device)) WITHOUT ROWID;"
    "CREATE TABLE ledger(update_id BLOB PRIMARY KEY, round INTEGER NOT NULL REFERENCES round(id),"
    " device INTEGER NOT NULL REFERENCES device(id), slot INTEGER NOT NULL,"
    " weight INTEGER NOT NULL, digest BLOB NOT NULL, checksums BLOB NOT NULL,"
    " UNIQUE(round, device), UNIQUE(round, slot));";

// What takes a store of version i + 1 to the next. A fresh one goes the same way, so that both end
// alike; a row is never changed again once it was released.
static const char *const upgrades[SCHEMA_VERSION - 1] = {
    // 2: secure aggregation
    "CREATE TABLE secagg(round INTEGER NOT NULL REFERENCES round(id), kind INTEGER NOT NULL,"
    " member INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(round, kind, member)) WITHOUT ROWID;"
    "ALTER TABLE device ADD COLUMN roster BLOB;"
    "ALTER TABLE round ADD COLUMN privacy TEXT;",
};

// ---- Running statements

// Set while rows are read, on the one thread that does so: a key or digest has the wrong size.
static _Thread_local bool row_is_malformed;

static enum trib_err failure(struct trib_store *store, int code, const char *sql)
{
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT: return TRIB_ERR_STATE; // the caller's business: nothing is wrong
    case SQLITE_NOMEM: return TRIB_ERR_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        TRIB_ERROR("id=store-corrupt %s: %s", store->path, sqlite3_errmsg(store->db));
        return TRIB_ERR_CORRUPT;
    default:
        TRIB_ERROR("%s: %s (%.60s)", store->path, sqlite3_errmsg(store->db), sql);
        return TRIB_ERR_IO;
    }
}

static enum trib_err prepare(struct trib_store *store, const char *sql, sqlite3_stmt **ret_stmt)
{
    for (size_t i = 0; i < store->statement_count; i++) {
        if (store->statements[i].sql == sql) { // statements are string constants
            *ret_stmt = store->statements[i].stmt;
            return TRIB_OK;
        }
    }
    sqlite3_stmt *stmt;
    assert(store->statement_count < STATEMENTS_MAX);
    int code = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (code != SQLITE_OK)
        return failure(store, code, sql);
    store->statements[store->statement_count++] = (struct statement){.sql = sql, .stmt = stmt};
    *ret_stmt = stmt;
    return TRIB_OK;
}

// Bind by a word: i uint64_t, r double, t const char * (NULL allowed), b const void * and size_t.
static void bind(sqlite3_stmt *stmt, const char *kinds, va_list args)
{
    for (int i = 1; *kinds; kinds++, i++) {
        switch (*kinds) {
        case 'i': (void)sqlite3_bind_int64(stmt, i, (int64_t)va_arg(args, uint64_t)); break;
        case 'r': (void)sqlite3_bind_double(stmt, i, va_arg(args, double)); break;
        case 't':
            (void)sqlite3_bind_text(stmt, i, va_arg(args, const char *), -1, SQLITE_STATIC);
            break;
        default: {
            assert(*kinds == 'b');
            const void *data = va_arg(args, const void *);
            (void)sqlite3_bind_blob64(stmt, i, data, va_arg(args, size_t), SQLITE_STATIC);
        }
        }
    }
}

typedef void (*row_fn)(void *user, sqlite3_stmt *stmt);

struct reader {
    row_fn row;
    const void *callback; // the address of the caller's typed function pointer
    void *user;
};

static enum trib_err run_list(struct trib_store *store, const char *sql,
                              const struct reader *reader, const char *kinds, va_list args)
{
    sqlite3_stmt *stmt = NULL;
    enum trib_err err = prepare(store, sql, &stmt);
    if (err)
        return err;
    bind(stmt, kinds, args);
    row_is_malformed = false;
    int code;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (reader)
            reader->row((void *)(uintptr_t)reader, stmt);
    }
    if (code != SQLITE_DONE) {
        err = failure(store, code, sql);
    } else if (row_is_malformed) {
        TRIB_ERROR("id=store-corrupt %s: a row has a field of the wrong size", store->path);
        err = TRIB_ERR_CORRUPT;
    }
    (void)sqlite3_reset(stmt);
    (void)sqlite3_clear_bindings(stmt);
    return err;
}

static enum trib_err run(struct trib_store *store, const char *sql, const char *kinds, ...)
{
    va_list args;
    va_start(args, kinds);
    enum trib_err err = run_list(store, sql, NULL, kinds, args);
    va_end(args);
    return err;
}

static enum trib_err query(struct trib_store *store, const char *sql, const struct reader *reader,
                           const char *kinds, ...)
{
    va_list args;
    va_start(args, kinds);
    enum trib_err err = run_list(store, sql, reader, kinds, args);
    va_end(args);
    return err;
}

// The same for a change of exactly one row. TRIB_ERR_STATE: there is no such row.
static enum trib_err run_one(struct trib_store *store, const char *sql, const char *kinds, ...)
{
    va_list args;
    va_start(args, kinds);
    enum trib_err err = run_list(store, sql, NULL, kinds, args);
    va_end(args);
    if (!err && sqlite3_changes(store->db) != 1)
        err = TRIB_ERR_STATE;
    return err;
}

// ---- Reading columns

static uint64_t number_at(sqlite3_stmt *stmt, int column)
{
    return (uint64_t)sqlite3_column_int64(stmt, column);
}

static const char *text_at(sqlite3_stmt *stmt, int column)
{
    return (const char *)sqlite3_column_text(stmt, column);
}

static void name_at(sqlite3_stmt *stmt, int column, char name[static TRIB_NAME_MAX + 1])
{
    const char *text = text_at(stmt, column);
    (void)snprintf(name, TRIB_NAME_MAX + 1, "%s", text ? text : "");
}

static void bytes_at(sqlite3_stmt *stmt, int column, uint8_t *out, size_t size)
{
    const void *data = sqlite3_column_blob(stmt, column);
    memset(out, 0, size);
    if (data && (size_t)sqlite3_column_bytes(stmt, column) == size)
        memcpy(out, data, size);
    else
        row_is_malformed = true;
}

// ---- Opening

static enum trib_err execute(struct trib_store *store, const char *sql)
{
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? TRIB_OK : failure(store, code, sql);
}

struct number {
    struct reader reader; // first: it is what `row` is given
    uint64_t value;
    bool found;
};

static void take_number(void *user, sqlite3_stmt *stmt)
{
    struct number *number = user;
    number->value = number_at(stmt, 0);
    number->found = true;
}

static enum trib_err pragma_number(struct trib_store *store, const char *sql, uint64_t *ret_value)
{
    struct number number = {.reader = {.row = take_number}};
    enum trib_err err = query(store, sql, &number.reader, "");
    *ret_value = number.value;
    return err;
}

static void take_check(void *user, sqlite3_stmt *stmt)
{
    struct number *number = user;
    number->found = number->found || strcmp(text_at(stmt, 0), "ok") != 0;
}

static enum trib_err check_is_empty(struct trib_store *store)
{
    uint64_t count = 0;
    enum trib_err err = pragma_number(store, "SELECT count(*) FROM sqlite_schema", &count);
    if (!err && count != 0) {
        TRIB_ERROR("%s: is a database of another program", store->path);
        return TRIB_ERR_STATE;
    }
    return err;
}

// In one transaction from version `from` (0: an empty file) to ours.
static enum trib_err upgrade_schema(struct trib_store *store, uint64_t from)
{
    char sql[64];
    enum trib_err err = execute(store, "BEGIN IMMEDIATE");
    if (!err && from == 0)
        err = execute(store, schema);
    for (uint64_t version = from ? from : 1; version < SCHEMA_VERSION && !err; version++)
        err = execute(store, upgrades[version - 1]);
    (void)snprintf(sql, sizeof(sql), "PRAGMA user_version=%d; PRAGMA application_id=%d",
                   SCHEMA_VERSION, APPLICATION_ID);
    if (!err)
        err = execute(store, sql);
    return err ? err : execute(store, "COMMIT");
}

// A fresh file gets the schema, an older one is brought up to it; a newer one is refused.
static enum trib_err settle_schema(struct trib_store *store)
{
    uint64_t version = 0;
    struct number check = {.reader = {.row = take_check}};

    enum trib_err err = pragma_number(store, "PRAGMA user_version", &version);
    if (err)
        return err;
    if (version > SCHEMA_VERSION) {
        TRIB_ERROR("%s: has schema version %" PRIu64 ", this program knows %d", store->path,
                   version, SCHEMA_VERSION);
        return TRIB_ERR_STATE;
    }
    if (version == 0) {
        err = check_is_empty(store);
    } else {
        err = query(store, "PRAGMA quick_check(1)", &check.reader, "");
        if (!err && check.found) {
            TRIB_ERROR("id=store-corrupt %s: fails its integrity check", store->path);
            err = TRIB_ERR_CORRUPT;
        }
    }
    if (err || version == SCHEMA_VERSION)
        return err;
    return upgrade_schema(store, version);
}

enum trib_err trib_store_open(const char *path, struct trib_store **ret_store)
{
    enum trib_err err = TRIB_OK;
    struct trib_store *store = trib_alloc(sizeof(*store));
    if (!store)
        return TRIB_ERR_NOMEM;
    (void)snprintf(store->path, sizeof(store->path), "%s", path);
    if (sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL)) {
        TRIB_ERROR("%s: cannot open: %s", path, sqlite3_errmsg(store->db));
        err = TRIB_ERR_IO;
        goto failed;
    }
    (void)chmod(path, 0600); // it holds hashes of tokens; the directory is closed to others as well
    // The exclusive lock is taken by the first write and kept until the process ends.
    if (sqlite3_exec(store->db,
                     "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                     "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; BEGIN EXCLUSIVE; COMMIT",
                     NULL, NULL, NULL)) {
        int code = sqlite3_errcode(store->db) & 0xff;
        if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
            TRIB_ERROR("%s: another coordinator runs on it", path);
            err = TRIB_ERR_STATE;
        } else {
            err = failure(store, code, "open");
        }
        goto failed;
    }
    err = settle_schema(store);
    if (err)
        goto failed;
    *ret_store = store;
    return TRIB_OK;

failed:
    trib_store_close(store);
    return err;
}

void trib_store_close(struct trib_store *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < store->statement_count; i++)
        (void)sqlite3_finalize(store->statements[i].stmt);
    (void)sqlite3_close(store->db);
    free(store);
}

enum trib_err trib_store_begin(struct trib_store *store)
{
    return run(store, "BEGIN IMMEDIATE", "");
}

enum trib_err trib_store_commit(struct trib_store *store)
{
    return run(store, "COMMIT", "");
}

void trib_store_rollback(struct trib_store *store)
{
    (void)run(store, "ROLLBACK", "");
}

enum trib_err trib_store_savepoint(struct trib_store *store)
{
    return run(store, "SAVEPOINT part", "");
}

enum trib_err trib_store_release(struct trib_store *store)
{
    return run(store, "RELEASE part", "");
}

void trib_store_undo(struct trib_store *store)
{
    (void)run(store, "ROLLBACK TO part", "");
    (void)run(store, "RELEASE part", "");
}

static uint64_t last_id(struct trib_store *store)
{
    return (uint64_t)sqlite3_last_insert_rowid(store->db);
}

enum trib_err trib_store_meta_set(struct trib_store *store, const char *key, uint64_t value)
{
    return run(store, "INSERT OR REPLACE INTO meta VALUES(?,?)", "ti", key, value);
}

enum trib_err trib_store_meta_get(struct trib_store *store, const char *key, uint64_t fallback,
                                  uint64_t *ret_value)
{
    struct number number = {.reader = {.row = take_number}, .value = fallback};
    enum trib_err err =
        query(store, "SELECT value FROM meta WHERE key=?", &number.reader, "t", key);
    if (!err)
        *ret_value = number.value;
    return err;
}

// ---- Devices and tokens

enum trib_err trib_store_device_insert(struct trib_store *store,
                                       const struct trib_store_device *device, uint64_t *ret_id)
{
    enum trib_err err = run(store, "INSERT INTO device VALUES(NULL,?,?,?,?,0,?,0,NULL)", "ttbbi",
                            device->name, device->group, device->key, sizeof(device->key),
                            device->sign_key, sizeof(device->sign_key), device->enrolled_ms);
    if (!err)
        *ret_id = last_id(store);
    return err;
}

enum trib_err trib_store_device_revoke(struct trib_store *store, uint64_t id, uint64_t now_ms)
{
    return run_one(store, "UPDATE device SET revoked=1, revoked_ms=? WHERE id=?", "ii", now_ms, id);
}

enum trib_err trib_store_device_roster(struct trib_store *store, uint64_t id,
                                       const uint8_t signature[static TRIB_SIGNATURE_SIZE])
{
    return run_one(store, "UPDATE device SET roster=? WHERE id=?", "bi", signature,
                   (size_t)TRIB_SIGNATURE_SIZE, id);
}

enum trib_err trib_store_token_insert(struct trib_store *store,
                                      const struct trib_store_token *token)
{
    return run(store, "INSERT INTO token VALUES(?,?,?,?,?)", "bbtii", token->id, sizeof(token->id),
               token->secret_hash, sizeof(token->secret_hash), token->name, token->uses_left,
               token->expires_ms);
}

enum trib_err trib_store_token_use(struct trib_store *store, const uint8_t id[8], uint64_t device)
{
    enum trib_err err =
        run_one(store, "UPDATE token SET uses_left=uses_left-1 WHERE id=?", "b", id, (size_t)8);
    return err ? err : run(store, "INSERT INTO token_use VALUES(?,?)", "bi", id, (size_t)8, device);
}

static void read_device(void *user, sqlite3_stmt *stmt)
{
    const struct reader *reader = user;
    struct trib_store_device device = {.id = number_at(stmt, 0)};
    name_at(stmt, 1, device.name);
    name_at(stmt, 2, device.group);
    bytes_at(stmt, 3, device.key, sizeof(device.key));
    bytes_at(stmt, 4, device.sign_key, sizeof(device.sign_key));
    device.is_revoked = number_at(stmt, 5) != 0;
    device.enrolled_ms = number_at(stmt, 6);
    device.revoked_ms = number_at(stmt, 7);
    device.has_roster = sqlite3_column_type(stmt, 8) != SQLITE_NULL;
    if (device.has_roster)
        bytes_at(stmt, 8, device.roster, sizeof(device.roster));
    (*(const trib_store_device_fn *)reader->callback)(reader->user, &device);
}

enum trib_err trib_store_devices(struct trib_store *store, trib_store_device_fn row, void *user)
{
    const struct reader reader = {read_device, &row, user};
    return query(store, "SELECT * FROM device ORDER BY name", &reader, "");
}

static void read_token(void *user, sqlite3_stmt *stmt)
{
    const struct reader *reader = user;
    struct trib_store_token token = {.uses_left = number_at(stmt, 3),
                                     .expires_ms = number_at(stmt, 4)};
    bytes_at(stmt, 0, token.id, sizeof(token.id));
    bytes_at(stmt, 1, token.secret_hash, sizeof(token.secret_hash));
    name_at(stmt, 2, token.name);
    (*(const trib_store_token_fn *)reader->callback)(reader->user, &token);
}

enum trib_err trib_store_tokens(struct trib_store *store, trib_store_token_fn row, void *user)
{
    const struct reader reader = {read_token, &row, user};
    return query(store, "SELECT * FROM token", &reader, "");
}

static void read_token_use(void *user, sqlite3_stmt *stmt)
{
    const struct reader *reader = user;
    uint8_t token[8];
    bytes_at(stmt, 0, token, sizeof(token));
    (*(const trib_store_token_use_fn *)reader->callback)(reader->user, token, number_at(stmt, 1));
}

enum trib_err trib_store_token_uses(struct trib_store *store, trib_store_token_use_fn row,
                                    void *user)
{
    const struct reader reader = {read_token_use, &row, user};
    return query(store, "SELECT token, device FROM token_use", &reader, "");
}

// ---- Jobs

enum trib_err trib_store_job_insert(struct trib_store *store, const struct trib_store_job *job,
                                    uint64_t *ret_id)
{
    enum trib_err err =
        run(store, "INSERT INTO job VALUES(NULL,?,?,?,?,0,?,0,0,0,'')", "ttiii", job->name,
            job->config, (uint64_t)job->state, job->submitted_ms, job->start_version);
    if (!err)
        *ret_id = last_id(store);
    return err;
}

enum trib_err trib_store_job_update(struct trib_store *store, const struct trib_store_job *job)
{
    return run_one(store,
                   "UPDATE job SET state=?, ended_ms=?, start_version=?, rounds_done=?,"
                   " epsilon_pure=?, rho=?, reason=? WHERE id=?",
                   "iiiirrti", (uint64_t)job->state, job->ended_ms, job->start_version,
                   job->rounds_done, job->epsilon_pure, job->rho, job->reason ? job->reason : "",
                   job->id);
}

static void read_job(void *user, sqlite3_stmt *stmt)
{
    const struct reader *reader = user;
    const struct trib_store_job job = {
        .id = number_at(stmt, 0),
        .name = text_at(stmt, 1),
        .config = text_at(stmt, 2),
        .state = (uint32_t)number_at(stmt, 3),
        .submitted_ms = number_at(stmt, 4),
        .ended_ms = number_at(stmt, 5),
        .start_version = number_at(stmt, 6),
        .rounds_done = number_at(stmt, 7),
        .epsilon_pure = sqlite3_column_double(stmt, 8),
        .rho = sqlite3_column_double(stmt, 9),
        .reason = text_at(stmt, 10),
    };
    (*(const trib_store_job_fn *)reader->callback)(reader->user, &job);
}

enum trib_err trib_store_jobs(struct trib_store *store, trib_store_job_fn row, void *user)
{
    const struct reader reader = {read_job, &row, user};
    return query(store, "SELECT * FROM job ORDER BY id", &reader, "");
}

// ---- Versions

enum trib_err trib_store_version_insert(struct trib_store *store,
                                        const struct trib_store_version *v)
{
    enum trib_err err =
        run(store, "INSERT INTO version VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,NULL)", "iiibiiittibbit",
            v->version, v->generation, v->parent, v->digest, sizeof(v->digest), v->job, v->round,
            v->round_number, v->kind, v->spec, v->params, v->manifest, v->manifest_size,
            v->signature, sizeof(v->signature), v->created_ms, v->metrics);
    if (!err && v->has_value)
        err = run(store, "UPDATE version SET value=? WHERE version=?", "ri", v->value, v->version);
    return err;
}

static void read_version(void *user, sqlite3_stmt *stmt)
{
    const struct reader *reader = user;
    struct trib_store_version v = {
        .version = number_at(stmt, 0),
        .generation = number_at(stmt, 1),
        .parent = number_at(stmt, 2),
        .job = number_at(stmt, 4),
        .round = number_at(stmt, 5),
        .round_number = number_at(stmt, 6),
        .kind = text_at(stmt, 7),
        .spec = text_at(stmt, 8),
        .params = number_at(stmt, 9),
        .manifest = sqlite3_column_blob(stmt, 10),
        .manifest_size = (size_t)sqlite3_column_bytes(stmt, 10),
        .created_ms = number_at(stmt, 12),
        .metrics = text_at(stmt, 13),
        .has_value = sqlite3_column_type(stmt, 14) != SQLITE_NULL,
        .value = sqlite3_column_double(stmt, 14),
    };
    bytes_at(stmt, 3, v.digest, sizeof(v.digest));
    bytes_at(stmt, 11, v.signature, sizeof(v.signature));
    (*(const trib_store_version_fn *)reader->callback)(reader->user, &v);
}

enum trib_err trib_store_versions(struct trib_store *store, uint64_t after, uint64_t limit,
                                  trib_store_version_fn row, void *user)
{
    const struct reader reader = {read_version, &row, user};
    return query(store, "SELECT * FROM version WHERE version>? ORDER BY version LIMIT ?", &reader,
                 "ii", after, limit);
}

enum trib_err trib_store_version_head(struct trib_store *store, trib_store_version_fn row,
                                      void *user)
{
    const struct reader reader = {read_version, &row, user};
    return query(store, "SELECT * FROM version ORDER BY generation DESC, version DESC LIMIT 1",
                 &reader, "");
}

enum trib_err trib_store_version_best(struct trib_store *store, uint64_t job, bool higher_is_better,
                                      trib_store_version_fn row, void *user)
{
    const struct reader reader = {read_version, &row, user};
    return query(store,
                 "SELECT * FROM version WHERE job=? AND value IS NOT NULL"
                 " ORDER BY value*? DESC, version LIMIT 1",
                 &reader, "ir", job, higher_is_better ? 1.0 : -1.0);
}

// ---- Rounds, leases, updates

enum trib_err trib_store_round_insert(struct trib_store *store,
                                      const struct trib_store_round *round)
{
    return run(store,
               "INSERT INTO round(id,job,number,state,base_version,opened_ms,ended_ms)"
               " VALUES(?,?,?,?,?,?,0)",
               "iiiiii", round->id, round->job, round->number, (uint64_t)round->state,
               round->base_version, round->opened_ms);
}

enum trib_err trib_store_round_state(struct trib_store *store, uint64_t id, uint32_t state)
{
    return run_one(store, "UPDATE round SET state=? WHERE id=?", "ii", (uint64_t)state, id);
}

// SQLite stores a NaN as NULL.
enum trib_err trib_store_round_end(struct trib_store *store, uint64_t id, uint32_t state,
                                   uint64_t ended_ms, const struct trib_round_result *r)
{
    return run_one(
        store,
        "UPDATE round SET state=?, ended_ms=?, version=?, state_text=?, reason=?, asked=?,"
        " accepted=?, refused=?, loss=?, metric=?, value=?, metrics=?, epsilon_pure=?,"
        " epsilon=?, delta=?, bytes_up=?, bytes_down=?, seconds=?, privacy=? WHERE id=?",
        "iiittiiirtrtrrriirti", (uint64_t)state, ended_ms, r->version, r->state, r->reason,
        r->asked, r->accepted, r->refused, r->loss, r->metric, r->value, r->metrics,
        r->epsilon_pure, r->epsilon, r->delta, r->bytes_up, r->bytes_down, r->seconds, r->privacy,
        id);
}

static double real_at(sqlite3_stmt *stmt, int column)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return (double)NAN;
    return sqlite3_column_double(stmt, column);
}

static void copy_text(sqlite3_stmt *stmt, int column, char *out, size_t size)
{
    const char *text = text_at(stmt, column);
    (void)snprintf(out, size, "%s", text ? text : "");
}

static void read_round(void *user, sqlite3_stmt *stmt)
{
    const struct reader *reader = user;
    struct trib_store_round round = {
        .id = number_at(stmt, 0),
        .job = number_at(stmt, 1),
        .number = number_at(stmt, 2),
        .state = (uint32_t)number_at(stmt, 3),
        .base_version = number_at(stmt, 4),
        .opened_ms = number_at(stmt, 5),
        .ended_ms = number_at(stmt, 6),
        .result =
            {
                .id = number_at(stmt, 0),
                .round = number_at(stmt, 2),
                .version = number_at(stmt, 7),
                .asked = number_at(stmt, 10),
                .accepted = number_at(stmt, 11),
                .refused = number_at(stmt, 12),
                .loss = real_at(stmt, 13),
                .value = real_at(stmt, 15),
                .epsilon_pure = real_at(stmt, 17),
                .epsilon = real_at(stmt, 18),
                .delta = real_at(stmt, 19),
                .bytes_up = number_at(stmt, 20),
                .bytes_down = number_at(stmt, 21),
                .seconds = real_at(stmt, 22),
            },
    };
    copy_text(stmt, 8, round.result.state, sizeof(round.result.state));
    copy_text(stmt, 9, round.result.reason, sizeof(round.result.reason));
    copy_text(stmt, 14, round.result.metric, sizeof(round.result.metric));
    copy_text(stmt, 16, round.result.metrics, sizeof(round.result.metrics));
    copy_text(stmt, 23, round.result.privacy, sizeof(round.result.privacy));
    (*(const trib_store_round_fn *)reader->callback)(reader->user, &round);
}

enum trib_err trib_store_rounds(struct trib_store *store, uint64_t job, uint64_t after,
                                uint64_t limit, trib_store_round_fn row, void *user)
{
    const struct reader reader = {read_round, &row, user};
    return query(store,
                 "SELECT * FROM round WHERE id>? AND (job=? OR ?=0) AND state_text IS NOT NULL"
                 " ORDER BY id LIMIT ?",
                 &reader, "iiii", after, job, job, limit);
}

enum trib_err trib_store_round_get(struct trib_store *store, uint64_t id, trib_store_round_fn row,
                                   void *user)
{
    const struct reader reader = {read_round, &row, user};
    return query(store, "SELECT * FROM round WHERE id=? OR ?=0 ORDER BY id DESC LIMIT 1", &reader,
                 "ii", id, id);
}

enum trib_err trib_store_lease_put(struct trib_store *store, const struct trib_store_lease *lease)
{
    return run(store, "INSERT OR REPLACE INTO lease VALUES(?,?,?,?,?)", "iiiii", lease->round,
               lease->device, (uint64_t)lease->order, (uint64_t)lease->state,
               (uint64_t)lease->code);
}

static void read_lease(void *user, sqlite3_stmt *stmt)
{
    const struct reader *reader = user;
    const struct trib_store_lease lease = {
        .round = number_at(stmt, 0),
        .device = number_at(stmt, 1),
        .order = (uint32_t)number_at(stmt, 2),
        .state = (uint32_t)number_at(stmt, 3),
        .code = (uint32_t)number_at(stmt, 4),
    };
    (*(const trib_store_lease_fn *)reader->callback)(reader->user, &lease, text_at(stmt, 5));
}

enum trib_err trib_store_leases(struct trib_store *store, uint64_t round, trib_store_lease_fn row,
                                void *user)
{
    const struct reader reader = {read_lease, &row, user};
    return query(store,
                 "SELECT lease.*, device.name FROM lease JOIN device ON device.id=lease.device"
                 " WHERE round=? ORDER BY ord",
                 &reader, "i", round);
}

enum trib_err trib_store_update_insert(struct trib_store *store, const struct trib_store_update *u)
{
    return run(store, "INSERT INTO ledger VALUES(?,?,?,?,?,?,?)", "biiiibb", u->id, sizeof(u->id),
               u->round, u->device, (uint64_t)u->slot, (uint64_t)u->weight, u->digest,
               sizeof(u->digest), u->checksums, u->checksums_size);
}

static void read_update(void *user, sqlite3_stmt *stmt)
{
    const struct reader *reader = user;
    struct trib_store_update update = {
        .round = number_at(stmt, 1),
        .device = number_at(stmt, 2),
        .slot = (uint32_t)number_at(stmt, 3),
        .weight = (uint32_t)number_at(stmt, 4),
        .checksums = sqlite3_column_blob(stmt, 6),
        .checksums_size = (size_t)sqlite3_column_bytes(stmt, 6),
    };
    bytes_at(stmt, 0, update.id, sizeof(update.id));
    bytes_at(stmt, 5, update.digest, sizeof(update.digest));
    (*(const trib_store_update_fn *)reader->callback)(reader->user, &update);
}

enum trib_err trib_store_updates(struct trib_store *store, uint64_t round_min,
                                 trib_store_update_fn row, void *user)
{
    const struct reader reader = {read_update, &row, user};
    return query(store,
                 "SELECT ledger.* FROM ledger JOIN device ON device.id=ledger.device"
                 " WHERE round>=? ORDER BY round, device.name",
                 &reader, "i", round_min);
}

enum trib_err trib_store_updates_prune(struct trib_store *store, uint64_t round_min)
{
    return run(store, "DELETE FROM ledger WHERE round<?", "i", round_min);
}

// ---- Secure aggregation

enum trib_err trib_store_secagg_put(struct trib_store *store, const struct trib_store_secagg *piece)
{
    return run(store, "INSERT OR REPLACE INTO secagg VALUES(?,?,?,?)", "iiib", piece->round,
               (uint64_t)piece->kind, (uint64_t)piece->member, piece->data, piece->size);
}

static void read_secagg(void *user, sqlite3_stmt *stmt)
{
    const struct reader *reader = user;
    const struct trib_store_secagg piece = {
        .round = number_at(stmt, 0),
        .kind = (uint32_t)number_at(stmt, 1),
        .member = (uint32_t)number_at(stmt, 2),
        .data = sqlite3_column_blob(stmt, 3),
        .size = (size_t)sqlite3_column_bytes(stmt, 3),
    };
    (*(const trib_store_secagg_fn *)reader->callback)(reader->user, &piece);
}

enum trib_err trib_store_secagg(struct trib_store *store, uint64_t round, trib_store_secagg_fn row,
                                void *user)
{
    const struct reader reader = {read_secagg, &row, user};
    return query(store, "SELECT * FROM secagg WHERE round=? ORDER BY kind, member", &reader, "i",
                 round);
}

enum trib_err trib_store_secagg_drop(struct trib_store *store, uint64_t round)
{
    return run(store, "DELETE FROM secagg WHERE round=?", "i", round);
}
