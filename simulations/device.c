#include "simulations/device.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "client/task.h"
#include "common/base/alloc.h"
#include "common/base/rand.h"
#include "common/privacy/encode.h"
#include "common/privacy/noise.h"
#include "common/wire/codec.h"

struct trib_bench {
    const struct trib_job *job; // borrowed
    struct trib_trainer_space *space;
    float *params;  // (of both parts) trained; then the common one's delta
    int32_t *words; // (the most words of an update)
    struct trib_tally tallies[TRIB_TALLY_KINDS]; // of the kinds that the job asks for
    float *scaled; // (the most values of a tally), NULL with privacy off
    struct trib_noise noise;
};

static enum trib_err create_buffers(struct trib_bench *bench)
{
    const struct trib_job *job = bench->job;
    const bool is_private = job->privacy.encoding.mode != TRIB_PRIVACY_OFF;
    size_t words = job->model.param_count;
    size_t values = 0;
    for (int kind = TRIB_TALLY_NONE + 1; kind < TRIB_TALLY_KINDS; kind++) {
        if (job->tallies[kind].values == 0)
            continue;
        const struct trib_round_shape shape = trib_job_shape(job, (enum trib_tally_kind)kind);
        words = shape.words > words ? shape.words : words;
        values = shape.values > values ? shape.values : values;
        enum trib_err err = trib_tally_init(&bench->tallies[kind], shape.values);
        if (err)
            return err;
    }
    bench->params = trib_alloc_aligned(trib_model_total(&job->model), sizeof(*bench->params));
    bench->words = trib_alloc_aligned(words, sizeof(*bench->words));
    if (is_private && values > 0)
        bench->scaled = trib_alloc_aligned(values, sizeof(*bench->scaled));
    bool is_complete =
        bench->params && bench->words && (!is_private || values == 0 || bench->scaled);
    return is_complete ? TRIB_OK : TRIB_ERR_NOMEM;
}

enum trib_err trib_bench_create(const struct trib_job *job, size_t rows_max,
                                struct trib_bench **ret_bench)
{
    struct trib_bench *bench = trib_alloc(sizeof(*bench));
    if (!bench)
        return TRIB_ERR_NOMEM;
    bench->job = job;
    enum trib_err err = create_buffers(bench);
    if (!err)
        err = trib_train_space_create(&job->model, &job->train, rows_max, &bench->space);
    if (err) {
        trib_bench_destroy(bench);
        return err;
    }
    *ret_bench = bench;
    return TRIB_OK;
}

void trib_bench_destroy(struct trib_bench *bench)
{
    if (!bench)
        return;
    trib_train_space_destroy(bench->space);
    for (int kind = 0; kind < TRIB_TALLY_KINDS; kind++)
        trib_tally_fini(&bench->tallies[kind]);
    free(bench->params);
    free(bench->words);
    free(bench->scaled);
    free(bench);
}

// With privacy on the number of examples stays on the device and all devices weigh the same.
static uint32_t weight_of(const struct trib_job *job, size_t rows)
{
    if (job->privacy.encoding.mode != TRIB_PRIVACY_OFF)
        return 1;
    return rows < job->weight_max ? (uint32_t)rows : job->weight_max;
}

// Both parts of the model, the device's own behind the common one.
static void join(struct trib_bench *bench, const struct trib_device_task *task)
{
    const struct trib_model *model = &bench->job->model;
    memcpy(bench->params, task->base, model->param_count * sizeof(*bench->params));
    if (model->local_count > 0)
        memcpy(bench->params + model->param_count, task->local,
               model->local_count * sizeof(*task->local));
}

// What the device keeps for itself, before its update goes out. False: it is not usable.
static bool keep_local(const struct trib_bench *bench, const struct trib_device_task *task)
{
    const struct trib_model *model = &bench->job->model;
    const float *local = bench->params + model->param_count;
    for (size_t i = 0; i < model->local_count; i++) {
        if (!isfinite(local[i]))
            return false;
    }
    if (model->local_count > 0)
        memcpy(task->local, local, model->local_count * sizeof(*local));
    return true;
}

