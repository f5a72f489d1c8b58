#include "common/base/keyfile.h"
#include "tests/unit/files.h"

#include <sys/stat.h>

static uint8_t session_key[TRIB_KEYFILE_KEY_SIZE], sign_key[TRIB_KEYFILE_KEY_SIZE];
static uint8_t got_session[TRIB_KEYFILE_KEY_SIZE], got_sign[TRIB_KEYFILE_KEY_SIZE];
static const struct trib_keyfile_line lines[] = {{"x25519", session_key, false},
                                                 {"ed25519", sign_key, false}};
static const struct trib_keyfile_line got[] = {{"x25519", got_session, false},
                                               {"ed25519", got_sign, false}};

// A good file of two keys; its path.
static const char *write_keys(void)
{
    const char *path = files_put(0, "test.key", NULL, 0);
    for (int i = 0; i < TRIB_KEYFILE_KEY_SIZE; i++) {
        session_key[i] = (uint8_t)(3 * i + 1);
        sign_key[i] = (uint8_t)(255 - 5 * i);
    }
    assert_int_equal(trib_keyfile_write(path, lines, 2), TRIB_OK);
    return path;
}

static void keys_read_back_and_only_their_owner_may_read_them(void **state)
{
    (void)state;
    struct stat info;
    const char *path = write_keys();
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(trib_keyfile_read(path, got, 2), TRIB_OK);
    assert_memory_equal(got_session, session_key, sizeof(session_key));
    assert_memory_equal(got_sign, sign_key, sizeof(sign_key));
}

static void a_file_that_others_may_touch_is_refused(void **state)
{
    (void)state;
    const char *path = write_keys();
    for (mode_t bit = 1; bit <= 040; bit <<= 1) { // each right of the group and of the others
        assert_int_equal(chmod(path, 0600 | bit), 0);
        assert_int_equal(trib_keyfile_read(path, got, 2), TRIB_ERR_INVAL);
        files_assert_logged("0600");
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(trib_keyfile_read(path, got, 2), TRIB_OK);
}

static void no_file_is_another_answer_than_a_wrong_file(void **state)
{
    (void)state;
    const char *path = files_put(1, "absent.key", NULL, 0);
    assert_int_equal(trib_keyfile_read(path, got, 2), TRIB_ERR_STATE);
    files_assert_logged("absent.key");
}

static void every_truncation_and_every_other_text_is_refused(void **state)
{
    (void)state;
    struct trib_buf whole = {0};
    const char *path = write_keys();
    assert_int_equal(trib_file_read(path, 4096, &whole), TRIB_OK);
    for (size_t size = 0; size < whole.size; size++) {
        assert_int_equal(trib_file_write(path, whole.data, size, 0600), TRIB_OK);
        assert_int_equal(trib_keyfile_read(path, got, 2), TRIB_ERR_CORRUPT);
    }
    trib_buf_text(&whole, "more\n");
    assert_int_equal(trib_file_write(path, whole.data, whole.size, 0600), TRIB_OK);
    assert_int_equal(trib_keyfile_read(path, got, 2), TRIB_ERR_CORRUPT);
    trib_buf_fini(&whole);

    const struct trib_keyfile_line swapped[] = {got[1], got[0]};
    path = write_keys();
    assert_int_equal(trib_keyfile_read(path, swapped, 2), TRIB_ERR_CORRUPT);
    assert_int_equal(trib_keyfile_read(path, got, 1), TRIB_ERR_CORRUPT); // a line too many
}

static int tear_down(void **state)
{
    static const char *const names[] = {"test.key", NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_read_back_and_only_their_owner_may_read_them),
        cmocka_unit_test(a_file_that_others_may_touch_is_refused),
        cmocka_unit_test(no_file_is_another_answer_than_a_wrong_file),
        cmocka_unit_test(every_truncation_and_every_other_text_is_refused),
    };
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
