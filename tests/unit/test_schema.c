#include "common/data/schema.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL "[column y]\ntype = bool\nrole = label\n"

static char why[512];

static struct trib_schema *parsed(const char *text)
{
    struct trib_schema *schema;
    if (trib_schema_parse(text, strlen(text), "s.ini", &schema, why, sizeof(why)))
        fail_msg("refused: %s", why);
    return schema;
}

// A column `x` of one feature or more, and a label behind it that is always good.
static struct trib_schema *column(const char *keys)
{
    char text[2048];
    (void)snprintf(text, sizeof(text), "[file]\nmissing = ? NA\n[column x]\n%s\n" LABEL, keys);
    return parsed(text);
}

// What becomes of a value: TRIB_RULE_COUNT when it is good, and its features.
static enum trib_rule judged(const struct trib_schema *schema, const char *value, float *ret_x)
{
    struct trib_findings findings;
    const struct trib_field fields[2] = {
        {.text = value, .size = value ? strlen(value) : 0, .line = 5, .place = 1},
        {.text = "1", .size = 1, .line = 5, .place = 2}};
    enum trib_rule rule = TRIB_RULE_COUNT;
    float y;
    float weight;
    assert_int_equal(trib_findings_init(&findings, schema), TRIB_OK);
    const bool is_good = trib_schema_row(schema, fields, &findings, ret_x, &y, &weight);
    for (int r = 0; r < TRIB_RULE_COUNT; r++) {
        const struct trib_violation *v = trib_findings_find(&findings, 0, (enum trib_rule)r);
        if (v->count == 0)
            continue;
        assert_int_equal(rule, TRIB_RULE_COUNT); // one rule at a time
        assert_true(v->count == 1 && v->line == 5 && v->place == 1);
        rule = (enum trib_rule)r;
    }
    assert_int_equal(is_good, rule == TRIB_RULE_COUNT);
    assert_int_equal(findings.bad_rows, !is_good);
    assert_true(!is_good || y == 1);
    trib_findings_fini(&findings);
    return rule;
}

static void assert_number(const char *keys, const char *value, double wanted)
{
    float x;
    struct trib_schema *schema = column(keys);
    assert_int_equal(schema->features, 1);
    if (judged(schema, value, &x) != TRIB_RULE_COUNT)
        fail_msg("'%s' is refused", value);
    assert_true(x == (float)wanted);
    trib_schema_destroy(schema);
}

static void assert_refused(const char *keys, const char *value, enum trib_rule wanted)
{
    float x[8];
    struct trib_schema *schema = column(keys);
    const enum trib_rule rule = judged(schema, value, x);
    if (rule != wanted)
        fail_msg("'%s' breaks %s, not %s", value ? value : "nothing", trib_rule_text(rule),
                 trib_rule_text(wanted));
    trib_schema_destroy(schema);
}

static void a_label_is_moved_and_scaled_as_features_are(void **state)
{
    (void)state;
    struct trib_findings findings;
    float x, y, weight;
    struct trib_schema *schema = parsed("[column x]\n[column y]\nrole = label\noffset = 190\n"
                                        "scale = 180\n");
    const struct trib_field fields[2] = {{.text = "7", .size = 1}, {.text = "280", .size = 3}};
    assert_int_equal(trib_findings_init(&findings, schema), TRIB_OK);
    assert_true(trib_schema_row(schema, fields, &findings, &x, &y, &weight));
    assert_true(x == 7 && y == 0.5f);
    assert_true(trib_schema_label(schema, 10) == -1);
    trib_findings_fini(&findings);
    trib_schema_destroy(schema);
}

static void numbers_are_numbers_and_nothing_else(void **state)
{
    (void)state;
    assert_number("type = real", "-1.5e3", -1500);
    assert_number("type = real\noffset = 10\nscale = 4", "12", 0.5);
    assert_number("type = int", "-42", -42);
    assert_number("type = int", "+7", 7);
    static const char *const bad_real[] = {"x",     "1x",  "0x10", "nan", "inf",
                                           "1e999", "1 2", "--1",  "."};
    static const char *const bad_int[] = {"1.0", "1e3", "-", "1234567890123456", "x", "5 "};
    for (size_t i = 0; i < sizeof(bad_real) / sizeof(bad_real[0]); i++)
        assert_refused("type = real", bad_real[i], TRIB_RULE_TYPE);
    for (size_t i = 0; i < sizeof(bad_int) / sizeof(bad_int[0]); i++)
        assert_refused("type = int", bad_int[i], TRIB_RULE_TYPE);
    assert_refused("type = real", "1e200", TRIB_RULE_RANGE); // no float32
}

static void bools_have_their_words(void **state)
{
    (void)state;
    static const char *const yes[] = {"1", "true", "TRUE", "yes", "t", "Y"};
    static const char *const no[] = {"0", "false", "no", "No", "f", "n"};
    for (size_t i = 0; i < 6; i++) {
        assert_number("type = bool", yes[i], 1);
        assert_number("type = bool", no[i], 0);
    }
    assert_refused("type = bool", "2", TRIB_RULE_TYPE);
    assert_refused("type = bool", "yess", TRIB_RULE_TYPE);
}

