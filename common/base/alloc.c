#include "common/base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/log.h"

#define TRIB_LOG_MODULE "alloc"

enum {
    ALIGN = 64,
    HUGE_PAGE = 2 << 20,
};

void *trib_alloc_array(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory)
        TRIB_ERROR("out of memory count=%zu size=%zu", count, size);
    return memory;
}

void *trib_alloc(size_t size)
{
    return trib_alloc_array(1, size);
}

// Where the kernel has pages of 2 MiB, a large array is a few of them and not a thousand small ones,
// each of which costs a fault whenever it is allocated anew. A tail of less than half such a page
// stays in small ones.
static void *alloc_large(size_t bytes)
{
    const size_t tail = bytes % HUGE_PAGE;
    const size_t room = tail > HUGE_PAGE / 2 ? bytes - tail + HUGE_PAGE : bytes;
    void *memory = NULL;
    if (posix_memalign(&memory, HUGE_PAGE, room) != 0)
        return NULL;
    (void)madvise(memory, room, MADV_HUGEPAGE); // a hint: nothing depends on it
    return memory;
}

// `ret_bytes`: how many may be written.
static void *alloc_unset(size_t count, size_t size, size_t *ret_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(count ? count : 1, size ? size : 1, &bytes) ||
        bytes > SIZE_MAX - HUGE_PAGE) {
        TRIB_ERROR("out of memory count=%zu size=%zu", count, size);
        return NULL;
    }
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN; // aligned_alloc wants a multiple
    void *memory = bytes < HUGE_PAGE ? aligned_alloc(ALIGN, bytes) : alloc_large(bytes);
    if (!memory)
        TRIB_ERROR("out of memory count=%zu size=%zu", count, size);
    *ret_bytes = bytes;
    return memory;
}

void *trib_alloc_aligned(size_t count, size_t size)
{
    size_t bytes = 0;
    void *memory = alloc_unset(count, size, &bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

void *trib_alloc_unset(size_t count, size_t size)
{
    size_t bytes = 0;
    return alloc_unset(count, size, &bytes);
}

char *trib_alloc_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = trib_alloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}
