#include "client/task.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/counter_store.h"
#include "client/local.h"
#include "client/watermark.h"
#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/privacy/noise_round.h"
#include "common/wire/codec.h"

#define TRIB_LOG_MODULE "task"

// ---- What the public header promises

uint64_t trib_task_round(const struct trib_task *task)
{
    return task->msg.round_number;
}

const char *trib_task_model(const struct trib_task *task)
{
    return task->model.spec;
}

uint32_t trib_task_epochs(const struct trib_task *task)
{
    return (uint32_t)task->msg.epochs;
}

double trib_task_hyper(const struct trib_task *task, const char *name, double fallback)
{
    const struct {
        const char *name;
        double value;
    } built_in[] = {
        {"learning_rate", task->msg.learning_rate},
        {"momentum", task->msg.momentum},
        {"weight_decay", task->msg.weight_decay},
        {"batch", (double)task->msg.batch},
        {"l1", task->msg.fit.l1},
        {"proximal_mu", task->msg.fit.proximal_mu},
        {"clip_norm", task->msg.fit.clip_norm},
        {"validation_fraction", task->msg.fit.validation_fraction},
        {"patience", (double)task->msg.fit.patience},
        {"personal_epochs", (double)task->msg.fit.personal_epochs},
    };
    for (size_t i = 0; i < sizeof(built_in) / sizeof(built_in[0]); i++) {
        if (strcmp(name, built_in[i].name) == 0)
            return built_in[i].value;
    }
    for (uint32_t i = 0; i < task->msg.hyper_count; i++) {
        if (strcmp(name, task->msg.hyper[i].name) == 0)
            return task->msg.hyper[i].value;
    }
    return fallback;
}

int trib_task_mode(const struct trib_task *task)
{
    return (int)task->msg.fit.mode;
}

uint64_t trib_task_position(const struct trib_task *task)
{
    return task->mark.position;
}

void trib_task_claim(struct trib_task *task, uint64_t position)
{
    task->claim = (struct trib_data_mark){.position = position};
    task->has_claim = true;
}

float *trib_task_local(struct trib_task *task, size_t *ret_count)
{
    *ret_count = task->local ? task->model.local_count : 0;
    return task->local;
}

int trib_task_should_stop(const struct trib_task *task)
{
    return __atomic_load_n(task->stop, __ATOMIC_RELAXED);
}

void trib_task_progress(struct trib_task *task, double fraction)
{
    TRIB_DEBUG("round=%" PRIu64 " progress=%.2f", task->msg.round_number, fraction);
}

void trib_task_metric(struct trib_task *task, const char *name, double value)
{
    TRIB_DEBUG("round=%" PRIu64 " local %s=%g (stays here)", task->msg.round_number, name, value);
}

static struct trib_kept_rows kept_of(const struct trib_msg_fit *fit)
{
    return (struct trib_kept_rows){
        .fraction = fit->validation_fraction, .folds = fit->folds, .fold = fit->fold};
}

struct trib_train_options trib_task_options(const struct trib_msg_task *msg)
{
    const struct trib_msg_fit *fit = &msg->fit;
    return (struct trib_train_options){
        .epochs = msg->epochs,
        .batch = msg->batch,
        .learning_rate = msg->learning_rate,
        .momentum = msg->momentum,
        .weight_decay = msg->weight_decay,
        .schedule = {.kind = (enum trib_schedule_kind)fit->lr_schedule,
                     .every = fit->lr_step,
                     .gamma = fit->lr_gamma,
                     .min = fit->lr_min},
        .optimizer = (enum trib_optimizer)fit->optimizer,
        .decoupled_decay = fit->decoupled_decay,
        .l1 = fit->l1,
        .proximal_mu = fit->proximal_mu,
        .clip_norm = fit->clip_norm,
        .kept = kept_of(fit),
        .personal_epochs = fit->personal_epochs,
        .patience = fit->patience,
        .class_weights = (enum trib_class_weights)fit->class_weights,
        .is_online = fit->mode == TRIB_MODE_ONLINE,
        .resample = {.kind = (enum trib_sampling)fit->sampling,
                     .ratio = fit->sampling_ratio,
                     .neighbours = fit->smote_neighbours},
        .augment = {.jitter = fit->jitter,
                    .mixup = fit->mixup,
                    .shift = fit->shift,
                    .rotate = fit->rotate,
                    .crop = fit->crop},
        .frozen = fit->frozen_layers,
        .trunk = fit->trunk_layers,
        .trunk_rate = fit->trunk_rate,
    };
}

