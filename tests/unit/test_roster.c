#include "coordinator/roster.h"
#include "tests/unit/files.h"

#include <sys/stat.h>

#include "common/base/bytes.h"
#include "common/privacy/secagg.h"

#define HEAD      "tributary-roster 1 unsigned meters\n"
#define HEAD_SIGN "tributary-roster 1 signed meters\n"
#define KEY_A     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"
#define KEY_B     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI"
#define SIG       KEY_A "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define NAME_63   "n23456789012345678901234567890123456789012345678901234567890123"

static const uint8_t seed[TRIB_SIGN_SEED_SIZE] = {1, 2, 3};
static const uint8_t other_seed[TRIB_SIGN_SEED_SIZE] = {9};

static enum trib_err parse(const char *data, size_t size, struct trib_roster_text *text,
                           struct trib_roster *ret_roster)
{
    *text = (struct trib_roster_text){
        .data = (const uint8_t *)data, .size = size, .file = "roster.txt"};
    return trib_roster_parse(text, ret_roster);
}

static struct trib_roster good(const char *data)
{
    struct trib_roster_text text;
    struct trib_roster roster;
    if (parse(data, strlen(data), &text, &roster))
        fail_msg("%s", text.why);
    return roster;
}

static void an_export_is_signed_and_read_back(void **state)
{
    (void)state;
    uint8_t key[TRIB_SIGN_KEY_SIZE];
    struct trib_buf buf = {0};
    struct trib_roster_text text = {.file = "roster.txt"};
    struct trib_roster export = good(HEAD "d0 " KEY_A "\n" NAME_63 " " KEY_B "=\n");
    assert_false(export.is_signed);
    assert_string_equal(export.population, "meters");
    assert_int_equal(export.count, 2);
    assert_string_equal(export.lines[1].name, NAME_63);
    assert_int_equal(export.lines[1].sign_key[31], 2);

    trib_roster_vouch(&export, seed);
    trib_roster_print(&buf, &export);
    assert_false(buf.failed);
    struct trib_roster back = good((const char *)buf.data);
    assert_true(back.is_signed);
    assert_int_equal(back.count, 2);
    assert_memory_equal(back.lines, export.lines, 2 * sizeof(*back.lines));
    trib_sign_public(seed, key);
    assert_int_equal(trib_roster_check(&back, key, &text), TRIB_OK);
    assert_true(
        trib_roster_verify(key, "meters", "d0", back.lines[0].sign_key, back.lines[0].signature));
    trib_roster_fini(&back);
    trib_roster_fini(&export);
    trib_buf_fini(&buf);
}

static void what_is_printed_unsigned_is_the_text_that_was_read(void **state)
{
    (void)state;
    static const char text[] = HEAD "d0 " KEY_A "\nd1 " KEY_B "\n";
    struct trib_buf buf = {0};
    struct trib_roster roster = good(text);
    trib_roster_print(&buf, &roster);
    assert_string_equal((const char *)buf.data, text);
    trib_buf_fini(&buf);
    trib_roster_fini(&roster);
}

static void a_roster_of_nobody_is_a_roster(void **state)
{
    (void)state;
    struct trib_roster roster = good(HEAD);
    assert_int_equal(roster.count, 0);
    trib_roster_fini(&roster);
}

static void a_signature_that_is_not_the_keys_is_named(void **state)
{
    (void)state;
    uint8_t key[TRIB_SIGN_KEY_SIZE];
    struct trib_roster_text text = {.file = "roster.txt"};
    struct trib_roster roster = good(HEAD "d0 " KEY_A "\nd1 " KEY_B "\n");
    trib_sign_public(seed, key);
    trib_roster_vouch(&roster, seed);
    trib_roster_sign(other_seed, "meters", "d1", roster.lines[1].sign_key,
                     roster.lines[1].signature);
    assert_int_equal(trib_roster_check(&roster, key, &text), TRIB_ERR_AUTH);
    assert_non_null(strstr(text.why, "roster.txt:3: the signature of d1"));

    trib_roster_vouch(&roster, seed);
    assert_int_equal(trib_roster_check(&roster, key, &text), TRIB_OK);
    memcpy(roster.population, "metres", 7); // it vouches within one population
    assert_int_equal(trib_roster_check(&roster, key, &text), TRIB_ERR_AUTH);
    assert_non_null(strstr(text.why, "roster.txt:2: "));
    trib_roster_fini(&roster);
}

