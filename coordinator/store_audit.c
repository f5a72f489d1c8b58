#include "coordinator/store_audit.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/log.h"
#include "coordinator/store_db.h"

#define TRIB_LOG_MODULE "audit"

struct head {
    struct trib_db_reader reader; // first: it is what `row` is given
    uint64_t number;
    uint8_t hash[TRIB_DIGEST_SIZE];
};

static void take_head(void *user, sqlite3_stmt *stmt)
{
    struct head *head = user;
    head->number = trib_db_number(stmt, 0);
    trib_db_bytes(stmt, 1, head->hash, sizeof(head->hash));
}

static enum trib_err read_head(struct trib_store *store, struct head *head)
{
    *head = (struct head){.reader = {.row = take_head}};
    trib_audit_begin(trib_db_signer(store)->key, head->hash);
    return trib_db_query(store, "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1",
                         &head->reader, "");
}

static enum trib_err put_checkpoint(struct trib_store *store, const struct head *head)
{
    uint8_t signature[TRIB_SIGNATURE_SIZE];
    char text[TRIB_DIGEST_TEXT_SIZE];
    trib_audit_sign(trib_db_signer(store)->seed, head->number, head->hash, signature);
    trib_hex_encode(head->hash, sizeof(head->hash), text);
    TRIB_INFO("checkpoint=%" PRIu64 ":%s", head->number, text); // a copy elsewhere: the log's
    return trib_db_run(store, "INSERT OR REPLACE INTO audit_checkpoint VALUES(?,?,?)", "ibb",
                       head->number, head->hash, sizeof(head->hash), signature, sizeof(signature));
}

enum trib_err trib_store_audit(struct trib_store *store, const struct trib_audit_record *record)
{
    struct head head;
    assert(trib_db_signer(store));
    enum trib_err err = read_head(store, &head);
    if (err)
        return err;
    struct trib_audit_record numbered = *record;
    numbered.number = ++head.number;
    trib_audit_link(head.hash, &numbered);
    err =
        trib_db_run(store, "INSERT INTO audit VALUES(?,?,?,?,?,?,?,?)", "iitttttb", numbered.number,
                    numbered.time_ms, numbered.actor, numbered.role, numbered.action,
                    numbered.subject, numbered.outcome, head.hash, sizeof(head.hash));
    if (!err && head.number % TRIB_AUDIT_INTERVAL == 0)
        err = put_checkpoint(store, &head);
    return err;
}

static void take_last(void *user, sqlite3_stmt *stmt)
{
    struct head *head = user;
    head->number = trib_db_number(stmt, 0);
}

enum trib_err trib_store_audit_checkpoint(struct trib_store *store)
{
    struct head head;
    struct head last = {.reader = {.row = take_last}};
    enum trib_err err = read_head(store, &head);
    if (!err)
        err = trib_db_query(store, "SELECT max(number) FROM audit_checkpoint", &last.reader, "");
    return err || head.number == last.number ? err : put_checkpoint(store, &head);
}

enum trib_err trib_store_audit_last(struct trib_store *store, uint64_t *ret_number)
{
    struct head last = {.reader = {.row = take_last}};
    enum trib_err err = trib_db_query(store, "SELECT max(number) FROM audit", &last.reader, "");
    *ret_number = last.number;
    return err;
}

// ---- Reading

static const char *text_at(sqlite3_stmt *stmt, int column)
{
    const char *text = trib_db_text(stmt, column);
    return text ? text : "";
}

static struct trib_audit_record record_of(sqlite3_stmt *stmt)
{
    return (struct trib_audit_record){.number = trib_db_number(stmt, 0),
                                      .time_ms = trib_db_number(stmt, 1),
                                      .actor = text_at(stmt, 2),
                                      .role = text_at(stmt, 3),
                                      .action = text_at(stmt, 4),
                                      .subject = text_at(stmt, 5),
                                      .outcome = text_at(stmt, 6)};
}

static void list_row(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    const trib_store_audit_fn *row = reader->callback;
    const struct trib_audit_record record = record_of(stmt);
    (*row)(reader->user, &record);
}

enum trib_err trib_store_audit_list(struct trib_store *store, uint64_t since, uint64_t limit,
                                    trib_store_audit_fn row, void *user)
{
    const struct trib_db_reader reader = {list_row, &row, user};
    return trib_db_query(store, "SELECT * FROM audit WHERE number>=? ORDER BY number LIMIT ?",
                         &reader, "ii", since, limit);
}

// Texts that are texts and have no NUL inside, numbers that are numbers: what is shown is all there.
static bool is_whole(sqlite3_stmt *stmt)
{
    bool whole = sqlite3_column_type(stmt, 1) == SQLITE_INTEGER;
    for (int column = 2; column < 7; column++)
        whole = whole && sqlite3_column_type(stmt, column) == SQLITE_TEXT &&
                strlen(text_at(stmt, column)) == (size_t)sqlite3_column_bytes(stmt, column);
    return whole;
}

struct checking {
    struct trib_db_reader reader; // first
    struct trib_audit_check *check;
    uint64_t count;
};

static void check_row(void *user, sqlite3_stmt *stmt)
{
    struct checking *checking = user;
    checking->count++;
    const bool whole = is_whole(stmt); // first: reading a text makes the column one
    struct trib_audit_row row = {.record = record_of(stmt)};
    // What has another size is what somebody wrote there: a finding, not a broken store.
    const void *hash = sqlite3_column_blob(stmt, 7);
    const void *signed_hash = sqlite3_column_blob(stmt, 8);
    const void *signature = sqlite3_column_blob(stmt, 9);
    if (whole && hash && sqlite3_column_bytes(stmt, 7) == TRIB_DIGEST_SIZE)
        memcpy(row.hash, hash, sizeof(row.hash));
    row.has_checkpoint = sqlite3_column_type(stmt, 10) != SQLITE_NULL;
    if (signed_hash && sqlite3_column_bytes(stmt, 8) == TRIB_DIGEST_SIZE)
        memcpy(row.signed_hash, signed_hash, sizeof(row.signed_hash));
    if (signature && sqlite3_column_bytes(stmt, 9) == TRIB_SIGNATURE_SIZE)
        memcpy(row.signature, signature, sizeof(row.signature));
    trib_audit_check_row(checking->check, &row);
}

enum trib_err trib_store_audit_check_part(struct trib_store *store, struct trib_audit_check *check,
                                          uint64_t limit, bool *ret_is_over)
{
    struct head orphan = {.reader = {.row = take_last}};
    struct checking checking = {.reader = {.row = check_row}, .check = check};
    enum trib_err err = trib_db_query(
        store,
        "SELECT a.number, time_ms, actor, role, action, subject, outcome, a.hash, c.hash,"
        " c.signature, c.number FROM audit a LEFT JOIN audit_checkpoint c ON c.number=a.number"
        " WHERE a.number>? ORDER BY a.number LIMIT ?",
        &checking.reader, "ii", check->records, limit);
    *ret_is_over = checking.count < limit || check->is_broken;
    if (err || !*ret_is_over)
        return err;
    err = trib_db_query(store,
                        "SELECT number FROM audit_checkpoint c WHERE NOT EXISTS"
                        " (SELECT 1 FROM audit a WHERE a.number=c.number)"
                        " ORDER BY number LIMIT 1",
                        &orphan.reader, "");
    if (!err)
        trib_audit_check_end(check, orphan.number);
    return err;
}

enum trib_err trib_store_audit_check(struct trib_store *store, struct trib_audit_check *check)
{
    bool is_over;
    return trib_store_audit_check_part(store, check, INT64_MAX, &is_over);
}
