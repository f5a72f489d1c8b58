// noise_ik.h - Noise_IK_25519_ChaChaPoly_BLAKE2b (Noise Protocol Framework, revision 34).
//
//     IK:
//       <- s                    the initiator knows the responder's static key
//       ...
//       -> e, es, s, ss         message 1
//       <- e, ee, se            message 2
//
// A pure state machine on the caller's storage. Every function works on a copy and commits only
// when all of it went well, so a refused message leaves no trace. Secrets are wiped as soon as they
// are used.
#ifndef TRIB_WIRE_NOISE_IK_H
#define TRIB_WIRE_NOISE_IK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

enum {
    TRIB_NOISE_KEY_SIZE = 32,
    TRIB_NOISE_HASH_SIZE = 64,
    TRIB_NOISE_TAG_SIZE = 16,
    TRIB_NOISE_MESSAGE_1_SIZE = 32 + 32 + 16 + 16, // without its payload
    TRIB_NOISE_MESSAGE_2_SIZE = 32 + 16,
};

// One direction of an established session (Noise 5.1).
struct trib_noise_cipher {
    uint8_t key[TRIB_NOISE_KEY_SIZE];
    uint64_t nonce; // of the next message; never wraps
};

struct trib_noise_handshake {
    uint8_t chaining_key[TRIB_NOISE_HASH_SIZE];
    uint8_t hash[TRIB_NOISE_HASH_SIZE];
    struct trib_noise_cipher cipher;
    uint8_t static_secret[TRIB_NOISE_KEY_SIZE];
    uint8_t static_public[TRIB_NOISE_KEY_SIZE];
    uint8_t ephemeral_secret[TRIB_NOISE_KEY_SIZE];
    uint8_t ephemeral_public[TRIB_NOISE_KEY_SIZE];
    uint8_t remote_static[TRIB_NOISE_KEY_SIZE]; // the responder learns it from message 1
    uint8_t remote_ephemeral[TRIB_NOISE_KEY_SIZE];
    bool is_initiator;
};

// `remote_static` is the responder's public key for an initiator, NULL for a responder.
void trib_noise_handshake_init(struct trib_noise_handshake *handshake, bool is_initiator,
                               const uint8_t static_secret[static TRIB_NOISE_KEY_SIZE],
                               const uint8_t *remote_static, const void *prologue,
                               size_t prologue_size);
// A known ephemeral key, for test vectors only.
void trib_noise_handshake_set_ephemeral(struct trib_noise_handshake *handshake,
                                        const uint8_t secret[static TRIB_NOISE_KEY_SIZE]);
void trib_noise_handshake_fini(struct trib_noise_handshake *handshake);

// Initiator. `out` has room for TRIB_NOISE_MESSAGE_1_SIZE + payload_size bytes.
TRIB_CHECKED enum trib_err trib_noise_write_1(struct trib_noise_handshake *handshake,
                                              const uint8_t *payload, size_t payload_size,
                                              uint8_t *out);
// Responder. `ret_payload` has room for size - TRIB_NOISE_MESSAGE_1_SIZE bytes. TRIB_ERR_AUTH if
// the message is not genuine; afterwards handshake->remote_static says who claims to speak.
TRIB_CHECKED enum trib_err trib_noise_read_1(struct trib_noise_handshake *handshake,
                                             const uint8_t *data, size_t size,
                                             uint8_t *ret_payload);
TRIB_CHECKED enum trib_err trib_noise_write_2(struct trib_noise_handshake *handshake,
                                              const uint8_t *payload, size_t payload_size,
                                              uint8_t *out);
TRIB_CHECKED enum trib_err trib_noise_read_2(struct trib_noise_handshake *handshake,
                                             const uint8_t *data, size_t size,
                                             uint8_t *ret_payload);

// After message 2: the two directions (Noise 5.2, Split). The handshake is wiped but for its hash.
void trib_noise_split(struct trib_noise_handshake *handshake, struct trib_noise_cipher *ret_send,
                      struct trib_noise_cipher *ret_receive);

// `out` has room for size + TRIB_NOISE_TAG_SIZE bytes; it may be `data`. TRIB_ERR_LIMIT when the
// nonce would wrap.
TRIB_CHECKED enum trib_err trib_noise_encrypt(struct trib_noise_cipher *cipher, const uint8_t *data,
                                              size_t size, uint8_t *out);
// `size` includes the tag; `out` has room for size - TRIB_NOISE_TAG_SIZE bytes; it may be `data`.
// TRIB_ERR_AUTH if it is not genuine; the nonce then stays.
TRIB_CHECKED enum trib_err trib_noise_decrypt(struct trib_noise_cipher *cipher, const uint8_t *data,
                                              size_t size, uint8_t *out);
// Noise 4.2: REKEY(k).
void trib_noise_rekey(struct trib_noise_cipher *cipher);

// The public key of a secret one.
void trib_noise_public(const uint8_t secret[static TRIB_NOISE_KEY_SIZE],
                       uint8_t ret_public[static TRIB_NOISE_KEY_SIZE]);

#endif // TRIB_WIRE_NOISE_IK_H
