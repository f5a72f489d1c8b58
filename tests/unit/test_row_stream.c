#include "common/data/row_stream.h"
#include "tests/unit/files.h"

#include <dirent.h>

#include "common/base/rand.h"
#include "common/data/record.h"
#include "common/data/table.h"

static const char declared[] = "[file]\nseparator = ;\nmissing = ?\ncomment = #\n"
                               "[column age]\ntype = int\nmin = 0\nmax = 120\n"
                               "[column colour]\ntype = category\nvalues = red | blue\nother = no\n"
                               "[column name]\ntype = text\nrole = id\nglob = n*\n"
                               "[column y]\ntype = bool\nrole = label\n";

static struct trib_schema *schema;
static struct trib_row_store *store;
static struct trib_row_stream *stream;
static char store_dir[TRIB_PATH_MAX + 1];

static int begin(void **state)
{
    (void)state;
    char why[256];
    struct trib_row_store_options options = {.bytes_max = 8 * TRIB_ROW_STORE_BYTES_MIN,
                                             .dir = store_dir};
    assert_int_equal(trib_path_join(store_dir, files_dir, "rows"), TRIB_OK);
    assert_int_equal(trib_schema_parse(declared, strlen(declared), "s", &schema, why, sizeof(why)),
                     TRIB_OK);
    trib_row_columns_digest(schema, options.columns);
    assert_int_equal(trib_row_store_open(&options, 1, &store), TRIB_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    char path[TRIB_PATH_MAX + 1];
    const struct dirent *entry;
    trib_row_stream_destroy(stream);
    trib_row_store_close(store);
    trib_schema_destroy(schema);
    stream = NULL;
    DIR *entries = opendir(store_dir);
    while (entries && (entry = readdir(entries))) {
        if (entry->d_name[0] != '.' && !trib_path_join(path, store_dir, entry->d_name))
            (void)unlink(path);
    }
    (void)closedir(entries);
    return rmdir(store_dir);
}

// Feed a text in pieces of at most `piece` bytes.
static enum trib_err feed(const struct trib_row_stream_options *options, const char *text,
                          size_t size, size_t piece)
{
    enum trib_err err = TRIB_OK;
    trib_row_stream_destroy(stream);
    assert_int_equal(trib_row_stream_create(options, &stream), TRIB_OK);
    for (size_t at = 0; !err && at < size; at += piece)
        err = trib_row_stream_put(stream, text + at, size - at < piece ? size - at : piece, 1);
    if (!err)
        err = trib_row_stream_end(stream, 1);
    if (!err)
        err = trib_row_store_flush(store);
    return err;
}

static struct trib_row_stream_options csv_options(void)
{
    return (struct trib_row_stream_options){.schema = schema, .store = store};
}

static enum trib_err collect(void *user, const struct trib_row *row)
{
    trib_buf_append(user, row->text, row->size);
    trib_buf_text(user, "\n");
    return TRIB_OK;
}

static void assert_rows(uint64_t after, const char *wanted)
{
    struct trib_buf got = {0};
    const struct trib_row_query query = {.dir = store_dir, .after = after};
    assert_int_equal(trib_row_store_read(&query, collect, &got), TRIB_OK);
    assert_string_equal(got.data ? (const char *)got.data : "", wanted);
    trib_buf_fini(&got);
}

static void assert_violation(size_t column, enum trib_rule rule, uint64_t count, size_t line,
                             size_t place)
{
    const struct trib_violation *v =
        trib_findings_find(trib_row_stream_findings(stream), column, rule);
    assert_int_equal(v->count, count);
    if (count > 0) {
        assert_int_equal(v->line, line);
        assert_int_equal(v->place, place);
    }
}

static void pieces_of_any_size_make_the_same_rows(void **state)
{
    (void)state;
    static const char text[] = "# a comment\r\n\n"
                               " 30 ; red ; \"n;1\n\"\"x\"\"\" ;1\r\n" // lines 3 and 4
                               "?;red;n2;1\n"
                               "41;blue;;0\n"
                               "5;re\"d;n3;1\n"
                               "5;red;\"n4;1\n" // never closed
                               "6;red;n5\n"
                               "7;red;\"n6\";no"; // no line end
    static const char wanted[] = "30;red;\"n;1\n\"\"x\"\"\";1\n41;blue;;0\n7;red;\"n6\";no\n";
    const struct trib_row_stream_options options = csv_options();
    for (size_t piece = 1; piece <= sizeof(text); piece++) {
        const uint64_t after = trib_row_store_state(store).next - 1;
        assert_int_equal(feed(&options, text, sizeof(text) - 1, piece), TRIB_OK);
        assert_rows(after, wanted);
        assert_int_equal(trib_row_stream_findings(stream)->rows, 7);
        assert_int_equal(trib_row_stream_findings(stream)->bad_rows, 4);
        assert_violation(0, TRIB_RULE_MISSING, 1, 5, 1);
        assert_violation(4, TRIB_RULE_SYNTAX, 2, 7, 2);
        assert_violation(4, TRIB_RULE_COLUMNS, 1, 9, 4);
    }
}

static void json_lines_are_stored_as_the_same_rows(void **state)
{
    (void)state;
    static const char text[] =
        "{\"y\": true, \"age\": 30, \"colour\": \"red\", \"more\": [1]}\n  \r\n"
        "{\"age\": 4, \"colour\": \"blue\", \"name\": \"n\\n;\\\"\", \"y\": 0}\n"
        "{\"age\": 4, \"colour\": \"blue\"\n"
        "{\"age\": 400, \"colour\": \"red\", \"y\": 1}";
    struct trib_row_stream_options options = csv_options();
    options.is_json_lines = true;
    for (size_t piece = 1; piece <= sizeof(text); piece += 3) {
        const uint64_t after = trib_row_store_state(store).next - 1;
        assert_int_equal(feed(&options, text, sizeof(text) - 1, piece), TRIB_OK);
        assert_rows(after, "30;\"red\";;true\n4;\"blue\";\"n\n;\"\"\";0\n");
        assert_violation(4, TRIB_RULE_SYNTAX, 1, 4, 28);
        assert_violation(0, TRIB_RULE_RANGE, 1, 5, 9);
    }
}

static void a_header_places_the_columns_or_stops_the_stream(void **state)
{
    (void)state;
    struct trib_row_stream_options options = csv_options();
    options.header = TRIB_CSV_HEADER_YES;
    static const char text[] = "y;extra;name;colour;age\n1;x;n1;red;30\n";
    assert_int_equal(feed(&options, text, strlen(text), 5), TRIB_OK);
    assert_rows(0, "30;red;n1;1\n");
    static const char lacking[] = "y;extra;name;colour\n1;x;n1;red\n";
    assert_int_equal(feed(&options, lacking, strlen(lacking), 100), TRIB_ERR_INVAL);
    assert_string_equal(trib_row_stream_why(stream), "line 1: no column is named 'age'");
    options.header = TRIB_CSV_HEADER_SKIP;
    static const char skipped[] = "whatever\n31;red;n1;1\n";
    assert_int_equal(feed(&options, skipped, strlen(skipped), 100), TRIB_OK);
    assert_rows(1, "31;red;n1;1\n");
}

static void a_line_that_is_too_long_costs_itself_only(void **state)
{
    (void)state;
    static char text[200000];
    struct trib_row_stream_options options = csv_options();
    for (int kind = 0; kind < 4; kind++) {
        const uint64_t after = trib_row_store_state(store).next - 1;
        size_t at = (size_t)snprintf(text, sizeof(text), "1;red;n;1\n2;red;%s",
                                     kind % 2 ? "\"n" : "n"); // in a quote, or not
        memset(text + at, 'x', 150000);
        at += 150000;
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s;1\n3;red;n;1\n",
                               kind % 2 ? "\"" : "");
        assert_int_equal(feed(&options, text, at, kind / 2 ? 1000 : sizeof(text)), TRIB_OK);
        assert_rows(after, "1;red;n;1\n3;red;n;1\n");
        assert_violation(4, TRIB_RULE_SYNTAX, 1, 2, 0);
    }
}

