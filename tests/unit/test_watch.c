// What those who watch a coordinator are told, and where it may be watched.
#include "coordinator/watch.h"
#include "tests/unit/files.h"

#include <sys/stat.h>

#include "common/base/clock.h"

#define TOKEN "0123456789abcdef"

static struct trib_watch *watch;

static int create(void **state)
{
    (void)state;
    return trib_watch_create(files_dir, &watch) ? -1 : 0;
}

static int destroy(void **state)
{
    (void)state;
    trib_watch_destroy(watch);
    return 0;
}

static void assert_says(const char *path, unsigned status, const char *text)
{
    struct trib_http_answer answer = {.status = 0};
    trib_watch_answer(watch, path, &answer);
    assert_int_equal(answer.status, status);
    if (!strstr((const char *)answer.body.data, text))
        fail_msg("%s says '%s', not '%s'", path, (const char *)answer.body.data, text);
    trib_buf_fini(&answer.body);
}

static void see(uint64_t ago_ms)
{
    static const struct trib_telemetry telemetry = {.version = 42};
    trib_watch_see(watch, &telemetry, trib_clock_mono_ms() - ago_ms);
}

static void one_that_recovers_is_alive_and_not_ready(void **state)
{
    (void)state;
    assert_says("/healthz", 200, "alive");
    assert_says("/readyz", 503, "recovering");
    assert_says("/metrics", 503, "recovering");
    trib_watch_serves(watch);
    assert_says("/readyz", 503, "recovering"); // its state thread has not turned
    see(0);
    assert_says("/readyz", 200, "ready");
    assert_says("/metrics", 200, "\ntributary_model_version 42\n");
    struct trib_http_answer answer = {.status = 0};
    trib_watch_answer(watch, "/metrics", &answer);
    assert_null(strstr((const char *)answer.body.data, "\ntributary_free_disk_bytes 0\n"));
    trib_buf_fini(&answer.body);
}

static void one_that_turns_and_does_not_listen_is_not_ready(void **state)
{
    (void)state;
    see(0);
    assert_says("/healthz", 200, "alive");
    assert_says("/readyz", 503, "recovering");
}

static void one_that_stands_still_is_neither_alive_nor_ready(void **state)
{
    (void)state;
    trib_watch_serves(watch);
    see(TRIB_WATCH_STILL_MS / 2);
    assert_says("/healthz", 200, "alive");
    see(TRIB_WATCH_STILL_MS + 2000);
    assert_says("/healthz", 503, "stood still for 12 s");
    assert_says("/readyz", 503, "stood still for 12 s");
    assert_says("/metrics", 200, "tributary_"); // what was seen last may say why
    see(0);
    assert_says("/healthz", 200, "alive");
}

static void one_whose_directory_cannot_be_written_is_not_ready(void **state)
{
    (void)state;
    const char *path = files_put(0, "ready.probe", NULL, 0);
    trib_watch_serves(watch);
    see(0);
    assert_int_equal(mkdir(path, 0700), 0); // where a file is to be
    assert_says("/readyz", 503, "cannot be written");
    assert_says("/healthz", 200, "alive");
    assert_int_equal(rmdir(path), 0);
    assert_says("/readyz", 503, "cannot be written"); // it is not tried again at once
    trib_clock_sleep_ms(TRIB_WATCH_PROBE_MS + 10);
    assert_says("/readyz", 200, "ready");
    assert_false(trib_file_exists(path));
}

static void other_paths_are_not_there(void **state)
{
    (void)state;
    see(0);
    assert_says("/", 404, "/metrics");
    assert_says("/metricsx", 404, "/metrics");
    assert_says("/healthz/", 404, "/metrics");
}

// ---- Where

static void addresses_are_numbers_with_a_port(void **state)
{
    (void)state;
    struct trib_http_address a;
    assert_true(trib_http_address_parse("127.0.0.1:9464", &a));
    assert_int_equal(a.port, 9464);
    assert_true(!a.is_v6 && trib_http_address_is_loopback(&a));
    assert_true(trib_http_address_parse("127.9.9.9:0", &a) && trib_http_address_is_loopback(&a));
    assert_true(trib_http_address_parse("[::1]:65535", &a));
    assert_true(a.is_v6 && a.port == 65535 && trib_http_address_is_loopback(&a));
    assert_true(trib_http_address_parse("0.0.0.0:1", &a) && !trib_http_address_is_loopback(&a));
    assert_true(trib_http_address_parse("[::]:1", &a) && !trib_http_address_is_loopback(&a));
    assert_true(trib_http_address_parse("[::ffff:127.0.0.1]:1", &a));
    assert_false(trib_http_address_is_loopback(&a)); // to be safe
    static const char *const wrong[] = {"",
                                        "127.0.0.1",
                                        "127.0.0.1:",
                                        ":9464",
                                        "localhost:9464",
                                        "127.0.0.1:65536",
                                        "::1:80",
                                        "[::1]",
                                        "[::1]80",
                                        "[::1:80",
                                        "127.0.0.1:9464 ",
                                        "127.0.0.1:+80",
                                        "1.2.3:4",
                                        "tcp://1.2.3.4:80",
                                        "127.0.0.1:000080"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (trib_http_address_parse(wrong[i], &a))
            fail_msg("'%s' was taken", wrong[i]);
    }
}

