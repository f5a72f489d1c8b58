// Ten thousand rows of which it is known what is wrong with each: the counts and first places of
// every column and rule are compared, in each form that a file is read in.
#include "common/data/table.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "tests/unit/files.h"

enum {
    ROWS = 10000
};

enum {
    AGE,
    HEIGHT,
    COLOUR,
    SHAPE,
    CODE,
    SITE,
    NOTE,
    ON,
    SEEN,
    FILLED,
    WEIGHT,
    LABEL,
    COLUMNS
};

static const char declared[] =
    "[file]\nmissing = ? NA\n"
    "[column age]\ntype = int\nmin = 0\nmax = 120\n"
    "[column height]\ntype = real\nmin = -1\n"
    "[column colour]\ntype = category\nvalues = red | blue | green\nother = no\n"
    "[column shape]\ntype = category\nvalues = round | square\nother = yes\n" // nothing breaks it
    "[column code]\ntype = text\nrole = id\npattern = ^[A-Z]{2}[0-9]+$\n"
    "[column site]\ntype = text\nrole = local-only\nglob = s-*\nvalues = s-1 | s-2\n"
    "[column note]\ntype = text\nrole = local-only\n"
    "[column on]\ntype = bool\n"
    "[column seen]\ntype = time\n"
    "[column filled]\ntype = real\nfill = 0.5\nmax = 10\n"
    "[column w]\ntype = real\nrole = weight\n"
    "[column y]\ntype = int\nrole = label\nmin = 0\nmax = 9\n";

static const char *const names[COLUMNS] = {"age",  "height", "colour", "shape",  "code", "site",
                                           "note", "on",     "seen",   "filled", "w",    "y"};

// Of the same meaning in CSV and JSON. A note is the only one that wants quotes.
static const char *const goods[COLUMNS][4] = {
    [AGE] = {"0", "120", "41", "+7"},
    [HEIGHT] = {"-1", "1.75", "2e3", "0.0"},
    [COLOUR] = {"red", "blue", "green", "red"},
    [SHAPE] = {"round", "square", "oblong", ""},
    [CODE] = {"AB1", "ZZ0099", "QX7", ""},
    [SITE] = {"s-1", "s-2", "s-1", ""},
    [NOTE] = {"plain", "", "two\nlines, and a comma", "said \"no\""},
    [ON] = {"0", "true", "No", "y"},
    [SEEN] = {"2024-02-29", "1999-12-31T23:59", "1970-01-01 06:00:00Z", "2000-01-01"},
    [FILLED] = {"", "10", "-1e5", "3"},
    [WEIGHT] = {"1", "0.25", "1e-3", "7"},
    [LABEL] = {"0", "9", "4", "5"},
};

enum form {
    CSV,
    CSV_FOR_A_PIPELINE, // what is missing is for its steps
    JSON_LINES,
    FORM_COUNT,
};

// A text that breaks one rule of a column. In JSON the empty text and one that is absent are none.
struct mutant {
    int column;
    enum trib_rule rule;
    const char *text;
    bool is_csv; // it means this in CSV only
};

