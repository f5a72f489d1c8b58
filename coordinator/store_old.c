#include "coordinator/store_old.h"

#include <assert.h>

#include "coordinator/store_db.h"

struct finding {
    struct trib_db_reader reader; // first: it is what `row` is given
    struct trib_store_old *old;
    uint64_t versions[TRIB_STORE_OLD_MAX];
};

static void take_old(void *user, sqlite3_stmt *stmt)
{
    struct finding *finding = user;
    struct trib_store_old *old = finding->old;
    assert(old->count < TRIB_STORE_OLD_MAX);
    finding->versions[old->count] = trib_db_number(stmt, 0);
    trib_db_bytes(stmt, 1, old->digests[old->count++], TRIB_DIGEST_SIZE);
}

enum trib_err trib_store_old_drop(struct trib_store *store, const struct trib_store_pins *pins,
                                  uint64_t now_ms, struct trib_store_old *ret_old)
{
    struct finding finding = {.reader = {.row = take_old}, .old = ret_old};
    assert(pins->keep > 0);
    ret_old->count = 0;
    enum trib_err err = trib_db_query(
        store,
        "SELECT version, digest FROM version WHERE dropped_ms IS NULL"
        " AND version <= (SELECT version FROM version ORDER BY version DESC LIMIT 1 OFFSET ?)"
        " AND version NOT IN (?,?,?,?)"
        " AND version NOT IN (SELECT version FROM (SELECT version FROM version WHERE job=?"
        " AND value IS NOT NULL ORDER BY value*? DESC, version LIMIT 1))"
        " AND NOT (job=? AND kind='round' AND round_number>=?)"
        " ORDER BY version LIMIT ?",
        &finding.reader, "iiiiiiriii", pins->keep, pins->versions[0], pins->versions[1],
        pins->versions[2], pins->versions[3], pins->job, pins->higher_is_better ? 1.0 : -1.0,
        pins->job, pins->tail_from, (uint64_t)TRIB_STORE_OLD_MAX);
    for (size_t i = 0; i < ret_old->count && !err; i++)
        err = trib_db_run_one(store, "UPDATE version SET dropped_ms=? WHERE version=?", "ii",
                              now_ms, finding.versions[i]);
    return err;
}

struct asking {
    struct trib_db_reader reader; // first
    bool is_kept;
};

static void take_kept(void *user, sqlite3_stmt *stmt)
{
    (void)stmt;
    ((struct asking *)user)->is_kept = true;
}

enum trib_err trib_store_digest_is_kept(struct trib_store *store,
                                        const uint8_t digest[static TRIB_DIGEST_SIZE],
                                        bool *ret_is_kept)
{
    struct asking asking = {.reader = {.row = take_kept}};
    enum trib_err err =
        trib_db_query(store, "SELECT 1 FROM version WHERE digest=? AND dropped_ms IS NULL LIMIT 1",
                      &asking.reader, "b", digest, (size_t)TRIB_DIGEST_SIZE);
    *ret_is_kept = asking.is_kept;
    return err;
}
