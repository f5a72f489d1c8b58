#include "coordinator/identity.h"
#include "tests/unit/files.h"

#include <sys/stat.h>

#include "common/base/bytes.h"
#include "common/wire/noise_ik.h"

static struct trib_identity made; // by set_up

static void forget(const char *name)
{
    char path[TRIB_PATH_MAX + 1];
    assert_int_equal(trib_path_join(path, files_dir, name), TRIB_OK);
    (void)remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    forget("coordinator.key");
    forget("coordinator.pub");
    forget("roster.key");
    forget("tributary.ini");
    forget("models");
    forget("updates");
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return trib_identity_make(files_dir, "tcp://127.0.0.1:7420", NULL, &made) ? -1 : 0;
}

static mode_t mode_of(const char *name)
{
    struct stat info;
    assert_int_equal(stat(files_put(0, name, NULL, 0), &info), 0);
    return info.st_mode & 0777;
}

static void what_was_made_is_loaded_again(void **state)
{
    (void)state;
    struct trib_identity loaded;
    uint8_t public[32];
    assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_OK);
    assert_memory_equal(&loaded, &made, sizeof(made));
    trib_noise_public(made.secret, public);
    assert_memory_equal(made.public, public, sizeof(public));
    trib_sign_public(made.release_seed, public);
    assert_memory_equal(made.release_key, public, sizeof(public));
    assert_memory_not_equal(made.secret, made.release_seed, sizeof(made.secret));
}

static void secrets_are_private_and_the_public_key_is_not(void **state)
{
    (void)state;
    struct trib_buf text = {0};
    uint8_t key[32];
    size_t size;
    assert_int_equal(mode_of("coordinator.key"), 0600);
    assert_int_equal(mode_of("models"), 0700);
    assert_int_equal(mode_of("updates"), 0700);
    assert_int_equal(trib_file_read(files_put(0, "coordinator.pub", NULL, 0), 128, &text), TRIB_OK);
    assert_int_equal(text.data[text.size - 1], '\n');
    text.data[text.size - 1] = '\0';
    assert_true(trib_base64_decode((const char *)text.data, key, sizeof(key), &size));
    assert_int_equal(size, sizeof(key));
    assert_memory_equal(key, made.public, sizeof(key));
    trib_buf_fini(&text);
}

static void a_second_coordinator_in_one_directory_is_refused(void **state)
{
    (void)state;
    struct trib_identity second, loaded;
    assert_int_equal(trib_identity_make(files_dir, NULL, NULL, &second), TRIB_ERR_STATE);
    files_assert_logged("already");
    assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_OK);
    assert_memory_equal(&loaded, &made, sizeof(made));
}

static void keys_that_others_may_read_or_that_are_damaged_do_not_load(void **state)
{
    (void)state;
    struct trib_identity loaded;
    const char *path = files_put(0, "coordinator.key", NULL, 0);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_ERR_INVAL);
    (void)files_put(0, "coordinator.key", "x25519 AAAA\n", 12);
    assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_ERR_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(trib_identity_load(files_dir, &loaded), TRIB_ERR_STATE);
}

static void the_configuration_says_where_to_listen(void **state)
{
    (void)state;
    struct trib_coordinator_config config;
    assert_int_equal(trib_coordinator_config_load(files_dir, &config), TRIB_OK);
    assert_string_equal(config.listen, "tcp://127.0.0.1:7420");
    assert_string_equal(config.url, "");
    assert_string_equal(config.population, "default");
    assert_false(config.pending);
    (void)tear_down(state);
    assert_int_equal(trib_identity_make(files_dir, NULL, "tcp://fleet.example:1", &made), TRIB_OK);
    assert_int_equal(trib_coordinator_config_load(files_dir, &config), TRIB_OK);
    assert_string_equal(config.listen, "tcp://0.0.0.0:7420");
    assert_string_equal(config.url, "tcp://fleet.example:1");
}

static void a_wrong_configuration_names_its_line(void **state)
{
    (void)state;
    const struct {
        const char *text, *says;
    } bad[] = {
        {"[fleet]\npopulation =\n", "tributary.ini:2: fleet.population"},
        {"[fleet]\n\npopulation = "
         "a-population-of-64-bytes-is-one-byte-longer-than-it-may-ever-bee\n",
         "tributary.ini:3: fleet.population"},
        {"[fleet]\nlisten =\n", "tributary.ini:2: fleet.listen"},
        {"[fleet]\nconnections_max = 0\n", "tributary.ini:2: fleet.connections_max"},
        {"[enrol]\npending = perhaps\n", "tributary.ini:2: enrol.pending"},
        {"[fleet]\nport = 1\n", "tributary.ini:2: fleet.port"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct trib_coordinator_config config;
        (void)files_put(0, "tributary.ini", bad[i].text, strlen(bad[i].text));
        assert_int_equal(trib_coordinator_config_load(files_dir, &config), TRIB_ERR_INVAL);
        files_assert_logged(bad[i].says);
    }
}

// A Unix socket's path has at most 107 bytes; the directory need not be there to say so.
static void an_admin_socket_that_cannot_be_bound_is_named(void **state)
{
    (void)state;
    char dir[TRIB_ADMIN_PATH_MAX + 1];
    char url[TRIB_ADMIN_PATH_MAX + 16];
    const size_t longest = TRIB_ADMIN_PATH_MAX - strlen("/admin.sock");
    memset(dir, 'd', sizeof(dir));
    dir[0] = '/';
    dir[longest] = '\0';
    assert_int_equal(trib_admin_url(dir, url, sizeof(url)), TRIB_OK);
    assert_int_equal(strlen(url), strlen("ipc://") + 107);
    assert_memory_equal(url, "ipc:///ddd", 10);
    dir[longest] = 'd';
    dir[longest + 1] = '\0';
    assert_int_equal(trib_admin_url(dir, url, sizeof(url)), TRIB_ERR_INVAL);
    files_assert_logged("107");
}

static int end(void **state)
{
    static const char *const names[] = {NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_made_is_loaded_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(secrets_are_private_and_the_public_key_is_not, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_second_coordinator_in_one_directory_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(keys_that_others_may_read_or_that_are_damaged_do_not_load,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_configuration_says_where_to_listen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_configuration_names_its_line, set_up, tear_down),
        cmocka_unit_test(an_admin_socket_that_cannot_be_bound_is_named),
    };
    return cmocka_run_group_tests(tests, files_setup, end);
}