static void times_are_days_of_the_calendar(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double days;
    } good[] = {
        {"1970-01-01", 0},
        {"1970-01-02", 1},
        {"1969-12-31", -1},
        {"2000-02-29", 11016}, // date -d 2000-02-29 +%s / 86400
        {"2000-03-01", 11017},
        {"1900-03-01", -25508},
        {"2024-12-31", 20088},
        {"1970-01-01T12:00", 0.5},
        {"1970-01-01 06:00:00Z", 0.25},
        {"1970-01-01T06:00:00.000+06:00", 0},
        {"1970-01-01T00:00-12:00", 0.5},
    };
    static const char *const bad[] = {
        "1970",       "1970-1-1",         "1970-13-01",         "1970-00-10",      "2023-02-29",
        "1900-02-29", "1970-04-31",       "1970-01-01T24:00",   "1970-01-01T1:00", "1970-01-01x",
        "01/02/1970", "1970-01-01T10:60", "1970-01-01T10:00+5", "yesterday"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_number("type = time", good[i].text, good[i].days);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused("type = time", bad[i], TRIB_RULE_TYPE);
}

static void categories_are_one_hot_in_the_order_of_their_values(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        float x[4];
    } cases[] = {
        {"red", {1, 0, 0, 0}},  {"light green", {0, 1, 0, 0}}, {"blue", {0, 0, 1, 0}},
        {"pink", {0, 0, 0, 1}}, {"?", {0, 0, 0, 1}},           {"", {0, 0, 0, 1}},
    };
    struct trib_schema *schema =
        column("type = category\nvalues = red | light green\nvalues = blue");
    assert_int_equal(schema->features, 4);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        float x[4];
        assert_int_equal(judged(schema, cases[i].value, x), TRIB_RULE_COUNT);
        assert_memory_equal(x, cases[i].x, sizeof(x));
    }
    trib_schema_destroy(schema);
    assert_refused("type = category\nvalues = a|b\nother = no", "c", TRIB_RULE_ENUM);
    assert_refused("type = category\nvalues = a|b\nother = no", "NA", TRIB_RULE_MISSING);
}

static void each_rule_is_told_apart(void **state)
{
    (void)state;
    assert_refused("type = real", "", TRIB_RULE_MISSING);
    assert_refused("type = real", NULL, TRIB_RULE_MISSING);
    assert_refused("type = int", "NA", TRIB_RULE_MISSING);
    assert_refused("min = 0\nmax = 10", "10.1", TRIB_RULE_RANGE);
    assert_refused("min = 0\nmax = 10", "-0.1", TRIB_RULE_RANGE);
    assert_refused("type = int\nvalues = 1 | 5", "2", TRIB_RULE_ENUM);
    assert_refused("type = time\nglob = 2024-*", "2023-01-01", TRIB_RULE_PATTERN);
    assert_refused("type = int\npattern = ^[0-9]{3}$", "12", TRIB_RULE_PATTERN);
    assert_number("min = 0\nmax = 10", "10", 10);
    assert_number("type = int\nvalues = 1 | 5", "5", 5);
    assert_number("type = int\npattern = ^[0-9]{3}$", "123", 123);
    assert_number("type = int\nfill = 4\nscale = 2", "?", 2);
    assert_number("type = int\nstrip_end = .", "8.", 8);
    assert_number("type = int\nstrip_end = .", "8", 8);
}

static void only_features_leave_the_row(void **state)
{
    (void)state;
    struct trib_schema *schema =
        parsed("[column name]\ntype = text\nrole = id\npattern = ^d\n"
               "[column home]\ntype = text\nrole = local-only\n"
               "[column seen]\ntype = time\nrole = time\n"
               "[column x]\n[column w]\nrole = weight\n"
               "[column y]\ntype = category\nvalues = no | yes\nrole = label\n");
    assert_int_equal(schema->features, 1);
    struct {
        const char *texts[6];
        bool is_good;
        float x, y, weight;
    } cases[] = {
        {{"d1", "", "2020-01-01", "3", "0.5", "yes"}, true, 3, 1, 0.5f},
        {{"d1", "here", "", "3", "2", "no"}, true, 3, 0, 2},
        {{"x1", "", "", "3", "2", "no"}, false, 0, 0, 0},      // checked all the same
        {{"d1", "", "today", "3", "2", "no"}, false, 0, 0, 0}, //
        {{"d1", "", "", "3", "0", "no"}, false, 0, 0, 0},      // a weight is above 0
        {{"d1", "", "", "3", "2", "maybe"}, false, 0, 0, 0},   // a label has no other
        {{"d1", "", "", "3", "2", ""}, false, 0, 0, 0},        // nor is it missing
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_findings findings;
        struct trib_field fields[6];
        float x;
        float y;
        float weight;
        for (size_t f = 0; f < 6; f++)
            fields[f] =
                (struct trib_field){.text = cases[i].texts[f], .size = strlen(cases[i].texts[f])};
        assert_int_equal(trib_findings_init(&findings, schema), TRIB_OK);
        assert_int_equal(trib_schema_row(schema, fields, &findings, &x, &y, &weight),
                         cases[i].is_good);
        if (cases[i].is_good)
            assert_true(x == cases[i].x && y == cases[i].y && weight == cases[i].weight);
        trib_findings_fini(&findings);
    }
    trib_schema_destroy(schema);
}

