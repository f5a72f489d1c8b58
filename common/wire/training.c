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
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}
