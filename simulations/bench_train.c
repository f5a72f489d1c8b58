#include "simulations/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/rand.h"
#include "common/math/kernels.h"
#include "common/math/train.h"
#include "simulations/calibration.h"

enum {
    ROWS_MAX = 4096,
    VALUES_MAX = 1 << 24, // of the rows: 64 MiB
    SLICES = 9,           // an odd number has a median
    SLICE_MS = 150,
    SLICE_MS_MAX = 10000,
};

// Floating-point operations of the rows of one call of the trainer, for each millisecond of a slice:
// not much longer than a slice.
static const double flops_at_once = 2.7e7;

// What the jobs were to reach, in samples a second on a core whose calibration loop does this many
// operations. Only ratios to that loop carry over to another machine.
static const double reference_gflops = 170;

struct target {
    const char *spec;
    uint64_t batch;
    double floor, goal;
};

#define CNN                                                                              \
    "1x28x28 - conv 32 5x5 same relu - maxpool 2 - conv 64 5x5 same relu - maxpool 2 - " \
    "dense 512 relu - dense 10 softmax"

static const struct target targets[] = {
    {"784 - dense 10 softmax", 10, 0.9e6, 1.5e6},
    {"784 - dense 10 softmax", 32, 1.1e6, 1.8e6},
    {"784 - dense 200 relu - dense 10 softmax", 10, 110e3, 160e3},
    {"784 - dense 200 relu - dense 10 softmax", 32, 150e3, 190e3},
    {"784 - dense 200 relu - dense 10 softmax", 128, 170e3, 200e3},
    {"784 - dense 200 relu - dense 200 relu - dense 10 softmax", 10, 80e3, 115e3},
    {"784 - dense 200 relu - dense 200 relu - dense 10 softmax", 32, 110e3, 140e3},
    {"784 - dense 200 relu - dense 200 relu - dense 10 softmax", 128, 120e3, 145e3},
    {"64 - dense 32 relu - dense 10 softmax", 16, 3e6, 5e6},
    {"100 - dense 1 linear", 32, 20e6, 40e6},
    {"1000 - dense 1 sigmoid", 32, 3e6, 4.5e6},
    {CNN, 10, 1.1e3, 1.7e3},
    {CNN, 50, 1.2e3, 1.7e3},
};

// 4 for each product of the first layer that learns (its inputs need no gradient), 6 for the
// others.
static double flops_per_sample(const struct trib_model *model)
{
    double flops = 0;
    for (uint32_t l = 0; l < model->layer_count; l++)
        flops += (flops > 0 ? 6.0 : 4.0) * model->layers[l].products;
    return flops;
}

struct job {
    struct trib_model model;
    uint64_t batch, slice_ms;
    double flops; // per sample
    struct trib_trainer_space *space;
    float *x, *y, *params;
    struct trib_samples samples;
};

static size_t row_count(const struct job *job)
{
    const double wanted = flops_at_once * (double)job->slice_ms / job->flops;
    size_t rows = wanted < ROWS_MAX ? (size_t)wanted : ROWS_MAX;
    if (rows > VALUES_MAX / job->model.inputs)
        rows = VALUES_MAX / job->model.inputs;
    rows -= rows % job->batch; // all batches are full ones
    return rows < job->batch ? job->batch : rows;
}

