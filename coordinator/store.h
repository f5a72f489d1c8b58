// store.h - the coordinator's ledger: devices, tokens, jobs, rounds, leases, updates, versions.
//
// One process, one connection, exclusive lock, WAL, synchronous=FULL: Debian's SQLite 3.40.1 has a
// WAL bug that needs two connections, and nobody else has business here. Every call comes from the
// commit thread (from the main thread before that runs). Numbers that are enums elsewhere are kept
// as they are. Errors are logged here with the statement: TRIB_ERR_STATE for a broken constraint,
// TRIB_ERR_IO, TRIB_ERR_CORRUPT, TRIB_ERR_NOMEM otherwise. After an error other than STATE the
// transaction is lost and the process must stop: recovery is from disk.
#ifndef TRIB_COORDINATOR_STORE_H
#define TRIB_COORDINATOR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/sign.h"
#include "coordinator/result.h"
#include "tributary/err.h"

struct trib_store;

// Open or make the store. TRIB_ERR_STATE: another coordinator runs on it.
TRIB_CHECKED enum trib_err trib_store_open(const char *path, struct trib_store **ret_store);
void trib_store_close(struct trib_store *store); // NULL is fine

// Write a whole copy to a file that is not there yet; outside of a transaction. The copy is
// consistent, and the caller's to fsync.
TRIB_CHECKED enum trib_err trib_store_copy(struct trib_store *store, const char *path);
// What the log has goes into the database, and the log is empty; outside of a transaction.
TRIB_CHECKED enum trib_err trib_store_checkpoint(struct trib_store *store);
// SQLite's integrity check, all of it. TRIB_ERR_CORRUPT: it fails, logged.
TRIB_CHECKED enum trib_err trib_store_verify(struct trib_store *store);

TRIB_CHECKED enum trib_err trib_store_begin(struct trib_store *store);
TRIB_CHECKED enum trib_err trib_store_commit(struct trib_store *store);
void trib_store_rollback(struct trib_store *store);
// A part of a transaction that can be undone alone.
TRIB_CHECKED enum trib_err trib_store_savepoint(struct trib_store *store);
TRIB_CHECKED enum trib_err trib_store_release(struct trib_store *store);
void trib_store_undo(struct trib_store *store);

TRIB_CHECKED enum trib_err trib_store_meta_set(struct trib_store *store, const char *key,
                                               uint64_t value);
TRIB_CHECKED enum trib_err trib_store_meta_get(struct trib_store *store, const char *key,
                                               uint64_t fallback, uint64_t *ret_value);

// ---- Devices and tokens

struct trib_store_device {
    uint64_t id; // given by insert
    char name[TRIB_NAME_MAX + 1];
    char group[TRIB_NAME_MAX + 1];
    uint8_t key[32];      // X25519
    uint8_t sign_key[32]; // Ed25519
    bool is_revoked;
    uint64_t enrolled_ms;
    uint64_t revoked_ms;
    uint64_t seen_ms;                    // last there, as far as was written; at first: enrolled
    bool has_roster;                     // an offline roster vouches for it (docs/operating.md)
    uint8_t roster[TRIB_SIGNATURE_SIZE]; // and this is its signature
    bool has_next;                       // it is about to have other keys
    uint8_t next_key[32];
    uint8_t next_sign_key[32];
};

struct trib_store_token {
    uint8_t id[8];
    uint8_t secret_hash[32];
    char name[TRIB_NAME_MAX + 1]; // "" : the coordinator gives one
    uint64_t uses_left;
    uint64_t expires_ms;
};

// STATE: the name or the key is taken.
TRIB_CHECKED enum trib_err trib_store_device_insert(struct trib_store *store,
                                                    const struct trib_store_device *device,
                                                    uint64_t *ret_id);
TRIB_CHECKED enum trib_err trib_store_device_revoke(struct trib_store *store, uint64_t id,
                                                    uint64_t now_ms);
// The device will come with these keys.
TRIB_CHECKED enum trib_err trib_store_device_next(struct trib_store *store, uint64_t id,
                                                  const uint8_t key[static 32],
                                                  const uint8_t sign_key[static 32]);
// It came: they are its keys now, and nobody vouches for them yet. STATE: there are none.
TRIB_CHECKED enum trib_err trib_store_device_promote(struct trib_store *store, uint64_t id);
TRIB_CHECKED enum trib_err trib_store_device_roster(
    struct trib_store *store, uint64_t id, const uint8_t signature[static TRIB_SIGNATURE_SIZE]);
