// One device of a swarm: what it does with the records it gets.
#include "simulations/swarm_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/wire/codec.h"
#include "common/wire/presence.h"

enum {
    WORD = 1, // each parameter changes by this many grid steps
};

static void send_packed(struct trib_swarm_device *device, enum trib_record_type type,
                        uint16_t stream, struct trib_buf *packed)
{
    if (device->channel && !packed->failed)
        (void)!trib_channel_send(device->channel, (uint8_t)type, stream, packed->data,
                                 packed->size);
    trib_buf_fini(packed);
}

static uint16_t new_stream(struct trib_swarm *swarm)
{
    swarm->next_stream = swarm->next_stream == UINT16_MAX ? 1 : (uint16_t)(swarm->next_stream + 1);
    return swarm->next_stream;
}

// ---- Models

static bool take_version(struct trib_swarm_device *device, const struct trib_record *record)
{
    struct trib_msg_new_version announcement;
    struct trib_msg_manifest manifest;
    struct trib_buf packed = {0};
    if (trib_msg_new_version_unpack(record->payload, record->payload_size, &announcement) ||
        trib_msg_manifest_unpack(announcement.manifest, announcement.manifest_size, &manifest))
        return false;
    struct trib_msg_model_get get = {.takes_runs = true};
    device->fetch.stream = new_stream(device->swarm);
    device->fetch.generation = manifest.generation;
    device->fetch.version = manifest.version;
    device->fetch.size = manifest.params * sizeof(float);
    device->fetch.received = 0;
    memcpy(device->fetch.digest, manifest.digest, TRIB_DIGEST_SIZE);
    memcpy(get.digest, manifest.digest, TRIB_DIGEST_SIZE);
    trib_msg_model_get_pack(&get, &packed);
    send_packed(device, TRIB_RECORD_MODEL_GET, device->fetch.stream, &packed);
    return true;
}

static void begin_task(struct trib_swarm_device *device);

static bool take_chunk(struct trib_swarm_device *device, const struct trib_record *record)
{
    if (device->fetch.stream == 0 || record->stream != device->fetch.stream)
        return true; // of one that was given up for a newer one
    if (record->offset != device->fetch.received ||
        record->payload_size > device->fetch.size - device->fetch.received)
        return false;
    device->fetch.received += record->payload_size;
    if (device->fetch.received < device->fetch.size)
        return true;
    struct trib_msg_installed msg = {.generation = device->fetch.generation,
                                     .version = device->fetch.version,
                                     .code = TRIB_CODE_MODEL_INSTALLED};
    struct trib_buf packed = {0};
    device->generation = device->fetch.generation;
    device->version = device->fetch.version;
    memcpy(device->digest, device->fetch.digest, TRIB_DIGEST_SIZE);
    memcpy(msg.digest, device->fetch.digest, TRIB_DIGEST_SIZE);
    device->fetch.stream = 0;
    trib_swarm_count(device->swarm, &device->swarm->counts.models);
    trib_msg_installed_pack(&msg, &packed);
    send_packed(device, TRIB_RECORD_INSTALLED, 0, &packed);
    if (device->step == TRIB_SWARM_WAITING)
        begin_task(device);
    return true;
}

// ---- Tasks

// What all send in answer to tasks of this model and width.
static enum trib_err prepare_update(struct trib_swarm *swarm, const struct trib_msg_task *task)
{
    char why[256];
    const bool is_known = strcmp(swarm->model.spec, task->spec) == 0;
    if (!is_known && trib_model_parse(task->spec, &swarm->model, why, sizeof(why)))
        return TRIB_ERR_PROTO;
    const size_t count = swarm->model.param_count;
    const size_t size = trib_codec_size(count, task->encoding.word_bits);
    if (is_known && swarm->packed && swarm->packed->size == size)
        return TRIB_OK;
    trib_blob_unref(swarm->packed);
    swarm->packed = NULL;
    int32_t *words = trib_alloc_aligned(count, sizeof(*words));
    uint8_t *packed = trib_alloc_aligned(size, 1);
    for (size_t i = 0; words && i < count; i++)
        words[i] = WORD;
    if (words && packed) {
        trib_codec_pack(words, count, task->encoding.word_bits, packed);
        trib_digest(packed, size, swarm->packed_digest);
        swarm->packed = trib_blob_take(packed, size);
    } else {
        free(packed);
    }
    free(words);
    return swarm->packed ? TRIB_OK : TRIB_ERR_NOMEM;
}

