#include "common/privacy/secagg_member.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"

enum {
    NONCE_SIZE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    SEALED_SIZE = TRIB_SECAGG_SEALED_SIZE,
};

// The number of whom `slot` is about.
static uint32_t peer_at(const struct trib_secagg_member *member, uint32_t slot)
{
    if (slot == member->own_slot)
        return member->index;
    return member->row[slot - (slot > member->own_slot)];
}

// ---- Secrets: where they come from and where they end

void trib_secagg_member_draw(struct trib_secagg_member *member, uint8_t *ret_bytes, size_t size)
{
    struct trib_hash hash;
    uint8_t number[8];

    if (!member->is_predictable) {
        trib_random_bytes(ret_bytes, size);
        return;
    }
    trib_store_le64(number, member->draws++);
    trib_hash_init(&hash, member->secrets.test_seed, TRIB_SECAGG_SEED_SIZE, size);
    trib_hash_update(&hash, number, sizeof(number));
    trib_hash_final(&hash, ret_bytes, size);
}

void trib_secagg_member_draw_scalar(struct trib_secagg_member *member, uint8_t *ret_scalar)
{
    uint8_t bytes[TRIB_SHAMIR_UNIFORM_SIZE];
    trib_secagg_member_draw(member, bytes, sizeof(bytes));
    trib_shamir_scalar(bytes, ret_scalar);
    trib_wipe(bytes, sizeof(bytes));
}

static void wipe_masks(struct trib_secagg_member *member)
{
    if (member->masks)
        trib_wipe(member->masks, (member->degree + 1) * sizeof(*member->masks));
}

static void wipe_share_keys(struct trib_secagg_member *member)
{
    if (member->share_keys)
        trib_wipe(member->share_keys, (member->degree + 1) * sizeof(*member->share_keys));
}

static void wipe_all(struct trib_secagg_member *member)
{
    trib_wipe(&member->secrets, sizeof(member->secrets));
    wipe_masks(member);
    wipe_share_keys(member);
    if (member->held)
        trib_wipe(member->held, (member->degree + 1) * sizeof(*member->held));
}

enum trib_err trib_secagg_member_give_up(struct trib_secagg_member *member,
                                         enum trib_secagg_reason reason)
{
    wipe_all(member);
    if (member->reply)
        trib_wipe(member->reply, member->reply_size);
    if (member->state != TRIB_SECAGG_ABORTED)
        member->reason = reason;
    member->state = TRIB_SECAGG_ABORTED;
    return reason == TRIB_SECAGG_REASON_MEMORY ? TRIB_ERR_NOMEM : TRIB_ERR_PRIVACY;
}

// ---- NEW

static void make_keys(struct trib_secagg_member *member)
{
    struct trib_secagg_secrets *secrets = &member->secrets;
    struct trib_secagg_advert *advert = &member->advert;
    uint8_t seed[crypto_box_SEEDBYTES];

    trib_secagg_member_draw_scalar(member, secrets->a);
    trib_secagg_member_draw_scalar(member, secrets->b);
    trib_secagg_member_draw(member, seed, sizeof(seed));
    trib_secagg_mask_pair(secrets->a, secrets->mask_secret, advert->mask_key);
    (void)crypto_box_seed_keypair(advert->share_key, secrets->share_secret, seed);
    trib_secagg_commitment(secrets->b, advert->commitment);
    trib_secagg_advert_sign(secrets->sign_seed, member->round_hash, member->name, advert);
    trib_wipe(seed, sizeof(seed));
}

enum trib_err trib_secagg_member_create(const struct trib_secagg_member_options *options,
                                        struct trib_secagg_member **ret_member)
{
    const struct trib_secagg_header *header = options->header;
    size_t population_size = strlen(options->population);
    size_t name_size = strlen(options->name);

