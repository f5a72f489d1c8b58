// store_pages.h - each page of the store has a checksum, and is held against it whenever it is read.
//
// A layer between SQLite and its file system (sqlite3_vfs), which SQLite leaves 8 bytes at the end of
// each page: SipHash-2-4 of the rest, keyed by the number of the page, so that a page in the place of
// another is found as well. It is written when a page goes into the database and looked at when one is
// read; pages in the log have SQLite's own checksums for a start (store_log.h), and their hash in
// memory for the time that the program runs, since SQLite does not look at them again before it copies
// them into the database. What is not found: a page that the disk said to have written, and has not.
//
// A page that fails is logged as id=store-corrupt, with the file and the number of the page. SQLite
// gets SQLITE_CORRUPT, and from then on no write or sync of that database and of its log succeeds.
// Other programs can read the file, but must not write it: their pages fail.
#ifndef TRIB_COORDINATOR_STORE_PAGES_H
#define TRIB_COORDINATOR_STORE_PAGES_H

#include <sqlite3.h>
#include <stdbool.h>

#include "tributary/err.h"

#define TRIB_STORE_PAGES_VFS "tributary-store" // for sqlite3_open_v2

enum {
    TRIB_STORE_PAGES_RESERVE = 8, // for SQLITE_FCNTL_RESERVE_BYTES, before the first page is made
};

// Make the VFS known to SQLite, over the one that is its default now. More than once is fine.
TRIB_CHECKED enum trib_err trib_store_pages_register(void);

// Have the pages of this database checksums? Not when it was made by a program of before.
bool trib_store_pages_are_summed(sqlite3 *db);

// Read all of the database's file, from which nothing is missing in the log's favour: after a
// checkpoint. TRIB_ERR_CORRUPT: a page fails, logged. TRIB_ERR_IO, TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_store_pages_verify(sqlite3 *db);

#endif // TRIB_COORDINATOR_STORE_PAGES_H
