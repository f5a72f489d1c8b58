#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/map.h"
#include "common/base/pool.h"
#include "common/base/rand.h"
#include "common/base/sign.h"
#include "common/base/wipe.h"

// Long ones are summed in another way than short ones.
static void crc32c_of_the_whole_is_that_of_its_pieces(void **state)
{
    static uint8_t data[70000];
    uint64_t seed = 1;
    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)test_rand(&seed);
    for (size_t size = 3000; size < sizeof(data); size += 1 + size / 7) {
        const uint8_t *from = data + size % 5;
        uint32_t pieces = 0;
        for (size_t at = 0; at < size - 5; at += 100)
            pieces = trib_crc32c(pieces, from + at, size - 5 - at < 100 ? size - 5 - at : 100);
        assert_int_equal(trib_crc32c(0, from, size - 5), pieces);
    }
}

static void crc32c_gives_the_published_values(void **state)
{
    (void)state;
    uint8_t data[32] = {0};
    assert_int_equal(trib_crc32c(0, data, 32), 0x8a9136aa); // RFC 3720 B.4: 32 zeroes
    memset(data, 0xff, sizeof(data));
    assert_int_equal(trib_crc32c(0, data, 32), 0x62a8ab43); // 32 ones
    for (int i = 0; i < 32; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(trib_crc32c(0, data, 32), 0x46dd794e); // incrementing
    uint32_t pieces = trib_crc32c(trib_crc32c(0, data, 13), data + 13, 19);
    assert_int_equal(pieces, 0x46dd794e);
}

static void base64_round_trips_and_refuses_what_is_not_canonical(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (size_t size = 0; size < 70; size++) {
        uint8_t data[70] = {0};
        uint8_t back[70];
        char text[TRIB_BASE64_TEXT_SIZE(70)];
        size_t got;
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)test_rand(&seed);
        trib_base64_encode(data, size, text);
        assert_true(trib_base64_decode(text, back, sizeof(back), &got));
        assert_int_equal(got, size);
        assert_memory_equal(data, back, size);
        if (size > 0)
            assert_false(trib_base64_decode(text, back, size - 1, &got));
    }
    uint8_t one[4];
    size_t got;
    assert_true(trib_base64_decode("_w==", one, 4, &got)); // standard padding is fine
    assert_int_equal(one[0], 0xff);
    assert_false(trib_base64_decode("_x", one, 4, &got)); // left-over bits
    assert_false(trib_base64_decode("A", one, 4, &got));
    assert_false(trib_base64_decode("A!AA", one, 4, &got));
}

static void signatures_bind_context_and_data(void **state)
{
    (void)state;
    uint8_t seed[TRIB_SIGN_SEED_SIZE] = {1, 2, 3};
    uint8_t key[TRIB_SIGN_KEY_SIZE];
    uint8_t signature[TRIB_SIGNATURE_SIZE];
    trib_crypto_init();
    trib_sign_public(seed, key);
    trib_sign(seed, "manifest", "abc", 3, signature);
    assert_true(trib_sign_verify(key, "manifest", "abc", 3, signature));
    assert_false(trib_sign_verify(key, "roster", "abc", 3, signature));
    assert_false(trib_sign_verify(key, "manifest", "abd", 3, signature));
    signature[5] ^= 1;
    assert_false(trib_sign_verify(key, "manifest", "abc", 3, signature));
}

static void map_behaves_like_a_table(void **state)
{
    (void)state;
    enum {
        KEYS = 500
    };
    static int values[KEYS];
    bool present[KEYS] = {false};
    struct trib_map *map;
    uint64_t seed = 11;
    size_t count = 0;

    assert_int_equal(trib_map_create(&map), TRIB_OK);
    for (int step = 0; step < 20000; step++) {
        uint32_t key = (uint32_t)(test_rand(&seed) % KEYS);
        if (test_rand(&seed) % 2) {
            assert_int_equal(trib_map_put(map, &key, sizeof(key), &values[key]), TRIB_OK);
            count += !present[key];
            present[key] = true;
        } else {
            void *was = trib_map_remove(map, &key, sizeof(key));
            assert_ptr_equal(was, present[key] ? &values[key] : NULL);
            count -= present[key];
            present[key] = false;
        }
        assert_int_equal(trib_map_count(map), count);
    }
    for (uint32_t key = 0; key < KEYS; key++)
        assert_ptr_equal(trib_map_get(map, &key, sizeof(key)), present[key] ? &values[key] : NULL);
    trib_map_destroy(map);
}

