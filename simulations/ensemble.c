#include "simulations/ensemble.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/data/split.h"
#include "common/math/evaluation.h"
#include "simulations/ensemble_file.h"
#include "simulations/scenario.h"

#define TRIB_LOG_MODULE "ensemble"

enum {
    PLACES = TRIB_FOLDS_MAX,
};

struct options {
    struct trib_texts sets;
    const char *out;
    double validation;
    uint64_t seed;
    bool json;
};

// Some of the held-out rows, and what each member says of them.
struct side {
    struct trib_dataset *rows; // owned
    float *outputs[TRIB_ENSEMBLE_MAX];
    float *mix;
};

static void side_fini(struct side *side)
{
    for (size_t k = 0; k < TRIB_ENSEMBLE_MAX; k++)
        free(side->outputs[k]);
    free(side->mix);
    trib_dataset_free(side->rows);
}

// ---- Rows

// A row's place depends on what it is alone, and not on what made it a held-out one (split.h).
// Those in the first members->share of places choose, the others measure.
static enum trib_err pick(const struct trib_dataset *all, const struct trib_members *members,
                          bool is_to_choose, struct side *side)
{
    uint32_t *numbers = trib_alloc_array(all->rows + 1, sizeof(*numbers));
    size_t count = 0;
    if (!numbers)
        return TRIB_ERR_NOMEM;
    for (size_t r = 0; r < all->rows; r++) {
        const uint64_t identity = all->ids ? all->ids[r] : trib_split_identity_of_row(all, r);
        const double place = (double)trib_split_fold(members->seed, identity, PLACES) / PLACES;
        if ((place < members->share) == is_to_choose)
            numbers[count++] = (uint32_t)r;
    }
    enum trib_err err = TRIB_ERR_DATA;
    if (count > 0)
        err = trib_dataset_select(all, numbers, count, 1, &side->rows);
    else
        TRIB_ERROR("%s: no held-out rows are left to %s", all->name,
                   is_to_choose ? "choose weights by" : "measure on");
    free(numbers);
    return err;
}

static enum trib_err ask(const struct trib_members *members, struct side *side)
{
    const struct trib_samples samples = trib_dataset_samples(side->rows);
    const size_t numbers = samples.rows * members->items[0].model.outputs;
    enum trib_err err = TRIB_OK;
    for (size_t k = 0; k < members->count && !err; k++) {
        side->outputs[k] = trib_alloc_array(numbers, sizeof(float));
        err = side->outputs[k]
                  ? trib_ensemble_ask(&members->items[k].model, members->items[k].params, &samples,
                                      side->outputs[k])
                  : TRIB_ERR_NOMEM;
    }
    side->mix = trib_alloc_array(numbers, sizeof(float));
    return err || side->mix ? err : TRIB_ERR_NOMEM;
}

// ---- Telling

// `member` of NULL: all together.
static enum trib_err tell(const struct options *o, const struct trib_members *members,
                          const struct trib_member *member, double weight, const float *outputs,
                          const struct side *side)
{
    const struct trib_samples samples = trib_dataset_samples(side->rows);
    struct trib_evaluation e;
    struct trib_buf json = {0};
    double value;
    bool higher;
    enum trib_err err = trib_evaluate_outputs(&members->items[0].model, outputs, &samples, &e);
    if (err) {
        TRIB_ERROR("%s: what it says of the held-out rows is not finite",
                   member ? member->path : "the ensemble");
        return err;
    }
    const char *metric = trib_evaluation_primary(&e, &value, &higher);
    if (!o->json) {
        (void)printf("%-8s %6.4f  loss %.4f  %s %.4f  %s\n", member ? "member" : "ensemble", weight,
                     e.loss, metric, value, member ? member->path : "");
        return TRIB_OK;
    }
    trib_json_open(&json, NULL, '{');
    trib_json_text(&json, "event", member ? "member" : "ensemble");
    if (member) {
        trib_json_text(&json, "file", member->path);
        trib_json_text(&json, "spec", member->model.spec);
        trib_json_real(&json, "weight", weight);
    } else {
        trib_json_uint(&json, "members", members->count);
    }
    trib_json_uint(&json, "rows", samples.rows);
    trib_evaluation_json(&e, NULL, "metrics", &json);
    trib_json_close(&json, '}');
    if (!json.failed)
        (void)printf("%s\n", (const char *)json.data);
    err = json.failed ? TRIB_ERR_NOMEM : TRIB_OK;
    trib_buf_fini(&json);
    return err;
}

// ---- The command

