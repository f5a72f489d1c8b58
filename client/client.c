// The client: one connection, one round at a time, one worker thread.
//
//     connection   DOWN -> DIALING -> UP -> DOWN ...       full jitter between attempts
//     work         IDLE -> TRAINING -> (update in the spool) -> SENDING -> IDLE
//                                   \-> (words in memory) -> secure aggregation -> IDLE
//     model        announced -> fetching -> verified -> installed
//
// The three go on side by side. Everything but training and nng's callbacks happens on the thread
// that calls trib_client_run or trib_client_step.
#include "tributary/client.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client_state.h"
#include "client/watermark.h"
#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/wire/presence.h"

#define TRIB_LOG_MODULE "client"

enum {
    STEP_MAX_MS = 10000,
    SETTLE_AGAIN_MS = 30000, // until what could not be written down is tried again
};

// ---- Sending

void trib_client_send(struct trib_client *client, enum trib_record_type type, uint16_t stream,
                      struct trib_buf *packed)
{
    if (client->channel && packed->failed)
        trib_channel_close(client->channel, TRIB_CLOSE_NOMEM); // the next session begins anew
    else if (client->channel)
        (void)!trib_channel_send(client->channel, (uint8_t)type, stream, packed->data,
                                 packed->size);
    trib_buf_fini(packed);
}

static void send_ready(struct trib_client *client)
{
    struct trib_msg_ready ready = {
        .generation = client->slot.manifest.generation,
        .version = client->slot.manifest.version,
        .has_spooled = client->upload.has_update && !client->upload.is_masked,
        .spooled_round = client->upload.begin.round_id,
        .is_busy = client->worker.is_running,
        .secagg_round = trib_part_round(client),
        .key_sequence = client->enrolment.key_sequence,
    };
    struct trib_buf packed = {0};
    memcpy(ready.digest, client->slot.manifest.digest, sizeof(ready.digest));
    memcpy(ready.spooled_update_id, client->upload.begin.update_id,
           sizeof(ready.spooled_update_id));
    (void)snprintf(ready.population, sizeof(ready.population), "%.*s", TRIB_NAME_MAX,
                   client->enrolment.population);
    (void)snprintf(ready.software, sizeof(ready.software), "libtributary %s", TRIB_VERSION_TEXT);
    trib_msg_ready_pack(&ready, &packed);
    trib_client_send(client, TRIB_RECORD_READY, 0, &packed);
}

void trib_client_reply(struct trib_client *client, uint64_t round_id, enum trib_code code)
{
    const struct trib_msg_task_reply reply = {.round_id = round_id, .code = code};
    struct trib_buf packed = {0};
    trib_msg_task_reply_pack(&reply, &packed);
    trib_client_send(client, TRIB_RECORD_TASK_REPLY, 0, &packed);
}

// ---- Uploading

void trib_client_begin_upload(struct trib_client *client)
{
    struct trib_upload *up = &client->upload;
    struct trib_buf packed = {0};
    if (!client->is_up || !up->has_update || up->is_begun ||
        trib_clock_mono_ms() < up->not_before_ms)
        return;
    up->stream = ++client->next_stream;
    up->sent = 0;
    up->is_begun = true;
    up->is_ended = false;
    up->reservation = 0; // spent, whatever becomes of it
    TRIB_CRASH_POINT("upload.begin");
    trib_channel_drop_blobs(client->channel, TRIB_RECORD_UPLOAD_CHUNK); // of an attempt before,
    trib_channel_drop_blobs(client->channel, TRIB_RECORD_UPLOAD_END);   // which this one overtakes
    trib_msg_upload_begin_pack(&up->begin, &packed);
    trib_client_send(client, TRIB_RECORD_UPLOAD_BEGIN, up->stream, &packed);
}

