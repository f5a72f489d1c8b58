// secagg.h - secure aggregation: the coordinator learns the sum of a cohort's integers, and nothing
// of any one device (docs/privacy-math.md 4; Bonawitz et al. 2017, Bell et al. 2020).
//
// Pure: no sockets, files or clock. `member` is a device's side, `hub` the coordinator's; what one
// makes the other takes. Members are numbered by their place in U1, ordered by name.
//
//     round   member (device)                          hub (coordinator)
//     R0      _advert: keys, signed                    _advert; _close_keys fixes U1
//     R1      _keys: checks everybody, shares secrets  _shares; _close_shares fixes U2
//     R2      _sealed, _mask: the masked integers      _masked; _close_masked fixes U3
//     R3      _survivors: signs U3                     _consent
//     R4      _consents, then _unmask, once            _unmask; _open, then _remove
//
//     member: NEW -> ADVERTISED -> SHARED -> MASKED -> SIGNED -> DONE     any -> ABORTED
//
// What a device checks before it goes on, whatever the coordinator says (a failed check aborts for
// good and wipes every secret):
//   keys       every entry has a good roster signature and a good signature over this round; no name
//              or key twice; its own entry is there, unchanged; T <= |U1| <= n; |U1| at least its own
//              minimum cohort; 2T > n + c; m = T - c
//   sealed     U2 within U1, itself in it, |U2| >= T, every share from a neighbour opens
//   survivors  U3 within U2, itself in it, |U3| >= T; asked again with another set: abort
//   consents   at least T good signatures of different members of U3 on this very set
//   unmask     per peer one kind of share: that of b (self mask) for survivors, of a (pair masks)
//              for the others, never both
// Everything is bound to `round_hash`, so that nothing of one round or model means anything in
// another: with two global models in one round the masks do not cancel. Shares and consents are
// bound to the whole of U1 as well (names and keys): members that were shown different lists cannot
// open each other's shares nor use each other's consents.
#ifndef TRIB_PRIVACY_SECAGG_H
#define TRIB_PRIVACY_SECAGG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/sign.h"
#include "common/privacy/encode.h"
#include "common/privacy/secagg_plan.h"
#include "tributary/err.h"

enum {
    TRIB_SECAGG_KEY_SIZE = 32,   // X25519
    TRIB_SECAGG_SHARE_SIZE = 32, // one Shamir share: a scalar of ed25519
    // What one member sends another: nonce, share of a, share of b, tag (XChaCha20-Poly1305).
    TRIB_SECAGG_SEALED_SIZE = 24 + 2 * TRIB_SECAGG_SHARE_SIZE + 16,
    TRIB_SECAGG_SEED_SIZE = 32,
};

#define TRIB_ROSTER_CONTEXT "tributary roster v1"

// What a round is: hashed into everything.
struct trib_secagg_header {
    uint64_t job, round_id, round_number;
    uint64_t params;                        // P
    uint8_t base_digest[TRIB_DIGEST_SIZE];  // of the global model, as the device has it installed
    uint8_t training[TRIB_DIGEST_SIZE];     // of what is asked, trib_training_digest
    uint8_t roster_key[TRIB_SIGN_KEY_SIZE]; // who vouches for members
    uint8_t invited[TRIB_DIGEST_SIZE];      // of U0, trib_secagg_invited_hash
    struct trib_encoding encoding;
    struct trib_secagg_plan plan;
};
void trib_secagg_round_hash(const struct trib_secagg_header *header,
                            uint8_t ret_hash[static TRIB_DIGEST_SIZE]);

// Vouch for a device: the roster key's signature over population, name and the device's key.
void trib_roster_sign(const uint8_t roster_seed[static TRIB_SIGN_SEED_SIZE], const char *population,
                      const char *name, const uint8_t sign_key[static TRIB_SIGN_KEY_SIZE],
                      uint8_t ret_signature[static TRIB_SIGNATURE_SIZE]);
bool trib_roster_verify(const uint8_t roster_key[static TRIB_SIGN_KEY_SIZE], const char *population,
                        const char *name, const uint8_t sign_key[static TRIB_SIGN_KEY_SIZE],
                        const uint8_t signature[static TRIB_SIGNATURE_SIZE]);