    if (population_size > TRIB_NAME_MAX || name_size == 0 || name_size > TRIB_NAME_MAX)
        return TRIB_ERR_INVAL;
    enum trib_err err = trib_secagg_header_check(header);
    if (err)
        return err;
    if (header->plan.members < options->cohort_min)
        return TRIB_ERR_PRIVACY;
    struct trib_secagg_member *member = trib_alloc(sizeof(*member));
    if (!member)
        return TRIB_ERR_NOMEM;
    member->header = *header;
    member->cohort_min = options->cohort_min;
    member->vouched = options->vouched;
    memcpy(member->population, options->population, population_size);
    memcpy(member->name, options->name, name_size);
    memcpy(member->secrets.sign_seed, options->sign_seed, TRIB_SIGN_SEED_SIZE);
    trib_sign_public(options->sign_seed, member->sign_key);
    if (options->test_seed) {
        member->is_predictable = true;
        memcpy(member->secrets.test_seed, options->test_seed, TRIB_SECAGG_SEED_SIZE);
    }
    trib_secagg_round_hash(header, member->round_hash);
    make_keys(member);
    *ret_member = member;
    return TRIB_OK;
}

void trib_secagg_member_destroy(struct trib_secagg_member *member)
{
    if (!member)
        return;
    wipe_all(member);
    free(member->row);
    free(member->sign_keys);
    free(member->shared_set);
    free(member->survivor_set);
    free(member->masks);
    free(member->share_keys);
    free(member->held);
    free(member->reply);
    free(member);
}

enum trib_secagg_state trib_secagg_member_state(const struct trib_secagg_member *member)
{
    return member->state;
}

enum trib_secagg_reason trib_secagg_member_reason(const struct trib_secagg_member *member)
{
    return member->reason;
}

uint32_t trib_secagg_member_index(const struct trib_secagg_member *member)
{
    return member->index;
}

uint32_t trib_secagg_member_neighbours(const struct trib_secagg_member *member)
{
    return member->degree;
}

uint32_t trib_secagg_member_count(const struct trib_secagg_member *member)
{
    return member->count;
}

enum trib_err trib_secagg_member_advert(struct trib_secagg_member *member,
                                        struct trib_secagg_advert *ret_advert)
{
    if (member->state != TRIB_SECAGG_NEW && member->state != TRIB_SECAGG_ADVERTISED)
        return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_ORDER);
    member->state = TRIB_SECAGG_ADVERTISED;
    *ret_advert = member->advert;
    return TRIB_OK;
}

// ---- SHARED: the neighbours' shares, and the masks

// What a sealed share is about: U1 (and with it the round), from whom, for whom.
void trib_secagg_member_about(const struct trib_secagg_member *member, uint32_t from, uint32_t to,
                              uint8_t ret_about[static TRIB_SECAGG_ABOUT_SIZE])
{
    memcpy(ret_about, member->cohort_hash, TRIB_DIGEST_SIZE);
    trib_store_le32(ret_about + TRIB_DIGEST_SIZE, from);
    trib_store_le32(ret_about + TRIB_DIGEST_SIZE + 4, to);
}

static bool open_sealed(const struct trib_secagg_member *member, uint32_t slot, uint32_t peer,
                        const uint8_t *sealed, struct trib_secagg_held *ret_shares)
{
    uint8_t ad[TRIB_SECAGG_ABOUT_SIZE];
    trib_secagg_member_about(member, peer, member->index, ad);
    return crypto_aead_xchacha20poly1305_ietf_decrypt(
               (uint8_t *)ret_shares, NULL, NULL, sealed + NONCE_SIZE, SEALED_SIZE - NONCE_SIZE, ad,
               sizeof(ad), sealed, member->share_keys[slot]) == 0;
}

