#include "tests/test.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "coordinator/server_state.h"
#include "coordinator/store_db.h"
#include "tests/unit/store_poke.h"
#include "tests/unit/store_rig.h"

static struct trib_audit_signer signer;
static const uint8_t *key = signer.key; // of who checks

static void append(struct trib_store *store, uint64_t count)
{
    assert_int_equal(trib_store_begin(store), TRIB_OK);
    for (uint64_t i = 0; i < count; i++) {
        char subject[32];
        (void)snprintf(subject, sizeof(subject), "device d%" PRIu64, i);
        const struct trib_audit_record record = {.time_ms = 1000 + i,
                                                 .actor = "alice(1001)",
                                                 .role = "operator",
                                                 .action = "devices approve",
                                                 .subject = subject,
                                                 .outcome = "ok"};
        assert_int_equal(trib_store_audit(store, &record), TRIB_OK);
    }
    assert_int_equal(trib_store_commit(store), TRIB_OK);
}

static struct trib_store *open_signed(const struct place *place, uint64_t count)
{
    struct trib_store *store = open_store(place);
    memset(signer.seed, 7, sizeof(signer.seed));
    trib_sign_public(signer.seed, signer.key);
    trib_store_audit_signer(store, &signer);
    append(store, count);
    return store;
}

static struct trib_audit_check check_of(struct trib_store *store)
{
    struct trib_audit_check check;
    trib_audit_check_init(&check, key);
    assert_int_equal(trib_store_audit_check(store, &check), TRIB_OK);
    return check;
}

// What somebody does who can write the store: in a transaction that is undone after a look.
static void tamper(struct trib_store *store, const char *sql, uint64_t a, uint64_t b)
{
    assert_int_equal(trib_db_run(store, sql, "ii", a, b), TRIB_OK);
}

static void assert_found(struct trib_store *store, uint64_t at, const char *what)
{
    const struct trib_audit_check check = check_of(store);
    if (!check.is_broken || check.broken_at != at || strcmp(check.what, what) != 0)
        fail_msg("at %" PRIu64 " (wanted %" PRIu64 "): %s", check.broken_at, at, check.what);
    trib_store_rollback(store);
}

#define CHANGED(n) "record " #n " is not the one that was written there: it was changed or moved"

// Every column of a record.
static const char *const edits[] = {
    "UPDATE audit SET time_ms=time_ms+?2 WHERE number=?1",
    "UPDATE audit SET actor=actor||?2 WHERE number=?1",
    "UPDATE audit SET role='admin'||?2 WHERE number=?1",
    "UPDATE audit SET action='devices revoke'||?2 WHERE number=?1",
    "UPDATE audit SET subject='device d'||(number+?2) WHERE number=?1",
    "UPDATE audit SET outcome='failed'||?2 WHERE number=?1",
    "UPDATE audit SET outcome='ok'||char(0)||'x'||?2 WHERE number=?1",
    "UPDATE audit SET outcome=CAST(outcome AS BLOB) WHERE number=?1+0*?2",
    "UPDATE audit SET hash=zeroblob(32) WHERE number=?1+0*?2",
    "UPDATE audit SET hash=substr(hash,1,31) WHERE number=?1+0*?2",
};

static const char delete_range[] = "DELETE FROM audit WHERE number BETWEEN ? AND ?";
// Swap all of two records but their numbers: by way of a third, since numbers are unique.
static const char swap_content[] =
    "INSERT OR REPLACE INTO audit SELECT ?1+?2-number, time_ms, actor, role, action, subject,"
    " outcome, hash FROM audit WHERE number IN (?1,?2)";

static void a_whole_log_is_whole(void **state)
{
    struct trib_store *store = open_signed(*state, 250);
    struct trib_audit_check check = check_of(store);
    assert_false(check.is_broken);
    assert_int_equal(check.records, 250);
    assert_int_equal(check.checkpoints, 2);
    assert_int_equal(check.checked, 200);
    assert_int_equal(trib_store_audit_checkpoint(store), TRIB_OK);
    assert_int_equal(trib_store_audit_checkpoint(store), TRIB_OK); // is there already
    store = reopen(*state, store);
    trib_store_audit_signer(store, &signer);
    append(store, 60);
    check = check_of(store);
    assert_false(check.is_broken);
    assert_int_equal(check.records, 310);
    assert_int_equal(check.checkpoints, 4); // 100, 200, 250, 300
    trib_store_close(store);
}