struct trib_ask trib_task_ask(const struct trib_task *task)
{
    const struct trib_msg_tally *tally = &task->msg.fit.tally;
    return (struct trib_ask){.kind = (enum trib_tally_kind)tally->kind,
                             .model = &task->model,
                             .kept = kept_of(&task->msg.fit),
                             .counters = &task->counters,
                             .is_decided = tally->is_decided,
                             .threshold = tally->threshold,
                             .is_exact = task->encoding.mode == TRIB_PRIVACY_OFF,
                             .ranking = {.k = tally->ranking_k,
                                         .negatives = tally->ranking_negatives,
                                         .relevant = tally->ranking_relevant,
                                         .seed = task->msg.seed}};
}

// ---- Running

uint64_t trib_task_stream(bool is_online, uint64_t round_number)
{
    return is_online ? 0 : round_number;
}

void trib_task_rng(struct trib_rng *rng, uint64_t seed, uint64_t round_number, const char *device)
{
    trib_rng_init(rng, seed, "train", round_number, device);
}

void trib_task_noise(struct trib_noise *noise, uint64_t test_seed, uint64_t round_number,
                     const char *device)
{
    trib_noise_init_round(noise, test_seed, "noise", round_number, device);
}

// With privacy on why a trainer gave up is nobody's business: each reason is a fact about the data
// that no noise hides. That it gave up shows (docs/threat-model.md).
static enum trib_code code_of(const struct trib_task *task, enum trib_err err)
{
    if (task->encoding.mode != TRIB_PRIVACY_OFF)
        return TRIB_CODE_DECLINED_FAILED;
    if (err == TRIB_ERR_REFUSED)
        return task->has_no_rows ? TRIB_CODE_DECLINED_NO_DATA : TRIB_CODE_DECLINED_MODEL;
    if (err == TRIB_ERR_DATA)
        return TRIB_CODE_DECLINED_MODEL;
    return err == TRIB_ERR_PRIVACY ? TRIB_CODE_DECLINED_POLICY : TRIB_CODE_DECLINED_FAILED;
}

// The privacy boundary: delta (count floats) to words.
static enum trib_code encode(const struct trib_task *task, const float *delta, int32_t *words)
{
    const size_t count = task->word_count;
    struct trib_encode_report report;
    struct trib_noise noise;
    trib_task_noise(&noise, task->msg.test_seed, task->msg.round_number, task->device);
    enum trib_err err = trib_encode(&task->encoding, &noise, delta, count, words, &report);
    trib_noise_fini(&noise);
    if (err == TRIB_ERR_DATA) {
        TRIB_WARN("id=update-out-of-range round=%" PRIu64
                  ": the change has values that are not finite (%" PRIu64 ") or too large to send",
                  task->msg.round_number, report.nonfinite);
        return TRIB_CODE_DECLINED_RANGE;
    }
    if (err)
        return TRIB_CODE_DECLINED_POLICY;
    if (report.nonfinite)
        TRIB_WARN("round=%" PRIu64 ": %" PRIu64 " values were not finite and count as 0",
                  task->msg.round_number, report.nonfinite);
    return TRIB_CODE_ACCEPTED;
}

