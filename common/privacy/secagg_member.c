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
    ABOUT_SIZE = TRIB_DIGEST_SIZE + 8,
};
_Static_assert(NONCE_SIZE + sizeof(struct trib_secagg_held) +
                       crypto_aead_xchacha20poly1305_ietf_ABYTES ==
                   SEALED_SIZE,
               "nonce, two shares, tag");

// ---- Secrets: where they come from and where they end

static void draw(struct trib_secagg_member *member, uint8_t *ret_bytes, size_t size)
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

static void draw_scalar(struct trib_secagg_member *member, uint8_t *ret_scalar)
{
    uint8_t bytes[TRIB_SHAMIR_UNIFORM_SIZE];
    draw(member, bytes, sizeof(bytes));
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

static enum trib_err give_up(struct trib_secagg_member *member, enum trib_secagg_reason reason)
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

    draw_scalar(member, secrets->a);
    draw_scalar(member, secrets->b);
    draw(member, seed, sizeof(seed));
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
        return give_up(member, TRIB_SECAGG_REASON_ORDER);
    member->state = TRIB_SECAGG_ADVERTISED;
    *ret_advert = member->advert;
    return TRIB_OK;
}

// ---- ADVERTISED: is U1 what it should be?

static int compare_keys(const void *a, const void *b)
{
    const uint8_t *const *x = a;
    const uint8_t *const *y = b;
    return memcmp(*x, *y, TRIB_SECAGG_KEY_SIZE);
}

// Is a key, of whatever kind, there twice?
static enum trib_secagg_reason check_keys_differ(const struct trib_secagg_entry *entries,
                                                 uint32_t count)
{
    enum trib_secagg_reason reason = TRIB_SECAGG_REASON_NONE;
    const uint8_t **keys = trib_alloc_array(3 * (size_t)count, sizeof(*keys));
    if (!keys)
        return TRIB_SECAGG_REASON_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        keys[3 * i] = entries[i].sign_key;
        keys[3 * i + 1] = entries[i].advert.mask_key;
        keys[3 * i + 2] = entries[i].advert.share_key;
    }
    qsort(keys, 3 * (size_t)count, sizeof(*keys), compare_keys);
    for (size_t i = 1; i < 3 * (size_t)count; i++) {
        if (compare_keys(&keys[i - 1], &keys[i]) == 0)
            reason = TRIB_SECAGG_REASON_ROSTER;
    }
    free(keys);
    return reason;
}

static bool is_own_entry(const struct trib_secagg_member *member,
                         const struct trib_secagg_entry *entry)
{
    return memcmp(entry->sign_key, member->sign_key, sizeof(member->sign_key)) == 0 &&
           memcmp(&entry->advert, &member->advert, sizeof(member->advert)) == 0;
}

// The cheap checks first. Finds our number.
static enum trib_secagg_reason check_cohort(const struct trib_secagg_member *member,
                                            const struct trib_secagg_entry *entries, uint32_t count,
                                            uint32_t *ret_index)
{
    const struct trib_secagg_plan *plan = &member->header.plan;
    bool is_there = false;

    if (count < plan->threshold || count > plan->members || count < member->cohort_min ||
        count < trib_secagg_share_threshold(plan))
        return TRIB_SECAGG_REASON_COHORT;
    for (uint32_t i = 0; i < count; i++) {
        const struct trib_secagg_entry *entry = &entries[i];
        if (!memchr(entry->name, '\0', sizeof(entry->name)))
            return TRIB_SECAGG_REASON_ROSTER;
        if (i > 0 && strcmp(entries[i - 1].name, entry->name) >= 0)
            return TRIB_SECAGG_REASON_ROSTER; // twice, or not in order
        if (strcmp(entry->name, member->name) == 0) {
            if (!is_own_entry(member, entry))
                return TRIB_SECAGG_REASON_VIEW;
            is_there = true;
            *ret_index = i;
        }
    }
    if (!is_there)
        return TRIB_SECAGG_REASON_VIEW;
    enum trib_secagg_reason reason = check_keys_differ(entries, count);
    for (uint32_t i = 0; i < count && reason == TRIB_SECAGG_REASON_NONE; i++) {
        reason = trib_secagg_entry_check(&member->header, member->population, member->round_hash,
                                         &entries[i]);
    }
    return reason;
}

