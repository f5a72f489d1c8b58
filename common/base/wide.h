// wide.h - loops that are compiled twice: for any machine, and for wider vectors where it has them.
//
// The loop is an inline function with TRIB_INLINE; two functions call it, one of them with
// TRIB_WIDE, and trib_is_wide() says which to call. Both give the same bits: integers are exact,
// and floating point is done element by element, which no width of vectors changes.
#ifndef TRIB_BASE_WIDE_H
#define TRIB_BASE_WIDE_H

#include <stdbool.h>

#define TRIB_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)

#define TRIB_WIDE __attribute__((target("avx2")))

static inline bool trib_is_wide(void)
{
    return __builtin_cpu_supports("avx2");
}

#else // the vectors of other machines are used anyway

#define TRIB_WIDE

static inline bool trib_is_wide(void)
{
    return false;
}

#endif

#endif // TRIB_BASE_WIDE_H