static void an_empty_log_is_whole(void **state)
{
    struct trib_store *store = open_signed(*state, 0);
    const struct trib_audit_check check = check_of(store);
    assert_false(check.is_broken);
    assert_int_equal(check.records, 0);
    assert_int_equal(trib_store_audit_checkpoint(store), TRIB_OK); // nothing to sign
    assert_int_equal(check_of(store).checkpoints, 0);
    trib_store_close(store);
}

// Every record of a short log, every column: whatever is done to one is found there.
static void each_edit_and_removal_of_each_record_is_found(void **state)
{
    struct trib_store *store = open_signed(*state, 120);
    assert_int_equal(trib_store_audit_checkpoint(store), TRIB_OK);
    for (uint64_t n = 1; n <= 120; n++) {
        for (size_t i = 0; i <= sizeof(edits) / sizeof(edits[0]); i++) {
            assert_int_equal(trib_store_begin(store), TRIB_OK);
            if (i < sizeof(edits) / sizeof(edits[0]))
                tamper(store, edits[i], n, 5);
            else
                tamper(store, delete_range, n, n);
            const struct trib_audit_check check = check_of(store);
            trib_store_rollback(store);
            assert_true(check.is_broken);
            assert_int_equal(check.broken_at, n);
        }
    }
    assert_false(check_of(store).is_broken);
    trib_store_close(store);
}

static void among_a_hundred_thousand_each_change_is_found_and_named(void **state)
{
    struct trib_store *store = open_signed(*state, 100000);
    const uint64_t start_ms = trib_clock_mono_ms();
    assert_false(check_of(store).is_broken);
    print_message("100,000 records: checked in %" PRIu64 " ms\n", trib_clock_mono_ms() - start_ms);

    assert_int_equal(trib_store_begin(store), TRIB_OK);
    tamper(store, edits[5], 77777, 1);
    assert_found(store, 77777, CHANGED(77777));

    assert_int_equal(trib_store_begin(store), TRIB_OK);
    tamper(store, delete_range, 31415, 31415);
    assert_found(store, 31415, "record 31415 is gone: the next one is 31416");

    assert_int_equal(trib_store_begin(store), TRIB_OK);
    tamper(store, swap_content, 50000, 50001);
    assert_found(store, 50000, CHANGED(50000));

    assert_int_equal(trib_store_begin(store), TRIB_OK);
    tamper(store, delete_range, 99991, 100000);
    assert_found(store, 99991,
                 "record 99991 is gone, and all behind it, though a checkpoint signed record "
                 "100000");

    assert_int_equal(trib_store_begin(store), TRIB_OK); // taken out, and the rest moved up
    tamper(store, delete_range, 60000, 60000);
    tamper(store, "UPDATE audit SET number=number-1 WHERE number>?1+0*?2", 60000, 0);
    assert_found(store, 60000, CHANGED(60000));
    trib_store_close(store);
}

// Somebody who knows how the chain is made, but has no key.
static void a_chain_that_is_made_anew_is_found_by_its_checkpoint(void **state)
{
    struct trib_store *store = open_signed(*state, 150);
    assert_int_equal(trib_store_begin(store), TRIB_OK);
    tamper(store, delete_range, 90, 150);
    struct trib_audit_signer other = signer;
    other.seed[0] ^= 1; // signs, but is not this coordinator
    trib_store_audit_signer(store, &other);
    assert_int_equal(trib_store_savepoint(store), TRIB_OK);
    for (int i = 0; i < 61; i++) {
        const struct trib_audit_record lie = {
            .actor = "bob", .role = "viewer", .action = "x", .subject = "y", .outcome = "ok"};
        assert_int_equal(trib_store_audit(store, &lie), TRIB_OK);
    }
    trib_store_audit_signer(store, &signer);
    assert_found(store, 100, "the checkpoint of record 100 is not signed by this coordinator");
    trib_store_close(store);
}

