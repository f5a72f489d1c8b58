#include "simulations/chaos/fiber.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "common/base/alloc.h"

// The address sanitizer keeps books of the stack it believes to be on.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_WATCHED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define IS_WATCHED 1
#endif
#ifdef IS_WATCHED
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum {
    STACK_SIZE = 1 << 20, // pages that are never touched cost nothing
    GUARD_SIZE = 1 << 12,
};

struct trib_fiber {
    ucontext_t context;
    void (*main)(void *user);
    void *user;
    bool is_over;
    void *stack;             // GUARD_SIZE that must not be touched, then STACK_SIZE
    void *asan;              // of its fake frames
    struct trib_fiber *next; // free list
};

static ucontext_t scheduler;
static struct trib_fiber *running;
static struct trib_fiber *unused; // with their stacks

#ifdef IS_WATCHED
static const void *scheduler_stack;
static size_t scheduler_size;
static void *scheduler_asan;
#endif

static void *stack_of(struct trib_fiber *fiber)
{
    return (uint8_t *)fiber->stack + GUARD_SIZE;
}

static void leave_scheduler(struct trib_fiber *fiber)
{
#ifdef IS_WATCHED
    __sanitizer_start_switch_fiber(&scheduler_asan, stack_of(fiber), STACK_SIZE);
#endif
    (void)swapcontext(&scheduler, &fiber->context);
#ifdef IS_WATCHED
    __sanitizer_finish_switch_fiber(scheduler_asan, NULL, NULL);
#endif
}

static void leave_fiber(struct trib_fiber *fiber)
{
#ifdef IS_WATCHED
    __sanitizer_start_switch_fiber(fiber->is_over ? NULL : &fiber->asan, scheduler_stack,
                                   scheduler_size);
#endif
    (void)swapcontext(&fiber->context, &scheduler);
#ifdef IS_WATCHED
    __sanitizer_finish_switch_fiber(fiber->asan, &scheduler_stack, &scheduler_size);
#endif
}

static void begin(void)
{
    struct trib_fiber *fiber = running;
#ifdef IS_WATCHED
    __sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_size);
#endif
    fiber->main(fiber->user);
    fiber->is_over = true;
    leave_fiber(fiber);
    abort(); // nobody switches to one that is over
}

static struct trib_fiber *with_stack(void)
{
    struct trib_fiber *fiber = unused;
    if (fiber) {
        unused = fiber->next;
#ifdef IS_WATCHED
        __asan_unpoison_memory_region(stack_of(fiber), STACK_SIZE); // of frames that never ended
#endif
        return fiber;
    }
    fiber = trib_alloc(sizeof(*fiber));
    if (!fiber)
        return NULL;
    fiber->stack = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fiber->stack == MAP_FAILED || mprotect(fiber->stack, GUARD_SIZE, PROT_NONE)) {
        free(fiber);
        return NULL;
    }
    return fiber;
}

// A function of its own: getcontext may return again, as far as a compiler knows.
static bool prepare(ucontext_t *context, void *stack)
{
    if (getcontext(context))
        return false;
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = STACK_SIZE;
    context->uc_link = NULL;
    makecontext(context, begin, 0);
    return true;
}

struct trib_fiber *trib_fiber_create(void (*main)(void *user), void *user)
{
    struct trib_fiber *fiber = with_stack();
    if (!fiber || !prepare(&fiber->context, stack_of(fiber)))
        return NULL;
    fiber->main = main;
    fiber->user = user;
    fiber->is_over = false;
    fiber->asan = NULL;
    return fiber;
}

void trib_fiber_switch(struct trib_fiber *fiber)
{
    assert(!running && !fiber->is_over);
    running = fiber;
    leave_scheduler(fiber);
    running = NULL;
}

void trib_fiber_yield(void)
{
    assert(running);
    leave_fiber(running);
}

bool trib_fiber_is_over(const struct trib_fiber *fiber)
{
    return fiber->is_over;
}

void trib_fiber_destroy(struct trib_fiber *fiber)
{
    assert(fiber != running);
    fiber->next = unused;
    unused = fiber;
}
