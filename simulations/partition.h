// partition.h - who has which rows: the ways to spread one data set over simulated devices.
//
// A partition is a permutation of the given rows and a cut of it: device d has
// rows[starts[d]] .. rows[starts[d + 1] - 1]. Every row is dealt exactly once, and the same seed
// deals the same rows on every machine. Devices are named d0000, d0001, ... in this order.
#ifndef TRIB_SIMULATIONS_PARTITION_H
#define TRIB_SIMULATIONS_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

enum trib_partition_kind {
    TRIB_PARTITION_IID,       // a random permutation, dealt out evenly
    TRIB_PARTITION_SHARDS,    // sorted by label, cut into shards, some shards each
    TRIB_PARTITION_DIRICHLET, // each label spread by proportions drawn from Dirichlet(alpha)
    TRIB_PARTITION_COLUMN,    // one device for each value of a column
    TRIB_PARTITION_FILES,     // one device for each file
};

struct trib_partition_config {
    enum trib_partition_kind kind;
    uint64_t clients;           // devices; not of COLUMN and FILES, which find theirs
    uint64_t shards_per_client; // of SHARDS
    double alpha;               // of DIRICHLET: small is uneven, large is even
    uint64_t min_rows;          // a device has at least these; see below
    uint64_t seed;
};

// The rows to deal out.
struct trib_partition_rows {
    const uint32_t *rows; // (count) numbers of rows in the data set
    size_t count;
    const float *labels; // by row number
    const float *groups; // by row number, finite: the column's value or the file; COLUMN and FILES
};

struct trib_partition {
    size_t clients;
    uint32_t *rows; // (starts[clients]), owned
    size_t *starts; // (clients + 1), owned
};

enum {
    TRIB_PARTITION_NAME_SIZE = 24
};

// Deal out. With too few rows for a device, DIRICHLET draws again, COLUMN and FILES leave that
// device and its rows out, the others fail. TRIB_ERR_INVAL with a text for people in `why`: the
// data cannot be dealt out like this.
TRIB_CHECKED enum trib_err trib_partition_make(const struct trib_partition_config *config,
                                               const struct trib_partition_rows *rows,
                                               struct trib_partition *ret_partition, char *why,
                                               size_t why_size);
void trib_partition_fini(struct trib_partition *partition);

// Is the number of devices found in the data (COLUMN, FILES) rather than configured?
bool trib_partition_finds_devices(enum trib_partition_kind kind);

// How many rows a device has.
size_t trib_partition_size(const struct trib_partition *partition, size_t device);

size_t trib_partition_size_max(const struct trib_partition *partition);

// The devices 0 .. clients-1 in the order of their names, which from the 10,001st on is another.
void trib_partition_by_name(uint32_t *ret_devices, size_t clients);

// "d0007"
void trib_partition_name(size_t device, char name[static TRIB_PARTITION_NAME_SIZE]);

#endif // TRIB_SIMULATIONS_PARTITION_H
