#include "simulations/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/rand.h"
#include "common/math/blas.h"
#include "common/math/train.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    ROWS_MAX = 4096,
    VALUES_MAX = 1 << 24, // of the rows: 64 MiB
    MEASURE_US = 1500000,
    CHAINS = 12, // independent sums, to hide the latency of one
    LOOPS = 200000,
};

// ---- Calibration: fused multiply-adds from registers, the most this core can do now

struct calibration {
    const char *name;
    double flops_per_loop;
    float (*run)(void); // LOOPS loops; the result keeps the compiler honest
};

static float run_plain(void)
{
    float sums[CHAINS];
    for (int c = 0; c < CHAINS; c++)
        sums[c] = (float)(c + 1);
    for (int i = 0; i < LOOPS; i++) {
        for (int c = 0; c < CHAINS; c++)
            sums[c] = sums[c] * 0.999f + 0.999f;
        __asm__ volatile("" ::: "memory");
    }
    return sums[0] + sums[CHAINS - 1];
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static float run_avx2(void)
{
    const __m256 x = _mm256_set1_ps(0.999f);
    __m256 sums[CHAINS];
    for (int c = 0; c < CHAINS; c++)
        sums[c] = _mm256_set1_ps((float)(c + 1));
    for (int i = 0; i < LOOPS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            sums[c] = _mm256_fmadd_ps(sums[c], x, x);
    }
    for (int c = 1; c < CHAINS; c++)
        sums[0] = _mm256_add_ps(sums[0], sums[c]);
    return _mm256_cvtss_f32(sums[0]);
}

__attribute__((target("avx512f"))) static float run_avx512(void)
{
    const __m512 x = _mm512_set1_ps(0.999f);
    __m512 sums[CHAINS];
    for (int c = 0; c < CHAINS; c++)
        sums[c] = _mm512_set1_ps((float)(c + 1));
    for (int i = 0; i < LOOPS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            sums[c] = _mm512_fmadd_ps(sums[c], x, x);
    }
    for (int c = 1; c < CHAINS; c++)
        sums[0] = _mm512_add_ps(sums[0], sums[c]);
    return _mm512_cvtss_f32(sums[0]);
}
#endif

static struct calibration best_calibration(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return (struct calibration){"avx512", 2.0 * CHAINS * 16, run_avx512};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct calibration){"avx2", 2.0 * CHAINS * 8, run_avx2};
#endif
    return (struct calibration){"plain", 2.0 * CHAINS, run_plain};
}

static double calibrate(const struct calibration *calibration)
{
    double best = 0;
    for (int i = 0; i < 5; i++) {
        uint64_t begin_us = trib_clock_thread_us();
        volatile float kept = calibration->run();
        uint64_t spent_us = trib_clock_thread_us() - begin_us;
        (void)kept;
        double gflops =
            LOOPS * calibration->flops_per_loop / ((double)(spent_us ? spent_us : 1) * 1e3);
        best = gflops > best ? gflops : best;
    }
    return best;
}

// ---- Training

// 4 for each product of the first layer that learns (its inputs need no gradient), 6 for the others.
static double flops_per_sample(const struct trib_model *model)
{
    double flops = 0;
    for (uint32_t l = 0; l < model->layer_count; l++)
        flops += (flops > 0 ? 6.0 : 4.0) * model->layers[l].products;
    return flops;
}

struct job {
    struct trib_model model;
    struct trib_trainer_space *space;
    float *x, *y, *params;
    struct trib_samples samples;
};

