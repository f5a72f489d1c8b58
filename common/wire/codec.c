#include "common/wire/codec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/wide.h"
#include "common/base/wipe.h"

enum {
    BLOCK = 1024, // words at a time, so that they stay in the first cache
    LANES = 4,    // words of 24 bits in a vector
};

typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef int32_t words4 __attribute__((vector_size(16)));

// ---- Packing

TRIB_INLINE void pack_16(const int32_t *words, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++)
        trib_store_le16(out + 2 * i, (uint16_t)words[i]);
}

static void pack_24(const int32_t *words, size_t count, uint8_t *out)
{
    // All but the last word are written as four bytes, the last of which the next one covers.
    for (size_t i = 0; i + 1 < count; i++)
        trib_store_le32(out + 3 * i, (uint32_t)words[i]);
    if (count > 0) {
        const uint32_t word = (uint32_t)words[count - 1];
        for (size_t b = 0; b < 3; b++)
            out[3 * (count - 1) + b] = (uint8_t)(word >> (8 * b));
    }
}

TRIB_WIDE static void pack_24_wide(const int32_t *words, size_t count, uint8_t *out)
{
    size_t i = 0;
    for (; i + 2 * LANES <= count; i += LANES) { // four bytes more are written than are packed
        bytes16 in;
        memcpy(&in, words + i, sizeof(in));
        in = __builtin_shufflevector(in, in, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0);
        memcpy(out + 3 * i, &in, sizeof(in));
    }
    pack_24(words + i, count - i, out + 3 * i);
}

TRIB_INLINE void pack_32(const int32_t *words, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++)
        trib_store_le32(out + 4 * i, (uint32_t)words[i]);
}

static bool fits(const int32_t *words, size_t count, unsigned word_bits)
{
    const uint32_t half = 1u << (word_bits - 1);
    uint32_t over = 0;
    for (size_t i = 0; i < count; i++)
        over |= (uint32_t)words[i] + half;
    return word_bits == 32 || over >> word_bits == 0;
}

void trib_codec_pack(const int32_t *words, size_t count, unsigned word_bits, uint8_t *out)
{
    assert(fits(words, count, word_bits));
    switch (word_bits) {
    case 16: pack_16(words, count, out); return;
    case 24: (trib_is_wide() ? pack_24_wide : pack_24)(words, count, out); return;
    case 32: pack_32(words, count, out); return;
    default: assert(word_bits == 32); // ours to have checked
    }
}

uint8_t *trib_codec_pack_in_place(int32_t *words, size_t count, unsigned word_bits)
{
    int32_t block[BLOCK];
    const size_t size = trib_codec_size(count, word_bits);
    uint8_t *packed = (uint8_t *)words;
    for (size_t first = 0; first < count; first += BLOCK) {
        const size_t some = count - first < BLOCK ? count - first : BLOCK;
        memcpy(block, packed + first * sizeof(*words), some * sizeof(*words));
        trib_codec_pack(block, some, word_bits, packed + trib_codec_size(first, word_bits));
    }
    trib_wipe(block, sizeof(block));
    trib_wipe(packed + size, count * sizeof(*words) - size);
    uint8_t *less = realloc(packed, size > 0 ? size : 1);
    return less ? less : packed;
}

// ---- Unpacking

TRIB_INLINE void unpack_16(const uint8_t *in, size_t count, int32_t *words)
{
    for (size_t i = 0; i < count; i++)
        words[i] = (int16_t)trib_load_le16(in + 2 * i);
}

static void unpack_24(const uint8_t *in, size_t count, int32_t *words)
{
    // All but the last word are read as four bytes.
    for (size_t i = 0; i + 1 < count; i++)
        words[i] = (int32_t)(trib_load_le32(in + 3 * i) << 8) >> 8;
    if (count > 0) {
        const uint8_t *last = in + 3 * (count - 1);
        uint32_t word = (uint32_t)last[0] << 8 | (uint32_t)last[1] << 16 | (uint32_t)last[2] << 24;
        words[count - 1] = (int32_t)word >> 8;
    }
}

TRIB_WIDE static void unpack_24_wide(const uint8_t *in, size_t count, int32_t *words)
{
    size_t i = 0;
    for (; i + 2 * LANES <= count; i += LANES) { // four bytes more are read than are unpacked
        bytes16 bytes;
        memcpy(&bytes, in + 3 * i, sizeof(bytes));
        bytes = __builtin_shufflevector(bytes, bytes, 0, 0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 9, 10,
                                        11); // the first of each four goes
        const words4 four = (words4)bytes >> 8;
        memcpy(words + i, &four, sizeof(four));
    }
    unpack_24(in + 3 * i, count - i, words + i);
}