// A member's keys for one round.
struct trib_secagg_advert {
    uint8_t mask_key[TRIB_SECAGG_KEY_SIZE];  // of the pair masks, derived from the scalar a
    uint8_t share_key[TRIB_SECAGG_KEY_SIZE]; // encrypts shares
    uint8_t commitment[TRIB_DIGEST_SIZE];    // to the scalar b of the self mask
    uint8_t signature[TRIB_SIGNATURE_SIZE];  // by the member's sign key, over round_hash and name
};

// A member as the others see it.
struct trib_secagg_entry {
    char name[TRIB_NAME_MAX + 1];
    uint8_t sign_key[TRIB_SIGN_KEY_SIZE];
    uint8_t roster_signature[TRIB_SIGNATURE_SIZE];
    struct trib_secagg_advert advert;
};

// A set of members: bit i of byte i/8 stands for member i.
static inline bool trib_secagg_has(const uint8_t *set, uint32_t member)
{
    return (set[member / 8] >> (member % 8) & 1) != 0;
}
static inline size_t trib_secagg_set_size(uint32_t members)
{
    return (members + 7u) / 8u;
}

// Why a member or the hub gave up.
enum trib_secagg_reason {
    TRIB_SECAGG_REASON_NONE,
    TRIB_SECAGG_REASON_ORDER,     // a message out of turn
    TRIB_SECAGG_REASON_PLAN,      // thresholds that protect nobody
    TRIB_SECAGG_REASON_COHORT,    // fewer members than needed, or than this device wants
    TRIB_SECAGG_REASON_ROSTER,    // a member that nobody vouched for, or that is there twice
    TRIB_SECAGG_REASON_SIGNATURE, // keys or a consent that are not genuine
    TRIB_SECAGG_REASON_SHARE,     // a share that does not open or does not fit
    TRIB_SECAGG_REASON_VIEW,      // the coordinator told different members different things
    TRIB_SECAGG_REASON_MEMORY,
};
const char *trib_secagg_reason_text(enum trib_secagg_reason reason);

// ---- A device's side

enum trib_secagg_state {
    TRIB_SECAGG_NEW,
    TRIB_SECAGG_ADVERTISED,
    TRIB_SECAGG_SHARED,
    TRIB_SECAGG_MASKED,
    TRIB_SECAGG_SIGNED,
    TRIB_SECAGG_DONE,
    TRIB_SECAGG_ABORTED,
};

struct trib_secagg_member;

struct trib_vouched;
struct trib_secagg_member_options {
    const struct trib_secagg_header *header; // copied
    const char *population;                  // copied
    const char *name;                        // copied
    const uint8_t *sign_seed;     // Ed25519, TRIB_SIGN_SEED_SIZE bytes; copied, wiped at the end
    uint32_t cohort_min;          // the device's own minimum of |U1|
    struct trib_vouched *vouched; // borrowed for the member's life, or NULL (vouched.h)
    const uint8_t *test_seed;     // 32 bytes: predictable secrets, for tests; else NULL
};

// Fresh secrets for one round. TRIB_ERR_PRIVACY: a plan that protects nobody
// (trib_secagg_plan_check), a header without parameters or words, or a cohort that can never reach
// cohort_min. TRIB_ERR_INVAL: a name or population that is none.
TRIB_CHECKED enum trib_err trib_secagg_member_create(
    const struct trib_secagg_member_options *options, struct trib_secagg_member **ret_member);
void trib_secagg_member_destroy(struct trib_secagg_member *member); // wipes; NULL is fine

enum trib_secagg_state trib_secagg_member_state(const struct trib_secagg_member *member);
enum trib_secagg_reason trib_secagg_member_reason(const struct trib_secagg_member *member);
uint32_t trib_secagg_member_index(const struct trib_secagg_member *member);      // from SHARED on
uint32_t trib_secagg_member_neighbours(const struct trib_secagg_member *member); // how many, ditto
uint32_t trib_secagg_member_count(const struct trib_secagg_member *member);      // |U1|, ditto