static void label_update(struct trib_msg_upload_begin *begin, uint32_t crc)
{
    static const char label[] = "trib-update";
    uint8_t rest[12];
    struct trib_hash hash;
    trib_store_le64(rest, begin->size);
    trib_store_le32(rest + 8, crc);
    trib_hash_init(&hash, NULL, 0, sizeof(begin->digest));
    trib_hash_update(&hash, label, sizeof(label) - 1);
    trib_hash_update(&hash, begin->update_id, sizeof(begin->update_id));
    trib_hash_update(&hash, rest, sizeof(rest));
    trib_hash_final(&hash, begin->digest, sizeof(begin->digest));
}

void trib_task_begin(const struct trib_task *task, uint64_t examples, size_t size, uint32_t crc,
                     struct trib_msg_upload_begin *begin)
{
    *begin = (struct trib_msg_upload_begin){.round_id = task->msg.round_id, .size = size};
    trib_random_bytes(begin->update_id, sizeof(begin->update_id));
    label_update(begin, crc);
    memcpy(begin->base_digest, task->msg.base_digest, TRIB_DIGEST_SIZE);
    memcpy(begin->arch_digest, task->model.arch_digest, TRIB_DIGEST_SIZE);
    if (task->encoding.mode == TRIB_PRIVACY_OFF) { // with privacy on the count stays here
        begin->has_weight = true;
        begin->weight = examples < task->msg.weight_max ? (uint32_t)examples : task->msg.weight_max;
    }
}

static void wipe_and_free(void *data, size_t size)
{
    if (data)
        trib_wipe(data, size);
    free(data);
}

void trib_task_result_fini(struct trib_task_result *result, size_t word_count)
{
    wipe_and_free(result->words, word_count * sizeof(*result->words));
    free(result->packed);
    *result = (struct trib_task_result){.words = NULL};
}

// Train from `base`; `delta` is the difference it makes.
static enum trib_code train(struct trib_task *task, const struct trib_trainer *trainer, void *user,
                            const float *base, float *delta, uint64_t *ret_examples)
{
    const size_t count = task->model.param_count;
    memcpy(delta, base, count * sizeof(*delta));
    *ret_examples = 0;
    task->has_claim = false;
    task->has_no_rows = false;
    enum trib_err err = trainer->train(user, task, delta, count, ret_examples);
    if (!err && *ret_examples == 0) {
        task->has_no_rows = true;
        err = TRIB_ERR_REFUSED;
    }
    if (err == TRIB_ERR_REFUSED && !task->has_no_rows) {
        TRIB_WARN("id=task-declined round=%" PRIu64
                  " declined: the trainer of this device's program refused it",
                  task->msg.round_number);
    } else if (err) {
        TRIB_INFO("round=%" PRIu64 " no update: %s", task->msg.round_number,
                  task->has_no_rows ? "the trainer used no example" : trib_err_text(err));
    }
    if (err)
        return code_of(task, err);
    for (size_t i = 0; i < count; i++)
        delta[i] = delta[i] - base[i];
    return TRIB_CODE_ACCEPTED;
}

// Train, and turn what came of it into words, which the caller owns: they take the place of the
// change, so that a device holds one vector less.
static enum trib_code learn(struct trib_task *task, const struct trib_trainer *trainer, void *user,
                            const float *base, uint64_t *ret_examples, int32_t **ret_words)
{
    const size_t params = task->model.param_count;
    _Static_assert(sizeof(float) == sizeof(int32_t), "a word takes the place of a float");
    void *memory = trib_alloc_unset(params, sizeof(float));
    if (!memory)
        return TRIB_CODE_DECLINED_FAILED;
    enum trib_code code = train(task, trainer, user, base, memory, ret_examples);
    if (code == TRIB_CODE_ACCEPTED)
        code = encode(task, memory, memory);
    *ret_words = memory;
    return code;
}

