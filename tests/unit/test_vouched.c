#include "common/privacy/vouched.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#include "common/base/wipe.h"

#define POPULATION "orchard"

static uint8_t roster_seed[TRIB_SIGN_SEED_SIZE] = {1};
static uint8_t roster_key[TRIB_SIGN_KEY_SIZE];
static struct trib_vouched *vouched;

static int set_up(void **state)
{
    (void)state;
    trib_crypto_init();
    trib_sign_public(roster_seed, roster_key);
    return trib_vouched_create(&vouched) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    trib_vouched_destroy(vouched);
    return 0;
}

static struct trib_secagg_entry entry_of(uint32_t number)
{
    struct trib_secagg_entry entry = {.name = ""};
    (void)snprintf(entry.name, sizeof(entry.name), "d%u", number);
    memset(entry.sign_key, 7, sizeof(entry.sign_key));
    memcpy(entry.sign_key, &number, sizeof(number));
    trib_roster_sign(roster_seed, POPULATION, entry.name, entry.sign_key, entry.roster_signature);
    return entry;
}

static bool check(const struct trib_secagg_entry *entry)
{
    return trib_vouched_check(vouched, roster_key, POPULATION, entry);
}

static void a_good_signature_is_verified_once(void **state)
{
    (void)state;
    const struct trib_secagg_entry a = entry_of(1);
    const struct trib_secagg_entry b = entry_of(2);
    for (int i = 0; i < 3; i++) {
        assert_true(check(&a));
        assert_true(check(&b));
    }
    assert_int_equal(trib_vouched_verified(vouched), 2);
}

static void a_bad_one_is_never_remembered_as_good(void **state)
{
    (void)state;
    struct trib_secagg_entry entry = entry_of(1);
    assert_true(check(&entry));
    entry.roster_signature[5] ^= 1;
    for (int i = 0; i < 3; i++)
        assert_false(check(&entry));
    assert_int_equal(trib_vouched_verified(vouched), 4);
}

// What was verified is good for exactly that: another name, key, population or roster is another
// question.
static void nothing_is_good_for_anything_else(void **state)
{
    (void)state;
    const struct trib_secagg_entry good = entry_of(1);
    uint8_t other_roster[TRIB_SIGN_KEY_SIZE] = {9};
    assert_true(check(&good));
    struct trib_secagg_entry entry = good;
    entry.name[1] = '2';
    assert_false(check(&entry));
    entry = good;
    entry.sign_key[31] ^= 1;
    assert_false(check(&entry));
    assert_false(trib_vouched_check(vouched, roster_key, "orchar", &good));
    assert_false(trib_vouched_check(vouched, other_roster, POPULATION, &good));
    entry = good; // what the roster does not sign does not matter
    entry.advert.mask_key[0] ^= 1;
    assert_true(check(&entry));
}

static void without_a_memory_everything_is_verified(void **state)
{
    (void)state;
    struct trib_secagg_entry entry = entry_of(1);
    assert_true(trib_vouched_check(NULL, roster_key, POPULATION, &entry));
    entry.roster_signature[0] ^= 1;
    assert_false(trib_vouched_check(NULL, roster_key, POPULATION, &entry));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_signature_is_verified_once),
        TEST(a_bad_one_is_never_remembered_as_good),
        TEST(nothing_is_good_for_anything_else),
        TEST(without_a_memory_everything_is_verified),
    };
    return RUN_TESTS(tests);
}