static void rng_is_the_same_on_every_machine(void **state)
{
    (void)state;
    struct trib_rng rng;
    trib_rng_init(&rng, 1, "test", 2, "d0000");
    assert_true(trib_rng_next(&rng) == 0x7181c6e7340298cau); // computed with another BLAKE2b
    struct trib_rng other;
    trib_rng_init(&rng, 1, "test", 2, "d0000");
    trib_rng_init(&other, 1, "test", 2, "d0001");
    assert_true(trib_rng_next(&rng) != trib_rng_next(&other));
    // below() is uniform: chi-square over 10 cells, 9 degrees of freedom, p = 1e-6 at 46.6
    int cells[10] = {0};
    for (int i = 0; i < 100000; i++)
        cells[trib_rng_below(&rng, 10)]++;
    double chi = 0;
    for (int i = 0; i < 10; i++)
        chi += (cells[i] - 10000.0) * (cells[i] - 10000.0) / 10000.0;
    assert_true(chi < 46.6);
}

struct target {
    trib_conf_text text;
    trib_conf_text path;
    uint64_t count;
    double rate;
    bool flag;
    int choice;
};

static const struct trib_conf_key keys[] = {
    {"a", "text", TRIB_CONF_TEXT, offsetof(struct target, text), "hello", "a text", 0, 0, NULL},
    {"a", "path", TRIB_CONF_PATH, offsetof(struct target, path), NULL, "a path", 0, 0, NULL},
    {"a", "count", TRIB_CONF_INT, offsetof(struct target, count), "3", "a count", 1, 9, NULL},
    {"b.c", "rate", TRIB_CONF_REAL, offsetof(struct target, rate), "0.5", "a rate", 0, 1, NULL},
    {"b.c", "flag", TRIB_CONF_BOOL, offsetof(struct target, flag), "no", "a flag", 0, 0, NULL},
    {"b.c", "kind", TRIB_CONF_CHOICE, offsetof(struct target, choice), "two", "a kind", 0, 0,
     "one|two|three"},
};

static void parse(struct trib_conf *conf, struct target *target, const char *text,
                  const char *expected_error)
{
    trib_conf_init(conf);
    trib_conf_add(conf, keys, sizeof(keys) / sizeof(keys[0]), target);
    enum trib_err err = trib_conf_parse(conf, text, strlen(text), "x.ini", "/etc/t");
    if (!expected_error) {
        assert_int_equal(err, TRIB_OK);
        return;
    }
    assert_int_equal(err, TRIB_ERR_INVAL);
    if (!strstr(conf->error, expected_error))
        fail_msg("got: %s", conf->error);
}

