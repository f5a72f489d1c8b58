#include "common/data/split.h"
#include "tests/unit/files.h"

#include <inttypes.h>
#include <math.h>

#include "common/base/alloc.h"
#include "common/base/rand.h"
#include "common/data/table.h"

#define SPLIT_CSV TEST_VECTORS "/split.csv"

static void sides_and_folds_are_those_of_the_reference(void **state)
{
    (void)state;
    FILE *file = fopen(SPLIT_CSV, "r");
    char line[256];
    size_t rows = 0;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        uint64_t seed, identity, fold;
        double number;
        char id[64];
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%" SCNu64 ",%63[^,],%" SCNx64 ",%lf,%" SCNu64, &seed, id,
                                &identity, &number, &fold),
                         5);
        assert_true(trib_split_identity(id, strlen(id)) == identity);
        assert_true(trib_split_number(seed, identity) == number);
        assert_int_equal(trib_split_fold(seed, identity, 5), fold);
        const struct trib_split split = {.seed = seed, .test = 0.2, .validation = 0.1};
        assert_int_equal(trib_split_side(&split, identity), number < 0.2   ? TRIB_SIDE_TEST
                                                            : number < 0.3 ? TRIB_SIDE_VALIDATION
                                                                           : TRIB_SIDE_TRAIN);
        rows++;
    }
    (void)fclose(file);
    assert_int_equal(rows, 36);
}

static void shares_of_a_hundred_thousand_rows_are_met(void **state)
{
    (void)state;
    enum {
        ROWS = 100000
    };
    const struct trib_split split = {.seed = 5, .test = 0.2, .validation = 0.1};
    size_t sides[3] = {0}, folds[5] = {0}, both = 0;
    for (uint64_t i = 0; i < ROWS; i++) {
        const uint64_t id = trib_split_identity(&i, sizeof(i));
        const enum trib_side side = trib_split_side(&split, id);
        const uint64_t fold = trib_split_fold(5, id, 5);
        sides[side]++;
        assert_true(fold < 5); // each row is in one fold: disjoint and complete
        folds[fold]++;
        both += side == TRIB_SIDE_TEST && fold == 0;
    }
    // Four standard deviations of a binomial share over 100,000 rows are below 0.006
    assert_true(fabs((double)sides[TRIB_SIDE_TEST] / ROWS - 0.2) < 0.006);
    assert_true(fabs((double)sides[TRIB_SIDE_VALIDATION] / ROWS - 0.1) < 0.006);
    for (int f = 0; f < 5; f++)
        assert_true(fabs((double)folds[f] / ROWS - 0.2) < 0.006);
    assert_true(fabs((double)both / ROWS - 0.04) < 0.003); // folds know nothing of the sides
}

static struct trib_dataset *numbered(size_t rows)
{
    struct trib_dataset *dataset;
    assert_int_equal(trib_dataset_create(rows, 2, false, "made", &dataset), TRIB_OK);
    for (size_t r = 0; r < rows; r++) {
        dataset->x[2 * r] = (float)r;
        dataset->x[2 * r + 1] = (float)(r % 7);
        dataset->y[r] = (float)(r % 2);
    }
    return dataset;
}

static void a_row_keeps_its_side_when_others_come_and_go(void **state)
{
    (void)state;
    const struct trib_split split = {.seed = 1, .test = 0.3};
    struct trib_dataset *all = numbered(500), *some;
    uint32_t rows[250];
    assert_int_equal(trib_split_identify(all, TRIB_SPLIT_BY_ROW), TRIB_OK);
    for (uint32_t i = 0; i < 250; i++)
        rows[i] = 499 - 2 * i; // every other row, from the end
    assert_int_equal(trib_dataset_select(all, rows, 250, 1, &some), TRIB_OK);
    assert_int_equal(trib_split_identify(some, TRIB_SPLIT_BY_ROW), TRIB_OK);
    size_t moved_by_place = 0;
    for (uint32_t i = 0; i < 250; i++) {
        assert_int_equal(trib_split_side(&split, some->ids[i]),
                         trib_split_side(&split, all->ids[rows[i]]));
        moved_by_place += trib_split_side(&split, i) != trib_split_side(&split, rows[i]);
    }
    assert_true(moved_by_place > 50); // which is why places are for files that only grow
    trib_dataset_free(some);
    trib_dataset_free(all);
}

