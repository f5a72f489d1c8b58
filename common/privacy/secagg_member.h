// secagg_member.h - what a member remembers; for secagg_member*.c and the tests that look for
// secrets left behind.
#ifndef TRIB_PRIVACY_SECAGG_MEMBER_H
#define TRIB_PRIVACY_SECAGG_MEMBER_H

#include "common/privacy/secagg_core.h"

// Shares of one member's two secrets.
struct trib_secagg_held {
    uint8_t a[TRIB_SECAGG_SHARE_SIZE];
    uint8_t b[TRIB_SECAGG_SHARE_SIZE];
};

// Each is wiped as soon as it has done its work; all are when the member is done or aborts.
struct trib_secagg_secrets {
    uint8_t sign_seed[TRIB_SIGN_SEED_SIZE];     // until U3 is signed
    uint8_t test_seed[TRIB_SECAGG_SEED_SIZE];   // until the shares are sealed
    uint8_t a[TRIB_SHAMIR_SIZE];                // ditto
    uint8_t b[TRIB_SHAMIR_SIZE];                // ditto
    uint8_t mask_secret[TRIB_SECAGG_KEY_SIZE];  // ditto
    uint8_t share_secret[TRIB_SECAGG_KEY_SIZE]; // ditto
};

struct trib_secagg_member {
    // Configuration.
    struct trib_secagg_header header;
    char population[TRIB_NAME_MAX + 1];
    char name[TRIB_NAME_MAX + 1];
    uint8_t round_hash[TRIB_DIGEST_SIZE];
    uint8_t sign_key[TRIB_SIGN_KEY_SIZE];
    uint32_t cohort_min;
    struct trib_vouched *vouched; // borrowed, or NULL
    bool is_predictable;          // secrets come from secrets.test_seed

    // State.
    enum trib_secagg_state state;
    enum trib_secagg_reason reason;
    uint64_t draws; // from the test seed
    struct trib_secagg_advert advert;
    struct trib_secagg_secrets secrets;

    // From SHARED on.
    uint32_t index, count; // in U1, of U1
    uint32_t degree;       // neighbours
    uint32_t own_slot;     // neighbours with numbers below ours
    uint32_t *row;         // their numbers, ascending
    uint8_t *sign_keys;    // of U1, for consents
    uint8_t *shared_set;   // U2, once `has_shares`
    uint8_t *survivor_set; // U3, from SIGNED on
    bool has_shares;
    uint8_t cohort_hash[TRIB_DIGEST_SIZE];
    uint8_t seal_digest[TRIB_DIGEST_SIZE];
    uint8_t consent[TRIB_SIGNATURE_SIZE];

    // Secrets for each neighbour, and in between for ourselves at `own_slot`: degree + 1 of each.
    struct trib_mask *masks;                     // until the words are masked
    uint8_t (*share_keys)[TRIB_SECAGG_KEY_SIZE]; // until the shares are opened
    struct trib_secagg_held *held;               // until they are handed out
    uint8_t *reply; // what _unmask answered: the coordinator has it, it is no secret any more
    size_t reply_size;
};

// Secret random bytes, at most TRIB_HASH_MAX, and a secret random scalar.
void trib_secagg_member_draw(struct trib_secagg_member *member, uint8_t *ret_bytes, size_t size);
void trib_secagg_member_draw_scalar(struct trib_secagg_member *member, uint8_t *ret_scalar);

// Wipe every secret, for good. What the caller returns.
TRIB_CHECKED enum trib_err trib_secagg_member_give_up(struct trib_secagg_member *member,
                                                      enum trib_secagg_reason reason);

// The place of neighbour number `index` among neighbours and ourselves.
static inline uint32_t trib_secagg_member_slot(const struct trib_secagg_member *member,
                                               uint32_t index)
{
    return index + (index >= member->own_slot);
}

// What a sealed share is about: U1 (and with it the round), from whom, for whom.
enum {
    TRIB_SECAGG_ABOUT_SIZE = TRIB_DIGEST_SIZE + 8,
};
void trib_secagg_member_about(const struct trib_secagg_member *member, uint32_t from, uint32_t to,
                              uint8_t ret_about[static TRIB_SECAGG_ABOUT_SIZE]);

#endif // TRIB_PRIVACY_SECAGG_MEMBER_H
