#include "coordinator/store_db.h"

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
#include "coordinator/store_audit.h"
#include "coordinator/store_pages.h"

#define TRIB_LOG_MODULE "store"

enum {
    SCHEMA_VERSION = 9,
    SUMMED_VERSION = 9,          // from this one on pages have checksums
    APPLICATION_ID = 0x54524942, // "TRIB"
    STATEMENTS_MAX = 100,
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
    bool is_in_doubt;                       // a write or sync failed
    const struct trib_audit_signer *signer; // borrowed, of the audit log
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
    // 3: rounds that count
    "ALTER TABLE round ADD COLUMN kind TEXT;"
    "ALTER TABLE round ADD COLUMN tally TEXT;",
    // 4: when a device was last there; of those before, nobody knows: as if all were there just now
    "ALTER TABLE device ADD COLUMN seen_ms INTEGER;"
    "UPDATE device SET seen_ms=CAST(strftime('%s','now') AS INTEGER)*1000;",
    // 5: the audit log
    "CREATE TABLE audit(number INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, actor TEXT NOT NULL,"
    " role TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, outcome TEXT NOT NULL,"
    " hash BLOB NOT NULL);"
    "CREATE TABLE audit_checkpoint(number INTEGER PRIMARY KEY, hash BLOB NOT NULL,"
    " signature BLOB NOT NULL);",
    // 6: where a round's time went, and when a device did its part
    "ALTER TABLE round ADD COLUMN phases TEXT;"
    "ALTER TABLE lease ADD COLUMN changed_ms INTEGER;",
    // 7: versions whose files are gone, or are about to go
    "ALTER TABLE version ADD COLUMN dropped_ms INTEGER;",
    // 8: keys that a device is about to have
    "ALTER TABLE device ADD COLUMN next_key BLOB;"
    "ALTER TABLE device ADD COLUMN next_sign_key BLOB;",
    // 9: pages with checksums (store_pages.h), which trib_store_open sees to
    "",
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
        store->is_in_doubt = true;
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

static enum trib_err run_list(struct trib_store *store, const char *sql,
                              const struct trib_db_reader *reader, const char *kinds, va_list args)
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

enum trib_err trib_db_run(struct trib_store *store, const char *sql, const char *kinds, ...)
{
    va_list args;
    va_start(args, kinds);
    enum trib_err err = run_list(store, sql, NULL, kinds, args);
    va_end(args);
    return err;
}

enum trib_err trib_db_query(struct trib_store *store, const char *sql,
                            const struct trib_db_reader *reader, const char *kinds, ...)
{
    va_list args;
    va_start(args, kinds);
    enum trib_err err = run_list(store, sql, reader, kinds, args);
    va_end(args);
    return err;
}

// The same for a change of exactly one row. TRIB_ERR_STATE: there is no such row.
enum trib_err trib_db_run_one(struct trib_store *store, const char *sql, const char *kinds, ...)
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

uint64_t trib_db_number(sqlite3_stmt *stmt, int column)
{
    return (uint64_t)sqlite3_column_int64(stmt, column);
}

const char *trib_db_text(sqlite3_stmt *stmt, int column)
{
    return (const char *)sqlite3_column_text(stmt, column);
}

void trib_db_name(sqlite3_stmt *stmt, int column, char name[static TRIB_NAME_MAX + 1])
{
    const char *text = trib_db_text(stmt, column);
    (void)snprintf(name, TRIB_NAME_MAX + 1, "%s", text ? text : "");
}

void trib_db_bytes(sqlite3_stmt *stmt, int column, uint8_t *out, size_t size)
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
    struct trib_db_reader reader; // first: it is what `row` is given
    uint64_t value;
    bool found;
};

static void take_number(void *user, sqlite3_stmt *stmt)
{
    struct number *number = user;
    number->value = trib_db_number(stmt, 0);
    number->found = true;
}

static enum trib_err pragma_number(struct trib_store *store, const char *sql, uint64_t *ret_value)
{
    struct number number = {.reader = {.row = take_number}};
    enum trib_err err = trib_db_query(store, sql, &number.reader, "");
    *ret_value = number.value;
    return err;
}

static void take_check(void *user, sqlite3_stmt *stmt)
{
    struct number *number = user;
    number->found = number->found || strcmp(trib_db_text(stmt, 0), "ok") != 0;
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

enum trib_err trib_store_checkpoint(struct trib_store *store)
{
    return execute(store, "PRAGMA wal_checkpoint(TRUNCATE)");
}

static enum trib_err check_structure(struct trib_store *store, const char *sql)
{
    struct number check = {.reader = {.row = take_check}};
    enum trib_err err = trib_db_query(store, sql, &check.reader, "");
    if (!err && check.found) {
        TRIB_ERROR("id=store-corrupt %s: fails its integrity check", store->path);
        err = TRIB_ERR_CORRUPT;
    }
    return err;
}

// What SQLite sees in pages that make no sense, as a disk leaves them that lost some of what it said to
// have written. Not of the tables that grow with every update: seconds for a million rows, which have
// their checksums (settle_pages).
static enum trib_err check_small_tables(struct trib_store *store)
{
    static const char *const checks[] = {
        "PRAGMA quick_check(meta)",
        "PRAGMA quick_check(device)",
        "PRAGMA quick_check(token)",
        "PRAGMA quick_check(token_use)",
        "PRAGMA quick_check(job)",
        "PRAGMA quick_check(version)",
        "PRAGMA quick_check(round)",
        "PRAGMA quick_check(audit)",
        "PRAGMA quick_check(audit_checkpoint)",
    };
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]) && !err; i++)
        err = check_structure(store, checks[i]);
    return err;
}

