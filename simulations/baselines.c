#include "simulations/baselines.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/math/baselines.h"
#include "simulations/scenario.h"

#define TRIB_LOG_MODULE "baselines"

struct options {
    struct trib_texts sets;
    double shrink;
    bool json;
};

static enum trib_err open_scenario(struct trib_scenario *s, const char *path,
                                   const struct options *options)
{
    enum trib_err err = trib_scenario_load(s, path, options->sets.items, options->sets.count);
    if (!err && s->job.model.items == 0)
        err = trib_conf_reject(&s->conf, "model", "spec", "is not a factorisation of items");
    if (!err && s->config.test_on != TRIB_TEST_ON_DEVICES)
        err = trib_conf_reject(&s->conf, "data", "test_on", "must be devices");
    if (!err)
        err = trib_scenario_open(s, true);
    if (err == TRIB_ERR_INVAL && s->conf.error[0])
        (void)fprintf(stderr, "%s\n", s->conf.error);
    return err;
}

// Each device adds its ratings up; the sums of all say what baselines are.
static enum trib_err add_up(const struct trib_scenario *s, double shrink,
                            struct trib_baselines *ret_baselines)
{
    struct trib_rating_sums all, own;
    enum trib_err err = trib_rating_sums_init(&all, s->job.model.items);
    if (err)
        return err;
    for (size_t d = 0; d < s->partition.clients && !err; d++) {
        const struct trib_samples samples = trib_scenario_samples(s, d);
        err = trib_rating_sums_init(&own, s->job.model.items);
        if (err)
            break;
        trib_rating_sums_add(&own, &samples);
        trib_rating_sums_merge(&all, &own);
        trib_rating_sums_fini(&own);
    }
    if (!err)
        err = trib_baselines_init(ret_baselines, &all, shrink);
    trib_rating_sums_fini(&all);
    return err;
}

static void measure(const struct trib_scenario *s, const struct trib_baselines *baselines,
                    double rmse[static TRIB_BASELINE_COUNT])
{
    double squares[TRIB_BASELINE_COUNT];
    double sums[TRIB_BASELINE_COUNT] = {0};
    for (size_t d = 0; d < s->partition.clients; d++) {
        const struct trib_samples learnt = trib_scenario_samples(s, d);
        const struct trib_samples held_out = trib_scenario_held_out(s, d);
        trib_baselines_miss(baselines, trib_baselines_user(baselines, &learnt), &held_out, squares);
        for (int k = 0; k < TRIB_BASELINE_COUNT; k++)
            sums[k] += squares[k];
    }
    for (int k = 0; k < TRIB_BASELINE_COUNT; k++)
        rmse[k] = sqrt(sums[k] / (double)s->test->rows);
}

static void print(const struct trib_scenario *s, const double *rmse, bool is_json)
{
    struct trib_buf json = {0};
    if (!is_json) {
        (void)printf("RMSE on %zu held-out ratings of %zu devices\n", s->test->rows,
                     s->partition.clients);
        for (int k = 0; k < TRIB_BASELINE_COUNT; k++)
            (void)printf("  %-10s %.4f\n", trib_baseline_text((enum trib_baseline)k), rmse[k]);
        return;
    }
    trib_json_open(&json, NULL, '{');
    trib_json_text(&json, "event", "baselines");
    trib_json_uint(&json, "devices", s->partition.clients);
    trib_json_uint(&json, "held_out", s->test->rows);
    for (int k = 0; k < TRIB_BASELINE_COUNT; k++)
        trib_json_real(&json, trib_baseline_text((enum trib_baseline)k), rmse[k]);
    trib_json_close(&json, '}');
    (void)printf("%s\n", json.data ? (const char *)json.data : "");
    trib_buf_fini(&json);
}

int trib_baselines_command(const struct trib_command *command, int argc, char **argv)
{
    struct options o = {.shrink = 5};
    const struct trib_option options[] = {
        {"set", TRIB_OPTION_LIST, &o.sets, "SECTION.KEY=VALUE", "override a key; many times"},
        {"shrink", TRIB_OPTION_REAL, &o.shrink, "N",
         "ratings of the mean that each bias begins with (5)"},
        {"json", TRIB_OPTION_FLAG, &o.json, NULL, "one JSON object"},
    };
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0]),
                                     .operand_min = 1,
                                     .operand_max = 1};
    struct trib_scenario *scenario = NULL;
    struct trib_baselines baselines;
    double rmse[TRIB_BASELINE_COUNT];
    int count;
    int status;
    if (!trib_args_parse(&usage, argc, argv, &count, &status))
        return status;
    if (!(o.shrink >= 0 && o.shrink <= 1e9)) {
        (void)fprintf(stderr, "baselines: --shrink %g: want 0 to 1e9\n", o.shrink);
        return TRIB_EXIT_USAGE;
    }
    enum trib_err err = trib_scenario_create(&scenario);
    if (!err)
        err = open_scenario(scenario, argv[0], &o);
    if (!err)
        err = add_up(scenario, o.shrink, &baselines);
    if (!err) {
        measure(scenario, &baselines, rmse);
        print(scenario, rmse, o.json);
        trib_baselines_fini(&baselines);
    }
    trib_scenario_destroy(scenario);
    return (int)trib_exit_of(err);
}
