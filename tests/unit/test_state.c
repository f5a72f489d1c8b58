#include "client/state.h"
#include "tests/unit/files.h"

#include <sys/stat.h>

static mode_t mode_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 0777;
}

static struct trib_state_enrolment enrolment_of(void)
{
    struct trib_state_enrolment enrolment = {
        .url = "tcp://127.0.0.1:7420", .name = "press-4", .population = "default"};
    for (uint8_t i = 0; i < 32; i++) {
        enrolment.coordinator_key[i] = (uint8_t)(7 * i);
        enrolment.release_key[i] = (uint8_t)(250 - i);
    }
    return enrolment;
}

static void keys_are_made_once_and_kept(void **state)
{
    (void)state;
    struct trib_state_keys first, second;
    assert_int_equal(trib_state_keys_load(files_dir, &first), TRIB_ERR_STATE);
    assert_int_equal(trib_state_keys_make(files_dir, &first), TRIB_OK);
    assert_int_equal(mode_of(files_put(0, "device.key", NULL, 0)), 0600);
    assert_int_equal(trib_state_keys_make(files_dir, &second), TRIB_OK);
    assert_memory_equal(&first, &second, sizeof(first));
    assert_int_equal(trib_state_keys_load(files_dir, &second), TRIB_OK);
    assert_memory_equal(&first, &second, sizeof(first));
    assert_memory_not_equal(first.secret, first.sign_seed, sizeof(first.secret));
}

static void a_damaged_key_file_is_never_written_over(void **state)
{
    (void)state;
    struct trib_state_keys keys;
    struct trib_buf left = {0};
    const char *path = files_put(0, "device.key", "x25519 abc\n", 11);
    assert_int_equal(trib_state_keys_make(files_dir, &keys), TRIB_ERR_CORRUPT);
    assert_int_equal(trib_file_read(path, 64, &left), TRIB_OK);
    assert_int_equal(left.size, 11);
    trib_buf_fini(&left);
}

static void enrolment_reads_back_the_same(void **state)
{
    (void)state;
    const struct trib_state_enrolment enrolment = enrolment_of();
    struct trib_state_enrolment back;
    assert_int_equal(trib_state_enrolment_load(files_dir, &back), TRIB_ERR_STATE);
    files_assert_logged("not enrolled");
    assert_int_equal(trib_state_enrolment_save(files_dir, &enrolment), TRIB_OK);
    assert_int_equal(mode_of(files_put(0, "enrolment.ini", NULL, 0)), 0600);
    assert_int_equal(trib_state_enrolment_load(files_dir, &back), TRIB_OK);
    assert_string_equal(back.url, enrolment.url);
    assert_string_equal(back.name, enrolment.name);
    assert_string_equal(back.population, enrolment.population);
    assert_memory_equal(back.coordinator_key, enrolment.coordinator_key, 32);
    assert_memory_equal(back.release_key, enrolment.release_key, 32);
}

static void keys_that_were_followed_to_read_back_the_same(void **state)
{
    (void)state;
    struct trib_state_enrolment enrolment = enrolment_of();
    struct trib_state_enrolment back;
    enrolment.key_sequence = 3;
    enrolment.has_model_key = true;
    memset(enrolment.first_key, 5, sizeof(enrolment.first_key));
    memset(enrolment.model_key, 6, sizeof(enrolment.model_key));
    assert_int_equal(trib_state_enrolment_save(files_dir, &enrolment), TRIB_OK);
    assert_int_equal(trib_state_enrolment_load(files_dir, &back), TRIB_OK);
    assert_int_equal(back.key_sequence, 3);
    assert_memory_equal(back.first_key, enrolment.first_key, 32);
    assert_true(back.has_model_key);
    assert_memory_equal(back.model_key, enrolment.model_key, 32);
    enrolment = enrolment_of(); // never followed: whom it takes part for has the key it pins
    assert_int_equal(trib_state_enrolment_save(files_dir, &enrolment), TRIB_OK);
    assert_int_equal(trib_state_enrolment_load(files_dir, &back), TRIB_OK);
    assert_int_equal(back.key_sequence, 0);
    assert_memory_equal(back.first_key, enrolment.coordinator_key, 32);
    assert_false(back.has_model_key);
}

