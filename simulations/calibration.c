#include "simulations/calibration.h"

#include <stdint.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/math/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum {
    CHAINS = 12, // independent sums, to hide the latency of one
    LOOPS = 150000,
    TRIES = 3,
};

typedef float four __attribute__((vector_size(16)));

struct loop {
    const char *kernel;
    int lanes;
    float (*run)(void); // LOOPS times CHAINS steps; the result keeps the compiler honest
};

// The vectors are of different types, but the loop is the same. The empty statement tells the
// compiler that each sum is looked at, or it would go through them one after another.
#define RUN(vec, splat, step)                                                                    \
    const vec x = splat(0.999f);                                                                 \
    vec sums[CHAINS];                                                                            \
    for (int c = 0; c < CHAINS; c++)                                                             \
        sums[c] = splat((float)(c + 1));                                                         \
    for (int i = 0; i < LOOPS; i++) {                                                            \
        _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) sums[c] = step(sums[c], x, x); \
    }                                                                                            \
    for (int c = 1; c < CHAINS; c++)                                                             \
        sums[0] += sums[c];                                                                      \
    return sums[0][0]

static inline four four_of(float x)
{
    return (four){x, x, x, x};
}

static inline four rounded_twice(four a, four b, four c)
{
    return a * b + c;
}

static float run_plain(void)
{
    RUN(four, four_of, rounded_twice);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static float run_avx2(void)
{
    RUN(__m256, _mm256_set1_ps, _mm256_fmadd_ps);
}

__attribute__((target("avx512f"))) static float run_avx512(void)
{
    RUN(__m512, _mm512_set1_ps, _mm512_fmadd_ps);
}
#elif defined(__aarch64__)
static inline float32x4_t fused(float32x4_t a, float32x4_t b, float32x4_t c)
{
    return vfmaq_f32(c, a, b);
}

static float run_neon(void)
{
    RUN(float32x4_t, vdupq_n_f32, fused);
}
#endif

static const struct loop loops[] = {
#if defined(__x86_64__)
    {"avx512", 16, run_avx512},
    {"avx2", 8, run_avx2},
#elif defined(__aarch64__)
    {"neon", 4, run_neon},
#endif
    {"plain", 4, run_plain},
};

double trib_calibrate(const char *kernel)
{
    const struct loop *loop = loops;
    double best = 0;
    if (strcmp(kernel, "openblas") == 0) { // whatever it uses, the best that it could
        while (!trib_kernels_find(loop->kernel))
            loop++;
    }
    while (strcmp(kernel, "openblas") != 0 && strcmp(loop->kernel, kernel) != 0)
        loop++;
    for (int i = 0; i < TRIES; i++) {
        const uint64_t begin_us = trib_clock_thread_us();
        const volatile float kept = loop->run();
        const uint64_t spent_us = trib_clock_thread_us() - begin_us;
        (void)kept;
        const double gflops =
            2.0 * LOOPS * CHAINS * loop->lanes / ((double)(spent_us ? spent_us : 1) * 1e3);
        best = gflops > best ? gflops : best;
    }
    return best;
}
