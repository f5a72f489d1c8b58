#include "common/base/json_read.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

// The events of a text, a letter each; texts and keys follow theirs.
static const char *told(const char *json)
{
    static char text[512];
    static const char letters[] = ".!{}[]sntf0";
    struct trib_json_reader reader;
    enum trib_json_event event;
    size_t used = 0;
    trib_json_reader_init(&reader, json, strlen(json));
    do {
        event = trib_json_next(&reader);
        text[used++] = letters[event];
        if (event == TRIB_JSON_TEXT || event == TRIB_JSON_NUMBER) {
            assert_int_equal(strlen((const char *)reader.text.data), reader.text.size);
            memcpy(text + used, reader.text.data, reader.text.size);
            used += reader.text.size;
        }
    } while (event != TRIB_JSON_END && event != TRIB_JSON_WRONG);
    assert_int_equal(trib_json_next(&reader), event); // and it stays so
    text[used] = '\0';
    trib_json_reader_fini(&reader);
    return text;
}

static void every_kind_of_value_is_an_event(void **state)
{
    (void)state;
    assert_string_equal(told("null"), "0.");
    assert_string_equal(told(" [ ] "), "[].");
    assert_string_equal(told("{}"), "{}.");
    assert_string_equal(told("[true,false,null,\"a\",-1.5e+3]"), "[tf0san-1.5e+3].");
    assert_string_equal(told("{\"a\":{\"b\":[1,{}]},\"c\":2}"), "{{[n1{}]}n2}.");
}

static void keys_are_those_of_their_values(void **state)
{
    (void)state;
    static const char json[] = "{\"one\":1, \"t\\u0077o\":{\"x\":[3]}, \"\":4}";
    struct trib_json_reader r;
    uint64_t whole;
    trib_json_reader_init(&r, json, sizeof(json) - 1);
    assert_int_equal(trib_json_next(&r), TRIB_JSON_OPEN_OBJECT);
    assert_int_equal(trib_json_next(&r), TRIB_JSON_NUMBER);
    assert_string_equal((const char *)r.key.data, "one");
    assert_true(trib_json_whole(&r, &whole));
    assert_int_equal(whole, 1);
    assert_int_equal(trib_json_next(&r), TRIB_JSON_OPEN_OBJECT);
    assert_string_equal((const char *)r.key.data, "two");
    assert_true(trib_json_skip(&r));
    assert_int_equal(trib_json_next(&r), TRIB_JSON_NUMBER);
    assert_string_equal((const char *)r.key.data, "");
    assert_int_equal(trib_json_next(&r), TRIB_JSON_CLOSE_OBJECT);
    assert_int_equal(trib_json_next(&r), TRIB_JSON_END);
    trib_json_reader_fini(&r);
}

static void escapes_are_decoded_to_utf8(void **state)
{
    (void)state;
    assert_string_equal(told("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), "s\"\\/\b\f\n\r\t.");
    assert_string_equal(told("\"\\u00e9\\u20ac\\ud83d\\ude00\""),
                        "s\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80.");
    static const char *const bad[] = {
        "\"\\x\"",     "\"\\u12\"",          "\"\\u0000\"", "\"\\ud800\"",
        "\"\\ude00\"", "\"\\ud800\\n\"",     "\"a",         "\"\\",
        "\"a\nb\"",    "\"\\ud800\\u0041\"", "\"\\ug000\""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_string_equal(told(bad[i]), "!");
}

static void numbers_are_those_of_the_grammar(void **state)
{
    (void)state;
    static const char *const good[] = {"0", "-0", "10", "1.25", "1e5", "1E-5", "-0.0e+00"};
    static const char *const bad[] = {"-",  "+1", ".5",  "1.",  "1e",  "1e+",
                                      "01", "-a", "0x1", "NaN", "inf", "1 2"};
    char wanted[16];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        (void)snprintf(wanted, sizeof(wanted), "n%s.", good[i]);
        assert_string_equal(told(good[i]), wanted);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_non_null(strchr(told(bad[i]), '!'));
}

static void numbers_out_of_range_are_told(void **state)
{
    (void)state;
    struct trib_json_reader r;
    double real = 7;
    uint64_t whole = 7;
    static const char json[] = "[1e999,-1,1.5,99999999999999999999,2.5]";
    trib_json_reader_init(&r, json, sizeof(json) - 1);
    assert_int_equal(trib_json_next(&r), TRIB_JSON_OPEN_ARRAY);
    assert_int_equal(trib_json_next(&r), TRIB_JSON_NUMBER);
    assert_false(trib_json_number(&r, &real));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(trib_json_next(&r), TRIB_JSON_NUMBER);
        assert_false(trib_json_whole(&r, &whole));
    }
    assert_true(real == 7 && whole == 7);
    assert_int_equal(trib_json_next(&r), TRIB_JSON_NUMBER);
    assert_true(trib_json_number(&r, &real) && real == 2.5);
    trib_json_reader_fini(&r);
}

static void what_is_not_json_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         " ",     "{",          "[",     "]",  "[1", "[1,]", "[,1]", "[1 2]", "{\"a\"}",
        "{\"a\":}", "{a:1}", "{\"a\":1,}", "{1:1}", "[}", "{]", "tru",  "nul",  "{} {}", "[1]x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_non_null(strchr(told(bad[i]), '!'));
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    static const char json[] = "{\"a\":[1.5,true,{\"b\\u00e9\":\"c\"}],\"d\":null}";
    for (size_t size = 0; size < sizeof(json) - 1; size++) {
        struct trib_json_reader r;
        enum trib_json_event event;
        trib_json_reader_init(&r, json, size);
        do
            event = trib_json_next(&r);
        while (event != TRIB_JSON_WRONG && event != TRIB_JSON_END);
        assert_int_equal(event, TRIB_JSON_WRONG);
        assert_non_null(r.why);
        trib_json_reader_fini(&r);
    }
}

static void depth_has_a_bound(void **state)
{
    (void)state;
    char json[2 * TRIB_JSON_DEPTH_MAX + 3] = "";
    for (int depth = TRIB_JSON_DEPTH_MAX; depth <= TRIB_JSON_DEPTH_MAX + 1; depth++) {
        memset(json, '[', (size_t)depth);
        memset(json + depth, ']', (size_t)depth);
        json[2 * depth] = '\0';
        assert_int_equal(strchr(told(json), '!') == NULL, depth == TRIB_JSON_DEPTH_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_is_an_event),
        cmocka_unit_test(keys_are_those_of_their_values),
        cmocka_unit_test(escapes_are_decoded_to_utf8),
        cmocka_unit_test(numbers_are_those_of_the_grammar),
        cmocka_unit_test(numbers_out_of_range_are_told),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(depth_has_a_bound),
    };
    return RUN_TESTS(tests);
}
