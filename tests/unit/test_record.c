#include "common/data/record.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#include "common/base/limits.h"

static const struct trib_record_options plain = {.separator = ','};
static const struct trib_record_options loose = {.separator = ',', .trim = true, .comment = "#"};

// "[a|b]@1 !@2": the records, their fields and lines; '!' is a broken one. Quoted fields have
// their quotes.
static const char *told_of(const struct trib_record_options *options, const char *text, size_t size)
{
    static char told[1024];
    struct trib_record_reader r;
    enum trib_record_event event;
    size_t used = 0;
    trib_record_reader_init(&r, options, text, size);
    told[0] = '\0';
    for (;;) {
        assert_int_equal(trib_record_next(&r, &event), TRIB_OK);
        if (event == TRIB_RECORD_END)
            break;
        used += (size_t)snprintf(told + used, sizeof(told) - used, "%s%s", used ? " " : "",
                                 event == TRIB_RECORD_BROKEN ? "!" : "[");
        for (size_t i = 0; event == TRIB_RECORD_WHOLE && i < r.count; i++) {
            const struct trib_field *f = &r.fields[i];
            const char *quote = f->is_quoted ? "'" : "";
            assert_int_equal(strlen(f->text), f->size);
            assert_int_equal(f->place, i + 1);
            used += (size_t)snprintf(told + used, sizeof(told) - used, "%s%s%s%s", i ? "|" : "",
                                     quote, f->text, quote);
        }
        used += (size_t)snprintf(told + used, sizeof(told) - used, "%s@%zu",
                                 event == TRIB_RECORD_BROKEN ? "" : "]", r.record_line);
    }
    trib_record_reader_fini(&r);
    return told;
}

static const char *told(const struct trib_record_options *options, const char *text)
{
    return told_of(options, text, strlen(text));
}

static void the_examples_of_rfc_4180_are_read(void **state)
{
    (void)state;
    // Section 2, rules 1 to 7.
    assert_string_equal(told(&plain, "aaa,bbb,ccc\r\nzzz,yyy,xxx\r\n"),
                        "[aaa|bbb|ccc]@1 [zzz|yyy|xxx]@2");
    assert_string_equal(told(&plain, "aaa,bbb,ccc\r\nzzz,yyy,xxx"),
                        "[aaa|bbb|ccc]@1 [zzz|yyy|xxx]@2");
    assert_string_equal(told(&plain, "\"aaa\",\"bbb\",\"ccc\"\r\nzzz,yyy,xxx"),
                        "['aaa'|'bbb'|'ccc']@1 [zzz|yyy|xxx]@2");
    assert_string_equal(told(&plain, "\"aaa\",\"b\r\nbb\",\"ccc\"\r\nzzz,yyy,xxx"),
                        "['aaa'|'b\r\nbb'|'ccc']@1 [zzz|yyy|xxx]@3");
    assert_string_equal(told(&plain, "\"aaa\",\"b\"\"bb\",\"ccc\""), "['aaa'|'b\"bb'|'ccc']@1");
    assert_string_equal(told(&plain, " a , b\n"), "[ a | b]@1"); // rule 4: blanks are of the field
}

static void empty_fields_are_fields(void **state)
{
    (void)state;
    assert_string_equal(told(&plain, ",\n\"\",\n,,x"), "[|]@1 [''|]@2 [||x]@3");
    assert_string_equal(told(&plain, ""), "");
    assert_string_equal(told(&plain, "\n\r\n\n"), "");
    assert_string_equal(told(&plain, "a\n\nb\n\n"), "[a]@1 [b]@3");
    assert_string_equal(told(&plain, "a\rb,c\n"), "[a\rb|c]@1"); // a CR alone ends no line
}

