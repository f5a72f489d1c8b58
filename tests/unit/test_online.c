#include "client/online.h"
#include "tests/unit/files.h"

#include "client/feed.h"
#include "client/online_file.h"
#include "common/data/row_store.h"
#include "common/data/schema.h"
#include "common/math/train.h"

static struct trib_data_config config = {.format = TRIB_DATA_STORE,
                                         .store_max_bytes = TRIB_ROW_STORE_BYTES_MIN};
static struct trib_task task;

static struct trib_dataset *open_as(const char *ini)
{
    struct trib_dataset *dataset;
    assert_int_equal(trib_feed_open(files_put(0, "client.ini", ini, strlen(ini)), &dataset),
                     TRIB_OK);
    return dataset;
}

static struct trib_dataset *open_rows(void)
{
    return open_as("[data]\nformat = store\nschema = s.ini\n");
}

static void push_row(const char *text)
{
    struct trib_schema *schema;
    struct trib_row_store *store;
    assert_int_equal(trib_data_open_store(&config, 1, &schema, &store), TRIB_OK);
    assert_int_equal(trib_row_store_append(store, text, strlen(text), 1), TRIB_OK);
    assert_int_equal(trib_row_store_flush(store), TRIB_OK);
    trib_row_store_close(store);
    trib_schema_destroy(schema);
}

static void push(int first, int count)
{
    for (int i = first; i < first + count; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "%d.5,%d", i % 5, i % 2);
        push_row(text);
    }
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

// A copy that began from a version when it was installed is what its next task would make.
static void a_new_version_is_gone_on_from_when_it_is_installed(void **state)
{
    (void)state;
    static const char ini[] = "[data]\nformat = store\nschema = s.ini\nonline_copy = own.model\n";
    static const float version[2][2] = {{0.25F, -0.5F}, {1, 2}};
    struct trib_dataset *dataset = open_as(ini);
    const char *path = files_put(3, "own.model", NULL, 0);
    float params[8] = {0}, kept[2];
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t examples, rows;
    trib_online_renew(dataset, version[0], 2); // no task has said how to learn
    assert_null(dataset->online);
    task.msg.fit.prepare[0] = '\0';
    task.mark = task.claim;
    push_row("1,1");
    push_row("2,0");
    assert_int_equal(trib_online_train(dataset, &task, params, &examples), TRIB_OK);
    assert_int_equal(examples, 2);
    trib_model_digest(&task.model, version[0], digest);
    assert_int_equal(trib_online_file_read(path, digest, kept, 2, &rows), TRIB_ERR_STATE);
    push_row("3,1"); // learnt by the old copy, and behind the claim
    push_row("4,0");
    trib_online_arrived(dataset);
    trib_online_renew(dataset, version[0], 2);
    assert_int_equal(trib_online_file_read(path, digest, kept, 2, &rows), TRIB_OK);
    assert_int_equal(rows, 2);
    // The task on it finds the copy there: nothing is new, and it is what one from the start is.
    task.mark = task.claim;
    memcpy(task.msg.base_digest, digest, sizeof(digest));
    struct trib_dataset *fresh = open_as(ini);
    const struct trib_online *before = dataset->online;
    float again[8] = {0.25F, -0.5F};
    memcpy(params, version[0], sizeof(version[0]));
    assert_int_equal(trib_online_train(dataset, &task, params, &examples), TRIB_OK);
    assert_ptr_equal(dataset->online, before);
    assert_int_equal(trib_online_train(fresh, &task, again, &examples), TRIB_OK);
    assert_int_equal(examples, 2);
    assert_memory_equal(params, again, sizeof(kept));
    assert_memory_equal(params, kept, sizeof(kept));
    // What is damaged, or of another model, is not used.
    assert_int_equal(trib_online_file_read(path, digest, kept, 1, &rows), TRIB_ERR_STATE);
    trib_online_renew(dataset, version[1], 1);
    assert_null(dataset->online);
    (void)files_put(3, "own.model", "TRIBONL1", 8);
    assert_int_equal(trib_online_file_read(path, digest, kept, 2, &rows), TRIB_ERR_STATE);
    files_assert_logged("id=online-corrupt");
    trib_dataset_destroy(dataset);
    trib_dataset_destroy(fresh);
}

