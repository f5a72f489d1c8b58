#include "client/masked.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/privacy/noise_round.h"
#include "common/privacy/secagg_bytes.h"
#include "common/wire/codec.h"
#include "common/wire/training.h"

#define TRIB_LOG_MODULE "secagg"

struct trib_masked {
    struct trib_task task;
    struct trib_secagg_header header;
    struct trib_secagg_member *member;
    int32_t *words;  // owned, (params); NULL once they are masked and packed
    uint8_t *packed; // owned: masked, until the upload takes it
    uint32_t asked;  // the coordinator's step that was answered last
    uint32_t kind;   // of our answer
    struct trib_blob *answer;
};

static void words_drop(struct trib_masked *masked)
{
    if (masked->words)
        trib_wipe(masked->words, masked->task.word_count * sizeof(*masked->words));
    free(masked->words);
    masked->words = NULL;
}

void trib_masked_destroy(struct trib_masked *masked)
{
    if (!masked)
        return;
    words_drop(masked);
    free(masked->packed);
    trib_secagg_member_destroy(masked->member);
    trib_blob_unref(masked->answer);
    free(masked);
}

uint64_t trib_masked_round(const struct trib_masked *masked)
{
    return masked->task.msg.round_id;
}

// What the coordinator is told, and the log says.
static enum trib_code code_of(const struct trib_masked *masked, enum trib_err err)
{
    if (err == TRIB_ERR_NOMEM)
        return TRIB_CODE_DECLINED_FAILED;
    switch (trib_secagg_member_reason(masked->member)) {
    case TRIB_SECAGG_REASON_COHORT: return TRIB_CODE_DECLINED_COHORT;
    case TRIB_SECAGG_REASON_ROSTER: return TRIB_CODE_DECLINED_ROSTER;
    case TRIB_SECAGG_REASON_SIGNATURE: return TRIB_CODE_DECLINED_SIGNATURE;
    case TRIB_SECAGG_REASON_SHARE: return TRIB_CODE_DECLINED_SHARE;
    case TRIB_SECAGG_REASON_VIEW: return TRIB_CODE_DECLINED_VIEW;
    case TRIB_SECAGG_REASON_MEMORY: return TRIB_CODE_DECLINED_FAILED;
    case TRIB_SECAGG_REASON_NONE:
    case TRIB_SECAGG_REASON_ORDER:
    case TRIB_SECAGG_REASON_PLAN: break;
    }
    return TRIB_CODE_DECLINED_PLAN;
}

static enum trib_code leave(struct trib_masked *masked, enum trib_err err)
{
    enum trib_code code = code_of(masked, err);
    TRIB_WARN("id=secagg-left round=%" PRIu64 " this device leaves the round: %s",
              masked->task.msg.round_number,
              trib_secagg_reason_text(trib_secagg_member_reason(masked->member)));
    words_drop(masked);
    free(masked->packed);
    masked->packed = NULL;
    return code;
}

// The answer is kept for as long as it may be wanted again. Takes `data`.
static enum trib_code answer(struct trib_masked *masked, uint32_t asked, uint32_t kind,
                             uint8_t *data, size_t size, struct trib_masked_answer *ret_answer)
{
    struct trib_blob *blob = trib_blob_take(data, size);
    if (!blob)
        return TRIB_CODE_DECLINED_FAILED;
    trib_blob_unref(masked->answer);
    masked->answer = blob;
    masked->asked = asked;
    masked->kind = kind;
    trib_masked_again(masked, ret_answer);
    return TRIB_CODE_ACCEPTED;
}

void trib_masked_again(const struct trib_masked *masked, struct trib_masked_answer *ret_answer)
{
    *ret_answer = (struct trib_masked_answer){.kind = masked->answer ? masked->kind : 0};
    if (masked->answer)
        ret_answer->blob = trib_blob_ref(masked->answer);
}

// ---- Keys

static void fill_header(const struct trib_masked_options *options,
                        struct trib_secagg_header *header)
{
    const struct trib_task *task = options->task;
    *header = (struct trib_secagg_header){
        .job = task->msg.job,
        .round_id = task->msg.round_id,
        .round_number = task->msg.round_number,
        .params = task->word_count,
        .encoding = task->encoding,
        .plan = task->secagg,
    };
    memcpy(header->base_digest, task->msg.base_digest, TRIB_DIGEST_SIZE);
    trib_training_digest(&task->msg, header->training);
    memcpy(header->roster_key, options->roster_key, TRIB_SIGN_KEY_SIZE);
    memcpy(header->invited, options->invited, TRIB_DIGEST_SIZE);
}

static enum trib_err create_member(struct trib_masked *masked,
                                   const struct trib_masked_options *options)
{
    uint8_t seed[TRIB_SECAGG_SEED_SIZE];
    const struct trib_msg_task *msg = &options->task->msg;
    bool is_seeded =
        trib_noise_test_seed(msg->test_seed, "secagg", msg->round_number, options->name, seed);
    const struct trib_secagg_member_options member = {
        .header = &masked->header,
        .population = options->population,
        .name = options->name,
        .sign_seed = options->sign_seed,
        .cohort_min = options->cohort_min,
        .vouched = options->vouched,
        .test_seed = is_seeded ? seed : NULL,
    };
    enum trib_err err = trib_secagg_member_create(&member, &masked->member);
    trib_wipe(seed, sizeof(seed));
    return err;
}

