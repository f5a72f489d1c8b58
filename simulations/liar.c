#include "simulations/liar.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/state.h"
#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/queue.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/math/model.h"
#include "common/wire/channel.h"
#include "common/wire/message.h"
#include "simulations/faults.h"
#include "tributary/client.h"

#define TRIB_LOG_MODULE "liar"

enum {
    PAUSE_MS = 200, // between two attempts to connect
    WAIT_MS = 100,  // for what may come, before a look whether it is time to end
    STREAM = 1,
};

struct liar {
    enum trib_lie lie;
    struct trib_state_keys keys;
    struct trib_state_enrolment enrolment;
    struct trib_queue queue;
    struct trib_frames *frames;
    struct trib_work dialed; // posted when the dial has ended
    struct trib_conn *conn;
    struct trib_channel *channel; // NULL: there is none
    struct trib_msg_upload_begin begin;
    uint8_t former_id[TRIB_MSG_ID_SIZE]; // of the update before, whose receipt may still come
    uint64_t former_round;
    struct trib_blob *words; // of the update
    uint64_t sent;
};

static volatile sig_atomic_t is_to_stop;

static void on_stop(int number)
{
    (void)number;
    is_to_stop = 1;
}

static void say(struct liar *liar, enum trib_record_type type, uint16_t stream,
                struct trib_buf *packed)
{
    if (packed->failed || trib_channel_send(liar->channel, (uint8_t)type, stream, packed->data,
                                            packed->size) == TRIB_ERR_NOMEM)
        trib_channel_close(liar->channel, TRIB_CLOSE_NOMEM);
    trib_buf_fini(packed);
}

// ---- The lie

static void bend(struct trib_msg_upload_begin *begin, enum trib_lie lie)
{
    switch (lie) {
    case TRIB_LIE_WEIGHT:
        begin->has_weight = true; // with privacy on there must be none
        begin->weight = 0;
        return;
    case TRIB_LIE_SIZE: begin->size--; return;
    case TRIB_LIE_BASE: begin->base_digest[0] ^= 1; return;
    case TRIB_LIE_MODEL: begin->arch_digest[0] ^= 1; return;
    case TRIB_LIE_NORM:
    case TRIB_LIE_MIXED:
    case TRIB_LIE_COUNT: return; // it is in the words
    }
}

// The lowest word there is, again and again: no encoding has it.
static void make_words(struct liar *liar, size_t word_size)
{
    const size_t size = (size_t)liar->begin.size;
    uint8_t *bytes = trib_alloc(size);
    for (size_t end = word_size; bytes && end <= size; end += word_size)
        bytes[end - 1] = 0x80;
    trib_blob_unref(liar->words);
    liar->words = trib_blob_take(bytes, size);
    liar->sent = 0;
}

static void begin_upload(struct liar *liar, const struct trib_msg_task *task,
                         const struct trib_model *model)
{
    struct trib_msg_upload_begin *begin = &liar->begin;
    struct trib_buf packed = {0};
    liar->former_round = begin->round_id;
    memcpy(liar->former_id, begin->update_id, sizeof(liar->former_id));
    *begin =
        (struct trib_msg_upload_begin){.round_id = task->round_id,
                                       .size = model->param_count * task->encoding.word_bits / 8,
                                       .has_weight = task->weight_max > 0,
                                       .weight = task->weight_max > 0};
    trib_random_bytes(begin->update_id, sizeof(begin->update_id));
    trib_random_bytes(begin->digest, sizeof(begin->digest));
    memcpy(begin->base_digest, task->base_digest, sizeof(begin->base_digest));
    memcpy(begin->arch_digest, model->arch_digest, sizeof(begin->arch_digest));
    bend(begin, liar->lie);
    make_words(liar, task->encoding.word_bits / 8);
    trib_msg_upload_begin_pack(begin, &packed);
    say(liar, TRIB_RECORD_UPLOAD_BEGIN, STREAM, &packed);
}

static bool take_task(struct liar *liar, const struct trib_record *record)
{
    struct trib_msg_task *task = trib_alloc(sizeof(*task));
    struct trib_model model;
    struct trib_buf packed = {0};
    char why[256];
    if (!task || trib_msg_task_unpack(record->payload, record->payload_size, task) ||
        trib_model_parse(task->spec, &model, why, sizeof(why))) {
        free(task);
        return false;
    }
    const bool lies = task->fit.tally.kind == 0;
    const struct trib_msg_task_reply reply = {
        .round_id = task->round_id, .code = lies ? TRIB_CODE_ACCEPTED : TRIB_CODE_DECLINED_FAILED};
    trib_msg_task_reply_pack(&reply, &packed);
    say(liar, TRIB_RECORD_TASK_REPLY, 0, &packed);
    if (lies)
        begin_upload(liar, task, &model);
    free(task);
    return true;
}

