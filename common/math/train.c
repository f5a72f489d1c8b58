#include "common/math/train.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/math/layer.h"
#include "common/math/linear.h"
#include "common/math/visits.h"

#define TRIB_LOG_MODULE "train"

struct trib_trainer_space {
    const struct trib_model *model; // borrowed
    struct trib_train_options options;
    size_t rows_max;
    size_t batch; // rows
    struct trib_net *net;
    struct trib_optim *optim;
    struct trib_optim *local_optim; // of the local part alone; NULL: there are no personal epochs
    uint32_t *order;        // of the rows, (rows_max): those to learn from, then those kept aside
    float *x;               // the batch at hand, (batch, inputs)
    float *y;               // (batch)
    float *weights;         // (batch)
    float *gradient;        // (total: of both parts); NULL: steps are taken in place
    float *best;            // parameters of the best epoch, (total); NULL: nothing is kept aside
    float *classes;         // weights of the classes, (model classes); NULL: all 1
    double *class_sums;     // as many, and NULL with it
    bool has_class_weights; // they were given
    bool drops;             // the model has dropout layers
    const float *
        *rows;     // of a linear model: where those of this batch and the next lie, (2 * batch)
    bool is_plain; // a step is w = keep * w - rate * gradient, and nothing else
    struct trib_visits *visits; // what an epoch looks at; NULL: the rows as they are
    struct trib_train_report report;
};

static struct trib_optim_options optim_options(const struct trib_train_options *options)
{
    return (struct trib_optim_options){
        .optimizer = options->optimizer,
        .momentum = options->momentum,
        .weight_decay = options->weight_decay,
        .decoupled_decay = options->decoupled_decay,
        .l1 = options->l1,
        .proximal_mu = options->proximal_mu,
        .clip_norm = options->clip_norm,
    };
}

size_t trib_train_vectors(const struct trib_train_options *options)
{
    const struct trib_optim_options optim = optim_options(options);
    const size_t optims = options->personal_epochs > 0 ? 2 : 1;
    return 1 + (options->kept.fraction > 0) + optims * trib_optim_vectors(&optim);
}

static double factor_of(const struct trib_train_options *options, uint32_t layer)
{
    if (options->frozen >> layer & 1)
        return 0;
    return options->trunk >> layer & 1 ? options->trunk_rate : 1;
}

static void add_span(struct trib_optim_span *spans, size_t *count,
                     const struct trib_layer_tensor *tensors, uint32_t tensor_count, double factor)
{
    if (tensor_count == 0)
        return;
    const struct trib_layer_tensor *last = &tensors[tensor_count - 1];
    spans[(*count)++] = (struct trib_optim_span){
        .begin = tensors[0].offset, .end = last->offset + last->count, .factor = factor};
}

// The layers that learn at one rate as stretches of the parameters: of the common ones, and behind
// them of the local ones.
static void set_spans(struct trib_optim *optim, const struct trib_model *model,
                      const struct trib_train_options *options)
{
    struct trib_optim_span spans[2 * TRIB_LAYERS_MAX];
    size_t count = 0;
    if (!options->frozen && !options->trunk)
        return;
    for (uint32_t l = 0; l < model->layer_count; l++)
        add_span(spans, &count, model->layers[l].tensors, model->layers[l].tensor_count,
                 factor_of(options, l));
    for (uint32_t l = 0; l < model->layer_count; l++)
        add_span(spans, &count, model->layers[l].locals, model->layers[l].local_count,
                 factor_of(options, l));
    trib_optim_set_spans(optim, spans, count);
}

