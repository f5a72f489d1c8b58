#include "common/data/fallback.h"
#include "tests/unit/files.h"

#include <math.h>

#include "tests/unit/models.h"

#define SCHEMA                                                                                  \
    "[column age]\ntype = int\nmin = 0\nmax = 150\n[column colour]\ntype = category\n"          \
    "values = red | blue\n[column home]\ntype = text\nrole = id\n[column since]\ntype = time\n" \
    "[column own]\ntype = bool\n[column y]\ntype = int\nrole = label\n"
#define DEFAULT "[default]\noutputs = 0.5 | 0.5\n"

static struct trib_schema *schema;
static char why[512];

static enum trib_err load(const char *text, const struct trib_schema *with,
                          struct trib_fallback **ret_fallback)
{
    const char *path = files_put(0, "fallback.ini", text, strlen(text));
    return trib_fallback_load(path, with, ret_fallback, why, sizeof(why));
}

static struct trib_fallback *loaded(const char *text, const struct trib_schema *with)
{
    struct trib_fallback *fallback;
    if (load(text, with, &fallback))
        fail_msg("%s", why);
    return fallback;
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } wrongs[] = {
        {"", ":1: [default]: outputs is missing"},
        {"[fallback]\nmin_probability = 0.5\n", ":3: [default]: outputs is missing"},
        {"[default]\n", ":1: [default]: outputs is missing"},
        {"[default]\noutputs = 0.5 | x\n", ":2: outputs: 'x' is not a finite number"},
        {"[default]\noutputs = 0.5 | \n", ":2: outputs: '' is not a finite number"},
        {"[default]\noutputs = 0.5 | 0.6\n", ":1: [default]: outputs: probabilities add up to 1"},
        {"[default]\noutputs = 2\n", ":1: [default]: outputs: a probability is between 0 and 1"},
        {"[default]\noutputs = 1\noutputs = 1\n", ":3: outputs is there twice"},
        {DEFAULT DEFAULT, ":3: [default] is there twice"},
        {"[fallback]\n[fallback]\n", ":2: [fallback] is there twice"},
        {"[fallback]\nmin_probability = 1.5\n", ":2: min_probability must be between 0 and 1"},
        {"[fallback]\noutputs_are = words\n", ":2: outputs_are must be probabilities or values"},
        {"[fallback]\nmin_probability = 0.5\noutputs_are = values\n[default]\noutputs = 3\n",
         "min_probability: values have no probability"},
        {"[fallback]\nmin = 1\n", ":2: min is not a key of [fallback]"},
        {"outputs = 1\n", ":1: outputs: a key before the first section"},
        {"[default\n", ":1: a section ends with ']'"},
        {"[cluster]\n", ":1: section [cluster]: there are"},
        {"[rule  ]\n", ":1: section [rule]: there are"},
        {"[default]\nwhat\n", ":2: neither a section nor"},
        {DEFAULT "[cluster a]\noutputs = 1 | 0\n", ":3: [cluster a]: centre is missing"},
        {DEFAULT "[cluster a]\ncentre = 1\n[cluster b]\n", ":3: [cluster a]: outputs is missing"},
        {DEFAULT "[cluster a]\ncentre = 1\noutputs = 1 | 0\nradius = -1\n", ":6: radius must be"},
        {DEFAULT "[cluster a]\ncentre = 1\noutputs = 1 | 0\n[cluster b]\ncentre = 1 | 2\n",
         ":7: centre has 2 numbers, and 1 before"},
        {DEFAULT "[rule a]\noutputs = 1\n", ":4: outputs has 1 numbers, and 2 before"},
        {DEFAULT "[rule a]\noutputs = 1 | 0\n", ":3: [rule a]: when is missing"},
        {DEFAULT "[rule a]\ncentre = 1\n", ":4: centre is not a key of [rule a]"},
        {DEFAULT "[rule a]\nwhen = age\n", ":4: when: 'age' is not COLUMN < VALUE"},
        {DEFAULT "[rule a]\nwhen = age ! 3\n", ":4: when: 'age ! 3' is not COLUMN < VALUE"},
        {DEFAULT "[rule a]\nwhen = age < 3 &\n", ":4: when: '' is not COLUMN < VALUE"},
        {DEFAULT "[rule a]\nwhen = age < old\n", ":4: when: 'old' is not a value of column 'age'"},
        {DEFAULT "[rule a]\nwhen = weight < 3\n", ":4: when: there is no column 'weight'"},
        {DEFAULT "[rule a]\nwhen = y = 1\n", ":4: when: column 'y' is the label"},
        {DEFAULT "[rule a]\nwhen = colour < red\n", ":4: when: column 'colour' holds words"},
        {DEFAULT "[rule a]\nwhen = colour = pink\n", ":4: when: 'pink' is not a value of column"},
        {DEFAULT "[rule a]\nwhen = age < 3\nwhen = age < 4\n", ":5: when is there twice"},
    };
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        struct trib_fallback *fallback;
        assert_int_equal(load(wrongs[i].text, schema, &fallback), TRIB_ERR_INVAL);
        if (!strstr(why, wrongs[i].says) || !strstr(why, "fallback.ini"))
            fail_msg("'%s': '%s' lacks '%s'", wrongs[i].text, why, wrongs[i].says);
    }
    struct trib_fallback *fallback;
    assert_int_equal(trib_fallback_load("/nonexistent", schema, &fallback, why, sizeof(why)),
                     TRIB_ERR_IO);
}

