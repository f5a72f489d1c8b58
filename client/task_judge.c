// Whether a device takes a task: what it can do, what its policy allows.
#include <inttypes.h>
#include <string.h>

#include "client/counter_store.h"
#include "client/task.h"
#include "common/base/log.h"
#include "common/wire/codec.h"

#define TRIB_LOG_MODULE "task"

enum {
    WORD_SIZE = 16 // bytes: a limb of a tally, its word, the packed one, a copy of that
};

// A coordinator that is newer than we are may ask for more than we can do.
static bool can_fit(const struct trib_msg_fit *fit)
{
    return fit->optimizer < TRIB_OPTIMIZER_COUNT && fit->lr_schedule < TRIB_SCHEDULE_PLATEAU &&
           fit->class_weights < TRIB_CLASS_WEIGHTS_COUNT && fit->mode <= TRIB_MODE_ONLINE &&
           !fit->is_strange && fit->sampling < TRIB_SAMPLING_COUNT;
}

// Does what the task asks make sense for its model? train.h takes these for granted.
static bool fits_model(const struct trib_msg_fit *fit, const struct trib_train_options *options,
                       const struct trib_model *model)
{
    const bool are_given = options->class_weights == TRIB_CLASS_WEIGHTS_GIVEN;
    if (fit->class_count != (are_given ? model->classes : 0))
        return false;
    const struct trib_resample_options *resample = &options->resample;
    const uint64_t layers = (UINT64_C(1) << model->layer_count) - 1;
    _Static_assert(TRIB_LAYERS_MAX < 64, "a bit for each layer");
    if (resample->kind != TRIB_SAMPLING_NONE &&
        (model->classes == 0 || resample->ratio == 0 || options->class_weights))
        return false;
    if ((resample->kind == TRIB_SAMPLING_OVER || resample->kind == TRIB_SAMPLING_SMOTE) &&
        options->batch == 0)
        return false;
    if (resample->kind == TRIB_SAMPLING_SMOTE && resample->neighbours == 0)
        return false;
    if (options->is_online && !trib_train_can_go_on(options))
        return false;
    if (trib_augment_is_of_pictures(&options->augment) && !model->shape.is_picture)
        return false;
    // Between two items there is nothing, and what is made up may be none.
    if (model->items > 0 &&
        (resample->kind == TRIB_SAMPLING_SMOTE || trib_augment_is_on(&options->augment)))
        return false;
    return ((options->frozen | options->trunk) & ~layers) == 0 &&
           (options->trunk == 0 || options->trunk_rate > 0);
}

bool trib_task_is_tally(const struct trib_task *task)
{
    return task->msg.fit.tally.kind != TRIB_TALLY_NONE;
}

bool trib_trainer_can(const struct trib_trainer *trainer, const struct trib_task *task)
{
    // A program that was built before there was such a callback has a shorter struct.
    const size_t needed = offsetof(struct trib_trainer, tally) + sizeof(trainer->tally);
    if (task->msg.fit.tally.kind == TRIB_TALLY_COUNTERS)
        return true; // nothing of it is the trainer's
    if (trib_task_is_tally(task))
        return trainer->struct_size >= needed && trainer->tally;
    if (task->msg.fit.folds > 0 && trainer->train != trib_trainer_builtin()->train)
        return false; // others would learn from the rows that are to be kept aside
    const uint32_t mode = task->msg.fit.mode;
    const size_t with_modes = offsetof(struct trib_trainer, modes) + sizeof(trainer->modes);
    return mode == TRIB_MODE_BATCH ||
           (trainer->struct_size >= with_modes && mode < 32 && (trainer->modes >> mode & 1) != 0);
}

// How many coordinates the update has. False: the task wants something counted that this device
// does not know, or in another way.
static bool count_words(struct trib_task *task)
{
    const struct trib_msg_tally *tally = &task->msg.fit.tally;
    const bool is_private = task->encoding.mode != TRIB_PRIVACY_OFF;
    task->word_count = task->model.param_count;
    if (!trib_task_is_tally(task))
        return true;
    const struct trib_ask ask = trib_task_ask(task);
    // A coordinator that does not know of layouts wants sums whole.
    if (tally->layout != TRIB_TALLY_WHOLE &&
        (is_private || tally->layout != (uint32_t)trib_ask_layout(&ask)))
        return false;
    task->word_count =
        is_private ? tally->values
                   : trib_tally_packed((enum trib_tally_layout)tally->layout, tally->values);
    // How much a pipeline counts the trainer knows, which reads it.
    const bool is_pipeline = ask.kind == TRIB_TALLY_PREPARE && task->msg.fit.prepare[0];
    return (is_pipeline || trib_ask_values(&ask) == tally->values) &&
           (is_private == (tally->scale > 0)) &&
           (is_private || task->encoding.word_bits == TRIB_TALLY_WORD_BITS);
}