// Numbers and room for what is to come.
static enum trib_err settle(struct trib_secagg_member *member,
                            const struct trib_secagg_entry *entries, uint32_t count, uint32_t index)
{
    struct trib_secagg_graph graph;
    struct trib_hash hash;

    trib_secagg_cohort_init(&hash, member->round_hash);
    for (uint32_t i = 0; i < count; i++)
        trib_secagg_cohort_add(&hash, &entries[i]);
    trib_hash_final(&hash, member->cohort_hash, sizeof(member->cohort_hash));
    enum trib_err err =
        trib_secagg_graph_init(&graph, &member->header.plan, count, member->cohort_hash);
    if (err)
        return err;

    member->index = index;
    member->count = count;
    member->degree = graph.degree;
    member->row = trib_alloc_array(graph.degree, sizeof(*member->row));
    member->sign_keys = trib_alloc_array(count, TRIB_SIGN_KEY_SIZE);
    member->shared_set = trib_alloc(trib_secagg_set_size(count));
    member->survivor_set = trib_alloc(trib_secagg_set_size(count));
    member->masks = trib_alloc_array(graph.degree + 1, sizeof(*member->masks));
    member->share_keys = trib_alloc_array(graph.degree + 1, sizeof(*member->share_keys));
    member->held = trib_alloc_array(graph.degree + 1, sizeof(*member->held));
    bool is_there = member->row && member->sign_keys && member->shared_set &&
                    member->survivor_set && member->masks && member->share_keys && member->held;
    if (is_there) {
        trib_secagg_graph_row(&graph, index, member->row);
        member->own_slot = trib_secagg_graph_rank(&graph, index, NULL, index);
        for (uint32_t i = 0; i < count; i++) {
            memcpy(member->sign_keys + (size_t)i * TRIB_SIGN_KEY_SIZE, entries[i].sign_key,
                   TRIB_SIGN_KEY_SIZE);
        }
    }
    trib_secagg_graph_fini(&graph);
    return is_there ? TRIB_OK : TRIB_ERR_NOMEM;
}

// The place of neighbour number `i` among neighbours and ourselves.
static uint32_t slot_of(const struct trib_secagg_member *member, uint32_t i)
{
    return i + (i >= member->own_slot);
}

// The key for shares between two members: both make the same.
static bool share_key(const struct trib_secagg_member *member,
                      const struct trib_secagg_entry *entries, uint32_t peer,
                      uint8_t ret_key[static TRIB_SECAGG_KEY_SIZE])
{
    static const char label[] = "trib-share";
    uint32_t low = peer < member->index ? peer : member->index;
    uint32_t high = peer < member->index ? member->index : peer;
    uint8_t shared[crypto_scalarmult_curve25519_BYTES];
    struct trib_hash hash;

    if (crypto_scalarmult_curve25519(shared, member->secrets.share_secret,
                                     entries[peer].advert.share_key) != 0)
        return false; // all zero, RFC 7748 6.1
    trib_hash_init(&hash, shared, sizeof(shared), TRIB_SECAGG_KEY_SIZE);
    trib_hash_update(&hash, label, sizeof(label));
    trib_hash_update(&hash, entries[low].advert.share_key, TRIB_SECAGG_KEY_SIZE);
    trib_hash_update(&hash, entries[high].advert.share_key, TRIB_SECAGG_KEY_SIZE);
    trib_hash_final(&hash, ret_key, TRIB_SECAGG_KEY_SIZE);
    trib_wipe(shared, sizeof(shared));
    return true;
}

