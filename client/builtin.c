// The built-in trainer (common/math/train.h), on the rows that client.ini names.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/feed.h"
#include "client/online.h"
#include "client/prepared.h"
#include "client/task.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/data/source.h"
#include "common/math/train.h"
#include "tributary/client.h"

#define TRIB_LOG_MODULE "trainer"

static bool wants_stop(void *user)
{
    return trib_task_should_stop(user);
}

// Both parts of a model with a local one in one vector, that behind the common one. NULL: no
// memory.
static float *join(struct trib_task *task, const float *params)
{
    const size_t count = task->model.param_count;
    size_t local_count;
    const float *local = trib_task_local(task, &local_count);
    float *both = trib_alloc_aligned(count + local_count, sizeof(*both));
    if (!both)
        return NULL;
    memcpy(both, params, count * sizeof(*both));
    memcpy(both + count, local, local_count * sizeof(*both));
    return both;
}

static void wipe_and_free(struct trib_task *task, float *both)
{
    trib_wipe(both, trib_model_total(&task->model) * sizeof(*both));
    free(both);
}

static enum trib_err train_both(struct trib_task *task, struct trib_trainer_space *space,
                                const struct trib_samples *samples, float *params, double *ret_loss)
{
    const size_t count = task->model.param_count;
    struct trib_rng rng;
    size_t local_count;
    float *local = trib_task_local(task, &local_count);
    trib_task_rng(&rng, task->msg.seed,
                  trib_task_stream(task->msg.fit.mode == TRIB_MODE_ONLINE, task->msg.round_number),
                  task->device);
    if (!local)
        return trib_train(space, samples, &rng, params, wants_stop, task, ret_loss);
    float *both = join(task, params);
    if (!both)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_train(space, samples, &rng, both, wants_stop, task, ret_loss);
    memcpy(params, both, count * sizeof(*both));
    memcpy(local, both + count, local_count * sizeof(*both));
    wipe_and_free(task, both);
    return err;
}

static enum trib_err count_both(struct trib_task *task, const struct trib_ask *ask,
                                const float *params, const struct trib_samples *samples)
{
    size_t local_count;
    if (!trib_task_local(task, &local_count))
        return trib_ask_count(ask, params, samples, task->tally);
    float *both = join(task, params);
    if (!both)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_ask_count(ask, both, samples, task->tally);
    wipe_and_free(task, both);
    return err;
}

static enum trib_err fit(struct trib_task *task, const struct trib_samples *samples, float *params,
                         uint64_t *ret_examples)
{
    const struct trib_train_options options = trib_task_options(&task->msg);
    struct trib_trainer_space *space;
    double loss;
    enum trib_err err = trib_train_space_create(&task->model, &options, samples->rows, &space);
    if (err)
        return err;
    if (options.class_weights == TRIB_CLASS_WEIGHTS_GIVEN)
        trib_train_set_class_weights(space, task->msg.fit.class_weight);
    err = train_both(task, space, samples, params, &loss);
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

static enum trib_err train_rows(void *user, struct trib_task *task, float *params, size_t count,
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

static enum trib_err tally_rows(void *user, struct trib_task *task, const float *params,
                                size_t count)
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
        err = count_both(task, &ask, params, &samples);
    }

out:
    if (!is_borrowed)
        trib_data_news_fini(&news);
    return err;
}

// It refuses a task for want of rows only, which a program's own trainer may do for any reason.
static enum trib_err noted(struct trib_task *task, enum trib_err err)
{
    task->has_no_rows = err == TRIB_ERR_REFUSED;
    return err;
}

static enum trib_err train(void *user, struct trib_task *task, float *params, size_t count,
                           uint64_t *ret_examples)
{
    return noted(task, train_rows(user, task, params, count, ret_examples));
}

static enum trib_err tally(void *user, struct trib_task *task, const float *params, size_t count)
{
    return noted(task, tally_rows(user, task, params, count));
}

static void arrived(void *user)
{
    if (user)
        trib_online_arrived(user);
}

static void renewed(void *user, const float *params, size_t count)
{
    if (user)
        trib_online_renew(user, params, count);
}

const struct trib_trainer *trib_trainer_builtin(void)
{
    static const struct trib_trainer trainer = {
        .struct_size = sizeof(trainer),
        .train = train,
        .tally = tally,
        .modes = 1 << TRIB_MODE_INCREMENTAL | 1 << TRIB_MODE_ONLINE,
        .arrived = arrived,
        .renewed = renewed,
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
