#include "simulations/device.h"

#include <stdlib.h>
#include <string.h>

#include "client/task.h"
#include "common/base/alloc.h"
#include "common/base/rand.h"
#include "common/privacy/encode.h"
#include "common/privacy/noise.h"
#include "common/wire/codec.h"

// Vectors have param_count elements.
struct trib_bench {
    const struct trib_job *job; // borrowed
    struct trib_trainer_space *space;
    float *params; // trained, then the delta
    int32_t *words;
    uint8_t *packed;
    struct trib_noise noise;
};

enum trib_err trib_bench_create(const struct trib_job *job, size_t rows_max,
                                struct trib_bench **ret_bench)
{
    const size_t count = job->model.param_count;
    struct trib_bench *bench = trib_alloc(sizeof(*bench));
    if (!bench)
        return TRIB_ERR_NOMEM;
    bench->job = job;
    bench->params = trib_alloc_aligned(count, sizeof(*bench->params));
    bench->words = trib_alloc_aligned(count, sizeof(*bench->words));
    bench->packed = trib_alloc_aligned(trib_codec_size(count, job->privacy.encoding.word_bits), 1);
    enum trib_err err = TRIB_ERR_NOMEM;
    if (bench->params && bench->words && bench->packed)
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
    free(bench->params);
    free(bench->words);
    free(bench->packed);
    free(bench);
}

// With privacy on the number of examples stays on the device and all devices weigh the same.
static uint32_t weight_of(const struct trib_job *job, size_t rows)
{
    if (job->privacy.encoding.mode != TRIB_PRIVACY_OFF)
        return 1;
    return rows < job->weight_max ? (uint32_t)rows : job->weight_max;
}

enum trib_err trib_bench_run(struct trib_bench *bench, const struct trib_device_task *task,
                             struct trib_device_update *ret_update)
{
    const struct trib_job *job = bench->job;
    const struct trib_encoding *encoding = &job->privacy.encoding;
    const size_t count = job->model.param_count;
    struct trib_encode_report report;
    struct trib_rng rng;
    double loss;

    *ret_update = (struct trib_device_update){.code = TRIB_CODE_DECLINED_FAILED};
    memcpy(bench->params, task->base, count * sizeof(*bench->params));
    trib_train_set_rate(bench->space, task->learning_rate);
    trib_task_rng(&rng, job->config.round_seed, task->round_number, task->name);
    enum trib_err err = trib_train(bench->space, &task->samples, &rng, bench->params, task->stop,
                                   task->stop_user, &loss);
    if (err)
        return err == TRIB_ERR_STOPPED ? err : TRIB_OK;

    for (size_t i = 0; i < count; i++)
        bench->params[i] = bench->params[i] - task->base[i];
    trib_task_noise(&bench->noise, job->config.test_seed, task->round_number, task->name);
    err = trib_encode(encoding, &bench->noise, bench->params, count, bench->words, &report);
    trib_noise_fini(&bench->noise);
    if (err) {
        ret_update->code = TRIB_CODE_DECLINED_RANGE;
        return TRIB_OK;
    }
    err = task->mask ? task->mask(task->mask_user, bench->words, count) : TRIB_OK;
    if (err)
        return err;
    trib_codec_pack(bench->words, count, encoding->word_bits, bench->packed);
    *ret_update = (struct trib_device_update){
        .code = TRIB_CODE_NONE,
        .packed = bench->packed,
        .packed_size = trib_codec_size(count, encoding->word_bits),
        .weight = weight_of(job, trib_train_report(bench->space).rows),
    };
    return TRIB_OK;
}