static enum trib_err job_make(struct job *job)
{
    struct trib_rng rng;
    const struct trib_train_options options = {
        .epochs = 1, .batch = job->batch, .learning_rate = 0.01};
    job->flops = flops_per_sample(&job->model);
    const size_t rows = row_count(job);
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

struct figures {
    double samples_per_second, gflops, calibration, ratio;
};

static int compare_ratios(const void *left, const void *right)
{
    const double a = ((const struct figures *)left)->ratio;
    const double b = ((const struct figures *)right)->ratio;
    return (a > b) - (a < b);
}

static enum trib_err slice(struct job *job, struct trib_rng *rng, double *ret_samples_per_second)
{
    const uint64_t begin_us = trib_clock_thread_us();
    uint64_t samples = 0, spent_us;
    do {
        double loss;
        enum trib_err err =
            trib_train(job->space, &job->samples, rng, job->params, NULL, NULL, &loss);
        if (err)
            return err;
        samples += job->samples.rows;
        spent_us = trib_clock_thread_us() - begin_us;
    } while (spent_us < 1000 * job->slice_ms);
    *ret_samples_per_second = (double)samples * 1e6 / (double)spent_us;
    return TRIB_OK;
}

// The slice with the median of the ratios.
static enum trib_err measure(struct job *job, struct figures *ret_figures)
{
    struct figures slices[SLICES];
    const char *kernel = trib_kernels()->name;
    struct trib_rng rng;
    trib_rng_init(&rng, 1, "bench", 1, NULL);
    enum trib_err err = slice(job, &rng, &slices[0].samples_per_second); // to warm up
    double before = trib_calibrate(kernel);
    for (int i = 0; !err && i < SLICES; i++) {
        struct figures *now = &slices[i];
        err = slice(job, &rng, &now->samples_per_second);
        const double after = trib_calibrate(kernel);
        now->calibration = (before + after) / 2;
        now->gflops = now->samples_per_second * job->flops / 1e9;
        now->ratio = now->gflops / now->calibration;
        before = after;
    }
    if (err)
        return err;
    qsort(slices, SLICES, sizeof(slices[0]), compare_ratios);
    *ret_figures = slices[SLICES / 2];
    return TRIB_OK;
}

// ---- What is printed

static const char *met(double value, double floor, double goal)
{
    return value >= goal ? "goal" : value >= floor ? "floor" : "neither";
}

static void print_json(const struct job *job, const struct figures *f, const struct target *target)
{
    struct trib_buf json = {0};
    trib_json_open(&json, NULL, '{');
    trib_json_text(&json, "model", job->model.spec);
    trib_json_uint(&json, "batch", job->batch);
    trib_json_real(&json, "samples_per_second", f->samples_per_second);
    trib_json_real(&json, "gflops", f->gflops);
    trib_json_real(&json, "calibration_gflops", f->calibration);
    trib_json_real(&json, "ratio", f->ratio);
    trib_json_text(&json, "kernel", trib_kernels()->name);
    if (target) {
        const double per_sample = job->flops / 1e9 / reference_gflops;
        trib_json_real(&json, "floor", target->floor);
        trib_json_real(&json, "goal", target->goal);
        trib_json_real(&json, "floor_ratio", target->floor * per_sample);
        trib_json_real(&json, "goal_ratio", target->goal * per_sample);
        trib_json_text(&json, "met", met(f->samples_per_second, target->floor, target->goal));
        trib_json_text(&json, "ratio_met",
                       met(f->ratio, target->floor * per_sample, target->goal * per_sample));
    }
    trib_json_close(&json, '}');
    if (json.data)
        (void)printf("%s\n", (const char *)json.data);
    (void)fflush(stdout);
    trib_buf_fini(&json);
}

static void print_text(const struct job *job, const struct figures *f, const struct target *target)
{
    if (!target) {
        (void)printf("%s, batch %llu: %.0f samples/s, %.1f GF of %.1f, ratio %.3f, kernel %s\n",
                     job->model.spec, (unsigned long long)job->batch, f->samples_per_second,
                     f->gflops, f->calibration, f->ratio, trib_kernels()->name);
        return;
    }
    const double per_sample = job->flops / 1e9 / reference_gflops;
    (void)printf("%-56.56s %5llu %11.0f %9.0f %9.0f %-7s %6.1f %6.1f %6.3f %6.3f %6.3f %s\n",
                 job->model.spec, (unsigned long long)job->batch, f->samples_per_second,
                 target->floor, target->goal,
                 met(f->samples_per_second, target->floor, target->goal), f->gflops, f->calibration,
                 f->ratio, target->floor * per_sample, target->goal * per_sample,
                 met(f->ratio, target->floor * per_sample, target->goal * per_sample));
    (void)fflush(stdout);
}

static enum trib_err run_job(struct job *job, const struct target *target, bool as_json,
                             struct figures *ret_figures)
{
    enum trib_err err = job_make(job);
    if (!err)
        err = measure(job, ret_figures);
    if (!err)
        (as_json ? print_json : print_text)(job, ret_figures, target);
    job_free(job);
    return err;
}

// Is every floor reached, as a ratio, which is what goes for other machines too? A job whose model
// this version does not know is said to be left out.
static int run_all(uint64_t slice_ms, bool as_json)
{
    bool has_missed = false;
    if (!as_json)
        (void)printf("%-56s %5s %11s %9s %9s %-7s %6s %6s %6s %6s %6s met   (kernel %s)\n", "model",
                     "batch", "samples/s", "floor", "goal", "met", "GF/s", "calib.", "ratio",
                     "floor", "goal", trib_kernels()->name);
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        const struct target *target = &targets[i];
        struct job job = {.batch = target->batch, .slice_ms = slice_ms};
        struct figures figures;
        char why[256];
        if (trib_model_parse(target->spec, &job.model, why, sizeof(why))) {
            (void)fprintf(stderr, "left out: %s: %s\n", target->spec, why);
            continue;
        }
        enum trib_err err = run_job(&job, target, as_json, &figures);
        if (err)
            return (int)trib_exit_of(err);
        has_missed =
            has_missed || figures.ratio < target->floor * (job.flops / 1e9 / reference_gflops);
    }
    return has_missed ? TRIB_EXIT_STOPPED : TRIB_EXIT_OK;
}