// Its base is there: what becomes of it?
static void begin_task(struct trib_swarm_device *device)
{
    struct trib_swarm *swarm = device->swarm;
    const uint64_t now_ms = trib_clock_mono_ms();
    const struct trib_msg_task_reply reply = {.round_id = device->round,
                                              .code = TRIB_CODE_ACCEPTED};
    struct trib_buf packed = {0};
    trib_msg_task_reply_pack(&reply, &packed);
    send_packed(device, TRIB_RECORD_TASK_REPLY, 0, &packed);

    (void)pthread_mutex_lock(&swarm->lock);
    const struct trib_swarm_plan plan = swarm->plan;
    const bool drops = trib_rng_real(&swarm->rng) < plan.dropout;
    device->is_straggler = !drops && trib_rng_real(&swarm->rng) < plan.stragglers;
    swarm->counts.tasks++;
    swarm->counts.dropped += drops;
    swarm->counts.straggled += device->is_straggler;
    const bool hangs_up = drops && swarm->counts.dropped % 2 == 0;
    swarm->counts.open -= hangs_up;
    (void)pthread_mutex_unlock(&swarm->lock);

    trib_random_bytes(device->update_id, sizeof(device->update_id));
    device->step = drops ? TRIB_SWARM_IDLE : TRIB_SWARM_TRAINING;
    device->due_ms = now_ms + trib_rng_below(&swarm->rng, plan.train_ms + 1);
    if (drops || device->is_straggler)
        device->due_ms = UINT64_MAX;
    if (hangs_up) {
        device->is_away = true;
        device->is_leaving = true;
        trib_channel_close_after(device->channel, TRIB_CLOSE_DONE);
    }
}

static bool take_task(struct trib_swarm_device *device, const struct trib_record *record)
{
    struct trib_msg_task task;
    if (trib_msg_task_unpack(record->payload, record->payload_size, &task))
        return false;
    if (task.round_id == device->round && device->step != TRIB_SWARM_WAITING)
        return true; // told again after a new session
    if (prepare_update(device->swarm, &task))
        return false;
    device->round = task.round_id;
    device->is_weighed = task.encoding.mode == 0;
    memcpy(device->base, task.base_digest, TRIB_DIGEST_SIZE);
    device->step = TRIB_SWARM_WAITING;
    if (memcmp(device->digest, task.base_digest, TRIB_DIGEST_SIZE) == 0)
        begin_task(device);
    return true;
}

static bool take_round_end(struct trib_swarm_device *device, const struct trib_record *record)
{
    struct trib_msg_round_end end;
    if (trib_msg_round_end_unpack(record->payload, record->payload_size, &end))
        return false;
    if (end.round_id != device->round)
        return true;
    if (device->is_straggler && device->step == TRIB_SWARM_TRAINING) {
        device->due_ms = trib_clock_mono_ms();
    } else {
        device->step = TRIB_SWARM_IDLE;
        device->due_ms = UINT64_MAX;
    }
    return true;
}

// ---- Uploads

