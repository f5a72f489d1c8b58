// Groups of features, and what fuses them.
#include "common/data/prepare.h"
#include "tests/test.h"
#include "tests/unit/prepare_rig.h"

#include <math.h>

#define COLUMNS                                                                                  \
    "[column seen]\nmin = 0\nmax = 10\n[column bought]\nmin = 0\nmax = 10\n"                     \
    "[column text1]\nmin = -1\nmax = 1\n[column text2]\nmin = -1\nmax = 1\n[column age]\nmin = " \
    "0\nmax = 100\n[column colour]\ntype = category\nvalues = red | blue\n"                      \
    "[column secret]\nrole = local-only\n"

#define GROUPS                                                               \
    "[step group]\nname = behaviour\ncolumns = seen | bought\nweight = -2\n" \
    "[step group]\nname = text\ncolumns = text*\ndims = 2\nweight = 3\n"

enum {
    COUNT = 8 // columns, the label with them
};

static const double row[COUNT] = {1, 2, 0.25, -0.5, 40, 1, 7, 0};

static void assert_becomes(struct trib_prepare *prepare, const char *const *names,
                           const float *expected, size_t count)
{
    float x[16];
    assert_int_equal(trib_prepare_features(prepare), count);
    assert_int_equal(rig_apply(prepare, row, 1, COUNT, x), 1);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(trib_prepare_feature_name(prepare, i), names[i]);
        if (x[i] != expected[i])
            fail_msg("%s is %g, not %g", names[i], (double)x[i], (double)expected[i]);
    }
}