static const struct mutant mutants[] = {
    {AGE, TRIB_RULE_MISSING, "", false},
    {AGE, TRIB_RULE_MISSING, "?", true},
    {AGE, TRIB_RULE_MISSING, "NA", true},
    {AGE, TRIB_RULE_TYPE, "\"\"", true}, // quoted: a value
    {AGE, TRIB_RULE_TYPE, "\"?\"", true},
    {AGE, TRIB_RULE_TYPE, "forty", false},
    {AGE, TRIB_RULE_TYPE, "4.5", false},
    {AGE, TRIB_RULE_TYPE, "0x10", false},
    {AGE, TRIB_RULE_RANGE, "-1", false},
    {AGE, TRIB_RULE_RANGE, "121", false},
    {HEIGHT, TRIB_RULE_MISSING, "", false},
    {HEIGHT, TRIB_RULE_TYPE, "nan", false},
    {HEIGHT, TRIB_RULE_TYPE, "1.2.3", false},
    {HEIGHT, TRIB_RULE_RANGE, "-1.01", false},
    {HEIGHT, TRIB_RULE_RANGE, "1e39", false}, // a double, but no float32
    {COLOUR, TRIB_RULE_MISSING, "", false},
    {COLOUR, TRIB_RULE_ENUM, "Red", false},
    {COLOUR, TRIB_RULE_ENUM, "pink", false},
    {CODE, TRIB_RULE_PATTERN, "ab1", false},
    {CODE, TRIB_RULE_PATTERN, "AB1x", false},
    {SITE, TRIB_RULE_PATTERN, "t-1", false},
    {SITE, TRIB_RULE_ENUM, "s-3", false},
    {ON, TRIB_RULE_MISSING, "", false},
    {ON, TRIB_RULE_TYPE, "2", false},
    {SEEN, TRIB_RULE_MISSING, "", false},
    {SEEN, TRIB_RULE_TYPE, "2023-02-29", false},
    {SEEN, TRIB_RULE_TYPE, "yesterday", false},
    {FILLED, TRIB_RULE_TYPE, "x", false},
    {FILLED, TRIB_RULE_RANGE, "10.5", false},
    {WEIGHT, TRIB_RULE_MISSING, "", false},
    {WEIGHT, TRIB_RULE_TYPE, "heavy", false},
    {WEIGHT, TRIB_RULE_RANGE, "0", false},
    {WEIGHT, TRIB_RULE_RANGE, "-2", false},
    {LABEL, TRIB_RULE_MISSING, "", false},
    {LABEL, TRIB_RULE_TYPE, "1.0", false},
    {LABEL, TRIB_RULE_RANGE, "10", false},
};

enum {
    MUTANT_COUNT = sizeof(mutants) / sizeof(mutants[0])
};

// A text that grows, and what must be found in it.
struct sheet {
    enum form form;
    uint64_t seed;
    struct trib_buf text;
    size_t line; // of what is written next
    struct trib_violation wanted[COLUMNS + 1][TRIB_RULE_COUNT];
    uint64_t bad_rows;
    uint32_t *good_lines; // (good_count)
    size_t good_count;
    size_t uses[MUTANT_COUNT];
};

static size_t below(struct sheet *sheet, size_t count)
{
    return (size_t)(test_rand(&sheet->seed) >> 33) % count;
}

static void put(struct sheet *sheet, const char *text)
{
    trib_buf_text(&sheet->text, text);
    for (; *text; text++)
        sheet->line += *text == '\n';
}

static void want(struct sheet *sheet, int column, enum trib_rule rule, size_t line, size_t place)
{
    struct trib_violation *v = &sheet->wanted[column][rule];
    if (v->count++ == 0) {
        v->line = line;
        v->place = place;
    }
}

// What is missing is no fault of the row where a pipeline may make something of it.
static bool is_forgiven(const struct sheet *sheet, const struct mutant *mutant)
{
    return sheet->form == CSV_FOR_A_PIPELINE && mutant->rule == TRIB_RULE_MISSING &&
           mutant->column != WEIGHT && mutant->column != LABEL;
}

// Up to three columns are broken, each by one text.
static size_t choose(struct sheet *sheet, const struct mutant *ret_broken[COLUMNS])
{
    static const size_t how_many[8] = {0, 0, 0, 1, 1, 1, 2, 3};
    size_t left = how_many[below(sheet, 8)], faults = 0;
    memset(ret_broken, 0, COLUMNS * sizeof(struct mutant *));
    for (; left > 0; left--) {
        const struct mutant *mutant = &mutants[below(sheet, MUTANT_COUNT)];
        if ((sheet->form == JSON_LINES && mutant->is_csv) || ret_broken[mutant->column])
            continue;
        ret_broken[mutant->column] = mutant;
        sheet->uses[mutant - mutants]++;
        faults += !is_forgiven(sheet, mutant);
    }
    return faults;
}