static void checkpoints_cannot_be_moved_or_taken_away(void **state)
{
    struct trib_store *store = open_signed(*state, 250);
    assert_int_equal(trib_store_begin(store), TRIB_OK);
    tamper(store, "DELETE FROM audit_checkpoint WHERE number=?1+0*?2", 100, 0);
    assert_found(store, 100, "the checkpoint of record 100 is gone");

    assert_int_equal(trib_store_begin(store), TRIB_OK);
    tamper(store, "UPDATE audit_checkpoint SET number=?2 WHERE number=?1", 200, 150);
    assert_found(store, 150, "the checkpoint of record 150 is not signed by this coordinator");

    assert_int_equal(trib_store_begin(store), TRIB_OK); // the old claim under a new chain
    tamper(store, delete_range, 90, 250);
    tamper(store, "DELETE FROM audit_checkpoint WHERE number>?1+0*?2", 100, 0);
    assert_int_equal(trib_db_run(store, "ALTER TABLE audit_checkpoint RENAME TO kept", ""),
                     TRIB_OK);
    assert_int_equal(trib_db_run(store,
                                 "CREATE TABLE audit_checkpoint(number INTEGER PRIMARY KEY, hash, "
                                 "signature)",
                                 ""),
                     TRIB_OK);
    for (int i = 0; i < 11; i++) {
        const struct trib_audit_record lie = {
            .actor = "bob", .role = "viewer", .action = "x", .subject = "y", .outcome = "ok"};
        assert_int_equal(trib_store_audit(store, &lie), TRIB_OK);
    }
    tamper(store, "INSERT OR REPLACE INTO audit_checkpoint SELECT * FROM kept WHERE number=?1+0*?2",
           100, 0);
    assert_found(store, 100, "a record from 1 to 100 was changed, and the chain made anew");
    trib_store_close(store);
}

// Without the last checkpoint nothing says that there was more; --head does (docs/operating.md).
static void a_tail_behind_the_last_checkpoint_leaves_no_trace(void **state)
{
    struct trib_store *store = open_signed(*state, 150);
    assert_int_equal(trib_store_begin(store), TRIB_OK);
    tamper(store, delete_range, 121, 150);
    struct trib_audit_check check = check_of(store);
    assert_false(check.is_broken);
    assert_int_equal(check.records, 120);
    uint8_t head[TRIB_DIGEST_SIZE];
    memcpy(head, check.hash, sizeof(head));

    trib_audit_check_init(&check, key);
    check.known = 121; // somebody kept the number
    assert_int_equal(trib_store_audit_check(store, &check), TRIB_OK);
    trib_store_rollback(store);
    assert_true(check.is_broken);
    assert_string_equal(check.what,
                        "record 121 is gone, and all behind it, though there was a record 121");

    trib_audit_check_init(&check, key);
    check.known = 120;
    memcpy(check.known_hash, head, sizeof(head));
    assert_int_equal(trib_store_audit_check(store, &check), TRIB_OK);
    assert_false(check.is_broken);
    trib_audit_check_init(&check, key);
    check.known = 119;
    memcpy(check.known_hash, head, sizeof(head));
    assert_int_equal(trib_store_audit_check(store, &check), TRIB_OK);
    assert_string_equal(check.what, "record 119 has another hash than the one given");
    trib_store_close(store);
}

static void a_log_of_another_coordinator_is_refused(void **state)
{
    struct trib_store *store = open_signed(*state, 3);
    struct trib_audit_signer other;
    memset(other.seed, 8, sizeof(other.seed));
    trib_sign_public(other.seed, other.key);
    key = other.key;
    assert_int_equal(trib_store_begin(store), TRIB_OK);
    assert_found(store, 1, CHANGED(1));
    key = signer.key;
    trib_store_close(store);
}

struct listed {
    uint64_t count, first, last;
};

static void take_record(void *user, const struct trib_audit_record *record)
{
    struct listed *listed = user;
    if (listed->count++ == 0)
        listed->first = record->number;
    listed->last = record->number;
    assert_string_equal(record->actor, "alice(1001)");
    assert_int_equal(record->time_ms, 999 + record->number);
}

static void records_are_listed_from_a_number_on(void **state)
{
    struct trib_store *store = open_signed(*state, 30);
    struct listed listed = {.count = 0};
    assert_int_equal(trib_store_audit_list(store, 11, 5, take_record, &listed), TRIB_OK);
    assert_int_equal(listed.count, 5);
    assert_int_equal(listed.first, 11);
    assert_int_equal(listed.last, 15);
    uint64_t last = 0;
    assert_int_equal(trib_store_audit_last(store, &last), TRIB_OK);
    assert_int_equal(last, 30);
    trib_store_close(store);
}