static enum trib_code advertise(struct trib_masked *masked, struct trib_masked_answer *ret_answer)
{
    struct trib_secagg_advert advert;
    struct trib_buf buf = {0};
    enum trib_err err = trib_secagg_member_advert(masked->member, &advert);
    if (err)
        return leave(masked, err);
    trib_secagg_advert_pack(&advert, &buf);
    if (buf.failed) {
        trib_buf_fini(&buf);
        return TRIB_CODE_DECLINED_FAILED;
    }
    return answer(masked, 0, TRIB_SECAGG_STEP_ADVERT, buf.data, buf.size, ret_answer);
}

// The pinned key is part of what every member signs, so that with another one we could only be
// refused; better to say why. What OPEN says is believed no further than that.
static bool roster_is_ours(const struct trib_masked_options *options)
{
    const uint64_t round = options->task->msg.round_number;
    if (!options->roster_key) {
        TRIB_WARN("id=secagg-left round=%" PRIu64
                  " this device pins no roster key: client.policy.roster_pk is wanted",
                  round);
        return false;
    }
    if (memcmp(options->roster_key, options->roster_open, TRIB_SIGN_KEY_SIZE) != 0) {
        TRIB_WARN("id=secagg-left round=%" PRIu64
                  " another key vouches for the members than this device pins",
                  round);
        return false;
    }
    return true;
}

enum trib_code trib_masked_create(const struct trib_masked_options *options, int32_t *words,
                                  struct trib_masked **ret_masked,
                                  struct trib_masked_answer *ret_answer)
{
    enum trib_code code = TRIB_CODE_DECLINED_FAILED;
    struct trib_masked *masked = trib_alloc(sizeof(*masked));
    if (!masked) {
        trib_wipe(words, options->task->word_count * sizeof(*words));
        free(words);
        return code;
    }
    masked->task = *options->task;
    masked->words = words;
    if (!roster_is_ours(options)) {
        code = TRIB_CODE_DECLINED_ROSTER;
        goto failed;
    }
    fill_header(options, &masked->header);
    enum trib_err err = create_member(masked, options);
    if (err) {
        code = err == TRIB_ERR_PRIVACY ? TRIB_CODE_DECLINED_COHORT : TRIB_CODE_DECLINED_FAILED;
        goto failed;
    }
    code = advertise(masked, ret_answer);
    if (code != TRIB_CODE_ACCEPTED)
        goto failed;
    *ret_masked = masked;
    return TRIB_CODE_ACCEPTED;

failed:
    trib_masked_destroy(masked);
    return code;
}

// ---- Steps

size_t trib_masked_size_max(const struct trib_task *task, uint32_t kind)
{
    const size_t members = task->secagg.members;
    const size_t set = trib_secagg_set_size((uint32_t)members);
    switch (kind) {
    case TRIB_SECAGG_STEP_KEYS: return members * TRIB_SECAGG_ENTRY_SIZE;
    case TRIB_SECAGG_STEP_SEALED: return set + trib_secagg_sealed_max(&task->secagg);
    case TRIB_SECAGG_STEP_SURVIVORS: return set;
    case TRIB_SECAGG_STEP_CONSENTS: return set + members * TRIB_SIGNATURE_SIZE;
    default: return 0;
    }
}

static enum trib_code take_keys(struct trib_masked *masked, const uint8_t *data, size_t size,
                                struct trib_masked_answer *ret_answer)
{
    const uint32_t count = (uint32_t)(size / TRIB_SECAGG_ENTRY_SIZE);
    struct trib_secagg_entry *entries = trib_alloc_array(count, sizeof(*entries));
    uint8_t *sealed = trib_alloc(trib_secagg_sealed_max(&masked->task.secagg));
    enum trib_code code = TRIB_CODE_DECLINED_FAILED;
    if (!entries || !sealed)
        goto out;
    code = TRIB_CODE_DECLINED_ROSTER;
    if (size % TRIB_SECAGG_ENTRY_SIZE != 0)
        goto out;
    for (uint32_t i = 0; i < count; i++) {
        if (trib_secagg_entry_unpack(data + (size_t)i * TRIB_SECAGG_ENTRY_SIZE,
                                     TRIB_SECAGG_ENTRY_SIZE, &entries[i]))
            goto out;
    }
    enum trib_err err = trib_secagg_member_keys(masked->member, entries, count, sealed);
    if (err) {
        code = leave(masked, err);
        goto out;
    }
    size_t sealed_size =
        (size_t)trib_secagg_member_neighbours(masked->member) * TRIB_SECAGG_SEALED_SIZE;
    code = answer(masked, TRIB_SECAGG_STEP_KEYS, TRIB_SECAGG_STEP_SHARES, sealed, sealed_size,
                  ret_answer);
    sealed = NULL;

out:
    free(entries);
    free(sealed);
    return code;
}