static void end_row(struct sheet *sheet, size_t line, size_t faults)
{
    put(sheet, below(sheet, 2) ? "\n" : "\r\n");
    if (faults == 0)
        sheet->good_lines[sheet->good_count++] = (uint32_t)line;
    sheet->bad_rows += faults > 0;
}

// ---- CSV

static void put_csv_text(struct sheet *sheet, const char *text)
{
    const bool wants_quotes = strpbrk(text, "\",\n");
    if (!wants_quotes && (!*text || below(sheet, 4) > 0)) { // quotes make a value of nothing
        put(sheet, text);
        return;
    }
    put(sheet, "\"");
    for (; *text; text++) {
        const char one[3] = {*text, *text == '"' ? '"' : '\0', '\0'};
        put(sheet, one);
    }
    put(sheet, "\"");
}

static void put_csv_row(struct sheet *sheet)
{
    const struct mutant *broken[COLUMNS];
    const size_t line = sheet->line, faults = choose(sheet, broken);
    for (int c = 0; c < COLUMNS; c++) {
        put(sheet, c > 0 ? "," : "");
        if (!broken[c]) {
            put_csv_text(sheet, goods[c][below(sheet, 4)]);
            continue;
        }
        if (!is_forgiven(sheet, broken[c])) // behind a note of two lines: in the second
            want(sheet, c, broken[c]->rule, sheet->line, (size_t)c + 1);
        put(sheet, broken[c]->text);
    }
    end_row(sheet, line, faults);
}

static const char *plain(size_t column)
{
    return column < COLUMNS ? goods[column][0] : "more";
}

static void put_csv_row_of_wrong_length(struct sheet *sheet)
{
    const bool is_short = below(sheet, 2) == 0;
    const size_t line = sheet->line;
    const size_t count = is_short ? 1 + below(sheet, COLUMNS - 1) : COLUMNS + 1 + below(sheet, 3);
    for (size_t c = 0; c < count; c++) {
        put(sheet, c > 0 ? "," : "");
        put(sheet, plain(c));
    }
    want(sheet, COLUMNS, TRIB_RULE_COLUMNS, line, is_short ? count + 1 : COLUMNS + 1);
    end_row(sheet, line, 1);
}

// A quote in a plain field, one that is never closed, text behind a closed one, or a NUL.
static void put_csv_row_that_is_none(struct sheet *sheet)
{
    static const char *const wrongs[] = {"r\"ed", "\"open", "\"shut\"x", NULL};
    const size_t line = sheet->line, at = below(sheet, COLUMNS);
    const char *wrong = wrongs[below(sheet, 4)];
    for (size_t c = 0; c < COLUMNS; c++) {
        put(sheet, c > 0 ? "," : "");
        if (c != at)
            put(sheet, plain(c));
        else if (wrong)
            put(sheet, wrong);
        else
            trib_buf_append(&sheet->text, "a\0b", 3);
    }
    want(sheet, COLUMNS, TRIB_RULE_SYNTAX, line, at + 1);
    end_row(sheet, line, 1);
}

// ---- JSON Lines

static void put_json_text(struct sheet *sheet, const char *text)
{
    put(sheet, "\"");
    for (; *text; text++) {
        const char one[2] = {*text, '\0'};
        put(sheet, *text == '\n' ? "\\n" : *text == '"' ? "\\\"" : one);
    }
    put(sheet, "\"");
}