// All calls below: TRIB_ERR_PRIVACY: a check failed, the member is ABORTED for the reason it tells.
// TRIB_ERR_NOMEM also aborts.

// Before _keys the same call again gives the same keys again.
TRIB_CHECKED enum trib_err trib_secagg_member_advert(struct trib_secagg_member *member,
                                                     struct trib_secagg_advert *ret_advert);
// U1 in order of names. Afterwards `ret_sealed` (room for neighbours * TRIB_SECAGG_SEALED_SIZE, see
// trib_secagg_sealed_max) holds what is for the neighbours, in ascending order of their numbers.
TRIB_CHECKED enum trib_err trib_secagg_member_keys(struct trib_secagg_member *member,
                                                   const struct trib_secagg_entry *entries,
                                                   uint32_t count, uint8_t *ret_sealed);
// U2, and what the neighbours in it sent us, in ascending order of their numbers.
TRIB_CHECKED enum trib_err trib_secagg_member_sealed(struct trib_secagg_member *member,
                                                     const uint8_t *shared_set, size_t set_size,
                                                     const uint8_t *sealed, uint32_t count);
// words[i] := words[i] + masks, modulo 2^word_bits, as signed words that fit. Once. `count` is the
// header's `params`.
TRIB_CHECKED enum trib_err trib_secagg_member_mask(struct trib_secagg_member *member,
                                                   int32_t *words, size_t count);
// U3. The same set again gives the same signature again.
TRIB_CHECKED enum trib_err trib_secagg_member_survivors(
    struct trib_secagg_member *member, const uint8_t *survivor_set, size_t set_size,
    uint8_t ret_signature[static TRIB_SIGNATURE_SIZE]);
// Who signed (a set), and their signatures in ascending order of numbers; then our shares for our
// neighbours in U2 and ourselves, in ascending order of numbers (trib_secagg_unmask_max). Every
// secret is wiped; the call again, with consents to the same U3 whoever signed them, gives the same
// bytes again, for a connection that was lost.
TRIB_CHECKED enum trib_err trib_secagg_member_unmask(struct trib_secagg_member *member,
                                                     const uint8_t *signer_set, size_t set_size,
                                                     const uint8_t *signatures, uint32_t count,
                                                     uint8_t *ret_shares, size_t *ret_size);

// Bytes of room that _keys and _unmask need.
size_t trib_secagg_sealed_max(const struct trib_secagg_plan *plan);
size_t trib_secagg_unmask_max(const struct trib_secagg_plan *plan);

// ---- The coordinator's side

struct trib_secagg_hub;

TRIB_CHECKED enum trib_err trib_secagg_hub_create(const struct trib_secagg_header *header,
                                                  const char *population,
                                                  struct trib_secagg_hub **ret_hub);
void trib_secagg_hub_destroy(struct trib_secagg_hub *hub); // NULL is fine

// R0. `tag` is the caller's number of the device. TRIB_ERR_AUTH: not signed by it, or no roster
// signature; TRIB_ERR_STATE: a name or key for the second time, or too late; TRIB_ERR_LIMIT: n are
// there.
TRIB_CHECKED enum trib_err trib_secagg_hub_advert(struct trib_secagg_hub *hub, uint32_t tag,
                                                  const struct trib_secagg_entry *entry);
// Fixes U1 (ordered by name) and who is whose neighbour. TRIB_ERR_STATE: fewer than T.
TRIB_CHECKED enum trib_err trib_secagg_hub_close_keys(struct trib_secagg_hub *hub);
uint32_t trib_secagg_hub_count(const struct trib_secagg_hub *hub); // |U1|
const struct trib_secagg_entry *trib_secagg_hub_entry(const struct trib_secagg_hub *hub,
                                                      uint32_t member); // borrowed from the hub
uint32_t trib_secagg_hub_tag(const struct trib_secagg_hub *hub, uint32_t member);
uint32_t trib_secagg_hub_find(const struct trib_secagg_hub *hub, uint32_t tag); // UINT32_MAX: none

