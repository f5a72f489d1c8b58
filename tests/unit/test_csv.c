#include "tests/test.h"

#include <math.h>

#include "common/data/csv.h"
#include "common/data/source.h"
#include "tests/unit/files.h"

#define TEST_CSV           TEST_VECTORS "/../../simulations/data/"
#define PLAIN(label_, how) (&(struct trib_csv_options){.header = how, .label = label_, .scale = 1})

static struct trib_dataset *read_text(const char *text, const struct trib_csv_options *options)
{
    struct trib_dataset *dataset = NULL;
    const char *path = files_put(0, "t.csv", text, strlen(text));
    files_logged[0] = '\0';
    assert_int_equal(trib_csv_read(path, options, &dataset), TRIB_OK);
    assert_non_null(dataset);
    return dataset;
}

static void assert_rows(const char *text, const struct trib_csv_options *options, size_t rows,
                        size_t inputs, const float *x, const float *y)
{
    struct trib_dataset *dataset = read_text(text, options);
    assert_int_equal(dataset->rows, rows);
    assert_int_equal(dataset->inputs, inputs);
    for (size_t i = 0; i < rows * inputs; i++)
        assert_true(dataset->x[i] == x[i]);
    for (size_t r = 0; r < rows; r++)
        assert_true(dataset->y[r] == y[r]);
    trib_dataset_free(dataset);
}

static void rows_are_read_as_they_are_written(void **state)
{
    (void)state;
    static const float x[4] = {1, 2.5f, -3, 1e-3f}, y[2] = {0, 1};
    static const char *const same[] = {
        "1,2.5,0\n-3,1e-3,1\n",        "1,2.5,0\n-3,1e-3,1",
        "1,2.5,0\r\n-3,1e-3,1\r\n",    "1,2.5,0\n-3,1e-3,1\n\n\r\n\n",
        " 1 , 2.5,\t0\n -3,1e-3 ,1\n", "1.,25e-1,0\n-3.0,.001,+1\n"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        assert_rows(same[i], PLAIN("last", TRIB_CSV_HEADER_NO), 2, 2, x, y);
}

static void the_label_is_found_by_name_number_or_place(void **state)
{
    (void)state;
    static const float x[2] = {1, 3}, y[1] = {2};
    static const char with_names[] = "a,label,c\n1,2,3\n";
    assert_rows(with_names, PLAIN("label", TRIB_CSV_HEADER_YES), 1, 2, x, y);
    assert_rows(with_names, PLAIN("2", TRIB_CSV_HEADER_YES), 1, 2, x, y);
    assert_rows("1,2,3\n", PLAIN("2", TRIB_CSV_HEADER_NO), 1, 2, x, y);
    assert_rows("1797,64,10\n1,2,3\n", PLAIN("2", TRIB_CSV_HEADER_SKIP), 1, 2, x, y);
    static const float ends[2] = {2, 3}, first[1] = {1};
    assert_rows(with_names, PLAIN("a", TRIB_CSV_HEADER_YES), 1, 2, ends, first);
    static const float begins[2] = {1, 2}, last[1] = {3};
    assert_rows(with_names, PLAIN("c", TRIB_CSV_HEADER_YES), 1, 2, begins, last);

    struct trib_dataset *dataset = read_text(with_names, PLAIN("label", TRIB_CSV_HEADER_YES));
    assert_int_equal(dataset->label_column, 2);
    assert_int_equal(dataset->lines[0], 2); // the line in the file, names and all
    trib_dataset_free(dataset);
}

static void a_label_that_is_not_there_is_refused(void **state)
{
    (void)state;
    static const char *const labels[] = {"4", "0", "lab", "label2", "2x", "-1"};
    static const char text[] = "a,label,c\n1,2,3\n";
    const char *path = files_put(0, "t.csv", text, strlen(text));
    struct trib_dataset *dataset = NULL;
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        assert_int_equal(trib_csv_read(path, PLAIN(labels[i], TRIB_CSV_HEADER_YES), &dataset),
                         TRIB_ERR_INVAL);
        files_assert_logged("there are 3 columns");
        assert_null(dataset);
    }
    // Names are only read when they are said to be there.
    assert_int_equal(trib_csv_read(path, PLAIN("label", TRIB_CSV_HEADER_SKIP), &dataset),
                     TRIB_ERR_INVAL);
    files_assert_logged("data.header = yes");
}

