#include "client/local.h"
#include "tests/unit/files.h"

#include <math.h>
#include <sys/stat.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "tests/unit/models.h"

enum {
    COUNT = 9, // 2 inputs and a bias for each of 3 units
    FILE_SIZE = 88 + 8 * COUNT,
};

static struct trib_model model;

static struct trib_local load(void)
{
    struct trib_local local;
    assert_int_equal(trib_local_load(files_dir, &model, 7, "d0", &local), TRIB_OK);
    assert_int_equal(local.count, COUNT);
    return local;
}

static void assert_new(const struct trib_local *local)
{
    float wanted[COUNT];
    trib_model_init_local(&model, 7, "d0", wanted);
    assert_int_equal(local->round_id, 0);
    assert_memory_equal(trib_local_start(local, 12), wanted, sizeof(wanted));
}

static void save(uint64_t round_id, float first)
{
    float trained[COUNT];
    struct trib_local local = load();
    for (int i = 0; i < COUNT; i++)
        trained[i] = first + (float)i;
    assert_int_equal(trib_local_save(&local, files_dir, &model, round_id, trained), TRIB_OK);
    assert_true(local.after[1] == first + 1);
    trib_local_fini(&local);
}

static int set_up(void **state)
{
    (void)state;
    model = parsed("4 - dense 2 tanh - dense 3 softmax local");
    (void)unlink(files_put(0, "local.part", NULL, 0));
    return 0;
}

static void a_device_begins_anew_and_goes_on_from_where_it_was(void **state)
{
    (void)state;
    struct stat info;
    struct trib_local local = load();
    assert_new(&local);
    trib_local_fini(&local);
    save(5, 10);
    save(6, 20);
    assert_int_equal(stat(files_put(0, "local.part", NULL, 0), &info), 0);
    assert_int_equal(info.st_size, FILE_SIZE);
    assert_int_equal(info.st_mode & 0777, 0600);
    local = load();
    assert_true(trib_local_start(&local, 7)[0] == 20);
    assert_true(trib_local_start(&local, 5)[0] == 20); // an older round is not special
    trib_local_fini(&local);
    trib_local_fini(&local); // an empty one is fine
}

static void a_round_that_is_trained_again_begins_where_it_began(void **state)
{
    (void)state;
    save(5, 10);
    save(6, 20);
    for (int again = 0; again < 2; again++) {
        struct trib_local local = load();
        assert_true(trib_local_start(&local, 6)[0] == 10);
        trib_local_fini(&local);
        save(6, 30); // the second training, which ends elsewhere
    }
    struct trib_local local = load();
    assert_true(trib_local_start(&local, 7)[0] == 30);
    trib_local_fini(&local);
}

static void another_model_begins_anew(void **state)
{
    (void)state;
    save(5, 10);
    model = parsed("4 - dense 2 relu - dense 3 softmax local"); // of the same size
    struct trib_local local = load();
    assert_new(&local);
    files_assert_logged("is of another model");
    trib_local_fini(&local);
}

static void damaged_files_are_named_and_not_used(void **state)
{
    (void)state;
    struct trib_buf file = {0};
    save(5, 10);
    const char *path = files_put(0, "local.part", NULL, 0);
    assert_int_equal(trib_file_read(path, 4096, &file), TRIB_OK);
    assert_int_equal(file.size, FILE_SIZE);
    for (size_t size = 0; size < FILE_SIZE; size++) { // cut short, and one flipped bit in turn
        uint8_t bytes[FILE_SIZE];
        memcpy(bytes, file.data, FILE_SIZE);
        (void)files_put(0, "local.part", bytes, size);
        struct trib_local local = load();
        assert_new(&local);
        files_assert_logged("id=local-corrupt");
        trib_local_fini(&local);
        bytes[size] ^= (uint8_t)(1u << size % 8);
        (void)files_put(0, "local.part", bytes, FILE_SIZE);
        local = load();
        assert_new(&local);
        trib_local_fini(&local);
    }
    trib_buf_fini(&file);
}

// A whole file, by its digest, that holds what nobody can train from.
static void values_that_are_not_finite_are_not_used(void **state)
{
    (void)state;
    struct trib_buf file = {0};
    const float wrong = NAN;
    save(5, 10);
    const char *path = files_put(0, "local.part", NULL, 0);
    assert_int_equal(trib_file_read(path, 4096, &file), TRIB_OK);
    memcpy(file.data + FILE_SIZE - 4, &wrong, sizeof(wrong));
    trib_digest(file.data + 40, FILE_SIZE - 40, file.data + 8);
    (void)files_put(0, "local.part", file.data, file.size);
    struct trib_local local = load();
    assert_new(&local);
    files_assert_logged("not finite");
    trib_local_fini(&local);
    trib_buf_fini(&file);
}

static void a_part_that_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    float trained[COUNT] = {0};
    struct trib_local local = load();
    assert_int_equal(trib_local_save(&local, "/tmp/there/is/no/such/folder", &model, 5, trained),
                     TRIB_ERR_IO);
    trib_local_fini(&local);
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"local.part", NULL};
    return files_teardown(names);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_device_begins_anew_and_goes_on_from_where_it_was),
        TEST(a_round_that_is_trained_again_begins_where_it_began),
        TEST(another_model_begins_anew),
        TEST(damaged_files_are_named_and_not_used),
        TEST(values_that_are_not_finite_are_not_used),
        TEST(a_part_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