TRIB_INLINE void unpack_32(const uint8_t *in, size_t count, int32_t *words)
{
    for (size_t i = 0; i < count; i++)
        words[i] = (int32_t)trib_load_le32(in + 4 * i);
}

void trib_codec_unpack(const uint8_t *in, size_t count, unsigned word_bits, int32_t *words)
{
    switch (word_bits) {
    case 16: unpack_16(in, count, words); return;
    case 24: (trib_is_wide() ? unpack_24_wide : unpack_24)(in, count, words); return;
    case 32: unpack_32(in, count, words); return;
    default: assert(word_bits == 32); // ours to have checked
    }
}

// ---- Sums

TRIB_INLINE void add_loop(const int32_t *words, size_t count, uint32_t weight, int64_t *sums)
{
    if (weight == 1) {
        for (size_t i = 0; i < count; i++)
            sums[i] += words[i];
    } else {
        for (size_t i = 0; i < count; i++)
            sums[i] += (int64_t)weight * words[i];
    }
}

static void add_block(const int32_t *words, size_t count, uint32_t weight, int64_t *sums)
{
    add_loop(words, count, weight, sums);
}

TRIB_WIDE static void add_block_wide(const int32_t *words, size_t count, uint32_t weight,
                                     int64_t *sums)
{
    add_loop(words, count, weight, sums);
}

void trib_codec_add_words(const int32_t *words, size_t count, uint32_t weight, int64_t *sums)
{
    (trib_is_wide() ? add_block_wide : add_block)(words, count, weight, sums);
}

void trib_codec_add(const uint8_t *in, size_t count, unsigned word_bits, uint32_t weight,
                    int64_t *sums)
{
    int32_t words[BLOCK];
    for (size_t first = 0; first < count; first += BLOCK) {
        size_t block = count - first < BLOCK ? count - first : BLOCK;
        trib_codec_unpack(in + trib_codec_size(first, word_bits), block, word_bits, words);
        trib_codec_add_words(words, block, weight, sums + first);
    }
}

// ---- Norms

struct block_norms {
    uint32_t max;
    uint64_t sum;
    uint64_t low, high; // of the squares, halved so that neither sum can overflow
};

// Of at most BLOCK words.
TRIB_INLINE struct block_norms norms_loop(const int32_t *words, size_t count)
{
    struct block_norms norms = {0};
    for (size_t i = 0; i < count; i++) {
        const uint32_t magnitude = words[i] < 0 ? -(uint32_t)words[i] : (uint32_t)words[i];
        const uint64_t square = (uint64_t)magnitude * magnitude;
        norms.max = magnitude > norms.max ? magnitude : norms.max;
        norms.sum += magnitude;
        norms.low += square & UINT32_MAX;
        norms.high += square >> 32;
    }
    return norms;
}

static struct block_norms norms_of(const int32_t *words, size_t count)
{
    return norms_loop(words, count);
}

TRIB_WIDE static struct block_norms norms_of_wide(const int32_t *words, size_t count)
{
    return norms_loop(words, count);
}

// sum + high 2^32 + low, and no more than UINT64_MAX.
static uint64_t squares_add(uint64_t sum, uint64_t high, uint32_t low)
{
    if (high >> 32)
        return UINT64_MAX;
    uint64_t more = high << 32 | low;
    return more > UINT64_MAX - sum ? UINT64_MAX : sum + more;
}

static void norms_add_block(const int32_t *words, size_t count, struct trib_codec_norms *norms)
{
    const struct block_norms got =
        trib_is_wide() ? norms_of_wide(words, count) : norms_of(words, count);
    norms->max_abs = got.max > norms->max_abs ? got.max : norms->max_abs;
    norms->sum_abs += got.sum;
    norms->sum_squares =
        squares_add(norms->sum_squares, got.high + (got.low >> 32), (uint32_t)got.low);
}

void trib_codec_norms_add_words(const int32_t *words, size_t count, struct trib_codec_norms *norms)
{
    for (size_t first = 0; first < count; first += BLOCK)
        norms_add_block(words + first, count - first < BLOCK ? count - first : BLOCK, norms);
}

void trib_codec_norms_add(const uint8_t *in, size_t count, unsigned word_bits,
                          struct trib_codec_norms *norms)
{
    int32_t words[BLOCK];
    for (size_t first = 0; first < count; first += BLOCK) {
        size_t block = count - first < BLOCK ? count - first : BLOCK;
        trib_codec_unpack(in + trib_codec_size(first, word_bits), block, word_bits, words);
        norms_add_block(words, block, norms);
    }
}
