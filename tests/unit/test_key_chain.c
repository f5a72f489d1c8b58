#include "common/wire/key_chain.h"
#include "tests/test.h"

#include <string.h>

enum {
    KEYS = 5
};

static uint8_t seeds[KEYS][TRIB_SIGN_SEED_SIZE];
static struct trib_key_pins all[KEYS];           // what is pinned after each link
static struct trib_msg_key_link links[KEYS - 1]; // from all[i] to all[i + 1]

static void make_keys(struct trib_key_pins *pins, uint8_t *seed, uint8_t number)
{
    memset(seed, number, TRIB_SIGN_SEED_SIZE);
    trib_sign_public(seed, pins->release_key);
    memset(pins->coordinator_key, 100 + number, sizeof(pins->coordinator_key));
}

static struct trib_msg_key_link link_to(const struct trib_key_pins *from, const uint8_t *seed,
                                        const struct trib_key_pins *to)
{
    struct trib_msg_key_statement statement = {.made_ms = 1, .keep_until_ms = 2};
    struct trib_msg_key_link link;
    memcpy(statement.release_key, to->release_key, sizeof(to->release_key));
    memcpy(statement.coordinator_key, to->coordinator_key, sizeof(to->coordinator_key));
    assert_int_equal(trib_key_link_make(from, seed, &statement, &link), TRIB_OK);
    assert_int_equal(statement.sequence, from->sequence + 1);
    return link;
}

static int set_up(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < KEYS; i++) {
        make_keys(&all[i], seeds[i], i + 1);
        all[i].sequence = i;
    }
    for (int i = 0; i + 1 < KEYS; i++)
        links[i] = link_to(&all[i], seeds[i], &all[i + 1]);
    return 0;
}

// It is refused with this code, and moves nothing.
static void refused(const struct trib_key_pins *from, const struct trib_msg_key_link *link,
                    enum trib_code code)
{
    struct trib_key_pins pins = *from;
    struct trib_msg_key_statement statement = {.made_ms = 77};
    assert_int_equal(trib_key_link_follow(&pins, link, &statement), code);
    assert_memory_equal(&pins, from, sizeof(pins));
    assert_int_equal(statement.made_ms, 77);
}

static void who_pins_the_oldest_keys_follows_to_the_newest(void **state)
{
    (void)state;
    struct trib_key_pins pins = all[0];
    struct trib_msg_key_statement statement;
    for (int i = 0; i + 1 < KEYS; i++) {
        assert_int_equal(trib_key_link_follow(&pins, &links[i], &statement), TRIB_CODE_ACCEPTED);
        assert_memory_equal(&pins, &all[i + 1], sizeof(pins));
        assert_int_equal(statement.keep_until_ms, 2);
    }
}

static void one_key_may_change_alone_but_one_must(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct trib_key_pins to = all[0];
        struct trib_key_pins pins = all[0];
        if (which)
            memcpy(to.release_key, all[1].release_key, sizeof(to.release_key));
        else
            memcpy(to.coordinator_key, all[1].coordinator_key, sizeof(to.coordinator_key));
        const struct trib_msg_key_link link = link_to(&all[0], seeds[0], &to);
        assert_int_equal(trib_key_link_follow(&pins, &link, NULL), TRIB_CODE_ACCEPTED);
        to.sequence = 1;
        assert_memory_equal(&pins, &to, sizeof(pins));
    }
    const struct trib_msg_key_link link = link_to(&all[0], seeds[0], &all[0]);
    refused(&all[0], &link, TRIB_CODE_MALFORMED);
}

static void a_statement_is_neither_replayed_nor_rolled_back(void **state)
{
    (void)state;
    refused(&all[1], &links[0], TRIB_CODE_KEYS_OLD);
    refused(&all[3], &links[0], TRIB_CODE_KEYS_OLD);
    refused(&all[0], &links[1], TRIB_CODE_KEYS_GAP);
    refused(&all[0], &links[3], TRIB_CODE_KEYS_GAP);
}