// The values of the columns that the fall-back looks at, of a row as it would be written.
static const char *who(struct trib_fallback *f, const float *x, const char *const *texts)
{
    double values[8] = {0};
    double raw[8];
    struct trib_field fields[8] = {{0}};
    struct trib_findings findings;
    assert_int_equal(trib_findings_init(&findings, schema), TRIB_OK);
    for (size_t i = 0; texts && i < schema->count; i++)
        fields[i] = (struct trib_field){.text = texts[i], .size = strlen(texts[i])};
    assert_true(!texts || trib_schema_values(schema, fields, &findings, raw));
    for (size_t i = 0; texts && i < f->column_count; i++)
        values[i] = raw[f->columns[i].place];
    trib_findings_fini(&findings);
    return trib_fallback_find(f, x, values)->by;
}

static void rules_compare_values_of_every_type(void **state)
{
    (void)state;
    static const char *const row[] = {"30", "red", "here", "2024-02-01", "yes", "1"};
    static const struct {
        const char *when;
        bool holds;
    } rules[] = {
        {"age < 30", false},          {"age <= 30", true},
        {"age > 29.5", true},         {"age >= 31", false},
        {"age = 30", true},           {"age != 30", false},
        {"age < 1000", true},         {"colour = red", true},
        {"colour != red", false},     {"colour = blue", false},
        {"home = here", true},        {"home != there", true},
        {"since < 2024-03-01", true}, {"since > 2024-03-01", false},
        {"own = true", true},         {"own = no", false},
        {"age<31&colour=red", true},  {" age < 31 & colour = blue ", false},
    };
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), DEFAULT "[rule a]\nwhen = %s\noutputs = 1 | 0\n",
                       rules[i].when);
        struct trib_fallback *f = loaded(text, schema);
        assert_string_equal(who(f, NULL, row), rules[i].holds ? "rule a" : "default");
        trib_fallback_destroy(f);
    }
}

static void no_comparison_holds_of_a_value_that_is_missing(void **state)
{
    (void)state;
    static const char *const row[] = {"", "", "", "", "", "1"};
    struct trib_fallback *f = loaded(DEFAULT "[rule a]\nwhen = age < 50\noutputs = 1 | 0\n"
                                             "[rule b]\nwhen = age != 50\noutputs = 1 | 0\n"
                                             "[rule c]\nwhen = colour = red\noutputs = 1 | 0\n",
                                     schema);
    assert_string_equal(who(f, NULL, row), "default");
    trib_fallback_destroy(f);
}

static void the_nearest_cluster_goes_before_rules_and_these_before_the_default(void **state)
{
    (void)state;
    static const char *const red[] = {"30", "red", "", "2024-02-01", "1", "1"};
    static const char *const blue[] = {"30", "blue", "", "2024-02-01", "1", "1"};
    static const float near_a[] = {1, 1}, near_b[] = {9, 9}, far[] = {-20, 0},
                       between[] = {5, 5.5f};
    // Entries may stand in any order.
    struct trib_fallback *f =
        loaded(DEFAULT "[rule first]\nwhen = colour = red\noutputs = 1 | 0\n"
                       "[rule second]\nwhen = age = 30 & colour = red\noutputs = 1 | 0\n"
                       "[cluster a]\ncentre = 0 | 0\nradius = 3\noutputs = 0.25 | 0.75\n"
                       "[cluster b]\ncentre = 10 | 10\noutputs = 1 | 0\nradius = 7.5\n# the end\n",
               schema);
    assert_int_equal(f->features, 2);
    assert_string_equal(who(f, near_a, red), "cluster a");
    assert_string_equal(who(f, near_b, red), "cluster b");
    assert_string_equal(who(f, between, blue), "cluster b"); // the other is nearer than its radius
    assert_string_equal(who(f, far, red), "rule first");
    assert_string_equal(who(f, far, blue), "default");
    assert_string_equal(who(f, NULL, red), "rule first"); // without features
    assert_true(trib_fallback_find(f, near_a, (const double[]){0, 0})->outputs[1] == 0.75f);
    trib_fallback_destroy(f);
}

