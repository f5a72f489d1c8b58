#include "common/math/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/math/blas.h"
#include "common/math/kernels_sets.h"

#define TRIB_LOG_MODULE "kernels"

struct set {
    struct trib_kernels kernels;
    bool (*is_supported)(void);
};

#if defined(__x86_64__)
// By features, never by model: a wrong answer would be an illegal instruction. The library that
// does the asking also looks whether the system saves the registers.
static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

static bool always(void)
{
    return true;
}

static const struct set sets[] = {
// the best first
#if defined(__x86_64__)
    {TRIB_KERNELS_TABLE(avx512), has_avx512},
    {TRIB_KERNELS_TABLE(avx2), has_avx2},
#elif defined(__aarch64__)
    {TRIB_KERNELS_TABLE(neon), always},
#endif
    {TRIB_KERNELS_TABLE(plain), always},
};

static const struct trib_kernels *best(void)
{
    size_t i = 0;
    while (!sets[i].is_supported())
        i++; // the last one always is
    return &sets[i].kernels;
}

const struct trib_kernels *trib_kernels_find(const char *name)
{
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        if (strcmp(sets[i].kernels.name, name) == 0 && sets[i].is_supported())
            return &sets[i].kernels;
    }
    return strcmp(name, "openblas") == 0 ? trib_blas_kernels(best()) : NULL;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct trib_kernels *chosen;

static void choose(void)
{
    const char *wanted = getenv("TRIB_KERNEL");
    chosen = best();
    if (wanted && wanted[0]) {
        const struct trib_kernels *forced = trib_kernels_find(wanted);
        if (forced)
            chosen = forced;
        else
            TRIB_WARN("TRIB_KERNEL=%s is not built in, or this machine cannot: kernels=%s", wanted,
                      chosen->name);
    }
    if (strcmp(chosen->name, "openblas") == 0)
        TRIB_INFO("kernels=openblas core=%s threads=1 concurrent=%s", trib_blas_core(),
                  trib_blas_is_concurrent() ? "yes" : "no");
    else
        TRIB_INFO("kernels=%s threads=1", chosen->name);
}

const struct trib_kernels *trib_kernels(void)
{
    (void)pthread_once(&once, choose);
    return chosen;
}

bool trib_kernels_are_concurrent(void)
{
    return strcmp(trib_kernels()->name, "openblas") != 0 || trib_blas_is_concurrent();
}
