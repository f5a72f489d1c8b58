// A part in a masked round: what the coordinator says is handed to masked.h, and what that answers
// is sent.
//
//     trained, noised words  +  SECAGG_OPEN (the cohort is complete)  ->  ADVERT
//     KEYS -> (the budget is charged) SHARES     SEALED -> an upload     SURVIVORS -> CONSENT
//     CONSENTS -> UNMASK     ROUND_END -> over
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_state.h"
#include "client/watermark.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/wipe.h"

#define TRIB_LOG_MODULE "secagg"

static bool is_at_work(const struct trib_part *part)
{
    return part->words || part->masked;
}

uint64_t trib_part_round(const struct trib_client *client)
{
    const struct trib_part *part = &client->part;
    return is_at_work(part) ? part->task.msg.round_id : 0;
}

void trib_part_drop(struct trib_client *client)
{
    struct trib_part *part = &client->part;
    if (client->upload.is_masked)
        trib_client_drop_upload(client);
    if (part->words)
        trib_wipe(part->words, part->task.word_count * sizeof(*part->words));
    free(part->words);
    trib_masked_destroy(part->masked);
    trib_client_refund(client, &part->reservation);
    (void)!trib_client_settle(client, &part->has_claim, false); // as it is, it gives no row away
    trib_step_drop(&part->in);
    *part = (struct trib_part){.words = NULL};
}

// The device leaves the round for good, and says why.
static void leave(struct trib_client *client, enum trib_code code)
{
    uint64_t round_id = trib_part_round(client);
    TRIB_WARN("id=secagg-left round_id=%" PRIu64 " code=%s", round_id, trib_code_text(code));
    trib_client_reply(client, round_id, code);
    trib_part_drop(client);
}

// Takes the answer's blob.
static void send_answer(struct trib_client *client, struct trib_masked_answer *answer)
{
    if (answer->blob && client->is_up)
        (void)!trib_step_send(client->channel, ++client->next_stream, trib_part_round(client),
                              (enum trib_secagg_step_kind)answer->kind, answer->blob);
    trib_blob_unref(answer->blob);
}

// The words are there and the cohort is complete: make keys.
static void advertise(struct trib_client *client)
{
    struct trib_part *part = &client->part;
    struct trib_masked_answer answer = {.kind = 0};
    if (!part->words || !part->is_open || part->open.round_id != part->task.msg.round_id ||
        trib_clock_mono_ms() < part->not_before_ms)
        return;
    const struct trib_masked_options options = {
        .task = &part->task,
        .roster_key = trib_state_roster(&client->enrolment, &client->settings.policy),
        .sign_seed = client->keys.sign_seed,
        .population = client->enrolment.population,
        .name = client->enrolment.name,
        .invited = part->open.invited,
        .roster_open = part->open.roster_key,
        .cohort_min = (uint32_t)client->settings.policy.min_cohort,
        .vouched = client->vouched,
    };
    int32_t *words = part->words;
    part->words = NULL;
    uint64_t round_id = part->task.msg.round_id;
    enum trib_code code = trib_masked_create(&options, words, &part->masked, &answer);
    if (code == TRIB_CODE_ACCEPTED) {
        TRIB_CRASH_POINT("secagg.advert");
        send_answer(client, &answer);
        return;
    }
    trib_client_reply(client, round_id, code);
    trib_part_drop(client);
}

void trib_part_words(struct trib_client *client, const struct trib_task *task, int32_t *words)
{
    struct trib_part *part = &client->part;
    const bool is_open = part->is_open && part->open.round_id == task->msg.round_id;
    const struct trib_msg_secagg_open open = part->open;
    trib_part_drop(client);
    part->task = *task;
    part->words = words;
    part->is_open = is_open;
    part->open = open;
    const uint64_t tick = task->msg.send_tick_ms;
    if (tick) // the keys must not tell how long training and the noise took
        part->not_before_ms = (trib_clock_mono_ms() / tick + 1) * tick;
    advertise(client);
}

void trib_part_on_time(struct trib_client *client)
{
    advertise(client);
}

uint64_t trib_part_wait_ms(const struct trib_client *client, uint64_t now_ms)
{
    const struct trib_part *part = &client->part;
    if (!part->words || !part->is_open)
        return UINT64_MAX;
    return part->not_before_ms > now_ms ? part->not_before_ms - now_ms : 0;
}

