// allocations.h - counts allocations: a test that includes it is linked with --wrap for each of
// these functions (meson.build, `counted`).
#ifndef TRIB_TESTS_UNIT_ALLOCATIONS_H
#define TRIB_TESTS_UNIT_ALLOCATIONS_H

#include <stddef.h>

static size_t allocations;
// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    allocations++;
    return __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    allocations++;
    return __real_aligned_alloc(align, size);
}
// NOLINTEND(bugprone-reserved-identifier)

#endif // TRIB_TESTS_UNIT_ALLOCATIONS_H
