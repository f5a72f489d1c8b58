// R1 of a member: is U1 what it should be, and the shares for its neighbours.
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/wipe.h"
#include "common/privacy/secagg_member.h"

enum {
    NONCE_SIZE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    SEALED_SIZE = TRIB_SECAGG_SEALED_SIZE,
};
_Static_assert(NONCE_SIZE + sizeof(struct trib_secagg_held) +
                       crypto_aead_xchacha20poly1305_ietf_ABYTES ==
                   SEALED_SIZE,
               "nonce, two shares, tag");

// ---- Is U1 what it should be?

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
                                         &entries[i], member->vouched);
    }
    return reason;
}

// ---- Keys and shares

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
        uint32_t slot = trib_secagg_member_slot(member, i);
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

static void seal(struct trib_secagg_member *member, uint32_t slot, uint32_t peer,
                 const struct trib_secagg_held *shares, uint8_t *ret_sealed)
{
    uint8_t ad[TRIB_SECAGG_ABOUT_SIZE];
    trib_secagg_member_about(member, member->index, peer, ad);
    trib_secagg_member_draw(member, ret_sealed, NONCE_SIZE);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(
        ret_sealed + NONCE_SIZE, NULL, (const uint8_t *)shares, sizeof(*shares), ad, sizeof(ad),
        NULL, ret_sealed, member->share_keys[slot]);
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
        trib_secagg_member_draw_scalar(member, a + (size_t)i * TRIB_SHAMIR_SIZE);
        trib_secagg_member_draw_scalar(member, b + (size_t)i * TRIB_SHAMIR_SIZE);
    }
    for (uint32_t i = 0; i < member->degree; i++) {
        uint32_t peer = member->row[i];
        trib_shamir_share(a, threshold, peer + 1, shares.a);
        trib_shamir_share(b, threshold, peer + 1, shares.b);
        seal(member, trib_secagg_member_slot(member, i), peer, &shares,
             ret_sealed + (size_t)i * SEALED_SIZE);
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
        return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_ORDER);
    enum trib_secagg_reason reason = check_cohort(member, entries, count, &index);
    if (reason != TRIB_SECAGG_REASON_NONE)
        return trib_secagg_member_give_up(member, reason);
    if (settle(member, entries, count, index))
        return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_MEMORY);
    if (!agree(member, entries))
        return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_SIGNATURE);
    if (share_secrets(member, ret_sealed))
        return trib_secagg_member_give_up(member, TRIB_SECAGG_REASON_MEMORY);
    trib_wipe(secrets->test_seed, sizeof(secrets->test_seed));
    trib_wipe(secrets->a, sizeof(secrets->a));
    trib_wipe(secrets->b, sizeof(secrets->b));
    trib_wipe(secrets->mask_secret, sizeof(secrets->mask_secret));
    trib_wipe(secrets->share_secret, sizeof(secrets->share_secret));
    member->state = TRIB_SECAGG_SHARED;
    return TRIB_OK;
}