// One exchange of keys with every neighbour, for masks and for shares; and the self mask.
static bool agree(struct trib_secagg_member *member, const struct trib_secagg_entry *entries)
{
    for (uint32_t i = 0; i < member->degree; i++) {
        uint32_t slot = slot_of(member, i);
        uint32_t peer = member->row[i];
        const struct trib_secagg_pair pair = {
            .secret = member->secrets.mask_secret,
            .public = entries[peer].advert.mask_key,
            .own = member->index,
            .peer = peer,
        };
        if (!trib_secagg_pair_key(member->round_hash, &pair, member->masks[slot].key) ||
            !share_key(member, entries, peer, member->share_keys[slot]))
            return false;
        member->masks[slot].is_subtracted = peer < member->index;
    }
    trib_secagg_self_key(member->round_hash, member->secrets.b,
                         member->masks[member->own_slot].key);
    return true;
}

// What a sealed share is about: U1 (and with it the round), from whom, for whom.
static void about(const struct trib_secagg_member *member, uint32_t from, uint32_t to,
                  uint8_t ret_about[static ABOUT_SIZE])
{
    memcpy(ret_about, member->cohort_hash, TRIB_DIGEST_SIZE);
    trib_store_le32(ret_about + TRIB_DIGEST_SIZE, from);
    trib_store_le32(ret_about + TRIB_DIGEST_SIZE + 4, to);
}

static void seal(struct trib_secagg_member *member, uint32_t slot, uint32_t peer,
                 const struct trib_secagg_held *shares, uint8_t *ret_sealed)
{
    uint8_t ad[ABOUT_SIZE];
    about(member, member->index, peer, ad);
    draw(member, ret_sealed, NONCE_SIZE);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(
        ret_sealed + NONCE_SIZE, NULL, (const uint8_t *)shares, sizeof(*shares), ad, sizeof(ad),
        NULL, ret_sealed, member->share_keys[slot]);
}

static bool open_sealed(const struct trib_secagg_member *member, uint32_t slot, uint32_t peer,
                        const uint8_t *sealed, struct trib_secagg_held *ret_shares)
{
    uint8_t ad[ABOUT_SIZE];
    about(member, peer, member->index, ad);
    return crypto_aead_xchacha20poly1305_ietf_decrypt(
               (uint8_t *)ret_shares, NULL, NULL, sealed + NONCE_SIZE, SEALED_SIZE - NONCE_SIZE, ad,
               sizeof(ad), sealed, member->share_keys[slot]) == 0;
}

// Shamir's scheme for a and b, a share of each for every neighbour and for ourselves.
static enum trib_err share_secrets(struct trib_secagg_member *member, uint8_t *ret_sealed)
{
    uint32_t threshold = trib_secagg_share_threshold(&member->header.plan);
    size_t size = (size_t)threshold * TRIB_SHAMIR_SIZE;
    struct trib_secagg_held shares;

    uint8_t *polynomials = trib_alloc_array(2, size);
    if (!polynomials)
        return TRIB_ERR_NOMEM;
    uint8_t *a = polynomials;
    uint8_t *b = polynomials + size;
    memcpy(a, member->secrets.a, TRIB_SHAMIR_SIZE);
    memcpy(b, member->secrets.b, TRIB_SHAMIR_SIZE);
    for (uint32_t i = 1; i < threshold; i++) {
        draw_scalar(member, a + (size_t)i * TRIB_SHAMIR_SIZE);
        draw_scalar(member, b + (size_t)i * TRIB_SHAMIR_SIZE);
    }
    for (uint32_t i = 0; i < member->degree; i++) {
        uint32_t peer = member->row[i];
        trib_shamir_share(a, threshold, peer + 1, shares.a);
        trib_shamir_share(b, threshold, peer + 1, shares.b);
        seal(member, slot_of(member, i), peer, &shares, ret_sealed + (size_t)i * SEALED_SIZE);
    }
    struct trib_secagg_held *own = &member->held[member->own_slot];
    trib_shamir_share(a, threshold, member->index + 1, own->a);
    trib_shamir_share(b, threshold, member->index + 1, own->b);
    trib_wipe(&shares, sizeof(shares));
    trib_wipe(polynomials, 2 * size);
    free(polynomials);
    return TRIB_OK;
}

