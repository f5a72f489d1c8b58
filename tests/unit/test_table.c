#include "common/data/table.h"
#include "tests/unit/files.h"

#include <math.h>

#include "common/data/source.h"

#define TEST_CSV TEST_VECTORS "/../../simulations/data/"

static const char people[] = "[file]\nmissing = ?\n"
                             "[column age]\ntype = int\nmin = 0\nmax = 120\n"
                             "[column colour]\ntype = category\nvalues = red | blue\nother = no\n"
                             "[column name]\ntype = text\nrole = id\n"
                             "[column y]\ntype = bool\nrole = label\n";

static struct trib_findings findings;
static struct trib_schema *schema;

// Read a text as the schema says. The caller ends data set, findings and schema with done().
static enum trib_err read_text(const char *declared, const char *text,
                               const struct trib_table_options *options,
                               struct trib_dataset **ret_dataset)
{
    char why[512];
    const char *path = files_put(0, "t.csv", text, strlen(text));
    if (trib_schema_parse(declared, strlen(declared), "s.ini", &schema, why, sizeof(why)))
        fail_msg("%s", why);
    return trib_table_read(path, schema, options, &findings, ret_dataset);
}

static void done(struct trib_dataset *dataset)
{
    trib_dataset_free(dataset);
    trib_findings_fini(&findings);
    trib_schema_destroy(schema);
}

static const struct trib_table_options tolerant = {.scale = 1, .max_bad_share = 1};

static void assert_violation(size_t column, enum trib_rule rule, uint64_t count, size_t line,
                             size_t place)
{
    const struct trib_violation *v = trib_findings_find(&findings, column, rule);
    assert_int_equal(v->count, count);
    assert_int_equal(v->line, line);
    assert_int_equal(v->place, place);
}

static void every_violation_is_counted_with_the_place_of_the_first(void **state)
{
    (void)state;
    struct trib_dataset *dataset;
    static const char text[] = "30,red,\"Ann\nLee\",1\n" // lines 1 and 2
                               "x,blue,b,0\n"
                               "200,red,c,0\n"
                               "150,pink,d,1\n" // two of one row
                               "?,red,e,1\n"
                               "5,red,f\n"
                               "5,red,g,1,9\n"
                               "5,r\"ed,h,1\n"
                               "41,blue,i,0\n";
    assert_int_equal(read_text(people, text, &tolerant, &dataset), TRIB_OK);
    assert_int_equal(findings.rows, 9);
    assert_int_equal(findings.bad_rows, 7);
    assert_violation(0, TRIB_RULE_TYPE, 1, 3, 1);
    assert_violation(0, TRIB_RULE_RANGE, 2, 4, 1);
    assert_violation(1, TRIB_RULE_ENUM, 1, 5, 2);
    assert_violation(0, TRIB_RULE_MISSING, 1, 6, 1);
    assert_violation(4, TRIB_RULE_COLUMNS, 2, 7, 4);
    assert_violation(4, TRIB_RULE_SYNTAX, 1, 9, 2);
    uint64_t others = 0;
    for (size_t c = 0; c <= 4; c++) {
        for (int r = 0; r < TRIB_RULE_COUNT; r++)
            others += trib_findings_find(&findings, c, (enum trib_rule)r)->count;
    }
    assert_int_equal(others, 8);
    static const float x[] = {30, 1, 0, 41, 0, 1};
    assert_int_equal(dataset->rows, 2);
    assert_int_equal(dataset->inputs, 3);
    assert_memory_equal(dataset->x, x, sizeof(x));
    assert_true(dataset->y[0] == 1 && dataset->y[1] == 0);
    assert_true(dataset->lines[0] == 1 && dataset->lines[1] == 10);
    assert_int_equal(dataset->label_column, 4);
    assert_string_equal(dataset->unfit, "");
    done(dataset);
}

static void too_many_bad_rows_leave_none(void **state)
{
    (void)state;
    struct trib_dataset *dataset;
    struct trib_table_options options = tolerant;
    char why[512];
    struct trib_model model;
    static const char text[] = "30,red,a,1\n30,red,b,1\n30,red,c,1\nx,red,d,1\n";
    assert_int_equal(trib_model_parse("3 - dense 1 sigmoid", &model, why, sizeof(why)), TRIB_OK);
    options.max_bad_share = 0.25; // as many as there are
    assert_int_equal(read_text(people, text, &options, &dataset), TRIB_OK);
    assert_int_equal(dataset->rows, 3);
    assert_int_equal(trib_dataset_check(dataset, &model, why, sizeof(why)), TRIB_OK);
    files_assert_logged("column=age rule=type count=1 first at line 4 column 1");
    done(dataset);

    options.max_bad_share = 0.24;
    assert_int_equal(read_text(people, text, &options, &dataset), TRIB_OK);
    assert_int_equal(dataset->rows, 0);
    assert_non_null(strstr(dataset->unfit, "1 of 4 rows break the schema (0.25; "
                                           "data.max_bad_share is 0.24)"));
    assert_int_equal(trib_dataset_check(dataset, &model, why, sizeof(why)), TRIB_ERR_DATA);
    assert_non_null(strstr(why, "1 of 4 rows break the schema"));
    files_assert_logged("id=data-unfit");
    done(dataset);
}

