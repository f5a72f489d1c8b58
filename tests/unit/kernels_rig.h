// kernels_rig.h - the sets of kernels that this processor can run.
#ifndef TRIB_TESTS_UNIT_KERNELS_RIG_H
#define TRIB_TESTS_UNIT_KERNELS_RIG_H

#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/wipe.h"
#include "common/math/kernels.h"
#include "tests/unit/models.h"

enum {
    SETS_MAX = 5,
};

static const struct trib_kernels *sets[SETS_MAX];
static int set_count;

// Before any test: which there are.
static inline void rig_find_sets(void)
{
    static const char *const names[SETS_MAX] = {"plain", "openblas", "neon", "avx2", "avx512"};
    trib_crypto_init();
    for (int i = 0; i < SETS_MAX; i++) {
        sets[set_count] = trib_kernels_find(names[i]);
        if (sets[set_count])
            print_message("kernels: %s\n", sets[set_count++]->name);
    }
}

static inline bool is_fused(const struct trib_kernels *set)
{
    return strcmp(set->name, "plain") != 0 && strcmp(set->name, "openblas") != 0;
}

static inline void fill(float *values, size_t count, uint64_t *seed)
{
    for (size_t i = 0; i < count; i++)
        values[i] = small(seed);
}

static inline float *some(size_t count, uint64_t *seed)
{
    float *values = trib_alloc_aligned(count, sizeof(*values));
    assert_non_null(values);
    fill(values, count, seed);
    return values;
}

#endif // TRIB_TESTS_UNIT_KERNELS_RIG_H