// Behind the words, which a control message would overtake.
static void end_upload(struct liar *liar)
{
    struct trib_msg_upload_end end;
    struct trib_buf packed = {0};
    memcpy(end.update_id, liar->begin.update_id, sizeof(end.update_id));
    trib_msg_upload_end_pack(&end, &packed);
    struct trib_blob *blob = packed.failed ? NULL : trib_blob_take(packed.data, packed.size);
    if (blob)
        (void)!trib_channel_send_blob(liar->channel, TRIB_RECORD_UPLOAD_END, 0, blob, 0,
                                      blob->size);
    trib_blob_unref(blob);
}

static bool take_credit(struct liar *liar, const struct trib_record *record)
{
    struct trib_msg_credit credit;
    if (trib_msg_credit_unpack(record->payload, record->payload_size, &credit))
        return false;
    if (!liar->words || credit.limit > liar->begin.size || credit.limit <= liar->sent)
        return true;
    if (trib_channel_send_blob(liar->channel, TRIB_RECORD_UPLOAD_CHUNK, STREAM, liar->words,
                               liar->sent, credit.limit))
        return true;
    liar->sent = credit.limit;
    if (liar->sent == liar->begin.size)
        end_upload(liar);
    return true;
}

static bool take_receipt(const struct liar *liar, const struct trib_record *record)
{
    struct trib_msg_receipt receipt;
    char id[2 * TRIB_MSG_ID_SIZE + 1];
    if (trib_msg_receipt_unpack(record->payload, record->payload_size, &receipt))
        return false;
    const bool is_former = memcmp(receipt.update_id, liar->former_id, TRIB_MSG_ID_SIZE) == 0;
    trib_hex_encode(receipt.update_id, sizeof(receipt.update_id), id);
    TRIB_INFO("lie round_id=%" PRIu64 " update_id=%s receipt=%s",
              is_former ? liar->former_round : liar->begin.round_id, id,
              trib_code_text(receipt.code));
    return true;
}

// It says that it has what it never asked for.
static bool take_version(struct liar *liar, const struct trib_record *record)
{
    struct trib_msg_new_version *version = trib_alloc(sizeof(*version));
    struct trib_msg_manifest *manifest = trib_alloc(sizeof(*manifest));
    struct trib_buf packed = {0};
    const bool is_good =
        version && manifest &&
        trib_msg_new_version_unpack(record->payload, record->payload_size, version) == TRIB_OK &&
        trib_msg_manifest_unpack(version->manifest, version->manifest_size, manifest) == TRIB_OK;
    if (is_good) {
        struct trib_msg_installed installed = {.generation = manifest->generation,
                                               .version = manifest->version,
                                               .code = TRIB_CODE_MODEL_INSTALLED};
        memcpy(installed.digest, manifest->digest, sizeof(installed.digest));
        trib_msg_installed_pack(&installed, &packed);
        say(liar, TRIB_RECORD_INSTALLED, 0, &packed);
    }
    free(version);
    free(manifest);
    return is_good;
}

// ---- The channel

static void on_opened(void *user, struct trib_channel *channel, const struct trib_welcome *welcome)
{
    struct liar *liar = user;
    struct trib_msg_ready ready = {.version = 0};
    struct trib_buf packed = {0};
    (void)channel;
    (void)welcome;
    (void)snprintf(ready.population, sizeof(ready.population), "%.*s", TRIB_NAME_MAX,
                   liar->enrolment.population);
    (void)snprintf(ready.software, sizeof(ready.software), "tributary-sim liar");
    trib_msg_ready_pack(&ready, &packed);
    say(liar, TRIB_RECORD_READY, 0, &packed);
}

static bool on_record(void *user, struct trib_channel *channel, const struct trib_record *record)
{
    struct liar *liar = user;
    switch (record->type) {
    case TRIB_RECORD_TASK: return take_task(liar, record);
    case TRIB_RECORD_CREDIT: return take_credit(liar, record);
    case TRIB_RECORD_RECEIPT: return take_receipt(liar, record);
    case TRIB_RECORD_NEW_VERSION: return take_version(liar, record);
    case TRIB_RECORD_PING:
        (void)!trib_channel_send(channel, TRIB_RECORD_PONG, 0, NULL, 0);
        return true;
    default: return record->type < TRIB_RECORD_CRITICAL;
    }
}