// A set that we are in, of at least T members, with enough of our neighbours for our own secrets.
static enum trib_secagg_reason check_set(const struct trib_secagg_member *member,
                                         const uint8_t *set, size_t set_size)
{
    const struct trib_secagg_plan *plan = &member->header.plan;
    uint32_t holders = 1;

    if (!trib_secagg_set_is_valid(set, set_size, member->count) ||
        !trib_secagg_has(set, member->index))
        return TRIB_SECAGG_REASON_VIEW;
    if (trib_secagg_set_count(set, member->count) < plan->threshold)
        return TRIB_SECAGG_REASON_COHORT;
    for (uint32_t i = 0; i < member->degree; i++)
        holders += trib_secagg_has(set, member->row[i]);
    if (holders < trib_secagg_share_threshold(plan))
        return TRIB_SECAGG_REASON_COHORT;
    return TRIB_SECAGG_REASON_NONE;
}

enum trib_err trib_secagg_member_sealed(struct trib_secagg_member *member,
                                        const uint8_t *shared_set, size_t set_size,
                                        const uint8_t *sealed, uint32_t count)
{
    uint32_t taken = 0;

    if (member->state != TRIB_SECAGG_SHARED || member->has_shares)
        return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_ORDER);
    enum trib_secagg_reason reason = check_set(member, shared_set, set_size);
    if (reason != TRIB_SECAGG_REASON_NONE)
        return trib_secagg_member_give_up(member, reason);
    for (uint32_t i = 0; i < member->degree; i++) {
        uint32_t peer = member->row[i];
        uint32_t slot = trib_secagg_member_slot(member, i);
        if (!trib_secagg_has(shared_set, peer))
            continue;
        if (taken == count || !open_sealed(member, slot, peer, sealed + (size_t)taken * SEALED_SIZE,
                                           &member->held[slot]))
            return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_SHARE);
        taken++;
    }
    if (taken != count)
        return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_SHARE);
    wipe_share_keys(member);
    memcpy(member->shared_set, shared_set, set_size);
    member->has_shares = true;
    return TRIB_OK;
}

enum trib_err trib_secagg_member_mask(struct trib_secagg_member *member, int32_t *words,
                                      size_t count)
{
    assert(count == member->header.params);
    unsigned word_bits = member->header.encoding.word_bits;
    uint32_t mask_count = 0;

    if (member->state != TRIB_SECAGG_SHARED || !member->has_shares)
        return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_ORDER);
    for (uint32_t slot = 0; slot <= member->degree; slot++) { // only U2 masks
        uint32_t peer = peer_at(member, slot);
        if (trib_secagg_has(member->shared_set, peer))
            member->masks[mask_count++] = member->masks[slot];
    }
    trib_mask_apply(member->masks, mask_count, 0, count, (uint32_t *)words);
    for (size_t i = 0; i < count; i++)
        words[i] = trib_mask_lift((uint32_t)words[i], word_bits);
    wipe_masks(member);
    member->state = TRIB_SECAGG_MASKED;
    return TRIB_OK;
}

// ---- MASKED: who survived

enum trib_err trib_secagg_member_survivors(struct trib_secagg_member *member,
                                           const uint8_t *survivor_set, size_t set_size,
                                           uint8_t ret_signature[static TRIB_SIGNATURE_SIZE])
{
    switch (member->state) {
    case TRIB_SECAGG_SIGNED:
    case TRIB_SECAGG_DONE: // asked before: only the same answer
        if (set_size != trib_secagg_set_size(member->count) ||
            memcmp(survivor_set, member->survivor_set, set_size) != 0)
            return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_VIEW);
        memcpy(ret_signature, member->consent, sizeof(member->consent));
        return TRIB_OK;
    case TRIB_SECAGG_MASKED: break;
    case TRIB_SECAGG_NEW:
    case TRIB_SECAGG_ADVERTISED:
    case TRIB_SECAGG_SHARED:
    case TRIB_SECAGG_ABORTED: return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_ORDER);
    }
    enum trib_secagg_reason reason = check_set(member, survivor_set, set_size);
    if (reason != TRIB_SECAGG_REASON_NONE)
        return trib_secagg_member_give_up(member, reason);
    if (!trib_secagg_set_is_within(survivor_set, member->shared_set, member->count))
        return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_VIEW);
    memcpy(member->survivor_set, survivor_set, set_size);
    trib_secagg_seal_digest(member->round_hash, member->cohort_hash, survivor_set, member->count,
                            member->seal_digest);
    trib_sign(member->secrets.sign_seed, TRIB_SECAGG_CONSENT_CONTEXT, member->seal_digest,
              sizeof(member->seal_digest), member->consent);
    trib_wipe(member->secrets.sign_seed, sizeof(member->secrets.sign_seed));
    member->state = TRIB_SECAGG_SIGNED;
    memcpy(ret_signature, member->consent, sizeof(member->consent));
    return TRIB_OK;
}

