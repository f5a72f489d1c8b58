#include "tests/test.h"

#include "common/base/bytes.h"
#include "common/data/idx.h"
#include "common/data/source.h"
#include "tests/unit/files.h"

// Two pictures of 2 x 2 and their labels.
static const uint8_t pictures[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0,   2,
                                   0, 0, 0, 2, 0, 1, 2, 3, 4, 5, 254, 255};
static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 9};

static enum trib_err read_bytes(const uint8_t *items, size_t items_size, const uint8_t *classes,
                                size_t classes_size, struct trib_dataset **ret_dataset)
{
    const char *items_path = files_put(0, "items", items, items_size);
    const char *labels_path = files_put(1, "labels", classes, classes_size);
    files_logged[0] = '\0';
    return trib_idx_read(items_path, labels_path, 1, 0, ret_dataset);
}

static void pictures_become_rows(void **state)
{
    (void)state;
    struct trib_dataset *dataset;
    assert_int_equal(read_bytes(pictures, sizeof(pictures), labels, sizeof(labels), &dataset),
                     TRIB_OK);
    assert_int_equal(dataset->rows, 2);
    assert_int_equal(dataset->inputs, 4);
    for (int i = 0; i < 8; i++)
        assert_true(dataset->x[i] == pictures[16 + i]);
    assert_true(dataset->y[0] == 7 && dataset->y[1] == 9);
    assert_null(dataset->lines);
    trib_dataset_free(dataset);

    assert_int_equal(trib_idx_read(files_put(0, "items", NULL, 0), files_put(1, "labels", NULL, 0),
                                   255, 1, &dataset),
                     TRIB_OK);
    assert_int_equal(dataset->rows, 1); // the limit
    assert_true(dataset->x[3] == 3.0f / 255 && dataset->y[0] == 7);
    trib_dataset_free(dataset);
}

static void every_cut_and_every_extra_byte_is_refused(void **state)
{
    (void)state;
    uint8_t longer[sizeof(pictures) + 1] = {0};
    struct trib_dataset *dataset = NULL;
    for (size_t size = 0; size < sizeof(pictures); size++)
        assert_int_equal(read_bytes(pictures, size, labels, sizeof(labels), &dataset),
                         TRIB_ERR_DATA);
    files_assert_logged("items: 23 bytes, but its dimensions want 24: the file is cut short");
    for (size_t size = 0; size < sizeof(labels); size++)
        assert_int_equal(read_bytes(pictures, sizeof(pictures), labels, size, &dataset),
                         TRIB_ERR_DATA);
    files_assert_logged("labels: 9 bytes, but its dimensions want 10: the file is cut short");
    memcpy(longer, pictures, sizeof(pictures));
    assert_int_equal(read_bytes(longer, sizeof(longer), labels, sizeof(labels), &dataset),
                     TRIB_ERR_DATA);
    files_assert_logged("items: 25 bytes, but its dimensions want 24: the file is too long");
    assert_null(dataset);
}

static void the_header_is_believed_only_when_it_can_be(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t byte;
        const char *logged;
    } cases[] = {
        {0, 1, "not an IDX file of items: magic 0x01000803"},
        {1, 1, "not an IDX file of items: magic 0x00010803"},
        {2, 0x0d, "not an IDX file of items: magic 0x00000d03, want 0x0000080N"},
        {3, 0, "not an IDX file of items"},
        {3, 9, "not an IDX file of items"},
        {4, 0xff, "cut short"}, // four thousand million pictures
        {7, 3, "cut short"},
        {7, 1, "too long"},
        {11, 0, "cut short"}, // pictures without pixels
        {12, 0xff, "cut short"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t bytes[sizeof(pictures)];
        struct trib_dataset *dataset = NULL;
        memcpy(bytes, pictures, sizeof(bytes));
        bytes[cases[i].at] = cases[i].byte;
        assert_int_equal(read_bytes(bytes, sizeof(bytes), labels, sizeof(labels), &dataset),
                         TRIB_ERR_DATA);
        files_assert_logged(cases[i].logged);
        assert_null(dataset);
    }
    // Dimensions whose product wraps around 2^64 to the size that is there.
    uint8_t huge[4 + 4 * 8 + 1] = {0, 0, 8, 8};
    struct trib_dataset *dataset = NULL;
    for (int d = 0; d < 8; d++)
        trib_store_be32(huge + 4 + 4 * d, 1u << 31);
    assert_int_equal(read_bytes(huge, sizeof(huge), labels, sizeof(labels), &dataset),
                     TRIB_ERR_DATA);
}

static void pictures_and_labels_must_match(void **state)
{
    (void)state;
    static const uint8_t three[] = {0, 0, 8, 1, 0, 0, 0, 3, 7, 9, 1};
    struct trib_dataset *dataset = NULL;
    assert_int_equal(read_bytes(pictures, sizeof(pictures), three, sizeof(three), &dataset),
                     TRIB_ERR_DATA);
    files_assert_logged("items: 2 items, but ");
    files_assert_logged("labels has 3 labels");
    assert_int_equal(read_bytes(pictures, sizeof(pictures), pictures, sizeof(pictures), &dataset),
                     TRIB_ERR_DATA);
    files_assert_logged("labels have one dimension, this file has more");
    assert_int_equal(trib_idx_read(files_put(0, "items", NULL, 0), files_put(2, "absent", NULL, 0),
                                   1, 0, &dataset),
                     TRIB_ERR_IO);
    assert_null(dataset);
}