// R1: what a member sealed for its neighbours. TRIB_ERR_DATA: not the right number of bytes. A
// second time changes nothing.
TRIB_CHECKED enum trib_err trib_secagg_hub_shares(struct trib_secagg_hub *hub, uint32_t member,
                                                  const uint8_t *sealed, size_t size);
// Fixes U2. TRIB_ERR_STATE: fewer than T, or somebody has too few neighbours left.
TRIB_CHECKED enum trib_err trib_secagg_hub_close_shares(struct trib_secagg_hub *hub);
// What is for `member`: appended to `buf`, neighbours in U2 in ascending order; their count.
uint32_t trib_secagg_hub_sealed_for(const struct trib_secagg_hub *hub, uint32_t member,
                                    struct trib_buf *buf);
const uint8_t *trib_secagg_hub_shared_set(const struct trib_secagg_hub *hub); // U2

// R2: this member's masked integers are in the sum. TRIB_ERR_STATE: not of U2, or too late.
TRIB_CHECKED enum trib_err trib_secagg_hub_masked(struct trib_secagg_hub *hub, uint32_t member);
// Fixes U3; TRIB_ERR_STATE as for U2.
TRIB_CHECKED enum trib_err trib_secagg_hub_close_masked(struct trib_secagg_hub *hub);
const uint8_t *trib_secagg_hub_survivor_set(const struct trib_secagg_hub *hub); // U3
// BLAKE2b("U3" | round_hash | hash of U1 | U3): what members sign.
const uint8_t *trib_secagg_hub_seal_digest(const struct trib_secagg_hub *hub);

// R3. TRIB_ERR_AUTH: not its signature on this set. A second time changes nothing.
TRIB_CHECKED enum trib_err trib_secagg_hub_consent(
    struct trib_secagg_hub *hub, uint32_t member,
    const uint8_t signature[static TRIB_SIGNATURE_SIZE]);
bool trib_secagg_hub_has_consent(const struct trib_secagg_hub *hub); // of T
const uint8_t *trib_secagg_hub_signer_set(const struct trib_secagg_hub *hub);
void trib_secagg_hub_signatures(const struct trib_secagg_hub *hub, struct trib_buf *buf);

// R4: a member's shares. TRIB_ERR_DATA: not the right number. A second time changes nothing.
TRIB_CHECKED enum trib_err trib_secagg_hub_unmask(struct trib_secagg_hub *hub, uint32_t member,
                                                  const uint8_t *shares, size_t size);
bool trib_secagg_hub_can_open(const struct trib_secagg_hub *hub); // enough shares of every secret
// Put every secret together and check it against what was advertised. TRIB_ERR_PROTO: some share
// was wrong (the members at fault cannot be told): the round is to be abandoned. TRIB_ERR_STATE: no
// consents of T, or shares are missing.
TRIB_CHECKED enum trib_err trib_secagg_hub_open(struct trib_secagg_hub *hub);
// Take the masks out of sums[0 .. count) = coordinates begin .. begin + count, modulo 2^32; the
// caller lifts to the word. From any number of threads at once, after _open.
void trib_secagg_hub_remove(const struct trib_secagg_hub *hub, size_t begin, size_t count,
                            uint32_t *sums);

// The hub as bytes, from _close_masked on, and back: what is made durable with the seal. Consents
// and shares that came are in it; what _open found is not: open again. TRIB_ERR_CORRUPT: not such
// bytes, or of another round.
void trib_secagg_hub_pack(const struct trib_secagg_hub *hub, struct trib_buf *buf);
TRIB_CHECKED enum trib_err trib_secagg_hub_unpack(const uint8_t *data, size_t size,
                                                  const struct trib_secagg_header *header,
                                                  const char *population,
                                                  struct trib_secagg_hub **ret_hub);

// BLAKE2b over the devices asked: names and sign keys in order of names, `count` of them.
void trib_secagg_invited_hash(const struct trib_secagg_entry *const *entries, uint32_t count,
                              uint8_t ret_hash[static TRIB_DIGEST_SIZE]);

#endif // TRIB_PRIVACY_SECAGG_H
