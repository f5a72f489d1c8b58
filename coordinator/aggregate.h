// aggregate.h - the exact weighted sum of a round's updates (McMahan et al. 2017, Alg. 1).
//
// Integers are added in int64, so the result is the same to the last bit for any order, any number
// of threads and any tree: mean_i = sum_k n_k q_ki * grid / sum_k n_k. No sum can overflow: the
// weights of a round add up to less than 2^32 (job.h) and |q| <= 2^31, so every partial sum is
// below 2^63.
//
// The segment is read once, after the round is sealed, block of coordinates by block of
// coordinates: memory does not depend on how many devices took part, an unfinished or refused
// update never touches a sum, and a restart simply reads again.
#ifndef TRIB_COORDINATOR_AGGREGATE_H
#define TRIB_COORDINATOR_AGGREGATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/pool.h"
#include "coordinator/segment.h"
#include "tributary/err.h"

struct trib_aggregate_member {
    uint32_t slot;
    uint32_t weight;           // 1 with privacy on
    const uint32_t *checksums; // CRC32C of each 64 KiB of the slot; every byte is checked again
};

struct trib_aggregate_plan {
    size_t params;
    uint32_t word_bits;
    double grid;
    uint32_t count;
    const struct trib_aggregate_member *members;
};

// The mean delta (params floats). Runs on `threads` threads of its own and waits for them.
// TRIB_ERR_CORRUPT names the slot and the block that do not match.
TRIB_CHECKED enum trib_err trib_aggregate_segment(const struct trib_aggregate_plan *plan,
                                                  struct trib_segment *segment, unsigned threads,
                                                  float *ret_mean);

// The same in memory, for updates that are not kept.
struct trib_sums {
    size_t params;
    int64_t *sums; // owned
    uint64_t total_weight;
};
TRIB_CHECKED enum trib_err trib_sums_init(struct trib_sums *sums, size_t params);
void trib_sums_reset(struct trib_sums *sums);
void trib_sums_add(struct trib_sums *sums, const uint8_t *packed, uint32_t word_bits,
                   uint32_t weight);
void trib_sums_mean(const struct trib_sums *sums, double grid, float *ret_mean);
void trib_sums_fini(struct trib_sums *sums);

#endif // TRIB_COORDINATOR_AGGREGATE_H
