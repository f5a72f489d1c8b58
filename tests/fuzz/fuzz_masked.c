// A hostile coordinator against one member of three: the input is a play of steps. Each begins with
// a byte for its kind and one for how it is made, and then has a size (2 bytes) and that many
// bytes:
//
//     how 0   the bytes as they are        how 1   what an honest coordinator would say here, with
//                                                  the bytes xored over it, from a place they name
// Whatever is said, the device answers with its part or leaves, never says both kinds of shares,
// and its words are masked once at most.
#include <stdlib.h>
#include <string.h>

#include "client/masked.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/privacy/secagg_bytes.h"
#include "common/wire/training.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define POPULATION "edge"

enum {
    MEMBERS = 3,
    PARAMS = 17,
};

struct rig {
    struct trib_task task;
    struct trib_secagg_header header;
    struct trib_secagg_hub *hub;
    struct trib_masked *masked[MEMBERS];
    bool has_shares, is_sealed;
    bool has_uploaded[MEMBERS];
    struct trib_blob *unmasked; // the first member's shares, once they are out
};

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

static void fill_task(struct trib_task *task)
{
    char why[200];
    *task = (struct trib_task){
        .msg = {.round_id = 7, .round_number = 1, .job = 1, .test_seed = 1},
        .model = {.param_count = PARAMS},
        .word_count = PARAMS,
        .encoding = {.mode = TRIB_PRIVACY_DISTRIBUTED,
                     .grid = 0x1p-12,
                     .grid_bits = 12,
                     .s1 = 4096,
                     .s2 = 4096,
                     .sinf = 4096,
                     .word_bits = 24},
    };
    require(trib_secagg_plan_make(MEMBERS, 0.6, 0, &task->secagg, why, sizeof(why)) == TRIB_OK);
    task->encoding.shares = task->secagg.shares;
}

static void fill_header(struct rig *rig, const uint8_t *roster_seed)
{
    const struct trib_task *task = &rig->task;
    rig->header = (struct trib_secagg_header){.job = task->msg.job,
                                              .round_id = task->msg.round_id,
                                              .round_number = task->msg.round_number,
                                              .params = PARAMS,
                                              .encoding = task->encoding,
                                              .plan = task->secagg};
    trib_training_digest(&task->msg, rig->header.training);
    trib_sign_public(roster_seed, rig->header.roster_key);
}

static void join(struct rig *rig, uint32_t member, const uint8_t *roster_seed)
{
    uint8_t sign_seed[TRIB_SIGN_SEED_SIZE];
    struct trib_secagg_entry entry = {.name = {'d', (char)('0' + member)}};
    struct trib_masked_answer answer;
    int32_t *words = calloc(PARAMS, sizeof(*words));
    require(words != NULL);
    memset(sign_seed, 'a' + (int)member, sizeof(sign_seed));
    trib_sign_public(sign_seed, entry.sign_key);
    trib_roster_sign(roster_seed, POPULATION, entry.name, entry.sign_key, entry.roster_signature);
    const struct trib_masked_options options = {.task = &rig->task,
                                                .roster_key = rig->header.roster_key,
                                                .sign_seed = sign_seed,
                                                .population = POPULATION,
                                                .name = entry.name,
                                                .invited = rig->header.invited,
                                                .roster_open = rig->header.roster_key,
                                                .cohort_min = 2};
    require(trib_masked_create(&options, words, &rig->masked[member], &answer) ==
            TRIB_CODE_ACCEPTED);
    require(trib_secagg_advert_unpack(answer.blob->data, answer.blob->size, &entry.advert) ==
            TRIB_OK);
    trib_blob_unref(answer.blob);
    require(trib_secagg_hub_advert(rig->hub, member, &entry) == TRIB_OK);
}

static void rig_init(struct rig *rig)
{
    uint8_t roster_seed[TRIB_SIGN_SEED_SIZE];
    memset(roster_seed, 'R', sizeof(roster_seed));
    memset(rig, 0, sizeof(*rig));
    fill_task(&rig->task);
    fill_header(rig, roster_seed);
    require(trib_secagg_hub_create(&rig->header, POPULATION, &rig->hub) == TRIB_OK);
    for (uint32_t i = 0; i < MEMBERS; i++)
        join(rig, i, roster_seed);
    require(trib_secagg_hub_close_keys(rig->hub) == TRIB_OK);
}

static void rig_fini(struct rig *rig)
{
    for (uint32_t i = 0; i < MEMBERS; i++)
        trib_masked_destroy(rig->masked[i]);
    trib_blob_unref(rig->unmasked);
    trib_secagg_hub_destroy(rig->hub);
}

// ---- What an honest coordinator says

static void say_keys(const struct rig *rig, struct trib_buf *buf)
{
    for (uint32_t i = 0; i < MEMBERS; i++)
        trib_secagg_entry_pack(trib_secagg_hub_entry(rig->hub, i), buf);
}

static void say_sealed(const struct rig *rig, uint32_t member, struct trib_buf *buf)
{
    trib_buf_append(buf, trib_secagg_hub_shared_set(rig->hub), trib_secagg_set_size(MEMBERS));
    (void)trib_secagg_hub_sealed_for(rig->hub, member, buf);
}

static void say_consents(const struct rig *rig, struct trib_buf *buf)
{
    trib_buf_append(buf, trib_secagg_hub_signer_set(rig->hub), trib_secagg_set_size(MEMBERS));
    trib_secagg_hub_signatures(rig->hub, buf);
}

