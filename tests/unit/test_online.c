#include "client/online.h"
#include "tests/unit/files.h"

#include "client/feed.h"
#include "common/data/row_store.h"
#include "common/data/schema.h"

static struct trib_data_config config = {.format = TRIB_DATA_STORE,
                                         .store_max_bytes = TRIB_ROW_STORE_BYTES_MIN};
static struct trib_task task;

static struct trib_dataset *open_rows(void)
{
    static const char ini[] = "[data]\nformat = store\nschema = s.ini\n";
    struct trib_dataset *dataset;
    assert_int_equal(trib_feed_open(files_put(0, "client.ini", ini, strlen(ini)), &dataset),
                     TRIB_OK);
    return dataset;
}

static void push(int first, int count)
{
    struct trib_schema *schema;
    struct trib_row_store *store;
    assert_int_equal(trib_data_open_store(&config, 1, &schema, &store), TRIB_OK);
    for (int i = first; i < first + count; i++) {
        char text[32];
        int size = snprintf(text, sizeof(text), "%d.5,%d", i % 5, i % 2);
        assert_int_equal(trib_row_store_append(store, text, (size_t)size, 1), TRIB_OK);
    }
    assert_int_equal(trib_row_store_flush(store), TRIB_OK);
    trib_row_store_close(store);
    trib_schema_destroy(schema);
}

// Steps that were taken as the rows arrived are the same bits as those that a task takes all at
// once, and only whole steps are claimed.
static void rows_that_arrived_are_learnt_as_if_all_at_once(void **state)
{
    (void)state;
    struct trib_dataset *eager = open_rows();
    struct trib_dataset *lazy = open_rows();
    float params[2][8];
    uint64_t examples;
    char why[128];
    assert_int_equal(trib_model_parse("1 - dense 1 sigmoid", &task.model, why, sizeof(why)),
                     TRIB_OK);
    task.device = "d0";
    task.msg = (struct trib_msg_task){.seed = 1,
                                      .epochs = 1,
                                      .batch = 2,
                                      .learning_rate = 0.3,
                                      .momentum = 0.9,
                                      .fit = {.mode = TRIB_MODE_ONLINE}};
    trib_online_arrived(eager); // no task has said how to learn
    memset(params, 0, sizeof(params));
    push(0, 1);
    assert_int_equal(trib_online_train(eager, &task, params[0], &examples), TRIB_ERR_REFUSED);
    push(1, 4);
    assert_int_equal(trib_online_train(eager, &task, params[0], &examples), TRIB_OK);
    assert_int_equal(examples, 4);
    assert_int_equal(task.claim.position, 4);
    for (int i = 5; i < 20; i++) { // the update was refused: the same base, and the same mark
        push(i, 1);
        trib_online_arrived(eager);
    }
    files_assert_logged("id=online-steps rows=20");
    memset(params, 0, sizeof(params));
    assert_int_equal(trib_online_train(eager, &task, params[0], &examples), TRIB_OK);
    assert_int_equal(examples, 20);
    assert_int_equal(trib_online_train(lazy, &task, params[1], &examples), TRIB_OK);
    assert_int_equal(examples, 20);
    assert_memory_equal(params[0], params[1], sizeof(params[0]));
    // It was counted, and there is a new version: only what comes now is learnt.
    task.mark = task.claim;
    task.msg.base_digest[0] = 1;
    assert_int_equal(trib_online_train(eager, &task, params[0], &examples), TRIB_ERR_REFUSED);
    push(20, 2);
    assert_int_equal(trib_online_train(eager, &task, params[0], &examples), TRIB_OK);
    assert_int_equal(examples, 2);
    assert_int_equal(task.claim.position, 22);
    trib_dataset_destroy(eager);
    trib_dataset_destroy(lazy);
}

static int setup(void **state)
{
    static const char schema[] = "[column x]\n[column y]\nrole = label\ntype = bool\n";
    if (files_setup(state))
        return -1;
    const char *path = files_put(1, "s.ini", schema, strlen(schema));
    memcpy(config.schema, path, strlen(path) + 1);
    path = files_put(2, "rows", NULL, 0);
    memcpy(config.store, path, strlen(path) + 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"client.ini", "s.ini", NULL};
    (void)unlink(files_put(0, "rows/0000000000000001.rows", NULL, 0));
    (void)unlink(files_put(0, "rows/lock", NULL, 0));
    (void)rmdir(config.store);
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_that_arrived_are_learnt_as_if_all_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