enum trib_err trib_secagg_member_keys(struct trib_secagg_member *member,
                                      const struct trib_secagg_entry *entries, uint32_t count,
                                      uint8_t *ret_sealed)
{
    struct trib_secagg_secrets *secrets = &member->secrets;
    uint32_t index = 0;

    if (member->state != TRIB_SECAGG_ADVERTISED)
        return give_up(member, TRIB_SECAGG_REASON_ORDER);
    enum trib_secagg_reason reason = check_cohort(member, entries, count, &index);
    if (reason != TRIB_SECAGG_REASON_NONE)
        return give_up(member, reason);
    if (settle(member, entries, count, index))
        return give_up(member, TRIB_SECAGG_REASON_MEMORY);
    if (!agree(member, entries))
        return give_up(member, TRIB_SECAGG_REASON_SIGNATURE);
    if (share_secrets(member, ret_sealed))
        return give_up(member, TRIB_SECAGG_REASON_MEMORY);
    trib_wipe(secrets->test_seed, sizeof(secrets->test_seed));
    trib_wipe(secrets->a, sizeof(secrets->a));
    trib_wipe(secrets->b, sizeof(secrets->b));
    trib_wipe(secrets->mask_secret, sizeof(secrets->mask_secret));
    trib_wipe(secrets->share_secret, sizeof(secrets->share_secret));
    member->state = TRIB_SECAGG_SHARED;
    return TRIB_OK;
}

// ---- SHARED: the neighbours' shares, and the masks

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
        return give_up(member, TRIB_SECAGG_REASON_ORDER);
    enum trib_secagg_reason reason = check_set(member, shared_set, set_size);
    if (reason != TRIB_SECAGG_REASON_NONE)
        return give_up(member, reason);
    for (uint32_t i = 0; i < member->degree; i++) {
        uint32_t peer = member->row[i];
        uint32_t slot = slot_of(member, i);
        if (!trib_secagg_has(shared_set, peer))
            continue;
        if (taken == count || !open_sealed(member, slot, peer, sealed + (size_t)taken * SEALED_SIZE,
                                           &member->held[slot]))
            return give_up(member, TRIB_SECAGG_REASON_SHARE);
        taken++;
    }
    if (taken != count)
        return give_up(member, TRIB_SECAGG_REASON_SHARE);
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
        return give_up(member, TRIB_SECAGG_REASON_ORDER);
    for (uint32_t slot = 0; slot <= member->degree; slot++) { // only U2 masks
        uint32_t peer = slot == member->own_slot ? member->index
                                                 : member->row[slot - (slot > member->own_slot)];
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
            return give_up(member, TRIB_SECAGG_REASON_VIEW);
        memcpy(ret_signature, member->consent, sizeof(member->consent));
        return TRIB_OK;
    case TRIB_SECAGG_MASKED: break;
    case TRIB_SECAGG_NEW:
    case TRIB_SECAGG_ADVERTISED:
    case TRIB_SECAGG_SHARED:
    case TRIB_SECAGG_ABORTED: return give_up(member, TRIB_SECAGG_REASON_ORDER);
    }
    enum trib_secagg_reason reason = check_set(member, survivor_set, set_size);
    if (reason != TRIB_SECAGG_REASON_NONE)
        return give_up(member, reason);
    if (!trib_secagg_set_is_within(survivor_set, member->shared_set, member->count))
        return give_up(member, TRIB_SECAGG_REASON_VIEW);
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
        uint32_t peer = slot == member->own_slot ? member->index
                                                 : member->row[slot - (slot > member->own_slot)];
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
        return give_up(member, TRIB_SECAGG_REASON_ORDER);
    // In DONE too: the answer is the same whoever signed, but nobody gets it for nothing.
    enum trib_secagg_reason reason =
        check_consents(member, signer_set, set_size, signatures, count);
    if (reason != TRIB_SECAGG_REASON_NONE)
        return give_up(member, reason);
    if (member->state == TRIB_SECAGG_SIGNED) {
        if (make_reply(member))
            return give_up(member, TRIB_SECAGG_REASON_MEMORY);
        wipe_all(member);
        member->state = TRIB_SECAGG_DONE;
    }
    memcpy(ret_shares, member->reply, member->reply_size);
    *ret_size = member->reply_size;
    return TRIB_OK;
}