TRIB_CHECKED enum trib_err trib_store_device_seen(struct trib_store *store, uint64_t id,
                                                  uint64_t seen_ms);
TRIB_CHECKED enum trib_err trib_store_token_insert(struct trib_store *store,
                                                   const struct trib_store_token *token);
// Those of this name are good no more. TRIB_ERR_STATE: there is a device of that name.
TRIB_CHECKED enum trib_err trib_store_tokens_void_named(struct trib_store *store, const char *name);
// No token is good any more.
TRIB_CHECKED enum trib_err trib_store_tokens_void(struct trib_store *store);
// One use less, tied to the device.
TRIB_CHECKED enum trib_err trib_store_token_use(struct trib_store *store, const uint8_t id[8],
                                                uint64_t device);

typedef void (*trib_store_device_fn)(void *user, const struct trib_store_device *device);
TRIB_CHECKED enum trib_err trib_store_devices(struct trib_store *store, trib_store_device_fn row,
                                              void *user);
typedef void (*trib_store_token_fn)(void *user, const struct trib_store_token *token);
TRIB_CHECKED enum trib_err trib_store_tokens(struct trib_store *store, trib_store_token_fn row,
                                             void *user);
// Which device used which token: for answering a repeated enrolment.
typedef void (*trib_store_token_use_fn)(void *user, const uint8_t token[8], uint64_t device);
TRIB_CHECKED enum trib_err trib_store_token_uses(struct trib_store *store,
                                                 trib_store_token_use_fn row, void *user);

// ---- Jobs

struct trib_store_job {
    uint64_t id;
    const char *name;
    const char *config; // the resolved file
    uint32_t state;
    uint64_t submitted_ms;
    uint64_t ended_ms;
    uint64_t start_version;
    uint64_t rounds_done;     // committed or abandoned
    double epsilon_pure, rho; // spent so far
    const char *reason;
};

TRIB_CHECKED enum trib_err trib_store_job_insert(struct trib_store *store,
                                                 const struct trib_store_job *job,
                                                 uint64_t *ret_id);
// State, ended_ms, start_version, rounds_done, spending and reason of the row with its id.
TRIB_CHECKED enum trib_err trib_store_job_update(struct trib_store *store,
                                                 const struct trib_store_job *job);
typedef void (*trib_store_job_fn)(void *user, const struct trib_store_job *job);
TRIB_CHECKED enum trib_err trib_store_jobs(struct trib_store *store, trib_store_job_fn row,
                                           void *user);

// ---- Versions

struct trib_store_version {
    uint64_t version;
    uint64_t generation;
    uint64_t parent;
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t job;
    uint64_t round;
    uint64_t round_number;
    const char *kind;
    const char *spec;
    uint64_t params;
    const uint8_t *manifest; // packed and signed
    size_t manifest_size;
    uint8_t signature[TRIB_SIGNATURE_SIZE];
    uint64_t created_ms;
    const char *metrics; // JSON object, or NULL
    bool has_value;
    double value;    // primary metric
    bool is_dropped; // its file is gone, or is about to go (store_old.h)
};

TRIB_CHECKED enum trib_err trib_store_version_insert(struct trib_store *store,
                                                     const struct trib_store_version *version);
typedef void (*trib_store_version_fn)(void *user, const struct trib_store_version *version);
// Versions above `after`, at most `limit`, oldest first.
TRIB_CHECKED enum trib_err trib_store_versions(struct trib_store *store, uint64_t after,
                                               uint64_t limit, trib_store_version_fn row,
                                               void *user);
// The same of one job; 0: of all.
TRIB_CHECKED enum trib_err trib_store_versions_of(struct trib_store *store, uint64_t job,
                                                  uint64_t after, uint64_t limit,
                                                  trib_store_version_fn row, void *user);
// The latest one; no row when there is none.
TRIB_CHECKED enum trib_err trib_store_version_head(struct trib_store *store,
                                                   trib_store_version_fn row, void *user);
// The best evaluated one of a job: largest value, or smallest.
TRIB_CHECKED enum trib_err trib_store_version_best(struct trib_store *store, uint64_t job,
                                                   bool higher_is_better, trib_store_version_fn row,
                                                   void *user);

// ---- Rounds, leases, updates