static void a_shard_reads_back_as_it_was(void **state)
{
    (void)state;
    enum {
        ROWS = 40,
        INPUTS = 9
    };
    struct trib_dataset *dataset, *back;
    uint32_t order[ROWS];
    uint64_t seed = 1;
    assert_int_equal(trib_dataset_create(ROWS, INPUTS, false, "made", &dataset), TRIB_OK);
    for (size_t i = 0; i < ROWS * INPUTS; i++)
        dataset->x[i] = (float)(test_rand(&seed) % 256);
    for (uint32_t r = 0; r < ROWS; r++) {
        dataset->y[r] = (float)(test_rand(&seed) % 10);
        order[r] = (r * 7) % ROWS;
    }
    const char *items_path = files_put(0, "items", NULL, 0);
    const char *labels_path = files_put(1, "labels", NULL, 0);
    assert_int_equal(trib_idx_write(items_path, labels_path, dataset, order, ROWS), TRIB_OK);
    assert_int_equal(trib_idx_read(items_path, labels_path, 1, 0, &back), TRIB_OK);
    assert_int_equal(back->rows, ROWS);
    assert_int_equal(back->inputs, INPUTS);
    for (size_t r = 0; r < ROWS; r++) {
        assert_memory_equal(back->x + r * INPUTS, dataset->x + order[r] * INPUTS,
                            INPUTS * sizeof(float));
        assert_true(back->y[r] == dataset->y[order[r]]);
    }
    trib_dataset_free(back);
    trib_dataset_free(dataset);
}

static void what_is_not_a_byte_is_not_written(void **state)
{
    (void)state;
    static const float bad[] = {256, -1, 0.5f, 1e30f};
    static const uint32_t row = 0;
    struct trib_dataset *dataset;
    assert_int_equal(trib_dataset_create(1, 1, false, "made", &dataset), TRIB_OK);
    const char *items_path = files_put(2, "unwritten", NULL, 0);
    for (size_t i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
        dataset->x[0] = i % 2 ? bad[i / 2] : 1;
        dataset->y[0] = i % 2 ? 1 : bad[i / 2];
        assert_int_equal(trib_idx_write(items_path, items_path, dataset, &row, 1), TRIB_ERR_DATA);
        files_assert_logged("not whole numbers from 0 to 255");
        assert_false(trib_file_exists(items_path));
    }
    trib_dataset_free(dataset);
}

static void labels_are_asked_for(void **state)
{
    (void)state;
    const struct trib_data_config config = {.format = TRIB_DATA_IDX, .scale = 255};
    const char *items_path = files_put(0, "items", pictures, sizeof(pictures));
    const char *labels_path = files_put(1, "labels", labels, sizeof(labels));
    struct trib_dataset *dataset = NULL;
    assert_int_equal(trib_data_open(&config, items_path, "", 0, &dataset), TRIB_ERR_INVAL);
    files_assert_logged("idx files want their labels too");
    assert_int_equal(trib_data_open(&config, items_path, labels_path, 0, &dataset), TRIB_OK);
    assert_true(dataset->x[7] == 1); // 255 / 255, the configured scale
    trib_dataset_free(dataset);
}

static void mnist_is_read(void **state)
{
    (void)state;
    const char *dir = getenv("TRIBUTARY_DATA");
    char items_path[TRIB_PATH_MAX + 1], labels_path[TRIB_PATH_MAX + 1];
    struct trib_dataset *dataset;
    if (!dir)
        dir = TEST_DATA_DEFAULT;
    assert_int_equal(trib_path_join(items_path, dir, "mnist/t10k-images-idx3-ubyte.gz"), TRIB_OK);
    assert_int_equal(trib_path_join(labels_path, dir, "mnist/t10k-labels-idx1-ubyte.gz"), TRIB_OK);
    if (!trib_file_exists(items_path) || !trib_file_exists(labels_path)) {
        print_message("skipped: no MNIST in %s (TRIBUTARY_DATA says where)\n", dir);
        skip();
    }
    assert_int_equal(trib_idx_read(items_path, labels_path, 255, 0, &dataset), TRIB_OK);
    assert_int_equal(dataset->rows, 10000);
    assert_int_equal(dataset->inputs, 784);
    static const float first[5] = {7, 2, 1, 0, 4};
    assert_memory_equal(dataset->y, first, sizeof(first));
    size_t counts[10] = {0};
    for (size_t r = 0; r < dataset->rows; r++)
        counts[(size_t)dataset->y[r]]++;
    assert_int_equal(counts[0], 980); // as published
    assert_int_equal(counts[1], 1135);
    trib_dataset_free(dataset);
}

static int teardown(void **state)
{
    static const char *const names[] = {"items", "labels", NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_become_rows),
        cmocka_unit_test(every_cut_and_every_extra_byte_is_refused),
        cmocka_unit_test(the_header_is_believed_only_when_it_can_be),
        cmocka_unit_test(pictures_and_labels_must_match),
        cmocka_unit_test(a_shard_reads_back_as_it_was),
        cmocka_unit_test(what_is_not_a_byte_is_not_written),
        cmocka_unit_test(labels_are_asked_for),
        cmocka_unit_test(mnist_is_read),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