// What was counted, as words: exact, or with privacy on through the boundary.
static enum trib_code encode_tally(const struct trib_task *task, int32_t *words)
{
    const struct trib_tally *tally = task->tally;
    size_t index = 0;
    if (task->encoding.mode == TRIB_PRIVACY_OFF) {
        if (!trib_tally_pack(tally, words, &index))
            return TRIB_CODE_ACCEPTED;
        TRIB_WARN("id=tally-out-of-range round=%" PRIu64 ": sum %zu of %zu is more than its words "
                  "hold",
                  task->msg.round_number, index, tally->count);
        return TRIB_CODE_DECLINED_RANGE;
    }
    float *scaled = trib_alloc_aligned(tally->count, sizeof(*scaled));
    if (!scaled)
        return TRIB_CODE_DECLINED_FAILED;
    trib_tally_floats(tally, task->msg.fit.tally.scale, scaled);
    enum trib_code code = encode(task, scaled, words);
    wipe_and_free(scaled, tally->count * sizeof(*scaled));
    return code;
}

// Count at `base`, or take what the application counted; the words are the caller's.
static enum trib_code count(struct trib_task *task, const struct trib_trainer *trainer, void *user,
                            const float *base, const char *dir, int32_t **ret_words)
{
    struct trib_tally tally = {0};
    int32_t *words = trib_alloc_aligned(task->word_count, sizeof(*words));
    *ret_words = words;
    if (!words || trib_tally_init(&tally, task->msg.fit.tally.values))
        return TRIB_CODE_DECLINED_FAILED;
    tally.layout = (enum trib_tally_layout)task->msg.fit.tally.layout;
    task->tally = &tally;
    task->has_no_rows = false;
    enum trib_err err =
        task->msg.fit.tally.kind == TRIB_TALLY_COUNTERS
            ? trib_counter_store_sum(dir, &task->counters, task->msg.base_version, &tally)
            : trainer->tally(user, task, base, task->model.param_count);
    enum trib_code code = TRIB_CODE_ACCEPTED;
    if (err == TRIB_ERR_LIMIT && task->encoding.mode == TRIB_PRIVACY_OFF)
        code = TRIB_CODE_DECLINED_RANGE;
    else if (err)
        code = code_of(task, err);
    if (err)
        TRIB_WARN("id=tally-failed round=%" PRIu64 " kind=%s: nothing is sent: %s",
                  task->msg.round_number,
                  trib_tally_kind_text((enum trib_tally_kind)task->msg.fit.tally.kind),
                  err == TRIB_ERR_LIMIT ? "a number is out of range" : trib_err_text(err));
    else
        code = encode_tally(task, words);
    task->tally = NULL;
    trib_tally_fini(&tally);
    return code;
}

enum trib_code trib_task_reserve(const struct trib_task *task, uint64_t *ret_reservation)
{
    *ret_reservation = 0;
    if (task->encoding.mode == TRIB_PRIVACY_OFF)
        return TRIB_CODE_ACCEPTED; // promises nothing and costs nothing
    if (!task->ledger)
        return TRIB_CODE_DECLINED_FAILED;
    enum trib_err err = trib_ledger_reserve(task->ledger, &task->charge, ret_reservation);
    if (err == TRIB_ERR_PRIVACY)
        TRIB_WARN("id=budget-exhausted round=%" PRIu64 " the privacy budget is used up",
                  task->msg.round_number);
    if (err)
        return err == TRIB_ERR_PRIVACY ? TRIB_CODE_DECLINED_BUDGET : TRIB_CODE_DECLINED_FAILED;
    TRIB_CRASH_POINT("budget.reserved");
    return TRIB_CODE_ACCEPTED;
}

