#include "common/base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"

#define TRIB_LOG_MODULE "alloc"

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

void *trib_alloc_aligned(size_t count, size_t size)
{
    enum {
        ALIGN = 64
    };
    size_t bytes;
    if (__builtin_mul_overflow(count ? count : 1, size ? size : 1, &bytes) ||
        bytes > SIZE_MAX - ALIGN) {
        TRIB_ERROR("out of memory count=%zu size=%zu", count, size);
        return NULL;
    }
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN; // aligned_alloc wants a multiple
    void *memory = aligned_alloc(ALIGN, bytes);
    if (!memory) {
        TRIB_ERROR("out of memory count=%zu size=%zu", count, size);
        return NULL;
    }
    memset(memory, 0, bytes);
    return memory;
}

char *trib_alloc_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = trib_alloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}
