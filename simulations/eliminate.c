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
#include "common/data/split.h"
#include "simulations/feature_names.h"
#include "simulations/trial.h"

#define TRIB_LOG_MODULE "eliminate"

// Some of the features, by their numbers in the whole model, ascending.
struct feature_set {
    size_t *items; // room for all, owned
    size_t count;
};

struct ranked {
    double score;
    size_t feature;
};

struct eliminate {
    const char *path, *out, *step_text;
    struct trib_texts sets;
    uint64_t keep, folds, step;
    bool step_is_percent;
    bool by_device, json;
    struct trib_features features;
    struct feature_set left, best;
    struct trib_trial best_trial;
    double *scores;                                             // of `left`
    struct ranked *ranked;                                      // room for all; the least first
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
    const float *weights = params + layer->weight; // (outputs, inputs)
    assert(!train || train->inputs == layer->inputs);
    for (uint32_t i = 0; i < layer->inputs; i++)
        ret_scores[i] = 1;
    if (train)
        find_deviations(train, ret_scores);
    for (uint32_t i = 0; i < layer->inputs; i++) {
        double square = 0;
        for (uint32_t o = 0; o < layer->outputs; o++) {
            const double w = (double)weights[(size_t)o * layer->inputs + i];
            square += w * w;
        }
        ret_scores[i] *= sqrt(square);
    }
}

// The least first; of equals the one that stands last.
static int compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return x->feature > y->feature ? -1 : 1;
}

// How many go after this job.
static size_t find_step(const struct eliminate *e)
{
    size_t step = e->step_is_percent ? e->left.count * e->step / 100 : e->step;
    if (step == 0)
        step = 1;
    return step < e->left.count - e->keep ? step : e->left.count - e->keep;
}

// The `count` features of the least scores, to e->ranked.
static void rank(struct eliminate *e)
{
    for (size_t i = 0; i < e->left.count; i++)
        e->ranked[i] = (struct ranked){e->scores[i], e->left.items[i]};
    qsort(e->ranked, e->left.count, sizeof(*e->ranked), compare);
}

static bool is_ranked_below(const struct eliminate *e, size_t feature, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (e->ranked[i].feature == feature)
            return true;
    }
    return false;
}

static void remove_least(struct eliminate *e, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < e->left.count; i++) {
        if (!is_ranked_below(e, e->left.items[i], count))
            e->left.items[kept++] = e->left.items[i];
    }
    e->left.count = kept;
}

// ---- Jobs

// The layer that the features go into; NULL: it is not one whose weights belong to features.
static const struct trib_layer *find_first(const struct trib_model *model)
{
    uint32_t i = 0;
    while (i < model->layer_count && model->layers[i].kind == TRIB_LAYER_DROPOUT)
        i++;
    const struct trib_layer *layer = &model->layers[i];
    return i < model->layer_count && layer->kind == TRIB_LAYER_DENSE && layer->tensor_count > 0
               ? layer
               : NULL;
}

