// One round of a world, from who is asked to the last update.
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/wire/codec.h"
#include "coordinator/finish.h"
#include "coordinator/sampler.h"
#include "simulations/world_parts.h"

#define TRIB_LOG_MODULE "world"

// An event of our own making always belongs where we send it.
void trib_world_step(struct trib_world *world, struct trib_round_input input)
{
    enum trib_err err = trib_round_step(&world->round, &input, world->now_ms);
    assert(err == TRIB_OK);
    (void)err;
}

// How many of a device's rows are there when so many have arrived: a pipeline drops some.
static size_t kept_of(const struct trib_scenario *s, uint64_t device, uint64_t arrived)
{
    const size_t rows = trib_partition_size(&s->partition, device);
    size_t kept = 0;
    if (!s->train->positions)
        return arrived < rows ? (size_t)arrived : rows;
    const uint64_t *places = s->train->positions + s->partition.starts[device];
    while (kept < rows && places[kept] <= arrived)
        kept++;
    return kept;
}

// The rows a device learns from in this round, as a real one finds them (client/feed.h).
static struct trib_samples samples_of(const struct trib_world *world, uint64_t device)
{
    struct trib_samples samples = trib_scenario_samples(world->scenario, device);
    const uint64_t per_round = world->scenario->data.rows_per_round;
    // To count rows uses none of them up, and looks at all of them.
    const bool is_tally = world->shape.kind != TRIB_TALLY_NONE;
    const uint64_t first = world->used && !is_tally ? world->used[device] : 0;
    uint64_t arrived;
    if (per_round > 0 && !__builtin_mul_overflow(per_round, world->round_number, &arrived))
        samples.rows = kept_of(world->scenario, device, arrived);
    samples.x += first * samples.inputs;
    samples.y += first;
    if (samples.weights)
        samples.weights += first;
    if (samples.ids)
        samples.ids += first;
    samples.rows -= first;
    if (world->job->train.is_online && !is_tally)
        samples.rows -= samples.rows % world->job->train.batch;
    return samples;
}

static bool lies(const struct trib_world *world, uint64_t device, enum trib_lie *ret_lie)
{
    char name[TRIB_PARTITION_NAME_SIZE];
    trib_partition_name(device, name);
    return trib_scenario_lies(world->scenario, name, ret_lie);
}

// A device answers a task as a real one does: TRIB_CODE_NONE, or why it declines.
static enum trib_err judge(struct trib_world *world, uint32_t device, enum trib_code *ret_code)
{
    struct trib_budgets *budgets = world->scenario->budgets;
    bool is_allowed;
    enum trib_lie lie;
    *ret_code = TRIB_CODE_NONE;
    if (lies(world, device, &lie)) { // it has nothing to ask, and does not know how to count
        *ret_code =
            world->shape.kind == TRIB_TALLY_NONE ? TRIB_CODE_NONE : TRIB_CODE_DECLINED_FAILED;
        return TRIB_OK;
    }
    if (samples_of(world, device).rows == 0) {
        *ret_code = TRIB_CODE_DECLINED_NO_DATA;
        return TRIB_OK;
    }
    if (!budgets)
        return TRIB_OK;
    enum trib_err err =
        trib_budgets_allow(budgets, &world->shape.privacy->encoding, device, &is_allowed);
    if (!err && !is_allowed)
        *ret_code = TRIB_CODE_DECLINED_BUDGET;
    return err;
}

// What the device is about to send is charged to its own budget. It was asked before, and a device
// is in one round at a time: so there is budget left, and the ledger is there.
static enum trib_err charge(struct trib_world *world, uint64_t device)
{
    struct trib_budgets *budgets = world->scenario->budgets;
    if (!budgets)
        return TRIB_OK;
    return trib_budgets_charge(budgets, &world->shape.privacy->encoding, world->round_number,
                               device);
}

// Ask devices in the order drawn until enough have taken. Some decline.
enum trib_err trib_world_select(struct trib_world *world)
{
    const struct trib_round *round = &world->round;
    size_t asked = 0;