static void test_rows_are_dropped_and_nothing_else(void **state)
{
    (void)state;
    const struct trib_split split = {.seed = 9, .test = 0.25, .validation = 0.25};
    struct trib_dataset *dataset = numbered(400);
    assert_int_equal(trib_split_identify(dataset, TRIB_SPLIT_BY_PLACE), TRIB_OK);
    size_t kept = 0;
    for (size_t r = 0; r < 400; r++)
        kept += trib_split_side(&split, r) != TRIB_SIDE_TEST;
    trib_split_drop_test(&split, dataset);
    assert_int_equal(dataset->rows, kept);
    for (size_t i = 0; i < kept; i++) {
        const uint64_t place = dataset->ids[i];
        assert_true(trib_split_side(&split, place) != TRIB_SIDE_TEST);
        assert_true(dataset->x[2 * i] == (float)place && dataset->y[i] == (float)(place % 2));
        assert_true(i == 0 || place > dataset->ids[i - 1]); // in their order
    }
    trib_dataset_free(dataset);
}

// Of a data set whose features a pipeline is still to make: values, label and owner stay together.
static void values_are_dropped_with_their_rows(void **state)
{
    (void)state;
    enum {
        ROWS = 200,
        COLUMNS = 3
    };
    const struct trib_split split = {.seed = 4, .test = 0.3};
    struct trib_dataset *dataset;
    assert_int_equal(trib_dataset_create(ROWS, 0, false, "values", &dataset), TRIB_OK);
    assert_int_equal(trib_dataset_add_values(dataset, COLUMNS), TRIB_OK);
    assert_int_equal(trib_dataset_add_owners(dataset), TRIB_OK);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < COLUMNS; c++)
            dataset->values[r * COLUMNS + c] = (double)(r * COLUMNS + c);
        dataset->y[r] = (float)r;
        dataset->owners[r] = (uint32_t)r;
    }
    assert_int_equal(trib_split_identify(dataset, TRIB_SPLIT_BY_PLACE), TRIB_OK);
    trib_split_drop_test(&split, dataset);
    assert_true(dataset->rows > 100 && dataset->rows < 180);
    for (size_t r = 0; r < dataset->rows; r++) {
        const size_t place = (size_t)dataset->y[r];
        assert_true(trib_split_side(&split, place) != TRIB_SIDE_TEST);
        assert_int_equal(dataset->owners[r], place);
        for (size_t c = 0; c < COLUMNS; c++)
            assert_true(dataset->values[r * COLUMNS + c] == (double)(place * COLUMNS + c));
    }
    trib_dataset_free(dataset);
}

static void each_label_has_its_share_when_stratified(void **state)
{
    (void)state;
    enum {
        ROWS = 1000
    };
    const struct trib_split split = {.seed = 2, .test = 0.2, .validation = 0.1};
    uint64_t ids[ROWS];
    float labels[ROWS];
    uint8_t sides[ROWS], again[ROWS];
    size_t counts[3][3] = {{0}}, rows[3] = {0};
    for (size_t i = 0; i < ROWS; i++) {
        ids[i] = trib_split_identity(&i, sizeof(i));
        labels[i] = i < 30 ? 2 : i < 130 ? 1 : 0; // 30, 100 and 870 rows
    }
    assert_int_equal(trib_split_stratified(&split, ids, labels, ROWS, sides), TRIB_OK);
    for (size_t i = 0; i < ROWS; i++) {
        counts[(size_t)labels[i]][sides[i]]++;
        rows[(size_t)labels[i]]++;
    }
    for (size_t label = 0; label < 3; label++) {
        assert_int_equal(counts[label][TRIB_SIDE_TEST], rows[label] / 5);
        assert_int_equal(counts[label][TRIB_SIDE_VALIDATION], rows[label] / 10);
    }
    assert_int_equal(trib_split_stratified(&split, ids, labels, ROWS, again), TRIB_OK);
    assert_memory_equal(sides, again, sizeof(sides));

    for (size_t i = 1; i < ROWS; i += 2) // every row twice: pairs stay together
        ids[i] = ids[i - 1], labels[i] = labels[i - 1];
    assert_int_equal(trib_split_stratified(&split, ids, labels, ROWS, sides), TRIB_OK);
    for (size_t i = 1; i < ROWS; i += 2)
        assert_int_equal(sides[i], sides[i - 1]);

    for (size_t i = 1; i < ROWS; i += 2) // also when they have two labels
        labels[i] = labels[i - 1] > 0 ? 0 : 1;
    assert_int_equal(trib_split_stratified(&split, ids, labels, ROWS, sides), TRIB_OK);
    for (size_t i = 1; i < ROWS; i += 2)
        assert_int_equal(sides[i], sides[i - 1]);
}

