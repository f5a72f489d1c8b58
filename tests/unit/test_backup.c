#include "coordinator/backup.h"
#include "tests/unit/files.h"

#include <string.h>

#include "common/base/copy.h"

static uint8_t seed[TRIB_SIGN_SEED_SIZE] = {5};
static uint8_t key[TRIB_SIGN_KEY_SIZE];

static void fill(struct trib_backup *backup)
{
    trib_sign_public(seed, key);
    *backup = (struct trib_backup){.made_ms = 1790000000000,
                                   .generation = 2,
                                   .version = 7,
                                   .audit_number = 212,
                                   .audit_hash = {1, 2, 3},
                                   .has_keys = true};
    assert_int_equal(trib_backup_add(backup, "store.db"), TRIB_OK);
    assert_int_equal(trib_backup_add(backup, "models/ab.safetensors"), TRIB_OK);
    backup->files[0].size = 4096;
    backup->files[1].digest[31] = 9;
}

static void a_list_comes_back_as_it_was(void **state)
{
    (void)state;
    struct trib_backup made;
    struct trib_backup read;
    struct trib_buf list = {0};
    char why[TRIB_BACKUP_WHY_SIZE];
    fill(&made);
    trib_backup_print(&made, seed, &list);
    assert_int_equal(trib_backup_parse(list.data, list.size, key, &read, why), TRIB_OK);
    assert_int_equal(read.made_ms, made.made_ms);
    assert_int_equal(read.generation, 2);
    assert_int_equal(read.version, 7);
    assert_int_equal(read.audit_number, 212);
    assert_memory_equal(read.audit_hash, made.audit_hash, TRIB_DIGEST_SIZE);
    assert_true(read.has_keys);
    assert_int_equal(read.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(read.files[i].name, made.files[i].name);
        assert_int_equal(read.files[i].size, made.files[i].size);
        assert_memory_equal(read.files[i].digest, made.files[i].digest, TRIB_DIGEST_SIZE);
    }
    trib_backup_fini(&made);
    trib_backup_fini(&read);
    trib_buf_fini(&list);
}

// Whatever bit of it is another, and wherever it ends early.
static void a_list_that_is_not_whole_is_refused(void **state)
{
    (void)state;
    struct trib_backup made;
    struct trib_backup read;
    struct trib_buf list = {0};
    char why[TRIB_BACKUP_WHY_SIZE];
    fill(&made);
    trib_backup_print(&made, seed, &list);
    for (size_t i = 0; i < list.size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            const bool is_case = bit == 5 && i + TRIB_SIGNATURE_SIZE * 2 + 1 >= list.size;
            list.data[i] ^= (uint8_t)(1 << bit);
            if (!is_case) // a hexadecimal digit in capitals is the same
                assert_int_equal(trib_backup_parse(list.data, list.size, key, &read, why),
                                 TRIB_ERR_CORRUPT);
            list.data[i] ^= (uint8_t)(1 << bit);
        }
        assert_int_equal(trib_backup_parse(list.data, i, key, &read, why), TRIB_ERR_CORRUPT);
    }
    trib_backup_fini(&made);
    trib_buf_fini(&list);
}

static void another_key_did_not_sign_it(void **state)
{
    (void)state;
    struct trib_backup made;
    struct trib_backup read;
    struct trib_buf list = {0};
    char why[TRIB_BACKUP_WHY_SIZE];
    fill(&made);
    trib_backup_print(&made, seed, &list);
    key[0] ^= 1;
    assert_int_equal(trib_backup_parse(list.data, list.size, key, &read, why), TRIB_ERR_CORRUPT);
    assert_string_equal(why, "is not what the coordinator of these keys signed");
    trib_backup_fini(&made);
    trib_buf_fini(&list);
}

static void names_stay_in_the_directory(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "/etc/passwd", "../x", "models/../x",    "models/",
                                      "a/b/c", ".hidden",     "a b",  "models/.hidden", "a\nb"};
    struct trib_backup backup = {.count = 0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(trib_backup_add(&backup, bad[i]), TRIB_ERR_INVAL);
    assert_int_equal(backup.count, 0);
}

static void a_copy_has_the_digest_of_its_bytes(void **state)
{
    (void)state;
    static uint8_t data[(2 << 20) + 77]; // more than one step
    char to[TRIB_PATH_MAX + 1];
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint8_t again[TRIB_DIGEST_SIZE];
    uint8_t wanted[TRIB_DIGEST_SIZE];
    uint64_t size = 0;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 >> 3);
    trib_digest(data, sizeof(data), wanted);
    const char *from = files_put(0, "from", data, sizeof(data));
    (void)snprintf(to, sizeof(to), "%s/to", files_dir);
    assert_int_equal(trib_file_copy(from, to, 0600, &size, digest), TRIB_OK);
    assert_int_equal(size, sizeof(data));
    assert_memory_equal(digest, wanted, sizeof(wanted));
    assert_int_equal(trib_file_digest(to, &size, again), TRIB_OK);
    assert_memory_equal(again, wanted, sizeof(wanted));
    assert_int_equal(trib_file_copy(from, to, 0600, &size, digest), TRIB_ERR_IO); // is there
    (void)remove(to);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"from", NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_comes_back_as_it_was),
        cmocka_unit_test(a_list_that_is_not_whole_is_refused),
        cmocka_unit_test(another_key_did_not_sign_it),
        cmocka_unit_test(names_stay_in_the_directory),
        cmocka_unit_test(a_copy_has_the_digest_of_its_bytes),
    };
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
