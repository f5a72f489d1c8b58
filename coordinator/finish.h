// finish.h - from the sum of a round's words to the sum that may be used: masks out, noise in.
//
// The hooks of aggregate.h for the modes in which the sum is not yet the result. The simulator and
// the server call the same ones with the same blocks, and get the same integers.
#ifndef TRIB_COORDINATOR_FINISH_H
#define TRIB_COORDINATOR_FINISH_H

#include <stddef.h>
#include <stdint.h>

#include "common/privacy/encode.h"
#include "common/privacy/secagg.h"
#include "tributary/err.h"

// ---- Mode distributed: take the masks out and lift the rest to signed integers.

struct trib_unmask {
    const struct trib_secagg_hub *hub; // opened; NULL: there are no masks, only lift
    uint32_t word_bits;
};
void trib_unmask_finish(void *unmask, size_t begin, size_t count, int64_t *sums);
// x modulo 2^bits, between -2^(bits-1) and 2^(bits-1) - 1.
int32_t trib_word_lift(uint32_t x, uint32_t bits);

// ---- Mode central: add discrete Laplace noise, and keep what came of it.
//
// A noised sum is drawn once. It is written to DIR/<round>.sum and synced before anybody uses it; a
// restart reads it back instead of drawing again, since two draws of one sum would average out.
//
//     offset  size  field (little-endian)
//     0       8     "TRIBSUM1"
//     8       8     round id
//     16      8     count
//     24      4     CRC32C of everything but these 4 bytes
//     28      4     zero
//     32      8n    the noised sums

struct trib_central {
    unsigned grid_bits;
    uint64_t test_seed; // 0: noise from the system
    uint64_t round_number;
    int64_t *sums; // owned, (params): the noised ones, kept by the hook
    size_t count;
};
TRIB_CHECKED enum trib_err trib_central_init(struct trib_central *central,
                                             const struct trib_encoding *encoding, size_t params,
                                             uint64_t test_seed, uint64_t round_number);
void trib_central_fini(struct trib_central *central); // wipes
void trib_central_finish(void *central, size_t begin, size_t count, int64_t *sums);

TRIB_CHECKED enum trib_err trib_central_write(const struct trib_central *central, const char *dir,
                                              uint64_t round_id);
// TRIB_ERR_STATE: there is none. TRIB_ERR_CORRUPT: damaged, or not of this round and size: it is
// not used, and noise is not drawn a second time either.
TRIB_CHECKED enum trib_err trib_central_read(struct trib_central *central, const char *dir,
                                             uint64_t round_id);
TRIB_CHECKED enum trib_err trib_central_remove(const char *dir, uint64_t round_id);

#endif // TRIB_COORDINATOR_FINISH_H