// The end follows the chunks in the same queue, so that it cannot overtake them.
static void end_upload(struct trib_client *client)
{
    struct trib_upload *up = &client->upload;
    struct trib_msg_upload_end end;
    struct trib_buf packed = {0};
    memcpy(end.update_id, up->begin.update_id, sizeof(end.update_id));
    trib_msg_upload_end_pack(&end, &packed);
    struct trib_blob *blob = packed.failed ? NULL : trib_blob_take(packed.data, packed.size);
    if (!blob) { // the next session sends it again
        trib_channel_close(client->channel, TRIB_CLOSE_NOMEM);
        return;
    }
    (void)!trib_channel_send_blob(client->channel, TRIB_RECORD_UPLOAD_END, 0, blob, 0, blob->size);
    trib_blob_unref(blob);
    up->is_ended = true;
    TRIB_CRASH_POINT("answer.awaited");
}

static bool take_credit(struct trib_client *client, const struct trib_record *record)
{
    struct trib_upload *up = &client->upload;
    struct trib_msg_credit credit;
    if (trib_msg_credit_unpack(record->payload, record->payload_size, &credit))
        return false;
    if (!up->is_begun || up->is_ended ||
        memcmp(credit.update_id, up->begin.update_id, sizeof(credit.update_id)) != 0)
        return true; // of an upload that is over
    if (credit.limit > up->begin.size)
        return false;
    if (up->sent == 0)
        up->sent = credit.offset; // the coordinator has the beginning from an earlier connection
    if (credit.limit > up->sent) {
        if (trib_channel_send_blob(client->channel, TRIB_RECORD_UPLOAD_CHUNK, up->stream,
                                   up->packed, up->sent, credit.limit))
            return true; // no memory: closed, and sent again
        up->sent = credit.limit;
    }
    if (up->sent == up->begin.size)
        end_upload(client);
    return true;
}

void trib_client_refund(struct trib_client *client, uint64_t *reservation)
{
    if (trib_ledger_refund(client->ledger, *reservation))
        TRIB_WARN("a round that was not sent counts as spent");
    *reservation = 0;
}

void trib_client_drop_upload(struct trib_client *client)
{
    struct trib_upload *up = &client->upload;
    // Nobody can send a masked update again: without a receipt it counts, once its first byte left.
    const bool may_count = up->is_masked && up->reservation == 0;
    const bool is_counted = up->is_answered ? up->is_counted : may_count;
    // Before the spool forgets whose claim it is. What is in it is sent again, and answered again.
    if (is_counted && !trib_client_settle(client, &up->has_claim, true)) {
        if (!up->is_masked) {
            up->is_begun = false;
            up->not_before_ms = trib_clock_mono_ms() + SETTLE_AGAIN_MS;
            return;
        }
        client->has_open_claim = true;
        up->has_claim = false;
    }
    if (!up->is_masked && trib_spool_remove(client->dir)) {
        TRIB_WARN("the spool cannot be removed; it will be offered again");
    } else {
        trib_client_refund(client, &up->reservation);
        (void)!trib_client_settle(client, &up->has_claim, false); // as it is, it gives no row away
    }
    trib_blob_unref(up->packed);
    *up = (struct trib_upload){.packed = NULL};
    trib_client_start_task(client);
}

static bool take_receipt(struct trib_client *client, const struct trib_record *record)
{
    struct trib_upload *up = &client->upload;
    struct trib_msg_receipt receipt;
    if (trib_msg_receipt_unpack(record->payload, record->payload_size, &receipt))
        return false;
    if (!up->has_update ||
        memcmp(receipt.update_id, up->begin.update_id, sizeof(receipt.update_id)) != 0)
        return true;
    char id[2 * TRIB_MSG_ID_SIZE + 1];
    trib_hex_encode(receipt.update_id, sizeof(receipt.update_id), id);
    TRIB_INFO("update round_id=%" PRIu64 " update_id=%s receipt=%s", up->begin.round_id, id,
              trib_code_text(receipt.code));
    TRIB_CRASH_POINT("answer.taken");
    enum trib_code_class class = trib_code_class(receipt.code);
    if (class == TRIB_CODE_CLASS_OK || class == TRIB_CODE_CLASS_NEVER) {
        up->is_answered = true;
        // Nobody can tell any more whether a stale one was counted, so its rows are not used again.
        up->is_counted = class == TRIB_CODE_CLASS_OK || receipt.code == TRIB_CODE_STALE;
        trib_client_drop_upload(client);
        TRIB_CRASH_POINT("answer.settled");
        return true;
    }
    uint64_t window = receipt.pace.retry_max_ms - receipt.pace.retry_min_ms;
    up->is_begun = false; // the same bytes again
    up->not_before_ms = trib_clock_mono_ms() + receipt.pace.retry_min_ms +
                        trib_rng_below(&client->jitter, window + 1);
    return true;
}

