#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/json_read.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "here"

static unsigned lines;
static char last[16384];

static void keep(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    lines++;
    (void)snprintf(last, sizeof(last), "%s", line);
}

static int set_up(void **state)
{
    (void)state;
    lines = 0;
    last[0] = '\0';
    trib_log_set_format(TRIB_LOG_TEXT);
    trib_log_set_sink(keep, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    trib_log_set_format(TRIB_LOG_TEXT);
    trib_log_set_sink(NULL, NULL);
    return 0;
}

static void one_event_is_one_line(void **state)
{
    (void)state;
    TRIB_INFO("device=%s came", "a\nb\x1b[2J");
    assert_int_equal(lines, 1);
    assert_string_equal(last, "info here: device=a?b?[2J came");
    TRIB_DEBUG("not wanted");
    assert_int_equal(lines, 1);
}

static void say(unsigned i)
{
    TRIB_WARN("id=flood n=%u", i);
}

static void a_place_writes_so_many_lines_and_counts_the_rest(void **state)
{
    (void)state;
    const uint64_t began_ms = trib_clock_mono_ms();
    for (unsigned i = 0; i < TRIB_LOG_BURST + 5000; i++)
        say(i);
    const unsigned more =
        (unsigned)((trib_clock_mono_ms() - began_ms) * TRIB_LOG_PER_SECOND / 1000) + 1;
    assert_in_range(lines, TRIB_LOG_BURST, TRIB_LOG_BURST + more);
    unsigned const written = lines;
    TRIB_INFO("another place is not held back");
    assert_int_equal(lines, written + 1);
    trib_clock_sleep_ms(2 * 1000 / TRIB_LOG_PER_SECOND);
    say(7);
    assert_int_equal(lines, written + 2);
    unsigned suppressed = 0;
    const char *at = strstr(last, "id=flood n=7 suppressed=");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "id=flood n=7 suppressed=%u", &suppressed), 1);
    assert_in_range(suppressed, 1, 5000);
    trib_clock_sleep_ms(2 * 1000 / TRIB_LOG_PER_SECOND);
    say(8);
    assert_string_equal(last, "warn here: id=flood n=8"); // it was told
}

// The value of a key of the last line, which must be an object that parses.
static const char *value_of(const char *key, double *ret_number)
{
    static char text[8192];
    struct trib_json_reader reader;
    bool is_found = false;
    trib_json_reader_init(&reader, last, strlen(last));
    for (;;) {
        const enum trib_json_event event = trib_json_next(&reader);
        assert_int_not_equal(event, TRIB_JSON_WRONG);
        if (event == TRIB_JSON_END)
            break;
        if ((event != TRIB_JSON_TEXT && event != TRIB_JSON_NUMBER) ||
            strcmp((const char *)reader.key.data, key) != 0)
            continue;
        is_found = true;
        if (event == TRIB_JSON_TEXT)
            (void)snprintf(text, sizeof(text), "%s", (const char *)reader.text.data);
        else
            assert_true(trib_json_number(&reader, ret_number));
    }
    trib_json_reader_fini(&reader);
    return is_found ? text : NULL;
}

static void a_line_may_be_an_object(void **state)
{
    (void)state;
    double number = 0;
    enum trib_log_format format;
    char text[4096];
    assert_true(trib_log_format_parse("json", &format));
    trib_log_set_format(format);
    TRIB_WARN("id=name-odd device=\"a\\b\n\xff\" came");
    assert_string_equal(value_of("level", &number), "warn");
    assert_string_equal(value_of("module", &number), "here");
    assert_string_equal(value_of("id", &number), "name-odd");
    assert_string_equal(value_of("text", &number), "id=name-odd device=\"a\\b??\" came");
    assert_non_null(value_of("time_ms", &number));
    assert_true(number > 1e12);
    TRIB_INFO("no id here");
    assert_null(value_of("id", &number));
    memset(text, '"', sizeof(text) - 1); // the longest there is
    text[sizeof(text) - 1] = '\0';
    TRIB_INFO("%s", text);
    assert_int_equal(strlen(value_of("text", &number)), 2047);
    assert_false(trib_log_format_parse("xml", &format));
    assert_true(trib_log_format_parse("text", &format));
    assert_int_equal(format, TRIB_LOG_TEXT);
}

static void the_first_error_line_may_be_kept(void **state)
{
    (void)state;
    char text[16];
    TRIB_ERROR("before");
    trib_log_keep(text, sizeof(text));
    TRIB_WARN("no error");
    assert_string_equal(text, "");
    TRIB_ERROR("rows.csv:7:\n3: no number"); // more than there is room for
    TRIB_ERROR("the next");
    assert_string_equal(text, "rows.csv:7:?3: ");
    trib_log_keep_end();
    text[0] = '\0';
    TRIB_ERROR("behind");
    assert_string_equal(text, "");
    assert_int_equal(lines, 5); // and all are on the log
}

static void a_limit_counts_what_it_holds_back(void **state)
{
    (void)state;
    struct trib_log_limit limit = {.second = 0};
    unsigned allowed = 0;
    for (int i = 0; i < 10; i++)
        allowed += trib_log_limit_allows(&limit, 2);
    assert_in_range(allowed, 2, 4); // a second may begin in between
    assert_int_equal(trib_log_limit_take(&limit), 10 - allowed);
    assert_int_equal(trib_log_limit_take(&limit), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_event_is_one_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_place_writes_so_many_lines_and_counts_the_rest, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_line_may_be_an_object, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_error_line_may_be_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_limit_counts_what_it_holds_back, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
