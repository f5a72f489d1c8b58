#include "common/wire/codec.h"

#include <assert.h>
#include <string.h>

#include "common/base/bytes.h"

enum {
    BLOCK = 1024 // words unpacked at a time, so that they stay in the first cache
};

void trib_codec_pack(const int32_t *words, size_t count, unsigned word_bits, uint8_t *out)
{
    assert(word_bits == 16 || word_bits == 24 || word_bits == 32);
    const int32_t limit = (int32_t)((1ull << (word_bits - 1)) - 1);
    const size_t size = word_bits / 8;
    for (size_t i = 0; i < count; i++) {
        assert(words[i] <= limit && words[i] >= -limit - 1);
        uint32_t word = (uint32_t)words[i];
        for (size_t b = 0; b < size; b++)
            *out++ = (uint8_t)(word >> (8 * b));
    }
}

static void unpack_16(const uint8_t *in, size_t count, int32_t *words)
{
    for (size_t i = 0; i < count; i++)
        words[i] = (int16_t)trib_load_le16(in + 2 * i);
}

// All but the last word are read as four bytes, which compilers turn into wide shuffles.
static void unpack_24(const uint8_t *in, size_t count, int32_t *words)
{
    for (size_t i = 0; i + 1 < count; i++)
        words[i] = (int32_t)(trib_load_le32(in + 3 * i) << 8) >> 8;
    if (count > 0) {
        const uint8_t *last = in + 3 * (count - 1);
        uint32_t word = (uint32_t)last[0] << 8 | (uint32_t)last[1] << 16 | (uint32_t)last[2] << 24;
        words[count - 1] = (int32_t)word >> 8;
    }
}

static void unpack_32(const uint8_t *in, size_t count, int32_t *words)
{
    for (size_t i = 0; i < count; i++)
        words[i] = (int32_t)trib_load_le32(in + 4 * i);
}

void trib_codec_unpack(const uint8_t *in, size_t count, unsigned word_bits, int32_t *words)
{
    switch (word_bits) {
    case 16: unpack_16(in, count, words); return;
    case 24: unpack_24(in, count, words); return;
    case 32: unpack_32(in, count, words); return;
    default: assert(word_bits == 32); // ours to have checked
    }
}

void trib_codec_add(const uint8_t *in, size_t count, unsigned word_bits, uint32_t weight,
                    int64_t *sums)
{
    int32_t words[BLOCK];
    const int64_t factor = weight;
    for (size_t first = 0; first < count; first += BLOCK) {
        size_t block = count - first < BLOCK ? count - first : BLOCK;
        trib_codec_unpack(in + trib_codec_size(first, word_bits), block, word_bits, words);
        if (factor == 1) {
            for (size_t i = 0; i < block; i++)
                sums[first + i] += words[i];
        } else {
            for (size_t i = 0; i < block; i++)
                sums[first + i] += factor * words[i];
        }
    }
}

// sum + high 2^32 + low, and no more than UINT64_MAX.
static uint64_t squares_add(uint64_t sum, uint64_t high, uint32_t low)
{
    if (high >> 32)
        return UINT64_MAX;
    uint64_t more = high << 32 | low;
    return more > UINT64_MAX - sum ? UINT64_MAX : sum + more;
}

void trib_codec_norms_add(const uint8_t *in, size_t count, unsigned word_bits,
                          struct trib_codec_norms *norms)
{
    int32_t words[BLOCK];
    for (size_t first = 0; first < count; first += BLOCK) {
        size_t block = count - first < BLOCK ? count - first : BLOCK;
        uint32_t max = 0;
        uint64_t sum = 0;
        uint64_t low = 0, high = 0; // of the squares, halved so that neither sum can overflow
        trib_codec_unpack(in + trib_codec_size(first, word_bits), block, word_bits, words);
        for (size_t i = 0; i < block; i++) {
            uint32_t magnitude = words[i] < 0 ? -(uint32_t)words[i] : (uint32_t)words[i];
            max = magnitude > max ? magnitude : max;
            sum += magnitude;
            uint64_t square = (uint64_t)magnitude * magnitude;
            low += (uint32_t)square;
            high += square >> 32;
        }
        norms->max_abs = max > norms->max_abs ? max : norms->max_abs;
        norms->sum_abs += sum;
        norms->sum_squares = squares_add(norms->sum_squares, high + (low >> 32), (uint32_t)low);
    }
}