// ---- The channel

static void on_opened(void *user, struct trib_channel *channel, const struct trib_welcome *welcome)
{
    struct trib_client *client = user;
    (void)channel;
    client->is_up = true;
    client->failures = 0;
    TRIB_CRASH_POINT("start.session");
    client->retry_min_ms = welcome->retry_min_ms;
    client->retry_max_ms = welcome->retry_max_ms;
    TRIB_INFO("session open url=%s", client->url);
    send_ready(client);
    trib_client_begin_upload(client);
}

static bool on_record(void *user, struct trib_channel *channel, const struct trib_record *record)
{
    struct trib_client *client = user;
    switch (record->type) {
    case TRIB_RECORD_TASK: return trib_client_take_task(client, record);
    case TRIB_RECORD_ROUND_END: return trib_client_take_round_end(client, record);
    case TRIB_RECORD_KEYS: return trib_client_take_keys(client, record);
    case TRIB_RECORD_NEW_VERSION: return trib_client_new_version(client, record);
    case TRIB_RECORD_MODEL_CHUNK: return trib_client_model_chunk(client, record);
    case TRIB_RECORD_CREDIT: return take_credit(client, record);
    case TRIB_RECORD_RECEIPT: return take_receipt(client, record);
    case TRIB_RECORD_SECAGG_OPEN: return trib_part_open(client, record);
    case TRIB_RECORD_SECAGG_STEP: return trib_part_step(client, record);
    case TRIB_RECORD_SECAGG_CHUNK: return trib_part_chunk(client, record);
    case TRIB_RECORD_PING:
        (void)!trib_channel_send(channel, TRIB_RECORD_PONG, 0, NULL, 0);
        return true;
    case TRIB_RECORD_REVOKED:
        TRIB_ERROR("id=revoked this device was revoked by the coordinator");
        client->is_revoked = true;
        return true;
    default: return record->type < TRIB_RECORD_CRITICAL; // proto/README.md 3
    }
}

static uint64_t plan_dial(struct trib_client *client)
{
    const struct trib_pace pace = {
        .retry_min_ms = client->retry_min_ms,
        .retry_max_ms = client->retry_max_ms,
        .failures = client->failures,
        .cap_ms = client->config.reconnect_max_ms ? client->config.reconnect_max_ms
                                                  : client->settings.reconnect_max_ms,
    };
    const uint64_t pause = trib_pace_pause_ms(&pace, &client->jitter);
    client->dial_at_ms = trib_clock_mono_ms() + pause;
    return pause;
}

static void on_closed(void *user, struct trib_channel *channel, enum trib_close_reason reason)
{
    struct trib_client *client = user;
    bool was_up = client->is_up;
    client->channel = NULL;
    client->is_up = false;
    client->upload.is_begun = false;
    trib_step_drop(&client->part.in);
    trib_client_fetch_drop(client);
    const uint64_t pause = plan_dial(client);
    client->failures += !was_up;
    trib_client_note_silence(client, was_up, reason);
    if (__atomic_load_n(&client->stop_wanted, __ATOMIC_RELAXED) || client->is_revoked) // for good
        TRIB_INFO("session closed reason=%s", trib_close_reason_text(reason));
    else
        TRIB_INFO("session closed reason=%s again_in_ms=%" PRIu64, trib_close_reason_text(reason),
                  pause);
    trib_channel_unref(channel);
}