    trib_sampler_draw(world->job->config.round_seed, world->round_number, world->order,
                      world->clients);
    while (round->state == TRIB_ROUND_SELECTING) {
        if (trib_round_offers_wanted(round) > 0 && asked == world->clients) {
            trib_world_step(world, (struct trib_round_input){.event = TRIB_ROUND_EV_EXHAUSTED});
            continue;
        }
        assert(asked < world->clients); // everyone asked has answered, so there is room for more
        const uint32_t device = world->by_name[world->order[asked++]];
        trib_world_step(world,
                        (struct trib_round_input){.event = TRIB_ROUND_EV_OFFER, .device = device});
        enum trib_code code;
        enum trib_err err = judge(world, device, &code);
        if (err)
            return err;
        trib_world_step(world, (struct trib_round_input){.event = code == TRIB_CODE_NONE
                                                                      ? TRIB_ROUND_EV_TAKE
                                                                      : TRIB_ROUND_EV_RELEASE,
                                                         .member = round->member_count - 1,
                                                         .code = code});
    }
    return TRIB_OK;
}

static bool falls_silent(const struct trib_world *world, uint32_t member)
{
    char name[TRIB_PARTITION_NAME_SIZE];
    trib_partition_name(world->round.members[member].device, name);
    return trib_scenario_drops(world->scenario, world->round_number, name);
}

static bool is_late(const struct trib_world *world, uint32_t member)
{
    char name[TRIB_PARTITION_NAME_SIZE];
    trib_partition_name(world->round.members[member].device, name);
    return trib_scenario_is_late(world->scenario, world->round_number, name);
}

static void advance_all(struct trib_world *world)
{
    const enum trib_round_state phase = world->round.state;
    for (uint32_t i = 0; i < world->round.member_count && world->round.state == phase; i++) {
        if (world->members[i].lease == TRIB_LEASE_TAKEN && !falls_silent(world, i))
            trib_world_step(world,
                            (struct trib_round_input){.event = TRIB_ROUND_EV_ADVANCE, .member = i});
    }
    if (world->round.state == phase) { // some are silent: time passes
        world->now_ms = world->round.deadline_ms;
        trib_world_step(world, (struct trib_round_input){.event = TRIB_ROUND_EV_TICK});
    }
}

// KEYS and SHARES of a masked round. A device that falls silent never advertises.
enum trib_err trib_world_deal_keys(struct trib_world *world)
{
    const uint32_t count = world->round.member_count;
    struct trib_cohort_member *list = trib_alloc_array(count, sizeof(*list));
    char(*names)[TRIB_PARTITION_NAME_SIZE] = trib_alloc_array(count, sizeof(*names));
    enum trib_err err = list && names ? TRIB_OK : TRIB_ERR_NOMEM;
    uint32_t taken = 0;
    if (err)
        goto out;
    advance_all(world);
    for (uint32_t i = 0; i < count; i++) {
        if (world->members[i].lease != TRIB_LEASE_TAKEN)
            continue;
        const uint32_t device = (uint32_t)world->members[i].device;
        trib_partition_name(device, names[taken]);
        list[taken] = (struct trib_cohort_member){.tag = i, .device = device, .name = names[taken]};
        taken++;
    }
    if (world->round.state != TRIB_ROUND_SHARES)
        goto out; // abandoned
    struct trib_secagg_header header = {
        .round_id = world->round_number,
        .round_number = world->round_number,
        .params = world->shape.words,
        .encoding = world->shape.privacy->encoding,
        .plan = world->shape.privacy->secagg,
    };
    memcpy(header.base_digest, world->state.digest, sizeof(header.base_digest));
    if (world->cohort)
        err = trib_cohort_begin(world->cohort, &header, list, taken);
    if (!err)
        advance_all(world);

out:
    free(list);
    free(names);
    return err;
}