static void folds_of_devices_are_even_in_any_order(void **state)
{
    (void)state;
    enum {
        DEVICES = 23
    };
    static char names[DEVICES][16];
    const char *forth[DEVICES], *back[DEVICES];
    uint32_t folds[DEVICES], other[DEVICES];
    size_t sizes[5] = {0}, moved = 0;
    for (int d = 0; d < DEVICES; d++) {
        (void)snprintf(names[d], sizeof(names[d]), "d%04d", d);
        forth[d] = back[DEVICES - 1 - d] = names[d];
    }
    assert_int_equal(trib_split_device_folds(3, forth, DEVICES, 5, folds), TRIB_OK);
    assert_int_equal(trib_split_device_folds(3, back, DEVICES, 5, other), TRIB_OK);
    for (int d = 0; d < DEVICES; d++) {
        assert_true(folds[d] < 5);
        sizes[folds[d]]++;
        assert_int_equal(folds[d], other[DEVICES - 1 - d]);
    }
    for (int f = 0; f < 5; f++)
        assert_true(sizes[f] == 4 || sizes[f] == 5);
    assert_int_equal(trib_split_device_folds(4, forth, DEVICES, 5, other), TRIB_OK);
    for (int d = 0; d < DEVICES; d++)
        moved += folds[d] != other[d];
    assert_true(moved > 5); // another seed, other folds
    assert_int_equal(trib_split_device_folds(3, forth, DEVICES, DEVICES, folds), TRIB_OK);
    uint64_t seen = 0; // leave one device out: each is a fold
    for (int d = 0; d < DEVICES; d++)
        seen |= 1ull << folds[d];
    assert_true(seen == (1ull << DEVICES) - 1);
}

static struct trib_dataset *read_table(const char *declared, const char *text)
{
    static const struct trib_table_options options = {.scale = 1};
    struct trib_schema *schema;
    struct trib_dataset *dataset;
    char why[512];
    const char *path = files_put(0, "t.csv", text, strlen(text));
    assert_int_equal(
        trib_schema_parse(declared, strlen(declared), "s.ini", &schema, why, sizeof(why)), TRIB_OK);
    assert_int_equal(trib_table_read(path, schema, &options, NULL, &dataset), TRIB_OK);
    trib_schema_destroy(schema);
    return dataset;
}

static void the_id_column_says_who_a_row_is(void **state)
{
    (void)state;
    static const char declared[] = "[column size]\ntype = real\n"
                                   "[column who]\ntype = text\nrole = id\n"
                                   "[column y]\ntype = bool\nrole = label\n";
    struct trib_dataset *first = read_table(declared, "1,ann,0\n2,bob,1\n3,,1\n4,,1\n");
    struct trib_dataset *later = read_table(declared, "9,bob,0\n3,,1\n");
    assert_true(first->ids[1] == later->ids[0]); // whatever else has changed
    assert_true(first->ids[2] == later->ids[1]); // without an id by its values
    assert_true(first->ids[2] != first->ids[3] && first->ids[0] != first->ids[1]);
    assert_int_equal(trib_split_identify(first, TRIB_SPLIT_BY_ID), TRIB_OK);
    trib_dataset_free(first);
    trib_dataset_free(later);

    struct trib_dataset *none = numbered(3);
    assert_int_equal(trib_split_identify(none, TRIB_SPLIT_BY_ID), TRIB_ERR_INVAL);
    trib_dataset_free(none);
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"t.csv", NULL};
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sides_and_folds_are_those_of_the_reference),
        cmocka_unit_test(shares_of_a_hundred_thousand_rows_are_met),
        cmocka_unit_test(a_row_keeps_its_side_when_others_come_and_go),
        cmocka_unit_test(test_rows_are_dropped_and_nothing_else),
        cmocka_unit_test(values_are_dropped_with_their_rows),
        cmocka_unit_test(each_label_has_its_share_when_stratified),
        cmocka_unit_test(folds_of_devices_are_even_in_any_order),
        cmocka_unit_test(the_id_column_says_who_a_row_is),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
