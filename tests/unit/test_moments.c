#include "coordinator/moments.h"
#include "tests/unit/files.h"

#include <inttypes.h>
#include <math.h>

#include "common/base/buf.h"

enum {
    PARAMS = 4,
    ROUNDS = 10,
};

static const struct trib_moments_options adam = {
    .kind = TRIB_MOMENTS_FEDADAM, .beta1 = 0.9, .beta2 = 0.99, .tau = 1e-3};

static struct trib_moments *made(const struct trib_moments_options *options)
{
    struct trib_moments *moments;
    assert_int_equal(trib_moments_create(options, PARAMS, &moments), TRIB_OK);
    return moments;
}

static void ten_rounds_are_those_of_the_reference(void **state)
{
    (void)state;
    FILE *file = fopen(TEST_VECTORS "/moments.csv", "r");
    char line[256];
    struct trib_moments *moments = NULL;
    float x[PARAMS] = {0}, mean[PARAMS];
    double want[PARAMS];
    int steps = 0;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        struct trib_moments_options options = {.kind = TRIB_MOMENTS_FEDAVGM};
        char kind[16];
        double rate, delta, value;
        int round, parameter;
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%15[^,],%lf,%lf,%lf,%lf,%d,%d,%lf,%lf", kind, &options.beta1,
                                &options.beta2, &options.tau, &rate, &round, &parameter, &delta,
                                &value),
                         9);
        if (strcmp(kind, "fedadam") == 0)
            options.kind = TRIB_MOMENTS_FEDADAM;
        if (round == 1 && parameter == 0) {
            static const float start[PARAMS] = {0.5f, -1, 2, 0};
            trib_moments_destroy(moments);
            moments = made(&options);
            memcpy(x, start, sizeof(x));
        }
        mean[parameter] = (float)delta;
        want[parameter] = value;
        if (parameter < PARAMS - 1)
            continue;
        assert_int_equal(trib_moments_step(moments, x, mean, rate, x), TRIB_OK);
        trib_moments_take(moments);
        for (int i = 0; i < PARAMS; i++)
            assert_true(fabs((double)x[i] - want[i]) <= 1e-6 * fmax(1, fabs(want[i])));
        steps++;
    }
    assert_int_equal(steps, 5 * ROUNDS);
    trib_moments_destroy(moments);
    (void)fclose(file);
}

static const float base[PARAMS] = {1, 2, 3, 4}, mean[PARAMS] = {0.5f, -0.5f, 0.25f, 0};

static void a_step_that_is_not_taken_leaves_no_trace(void **state)
{
    (void)state;
    static const float other[PARAMS] = {9, -9, 9, 9};
    struct trib_moments *once = made(&adam), *tried = made(&adam);
    float a[PARAMS], b[PARAMS];
    assert_int_equal(trib_moments_step(once, base, mean, 0.1, a), TRIB_OK);
    assert_int_equal(trib_moments_step(tried, base, other, 0.1, b), TRIB_OK); // not committed
    assert_int_equal(trib_moments_step(tried, base, mean, 0.1, b), TRIB_OK);
    assert_memory_equal(a, b, sizeof(a));
    trib_moments_take(once);
    trib_moments_take(tried);
    assert_int_equal(trib_moments_step(once, a, mean, 0.1, a), TRIB_OK);
    assert_int_equal(trib_moments_step(tried, b, mean, 0.1, b), TRIB_OK);
    assert_memory_equal(a, b, sizeof(a));
    trib_moments_destroy(once);
    trib_moments_destroy(tried);
    trib_moments_destroy(NULL);
}

static void what_is_not_finite_is_refused(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, 3e38f};
    for (size_t i = 0; i < 3; i++) {
        struct trib_moments *moments = made(&adam);
        float wrong[PARAMS] = {0, 0, bad[i], 0}, next[PARAMS];
        assert_int_equal(trib_moments_step(moments, base, wrong, 1, next), TRIB_ERR_DATA);
        trib_moments_destroy(moments);
    }
}

