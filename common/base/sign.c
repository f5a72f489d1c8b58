#include "common/base/sign.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "common/base/hash.h"

// What is signed is BLAKE2b-512(context, NUL, data): one pass over the data, domains kept apart.
static void message_of(const char *context, const void *data, size_t size,
                       uint8_t message[static TRIB_HASH_MAX])
{
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_HASH_MAX);
    trib_hash_update(&hash, context, strlen(context) + 1);
    trib_hash_update(&hash, data, size);
    trib_hash_final(&hash, message, TRIB_HASH_MAX);
}

static void expand(const uint8_t seed[static TRIB_SIGN_SEED_SIZE],
                   uint8_t key[static TRIB_SIGN_KEY_SIZE],
                   uint8_t secret[static crypto_sign_SECRETKEYBYTES])
{
    int failed = crypto_sign_seed_keypair(key, secret, seed);
    assert(failed == 0);
    (void)failed;
}

void trib_sign_public(const uint8_t seed[static TRIB_SIGN_SEED_SIZE],
                      uint8_t ret_key[static TRIB_SIGN_KEY_SIZE])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    expand(seed, ret_key, secret);
    sodium_memzero(secret, sizeof(secret));
}

void trib_sign(const uint8_t seed[static TRIB_SIGN_SEED_SIZE], const char *context,
               const void *data, size_t size, uint8_t ret_signature[static TRIB_SIGNATURE_SIZE])
{
    uint8_t key[TRIB_SIGN_KEY_SIZE];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    uint8_t message[TRIB_HASH_MAX];

    expand(seed, key, secret);
    message_of(context, data, size, message);
    (void)crypto_sign_detached(ret_signature, NULL, message, sizeof(message), secret);
    sodium_memzero(secret, sizeof(secret));
}

bool trib_sign_verify(const uint8_t key[static TRIB_SIGN_KEY_SIZE], const char *context,
                      const void *data, size_t size,
                      const uint8_t signature[static TRIB_SIGNATURE_SIZE])
{
    uint8_t message[TRIB_HASH_MAX];
    message_of(context, data, size, message);
    return crypto_sign_verify_detached(signature, message, sizeof(message), key) == 0;
}