static const struct trib_channel_handler handler = {
    .opened = on_opened, .record = on_record, .closed = on_closed};

static void submit(void *executor, struct trib_work *work)
{
    trib_queue_put(executor, &work->node);
}

static void on_dialed(void *user, enum trib_err err, struct trib_conn *conn)
{
    struct trib_client *client = user;
    (void)err;
    client->dialed_conn = conn;
    trib_queue_put(&client->queue, &client->dialed.node);
}

static void dial_is_over(struct trib_work *work)
{
    struct trib_client *client =
        (struct trib_client *)(void *)((char *)work - offsetof(struct trib_client, dialed));
    const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    const struct trib_channel_options options = {
        .handler = &handler,
        .user = client,
        .submit = submit,
        .executor = &client->queue,
        .receive_frames = client->receive_frames,
        .send_frames = client->send_frames,
        .secret = client->keys.secret,
        .coordinator = client->enrolment.coordinator_key,
        .hello = &hello,
    };
    trib_dial_free(client->dial);
    client->dial = NULL;
    bool is_good = client->dialed_conn &&
                   trib_channel_connect(client->dialed_conn, &options, &client->channel) == TRIB_OK;
    client->dialed_conn = NULL;
    if (is_good) {
        trib_channel_start(client->channel);
        return;
    }
    const uint64_t pause = plan_dial(client);
    client->failures++;
    TRIB_INFO("cannot reach url=%s again_in_ms=%" PRIu64, client->url, pause);
}

// ---- Time

static void keep_session(struct trib_client *client, uint64_t now_ms)
{
    const struct trib_presence_times times = {
        .created_ms = trib_channel_created_ms(client->channel),
        .heard_ms = trib_channel_heard_ms(client->channel),
        .pinged_ms = client->pinged_ms,
        .ask_ms = TRIB_PRESENCE_DEVICE_MS,
    };
    switch (trib_presence_due(&times, now_ms)) {
    case TRIB_PRESENCE_FINE: return;
    case TRIB_PRESENCE_PING:
        client->pinged_ms = now_ms;
        (void)!trib_channel_send(client->channel, TRIB_RECORD_PING, 0, NULL, 0);
        return;
    case TRIB_PRESENCE_IDLE: trib_channel_close(client->channel, TRIB_CLOSE_IDLE); return;
    case TRIB_PRESENCE_AGED:
        if (!client->upload.is_begun && !client->fetch.is_active)
            trib_channel_close(client->channel, TRIB_CLOSE_DONE);
        return;
    }
}

static void keep_up(struct trib_client *client, uint64_t now_ms)
{
    if (!client->channel && !client->dial && now_ms >= client->dial_at_ms) {
        if (trib_link_dial(client->url, on_dialed, client, &client->dial))
            client->dial_at_ms = now_ms + TRIB_RECONNECT_BASE_MS;
        return;
    }
    if (!client->channel)
        return;
    if (client->is_up)
        keep_session(client, now_ms);
    else if (now_ms - trib_channel_created_ms(client->channel) > TRIB_HANDSHAKE_MS)
        trib_channel_close(client->channel, TRIB_CLOSE_SLOW);
    trib_client_begin_upload(client); // if it waited for its time
    trib_client_fetch_again(client, now_ms);
    trib_part_on_time(client);
}

static int time_left(const struct trib_client *client, uint64_t now_ms)
{
    uint64_t left = STEP_MAX_MS;
    const struct trib_upload *up = &client->upload;
    if (!client->channel && !client->dial)
        left = client->dial_at_ms > now_ms ? client->dial_at_ms - now_ms : 0;
    else if (!client->is_up)
        left = 1000;
    if (client->is_up && up->has_update && !up->is_begun) {
        uint64_t wait = up->not_before_ms > now_ms ? up->not_before_ms - now_ms : 0;
        left = wait < left ? wait : left;
    }
    if (client->is_up) {
        uint64_t wait = trib_part_wait_ms(client, now_ms);
        left = wait < left ? wait : left;
        wait = trib_client_fetch_wait_ms(client, now_ms);
        left = wait < left ? wait : left;
    }
    return (int)(left < STEP_MAX_MS ? left : STEP_MAX_MS);
}