static void on_closed(void *user, struct trib_channel *channel, enum trib_close_reason reason)
{
    struct liar *liar = user;
    TRIB_INFO("session closed reason=%s", trib_close_reason_text(reason));
    liar->channel = NULL;
    trib_channel_unref(channel);
}

static const struct trib_channel_handler handler = {
    .opened = on_opened, .record = on_record, .closed = on_closed};

static void submit(void *executor, struct trib_work *work)
{
    trib_queue_put(executor, &work->node);
}

static void nothing(struct trib_work *work)
{
    (void)work;
}

static void on_dialed(void *user, enum trib_err err, struct trib_conn *conn)
{
    struct liar *liar = user;
    (void)err;
    liar->conn = conn;
    trib_queue_put(&liar->queue, &liar->dialed.node);
}

// ---- Life

// Do what there is to do, until `end` comes or there is nothing for a moment. Has it come?
static bool work(struct liar *liar, const struct trib_work *end)
{
    struct trib_work *next;
    while ((next = (struct trib_work *)trib_queue_take(&liar->queue, WAIT_MS))) {
        if (next == end)
            return true;
        next->run(next);
    }
    return false;
}

static enum trib_err dial(struct liar *liar)
{
    const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    const struct trib_channel_options options = {
        .handler = &handler,
        .user = liar,
        .submit = submit,
        .executor = &liar->queue,
        .receive_frames = liar->frames,
        .send_frames = liar->frames,
        .secret = liar->keys.secret,
        .coordinator = liar->enrolment.coordinator_key,
        .hello = &hello,
    };
    struct trib_dial *dial;
    enum trib_err err = trib_link_dial(liar->enrolment.url, on_dialed, liar, &dial);
    if (err)
        return err;
    while (!work(liar, &liar->dialed)) {
        if (is_to_stop)
            trib_dial_cancel(dial);
    }
    trib_dial_free(dial);
    if (!liar->conn || trib_channel_connect(liar->conn, &options, &liar->channel))
        return TRIB_OK; // nobody is there: once more
    trib_channel_start(liar->channel);
    return TRIB_OK;
}

static enum trib_err live(struct liar *liar)
{
    enum trib_err err = TRIB_OK;
    while (!is_to_stop && !err) {
        err = dial(liar);
        while (liar->channel && !is_to_stop)
            (void)work(liar, NULL);
        if (!is_to_stop)
            trib_clock_sleep_ms(PAUSE_MS);
    }
    if (liar->channel)
        trib_channel_close(liar->channel, TRIB_CLOSE_SHUTDOWN);
    while (liar->channel)
        (void)work(liar, NULL);
    while (work(liar, NULL))
        ;
    return err;
}

static bool find_lie(const char *text, enum trib_lie *ret_lie)
{
    for (int lie = TRIB_LIE_MIXED + 1; text && lie < TRIB_LIE_COUNT; lie++) {
        *ret_lie = (enum trib_lie)lie;
        if (strcmp(text, trib_lie_text(*ret_lie)) == 0)
            return true;
    }
    return false;
}

int trib_liar(const struct trib_command *command, int argc, char **argv)
{
    const char *lie = NULL;
    const struct trib_option options[] = {
        {"lie", TRIB_OPTION_TEXT, &lie, "KIND", "norm, weight, size, base or model"},
    };
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 1,
                                     .operand_min = 1,
                                     .operand_max = 1};
    struct liar liar = {.dialed = {.run = nothing}};
    int count;
    int code;
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (!find_lie(lie, &liar.lie)) {
        (void)fprintf(stderr, "liar: --lie norm, weight, size, base or model is required\n");
        return TRIB_EXIT_USAGE;
    }
    trib_crypto_init();
    (void)signal(SIGTERM, on_stop);
    enum trib_err err = trib_state_enrolment_load(argv[0], &liar.enrolment);
    if (!err)
        err = trib_state_keys_load(argv[0], &liar.keys);
    if (!err)
        err = trib_queue_init(&liar.queue, false);
    if (err)
        return (int)trib_exit_of(err);
    err = trib_frames_create(2, 1, &liar.frames);
    if (!err)
        err = live(&liar);
    trib_frames_destroy(liar.frames);
    trib_queue_fini(&liar.queue);
    trib_blob_unref(liar.words);
    trib_state_keys_wipe(&liar.keys);
    return (int)trib_exit_of(err);
}
