#include "coordinator/ctl/eliminate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/data/feature_names.h"
#include "common/math/metrics.h"
#include "common/math/model_file.h"
#include "common/math/train.h"
#include "coordinator/ctl/elimination.h"
#include "coordinator/ctl/fetch.h"
#include "coordinator/ctl/series.h"

enum {
    SETS_MAX = TRIB_SERIES_SETS_MAX,
    OWN_SETS_MAX = SETS_MAX - 8, // what is left for --set
    SET_SIZE = 64,
};

struct eliminate {
    struct trib_series series;
    struct trib_texts sets;
    const char *out, *step_text, *metric;
    char *out_whole; // absolute: the coordinator has another working directory
    uint64_t folds, run;
    bool json;
    struct trib_model model; // with all features
    struct trib_features features;
    struct trib_elimination e;
    struct trib_series_value found; // the name of the metric, once it is known
};

// ---- What it is about

// A path of the job file, from where the file is. False: it is too long.
static bool take_path(const struct eliminate *x, const char *key, trib_conf_text ret_path)
{
    char path[TRIB_PATH_MAX + 1];
    trib_series_value_of(&x->series, "data", key, ret_path, TRIB_CONF_TEXT_MAX + 1);
    if (!ret_path[0] || ret_path[0] == '/')
        return true;
    if (trib_path_join(path, x->series.folder, ret_path) || strlen(path) > TRIB_CONF_TEXT_MAX)
        return false;
    memcpy(ret_path, path, strlen(path) + 1);
    return true;
}

static int fail(const struct eliminate *x, const char *key, const char *text)
{
    (void)fprintf(stderr, "%s: %s: %s\n", x->series.path, key, text);
    return TRIB_EXIT_USAGE;
}

// The model, what its features are called, and whether a pipeline can drop some of them.
static int open_features(struct eliminate *x)
{
    struct trib_data_config data = {.scale = 1};
    char spec[TRIB_CONF_TEXT_MAX + 1];
    char why[256];
    trib_series_value_of(&x->series, "model", "spec", spec, sizeof(spec));
    if (!spec[0])
        return fail(x, "model.spec", "is missing: say the layers");
    if (trib_model_parse(spec, &x->model, why, sizeof(why)))
        return fail(x, "model.spec", why);
    if (!trib_elimination_layer(&x->model))
        return fail(
            x, "model.spec",
            "features are ranked by the weights of a first layer that is dense and not local");
    trib_series_value_of(&x->series, "model", "init", why, sizeof(why));
    if (why[0])
        return fail(x, "model.init", "has all features: a model that shrinks begins without it");
    trib_series_value_of(&x->series, "model", "init_version", why, sizeof(why));
    if (why[0] && strcmp(why, "0") != 0)
        return fail(x, "model.init_version",
                    "has all features: a model that shrinks begins without it");
    trib_series_value_of(&x->series, "data", "scale", why, sizeof(why));
    if (why[0] && strcmp(why, "1") != 0) {
        char *end;
        data.scale = strtod(why, &end); // no number is the coordinator's to refuse
        if (*end)
            data.scale = 1;
    }
    if (!take_path(x, "schema", data.schema) || !take_path(x, "prepare", data.prepare))
        return fail(x, "data", "a path is too long");
    if (!data.schema[0])
        return fail(x, "data.schema", "is missing: features have no names");
    if (trib_features_load(&data, x->model.inputs, &x->features, why, sizeof(why)))
        return why[0] ? fail(x, "model.spec", why) : TRIB_EXIT_USAGE;
    if (x->features.why_no_pipeline)
        return fail(x, "data.prepare", x->features.why_no_pipeline);
    if (x->e.keep > x->features.count) {
        (void)fprintf(stderr, "eliminate: --keep %" PRIu64 ": the model has %zu features\n",
                      x->e.keep, x->features.count);
        return TRIB_EXIT_USAGE;
    }
    return trib_elimination_begin(&x->e, x->features.count) ? TRIB_EXIT_INTERNAL : TRIB_EXIT_OK;
}

// ---- Files

