// secagg_core.h - what both sides of secure aggregation compute alike; not for other modules.
//
// Every hash begins with a label that ends in NUL and has fields of fixed size or with their length
// in front, integers little-endian: no two of them can have the same input.
#ifndef TRIB_PRIVACY_SECAGG_CORE_H
#define TRIB_PRIVACY_SECAGG_CORE_H

#include "common/privacy/mask.h"
#include "common/privacy/secagg.h"
#include "common/privacy/shamir.h"
#include "common/privacy/vouched.h"

// ---- The round

// Can there be a round with these numbers? TRIB_ERR_PRIVACY: not one that protects.
TRIB_CHECKED enum trib_err trib_secagg_header_check(const struct trib_secagg_header *header);

// Shares that make up a secret.
uint32_t trib_secagg_share_threshold(const struct trib_secagg_plan *plan);

// U1 as a hash over the round and every entry in order: whatever is bound to it means nothing to
// members that were shown another U1.
void trib_secagg_cohort_init(struct trib_hash *hash,
                             const uint8_t round_hash[static TRIB_DIGEST_SIZE]);
void trib_secagg_cohort_add(struct trib_hash *hash, const struct trib_secagg_entry *entry);

// What members sign in R3, binding U1 and U3.
void trib_secagg_seal_digest(const uint8_t round_hash[static TRIB_DIGEST_SIZE],
                             const uint8_t cohort_hash[static TRIB_DIGEST_SIZE],
                             const uint8_t *survivor_set, uint32_t members,
                             uint8_t ret_digest[static TRIB_DIGEST_SIZE]);

#define TRIB_SECAGG_CONSENT_CONTEXT "tributary secagg survivors v1"

// ---- Entries

void trib_secagg_advert_sign(const uint8_t sign_seed[static TRIB_SIGN_SEED_SIZE],
                             const uint8_t round_hash[static TRIB_DIGEST_SIZE], const char *name,
                             struct trib_secagg_advert *advert);
// REASON_NONE: a name, keys that differ, the roster's signature and the member's own.
enum trib_secagg_reason trib_secagg_entry_check(const struct trib_secagg_header *header,
                                                const char *population,
                                                const uint8_t round_hash[static TRIB_DIGEST_SIZE],
                                                const struct trib_secagg_entry *entry,
                                                struct trib_vouched *vouched);

// ---- Sets

bool trib_secagg_set_is_valid(const uint8_t *set, size_t set_size, uint32_t members);
uint32_t trib_secagg_set_count(const uint8_t *set, uint32_t members);
bool trib_secagg_set_is_within(const uint8_t *set, const uint8_t *other, uint32_t members);
static inline void trib_secagg_set_add(uint8_t *set, uint32_t member)
{
    set[member / 8] |= (uint8_t)(1u << (member % 8));
}

// ---- Keys

// The pair of mask keys that the scalar a stands for.
void trib_secagg_mask_pair(const uint8_t a[static TRIB_SHAMIR_SIZE],
                           uint8_t ret_secret[static TRIB_SECAGG_KEY_SIZE],
                           uint8_t ret_public[static TRIB_SECAGG_KEY_SIZE]);
void trib_secagg_commitment(const uint8_t b[static TRIB_SHAMIR_SIZE],
                            uint8_t ret_commitment[static TRIB_DIGEST_SIZE]);
void trib_secagg_self_key(const uint8_t round_hash[static TRIB_DIGEST_SIZE],
                          const uint8_t b[static TRIB_SHAMIR_SIZE],
                          uint8_t ret_key[static TRIB_MASK_KEY_SIZE]);

struct trib_secagg_pair {
    const uint8_t *secret, *public; // of the one, of the other
    uint32_t own, peer;             // their numbers
};
// The key of the mask that two members share. False: the peer's key is degenerate.
bool trib_secagg_pair_key(const uint8_t round_hash[static TRIB_DIGEST_SIZE],
                          const struct trib_secagg_pair *pair,
                          uint8_t ret_key[static TRIB_MASK_KEY_SIZE]);

// ---- Who is whose neighbour

// Either everybody is everybody's, or the members stand in a circle in a random order and each has
// the degree / 2 before and the degree / 2 behind (Harary's graph, Bell et al. 2020, 3.2).
struct trib_secagg_graph {
    uint32_t count, degree;
    uint32_t *order; // who stands at a place; NULL: everybody is everybody's neighbour
    uint32_t *place; // where a member stands
};
TRIB_CHECKED enum trib_err trib_secagg_graph_init(
    struct trib_secagg_graph *graph, const struct trib_secagg_plan *plan, uint32_t count,
    const uint8_t cohort_hash[static TRIB_DIGEST_SIZE]);
void trib_secagg_graph_fini(struct trib_secagg_graph *graph);
// The neighbours of `member`, `degree` of them, ascending.
void trib_secagg_graph_row(const struct trib_secagg_graph *graph, uint32_t member,
                           uint32_t *ret_row);
bool trib_secagg_graph_is_edge(const struct trib_secagg_graph *graph, uint32_t a, uint32_t b);
// How many of the neighbours of `member` that are in `set` (NULL: all) have numbers below `limit`.
uint32_t trib_secagg_graph_rank(const struct trib_secagg_graph *graph, uint32_t member,
                                const uint8_t *set, uint32_t limit);

#endif // TRIB_PRIVACY_SECAGG_CORE_H
