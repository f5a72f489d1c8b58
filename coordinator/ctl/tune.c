#include "coordinator/ctl/tune.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/math/metrics.h"
#include "common/math/train.h"
#include "coordinator/ctl/grid.h"
#include "coordinator/ctl/series.h"

enum {
    SETS_MAX = TRIB_SERIES_SETS_MAX,
    OWN_SETS_MAX = SETS_MAX - TRIB_GRID_KEYS_MAX - 6, // what is left for --set
    SET_SIZE = 64,
};

struct tune {
    struct trib_series series;
    struct trib_texts sets, grids;
    uint64_t folds, random, seed, run;
    const char *metric;
    bool json;
    struct trib_grid grid;
    uint32_t *candidates; // numbers in the grid, in the order in which they are tried
    size_t candidate_count;
    struct trib_series_value found; // the name of the metric, once it is known
};

struct score {
    double mean; // over the folds; NaN: in one of them there is none
    double folds[TRIB_KEPT_FOLDS_MAX];
};

// ---- Telling

static void tell_sets(const struct tune *t, uint32_t candidate, struct trib_buf *json)
{
    char sets[TRIB_GRID_KEYS_MAX][TRIB_GRID_SET_SIZE];
    trib_grid_sets(&t->grid, candidate, sets);
    if (json)
        trib_json_open(json, "set", '{');
    for (size_t k = 0; k < t->grid.key_count; k++) {
        if (json)
            trib_json_text(json, t->grid.keys[k].name, strchr(sets[k], '=') + 1);
        else
            (void)printf(" %s", sets[k]);
    }
    if (json)
        trib_json_close(json, '}');
}

static void tell(const struct tune *t, const char *event, uint32_t candidate,
                 const struct trib_series_value *value, const double *folds)
{
    struct trib_buf json = {0};
    if (!t->json) {
        (void)printf("%-7s", event);
        tell_sets(t, candidate, NULL);
        if (isnan(value->value))
            (void)printf("  no value: a job failed, or nothing was measured\n");
        else
            (void)printf("  %s %.4f%s\n", value->metric, value->value,
                         folds ? "" : " on the held-out rows");
        if (value->version)
            (void)printf("version %" PRIu64 "\n", value->version);
        (void)fflush(stdout);
        return;
    }
    trib_json_open(&json, NULL, '{');
    trib_json_text(&json, "event", event);
    tell_sets(t, candidate, &json);
    trib_json_text(&json, "metric", value->metric[0] ? value->metric : NULL);
    trib_json_real(&json, "value", value->value);
    if (folds) {
        trib_json_open(&json, "folds", '[');
        for (uint64_t f = 0; f < t->folds; f++)
            trib_json_real(&json, NULL, folds[f]);
        trib_json_close(&json, ']');
    }
    if (value->version)
        trib_json_uint(&json, "version", value->version);
    trib_json_close(&json, '}');
    if (!json.failed)
        (void)printf("%s\n", (const char *)json.data);
    trib_buf_fini(&json);
    (void)fflush(stdout);
}

// ---- Jobs

struct sets {
    const char *items[SETS_MAX];
    size_t count;
    char grid[TRIB_GRID_KEYS_MAX][TRIB_GRID_SET_SIZE];
};

// Those of the caller, then those of the candidate.
static void begin_sets(const struct tune *t, uint32_t candidate, struct sets *ret_sets)
{
    ret_sets->count = 0;
    for (size_t i = 0; i < t->sets.count; i++)
        ret_sets->items[ret_sets->count++] = t->sets.items[i];
    trib_grid_sets(&t->grid, candidate, ret_sets->grid);
    for (size_t k = 0; k < t->grid.key_count; k++)
        ret_sets->items[ret_sets->count++] = ret_sets->grid[k];
}

