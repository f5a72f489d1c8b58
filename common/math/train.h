// train.h - fitting a model to one device's rows, by mini-batches.
#ifndef TRIB_MATH_TRAIN_H
#define TRIB_MATH_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rand.h"
#include "common/math/augment.h"
#include "common/math/class_weights.h"
#include "common/math/net.h"
#include "common/math/optim.h"
#include "common/math/resample.h"
#include "tributary/err.h"

// Which rows are not learnt from: a share of them, by which training chooses its best epoch; or one
// of `folds` equal parts, which training does not look at, so that a model can be measured on it
// that never saw it. With folds there is no share.
struct trib_kept_rows {
    double fraction; // [0, 1)
    uint32_t folds;  // 0: none; 2 to TRIB_KEPT_FOLDS_MAX
    uint32_t fold;   // the part, below folds
};
struct trib_train_options {
    uint64_t epochs;          // passes over the rows, at least 1
    uint64_t personal_epochs; // before them, passes in which only the local part moves (model.h)
    uint64_t batch;           // rows per step; 0: all
    double learning_rate;
    struct trib_schedule schedule; // over the steps of one call; not a plateau
    // What optim.h says of them
    enum trib_optimizer optimizer;
    double momentum;
    double weight_decay;
    bool decoupled_decay;
    double l1;
    double proximal_mu;
    double clip_norm;
    // Rows kept aside. Without a share of them the parameters of the last epoch stay.
    struct trib_kept_rows kept;
    uint64_t patience; // epochs without a better validation loss before the end; 0: all epochs
    bool is_online;    // the rows as they come, once: no shuffling (trib_train_partial)
    enum trib_class_weights class_weights; // given: trib_train_set_class_weights
    struct trib_resample_options resample; // against imbalance
    struct trib_augment_options augment;
    // Layers by bit, from 0
    uint64_t frozen;   // their parameters stay as they are, bit by bit
    uint64_t trunk;    // they learn with trunk_rate times the learning rate
    double trunk_rate; // above 0
};

// The layers of a list like "0,1,4" as bits. TRIB_ERR_INVAL with a text in `why`: not such a list,
// or a layer that the model does not have or that has nothing to learn.
TRIB_CHECKED enum trib_err trib_train_layers_parse(const char *text, const struct trib_model *model,
                                                   uint64_t *ret_layers, char *why,
                                                   size_t why_size);

// Set to 0 what lies in the layers (bits) of `values` (param_count).
void trib_train_clear_layers(const struct trib_model *model, uint64_t layers, float *values);

// The workspace for one model and at most `rows_max` rows with these options. Nothing is allocated
// while training. `model` is borrowed and must outlive it.
struct trib_trainer_space;
TRIB_CHECKED enum trib_err trib_train_space_create(const struct trib_model *model,
                                                   const struct trib_train_options *options,
                                                   size_t rows_max,
                                                   struct trib_trainer_space **ret_space);
void trib_train_space_destroy(struct trib_trainer_space *space);

// Train with another rate from now on.
void trib_train_set_rate(struct trib_trainer_space *space, double learning_rate);

// With options.class_weights given: a row of class c weighs weights[c] (classes) from now on. Before
// the first training.
void trib_train_set_class_weights(struct trib_trainer_space *space, const float *weights);

// How many vectors of param_count + local_count floats such a space has at most: plain steps are
// taken in place.
size_t trib_train_vectors(const struct trib_train_options *options);

// Is the row with this identity (trib_samples.ids) of the share, or of which part is it? It depends
// on nothing else, so that a row never changes its side. The two have nothing to do with each other.
bool trib_train_validates(uint64_t id, double fraction);
uint32_t trib_train_fold(uint64_t id, uint32_t folds);

// The rows to learn from before those kept aside, in `order` (rows); returns how many they are.
// When one side of a share would be empty all are learnt from; a part is kept aside in any case, so
// that it may be 0.
size_t trib_train_split(const struct trib_samples *samples, const struct trib_kept_rows *kept,
                        uint32_t *order);

// Asked before each step; true stops the training.
typedef bool (*trib_train_stop_fn)(void *user);

// What the last training came to.
struct trib_train_report {
    size_t rows;            // learnt from
    uint64_t epochs;        // run, without the personal ones
    uint64_t best_epoch;    // whose parameters they are, from 1
    double validation_loss; // mean, of that epoch; NaN: nothing was kept aside
};
struct trib_train_report trib_train_report(const struct trib_trainer_space *space);

// Improve `params` (param_count + local_count: the common part and behind it the device's own) in
// place. Each epoch visits the rows in a fresh seeded order; the
// last batch of an epoch may be smaller. Optimiser and penalties begin anew (trib_optim_begin).
// With options.is_online they are visited once, in their order, as trib_train_partial does.
// *ret_loss is the mean training loss of the last epoch, each batch before its step. With the log
// level debug there is a line for each epoch with its loss.
//
// With a share kept aside (when there is at least one row on either side) their loss is measured
// after each epoch, and `params` end as those of the best one.
// TRIB_ERR_REFUSED: all rows are of the part that is kept aside. TRIB_ERR_STOPPED: asked to; TRIB_ERR_DATA: the loss is no longer finite; `params` are then not to
// be used. `samples` has at least one row, and its rows fit the model (trib_dataset_check).
TRIB_CHECKED enum trib_err trib_train(struct trib_trainer_space *space,
                                      const struct trib_samples *samples, struct trib_rng *rng,
                                      float *params, trib_train_stop_fn stop, void *stop_user,
                                      double *ret_loss);

// ---- Row by row
//
//     trib_train_begin(space, params);
//     whenever rows arrived: trib_train_partial(space, &samples, &rng, params, &loss);
//
// A step for each batch of the rows in their order; the last one may be smaller. The optimiser goes
// on where the last call left it, so with options.batch = 1, k calls of one row are the same bits
// as one call of k rows. Wants options that can go on. TRIB_ERR_DATA: a loss was not finite;
// `params` are then not to be used.
enum {
    TRIB_ONLINE_BATCH_MAX = 4096 // rows of a step: they wait until it is full
};

// One epoch, a batch of 1 to TRIB_ONLINE_BATCH_MAX, no schedule, and nothing that looks at all
// rows: validation, equal classes, sampling, augmentation.
bool trib_train_can_go_on(const struct trib_train_options *options);

void trib_train_begin(struct trib_trainer_space *space, const float *params);
TRIB_CHECKED enum trib_err trib_train_partial(struct trib_trainer_space *space,
                                              const struct trib_samples *samples,
                                              struct trib_rng *rng, float *params,
                                              double *ret_loss);

#endif // TRIB_MATH_TRAIN_H