// The next member to train, UINT32_MAX when there is none. Never are more in flight than may still
// be counted, so that which devices are counted does not depend on which is faster.
static uint32_t claim(struct trib_world *world)
{
    const struct trib_round *round = &world->round;

    while (!world->failure && round->state == TRIB_ROUND_COLLECTING) {
        if (round->leases[TRIB_LEASE_COUNTED] + world->in_flight == round->plan.goal) {
            (void)pthread_cond_wait(&world->changed, &world->lock);
            continue;
        }
        if (world->next_member == round->member_count) {
            if (world->is_late_turn)
                break;
            world->is_late_turn = true;
            world->next_member = 0;
            continue;
        }
        const uint32_t member = world->next_member++;
        if (round->members[member].lease != TRIB_LEASE_TAKEN || falls_silent(world, member) ||
            is_late(world, member) != world->is_late_turn)
            continue;
        world->in_flight++;
        return member;
    }
    return UINT32_MAX;
}

// What a liar says of its update, as liar.c does; `digest` holds one that is another.
static void bend(struct trib_admit_claim *claim, enum trib_lie lie, uint8_t digest[static 32])
{
    switch (lie) {
    case TRIB_LIE_WEIGHT:
        claim->has_weight = true;
        claim->weight = 0;
        return;
    case TRIB_LIE_SIZE: claim->size--; return;
    case TRIB_LIE_BASE:
    case TRIB_LIE_MODEL:
        memcpy(digest, lie == TRIB_LIE_BASE ? claim->base_digest : claim->arch_digest, 32);
        digest[0] ^= 1;
        if (lie == TRIB_LIE_BASE)
            claim->base_digest = digest;
        else
            claim->arch_digest = digest;
        return;
    case TRIB_LIE_NORM:
    case TRIB_LIE_MIXED:
    case TRIB_LIE_COUNT: return; // it is in the words
    }
}

// The coordinator's way with an update, as the server goes it.
static void receive(struct trib_world *world, uint32_t member,
                    const struct trib_device_update *update, const struct trib_codec_norms *norms)
{
    struct trib_round *round = &world->round;
    enum trib_lie lie;
    uint8_t digest[32];
    struct trib_round_input input = {
        .event = TRIB_ROUND_EV_RELEASE, .member = member, .code = update->code};
    if (update->code == TRIB_CODE_NONE) {
        struct trib_admit_claim claimed = {
            .round_id = world->rule.round_id,
            .size = world->rule.packed_size,
            .has_weight = world->rule.encoding->mode == TRIB_PRIVACY_OFF,
            .weight = update->weight,
            .base_digest = world->rule.base_digest,
            .arch_digest = world->rule.arch_digest,
        };
        const uint64_t device = round->members[member].device;
        if (lies(world, device, &lie))
            bend(&claimed, lie, digest);
        input.code = trib_admit_begin(&world->rule, round, member, device, &claimed, NULL);
        if (input.code == TRIB_CODE_NONE)
            input.code = trib_admit_numbers(&world->rule, norms);
        input.event = input.code == TRIB_CODE_NONE ? TRIB_ROUND_EV_PEND : TRIB_ROUND_EV_REFUSE;
    }
    if (trib_round_step(round, &input, world->now_ms))
        return; // the round was abandoned meanwhile
    if (input.event == TRIB_ROUND_EV_PEND) {
        trib_sums_add(&world->sums, update->words, update->weight);
        trib_world_step(world,
                        (struct trib_round_input){.event = TRIB_ROUND_EV_COUNT, .member = member});
        const uint64_t device = round->members[member].device;
        if (world->used &&
            world->shape.kind == TRIB_TALLY_NONE) // the receipt moves the device's watermark
            world->used[device] += samples_of(world, device).rows;
        if (world->cohort && !world->failure)
            world->failure = trib_cohort_masked(world->cohort, member);
    } else {
        TRIB_INFO("round=%" PRIu64 " device=d%04" PRIu64 " code=%s", world->round_number,
                  round->members[member].device, trib_code_text(input.code));
    }
}

