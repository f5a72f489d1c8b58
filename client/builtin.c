// The built-in trainer (common/math/train.h), on the rows that client.ini names.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "client/feed.h"
#include "client/online.h"
#include "client/prepared.h"
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

static enum trib_err fit(struct trib_task *task, const struct trib_samples *samples, float *params,
                         uint64_t *ret_examples)
{
    const struct trib_train_options options = trib_task_options(&task->msg);
    struct trib_trainer_space *space;
    struct trib_rng rng;
    double loss;
    enum trib_err err = trib_train_space_create(&task->model, &options, samples->rows, &space);
    if (err)
        return err;
    trib_task_rng(&rng, task->msg.seed, trib_task_stream(options.is_online, task->msg.round_number),
                  task->device);
    err = trib_train(space, samples, &rng, params, wants_stop, task, &loss);
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

static enum trib_err train(void *user, struct trib_task *task, float *params, size_t count,
                           uint64_t *ret_examples)
{
    struct trib_data_news news;
    bool is_borrowed;
    size_t rows;
    if (!user || count != task->model.param_count)
        return user ? TRIB_ERR_DATA : TRIB_ERR_REFUSED;
    if (task->msg.fit.mode == TRIB_MODE_ONLINE)
        return trib_online_train(user, task, params, ret_examples);
    enum trib_err err = trib_feed_read(user, task, &news, &is_borrowed);
    if (err)
        return err;
    err = trib_prepared_features(task, is_borrowed, &news);
    if (!err)
        err = trib_feed_check(&news, task, &rows);
    if (!err) {
        struct trib_samples samples = trib_data_news_samples(&news);
        samples.rows = rows;
        err = fit(task, &samples, params, ret_examples);
    }
    if (!err && task->msg.fit.mode != TRIB_MODE_BATCH) {
        trib_data_news_mark(&news, rows, &task->claim);
        task->has_claim = true;
    }
    if (!is_borrowed)
        trib_data_news_fini(&news);
    return err;
}

static enum trib_err tally(void *user, struct trib_task *task, const float *params, size_t count)
{
    struct trib_data_news news;
    const struct trib_ask ask = trib_task_ask(task);
    bool is_borrowed;
    size_t rows;
    if (!user || count != task->model.param_count)
        return user ? TRIB_ERR_DATA : TRIB_ERR_REFUSED;
    enum trib_err err = trib_feed_read(user, task, &news, &is_borrowed);
    if (err)
        return err;
    if (ask.kind == TRIB_TALLY_PREPARE) {
        err = trib_prepared_count(task, &news);
        goto out;
    }
    err = trib_prepared_features(task, is_borrowed, &news);
    if (!err)
        err = trib_feed_check(&news, task, &rows);
    if (!err) {
        const struct trib_samples samples = trib_data_news_samples(&news);
        err = trib_ask_count(&ask, params, &samples, task->tally);
    }

out:
    if (!is_borrowed)
        trib_data_news_fini(&news);
    return err;
}

static void arrived(void *user)
{
    if (user)
        trib_online_arrived(user);
}

const struct trib_trainer *trib_trainer_builtin(void)
{
    static const struct trib_trainer trainer = {
        .struct_size = sizeof(trainer),
        .train = train,
        .tally = tally,
        .modes = 1 << TRIB_MODE_INCREMENTAL | 1 << TRIB_MODE_ONLINE,
        .arrived = arrived,
    };
    return &trainer;
}

enum trib_err trib_dataset_open(const char *path, struct trib_dataset **ret_dataset)
{
    return trib_feed_open(path, ret_dataset);
}

void trib_dataset_destroy(struct trib_dataset *dataset)
{
    trib_dataset_free(dataset);
}
