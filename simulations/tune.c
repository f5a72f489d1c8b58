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
#include "common/base/rand.h"
#include "common/data/split.h"
#include "simulations/scenario.h"
#include "simulations/world.h"

#define TRIB_LOG_MODULE "tune"

enum {
    KEYS_MAX = 8,
    VALUES_MAX = 64,        // of a key
    CANDIDATES_MAX = 10000, // of the whole grid
    SET_SIZE = TRIB_CONF_TEXT_MAX + 1,
    SETS_MAX = 64,
};

struct grid_key {
    char name[128];
    const char *values[VALUES_MAX]; // point into `text`
    size_t count;
    char text[SET_SIZE];
};

struct tune {
    const char *path; // of the scenario
    struct trib_texts sets, grids;
    uint64_t folds, random, seed;
    bool by_device, json;
    struct grid_key keys[KEYS_MAX];
    size_t key_count;
    uint32_t *candidates; // numbers in the grid, in the order in which they are tried
    size_t candidate_count;
    bool higher_is_better;
    char metric[32];
};

// What a run came to.
struct outcome {
    double value; // of the primary metric; NaN: it has none, since it diverged
    size_t rows;  // measured on
};

// ---- The grid

static bool take_key(struct tune *t, const char *grid)
{
    struct grid_key *key = &t->keys[t->key_count];
    const char *equals = strchr(grid, '=');
    if (t->key_count == KEYS_MAX || !equals || equals == grid || strlen(equals) >= SET_SIZE ||
        (size_t)(equals - grid) >= sizeof(key->name))
        return false;
    (void)snprintf(key->name, sizeof(key->name), "%.*s", (int)(equals - grid), grid);
    (void)snprintf(key->text, sizeof(key->text), "%s", equals + 1);
    for (char *next = key->text; next;) {
        char *value = next;
        next = strchr(value, ',');
        if (next)
            *next++ = '\0';
        if (!*value || key->count == VALUES_MAX)
            return false;
        key->values[key->count++] = value;
    }
    t->key_count++;
    return true;
}

static size_t grid_size(const struct tune *t)
{
    size_t size = 1;
    for (size_t k = 0; k < t->key_count && size <= CANDIDATES_MAX; k++)
        size *= t->keys[k].count;
    return size;
}

// Candidate `number` as overrides: the last key changes fastest.
static void candidate_sets(const struct tune *t, uint32_t number, char sets[][SET_SIZE + 128])
{
    for (size_t k = t->key_count; k-- > 0;) {
        const struct grid_key *key = &t->keys[k];
        (void)snprintf(sets[k], SET_SIZE + 128, "%s=%s", key->name,
                       key->values[number % key->count]);
        number /= (uint32_t)key->count;
    }
}

// All of the grid in its order, or some of it drawn without repetition.
static enum trib_err choose_candidates(struct tune *t)
{
    const size_t size = grid_size(t);
    struct trib_rng rng;
    t->candidates = trib_alloc_array(size, sizeof(*t->candidates));
    if (!t->candidates)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < size; i++)
        t->candidates[i] = (uint32_t)i;
    t->candidate_count = size;
    if (t->random == 0)
        return TRIB_OK;
    trib_rng_init(&rng, t->seed, "tune", 0, NULL);
    trib_rng_shuffle(&rng, t->candidates, size);
    if (t->random < size)
        t->candidate_count = t->random;
    return TRIB_OK;
}

// ---- Running

// Held-out rows must not be looked at while a run goes on, or they would help to choose.
static enum trib_err check_scenario(const struct trib_scenario *s)
{
    const struct trib_job_config *config = &s->job_config;
    if (config->target_metric != TRIB_JOB_METRIC_NONE) {
        TRIB_ERROR("round.target_metric: a run that is tuned stops at no target");
        return TRIB_ERR_INVAL;
    }
    if (config->lr_schedule == TRIB_SCHEDULE_PLATEAU) {
        TRIB_ERROR("round.lr_schedule: plateau looks at the rows that a choice is judged by");
        return TRIB_ERR_INVAL;
    }
    if (config->stop_patience > 0 || config->deadline_s > 0) {
        TRIB_ERROR("round.%s: a run that is tuned goes on for all its rounds",
                   config->stop_patience > 0 ? "stop_patience" : "deadline_s");
        return TRIB_ERR_INVAL;
    }
    if (config->eval_every == 0) {
        TRIB_ERROR("round.eval_every: must not be 0 when something is to be measured");
        return TRIB_ERR_INVAL;
    }
    return TRIB_OK;
}

static enum trib_err load(const struct tune *t, uint32_t candidate, struct trib_scenario **scenario)
{
    char own[KEYS_MAX][SET_SIZE + 128];
    const char *sets[SETS_MAX + KEYS_MAX];
    size_t count = 0;
    for (; count < t->sets.count && count < SETS_MAX; count++)
        sets[count] = t->sets.items[count];
    candidate_sets(t, candidate, own);
    for (size_t k = 0; k < t->key_count; k++)
        sets[count++] = own[k];
    enum trib_err err = trib_scenario_create(scenario);
    if (!err)
        err = trib_scenario_load(*scenario, t->path, sets, count);
    if (!err)
        err = check_scenario(*scenario);
    return err;
}