static void a_stolen_old_key_does_not_move_who_has_followed(void **state)
{
    (void)state;
    // The thief has seed 0 and says anything he likes with it.
    for (uint64_t sequence = 0; sequence < 4; sequence++) {
        struct trib_key_pins claimed = all[0];
        claimed.sequence = sequence;
        const struct trib_msg_key_link own = link_to(&claimed, seeds[0], &all[4]);
        refused(&all[1], &own,
                sequence == 0   ? TRIB_CODE_KEYS_OLD
                : sequence == 1 ? TRIB_CODE_KEYS_FOREIGN
                                : TRIB_CODE_KEYS_GAP);
        claimed = all[1]; // names the keys that are pinned, and signs with the one it has
        claimed.sequence = sequence;
        const struct trib_msg_key_link false_name = link_to(&claimed, seeds[0], &all[4]);
        refused(&all[1], &false_name,
                sequence == 0   ? TRIB_CODE_KEYS_OLD
                : sequence == 1 ? TRIB_CODE_KEYS_SIGNATURE
                                : TRIB_CODE_KEYS_GAP);
    }
    // Against those that pin the old key still, nothing helps: that is what retirement is for.
    struct trib_key_pins behind = all[0];
    const struct trib_msg_key_link other = link_to(&all[0], seeds[0], &all[4]);
    assert_int_equal(trib_key_link_follow(&behind, &other, NULL), TRIB_CODE_ACCEPTED);
}

static void a_statement_of_another_coordinator_is_foreign(void **state)
{
    (void)state;
    struct trib_key_pins other = all[0];
    memcpy(other.coordinator_key, all[2].coordinator_key, sizeof(other.coordinator_key));
    const struct trib_msg_key_link same_release = link_to(&other, seeds[0], &all[1]);
    refused(&all[0], &same_release, TRIB_CODE_KEYS_FOREIGN);
    other = all[0];
    memcpy(other.release_key, all[2].release_key, sizeof(other.release_key));
    const struct trib_msg_key_link same_transport = link_to(&other, seeds[2], &all[1]);
    refused(&all[0], &same_transport, TRIB_CODE_KEYS_FOREIGN);
}

static void no_byte_of_a_statement_can_be_another(void **state)
{
    (void)state;
    for (size_t i = 0; i < links[0].statement_size + TRIB_SIGNATURE_SIZE; i++) {
        struct trib_msg_key_link bad = links[0];
        struct trib_key_pins pins = all[0];
        if (i < bad.statement_size)
            bad.statement[i] ^= 1;
        else
            bad.signature[i - bad.statement_size] ^= 1;
        assert_int_not_equal(trib_key_link_follow(&pins, &bad, NULL), TRIB_CODE_ACCEPTED);
        assert_memory_equal(&pins, &all[0], sizeof(pins));
    }
    for (size_t size = 0; size < links[0].statement_size; size++) {
        struct trib_msg_key_link cut = links[0];
        struct trib_key_pins pins = all[0];
        cut.statement_size = size;
        assert_int_not_equal(trib_key_link_follow(&pins, &cut, NULL), TRIB_CODE_ACCEPTED);
        assert_memory_equal(&pins, &all[0], sizeof(pins));
    }
}

static void a_manifest_signature_signs_no_statement(void **state)
{
    (void)state;
    struct trib_msg_key_link link = links[0];
    trib_sign(seeds[0], TRIB_MANIFEST_CONTEXT, link.statement, link.statement_size, link.signature);
    refused(&all[0], &link, TRIB_CODE_KEYS_SIGNATURE);
}

static void a_whole_chain_fits_a_message(void **state)
{
    (void)state;
    static struct trib_msg_keys keys;
    static struct trib_msg_keys back;
    struct trib_buf packed = {0};
    keys.count = TRIB_KEY_LINKS_MAX;
    for (size_t i = 0; i < TRIB_KEY_LINKS_MAX; i++) {
        struct trib_key_pins from = all[0];
        from.sequence = UINT64_MAX - 2;
        keys.links[i] = link_to(&from, seeds[0], &all[1]);
    }
    trib_msg_keys_pack(&keys, &packed);
    assert_false(packed.failed);
    assert_in_range(packed.size, 1, TRIB_CONTROL_MAX);
    assert_int_equal(trib_msg_keys_unpack(packed.data, packed.size, &back), TRIB_OK);
    assert_memory_equal(&back, &keys, sizeof(keys));
    trib_buf_fini(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_pins_the_oldest_keys_follows_to_the_newest),
        cmocka_unit_test(one_key_may_change_alone_but_one_must),
        cmocka_unit_test(a_statement_is_neither_replayed_nor_rolled_back),
        cmocka_unit_test(a_stolen_old_key_does_not_move_who_has_followed),
        cmocka_unit_test(a_statement_of_another_coordinator_is_foreign),
        cmocka_unit_test(no_byte_of_a_statement_can_be_another),
        cmocka_unit_test(a_manifest_signature_signs_no_statement),
        cmocka_unit_test(a_whole_chain_fits_a_message),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
