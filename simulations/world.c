#include "simulations/world_parts.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/pool.h"
#include "common/math/kernels.h"
#include "common/privacy/accountant.h"
#include "common/wire/codec.h"
#include "coordinator/admit.h"
#include "coordinator/aggregate.h"
#include "coordinator/class_round.h"
#include "coordinator/evaluate.h"
#include "coordinator/finish.h"
#include "coordinator/gate.h"
#include "coordinator/moments.h"
#include "coordinator/round.h"
#include "coordinator/sampler.h"
#include "coordinator/stop.h"
#include "coordinator/strategy.h"
#include "coordinator/tally_round.h"
#include "simulations/cohort.h"
#include "simulations/device.h"

#define TRIB_LOG_MODULE "world"

enum {
    COUNTS_LOST_MAX = 8 // as the server's
};

// ---- Building

static enum trib_err create_workers(struct trib_world *world, unsigned threads)
{
    const size_t rows = trib_partition_size_max(&world->scenario->partition);
    const size_t rows_max = rows ? rows : 1;
    // With a library whose callers must take turns, threads would only wait for each other.
    if (!trib_kernels_are_concurrent())
        threads = 1;
    enum trib_err err = trib_pool_create(threads, &world->pool);
    if (err)
        return err;
    const unsigned count = trib_pool_threads(world->pool);
    world->workers = trib_alloc_array(count, sizeof(*world->workers));
    if (!world->workers)
        return TRIB_ERR_NOMEM;
    for (; !err && world->worker_count < count; world->worker_count++) {
        struct trib_world_worker *worker = &world->workers[world->worker_count];
        worker->world = world;
        err = trib_bench_create(world->job, rows_max, &worker->bench);
    }
    return err;
}

static enum trib_err create_vectors(struct trib_world *world)
{
    const size_t params = world->job->model.param_count;
    world->by_name = trib_alloc_array(world->clients, sizeof(*world->by_name));
    world->order = trib_alloc_array(world->clients, sizeof(*world->order));
    world->members = trib_alloc_array(world->clients, sizeof(*world->members));
    world->params = trib_alloc_aligned(params, sizeof(*world->params));
    world->next = trib_alloc_aligned(params, sizeof(*world->next));
    world->mean = trib_alloc_aligned(params, sizeof(*world->mean));
    if (world->job->config.learning_mode != TRIB_JOB_MODE_BATCH) {
        world->used = trib_alloc_array(world->clients, sizeof(*world->used));
        if (!world->used)
            return TRIB_ERR_NOMEM;
    }
    if (world->job->config.keep == TRIB_JOB_KEEP_BEST)
        world->best = trib_alloc_aligned(params, sizeof(*world->best));
    if (trib_gate_is_on(&world->job->config))
        world->initial = trib_alloc_aligned(params, sizeof(*world->initial));
    if ((world->job->config.keep == TRIB_JOB_KEEP_BEST && !world->best) ||
        (trib_gate_is_on(&world->job->config) && !world->initial))
        return TRIB_ERR_NOMEM;
    if (trib_job_tail(world->job) > 0)
        world->tail = trib_alloc_aligned(params, sizeof(*world->tail));
    if (!world->by_name || !world->order || !world->members || !world->params || !world->next ||
        !world->mean || (trib_job_tail(world->job) > 0 && !world->tail))
        return TRIB_ERR_NOMEM;
    size_t words = params, values = 0;
    for (int kind = TRIB_TALLY_NONE + 1; kind < TRIB_TALLY_KINDS; kind++) {
        if (world->job->tallies[kind].values == 0)
            continue;
        const struct trib_round_shape shape =
            trib_job_shape(world->job, (enum trib_tally_kind)kind);
        words = shape.words > words ? shape.words : words;
        values = shape.values > values ? shape.values : values;
    }
    if (values > 0)
        world->values = trib_alloc_aligned(values, sizeof(*world->values));
    if (values > 0 && !world->values)
        return TRIB_ERR_NOMEM;
    return trib_sums_init(&world->sums, words);
}

