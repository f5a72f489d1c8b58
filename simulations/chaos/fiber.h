// fiber.h - threads that take turns by themselves: each has a stack, and only one runs at a time.
#ifndef TRIB_CHAOS_FIBER_H
#define TRIB_CHAOS_FIBER_H

#include <stdbool.h>

struct trib_fiber;

// One that will call main(user) when it is first switched to. NULL: no memory.
struct trib_fiber *trib_fiber_create(void (*main)(void *user), void *user);
// From the scheduler: run it until it yields or its main returns.
void trib_fiber_switch(struct trib_fiber *fiber);
// From a fiber: back to the scheduler.
void trib_fiber_yield(void);
bool trib_fiber_is_over(const struct trib_fiber *fiber);
// Also of one in the middle of its work, which never goes on: what was on its stack is lost.
void trib_fiber_destroy(struct trib_fiber *fiber);

#endif // TRIB_CHAOS_FIBER_H
