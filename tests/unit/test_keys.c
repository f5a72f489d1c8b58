#include "coordinator/keys.h"
#include "tests/unit/files.h"
#include "tests/unit/store_rig.h"

#include "common/wire/noise_ik.h"

static struct trib_identity made; // by set_up
static const struct trib_keys_change both = {
    .signing = true, .transport = true, .keep_days = 10, .now_ms = 1000};

static const char *const names[] = {
    "coordinator.key", "coordinator.pub", "roster.key",   "coordinator.key.next", "keys.chain",
    "former-1.key",    "former-2.key",    "former-3.key", "tributary.ini",        NULL};

static void forget(const char *name)
{
    (void)remove(files_put(0, name, NULL, 0));
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; names[i]; i++)
        forget(names[i]);
    forget("models");
    forget("updates");
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return trib_identity_make(files_dir, "tcp://127.0.0.1:7420", NULL, &made) ? -1 : 0;
}

static bool is_there(const char *name)
{
    return trib_file_exists(files_put(0, name, NULL, 0));
}

static bool are_same(const void *a, const void *b)
{
    return memcmp(a, b, 32) == 0;
}

static void a_change_is_loaded_with_the_way_to_it(void **state)
{
    (void)state;
    struct trib_identity after, loaded;
    assert_int_equal(trib_keys_rotate(files_dir, &both, &after), TRIB_OK);
    assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_OK);
    assert_memory_equal(&loaded, &after, sizeof(loaded));
    assert_int_equal(after.chain.count, 1);
    assert_false(are_same(after.public, made.public));
    assert_false(are_same(after.release_key, made.release_key));
    assert_true(are_same(after.roster_key, made.roster_key));
    assert_true(are_same(after.pins[0].coordinator_key, made.public));
    assert_true(are_same(after.pins[0].release_key, made.release_key));
    assert_int_equal(after.former_count, 1);
    assert_int_equal(after.former[0].id, 1);
    assert_true(are_same(after.former[0].secret, made.secret));
    assert_true(are_same(after.former[0].public, made.public));
    assert_int_equal(after.former[0].keep_until_ms, 1000 + UINT64_C(10) * 86400000);
    assert_false(is_there("coordinator.key.next"));
    // Who pins the first keys follows.
    struct trib_key_pins pins = made.pins[0];
    assert_int_equal(trib_key_link_follow(&pins, &after.chain.links[0], NULL), TRIB_CODE_ACCEPTED);
    assert_true(are_same(pins.coordinator_key, after.public));
}

static void one_key_changes_alone_and_days_of_0_keep_none(void **state)
{
    (void)state;
    struct trib_identity signing, transport;
    struct trib_keys_change change = {.signing = true, .keep_days = 10};
    (void)files_put(0, "former-1.key", "left by a change that was interrupted", 37);
    assert_int_equal(trib_keys_rotate(files_dir, &change, &signing), TRIB_OK);
    assert_true(are_same(signing.public, made.public));
    assert_int_equal(signing.former_count, 0);
    assert_false(is_there("former-1.key"));
    change = (struct trib_keys_change){.transport = true};
    assert_int_equal(trib_keys_rotate(files_dir, &change, &transport), TRIB_OK);
    assert_true(are_same(transport.release_key, signing.release_key));
    assert_false(are_same(transport.public, made.public));
    assert_int_equal(transport.former_count, 0);
    assert_false(is_there("former-2.key"));
    // Both states before had that key: a session under it is of who has followed that far at least.
    assert_ptr_equal(trib_keys_pins_of(&transport, made.public), &transport.pins[1]);
    assert_ptr_equal(trib_keys_pins_of(&transport, transport.public), &transport.pins[2]);
    assert_null(trib_keys_pins_of(&transport, made.roster_key));
}

static void what_any_of_its_keys_signed_is_its_own(void **state)
{
    (void)state;
    struct trib_identity first, second;
    uint8_t old[TRIB_SIGNATURE_SIZE], now[TRIB_SIGNATURE_SIZE], other[TRIB_SIGNATURE_SIZE];
    const uint8_t seed[TRIB_SIGN_SEED_SIZE] = {3};
    assert_int_equal(trib_keys_rotate(files_dir, &both, &first), TRIB_OK);
    assert_int_equal(trib_keys_rotate(files_dir, &both, &second), TRIB_OK);
    trib_sign(made.release_seed, "it", "data", 4, old);
    trib_sign(second.release_seed, "it", "data", 4, now);
    trib_sign(seed, "it", "data", 4, other);
    assert_true(trib_keys_verify(&second, "it", "data", 4, old));
    assert_true(trib_keys_verify(&second, "it", "data", 4, now));
    assert_false(trib_keys_verify(&second, "it", "data", 4, other));
    assert_false(trib_keys_verify(&made, "it", "data", 4, now));
    assert_false(trib_keys_verify(&second, "that", "data", 4, old));
}