static enum trib_err create_measure(struct trib_world *world, struct trib_scenario *scenario)
{
    char why[TRIB_PATH_MAX + 256];
    const bool is_on_devices = scenario->config.test_on == TRIB_TEST_ON_DEVICES;
    enum trib_err err = TRIB_OK;
    if (is_on_devices || world->job->model.local_count > 0)
        err = trib_personal_create(scenario, 1, &world->personal);
    world->state.personal = world->personal;
    if (err || is_on_devices)
        return err;
    struct trib_dataset *test = scenario->test;
    scenario->test = NULL;
    err = trib_evaluator_take(test, &world->job->model, &world->job->held_out, &world->evaluator,
                              why, sizeof(why));
    if (err)
        TRIB_ERROR("%s", why);
    return err ? err : trib_gate_begin(world->job, world->evaluator);
}

enum trib_err trib_world_create(struct trib_scenario *scenario, unsigned threads,
                                struct trib_world **ret_world)
{
    char why[TRIB_PATH_MAX + 256];
    struct trib_world *world = trib_alloc(sizeof(*world));
    if (!world)
        return TRIB_ERR_NOMEM;
    world->scenario = scenario;
    world->job = &scenario->job;
    world->clients = scenario->partition.clients;
    world->spent = scenario->spent;
    (void)pthread_mutex_init(&world->lock, NULL);
    (void)pthread_cond_init(&world->changed, NULL);

    enum trib_err err = create_vectors(world);
    if (!err)
        err = trib_job_moments(world->job, &world->moments);
    if (!err)
        err = trib_newton_path_create(world->job, &world->newton);
    if (!err)
        err = create_workers(world, threads);
    if (!err && trib_world_is_masked(world) && scenario->config.inprocess_masks)
        err = trib_cohort_create(world->clients, (uint32_t)scenario->policy.min_cohort, world->pool,
                                 &world->cohort);
    if (err)
        goto failed;
    err = create_measure(world, scenario);
    if (err)
        goto failed;
    trib_partition_by_name(world->by_name, world->clients);
    err = trib_job_initial(world->job, world->params, why, sizeof(why));
    if (err) {
        TRIB_ERROR("model.init: %s", why);
        goto failed;
    }
    if (world->initial)
        memcpy(world->initial, world->params,
               world->job->model.param_count * sizeof(*world->initial));
    trib_model_digest(&world->job->model, world->params, world->state.digest);
    world->state.version = 1;
    world->state.params = world->params;
    *ret_world = world;
    return TRIB_OK;

failed:
    trib_world_destroy(world);
    return err;
}

void trib_world_destroy(struct trib_world *world)
{
    if (!world)
        return;
    trib_cohort_destroy(world->cohort);
    trib_pool_destroy(world->pool);
    for (unsigned w = 0; w < world->worker_count; w++)
        trib_bench_destroy(world->workers[w].bench);
    free(world->workers);
    trib_evaluator_destroy(world->evaluator);
    trib_personal_destroy(world->personal);
    trib_sums_fini(&world->sums);
    free(world->used);
    free(world->by_name);
    free(world->order);
    free(world->members);
    free(world->params);
    free(world->next);
    free(world->mean);
    free(world->values);
    free(world->tail);
    free(world->initial);
    free(world->best);
    trib_moments_destroy(world->moments);
    trib_newton_path_destroy(world->newton);
    (void)pthread_cond_destroy(&world->changed);
    (void)pthread_mutex_destroy(&world->lock);
    free(world);
}

// Is the newest version to be measured on devices before anything else?
static bool measures(const struct trib_world *world)
{
    const uint64_t done = world->round_number;
    return trib_job_evaluates_on_devices(world->job, done) && world->measured < done &&
           world->versioned == done;
}

bool trib_world_is_over(const struct trib_world *world)
{
    const enum trib_stop_rule rule =
        trib_stop_rule(&world->progress, world->job, world->round_number, world->now_ms);
    return rule == TRIB_STOP_TARGET || (rule != TRIB_STOP_NOT && !measures(world));
}

const struct trib_world_state *trib_world_state(const struct trib_world *world)
{
    return &world->state;
}

// ---- Versions

void trib_world_adopt(struct trib_world *world, const struct trib_held_out *held_out)
{
    float *old = world->params;
    world->params = world->next;
    world->next = old;
    world->state.params = world->params;
    world->state.version++;
    trib_model_digest(&world->job->model, world->params, world->state.digest);
    world->state.is_evaluated = held_out != NULL;
    if (held_out)
        world->state.held_out = *held_out;
}

