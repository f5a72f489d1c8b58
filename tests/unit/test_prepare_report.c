// Devices that have no rows, or rows of one label only: they are counted and named, no error, and a
// fleet that has them finds the same as one without.
#include "tests/unit/prepare_rig.h"

#include "common/data/prepare_dataset.h"

enum {
    DEVICES = 6,
    ROWS_MAX = 4,
};

struct device {
    size_t rows;
    double a[ROWS_MAX], y[ROWS_MAX];
};

static const struct device fleet[DEVICES] = {
    {4, {1, RIG_NAN, 3, 8}, {0, 1, 0, 1}},
    {0, {0}, {0}},
    {3, {5, 5, RIG_NAN}, {1, 1, 1}}, // one label
    {2, {2, 4}, {0, 1}},
    {1, {7}, {0}}, // one row is of one label
    {0, {0}, {0}},
};

static struct trib_dataset *values_of(const struct device *device)
{
    struct trib_dataset *values;
    assert_int_equal(trib_dataset_create(ROWS_MAX, 0, true, "rows", &values), TRIB_OK);
    assert_int_equal(trib_dataset_add_values(values, 2), TRIB_OK);
    values->rows = device->rows;
    for (size_t r = 0; r < device->rows; r++) {
        values->values[2 * r] = device->a[r];
        values->values[2 * r + 1] = device->y[r];
        values->y[r] = (float)device->y[r];
        values->lines[r] = (uint32_t)r + 1;
    }
    return values;
}

// Every pass, of those devices that have at least so many rows.
static void fit(struct trib_prepare *prepare, size_t least)
{
    while (!trib_prepare_is_fitted(prepare)) {
        const size_t count = trib_prepare_sum_count(prepare);
        double *sums = calloc(2 * count, sizeof(*sums)), *own = sums + count;
        assert_non_null(sums);
        for (int d = 0; d < DEVICES; d++) {
            struct trib_dataset *values = values_of(&fleet[d]);
            if (values->rows >= least)
                assert_int_equal(trib_prepare_totals(prepare, values, 0, own), TRIB_OK);
            for (size_t i = 0; values->rows >= least && i < count; i++) {
                assert_true(values->rows > 0 || own[i] == 0); // nothing is added
                sums[i] += own[i];
            }
            trib_dataset_free(values);
        }
        assert_int_equal(trib_prepare_advance(prepare, sums, 0), TRIB_OK);
        free(sums);
    }
}

static struct trib_dataset *features_of(const struct trib_prepare *prepare,
                                        const struct device *device,
                                        struct trib_prepare_report *report)
{
    struct trib_dataset *values = values_of(device), *features;
    assert_int_equal(trib_prepare_dataset(prepare, values, 0, report, &features), TRIB_OK);
    trib_dataset_free(values);
    return features;
}

static struct trib_schema *schema;
static struct trib_prepare *prepare;

static void begin(const char *steps, size_t least)
{
    schema = rig_schema("[column a]\n");
    prepare = rig_parse(schema, steps);
    fit(prepare, least);
}

static void end(void)
{
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static const char steps[] = "[step impute]\ncolumns = a\nwith = mean\n"
                            "[step standardise]\ncolumns = a\n";

static void empty_devices_add_nothing_to_what_is_found(void **state)
{
    (void)state;
    struct trib_buf all = {0}, some = {0};
    begin(steps, 0);
    trib_prepare_write(prepare, &all);
    end();
    begin(steps, 1);
    trib_prepare_write(prepare, &some);
    end();
    assert_int_equal(all.size, some.size);
    assert_memory_equal(all.data, some.data, all.size);
    trib_buf_fini(&all);
    trib_buf_fini(&some);
}

static void devices_of_no_rows_and_of_one_label_are_counted_and_named(void **state)
{
    (void)state;
    struct trib_prepare_report report = {.rows = 0};
    begin(steps, 0);
    for (int d = 0; d < DEVICES; d++) {
        struct trib_dataset *features = features_of(prepare, &fleet[d], &report);
        assert_int_equal(features->rows, fleet[d].rows); // one label: trains as others do
        assert_string_equal(features->unfit, "");        // to have nothing is no fault
        for (size_t r = 0; r < features->rows; r++)
            assert_true(isfinite(features->x[r]) && features->y[r] == (float)fleet[d].y[r]);
        trib_dataset_free(features);
    }
    assert_int_equal(report.devices, DEVICES);
    assert_int_equal(report.empty, 2);
    assert_int_equal(report.one_class, 2);
    assert_int_equal(report.rows, 10);
    assert_int_equal(report.kept, 10);
    rig_listen();
    trib_prepare_report_log(&report, prepare, "fleet");
    trib_log_set_sink(NULL, NULL);
    assert_non_null(strstr(rig_log, "id=prepare-empty fleet: 2 of 6 devices have no rows\n"));
    assert_non_null(strstr(
        rig_log, "id=prepare-one-class fleet: 2 of 6 devices have rows of one label only\n"));
    assert_null(strstr(rig_log, "prepare-incomplete"));
    trib_prepare_report_fini(&report);
    end();
}

static void what_is_not_there_is_not_named(void **state)
{
    (void)state;
    struct trib_prepare_report report = {.rows = 0};
    begin(steps, 0);
    trib_dataset_free(features_of(prepare, &fleet[0], &report));
    rig_listen();
    trib_prepare_report_log(&report, prepare, "device");
    trib_log_set_sink(NULL, NULL);
    assert_non_null(strstr(rig_log, "device: step 1 (impute) touched 1 of 4 values"));
    assert_null(strstr(rig_log, "id="));
    trib_prepare_report_fini(&report);
    end();
}

static void rows_without_a_feature_are_named_by_it(void **state)
{
    (void)state;
    struct trib_prepare_report report = {.rows = 0};
    begin("[step log1p]\ncolumns = a\n", 0); // which fills nothing in
    for (int d = 0; d < DEVICES; d++)
        trib_dataset_free(features_of(prepare, &fleet[d], &report));
    assert_int_equal(report.incomplete, 2);
    assert_int_equal(report.kept, 8);
    rig_listen();
    trib_prepare_report_log(&report, prepare, "fleet");
    trib_log_set_sink(NULL, NULL);
    assert_non_null(strstr(rig_log, "id=prepare-incomplete fleet: 2 rows are left out: they have "
                                    "no feature 'a'"));
    trib_prepare_report_fini(&report);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_devices_add_nothing_to_what_is_found),
        cmocka_unit_test(devices_of_no_rows_and_of_one_label_are_counted_and_named),
        cmocka_unit_test(what_is_not_there_is_not_named),
        cmocka_unit_test(rows_without_a_feature_are_named_by_it),
    };
    return RUN_TESTS(tests);
}
