// moments.h - what a server optimiser remembers between rounds: momentum, and Adam's second moment.
//
// With d the mean delta of a round, x the version and r the server learning rate:
//
//     fedavgm   m = beta1 m + d                       x = x + r m          (Hsu, Qi & Brown 2019)
//     fedadam   m = beta1 m + (1 - beta1) d
//               v = beta2 v + (1 - beta2) d^2         x = x + r m / (sqrt(v) + tau)
//                                                     (Reddi et al. 2021, algorithm 2)
//
// m begins at 0 and v at tau^2, anew with each job. They are float32 and belong to a version as its
// parameters do: written to DIR/<version>.moments before the version is committed, and read back
// after a restart.
//
//     offset  size  field (little-endian)
//     0       8     "TRIBMOM1"
//     8       8     job
//     16      8     version
//     24      8     floats
//     32      4     CRC32C of everything but these 4 bytes
//     36      4     zero
//     40      4n    m, then v
#ifndef TRIB_COORDINATOR_MOMENTS_H
#define TRIB_COORDINATOR_MOMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

enum trib_moments_kind {
    TRIB_MOMENTS_FEDAVGM,
    TRIB_MOMENTS_FEDADAM,
};

struct trib_moments_options {
    enum trib_moments_kind kind;
    double beta1; // [0, 1)
    double beta2; // [0, 1), of fedadam
    double tau;   // above 0, of fedadam
};

struct trib_moments;

// For `count` parameters.
TRIB_CHECKED enum trib_err trib_moments_create(const struct trib_moments_options *options,
                                               size_t count, struct trib_moments **ret_moments);
void trib_moments_destroy(struct trib_moments *moments); // NULL is fine

// The next version, and the moments that go with it, which wait for trib_moments_take: a version
// that is not committed leaves no trace. All vectors have `count` floats; `ret_next` may be `base`
// or `mean`.
// TRIB_ERR_DATA if a value is not finite.
TRIB_CHECKED enum trib_err trib_moments_step(struct trib_moments *moments, const float *base,
                                             const float *mean, double server_learning_rate,
                                             float *ret_next);
// The version of the last step is committed.
void trib_moments_take(struct trib_moments *moments);

// Write what waits, durably. One at a time with trib_moments_step.
TRIB_CHECKED enum trib_err trib_moments_write(const struct trib_moments *moments, const char *dir,
                                              uint64_t job, uint64_t version);
// TRIB_ERR_CORRUPT, logged: missing, damaged, or of another job, version or size.
TRIB_CHECKED enum trib_err trib_moments_read(struct trib_moments *moments, const char *dir,
                                             uint64_t job, uint64_t version);
TRIB_CHECKED enum trib_err trib_moments_remove(const char *dir, uint64_t version);
bool trib_moments_exist(const char *dir, uint64_t version);
// They are those of version `to` from now on; not there is fine. TRIB_ERR_CORRUPT: they are damaged.
TRIB_CHECKED enum trib_err trib_moments_move(const char *dir, uint64_t version, uint64_t to);
// Remove those of all versions but `keep` (0: of all): what a killed process left.
TRIB_CHECKED enum trib_err trib_moments_clean(const char *dir, uint64_t keep);

#endif // TRIB_COORDINATOR_MOMENTS_H