static void blanks_and_comments_are_passed_over_when_declared(void **state)
{
    (void)state;
    assert_string_equal(told(&loose, "# 1\n a ,\t\"b \" , c c \n  \n#\nx,#y\n"),
                        "[a|'b '|c c]@2 [x|#y]@5");
    assert_string_equal(told(&plain, "#1\n"), "[#1]@1");
    const struct trib_record_options tab = {.separator = '\t', .trim = true};
    assert_string_equal(told(&tab, "a\t\t b \n\t\n"), "[a||b]@1 [|]@2"); // tabs are no blanks then
    const struct trib_record_options bar = {.separator = '|', .comment = "//"};
    assert_string_equal(told(&bar, "//x\na,b|c\n/|/"), "[a,b|c]@2 [/|/]@3");
}

static void a_broken_record_costs_its_line_only(void **state)
{
    (void)state;
    assert_string_equal(told(&plain, "a,b\"c\nd,e\n"), "!@1 [d|e]@2");
    assert_string_equal(told(&plain, "\"a\"x,b\nd,e\n"), "!@1 [d|e]@2");
    assert_string_equal(told(&plain, "x\n\"a,b\nd,e\nf"), "[x]@1 !@2 [d|e]@3 [f]@4");
    assert_string_equal(told(&plain, "\"a\n"), "!@1");
    assert_string_equal(told(&plain, "\""), "!@1");
    assert_string_equal(told_of(&plain, "a\0b,c\nd", 7), "!@1 [d]@2");
    assert_string_equal(told_of(&plain, "\"\0\",c\nd", 7), "!@1 [d]@2");
}

static void what_is_quoted_comes_back(void **state)
{
    (void)state;
    static const char letters[] = "ab,\"\n\r ;#";
    uint64_t seed = 7;
    for (int round = 0; round < 2000; round++) {
        char wanted[4][16];
        char text[256];
        size_t used = 0;
        for (int f = 0; f < 4; f++) { // random fields, each in quotes
            size_t size = test_rand(&seed) % 10;
            text[used++] = '"';
            for (size_t i = 0; i < size; i++) {
                const char c = letters[test_rand(&seed) % (sizeof(letters) - 1)];
                wanted[f][i] = c;
                text[used++] = c;
                if (c == '"')
                    text[used++] = c;
            }
            wanted[f][size] = '\0';
            text[used++] = '"';
            text[used++] = f == 3 ? '\n' : ',';
        }
        struct trib_record_reader r;
        enum trib_record_event event;
        trib_record_reader_init(&r, round % 2 ? &loose : &plain, text, used);
        assert_int_equal(trib_record_next(&r, &event), TRIB_OK);
        assert_int_equal(event, TRIB_RECORD_WHOLE);
        assert_int_equal(r.count, 4);
        for (int f = 0; f < 4; f++)
            assert_string_equal(r.fields[f].text, wanted[f]);
        assert_int_equal(trib_record_next(&r, &event), TRIB_OK);
        assert_int_equal(event, TRIB_RECORD_END);
        trib_record_reader_fini(&r);
    }
}

static void too_many_fields_are_a_limit(void **state)
{
    (void)state;
    struct trib_buf text = {0};
    struct trib_record_reader r;
    enum trib_record_event event;
    for (size_t i = 0; i < TRIB_COLUMNS_MAX - 1; i++)
        trib_buf_text(&text, ",");
    for (int more = 0; more < 2; more++) {
        trib_record_reader_init(&r, &plain, (const char *)text.data, text.size);
        assert_int_equal(trib_record_next(&r, &event), more ? TRIB_ERR_LIMIT : TRIB_OK);
        assert_int_equal(r.count, TRIB_COLUMNS_MAX);
        trib_record_reader_fini(&r);
        trib_buf_text(&text, ",");
    }
    trib_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_rfc_4180_are_read),
        cmocka_unit_test(empty_fields_are_fields),
        cmocka_unit_test(blanks_and_comments_are_passed_over_when_declared),
        cmocka_unit_test(a_broken_record_costs_its_line_only),
        cmocka_unit_test(what_is_quoted_comes_back),
        cmocka_unit_test(too_many_fields_are_a_limit),
    };
    return RUN_TESTS(tests);
}
