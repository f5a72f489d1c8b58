// The built-in trainer, on a dataset in memory (common/math/train.h).
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "client/state.h"
#include "client/task.h"
#include "common/base/log.h"
#include "common/data/source.h"
#include "common/math/train.h"
#include "tributary/client.h"

#define TRIB_LOG_MODULE "trainer"

static bool wants_stop(void *user)
{
    return trib_task_should_stop(user);
}

// Are there rows, and do they fit the task?
static enum trib_err check_rows(const struct trib_dataset *dataset, const struct trib_task *task,
                                size_t count)
{
    char why[512];
    if (dataset && dataset->unfit[0]) {
        TRIB_WARN("id=data-unfit round=%" PRIu64 " sits out: %s", task->msg.round_number,
                  dataset->unfit);
        return TRIB_ERR_REFUSED;
    }
    if (!dataset || dataset->rows == 0) {
        TRIB_INFO("there are no rows to learn from");
        return TRIB_ERR_REFUSED;
    }
    if (count != task->model.param_count ||
        trib_dataset_check(dataset, &task->model, why, sizeof(why))) {
        TRIB_ERROR("%s", why);
        return TRIB_ERR_DATA;
    }
    return TRIB_OK;
}

static enum trib_err train(void *user, struct trib_task *task, float *params, size_t count,
                           uint64_t *ret_examples)
{
    const struct trib_dataset *dataset = user;
    const struct trib_train_options options = trib_task_options(&task->msg);
    struct trib_trainer_space *space;
    struct trib_rng rng;
    double loss;

    enum trib_err err = check_rows(dataset, task, count);
    if (err)
        return err;
    err = trib_train_space_create(&task->model, &options, dataset->rows, &space);
    if (err)
        return err;
    const struct trib_samples samples = trib_dataset_samples(dataset);
    trib_task_rng(&rng, task->msg.seed, task->msg.round_number, task->device);
    err = trib_train(space, &samples, &rng, params, wants_stop, task, &loss);
    const struct trib_train_report report = trib_train_report(space);
    trib_train_space_destroy(space);
    if (err == TRIB_ERR_DATA) // diverged: nothing is wrong with the data
        err = TRIB_ERR_LIMIT;
    if (err)
        return err;
    trib_task_metric(task, "loss", loss);
    if (isfinite(report.validation_loss))
        trib_task_metric(task, "validation_loss", report.validation_loss);
    *ret_examples = report.rows;
    return TRIB_OK;
}

static enum trib_err tally(void *user, struct trib_task *task, const float *params, size_t count)
{
    const struct trib_dataset *dataset = user;
    const struct trib_ask ask = trib_task_ask(task);
    enum trib_err err = check_rows(dataset, task, count);
    if (err)
        return err;
    const struct trib_samples samples = trib_dataset_samples(dataset);
    return trib_ask_count(&ask, params, &samples, task->tally);
}

const struct trib_trainer *trib_trainer_builtin(void)
{
    static const struct trib_trainer trainer = {
        .struct_size = sizeof(trainer), .train = train, .tally = tally};
    return &trainer;
}

enum trib_err trib_dataset_open(const char *path, struct trib_dataset **ret_dataset)
{
    struct trib_state_config config;
    enum trib_err err = trib_state_config_load(path, &config);
    if (err)
        return err;
    if (!config.data.train[0] && trib_data_is_file(&config.data))
        return trib_dataset_create(0, 0, false, path, ret_dataset);
    if (config.data.format == TRIB_DATA_SQLITE) {
        TRIB_ERROR("%s: data.format: this client was built without sqlite", path);
        return TRIB_ERR_INVAL;
    }
    return trib_data_open(&config.data, config.data.train, config.data.train_labels, 0,
                          ret_dataset);
}

void trib_dataset_destroy(struct trib_dataset *dataset)
{
    trib_dataset_free(dataset);
}