static void moments_come_back_from_their_file_to_the_bit(void **state)
{
    (void)state;
    struct trib_moments *before = made(&adam), *after = made(&adam);
    float a[PARAMS], b[PARAMS];
    assert_int_equal(trib_moments_step(before, base, mean, 0.1, a), TRIB_OK);
    assert_int_equal(trib_moments_write(before, files_dir, 7, 3), TRIB_OK);
    trib_moments_take(before);
    assert_int_equal(trib_moments_read(after, files_dir, 7, 3), TRIB_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(trib_moments_step(before, base, mean, 0.1, a), TRIB_OK);
        assert_int_equal(trib_moments_step(after, base, mean, 0.1, b), TRIB_OK);
        assert_memory_equal(a, b, sizeof(a));
        trib_moments_take(before);
        trib_moments_take(after);
    }
    trib_moments_destroy(before);
    trib_moments_destroy(after);
    (void)files_put(0, "2.moments", "x", 1); // of a process that was killed
    assert_int_equal(trib_moments_clean(files_dir, 3), TRIB_OK);
    assert_false(trib_file_exists(files_put(0, "2.moments", NULL, 0)));
    assert_true(trib_file_exists(files_put(0, "3.moments", NULL, 0)));
    assert_int_equal(trib_moments_remove(files_dir, 3), TRIB_OK);
    assert_int_equal(trib_moments_remove(files_dir, 3), TRIB_OK); // gone is gone
}

static void every_other_file_is_corrupt(void **state)
{
    (void)state;
    static const struct trib_moments_options plain = {.kind = TRIB_MOMENTS_FEDAVGM, .beta1 = 0.9};
    struct trib_moments *moments = made(&adam), *fewer = made(&plain);
    struct trib_buf whole = {0};
    float next[PARAMS];
    assert_int_equal(trib_moments_read(moments, files_dir, 7, 3), TRIB_ERR_CORRUPT); // missing
    files_assert_logged("id=moments-corrupt");
    assert_int_equal(trib_moments_step(moments, base, mean, 0.1, next), TRIB_OK);
    assert_int_equal(trib_moments_write(moments, files_dir, 7, 3), TRIB_OK);
    assert_int_equal(trib_moments_read(moments, files_dir, 8, 3),
                     TRIB_ERR_CORRUPT); // of another job
    assert_int_equal(trib_moments_read(fewer, files_dir, 7, 3),
                     TRIB_ERR_CORRUPT); // of fewer floats
    const char *path = files_put(0, "3.moments", NULL, 0);
    assert_int_equal(trib_file_read(path, 4096, &whole), TRIB_OK);
    const char *other = files_put(1, "4.moments", whole.data, whole.size); // renamed
    (void)other;
    assert_int_equal(trib_moments_read(moments, files_dir, 7, 4), TRIB_ERR_CORRUPT);
    for (size_t at = 0; at < whole.size; at++) {
        whole.data[at] ^= 1;
        (void)files_put(0, "3.moments", whole.data, whole.size);
        whole.data[at] ^= 1;
        assert_int_equal(trib_moments_read(moments, files_dir, 7, 3), TRIB_ERR_CORRUPT);
        assert_int_equal(trib_moments_move(files_dir, 3, 5), TRIB_ERR_CORRUPT);
    }
    for (size_t size = 0; size < whole.size; size += 7) {
        (void)files_put(0, "3.moments", whole.data, size);
        assert_int_equal(trib_moments_read(moments, files_dir, 7, 3), TRIB_ERR_CORRUPT);
        assert_int_equal(trib_moments_move(files_dir, 3, 5), TRIB_ERR_CORRUPT);
    }
    (void)files_put(0, "3.moments", whole.data, whole.size);
    assert_int_equal(trib_moments_read(moments, files_dir, 7, 3), TRIB_OK);
    assert_int_equal(trib_moments_move(files_dir, 3, 5), TRIB_OK);
    assert_false(trib_moments_exist(files_dir, 3));
    assert_int_equal(trib_moments_read(moments, files_dir, 7, 5), TRIB_OK);
    assert_int_equal(trib_moments_move(files_dir, 3, 5), TRIB_OK); // not there is fine
    assert_int_equal(trib_moments_remove(files_dir, 5), TRIB_OK);
    trib_buf_fini(&whole);
    trib_moments_destroy(moments);
    trib_moments_destroy(fewer);
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"2.moments", "3.moments", "4.moments", "5.moments", NULL};
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_rounds_are_those_of_the_reference),
        cmocka_unit_test(a_step_that_is_not_taken_leaves_no_trace),
        cmocka_unit_test(what_is_not_finite_is_refused),
        cmocka_unit_test(moments_come_back_from_their_file_to_the_bit),
        cmocka_unit_test(every_other_file_is_corrupt),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
