#include "simulations/eliminate.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/data/feature_names.h"
#include "common/data/split.h"
#include "coordinator/ctl/elimination.h"
#include "simulations/trial.h"

#define TRIB_LOG_MODULE "eliminate"

struct eliminate {
    const char *path, *out, *step_text;
    struct trib_texts sets;
    uint64_t folds;
    bool by_device, json;
    struct trib_features features;
    struct trib_elimination series;
    struct trib_trial best_trial;
    char spec[TRIB_SPEC_MAX + 1], best_spec[TRIB_SPEC_MAX + 1]; // of the last job and the best
};

// ---- Ranking

// The deviation of each feature in the rows, corrected two-pass: by its mean.
static void find_deviations(const struct trib_dataset *rows, double *ret_deviations)
{
    for (size_t i = 0; i < rows->inputs; i++) {
        double mean = 0, square = 0;
        for (size_t r = 0; r < rows->rows; r++)
            mean += (double)rows->x[r * rows->inputs + i];
        mean /= (double)(rows->rows ? rows->rows : 1);
        for (size_t r = 0; r < rows->rows; r++) {
            const double d = (double)rows->x[r * rows->inputs + i] - mean;
            square += d * d;
        }
        ret_deviations[i] = rows->rows ? sqrt(square / (double)rows->rows) : 0;
    }
}

void trib_eliminate_scores(const struct trib_layer *layer, const float *params,
                           const struct trib_dataset *train, double *ret_scores)
{
    double *deviations = NULL;
    assert(!train || train->inputs == layer->inputs);
    trib_elimination_norms(layer, params, ret_scores);
    if (train)
        deviations = trib_alloc_array(layer->inputs, sizeof(*deviations));
    if (!deviations)
        return;
    find_deviations(train, deviations);
    for (uint32_t i = 0; i < layer->inputs; i++)
        ret_scores[i] *= deviations[i];
    free(deviations);
}

// ---- Jobs

static enum trib_err check_model(struct trib_scenario *s)
{
    if (!trib_elimination_layer(&s->job.model))
        return trib_conf_reject(&s->conf, "model", "spec",
                                "'%s': features are ranked by the weights of a first layer that is "
                                "dense and not local",
                                s->job.model.spec);
    if (s->job_config.model_init[0])
        return trib_conf_reject(&s->conf, "model", "init",
                                "has all features: a model that shrinks begins without it");
    return TRIB_OK;
}

// The rows with only some of their features, and the model that takes them.
static enum trib_err shrink(struct trib_scenario *s, const struct trib_feature_set *set)
{
    char spec[TRIB_SPEC_MAX + 1];
    if (set->count == s->job.model.inputs)
        return TRIB_OK;
    trib_elimination_spec(s->job.model.spec, set->count, spec);
    (void)snprintf(s->job_config.spec, sizeof(s->job_config.spec), "%s", spec);
    trib_dataset_narrow(s->train, set->items, set->count);
    trib_dataset_narrow(s->test, set->items, set->count);
    return trib_scenario_check_job(s, s->partition.clients);
}

// One job of the series, measured on the fold. `is_last`: on all training rows, measured on the
// held-out ones. What it learnt is ranked to e->series.scores.
static enum trib_err run_one(struct eliminate *e, const struct trib_feature_set *set, bool is_last,
                             struct trib_trial *ret_trial)
{
    const struct trib_scenario_cut cut = {.folds = is_last ? 0 : e->folds,
                                          .by_device = e->by_device};
    struct trib_scenario *s = NULL;
    float *params = NULL;
    enum trib_err err = trib_trial_load(e->path, e->sets.items, e->sets.count, &s);
    if (!err)
        err = trib_trial_open(s, cut);
    if (!err)
        err = trib_trial_complain(s, shrink(s, set));
    if (err)
        goto out;
    const struct trib_model *model = &s->job.model;
    memcpy(e->spec, model->spec, sizeof(e->spec));
    params = trib_alloc_array(model->param_count, sizeof(*params));
    err = params ? trib_trial_play(s, ret_trial, params) : TRIB_ERR_NOMEM;
    if (err)
        goto out;
    if (!isfinite(ret_trial->value)) {
        TRIB_ERROR("the job with %zu features lost a round, because nothing finite came of it: "
                   "there is nothing to rank by",
                   set->count);
        err = TRIB_ERR_LIMIT;
        goto out;
    }
    // With noise in the game nothing that is exact may be asked of the rows.
    const bool is_open = s->job.asked.mode == TRIB_PRIVACY_OFF;
    if (!is_last)
        trib_eliminate_scores(trib_elimination_layer(model), params, is_open ? s->train : NULL,
                              e->series.scores);

out:
    free(params);
    trib_scenario_destroy(s);
    return err;
}

