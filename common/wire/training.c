#include "common/wire/training.h"

#include <string.h>

#include "common/base/bytes.h"

static void put_u64(struct trib_hash *hash, uint64_t value)
{
    uint8_t bytes[8];
    trib_store_le64(bytes, value);
    trib_hash_update(hash, bytes, sizeof(bytes));
}

static void put_double(struct trib_hash *hash, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_u64(hash, bits);
}

static void put_text(struct trib_hash *hash, const char *text)
{
    const size_t size = strlen(text);
    put_u64(hash, size);
    trib_hash_update(hash, text, size);
}

static void put_ways(struct trib_hash *hash, const struct trib_msg_fit *fit)
{
    put_u64(hash, fit->sampling);
    put_double(hash, fit->sampling_ratio);
    put_u64(hash, fit->smote_neighbours);
    put_double(hash, fit->jitter);
    put_double(hash, fit->mixup);
    put_u64(hash, fit->shift);
    put_double(hash, fit->rotate);
    put_double(hash, fit->crop);
    put_u64(hash, fit->frozen_layers);
    put_u64(hash, fit->trunk_layers);
    put_double(hash, fit->trunk_rate);
}

static void put_tally(struct trib_hash *hash, const struct trib_msg_tally *tally)
{
    put_text(hash, "tally");
    put_u64(hash, tally->kind);
    put_u64(hash, tally->values);
    put_double(hash, tally->scale);
    put_u64(hash, tally->request_size);
    trib_hash_update(hash, tally->request, tally->request_size);
    if (tally->layout != 0) {
        put_text(hash, "layout");
        put_u64(hash, tally->layout);
    }
    if (tally->is_decided) {
        put_text(hash, "threshold");
        put_double(hash, tally->threshold);
    }
    if (tally->ranking_k == 0)
        return;
    put_text(hash, "ranking");
    put_u64(hash, tally->ranking_k);
    put_double(hash, tally->ranking_relevant);
    put_u64(hash, tally->ranking_negatives);
}

// After the fields that every digest has, and only when there is something to say: a plain task has
// the digest that it always had.
static void put_fit(struct trib_hash *hash, const struct trib_msg_fit *fit)
{
    if (trib_msg_fit_is_plain(fit))
        return;
    put_u64(hash, fit->optimizer);
    put_u64(hash, fit->decoupled_decay);
    put_double(hash, fit->l1);
    put_double(hash, fit->proximal_mu);
    put_double(hash, fit->clip_norm);
    put_u64(hash, fit->lr_schedule);
    put_u64(hash, fit->lr_step);
    put_double(hash, fit->lr_gamma);
    put_double(hash, fit->lr_min);
    put_double(hash, fit->validation_fraction);
    put_u64(hash, fit->patience);
    put_u64(hash, fit->class_weights);
    // What came later: each part only where there is one, so that older tasks have the digest that
    // they always had, and behind its name, so that no two tasks hash the same bytes.
    if (fit->class_count) {
        put_text(hash, "class_weight");
        put_u64(hash, fit->class_count);
        for (uint32_t c = 0; c < fit->class_count; c++)
            put_double(hash, (double)fit->class_weight[c]);
    }
    if (fit->mode) {
        put_text(hash, "mode");
        put_u64(hash, fit->mode);
    }
    if (fit->prepare[0]) {
        put_text(hash, "prepare");
        put_text(hash, fit->prepare);
    }
    if (fit->counters[0]) {
        put_text(hash, "counters");
        put_text(hash, fit->counters);
    }
    if (trib_msg_fit_has_ways(fit)) {
        put_text(hash, "ways");
        put_ways(hash, fit);
    }
    if (fit->personal_epochs) {
        put_text(hash, "personal_epochs");
        put_u64(hash, fit->personal_epochs);
    }
    if (fit->folds) {
        put_text(hash, "folds");
        put_u64(hash, fit->folds);
        put_u64(hash, fit->fold);
    }
    if (fit->tally.kind != 0)
        put_tally(hash, &fit->tally);
}

void trib_training_digest(const struct trib_msg_task *task,
                          uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    static const char label[] = "trib-training";
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, label, sizeof(label));
    put_text(&hash, task->population);
    put_text(&hash, task->spec);
    put_u64(&hash, task->seed);
    put_u64(&hash, task->epochs);
    put_u64(&hash, task->batch);
    put_double(&hash, task->learning_rate);
    put_double(&hash, task->momentum);
    put_double(&hash, task->weight_decay);
    put_u64(&hash, task->hyper_count);
    for (uint32_t i = 0; i < task->hyper_count; i++) {
        put_text(&hash, task->hyper[i].name);
        put_double(&hash, task->hyper[i].value);
    }
    put_fit(&hash, &task->fit);
    if (task->fit.counters[0] && task->fit.tally.kind) // the version is what is counted
        put_u64(&hash, task->base_version);
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}