static enum trib_err play(struct trib_scenario *s, struct tune *t, struct outcome *ret_outcome)
{
    struct trib_world *world = NULL;
    struct outcome outcome = {.value = (double)NAN, .rows = s->test->rows};
    enum trib_err err = trib_world_create(s, 0, &world);
    while (!err && !trib_world_is_over(world)) {
        struct trib_round_result result;
        err = trib_world_play(world, NULL, NULL, &result);
    }
    if (!err)
        err = trib_world_keep(world);
    const struct trib_world_state *state = err ? NULL : trib_world_state(world);
    // A run in which rounds were lost because nothing finite came of them is no candidate.
    if (state && state->is_evaluated && state->committed == s->job.config.rounds)
        (void)snprintf(t->metric, sizeof(t->metric), "%s",
                       trib_evaluation_primary(&state->held_out.validation, &outcome.value,
                                               &t->higher_is_better));
    trib_world_destroy(world);
    if (!err)
        *ret_outcome = outcome;
    return err;
}

// `fold` of UINT64_MAX: learn from all training rows and measure on the held-out ones.
static enum trib_err run_one(struct tune *t, uint32_t candidate, uint64_t fold,
                             struct outcome *ret_outcome)
{
    struct trib_scenario *s = NULL;
    enum trib_err err = load(t, candidate, &s);
    if (!err && fold != UINT64_MAX)
        s->cut =
            (struct trib_scenario_cut){.folds = t->folds, .fold = fold, .by_device = t->by_device};
    if (!err)
        err = trib_scenario_open(s, true);
    if (err && s && s->conf.error[0])
        (void)fprintf(stderr, "%s\n", s->conf.error);
    if (!err)
        err = play(s, t, ret_outcome);
    trib_scenario_destroy(s);
    return err;
}

// ---- Telling

static void tell(const struct tune *t, const char *event, uint32_t candidate, const double *folds,
                 const struct outcome *outcome)
{
    char sets[KEYS_MAX][SET_SIZE + 128];
    struct trib_buf json = {0};
    candidate_sets(t, candidate, sets);
    if (!t->json) {
        (void)printf("%-8s", event);
        for (size_t k = 0; k < t->key_count; k++)
            (void)printf(" %s", sets[k]);
        (void)printf("  %s %.4f over %zu rows\n", t->metric[0] ? t->metric : "value",
                     outcome->value, outcome->rows);
        return;
    }
    trib_json_open(&json, NULL, '{');
    trib_json_text(&json, "event", event);
    trib_json_open(&json, "set", '{');
    for (size_t k = 0; k < t->key_count; k++)
        trib_json_text(&json, t->keys[k].name, strchr(sets[k], '=') + 1);
    trib_json_close(&json, '}');
    trib_json_text(&json, "metric", t->metric[0] ? t->metric : NULL);
    trib_json_real(&json, "value", outcome->value);
    trib_json_uint(&json, "rows", outcome->rows);
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
                                   struct outcome *ret_mean)
{
    struct outcome all = {.value = 0};
    for (uint64_t fold = 0; fold < t->folds; fold++) {
        struct outcome outcome;
        enum trib_err err = run_one(t, candidate, fold, &outcome);
        if (err)
            return err;
        folds[fold] = outcome.value;
        all.value += outcome.value / (double)t->folds;
        all.rows += outcome.rows;
    }
    tell(t, "trial", candidate, folds, &all);
    *ret_mean = all;
    return TRIB_OK;
}

static enum trib_err search(struct tune *t)
{
    double folds[TRIB_FOLDS_MAX];
    struct outcome best = {.value = (double)NAN}, mean, outcome;
    uint32_t choice = 0;
    enum trib_err err = choose_candidates(t);
    for (size_t i = 0; !err && i < t->candidate_count; i++) {
        err = try_candidate(t, t->candidates[i], folds, &mean);
        if (err)
            break;
        const bool is_better =
            t->higher_is_better ? mean.value > best.value : mean.value < best.value;
        if (isfinite(mean.value) && (isnan(best.value) || is_better)) { // of equals the first
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
    err = run_one(t, choice, UINT64_MAX, &outcome); // the first look at the held-out rows
    if (!err)
        tell(t, "done", choice, NULL, &outcome);
    return err;
}

static bool take_options(struct tune *t)
{
    for (size_t i = 0; i < t->grids.count; i++) {
        if (!take_key(t, t->grids.items[i])) {
            (void)fprintf(stderr,
                          "tune: --grid %s: want section.key=value,value,... (at most %d keys of "
                          "%d values)\n",
                          t->grids.items[i], KEYS_MAX, VALUES_MAX);
            return false;
        }
    }
    if (t->key_count == 0)
        (void)fprintf(stderr, "tune: --grid is missing: which keys, and which values\n");
    else if (grid_size(t) > CANDIDATES_MAX)
        (void)fprintf(stderr, "tune: the grid has more than %d candidates\n", CANDIDATES_MAX);
    else if (t->folds < 2 || t->folds > TRIB_FOLDS_MAX)
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
    int count;
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
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0]),
                                     .operand_min = 1,
                                     .operand_max = 1};
    if (trib_args_parse(&usage, argc, argv, &count, &status)) {
        t->path = argv[0];
        trib_log_set_level(TRIB_LOG_ERROR);
        status = take_options(t) ? (int)trib_exit_of(search(t)) : TRIB_EXIT_USAGE;
    }
    free(t->candidates);
    free(t);
    return status;
}