// A kill before the chain has the statement, and one behind it.
static void an_interrupted_change_has_taken_place_or_it_has_not(void **state)
{
    (void)state;
    for (int is_stated = 0; is_stated < 2; is_stated++) {
        struct trib_identity after, loaded;
        struct trib_buf key = {0}, next = {0};
        assert_int_equal(trib_file_read(files_put(0, "coordinator.key", NULL, 0), 4096, &key),
                         TRIB_OK);
        assert_int_equal(trib_identity_load(files_dir, &made), TRIB_OK);
        assert_int_equal(trib_keys_rotate(files_dir, &both, &after), TRIB_OK);
        assert_int_equal(trib_file_read(files_put(0, "coordinator.key", NULL, 0), 4096, &next),
                         TRIB_OK);
        (void)files_put(0, "coordinator.key", key.data, key.size);
        (void)files_put(0, "coordinator.key.next", next.data, next.size);
        if (!is_stated)
            forget("keys.chain");
        assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_OK);
        assert_false(is_there("coordinator.key.next"));
        assert_true(are_same(loaded.public, is_stated ? after.public : made.public));
        assert_int_equal(loaded.chain.count, is_stated);
        files_assert_logged(is_stated ? "is finished" : "did not take place");
        trib_buf_fini(&key);
        trib_buf_fini(&next);
    }
}

static void a_chain_that_is_not_ours_or_not_whole_does_not_load(void **state)
{
    (void)state;
    struct trib_identity after, loaded;
    struct trib_msg_keys bad;
    const struct {
        enum {
            SWAPPED,
            FIRST_GONE,
            LAST_GONE,
            SPOILT
        } what;
        const char *says;
    } cases[] = {{SWAPPED, "statement 2: KEYS_OLD"},
                 {FIRST_GONE, "statement 1: KEYS_GAP"},
                 {LAST_GONE, "is not what keys.chain ends with"},
                 {SPOILT, "statement 3: KEYS_SIGNATURE"}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(trib_keys_rotate(files_dir, &both, &after), TRIB_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_buf packed = {0};
        bad = after.chain;
        if (cases[i].what == SWAPPED)
            bad.links[1] = after.chain.links[0];
        if (cases[i].what == FIRST_GONE)
            memmove(bad.links, after.chain.links + 1, 2 * sizeof(bad.links[0]));
        if (cases[i].what == FIRST_GONE || cases[i].what == LAST_GONE)
            bad.count = 2;
        if (cases[i].what == SPOILT)
            bad.links[2].signature[5] ^= 1;
        trib_msg_keys_pack(&bad, &packed);
        (void)files_put(0, "keys.chain", packed.data, packed.size);
        trib_buf_fini(&packed);
        assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_ERR_CORRUPT);
        files_assert_logged(cases[i].says);
    }
    (void)files_put(0, "keys.chain", "\x0a\x01", 2);
    assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_ERR_CORRUPT);
    files_assert_logged("is no chain of keys");
    forget("keys.chain"); // as a coordinator that never had others: it is who its devices follow to
    assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_OK);
    assert_int_equal(loaded.chain.count, 0);
}

static void a_former_key_is_the_one_that_was_replaced(void **state)
{
    (void)state;
    struct trib_identity after, loaded;
    struct trib_buf first = {0};
    for (int i = 0; i < 2; i++)
        assert_int_equal(trib_keys_rotate(files_dir, &both, &after), TRIB_OK);
    assert_int_equal(trib_file_read(files_put(0, "former-1.key", NULL, 0), 4096, &first), TRIB_OK);
    (void)files_put(0, "former-2.key", first.data, first.size);
    trib_buf_fini(&first);
    assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_ERR_CORRUPT);
    files_assert_logged("is not the key that statement 2 of keys.chain replaced");
    forget("former-2.key");
    assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_OK);
    assert_int_equal(loaded.former_count, 1);
}