static enum trib_err create_vectors(struct trib_trainer_space *space, size_t batch)
{
    const struct trib_model *model = space->model;
    const bool validates = space->options.kept.fraction > 0;
    const bool has_classes = space->options.class_weights && model->classes > 0;
    const bool is_linear = space->is_plain && !space->visits && trib_model_is_linear(model);
    const bool has_gradient = !space->is_plain || !trib_net_steps_in_place(space->net) ||
                              space->options.personal_epochs > 0;
    space->order = trib_alloc_array(space->rows_max, sizeof(*space->order));
    space->x = trib_alloc_aligned(batch * model->inputs, sizeof(*space->x));
    space->y = trib_alloc_aligned(batch, sizeof(*space->y));
    space->weights = trib_alloc_aligned(batch, sizeof(*space->weights));
    if (is_linear)
        space->rows = trib_alloc_array(2 * batch, sizeof(*space->rows));
    if (has_gradient)
        space->gradient = trib_alloc_aligned(trib_model_total(model), sizeof(*space->gradient));
    if (validates)
        space->best = trib_alloc_aligned(trib_model_total(model), sizeof(*space->best));
    if (has_classes) {
        space->classes = trib_alloc_aligned(model->classes, sizeof(*space->classes));
        space->class_sums = trib_alloc_aligned(model->classes, sizeof(*space->class_sums));
    }
    bool is_complete = space->order && space->x && space->y && space->weights &&
                       (!is_linear || space->rows) && (!has_gradient || space->gradient) &&
                       (!validates || space->best) &&
                       (!has_classes || (space->classes && space->class_sums));
    return is_complete ? TRIB_OK : TRIB_ERR_NOMEM;
}

enum trib_err trib_train_space_create(const struct trib_model *model,
                                      const struct trib_train_options *options, size_t rows_max,
                                      struct trib_trainer_space **ret_space)
{
    assert(options->epochs >= 1 && rows_max >= 1);
    assert(options->schedule.kind != TRIB_SCHEDULE_PLATEAU);
    const struct trib_optim_options optim = optim_options(options);
    size_t batch = options->batch && options->batch < rows_max ? options->batch : rows_max;
    const struct trib_visits_options visits = {options->resample, options->augment, options->batch};
    struct trib_trainer_space *space = trib_alloc(sizeof(*space));
    if (!space)
        return TRIB_ERR_NOMEM;
    space->model = model;
    space->options = *options;
    space->rows_max = rows_max;
    space->batch = batch;
    for (uint32_t l = 0; l < model->layer_count; l++)
        space->drops = space->drops || trib_layer_ops(model->layers[l].kind)->is_training_only;
    space->is_plain = trib_optim_is_plain(&optim) && !options->frozen && !options->trunk;
    enum trib_err err = TRIB_OK;
    if (trib_visits_are_wanted(&visits))
        err = trib_visits_create(&visits, model, rows_max, &space->visits);
    if (space->visits && trib_visits_batch_max(space->visits) > batch)
        batch = trib_visits_batch_max(space->visits);
    if (!err)
        err = trib_net_create(model, batch, &space->net);
    if (!err)
        err = create_vectors(space, space->batch);
    if (!err)
        err = trib_optim_create(&optim, trib_model_total(model), &space->optim);
    if (!err && options->personal_epochs > 0 && model->local_count > 0)
        err = trib_optim_create(&optim, model->local_count, &space->local_optim);
    if (!err)
        set_spans(space->optim, model, options);
    if (err) {
        trib_train_space_destroy(space);
        return err;
    }
    *ret_space = space;
    return TRIB_OK;
}

void trib_train_space_destroy(struct trib_trainer_space *space)
{
    if (!space)
        return;
    trib_net_destroy(space->net);
    trib_optim_destroy(space->optim);
    trib_visits_destroy(space->visits);
    trib_optim_destroy(space->local_optim);
    free(space->order);
    free(space->x);
    free(space->y);
    free(space->weights);
    free(space->rows);
    free(space->gradient);
    free(space->best);
    free(space->classes);
    free(space->class_sums);
    free(space);
}

void trib_train_set_class_weights(struct trib_trainer_space *space, const float *weights)
{
    assert(space->options.class_weights == TRIB_CLASS_WEIGHTS_GIVEN && space->classes);
    memcpy(space->classes, weights, space->model->classes * sizeof(*weights));
    space->has_class_weights = true;
}