// From the sum of words to the sum that may be used, as the server does it.
static enum trib_err finish_sums(struct trib_world *world)
{
    const struct trib_job *job = world->job;
    const struct trib_encoding *encoding = &world->shape.privacy->encoding;
    struct trib_central central;
    if (trib_world_is_masked(world)) {
        struct trib_unmask unmask = {world->cohort ? trib_cohort_hub(world->cohort) : NULL,
                                     encoding->word_bits};
        trib_sums_finish(&world->sums, encoding->word_bits, trib_unmask_finish, &unmask);
    }
    if (encoding->mode != TRIB_PRIVACY_CENTRAL)
        return TRIB_OK;
    enum trib_err err = trib_central_init(&central, encoding, world->shape.words,
                                          job->config.test_seed, world->round_number);
    if (!err)
        trib_sums_finish(&world->sums, encoding->word_bits, trib_central_finish, &central);
    trib_central_fini(&central);
    return err;
}

// What the manifest of a version keeps of its evaluation: the server knows no more of it.
static size_t headlines(const struct trib_evaluation *evaluation,
                        struct trib_evaluation_value values[static TRIB_EVALUATION_VALUES])
{
    const size_t count = trib_evaluation_values(evaluation, values);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (values[i].is_headline && isfinite(values[i].value))
            values[kept++] = values[i];
    }
    return kept;
}

enum trib_err trib_world_measure(struct trib_world *world, const float *params,
                                 struct trib_held_out *ret_held_out)
{
    if (world->evaluator)
        return trib_evaluator_run(world->evaluator, params, ret_held_out);
    *ret_held_out = (struct trib_held_out){.test.rows = 0};
    return trib_personal_measure(world->personal, params, &ret_held_out->validation);
}

// From the mean delta, or from the sums of a tally round, to the next parameters.
static enum trib_err use_sums(struct trib_world *world, struct trib_tally_use *use)
{
    const struct trib_job *job = world->job;
    const size_t count = job->model.param_count;
    if (!world->shape.kind) {
        trib_sums_mean(&world->sums, job->privacy.encoding.grid, world->mean);
        trib_train_clear_layers(&job->model, job->train.frozen, world->mean);
        world->mean_rms = trib_aggregate_rms(world->mean, count);
        use->has_version = true;
        return trib_job_step(job, world->moments, world->params, world->mean, world->next);
    }
    world->mean_rms = trib_tally_round_rms(&world->shape, world->sums.sums,
                                           world->round.leases[TRIB_LEASE_COUNTED]);
    enum trib_err err =
        trib_tally_round_values(job, &world->shape, world->sums.sums, world->values);
    struct trib_evaluation_value beside[TRIB_EVALUATION_VALUES];
    const struct trib_tally_base base = {
        .version = world->state.version,
        .params = world->params,
        .values = beside,
        .evaluator = world->evaluator,
        .newton = world->newton,
        .counted = world->round.leases[TRIB_LEASE_COUNTED],
        .value_count =
            world->state.is_evaluated ? headlines(&world->state.held_out.validation, beside) : 0,
    };
    return err ? err
               : trib_tally_round_use(job, &world->shape, world->values, &base, world->next, use);
}

// The new version, measured: TRIB_ERR_DATA when it is not usable.
static enum trib_err make_version(struct trib_world *world, bool is_measured,
                                  struct trib_held_out *ret_held_out, struct trib_tally_use *use)
{
    enum trib_err err = finish_sums(world);
    if (!err)
        err = use_sums(world, use);
    if (!err && is_measured && use->has_version)
        err = trib_world_measure(world, world->next, ret_held_out);
    return err;
}

// CONSISTENCY and UNMASKING. Nobody is lost after the seal in here.
static enum trib_err unmask(struct trib_world *world)
{
    enum trib_err err = world->cohort ? trib_cohort_finish(world->cohort) : TRIB_OK;
    if (err)
        return err;
    trib_world_step(world, (struct trib_round_input){.event = TRIB_ROUND_EV_ENOUGH});
    trib_world_step(world, (struct trib_round_input){.event = TRIB_ROUND_EV_ENOUGH});
    return TRIB_OK;
}

static void give_up(struct trib_world *world, enum trib_round_reason reason)
{
    trib_world_step(world,
                    (struct trib_round_input){.event = TRIB_ROUND_EV_CANCEL, .reason = reason});
}