static void values_are_never_logged(void **state)
{
    (void)state;
    struct trib_dataset *dataset;
    assert_int_equal(read_text(people, "secretive,red,a,1\n", &tolerant, &dataset), TRIB_OK);
    files_assert_logged("column=age rule=type");
    assert_null(strstr(files_logged, "secretive"));
    done(dataset);
}

static void named_columns_may_stand_anywhere(void **state)
{
    (void)state;
    struct trib_dataset *dataset;
    struct trib_table_options options = tolerant;
    options.header = TRIB_CSV_HEADER_YES;
    assert_int_equal(read_text(people,
                               "y, extra, \"age\", colour, name\n1,?,7,blue,a\n0,?,200,red,b\n",
                               &options, &dataset),
                     TRIB_OK);
    static const float x[] = {7, 0, 1};
    assert_int_equal(dataset->rows, 1);
    assert_memory_equal(dataset->x, x, sizeof(x));
    assert_violation(0, TRIB_RULE_RANGE, 1, 3, 3); // the place in the file
    done(dataset);
    dataset = NULL;
    assert_int_equal(read_text(people, "y,age,name\n", &options, &dataset), TRIB_ERR_INVAL);
    files_assert_logged("no column is named 'colour'");
    done(dataset);
    options.header = TRIB_CSV_HEADER_SKIP;
    assert_int_equal(read_text(people, "what,ever\n7,blue,a,1\n", &options, &dataset), TRIB_OK);
    assert_int_equal(dataset->rows, 1);
    assert_int_equal(findings.bad_rows, 0);
    done(dataset);
}

static void json_lines_are_read_like_csv(void **state)
{
    (void)state;
    struct trib_dataset *dataset;
    struct trib_table_options options = tolerant;
    options.is_json_lines = true;
    static const char text[] =
        "{\"age\": 30, \"colour\": \"red\", \"name\": \"A\\u00e9\\n\", \"y\": true}\r\n"
        "\n"
        "{\"y\": 0, \"more\": {\"deep\": [1]}, \"name\": null, \"colour\": \"blue\", \"age\": 4}\n"
        "{\"age\": \"x\", \"colour\": \"red\", \"y\": false}\n"
        "{\"colour\": \"red\", \"y\": false}\n"
        "{\"age\": null, \"colour\": \"red\", \"y\": false}\n"
        "{\"age\": 1, \"age\": 2, \"colour\": \"red\", \"y\": false}\n"
        "{\"age\": [1], \"colour\": \"red\", \"y\": false}\n"
        "{\"age\": 1\n"
        "[1]\n"
        "{\"age\": 1, \"colour\": \"red\", \"y\": false} x\n";
    assert_int_equal(read_text(people, text, &options, &dataset), TRIB_OK);
    static const float x[] = {30, 1, 0, 4, 0, 1};
    assert_int_equal(dataset->rows, 2);
    assert_memory_equal(dataset->x, x, sizeof(x));
    assert_true(dataset->lines[0] == 1 && dataset->lines[1] == 3);
    assert_int_equal(findings.rows, 10);
    assert_int_equal(findings.bad_rows, 8);
    assert_violation(0, TRIB_RULE_TYPE, 1, 4, 9);
    assert_violation(0, TRIB_RULE_MISSING, 2, 5, 0); // it is not there: no place
    assert_int_equal(trib_findings_find(&findings, 4, TRIB_RULE_SYNTAX)->count, 5);
    assert_int_equal(trib_findings_find(&findings, 4, TRIB_RULE_SYNTAX)->line, 7);
    done(dataset);
}

static void weights_stay_with_their_rows(void **state)
{
    (void)state;
    struct trib_dataset *dataset, *part;
    const uint32_t rows[] = {2, 0};
    const struct trib_table_options options = {.scale = 1, .max_bad_share = 1};
    assert_int_equal(read_text("[column x]\n[column w]\nrole = weight\n"
                               "[column y]\nrole = label\n",
                               "1,0.5,1\n2,0,1\n3,4,0\n5,2.5,1\n", &options, &dataset),
                     TRIB_OK);
    assert_int_equal(dataset->rows, 3); // a weight of 0 breaks `range`
    assert_true(trib_dataset_samples(dataset).weights == dataset->weights);
    assert_int_equal(trib_dataset_select(dataset, rows, 2, 1, &part), TRIB_OK);
    assert_true(part->weights[0] == 2.5f && part->weights[1] == 0.5f && part->x[0] == 5);
    trib_dataset_free(part);
    done(dataset);
    assert_int_equal(read_text(people, "30,red,a,1\n", &options, &dataset), TRIB_OK);
    assert_null(trib_dataset_samples(dataset).weights);
    done(dataset);
}