enum trib_err trib_client_step(struct trib_client *client, int *ret_timeout_ms)
{
    for (struct trib_work *work; (work = (struct trib_work *)trib_queue_take(&client->queue, 0));)
        work->run(work);
    if (__atomic_load_n(&client->stop_wanted, __ATOMIC_RELAXED))
        return TRIB_ERR_STOPPED;
    if (client->is_revoked)
        return TRIB_ERR_AUTH;
    uint64_t now_ms = trib_clock_mono_ms();
    keep_up(client, now_ms);
    *ret_timeout_ms = time_left(client, now_ms);
    return TRIB_OK;
}

int trib_client_poll_fd(const struct trib_client *client)
{
    return client->queue.fd;
}

enum trib_err trib_client_run(struct trib_client *client)
{
    int timeout_ms = 0;
    for (;;) {
        enum trib_err err = trib_client_step(client, &timeout_ms);
        if (err)
            return err == TRIB_ERR_STOPPED ? TRIB_OK : err;
        struct pollfd item = {.fd = client->queue.fd, .events = POLLIN};
        (void)poll(&item, 1, timeout_ms);
    }
}

void trib_client_stop(struct trib_client *client)
{
    // Called from signal handlers: an atomic and a write, nothing else.
    __atomic_store_n(&client->stop_wanted, 1, __ATOMIC_RELAXED);
    (void)!write(client->queue.fd, &(uint64_t){1}, sizeof(uint64_t));
}

// ---- Life

// A device whose [data] names rows takes what was learnt with the features that it makes of them;
// one with a trainer and rows of its own decides itself.
static enum trib_err load_slot(struct trib_client *client)
{
    char why[TRIB_PATH_MAX + 256];
    const struct trib_data_config *data = &client->settings.data;
    enum trib_err err = trib_data_pipeline(data, client->prepare_digest, why, sizeof(why));
    if (err) {
        TRIB_ERROR("client.ini: %s", why);
        return err;
    }
    const bool has_rows = data->train[0] || !trib_data_is_file(data);
    const bool is_pinned = has_rows && data->pipeline == TRIB_PIPELINE_OWN;
    err = trib_slot_load(client->dir, &client->enrolment, is_pinned ? client->prepare_digest : NULL,
                         &client->slot);
    if (!err)
        trib_client_tell_version(client);
    return err;
}

static enum trib_err load(struct trib_client *client, const char *url)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_spool spool;
    enum trib_err err = trib_state_keys_load(client->dir, &client->keys);
    if (!err)
        err = trib_state_enrolment_load(client->dir, &client->enrolment);
    if (!err)
        err = trib_path_join(path, client->dir, "client.ini");
    if (!err)
        err = trib_state_config_load(path, &client->settings);
    if (!err)
        err = trib_state_lock(client->dir, &client->lock_fd);
    if (!err)
        err = trib_state_ledger(client->dir, &client->keys, &client->settings.policy,
                                &client->ledger);
    TRIB_CRASH_POINT("start.ledger");
    if (!err)
        err = load_slot(client);
    TRIB_CRASH_POINT("start.slot");
    if (err)
        return err;
    trib_ledger_whom(client->enrolment.first_key, client->enrolment.population, client->whom);
    (void)snprintf(client->url, sizeof(client->url), "%.*s", TRIB_URL_MAX,
                   url ? url : client->enrolment.url);
    err = trib_spool_read(client->dir, &spool);
    const enum trib_watermark_spool found = !err                    ? TRIB_WATERMARK_SPOOL_WHOLE
                                            : err == TRIB_ERR_STATE ? TRIB_WATERMARK_SPOOL_EMPTY
                                                                    : TRIB_WATERMARK_SPOOL_DAMAGED;
    if (err && err != TRIB_ERR_STATE && err != TRIB_ERR_CORRUPT)
        return err;
    enum trib_err recovered = trib_watermark_recover(
        client->dir, found, err ? NULL : spool.begin.update_id, &client->upload.has_claim);
    if (err || recovered) {
        if (!err)
            trib_spool_fini(&spool);
        return recovered;
    }
    TRIB_CRASH_POINT("start.spool");
    client->upload.begin = spool.begin;
    client->upload.packed = trib_blob_take(spool.packed, spool.begin.size);
    client->upload.has_update = client->upload.packed != NULL;
    TRIB_INFO("a finished update of round_id=%" PRIu64 " waits to be sent", spool.begin.round_id);
    return client->upload.packed ? TRIB_OK : TRIB_ERR_NOMEM;
}