// Members in any order, some of which nobody declared. Nothing is written as "", as null or not at
// all, which has no place.
static void put_json_row(struct sheet *sheet)
{
    const struct mutant *broken[COLUMNS];
    const size_t line = sheet->line, faults = choose(sheet, broken);
    const size_t begin = sheet->text.size, first = below(sheet, COLUMNS);
    put(sheet, "{\"other\": [1, {\"age\": 2}]");
    for (size_t i = 0; i < COLUMNS; i++) {
        const size_t c = (first + i) % COLUMNS;
        const char *text = broken[c] ? broken[c]->text : goods[c][below(sheet, 4)];
        const size_t way = *text ? 0 : below(sheet, 3);
        size_t place = 0;
        if (way < 2) {
            put(sheet, ", \"");
            put(sheet, names[c]);
            put(sheet, "\": ");
            place = sheet->text.size - begin + 1;
            if (way == 0)
                put_json_text(sheet, text);
            else
                put(sheet, "null");
        }
        if (broken[c])
            want(sheet, (int)c, broken[c]->rule, line, place);
    }
    put(sheet, "}");
    end_row(sheet, line, faults);
}

static void put_json_row_that_is_none(struct sheet *sheet)
{
    static const char *const wrongs[] = {
        "{\"age\": 1",
        "{\"age\": 1, \"age\": 2}", // twice
        "{\"age\": {}}",
        "{\"age\": 1} x",
        "[30]",
        "{\"age\": 01}",
        "{\"note\": \"open}",
    };
    want(sheet, COLUMNS, TRIB_RULE_SYNTAX, sheet->line, 0); // see assert_found
    put(sheet, wrongs[below(sheet, sizeof(wrongs) / sizeof(wrongs[0]))]);
    end_row(sheet, sheet->line, 1);
}

// ---- What is found

static void fill(struct sheet *sheet, enum form form, uint64_t seed)
{
    *sheet = (struct sheet){.form = form, .seed = seed, .line = 1};
    sheet->good_lines = calloc(ROWS, sizeof(*sheet->good_lines));
    assert_non_null(sheet->good_lines);
    for (int r = 0; r < ROWS; r++) {
        const size_t kind = below(sheet, 16);
        if (below(sheet, 50) == 0)
            put(sheet, "\n"); // no row
        if (form == JSON_LINES && kind < 2)
            put_json_row_that_is_none(sheet);
        else if (form == JSON_LINES)
            put_json_row(sheet);
        else if (kind == 0)
            put_csv_row_of_wrong_length(sheet);
        else if (kind == 1)
            put_csv_row_that_is_none(sheet);
        else
            put_csv_row(sheet);
    }
    assert_false(sheet->text.failed);
    for (size_t i = 0; i < MUTANT_COUNT; i++)
        assert_true(sheet->uses[i] > 50 || (form == JSON_LINES && mutants[i].is_csv));
}

static void assert_found(const struct sheet *sheet, const struct trib_findings *findings)
{
    for (size_t c = 0; c <= COLUMNS; c++) {
        for (int r = 0; r < TRIB_RULE_COUNT; r++) {
            const struct trib_violation *wanted = &sheet->wanted[c][r];
            const struct trib_violation *v = trib_findings_find(findings, c, (enum trib_rule)r);
            // Where a reader of JSON stumbles is its own affair: some byte of the line.
            const bool has_place =
                sheet->form == JSON_LINES && r == TRIB_RULE_SYNTAX && v->count > 0
                    ? v->place > 0
                    : v->place == wanted->place;
            if (v->count != wanted->count || v->line != wanted->line || !has_place)
                fail_msg("form %d: column %s, %s: %zu, first at line %zu column %zu, not %zu at "
                         "%zu column %zu",
                         sheet->form, c < COLUMNS ? names[c] : "(row)",
                         trib_rule_text((enum trib_rule)r), (size_t)v->count, v->line, v->place,
                         (size_t)wanted->count, wanted->line, wanted->place);
        }
    }
    assert_int_equal(findings->rows, ROWS);
    assert_int_equal(findings->bad_rows, sheet->bad_rows);
}