// The privacy boundary, with this device's noise. False: the update does not fit.
static bool encode(struct trib_bench *bench, const struct trib_device_task *task,
                   const float *values)
{
    struct trib_encode_report report;
    trib_task_noise(&bench->noise, bench->job->config.test_seed, task->round_number, task->name);
    enum trib_err err = trib_encode(&task->shape->privacy->encoding, &bench->noise, values,
                                    task->shape->words, bench->words, &report);
    trib_noise_fini(&bench->noise);
    return err == TRIB_OK;
}

static enum trib_err train(struct trib_bench *bench, const struct trib_device_task *task,
                           enum trib_code *ret_code)
{
    const struct trib_job *job = bench->job;
    const size_t count = job->model.param_count;
    struct trib_rng rng;
    double loss;
    join(bench, task);
    trib_train_set_rate(bench->space, task->learning_rate);
    if (task->class_weight)
        trib_train_set_class_weights(bench->space, task->class_weight);
    trib_task_rng(&rng, job->config.round_seed,
                  trib_task_stream(job->train.is_online, task->round_number), task->name);
    *ret_code = TRIB_CODE_DECLINED_FAILED;
    enum trib_err err = trib_train(bench->space, &task->samples, &rng, bench->params, task->stop,
                                   task->stop_user, &loss);
    if (err == TRIB_ERR_REFUSED)
        *ret_code = TRIB_CODE_DECLINED_NO_DATA;
    if (err)
        return err == TRIB_ERR_STOPPED ? err : TRIB_OK;
    for (size_t i = 0; i < count; i++)
        bench->params[i] = bench->params[i] - task->base[i];
    const bool is_good = encode(bench, task, bench->params) && keep_local(bench, task);
    *ret_code = is_good ? TRIB_CODE_NONE : TRIB_CODE_DECLINED_RANGE;
    return TRIB_OK;
}

static enum trib_code count(struct trib_bench *bench, const struct trib_device_task *task)
{
    const struct trib_job *job = bench->job;
    struct trib_tally *tally = &bench->tallies[task->shape->kind];
    struct trib_ask ask = {.kind = task->shape->kind,
                           .model = &job->model,
                           .kept = trib_job_kept(&job->config),
                           .ranking = job->held_out.ranking,
                           .is_exact = !bench->scaled};
    size_t index;
    trib_ask_decide(&ask, task->threshold);
    trib_tally_reset(tally);
    tally->layout = task->shape->layout;
    join(bench, task);
    if (trib_ask_count(&ask, bench->params, &task->samples, tally))
        return TRIB_CODE_DECLINED_FAILED;
    if (!bench->scaled)
        return trib_tally_pack(tally, bench->words, &index) ? TRIB_CODE_DECLINED_RANGE
                                                            : TRIB_CODE_NONE;
    trib_tally_floats(tally, job->config.tally_scale, bench->scaled);
    return encode(bench, task, bench->scaled) ? TRIB_CODE_NONE : TRIB_CODE_DECLINED_RANGE;
}

enum trib_err trib_bench_run(struct trib_bench *bench, const struct trib_device_task *task,
                             struct trib_device_update *ret_update)
{
    const struct trib_job *job = bench->job;
    enum trib_err err = TRIB_OK;

    *ret_update = (struct trib_device_update){.code = TRIB_CODE_DECLINED_FAILED};
    if (task->shape->kind)
        ret_update->code = count(bench, task);
    else
        err = train(bench, task, &ret_update->code);
    if (err || ret_update->code != TRIB_CODE_NONE)
        return err;
    err = task->mask ? task->mask(task->mask_user, bench->words, task->shape->words) : TRIB_OK;
    if (err)
        return err;
    *ret_update = (struct trib_device_update){
        .code = TRIB_CODE_NONE,
        .words = bench->words,
        .weight = task->shape->kind ? 1 : weight_of(job, trib_train_report(bench->space).rows),
    };
    return TRIB_OK;
}
