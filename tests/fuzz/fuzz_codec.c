// The first byte chooses the words' size and the weight; the rest is a packed update. What is
// unpacked packs to the same bytes, sums and norms are those of the words, in one piece or two.
#include <stdlib.h>
#include <string.h>

#include "common/wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    WORDS_MAX = 4096
};

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

static void check_norms(const uint8_t *packed, const int32_t *words, size_t count, unsigned bits,
                        size_t cut)
{
    struct trib_codec_norms whole = {0};
    struct trib_codec_norms pieces = {0};
    struct trib_codec_norms plain = {0};
    uint64_t squares = 0;
    uint64_t sum = 0, max = 0;
    bool is_over = false;
    for (size_t i = 0; i < count; i++) {
        const uint64_t magnitude = (uint64_t)llabs((long long)words[i]);
        max = magnitude > max ? magnitude : max;
        sum += magnitude;
        if (__builtin_add_overflow(squares, magnitude * magnitude, &squares))
            is_over = true;
    }
    trib_codec_norms_add(packed, count, bits, &whole);
    trib_codec_norms_add(packed, cut, bits, &pieces);
    trib_codec_norms_add(packed + trib_codec_size(cut, bits), count - cut, bits, &pieces);
    trib_codec_norms_add_words(words, count, &plain);
    require(whole.max_abs == max && whole.sum_abs == sum);
    require(whole.sum_squares == (is_over ? UINT64_MAX : squares));
    require(memcmp(&whole, &pieces, sizeof(whole)) == 0);
    require(memcmp(&whole, &plain, sizeof(whole)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned sizes[] = {16, 24, 32};
    static int32_t words[WORDS_MAX];
    static uint8_t again[WORDS_MAX * 4];
    static int64_t sums[WORDS_MAX], wanted[WORDS_MAX];
    if (size < 2)
        return 0;
    const unsigned bits = sizes[data[0] % 3];
    const uint32_t weight = data[0] / 3u;
    size_t count = (size - 2) * 8 / bits;
    count = count < WORDS_MAX ? count : WORDS_MAX;
    const size_t packed_size = trib_codec_size(count, bits);
    const size_t cut = count > 0 ? data[1] % count : 0;
    // A copy that ends where the update does, so that a byte read too far is seen.
    uint8_t *packed = malloc(packed_size > 0 ? packed_size : 1);
    require(packed != NULL);
    memcpy(packed, data + 2, packed_size);

    trib_codec_unpack(packed, count, bits, words);
    trib_codec_pack(words, count, bits, again);
    require(memcmp(again, packed, packed_size) == 0);
    for (size_t i = 0; i < count; i++) {
        sums[i] = (int64_t)i - 7;
        wanted[i] = sums[i] + (int64_t)weight * words[i];
    }
    trib_codec_add(packed, count, bits, weight, sums);
    require(memcmp(sums, wanted, count * sizeof(*sums)) == 0);
    check_norms(packed, words, count, bits, cut);
    free(packed);
    return 0;
}
