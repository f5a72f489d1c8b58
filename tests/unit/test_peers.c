#include "coordinator/peers.h"
#include "tests/unit/files.h"

#include "common/base/bytes.h"
#include "common/wire/token.h"

#define SOURCE "192.0.2.1"

enum {
    WALL_MS = 1000000
};

static struct trib_peers *peers;
static uint64_t next_ephemeral; // every handshake has its own

static int set_up(void **state)
{
    (void)state;
    next_ephemeral = 1;
    return trib_peers_create(100000, 100000, &peers) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    trib_peers_destroy(peers);
    return 0;
}

// A handshake of the device with this key.
static struct trib_hello hello_of(uint8_t key)
{
    struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    memset(hello.static_key, key, sizeof(hello.static_key));
    memcpy(hello.ephemeral, &next_ephemeral, sizeof(next_ephemeral));
    next_ephemeral++;
    return hello;
}

static struct trib_hello token_hello(uint8_t key, uint8_t secret)
{
    struct trib_hello hello = hello_of(key);
    hello.kind = TRIB_HELLO_TOKEN;
    memset(hello.token_id, 9, sizeof(hello.token_id));
    memset(hello.token_secret, secret, sizeof(hello.token_secret));
    return hello;
}

static enum trib_verdict judge_at(const struct trib_hello *hello, uint64_t wall_ms)
{
    struct trib_peer *peer;
    enum trib_verdict verdict = trib_peers_judge(peers, hello, wall_ms, &peer);
    assert_int_equal(peer != NULL, verdict == TRIB_VERDICT_DEVICE);
    return verdict;
}

static enum trib_verdict judge(struct trib_hello hello)
{
    return judge_at(&hello, WALL_MS);
}

// A token with id 9 and secret 7.
static void add_token(const char *name, uint64_t uses)
{
    struct trib_store_token token = {.uses_left = uses, .expires_ms = WALL_MS + 1000};
    uint8_t secret[TRIB_TOKEN_SECRET_SIZE];
    memset(secret, 7, sizeof(secret));
    memset(token.id, 9, sizeof(token.id));
    trib_token_hash(secret, token.secret_hash);
    (void)snprintf(token.name, sizeof(token.name), "%s", name);
    assert_int_equal(trib_peers_token_add(peers, &token), TRIB_OK);
}

static enum trib_err plan(enum trib_verdict how, uint8_t key, struct trib_store_device *ret_row,
                          struct trib_peer **ret_peer)
{
    struct trib_enrolment enrolment = {.how = how};
    memset(enrolment.token_id, 9, sizeof(enrolment.token_id));
    memset(enrolment.key, key, sizeof(enrolment.key));
    return trib_peers_plan(peers, &enrolment, ret_row, ret_peer);
}

static struct trib_peer *add_device(uint64_t id, const char *name, uint8_t key,
                                    const uint8_t *token_id)
{
    struct trib_store_device row = {.id = id};
    struct trib_peer *peer;
    memset(row.key, key, sizeof(row.key));
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    assert_int_equal(trib_peers_add(peers, &row, token_id, &peer), TRIB_OK);
    return peer;
}

static void strangers_are_met_with_silence(void **state)
{
    (void)state;
    assert_int_equal(judge(hello_of(1)), TRIB_VERDICT_UNKNOWN);
    assert_int_equal(judge(token_hello(1, 7)), TRIB_VERDICT_UNKNOWN); // there is no such token
    trib_peers_pending_allow(peers, true);
    assert_int_equal(judge(hello_of(1)), TRIB_VERDICT_PENDING);
    assert_int_equal(judge(token_hello(1, 7)), TRIB_VERDICT_UNKNOWN); // a false claim stays one
}

