// alloc.h - the checked ways to get memory.
//
// They return zeroed memory, but for one, or NULL after logging; free with free().
#ifndef TRIB_BASE_ALLOC_H
#define TRIB_BASE_ALLOC_H

#include <stddef.h>

// `count` elements of `size` bytes; NULL also when the product overflows. Never a zero-byte block.
void *trib_alloc_array(size_t count, size_t size);

// One object of `size` bytes.
void *trib_alloc(size_t size);

// Like trib_alloc_array, aligned to 64 bytes for vector kernels.
void *trib_alloc_aligned(size_t count, size_t size);

// Like trib_alloc_aligned, but anything may be in it: for what is written whole before it is read.
void *trib_alloc_unset(size_t count, size_t size);

// A copy of `text`.
char *trib_alloc_text(const char *text);

#endif // TRIB_BASE_ALLOC_H