// Learn from the rows of the other folds, measure on those of this one. The held-out rows are not
// opened.
static int run_fold(struct tune *t, size_t place, uint64_t fold, double *ret_value)
{
    struct sets sets;
    struct trib_series_job job;
    char folds[SET_SIZE], which[SET_SIZE], measured[SET_SIZE];
    begin_sets(t, t->candidates[place], &sets);
    (void)snprintf(folds, sizeof(folds), "round.folds=%" PRIu64, t->folds);
    (void)snprintf(which, sizeof(which), "round.fold=%" PRIu64, fold);
    (void)snprintf(measured, sizeof(measured), "round.evaluate_on_devices=%d", TRIB_ROUNDS_MAX);
    sets.items[sets.count++] = folds;
    sets.items[sets.count++] = which;
    sets.items[sets.count++] = measured; // the last version only
    sets.items[sets.count++] = "round.eval_every=0";
    *ret_value = (double)NAN;
    int code =
        trib_series_run(&t->series, place * t->folds + fold, NULL, sets.items, sets.count, &job);
    if (code)
        return code;
    if (strcmp(job.state, "done") != 0) {
        (void)fprintf(stderr, "tune: job %" PRIu64 " %s: %s\n", job.id, job.state, job.reason);
        return TRIB_EXIT_OK; // it diverged, or no round had enough devices: that is its value
    }
    code = trib_series_measured(&t->series, job.id, &t->found);
    *ret_value = t->found.value;
    return code;
}

static int try_candidate(struct tune *t, size_t place, struct score *ret_score)
{
    struct trib_series_value mean = {.value = 0};
    for (uint64_t fold = 0; fold < t->folds; fold++) {
        int code = run_fold(t, place, fold, &ret_score->folds[fold]);
        if (code)
            return code;
        mean.value += ret_score->folds[fold] / (double)t->folds;
    }
    ret_score->mean = mean.value;
    (void)snprintf(mean.metric, sizeof(mean.metric), "%s", t->found.metric);
    tell(t, "trial", t->candidates[place], &mean, ret_score->folds);
    return TRIB_EXIT_OK;
}

// All training rows, and the first look at the held-out rows.
static int run_last(struct tune *t, uint32_t candidate)
{
    struct sets sets;
    struct trib_series_job job;
    struct trib_series_value value;
    char every[SET_SIZE];
    begin_sets(t, candidate, &sets);
    (void)snprintf(every, sizeof(every), "round.eval_every=%d", TRIB_ROUNDS_MAX);
    sets.items[sets.count++] = every; // the last version only: nothing is chosen by them
    int code = trib_series_run(&t->series, 0, "last", sets.items, sets.count, &job);
    if (code)
        return code;
    code = trib_series_held_out(&t->series, job.id, &value);
    if (!code)
        tell(t, "done", candidate, &value, NULL);
    if (!code && strcmp(job.state, "done") != 0) {
        (void)fprintf(stderr, "tune: job %" PRIu64 " %s: %s\n", job.id, job.state, job.reason);
        return TRIB_EXIT_STOPPED;
    }
    return code;
}

static bool is_better(const struct tune *t, double value, double best)
{
    if (isnan(value) || isnan(best))
        return !isnan(value);
    return trib_metric_higher_is_better(t->found.metric) ? value > best : value < best;
}

static int search(struct tune *t)
{
    struct score score, best = {.mean = (double)NAN};
    uint32_t choice = 0;
    if (trib_grid_choose(&t->grid, t->random, t->seed, &t->candidates, &t->candidate_count))
        return TRIB_EXIT_INTERNAL;
    t->series.jobs = t->candidate_count * t->folds + 1;
    for (size_t i = 0; i < t->candidate_count; i++) {
        int code = try_candidate(t, i, &score);
        if (code)
            return code;
        if (is_better(t, score.mean, best.mean)) { // of equals the first
            best = score;
            choice = t->candidates[i];
        }
    }
    if (isnan(best.mean)) {
        (void)fprintf(stderr,
                      "tune: no candidate has a value in every fold: nothing to choose. Jobs "
                      "failed, or no device has rows in a fold, or the noise of privacy is "
                      "larger than what so few devices measure\n");
        return TRIB_EXIT_STOPPED;
    }
    struct trib_series_value mean = {.value = best.mean};
    (void)snprintf(mean.metric, sizeof(mean.metric), "%s", t->found.metric);
    tell(t, "choice", choice, &mean, best.folds);
    return run_last(t, choice);
}