// The pipeline that makes the features of `set`, as NAME in --out.
static int write_pipeline(const struct eliminate *x, const struct trib_feature_set *set,
                          const char *name, char ret_path[static TRIB_PATH_MAX + 1])
{
    struct trib_buf text = {0};
    bool *stays = trib_alloc_array(x->features.count, sizeof(*stays));
    enum trib_err err = stays ? TRIB_OK : TRIB_ERR_NOMEM;
    for (size_t i = 0; i < set->count && !err; i++)
        stays[set->items[i]] = true;
    if (!err)
        err = trib_features_pipeline(&x->features, stays, &text);
    if (!err)
        err = trib_path_join(ret_path, x->out_whole, name);
    if (!err)
        err = trib_file_write(ret_path, text.data, text.size, 0644);
    trib_buf_fini(&text);
    free(stays);
    return (int)trib_exit_of(err);
}

static int write_names(const struct eliminate *x)
{
    char text[TRIB_FEATURE_TEXT_SIZE], path[TRIB_PATH_MAX + 1];
    struct trib_buf names = {0};
    for (size_t i = 0; i < x->e.best.count; i++)
        trib_buf_printf(&names, "%s\n", trib_features_name(&x->features, x->e.best.items[i], text));
    enum trib_err err =
        names.failed ? TRIB_ERR_NOMEM : trib_path_join(path, x->out_whole, "features.txt");
    if (!err)
        err = trib_file_write(path, names.data, names.size, 0644);
    trib_buf_fini(&names);
    return (int)trib_exit_of(err);
}

// What the model of this version makes of its features, to e.scores.
static int take_scores(struct eliminate *x, uint64_t version)
{
    char number[24], path[TRIB_PATH_MAX + 1], why[512];
    struct trib_buf whole = {0};
    struct trib_model model;
    float *params = NULL;
    enum trib_err err;
    (void)snprintf(number, sizeof(number), "%" PRIu64, version);
    int code = trib_ctl_fetch(x->series.dir, number, &whole, &err);
    if (!code)
        code = (int)trib_exit_of(trib_path_join(path, x->out_whole, "model.safetensors"));
    if (!code)
        code = (int)trib_exit_of(trib_file_write(path, whole.data, whole.size, 0600));
    trib_buf_fini(&whole);
    if (code)
        return code;
    err = trib_model_file_open(path, &model, &params, why, sizeof(why));
    (void)!trib_file_remove(path);
    if (err || model.inputs != x->e.left.count || !trib_elimination_layer(&model)) {
        (void)fprintf(stderr, "eliminate: version %s: %s\n", number,
                      err ? why : "is not what the job was to learn");
        free(params);
        return TRIB_EXIT_DATA;
    }
    trib_elimination_norms(trib_elimination_layer(&model), params, x->e.scores);
    free(params);
    return TRIB_EXIT_OK;
}

// ---- Telling

static void tell(const struct eliminate *x, const char *event, const struct trib_feature_set *set,
                 const struct trib_series_value *value, size_t removed)
{
    char text[TRIB_FEATURE_TEXT_SIZE], spec[TRIB_SPEC_MAX + 1];
    const bool is_job = strcmp(event, "job") == 0;
    struct trib_buf json = {0};
    trib_elimination_spec(x->model.spec, set->count, spec);
    trib_json_open(&json, NULL, '{');
    trib_json_text(&json, "event", event);
    trib_json_uint(&json, "features", set->count);
    trib_json_text(&json, "metric", value->metric[0] ? value->metric : NULL);
    trib_json_real(&json, "value", value->value);
    trib_json_text(&json, "spec", spec);
    trib_json_open(&json, is_job ? "removed" : "names", '[');
    for (size_t i = 0; i < (is_job ? removed : set->count); i++)
        trib_json_text(&json, NULL,
                       trib_features_name(&x->features,
                                          is_job ? x->e.ranked[i].feature : set->items[i], text));
    trib_json_close(&json, ']');
    if (value->version)
        trib_json_uint(&json, "version", value->version);
    trib_json_close(&json, '}');
    if (x->json && !json.failed)
        (void)printf("%s\n", (const char *)json.data);
    trib_buf_fini(&json);
    if (!x->json) {
        (void)printf("%-7s %5zu features  %s %.4f", event, set->count, value->metric, value->value);
        for (size_t i = 0; i < removed; i++)
            (void)printf("%s%s", i ? " | " : "  without ",
                         trib_features_name(&x->features, x->e.ranked[i].feature, text));
        (void)printf("\n");
        for (size_t i = 0; strcmp(event, "choice") == 0 && i < set->count; i++)
            (void)printf("  %s\n", trib_features_name(&x->features, set->items[i], text));
    }
    (void)fflush(stdout);
}

