// codec.h - an update's integers as packed little-endian words of 16, 24 or 32 bits (two's
// complement), and sums over packed words without unpacking them first.
#ifndef TRIB_WIRE_CODEC_H
#define TRIB_WIRE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes of `count` words.
static inline size_t trib_codec_size(size_t count, unsigned word_bits)
{
    return count * (word_bits / 8);
}

// Each word must fit; asserts that it does (the encoder made it so). `out` has trib_codec_size.
void trib_codec_pack(const int32_t *words, size_t count, unsigned word_bits, uint8_t *out);
// The same where the words lie: what trib_codec_pack would have written, in the words' own memory,
// which becomes smaller and may move. Takes `words` (from trib_alloc*); what is left of them is
// wiped.
uint8_t *trib_codec_pack_in_place(int32_t *words, size_t count, unsigned word_bits);
void trib_codec_unpack(const uint8_t *in, size_t count, unsigned word_bits, int32_t *words);

// sums[i] += weight * word_i. The caller sees to it that the sums cannot overflow (aggregate.h).
void trib_codec_add(const uint8_t *in, size_t count, unsigned word_bits, uint32_t weight,
                    int64_t *sums);
// The same of words that were never packed.
void trib_codec_add_words(const int32_t *words, size_t count, uint32_t weight, int64_t *sums);

struct trib_codec_norms {
    uint64_t max_abs;
    uint64_t sum_abs;
    uint64_t sum_squares; // exact, or UINT64_MAX when it is not below that
};
// Fold `count` words into `norms` (zero at the start).
void trib_codec_norms_add(const uint8_t *in, size_t count, unsigned word_bits,
                          struct trib_codec_norms *norms);
void trib_codec_norms_add_words(const int32_t *words, size_t count, struct trib_codec_norms *norms);

#endif // TRIB_WIRE_CODEC_H