// ---- Telling

static const char *name_of(const struct eliminate *e, size_t feature, char *text)
{
    return trib_features_name(&e->features, feature, text);
}

static void tell_json(const struct eliminate *e, const char *event,
                      const struct trib_feature_set *set, const struct trib_trial *trial,
                      size_t removed)
{
    char text[TRIB_FEATURE_TEXT_SIZE];
    struct trib_buf json = {0};
    trib_json_open(&json, NULL, '{');
    trib_json_text(&json, "event", event);
    trib_json_uint(&json, "features", set->count);
    trib_json_text(&json, "metric", trial->metric);
    trib_json_real(&json, "value", trial->value);
    trib_json_uint(&json, "rows", trial->rows);
    if (strcmp(event, "job") == 0) {
        trib_json_open(&json, "removed", '[');
        for (size_t i = 0; i < removed; i++)
            trib_json_text(&json, NULL, name_of(e, e->series.ranked[i].feature, text));
        trib_json_close(&json, ']');
    } else {
        trib_json_text(&json, "spec", e->best_spec);
        trib_json_open(&json, "names", '[');
        for (size_t i = 0; i < set->count; i++)
            trib_json_text(&json, NULL, name_of(e, set->items[i], text));
        trib_json_close(&json, ']');
    }
    trib_json_close(&json, '}');
    if (!json.failed)
        (void)printf("%s\n", (const char *)json.data);
    trib_buf_fini(&json);
}

// `removed`: features that go after this job.
static void tell(const struct eliminate *e, const char *event, const struct trib_feature_set *set,
                 const struct trib_trial *trial, size_t removed)
{
    char text[TRIB_FEATURE_TEXT_SIZE];
    if (e->json) {
        tell_json(e, event, set, trial, removed);
        (void)fflush(stdout);
        return;
    }
    (void)printf("%-7s %5zu features  %s %.4f over %zu rows", event, set->count, trial->metric,
                 trial->value, trial->rows);
    for (size_t i = 0; i < removed; i++)
        (void)printf("%s%s", i ? " | " : "  without ",
                     name_of(e, e->series.ranked[i].feature, text));
    (void)printf("\n");
    for (size_t i = 0; strcmp(event, "choice") == 0 && i < set->count; i++)
        (void)printf("  %s\n", name_of(e, set->items[i], text));
    (void)fflush(stdout);
}

// ---- What is left of it

static enum trib_err write_file(const struct eliminate *e, const char *name,
                                const struct trib_buf *text)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = text->failed ? TRIB_ERR_NOMEM : trib_path_join(path, e->out, name);
    return err ? err : trib_file_write(path, text->data, text->size, 0644);
}

// features.txt: the names, one a line; pipeline.ini, where there can be one.
static enum trib_err write_out(const struct eliminate *e)
{
    char text[TRIB_FEATURE_TEXT_SIZE];
    struct trib_buf names = {0}, pipeline = {0};
    bool *stays = trib_alloc_array(e->features.count, sizeof(*stays));
    enum trib_err err = stays ? trib_dir_make(e->out, 0755) : TRIB_ERR_NOMEM;
    if (err)
        goto out;
    for (size_t i = 0; i < e->series.best.count; i++) {
        stays[e->series.best.items[i]] = true;
        trib_buf_printf(&names, "%s\n", name_of(e, e->series.best.items[i], text));
    }
    err = write_file(e, "features.txt", &names);
    if (!err && e->features.why_no_pipeline) {
        (void)fprintf(stderr, "%s: no pipeline.ini: %s\n", e->out, e->features.why_no_pipeline);
        goto out;
    }
    if (!err)
        err = trib_features_pipeline(&e->features, stays, &pipeline);
    if (!err)
        err = write_file(e, "pipeline.ini", &pipeline);

out:
    trib_buf_fini(&names);
    trib_buf_fini(&pipeline);
    free(stays);
    return err;
}

// ---- The series

