// sign.h - Ed25519 signatures (RFC 8032).
#ifndef TRIB_BASE_SIGN_H
#define TRIB_BASE_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_SIGN_SEED_SIZE = 32, // the secret as it is stored
    TRIB_SIGN_KEY_SIZE = 32,  // the public key
    TRIB_SIGNATURE_SIZE = 64,
};

// The public key that belongs to `seed`.
void trib_sign_public(const uint8_t seed[static TRIB_SIGN_SEED_SIZE],
                      uint8_t ret_key[static TRIB_SIGN_KEY_SIZE]);

// Sign `context` (a constant text that says what is signed, NUL included) followed by `data`.
void trib_sign(const uint8_t seed[static TRIB_SIGN_SEED_SIZE], const char *context,
               const void *data, size_t size, uint8_t ret_signature[static TRIB_SIGNATURE_SIZE]);

bool trib_sign_verify(const uint8_t key[static TRIB_SIGN_KEY_SIZE], const char *context,
                      const void *data, size_t size,
                      const uint8_t signature[static TRIB_SIGNATURE_SIZE]);

#endif // TRIB_BASE_SIGN_H