// ---- The command line

static bool take_options(struct tune *t)
{
    if (!trib_grid_take_all(&t->grid, &t->grids))
        return false;
    if (t->folds < 2 || t->folds > TRIB_KEPT_FOLDS_MAX)
        (void)fprintf(stderr, "tune: --cv %" PRIu64 ": want 2 to %d folds\n", t->folds,
                      TRIB_KEPT_FOLDS_MAX);
    else if (t->sets.count > OWN_SETS_MAX)
        (void)fprintf(stderr, "tune: more than %d --set\n", OWN_SETS_MAX);
    else if (t->metric && strlen(t->metric) >= sizeof(t->found.metric))
        (void)fprintf(stderr, "tune: --metric %s: there is no such metric\n", t->metric);
    else
        return true;
    return false;
}

// What is asked, as the name of the series.
static void identify(struct tune *t)
{
    const char *texts[TRIB_TEXTS_MAX * 2 + 8];
    size_t count = 0;
    char numbers[128];
    (void)snprintf(numbers, sizeof(numbers), "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
                   t->folds, t->random, t->seed, t->run);
    texts[count++] = numbers;
    texts[count++] = t->metric ? t->metric : "";
    for (size_t i = 0; i < t->grids.count; i++)
        texts[count++] = t->grids.items[i];
    texts[count++] = "";
    for (size_t i = 0; i < t->sets.count; i++)
        texts[count++] = t->sets.items[i];
    trib_series_identify(&t->series, texts, count);
}

int trib_ctl_tune(const char *dir, const struct trib_command *command, int argc, char **argv)
{
    struct tune *t = trib_alloc(sizeof(*t));
    int count;
    int status = TRIB_EXIT_INTERNAL;
    if (!t)
        return status;
    t->folds = 5;
    t->seed = t->run = 1;
    t->series = (struct trib_series){.dir = dir, .command = command->name};
    const struct trib_option options[] = {
        {"grid", TRIB_OPTION_LIST, &t->grids, "SECTION.KEY=V,V", "values to try; many times"},
        {"cv", TRIB_OPTION_INT, &t->folds, "K", "folds of each device's rows (5)"},
        {"metric", TRIB_OPTION_TEXT, &t->metric, "NAME",
         "of those that devices measure (the first: accuracy, mse, ...)"},
        {"random", TRIB_OPTION_INT, &t->random, "N", "try only so many of the grid, drawn"},
        {"seed", TRIB_OPTION_INT, &t->seed, "N", "of --random (1)"},
        {"set", TRIB_OPTION_LIST, &t->sets, "SECTION.KEY=VALUE", "override a key; many times"},
        {"run", TRIB_OPTION_INT, &t->run, "N", "another series of the same kind (1)"},
        {"accept-drowned-signal", TRIB_OPTION_FLAG, &t->series.accepts_drowned, NULL,
         "start jobs also when the noise will drown the model"},
        {"json", TRIB_OPTION_FLAG, &t->json, NULL, "one JSON object a line on stdout"},
    };
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0]),
                                     .operand_min = 1,
                                     .operand_max = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &status))
        goto out;
    status = TRIB_EXIT_USAGE;
    if (!take_options(t))
        goto out;
    t->series.path = argv[0];
    if (t->metric)
        (void)snprintf(t->found.metric, sizeof(t->found.metric), "%s", t->metric);
    status = trib_series_open(&t->series);
    if (status)
        goto out;
    identify(t);
    status = search(t);

out:
    trib_series_close(&t->series);
    free(t->candidates);
    free(t);
    return status;
}