// The parameters are what steps of these rows, one by one from zero, make.
static void assert_steps(const float *params, const float *x, const float *y, size_t rows)
{
    const struct trib_train_options options = trib_task_options(&task.msg);
    const struct trib_samples samples = {.x = x, .y = y, .rows = rows, .inputs = 1};
    struct trib_trainer_space *space;
    struct trib_rng rng;
    float wanted[8] = {0};
    double loss;
    assert_int_equal(trib_train_space_create(&task.model, &options, rows, &space), TRIB_OK);
    trib_task_rng(&rng, task.msg.seed, trib_task_stream(true, 0), task.device);
    trib_train_begin(space, wanted);
    assert_int_equal(trib_train_partial(space, &samples, &rng, wanted, &loss), TRIB_OK);
    trib_train_space_destroy(space);
    assert_memory_equal(params, wanted, sizeof(wanted));
}

// With a job's pipeline a row becomes what it is behind all rows before it, the used ones too.
static void rows_go_through_the_pipeline_of_the_task_as_they_arrive(void **state)
{
    (void)state;
    static const char ini[] = "[data]\nformat = store\nschema = s.ini\npipeline = job\n";
    static const char smooth[] = "[step dedup]\n[step smooth]\ncolumns = x\nwindow = 2\n";
    static const char ahead[] = "[step impute]\ncolumns = x\nwith = interpolate\n";
    struct trib_dataset *eager = open_as(ini);
    struct trib_dataset *lazy = open_as(ini);
    float params[2][8] = {{0}};
    uint64_t examples;
    task.claim = task.mark = (struct trib_data_mark){.position = 0};
    task.msg.batch = 1;
    memcpy(task.msg.fit.prepare, smooth, sizeof(smooth));
    // Of the 22 that are there 10 differ.
    assert_int_equal(trib_online_train(eager, &task, params[0], &examples), TRIB_OK);
    assert_int_equal(examples, 10);
    assert_int_equal(task.claim.position, 22); // the others are used, too
    task.mark = task.claim;
    task.msg.base_digest[0] = 2;
    memset(params, 0, sizeof(params));
    assert_int_equal(trib_online_train(eager, &task, params[0], &examples), TRIB_ERR_REFUSED);
    push_row("7.5,1"); // behind 4.5,1, the last one that stayed: 6
    assert_int_equal(trib_online_train(eager, &task, params[0], &examples), TRIB_OK);
    push(24, 3);       // known
    push_row("9.5,0"); // 8.5
    trib_online_arrived(eager);
    files_assert_logged("id=online-steps rows=2");
    assert_int_equal(trib_online_train(eager, &task, params[0], &examples), TRIB_OK);
    assert_int_equal(examples, 2);
    assert_int_equal(trib_online_train(lazy, &task, params[1], &examples), TRIB_OK);
    assert_int_equal(examples, 2);
    assert_memory_equal(params[0], params[1], sizeof(params[0]));
    assert_steps(params[0], (const float[]){6, 8.5F}, (const float[]){1, 0}, 2);
    memcpy(task.msg.fit.prepare, ahead, sizeof(ahead));
    assert_int_equal(trib_online_train(lazy, &task, params[1], &examples), TRIB_ERR_DATA);
    files_assert_logged("looks at rows that come later");
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
    static const char *const names[] = {"client.ini", "s.ini", "own.model", NULL};
    (void)unlink(files_put(0, "rows/0000000000000001.rows", NULL, 0));
    (void)unlink(files_put(0, "rows/lock", NULL, 0));
    (void)rmdir(config.store);
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_that_arrived_are_learnt_as_if_all_at_once),
        cmocka_unit_test(rows_go_through_the_pipeline_of_the_task_as_they_arrive),
        cmocka_unit_test(a_new_version_is_gone_on_from_when_it_is_installed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
