#include "common/wire/token.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#include "common/base/bytes.h"

static struct trib_token token_of(const char *url)
{
    struct trib_token token = {.url = ""};
    for (uint8_t i = 0; i < 32; i++) {
        token.coordinator[i] = i;
        token.secret[i] = (uint8_t)(200 + i);
        token.id[i % 8] = (uint8_t)(100 + i % 8);
    }
    memcpy(token.url, url, strlen(url) + 1);
    return token;
}

static void tokens_round_trip_up_to_the_longest_url(void **state)
{
    (void)state;
    char url[TRIB_URL_MAX + 1];
    char text[TRIB_TOKEN_TEXT_SIZE];
    for (size_t size = 1; size <= TRIB_URL_MAX; size++) {
        memset(url, 'u', size);
        url[size] = '\0';
        const struct trib_token token = token_of(url);
        struct trib_token back;
        trib_token_write(&token, text);
        assert_true(strlen(text) < sizeof(text));
        assert_true(trib_token_read(text, &back));
        assert_memory_equal(&back, &token, sizeof(token));
    }
}

// The address has no length of its own: a token cut inside it still reads, but as another address
// of the same coordinator, whose key stays pinned.
static void a_cut_token_never_reads_as_the_whole_one(void **state)
{
    (void)state;
    const struct trib_token token = token_of("tcp://coordinator.example:7420");
    struct trib_token back;
    char text[TRIB_TOKEN_TEXT_SIZE];
    trib_token_write(&token, text);
    const size_t keys_end = 6 + (1 + 32 + 8 + 32 + 1) * 4 / 3; // with one byte of the address
    for (size_t size = strlen(text) - 1; size > 0; size--) {
        text[size] = '\0';
        bool reads = trib_token_read(text, &back);
        if (size < keys_end)
            assert_false(reads);
        if (reads) {
            assert_memory_equal(back.coordinator, token.coordinator, sizeof(token.coordinator));
            assert_true(strlen(back.url) < strlen(token.url));
            assert_memory_equal(back.url, token.url, strlen(back.url));
        }
    }
}

static void what_is_not_a_token_is_refused(void **state)
{
    (void)state;
    const struct trib_token token = token_of("tcp://127.0.0.1:7420");
    struct trib_token back = {.url = "untouched"};
    char text[TRIB_TOKEN_TEXT_SIZE];
    char bad[TRIB_TOKEN_TEXT_SIZE];
    trib_token_write(&token, text);
    for (size_t i = 0; i < strlen(text); i++) { // one character that does not belong there
        memcpy(bad, text, sizeof(bad));
        bad[i] = '!';
        assert_false(trib_token_read(bad, &back));
    }
    memcpy(bad, text, sizeof(bad));
    bad[6] ^= 8; // the version byte is the first one under the base64
    assert_false(trib_token_read(bad, &back));
    assert_false(trib_token_read("", &back));
    assert_false(trib_token_read("trib1.", &back));

    uint8_t data[TRIB_TOKEN_BYTES_MAX + 1] = {1};
    char huge[TRIB_TOKEN_TEXT_SIZE + 8] = "trib1.";
    memset(data + 1, 'a', sizeof(data) - 1);
    trib_base64_encode(data, sizeof(data), huge + 6);
    assert_false(trib_token_read(huge, &back)); // an address that is too long
    data[80] = '\0';
    trib_base64_encode(data, 100, huge + 6);
    assert_false(trib_token_read(huge, &back)); // an address with a hidden end
    assert_string_equal(back.url, "untouched");
}

static void what_copying_brings_along_does_not_count(void **state)
{
    (void)state;
    const struct trib_token token = token_of("tcp://127.0.0.1:7420");
    struct trib_token back = {.url = ""};
    char text[TRIB_TOKEN_TEXT_SIZE];
    char pasted[3 * TRIB_TOKEN_TEXT_SIZE];
    trib_token_write(&token, text);
    (void)snprintf(pasted, sizeof(pasted), " \t%s \r\n", text);
    assert_true(trib_token_read(pasted, &back));
    assert_memory_equal(&back, &token, sizeof(token));
    memset(pasted, ' ', sizeof(pasted)); // more than a token is long
    memcpy(pasted + TRIB_TOKEN_TEXT_SIZE, text, strlen(text));
    pasted[sizeof(pasted) - 1] = '\0';
    assert_true(trib_token_read(pasted, &back));
}

static void each_fault_is_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"", "begin with trib1."},
        {" trib2.AAAA", "begin with trib1."},
        {"trib1.AAAAtrib1.AAAA", "pasted twice"},
        {"trib1.AAAA\ntrib1.AAAA\n", "pasted twice"},
        {" trib1.AA AA", "blank or the end of a line within"},
        {"trib1.AA\n", "not a whole"},
    };
    struct trib_token back;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_false(trib_token_read(cases[i].text, &back));
        assert_non_null(strstr(trib_token_fault(cases[i].text), cases[i].fault));
    }
}

static void the_stored_hash_is_labelled_blake2b(void **state)
{
    (void)state;
    // BLAKE2b-256 of "trib token" and the bytes 0 .. 31, by another implementation (hashlib)
    static const char want[] = "46c6f23278e127a3450e193475c4ef02c57b1274ba6c9297aa64cdd7c05d5c88";
    uint8_t secret[TRIB_TOKEN_SECRET_SIZE];
    uint8_t hash[32];
    char hex[65];
    for (uint8_t i = 0; i < sizeof(secret); i++)
        secret[i] = i;
    trib_token_hash(secret, hash);
    trib_hex_encode(hash, sizeof(hash), hex);
    assert_string_equal(hex, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_round_trip_up_to_the_longest_url),
        cmocka_unit_test(a_cut_token_never_reads_as_the_whole_one),
        cmocka_unit_test(what_is_not_a_token_is_refused),
        cmocka_unit_test(what_copying_brings_along_does_not_count),
        cmocka_unit_test(each_fault_is_told_apart),
        cmocka_unit_test(the_stored_hash_is_labelled_blake2b),
    };
    return RUN_TESTS(tests);
}
