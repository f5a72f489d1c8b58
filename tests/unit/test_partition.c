#include "tests/test.h"

#include <stdbool.h>
#include <string.h>

#include "simulations/partition.h"

enum {
    ROWS = 1003,
    CLASSES = 10,
};

static uint32_t rows[ROWS];
static float labels[ROWS];
static float groups[ROWS];

// Labels and groups by a fixed seed.
static void make_rows(struct trib_partition_rows *ret_rows, float *all_labels, float *all_groups)
{
    uint64_t seed = 42;
    for (uint32_t i = 0; i < ROWS; i++)
        rows[i] = i;
    for (size_t i = 0; i < ROWS; i++) {
        all_labels[i] = (float)(test_rand(&seed) % CLASSES);
        all_groups[i] = (float)(test_rand(&seed) % 7) * 1.5f;
    }
    *ret_rows = (struct trib_partition_rows){
        .rows = rows, .count = ROWS, .labels = all_labels, .groups = all_groups};
}

static struct trib_partition_config config_of(enum trib_partition_kind kind)
{
    return (struct trib_partition_config){
        .kind = kind,
        .clients = trib_partition_finds_devices(kind) ? 0 : 20,
        .shards_per_client = 2,
        .alpha = 0.5,
        .min_rows = 1,
        .seed = 3,
    };
}

static void assert_each_row_once(const struct trib_partition *p, size_t count)
{
    static int seen[ROWS];
    memset(seen, 0, sizeof(seen));
    assert_int_equal(p->starts[0], 0);
    assert_int_equal(p->starts[p->clients], count);
    for (size_t i = 0; i < count; i++) {
        assert_true(p->rows[i] < ROWS);
        assert_int_equal(seen[p->rows[i]]++, 0);
    }
}

static void every_kind_deals_every_row_once_and_the_same_for_the_same_seed(void **state)
{
    (void)state;
    struct trib_partition_rows from;
    char why[256] = "";
    make_rows(&from, labels, groups);
    for (int kind = TRIB_PARTITION_IID; kind <= TRIB_PARTITION_FILES; kind++) {
        struct trib_partition_config config = config_of((enum trib_partition_kind)kind);
        struct trib_partition a, b, c;
        assert_int_equal(trib_partition_make(&config, &from, &a, why, sizeof(why)), TRIB_OK);
        assert_int_equal(trib_partition_make(&config, &from, &b, why, sizeof(why)), TRIB_OK);
        config.seed++;
        assert_int_equal(trib_partition_make(&config, &from, &c, why, sizeof(why)), TRIB_OK);
        assert_each_row_once(&a, ROWS);
        assert_int_equal(a.clients, b.clients);
        assert_memory_equal(a.rows, b.rows, ROWS * sizeof(*a.rows));
        assert_memory_equal(a.starts, b.starts, (a.clients + 1) * sizeof(*a.starts));
        bool same = memcmp(a.rows, c.rows, ROWS * sizeof(*a.rows)) == 0;
        assert_int_equal(same, trib_partition_finds_devices((enum trib_partition_kind)kind));
        trib_partition_fini(&a);
        trib_partition_fini(&b);
        trib_partition_fini(&c);
    }
}

static void iid_sizes_differ_by_one_at_most(void **state)
{
    (void)state;
    struct trib_partition_rows from;
    struct trib_partition p;
    char why[256];
    const struct trib_partition_config config = config_of(TRIB_PARTITION_IID);
    make_rows(&from, labels, groups);
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_OK);
    for (size_t d = 0; d < p.clients; d++) {
        assert_true(trib_partition_size(&p, d) >= ROWS / 20);
        assert_true(trib_partition_size(&p, d) <= ROWS / 20 + 1);
    }
    trib_partition_fini(&p);
}

static size_t labels_of(const struct trib_partition *p, size_t device)
{
    bool has[CLASSES] = {false};
    size_t count = 0;
    for (size_t i = p->starts[device]; i < p->starts[device + 1]; i++) {
        size_t label = (size_t)labels[p->rows[i]];
        count += !has[label];
        has[label] = true;
    }
    return count;
}

static void shards_give_a_device_few_labels(void **state)
{
    (void)state;
    struct trib_partition_rows from;
    struct trib_partition p;
    char why[256];
    const struct trib_partition_config config = config_of(TRIB_PARTITION_SHARDS);
    make_rows(&from, labels, groups);
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_OK);
    for (size_t d = 0; d < p.clients; d++) {
        assert_true(labels_of(&p, d) <= 4); // two shards, each of at most two labels
        assert_in_range(trib_partition_size(&p, d), 2 * (ROWS / 40), 2 * (ROWS / 40 + 1));
    }
    trib_partition_fini(&p);
}