static enum trib_err load_features(struct trib_scenario *s, struct trib_features *ret_features)
{
    char why[128];
    enum trib_err err =
        trib_features_load(&s->data, s->job.model.inputs, ret_features, why, sizeof(why));
    return err && why[0] ? trib_conf_reject(&s->conf, "model", "spec", "%s", why) : err;
}

// Names and room, and whether the whole can be done at all: before a row is read.
static enum trib_err begin(struct eliminate *e)
{
    struct trib_scenario *s = NULL;
    enum trib_err err = trib_trial_load(e->path, e->sets.items, e->sets.count, &s);
    if (!err)
        err = trib_trial_complain(s, check_model(s));
    if (!err)
        err = trib_trial_complain(s, load_features(s, &e->features));
    trib_scenario_destroy(s);
    const size_t count = e->features.count;
    if (!err && e->series.keep > count) {
        (void)fprintf(stderr, "eliminate: --keep %" PRIu64 ": the model has %zu features\n",
                      e->series.keep, count);
        err = TRIB_ERR_INVAL;
    }
    if (err)
        return err;
    return trib_elimination_begin(&e->series, count);
}

static void note_best(struct eliminate *e, const struct trib_trial *trial)
{
    if (!trib_elimination_note(&e->series, trial->value, trial->higher_is_better))
        return;
    e->best_trial = *trial;
    memcpy(e->best_spec, e->spec, sizeof(e->best_spec));
}

static enum trib_err run_series(struct eliminate *e)
{
    struct trib_trial trial;
    enum trib_err err = begin(e);
    while (!err) {
        err = run_one(e, &e->series.left, false, &trial);
        if (err)
            break;
        note_best(e, &trial);
        const size_t step = trib_elimination_rank(&e->series);
        tell(e, "job", &e->series.left, &trial, step);
        if (step == 0)
            break;
        trib_elimination_remove(&e->series, step);
    }
    if (err)
        return err;
    tell(e, "choice", &e->series.best, &e->best_trial, 0);
    err = run_one(e, &e->series.best, true, &trial); // the first look at the held-out rows
    if (err)
        return err;
    tell(e, "done", &e->series.best, &trial, 0);
    return e->out ? write_out(e) : TRIB_OK;
}

static bool take_options(struct eliminate *e)
{
    if (!trib_elimination_take_step(&e->series, e->step_text))
        (void)fprintf(stderr, "eliminate: --step %s: want a number of features, or a share: 10%%\n",
                      e->step_text);
    else if (e->series.keep == 0)
        (void)fprintf(stderr, "eliminate: --keep 0: at least one feature stays\n");
    else if (e->folds < 2 || e->folds > TRIB_FOLDS_MAX)
        (void)fprintf(stderr, "eliminate: --folds %" PRIu64 ": want 2 to %d folds\n", e->folds,
                      TRIB_FOLDS_MAX);
    else
        return true;
    return false;
}

int trib_eliminate(const struct trib_command *command, int argc, char **argv)
{
    struct eliminate *e = trib_alloc(sizeof(*e));
    int status = TRIB_EXIT_INTERNAL;
    if (!e)
        return status;
    e->series.keep = 1;
    e->folds = 5;
    e->step_text = "10%";
    const struct trib_option options[] = {
        {"keep", TRIB_OPTION_INT, &e->series.keep, "N",
         "go on until so many features are left (1)"},
        {"step", TRIB_OPTION_TEXT, &e->step_text, "K", "remove so many after each job (10%)"},
        {"folds", TRIB_OPTION_INT, &e->folds, "K", "choose by one of K folds of the rows (5)"},
        {"by-device", TRIB_OPTION_FLAG, &e->by_device, NULL, "folds of whole devices"},
        {"set", TRIB_OPTION_LIST, &e->sets, "SECTION.KEY=VALUE", "override a key; many times"},
        {"out", TRIB_OPTION_TEXT, &e->out, "DIR", "write features.txt, and pipeline.ini"},
        {"json", TRIB_OPTION_FLAG, &e->json, NULL, "one JSON object a line on stdout"},
    };
    if (trib_trial_args(command, options, sizeof(options) / sizeof(options[0]), argc, argv,
                        &e->path, &status))
        status = take_options(e) ? (int)trib_exit_of(run_series(e)) : TRIB_EXIT_USAGE;
    trib_features_fini(&e->features);
    trib_elimination_fini(&e->series);
    free(e);
    return status;
}
