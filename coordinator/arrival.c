#include "coordinator/arrival.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "coordinator/segment.h"

struct trib_arrival *trib_arrival_create(size_t size, unsigned word_bits)
{
    struct trib_arrival *arrival = trib_alloc(sizeof(*arrival));
    if (!arrival)
        return NULL;
    arrival->refs = 1;
    arrival->size = size;
    arrival->word_bits = word_bits;
    arrival->checksums =
        trib_alloc_array(trib_segment_checksum_count(size), sizeof(*arrival->checksums));
    if (arrival->checksums)
        return arrival;
    free(arrival);
    return NULL;
}

struct trib_arrival *trib_arrival_ref(struct trib_arrival *arrival)
{
    __atomic_add_fetch(&arrival->refs, 1, __ATOMIC_RELAXED);
    return arrival;
}

void trib_arrival_unref(struct trib_arrival *arrival)
{
    if (!arrival || __atomic_sub_fetch(&arrival->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    free(arrival->checksums);
    free(arrival);
}

static void take_checksums(struct trib_arrival *arrival, const uint8_t *data, size_t size)
{
    for (size_t at = arrival->taken; size > 0;) {
        const size_t room = TRIB_SEGMENT_BLOCK - at % TRIB_SEGMENT_BLOCK;
        const size_t part = size < room ? size : room;
        uint32_t *checksum = &arrival->checksums[at / TRIB_SEGMENT_BLOCK];
        *checksum = trib_crc32c(*checksum, data, part);
        data += part;
        size -= part;
        at += part;
    }
}

static void take_norms(struct trib_arrival *arrival, const uint8_t *data, size_t size)
{
    const size_t word = arrival->word_bits / 8;
    const size_t had = arrival->taken % word;
    if (had > 0) { // a word that began before
        const size_t missing = word - had;
        const size_t part = size < missing ? size : missing;
        memcpy(arrival->word + had, data, part);
        if (part < missing)
            return;
        trib_codec_norms_add(arrival->word, 1, arrival->word_bits, &arrival->norms);
        data += part;
        size -= part;
    }
    trib_codec_norms_add(data, size / word, arrival->word_bits, &arrival->norms);
    memcpy(arrival->word, data + size / word * word, size % word);
}

void trib_arrival_take(struct trib_arrival *arrival, const uint8_t *data, size_t size)
{
    assert(size <= arrival->size - arrival->taken);
    take_checksums(arrival, data, size);
    take_norms(arrival, data, size);
    arrival->taken += size;
}
