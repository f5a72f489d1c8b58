#include "simulations/chaos/liar.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/state.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/queue.h"
#include "common/math/model.h"
#include "common/wire/channel.h"
#include "common/wire/codec.h"
#include "common/wire/message.h"
#include "simulations/chaos/chaos.h"
#include "simulations/chaos/oracle.h"
#include "simulations/chaos/roles.h"

enum {
    AGAIN_MS = 3000, // until it dials again, at most
    POLL_MS = 5000,
    EXTRA = 4, // words that a too long update has too many
};

struct claim {
    struct trib_msg_upload_begin begin;
    int32_t *words;
    uint8_t *packed;
    size_t count, sent; // words; bytes that are really sent
};

struct liar {
    struct trib_process *process;
    struct trib_queue queue;
    struct trib_work dialed;
    struct trib_conn *conn;
    bool is_dialing;
    struct trib_channel *channel;
    struct trib_state_enrolment enrolment;
    const struct lie *lie; // of the claim that is on its way
    struct claim claim;
    struct trib_msg_upload_begin counted; // the last honest one
    uint8_t *counted_packed;
    uint8_t again_id[TRIB_MSG_ID_SIZE]; // an old id that was sent again, and
    bool is_again;                      // has no answer yet
    uint16_t stream;
};

// ---- The lies: what is said instead of the truth, and how it must be answered

static void honest(const struct liar *liar, const struct trib_msg_task *task, struct claim *claim)
{
    (void)liar;
    (void)task;
    (void)claim;
}

static void out_of_range(const struct liar *liar, const struct trib_msg_task *task,
                         struct claim *claim)
{
    (void)liar; // one beyond what any honest device can send: words are symmetric
    claim->words[0] = (int32_t)(-((int64_t)1 << (task->encoding.word_bits - 1)));
}

static void no_weight(const struct liar *liar, const struct trib_msg_task *task,
                      struct claim *claim)
{
    (void)liar;
    claim->begin.weight = 0;
    claim->begin.has_weight = task->encoding.mode != 0;
}

static void great_weight(const struct liar *liar, const struct trib_msg_task *task,
                         struct claim *claim)
{
    (void)liar;
    claim->begin.has_weight = true;
    claim->begin.weight = task->encoding.mode != 0 ? 1 : task->weight_max + 1;
}

static void foreign_round(const struct liar *liar, const struct trib_msg_task *task,
                          struct claim *claim)
{
    (void)liar;
    claim->begin.round_id = task->round_id + 1000;
}

static void stale_round(const struct liar *liar, const struct trib_msg_task *task,
                        struct claim *claim)
{
    (void)liar;
    claim->begin.round_id = task->round_id - 1;
}

static void too_short(const struct liar *liar, const struct trib_msg_task *task,
                      struct claim *claim)
{
    (void)liar;
    claim->begin.size -= task->encoding.word_bits / 8;
}

static void too_long(const struct liar *liar, const struct trib_msg_task *task, struct claim *claim)
{
    (void)liar;
    claim->begin.size += task->encoding.word_bits / 8;
}

static void cut_short(const struct liar *liar, const struct trib_msg_task *task,
                      struct claim *claim)
{
    (void)liar;
    claim->sent -= task->encoding.word_bits / 8; // and then it says that this was all
}

static void other_base(const struct liar *liar, const struct trib_msg_task *task,
                       struct claim *claim)
{
    (void)liar;
    (void)task;
    claim->begin.base_digest[0] ^= 1;
}

static void other_model(const struct liar *liar, const struct trib_msg_task *task,
                        struct claim *claim)
{
    (void)liar;
    (void)task;
    claim->begin.arch_digest[0] ^= 1;
}

static void somebody_elses(const struct liar *liar, const struct trib_msg_task *task,
                           struct claim *claim)
{
    (void)task;
    (void)trib_oracle_foreign(liar->process, claim->begin.update_id); // an id that counts
}

static void once_more(const struct liar *liar, const struct trib_msg_task *task,
                      struct claim *claim)
{
    (void)task;
    if (liar->counted_packed)
        claim->begin = liar->counted;
}

static void other_bytes(const struct liar *liar, const struct trib_msg_task *task,
                        struct claim *claim)
{
    (void)task;
    if (liar->counted_packed)
        memcpy(claim->begin.update_id, liar->counted.update_id, TRIB_MSG_ID_SIZE);
}