static void every_fault_is_told_with_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *logged;
    } cases[] = {
        {"1,2,3\n1,2\n", "t.csv:2: column 3: missing: fewer columns than the first line"},
        {"1,2,3\n1,2,3,4\n", "t.csv:2: column 4: more columns than the first line"},
        {"1,2,3\n4,,6\n", "t.csv:2: column 2: empty"},
        {"1,2,\n", "t.csv:1: column 3: empty"},
        {"1, ,3\n", "t.csv:1: column 2: not a finite number"},
        {"1,2,3\n4,five,6\n", "t.csv:2: column 2: not a finite number"},
        {"1,2,3\n4,5x,6\n", "t.csv:2: column 2: not a finite number"},
        {"1,nan,3\n", "t.csv:1: column 2: not a finite number"},
        {"1,2,inf\n", "t.csv:1: column 3: not a finite number"},
        {"1,1e39,3\n", "t.csv:1: column 2: not a finite number"},
        {"1,-3.5e38,3\n", "t.csv:1: column 2: not a finite number"},
        {"1,0x10,3\n", "t.csv:1: column 2: not a finite number"},
        {"1,\"2\",3\n", "t.csv:1: column 2: not a finite number"},
        {"1;2;3\n4;5;6\n", "t.csv:1: column 1: a row wants features and a label"},
        {"1,2,3\n\n4,5,6\n", "t.csv:2: column 1: blank line between rows"},
        {"1,1 2,3\n", "t.csv:1: column 2: not a finite number"},
        {"1,--2,3\n", "t.csv:1: column 2: not a finite number"},
        {"1,1e,3\n", "t.csv:1: column 2: not a finite number"},
        {"1,.,3\n", "t.csv:1: column 2: not a finite number"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_dataset *dataset = NULL;
        const char *path = files_put(0, "t.csv", cases[i].text, strlen(cases[i].text));
        files_logged[0] = '\0';
        assert_int_equal(trib_csv_read(path, PLAIN("last", TRIB_CSV_HEADER_NO), &dataset),
                         TRIB_ERR_DATA);
        files_assert_logged(cases[i].logged);
        assert_null(strchr(files_logged, '\'')); // where it is, not what stands there
        assert_null(dataset);
    }
    struct trib_dataset *dataset = NULL;
    static const char nul[] = "1,2\0,3\n";
    const char *path = files_put(0, "t.csv", nul, sizeof(nul) - 1);
    assert_int_equal(trib_csv_read(path, PLAIN("last", TRIB_CSV_HEADER_NO), &dataset),
                     TRIB_ERR_DATA);
    static const char with_names[] = "a,b\n1,2\n1,x\n"; // lines count from the first of the file
    path = files_put(0, "t.csv", with_names, strlen(with_names));
    assert_int_equal(trib_csv_read(path, PLAIN("last", TRIB_CSV_HEADER_YES), &dataset),
                     TRIB_ERR_DATA);
    files_assert_logged("t.csv:3: column 2");
    assert_int_equal(trib_csv_read(files_put(1, "absent.csv", NULL, 0),
                                   PLAIN("last", TRIB_CSV_HEADER_NO), &dataset),
                     TRIB_ERR_IO);
    assert_null(dataset);
}

static void a_file_without_rows_has_none(void **state)
{
    (void)state;
    assert_rows("", PLAIN("last", TRIB_CSV_HEADER_NO), 0, 0, NULL, NULL);
    assert_rows("\n\n", PLAIN("last", TRIB_CSV_HEADER_NO), 0, 0, NULL, NULL);
    assert_rows("a,b,c\n", PLAIN("c", TRIB_CSV_HEADER_YES), 0, 0, NULL, NULL);
}