bool trib_part_open(struct trib_client *client, const struct trib_record *record)
{
    struct trib_part *part = &client->part;
    struct trib_masked_answer answer;
    struct trib_msg_secagg_open open;
    if (trib_msg_secagg_open_unpack(record->payload, record->payload_size, &open))
        return false;
    if (part->masked && open.round_id == trib_part_round(client)) {
        trib_masked_again(part->masked, &answer); // the advert was lost
        send_answer(client, &answer);
        return true;
    }
    if (part->masked || (part->words && open.round_id != trib_part_round(client)))
        return true; // of another round than ours
    part->is_open = true;
    part->open = open;
    advertise(client);
    return true;
}

bool trib_part_step(struct trib_client *client, const struct trib_record *record)
{
    struct trib_part *part = &client->part;
    struct trib_msg_secagg_step step;
    if (trib_msg_secagg_step_unpack(record->payload, record->payload_size, &step))
        return false;
    trib_step_drop(&part->in);
    if (!part->masked || step.round_id != trib_part_round(client))
        return true; // of a round that is over: its chunks are skipped
    if (step.size > trib_masked_size_max(&part->task, step.kind))
        return false;
    if (trib_step_begin(&part->in, record->stream, &step))
        leave(client, TRIB_CODE_DECLINED_FAILED);
    return true;
}

static void begin_masked_upload(struct trib_client *client)
{
    struct trib_upload *up = &client->upload;
    uint8_t *packed;
    if (up->has_update) { // of an earlier round, its receipt never came; only one at a time
        trib_client_drop_upload(client);
    }
    trib_masked_upload(client->part.masked, &up->begin, &packed);
    up->packed = trib_blob_take(packed, up->begin.size);
    up->has_update = up->is_masked = up->packed != NULL;
    up->is_begun = false;
    if (!up->packed) {
        leave(client, TRIB_CODE_DECLINED_FAILED);
        return;
    }
    up->reservation = client->part.reservation;
    client->part.reservation = 0;
    up->has_claim = client->part.has_claim;
    client->part.has_claim = false;
    const uint64_t tick = client->part.task.msg.send_tick_ms;
    if (tick) // when it is sent must not tell how long the noise took
        up->not_before_ms = (trib_clock_mono_ms() / tick + 1) * tick;
    TRIB_CRASH_POINT("secagg.upload");
    trib_client_begin_upload(client);
}

// The budget is charged, and the rows are claimed, before the shares leave: with them the others
// could finish without us.
static enum trib_code charge(struct trib_client *client, const struct trib_masked_answer *answer)
{
    struct trib_part *part = &client->part;
    if (answer->kind != TRIB_SECAGG_STEP_SHARES || part->reservation)
        return TRIB_CODE_ACCEPTED;
    enum trib_code code = trib_task_reserve(&part->task, &part->reservation);
    if (code != TRIB_CODE_ACCEPTED || !part->task.has_claim)
        return code;
    part->has_claim = true;
    return trib_watermark_claim(client->dir, NULL, &part->task.claim) ? TRIB_CODE_DECLINED_FAILED
                                                                      : TRIB_CODE_ACCEPTED;
}

// Where a test may end this device's part: just before it does what the step asked for.
static void pass_crash_point(uint32_t kind)
{
    if (kind == TRIB_SECAGG_STEP_SHARES)
        TRIB_CRASH_POINT("secagg.shares");
    else if (kind == TRIB_SECAGG_STEP_CONSENT)
        TRIB_CRASH_POINT("secagg.consent");
    else if (kind == TRIB_SECAGG_STEP_UNMASK)
        TRIB_CRASH_POINT("secagg.unmask");
}

static void take_step(struct trib_client *client)
{
    struct trib_part *part = &client->part;
    struct trib_masked_answer answer;
    enum trib_code code =
        trib_masked_take(part->masked, part->in.kind, part->in.data, part->in.size, &answer);
    trib_step_drop(&part->in);
    if (code == TRIB_CODE_ACCEPTED) {
        code = charge(client, &answer);
        if (code != TRIB_CODE_ACCEPTED)
            trib_blob_unref(answer.blob);
    }
    if (code != TRIB_CODE_ACCEPTED) {
        leave(client, code);
        return;
    }
    pass_crash_point(answer.kind);
    send_answer(client, &answer);
    if (trib_masked_wants_upload(part->masked))
        begin_masked_upload(client);
}

bool trib_part_chunk(struct trib_client *client, const struct trib_record *record)
{
    struct trib_part *part = &client->part;
    bool is_whole;
    if (trib_step_chunk(&part->in, record, &is_whole))
        return false;
    if (is_whole && part->masked)
        take_step(client);
    return true;
}