// A finished update: charged, packed, and durable before its first byte is sent. Takes the words.
static enum trib_code spool(const struct trib_task *task, uint64_t examples, int32_t *words,
                            const char *dir, struct trib_task_result *ret_result)
{
    const size_t count = task->word_count;
    const size_t size = trib_codec_size(count, task->encoding.word_bits);
    struct trib_msg_upload_begin begin;
    uint64_t reservation;
    enum trib_code code = trib_task_reserve(task, &reservation);
    if (code != TRIB_CODE_ACCEPTED) {
        wipe_and_free(words, count * sizeof(*words));
        return code;
    }
    uint8_t *packed = trib_codec_pack_in_place(words, count, task->encoding.word_bits);
    const uint32_t crc = trib_crc32c(0, packed, size);
    trib_task_begin(task, examples, size, crc, &begin);
    TRIB_CRASH_POINT("update.packed");
    if ((task->has_claim && trib_watermark_claim(dir, begin.update_id, &task->claim)) ||
        trib_spool_write(dir, &begin, packed, crc)) {
        free(packed); // spent: a spool half written may come back at a restart
        return TRIB_CODE_DECLINED_FAILED;
    }
    *ret_result =
        (struct trib_task_result){.begin = begin, .packed = packed, .reservation = reservation};
    return TRIB_CODE_ACCEPTED;
}

// ---- The part that stays here

static enum trib_err load_local(struct trib_task *task, const char *dir,
                                struct trib_local *ret_local)
{
    const struct trib_model *model = &task->model;
    const size_t size = model->local_count * sizeof(*task->local);
    if (model->local_count == 0)
        return TRIB_OK;
    enum trib_err err = trib_local_load(dir, model, task->msg.seed, task->device, ret_local);
    if (err)
        return err;
    task->local = trib_alloc_aligned(model->local_count, sizeof(*task->local));
    if (!task->local)
        return TRIB_ERR_NOMEM;
    memcpy(task->local, trib_local_start(ret_local, task->msg.round_id), size);
    return TRIB_OK;
}

// Before the update is: whoever trains the round a second time begins where this began.
static enum trib_code keep_local(struct trib_task *task, const char *dir, struct trib_local *local)
{
    const struct trib_model *model = &task->model;
    for (size_t i = 0; i < model->local_count; i++) {
        if (!isfinite(task->local[i])) {
            TRIB_WARN("round=%" PRIu64 " no update: the local part has values that are not finite",
                      task->msg.round_number);
            return task->encoding.mode == TRIB_PRIVACY_OFF ? TRIB_CODE_DECLINED_RANGE
                                                           : TRIB_CODE_DECLINED_FAILED;
        }
    }
    if (model->local_count > 0 &&
        trib_local_save(local, dir, model, task->msg.round_id, task->local))
        return TRIB_CODE_DECLINED_FAILED;
    return TRIB_CODE_ACCEPTED;
}

enum trib_code trib_task_run(struct trib_task *task, const struct trib_trainer *trainer, void *user,
                             const float *base, const char *dir,
                             struct trib_task_result *ret_result)
{
    enum trib_code code = TRIB_CODE_DECLINED_FAILED;
    uint64_t examples = 1; // the weight of a tally
    struct trib_local local = {.count = 0};
    int32_t *words = NULL;
    if (load_local(task, dir, &local))
        goto out;
    if (task->counters.count > 0 &&
        trib_counter_store_declare(dir, &task->counters, task->msg.base_version))
        goto out;
    if (task->msg.fit.mode != TRIB_MODE_BATCH && trib_watermark_load(dir, &task->mark))
        goto out;
    code = trib_task_is_tally(task) ? count(task, trainer, user, base, dir, &words)
                                    : learn(task, trainer, user, base, &examples, &words);
    if (code == TRIB_CODE_ACCEPTED && !trib_task_is_tally(task))
        code = keep_local(task, dir, &local);
    if (code != TRIB_CODE_ACCEPTED)
        goto out;
    if (task->encoding.mode == TRIB_PRIVACY_DISTRIBUTED) {
        *ret_result = (struct trib_task_result){.words = words};
        words = NULL;
    } else {
        code = spool(task, examples, words, dir, ret_result);
        words = NULL;
    }

out:
    wipe_and_free(words, task->word_count * sizeof(*words));
    wipe_and_free(task->local, task->model.local_count * sizeof(*task->local));
    task->local = NULL;
    trib_local_fini(&local);
    return code;
}