// ---- Ten thousand rows, each damaged in one way that is known

enum {
    MUTANTS = 10000
};

// Append a row that breaks `rule` (TRIB_RULE_COUNT: none) in `column`.
static void add_mutant(struct trib_buf *text, struct trib_rng *rng, enum trib_rule rule,
                       size_t *ret_column)
{
    static const char *const good[] = {"44", "red", "name", "yes"};
    static const char *const wrong_type[] = {"4x", "", "", "maybe"};
    const char *fields[4];
    memcpy(fields, good, sizeof(fields));
    *ret_column = 4;
    switch (rule) {
    case TRIB_RULE_SYNTAX: fields[trib_rng_below(rng, 4)] = "a\"b"; break;
    case TRIB_RULE_COLUMNS: fields[2] = "n;n"; break;
    case TRIB_RULE_MISSING:
        *ret_column = trib_rng_below(rng, 2) ? 0 : 3;
        fields[*ret_column] = trib_rng_below(rng, 2) ? "?" : "";
        break;
    case TRIB_RULE_TYPE:
        *ret_column = trib_rng_below(rng, 2) ? 0 : 3;
        fields[*ret_column] = wrong_type[*ret_column];
        break;
    case TRIB_RULE_RANGE:
        *ret_column = 0;
        fields[0] = trib_rng_below(rng, 2) ? "121" : "-1";
        break;
    case TRIB_RULE_ENUM:
        *ret_column = 1;
        fields[1] = "Red";
        break;
    case TRIB_RULE_PATTERN:
        *ret_column = 2;
        fields[2] = "Name";
        break;
    case TRIB_RULE_COUNT: break;
    }
    trib_buf_printf(text, "%s;%s;%s;%s\n", fields[0], fields[1], fields[2], fields[3]);
}

