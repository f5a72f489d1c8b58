#include "common/base/hash.h"

#include <assert.h>
#include <sodium.h>

#include "common/base/bytes.h"

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(struct trib_hash), "opaque too small");

static crypto_generichash_state *state_of(struct trib_hash *hash)
{
    return (crypto_generichash_state *)(void *)hash->opaque;
}

void trib_hash_init(struct trib_hash *hash, const void *key, size_t key_size, size_t hash_size)
{
    int failed = crypto_generichash_init(state_of(hash), key, key_size, hash_size);
    assert(failed == 0); // only sizes can be wrong, and those are ours
    (void)failed;
}

void trib_hash_update(struct trib_hash *hash, const void *data, size_t size)
{
    (void)crypto_generichash_update(state_of(hash), data, size);
}

void trib_hash_final(struct trib_hash *hash, uint8_t *ret_hash, size_t hash_size)
{
    int failed = crypto_generichash_final(state_of(hash), ret_hash, hash_size);
    assert(failed == 0);
    (void)failed;
    sodium_memzero(hash, sizeof(*hash));
}

void trib_digest(const void *data, size_t size, uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, data, size);
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}

uint64_t trib_hash_short(const uint8_t key[static 16], const void *data, size_t size)
{
    uint8_t hash[crypto_shorthash_BYTES];
    (void)crypto_shorthash(hash, data, size, key);
    return trib_load_le64(hash);
}
