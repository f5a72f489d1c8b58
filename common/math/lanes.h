// lanes.h - the few vector operations that the kernels are written in, for each instruction set.
//
// The sources that include this are compiled once for each set, with TRIB_LANES_KIND saying which;
// everything in here is static. `vec` has LANES floats, `part` is some of its first lanes. All sets
// but the plain one fuse: a * b + c is rounded once, so that they give the same bits whenever each
// element sees the same operations in the same order, whatever LANES is (docs/models.md).
#ifndef TRIB_MATH_LANES_H
#define TRIB_MATH_LANES_H

#include <stdint.h>
#include <string.h>

// What TRIB_LANES_KIND may be.
#define TRIB_LANES_PLAIN  0
#define TRIB_LANES_AVX2   2
#define TRIB_LANES_AVX512 3
#define TRIB_LANES_NEON   4

#ifndef TRIB_LANES_KIND
#define TRIB_LANES_KIND TRIB_LANES_PLAIN
#endif

#if TRIB_LANES_KIND == TRIB_LANES_AVX512

#include <immintrin.h>

#define TRIB_LANES(name) name##_avx512
enum {
    LANES = 16,
    TILE_ROWS = 14, // of two vectors each: 28 sums, and four registers for what they are made of
};
typedef __m512 vec;
typedef uint32_t bits __attribute__((vector_size(64)));
typedef __mmask16 part;

static inline part part_of(int count)
{
    return (part)((1U << count) - 1);
}

static inline vec splat(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec load(const float *from)
{
    return _mm512_loadu_ps(from);
}

static inline void store(float *to, vec x)
{
    _mm512_storeu_ps(to, x);
}

static inline vec load_part(const float *from, part some)
{
    return _mm512_maskz_loadu_ps(some, from);
}

static inline void store_part(float *to, part some, vec x)
{
    _mm512_mask_storeu_ps(to, some, x);
}

static inline vec fused(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec larger(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

static inline vec where_positive(vec gate, vec x)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(gate, _mm512_setzero_ps(), _CMP_GT_OQ), x);
}

#elif TRIB_LANES_KIND == TRIB_LANES_AVX2

#include <immintrin.h>

#define TRIB_LANES(name) name##_avx2
enum {
    LANES = 8,
    TILE_ROWS = 6, // of two vectors each: 12 of the 16 registers
};
typedef __m256 vec;
typedef uint32_t bits __attribute__((vector_size(32)));
typedef __m256i part;

static inline part part_of(int count)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes);
}

static inline vec splat(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec load(const float *from)
{
    return _mm256_loadu_ps(from);
}

static inline void store(float *to, vec x)
{
    _mm256_storeu_ps(to, x);
}

static inline vec load_part(const float *from, part some)
{
    return _mm256_maskload_ps(from, some);
}

static inline void store_part(float *to, part some, vec x)
{
    _mm256_maskstore_ps(to, some, x);
}

static inline vec fused(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vec larger(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

static inline vec where_positive(vec gate, vec x)
{
    return _mm256_and_ps(x, _mm256_cmp_ps(gate, _mm256_setzero_ps(), _CMP_GT_OQ));
}

#else // four lanes, and parts of them by hand

enum {
    LANES = 4,
};
typedef int part;
typedef uint32_t bits __attribute__((vector_size(16)));

#if TRIB_LANES_KIND == TRIB_LANES_NEON

#include <arm_neon.h>

#define TRIB_LANES(name) name##_neon
enum {
    TILE_ROWS = 12, // of two vectors each: 24 of the 32 registers
};
typedef float32x4_t vec;

static inline vec fused(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

#else

#define TRIB_LANES(name) name##_plain
enum {
    TILE_ROWS = 6, // of two vectors each: 12 of SSE2's 16 registers
};
typedef float vec __attribute__((vector_size(16)));

static inline vec fused(vec a, vec b, vec c)
{
    return a * b + c; // rounded twice
}

#endif

static inline part part_of(int count)
{
    return count;
}

static inline vec splat(float x)
{
    return (vec){x, x, x, x};
}

static inline vec load(const float *from)
{
    vec x;
    memcpy(&x, from, sizeof(x));
    return x;
}

static inline void store(float *to, vec x)
{
    memcpy(to, &x, sizeof(x));
}

static inline vec load_part(const float *from, part some)
{
    if (some == LANES)
        return load(from);
    return (vec){some > 0 ? from[0] : 0, some > 1 ? from[1] : 0, some > 2 ? from[2] : 0, 0};
}

static inline void store_part(float *to, part some, vec x)
{
    for (int i = 0; i < some; i++)
        to[i] = x[i];
}

// As x86 has it: b wherever they cannot be compared.
static inline vec larger(vec a, vec b)
{
    const bits is_larger = (bits)(a > b);
    return (vec)(((bits)a & is_larger) | ((bits)b & ~is_larger));
}

static inline vec where_positive(vec gate, vec x)
{
    return (vec)((bits)x & (bits)(gate > splat(0)));
}

#endif

// ---- Made of these

// Loops that must go away, for their arrays to become registers.
#define UNROLLED      _Pragma("GCC unroll 16")
#define ALWAYS_INLINE static inline __attribute__((always_inline))

// Dot products add in sixteen sums side by side, whatever LANES is, and those in halves.
enum {
    SUMS = 16,
    SUM_VECS = SUMS / LANES,
};

ALWAYS_INLINE float fold(const vec sums[static SUM_VECS])
{
    float s[SUMS];
    for (int i = 0; i < SUM_VECS; i++)
        store(s + i * LANES, sums[i]);
    for (int half = SUMS / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++)
            s[i] += s[i + half];
    }
    return s[0];
}

#endif // TRIB_MATH_LANES_H
