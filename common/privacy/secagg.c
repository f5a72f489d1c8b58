#include "common/privacy/secagg.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/wipe.h"
#include "common/privacy/secagg_core.h"

_Static_assert(TRIB_SECAGG_KEY_SIZE == crypto_scalarmult_curve25519_BYTES, "X25519");
_Static_assert((int)TRIB_SECAGG_SHARE_SIZE == (int)TRIB_SHAMIR_SIZE, "a share is a scalar");
_Static_assert((int)TRIB_COHORT_MAX < (int)TRIB_SHAMIR_POINT_MAX,
               "a member's point is its number + 1");

// ---- Hashing by field

static void put_u32(struct trib_hash *hash, uint32_t value)
{
    uint8_t bytes[4];
    trib_store_le32(bytes, value);
    trib_hash_update(hash, bytes, sizeof(bytes));
}

static void put_u64(struct trib_hash *hash, uint64_t value)
{
    uint8_t bytes[8];
    trib_store_le64(bytes, value);
    trib_hash_update(hash, bytes, sizeof(bytes));
}

static void put_double(struct trib_hash *hash, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_u64(hash, bits);
}

// Its length, then the text.
static void put_text(struct trib_hash *hash, const char *text)
{
    size_t size = strlen(text);
    put_u32(hash, (uint32_t)size);
    trib_hash_update(hash, text, size);
}

