// Only in builds with AddressSanitizer, to make the end of a process cheap. There it looks for leaks in
// all variables of the program, among them its own tables of eight megabytes, of which almost nothing
// was ever touched: two thousand page faults in each program of each test, half of what a short one
// costs. In large pages, and read at once, they are few. What is found is the same.
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ // of Linux 5.14
#define MADV_POPULATE_READ 22
#endif

extern char __bss_start[], _end[]; // the linker's: variables that begin as zeros

// The linker is told to take this one along (-u), since nobody calls it.
extern void (*const trib_sanitized_begin)(void);

// Advice: a system that does not take it is slower, no more.
static void advise(int advice)
{
    const uintptr_t page = 4096;
    uintptr_t begin = ((uintptr_t)__bss_start + page - 1) / page * page;
    uintptr_t end = (uintptr_t)_end / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, advice);
}

// Registered after the sanitizer's own function, and so called before it.
static void read_at_once(void)
{
    advise(MADV_POPULATE_READ);
}

static void begin(void)
{
    advise(MADV_HUGEPAGE);
    atexit(read_at_once);
}

// Before the first constructor, when most of the tables are untouched.
__attribute__((section(".preinit_array"), used)) void (*const trib_sanitized_begin)(void) = begin;