static void a_broken_enrolment_names_its_line(void **state)
{
    (void)state;
    static const char key[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const struct {
        const char *coordinator_key, *release_key, *name, *population, *says;
    } bad[] = {
        {"AAEC", key, "d0", "default", ":2: enrolment.coordinator_key"},
        {key, "", "d0", "default", ":3: enrolment.release_key"},
        {key, key, "", "default", ":4: enrolment.name"},
        {key, key, "a-name-of-64-bytes-is-one-byte-longer-than-a-name-may-ever-be-xx", "default",
         ":4: enrolment.name"},
        {key, key, "d0", "", ":5: enrolment.population"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct trib_state_enrolment back;
        struct trib_buf text = {0};
        trib_buf_printf(&text,
                        "[enrolment]\ncoordinator_key = %s\nrelease_key = %s\nname = %s\n"
                        "population = %s\n",
                        bad[i].coordinator_key, bad[i].release_key, bad[i].name, bad[i].population);
        (void)files_put(0, "enrolment.ini", text.data, text.size);
        trib_buf_fini(&text);
        assert_int_equal(trib_state_enrolment_load(files_dir, &back), TRIB_ERR_INVAL);
        files_assert_logged(bad[i].says);
    }
}

static void the_configuration_that_enrolment_writes_says_the_defaults(void **state)
{
    (void)state;
    struct trib_state_config defaults, written;
    const char *path = files_put(0, "client.ini", "", 0);
    memset(&defaults, 0, sizeof(defaults));
    memset(&written, 0, sizeof(written));
    assert_int_equal(trib_state_config_load(path, &defaults), TRIB_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(trib_state_config_write(files_dir), TRIB_OK);
    assert_int_equal(trib_state_config_load(path, &written), TRIB_OK);
    assert_string_equal(written.policy.allowed_modes, defaults.policy.allowed_modes);
    assert_int_equal(written.reconnect_max_ms, 60000);
    assert_int_equal(defaults.reconnect_max_ms, 60000);
    assert_string_equal(written.data.train, "");
}

static void a_configuration_that_is_gone_is_not_the_defaults(void **state)
{
    (void)state;
    struct trib_state_config config;
    const char *path = files_put(0, "client.ini", "", 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(trib_state_config_load(path, &config), TRIB_ERR_INVAL);
    files_assert_logged("client.ini: there is no such file");
}

static void the_users_configuration_is_never_written_over(void **state)
{
    (void)state;
    static const char mine[] = "[client]\nreconnect_max_ms = 10\n";
    struct trib_state_config config;
    const char *path = files_put(0, "client.ini", mine, sizeof(mine) - 1);
    assert_int_equal(trib_state_config_write(files_dir), TRIB_OK);
    assert_int_equal(trib_state_config_load(path, &config), TRIB_OK);
    assert_int_equal(config.reconnect_max_ms, 10);
}

static void a_mode_that_does_not_exist_is_named(void **state)
{
    (void)state;
    static const char wrong[] = "[client.policy]\nallowed_modes = local,secret\n";
    struct trib_state_config config;
    const char *path = files_put(0, "client.ini", wrong, sizeof(wrong) - 1);
    assert_int_equal(trib_state_config_load(path, &config), TRIB_ERR_INVAL);
    files_assert_logged("client.ini:2: client.policy.allowed_modes");
    files_assert_logged("secret");
}

static void one_client_at_a_time_holds_the_directory(void **state)
{
    (void)state;
    int first, second;
    assert_int_equal(trib_state_lock(files_dir, &first), TRIB_OK);
    assert_int_equal(trib_state_lock(files_dir, &second), TRIB_ERR_STATE);
    assert_int_equal(close(first), 0);
    assert_int_equal(trib_state_lock(files_dir, &second), TRIB_OK);
    assert_int_equal(close(second), 0);
}

static void the_directory_is_made_private(void **state)
{
    (void)state;
    const char *path = files_put(0, "sub", NULL, 0);
    assert_int_equal(trib_state_make(path), TRIB_OK);
    assert_int_equal(mode_of(path), 0700);
    assert_int_equal(trib_state_make(path), TRIB_OK); // it is there: fine
    assert_int_equal(rmdir(path), 0);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"device.key", "enrolment.ini", "client.ini", "lock", NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_made_once_and_kept),
        cmocka_unit_test(a_damaged_key_file_is_never_written_over),
        cmocka_unit_test(enrolment_reads_back_the_same),
        cmocka_unit_test(keys_that_were_followed_to_read_back_the_same),
        cmocka_unit_test(a_broken_enrolment_names_its_line),
        cmocka_unit_test(the_configuration_that_enrolment_writes_says_the_defaults),
        cmocka_unit_test(a_configuration_that_is_gone_is_not_the_defaults),
        cmocka_unit_test(the_users_configuration_is_never_written_over),
        cmocka_unit_test(a_mode_that_does_not_exist_is_named),
        cmocka_unit_test(one_client_at_a_time_holds_the_directory),
        cmocka_unit_test(the_directory_is_made_private),
    };
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
