// store_poke.h - a statement run on a store behind the coordinator's back, by one who knows about the
// checksums of its pages.
#ifndef TRIB_TESTS_STORE_POKE_H
#define TRIB_TESTS_STORE_POKE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#include "coordinator/store_pages.h"

// All of `sql` in one go. False: it could not be done.
static inline bool store_poke(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    const bool is_done =
        trib_store_pages_register() == TRIB_OK &&
        sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, TRIB_STORE_PAGES_VFS) == SQLITE_OK &&
        sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
    return sqlite3_close(db) == SQLITE_OK && is_done;
}

#endif // TRIB_TESTS_STORE_POKE_H