static void what_is_no_schema_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"", "s.ini:1: no column has the role label"},
        {"type = int\n", "s.ini:1: a key before the first section"},
        {"[file\n", "s.ini:1: a section ends with ']'"},
        {"[columns]\n", "s.ini:1: section [columns]"},
        {"[column ]\n", "s.ini:1: a column's name has 1 to 127 bytes"},
        {"[column a]\n[column a]\n", "s.ini:2: column 'a' is there twice"},
        {"[column a]\n\nkind = int\n", "s.ini:3: kind is not a key of a column"},
        {"[column a]\ntype = float\n", "s.ini:2: type wants real, int"},
        {"[column a]\nrole = target\n", "s.ini:2: role wants feature, label"},
        {"[column a]\nmin = low\n", "s.ini:2: min wants a number"},
        {"[column a]\nscale = 0\n", "s.ini:2: scale must be above 0"},
        {"[column a]\nother = maybe\n", "s.ini:2: other must be yes or no"},
        {"[column a]\npattern = [\n", "s.ini:2: pattern is not a POSIX"},
        {"[column a]\nvalues = a||b\n", "s.ini:2: values holds an empty value"},
        {"[column a]\nvalues = a|a\n", "s.ini:2: values holds a value twice"},
        {"[column a]\nnonsense\n", "s.ini:2: neither a section nor 'key = value'"},
        {"[file]\nseparator = ;;\n", "s.ini:2: separator wants one byte"},
        {"[file]\nquote = '\n", "s.ini:2: quote is not a key of [file]"},
        {"[file]\ntrim = 1\n", "s.ini:2: trim must be yes or no"},
        {"[column a]\nmin = 2\nmax = 1\n" LABEL, "column 'a': min is above max"},
        {"[column a]\ntype = text\n" LABEL, "column 'a': a text is neither feature nor label"},
        {"[column a]\ntype = category\n" LABEL, "column 'a': a category wants its values"},
        {"[column a]\nvalues = 1|2\n" LABEL, "column 'a': values are for"},
        {"[column a]\ntype = bool\nrole = weight\n" LABEL, "column 'a': a weight is real or int"},
        {"[column a]\nfill = x\n" LABEL, "column 'a': fill breaks the column's own rules"},
        {"[column a]\nmax = 5\nfill = 6\n" LABEL, "column 'a': fill breaks"},
        {"[column a]\nrole = id\nfill = 6\n" LABEL, "column 'a': fill is for features"},
        {"[column a]\nrole = label\n" LABEL, "columns 'a' and 'y' have the same role"},
        {LABEL, "the columns make 0 features"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_schema *schema = NULL;
        assert_int_equal(trib_schema_parse(cases[i].text, strlen(cases[i].text), "s.ini", &schema,
                                           why, sizeof(why)),
                         TRIB_ERR_INVAL);
        assert_null(schema);
        if (!strstr(why, cases[i].reason))
            fail_msg("case %zu says '%s', wanted '%s'", i, why, cases[i].reason);
    }
    struct trib_schema *schema;
    assert_int_equal(trib_schema_load("/nowhere/s.ini", &schema, why, sizeof(why)), TRIB_ERR_IO);
    assert_non_null(strstr(why, "/nowhere/s.ini: cannot be read"));
}

static void comments_and_blanks_are_passed_over(void **state)
{
    (void)state;
    struct trib_schema *schema = parsed("# one\n; two\n\n[file]\r\n  separator = tab \r\n"
                                        "[column the name]\ntype=int\n" LABEL);
    assert_int_equal(schema->separator, '\t');
    assert_int_equal(schema->columns[0].type, TRIB_COLUMN_INT);
    assert_int_equal(trib_schema_find(schema, "the name"), 0);
    assert_true(trib_schema_find(schema, "name") == SIZE_MAX);
    trib_schema_destroy(schema);
    trib_schema_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_is_moved_and_scaled_as_features_are),
        cmocka_unit_test(numbers_are_numbers_and_nothing_else),
        cmocka_unit_test(bools_have_their_words),
        cmocka_unit_test(times_are_days_of_the_calendar),
        cmocka_unit_test(categories_are_one_hot_in_the_order_of_their_values),
        cmocka_unit_test(each_rule_is_told_apart),
        cmocka_unit_test(only_features_leave_the_row),
        cmocka_unit_test(what_is_no_schema_is_refused_with_its_line),
        cmocka_unit_test(comments_and_blanks_are_passed_over),
    };
    return RUN_TESTS(tests);
}