// The mean over devices of the largest label's share: 1/CLASSES when even, 1 when pure.
static double concentration(double alpha)
{
    struct trib_partition_rows from;
    struct trib_partition p;
    char why[256];
    double sum = 0;
    struct trib_partition_config config = config_of(TRIB_PARTITION_DIRICHLET);
    config.alpha = alpha;
    config.min_rows = 0;
    make_rows(&from, labels, groups);
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_OK);
    assert_each_row_once(&p, ROWS);
    size_t devices = 0;
    for (size_t d = 0; d < p.clients; d++) {
        size_t counts[CLASSES] = {0};
        size_t most = 0;
        for (size_t i = p.starts[d]; i < p.starts[d + 1]; i++) {
            size_t *count = &counts[(size_t)labels[p.rows[i]]];
            most = ++*count > most ? *count : most;
        }
        if (trib_partition_size(&p, d) > 0) {
            sum += (double)most / (double)trib_partition_size(&p, d);
            devices++;
        }
    }
    trib_partition_fini(&p);
    return sum / (double)devices;
}

static void dirichlet_goes_from_pure_to_even_with_alpha(void **state)
{
    (void)state;
    assert_true(concentration(0.001) > 0.9); // proportions far below what a double can hold
    assert_true(concentration(1e5) < 0.2);
    assert_true(concentration(0.1) > concentration(10));
}

static void dirichlet_draws_again_until_min_rows(void **state)
{
    (void)state;
    struct trib_partition_rows from;
    struct trib_partition p;
    char why[256] = "";
    struct trib_partition_config config = config_of(TRIB_PARTITION_DIRICHLET);
    make_rows(&from, labels, groups);
    config.min_rows = 20;
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_OK);
    for (size_t d = 0; d < p.clients; d++)
        assert_true(trib_partition_size(&p, d) >= 20);
    trib_partition_fini(&p);
    config.min_rows = 51; // 20 x 51 rows are not there
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, "min_rows (51)"));
}

static void groups_become_devices_and_small_ones_are_left_out(void **state)
{
    (void)state;
    static const uint32_t some[] = {0, 1, 2, 3, 4, 5, 6, 7};
    static const float keys[] = {9, -1, 9, 4, 9, -1, 9, 9};
    const struct trib_partition_rows from = {
        .rows = some, .count = 8, .labels = keys, .groups = keys};
    struct trib_partition_config config = config_of(TRIB_PARTITION_COLUMN);
    struct trib_partition p;
    char why[256] = "";

    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_OK);
    assert_int_equal(p.clients, 3); // -1, 4, 9
    assert_memory_equal(p.rows, ((const uint32_t[]){1, 5, 3, 0, 2, 4, 6, 7}), 8 * sizeof(uint32_t));
    trib_partition_fini(&p);
    config.min_rows = 2;
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_OK);
    assert_int_equal(p.clients, 2);
    assert_int_equal(p.starts[2], 7);
    assert_memory_equal(p.rows, ((const uint32_t[]){1, 5, 0, 2, 4, 6, 7}), 7 * sizeof(uint32_t));
    trib_partition_fini(&p);
    config.min_rows = 6;
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, "no device"));
}

static void what_cannot_be_dealt_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct trib_partition_rows from;
    struct trib_partition p;
    char why[256] = "";
    make_rows(&from, labels, groups);

    struct trib_partition_config config = config_of(TRIB_PARTITION_IID);
    config.clients = ROWS + 1;
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, "d1003 would have 0 rows"));
    config.min_rows = 0; // then a device may be empty
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_OK);
    assert_int_equal(trib_partition_size(&p, ROWS), 0);
    trib_partition_fini(&p);

    config = config_of(TRIB_PARTITION_SHARDS);
    config.shards_per_client = 100;
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, "shards"));

    from.count = 0;
    assert_int_equal(trib_partition_make(&config, &from, &p, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, "no rows"));
}

static void names_are_d0000_and_on(void **state)
{
    (void)state;
    char name[TRIB_PARTITION_NAME_SIZE];
    trib_partition_name(0, name);
    assert_string_equal(name, "d0000");
    trib_partition_name(12345, name);
    assert_string_equal(name, "d12345");

    static uint32_t devices[10002];
    trib_partition_by_name(devices, 10002);
    assert_int_equal(devices[1000], 1000);  // d1000
    assert_int_equal(devices[1001], 10000); // d10000 comes before d1001
    assert_int_equal(devices[1002], 10001);
    assert_int_equal(devices[10001], 9999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_deals_every_row_once_and_the_same_for_the_same_seed),
        cmocka_unit_test(iid_sizes_differ_by_one_at_most),
        cmocka_unit_test(shards_give_a_device_few_labels),
        cmocka_unit_test(dirichlet_goes_from_pure_to_even_with_alpha),
        cmocka_unit_test(dirichlet_draws_again_until_min_rows),
        cmocka_unit_test(groups_become_devices_and_small_ones_are_left_out),
        cmocka_unit_test(what_cannot_be_dealt_is_refused_with_a_reason),
        cmocka_unit_test(names_are_d0000_and_on),
    };
    return RUN_TESTS(tests);
}