static enum trib_err job_make(struct job *job, uint64_t batch)
{
    struct trib_rng rng;
    const struct trib_train_options options = {.epochs = 1, .batch = batch, .learning_rate = 0.01};
    size_t rows = VALUES_MAX / job->model.inputs;
    rows = rows > ROWS_MAX ? ROWS_MAX : rows;
    rows = rows < batch ? batch : rows;
    job->x = trib_alloc_aligned(rows * job->model.inputs, sizeof(float));
    job->y = trib_alloc_aligned(rows, sizeof(float));
    job->params = trib_alloc_aligned(job->model.param_count, sizeof(float));
    if (!job->x || !job->y || !job->params)
        return TRIB_ERR_NOMEM;
    trib_rng_init(&rng, 1, "bench", 0, NULL);
    for (size_t i = 0; i < rows * job->model.inputs; i++)
        job->x[i] = (float)trib_rng_real(&rng);
    for (size_t i = 0; i < rows; i++)
        job->y[i] = job->model.classes ? (float)trib_rng_below(&rng, job->model.classes)
                                       : (float)trib_rng_real(&rng);
    trib_model_init(&job->model, 1, job->params);
    job->samples =
        (struct trib_samples){.x = job->x, .y = job->y, .rows = rows, .inputs = job->model.inputs};
    return trib_train_space_create(&job->model, &options, rows, &job->space);
}

static void job_free(struct job *job)
{
    trib_train_space_destroy(job->space);
    free(job->x);
    free(job->y);
    free(job->params);
}

static enum trib_err measure(struct job *job, double *ret_samples_per_second)
{
    struct trib_rng rng;
    double loss;
    uint64_t samples = 0;
    trib_rng_init(&rng, 1, "bench", 1, NULL);
    enum trib_err err = trib_train(job->space, &job->samples, &rng, job->params, NULL, NULL, &loss);
    const uint64_t begin_us = trib_clock_thread_us();
    uint64_t spent_us = 0;
    while (!err && spent_us < MEASURE_US) {
        err = trib_train(job->space, &job->samples, &rng, job->params, NULL, NULL, &loss);
        samples += job->samples.rows;
        spent_us = trib_clock_thread_us() - begin_us;
    }
    *ret_samples_per_second = (double)samples * 1e6 / (double)(spent_us ? spent_us : 1);
    return err;
}

int trib_bench_train(const struct trib_command *command, int argc, char **argv)
{
    const char *spec = NULL;
    uint64_t batch = 32;
    bool as_json = false;
    const struct trib_option options[] = {
        {"model", TRIB_OPTION_TEXT, &spec, "SPEC", "the model, e.g. '784 - dense 10 softmax'"},
        {"batch", TRIB_OPTION_INT, &batch, "B", "rows a step (32)"},
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object"},
    };
    char why[256];
    struct job job = {.space = NULL};
    double rate = 0;
    int count;
    int code;
    const struct trib_usage usage = {.command = command, .options = options, .option_count = 3};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (!spec || batch == 0 || batch > ROWS_MAX ||
        trib_model_parse(spec, &job.model, why, sizeof(why))) {
        (void)fprintf(stderr, "bench train: --model: %s\n",
                      !spec                            ? "is required"
                      : batch == 0 || batch > ROWS_MAX ? "--batch wants 1 to 4096"
                                                       : why);
        return TRIB_EXIT_USAGE;
    }
    const struct calibration calibration = best_calibration();
    enum trib_err err = job_make(&job, batch);
    double before = calibrate(&calibration);
    if (!err)
        err = measure(&job, &rate);
    double after = calibrate(&calibration);
    job_free(&job);
    if (err)
        return (int)trib_exit_of(err);

    const double peak = before > after ? before : after;
    const double gflops = rate * flops_per_sample(&job.model) / 1e9;
    struct trib_buf json = {0};
    trib_json_open(&json, NULL, '{');
    trib_json_text(&json, "model", job.model.spec);
    trib_json_uint(&json, "batch", batch);
    trib_json_real(&json, "samples_per_second", rate);
    trib_json_real(&json, "gflops", gflops);
    trib_json_real(&json, "calibration_gflops", peak);
    trib_json_real(&json, "ratio", gflops / peak);
    trib_json_text(&json, "kernel", trib_blas_name());
    trib_json_text(&json, "calibration", calibration.name);
    trib_json_close(&json, '}');
    if (as_json && json.data)
        (void)printf("%s\n", (const char *)json.data);
    else
        (void)printf("%s, batch %llu: %.0f samples/s, %.1f GF of %.1f (%s), ratio %.3f, %s\n",
                     job.model.spec, (unsigned long long)batch, rate, gflops, peak,
                     calibration.name, gflops / peak, trib_blas_name());
    trib_buf_fini(&json);
    return TRIB_EXIT_OK;
}