static const struct lie {
    const char *name;
    void (*tell)(const struct liar *liar, const struct trib_msg_task *task, struct claim *claim);
    enum trib_code answer;  // off
    enum trib_code private; // with privacy on, if it is another
} lies[] = {
    {"honest", honest, TRIB_CODE_ACCEPTED, 0},
    {"out of range", out_of_range, TRIB_CODE_NORM, 0},
    {"no weight", no_weight, TRIB_CODE_BAD_WEIGHT, TRIB_CODE_MALFORMED},
    {"great weight", great_weight, TRIB_CODE_BAD_WEIGHT, TRIB_CODE_MALFORMED},
    {"foreign round", foreign_round, TRIB_CODE_ROUND_CLOSED, 0},
    {"stale round", stale_round, TRIB_CODE_ROUND_CLOSED, 0},
    {"too short", too_short, TRIB_CODE_SHAPE_OR_DECODE, 0},
    {"too long", too_long, TRIB_CODE_OVERSIZE, 0},
    {"cut short", cut_short, TRIB_CODE_SHAPE_OR_DECODE, 0},
    {"other base", other_base, TRIB_CODE_BASE_MISMATCH, 0},
    {"other model", other_model, TRIB_CODE_ARCH_MISMATCH, 0},
    {"somebody else's", somebody_elses, TRIB_CODE_CONFLICT, 0},
    {"once more", once_more, TRIB_CODE_DUPLICATE, 0},
    {"other bytes", other_bytes, TRIB_CODE_CONFLICT, 0},
};

enum {
    LIES = sizeof(lies) / sizeof(lies[0])
};

// Not every claim comes to be judged by what it says: the round may be over, the lease gone by an
// earlier lie, or the coordinator busy. Then there is no row either.
static bool is_beside_the_point(enum trib_code code)
{
    return code == TRIB_CODE_ROUND_CLOSED || code == TRIB_CODE_NO_LEASE ||
           code == TRIB_CODE_ALREADY_COUNTED || code == TRIB_CODE_RETRY_LATER ||
           code == TRIB_CODE_SLOW;
}

static void judge(struct liar *liar, enum trib_code code)
{
    const struct lie *lie = liar->lie;
    enum trib_code expected =
        trib_chaos.mode != TRIB_PRIVACY_OFF && lie->private ? lie->private : lie->answer;
    const bool has_counted = liar->counted_packed != NULL;
    liar->lie = NULL;
    trib_chaos_say("lie: %s, answer %s", lie->name, trib_code_text(code));
    trib_oracle_final(trib_chaos_member(liar->process->name), liar->claim.begin.round_id, code);
    if ((lie->tell == once_more || lie->tell == other_bytes) && !has_counted)
        expected = TRIB_CODE_ACCEPTED; // there was nothing to lie about
    if (expected == TRIB_CODE_ACCEPTED && code == TRIB_CODE_DUPLICATE)
        expected = code; // its first answer was lost
    if (lie->tell != honest) {
        trib_chaos.lies++;
        trib_chaos.refused += code == expected;
    }
    if (code != expected && !is_beside_the_point(code))
        trib_chaos_fail("liar", "%s lied (%s) and was told %s instead of %s", liar->process->name,
                        lie->name, trib_code_text(code), trib_code_text(expected));
    if (code == TRIB_CODE_ACCEPTED) {
        free(liar->counted_packed);
        liar->counted = liar->claim.begin;
        liar->counted_packed = liar->claim.packed;
        liar->claim.packed = NULL;
    }
}

// ---- The protocol

static void say(struct liar *liar, enum trib_record_type type, uint16_t stream,
                struct trib_buf *packed)
{
    assert(!packed->failed);
    (void)!trib_channel_send(liar->channel, (uint8_t)type, stream, packed->data, packed->size);
    trib_buf_fini(packed);
}

static void make_claim(struct liar *liar, const struct trib_msg_task *task)
{
    struct claim *claim = &liar->claim;
    struct trib_model model;
    char why[256];
    if (trib_model_parse(task->spec, &model, why, sizeof(why)))
        trib_chaos_fail("liar", "a task makes no sense: %s", why);
    const size_t size = trib_codec_size(model.param_count, task->encoding.word_bits);
    free(claim->packed);
    *claim = (struct claim){.count = model.param_count, .sent = size};
    claim->words = trib_alloc_array(claim->count, sizeof(*claim->words));
    claim->packed = trib_alloc(size + EXTRA * sizeof(*claim->words));
    claim->begin.round_id = task->round_id;
    claim->begin.size = size;
    claim->begin.has_weight = task->encoding.mode == 0;
    claim->begin.weight = claim->begin.has_weight ? 1 : 0;
    memcpy(claim->begin.base_digest, task->base_digest, TRIB_DIGEST_SIZE);
    memcpy(claim->begin.arch_digest, model.arch_digest, TRIB_DIGEST_SIZE);
    trib_random_bytes(claim->begin.update_id, TRIB_MSG_ID_SIZE);
    for (size_t i = 0; i < claim->count; i++)
        claim->words[i] = (int32_t)trib_machine_draw(TRIB_STREAM_LIES, 0, 100) - 50;
}