static void there_is_an_end_to_what_is_answered_and_to_the_chain(void **state)
{
    (void)state;
    struct trib_identity after;
    struct trib_keys_change change = both;
    char name[TRIB_KEYS_NAME_SIZE];
    for (int i = 0; i < TRIB_KEYS_FORMER_MAX; i++)
        assert_int_equal(trib_keys_rotate(files_dir, &change, &after), TRIB_OK);
    assert_int_equal(trib_keys_rotate(files_dir, &change, &after), TRIB_ERR_LIMIT);
    files_assert_logged("8 former keys are answered still: retire one first");
    for (uint64_t id = 1; id <= TRIB_KEYS_FORMER_MAX; id++) {
        trib_keys_former_name(id, name);
        assert_true(trib_keys_is_name(name));
        assert_true(is_there(name));
        forget(name); // as retirement does
    }
    change.keep_days = 0;
    for (int i = TRIB_KEYS_FORMER_MAX; i < TRIB_KEY_LINKS_MAX; i++)
        assert_int_equal(trib_keys_rotate(files_dir, &change, &after), TRIB_OK);
    assert_int_equal(after.chain.count, TRIB_KEY_LINKS_MAX);
    assert_int_equal(after.former_count, 0);
    assert_int_equal(trib_keys_rotate(files_dir, &change, &after), TRIB_ERR_LIMIT);
    files_assert_logged("64 times");
    assert_false(trib_keys_is_name("former-.key"));
    assert_false(trib_keys_is_name("former-1.keys"));
    assert_false(trib_keys_is_name("coordinator.key"));
}

static void append(struct trib_store *store, const struct trib_identity *identity)
{
    static struct trib_audit_signer signer;
    const struct trib_audit_record record = {
        .actor = "a", .role = "admin", .action = "b", .subject = "c", .outcome = "ok"};
    trib_keys_audit_signer(identity, &signer);
    trib_store_audit_signer(store, &signer);
    assert_int_equal(trib_store_audit(store, &record), TRIB_OK);
    assert_int_equal(trib_store_audit_checkpoint(store), TRIB_OK);
}

static bool is_whole(struct trib_store *store, const struct trib_identity *identity)
{
    struct trib_audit_check check;
    trib_keys_audit_check(identity, &check);
    assert_int_equal(trib_store_audit_check(store, &check), TRIB_OK);
    return !check.is_broken;
}

static void the_audit_log_goes_on_under_the_next_key_and_not_back(void **state)
{
    (void)state;
    struct trib_identity after;
    void *own = NULL;
    assert_int_equal(make_place(&own), 0);
    const struct place *place = own;
    assert_non_null(place);
    if (!place) // said for those who do not know that it ends there
        return;
    struct trib_store *store = open_store(place);
    append(store, &made);
    assert_int_equal(trib_keys_rotate(files_dir, &both, &after), TRIB_OK);
    append(store, &after);
    assert_int_equal(trib_keys_record(store, &after, "alice", "admin"), TRIB_OK);
    assert_int_equal(trib_keys_record(store, &after, "alice", "admin"), TRIB_OK); // it is there
    uint64_t last;
    assert_int_equal(trib_store_audit_last(store, &last), TRIB_OK);
    assert_int_equal(last, 3);
    assert_true(is_whole(store, &after));
    assert_false(is_whole(store, &made)); // who does not know of the change
    append(store, &made);                 // a thief of the old key
    assert_false(is_whole(store, &after));
    trib_store_close(store);
    assert_int_equal(drop_place(&own), 0);
}

static int end(void **state)
{
    static const char *const none[] = {NULL};
    (void)state;
    return files_teardown(none);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(a_change_is_loaded_with_the_way_to_it),
        IN_DIR(one_key_changes_alone_and_days_of_0_keep_none),
        IN_DIR(what_any_of_its_keys_signed_is_its_own),
        IN_DIR(an_interrupted_change_has_taken_place_or_it_has_not),
        IN_DIR(a_chain_that_is_not_ours_or_not_whole_does_not_load),
        IN_DIR(a_former_key_is_the_one_that_was_replaced),
        IN_DIR(there_is_an_end_to_what_is_answered_and_to_the_chain),
        IN_DIR(the_audit_log_goes_on_under_the_next_key_and_not_back),
    };
    return cmocka_run_group_tests(tests, files_setup, end);
}
