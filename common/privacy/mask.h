// mask.h - pseudorandom masks over vectors of words: ChaCha20 (RFC 8439) under a 256-bit key.
//
// The mask of a key is its key stream with nonce 0, as 32-bit little-endian words: word i belongs
// to coordinate i, so that any range can be made by any thread. A key masks one vector, ever. Words
// are added modulo 2^32; a word of fewer bits is the low bits of that sum (trib_mask_lift).
#ifndef TRIB_PRIVACY_MASK_H
#define TRIB_PRIVACY_MASK_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_MASK_KEY_SIZE = 32,
};

struct trib_mask {
    uint8_t key[TRIB_MASK_KEY_SIZE];
    bool is_subtracted;
};

// Add or subtract every mask: words[0 .. count) are coordinates begin .. begin + count. A piece of
// the words stays in the nearest cache while all masks pass over it.
void trib_mask_apply(const struct trib_mask *masks, size_t mask_count, size_t begin, size_t count,
                     uint32_t *words);

// The low `word_bits` bits (1 to 32) as a signed number: from -2^(w-1) to 2^(w-1) - 1.
static inline int32_t trib_mask_lift(uint32_t word, unsigned word_bits)
{
    assert(word_bits >= 1 && word_bits <= 32);
    uint32_t sign = UINT32_C(1) << (word_bits - 1);
    uint32_t low = word & (sign | (sign - 1));
    return (int32_t)((low ^ sign) - sign); // two's complement, as gcc and clang define it
}

#endif // TRIB_PRIVACY_MASK_H
