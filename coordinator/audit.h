// audit.h - the audit log: what is recorded, and how it is chained and signed.
//
//     hash(0) = BLAKE2b-256 of a constant text and the coordinator's release key
//     hash(n) = BLAKE2b-256 of a constant text, hash(n - 1), and record n
//
// Record n is its number and time as u64 little-endian, then each text behind its u32 length. Every
// TRIB_AUDIT_INTERVAL records, at the start and at the stop, a checkpoint signs number and hash with
// the release key (sign.h): whoever can write the store but does not have that key can change
// nothing before the last checkpoint without it being found. Schneier, Kelsey: "Secure Audit Logs to
// Support Computer Forensics", ACM TISSEC 2(2), 1999, section 3, without its forward security.
#ifndef TRIB_COORDINATOR_AUDIT_H
#define TRIB_COORDINATOR_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/hash.h"
#include "common/base/sign.h"
#include "common/wire/key_chain.h"

enum {
    TRIB_AUDIT_INTERVAL = 100, // records from checkpoint to checkpoint
    TRIB_AUDIT_WHAT_SIZE = 160,
};

// Texts are borrowed.
struct trib_audit_record {
    uint64_t number; // from 1
    uint64_t time_ms;
    const char *actor; // a user, a device, "coordinator"
    const char *role;  // "viewer", ..., "device", "coordinator"
    const char *action;
    const char *subject;
    const char *outcome; // "ok", or what was wrong
};

void trib_audit_begin(const uint8_t release_key[static TRIB_SIGN_KEY_SIZE],
                      uint8_t ret_hash[static TRIB_DIGEST_SIZE]);
// `hash` of the record before becomes that of this one.
void trib_audit_link(uint8_t hash[static TRIB_DIGEST_SIZE], const struct trib_audit_record *record);

void trib_audit_sign(const uint8_t seed[static TRIB_SIGN_SEED_SIZE], uint64_t number,
                     const uint8_t hash[static TRIB_DIGEST_SIZE],
                     uint8_t ret_signature[static TRIB_SIGNATURE_SIZE]);

// ---- Checking a log from the first record on

struct trib_audit_row {
    struct trib_audit_record record;
    uint8_t hash[TRIB_DIGEST_SIZE]; // as it is stored
    bool has_checkpoint;
    uint8_t signed_hash[TRIB_DIGEST_SIZE]; // of the checkpoint
    uint8_t signature[TRIB_SIGNATURE_SIZE];
};

struct trib_audit_check {
    const uint8_t *release_key; // that signed the last checkpoint
    // Release keys that may have followed it, oldest first, borrowed. From its first checkpoint on a
    // key is the only one, or a later one is.
    const struct trib_key_pins *later;
    size_t later_count;
    uint64_t known; // a record whose hash is known from elsewhere; 0: none
    uint8_t known_hash[TRIB_DIGEST_SIZE];
    uint64_t records, checkpoints;
    uint64_t checked;               // number of the last checkpoint
    uint8_t hash[TRIB_DIGEST_SIZE]; // of the last record
    bool is_broken;                 // nothing further is looked at
    uint64_t broken_at;             // a record's number
    char what[TRIB_AUDIT_WHAT_SIZE];
};

// `later` and `known` may be set after it.
void trib_audit_check_init(struct trib_audit_check *check,
                           const uint8_t release_key[static TRIB_SIGN_KEY_SIZE]);
void trib_audit_check_row(struct trib_audit_check *check, const struct trib_audit_row *row);
// After the last row: a checkpoint that no record belongs to, 0: none.
void trib_audit_check_end(struct trib_audit_check *check, uint64_t orphan);

#endif // TRIB_COORDINATOR_AUDIT_H
