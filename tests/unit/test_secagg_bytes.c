#include "common/privacy/secagg_bytes.h"
#include "tests/test.h"

#include <string.h>

static struct trib_secagg_entry some_entry(const char *name)
{
    struct trib_secagg_entry entry;
    uint64_t seed = 11;
    for (size_t i = 0; i < sizeof(entry); i++)
        ((uint8_t *)&entry)[i] = (uint8_t)test_rand(&seed);
    memset(entry.name, 0, sizeof(entry.name));
    memcpy(entry.name, name, strlen(name));
    return entry;
}

static void an_entry_comes_back_as_it_was(void **state)
{
    (void)state;
    char longest[TRIB_NAME_MAX + 1] = {0};
    memset(longest, 'n', TRIB_NAME_MAX);
    const char *names[] = {"a", "device-0001", longest};
    for (int i = 0; i < 3; i++) {
        struct trib_secagg_entry entry = some_entry(names[i]);
        struct trib_secagg_entry back = {.name = ""};
        struct trib_buf buf = {0};
        trib_secagg_entry_pack(&entry, &buf);
        assert_false(buf.failed);
        assert_int_equal(buf.size, TRIB_SECAGG_ENTRY_SIZE);
        assert_int_equal(trib_secagg_entry_unpack(buf.data, buf.size, &back), TRIB_OK);
        assert_memory_equal(&back, &entry, sizeof(entry));
        trib_buf_fini(&buf);
    }
}

static void an_advert_comes_back_as_it_was(void **state)
{
    (void)state;
    const struct trib_secagg_entry entry = some_entry("a");
    struct trib_secagg_advert back;
    struct trib_buf buf = {0};
    trib_secagg_advert_pack(&entry.advert, &buf);
    assert_int_equal(buf.size, TRIB_SECAGG_ADVERT_SIZE);
    assert_int_equal(trib_secagg_advert_unpack(buf.data, buf.size, &back), TRIB_OK);
    assert_memory_equal(&back, &entry.advert, sizeof(back));
    // Where each field is, since other programs read this.
    assert_memory_equal(buf.data, entry.advert.mask_key, 32);
    assert_memory_equal(buf.data + 32, entry.advert.share_key, 32);
    assert_memory_equal(buf.data + 64, entry.advert.commitment, 32);
    assert_memory_equal(buf.data + 96, entry.advert.signature, 64);
    trib_buf_fini(&buf);
}

static void sizes_are_those_of_the_protocol(void **state)
{
    (void)state;
    assert_int_equal(TRIB_SECAGG_ADVERT_SIZE, 160);
    assert_int_equal(TRIB_SECAGG_ENTRY_SIZE, 320);
    assert_int_equal(TRIB_SECAGG_SEALED_SIZE, 104);
}

static void other_sizes_are_refused(void **state)
{
    (void)state;
    static const uint8_t bytes[TRIB_SECAGG_ENTRY_SIZE + 1] = {'a'};
    struct trib_secagg_entry entry;
    for (size_t size = 0; size <= sizeof(bytes); size++) {
        enum trib_err advert = trib_secagg_advert_unpack(bytes, size, &entry.advert);
        enum trib_err whole = trib_secagg_entry_unpack(bytes, size, &entry);
        assert_int_equal(advert, size == TRIB_SECAGG_ADVERT_SIZE ? TRIB_OK : TRIB_ERR_DATA);
        assert_int_equal(whole, size == TRIB_SECAGG_ENTRY_SIZE ? TRIB_OK : TRIB_ERR_DATA);
    }
}

static void a_name_that_is_none_is_refused_and_nothing_is_written(void **state)
{
    (void)state;
    uint8_t bytes[TRIB_SECAGG_ENTRY_SIZE] = {0};
    struct trib_secagg_entry entry = some_entry("before");
    const struct trib_secagg_entry before = entry;
    assert_int_equal(trib_secagg_entry_unpack(bytes, sizeof(bytes), &entry), TRIB_ERR_DATA);
    memset(bytes, 'n', TRIB_NAME_MAX + 1); // no end
    assert_int_equal(trib_secagg_entry_unpack(bytes, sizeof(bytes), &entry), TRIB_ERR_DATA);
    for (size_t at = 2; at <= TRIB_NAME_MAX; at++) { // bytes hidden behind the end
        memset(bytes, 0, TRIB_NAME_MAX + 1);
        bytes[0] = 'n';
        bytes[at] = 'x';
        assert_int_equal(trib_secagg_entry_unpack(bytes, sizeof(bytes), &entry), TRIB_ERR_DATA);
    }
    assert_memory_equal(&entry, &before, sizeof(entry));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_comes_back_as_it_was),
        cmocka_unit_test(an_advert_comes_back_as_it_was),
        cmocka_unit_test(sizes_are_those_of_the_protocol),
        cmocka_unit_test(other_sizes_are_refused),
        cmocka_unit_test(a_name_that_is_none_is_refused_and_nothing_is_written),
    };
    return RUN_TESTS(tests);
}