struct masking {
    struct trib_world *world;
    uint32_t member;
};

static enum trib_err mask_words(void *user, int32_t *words, size_t count)
{
    const struct masking *masking = user;
    const struct trib_world *world = masking->world;
    if (world->cohort)
        return trib_cohort_mask(world->cohort, masking->member, words, count);
    for (size_t i = 0; i < count; i++)
        words[i] = trib_word_lift((uint32_t)words[i], world->rule.encoding->word_bits);
    return TRIB_OK;
}

// An update that is made up: the lowest word there is, in every place.
static void make_up(const struct trib_world *world, struct trib_device_update *ret_update,
                    struct trib_codec_norms *ret_norms)
{
    *ret_update = (struct trib_device_update){.code = TRIB_CODE_NONE, .weight = 1};
    ret_norms->max_abs = 1ull << (world->rule.encoding->word_bits - 1);
}

static void train_members(struct trib_work *work)
{
    struct trib_world_worker *worker = (struct trib_world_worker *)work;
    struct trib_world *world = worker->world;
    char name[TRIB_PARTITION_NAME_SIZE];
    uint32_t member;

    (void)pthread_mutex_lock(&world->lock);
    while ((member = claim(world)) != UINT32_MAX) {
        const uint64_t device = world->round.members[member].device;
        (void)pthread_mutex_unlock(&world->lock);

        struct trib_device_update update;
        struct trib_codec_norms norms = {0};
        struct masking masking = {world, member};
        trib_partition_name(device, name);
        const struct trib_device_task task = {
            .round_number = world->round_number,
            .shape = &world->shape,
            .name = name,
            .base = world->params,
            .local = world->personal ? trib_personal_local(world->personal, device) : NULL,
            .learning_rate = trib_job_rate(world->job, world->round_number, &world->plateau),
            .class_weight = world->has_class_weights ? world->class_weight : NULL,
            .threshold = world->state.is_evaluated ? world->state.held_out.validation.threshold
                                                   : (double)NAN,
            .samples = samples_of(world, device),
            .stop = world->stop,
            .stop_user = world->stop_user,
            .mask = trib_world_is_masked(world) ? mask_words : NULL,
            .mask_user = &masking,
        };
        enum trib_lie lie;
        enum trib_err err = TRIB_OK;
        if (lies(world, device, &lie))
            make_up(world, &update, &norms);
        else
            err = trib_bench_run(worker->bench, &task, &update);
        if (!err && update.words)
            trib_codec_norms_add_words(update.words, world->shape.words, &norms);

        (void)pthread_mutex_lock(&world->lock);
        world->in_flight--;
        if (!err && update.words)
            err = charge(world, device);
        if (err)
            world->failure = err;
        else
            receive(world, member, &update, &norms);
        (void)pthread_cond_broadcast(&world->changed);
    }
    world->working--;
    (void)pthread_cond_broadcast(&world->changed);
    (void)pthread_mutex_unlock(&world->lock);
}

// Let the workers train the cohort, and wait for them.
enum trib_err trib_world_collect(struct trib_world *world)
{
    trib_sums_reset(&world->sums, world->shape.words);
    world->next_member = 0;
    world->is_late_turn = false;
    world->failure = TRIB_OK;
    world->working = world->worker_count;
    for (unsigned w = 0; w < world->worker_count; w++) {
        world->workers[w].work.run = train_members;
        trib_pool_submit(world->pool, &world->workers[w].work);
    }
    (void)pthread_mutex_lock(&world->lock);
    while (world->working > 0)
        (void)pthread_cond_wait(&world->changed, &world->lock);
    (void)pthread_mutex_unlock(&world->lock);
    if (world->failure)
        return world->failure;
    if (world->round.state == TRIB_ROUND_COLLECTING) { // some are silent: time passes
        world->now_ms = world->round.deadline_ms;
        trib_world_step(world, (struct trib_round_input){.event = TRIB_ROUND_EV_TICK});
    }
    return TRIB_OK;
}