enum trib_err trib_client_create(const struct trib_client_config *config,
                                 struct trib_client **ret_client)
{
    uint64_t seed;
    enum trib_err err = trib_client_config_check(config);
    if (err)
        return err;
    trib_crypto_init();
    struct trib_client *client = trib_alloc(sizeof(*client));
    if (!client)
        return TRIB_ERR_NOMEM;
    trib_client_config_take(client, config);
    client->lock_fd = -1;
    client->queue.fd = -1;
    client->dialed.run = dial_is_over;
    trib_client_worker_init(client);
    (void)pthread_mutex_init(&client->inlet_lock, NULL);
    (void)snprintf(client->dir, sizeof(client->dir), "%s", config->state_dir);
    trib_random_bytes(&seed, sizeof(seed));
    trib_rng_init(&client->jitter, seed, "reconnect", 0, NULL);

    err = trib_queue_init(&client->queue, true);
    if (!err)
        err = load(client, config->coordinator_url);
    if (!err)
        err = trib_pool_create(1, &client->pool);
    if (!err)
        err = trib_client_rows_open(client);
    if (!err)
        err = trib_vouched_create(&client->vouched);
    if (!err)
        err = trib_frames_create(1, 1, &client->receive_frames);
    if (!err)
        err = trib_frames_create(1, 1, &client->send_frames);
    if (err) {
        trib_client_destroy(client);
        return err;
    }
    *ret_client = client;
    return TRIB_OK;
}

void trib_client_destroy(struct trib_client *client)
{
    if (!client)
        return;
    trib_inlet_destroy(client->inlet);
    __atomic_store_n(&client->worker.stop, 1, __ATOMIC_RELAXED);
    if (client->dial)
        trib_dial_cancel(client->dial);
    if (client->channel)
        trib_channel_close(client->channel, TRIB_CLOSE_SHUTDOWN);
    while (client->channel || client->dial || client->worker.is_running) {
        struct trib_work *work = (struct trib_work *)trib_queue_take(&client->queue, UINT64_MAX);
        work->run(work);
        if (client->channel) // a dial that came through meanwhile
            trib_channel_close(client->channel, TRIB_CLOSE_SHUTDOWN);
    }
    trib_pool_destroy(client->pool);
    for (struct trib_work *work;
         client->queue.tail && (work = (struct trib_work *)trib_queue_take(&client->queue, 0));)
        work->run(work);
    trib_frames_destroy(client->receive_frames);
    trib_frames_destroy(client->send_frames);
    client->has_task = false;
    trib_part_drop(client); // a masked upload goes with it
    trib_slot_fini(&client->slot);
    trib_blob_unref(client->upload.packed);
    trib_client_fetch_drop(client);
    assert(!client->worker.base); // what ran was waited for
    trib_task_result_fini(&client->worker.result, client->worker.task.word_count);
    trib_vouched_destroy(client->vouched);
    trib_ledger_close(client->ledger);
    trib_queue_fini(&client->queue);
    if (client->lock_fd >= 0)
        (void)close(client->lock_fd);
    trib_state_keys_wipe(&client->keys);
    (void)pthread_mutex_destroy(&client->inlet_lock);
    free(client);
}