static void every_mutant_is_counted_under_its_rule(void **state)
{
    (void)state;
    uint64_t wanted[5][TRIB_RULE_COUNT] = {{0}};
    uint64_t good = 0;
    struct trib_buf text = {0};
    struct trib_rng rng;
    struct trib_findings findings;
    struct trib_dataset *dataset;
    const struct trib_row_stream_options options = csv_options();
    const struct trib_table_options table = {.scale = 1, .max_bad_share = 1};
    trib_rng_init(&rng, 34, "mutants", 0, NULL);
    for (int i = 0; i < MUTANTS; i++) {
        size_t column;
        const enum trib_rule rule = (enum trib_rule)trib_rng_below(&rng, TRIB_RULE_COUNT + 1);
        add_mutant(&text, &rng, rule, &column);
        if (rule == TRIB_RULE_COUNT)
            good++;
        else
            wanted[column][rule]++;
    }
    assert_int_equal(feed(&options, (const char *)text.data, text.size, 777), TRIB_OK);
    const char *path = files_put(0, "t.csv", text.data, text.size);
    assert_int_equal(trib_table_read(path, schema, &table, &findings, &dataset), TRIB_OK);
    for (size_t c = 0; c < 5; c++) {
        for (int rule = 0; rule < TRIB_RULE_COUNT; rule++) {
            const struct trib_findings *both[] = {&findings, trib_row_stream_findings(stream)};
            for (int i = 0; i < 2; i++)
                assert_int_equal(trib_findings_find(both[i], c, (enum trib_rule)rule)->count,
                                 wanted[c][rule]);
        }
    }
    assert_true(good > 1000 && good < 2000);
    assert_int_equal(dataset->rows, good);
    assert_int_equal(trib_row_store_state(store).next, good + 1);
    trib_dataset_free(dataset);
    trib_findings_fini(&findings);
    trib_buf_fini(&text);
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"t.csv", NULL};
    return files_teardown(names);
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(pieces_of_any_size_make_the_same_rows),
        STREAM_TEST(json_lines_are_stored_as_the_same_rows),
        STREAM_TEST(a_header_places_the_columns_or_stops_the_stream),
        STREAM_TEST(a_line_that_is_too_long_costs_itself_only),
        STREAM_TEST(every_mutant_is_counted_under_its_rule),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