static void an_enrolled_device_is_known_until_it_is_revoked(void **state)
{
    (void)state;
    struct trib_peer *peer = add_device(3, "d3", 1, NULL);
    assert_int_equal(judge(hello_of(1)), TRIB_VERDICT_DEVICE);
    trib_peers_revoke(peers, peer, WALL_MS);
    trib_peers_pending_allow(peers, true);
    add_token("", 1);
    assert_int_equal(judge(hello_of(1)), TRIB_VERDICT_UNKNOWN); // for good: not even pending
    assert_int_equal(judge(token_hello(1, 7)), TRIB_VERDICT_UNKNOWN);
    assert_ptr_equal(trib_peers_by_name(peers, "d3"), peer);
    assert_int_equal(peer->row.revoked_ms, WALL_MS);
}

static void a_token_enrols_as_often_as_it_says(void **state)
{
    (void)state;
    struct trib_store_device row;
    struct trib_peer *peer;
    uint8_t id[8];
    memset(id, 9, sizeof(id));
    add_token("", 2);
    for (uint8_t key = 1; key <= 2; key++) {
        assert_int_equal(judge(token_hello(key, 7)), TRIB_VERDICT_TOKEN);
        assert_int_equal(plan(TRIB_VERDICT_TOKEN, key, &row, &peer), TRIB_OK);
        assert_null(peer);
        assert_memory_equal(row.name, "dev-", 4); // a name from its key
        assert_int_equal(strlen(row.name), 4 + 12);
        (void)add_device(key, row.name, key, id);
    }
    assert_int_equal(judge(token_hello(3, 7)), TRIB_VERDICT_UNKNOWN); // used up
    assert_int_equal(plan(TRIB_VERDICT_TOKEN, 3, &row, &peer), TRIB_ERR_STATE);
    // An answer that was lost costs nothing: the same key with the same token, also a late one.
    const struct trib_hello again = token_hello(2, 7);
    assert_int_equal(judge_at(&again, WALL_MS + 999999), TRIB_VERDICT_TOKEN);
    assert_int_equal(plan(TRIB_VERDICT_TOKEN, 2, &row, &peer), TRIB_OK);
    assert_int_equal(peer->row.id, 2);
}

static void a_token_needs_its_secret_and_its_time(void **state)
{
    (void)state;
    add_token("", 1);
    assert_int_equal(judge(token_hello(1, 8)), TRIB_VERDICT_UNKNOWN);
    struct trib_hello hello = token_hello(1, 7);
    assert_int_equal(judge_at(&hello, WALL_MS + 1000), TRIB_VERDICT_UNKNOWN); // expired just now
    hello = token_hello(1, 7);
    assert_int_equal(judge_at(&hello, WALL_MS + 999), TRIB_VERDICT_TOKEN);
}

static void a_name_is_promised_and_given_once(void **state)
{
    (void)state;
    struct trib_store_device row;
    struct trib_peer *peer;
    assert_true(trib_peers_name_is_free(peers, "press-4", WALL_MS));
    add_token("press-4", 1);
    // Whoever comes with the token has it, as long as that is good.
    assert_false(trib_peers_name_is_free(peers, "press-4", WALL_MS + 999));
    assert_true(trib_peers_name_is_free(peers, "press-4", WALL_MS + 1000));
    assert_int_equal(plan(TRIB_VERDICT_TOKEN, 1, &row, &peer), TRIB_OK);
    assert_string_equal(row.name, "press-4");
    (void)add_device(1, "press-4", 1, NULL); // taken meanwhile in another way
    assert_int_equal(plan(TRIB_VERDICT_TOKEN, 2, &row, &peer), TRIB_ERR_LIMIT);
}

static void a_handshake_is_taken_once(void **state)
{
    (void)state;
    struct trib_hello first = hello_of(1);
    (void)add_device(1, "d1", 1, NULL);
    assert_int_equal(trib_peers_knock(peers, first.ephemeral, SOURCE, 1), TRIB_VERDICT_UNKNOWN);
    // Who knocks has proven nothing: only what was judged is remembered.
    assert_int_equal(trib_peers_knock(peers, first.ephemeral, SOURCE, 1), TRIB_VERDICT_UNKNOWN);
    assert_int_equal(judge(first), TRIB_VERDICT_DEVICE);
    assert_int_equal(judge(first), TRIB_VERDICT_REPLAY);
    assert_int_equal(trib_peers_knock(peers, first.ephemeral, SOURCE, 1), TRIB_VERDICT_REPLAY);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(judge(hello_of(1)), TRIB_VERDICT_DEVICE);
    assert_int_equal(judge(first), TRIB_VERDICT_REPLAY); // still remembered
}

