// state.h - what a device keeps in its state directory, apart from models and updates.
//
//     device.key       0600  the device's own secrets: X25519 for sessions, Ed25519 for signatures
//     device.key.next  0600  those that it is about to have (rotate.h)
//     enrolment.ini    0600  what enrolment taught: the coordinator's address and keys, our name
//     client.ini       0600  the user's: where the data are, what the device allows
//     model.safetensors      the installed model with its signed manifest (slot.h)
//     local.part       0600  the model's part that is the device's own (local.h)
//     pipeline.ini     0600  the pipeline of the last task, to predict with (pipeline_file.h)
//     spool.update     0600  a finished update that waits to be acknowledged (spool.h)
//     counters         0600  what the application counted (counter_store.h), with counters.lock
//     privacy.ledger   0600  what was spent of the privacy budget, with privacy.head
//                            (common/privacy/ledger_file.h)
//     lock                   held while a client runs: two with one key would look like a clone
#ifndef TRIB_CLIENT_STATE_H
#define TRIB_CLIENT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/policy.h"
#include "common/base/conf.h"
#include "common/base/limits.h"
#include "common/base/sign.h"
#include "common/data/source.h"
#include "tributary/err.h"

enum {
    TRIB_STATE_KEY_SIZE = 32
};

struct trib_state_keys {
    uint8_t secret[TRIB_STATE_KEY_SIZE];    // X25519
    uint8_t sign_seed[TRIB_SIGN_SEED_SIZE]; // Ed25519
    uint8_t ledger[TRIB_STATE_KEY_SIZE];    // of the privacy ledger: the first `secret` it had
};

struct trib_state_enrolment {
    trib_conf_text url;
    trib_conf_text name; // the device's, given by the coordinator
    trib_conf_text population;
    uint8_t coordinator_key[TRIB_STATE_KEY_SIZE]; // X25519, pinned
    uint8_t release_key[TRIB_SIGN_KEY_SIZE];      // Ed25519, pinned: signs manifests
    uint64_t key_sequence;                        // of the statement that named these two; 0: none
    uint8_t first_key[TRIB_STATE_KEY_SIZE]; // `coordinator_key` of the enrolment: whom it takes
                                            // part for, in the privacy ledger
    bool has_model_key;                     // an installed model may be signed by a key before:
    uint8_t model_key[TRIB_SIGN_KEY_SIZE];
    bool has_roster_key;
    uint8_t roster_key[TRIB_SIGN_KEY_SIZE]; // Ed25519, pinned: vouches for members
};

// client.ini
struct trib_state_config {
    struct trib_data_config data;
    struct trib_policy policy;
    uint64_t reconnect_max_ms;
};

// DIR, made with mode 0700 if it is not there.
TRIB_CHECKED enum trib_err trib_state_make(const char *dir);

// The keys, made and stored when there are none yet. Wipe them when done.
TRIB_CHECKED enum trib_err trib_state_keys_make(const char *dir, struct trib_state_keys *ret_keys);
// TRIB_ERR_STATE: none yet; TRIB_ERR_CORRUPT: the file is not a key file; TRIB_ERR_AUTH: others may
// read it.
TRIB_CHECKED enum trib_err trib_state_keys_load(const char *dir, struct trib_state_keys *ret_keys);
// Keys to come (DIR/device.key.next): those that are there, or new ones; and from then on for good.
TRIB_CHECKED enum trib_err trib_state_keys_next(const char *dir, const struct trib_state_keys *keys,
                                                struct trib_state_keys *ret_next);
TRIB_CHECKED enum trib_err trib_state_keys_swap(const char *dir);
void trib_state_keys_wipe(struct trib_state_keys *keys);

// The roster key that counts: the owner's own (client.policy.roster_pk) before that of enrolment;
// NULL when there is none. Borrowed from one of the two.
const uint8_t *trib_state_roster(const struct trib_state_enrolment *enrolment,
                                 const struct trib_policy *policy);
// That key is the owner's, and not the one that the coordinator told when the device enrolled, with
// which it vouches itself.
bool trib_state_is_vouched_apart(const struct trib_state_enrolment *enrolment,
                                 const struct trib_policy *policy);

TRIB_CHECKED enum trib_err trib_state_enrolment_save(const char *dir,
                                                     const struct trib_state_enrolment *enrolment);
// TRIB_ERR_STATE: not enrolled.
TRIB_CHECKED enum trib_err trib_state_enrolment_load(const char *dir,
                                                     struct trib_state_enrolment *ret_enrolment);

// Write client.ini with comments, unless there is one already.
TRIB_CHECKED enum trib_err trib_state_config_write(const char *dir);
// TRIB_ERR_INVAL: there is none, or it is wrong; file, line and key are logged.
TRIB_CHECKED enum trib_err trib_state_config_load(const char *path,
                                                  struct trib_state_config *ret_config);

// Open the ledger of DIR with the policy's budget.
// TRIB_ERR_CORRUPT: it was tampered with.
TRIB_CHECKED enum trib_err trib_state_ledger(const char *dir, const struct trib_state_keys *keys,
                                             const struct trib_policy *policy,
                                             struct trib_ledger **ret_ledger);

// Keep others from running on this directory; released when the descriptor is closed.
// TRIB_ERR_STATE: somebody else holds it.
TRIB_CHECKED enum trib_err trib_state_lock(const char *dir, int *ret_fd);

#endif // TRIB_CLIENT_STATE_H
