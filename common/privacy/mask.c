#include "common/privacy/mask.h"

#include <sodium.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/limits.h"
#include "common/base/wipe.h"

_Static_assert(TRIB_MASK_KEY_SIZE == crypto_stream_chacha20_ietf_KEYBYTES, "the key is a key");

enum {
    BLOCK_WORDS = 16,   // of ChaCha20, 64 bytes
    CHUNK_WORDS = 2048, // key stream and words together fill half of a 32 KiB cache
};

// The block counter has 32 bits: far more words than a model may have.
_Static_assert((uint64_t)TRIB_PARAMS_MAX / BLOCK_WORDS < UINT32_MAX, "the counter never wraps");

// Blocks of known size, so that the compiler can use vector registers.
static void add_block(const uint8_t *stream, uint32_t *words)
{
    for (int i = 0; i < BLOCK_WORDS; i++)
        words[i] += trib_load_le32(stream + 4 * i);
}

static void subtract_block(const uint8_t *stream, uint32_t *words)
{
    for (int i = 0; i < BLOCK_WORDS; i++)
        words[i] -= trib_load_le32(stream + 4 * i);
}

static void apply_stream(const uint8_t *stream, bool is_subtracted, uint32_t *words, size_t count)
{
    size_t i = 0;
    if (is_subtracted) {
        for (; i + BLOCK_WORDS <= count; i += BLOCK_WORDS)
            subtract_block(stream + 4 * i, words + i);
        for (; i < count; i++)
            words[i] -= trib_load_le32(stream + 4 * i);
    } else {
        for (; i + BLOCK_WORDS <= count; i += BLOCK_WORDS)
            add_block(stream + 4 * i, words + i);
        for (; i < count; i++)
            words[i] += trib_load_le32(stream + 4 * i);
    }
}

void trib_mask_apply(const struct trib_mask *masks, size_t mask_count, size_t begin, size_t count,
                     uint32_t *words)
{
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES] = {0};
    _Alignas(64) uint8_t stream[4 * CHUNK_WORDS];
    assert(begin <= TRIB_PARAMS_MAX && count <= TRIB_PARAMS_MAX - begin);

    while (count > 0) {
        size_t skip = begin % BLOCK_WORDS; // words of the first block that are before the range
        size_t part = count < CHUNK_WORDS - skip ? count : CHUNK_WORDS - skip;
        size_t size = 4 * (skip + part);
        for (size_t i = 0; i < mask_count; i++) {
            memset(stream, 0, size);
            (void)crypto_stream_chacha20_ietf_xor_ic(stream, stream, size, nonce,
                                                     (uint32_t)(begin / BLOCK_WORDS), masks[i].key);
            apply_stream(stream + 4 * skip, masks[i].is_subtracted, words, part);
        }
        begin += part;
        words += part;
        count -= part;
    }
    trib_wipe(stream, sizeof(stream));
}