struct trib_store_round {
    uint64_t id;
    uint64_t job;
    uint64_t number; // with its pass: trib_round_key
    uint32_t state;
    uint64_t base_version;
    uint64_t opened_ms, ended_ms;
    struct trib_round_result result; // of a round that has ended
};

struct trib_store_lease {
    uint64_t round;
    uint64_t device;
    uint32_t order; // of the offer, from 0
    uint32_t state;
    uint32_t code;
    uint64_t changed_ms; // since when it is in this state; 0: not known
};

struct trib_store_update {
    uint8_t id[16];
    uint64_t round;
    uint64_t device;
    uint32_t slot;
    uint32_t weight;
    uint8_t digest[TRIB_DIGEST_SIZE];
    const uint8_t *checksums; // CRC32C of each 64 KiB of the slot, little-endian
    size_t checksums_size;
};

TRIB_CHECKED enum trib_err trib_store_round_insert(struct trib_store *store,
                                                   const struct trib_store_round *round);
TRIB_CHECKED enum trib_err trib_store_round_state(struct trib_store *store, uint64_t id,
                                                  uint32_t state);
// The last state, with what became of it.
TRIB_CHECKED enum trib_err trib_store_round_end(struct trib_store *store, uint64_t id,
                                                uint32_t state, uint64_t ended_ms,
                                                const struct trib_round_result *result);
typedef void (*trib_store_round_fn)(void *user, const struct trib_store_round *round);
// Ended rounds with ids above `after`, at most `limit`, oldest first; of one job, or
// all (0).
TRIB_CHECKED enum trib_err trib_store_rounds(struct trib_store *store, uint64_t job, uint64_t after,
                                             uint64_t limit, trib_store_round_fn row, void *user);
// One round; with id 0 the newest, whatever its state. No row when there is none.
TRIB_CHECKED enum trib_err trib_store_round_get(struct trib_store *store, uint64_t id,
                                                trib_store_round_fn row, void *user);

TRIB_CHECKED enum trib_err trib_store_lease_put(struct trib_store *store,
                                                const struct trib_store_lease *lease);
typedef void (*trib_store_lease_fn)(void *user, const struct trib_store_lease *lease,
                                    const char *device_name);
TRIB_CHECKED enum trib_err trib_store_leases(struct trib_store *store, uint64_t round,
                                             trib_store_lease_fn row, void *user);

TRIB_CHECKED enum trib_err trib_store_update_insert(struct trib_store *store,
                                                    const struct trib_store_update *update);
typedef void (*trib_store_update_fn)(void *user, const struct trib_store_update *update);
// Updates of rounds from `round_min` on, by round and device name.
TRIB_CHECKED enum trib_err trib_store_updates(struct trib_store *store, uint64_t round_min,
                                              trib_store_update_fn row, void *user);
// The one with this id; no row when there is none.
TRIB_CHECKED enum trib_err trib_store_update_get(struct trib_store *store,
                                                 const uint8_t id[static 16],
                                                 trib_store_update_fn row, void *user);
// Forget those of older rounds: their answers can no longer be asked for.
TRIB_CHECKED enum trib_err trib_store_updates_prune(struct trib_store *store, uint64_t round_min);

// ---- Secure aggregation: what a sealed round needs to go on after a restart

enum trib_store_secagg_kind {
    TRIB_STORE_SECAGG_HUB = 0,     // the hub as it was sealed; member 0
    TRIB_STORE_SECAGG_CONSENT = 1, // a member's signature on the set of survivors
    TRIB_STORE_SECAGG_SHARES = 2,  // a member's answer to the unmask request
};

struct trib_store_secagg {
    uint64_t round;
    uint32_t kind;
    uint32_t member;
    const uint8_t *data;
    size_t size;
};

TRIB_CHECKED enum trib_err trib_store_secagg_put(struct trib_store *store,
                                                 const struct trib_store_secagg *piece);
typedef void (*trib_store_secagg_fn)(void *user, const struct trib_store_secagg *piece);
// Of one round, by kind and member.
TRIB_CHECKED enum trib_err trib_store_secagg(struct trib_store *store, uint64_t round,
                                             trib_store_secagg_fn row, void *user);
// With the end of the round: shares and keys are of no more use to anybody.
TRIB_CHECKED enum trib_err trib_store_secagg_drop(struct trib_store *store, uint64_t round);

#endif // TRIB_COORDINATOR_STORE_H
