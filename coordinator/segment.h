// segment.h - the file that a round's updates are written to: an array of slots of one size.
//
//     offset  size  field (little-endian)
//     0       8     "TRIBSEG1"
//     8       8     round id
//     16      8     slot size, bytes of an update
//     24      4     slot count
//     28      4     CRC32C of the 28 bytes before
//     4096          slot 0, slot 1, ... each at a multiple of 4096
//
// Different slots may be written and read by different threads at once. A slot's contents are only
// as good as the checksums in the ledger: after a crash a slot without a ledger row is garbage.
#ifndef TRIB_COORDINATOR_SEGMENT_H
#define TRIB_COORDINATOR_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

enum {
    TRIB_SEGMENT_BLOCK = 65536 // bytes under one checksum
};

struct trib_segment; // a counted reference to an open file

// Make DIR/<round>.seg durably, with its space set aside where the file system can do that.
TRIB_CHECKED enum trib_err trib_segment_create(const char *dir, uint64_t round, size_t slot_size,
                                               uint32_t slot_count,
                                               struct trib_segment **ret_segment);
// TRIB_ERR_CORRUPT if it is not the segment of this round with this slot size.
TRIB_CHECKED enum trib_err trib_segment_open(const char *dir, uint64_t round, size_t slot_size,
                                             struct trib_segment **ret_segment);
struct trib_segment *trib_segment_ref(struct trib_segment *segment);
void trib_segment_unref(struct trib_segment *segment); // NULL is fine

uint64_t trib_segment_round(const struct trib_segment *segment);
uint32_t trib_segment_slot_count(const struct trib_segment *segment);
size_t trib_segment_slot_size(const struct trib_segment *segment);
// How many checksums a slot has.
size_t trib_segment_checksum_count(size_t slot_size);

TRIB_CHECKED enum trib_err trib_segment_write(struct trib_segment *segment, uint32_t slot,
                                              size_t offset, const void *data, size_t size);
TRIB_CHECKED enum trib_err trib_segment_read(struct trib_segment *segment, uint32_t slot,
                                             size_t offset, void *data, size_t size);
// Make all that was written before durable; nothing to do when an earlier sync covered it. A failed
// one is final, and so are all after it: the data may be gone.
TRIB_CHECKED enum trib_err trib_segment_sync(struct trib_segment *segment);

// Remove DIR/<round>.seg; not there is fine.
TRIB_CHECKED enum trib_err trib_segment_remove(const char *dir, uint64_t round);
// Remove every segment and noised sum (finish.h) in DIR but those of round `keep` (0: none), and
// left-over *.tmp files.
TRIB_CHECKED enum trib_err trib_segment_clean(const char *dir, uint64_t keep);

#endif // TRIB_COORDINATOR_SEGMENT_H
