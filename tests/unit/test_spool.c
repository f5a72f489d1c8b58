#include "client/spool.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/wire/token.h"

enum {
    SIZE = 60
};

static char dir[TEST_FOLDER_SIZE];
static char path[TRIB_PATH_MAX + 1];
static uint8_t packed[SIZE];

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < SIZE; i++)
        packed[i] = (uint8_t)(i * 7);
    return test_folder(dir) && trib_path_join(path, dir, "spool.update") == TRIB_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static struct trib_msg_upload_begin begin_of(void)
{
    struct trib_msg_upload_begin begin = {
        .round_id = 42, .size = SIZE, .has_weight = true, .weight = 77};
    memset(begin.update_id, 5, sizeof(begin.update_id));
    memset(begin.digest, 6, sizeof(begin.digest));
    memset(begin.base_digest, 7, sizeof(begin.base_digest));
    memset(begin.arch_digest, 8, sizeof(begin.arch_digest));
    return begin;
}

static void what_was_spooled_reads_back_the_same(void **state)
{
    (void)state;
    const struct trib_msg_upload_begin begin = begin_of();
    struct trib_spool spool;
    assert_int_equal(trib_spool_read(dir, &spool), TRIB_ERR_STATE);
    assert_int_equal(trib_spool_write(dir, &begin, packed, trib_crc32c(0, packed, SIZE)), TRIB_OK);
    assert_int_equal(trib_spool_read(dir, &spool), TRIB_OK);
    assert_memory_equal(spool.packed, packed, SIZE);
    assert_int_equal(spool.begin.round_id, 42);
    assert_int_equal(spool.begin.weight, 77);
    assert_true(spool.begin.has_weight);
    assert_memory_equal(spool.begin.update_id, begin.update_id, sizeof(begin.update_id));
    assert_memory_equal(spool.begin.arch_digest, begin.arch_digest, 32);
    trib_spool_fini(&spool);
    assert_int_equal(trib_spool_remove(dir), TRIB_OK);
    assert_int_equal(trib_spool_read(dir, &spool), TRIB_ERR_STATE);
}

// The file of an update that waits, as it is.
static struct trib_buf written(const struct trib_msg_upload_begin *begin)
{
    struct trib_buf whole = {0};
    assert_int_equal(trib_spool_write(dir, begin, packed, trib_crc32c(0, packed, SIZE)), TRIB_OK);
    assert_int_equal(trib_file_read(path, 4096, &whole), TRIB_OK);
    return whole;
}

// A damaged spool is named and dropped: wrong bytes are never sent.
static void every_flip_and_truncation_is_found(void **state)
{
    (void)state;
    const struct trib_msg_upload_begin begin = begin_of();
    struct trib_buf whole = written(&begin);
    struct trib_spool spool;
    for (size_t at = 0; at < whole.size; at++) {
        uint8_t bad[512];
        memcpy(bad, whole.data, whole.size);
        bad[at] ^= (uint8_t)(1u << (at % 8));
        assert_int_equal(trib_file_write(path, bad, whole.size, 0600), TRIB_OK);
        assert_int_equal(trib_spool_read(dir, &spool), TRIB_ERR_CORRUPT);
        assert_false(trib_file_exists(path));
        assert_int_equal(trib_file_write(path, whole.data, at, 0600), TRIB_OK);
        assert_int_equal(trib_spool_read(dir, &spool), TRIB_ERR_CORRUPT);
    }
    trib_buf_fini(&whole);
}

// An update that waited while the software was replaced is sent all the same.
static void one_of_an_earlier_version_is_read(void **state)
{
    (void)state;
    const struct trib_msg_upload_begin begin = begin_of();
    struct trib_buf whole = written(&begin);
    struct trib_spool spool;
    whole.data[7] = '1';
    assert_int_equal(trib_file_write(path, whole.data, whole.size, 0600), TRIB_OK);
    assert_int_equal(trib_spool_read(dir, &spool), TRIB_ERR_CORRUPT); // it has another checksum
    trib_store_le32(whole.data + 8, trib_crc32c(0, whole.data + 12, whole.size - 12));
    assert_int_equal(trib_file_write(path, whole.data, whole.size, 0600), TRIB_OK);
    assert_int_equal(trib_spool_read(dir, &spool), TRIB_OK);
    assert_memory_equal(spool.packed, packed, SIZE);
    assert_memory_equal(spool.begin.digest, begin.digest, sizeof(begin.digest));
    trib_spool_fini(&spool);
    trib_buf_fini(&whole);
}

static void tokens_round_trip_and_damaged_ones_do_not_read(void **state)
{
    (void)state;
    struct trib_token token = {.url = "tcp://127.0.0.1:7420"};
    struct trib_token back;
    char text[TRIB_TOKEN_TEXT_SIZE];
    memset(token.coordinator, 1, sizeof(token.coordinator));
    memset(token.id, 2, sizeof(token.id));
    memset(token.secret, 3, sizeof(token.secret));
    trib_token_write(&token, text);
    assert_true(trib_token_read(text, &back));
    assert_string_equal(back.url, token.url);
    assert_memory_equal(back.secret, token.secret, sizeof(token.secret));
    assert_false(trib_token_read("trib2.AAAA", &back));
    assert_false(trib_token_read("", &back));
    for (size_t size = 6; size < 6 + 97; size++) { // shorter than version, keys and one URL byte
        char cut[TRIB_TOKEN_TEXT_SIZE];
        memcpy(cut, text, size);
        cut[size] = '\0';
        assert_false(trib_token_read(cut, &back));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_spooled_reads_back_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_flip_and_truncation_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_of_an_earlier_version_is_read, set_up, tear_down),
        cmocka_unit_test(tokens_round_trip_and_damaged_ones_do_not_read),
    };
    return RUN_TESTS(tests);
}