static void send_claim(struct liar *liar, const struct trib_msg_task *task)
{
    struct claim *claim = &liar->claim;
    struct trib_buf packed = {0};
    make_claim(liar, task);
    liar->lie = &lies[trib_machine_draw(TRIB_STREAM_LIES, 0, LIES - 1)];
    // Two that are under way with one id could not be told apart by their answers.
    if (liar->is_again && (liar->lie->tell == once_more || liar->lie->tell == other_bytes))
        liar->lie = lies;
    uint8_t old_id[TRIB_MSG_ID_SIZE];
    memcpy(old_id, claim->begin.update_id, sizeof(old_id));
    liar->lie->tell(liar, task, claim);
    trib_codec_pack(claim->words, claim->count, task->encoding.word_bits, claim->packed);
    free(claim->words);
    claim->words = NULL;
    const bool is_new = memcmp(old_id, claim->begin.update_id, sizeof(old_id)) == 0;
    if (!is_new && liar->lie->tell != somebody_elses) {
        memcpy(liar->again_id, claim->begin.update_id, TRIB_MSG_ID_SIZE);
        liar->is_again = true;
    }
    if (liar->lie->tell == somebody_elses && is_new)
        liar->lie = lies; // nobody's counts yet
    if (is_new || liar->lie->tell != once_more)
        trib_digest(claim->packed, trib_codec_size(claim->count, task->encoding.word_bits),
                    claim->begin.digest);
    const bool is_honest = liar->lie->tell == honest || liar->lie->tell == once_more ||
                           (liar->lie->tell == other_bytes && is_new);
    if (is_new)
        trib_oracle_offer(liar->process, &claim->begin, claim->packed, !is_honest);
    trib_msg_upload_begin_pack(&claim->begin, &packed);
    say(liar, TRIB_RECORD_UPLOAD_BEGIN, ++liar->stream, &packed);
}

static bool take_task(struct liar *liar, const struct trib_record *record)
{
    static struct trib_msg_task task; // it is large
    struct trib_buf packed = {0};
    if (trib_msg_task_unpack(record->payload, record->payload_size, &task))
        return false;
    // Where words are masked its silence is worse than its lies: at times it lets another go in.
    const bool declines =
        trib_chaos.mode == TRIB_PRIVACY_DISTRIBUTED && !trib_machine_chance(TRIB_STREAM_LIES, 4);
    const struct trib_msg_task_reply reply = {
        .round_id = task.round_id, .code = declines ? TRIB_CODE_DECLINED_BUSY : TRIB_CODE_ACCEPTED};
    trib_msg_task_reply_pack(&reply, &packed);
    say(liar, TRIB_RECORD_TASK_REPLY, 0, &packed);
    if (!declines)
        send_claim(liar, &task);
    return true;
}

static bool take_credit(struct liar *liar, const struct trib_record *record)
{
    struct claim *claim = &liar->claim;
    struct trib_msg_credit credit;
    struct trib_msg_upload_end end;
    struct trib_buf packed = {0};
    if (trib_msg_credit_unpack(record->payload, record->payload_size, &credit))
        return false;
    if (!liar->lie || !claim->packed || credit.offset > 0 ||
        memcmp(credit.update_id, claim->begin.update_id, TRIB_MSG_ID_SIZE) != 0)
        return true;
    (void)!trib_channel_send(liar->channel, TRIB_RECORD_UPLOAD_CHUNK, liar->stream, claim->packed,
                             claim->sent);
    memcpy(end.update_id, claim->begin.update_id, TRIB_MSG_ID_SIZE);
    trib_msg_upload_end_pack(&end, &packed);
    say(liar, TRIB_RECORD_UPLOAD_END, 0, &packed);
    return true;
}

