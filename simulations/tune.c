#include "simulations/tune.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/data/split.h"
#include "coordinator/ctl/grid.h"
#include "simulations/trial.h"

#define TRIB_LOG_MODULE "tune"

enum {
    SETS_MAX = 64,
};

struct tune {
    const char *path; // of the scenario
    struct trib_texts sets, grids;
    uint64_t folds, random, seed;
    bool by_device, json;
    struct trib_grid grid;
    uint32_t *candidates; // numbers in the grid, in the order in which they are tried
    size_t candidate_count;
    char metric[32];
};

// ---- Running

static enum trib_err load(const struct tune *t, uint32_t candidate, struct trib_scenario **scenario)
{
    char own[TRIB_GRID_KEYS_MAX][TRIB_GRID_SET_SIZE];
    const char *sets[SETS_MAX + TRIB_GRID_KEYS_MAX];
    size_t count = 0;
    for (; count < t->sets.count && count < SETS_MAX; count++)
        sets[count] = t->sets.items[count];
    trib_grid_sets(&t->grid, candidate, own);
    for (size_t k = 0; k < t->grid.key_count; k++)
        sets[count++] = own[k];
    return trib_trial_load(t->path, sets, count, scenario);
}

// `fold` of UINT64_MAX: learn from all training rows and measure on the held-out ones.
static enum trib_err run_one(struct tune *t, uint32_t candidate, uint64_t fold,
                             struct trib_trial *ret_trial)
{
    struct trib_scenario *s = NULL;
    struct trib_scenario_cut cut = {.folds = 0};
    if (fold != UINT64_MAX)
        cut =
            (struct trib_scenario_cut){.folds = t->folds, .fold = fold, .by_device = t->by_device};
    enum trib_err err = load(t, candidate, &s);
    if (!err)
        err = trib_trial_open(s, cut);
    if (!err)
        err = trib_trial_play(s, ret_trial, NULL);
    if (!err && ret_trial->metric[0])
        memcpy(t->metric, ret_trial->metric, sizeof(t->metric));
    trib_scenario_destroy(s);
    return err;
}

// ---- Telling

static void tell(const struct tune *t, const char *event, uint32_t candidate, const double *folds,
                 const struct trib_trial *trial)
{
    char sets[TRIB_GRID_KEYS_MAX][TRIB_GRID_SET_SIZE];
    struct trib_buf json = {0};
    trib_grid_sets(&t->grid, candidate, sets);
    if (!t->json) {
        (void)printf("%-8s", event);
        for (size_t k = 0; k < t->grid.key_count; k++)
            (void)printf(" %s", sets[k]);
        (void)printf("  %s %.4f over %zu rows\n", t->metric[0] ? t->metric : "value", trial->value,
                     trial->rows);
        return;
    }
    trib_json_open(&json, NULL, '{');
    trib_json_text(&json, "event", event);
    trib_json_open(&json, "set", '{');
    for (size_t k = 0; k < t->grid.key_count; k++)
        trib_json_text(&json, t->grid.keys[k].name, strchr(sets[k], '=') + 1);
    trib_json_close(&json, '}');
    trib_json_text(&json, "metric", t->metric[0] ? t->metric : NULL);
    trib_json_real(&json, "value", trial->value);
    trib_json_uint(&json, "rows", trial->rows);
    if (folds) {
        trib_json_open(&json, "folds", '[');
        for (uint64_t f = 0; f < t->folds; f++)
            trib_json_real(&json, NULL, folds[f]);
        trib_json_close(&json, ']');
    }
    trib_json_close(&json, '}');
    if (!json.failed)
        (void)printf("%s\n", (const char *)json.data);
    trib_buf_fini(&json);
    (void)fflush(stdout);
}

// The mean over the folds; NaN when one of them has no value.
static enum trib_err try_candidate(struct tune *t, uint32_t candidate, double *folds,
                                   struct trib_trial *ret_mean)
{
    struct trib_trial all = {.value = 0};
    for (uint64_t fold = 0; fold < t->folds; fold++) {
        struct trib_trial trial;
        enum trib_err err = run_one(t, candidate, fold, &trial);
        if (err)
            return err;
        folds[fold] = trial.value;
        all.value += trial.value / (double)t->folds;
        all.rows += trial.rows;
        all.higher_is_better = trial.higher_is_better;
    }
    tell(t, "trial", candidate, folds, &all);
    *ret_mean = all;
    return TRIB_OK;
}

static enum trib_err search(struct tune *t)
{
    double folds[TRIB_FOLDS_MAX];
    struct trib_trial best = {.value = (double)NAN}, mean, last;
    uint32_t choice = 0;
    enum trib_err err =
        trib_grid_choose(&t->grid, t->random, t->seed, &t->candidates, &t->candidate_count);
    for (size_t i = 0; !err && i < t->candidate_count; i++) {
        err = try_candidate(t, t->candidates[i], folds, &mean);
        if (!err && trib_trial_is_better(&mean, best.value)) { // of equals the first
            best = mean;
            choice = t->candidates[i];
        }
    }
    if (!err && isnan(best.value)) {
        TRIB_ERROR("every candidate diverged in some fold: there is nothing to choose");
        return TRIB_ERR_LIMIT;
    }
    if (err)
        return err;
    tell(t, "choice", choice, NULL, &best);
    err = run_one(t, choice, UINT64_MAX, &last); // the first look at the held-out rows
    if (!err)
        tell(t, "done", choice, NULL, &last);
    return err;
}

static bool take_options(struct tune *t)
{
    if (!trib_grid_take_all(&t->grid, &t->grids))
        return false;
    if (t->folds < 2 || t->folds > TRIB_FOLDS_MAX)
        (void)fprintf(stderr, "tune: --cv %" PRIu64 ": want 2 to %d folds\n", t->folds,
                      TRIB_FOLDS_MAX);
    else if (t->sets.count > SETS_MAX)
        (void)fprintf(stderr, "tune: more than %d --set\n", SETS_MAX);
    else
        return true;
    return false;
}

int trib_tune(const struct trib_command *command, int argc, char **argv)
{
    struct tune *t = trib_alloc(sizeof(*t));
    int status = TRIB_EXIT_INTERNAL;
    if (!t)
        return status;
    t->folds = 5;
    t->seed = 1;
    const struct trib_option options[] = {
        {"grid", TRIB_OPTION_LIST, &t->grids, "SECTION.KEY=V,V", "values to try; many times"},
        {"cv", TRIB_OPTION_INT, &t->folds, "K", "folds of the training rows (5)"},
        {"by-device", TRIB_OPTION_FLAG, &t->by_device, NULL, "folds of whole devices"},
        {"random", TRIB_OPTION_INT, &t->random, "N", "try only so many of the grid, drawn"},
        {"seed", TRIB_OPTION_INT, &t->seed, "N", "of --random (1)"},
        {"set", TRIB_OPTION_LIST, &t->sets, "SECTION.KEY=VALUE", "override a key; many times"},
        {"json", TRIB_OPTION_FLAG, &t->json, NULL, "one JSON object a line on stdout"},
    };
    if (trib_trial_args(command, options, sizeof(options) / sizeof(options[0]), argc, argv,
                        &t->path, &status))
        status = take_options(t) ? (int)trib_exit_of(search(t)) : TRIB_EXIT_USAGE;
    free(t->candidates);
    free(t);
    return status;
}