static void every_malformed_line_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", ":1: the file is empty"},
        {"\n", ":1: is no roster"},
        {"tributary-roster 1 unsigned meters", ":1: is no roster"},
        {"tributary-roster 2 unsigned meters\n", ":1: is no roster"},
        {"tributary-roster 1 countersigned meters\n", ":1: is no roster"},
        {"d0 " KEY_A "\n", ":1: is no roster"},
        {"tributary-roster 1 unsigned \n", ":1: the population"},
        {"tributary-roster 1 signed " NAME_63 "x\n", ":1: the population"},
        {"tributary-roster 1 signed a\tb\n", ":1: the population"},
        {HEAD "\n", ":2: wants a name and a key"},
        {HEAD "d0\n", ":2: wants a name and a key"},
        {HEAD "d0 " KEY_A " " SIG "\n", ":2: wants a name and a key"},
        {HEAD "d0  " KEY_A "\n", ":2: wants a name and a key"},
        {HEAD "d0 " KEY_A " \n", ":2: wants a name and a key"},
        {HEAD " " KEY_A "\n", ":2: the name"},
        {HEAD NAME_63 "x " KEY_A "\n", ":2: the name"},
        {HEAD "d\x1b[2J " KEY_A "\n", ":2: the name"},
        {HEAD "d\x7f " KEY_A "\n", ":2: the name"},
        {HEAD "d0 " KEY_A "\r\n", ":2: the key"},
        {HEAD "d0 " KEY_A "A\n", ":2: the key"},
        {HEAD "d0 AAAA\n", ":2: the key"},
        {HEAD "d0 " SIG "\n", ":2: the key"},
        {HEAD "d0 " KEY_A "\nd1 !" KEY_B "\n", ":3: the key"},
        {HEAD "d0 " KEY_A "\nd0 " KEY_B "\n", ":3: the name was there before"},
        {HEAD "d0 " KEY_A "\nd1 " KEY_A "\n", ":3: the key was there before"},
        {HEAD "d0 " KEY_A "\nd1 " KEY_B, ":3: is too long"},
        {HEAD "d0 " KEY_A "\n" SIG SIG SIG SIG "\n", ":3: is too long"},
        {HEAD_SIGN "d0 " KEY_A "\n", ":2: wants a name, a key and a signature"},
        {HEAD_SIGN "d0 " KEY_A " " KEY_B "\n", ":2: the signature"},
        {HEAD_SIGN "d0 " KEY_A " " SIG " x\n", ":2: wants a name, a key and a signature"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct trib_roster_text text;
        struct trib_roster roster;
        enum trib_err err = parse(bad[i].text, strlen(bad[i].text), &text, &roster);
        if (err != TRIB_ERR_INVAL || !strstr(text.why, bad[i].says) ||
            strncmp(text.why, "roster.txt:", 11) != 0)
            fail_msg("'%s' gave %d '%s', wanted '%s'", bad[i].text, err, text.why, bad[i].says);
    }
}

static void a_nul_and_a_huge_file_are_refused(void **state)
{
    (void)state;
    static const char nul[] = HEAD "d0\0 " KEY_A "\n";
    struct trib_roster_text text;
    struct trib_roster roster;
    assert_int_equal(parse(nul, sizeof(nul) - 1, &text, &roster), TRIB_ERR_INVAL);
    assert_non_null(strstr(text.why, "roster.txt:2: "));
    assert_int_equal(parse(HEAD, TRIB_ROSTER_FILE_MAX + 1u, &text, &roster), TRIB_ERR_INVAL);
    assert_non_null(strstr(text.why, "is larger than"));
}

// A cut or a changed bit is a mistake that is named, or another roster; never a crash.
static void no_cut_and_no_flipped_bit_escapes_the_parser(void **state)
{
    (void)state;
    static const char whole[] = HEAD_SIGN "d0 " KEY_A " " SIG "\nd1 " KEY_B " " SIG "\n";
    const size_t size = sizeof(whole) - 1;
    char copy[sizeof(whole)];
    struct trib_roster_text text;
    struct trib_roster roster;
    for (size_t i = 0; i < size; i++) {
        bool is_line_end = i > 0 && whole[i - 1] == '\n';
        enum trib_err err = parse(whole, i, &text, &roster);
        assert_int_equal(err, is_line_end ? TRIB_OK : TRIB_ERR_INVAL);
        if (!err)
            trib_roster_fini(&roster);
    }
    for (size_t bit = 0; bit < size * 8; bit++) {
        memcpy(copy, whole, sizeof(whole));
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        enum trib_err err = parse(copy, size, &text, &roster);
        assert_true(err == TRIB_OK || (err == TRIB_ERR_INVAL && text.why[0]));
        if (!err)
            trib_roster_fini(&roster);
    }
}

static void a_key_file_is_private_and_never_written_over(void **state)
{
    (void)state;
    uint8_t made[TRIB_SIGN_SEED_SIZE];
    uint8_t again[TRIB_SIGN_SEED_SIZE] = {0};
    struct stat info;
    const char *path = files_put(0, "roster.key", NULL, 0);
    assert_int_equal(trib_roster_key_read(path, again), TRIB_ERR_STATE);
    assert_int_equal(trib_roster_key_make(path, made), TRIB_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(trib_roster_key_make(path, again), TRIB_ERR_STATE);
    files_assert_logged("never written over");
    assert_int_equal(trib_roster_key_read(path, again), TRIB_OK);
    assert_memory_equal(made, again, sizeof(made));
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"roster.key", NULL};
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_export_is_signed_and_read_back),
        cmocka_unit_test(what_is_printed_unsigned_is_the_text_that_was_read),
        cmocka_unit_test(a_roster_of_nobody_is_a_roster),
        cmocka_unit_test(a_signature_that_is_not_the_keys_is_named),
        cmocka_unit_test(every_malformed_line_is_named),
        cmocka_unit_test(a_nul_and_a_huge_file_are_refused),
        cmocka_unit_test(no_cut_and_no_flipped_bit_escapes_the_parser),
        cmocka_unit_test(a_key_file_is_private_and_never_written_over),
    };
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