// ---- Jobs

// One job of the series. `word` "last": on all training rows, measured on the held-out ones.
static int run_one(struct eliminate *x, const struct trib_feature_set *set, const char *word,
                   struct trib_series_value *ret_value)
{
    const char *sets[SETS_MAX];
    struct trib_series_job job;
    char prepare[TRIB_PATH_MAX + 32], spec[TRIB_SPEC_MAX + 16], folds[SET_SIZE], every[SET_SIZE];
    char path[TRIB_PATH_MAX + 1], name[SET_SIZE], text[TRIB_SPEC_MAX + 1];
    size_t count = 0;
    (void)snprintf(name, sizeof(name), "pipeline-%zu.ini", set->count);
    int code = write_pipeline(x, set, word ? "pipeline.ini" : name, path);
    if (code)
        return code;
    for (size_t i = 0; i < x->sets.count; i++)
        sets[count++] = x->sets.items[i];
    trib_elimination_spec(x->model.spec, set->count, text);
    (void)snprintf(spec, sizeof(spec), "model.spec=%s", text);
    (void)snprintf(prepare, sizeof(prepare), "data.prepare=%s", path);
    (void)snprintf(folds, sizeof(folds), "round.folds=%" PRIu64, x->folds);
    (void)snprintf(every, sizeof(every), "round.%s=%d", word ? "eval_every" : "evaluate_on_devices",
                   TRIB_ROUNDS_MAX);
    sets[count++] = spec;
    sets[count++] = prepare;
    sets[count++] = every; // the last version only
    if (!word) {
        sets[count++] = folds;
        sets[count++] = "round.eval_every=0";
    }
    code = trib_series_run(&x->series, set->count, word, sets, count, &job);
    if (code)
        return code;
    code = trib_series_held_out(&x->series, job.id, ret_value); // and the version in any case
    if (!code && !word) {
        x->found.version = ret_value->version;
        code = trib_series_measured(&x->series, job.id, &x->found);
        *ret_value = x->found;
    }
    if (!code && (strcmp(job.state, "done") != 0 || (!word && isnan(ret_value->value)))) {
        (void)fprintf(stderr, "eliminate: job %" PRIu64 " with %zu features %s: %s\n", job.id,
                      set->count, job.state, job.reason);
        return TRIB_EXIT_STOPPED;
    }
    return code;
}

// With --step 1 as many jobs as there are features to go, with a share fewer; and the last.
static uint64_t count_jobs(const struct trib_elimination *e)
{
    uint64_t jobs = 2;
    for (size_t left = e->left.count; left > e->keep; jobs++) {
        size_t step = e->step_is_percent ? left * e->step / 100 : e->step;
        step = step ? step : 1;
        left -= step < left - e->keep ? step : left - e->keep;
    }
    return jobs;
}

static int run_series(struct eliminate *x)
{
    struct trib_series_value value, best = {.value = (double)NAN};
    int code = open_features(x);
    if (code)
        return code;
    x->series.jobs = count_jobs(&x->e);
    for (size_t step = 1; step > 0;) {
        code = run_one(x, &x->e.left, NULL, &value);
        if (!code)
            code = take_scores(x, value.version);
        if (code)
            return code;
        value.version = 0;
        if (trib_elimination_note(&x->e, value.value, trib_metric_higher_is_better(value.metric)))
            best = value;
        step = trib_elimination_rank(&x->e);
        tell(x, "job", &x->e.left, &value, step);
        trib_elimination_remove(&x->e, step);
    }
    tell(x, "choice", &x->e.best, &best, 0);
    code = run_one(x, &x->e.best, "last", &value); // the first look at the held-out rows
    if (code)
        return code;
    tell(x, "done", &x->e.best, &value, 0);
    return write_names(x);
}

// ---- The command line