static void conf_reads_values_and_names_file_line_and_key(void **state)
{
    (void)state;
    struct trib_conf conf;
    struct target target;

    parse(&conf, &target, "", NULL);
    assert_string_equal(target.text, "hello");
    assert_int_equal(target.choice, 1);
    parse(&conf, &target, "[a]\npath = p/q\ncount = 9\n# note\n[b.c]\nflag = yes\nkind = three\n",
          NULL);
    assert_string_equal(target.path, "/etc/t/p/q");
    assert_int_equal(target.count, 9);
    assert_true(target.flag);
    assert_int_equal(target.choice, 2);

    parse(&conf, &target,
          "  [a]\n\tcount = 8\n    text = 1\n   \n    # note\n  [b.c]\n  flag = no\n ", NULL);
    assert_int_equal(target.count, 8);
    assert_string_equal(target.text, "1");
    assert_false(target.flag);
    parse(&conf, &target, "[a]\n  text = 1\n  nonsense\n", "x.ini:3: neither");

    parse(&conf, &target, "[a]\n\ncount = 10\n", "x.ini:3: a.count must be between 1 and 9");
    parse(&conf, &target, "[a]\ncount = -1\n", "x.ini:2: a.count is not a whole number");
    parse(&conf, &target, "[a]\ncount = 1x\n", "a.count is not a whole number");
    parse(&conf, &target, "[b.c]\nrate = nan\n", "b.c.rate is not a number");
    parse(&conf, &target, "[a]\nrate = 1\n", "a.rate is not a key");
    parse(&conf, &target, "[a]\ntext = 1\ntext = 2\n", "x.ini:3: a.text is given twice");
    parse(&conf, &target, "[b.c]\nkind = on\n", "must be one of one|two|three");
    parse(&conf, &target, "[b.c]\nflag = true\n", "must be yes or no");
    parse(&conf, &target, "[a]\nnonsense\n", "x.ini:2: neither");

    char line[400];
    memset(line, 'x', sizeof(line));
    memcpy(line, "[a]\ntext=", 9);
    line[sizeof(line) - 1] = '\0';
    parse(&conf, &target, line, "x.ini:2: a line may have at most 199 bytes");

    parse(&conf, &target, "", NULL);
    assert_int_equal(trib_conf_override(&conf, "b.c.rate=0.25"), TRIB_OK);
    assert_true(target.rate == 0.25);
    assert_int_equal(trib_conf_override(&conf, "b.c.rate=2"), TRIB_ERR_INVAL);
    assert_int_equal(trib_conf_override(&conf, "rate"), TRIB_ERR_INVAL);
    assert_int_equal(trib_conf_override(&conf, "a.path=rel"), TRIB_OK);
    assert_string_equal(target.path, "rel");
}

// What a file would read back as something else is refused where it is given.
static void an_override_is_what_a_file_can_hold(void **state)
{
    static const char *const wrong[] = {"a.text=;",  "a.text=;x", "a.text=x ;y", "a.text=x\t;y",
                                        "a.text= x", "a.text=x ", "a.text=x\ny", "a.path=;x"};
    static const char *const good[] = {"x;y", "x y", "#x", "a=b", ""};
    struct trib_conf conf;
    struct target target;
    (void)state;
    parse(&conf, &target, "", NULL);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(trib_conf_override(&conf, wrong[i]), TRIB_ERR_INVAL);
        assert_non_null(strstr(conf.error, "comment (;)"));
        assert_string_equal(target.text, "hello");
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char assignment[64];
        char *text = NULL;
        size_t size = 0;
        struct target again;
        parse(&conf, &target, "", NULL);
        (void)snprintf(assignment, sizeof(assignment), "a.text=%s", good[i]);
        assert_int_equal(trib_conf_override(&conf, assignment), TRIB_OK);
        FILE *file = open_memstream(&text, &size);
        assert_non_null(file);
        trib_conf_write(&conf, file);
        (void)fclose(file);
        parse(&conf, &again, text, NULL);
        assert_string_equal(again.text, good[i]);
        free(text);
    }
}

static void conf_written_reads_back_the_same(void **state)
{
    (void)state;
    struct trib_conf conf;
    struct target target;
    struct target again;
    char *text = NULL;
    size_t size = 0;

    parse(&conf, &target, "[a]\ncount=4\n[b.c]\nrate=0.1\nkind=one\n", NULL);
    FILE *file = open_memstream(&text, &size);
    trib_conf_write(&conf, file);
    (void)fclose(file);
    memset(&again, 0, sizeof(again));
    parse(&conf, &again, text, NULL);
    assert_int_equal(again.count, 4);
    assert_true(again.rate == 0.1);
    assert_int_equal(again.choice, 0);
    assert_string_equal(again.text, "hello");
    free(text);
}

