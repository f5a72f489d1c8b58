// The examples of docs/data.md: each block of steps that holds rows ("# a = 1 2") makes of them
// what it says ("# -> a = 0.5 1").
#include "tests/unit/prepare_rig.h"

#include "common/base/file.h"

enum {
    EXAMPLE_ROWS = 16,
    LINES_MAX = 16,
    WORDS_SIZE = 256,
};

struct line {
    char name[64];
    char words[EXAMPLE_ROWS][32];
    size_t count;
};

struct example {
    char text[2048]; // the block without its indent
    size_t first_line;
    struct line rows[LINES_MAX], wanted[LINES_MAX];
    size_t row_count, wanted_count;
};

static const char columns[] = "[file]\nmissing = ?\n"
                              "[column a]\nmin = -10\nmax = 10000\n"
                              "[column b]\nmin = -10\nmax = 10000\n"
                              "[column colour]\ntype = category\nvalues = red | blue\n"
                              "[column at]\ntype = time\nrole = time\n";

// "name = word word": the name may hold " = " nowhere, and '=' without blanks.
static void read_line(const char *text, struct line *line)
{
    const char *equals = strstr(text, " = ");
    assert_non_null(equals);
    (void)snprintf(line->name, sizeof(line->name), "%.*s", (int)(equals - text), text);
    for (const char *at = equals + 3; *at; at += strspn(at, " ")) {
        const size_t size = strcspn(at, " ");
        assert_true(line->count < EXAMPLE_ROWS && size < sizeof(line->words[0]));
        (void)snprintf(line->words[line->count++], sizeof(line->words[0]), "%.*s", (int)size, at);
        at += size;
    }
}

static void add_to_example(struct example *example, const char *text)
{
    const size_t used = strlen(example->text);
    (void)snprintf(example->text + used, sizeof(example->text) - used, "%s\n", text);
    if (strncmp(text, "# -> ", 5) == 0) {
        assert_true(example->wanted_count < LINES_MAX);
        read_line(text + 5, &example->wanted[example->wanted_count++]);
    } else if (text[0] == '#') {
        assert_true(example->row_count < LINES_MAX);
        read_line(text + 2, &example->rows[example->row_count++]);
    }
}

// The word of a column in a row; columns that an example does not name are the same in all rows.
static const char *word_of(const struct example *example, const char *column, size_t row)
{
    for (size_t i = 0; i < example->row_count; i++) {
        if (strcmp(example->rows[i].name, column) == 0)
            return example->rows[i].words[row];
    }
    return strcmp(column, "colour") == 0 ? "red" : strcmp(column, "at") == 0 ? "?" : "0";
}

static void read_rows(const struct example *example, const struct trib_schema *schema,
                      double *values)
{
    struct trib_findings findings;
    assert_int_equal(trib_findings_init(&findings, schema), TRIB_OK);
    for (size_t r = 0; r < example->rows[0].count; r++) {
        struct trib_field fields[8];
        for (size_t c = 0; c < schema->count; c++) {
            const char *word = word_of(example, schema->columns[c].name, r);
            fields[c] = (struct trib_field){.text = word, .size = strlen(word)};
        }
        if (!trib_schema_values(schema, fields, &findings, values + r * schema->count))
            fail_msg("docs/data.md:%zu: row %zu breaks the schema", example->first_line, r);
    }
    trib_findings_fini(&findings);
}

static void check_line(const struct example *example, const struct trib_prepare *prepare,
                       const struct line *line, const float *x, const float *weights)
{
    const size_t features = trib_prepare_features(prepare);
    const bool is_weight = strcmp(line->name, "(weight)") == 0;
    size_t f = 0;
    while (!is_weight && f < features &&
           strcmp(trib_prepare_feature_name(prepare, f), line->name) != 0)
        f++;
    if (f == features)
        fail_msg("docs/data.md:%zu: there is no feature '%s'", example->first_line, line->name);
    for (size_t r = 0; r < line->count; r++) {
        const double got = (double)(is_weight ? weights[r] : x[r * features + f]);
        char *end;
        const double wanted = strtod(line->words[r], &end);
        if (*end || fabs(got - wanted) > 1e-6)
            fail_msg("docs/data.md:%zu: %s of row %zu is %.7g, not %s", example->first_line,
                     line->name, r, got, line->words[r]);
    }
}

static void run_example(const struct example *example)
{
    struct trib_schema *schema = rig_schema(columns);
    struct trib_prepare *prepare = rig_parse(schema, example->text);
    double values[EXAMPLE_ROWS * 8];
    float x[EXAMPLE_ROWS * 32];
    float weights[EXAMPLE_ROWS];
    struct trib_prepare_run *run;
    const size_t rows = example->rows[0].count;
    size_t kept = 0;
    read_rows(example, schema, values);
    rig_listen();
    rig_fit(prepare, values, rows, schema->count, 2);
    trib_log_set_sink(NULL, NULL);
    assert_true(trib_prepare_features(prepare) <= 32);
    assert_int_equal(trib_prepare_run_create(prepare, 0, &run), TRIB_OK);
    assert_int_equal(trib_prepare_foresee(run, values, rows), TRIB_OK);
    for (size_t r = 0; r < rows; r++)
        kept += trib_prepare_row(run, values + r * schema->count,
                                 x + kept * trib_prepare_features(prepare),
                                 &weights[kept]) == TRIB_PREPARE_KEPT;
    for (size_t i = 0; i < example->wanted_count; i++) {
        if (example->wanted[i].count != kept)
            fail_msg("docs/data.md:%zu: %zu rows are kept, not %zu", example->first_line, kept,
                     example->wanted[i].count);
        check_line(example, prepare, &example->wanted[i], x, weights);
    }
    trib_prepare_run_destroy(run);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

// Blocks are indented by four blanks; steps that blank lines part are one example until it has
// rows.
static void every_example_of_the_page_is_true(void **state)
{
    (void)state;
    static struct example example;
    struct trib_buf page = {0};
    size_t examples = 0;
    size_t number = 0;
    assert_int_equal(trib_file_read(TEST_DOCS "data.md", 1 << 20, &page), TRIB_OK);
    for (char *line = (char *)page.data, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        number++;
        const bool is_block = strncmp(line, "    ", 4) == 0;
        const bool is_over = !is_block && example.wanted_count > 0;
        if (is_over) {
            run_example(&example);
            examples++;
        }
        if (is_over || (!is_block && line[0]))
            example = (struct example){.first_line = 0};
        if (is_block && (example.first_line || strncmp(line + 4, "[step ", 6) == 0)) {
            if (!example.first_line)
                example.first_line = number;
            add_to_example(&example, line + 4);
        }
    }
    trib_buf_fini(&page);
    assert_int_equal(examples, 21); // two of impute, one of each other kind, and the first
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_example_of_the_page_is_true)};
    return RUN_TESTS(tests);
}