static void scale_divides_features_and_not_labels(void **state)
{
    (void)state;
    static const float x[2] = {0.5f, 1}, y[1] = {16};
    assert_rows(
        "8,16,16\n",
        &(struct trib_csv_options){.header = TRIB_CSV_HEADER_NO, .label = "last", .scale = 16}, 1,
        2, x, y);
}

static void no_more_rows_than_the_limit_are_read(void **state)
{
    (void)state;
    static const float x[2] = {1, 3}, y[2] = {2, 4};
    static const char text[] = "1,2\n3,4\nthis line is never looked at\n";
    assert_rows(text,
                &(struct trib_csv_options){
                    .header = TRIB_CSV_HEADER_NO, .label = "last", .scale = 1, .limit = 2},
                2, 1, x, y);
}

static void numbers_are_rounded_to_the_nearest_float(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        float value;
    } cases[] = {
        {"16777217", 16777216.0f}, // a tie, to even
        {"16777219", 16777220.0f},
        {"9999999", 9999999.0f},
        {"0.1", 0.1f},
        {"1.00000005960464477539062500", 1.0f},                     // the tie itself
        {"1.000000059604644775390625000000001", 1.00000011920929f}, // just above it
        {"3.4028235e38", 3.4028235e38f},
        {"1e-45", 1e-45f},
        {"1e-60", 0.0f},
        {"007", 7.0f},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];
        const float y = 1;
        (void)snprintf(text, sizeof(text), "%s,1\n", cases[i].text);
        assert_rows(text, PLAIN("last", TRIB_CSV_HEADER_NO), 1, 1, &cases[i].value, &y);
    }
}

static void what_is_written_reads_back_as_the_same_bits(void **state)
{
    (void)state;
    enum {
        ROWS = 500,
        INPUTS = 7
    };
    struct trib_dataset *dataset, *back;
    uint32_t order[ROWS];
    uint64_t seed = 1;
    assert_int_equal(trib_dataset_create(ROWS, INPUTS, true, "made", &dataset), TRIB_OK);
    for (size_t i = 0; i < ROWS * INPUTS; i++) {
        do { // any finite float
            uint32_t bits = (uint32_t)(test_rand(&seed) >> 32);
            memcpy(&dataset->x[i], &bits, sizeof(bits));
        } while (!isfinite(dataset->x[i]));
    }
    for (uint32_t r = 0; r < ROWS; r++) {
        dataset->y[r] = (float)(test_rand(&seed) % 10);
        order[r] = ROWS - 1 - r;
    }
    const char *path = files_put(0, "t.csv", NULL, 0);
    assert_int_equal(trib_csv_write(path, dataset, order, ROWS), TRIB_OK);
    assert_int_equal(trib_csv_read(path, PLAIN("last", TRIB_CSV_HEADER_NO), &back), TRIB_OK);
    assert_int_equal(back->rows, ROWS);
    for (size_t r = 0; r < ROWS; r++) {
        assert_memory_equal(back->x + r * INPUTS, dataset->x + order[r] * INPUTS,
                            INPUTS * sizeof(float));
        assert_true(back->y[r] == dataset->y[order[r]]);
    }
    trib_dataset_free(back);
    assert_int_equal(trib_csv_write(path, dataset, order, 0), TRIB_OK);
    assert_int_equal(trib_csv_read(path, PLAIN("last", TRIB_CSV_HEADER_NO), &back), TRIB_OK);
    assert_int_equal(back->rows, 0);
    trib_dataset_free(back);
    trib_dataset_free(dataset);
}