void trib_train_set_rate(struct trib_trainer_space *space, double learning_rate)
{
    space->options.learning_rate = learning_rate;
}

struct trib_train_report trib_train_report(const struct trib_trainer_space *space)
{
    return space->report;
}

// ---- Which rows, and what they weigh

// The finaliser of SplitMix64 (Steele, Lea & Flood 2014): each row a number of its own in [0, 1).
static double number_of(uint64_t id)
{
    uint64_t z = id + 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

bool trib_train_validates(uint64_t id, double fraction)
{
    return number_of(id) < fraction;
}

uint32_t trib_train_fold(uint64_t id, uint32_t folds)
{
    static const uint64_t other = 0x9216d5d98979fb1b; // of pi, so that it is another number
    return (uint32_t)(number_of(id ^ other) * folds);
}

static bool is_kept(uint64_t id, const struct trib_kept_rows *kept)
{
    return kept->folds > 0 ? trib_train_fold(id, kept->folds) == kept->fold
                           : trib_train_validates(id, kept->fraction);
}

size_t trib_train_split(const struct trib_samples *samples, const struct trib_kept_rows *kept,
                        uint32_t *order)
{
    const size_t rows = samples->rows;
    size_t learnt = 0, aside = 0;
    if (kept->fraction > 0 || kept->folds > 0) {
        for (size_t i = 0; i < rows; i++) {
            if (is_kept(samples->ids ? samples->ids[i] : i, kept))
                order[rows - ++aside] = (uint32_t)i;
            else
                order[learnt++] = (uint32_t)i;
        }
        if (kept->folds > 0 || (learnt > 0 && aside > 0))
            return learnt;
    }
    for (size_t i = 0; i < rows; i++)
        order[i] = (uint32_t)i;
    return rows;
}

// A class that is only among rows kept aside counts there.
static void weigh_classes(struct trib_trainer_space *space, const struct trib_samples *samples,
                          size_t learnt)
{
    const uint32_t classes = space->model->classes;
    if (!space->classes)
        return;
    if (space->options.class_weights == TRIB_CLASS_WEIGHTS_GIVEN) {
        assert(space->has_class_weights);
        return;
    }
    memset(space->class_sums, 0, classes * sizeof(*space->class_sums));
    for (size_t i = 0; i < learnt; i++) {
        const uint32_t row = space->order[i];
        space->class_sums[(size_t)samples->y[row]] +=
            samples->weights ? (double)samples->weights[row] : 1;
    }
    trib_class_weights_balance(space->class_sums, classes, 0, space->classes);
}

// Of all that there is of a batch but x.
static struct trib_batch label(struct trib_trainer_space *space, const struct trib_samples *samples,
                               const uint32_t *rows, size_t count)
{
    const bool is_weighted = samples->weights || space->classes;
    for (size_t i = 0; i < count; i++) {
        space->y[i] = samples->y[rows[i]];
        if (is_weighted)
            space->weights[i] = (samples->weights ? samples->weights[rows[i]] : 1) *
                                (space->classes ? space->classes[(size_t)space->y[i]] : 1);
    }
    return (struct trib_batch){
        .y = space->y, .weights = is_weighted ? space->weights : NULL, .rows = count};
}

static void fetch(const float *row, size_t count)
{
    for (size_t i = 0; i < count; i += 16) // a cache line
        __builtin_prefetch(row + i, 0, 2);
}

// `next_count` rows behind these are wanted soon: in a fresh order each is far from the one before,
// and the processor does not guess them.
static struct trib_batch gather(struct trib_trainer_space *space,
                                const struct trib_samples *samples, const uint32_t *rows,
                                size_t count, size_t next_count)
{
    const size_t inputs = samples->inputs;
    struct trib_batch batch = label(space, samples, rows, count);
    for (size_t i = 0; i < count; i++) {
        if (i < next_count)
            fetch(samples->x + rows[count + i] * inputs, inputs);
        memcpy(space->x + i * inputs, samples->x + rows[i] * inputs, inputs * sizeof(*space->x));
    }
    batch.x = space->x;
    return batch;
}

// ---- Training

struct fit {
    struct trib_trainer_space *space;
    const struct trib_samples *samples;
    struct trib_rng *rng;
    float *params;
    size_t rows;   // learnt from
    size_t visits; // of an epoch: the rows, unless some are visited more or less often
    uint64_t step, step_count;
    bool is_personal; // only the local part moves
    bool validates;   // the best epoch is kept
    trib_train_stop_fn stop;
    void *stop_user;
};

// In a personal epoch the device's own part moves alone, at the first rate.
static double step_personal(struct fit *fit, const struct trib_batch *batch, struct trib_rng *drops)
{
    struct trib_trainer_space *space = fit->space;
    const size_t common = space->model->param_count;
    const double loss =
        trib_net_gradient_weighted(space->net, fit->params, batch, drops, space->gradient);
    trib_optim_step(space->local_optim, space->options.learning_rate, space->gradient + common,
                    fit->params + common);
    return loss;
}

// The visits of one step, and how many of the next are known.
struct portion {
    size_t first;         // in the epoch
    const uint32_t *rows; // NULL when they are not just rows
    size_t count, next_count;
};

static double step_linear(struct fit *fit, const struct portion *portion,
                          const struct trib_net_step *step)
{
    struct trib_trainer_space *space = fit->space;
    const struct trib_samples *samples = fit->samples;
    const float **next = space->rows + space->batch;
    const struct trib_batch batch = label(space, samples, portion->rows, portion->count);
    for (size_t i = 0; i < portion->count; i++) {
        const size_t after = i < portion->next_count ? portion->count + i : i;
        space->rows[i] = samples->x + portion->rows[i] * samples->inputs;
        next[i] = samples->x + portion->rows[after] * samples->inputs;
    }
    const struct trib_rows x = {.count = (int)portion->count,
                                .width = (int)samples->inputs,
                                .x = space->rows,
                                .next = portion->next_count > 0 ? next : NULL};
    return trib_linear_step(space->model, fit->params, &x, &batch, step, space->x);
}

static struct trib_batch batch_of(struct fit *fit, const struct portion *portion)
{
    struct trib_trainer_space *space = fit->space;
    if (space->visits)
        return trib_visits_batch(space->visits, portion->first);
    return gather(space, fit->samples, portion->rows, portion->count, portion->next_count);
}

// Learn from one batch; returns its mean loss before that.
static double step(struct fit *fit, const struct portion *portion)
{
    struct trib_trainer_space *space = fit->space;
    const struct trib_train_options *options = &space->options;
    struct trib_rng *drops = space->drops ? fit->rng : NULL;
    if (fit->is_personal) {
        const struct trib_batch own = batch_of(fit, portion);
        return step_personal(fit, &own, drops);
    }
    const double rate = trib_schedule_rate(&options->schedule, options->learning_rate, fit->step++,
                                           fit->step_count, NULL);
    const struct trib_net_step plain = {.rate = (float)rate,
                                        .keep = (float)(1 - rate * options->weight_decay),
                                        .space = space->gradient};
    if (space->rows)
        return step_linear(fit, portion, &plain);
    const struct trib_batch batch = batch_of(fit, portion);
    if (space->is_plain)
        return trib_net_step(space->net, fit->params, &batch, drops, &plain);
    const double loss =
        trib_net_gradient_weighted(space->net, fit->params, &batch, drops, space->gradient);
    trib_optim_step(space->optim, rate, space->gradient, fit->params);
    return loss;
}

static size_t visits_per_step(const struct trib_trainer_space *space)
{
    return space->visits ? trib_visits_step(space->visits) : space->batch;
}

// One pass over the rows; *ret_loss is their mean loss.
static enum trib_err run_epoch(struct fit *fit, double *ret_loss)
{
    struct trib_trainer_space *space = fit->space;
    const size_t most = visits_per_step(space);
    double sum = 0;
    if (space->visits)
        trib_visits_epoch(space->visits, fit->rng);
    else if (!space->options.is_online) // what arrives is learnt from in that order
        trib_rng_shuffle(fit->rng, space->order, fit->rows);
    for (size_t first = 0; first < fit->visits; first += most) {
        const size_t left = fit->visits - first;
        const size_t count = left < most ? left : most;
        const size_t after = left - count;
        const struct portion portion = {.first = first,
                                        .rows = space->visits ? NULL : space->order + first,
                                        .count = count,
                                        .next_count = after < most ? after : most};
        if (fit->stop && fit->stop(fit->stop_user))
            return TRIB_ERR_STOPPED;
        sum += (double)count * step(fit, &portion);
    }
    *ret_loss = sum / (double)fit->visits;
    return TRIB_OK;
}

// The mean loss of the rows kept aside.
static double validate(const struct fit *fit)
{
    struct trib_trainer_space *space = fit->space;
    const size_t batch_max = space->batch;
    const size_t rows = fit->samples->rows;
    double sum = 0;
    for (size_t first = fit->rows; first < rows; first += batch_max) {
        const size_t count = rows - first < batch_max ? rows - first : batch_max;
        const struct trib_batch batch = gather(space, fit->samples, space->order + first, count, 0);
        sum += trib_net_loss_weighted(space->net, fit->params, &batch);
    }
    return sum / (double)(rows - fit->rows);
}

// After an epoch, whose rows came to this loss: keep the best parameters. Is it time to stop?
static bool has_had_enough(const struct fit *fit, uint64_t epoch, double epoch_loss)
{
    struct trib_trainer_space *space = fit->space;
    struct trib_train_report *report = &space->report;
    const uint64_t patience = space->options.patience;
    report->epochs = epoch;
    if (!fit->validates) {
        report->best_epoch = epoch;
        TRIB_DEBUG("epoch=%" PRIu64 " rows=%zu loss=%.9g", epoch, fit->rows, epoch_loss);
        return false;
    }
    const double loss = validate(fit);
    TRIB_DEBUG("epoch=%" PRIu64 " rows=%zu loss=%.9g validation_loss=%.9g", epoch, fit->rows,
               epoch_loss, loss);
    if (isfinite(loss) && (report->best_epoch == 0 || loss < report->validation_loss)) {
        report->validation_loss = loss;
        report->best_epoch = epoch;
        memcpy(space->best, fit->params, trib_model_total(space->model) * sizeof(*space->best));
    }
    return patience > 0 && epoch - report->best_epoch >= patience;
}

static enum trib_err run_personal_epochs(struct fit *fit)
{
    struct trib_trainer_space *space = fit->space;
    enum trib_err err = TRIB_OK;
    double loss;
    if (!space->local_optim)
        return TRIB_OK;
    trib_optim_begin(space->local_optim, fit->params + space->model->param_count);
    fit->is_personal = true;
    for (uint64_t epoch = 1; epoch <= space->options.personal_epochs && !err; epoch++) {
        err = run_epoch(fit, &loss);
        if (!err)
            TRIB_DEBUG("personal_epoch=%" PRIu64 " rows=%zu loss=%.9g", epoch, fit->rows, loss);
    }
    fit->is_personal = false;
    return err;
}

// False: there is no row to learn from.
static bool begin(struct fit *fit)
{
    struct trib_trainer_space *space = fit->space;
    const size_t most = visits_per_step(space);
    fit->rows = trib_train_split(fit->samples, &space->options.kept, space->order);
    fit->visits = fit->rows;
    fit->validates = space->options.kept.folds == 0 && fit->rows < fit->samples->rows;
    if (fit->rows == 0)
        return false;
    weigh_classes(space, fit->samples, fit->rows);
    if (space->visits)
        fit->visits = trib_visits_begin(space->visits, fit->samples, space->order, fit->rows,
                                        space->classes, fit->rng);
    fit->step_count = space->options.epochs * ((fit->visits + most - 1) / most);
    trib_optim_begin(space->optim, fit->params);
    space->report = (struct trib_train_report){.rows = fit->rows, .validation_loss = (double)NAN};
    return true;
}

enum trib_err trib_train(struct trib_trainer_space *space, const struct trib_samples *samples,
                         struct trib_rng *rng, float *params, trib_train_stop_fn stop,
                         void *stop_user, double *ret_loss)
{
    struct fit fit = {.space = space,
                      .samples = samples,
                      .rng = rng,
                      .params = params,
                      .stop = stop,
                      .stop_user = stop_user};
    double loss = 0;

    assert(samples->rows >= 1 && samples->rows <= space->rows_max &&
           samples->inputs == space->model->inputs);
    if (!begin(&fit))
        return TRIB_ERR_REFUSED;
    enum trib_err failed = run_personal_epochs(&fit);
    if (failed)
        return failed;
    for (uint64_t epoch = 1; epoch <= space->options.epochs; epoch++) {
        enum trib_err err = run_epoch(&fit, &loss);
        if (err)
            return err;
        if (!isfinite(loss)) {
            TRIB_WARN("training diverged in epoch %llu: the loss is not finite; a smaller "
                      "learning rate would help",
                      (unsigned long long)epoch);
            return TRIB_ERR_DATA;
        }
        if (has_had_enough(&fit, epoch, loss))
            break;
    }
    if (space->report.best_epoch == 0) {
        TRIB_WARN("training diverged: the loss of the rows kept aside was never finite");
        return TRIB_ERR_DATA;
    }
    if (fit.validates)
        memcpy(params, space->best, trib_model_total(space->model) * sizeof(*params));
    *ret_loss = loss;
    return TRIB_OK;
}

// ---- Row by row

bool trib_train_can_go_on(const struct trib_train_options *options)
{
    return options->is_online && options->epochs == 1 && options->batch >= 1 &&
           options->batch <= TRIB_ONLINE_BATCH_MAX && options->kept.fraction == 0 &&
           options->kept.folds == 0 && options->class_weights == TRIB_CLASS_WEIGHTS_NONE &&
           options->schedule.kind == TRIB_SCHEDULE_CONSTANT &&
           options->resample.kind == TRIB_SAMPLING_NONE && !trib_augment_is_on(&options->augment);
}

void trib_train_begin(struct trib_trainer_space *space, const float *params)
{
    trib_optim_begin(space->optim, params);
    space->report = (struct trib_train_report){.validation_loss = (double)NAN};
}

enum trib_err trib_train_partial(struct trib_trainer_space *space,
                                 const struct trib_samples *samples, struct trib_rng *rng,
                                 float *params, double *ret_loss)
{
    struct fit fit = {.space = space, .samples = samples, .rng = rng, .params = params};
    const size_t rows_max = space->rows_max;
    const size_t batch = space->batch;
    const size_t stretch = rows_max - rows_max % batch; // whole batches
    double sum = 0, loss;
    assert(trib_train_can_go_on(&space->options));
    for (size_t first = 0; first < samples->rows; first += fit.rows) {
        fit.rows = samples->rows - first < stretch ? samples->rows - first : stretch;
        fit.visits = fit.rows;
        for (size_t i = 0; i < fit.rows; i++)
            space->order[i] = (uint32_t)(first + i);
        enum trib_err err = run_epoch(&fit, &loss);
        if (err)
            return err;
        sum += loss * (double)fit.rows;
    }
    space->report.rows += samples->rows;
    *ret_loss = sum / (double)samples->rows;
    return isfinite(sum) ? TRIB_OK : TRIB_ERR_DATA;
}