int trib_bench_train(const struct trib_command *command, int argc, char **argv)
{
    const char *spec = NULL;
    uint64_t batch = 32, slice_ms = SLICE_MS;
    bool as_json = false, is_for_all = false;
    const struct trib_option options[] = {
        {"model", TRIB_OPTION_TEXT, &spec, "SPEC", "the model, e.g. '784 - dense 10 softmax'"},
        {"batch", TRIB_OPTION_INT, &batch, "B", "rows a step (32)"},
        {"all", TRIB_OPTION_FLAG, &is_for_all, NULL, "all jobs of docs/benchmarks.md instead"},
        {"slice-ms", TRIB_OPTION_INT, &slice_ms, "MS", "CPU time of each of nine slices (150)"},
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object a job"},
    };
    char why[256];
    struct job job = {.space = NULL};
    struct figures figures;
    int count;
    int code;
    const struct trib_usage usage = {.command = command, .options = options, .option_count = 5};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (slice_ms == 0 || slice_ms > SLICE_MS_MAX) {
        (void)fprintf(stderr, "bench train: --slice-ms wants 1 to %d\n", SLICE_MS_MAX);
        return TRIB_EXIT_USAGE;
    }
    if (is_for_all && !spec)
        return run_all(slice_ms, as_json);
    if (!spec || is_for_all || batch == 0 || batch > ROWS_MAX ||
        trib_model_parse(spec, &job.model, why, sizeof(why))) {
        (void)fprintf(stderr, "bench train: --model: %s\n",
                      is_for_all                       ? "not with --all"
                      : !spec                          ? "is required, or --all"
                      : batch == 0 || batch > ROWS_MAX ? "--batch wants 1 to 4096"
                                                       : why);
        return TRIB_EXIT_USAGE;
    }
    job.batch = batch;
    job.slice_ms = slice_ms;
    enum trib_err err = run_job(&job, NULL, as_json, &figures);
    return err ? (int)trib_exit_of(err) : TRIB_EXIT_OK;
}