static void limit_and_scale_are_those_of_the_configuration(void **state)
{
    (void)state;
    struct trib_dataset *dataset;
    struct trib_table_options options = {.scale = 2, .limit = 2, .max_bad_share = 1};
    assert_int_equal(read_text(people, "30,red,a,1\nx,red,b,1\n5,red,c,1\n", &options, &dataset),
                     TRIB_OK);
    assert_int_equal(findings.rows, 2);
    assert_int_equal(dataset->rows, 1);
    assert_true(dataset->x[0] == 15 && dataset->x[1] == 0.5f && dataset->y[0] == 1);
    done(dataset);
    options = (struct trib_table_options){.scale = 1e-38, .max_bad_share = 1};
    assert_int_equal(read_text(people, "30,red,a,1\n", &options, &dataset), TRIB_OK);
    assert_int_equal(dataset->rows, 0); // no float32
    assert_violation(4, TRIB_RULE_RANGE, 1, 1, 0);
    done(dataset);
    assert_int_equal(read_text(people, "", &tolerant, &dataset), TRIB_OK);
    assert_int_equal(dataset->rows, 0);
    assert_string_equal(dataset->unfit, ""); // empty, and nothing wrong with it
    done(dataset);
}

static void the_configuration_names_the_schema(void **state)
{
    (void)state;
    struct trib_dataset *dataset = NULL;
    struct trib_data_config config = {.format = TRIB_DATA_JSON_LINES, .scale = 1, .label = "last"};
    const char *path = files_put(0, "t.csv", "{\"x\":1,\"y\":1}\n", 14);
    assert_int_equal(trib_data_open(&config, path, "", 0, &dataset), TRIB_ERR_INVAL);
    files_assert_logged("jsonl files want a data.schema");
    static const char text[] = "[column x]\n[column y]\nrole = label\n";
    const char *schema_path = files_put(1, "s.ini", text, sizeof(text) - 1);
    assert_true(strlen(schema_path) < sizeof(config.schema));
    memcpy(config.schema, schema_path, strlen(schema_path) + 1);
    assert_int_equal(trib_data_open(&config, path, "", 0, &dataset), TRIB_OK);
    assert_true(dataset->rows == 1 && dataset->x[0] == 1 && dataset->y[0] == 1);
    trib_dataset_free(dataset);
    (void)files_put(1, "s.ini", "[column x]\ntype = x\n", 20);
    assert_int_equal(trib_data_open(&config, path, "", 0, &dataset), TRIB_ERR_INVAL);
    files_assert_logged("s.ini:2: type wants real");
}

// ---- UCI Adult, as it is published

static struct trib_dataset *adult(const char *name)
{
    const char *dir = getenv("TRIBUTARY_DATA");
    struct trib_data_config config = {.format = TRIB_DATA_CSV, .scale = 1, .label = "last"};
    struct trib_dataset *dataset;
    char path[TRIB_PATH_MAX + 1];
    if (!dir)
        dir = TEST_DATA_DEFAULT;
    assert_int_equal(trib_path_join(path, dir, name), TRIB_OK);
    if (!trib_file_exists(path)) {
        print_message("skipped: no %s in %s (TRIBUTARY_DATA says where)\n", name, dir);
        skip();
    }
    (void)snprintf(config.schema, sizeof(config.schema), "%.*s", TRIB_CONF_TEXT_MAX,
                   TEST_CSV "adult.schema.ini");
    assert_int_equal(trib_data_open(&config, path, "", 0, &dataset), TRIB_OK);
    assert_string_equal(dataset->unfit, "");
    return dataset;
}

// Rank of each good row's value in the column `name`.
static void assert_owners(const char *declared, const char *text, size_t column,
                          const uint32_t *wanted, size_t count)
{
    struct trib_dataset *dataset;
    char why[512];
    const char *path = files_put(0, "t.csv", text, strlen(text));
    if (trib_schema_parse(declared, strlen(declared), "s.ini", &schema, why, sizeof(why)))
        fail_msg("%s", why);
    struct trib_table_options options = tolerant;
    options.owner = &schema->columns[column];
    assert_int_equal(trib_table_read(path, schema, &options, &findings, &dataset), TRIB_OK);
    assert_int_equal(dataset->rows, count);
    assert_memory_equal(dataset->owners, wanted, count * sizeof(*wanted));
    assert_violation(column, TRIB_RULE_MISSING, 2, 2, column + 1); // lines 2 and 3
    done(dataset);
}