static void files_are_written_whole_or_not_at_all(void **state)
{
    (void)state;
    char dir[TEST_FOLDER_SIZE];
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf buf = {0};

    assert_true(test_folder(dir));
    assert_int_equal(trib_path_join(path, dir, "f"), TRIB_OK);
    assert_int_equal(trib_file_write(path, "hello", 5, 0600), TRIB_OK);
    assert_int_equal(trib_file_write_two(path, "ab", 2, "cde", 3, 0600), TRIB_OK);
    assert_int_equal(trib_file_read(path, 100, &buf), TRIB_OK);
    assert_int_equal(buf.size, 5);
    assert_memory_equal(buf.data, "abcde", 6);
    trib_buf_fini(&buf);
    assert_int_equal(trib_file_read(path, 4, &buf), TRIB_ERR_LIMIT);
    char three[3];
    assert_int_equal(trib_file_read_at(path, 2, three, 3), TRIB_OK);
    assert_memory_equal(three, "cde", 3);
    assert_int_equal(trib_file_read_at(path, 3, three, 3), TRIB_ERR_CORRUPT);
    assert_int_equal(trib_file_remove(path), TRIB_OK);
    assert_int_equal(trib_file_remove(path), TRIB_OK);
    assert_int_equal(trib_file_read(path, 100, &buf), TRIB_ERR_IO);
    assert_int_equal(rmdir(dir), 0);
}

static void json_puts_commas_and_escapes(void **state)
{
    (void)state;
    struct trib_buf buf = {0};
    trib_json_open(&buf, NULL, '{');
    trib_json_text(&buf, "a", "x\"\\\n");
    trib_json_open(&buf, "b", '[');
    trib_json_int(&buf, NULL, -1);
    trib_json_real(&buf, NULL, 0.1);
    trib_json_real(&buf, NULL, 1.0 / 0.0);
    trib_json_close(&buf, ']');
    trib_json_bool(&buf, "c", true);
    trib_json_null(&buf, "d");
    trib_json_close(&buf, '}');
    assert_string_equal((char *)buf.data,
                        "{\"a\":\"x\\\"\\\\\\u000a\",\"b\":[-1,0.1,null],\"c\":true,\"d\":null}");
    trib_buf_fini(&buf);
}

struct counted {
    struct trib_work work;
    int *counter;
};

static void count_up(struct trib_work *work)
{
    __atomic_add_fetch(((struct counted *)work)->counter, 1, __ATOMIC_RELAXED);
}

static void pool_runs_everything_before_it_ends(void **state)
{
    (void)state;
    static struct counted items[1000];
    struct trib_pool *pool;
    int counter = 0;
    assert_int_equal(trib_pool_create(3, &pool), TRIB_OK);
    for (int i = 0; i < 1000; i++) {
        items[i] = (struct counted){.work.run = count_up, .counter = &counter};
        trib_pool_submit(pool, &items[i].work);
    }
    trib_pool_destroy(pool);
    assert_int_equal(counter, 1000);
}

static void the_time_that_another_process_used_is_known_while_it_is_there(void **state)
{
    (void)state;
    const uint64_t before_us = trib_clock_cpu_us();
    assert_in_range(trib_clock_process_us((int)getpid()), before_us, before_us + 1000000);
    const pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0)
        _exit(0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0); // it has ended
    assert_in_range(trib_clock_process_us((int)child), 1, 1000000);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(trib_clock_process_us((int)child), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_time_that_another_process_used_is_known_while_it_is_there),
        cmocka_unit_test(crc32c_gives_the_published_values),
        cmocka_unit_test(crc32c_of_the_whole_is_that_of_its_pieces),
        cmocka_unit_test(base64_round_trips_and_refuses_what_is_not_canonical),
        cmocka_unit_test(signatures_bind_context_and_data),
        cmocka_unit_test(map_behaves_like_a_table),
        cmocka_unit_test(rng_is_the_same_on_every_machine),
        cmocka_unit_test(conf_reads_values_and_names_file_line_and_key),
        cmocka_unit_test(an_override_is_what_a_file_can_hold),
        cmocka_unit_test(conf_written_reads_back_the_same),
        cmocka_unit_test(files_are_written_whole_or_not_at_all),
        cmocka_unit_test(json_puts_commas_and_escapes),
        cmocka_unit_test(pool_runs_everything_before_it_ends),
    };
    return RUN_TESTS(tests);
}