static void honest(const struct rig *rig, uint32_t kind, uint32_t member, struct trib_buf *buf)
{
    if (kind == TRIB_SECAGG_STEP_KEYS)
        say_keys(rig, buf);
    else if (kind == TRIB_SECAGG_STEP_SEALED && rig->has_shares)
        say_sealed(rig, member, buf);
    else if (kind == TRIB_SECAGG_STEP_SURVIVORS && rig->is_sealed)
        trib_buf_append(buf, trib_secagg_hub_survivor_set(rig->hub), trib_secagg_set_size(MEMBERS));
    else if (kind == TRIB_SECAGG_STEP_CONSENTS && rig->is_sealed)
        say_consents(rig, buf);
}

// ---- What comes of it

static void take_upload(struct rig *rig, uint32_t member)
{
    struct trib_msg_upload_begin begin;
    uint8_t *packed;
    if (!trib_masked_wants_upload(rig->masked[member]))
        return;
    require(trib_masked_upload(rig->masked[member], &begin, &packed) == TRIB_CODE_ACCEPTED);
    free(packed);
    require(!rig->has_uploaded[member]); // words are masked once
    rig->has_uploaded[member] = true;
    if (rig->has_shares && !rig->is_sealed)
        (void)!trib_secagg_hub_masked(rig->hub, member);
}

// What a member answered, as the hub takes it.
static void take_answer(struct rig *rig, uint32_t member, const struct trib_masked_answer *answer)
{
    if (answer->kind == TRIB_SECAGG_STEP_SHARES && !rig->has_shares)
        (void)!trib_secagg_hub_shares(rig->hub, member, answer->blob->data, answer->blob->size);
    else if (answer->kind == TRIB_SECAGG_STEP_CONSENT && rig->is_sealed)
        (void)!trib_secagg_hub_consent(rig->hub, member, answer->blob->data);
    else if (answer->kind == TRIB_SECAGG_STEP_UNMASK)
        require(answer->blob->size == MEMBERS * TRIB_SECAGG_SHARE_SIZE ||
                answer->blob->size == (MEMBERS - 1) * TRIB_SECAGG_SHARE_SIZE);
    if (answer->kind == TRIB_SECAGG_STEP_UNMASK && member == 0) { // only ever the same bytes
        require(!rig->unmasked ||
                (rig->unmasked->size == answer->blob->size &&
                 memcmp(rig->unmasked->data, answer->blob->data, answer->blob->size) == 0));
        if (!rig->unmasked)
            rig->unmasked = trib_blob_ref(answer->blob);
    }
}

static void tell(struct rig *rig, uint32_t member, uint32_t kind, const uint8_t *data, size_t size)
{
    struct trib_masked_answer answer;
    if (!rig->masked[member] || size == 0 || size > trib_masked_size_max(&rig->task, kind))
        return; // client_secagg.c lets no such step in
    // On the heap and of exactly its size, so that reading past it is seen.
    uint8_t *copy = malloc(size);
    require(copy != NULL);
    memcpy(copy, data, size);
    enum trib_code code = trib_masked_take(rig->masked[member], kind, copy, size, &answer);
    free(copy);
    if (code == TRIB_CODE_ACCEPTED) {
        take_answer(rig, member, &answer);
        trib_blob_unref(answer.blob);
        take_upload(rig, member);
    } else {
        require(answer.blob == NULL);
        trib_masked_destroy(rig->masked[member]); // it leaves for good
        rig->masked[member] = NULL;
    }
}

// The others hear what an honest coordinator says, and the phase ends.
static void others(struct rig *rig, uint32_t kind)
{
    for (uint32_t i = 1; i < MEMBERS; i++) {
        struct trib_buf buf = {.data = NULL};
        honest(rig, kind, i, &buf);
        if (buf.size > 0)
            tell(rig, i, kind, buf.data, buf.size);
        trib_buf_fini(&buf);
    }
    if (kind == TRIB_SECAGG_STEP_KEYS && !rig->has_shares)
        rig->has_shares = trib_secagg_hub_close_shares(rig->hub) == TRIB_OK;
    else if (kind == TRIB_SECAGG_STEP_SEALED && rig->has_shares && !rig->is_sealed)
        rig->is_sealed = trib_secagg_hub_close_masked(rig->hub) == TRIB_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rig rig;
    trib_crypto_init();
    trib_log_set_level(TRIB_LOG_ERROR);
    rig_init(&rig);
    for (int steps = 0; size >= 4 && steps < 24; steps++) {
        const uint32_t kind = data[0];
        const bool is_honest = data[1] & 1;
        size_t part = (size_t)data[2] << 8 | data[3];
        struct trib_buf buf = {.data = NULL};
        data += 4;
        size -= 4;
        part = part < size ? part : size;
        if (is_honest)
            honest(&rig, kind, 0, &buf);
        else
            trib_buf_append(&buf, data, part);
        for (size_t i = 1; is_honest && buf.size > 0 && i < part; i++)
            buf.data[(data[0] * 4u + i) % buf.size] ^= data[i];
        tell(&rig, 0, kind, buf.data, buf.size);
        trib_buf_fini(&buf);
        others(&rig, kind);
        data += part;
        size -= part;
    }
    rig_fini(&rig);
    return 0;
}