// A set in front of rows of one size: how many rows, or false when the bytes do not add up.
static bool split(const struct trib_masked *masked, size_t size, size_t row, size_t *ret_set,
                  uint32_t *ret_count)
{
    *ret_set = trib_secagg_set_size(trib_secagg_member_count(masked->member));
    if (size < *ret_set || (size - *ret_set) % row != 0)
        return false;
    *ret_count = (uint32_t)((size - *ret_set) / row);
    return true;
}

static enum trib_code take_sealed(struct trib_masked *masked, const uint8_t *data, size_t size)
{
    const size_t params = masked->task.word_count;
    const uint32_t bits = masked->task.encoding.word_bits;
    size_t set;
    uint32_t count;
    if (!masked->words || !split(masked, size, TRIB_SECAGG_SEALED_SIZE, &set, &count))
        return TRIB_CODE_DECLINED_SHARE;
    enum trib_err err = trib_secagg_member_sealed(masked->member, data, set, data + set, count);
    if (!err)
        err = trib_secagg_member_mask(masked->member, masked->words, params);
    if (err)
        return leave(masked, err);
    masked->packed = trib_alloc_unset(trib_codec_size(params, bits), 1);
    if (!masked->packed)
        return leave(masked, TRIB_ERR_NOMEM);
    trib_codec_pack(masked->words, params, bits, masked->packed);
    words_drop(masked);
    masked->asked = TRIB_SECAGG_STEP_SEALED;
    trib_blob_unref(masked->answer); // the upload is the answer
    masked->answer = NULL;
    return TRIB_CODE_ACCEPTED;
}

static enum trib_code take_survivors(struct trib_masked *masked, const uint8_t *data, size_t size,
                                     struct trib_masked_answer *ret_answer)
{
    uint8_t *signature = trib_alloc(TRIB_SIGNATURE_SIZE);
    if (!signature)
        return TRIB_CODE_DECLINED_FAILED;
    enum trib_err err = trib_secagg_member_survivors(masked->member, data, size, signature);
    if (err) {
        free(signature);
        return leave(masked, err);
    }
    return answer(masked, TRIB_SECAGG_STEP_SURVIVORS, TRIB_SECAGG_STEP_CONSENT, signature,
                  TRIB_SIGNATURE_SIZE, ret_answer);
}

static enum trib_code take_consents(struct trib_masked *masked, const uint8_t *data, size_t size,
                                    struct trib_masked_answer *ret_answer)
{
    size_t set, shares_size;
    uint32_t count;
    if (!split(masked, size, TRIB_SIGNATURE_SIZE, &set, &count))
        return TRIB_CODE_DECLINED_SIGNATURE;
    uint8_t *shares = trib_alloc(trib_secagg_unmask_max(&masked->task.secagg));
    if (!shares)
        return TRIB_CODE_DECLINED_FAILED;
    enum trib_err err = trib_secagg_member_unmask(masked->member, data, set, data + set, count,
                                                  shares, &shares_size);
    if (err) {
        free(shares);
        return leave(masked, err);
    }
    return answer(masked, TRIB_SECAGG_STEP_CONSENTS, TRIB_SECAGG_STEP_UNMASK, shares, shares_size,
                  ret_answer);
}

enum trib_code trib_masked_take(struct trib_masked *masked, uint32_t kind, const uint8_t *data,
                                size_t size, struct trib_masked_answer *ret_answer)
{
    *ret_answer = (struct trib_masked_answer){.kind = 0};
    // Survivors are judged each time: asked with another set, the device leaves. For the others
    // what was said once is said again, whatever it is asked with.
    if (kind == masked->asked && kind != TRIB_SECAGG_STEP_SURVIVORS) {
        trib_masked_again(masked, ret_answer);
        return TRIB_CODE_ACCEPTED;
    }
    switch (kind) {
    case TRIB_SECAGG_STEP_KEYS: return take_keys(masked, data, size, ret_answer);
    case TRIB_SECAGG_STEP_SEALED: return take_sealed(masked, data, size);
    case TRIB_SECAGG_STEP_SURVIVORS: return take_survivors(masked, data, size, ret_answer);
    case TRIB_SECAGG_STEP_CONSENTS: return take_consents(masked, data, size, ret_answer);
    default: return TRIB_CODE_DECLINED_PLAN;
    }
}

bool trib_masked_wants_upload(const struct trib_masked *masked)
{
    return masked->packed != NULL;
}

enum trib_code trib_masked_upload(struct trib_masked *masked,
                                  struct trib_msg_upload_begin *ret_begin, uint8_t **ret_packed)
{
    assert(masked->packed);
    size_t size = trib_codec_size(masked->task.word_count, masked->task.encoding.word_bits);
    trib_task_begin(&masked->task, 0, size, trib_crc32c(0, masked->packed, size), ret_begin);
    *ret_packed = masked->packed;
    masked->packed = NULL;
    return TRIB_CODE_ACCEPTED;
}