static const struct trib_conf_key keys[] = {
    {"http", "listen", TRIB_CONF_TEXT, offsetof(struct trib_http_config, listen), "", "", 0, 0,
     NULL},
    {"http", "token_file", TRIB_CONF_TEXT, offsetof(struct trib_http_config, token_file), "", "", 0,
     0, NULL},
};

// Check a file of these two keys; "" when it is fine, else the error.
static const char *check(const char *listen, const char *token_file,
                         struct trib_http_config *ret_config)
{
    static struct trib_conf conf;
    char text[1024];
    int size =
        snprintf(text, sizeof(text), "[http]\nlisten = %s\ntoken_file = %s\n", listen, token_file);
    trib_conf_init(&conf);
    trib_conf_add(&conf, keys, 2, ret_config);
    assert_int_equal(trib_conf_parse(&conf, text, (size_t)size, "t.ini", "."), TRIB_OK);
    return trib_http_config_check(&conf, ret_config) ? conf.error : "";
}

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' does not say '%s'", text, part);
}

static void a_token_is_wanted_beyond_this_machine(void **state)
{
    (void)state;
    struct trib_http_config config;
    const char *path = files_put(0, "token", TOKEN "\n", 17);
    assert_string_equal(check("127.0.0.1:1", "", &config), "");
    assert_false(config.has_token);
    assert_string_equal(check("0.0.0.0:1", path, &config), "");
    assert_true(config.has_token);
    uint8_t digest[TRIB_DIGEST_SIZE];
    trib_digest(TOKEN, 16, digest);
    assert_memory_equal(config.token_digest, digest, sizeof(digest));
    assert_contains(check("0.0.0.0:1", "", &config), "t.ini:2: http.listen: 0.0.0.0:1 can be");
    assert_contains(check("here:1", "", &config), "t.ini:2: http.listen: wants ADDRESS:PORT");
    assert_contains(check("", path, &config), "t.ini:3: http.token_file: is of no use");
}

static void a_token_is_one_word_that_others_cannot_read(void **state)
{
    (void)state;
    struct trib_http_config config;
    static const char *const wrong[] = {"",
                                        "\n",
                                        "0123456789abcde\n",
                                        TOKEN " more\n",
                                        "0123456789abcdef\x7f",
                                        TOKEN "\n" TOKEN "\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *path = files_put(0, "token", wrong[i], strlen(wrong[i]));
        assert_contains(check("127.0.0.1:1", path, &config), "t.ini:3: http.token_file: ");
        assert_false(config.has_token);
    }
    const char *path = files_put(0, "token", TOKEN, 16);
    assert_string_equal(check("127.0.0.1:1", path, &config), "");
    assert_int_equal(chmod(path, 0640), 0);
    assert_contains(check("127.0.0.1:1", path, &config), "can be read by others");
    assert_contains(check("127.0.0.1:1", "/nowhere/at/all", &config), "/nowhere/at/all cannot");
}

static int remove_all(void **state)
{
    static const char *const names[] = {"token", NULL};
    (void)state;
    return files_teardown(names);
}

#define WATCHED(test) cmocka_unit_test_setup_teardown(test, create, destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCHED(one_that_recovers_is_alive_and_not_ready),
        WATCHED(one_that_turns_and_does_not_listen_is_not_ready),
        WATCHED(one_that_stands_still_is_neither_alive_nor_ready),
        WATCHED(one_whose_directory_cannot_be_written_is_not_ready),
        WATCHED(other_paths_are_not_there),
        cmocka_unit_test(addresses_are_numbers_with_a_port),
        cmocka_unit_test(a_token_is_wanted_beyond_this_machine),
        cmocka_unit_test(a_token_is_one_word_that_others_cannot_read),
    };
    return cmocka_run_group_tests(tests, files_setup, remove_all);
}
