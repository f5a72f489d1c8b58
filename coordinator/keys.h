// keys.h - other keys for a coordinator, and the way from its first ones to those it has.
//
//     keys.chain           every statement that named other keys, oldest first (key_chain.h); public
//     coordinator.key.next 0600  the keys that are about to be
//     former-N.key         0600  the X25519 key that statement N replaced
//
// A change is done when keys.chain has it: the new keys are on the disk before, and become
// coordinator.key after it. A kill between is settled by the next who reads the directory. While
// former-N.key is there, sessions are answered under that key too, for devices that have not followed
// yet; without the file nobody can answer under it any more.
#ifndef TRIB_COORDINATOR_KEYS_H
#define TRIB_COORDINATOR_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/audit.h"
#include "coordinator/identity.h"
#include "coordinator/store_audit.h"
#include "tributary/err.h"

#define TRIB_KEYS_CHAIN "keys.chain"

enum {
    TRIB_KEYS_KEEP_DAYS = 400, // unless an operator says otherwise
    TRIB_KEYS_KEEP_DAYS_MAX = 3650,
    TRIB_KEYS_NAME_SIZE = 48,
};

// ---- What trib_identity_make and _load are made of

// Finish a change that was interrupted, or forget it if it was not done yet.
TRIB_CHECKED enum trib_err trib_keys_settle(const char *dir);
// The keys that a coordinator begins with.
void trib_keys_first(struct trib_identity *identity);
// Chain and former keys of DIR, for an identity whose present keys are known. TRIB_ERR_CORRUPT: the
// chain does not verify, or does not end with these keys.
TRIB_CHECKED enum trib_err trib_keys_load(const char *dir, struct trib_identity *identity);
// DIR/coordinator.pub
TRIB_CHECKED enum trib_err trib_keys_write_public(const char *dir, const uint8_t public[static 32]);

// ---- Changing

struct trib_keys_change {
    bool signing, transport; // at least one
    uint64_t keep_days;      // that the old transport key is answered; 0: not at all
    uint64_t now_ms;         // wall clock
};

// Nobody may have the directory open. TRIB_ERR_LIMIT (logged): as many as there may be.
TRIB_CHECKED enum trib_err trib_keys_rotate(const char *dir, const struct trib_keys_change *change,
                                            struct trib_identity *ret_identity);
// TRIB_ERR_DATA (logged): the store knows of changes that the chain does not have.
TRIB_CHECKED enum trib_err trib_keys_check(struct trib_store *store,
                                           const struct trib_identity *identity);
// Put changes that the audit log does not know into it, by `actor`: a transaction of its own.
TRIB_CHECKED enum trib_err trib_keys_record(struct trib_store *store,
                                            const struct trib_identity *identity, const char *actor,
                                            const char *role);

// "former-N.key"
void trib_keys_former_name(uint64_t id, char name[static TRIB_KEYS_NAME_SIZE]);
// Is it the name of a file that a coordinator with other keys has, and none without?
bool trib_keys_is_name(const char *name);

// ---- Using

// Is it signed by the release key, or by one that this coordinator had before?
bool trib_keys_verify(const struct trib_identity *identity, const char *context, const void *data,
                      size_t size, const uint8_t signature[static TRIB_SIGNATURE_SIZE]);
// Begin to check its audit log, which may be signed by several keys, one after another. `identity`
// is borrowed for as long.
void trib_keys_audit_check(const struct trib_identity *identity, struct trib_audit_check *check);
void trib_keys_audit_signer(const struct trib_identity *identity,
                            struct trib_audit_signer *ret_signer);
// What a device that enrols now pins.
static inline const struct trib_key_pins *trib_keys_now(const struct trib_identity *identity)
{
    return &identity->pins[identity->chain.count];
}
// The newest pins that name the session key with this public half; NULL: none do.
const struct trib_key_pins *trib_keys_pins_of(const struct trib_identity *identity,
                                              const uint8_t public[static 32]);

#endif // TRIB_COORDINATOR_KEYS_H