static void a_record_that_is_undone_leaves_no_hole(void **state)
{
    struct trib_store *store = open_signed(*state, 5);
    const struct trib_audit_record record = {
        .actor = "a", .role = "b", .action = "c", .subject = "d", .outcome = "e"};
    assert_int_equal(trib_store_begin(store), TRIB_OK);
    assert_int_equal(trib_store_savepoint(store), TRIB_OK);
    assert_int_equal(trib_store_audit(store, &record), TRIB_OK);
    trib_store_undo(store);
    assert_int_equal(trib_store_audit(store, &record), TRIB_OK);
    assert_int_equal(trib_store_commit(store), TRIB_OK);
    const struct trib_audit_check check = check_of(store);
    assert_false(check.is_broken);
    assert_int_equal(check.records, 6);
    trib_store_close(store);
}

static void a_store_of_before_gets_a_log(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = open_store(place);
    uint64_t kept = 0;
    assert_int_equal(trib_store_meta_set(store, "generation", 3), TRIB_OK);
    trib_store_close(store);
    assert_true(store_poke(place->path, "DROP TABLE audit; DROP TABLE audit_checkpoint;"
                                        "ALTER TABLE round DROP COLUMN phases;"
                                        "ALTER TABLE lease DROP COLUMN changed_ms;"
                                        "ALTER TABLE version DROP COLUMN dropped_ms;"
                                        "ALTER TABLE device DROP COLUMN next_key;"
                                        "ALTER TABLE device DROP COLUMN next_sign_key;"
                                        "PRAGMA user_version=4"));
    store = open_signed(place, 3);
    assert_int_equal(check_of(store).records, 3);
    assert_int_equal(trib_store_meta_get(store, "generation", 0, &kept), TRIB_OK);
    assert_int_equal(kept, 3);
    trib_store_close(store);
}

// ---- What a device does that no transaction belongs to

struct conflicts {
    int count;
    char actor[TRIB_NAME_MAX + 1];
};

static void take_conflict(void *user, const struct trib_audit_record *record)
{
    struct conflicts *conflicts = user;
    conflicts->count++;
    (void)snprintf(conflicts->actor, sizeof(conflicts->actor), "%s", record->actor);
    assert_string_equal(record->role, "device");
    assert_string_equal(record->action, "upload");
    assert_string_equal(record->outcome, "CONFLICT: other bytes under an old id");
}

static void never(void *user)
{
    (void)user;
    fail();
}

static void a_conflict_is_recorded_once_for_each_device_and_round(void **state)
{
    static struct trib_server server;
    struct trib_peer peers[2] = {{.row = {.name = "d1"}}, {.row = {.name = "d2"}}};
    struct conflicts conflicts = {.count = 0};
    server.store = open_signed(*state, 0);
    assert_int_equal(trib_queue_init(&server.events, false), TRIB_OK);
    assert_int_equal(trib_commit_create(server.store, never, NULL, &server.commit), TRIB_OK);
    for (server.last_round_id = 7; server.last_round_id < 9; server.last_round_id++) {
        for (int i = 0; i < 5; i++)
            trib_audit_conflict(&server, &peers[0], 7);
    }
    trib_audit_conflict(&server, &peers[1], 7);
    while (server.ops_in_flight > 0) {
        struct trib_server_event *event =
            (struct trib_server_event *)trib_queue_take(&server.events, 1000);
        assert_non_null(event);
        event->handle(&server, event);
    }
    trib_commit_destroy(server.commit);
    trib_queue_fini(&server.events);
    assert_int_equal(trib_store_audit_list(server.store, 1, 100, take_conflict, &conflicts),
                     TRIB_OK);
    assert_int_equal(conflicts.count, 3);
    assert_string_equal(conflicts.actor, "d2");
    trib_store_close(server.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(a_whole_log_is_whole),
        IN_PLACE(an_empty_log_is_whole),
        IN_PLACE(each_edit_and_removal_of_each_record_is_found),
        IN_PLACE(among_a_hundred_thousand_each_change_is_found_and_named),
        IN_PLACE(a_chain_that_is_made_anew_is_found_by_its_checkpoint),
        IN_PLACE(checkpoints_cannot_be_moved_or_taken_away),
        IN_PLACE(a_tail_behind_the_last_checkpoint_leaves_no_trace),
        IN_PLACE(a_log_of_another_coordinator_is_refused),
        IN_PLACE(records_are_listed_from_a_number_on),
        IN_PLACE(a_record_that_is_undone_leaves_no_hole),
        IN_PLACE(a_store_of_before_gets_a_log),
        IN_PLACE(a_conflict_is_recorded_once_for_each_device_and_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