static struct trib_schema *columns(void)
{
    struct trib_schema *schema;
    char why[512];
    if (trib_schema_parse(declared, sizeof(declared) - 1, "s.ini", &schema, why, sizeof(why)))
        fail_msg("%s", why);
    assert_int_equal(schema->count, COLUMNS);
    return schema;
}

static struct trib_dataset *read_sheet(const struct trib_buf *text, enum form form,
                                       const struct trib_schema *schema,
                                       struct trib_findings *findings)
{
    const struct trib_table_text table = {"rows", (const char *)text->data, text->size};
    const struct trib_table_options options = {.is_json_lines = form == JSON_LINES,
                                               .scale = 1,
                                               .max_bad_share = 1,
                                               .keeps_values = form == CSV_FOR_A_PIPELINE};
    struct trib_dataset *dataset;
    assert_int_equal(trib_findings_init(findings, schema), TRIB_OK);
    assert_int_equal(trib_table_parse(&table, schema, &options, findings, &dataset), TRIB_OK);
    return dataset;
}

static void every_violation_of_ten_thousand_rows_is_counted(void **state)
{
    (void)state;
    struct trib_schema *schema = columns();
    for (int form = 0; form < FORM_COUNT; form++) {
        struct sheet sheet;
        struct trib_findings findings;
        fill(&sheet, (enum form)form, 20 + (uint64_t)form);
        struct trib_dataset *dataset = read_sheet(&sheet.text, sheet.form, schema, &findings);
        assert_found(&sheet, &findings);
        // The good rows are there, and no other.
        assert_int_equal(dataset->rows, sheet.good_count);
        assert_true(sheet.good_count > ROWS / 4 && sheet.bad_rows > ROWS / 4);
        assert_memory_equal(dataset->lines, sheet.good_lines,
                            sheet.good_count * sizeof(*sheet.good_lines));
        trib_dataset_free(dataset);
        trib_findings_fini(&findings);
        trib_buf_fini(&sheet.text);
        free(sheet.good_lines);
    }
    trib_schema_destroy(schema);
}

// Bytes anywhere become other bytes, so that nobody knows what is wrong: a row is good or bad, and
// each bad one has a violation in a line that there is.
static void rows_of_changed_bytes_are_good_or_counted(void **state)
{
    (void)state;
    static const char bytes[] = "\"\",\n\r\\{}[]:.-e9x\0\xff";
    struct trib_schema *schema = columns();
    for (int form = 0; form < FORM_COUNT; form++) {
        struct sheet sheet;
        struct trib_findings findings;
        uint64_t violations = 0;
        fill(&sheet, (enum form)form, 30 + (uint64_t)form);
        for (size_t i = 0; i < ROWS; i++)
            sheet.text.data[below(&sheet, sheet.text.size)] =
                (uint8_t)bytes[below(&sheet, sizeof(bytes) - 1)];
        struct trib_dataset *dataset = read_sheet(&sheet.text, sheet.form, schema, &findings);
        for (size_t c = 0; c <= COLUMNS; c++) {
            for (int r = 0; r < TRIB_RULE_COUNT; r++) {
                const struct trib_violation *v =
                    trib_findings_find(&findings, c, (enum trib_rule)r);
                assert_true(v->count == 0 ? v->line == 0 : v->line > 0);
                assert_true(v->line <= 3 * ROWS);
                violations += v->count;
            }
        }
        assert_int_equal(findings.rows, findings.bad_rows + dataset->rows);
        assert_true(violations >= findings.bad_rows && findings.bad_rows > sheet.bad_rows);
        assert_true(dataset->rows > 0);
        trib_dataset_free(dataset);
        trib_findings_fini(&findings);
        trib_buf_fini(&sheet.text);
        free(sheet.good_lines);
    }
    trib_schema_destroy(schema);
}

static int teardown(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    return files_teardown(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_violation_of_ten_thousand_rows_is_counted),
        cmocka_unit_test(rows_of_changed_bytes_are_good_or_counted),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