// Can this way of training be done here, and is there memory for it? Says why not.
static bool can_train(struct trib_task *task, uint64_t memory_max)
{
    char why[256]; // known to whoever declared them
    const struct trib_msg_task *msg = &task->msg;
    const bool has_counters =
        trib_counters_parse(msg->fit.counters, &task->counters, why, sizeof(why)) == TRIB_OK;
    const bool is_countable = has_counters && count_words(task);
    if (!can_fit(&msg->fit) || !is_countable) {
        TRIB_WARN("id=task-declined round=%" PRIu64 " declined: it asks for a way of training that "
                  "this device does not know; a newer client may",
                  msg->round_number);
        return false;
    }
    const struct trib_train_options options = trib_task_options(msg);
    if (!fits_model(&msg->fit, &options, &task->model)) {
        TRIB_WARN(
            "id=task-declined round=%" PRIu64
            " declined: its class weights, sampling, augmentation or layers do not fit its model",
            msg->round_number);
        return false;
    }
    if (options.is_online && task->model.local_count > 0) {
        TRIB_WARN("id=task-declined round=%" PRIu64
                  " declined: a model with a local part does not learn online",
                  msg->round_number);
        return false;
    }
    // Base, the change or its words, and while it trains a version that is installed and one that
    // comes, 4 bytes each, beside those of training
    const size_t vectors = 4 + trib_train_vectors(&options);
    const bool is_exact = trib_task_is_tally(task) && task->encoding.mode == TRIB_PRIVACY_OFF;
    // Of what is counted all limbs are held, however few of them go on the wire.
    const size_t words = is_exact ? trib_tally_words(msg->fit.tally.values) : task->word_count;
    if (memory_max && (trib_model_total(&task->model) * vectors > memory_max / sizeof(float) ||
                       words > memory_max / WORD_SIZE)) {
        TRIB_WARN("round=%" PRIu64 " declined: %zu parameters want more than memory_max",
                  msg->round_number, task->model.param_count);
        return false;
    }
    return true;
}

enum trib_code trib_task_judge(const struct trib_msg_task *msg, const struct trib_policy *policy,
                               uint64_t memory_max, struct trib_task *ret_task)
{
    char why[256];
    struct trib_task task = {.msg = *msg};

    task.encoding = (struct trib_encoding){
        .mode = (enum trib_privacy_mode)msg->encoding.mode,
        .grid = msg->encoding.grid,
        .grid_bits = msg->encoding.grid_bits,
        .s1 = msg->encoding.s1,
        .s2 = msg->encoding.s2,
        .sinf = msg->encoding.sinf,
        .word_bits = msg->encoding.word_bits,
        .clip_l1 = msg->encoding.clip_l1,
        .clip_l2 = msg->encoding.clip_l2,
        .shares = msg->encoding.shares,
    };
    task.secagg = (struct trib_secagg_plan){
        .members = msg->secagg.members,
        .threshold = msg->secagg.threshold,
        .drop_max = msg->secagg.drop_max,
        .colluders = msg->secagg.colluders,
        .shares = msg->secagg.shares,
        .neighbours = msg->secagg.neighbours,
        .neighbour_threshold = msg->secagg.neighbour_threshold,
    };
    if (trib_model_parse(msg->spec, &task.model, why, sizeof(why))) {
        TRIB_WARN("round=%" PRIu64 " declined: the model %s", msg->round_number, why);
        return TRIB_CODE_DECLINED_MODEL;
    }
    if (!can_train(&task, memory_max))
        return TRIB_CODE_DECLINED_MODEL;
    if (trib_encoding_check(&task.encoding)) {
        TRIB_WARN("round=%" PRIu64 " declined: its privacy numbers make no sense",
                  msg->round_number);
        return TRIB_CODE_DECLINED_POLICY;
    }
    if (!trib_policy_allows(policy, &task.encoding, why, sizeof(why))) {
        TRIB_WARN("id=task-declined round=%" PRIu64 " declined: %s", msg->round_number, why);
        return TRIB_CODE_DECLINED_POLICY;
    }
    if (task.encoding.mode == TRIB_PRIVACY_DISTRIBUTED &&
        !trib_policy_allows_plan(policy, &task.secagg, why, sizeof(why))) {
        TRIB_WARN("id=task-declined round=%" PRIu64 " declined: %s", msg->round_number, why);
        return TRIB_CODE_DECLINED_PLAN;
    }
#ifndef TRIB_WITH_TEST_NOISE
    if (msg->test_seed) {
        TRIB_WARN("id=task-declined round=%" PRIu64 " declined: it asks for predictable noise",
                  msg->round_number);
        return TRIB_CODE_DECLINED_POLICY;
    }
#endif
    *ret_task = task;
    return TRIB_CODE_ACCEPTED;
}
