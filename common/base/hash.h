// hash.h - BLAKE2b (RFC 7693), keyed and unkeyed, whole or in pieces; SipHash-2-4 for short ones.
#ifndef TRIB_BASE_HASH_H
#define TRIB_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_DIGEST_SIZE = 32,      // BLAKE2b-256, the project's digest
    TRIB_DIGEST_TEXT_SIZE = 65, // in hexadecimal, and NUL
    TRIB_HASH_MAX = 64,
};

struct trib_hash {
    _Alignas(64) unsigned char opaque[384]; // crypto_generichash_state
};

// `key` may be NULL with key_size 0; key_size <= 64, 1 <= hash_size <= 64.
void trib_hash_init(struct trib_hash *hash, const void *key, size_t key_size, size_t hash_size);
void trib_hash_update(struct trib_hash *hash, const void *data, size_t size);
void trib_hash_final(struct trib_hash *hash, uint8_t *ret_hash, size_t hash_size);

// BLAKE2b-256 of one piece.
void trib_digest(const void *data, size_t size, uint8_t ret_digest[static TRIB_DIGEST_SIZE]);

// SipHash-2-4 (Aumasson and Bernstein 2012): 64 bits, fast, and enough to find what was damaged.
uint64_t trib_hash_short(const uint8_t key[static 16], const void *data, size_t size);

#endif // TRIB_BASE_HASH_H