static enum trib_err measure(const struct options *o, const struct trib_members *members,
                             struct side *test)
{
    const float *const *outputs = (const float *const *)test->outputs;
    enum trib_err err = ask(members, test);
    for (size_t k = 0; k < members->count && !err; k++)
        err = tell(o, members, &members->items[k], members->weights[k], outputs[k], test);
    if (err)
        return err;
    trib_ensemble_mix(outputs, members->weights, members->count,
                      test->rows->rows * members->items[0].model.outputs, test->mix);
    return tell(o, members, NULL, 1, test->mix, test);
}

static enum trib_err choose(struct trib_members *members, struct side *validation)
{
    const struct trib_samples samples = trib_dataset_samples(validation->rows);
    enum trib_err err = ask(members, validation);
    if (!err)
        err = trib_ensemble_fit(&members->items[0].model, (const float *const *)validation->outputs,
                                members->count, &samples, members->weights);
    if (err == TRIB_ERR_DATA)
        TRIB_ERROR("what a member says of the held-out rows is not finite");
    return err;
}

// Some of the held-out rows choose the weights, or did so when the file was made, and the others
// measure.
static enum trib_err combine(const struct options *o, const struct trib_scenario *s,
                             struct trib_members *members, bool is_weighted)
{
    struct side validation = {0}, test = {0};
    char why[512];
    enum trib_err err = trib_dataset_check(s->test, &members->items[0].model, why, sizeof(why));
    if (err)
        TRIB_ERROR("%s", why);
    if (!err && !is_weighted)
        err = pick(s->test, members, true, &validation);
    if (!err && !is_weighted)
        err = choose(members, &validation);
    if (!err)
        err = pick(s->test, members, false, &test);
    if (!err)
        err = measure(o, members, &test);
    if (!err && o->out)
        err = trib_members_write(members, o->out);
    side_fini(&validation);
    side_fini(&test);
    return err;
}

static enum trib_err open_scenario(struct trib_scenario *s, const char *path,
                                   const struct options *o)
{
    enum trib_err err = trib_scenario_load(s, path, o->sets.items, o->sets.count);
    if (!err && s->config.test_on != TRIB_TEST_ON_COORDINATOR)
        err = trib_conf_reject(&s->conf, "data", "test_on", "must be coordinator");
    if (!err)
        err = trib_scenario_open(s, true);
    if (err == TRIB_ERR_INVAL && s->conf.error[0])
        (void)fprintf(stderr, "%s\n", s->conf.error);
    return err;
}

static bool is_model_file(const char *path)
{
    const char *dot = strrchr(trib_path_base(path), '.');
    return dot && (strcmp(dot, ".safetensors") == 0 || strcmp(dot, ".npz") == 0);
}

static enum trib_err run(const struct options *o, int count, char **paths)
{
    struct trib_members members = {.seed = o->seed, .share = o->validation};
    struct trib_scenario *s = NULL;
    const bool is_weighted = count == 2 && !is_model_file(paths[1]);
    enum trib_err err = TRIB_OK;
    if (is_weighted) {
        members.share = 0;
        err = trib_members_read(&members, paths[1]);
    }
    for (int i = 1; i < count && !is_weighted && !err; i++)
        err = trib_members_add(&members, paths[i]);
    if (!err)
        err = trib_scenario_create(&s);
    if (!err)
        err = open_scenario(s, paths[0], o);
    if (!err)
        err = combine(o, s, &members, is_weighted);
    trib_scenario_destroy(s);
    trib_members_fini(&members);
    return err;
}

int trib_ensemble_command(const struct trib_command *command, int argc, char **argv)
{
    struct options o = {.validation = 0.5, .seed = 1};
    const struct trib_option options[] = {
        {"out", TRIB_OPTION_TEXT, &o.out, "FILE", "write weights and members, to be read again"},
        {"validation", TRIB_OPTION_REAL, &o.validation, "SHARE",
         "of the held-out rows, to choose the weights by (0.5)"},
        {"seed", TRIB_OPTION_INT, &o.seed, "N", "of that choice of rows (1)"},
        {"set", TRIB_OPTION_LIST, &o.sets, "SECTION.KEY=VALUE", "override a key; many times"},
        {"json", TRIB_OPTION_FLAG, &o.json, NULL, "one JSON object a line on stdout"},
    };
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0]),
                                     .operand_min = 2,
                                     .operand_max = 1 + TRIB_ENSEMBLE_MAX};
    int count;
    int status;
    if (!trib_args_parse(&usage, argc, argv, &count, &status))
        return status;
    if (!(o.validation > 0 && o.validation < 1)) {
        (void)fprintf(stderr, "ensemble: --validation %g: want more than 0 and less than 1\n",
                      o.validation);
        return TRIB_EXIT_USAGE;
    }
    trib_log_set_level(TRIB_LOG_ERROR);
    return (int)trib_exit_of(run(&o, count, argv));
}
