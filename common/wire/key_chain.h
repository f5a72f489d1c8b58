// key_chain.h - how a coordinator comes to other keys, and how those who pin the old ones follow.
//
// Each change of keys is a statement (trib_msg_key_statement): old keys, new keys, a number that is
// one above that of the statement before, signed by the old release key. The statements of a
// coordinator make a chain; who pins the keys of link n verifies link n + 1 and pins what it names. A
// statement is good for nobody who pins other keys or another number, so it can be neither replayed
// nor rolled back, and one of another coordinator, or with a link missing, moves nobody.
//
// What it rests on is the old release key: who has that one can move those who still pin it, and
// nobody else (docs/threat-model.md).
#ifndef TRIB_WIRE_KEY_CHAIN_H
#define TRIB_WIRE_KEY_CHAIN_H

#include <stdint.h>

#include "common/wire/message.h"
#include "tributary/err.h"

// What is pinned.
struct trib_key_pins {
    uint64_t sequence;                       // of the statement that named them; 0: none did
    uint8_t release_key[TRIB_SIGN_KEY_SIZE]; // Ed25519
    uint8_t coordinator_key[32];             // X25519
};

// Sign a statement (but for the old keys and the sequence, which follow from `pins`) with the seed of
// pins->release_key.
TRIB_CHECKED enum trib_err trib_key_link_make(const struct trib_key_pins *pins,
                                              const uint8_t seed[static TRIB_SIGN_SEED_SIZE],
                                              struct trib_msg_key_statement *statement,
                                              struct trib_msg_key_link *ret_link);

// Follow one link: ACCEPTED, and `pins` are what it names; or why not, and they are what they were:
// KEYS_OLD, KEYS_GAP, KEYS_FOREIGN, KEYS_SIGNATURE, MALFORMED, RETRY_LATER (no memory).
// `ret_statement` may be NULL.
enum trib_code trib_key_link_follow(struct trib_key_pins *pins,
                                    const struct trib_msg_key_link *link,
                                    struct trib_msg_key_statement *ret_statement);

#endif // TRIB_WIRE_KEY_CHAIN_H