static bool take_options(struct eliminate *x)
{
    if (!trib_elimination_take_step(&x->e, x->step_text))
        (void)fprintf(stderr, "eliminate: --step %s: want a number of features, or a share: 10%%\n",
                      x->step_text);
    else if (x->e.keep == 0)
        (void)fprintf(stderr, "eliminate: --keep 0: at least one feature stays\n");
    else if (x->folds < 2 || x->folds > TRIB_KEPT_FOLDS_MAX)
        (void)fprintf(stderr, "eliminate: --folds %" PRIu64 ": want 2 to %d folds\n", x->folds,
                      TRIB_KEPT_FOLDS_MAX);
    else if (x->sets.count > OWN_SETS_MAX)
        (void)fprintf(stderr, "eliminate: more than %d --set\n", OWN_SETS_MAX);
    else if (!x->out)
        (void)fprintf(stderr, "eliminate: --out is missing: where the pipelines go\n");
    else if (x->metric && strlen(x->metric) >= sizeof(x->found.metric))
        (void)fprintf(stderr, "eliminate: --metric %s: there is no such metric\n", x->metric);
    else
        return true;
    return false;
}

static void identify(struct eliminate *x)
{
    const char *texts[TRIB_TEXTS_MAX + 4];
    size_t count = 0;
    char numbers[128];
    (void)snprintf(numbers, sizeof(numbers), "%" PRIu64 " %" PRIu64 " %" PRIu64, x->folds,
                   x->e.keep, x->run);
    texts[count++] = numbers;
    texts[count++] = x->step_text;
    texts[count++] = x->metric ? x->metric : "";
    for (size_t i = 0; i < x->sets.count; i++)
        texts[count++] = x->sets.items[i];
    trib_series_identify(&x->series, texts, count);
}

static int run(struct eliminate *x)
{
    if (!take_options(x))
        return TRIB_EXIT_USAGE;
    if (x->metric)
        (void)snprintf(x->found.metric, sizeof(x->found.metric), "%s", x->metric);
    int code = trib_series_open(&x->series);
    if (code)
        return code;
    if (trib_dir_make(x->out, 0755))
        return TRIB_EXIT_USAGE;
    x->out_whole = realpath(x->out, NULL);
    if (!x->out_whole)
        return TRIB_EXIT_USAGE;
    identify(x);
    return run_series(x);
}

int trib_ctl_eliminate(const char *dir, const struct trib_command *command, int argc, char **argv)
{
    struct eliminate *x = trib_alloc(sizeof(*x));
    int count;
    int status = TRIB_EXIT_INTERNAL;
    if (!x)
        return status;
    x->e.keep = x->run = 1;
    x->folds = 5;
    x->step_text = "10%";
    x->series = (struct trib_series){.dir = dir, .command = command->name};
    const struct trib_option options[] = {
        {"keep", TRIB_OPTION_INT, &x->e.keep, "N", "go on until so many features are left (1)"},
        {"step", TRIB_OPTION_TEXT, &x->step_text, "K", "remove so many after each job (10%)"},
        {"folds", TRIB_OPTION_INT, &x->folds, "K", "choose by one of K folds of the rows (5)"},
        {"metric", TRIB_OPTION_TEXT, &x->metric, "NAME",
         "of those that devices measure (the first: accuracy, mse, ...)"},
        {"set", TRIB_OPTION_LIST, &x->sets, "SECTION.KEY=VALUE", "override a key; many times"},
        {"out", TRIB_OPTION_TEXT, &x->out, "DIR",
         "for the pipelines and features.txt; must be given"},
        {"run", TRIB_OPTION_INT, &x->run, "N", "another series of the same kind (1)"},
        {"accept-drowned-signal", TRIB_OPTION_FLAG, &x->series.accepts_drowned, NULL,
         "start jobs also when the noise will drown the model"},
        {"json", TRIB_OPTION_FLAG, &x->json, NULL, "one JSON object a line on stdout"},
    };
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0]),
                                     .operand_min = 1,
                                     .operand_max = 1};
    if (trib_args_parse(&usage, argc, argv, &count, &status)) {
        x->series.path = argv[0];
        status = run(x);
    }
    trib_series_close(&x->series);
    trib_features_fini(&x->features);
    trib_elimination_fini(&x->e);
    free(x->out_whole);
    free(x);
    return status;
}