static void begin_upload(struct trib_swarm_device *device)
{
    struct trib_swarm *swarm = device->swarm;
    struct trib_msg_upload_begin begin = {.round_id = device->round,
                                          .size = swarm->packed->size,
                                          .has_weight = device->is_weighed,
                                          .weight = device->is_weighed ? 1 : 0};
    struct trib_buf packed = {0};
    memcpy(begin.update_id, device->update_id, sizeof(begin.update_id));
    memcpy(begin.digest, swarm->packed_digest, TRIB_DIGEST_SIZE);
    memcpy(begin.base_digest, device->base, TRIB_DIGEST_SIZE);
    memcpy(begin.arch_digest, swarm->model.arch_digest, TRIB_DIGEST_SIZE);
    device->step = TRIB_SWARM_SENDING;
    device->due_ms = UINT64_MAX;
    device->sent = 0;
    device->is_ended = false;
    device->stream = new_stream(swarm);
    trib_msg_upload_begin_pack(&begin, &packed);
    send_packed(device, TRIB_RECORD_UPLOAD_BEGIN, device->stream, &packed);
}

// Behind the chunks in the same queue, so that it cannot overtake them.
static void end_upload(struct trib_swarm_device *device)
{
    struct trib_msg_upload_end end;
    struct trib_buf packed = {0};
    memcpy(end.update_id, device->update_id, sizeof(end.update_id));
    trib_msg_upload_end_pack(&end, &packed);
    struct trib_blob *blob = packed.failed ? NULL : trib_blob_take(packed.data, packed.size);
    if (!blob)
        return;
    (void)!trib_channel_send_blob(device->channel, TRIB_RECORD_UPLOAD_END, 0, blob, 0, blob->size);
    trib_blob_unref(blob);
    device->is_ended = true;
}

static bool take_credit(struct trib_swarm_device *device, const struct trib_record *record)
{
    struct trib_blob *packed = device->swarm->packed;
    struct trib_msg_credit credit;
    if (trib_msg_credit_unpack(record->payload, record->payload_size, &credit))
        return false;
    if (device->step != TRIB_SWARM_SENDING || device->is_ended ||
        memcmp(credit.update_id, device->update_id, sizeof(credit.update_id)) != 0)
        return true;
    if (credit.limit > packed->size)
        return false;
    if (device->sent == 0)
        device->sent = credit.offset;
    if (credit.limit > device->sent) {
        if (trib_channel_send_blob(device->channel, TRIB_RECORD_UPLOAD_CHUNK, device->stream,
                                   packed, device->sent, credit.limit))
            return true;
        device->sent = credit.limit;
    }
    if (device->sent == packed->size)
        end_upload(device);
    return true;
}

static void count_accepted(struct trib_swarm *swarm)
{
    const uint64_t now_us = trib_clock_mono_us();
    (void)pthread_mutex_lock(&swarm->lock);
    swarm->counts.accepted++;
    swarm->counts.last_us = now_us;
    if (swarm->counts.first_us == 0)
        swarm->counts.first_us = now_us;
    (void)pthread_mutex_unlock(&swarm->lock);
}

static bool take_receipt(struct trib_swarm_device *device, const struct trib_record *record)
{
    struct trib_swarm *swarm = device->swarm;
    struct trib_msg_receipt receipt;
    if (trib_msg_receipt_unpack(record->payload, record->payload_size, &receipt))
        return false;
    if (device->step != TRIB_SWARM_SENDING ||
        memcmp(receipt.update_id, device->update_id, sizeof(receipt.update_id)) != 0)
        return true;
    const enum trib_code_class class = trib_code_class(receipt.code);
    if (class != TRIB_CODE_CLASS_OK && class != TRIB_CODE_CLASS_NEVER) { // the same bytes again
        const uint64_t window = receipt.pace.retry_max_ms - receipt.pace.retry_min_ms;
        device->step = TRIB_SWARM_READY;
        device->due_ms = trib_clock_mono_ms() + receipt.pace.retry_min_ms +
                         trib_rng_below(&swarm->rng, window + 1);
        return true;
    }
    device->step = TRIB_SWARM_IDLE;
    if (class == TRIB_CODE_CLASS_OK)
        count_accepted(swarm);
    else if (receipt.code == TRIB_CODE_ROUND_CLOSED)
        trib_swarm_count(swarm, &swarm->counts.closed);
    else
        trib_swarm_count(swarm, &swarm->counts.refused);
    return true;
}