static enum trib_verdict knock_from(const char *source, uint64_t now_ms)
{
    const struct trib_hello hello = hello_of(1);
    return trib_peers_knock(peers, hello.ephemeral, source, now_ms);
}

static void one_address_cannot_use_up_the_budget_of_all(void **state)
{
    (void)state;
    trib_peers_destroy(peers);
    assert_int_equal(trib_peers_create(5, 3, &peers), TRIB_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(knock_from("192.0.2.1", 1000), TRIB_VERDICT_UNKNOWN);
    for (int i = 0; i < 50; i++)
        assert_int_equal(knock_from("192.0.2.1", 1000), TRIB_VERDICT_BUSY);
    for (int i = 0; i < 2; i++)
        assert_int_equal(knock_from("192.0.2.2", 1000), TRIB_VERDICT_UNKNOWN);
    assert_int_equal(knock_from("192.0.2.2", 1000), TRIB_VERDICT_BUSY); // that of all is used up
    assert_int_equal(knock_from("192.0.2.1", 2000), TRIB_VERDICT_UNKNOWN);
}

// Workers read the clock before they take their turn, so times may come out of order.
static void a_time_that_goes_back_gives_no_budget(void **state)
{
    (void)state;
    trib_peers_destroy(peers);
    assert_int_equal(trib_peers_create(2, 2, &peers), TRIB_OK);
    assert_int_equal(knock_from(SOURCE, 1001), TRIB_VERDICT_UNKNOWN);
    assert_int_equal(knock_from(SOURCE, 1001), TRIB_VERDICT_UNKNOWN);
    assert_int_equal(knock_from(SOURCE, 1000), TRIB_VERDICT_BUSY);
    assert_int_equal(knock_from(SOURCE, 1001), TRIB_VERDICT_BUSY);
}

// ---- The allow-list

// Three keys in base64.
#define KEY_0 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define KEY_1 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
#define KEY_2 "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"

static enum trib_err allow(const char *text)
{
    return trib_peers_allow(peers, files_put(0, "allow.txt", text, strlen(text)), WALL_MS);
}

static void listed_keys_may_enrol_under_their_name(void **state)
{
    (void)state;
    struct trib_store_device row;
    struct trib_peer *peer;
    assert_int_equal(allow("# key name group\n"
                           "\n"
                           "  " KEY_1 " d1 hall-2\r\n"
                           "\t" KEY_2 "=  d2\t hall-3 2999-12-31 \n"
                           "\r\n" KEY_0 " d0 hall-2 1970-01-01T00:10:00Z"),
                     TRIB_OK);
    assert_int_equal(judge(hello_of(1)), TRIB_VERDICT_LISTED);
    assert_int_equal(judge(hello_of(2)), TRIB_VERDICT_LISTED);
    assert_int_equal(judge(hello_of(0)), TRIB_VERDICT_UNKNOWN); // expired
    assert_int_equal(plan(TRIB_VERDICT_LISTED, 2, &row, &peer), TRIB_OK);
    assert_null(peer);
    assert_string_equal(row.name, "d2");
    assert_string_equal(row.group, "hall-3");
    assert_int_equal(plan(TRIB_VERDICT_LISTED, 0, &row, &peer), TRIB_ERR_STATE);
    (void)add_device(2, "d2", 2, NULL);
    assert_int_equal(judge(hello_of(2)), TRIB_VERDICT_DEVICE);
    assert_int_equal(plan(TRIB_VERDICT_LISTED, 2, &row, &peer), TRIB_OK);
    assert_string_equal(peer->row.name, "d2"); // enrolled already
}

static void a_new_list_replaces_the_old_one(void **state)
{
    (void)state;
    assert_int_equal(allow(KEY_1 " d1 g\n"), TRIB_OK);
    assert_int_equal(allow(KEY_2 " d2 g\n"), TRIB_OK);
    assert_int_equal(judge(hello_of(1)), TRIB_VERDICT_UNKNOWN);
    assert_int_equal(judge(hello_of(2)), TRIB_VERDICT_LISTED);
    assert_int_equal(allow(""), TRIB_OK);
    assert_int_equal(judge(hello_of(2)), TRIB_VERDICT_UNKNOWN);
}

static void a_wrong_line_is_named_and_the_old_list_stays(void **state)
{
    (void)state;
    const struct {
        const char *text, *says;
    } bad[] = {
        {"nonsense\n", "allow.txt:1:"},
        {KEY_2 " d2 g\n\n# comment\n" KEY_1 " d1\n", "allow.txt:4:"}, // no group
        {KEY_2 " d2 g\nAQEB d1 g\n", "allow.txt:2:"},                 // not 32 bytes
        {KEY_2 "AAAA d2 g\n", "allow.txt:1:"},
        {KEY_2 " d2 g tomorrow\n", "allow.txt:1:"},
        {KEY_2 " d2 g 2999-13-01\n", "allow.txt:1:"},
        {KEY_2 " d2 g 2999-12-31T00:00:00\n", "allow.txt:1:"}, // of which zone?
        {KEY_2 " d2 g 2999-12-31 more\n", "allow.txt:1:"},
        {KEY_2 " a-name-of-64-bytes-is-one-byte-longer-than-a-name-may-ever-be-xx g\n",
         "allow.txt:1:"},
        {KEY_2 " d2 a-group-of-64-bytes-is-one-byte-longer-than-a-group-may-ever-bee\n",
         "allow.txt:1:"},
    };
    assert_int_equal(allow(KEY_1 " d1 g\n"), TRIB_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (allow(bad[i].text) != TRIB_ERR_INVAL)
            fail_msg("taken: %s", bad[i].text);
        files_assert_logged(bad[i].says);
        assert_int_equal(judge(hello_of(1)), TRIB_VERDICT_LISTED);
        assert_int_equal(judge(hello_of(2)), TRIB_VERDICT_UNKNOWN);
    }
    assert_int_equal(trib_peers_allow(peers, files_put(1, "absent.txt", NULL, 0), WALL_MS),
                     TRIB_ERR_IO);
    assert_int_equal(judge(hello_of(1)), TRIB_VERDICT_LISTED);
}

// ---- Those who wait

static enum trib_err ask(uint16_t key, const char *source, uint64_t wall_ms)
{
    struct trib_pending pending = {.asked_ms = 0};
    memcpy(pending.key, &key, sizeof(key));
    (void)snprintf(pending.source, sizeof(pending.source), "%s", source);
    return trib_peers_pending_add(peers, &pending, wall_ms);
}

static void few_may_wait_and_not_for_ever(void **state)
{
    (void)state;
    char source[32];
    for (uint16_t key = 1; key <= TRIB_PENDING_PER_SOURCE; key++)
        assert_int_equal(ask(key, SOURCE, WALL_MS), TRIB_OK);
    assert_int_equal(ask(99, SOURCE, WALL_MS), TRIB_ERR_LIMIT);
    assert_int_equal(ask(1, SOURCE, WALL_MS), TRIB_OK); // asking again changes nothing
    assert_int_equal(trib_peers_pending_count(peers), TRIB_PENDING_PER_SOURCE);
    for (uint16_t key = 100; trib_peers_pending_count(peers) < TRIB_PENDING_MAX; key++) {
        (void)snprintf(source, sizeof(source), "10.0.%u.%u", key / 256u, key % 256u);
        assert_int_equal(ask(key, source, WALL_MS), TRIB_OK);
    }
    assert_int_equal(ask(50, "10.9.9.9", WALL_MS), TRIB_ERR_LIMIT);
    const uint64_t week_ms = 7 * 86400000ull;
    assert_int_equal(ask(50, "10.9.9.9", WALL_MS + week_ms), TRIB_ERR_LIMIT);
    assert_int_equal(ask(50, "10.9.9.9", WALL_MS + week_ms + 1), TRIB_OK);
    assert_int_equal(trib_peers_pending_count(peers), 1);
}

static void who_waits_is_found_by_name_and_fingerprint(void **state)
{
    (void)state;
    assert_int_equal(ask(1, SOURCE, WALL_MS), TRIB_OK);
    assert_int_equal(ask(2, SOURCE, WALL_MS), TRIB_OK);
    const struct trib_pending *first = trib_peers_pending_at(peers, 0);
    assert_memory_equal(first->name, "dev-", 4);
    assert_ptr_equal(trib_peers_pending_find(peers, first->name), first);
    assert_ptr_equal(trib_peers_pending_find(peers, first->name + 4), first);
    assert_null(trib_peers_pending_find(peers, "dev-"));
    assert_null(trib_peers_pending_find(peers, ""));
    trib_name name;
    uint8_t key[32];
    memcpy(name, first->name, sizeof(name));
    memcpy(key, first->key, sizeof(key));
    trib_peers_pending_drop(peers, key);
    assert_null(trib_peers_pending_find(peers, name));
    assert_int_equal(trib_peers_pending_count(peers), 1);
}

// ---- The directory

static void devices_are_listed_by_name_whatever_their_order(void **state)
{
    (void)state;
    enum {
        DEVICES = 200
    };
    uint64_t seed = 5;
    for (uint64_t id = 1; id <= DEVICES; id++) {
        char name[32];
        struct trib_store_device row = {.id = id};
        struct trib_peer *peer;
        (void)snprintf(name, sizeof(name), "d%08x-%u", (unsigned)test_rand(&seed), (unsigned)id);
        memcpy(row.name, name, sizeof(name));
        memcpy(row.key, &id, sizeof(id));
        assert_int_equal(trib_peers_add(peers, &row, NULL, &peer), TRIB_OK);
        assert_ptr_equal(trib_peers_by_name(peers, name), peer);
        assert_ptr_equal(trib_peers_by_id(peers, id), peer);
    }
    assert_int_equal(trib_peers_count(peers), DEVICES);
    for (size_t i = 1; i < DEVICES; i++)
        assert_true(
            strcmp(trib_peers_at(peers, i - 1)->row.name, trib_peers_at(peers, i)->row.name) < 0);
    assert_null(trib_peers_by_id(peers, DEVICES + 1));
    assert_null(trib_peers_by_name(peers, ""));
    assert_null(trib_peers_by_name(peers, "nobody"));
}

static int end(void **state)
{
    static const char *const names[] = {"allow.txt", NULL};
    (void)state;
    return files_teardown(names);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(strangers_are_met_with_silence),
        TEST(an_enrolled_device_is_known_until_it_is_revoked),
        TEST(a_token_enrols_as_often_as_it_says),
        TEST(a_token_needs_its_secret_and_its_time),
        TEST(a_name_is_promised_and_given_once),
        TEST(a_handshake_is_taken_once),
        TEST(one_address_cannot_use_up_the_budget_of_all),
        TEST(a_time_that_goes_back_gives_no_budget),
        TEST(listed_keys_may_enrol_under_their_name),
        TEST(a_new_list_replaces_the_old_one),
        TEST(a_wrong_line_is_named_and_the_old_list_stays),
        TEST(few_may_wait_and_not_for_ever),
        TEST(who_waits_is_found_by_name_and_fingerprint),
        TEST(devices_are_listed_by_name_whatever_their_order),
    };
    return cmocka_run_group_tests(tests, files_setup, end);
}