static void a_column_says_whose_the_rows_are(void **state)
{
    (void)state;
    static const char numbers[] = "[file]\nmissing = ?\n[column x]\ntype = real\n"
                                  "[column user]\ntype = int\nrole = id\n"
                                  "[column y]\ntype = real\nrole = label\n";
    static const char texts[] = "[file]\nmissing = ?\n[column x]\ntype = real\n"
                                "[column user]\ntype = text\nrole = id\n"
                                "[column y]\ntype = real\nrole = label\n";
    static const char rows[] = "1,10,1\n1,,1\n1,?,1\n1,9,1\n1,010,1\n1,7,1\nx,3,1\n1,9,1\n";
    assert_owners(numbers, rows, 1, (const uint32_t[]){2, 1, 2, 0, 1}, 5);
    assert_owners(texts, rows, 1, (const uint32_t[]){1, 3, 0, 2, 3}, 5);
}

static void an_owner_column_is_neither_feature_nor_label(void **state)
{
    (void)state;
    static const char declared[] = "[column user]\ntype = int\nrole = id\n"
                                   "[column x]\ntype = real\n"
                                   "[column y]\ntype = real\nrole = label\n";
    static const char rows[] = "1,2,3\n4,5,6\n";
    struct trib_dataset *dataset;
    struct trib_data_config config = {.format = TRIB_DATA_CSV, .scale = 1};
    (void)snprintf(config.schema, sizeof(config.schema), "%.*s", TRIB_CONF_TEXT_MAX,
                   files_put(1, "s.ini", declared, strlen(declared)));
    const char *path = files_put(0, "t.csv", rows, strlen(rows));
    assert_int_equal(trib_data_open_owned(&config, path, "1", 1, &dataset), TRIB_OK);
    assert_int_equal(dataset->owners[1], 1);
    trib_dataset_free(dataset);
    assert_int_equal(trib_data_open_owned(&config, path, "x", 1, &dataset), TRIB_ERR_INVAL);
    files_assert_logged("column 'x' says whose the rows are, so it cannot be learnt from too");
    assert_int_equal(trib_data_open_owned(&config, path, "3", 1, &dataset), TRIB_ERR_INVAL);
    assert_int_equal(trib_data_open_owned(&config, path, "who", 1, &dataset), TRIB_ERR_INVAL);
    files_assert_logged("there is no column 'who'");
    assert_int_equal(trib_data_open_owned(&config, path, "4", 1, &dataset), TRIB_ERR_INVAL);
}

static size_t count_ones(const struct trib_dataset *dataset, size_t feature)
{
    size_t count = 0;
    for (size_t r = 0; r < dataset->rows; r++)
        count += dataset->x[r * dataset->inputs + feature] == 1;
    return count;
}

// Features: age, 8 workclasses and other, ...: in the order of the schema.
static void adult_is_read_as_it_is(void **state)
{
    (void)state;
    enum {
        WORKCLASS_OTHER = 9
    };
    struct trib_dataset *train = adult("adult/adult.data");
    assert_int_equal(train->rows, 32561);
    assert_int_equal(train->inputs, 113);
    assert_true(train->x[0] == (float)((39 - 40.0) / 15));
    size_t rich = 0;
    for (size_t r = 0; r < train->rows; r++)
        rich += train->y[r] == 1;
    assert_int_equal(rich, 7841);                               // >50K
    assert_int_equal(count_ones(train, WORKCLASS_OTHER), 1836); // ? in the second field
    trib_dataset_free(train);

    struct trib_dataset *test = adult("adult/adult.test"); // first line, dots
    assert_int_equal(test->rows, 16281);
    assert_int_equal(test->lines[0], 2);
    rich = 0;
    for (size_t r = 0; r < test->rows; r++)
        rich += test->y[r] == 1;
    assert_int_equal(rich, 3846);
    assert_int_equal(count_ones(test, WORKCLASS_OTHER), 963);
    trib_dataset_free(test);
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"t.csv", "s.ini", NULL};
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_violation_is_counted_with_the_place_of_the_first),
        cmocka_unit_test(too_many_bad_rows_leave_none),
        cmocka_unit_test(values_are_never_logged),
        cmocka_unit_test(named_columns_may_stand_anywhere),
        cmocka_unit_test(json_lines_are_read_like_csv),
        cmocka_unit_test(weights_stay_with_their_rows),
        cmocka_unit_test(limit_and_scale_are_those_of_the_configuration),
        cmocka_unit_test(the_configuration_names_the_schema),
        cmocka_unit_test(a_column_says_whose_the_rows_are),
        cmocka_unit_test(an_owner_column_is_neither_feature_nor_label),
        cmocka_unit_test(adult_is_read_as_it_is),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