static void without_a_schema_columns_are_found_later(void **state)
{
    (void)state;
    struct trib_fallback *f;
    assert_int_equal(load(DEFAULT "[rule a]\nwhen = 2 < x\noutputs = 1 | 0\n", NULL, &f),
                     TRIB_ERR_INVAL);
    assert_non_null(strstr(why, ":4: when: 'x' is not a value of column '2'"));
    f = loaded(DEFAULT "[rule a]\nwhen = 2 < 3 & any < 1 & 2 > 1\noutputs = 1 | 0\n", NULL);
    assert_int_equal(f->column_count, 2);
    assert_string_equal(f->columns[1].name, "any");
    assert_string_equal(trib_fallback_find(f, NULL, (const double[]){2, 0})->by, "rule a");
    assert_string_equal(trib_fallback_find(f, NULL, (const double[]){1, 0})->by, "default");
    assert_string_equal(trib_fallback_find(f, NULL, (const double[]){2, 1})->by, "default");
    trib_fallback_destroy(f);
}

static void it_must_go_with_the_model_and_the_rows(void **state)
{
    (void)state;
    const struct trib_model two = parsed("2 - dense 2 softmax");
    const struct trib_model three = parsed("2 - dense 3 softmax");
    const struct trib_model value = parsed("2 - dense 1 linear");
    struct trib_fallback *f =
        loaded(DEFAULT "[cluster a]\ncentre = 1 | 2\noutputs = 1 | 0\n", schema);
    assert_int_equal(trib_fallback_check(f, &two, 2, why, sizeof(why)), TRIB_OK);
    assert_int_equal(trib_fallback_check(f, NULL, 0, why, sizeof(why)), TRIB_OK);
    assert_int_equal(trib_fallback_check(f, NULL, 3, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, ":3: cluster a: centre has 2 numbers, and a row has 3 features"));
    assert_int_equal(trib_fallback_check(f, &three, 2, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, "outputs has 2 numbers, the model has 3"));
    assert_int_equal(trib_fallback_check(f, &value, 2, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, "outputs_are must be values"));
    trib_fallback_destroy(f);
    f = loaded("[fallback]\noutputs_are = values\n[default]\noutputs = -7\n", schema);
    assert_int_equal(trib_fallback_check(f, &value, 2, why, sizeof(why)), TRIB_OK);
    trib_fallback_destroy(f);
}

static void the_page_shows_a_file_that_is_read(void **state)
{
    (void)state;
    struct trib_buf page = {0};
    struct trib_buf sample = {0};
    assert_int_equal(trib_file_read(TEST_DOCS "models.md", 1 << 20, &page), TRIB_OK);
    const char *line = strstr((const char *)page.data, "    [fallback]\n");
    for (const char *end; line && (*line == ' ' || *line == '\n'); line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        trib_buf_append(&sample, line, (size_t)(end + 1 - line));
    }
    assert_non_null(sample.data);
    struct trib_fallback *f = loaded((const char *)sample.data, schema);
    assert_int_equal(f->count, 3);
    assert_true(f->min_probability == 0.6);
    assert_string_equal(who(f, (const float[]){1, 0.9f}, NULL), "cluster north");
    trib_fallback_destroy(f);
    trib_buf_fini(&sample);
    trib_buf_fini(&page);
}

static int group_setup(void **state)
{
    return trib_schema_parse(SCHEMA, strlen(SCHEMA), "s.ini", &schema, why, sizeof(why))
               ? -1
               : files_setup(state);
}

static int group_teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"fallback.ini", NULL};
    trib_schema_destroy(schema);
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(rules_compare_values_of_every_type),
        cmocka_unit_test(no_comparison_holds_of_a_value_that_is_missing),
        cmocka_unit_test(the_nearest_cluster_goes_before_rules_and_these_before_the_default),
        cmocka_unit_test(without_a_schema_columns_are_found_later),
        cmocka_unit_test(it_must_go_with_the_model_and_the_rows),
        cmocka_unit_test(the_page_shows_a_file_that_is_read),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
