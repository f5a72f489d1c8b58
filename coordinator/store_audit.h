// store_audit.h - the audit log in the store (audit.h). A part of store.h, with its rules.
#ifndef TRIB_COORDINATOR_STORE_AUDIT_H
#define TRIB_COORDINATOR_STORE_AUDIT_H

#include "coordinator/audit.h"
#include "coordinator/store.h"

// Who signs: needed before anything is recorded.
struct trib_audit_signer {
    uint8_t seed[TRIB_SIGN_SEED_SIZE];
    uint8_t key[TRIB_SIGN_KEY_SIZE];
};
// Borrowed until the store is closed.
void trib_store_audit_signer(struct trib_store *store, const struct trib_audit_signer *signer);

// Append in the transaction that is open, or one of its own; the number is given here. Every
// TRIB_AUDIT_INTERVAL-th gets a checkpoint.
TRIB_CHECKED enum trib_err trib_store_audit(struct trib_store *store,
                                            const struct trib_audit_record *record);
// Sign the last record unless it is signed.
TRIB_CHECKED enum trib_err trib_store_audit_checkpoint(struct trib_store *store);

typedef void (*trib_store_audit_fn)(void *user, const struct trib_audit_record *record);
// Records from number `since` on, at most `limit`, oldest first.
TRIB_CHECKED enum trib_err trib_store_audit_list(struct trib_store *store, uint64_t since,
                                                 uint64_t limit, trib_store_audit_fn row,
                                                 void *user);
// The number of the last record; 0: there is none.
TRIB_CHECKED enum trib_err trib_store_audit_last(struct trib_store *store, uint64_t *ret_number);
// Go on with `check`, which has begun, for at most `limit` records. False in *ret_is_over: there may
// be more.
TRIB_CHECKED enum trib_err trib_store_audit_check_part(struct trib_store *store,
                                                       struct trib_audit_check *check,
                                                       uint64_t limit, bool *ret_is_over);
// Read the log from its first record to its last into `check`, which has begun.
TRIB_CHECKED enum trib_err trib_store_audit_check(struct trib_store *store,
                                                  struct trib_audit_check *check);

#endif // TRIB_COORDINATOR_STORE_AUDIT_H