static enum trib_err check_model(struct trib_scenario *s)
{
    if (!find_first(&s->job.model))
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
static enum trib_err shrink(struct trib_scenario *s, const struct feature_set *set)
{
    const char *layers = strstr(s->job.model.spec, " - ");
    trib_conf_text spec;
    assert(layers); // a canonical text
    if (set->count == s->job.model.inputs)
        return TRIB_OK;
    (void)snprintf(spec, sizeof(spec), "%zu%s", set->count, layers);
    memcpy(s->job_config.spec, spec, sizeof(spec));
    trib_dataset_narrow(s->train, set->items, set->count);
    trib_dataset_narrow(s->test, set->items, set->count);
    return trib_scenario_check_job(s, s->partition.clients);
}

// One job of the series, measured on the fold. `is_last`: on all training rows, measured on the
// held-out ones. What it learnt is ranked to e->scores.
static enum trib_err run_one(struct eliminate *e, const struct feature_set *set, bool is_last,
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
        trib_eliminate_scores(find_first(model), params, is_open ? s->train : NULL, e->scores);

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

static void tell_json(const struct eliminate *e, const char *event, const struct feature_set *set,
                      const struct trib_trial *trial, size_t removed)
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
            trib_json_text(&json, NULL, name_of(e, e->ranked[i].feature, text));
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
static void tell(const struct eliminate *e, const char *event, const struct feature_set *set,
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
        (void)printf("%s%s", i ? " | " : "  without ", name_of(e, e->ranked[i].feature, text));
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
    for (size_t i = 0; i < e->best.count; i++) {
        stays[e->best.items[i]] = true;
        trib_buf_printf(&names, "%s\n", name_of(e, e->best.items[i], text));
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

// Names and room, and whether the whole can be done at all: before a row is read.
static enum trib_err begin(struct eliminate *e)
{
    struct trib_scenario *s = NULL;
    enum trib_err err = trib_trial_load(e->path, e->sets.items, e->sets.count, &s);
    if (!err)
        err = trib_trial_complain(s, check_model(s));
    if (!err)
        err = trib_trial_complain(s, trib_features_load(s, &e->features));
    trib_scenario_destroy(s);
    const size_t count = e->features.count;
    if (!err && e->keep > count) {
        (void)fprintf(stderr, "eliminate: --keep %" PRIu64 ": the model has %zu features\n",
                      e->keep, count);
        err = TRIB_ERR_INVAL;
    }
    if (err)
        return err;
    e->left.items = trib_alloc_array(count, sizeof(*e->left.items));
    e->best.items = trib_alloc_array(count, sizeof(*e->best.items));
    e->scores = trib_alloc_array(count, sizeof(*e->scores));
    e->ranked = trib_alloc_array(count, sizeof(*e->ranked));
    if (!e->left.items || !e->best.items || !e->scores || !e->ranked)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        e->left.items[i] = i;
    e->left.count = count;
    return TRIB_OK;
}

static void note_best(struct eliminate *e, const struct trib_trial *trial)
{
    const bool is_first = e->best.count == 0;
    // Of equals the smaller set, which comes later.
    if (!is_first && trial->value != e->best_trial.value &&
        !trib_trial_is_better(trial, e->best_trial.value))
        return;
    e->best_trial = *trial;
    memcpy(e->best_spec, e->spec, sizeof(e->best_spec));
    e->best.count = e->left.count;
    memcpy(e->best.items, e->left.items, e->left.count * sizeof(*e->left.items));
}

static enum trib_err run_series(struct eliminate *e)
{
    struct trib_trial trial;
    enum trib_err err = begin(e);
    while (!err) {
        err = run_one(e, &e->left, false, &trial);
        if (err)
            break;
        note_best(e, &trial);
        rank(e);
        const size_t step = find_step(e);
        tell(e, "job", &e->left, &trial, step);
        if (step == 0)
            break;
        remove_least(e, step);
    }
    if (err)
        return err;
    tell(e, "choice", &e->best, &e->best_trial, 0);
    err = run_one(e, &e->best, true, &trial); // the first look at the held-out rows
    if (err)
        return err;
    tell(e, "done", &e->best, &trial, 0);
    return e->out ? write_out(e) : TRIB_OK;
}

// "3", or "10%" of those that are left.
static bool take_step(struct eliminate *e)
{
    char *end;
    e->step = strtoull(e->step_text, &end, 10);
    e->step_is_percent = strcmp(end, "%") == 0;
    const bool is_number = end > e->step_text && e->step_text[0] >= '0' && e->step_text[0] <= '9';
    return is_number && e->step > 0 && (e->step_is_percent || *end == '\0') &&
           e->step <= (e->step_is_percent ? 100 : TRIB_COLUMNS_MAX);
}

static bool take_options(struct eliminate *e)
{
    if (!take_step(e))
        (void)fprintf(stderr, "eliminate: --step %s: want a number of features, or a share: 10%%\n",
                      e->step_text);
    else if (e->keep == 0)
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
    e->keep = 1;
    e->folds = 5;
    e->step_text = "10%";
    const struct trib_option options[] = {
        {"keep", TRIB_OPTION_INT, &e->keep, "N", "go on until so many features are left (1)"},
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
    free(e->left.items);
    free(e->best.items);
    free(e->scores);
    free(e->ranked);
    free(e);
    return status;
}