// The version of a round is there; `held_out` is NULL when it was not measured.
static void take_version(struct trib_world *world, const struct trib_held_out *held_out,
                         struct trib_round_result *result)
{
    const struct trib_job *job = world->job;
    if (world->moments)
        trib_moments_take(world->moments);
    trib_newton_path_take(world->newton);
    trib_world_adopt(world, held_out);
    world->state.committed++;
    world->versioned = world->round_number;
    if (held_out) {
        trib_result_set_evaluation(result, held_out);
        trib_job_observe(job, result->value, &world->plateau);
        trib_stop_observe(&world->progress, job, result->value);
        trib_world_note_best(world, result->value);
        world->state.target_reached = trib_job_target_is_reached(job, &held_out->validation);
        world->progress.target_is_reached = world->state.target_reached;
    }
    if (world->tail && world->round_number + trib_job_tail(job) > job->config.rounds) {
        trib_strategy_tail_add(world->tail, world->params, job->model.param_count);
        world->tail_count++;
    }
}

static enum trib_err commit(struct trib_world *world, struct trib_round_result *result)
{
    const bool is_measured = trib_job_evaluates(world->job, world->round_number);
    struct trib_held_out held_out;
    struct trib_tally_use use = {.has_version = false};

    trib_world_step(world, (struct trib_round_input){.event = TRIB_ROUND_EV_SEAL_DURABLE});
    enum trib_err err = trib_world_is_masked(world) ? unmask(world) : TRIB_OK;
    if (!err)
        err = make_version(world, is_measured, &held_out, &use);
    if (err == TRIB_ERR_DATA) {
        TRIB_WARN("round=%" PRIu64 " the new version is not finite and is not committed",
                  world->round_number);
        give_up(world, TRIB_ROUND_REASON_FAILED);
        err = TRIB_OK;
        goto out;
    }
    if (err)
        goto out;
    trib_result_set_tally(result, &use.json);
    if (use.newton_is_off) {
        world->newton_is_off = true;
        give_up(world, TRIB_ROUND_REASON_NEWTON);
        goto out;
    }
    trib_world_step(world, (struct trib_round_input){.event = TRIB_ROUND_EV_COMMIT_DURABLE});
    if (use.has_version)
        take_version(world, is_measured ? &held_out : NULL, result);

out:
    trib_tally_use_fini(&use);
    return err;
}

static enum trib_err open_round(struct trib_world *world)
{
    const struct trib_job *job = world->job;
    const struct trib_round_plan plan = {
        .goal = job->goal,
        .offers = job->offers < world->clients ? job->offers : (uint32_t)world->clients,
        .accepted_min = job->accepted_min,
        .select_ms = job->config.select_ms,
        .report_ms = job->config.report_ms,
        .is_masked = trib_world_is_masked(world),
        .phase_ms = job->config.phase_ms,
    };
    world->shape = trib_job_shape(job, trib_job_kind(job, world->pass, world->newton_is_off));
    world->rule = (struct trib_admit_round){
        .round_id = world->round_number,
        .base_digest = world->state.digest,
        .arch_digest = job->model.arch_digest,
        .params = world->shape.words,
        .packed_size =
            trib_codec_size(world->shape.words, world->shape.privacy->encoding.word_bits),
        .weight_max = world->shape.weight_max,
        .squares_max =
            world->shape.kind
                ? 0
                : trib_admit_squares_max(job->config.norm_max, world->shape.privacy->encoding.grid),
        .encoding = &world->shape.privacy->encoding,
    };
    enum trib_err err =
        trib_round_init(&world->round, &plan, world->members, (uint32_t)world->clients);
    if (!err)
        trib_world_step(world, (struct trib_round_input){.event = TRIB_ROUND_EV_OPENED});
    return err;
}