static void hash_init(struct trib_hash *hash, const char *label)
{
    trib_hash_init(hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(hash, label, strlen(label) + 1);
}

// BLAKE2b(label | NUL | one field of 32 bytes)
static void derive(const char *label, const uint8_t field[static 32], uint8_t ret_hash[static 32])
{
    struct trib_hash hash;
    hash_init(&hash, label);
    trib_hash_update(&hash, field, 32);
    trib_hash_final(&hash, ret_hash, 32);
}

// ---- The round

void trib_secagg_round_hash(const struct trib_secagg_header *h,
                            uint8_t ret_hash[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;

    hash_init(&hash, "trib-round");
    put_u64(&hash, h->job);
    put_u64(&hash, h->round_id);
    put_u64(&hash, h->round_number);
    put_u64(&hash, h->params);
    trib_hash_update(&hash, h->base_digest, sizeof(h->base_digest));
    trib_hash_update(&hash, h->training, sizeof(h->training));
    trib_hash_update(&hash, h->roster_key, sizeof(h->roster_key));
    trib_hash_update(&hash, h->invited, sizeof(h->invited));
    put_u32(&hash, (uint32_t)h->encoding.mode);
    put_double(&hash, h->encoding.grid);
    put_u32(&hash, h->encoding.grid_bits);
    put_u64(&hash, h->encoding.s1);
    put_u64(&hash, h->encoding.s2);
    put_u64(&hash, h->encoding.sinf);
    put_u32(&hash, h->encoding.word_bits);
    put_u32(&hash, h->encoding.shares);
    put_double(&hash, h->encoding.clip_l1);
    put_double(&hash, h->encoding.clip_l2);
    put_u32(&hash, h->plan.members);
    put_u32(&hash, h->plan.threshold);
    put_u32(&hash, h->plan.drop_max);
    put_u32(&hash, h->plan.colluders);
    put_u32(&hash, h->plan.shares);
    put_u32(&hash, h->plan.neighbours);
    put_u32(&hash, h->plan.neighbour_threshold);
    trib_hash_final(&hash, ret_hash, TRIB_DIGEST_SIZE);
}

enum trib_err trib_secagg_header_check(const struct trib_secagg_header *header)
{
    const struct trib_encoding *encoding = &header->encoding;

    if (header->params == 0 || header->params > TRIB_PARAMS_MAX)
        return TRIB_ERR_PRIVACY;
    if (encoding->word_bits != 16 && encoding->word_bits != 24 && encoding->word_bits != 32)
        return TRIB_ERR_PRIVACY;
    if (encoding->mode == TRIB_PRIVACY_DISTRIBUTED && encoding->shares != header->plan.shares)
        return TRIB_ERR_PRIVACY;
    if (header->plan.members < 2 || trib_secagg_plan_check(&header->plan))
        return TRIB_ERR_PRIVACY; // the sum of one hides nothing
    return TRIB_OK;
}

uint32_t trib_secagg_share_threshold(const struct trib_secagg_plan *plan)
{
    return plan->neighbours == 0 ? plan->threshold : plan->neighbour_threshold;
}

size_t trib_secagg_sealed_max(const struct trib_secagg_plan *plan)
{
    uint32_t degree = plan->neighbours == 0 ? plan->members - 1 : plan->neighbours;
    return (size_t)degree * TRIB_SECAGG_SEALED_SIZE;
}

size_t trib_secagg_unmask_max(const struct trib_secagg_plan *plan)
{
    uint32_t degree = plan->neighbours == 0 ? plan->members - 1 : plan->neighbours;
    return (size_t)(degree + 1) * TRIB_SECAGG_SHARE_SIZE;
}

void trib_secagg_invited_hash(const struct trib_secagg_entry *const *entries, uint32_t count,
                              uint8_t ret_hash[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;

    hash_init(&hash, "trib-invited");
    put_u32(&hash, count);
    for (uint32_t i = 0; i < count; i++) {
        put_text(&hash, entries[i]->name);
        trib_hash_update(&hash, entries[i]->sign_key, TRIB_SIGN_KEY_SIZE);
    }
    trib_hash_final(&hash, ret_hash, TRIB_DIGEST_SIZE);
}

void trib_secagg_cohort_init(struct trib_hash *hash,
                             const uint8_t round_hash[static TRIB_DIGEST_SIZE])
{
    hash_init(hash, "trib-cohort");
    trib_hash_update(hash, round_hash, TRIB_DIGEST_SIZE);
}

void trib_secagg_cohort_add(struct trib_hash *hash, const struct trib_secagg_entry *entry)
{
    put_text(hash, entry->name);
    trib_hash_update(hash, entry->sign_key, sizeof(entry->sign_key));
    trib_hash_update(hash, entry->roster_signature, sizeof(entry->roster_signature));
    trib_hash_update(hash, entry->advert.mask_key, sizeof(entry->advert.mask_key));
    trib_hash_update(hash, entry->advert.share_key, sizeof(entry->advert.share_key));
    trib_hash_update(hash, entry->advert.commitment, sizeof(entry->advert.commitment));
    trib_hash_update(hash, entry->advert.signature, sizeof(entry->advert.signature));
}

void trib_secagg_seal_digest(const uint8_t round_hash[static TRIB_DIGEST_SIZE],
                             const uint8_t cohort_hash[static TRIB_DIGEST_SIZE],
                             const uint8_t *survivor_set, uint32_t members,
                             uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;

    hash_init(&hash, "U3");
    trib_hash_update(&hash, round_hash, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, cohort_hash, TRIB_DIGEST_SIZE);
    put_u32(&hash, members);
    trib_hash_update(&hash, survivor_set, trib_secagg_set_size(members));
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}

const char *trib_secagg_reason_text(enum trib_secagg_reason reason)
{
    switch (reason) {
    case TRIB_SECAGG_REASON_NONE: return "none";
    case TRIB_SECAGG_REASON_ORDER: return "a message out of turn";
    case TRIB_SECAGG_REASON_PLAN: return "thresholds that protect nobody";
    case TRIB_SECAGG_REASON_COHORT: return "too few members";
    case TRIB_SECAGG_REASON_ROSTER: return "a member that nobody vouched for, or twice";
    case TRIB_SECAGG_REASON_SIGNATURE: return "keys or a consent that are not genuine";
    case TRIB_SECAGG_REASON_SHARE: return "a share that does not open or does not fit";
    case TRIB_SECAGG_REASON_VIEW: return "members were told different things";
    case TRIB_SECAGG_REASON_MEMORY: return "out of memory";
    }
    return "unknown";
}

// ---- Entries

static void roster_digest(const char *population, const char *name, const uint8_t *sign_key,
                          uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;

    hash_init(&hash, "trib-roster");
    put_text(&hash, population);
    put_text(&hash, name);
    trib_hash_update(&hash, sign_key, TRIB_SIGN_KEY_SIZE);
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}

void trib_roster_sign(const uint8_t roster_seed[static TRIB_SIGN_SEED_SIZE], const char *population,
                      const char *name, const uint8_t sign_key[static TRIB_SIGN_KEY_SIZE],
                      uint8_t ret_signature[static TRIB_SIGNATURE_SIZE])
{
    uint8_t digest[TRIB_DIGEST_SIZE];
    roster_digest(population, name, sign_key, digest);
    trib_sign(roster_seed, TRIB_ROSTER_CONTEXT, digest, sizeof(digest), ret_signature);
}

bool trib_roster_verify(const uint8_t roster_key[static TRIB_SIGN_KEY_SIZE], const char *population,
                        const char *name, const uint8_t sign_key[static TRIB_SIGN_KEY_SIZE],
                        const uint8_t signature[static TRIB_SIGNATURE_SIZE])
{
    uint8_t digest[TRIB_DIGEST_SIZE];
    roster_digest(population, name, sign_key, digest);
    return trib_sign_verify(roster_key, TRIB_ROSTER_CONTEXT, digest, sizeof(digest), signature);
}

#define KEYS_CONTEXT "tributary secagg keys v1"

static void advert_digest(const uint8_t *round_hash, const char *name,
                          const struct trib_secagg_advert *advert,
                          uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;

    hash_init(&hash, "trib-advert");
    trib_hash_update(&hash, round_hash, TRIB_DIGEST_SIZE);
    put_text(&hash, name);
    trib_hash_update(&hash, advert->mask_key, sizeof(advert->mask_key));
    trib_hash_update(&hash, advert->share_key, sizeof(advert->share_key));
    trib_hash_update(&hash, advert->commitment, sizeof(advert->commitment));
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}

void trib_secagg_advert_sign(const uint8_t sign_seed[static TRIB_SIGN_SEED_SIZE],
                             const uint8_t round_hash[static TRIB_DIGEST_SIZE], const char *name,
                             struct trib_secagg_advert *advert)
{
    uint8_t digest[TRIB_DIGEST_SIZE];
    advert_digest(round_hash, name, advert, digest);
    trib_sign(sign_seed, KEYS_CONTEXT, digest, sizeof(digest), advert->signature);
}

enum trib_secagg_reason trib_secagg_entry_check(const struct trib_secagg_header *header,
                                                const char *population,
                                                const uint8_t round_hash[static TRIB_DIGEST_SIZE],
                                                const struct trib_secagg_entry *entry,
                                                struct trib_vouched *vouched)
{
    const struct trib_secagg_advert *advert = &entry->advert;
    uint8_t digest[TRIB_DIGEST_SIZE];

    if (entry->name[0] == '\0' || !memchr(entry->name, '\0', sizeof(entry->name)))
        return TRIB_SECAGG_REASON_ROSTER;
    if (!trib_vouched_check(vouched, header->roster_key, population, entry))
        return TRIB_SECAGG_REASON_ROSTER;
    advert_digest(round_hash, entry->name, advert, digest);
    if (!trib_sign_verify(entry->sign_key, KEYS_CONTEXT, digest, sizeof(digest), advert->signature))
        return TRIB_SECAGG_REASON_SIGNATURE;
    return TRIB_SECAGG_REASON_NONE;
}

// ---- Sets

bool trib_secagg_set_is_valid(const uint8_t *set, size_t set_size, uint32_t members)
{
    if (set_size != trib_secagg_set_size(members))
        return false;
    return members % 8 == 0 || set[members / 8] >> (members % 8) == 0;
}

uint32_t trib_secagg_set_count(const uint8_t *set, uint32_t members)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < members; i++)
        count += trib_secagg_has(set, i);
    return count;
}

bool trib_secagg_set_is_within(const uint8_t *set, const uint8_t *other, uint32_t members)
{
    for (size_t i = 0; i < trib_secagg_set_size(members); i++) {
        if (set[i] & ~other[i])
            return false;
    }
    return true;
}

// ---- Keys

void trib_secagg_mask_pair(const uint8_t a[static TRIB_SHAMIR_SIZE],
                           uint8_t ret_secret[static TRIB_SECAGG_KEY_SIZE],
                           uint8_t ret_public[static TRIB_SECAGG_KEY_SIZE])
{
    uint8_t seed[crypto_box_SEEDBYTES];
    derive("trib-mask", a, seed);
    (void)crypto_box_seed_keypair(ret_public, ret_secret, seed);
    trib_wipe(seed, sizeof(seed));
}

void trib_secagg_commitment(const uint8_t b[static TRIB_SHAMIR_SIZE],
                            uint8_t ret_commitment[static TRIB_DIGEST_SIZE])
{
    derive("trib-commit", b, ret_commitment);
}

void trib_secagg_self_key(const uint8_t round_hash[static TRIB_DIGEST_SIZE],
                          const uint8_t b[static TRIB_SHAMIR_SIZE],
                          uint8_t ret_key[static TRIB_MASK_KEY_SIZE])
{
    struct trib_hash hash;
    hash_init(&hash, "trib-self");
    trib_hash_update(&hash, round_hash, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, b, TRIB_SHAMIR_SIZE);
    trib_hash_final(&hash, ret_key, TRIB_MASK_KEY_SIZE);
}

bool trib_secagg_pair_key(const uint8_t round_hash[static TRIB_DIGEST_SIZE],
                          const struct trib_secagg_pair *pair,
                          uint8_t ret_key[static TRIB_MASK_KEY_SIZE])
{
    static const char label[] = "trib-pair";
    uint8_t shared[crypto_scalarmult_curve25519_BYTES];
    struct trib_hash hash;

    if (crypto_scalarmult_curve25519(shared, pair->secret, pair->public) != 0)
        return false; // all zero, RFC 7748 6.1
    trib_hash_init(&hash, shared, sizeof(shared), TRIB_MASK_KEY_SIZE);
    trib_hash_update(&hash, label, sizeof(label));
    trib_hash_update(&hash, round_hash, TRIB_DIGEST_SIZE);
    put_u32(&hash, pair->own < pair->peer ? pair->own : pair->peer);
    put_u32(&hash, pair->own < pair->peer ? pair->peer : pair->own);
    trib_hash_final(&hash, ret_key, TRIB_MASK_KEY_SIZE);
    trib_wipe(shared, sizeof(shared));
    return true;
}
