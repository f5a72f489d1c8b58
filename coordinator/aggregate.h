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

// What is done to sums before they become a mean: masks taken out, noise put in. `sums` are those
// of `count` coordinates from `begin` on, always the same blocks (trib_aggregate_block). From
// several threads at once.
typedef void (*trib_aggregate_finish_fn)(void *user, size_t begin, size_t count, int64_t *sums);

struct trib_aggregate_plan {
    size_t params;
    uint32_t word_bits;
    double grid;
    uint32_t count;
    const struct trib_aggregate_member *members;
    trib_aggregate_finish_fn finish; // or NULL
    void *finish_user;
    int64_t *sums; // (params): the sums are kept here, finished, and no mean is made; or NULL
};

// Coordinates of a block; the last one may be shorter.
size_t trib_aggregate_block(uint32_t word_bits);
// Root mean square of a vector.
double trib_aggregate_rms(const float *values, size_t count);
// The mean of sums: sum * grid / total_weight.
void trib_aggregate_mean(const int64_t *sums, size_t count, double grid, uint64_t total_weight,
                         float *ret_mean);

// The mean delta (params floats). Runs on `threads` threads of its own and waits for them.
// `ret_mean` may be NULL with plan->sums.
// TRIB_ERR_CORRUPT names the slot and the block that do not match.
TRIB_CHECKED enum trib_err trib_aggregate_segment(const struct trib_aggregate_plan *plan,
                                                  struct trib_segment *segment, unsigned threads,
                                                  float *ret_mean);

// The same in memory, for updates that are not kept.
struct trib_sums {
    size_t params;
    size_t capacity;
    int64_t *sums; // (capacity), owned
    uint64_t total_weight;
};
TRIB_CHECKED enum trib_err trib_sums_init(struct trib_sums *sums, size_t params);
// Begin with 0 in each of `params` coordinates, at most as many as there is room for.
void trib_sums_reset(struct trib_sums *sums, size_t params);
// Add an update's words (params), which need not be packed where they do not travel.
void trib_sums_add(struct trib_sums *sums, const int32_t *words, uint32_t weight);
// As the plan's `finish`, block by block.
void trib_sums_finish(struct trib_sums *sums, uint32_t word_bits, trib_aggregate_finish_fn finish,
                      void *user);
void trib_sums_mean(const struct trib_sums *sums, double grid, float *ret_mean);
void trib_sums_fini(struct trib_sums *sums);

#endif // TRIB_COORDINATOR_AGGREGATE_H