static void groups_keep_their_place_and_are_weighed(void **state)
{
    (void)state;
    static const char *const names[] = {
        "behaviour seen", "behaviour bought", "text text1",  "text text2", "age",
        "colour=red",     "colour=blue",      "colour=other"};
    static const float expected[] = {-2, -4, 0.75F, -1.5F, 40, 0, 1, 0};
    struct trib_schema *schema = rig_schema(COLUMNS);
    struct trib_prepare *prepare = rig_parse(schema, GROUPS "[step onehot]\ncolumns = colour\n");
    assert_becomes(prepare, names, expected, 8);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void groups_of_one_dimension_are_fused(void **state)
{
    (void)state;
    static const char *const names[] = {"age", "both 1", "both 2"};
    static const float sum[] = {40, -1.25F, -5.5F}, mean[] = {40, -1.25F, -5.5F};
    struct trib_schema *schema = rig_schema(COLUMNS);
    struct trib_prepare *prepare =
        rig_parse(schema, GROUPS "[step drop]\ncolumns = colour\n"
                                 "[step fuse]\nname = both\ncolumns = behaviour | text\n");
    assert_becomes(prepare, names, sum, 3);
    trib_prepare_destroy(prepare);
    // -2 and 3 are 1 in all.
    prepare = rig_parse(schema,
                        GROUPS "[step drop]\ncolumns = colour\n"
                               "[step fuse]\nname = both\ncolumns = behaviour | text\nby = mean\n");
    assert_becomes(prepare, names, mean, 3);
    // The text that is written, which names the columns one by one, is the same pipeline.
    struct trib_buf text = {0};
    struct trib_prepare *again;
    trib_prepare_write(prepare, &text);
    assert_int_equal(trib_prepare_parse((const char *)text.data, text.size, "again", schema, &again,
                                        rig_why, sizeof(rig_why)),
                     TRIB_OK);
    assert_becomes(again, names, mean, 3);
    trib_buf_fini(&text);
    trib_prepare_destroy(again);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void a_mean_is_over_the_weights(void **state)
{
    (void)state;
    static const char *const names[] = {"age", "m 1", "m 2"};
    static const float expected[] = {40, 0.4375F, 0.125F}; // (1 + 3 * 0.25) / 4, (2 - 3 * 0.5) / 4
    struct trib_schema *schema = rig_schema(COLUMNS);
    struct trib_prepare *prepare =
        rig_parse(schema, "[step group]\nname = a\ncolumns = seen | bought\n"
                          "[step group]\nname = b\ncolumns = text1 | text2\nweight = 3\n"
                          "[step drop]\ncolumns = colour\n"
                          "[step fuse]\nname = m\ncolumns = a | b\nby = mean\n");
    assert_becomes(prepare, names, expected, 3);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

// What a row adds to the sums of a step behind stays within the bounds that noise goes by.
static void bounds_follow_weights(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(COLUMNS);
    struct trib_prepare *prepare =
        rig_parse(schema, GROUPS "[step fuse]\nname = both\ncolumns = behaviour | text\n"
                                 "[step standardise]\ncolumns = both 1 | both 2\n");
    double bounds[4];
    assert_int_equal(trib_prepare_sum_count(prepare), 4);
    assert_int_equal(trib_prepare_bounds(prepare, bounds, rig_why, sizeof(rig_why)), TRIB_OK);
    // Between -2 * 10 - 3 and 0 + 3.
    assert_true(bounds[0] == 1 && bounds[1] == 23 && bounds[2] == 1 && bounds[3] == 23);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void what_is_no_group_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"[step group]\ncolumns = seen\n", "p.ini:1: group wants a name"},
        {"[step group]\nname = a\n", "p.ini:1: step group wants columns"},
        {"[step group]\nname = a\ncolumns = seen | bought\ndims = 3\n",
         "p.ini:1: group 'a' has 2 columns, not the 3 of dims"},
        {"[step group]\nname = a\ncolumns = colour\n", "p.ini:3: column 'colour' is a category"},
        {"[step group]\nname = a\ncolumns = secret\n", "p.ini:3: column 'secret' is not a feature"},
        {"[step group]\nname = a\ncolumns = picture*\n",
         "p.ini:3: no feature that group takes begins as 'picture*' does"},
        {GROUPS "[step group]\nname = text\ncolumns = age\n",
         "p.ini:10: there is a group 'text' already"},
        {GROUPS "[step fuse]\ncolumns = behaviour | text\n", "p.ini:10: fuse wants a name"},
        {GROUPS "[step fuse]\nname = x\ncolumns = text\n",
         "p.ini:10: fuse wants two groups or more"},
        {GROUPS "[step fuse]\nname = x\ncolumns = behaviour | age\n",
         "p.ini:10: fuse wants groups: column 'age' is in none"},
        {GROUPS "[step fuse]\nname = x\ncolumns = behaviour | text text1\n",
         "p.ini:10: fuse wants the whole of group 'text'"},
        {GROUPS "[step fuse]\nname = x\ncolumns = behaviour | behaviour\n",
         "p.ini:12: group 'behaviour' is there twice"},
        {GROUPS "[step group]\nname = c\ncolumns = age\n"
                "[step fuse]\nname = x\ncolumns = text | c\n",
         "p.ini:13: group 'c' has 1 columns, the groups before it 2"},
        {GROUPS "[step drop]\ncolumns = text text2\n"
                "[step fuse]\nname = x\ncolumns = text | behaviour\n",
         "p.ini:14: group 'text' was taken by a step before this one"},
        {"[step group]\nname = a\ncolumns = seen\nweight = 2\n"
         "[step group]\nname = b\ncolumns = bought\nweight = -2\n"
         "[step fuse]\nname = x\ncolumns = a | b\nby = mean\n",
         "p.ini:9: the weights of the groups add up to 0"},
    };
    struct trib_schema *schema = rig_schema(COLUMNS);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct trib_prepare *prepare;
        assert_int_equal(trib_prepare_parse(bad[i].text, strlen(bad[i].text), "p.ini", schema,
                                            &prepare, rig_why, sizeof(rig_why)),
                         TRIB_ERR_INVAL);
        if (!strstr(rig_why, bad[i].why))
            fail_msg("'%s' is not '%s'", rig_why, bad[i].why);
    }
    trib_schema_destroy(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_keep_their_place_and_are_weighed),
        cmocka_unit_test(groups_of_one_dimension_are_fused),
        cmocka_unit_test(a_mean_is_over_the_weights),
        cmocka_unit_test(bounds_follow_weights),
        cmocka_unit_test(what_is_no_group_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