// ---- The channel

static void send_ready(struct trib_swarm_device *device)
{
    struct trib_msg_ready ready = {.generation = device->generation, .version = device->version};
    struct trib_buf packed = {0};
    memcpy(ready.digest, device->digest, sizeof(ready.digest));
    (void)snprintf(ready.population, sizeof(ready.population), "default");
    (void)snprintf(ready.software, sizeof(ready.software), "swarm");
    if (device->step >= TRIB_SWARM_READY) {
        ready.has_spooled = true;
        ready.spooled_round = device->round;
        memcpy(ready.spooled_update_id, device->update_id, sizeof(device->update_id));
    }
    trib_msg_ready_pack(&ready, &packed);
    send_packed(device, TRIB_RECORD_READY, 0, &packed);
}

static void on_opened(void *user, struct trib_channel *channel, const struct trib_welcome *welcome)
{
    struct trib_swarm_device *device = user;
    (void)channel;
    device->is_up = true;
    (void)pthread_mutex_lock(&device->swarm->lock);
    device->swarm->counts.open++;
    device->swarm->counts.window_ms = welcome->retry_max_ms;
    (void)pthread_mutex_unlock(&device->swarm->lock);
    send_ready(device);
    if (device->step == TRIB_SWARM_SENDING) // from the start, with a new session
        begin_upload(device);
}

static bool take_record(struct trib_swarm_device *device, const struct trib_record *record)
{
    switch (record->type) {
    case TRIB_RECORD_TASK: return take_task(device, record);
    case TRIB_RECORD_ROUND_END: return take_round_end(device, record);
    case TRIB_RECORD_NEW_VERSION: return take_version(device, record);
    case TRIB_RECORD_MODEL_CHUNK: return take_chunk(device, record);
    case TRIB_RECORD_CREDIT: return take_credit(device, record);
    case TRIB_RECORD_RECEIPT: return take_receipt(device, record);
    case TRIB_RECORD_PING:
        (void)!trib_channel_send(device->channel, TRIB_RECORD_PONG, 0, NULL, 0);
        return true;
    default: return record->type < TRIB_RECORD_CRITICAL;
    }
}

static bool on_record(void *user, struct trib_channel *channel, const struct trib_record *record)
{
    struct trib_swarm_device *device = user;
    (void)channel;
    const bool is_good = take_record(device, record);
    if (!is_good)
        trib_swarm_count(device->swarm, &device->swarm->counts.broken);
    return is_good;
}

static void on_closed(void *user, struct trib_channel *channel, enum trib_close_reason reason)
{
    struct trib_swarm_device *device = user;
    struct trib_swarm *swarm = device->swarm;
    (void)reason;
    (void)pthread_mutex_lock(&swarm->lock);
    swarm->counts.open -= device->is_up && !device->is_leaving;
    swarm->counts.failures += !device->is_up;
    (void)pthread_mutex_unlock(&swarm->lock);
    device->channel = NULL;
    device->is_up = false;
    device->fetch.stream = 0;
    device->dial_ms = UINT64_MAX;
    if (!device->is_away) // one that is called back meanwhile comes at once
        device->dial_ms = device->is_leaving ? 0 : trib_clock_mono_ms() + TRIB_RECONNECT_BASE_MS;
    device->is_leaving = false;
    trib_channel_unref(channel);
}

const struct trib_channel_handler trib_swarm_handler = {
    .opened = on_opened, .record = on_record, .closed = on_closed};

void trib_swarm_device_due(struct trib_swarm_device *device)
{
    device->due_ms = UINT64_MAX;
    if (device->step == TRIB_SWARM_TRAINING || device->step == TRIB_SWARM_READY)
        begin_upload(device);
}
