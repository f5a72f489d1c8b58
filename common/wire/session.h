// session.h - bytes to records and back: frames, the handshake, sealed records. Pure, no I/O.
//
//     frame    := u16 big-endian length | body                        length = size of body
//     hello    := u8 version | u8 type | mac1 (16) | Noise message 1   the client's first body
//     welcome  := Noise message 2                                      the coordinator's first body
//     record   := Noise transport message                              every later body
//     in it    := u8 type | u8 flags | u16 LE stream | u32 LE offset | payload
//
// mac1 = BLAKE2b-128(key = BLAKE2b-256("trib mac1" | S), version | type | message 1): who does not
// know the coordinator's public key S is dropped for one hash (one for each key that the coordinator
// answers to), before any curve arithmetic.
// Prologue = "tributary" | version | suite | BLAKE2b-128("trib id" | S).
// Both sides REKEY after every 2^16 records of a direction, by position only.
#ifndef TRIB_WIRE_SESSION_H
#define TRIB_WIRE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/wire/noise_ik.h"
#include "tributary/err.h"

enum {
    TRIB_SESSION_VERSION = 1,
    TRIB_SESSION_SUITE = 1, // 25519, ChaChaPoly, BLAKE2b
    TRIB_SESSION_TYPE_HELLO = 1,
    TRIB_FRAME_PREFIX_SIZE = 2,
    TRIB_SESSION_MAC_SIZE = 16,
    TRIB_TOKEN_ID_SIZE = 8,
    TRIB_TOKEN_SECRET_SIZE = 32,
    TRIB_WELCOME_SIZE = 24,
    TRIB_REKEY_RECORDS = 1 << 16,
    TRIB_SEALED_OVERHEAD = TRIB_FRAME_PREFIX_SIZE + TRIB_RECORD_HEADER_SIZE + TRIB_AEAD_TAG_SIZE,
};

enum trib_hello_kind {
    TRIB_HELLO_KNOWN = 0, // an enrolled or listed device
    TRIB_HELLO_TOKEN = 1, // a device that proves a one-time token; may only enrol
};

struct trib_hello {
    enum trib_hello_kind kind;
    uint8_t token_id[TRIB_TOKEN_ID_SIZE];
    uint8_t token_secret[TRIB_TOKEN_SECRET_SIZE];
    uint8_t static_key[TRIB_NOISE_KEY_SIZE]; // the device's; read side only
    uint8_t ephemeral[TRIB_NOISE_KEY_SIZE];  // for the replay cache; read side only
};

struct trib_welcome {
    uint8_t version;
    uint8_t status; // 0: ok
    uint32_t record_max;
    uint64_t time_ms; // the coordinator's wall clock
    uint32_t retry_min_ms, retry_max_ms;
};

struct trib_record {
    uint8_t type;
    uint8_t flags;
    uint16_t stream;
    uint32_t offset;
    const uint8_t *payload; // borrowed from the buffer given to open
    size_t payload_size;
};

enum trib_session_state {
    TRIB_SESSION_HANDSHAKE,
    TRIB_SESSION_OPEN,
    TRIB_SESSION_DEAD, // a message was refused: nothing is taken or given any more
};

enum {
    TRIB_SESSION_FORMER_MAX = 8,
};

// A key of a server's before the one it has, that it answers to still.
struct trib_session_key {
    int is_void; // atomic: it does not answer to it any more
    uint8_t mac_key[TRIB_NOISE_KEY_SIZE];
    uint8_t secret[TRIB_NOISE_KEY_SIZE];
    uint8_t public[TRIB_NOISE_KEY_SIZE];
};

struct trib_session_keys {
    size_t count;
    struct trib_session_key keys[TRIB_SESSION_FORMER_MAX];
};

// Add one; not when there are TRIB_SESSION_FORMER_MAX.
void trib_session_key_add(struct trib_session_keys *keys,
                          const uint8_t secret[static TRIB_NOISE_KEY_SIZE],
                          const uint8_t public[static TRIB_NOISE_KEY_SIZE]);
// Answer to it no more, from any thread; sessions that are open stay so.
void trib_session_key_void(struct trib_session_key *key);
bool trib_session_key_is_void(const struct trib_session_key *key);

struct trib_session {
    enum trib_session_state state;
    bool is_client;
    uint8_t mac_key[TRIB_NOISE_KEY_SIZE];
    uint8_t secret[TRIB_NOISE_KEY_SIZE];    // server: ours, until a hello with a good mac1 came
    uint8_t public[TRIB_NOISE_KEY_SIZE];    // server: that it was called by, once it was
    const struct trib_session_keys *former; // server: NULL: none
    struct trib_noise_handshake handshake;
    struct trib_noise_cipher send, receive;
    uint64_t sent, received; // records
};

// Cheap for a server: no curve arithmetic is done for a peer before its mac1 was good.
void trib_session_init_server(struct trib_session *session,
                              const uint8_t secret[static TRIB_NOISE_KEY_SIZE],
                              const uint8_t public[static TRIB_NOISE_KEY_SIZE]);
// Before the first hello: answer to these keys too. Borrowed until the handshake is over.
void trib_session_set_former(struct trib_session *session, const struct trib_session_keys *former);
void trib_session_init_client(struct trib_session *session,
                              const uint8_t secret[static TRIB_NOISE_KEY_SIZE],
                              const uint8_t coordinator[static TRIB_NOISE_KEY_SIZE]);
void trib_session_fini(struct trib_session *session);

// Client: the first frame, with its length.
TRIB_CHECKED enum trib_err trib_session_write_hello(struct trib_session *session,
                                                    const struct trib_hello *hello,
                                                    uint8_t out[static TRIB_HANDSHAKE_MAX],
                                                    size_t *ret_size);
// Server: TRIB_ERR_PROTO: not a hello of ours; TRIB_ERR_AUTH: mac1 or Noise refused it.
// Nothing has been sent: to stay silent, close.
TRIB_CHECKED enum trib_err trib_session_read_hello(struct trib_session *session,
                                                   const uint8_t *body, size_t size,
                                                   struct trib_hello *ret_hello);
// Only the mac1 of a hello: one hash, and one for each former key.
bool trib_session_mac_is_good(const struct trib_session *session, const uint8_t *body, size_t size);
// The ephemeral key in a hello whose mac1 is good: 32 bytes of `body`.
const uint8_t *trib_session_hello_ephemeral(const uint8_t *body);
// Server: the answer, with its length; the session is open afterwards.
TRIB_CHECKED enum trib_err trib_session_write_welcome(struct trib_session *session,
                                                      const struct trib_welcome *welcome,
                                                      uint8_t out[static TRIB_HANDSHAKE_MAX],
                                                      size_t *ret_size);
// Client: the session is open afterwards.
TRIB_CHECKED enum trib_err trib_session_read_welcome(struct trib_session *session,
                                                     const uint8_t *body, size_t size,
                                                     struct trib_welcome *ret_welcome);

// One sealed record with its frame length, in `out`, which has room for payload_size +
// TRIB_SEALED_OVERHEAD bytes. The payload is borrowed and at most TRIB_RECORD_PAYLOAD_MAX.
TRIB_CHECKED enum trib_err trib_session_seal(struct trib_session *session,
                                             const struct trib_record *record, uint8_t *out,
                                             size_t *ret_size);
// Opens in place. TRIB_ERR_AUTH: not genuine, out of order or replayed: the session is dead.
TRIB_CHECKED enum trib_err trib_session_open(struct trib_session *session, uint8_t *body,
                                             size_t size, struct trib_record *ret_record);

#endif // TRIB_WIRE_SESSION_H
