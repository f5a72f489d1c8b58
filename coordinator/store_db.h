// store_db.h - the store's database: its file and schema, statements, columns. For store*.c only.
#ifndef TRIB_COORDINATOR_STORE_DB_H
#define TRIB_COORDINATOR_STORE_DB_H

#include <sqlite3.h>
#include <stdint.h>

#include "coordinator/store.h"

typedef void (*trib_db_row_fn)(void *user, sqlite3_stmt *stmt);

// Who reads the rows of a query; `user` of the row function is this.
struct trib_db_reader {
    trib_db_row_fn row;
    const void *callback; // the address of the caller's typed function pointer
    void *user;
};

// Statements are string constants: each is prepared once. Values are bound by a word, a letter
// each: i uint64_t, r double, t const char * (NULL allowed), b const void * and size_t.
TRIB_CHECKED enum trib_err trib_db_run(struct trib_store *store, const char *sql, const char *kinds,
                                       ...);
// TRIB_ERR_STATE unless exactly one row was changed.
TRIB_CHECKED enum trib_err trib_db_run_one(struct trib_store *store, const char *sql,
                                           const char *kinds, ...);
TRIB_CHECKED enum trib_err trib_db_query(struct trib_store *store, const char *sql,
                                         const struct trib_db_reader *reader, const char *kinds,
                                         ...);
struct trib_audit_signer;
const struct trib_audit_signer *trib_db_signer(const struct trib_store *store); // NULL: none yet
uint64_t trib_db_last_id(struct trib_store *store); // of the last insert

uint64_t trib_db_number(sqlite3_stmt *stmt, int column);
const char *trib_db_text(sqlite3_stmt *stmt, int column); // until the next row
void trib_db_name(sqlite3_stmt *stmt, int column, char name[static TRIB_NAME_MAX + 1]);
// A blob of another size makes the query TRIB_ERR_CORRUPT.
void trib_db_bytes(sqlite3_stmt *stmt, int column, uint8_t *out, size_t size);

#endif // TRIB_COORDINATOR_STORE_DB_H
