// arrival.h - what is worked out of an update's bytes as they come in: checksums and norms.
//
// The bytes are in the cache then, and are read once. What is held against them later, when they
// are added up, is what came, not what the disk made of it.
#ifndef TRIB_COORDINATOR_ARRIVAL_H
#define TRIB_COORDINATOR_ARRIVAL_H

#include <stddef.h>
#include <stdint.h>

#include "common/wire/codec.h"
#include "tributary/err.h"

struct trib_arrival { // a counted reference
    unsigned refs;    // atomic
    unsigned word_bits;
    size_t size;         // bytes that the whole has
    size_t taken;        // of them, in order from 0
    uint8_t word[4];     // the bytes of a word of which others have not come yet
    uint32_t *checksums; // owned: CRC32C of each TRIB_SEGMENT_BLOCK, as far as it is there
    struct trib_codec_norms norms; // of the words that are whole
};

// For `size` bytes of packed words. NULL: no memory.
struct trib_arrival *trib_arrival_create(size_t size, unsigned word_bits);
struct trib_arrival *trib_arrival_ref(struct trib_arrival *arrival);
void trib_arrival_unref(struct trib_arrival *arrival); // NULL is fine
// The next bytes, no more than are missing. One thread at a time.
void trib_arrival_take(struct trib_arrival *arrival, const uint8_t *data, size_t size);

#endif // TRIB_COORDINATOR_ARRIVAL_H