static bool take_receipt(struct liar *liar, const struct trib_record *record)
{
    struct trib_msg_receipt receipt;
    if (trib_msg_receipt_unpack(record->payload, record->payload_size, &receipt))
        return false;
    if (memcmp(receipt.update_id, liar->again_id, TRIB_MSG_ID_SIZE) == 0)
        liar->is_again = false;
    if (liar->lie && memcmp(receipt.update_id, liar->claim.begin.update_id, TRIB_MSG_ID_SIZE) == 0)
        judge(liar, receipt.code);
    return true;
}

static bool on_record(void *user, struct trib_channel *channel, const struct trib_record *record)
{
    struct liar *liar = user;
    switch (record->type) {
    case TRIB_RECORD_TASK: return take_task(liar, record);
    case TRIB_RECORD_CREDIT: return take_credit(liar, record);
    case TRIB_RECORD_RECEIPT: return take_receipt(liar, record);
    case TRIB_RECORD_PING:
        (void)!trib_channel_send(channel, TRIB_RECORD_PONG, 0, NULL, 0);
        return true;
    default: return true;
    }
}

static void on_opened(void *user, struct trib_channel *channel, const struct trib_welcome *welcome)
{
    struct liar *liar = user;
    struct trib_msg_ready ready = {.software = "liar"};
    struct trib_buf packed = {0};
    (void)channel;
    (void)welcome;
    memcpy(ready.population, liar->enrolment.population, sizeof(ready.population) - 1);
    trib_msg_ready_pack(&ready, &packed);
    say(liar, TRIB_RECORD_READY, 0, &packed);
}

static void on_closed(void *user, struct trib_channel *channel, enum trib_close_reason reason)
{
    struct liar *liar = user;
    (void)reason;
    liar->channel = NULL;
    liar->lie = NULL; // it will not hear the answer
    liar->is_again = false;
    trib_channel_unref(channel);
}

static void submit(void *executor, struct trib_work *work)
{
    trib_queue_put(executor, &work->node);
}

static void on_dialed(void *user, enum trib_err err, struct trib_conn *conn)
{
    struct liar *liar = user;
    (void)err;
    liar->conn = conn;
    trib_queue_put(&liar->queue, &liar->dialed.node);
}

static void dial_is_over(struct trib_work *work)
{
    struct liar *liar = (struct liar *)(void *)((char *)work - offsetof(struct liar, dialed));
    liar->is_dialing = false;
}

// One session, from the dial to its end.
static void attend(struct liar *liar, const struct trib_channel_options *options)
{
    struct trib_dial *dial;
    struct trib_work *work;
    liar->conn = NULL;
    liar->is_dialing = true;
    if (trib_link_dial(TRIB_CHAOS_URL, on_dialed, liar, &dial))
        return;
    while (liar->is_dialing &&
           (work = (struct trib_work *)trib_queue_take(&liar->queue, UINT64_MAX)))
        work->run(work);
    trib_dial_free(dial);
    if (!liar->conn || trib_channel_connect(liar->conn, options, &liar->channel))
        return;
    trib_channel_start(liar->channel);
    while (liar->channel) {
        work = (struct trib_work *)trib_queue_take(&liar->queue, POLL_MS);
        if (work)
            work->run(work);
        else if (trib_clock_mono_ms() > trib_channel_heard_ms(liar->channel) + 100000)
            trib_channel_close(liar->channel, TRIB_CLOSE_IDLE);
    }
}

void trib_role_liar(struct trib_process *process)
{
    static const struct trib_channel_handler handler = {
        .opened = on_opened, .record = on_record, .closed = on_closed};
    static const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    struct liar *liar = trib_alloc(sizeof(*liar));
    struct trib_state_keys keys;
    struct trib_frames *frames;
    trib_role_enrol(process);
    if (!liar || trib_state_keys_load(process->name, &keys) ||
        trib_state_enrolment_load(process->name, &liar->enrolment) ||
        trib_queue_init(&liar->queue, false) || trib_frames_create(2, 1, &frames))
        trib_chaos_fail("restart", "%s does not start", process->name);
    liar->process = process;
    liar->dialed.run = dial_is_over;
    const struct trib_channel_options options = {
        .handler = &handler,
        .user = liar,
        .submit = submit,
        .executor = &liar->queue,
        .receive_frames = frames,
        .send_frames = frames,
        .secret = keys.secret,
        .coordinator = liar->enrolment.coordinator_key,
        .hello = &hello,
    };
    for (;;) {
        attend(liar, &options);
        trib_clock_sleep_ms(trib_machine_draw(TRIB_STREAM_LIES, 1, AGAIN_MS));
    }
}