// ---- SIGNED: the shares, once

static enum trib_secagg_reason check_consents(const struct trib_secagg_member *member,
                                              const uint8_t *signer_set, size_t set_size,
                                              const uint8_t *signatures, uint32_t count)
{
    if (!trib_secagg_set_is_valid(signer_set, set_size, member->count) ||
        !trib_secagg_set_is_within(signer_set, member->survivor_set, member->count))
        return TRIB_SECAGG_REASON_VIEW;
    if (trib_secagg_set_count(signer_set, member->count) != count)
        return TRIB_SECAGG_REASON_SIGNATURE;
    if (count < member->header.plan.threshold)
        return TRIB_SECAGG_REASON_COHORT;
    for (uint32_t i = 0; i < member->count; i++) {
        if (!trib_secagg_has(signer_set, i))
            continue;
        if (!trib_sign_verify(member->sign_keys + (size_t)i * TRIB_SIGN_KEY_SIZE,
                              TRIB_SECAGG_CONSENT_CONTEXT, member->seal_digest,
                              sizeof(member->seal_digest), signatures))
            return TRIB_SECAGG_REASON_SIGNATURE;
        signatures += TRIB_SIGNATURE_SIZE;
    }
    return TRIB_SECAGG_REASON_NONE;
}

// Per peer one kind of share: this is the only place that reads them, and it runs once.
static enum trib_err make_reply(struct trib_secagg_member *member)
{
    uint8_t *reply = trib_alloc_array(member->degree + 1, TRIB_SECAGG_SHARE_SIZE);
    if (!reply)
        return TRIB_ERR_NOMEM;
    member->reply = reply;
    for (uint32_t slot = 0; slot <= member->degree; slot++) {
        uint32_t peer = peer_at(member, slot);
        const struct trib_secagg_held *held = &member->held[slot];
        if (!trib_secagg_has(member->shared_set, peer))
            continue;
        memcpy(reply + member->reply_size,
               trib_secagg_has(member->survivor_set, peer) ? held->b : held->a,
               TRIB_SECAGG_SHARE_SIZE);
        member->reply_size += TRIB_SECAGG_SHARE_SIZE;
    }
    return TRIB_OK;
}

enum trib_err trib_secagg_member_unmask(struct trib_secagg_member *member,
                                        const uint8_t *signer_set, size_t set_size,
                                        const uint8_t *signatures, uint32_t count,
                                        uint8_t *ret_shares, size_t *ret_size)
{
    if (member->state != TRIB_SECAGG_SIGNED && member->state != TRIB_SECAGG_DONE)
        return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_ORDER);
    // In DONE too: the answer is the same whoever signed, but nobody gets it for nothing.
    enum trib_secagg_reason reason =
        check_consents(member, signer_set, set_size, signatures, count);
    if (reason != TRIB_SECAGG_REASON_NONE)
        return trib_secagg_member_give_up(member, reason);
    if (member->state == TRIB_SECAGG_SIGNED) {
        if (make_reply(member))
            return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_MEMORY);
        wipe_all(member);
        member->state = TRIB_SECAGG_DONE;
    }
    memcpy(ret_shares, member->reply, member->reply_size);
    *ret_size = member->reply_size;
    return TRIB_OK;
}
