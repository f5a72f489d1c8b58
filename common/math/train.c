#include "common/math/train.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "train"

struct trib_trainer_space {
    const struct trib_model *model; // borrowed
    struct trib_train_options options;
    size_t rows_max;
    struct trib_net *net;
    uint32_t *order; // of the rows, (rows_max)
    float *x;        // the batch at hand, (batch, inputs)
    float *y;        // (batch)
    float *gradient; // (param_count)
    float *velocity; // (param_count), NULL without momentum
};

enum trib_err trib_train_space_create(const struct trib_model *model,
                                      const struct trib_train_options *options, size_t rows_max,
                                      struct trib_trainer_space **ret_space)
{
    assert(options->epochs >= 1 && rows_max >= 1);
    enum trib_err err = TRIB_ERR_NOMEM;
    size_t batch = options->batch && options->batch < rows_max ? options->batch : rows_max;
    struct trib_trainer_space *space = trib_alloc(sizeof(*space));
    if (!space)
        return TRIB_ERR_NOMEM;
    space->model = model;
    space->options = *options;
    space->rows_max = rows_max;
    space->order = trib_alloc_array(rows_max, sizeof(*space->order));
    space->x = trib_alloc_aligned(batch * model->inputs, sizeof(*space->x));
    space->y = trib_alloc_aligned(batch, sizeof(*space->y));
    space->gradient = trib_alloc_aligned(model->param_count, sizeof(*space->gradient));
    if (!space->order || !space->x || !space->y || !space->gradient)
        goto failed;
    if (options->momentum > 0) {
        space->velocity = trib_alloc_aligned(model->param_count, sizeof(*space->velocity));
        if (!space->velocity)
            goto failed;
    }
    err = trib_net_create(model, batch, &space->net);
    if (err)
        goto failed;
    *ret_space = space;
    return TRIB_OK;

failed:
    trib_train_space_destroy(space);
    return err;
}

void trib_train_space_destroy(struct trib_trainer_space *space)
{
    if (!space)
        return;
    trib_net_destroy(space->net);
    free(space->order);
    free(space->x);
    free(space->y);
    free(space->gradient);
    free(space->velocity);
    free(space);
}

static void gather(struct trib_trainer_space *space, const struct trib_samples *samples,
                   const uint32_t *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memcpy(space->x + i * samples->inputs, samples->x + rows[i] * samples->inputs,
               samples->inputs * sizeof(*space->x));
        space->y[i] = samples->y[rows[i]];
    }
}

static void sgd_step(struct trib_trainer_space *space, float *params)
{
    const size_t count = space->model->param_count;
    const float rate = (float)space->options.learning_rate;
    const float decay = (float)space->options.weight_decay;
    const float momentum = (float)space->options.momentum;
    const float *g = space->gradient;
    float *v = space->velocity;

    if (v) {
        for (size_t i = 0; i < count; i++) {
            v[i] = momentum * v[i] + (g[i] + decay * params[i]);
            params[i] -= rate * v[i];
        }
    } else {
        for (size_t i = 0; i < count; i++)
            params[i] -= rate * (g[i] + decay * params[i]);
    }
}

enum trib_err trib_train(struct trib_trainer_space *space, const struct trib_samples *samples,
                         struct trib_rng *rng, float *params, trib_train_stop_fn stop,
                         void *stop_user, double *ret_loss)
{
    const size_t rows = samples->rows;
    const size_t batch = trib_net_batch_max(space->net);
    double loss = 0;

    assert(rows >= 1 && rows <= space->rows_max && samples->inputs == space->model->inputs);
    if (space->velocity)
        memset(space->velocity, 0, space->model->param_count * sizeof(*space->velocity));
    for (size_t i = 0; i < rows; i++)
        space->order[i] = (uint32_t)i;
    for (uint64_t epoch = 0; epoch < space->options.epochs; epoch++) {
        double sum = 0;
        trib_rng_shuffle(rng, space->order, rows);
        for (size_t first = 0; first < rows; first += batch) {
            size_t count = rows - first < batch ? rows - first : batch;
            if (stop && stop(stop_user))
                return TRIB_ERR_STOPPED;
            gather(space, samples, space->order + first, count);
            sum += (double)count * trib_net_gradient(space->net, params, space->x, space->y, count,
                                                     space->gradient);
            sgd_step(space, params);
        }
        loss = sum / (double)rows;
        if (!isfinite(loss)) {
            TRIB_WARN("training diverged in epoch %llu: the loss is not finite; a smaller "
                      "learning rate would help",
                      (unsigned long long)epoch + 1);
            return TRIB_ERR_DATA;
        }
    }
    *ret_loss = loss;
    return TRIB_OK;
}
