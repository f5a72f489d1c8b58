// Which version of a world stays in the end, as the server chooses it (coordinator/gate.h).
#include <string.h>

#include "coordinator/gate.h"
#include "coordinator/strategy.h"
#include "simulations/world_parts.h"

void trib_world_note_best(struct trib_world *world, double value)
{
    if (!world->best ||
        (world->has_best && !trib_gate_is_better(world->job, value, world->best_value)))
        return;
    world->has_best = true;
    world->best_value = value;
    memcpy(world->best, world->params, world->job->model.param_count * sizeof(*world->best));
}

static double primary(const struct trib_held_out *held_out)
{
    bool higher_is_better;
    double value;
    (void)trib_evaluation_primary(&held_out->validation, &value, &higher_is_better);
    return value;
}

// The mean of the last versions, or the newest, or the best; into `next`.
static enum trib_err choose(struct trib_world *world, bool is_measured, uint64_t *ret_averaged,
                            struct trib_held_out *ret_held_out)
{
    const struct trib_job *job = world->job;
    const size_t size = job->model.param_count * sizeof(float);
    const bool averages = world->round_number >= job->config.rounds && world->tail_count >= 2;
    enum trib_err err = TRIB_OK;
    *ret_averaged = averages ? world->tail_count : 0;
    if (averages)
        trib_strategy_tail_finish(world->tail, job->model.param_count, world->tail_count,
                                  world->next);
    else
        memcpy(world->next, world->params, size);
    if (averages && is_measured)
        err = trib_world_measure(world, world->next, ret_held_out);
    if (!err && world->has_best &&
        !(averages && trib_gate_is_better(job, primary(ret_held_out), world->best_value))) {
        memcpy(world->next, world->best, size);
        *ret_averaged = 0;
    }
    return err;
}

enum trib_err trib_world_keep(struct trib_world *world)
{
    const struct trib_job *job = world->job;
    const bool is_measured = job->config.eval_every > 0;
    struct trib_held_out held_out;
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t averaged;

    if (!world->best && !world->initial && world->tail_count < 2)
        return TRIB_OK; // the last one stays
    enum trib_err err = choose(world, is_measured, &averaged, &held_out);
    if (!err && is_measured)
        err = trib_world_measure(world, world->next, &held_out);
    if (err)
        return err;
    world->state.is_refused = is_measured && !trib_gate_passes(job, &held_out);
    if (world->state.is_refused)
        memcpy(world->next, world->initial, job->model.param_count * sizeof(float));
    trib_model_digest(&job->model, world->next, digest);
    if (!averaged && memcmp(digest, world->state.digest, sizeof(digest)) == 0)
        return TRIB_OK;
    trib_world_adopt(world, is_measured && !world->state.is_refused ? &held_out : NULL);
    world->state.averaged = world->state.is_refused ? 0 : averaged;
    return TRIB_OK;
}
