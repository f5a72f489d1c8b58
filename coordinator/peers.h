// peers.h - who may talk to this coordinator: enrolled devices, tokens, the allow-list.
//
// Handshakes are judged on worker threads; everything else happens on the state thread. One lock
// guards what both touch. Changes come here after they are durable, never before.
#ifndef TRIB_COORDINATOR_PEERS_H
#define TRIB_COORDINATOR_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/link.h"
#include "common/wire/message.h"
#include "common/wire/session.h"
#include "coordinator/store.h"
#include "tributary/err.h"

struct trib_session_link; // a live connection, server.h

// An enrolled device. Lives as long as the directory; only the state thread touches the fields
// below the line.
struct trib_peer {
    struct trib_store_device row; // is_revoked is guarded by the directory's lock
    // ----
    struct trib_session_link *live; // NULL: not connected
    uint64_t gone_ms; // when it was last seen to leave, as at the start; 0: it never was there
    uint64_t seen_ms; // wall clock: when it was last there, if it is not connected
    uint64_t version; // last one it said it has
    enum trib_code declined;     // why it last did not take a task, or left it
    bool has_declined;           // the last task that it was offered
    enum trib_code install_code; // what became of the last version it was offered
    bool has_key_sequence;       // it has said which of our keys it pins, since the start:
    uint64_t key_sequence;       // those of this statement
    enum trib_code keys_code;    // what became of the last that it was told of
    uint64_t conflict_round;     // the newest round when its last conflict was recorded
    uint64_t twins;              // times that its key was found in two live sessions
    uint64_t twin_ms;            // when that was last recorded; 0: never
    bool is_asking;              // the store is asked about an update of before
};

enum trib_verdict {
    TRIB_VERDICT_DEVICE,  // enrolled
    TRIB_VERDICT_TOKEN,   // proves a token: may enrol
    TRIB_VERDICT_LISTED,  // on the allow-list: may enrol
    TRIB_VERDICT_PENDING, // unknown, but may ask to be let in (enrol.pending = yes)
    TRIB_VERDICT_UNKNOWN, // silence
    TRIB_VERDICT_REPLAY,  // silence
    TRIB_VERDICT_BUSY,    // the handshake budget is used up: silence
};

struct trib_peers;

// Handshakes a second that are judged at all, and of those from one address.
TRIB_CHECKED enum trib_err trib_peers_create(uint64_t handshakes_per_second,
                                             uint64_t handshakes_per_source,
                                             struct trib_peers **ret_peers);
void trib_peers_destroy(struct trib_peers *peers);
TRIB_CHECKED enum trib_err trib_peers_load(struct trib_peers *peers, struct trib_store *store,
                                           uint64_t now_ms);
// Read an allow-list: "base64(key) name group [expires]" a line, # comments; replaces the old one.
// expires is RFC 3339 or a date; an expired line is skipped. TRIB_ERR_INVAL names file and line.
TRIB_CHECKED enum trib_err trib_peers_allow(struct trib_peers *peers, const char *path,
                                            uint64_t wall_ms);

// Any thread, before a hello is read, which is what costs. BUSY, or REPLAY of one that was judged;
// UNKNOWN: nothing speaks against reading it, and it was taken from the budgets. `source` is the
// address it comes from, without a port.
enum trib_verdict trib_peers_knock(struct trib_peers *peers,
                                   const uint8_t ephemeral[static TRIB_NOISE_KEY_SIZE],
                                   const char *source, uint64_t now_ms);
// Any thread, once it was read. For DEVICE *ret_peer is set. Never BUSY.
enum trib_verdict trib_peers_judge(struct trib_peers *peers, const struct trib_hello *hello,
                                   uint64_t wall_ms, struct trib_peer **ret_peer);

// ---- State thread

// How a key would be enrolled: fills name, group and key of the row. STATE: the key has no right
// to; LIMIT: the name is taken. When the key is enrolled already, *ret_peer is that device.
struct trib_enrolment {
    enum trib_verdict how; // TOKEN, LISTED or PENDING
    uint8_t token_id[TRIB_TOKEN_ID_SIZE];
    uint8_t key[32];
};
TRIB_CHECKED enum trib_err trib_peers_plan(struct trib_peers *peers,
                                           const struct trib_enrolment *enrolment,
                                           struct trib_store_device *ret_row,
                                           struct trib_peer **ret_peer);
// After the row is durable. `token_id` is NULL for a listed key.
TRIB_CHECKED enum trib_err trib_peers_add(struct trib_peers *peers,
                                          const struct trib_store_device *row,
                                          const uint8_t *token_id, struct trib_peer **ret_peer);
TRIB_CHECKED enum trib_err trib_peers_token_add(struct trib_peers *peers,
                                                const struct trib_store_token *token);
// Those of this name are good no more.
void trib_peers_tokens_void(struct trib_peers *peers, const char *name);
// Keys that a device will come with, once they are durable.
TRIB_CHECKED enum trib_err trib_peers_next(struct trib_peers *peers, struct trib_peer *peer,
                                           const uint8_t key[static 32],
                                           const uint8_t sign_key[static 32]);
// May this key become the device's? Not if another one has it.
bool trib_peers_key_is_free(struct trib_peers *peers, const struct trib_peer *peer,
                            const uint8_t key[static 32]);
// It came with them: the old ones are nobody's.
void trib_peers_promote(struct trib_peers *peers, struct trib_peer *peer);
void trib_peers_revoke(struct trib_peers *peers, struct trib_peer *peer, uint64_t wall_ms);

// ---- Keys that asked and wait for an operator: in memory only, forgotten with the process and
// after seven days, so that strangers cannot fill a disk
enum {
    TRIB_PENDING_MAX = 1000,
    TRIB_PENDING_PER_SOURCE = 5,
    TRIB_PENDING_DAYS = 7,
};
struct trib_pending {
    uint8_t key[32];
    uint8_t sign_key[32];
    trib_name name; // it will have: "dev-" and its fingerprint
    char source[TRIB_PEER_TEXT_SIZE];
    uint64_t asked_ms;
};
void trib_peers_pending_allow(struct trib_peers *peers, bool allow);
// TRIB_ERR_LIMIT: too many wait, or too many from this address. Asking again changes nothing.
TRIB_CHECKED enum trib_err trib_peers_pending_add(struct trib_peers *peers,
                                                  const struct trib_pending *pending,
                                                  uint64_t wall_ms);
size_t trib_peers_pending_count(const struct trib_peers *peers);
const struct trib_pending *trib_peers_pending_at(const struct trib_peers *peers, size_t index);
// By its name, its fingerprint (the digits of the name), or its key in base64; NULL if nobody like that waits.
const struct trib_pending *trib_peers_pending_find(const struct trib_peers *peers,
                                                   const char *text);
void trib_peers_pending_drop(struct trib_peers *peers, const uint8_t key[static 32]);

// Devices sorted by name, revoked ones too.
size_t trib_peers_count(const struct trib_peers *peers);
struct trib_peer *trib_peers_at(const struct trib_peers *peers, size_t index);
struct trib_peer *trib_peers_by_id(const struct trib_peers *peers, uint64_t id);
struct trib_peer *trib_peers_by_name(const struct trib_peers *peers, const char *name);
bool trib_peers_name_is_free(const struct trib_peers *peers, const char *name, uint64_t wall_ms);

#endif // TRIB_COORDINATOR_PEERS_H
