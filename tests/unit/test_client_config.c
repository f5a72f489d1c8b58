#include "client/client_state.h"
#include "tests/unit/files.h"

#include <stddef.h>

static enum trib_err train(void *user, struct trib_task *task, float *params, size_t count,
                           uint64_t *ret_examples)
{
    (void)user;
    (void)task;
    (void)params;
    (void)count;
    *ret_examples = 1;
    return TRIB_OK;
}

static void publish(void *user, uint64_t version, const float *params, size_t count)
{
    (void)user;
    (void)version;
    (void)params;
    (void)count;
}

static const struct trib_trainer whole = {
    .struct_size = sizeof(whole), .train = train, .published = publish};

static struct trib_client_config config_with(const struct trib_trainer *trainer)
{
    struct trib_client_config config;
    trib_client_config_init(&config);
    config.state_dir = files_dir;
    config.trainer = trainer;
    config.log = files_keep_line;
    return config;
}

static enum trib_err create(const struct trib_client_config *config)
{
    struct trib_client *client = NULL;
    enum trib_err err = trib_client_create(config, &client);
    trib_client_destroy(client);
    return err;
}

static void what_is_required_is_there(void **state)
{
    (void)state;
    struct trib_client_config config = config_with(&whole);
    assert_int_equal(create(&config), TRIB_ERR_STATE); // all is said, and nobody enrolled
    assert_int_equal(create(NULL), TRIB_ERR_INVAL);
    config.struct_size--;
    assert_int_equal(create(&config), TRIB_ERR_INVAL);
    config = config_with(NULL);
    assert_int_equal(create(&config), TRIB_ERR_INVAL);
    config = config_with(&whole);
    config.state_dir = NULL;
    assert_int_equal(create(&config), TRIB_ERR_INVAL);
}

static void a_trainer_declares_that_it_trains(void **state)
{
    (void)state;
    struct trib_trainer trainer = whole;
    const struct trib_client_config config = config_with(&trainer);
    trainer.struct_size = offsetof(struct trib_trainer, train) + sizeof(trainer.train);
    assert_int_equal(create(&config), TRIB_ERR_STATE);
    trainer.struct_size--; // it ends within the pointer
    assert_int_equal(create(&config), TRIB_ERR_INVAL);
    trainer.struct_size = 0;
    assert_int_equal(create(&config), TRIB_ERR_INVAL);
}

static void nothing_behind_the_declared_size_is_read(void **state)
{
    (void)state;
    struct trib_client client;
    struct trib_trainer trainer = whole;
    const struct trib_client_config config = config_with(&trainer);
    trib_client_config_take(&client, &config);
    assert_true(client.config.trainer->published == publish);
    trainer.struct_size = offsetof(struct trib_trainer, published);
    trib_client_config_take(&client, &config);
    assert_true(client.config.trainer->train == train);
    assert_null(client.config.trainer->published);
    trainer.struct_size = 2 * sizeof(trainer); // of a program that is newer than the library
    trib_client_config_take(&client, &config);
    assert_true(client.config.trainer->published == publish);
}

static void a_url_is_one(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "http://x", "tcp://x", "tcp://x:70000", "ipc://"};
    char longest[TRIB_URL_MAX + 2] = "ipc://";
    struct trib_client_config config = config_with(&whole);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        config.coordinator_url = wrong[i];
        assert_int_equal(create(&config), TRIB_ERR_INVAL);
        files_assert_logged("coordinator_url: ");
    }
    memset(longest + 6, 'x', sizeof(longest) - 7);
    config.coordinator_url = longest;
    assert_int_equal(create(&config), TRIB_ERR_INVAL);
    files_assert_logged("longer than");
    longest[TRIB_URL_MAX] = '\0';
    assert_int_equal(create(&config), TRIB_ERR_STATE);
    config.coordinator_url = "tcp://x:7420";
    assert_int_equal(create(&config), TRIB_ERR_STATE);
}

static void enrolment_wants_a_token_and_a_folder(void **state)
{
    (void)state;
    assert_int_equal(trib_client_enrol(NULL, files_dir), TRIB_ERR_INVAL);
    assert_int_equal(trib_client_enrol("trib1.x", NULL), TRIB_ERR_INVAL);
}

static void rows_are_of_a_file_that_is_there(void **state)
{
    (void)state;
    struct trib_dataset *dataset = NULL;
    const char *path = files_put(0, "mistyped.ini", NULL, 0);
    assert_int_equal(trib_dataset_open(path, &dataset), TRIB_ERR_INVAL);
    files_assert_logged("mistyped.ini: there is no such file");
    assert_int_equal(trib_dataset_open(files_put(0, "own.ini", "[data]\n", 7), &dataset), TRIB_OK);
    trib_dataset_destroy(dataset);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"own.ini", NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_required_is_there),
        cmocka_unit_test(a_trainer_declares_that_it_trains),
        cmocka_unit_test(nothing_behind_the_declared_size_is_read),
        cmocka_unit_test(a_url_is_one),
        cmocka_unit_test(enrolment_wants_a_token_and_a_folder),
        cmocka_unit_test(rows_are_of_a_file_that_is_there),
    };
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
