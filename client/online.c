#include "client/online.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/feed.h"
#include "client/online_file.h"
#include "client/prepared.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/data/source.h"
#include "common/math/train.h"
#include "common/wire/training.h"

#define TRIB_LOG_MODULE "online"

enum {
    STRETCH = 16 // batches that the workspace takes at once
};

struct trib_online {
    struct trib_model model;
    struct trib_trainer_space *space;
    struct trib_rng rng;
    float *params; // (model.param_count), owned
    uint64_t batch;
    uint8_t training[TRIB_DIGEST_SIZE]; // how, trib_training_digest
    uint8_t base[TRIB_DIGEST_SIZE];     // from which version
    struct trib_data_mark start, mark;  // rows behind `start` and up to `mark` are learnt
    struct trib_data_mark claimed;      // up to here by the last task
    uint64_t seed;                      // of the task
    trib_name device;
    uint64_t rows;                            // how many
    char prepare[TRIB_PIPELINE_TEXT_MAX + 1]; // the pipeline they go through, or ""
};

void trib_online_destroy(struct trib_online *online)
{
    if (!online)
        return;
    trib_train_space_destroy(online->space);
    free(online->params);
    free(online);
}

// For programs that predict with it. What cannot be written is only not read.
static void keep_copy(const struct trib_dataset *dataset)
{
    const struct trib_online *o = dataset->online;
    const char *path = dataset->origin ? dataset->origin->online_copy : "";
    if (path[0] && trib_online_file_write(path, o->base, o->rows, o->params, o->model.param_count))
        TRIB_WARN("id=online-copy %s: cannot be written, and stays as it was", path);
}

static void forget(struct trib_dataset *dataset)
{
    trib_online_destroy(dataset->online);
    dataset->online = NULL;
}

static void go_from(struct trib_online *o, const float *base)
{
    memcpy(o->params, base, o->model.param_count * sizeof(*base));
    trib_task_rng(&o->rng, o->seed, trib_task_stream(true, 0), o->device);
    trib_train_begin(o->space, o->params);
    o->rows = 0;
}

static enum trib_err begin(struct trib_dataset *dataset, const struct trib_task *task,
                           const float *base)
{
    const struct trib_train_options options = trib_task_options(&task->msg);
    struct trib_online *o = trib_alloc(sizeof(*o));
    if (!o)
        return TRIB_ERR_NOMEM;
    dataset->online = o;
    dataset->online_free = trib_online_destroy;
    o->model = task->model;
    o->batch = options.batch;
    o->start = o->mark = o->claimed = task->mark;
    o->seed = task->msg.seed;
    (void)snprintf(o->device, sizeof(o->device), "%s", task->device);
    memcpy(o->base, task->msg.base_digest, sizeof(o->base));
    memcpy(o->prepare, task->msg.fit.prepare, sizeof(o->prepare));
    trib_training_digest(&task->msg, o->training);
    o->params = trib_alloc_aligned(o->model.param_count, sizeof(*o->params));
    enum trib_err err = o->params ? TRIB_OK : TRIB_ERR_NOMEM;
    if (!err)
        err = trib_train_space_create(&o->model, &options, STRETCH * options.batch, &o->space);
    if (err) {
        forget(dataset);
        return err;
    }
    go_from(o, base);
    return TRIB_OK;
}

static bool is_of(const struct trib_online *o, const struct trib_task *task)
{
    uint8_t training[TRIB_DIGEST_SIZE];
    trib_training_digest(&task->msg, training);
    return memcmp(o->training, training, sizeof(training)) == 0 &&
           memcmp(o->base, task->msg.base_digest, sizeof(o->base)) == 0 &&
           o->start.position == task->mark.position &&
           memcmp(o->start.digest, task->mark.digest, sizeof(o->start.digest)) == 0;
}

// Take a step for each whole batch of the rows behind the copy's mark. `asked` is the task that
// wants it; NULL: rows came, and they are as those were that a task began with.
static enum trib_err catch_up(struct trib_dataset *dataset, const struct trib_task *asked)
{
    struct trib_online *o = dataset->online;
    struct trib_task task = {.model = o->model, .mark = o->mark};
    struct trib_data_news news;
    bool is_borrowed;
    size_t rows;
    double loss;
    task.msg.fit.mode = TRIB_MODE_ONLINE;
    task.msg.batch = o->batch;
    memcpy(task.msg.fit.prepare, o->prepare, sizeof(o->prepare));
    task.msg.round_number = asked ? asked->msg.round_number : UINT64_MAX;
    enum trib_err err = trib_feed_read(dataset, &task, &news, &is_borrowed);
    if (err)
        return err;
    err = trib_prepared_features(&task, is_borrowed, &news);
    if (!err)
        err = trib_feed_check(&news, &task, &rows);
    if (!err) {
        struct trib_samples samples = trib_data_news_samples(&news);
        samples.rows = rows;
        err = trib_train_partial(o->space, &samples, &o->rng, o->params, &loss);
        if (err == TRIB_ERR_DATA)
            err = TRIB_ERR_LIMIT; // diverged: nothing is wrong with the data
    }
    if (!err) {
        trib_data_news_mark(&news, rows, &o->mark);
        o->rows += rows;
        keep_copy(dataset);
        TRIB_DEBUG("rows=%zu loss=%g up to position=%" PRIu64, rows, loss, o->mark.position);
    }
    if (!is_borrowed)
        trib_data_news_fini(&news);
    return err;
}

enum trib_err trib_online_train(struct trib_dataset *dataset, struct trib_task *task, float *params,
                                uint64_t *ret_examples)
{
    enum trib_err err = TRIB_OK;
    if (dataset->online && !is_of(dataset->online, task))
        forget(dataset);
    if (!dataset->online)
        err = begin(dataset, task, params);
    if (!err)
        err = catch_up(dataset, task);
    if (err == TRIB_ERR_REFUSED && dataset->online->rows > 0)
        err = TRIB_OK; // nothing came since the last step
    if (err) {
        forget(dataset);
        return err;
    }
    struct trib_online *o = dataset->online;
    o->claimed = o->mark;
    memcpy(params, o->params, o->model.param_count * sizeof(*params));
    task->claim = o->mark;
    task->has_claim = true;
    *ret_examples = o->rows;
    return TRIB_OK;
}

void trib_online_arrived(struct trib_dataset *dataset)
{
    if (!dataset->online || (dataset->origin && dataset->origin->rows_per_round > 0))
        return; // in a rehearsal rows come with the rounds, which tasks tell
    enum trib_err err = catch_up(dataset, NULL);
    if (!err)
        TRIB_INFO("id=online-steps rows=%" PRIu64 " learnt since the version at hand",
                  dataset->online->rows);
    else if (err != TRIB_ERR_REFUSED)
        forget(dataset); // the next task makes it again, and says what is wrong
}

void trib_online_renew(struct trib_dataset *dataset, const float *params, size_t count)
{
    struct trib_online *o = dataset->online;
    if (!o)
        return;
    if (count != o->model.param_count) {
        forget(dataset);
        return;
    }
    trib_model_digest(&o->model, params, o->base);
    o->start = o->mark = o->claimed;
    go_from(o, params);
    trib_online_arrived(dataset);
}