static void rows_are_held_against_the_model(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *spec;
        const char *why;
    } cases[] = {
        {"1,2,0\n3,4,1\n", "2 - dense 2 softmax", NULL},
        {"1,2,0\n3,4,1\n", "2 - dense 1 sigmoid", NULL},
        {"1,2,0.5\n3,4,-7\n", "2 - dense 1 linear", NULL}, // any target
        {"1,2,0\n3,4,2\n", "2 - dense 2 softmax", "t.csv:2: column 3: label 2 is not one of the 2"},
        {"1,2,0.5\n", "2 - dense 2 softmax", "t.csv:1: column 3: label 0.5 is not one of"},
        {"1,2,-1\n", "2 - dense 2 softmax", "t.csv:1: column 3: label -1 is not one of"},
        {"1,2,2\n", "2 - dense 1 sigmoid", "label 2 is not one of the 2 classes"},
        {"1,2,0\n", "3 - dense 2 softmax", "t.csv: rows have 2 features, the model takes 3"},
        {"", "3 - dense 2 softmax", NULL}, // nothing to object to
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_dataset *dataset = read_text(cases[i].text, PLAIN("last", TRIB_CSV_HEADER_NO));
        struct trib_model model;
        char why[512] = "";
        assert_int_equal(trib_model_parse(cases[i].spec, &model, why, sizeof(why)), TRIB_OK);
        assert_int_equal(trib_dataset_check(dataset, &model, why, sizeof(why)),
                         cases[i].why ? TRIB_ERR_DATA : TRIB_OK);
        if (cases[i].why && !strstr(why, cases[i].why))
            fail_msg("says '%s', wanted '%s'", why, cases[i].why);
        trib_dataset_free(dataset);
    }
}

static void selected_rows_keep_their_origin(void **state)
{
    (void)state;
    static const uint32_t rows[2] = {2, 0};
    struct trib_dataset *dataset = read_text("2,0\n4,1\n6,2\n", PLAIN("last", TRIB_CSV_HEADER_NO));
    struct trib_dataset *part;
    assert_int_equal(trib_dataset_select(dataset, rows, 2, 2, &part), TRIB_OK);
    assert_int_equal(part->rows, 2);
    assert_true(part->x[0] == 3 && part->x[1] == 1 && part->y[0] == 2 && part->y[1] == 0);
    assert_true(part->lines[0] == 3 && part->lines[1] == 1 && part->label_column == 2);
    assert_string_equal(part->name, dataset->name);
    trib_dataset_free(part);
    trib_dataset_free(dataset);
    trib_dataset_free(NULL);
}

static void shipped_data_are_read_packed_and_plain(void **state)
{
    (void)state;
    struct trib_data_config config = {.format = TRIB_DATA_CSV, .scale = 16, .label = "last"};
    struct trib_dataset *dataset;
    assert_int_equal(trib_data_open(&config, TEST_CSV "digits.csv.gz", "", 0, &dataset), TRIB_OK);
    assert_int_equal(dataset->rows, 1797);
    assert_int_equal(dataset->inputs, 64);
    for (size_t i = 0; i < dataset->rows * dataset->inputs; i++)
        assert_true(dataset->x[i] >= 0 && dataset->x[i] <= 1);
    trib_dataset_free(dataset);
    config.header = TRIB_CSV_HEADER_YES;
    assert_int_equal(trib_data_open(&config, TEST_CSV "breast_cancer.csv", "", 1, &dataset),
                     TRIB_OK);
    assert_int_equal(dataset->rows, 569);
    assert_int_equal(dataset->inputs, 30);
    assert_true(dataset->x[0] == 17.99f); // scale 1 wins over the configured one
    trib_dataset_free(dataset);
}

static int teardown(void **state)
{
    static const char *const names[] = {"t.csv", NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_read_as_they_are_written),
        cmocka_unit_test(the_label_is_found_by_name_number_or_place),
        cmocka_unit_test(a_label_that_is_not_there_is_refused),
        cmocka_unit_test(every_fault_is_told_with_line_and_column),
        cmocka_unit_test(a_file_without_rows_has_none),
        cmocka_unit_test(scale_divides_features_and_not_labels),
        cmocka_unit_test(no_more_rows_than_the_limit_are_read),
        cmocka_unit_test(numbers_are_rounded_to_the_nearest_float),
        cmocka_unit_test(what_is_written_reads_back_as_the_same_bits),
        cmocka_unit_test(rows_are_held_against_the_model),
        cmocka_unit_test(selected_rows_keep_their_origin),
        cmocka_unit_test(shipped_data_are_read_packed_and_plain),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