static void describe(struct trib_world *world, struct trib_round_result *result)
{
    const struct trib_round *round = &world->round;
    const struct trib_job *job = world->job;

    result->id = result->round = world->round_number;
    result->version = world->state.version;
    (void)snprintf(result->kind, sizeof(result->kind), "%s",
                   trib_tally_kind_text(world->shape.kind));
    (void)snprintf(result->state, sizeof(result->state), "%s", trib_round_state_name(round->state));
    if (round->reason != TRIB_ROUND_REASON_NONE)
        (void)snprintf(result->reason, sizeof(result->reason), "%s",
                       trib_round_reason_name(round->reason));
    result->asked = round->member_count;
    result->accepted = round->leases[TRIB_LEASE_COUNTED];
    result->refused = round->leases[TRIB_LEASE_REFUSED];
    result->bytes_up = result->accepted * world->rule.packed_size;
    result->bytes_down = result->asked * job->model.param_count * sizeof(float);
    if (world->cohort) {
        uint64_t up, down;
        trib_cohort_bytes(world->cohort, &up, &down);
        result->bytes_up += up;
        result->bytes_down += down;
    }
    if (job->config.privacy_mode == TRIB_PRIVACY_OFF)
        return;
    // A device may have been in every round; what it sent is spent even when the round fails.
    if (result->accepted + result->refused > 0)
        trib_privacy_spend(&world->spent, &world->shape.privacy->encoding, 1);
    result->epsilon_pure = world->spent.epsilon_pure;
    result->epsilon = trib_privacy_epsilon(&world->spent, job->privacy.delta);
    result->delta = job->privacy.delta;
    struct trib_buf json = {0};
    trib_job_privacy_json(job, world->shape.privacy, TRIB_ROSTER_COORDINATOR, &world->spent,
                          result->accepted, world->mean_rms, &json);
    trib_result_set_privacy(result, &json);
    trib_buf_fini(&json);
}

// From asking to the commit. The result is of a round that has ended.
static enum trib_err play_round(struct trib_world *world, struct trib_round_result *result)
{
    world->mean_rms = (double)NAN;
    trib_result_init(result);
    enum trib_err err = open_round(world);
    if (!err)
        err = trib_world_select(world);
    if (!err && world->round.state == TRIB_ROUND_KEYS)
        err = trib_world_deal_keys(world);
    if (!err && world->round.state == TRIB_ROUND_COLLECTING)
        err = trib_world_collect(world);
    if (!err && world->round.state == TRIB_ROUND_SEALED)
        err = commit(world, result);
    return err;
}

// A round before the first, until one of them is counted: no round of the run, as with a server.
static enum trib_err count_before(struct trib_world *world, enum trib_round_pass pass,
                                  struct trib_round_result *result)
{
    enum trib_err err = TRIB_OK;
    bool is_counted = false;
    world->pass = pass;
    while (!err && !is_counted && world->round_number < COUNTS_LOST_MAX) {
        world->round_number++;
        err = play_round(world, result);
        if (!err)
            describe(world, result);
        is_counted = !err && world->round.state == TRIB_ROUND_COMMITTED;
    }
    world->round_number = 0;
    if (!err && !is_counted) {
        TRIB_ERROR("the %s could not be counted",
                   pass == TRIB_PASS_CLASSES ? "labels" : "linear baseline");
        err = TRIB_ERR_IO;
    }
    return err;
}

static enum trib_err prepare_run(struct trib_world *world)
{
    const struct trib_job *job = world->job;
    struct trib_round_result result;
    enum trib_err err = TRIB_OK;
    if (trib_job_wants_classes(&job->config) && !world->has_class_weights) {
        err = count_before(world, TRIB_PASS_CLASSES, &result);
        if (!err)
            err = trib_class_round_weights(job, result.tally, world->class_weight);
        world->has_class_weights = !err;
    }
    if (!err && trib_job_wants_linear(job) && !world->has_linear) {
        err = count_before(world, TRIB_PASS_BASELINE, &result);
        world->has_linear = !err;
    }
    return err;
}

enum trib_err trib_world_play(struct trib_world *world, trib_train_stop_fn stop, void *stop_user,
                              struct trib_round_result *ret_result)
{
    const uint64_t start_us = trib_clock_mono_us();
    struct trib_round_result result;

    assert(!trib_world_is_over(world));
    world->stop = stop;
    world->stop_user = stop_user;
    enum trib_err err = prepare_run(world);
    if (err)
        return err;
    world->pass = measures(world) ? TRIB_PASS_EVALUATION : TRIB_PASS_MAIN;
    if (world->pass == TRIB_PASS_EVALUATION)
        world->measured = world->round_number;
    else
        world->round_number++;
    err = play_round(world, &result);
    if (err)
        return err;
    assert(trib_round_is_final(&world->round));
    describe(world, &result);
    result.seconds = (double)(trib_clock_mono_us() - start_us) / 1e6;
    *ret_result = result;
    return TRIB_OK;
}