// Every page against its checksum; one of before is written anew, so that it has them from now on.
static enum trib_err settle_pages(struct trib_store *store, uint64_t version)
{
    enum trib_err err = TRIB_OK;
    if (version != 0 && !trib_store_pages_are_summed(store->db)) {
        if (version >= SUMMED_VERSION) {
            TRIB_ERROR("id=store-corrupt %s: page 1 does not say that pages have checksums",
                       store->path);
            return TRIB_ERR_CORRUPT;
        }
        TRIB_INFO("%s: its pages are given checksums", store->path);
        err = execute(store, "VACUUM");
    }
    if (!err)
        err = trib_store_checkpoint(store);
    if (err)
        return err;
    if (!trib_store_pages_are_summed(store->db)) {
        TRIB_ERROR("%s: its pages could not be given checksums", store->path);
        return TRIB_ERR_IO;
    }
    return trib_store_pages_verify(store->db);
}

// A fresh file gets the schema, an older one is brought up to it; a newer one is refused.
static enum trib_err settle_schema(struct trib_store *store)
{
    uint64_t version = 0;

    enum trib_err err = pragma_number(store, "PRAGMA user_version", &version);
    if (err)
        return err;
    if (version > SCHEMA_VERSION) {
        TRIB_ERROR("%s: has schema version %" PRIu64 ", this program knows %d", store->path,
                   version, SCHEMA_VERSION);
        return TRIB_ERR_STATE;
    }
    if (version == 0)
        err = check_is_empty(store);
    else if (version == SCHEMA_VERSION)
        err = check_small_tables(store);
    else
        err = check_structure(store, "PRAGMA quick_check(1)");
    if (!err)
        err = settle_pages(store, version);
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
    int reserve = TRIB_STORE_PAGES_RESERVE;
    err = trib_store_pages_register();
    if (err)
        goto failed;
    if (sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                        TRIB_STORE_PAGES_VFS) ||
        sqlite3_file_control(store->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve)) {
        TRIB_ERROR("%s: cannot open: %s", path, sqlite3_errmsg(store->db));
        err = TRIB_ERR_IO;
        goto failed;
    }
    (void)chmod(path, 0600); // it holds hashes of tokens; the directory is closed to others as well
    // The exclusive lock is taken by the first write and kept until the process ends.
    if (sqlite3_exec(store->db,
                     "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                     "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;"
                     "BEGIN EXCLUSIVE; COMMIT",
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
    // What the kernel has of the log after a failed write or sync need not be what was written: it
    // is not copied into the database, as closing does otherwise. The next start reads what is there.
    if (store->is_in_doubt)
        (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_close(store->db);
    free(store);
}

enum trib_err trib_store_copy(struct trib_store *store, const char *path)
{
    return trib_db_run(store, "VACUUM INTO ?", "t", path);
}

enum trib_err trib_store_verify(struct trib_store *store)
{
    return check_structure(store, "PRAGMA integrity_check(1)");
}

enum trib_err trib_store_begin(struct trib_store *store)
{
    return trib_db_run(store, "BEGIN IMMEDIATE", "");
}

enum trib_err trib_store_commit(struct trib_store *store)
{
    return trib_db_run(store, "COMMIT", "");
}

void trib_store_rollback(struct trib_store *store)
{
    (void)!trib_db_run(store, "ROLLBACK", "");
}

enum trib_err trib_store_savepoint(struct trib_store *store)
{
    return trib_db_run(store, "SAVEPOINT part", "");
}

enum trib_err trib_store_release(struct trib_store *store)
{
    return trib_db_run(store, "RELEASE part", "");
}

void trib_store_undo(struct trib_store *store)
{
    (void)!trib_db_run(store, "ROLLBACK TO part", "");
    (void)!trib_db_run(store, "RELEASE part", "");
}

void trib_store_audit_signer(struct trib_store *store, const struct trib_audit_signer *signer)
{
    store->signer = signer;
}

const struct trib_audit_signer *trib_db_signer(const struct trib_store *store)
{
    return store->signer;
}

uint64_t trib_db_last_id(struct trib_store *store)
{
    return (uint64_t)sqlite3_last_insert_rowid(store->db);
}

enum trib_err trib_store_meta_set(struct trib_store *store, const char *key, uint64_t value)
{
    return trib_db_run(store, "INSERT OR REPLACE INTO meta VALUES(?,?)", "ti", key, value);
}

enum trib_err trib_store_meta_get(struct trib_store *store, const char *key, uint64_t fallback,
                                  uint64_t *ret_value)
{
    struct number number = {.reader = {.row = take_number}, .value = fallback};
    enum trib_err err =
        trib_db_query(store, "SELECT value FROM meta WHERE key=?", &number.reader, "t", key);
    if (!err)
        *ret_value = number.value;
    return err;
}
